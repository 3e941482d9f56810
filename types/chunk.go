package types

import "fmt"

// MaxChunkRows bounds the physical rows of a chunk, so that a row number
// fits the uint16 of a selection.
const MaxChunkRows = 4096

// Chunk is a batch of signed rows: row i stands for Diff[i] copies of itself
// (negative: that many are taken away). An update is the old row at -1 and
// the new row at +1, in any order and not necessarily in one chunk.
//
// Invariants (checked by Check under the invariants build tag): every column
// has N physical rows; Diff is nil (all +1) or has N entries, never 0 on a
// selected row; Sel is nil (all rows) or strictly ascending row numbers < N.
//
// A chunk passed to a call is borrowed until the call returns: the callee
// neither keeps nor changes it, its vectors or its selection. A chunk behind
// an exchange belongs to the receiver until it is released to its pool.
type Chunk struct {
	Cols []Vec
	Diff []int32
	Sel  []uint16
	N    int
}

// Rows gives the number of selected rows.
func (c *Chunk) Rows() int {
	if c.Sel != nil {
		return len(c.Sel)
	}
	return c.N
}

// Row gives the physical row of the k-th selected row.
func (c *Chunk) Row(k int) int {
	if c.Sel != nil {
		return int(c.Sel[k])
	}
	return k
}

// DiffAt gives the multiplicity of physical row i.
func (c *Chunk) DiffAt(i int) int32 {
	if c.Diff == nil {
		return 1
	}
	return c.Diff[i]
}

// NewChunk makes an empty chunk with columns of the given types.
func NewChunk(ts []Type) *Chunk {
	c := &Chunk{Cols: make([]Vec, len(ts))}
	for i, t := range ts {
		c.Cols[i].Type = t
	}
	return c
}

// Reset empties the chunk and keeps its memory.
func (c *Chunk) Reset() {
	for i := range c.Cols {
		c.Cols[i].Reset(c.Cols[i].Type)
	}
	c.Diff, c.Sel, c.N = c.Diff[:0], nil, 0
	if cap(c.Diff) == 0 {
		c.Diff = nil
	}
}

// AppendRow adds one row with a multiplicity. For edges and tests.
func (c *Chunk) AppendRow(diff int32, row ...Datum) {
	for i := range c.Cols {
		c.Cols[i].Append(row[i])
	}
	if len(c.Diff) == 0 && c.N > 0 { // was "all +1"
		for i := 0; i < c.N; i++ {
			c.Diff = append(c.Diff, 1)
		}
	}
	c.Diff = append(c.Diff, diff)
	c.N++
}

// Compact appends the selected rows of c to dst (of the same column types),
// copying all bytes, so that dst shares nothing with c.
func (c *Chunk) Compact(dst *Chunk) {
	n := c.Rows()
	if n == 0 {
		return
	}
	for i := range c.Cols {
		dst.Cols[i].AppendVec(&c.Cols[i], c.Sel, c.N)
	}
	if dst.Diff == nil && c.Diff != nil {
		for i := 0; i < dst.N; i++ {
			dst.Diff = append(dst.Diff, 1)
		}
	}
	if dst.Diff != nil || c.Diff != nil {
		for k := 0; k < n; k++ {
			dst.Diff = append(dst.Diff, c.DiffAt(c.Row(k)))
		}
	}
	dst.N += n
}

// AppendVec adds the rows of src named by sel (nil: rows 0..n-1) to v,
// copying bytes.
func (v *Vec) AppendVec(src *Vec, sel []uint16, n int) {
	base := v.Len()
	m := n
	if sel != nil {
		m = len(sel)
	}
	row := func(k int) int {
		if sel != nil {
			return int(sel[k])
		}
		return k
	}
	switch v.Type.Kind.Phys() {
	case PhysBool:
		v.Bool = appendSel(v.Bool, src.Bool, sel, n)
	case PhysInt64:
		v.I64 = appendSel(v.I64, src.I64, sel, n)
	case PhysFloat64:
		v.F64 = appendSel(v.F64, src.F64, sel, n)
	case PhysInterval:
		v.Iv = appendSel(v.Iv, src.Iv, sel, n)
	default:
		v.ownData()
		for k := 0; k < m; k++ {
			s := src.Span[row(k)]
			v.Span = append(v.Span, Span{Off: uint32(len(v.Data)), Len: s.Len})
			v.Data = append(v.Data, src.Data[s.Off:s.Off+s.Len]...)
		}
	}
	if src.Nulls == nil && v.Nulls == nil {
		return
	}
	for len(v.Nulls) < (base+m+63)>>6 {
		v.Nulls = append(v.Nulls, 0)
	}
	for k := 0; k < m && src.Nulls != nil; k++ {
		if src.Nulls.Get(row(k)) {
			v.Nulls.Set(base + k)
		}
	}
}

func appendSel[T any](dst, src []T, sel []uint16, n int) []T {
	if sel == nil {
		return append(dst, src[:n]...)
	}
	for _, r := range sel {
		dst = append(dst, src[r])
	}
	return dst
}

// Check verifies the invariants above and says which is broken.
func (c *Chunk) Check() error {
	for i := range c.Cols {
		if l := c.Cols[i].Len(); l < c.N {
			return fmt.Errorf("chunk: column %d has %d rows of %d", i, l, c.N)
		}
	}
	if c.Diff != nil && len(c.Diff) < c.N {
		return fmt.Errorf("chunk: %d diffs for %d rows", len(c.Diff), c.N)
	}
	last := -1
	for k := 0; k < c.Rows(); k++ {
		r := c.Row(k)
		if r <= last || r >= c.N {
			return fmt.Errorf("chunk: selection entry %d is %d after %d of %d rows", k, r, last, c.N)
		}
		if c.DiffAt(r) == 0 {
			return fmt.Errorf("chunk: row %d has multiplicity 0", r)
		}
		last = r
	}
	return nil
}
