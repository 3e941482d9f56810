package connector

import "github.com/streamdb/streamdb/types"

// Chunk gives the batch's chunk for relation r of the given column types,
// making it if it is not there.
func (b *Batch) Chunk(r int, ts []types.Type) *types.Chunk {
	for len(b.Chunks) <= r {
		b.Chunks = append(b.Chunks, nil)
	}
	if b.Chunks[r] == nil || len(b.Chunks[r].Cols) != len(ts) {
		b.Chunks[r] = types.NewChunk(ts)
	}
	return b.Chunks[r]
}

// Rows gives the number of rows in all chunks.
func (b *Batch) Rows() int {
	n := 0
	for _, c := range b.Chunks {
		if c != nil {
			n += c.N
		}
	}
	return n
}

// SetNulls makes all n rows of v, which it has, NULL: a column not needed.
func SetNulls(v *types.Vec, n int) {
	v.Nulls = types.MakeBitmap(nil, n)
	for i := range v.Nulls {
		v.Nulls[i] = ^uint64(0)
	}
	if n&63 != 0 {
		v.Nulls[n>>6] = 1<<(n&63) - 1
	}
	if v.Type.Kind.Phys() == types.PhysBytes {
		clear(v.Span)
	}
}
