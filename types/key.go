package types

import "github.com/zeebo/xxh3"

// KeyGroups is the default number of key groups of a job. It is fixed when a
// job is created and caps its parallelism.
const KeyGroups = 256

// keySeed is frozen: hashes with it are in checkpoints.
const keySeed = 0x5d_b5_7a_11_e9_0c_4a_37

// HashKey is the frozen hash of an equality encoding. Its top bits choose
// the key group, its low bits the slot in a hash table.
func HashKey(b []byte) uint64 { return xxh3.HashSeed(b, keySeed) }

// KeyGroup maps a key hash to one of n key groups (n a power of two ≤ 65536).
func KeyGroup(hash uint64, n int) int { return int((hash >> 48) * uint64(n) >> 16) }

// GroupOwner gives which of p subtasks owns key group g of n: contiguous
// ranges, subtask i owning [RangeOf(i).Lo, RangeOf(i).Hi).
func GroupOwner(g, n, p int) int { return g * p / n }

// GroupRange is a contiguous range of key groups [Lo, Hi).
type GroupRange struct{ Lo, Hi int }

// RangeOf gives subtask i of p's range of n key groups.
func RangeOf(i, n, p int) GroupRange {
	return GroupRange{Lo: (i*n + p - 1) / p, Hi: ((i+1)*n + p - 1) / p}
}

// KeyBatch is the equality encodings of a batch of keys with their hashes,
// in the order of the chunk's selected rows.
type KeyBatch struct {
	Data []byte
	Span []Span
	Hash []uint64
}

// Len gives the number of keys.
func (k *KeyBatch) Len() int { return len(k.Span) }

// Key gives key i, valid until the batch is reset.
func (k *KeyBatch) Key(i int) []byte {
	s := k.Span[i]
	return k.Data[s.Off : s.Off+s.Len : s.Off+s.Len]
}

// Reset empties the batch and keeps its memory.
func (k *KeyBatch) Reset() { k.Data, k.Span, k.Hash = k.Data[:0], k.Span[:0], k.Hash[:0] }

// Add appends one encoded key and hashes it.
func (k *KeyBatch) Add(key []byte) {
	k.Span = append(k.Span, Span{Off: uint32(len(k.Data)), Len: uint32(len(key))})
	k.Data = append(k.Data, key...)
	k.Hash = append(k.Hash, HashKey(key))
}

// Encode makes k the equality encodings of columns cols of c's selected
// rows. Column-wise per row; equal SQL values give equal bytes, NULLs are
// equal to each other. See AppendKey for the format.
func (k *KeyBatch) Encode(c *Chunk, cols []int) {
	k.Reset()
	n := c.Rows()
	for i := 0; i < n; i++ {
		r := c.Row(i)
		off := len(k.Data)
		for _, ci := range cols {
			k.Data = AppendKey(k.Data, &c.Cols[ci], r)
		}
		k.Span = append(k.Span, Span{Off: uint32(off), Len: uint32(len(k.Data) - off)})
		k.Hash = append(k.Hash, HashKey(k.Data[off:]))
	}
}
