package exec

import (
	"bytes"
	"encoding/binary"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// SingleRowLineWidth gives the bytes of a line of a single-row check: the
// number of rows with the key, and whether the blob is an error's image (1) or
// that of the row that is given (0).
const SingleRowLineWidth = 16

// errSeveralRows is what a scalar subquery with several rows gives.
var errSeveralRows = pgerr.New(pgerr.CardinalityViolation, "more than one row returned by a subquery used as an expression")

// singleRow passes the row of each key that has just one, and gives an error
// for those that have several: what a scalar subquery is. It decides at the
// flush.
type singleRow struct {
	timeless
	id     int
	by     []int
	lines  *state.Lines
	bag    *state.Bag
	keys   types.KeyBatch
	images types.ByteBatch
	match  state.Matches
	slots  []state.Slot
	rows   [][]byte
	diff   []int32
	least  [][]byte
	out    types.Chunk
	one    types.Chunk // a row, to take its key's columns
	errs   ErrorRows
}

// NewSingleRow makes a check over rows of types ts that have to be single for
// each key in columns by (none: at all). States: Lines of width
// SingleRowLineWidth, Bag.
func NewSingleRow(t *Task, ts []types.Type, by []int) Operator {
	o := &singleRow{
		id: t.Op, by: by, lines: t.Lines(0), bag: t.Bag(1), out: *types.NewChunk(ts), one: *types.NewChunk(ts),
		slots: make([]state.Slot, types.MaxChunkRows), rows: make([][]byte, types.MaxChunkRows),
	}
	o.match.Max = types.MaxChunkRows
	o.errs.Op = t.Op
	return o
}

// Process implements Operator.
func (o *singleRow) Process(_ int, c *types.Chunk, _ Out) error {
	n := c.Rows()
	o.keys.Encode(c, o.by)
	slots, rows := o.slots[:n], o.rows[:n]
	if err := o.lines.Resolve(&o.keys, state.Create, slots); err != nil {
		return err
	}
	o.lines.MutableRows(slots, rows)
	o.diff = o.diff[:0]
	for k, row := range rows {
		d := c.DiffAt(c.Row(k))
		o.diff = append(o.diff, d)
		binary.LittleEndian.PutUint64(row, binary.LittleEndian.Uint64(row)+uint64(int64(d)))
	}
	o.images.EncodeImages(c, nil)
	return o.bag.Add(&o.keys, &o.images, o.diff)
}

// Flush implements Operator.
func (o *singleRow) Flush(_ types.EpochInfo, out Out) error {
	const batch = 256
	for lo, n := 0, o.lines.Touched(); lo < n; lo += batch {
		hi := min(lo+batch, n)
		if err := o.findLeast(lo, hi); err != nil {
			return err
		}
		for i := lo; i < hi; i++ {
			if err := o.settle(i, i-lo); err != nil {
				return err
			}
		}
		if err := o.send(out); err != nil {
			return err
		}
	}
	return nil
}

// findLeast finds the least row of touched lines lo to hi: the only one, or
// one to name an error's key by.
func (o *singleRow) findLeast(lo, hi int) error {
	o.keys.Reset()
	for i := lo; i < hi; i++ {
		s, _, _, _ := o.lines.TouchedAt(i)
		o.keys.Add(o.lines.Key(s))
	}
	o.least = append(o.least[:0], make([][]byte, hi-lo)...)
	for o.match.Begin(); ; {
		if err := o.bag.Match(&o.keys, &o.match); err != nil {
			return err
		}
		for i, k := range o.match.Key {
			image := o.match.Image.Bytes(i)
			if o.match.Count[i] > 0 && (o.least[k] == nil || bytes.Compare(image, o.least[k]) < 0) {
				o.least[k] = append(o.least[k][:0], image...)
			}
		}
		if !o.match.More {
			return nil
		}
	}
}

// settle replaces what the key of touched line i, number k of its batch, has
// given by what it gives now.
func (o *singleRow) settle(i, k int) error {
	s, _, _, _ := o.lines.TouchedAt(i)
	row := o.lines.Mutable(s)
	n, failed := int64(binary.LittleEndian.Uint64(row)), row[8] != 0
	image, fails := o.least[k], n > 1
	switch {
	case n < 0:
		return pgerr.Internal("more rows were taken from a key of operator %d than it had", o.id)
	case n == 0:
		image = nil
	case fails:
		var err error
		if image, err = o.keyImage(image); err != nil {
			return err
		}
	}
	old := o.lines.Blob(s)
	if failed != fails || !bytes.Equal(old, image) {
		if err := o.give(old, failed, -1); err != nil {
			return err
		}
		if err := o.give(image, fails, 1); err != nil {
			return err
		}
	}
	if n == 0 {
		o.lines.Delete(s)
		return nil
	}
	row[8] = 0
	if fails {
		row[8] = 1
	}
	o.lines.SetBlob(s, image)
	return nil
}

// keyImage gives the image of a row's key columns.
func (o *singleRow) keyImage(image []byte) ([]byte, error) {
	o.one.Reset()
	if err := types.DecodeImage(image, o.one.Cols); err != nil {
		return nil, errSingleRow(err)
	}
	o.one.N = 1
	// A byte before it tells it from no image.
	return types.AppendImage([]byte{'k'}, &o.one, 0, append([]int{}, o.by...)), nil
}

func errSingleRow(err error) error {
	return pgerr.Wrap(err, pgerr.DataCorrupted, "a row in the state of a subquery can not be read")
}

// give adds a row or an error to the output; an empty image is none.
func (o *singleRow) give(image []byte, fails bool, d int32) error {
	switch {
	case len(image) == 0:
	case fails:
		o.errs.Images.Add(image)
		o.errs.Diff, o.errs.Errs = append(o.errs.Diff, d), append(o.errs.Errs, errSeveralRows)
	default:
		if err := types.DecodeImage(image, o.out.Cols); err != nil {
			return errSingleRow(err)
		}
		o.out.Diff = append(o.out.Diff, d)
		o.out.N++
	}
	return nil
}

func (o *singleRow) send(out Out) error {
	if len(o.errs.Diff) > 0 {
		err := out.Fail(&o.errs)
		o.errs.Images.Reset()
		o.errs.Diff, o.errs.Errs = o.errs.Diff[:0], o.errs.Errs[:0]
		if err != nil {
			return err
		}
	}
	if o.out.N == 0 {
		return nil
	}
	err := out.Push(&o.out)
	o.out.Reset()
	return err
}
