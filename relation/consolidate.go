package relation

import (
	"github.com/streamdb/streamdb/types"
)

// consolidator sums the multiplicities of equal rows. It keeps its memory
// between uses and is used by one goroutine.
type consolidator struct {
	images types.ByteBatch
	hash   []uint64
	diff   []int64
	table  []int32 // open addressing by hash: index+1 of an image, 0 empty
	buf    []byte
}

// keepTable is the size of hash table that is always kept; a larger one goes
// when an epoch has used little of it, for clearing it would cost each epoch.
const keepTable = 1 << 12

func (k *consolidator) reset() {
	if len(k.table) > keepTable && 16*len(k.diff) < len(k.table) {
		*k = consolidator{}
		return
	}
	k.images.Reset()
	k.hash, k.diff = k.hash[:0], k.diff[:0]
	clear(k.table)
}

// add takes the selected rows of c.
func (k *consolidator) add(c *types.Chunk) {
	for i, n := 0, c.Rows(); i < n; i++ {
		r := c.Row(i)
		k.buf = types.AppendImage(k.buf[:0], c, r, nil)
		k.addImage(k.buf, int64(c.DiffAt(r)))
	}
}

func (k *consolidator) addImage(image []byte, diff int64) {
	if 2*(len(k.diff)+1) > len(k.table) {
		k.grow()
	}
	h := types.HashKey(image)
	mask := uint64(len(k.table) - 1)
	for p := h & mask; ; p = (p + 1) & mask {
		i := k.table[p]
		if i == 0 {
			k.images.Add(image)
			k.hash = append(k.hash, h)
			k.diff = append(k.diff, diff)
			k.table[p] = int32(len(k.diff))
			return
		}
		if k.hash[i-1] == h && string(k.images.Bytes(int(i-1))) == string(image) {
			k.diff[i-1] += diff
			return
		}
	}
}

// minTable is small: most look-ups and epochs are of a few rows.
const minTable = 16

func (k *consolidator) grow() {
	k.table = make([]int32, max(minTable, 2*len(k.table)))
	mask := uint64(len(k.table) - 1)
	for i, h := range k.hash {
		p := h & mask
		for k.table[p] != 0 {
			p = (p + 1) & mask
		}
		k.table[p] = int32(i + 1)
	}
}

// chunks decodes the rows that remain into chunks of at most MaxChunkRows,
// and gives the size of their images in bytes.
func (k *consolidator) chunks(ts []types.Type) (out []*types.Chunk, bytes int64, err error) {
	var c *types.Chunk
	for i, d := range k.diff {
		for d != 0 { // a multiplicity beyond int32 stands in several rows
			if c == nil || c.N == types.MaxChunkRows {
				c = types.NewChunk(ts)
				out = append(out, c)
			}
			if err := types.DecodeImage(k.images.Bytes(i), c.Cols); err != nil {
				return nil, 0, err
			}
			part := clampDiff(d)
			c.Diff = append(c.Diff, part)
			c.N++
			d -= int64(part)
			bytes += int64(len(k.images.Bytes(i))) + 8
		}
	}
	return out, bytes, nil
}

// clampDiff gives as much of d as fits an int32.
func clampDiff(d int64) int32 {
	return int32(max(min(d, 1<<31-1), -1<<31))
}
