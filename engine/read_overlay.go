package engine

import (
	"context"

	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/types"
)

// reader reads a relation as a transaction sees it: a snapshot with the
// transaction's own writes over it (own, nil: none). Where both have a row of
// the same primary key, the transaction's stands.
type reader struct {
	snap relation.Snapshot
	own  *tableWrites
}

// lookup gives the row with a key, none or one.
func (r *reader) lookup(ctx context.Context, key []types.Datum) (*types.Chunk, error) {
	if r.own == nil {
		return r.snap.Lookup(ctx, key)
	}
	var enc []byte
	for _, d := range key {
		enc = types.AppendKeyDatum(enc, d)
	}
	touched, row := r.own.touched(types.HashKey(enc), enc)
	if !touched {
		return r.snap.Lookup(ctx, key)
	}
	c := types.NewChunk(r.own.types)
	if row >= 0 {
		if err := appendImage(c, r.own.writes[row].image, 1); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// scan gives all rows, with positive multiplicities; columns not in need
// (nil: all) may be NULL. Chunks are borrowed by f.
func (r *reader) scan(ctx context.Context, need []int, f func(*types.Chunk) error) error {
	var o *overlay
	if r.own != nil {
		o, need = newOverlay(r.own), nil
	}
	chunks, err := r.snap.Scan(ctx, need)
	if err != nil {
		return err
	}
	defer chunks.Close()
	for {
		c, err := chunks.Next()
		if err != nil {
			return err
		}
		if c == nil {
			break
		}
		if o != nil {
			if c = o.apply(c); c.Rows() == 0 {
				continue
			}
		}
		if err := f(c); err != nil {
			return err
		}
	}
	if o == nil {
		return nil
	}
	return o.added(f)
}

// overlay applies a transaction's writes to the chunks of one scan.
type overlay struct {
	own   *tableWrites
	left  map[int32]int64 // keyless: copies still to be taken away, by write
	keys  types.KeyBatch
	out   types.Chunk
	image []byte
}

func newOverlay(own *tableWrites) *overlay {
	o := &overlay{own: own}
	o.out.Sel = make([]uint16, 0, types.MaxChunkRows) // never nil, which means all rows
	if !own.keyed {
		o.left = map[int32]int64{}
		for i := range own.writes {
			if d := own.writes[i].diff; d < 0 {
				o.left[int32(i)] = -d
			}
		}
	}
	return o
}

// apply takes away what the transaction has deleted or replaced.
func (o *overlay) apply(c *types.Chunk) *types.Chunk {
	o.keys.Encode(c, o.own.rowKey)
	o.out = types.Chunk{Cols: c.Cols, Diff: c.Diff, Sel: o.out.Sel[:0], N: c.N}
	copied := false
	for k := range o.keys.Len() {
		r := c.Row(k)
		if o.own.keyed {
			if touched, _ := o.own.touched(o.keys.Hash[k], o.keys.Key(k)); !touched {
				o.out.Sel = append(o.out.Sel, uint16(r))
			}
			continue
		}
		have := int64(c.DiffAt(r))
		keep := have - o.take(c, r, k, have)
		if keep == 0 {
			continue
		}
		if keep != have {
			if !copied {
				o.out.Diff, copied = copyDiffs(c), true
			}
			o.out.Diff[r] = int32(keep)
		}
		o.out.Sel = append(o.out.Sel, uint16(r))
	}
	return &o.out
}

// take gives how many of a row's copies go.
func (o *overlay) take(c *types.Chunk, r, k int, have int64) int64 {
	i := o.own.first(o.keys.Hash[k], o.keys.Key(k))
	if i < 0 {
		return 0
	}
	o.image = types.AppendImage(o.image[:0], c, r, nil)
	for ; i >= 0; i = o.own.writes[i].next {
		if string(o.own.writes[i].image) == string(o.image) {
			n := min(have, o.left[i])
			if n > 0 {
				o.left[i] -= n
			}
			return n
		}
	}
	return 0
}

func copyDiffs(c *types.Chunk) []int32 {
	d := make([]int32, c.N)
	for i := range d {
		d[i] = c.DiffAt(i)
	}
	return d
}

// added gives the rows that the transaction has added.
func (o *overlay) added(f func(*types.Chunk) error) error {
	c := types.NewChunk(o.own.types)
	for i := range o.own.writes {
		w := &o.own.writes[i]
		for d := w.diff; d > 0; {
			part := min(d, 1<<31-1)
			d -= part
			if err := appendImage(c, w.image, int32(part)); err != nil {
				return err
			}
			if c.N == types.MaxChunkRows {
				if err := f(c); err != nil {
					return err
				}
				c = types.NewChunk(o.own.types)
			}
		}
	}
	if c.N == 0 {
		return nil
	}
	return f(c)
}
