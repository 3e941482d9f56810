package exec

import (
	"bytes"
	"slices"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// SortKey orders an ad-hoc read's output by column Col.
type SortKey struct {
	Col   int
	Order types.OrderSpec
}

// Finish is what happens to the output of an ad-hoc read: it is ordered, cut,
// and its trailing columns that served only the order are dropped.
type Finish struct {
	Order  []SortKey
	Limit  int64 // rows, -1: all
	Offset int64
	Hidden int
}

// topSlack is how many rows beyond those wanted a bounded sort gathers at
// least before it drops the rest.
const topSlack = 4096

// sorter orders signed rows by their order encodings, then by their images,
// and sums equal ones. With a bound it keeps only the first rows.
type sorter struct {
	keys  []SortKey
	bound int64 // rows wanted, -1: all
	limit int64 // bytes, 0: no limit
	rows  []sortRow
	data  []byte
	spare []byte
}

type sortRow struct {
	off, key, image int // in data: key bytes at off, then the image
	count           int64
}

func (s *sorter) keyOf(r *sortRow) []byte   { return s.data[r.off : r.off+r.key] }
func (s *sorter) imageOf(r *sortRow) []byte { return s.data[r.off+r.key : r.off+r.key+r.image] }

// add takes the selected rows of c.
func (s *sorter) add(c *types.Chunk) error {
	for k, n := 0, c.Rows(); k < n; k++ {
		r := c.Row(k)
		d := c.DiffAt(r)
		if d < 0 && s.bound >= 0 {
			return pgerr.Internal("an ad-hoc read took a row back")
		}
		row := sortRow{off: len(s.data), count: int64(d)}
		for _, o := range s.keys {
			s.data = types.AppendOrder(s.data, &c.Cols[o.Col], r, o.Order)
		}
		row.key = len(s.data) - row.off
		s.data = types.AppendImage(s.data, c, r, nil)
		row.image = len(s.data) - row.off - row.key
		s.rows = append(s.rows, row)
	}
	if s.bound >= 0 && int64(len(s.rows)) >= 2*s.bound+topSlack {
		if err := s.sort(); err != nil {
			return err
		}
		s.compact()
	}
	if s.limit > 0 && int64(len(s.data)+len(s.rows)*32) > s.limit {
		return pgerr.New(pgerr.OutOfMemory, "sorting needs more than %d MB of memory", s.limit>>20).
			WithHint("Add a LIMIT, or select less.")
	}
	return nil
}

// sort orders the rows, sums equal ones and drops those past the bound.
func (s *sorter) sort() error {
	slices.SortFunc(s.rows, func(a, b sortRow) int {
		if c := bytes.Compare(s.keyOf(&a), s.keyOf(&b)); c != 0 {
			return c
		}
		return bytes.Compare(s.imageOf(&a), s.imageOf(&b))
	})
	out := s.rows[:0]
	total := int64(0)
	for i := 0; i < len(s.rows); {
		r := s.rows[i]
		for i++; i < len(s.rows) && bytes.Equal(s.imageOf(&r), s.imageOf(&s.rows[i])); i++ {
			r.count += s.rows[i].count
		}
		if r.count < 0 {
			return pgerr.Internal("an ad-hoc read has a row %d times", r.count)
		}
		if r.count == 0 {
			continue
		}
		out = append(out, r)
		if total += r.count; s.bound >= 0 && total >= s.bound {
			break
		}
	}
	s.rows = out
	if s.bound == 0 {
		s.rows = s.rows[:0]
	}
	return nil
}

// compact drops the bytes of rows that are gone.
func (s *sorter) compact() {
	s.spare = s.spare[:0]
	for i := range s.rows {
		r := &s.rows[i]
		off := len(s.spare)
		s.spare = append(s.spare, s.data[r.off:r.off+r.key+r.image]...)
		r.off = off
	}
	s.data, s.spare = s.spare, s.data
}

// finisher applies a Finish to the output of an ad-hoc read. Rows come out in
// order, with positive multiplicities.
type finisher struct {
	Finish
	types  []types.Type
	out    func(*types.Chunk) error
	sorter *sorter // nil: rows are passed as they come
	skip   int64
	left   int64 // rows still wanted, -1: all
	chunk  types.Chunk
}

func newFinisher(f Finish, ts []types.Type, memory int64, out func(*types.Chunk) error) *finisher {
	x := &finisher{Finish: f, types: ts, out: out, skip: f.Offset, left: f.Limit}
	if len(f.Order) > 0 {
		x.sorter = &sorter{keys: f.Order, bound: -1, limit: memory}
		if f.Limit >= 0 && f.Limit <= 1<<40 && f.Offset <= 1<<40 {
			x.sorter.bound = f.Limit + f.Offset
		}
	}
	return x
}

// enough reports that no more rows are wanted.
func (x *finisher) enough() bool { return x.sorter == nil && x.left == 0 }

// push takes output.
func (x *finisher) push(c *types.Chunk) error {
	if x.sorter != nil {
		return x.sorter.add(c)
	}
	return x.pass(c)
}

// end gives the ordered rows.
func (x *finisher) end() error {
	s := x.sorter
	if s == nil {
		return nil
	}
	if err := s.sort(); err != nil {
		return err
	}
	c := types.NewChunk(x.types)
	for i := range s.rows {
		r := &s.rows[i]
		for n := r.count; n > 0; {
			if err := types.DecodeImage(s.imageOf(r), c.Cols); err != nil {
				return err
			}
			part := clampDiff(n)
			n -= int64(part)
			c.Diff = append(c.Diff, part)
			c.N++
			if c.N == mergeRows || textBytes(c) >= mergeBytes {
				if err := x.pass(c); err != nil {
					return err
				}
				c.Reset()
			}
		}
		if x.left == 0 {
			return nil
		}
	}
	return x.pass(c)
}

// pass applies offset and limit to rows in their order.
func (x *finisher) pass(c *types.Chunk) error {
	sel, diff := x.chunk.Sel[:0], x.chunk.Diff[:0]
	if cap(diff) < c.N {
		diff = make([]int32, types.MaxChunkRows)
	}
	diff = diff[:c.N]
	for k, n := 0, c.Rows(); k < n && x.left != 0; k++ {
		r := c.Row(k)
		d := int64(c.DiffAt(r))
		if d < 0 {
			return pgerr.Internal("an ad-hoc read took a row back")
		}
		cut := min(x.skip, d)
		x.skip -= cut
		d -= cut
		if x.left > 0 {
			d = min(d, x.left)
			x.left -= d
		}
		if d > 0 {
			sel = append(sel, uint16(r))
			diff[r] = int32(d)
		}
	}
	x.chunk = types.Chunk{Cols: c.Cols[:len(c.Cols)-x.Hidden], Diff: diff, Sel: sel, N: c.N}
	if len(sel) == 0 {
		return nil
	}
	return x.out(&x.chunk)
}
