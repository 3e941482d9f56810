package exec

import (
	"bytes"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// orderedSet is the values of min and max calls whose input takes rows back.
// Every value is kept in order; the one at the wanted end is fetched for the
// groups touched in an epoch, at its flush (see refresh).
type orderedSet struct {
	use    SortedUse
	table  *state.Sorted
	keys   types.KeyBatch // shares the bytes of the chunk's keys
	ord    types.KeyBatch
	images types.ByteBatch
	diff   []int32
}

// add takes the values of c, whose groups' keys are keys.
func (o *orderedSet) add(keys *types.KeyBatch, c *types.Chunk) error {
	arg, filter := &c.Cols[o.use.Arg], column(c, o.use.Filter)
	call := AggCall{}
	one := types.Chunk{Cols: c.Cols[o.use.Arg : o.use.Arg+1]}
	o.keys = types.KeyBatch{Data: keys.Data, Span: o.keys.Span[:0], Hash: o.keys.Hash[:0]}
	o.ord.Reset()
	o.images.Reset()
	o.diff = o.diff[:0]
	for k, n := 0, c.Rows(); k < n; k++ {
		r := c.Row(k)
		if !call.counts(arg, filter, r) {
			continue
		}
		o.keys.Span = append(o.keys.Span, keys.Span[k])
		o.keys.Hash = append(o.keys.Hash, keys.Hash[k])
		off := len(o.ord.Data)
		o.ord.Data = types.AppendKey(o.ord.Data, arg, r)
		o.ord.Span = append(o.ord.Span, types.Span{Off: uint32(off), Len: uint32(len(o.ord.Data) - off)})
		off = len(o.images.Data)
		o.images.Data = types.AppendImage(o.images.Data, &one, r, nil)
		o.images.Span = append(o.images.Span, types.Span{Off: uint32(off), Len: uint32(len(o.images.Data) - off)})
		o.diff = append(o.diff, c.DiffAt(r))
	}
	if o.keys.Len() == 0 {
		return nil
	}
	return o.table.Add(&o.keys, &o.ord, &o.images, o.diff)
}

// refresh brings the current values in the blobs of touched groups lo to hi up
// to date.
func (a *hashAgg) refresh(lo, hi int) error {
	e := &a.emit
	e.keys.Reset()
	e.live = e.live[:0]
	for i := lo; i < hi; i++ {
		s, _, _, _ := a.lines.TouchedAt(i)
		if len(a.spec.Keys) == 0 || rowCount(a.lines.Line(s)) > 0 {
			e.keys.Add(a.lines.Key(s))
			e.live = append(e.live, s)
		}
	}
	if len(e.live) == 0 {
		return nil
	}
	if cap(e.found) < len(e.live) {
		e.found = make([]bool, emitLines)
	}
	for i := range a.calls {
		c := &a.calls[i]
		if c.form != formSorted {
			continue
		}
		c.first.Reset()
		if err := a.tables[c.sorted].First(&e.keys, c.Func.Desc, &c.first, e.found[:len(e.live)]); err != nil {
			return err
		}
	}
	for k, s := range e.live {
		a.part.split(a.lines.Blob(s))
		for i := range a.calls {
			c := &a.calls[i]
			if c.form != formSorted {
				continue
			}
			// An absent value is an empty part: every image has a byte.
			if v := c.first.Bytes(k); !bytes.Equal(v, a.part.get(c.part)) {
				a.part.set(c.part, v)
			}
		}
		a.storeBlob(s)
	}
	return nil
}
