package exec

import (
	"bytes"
	"encoding/binary"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// SetOpKind is a set operation that compares its inputs.
type SetOpKind uint8

// The operations. All counts rows, the others give each row once.
const (
	Intersect SetOpKind = iota
	IntersectAll
	Except
	ExceptAll
)

// times gives how often a row stands in the result that stands l times in the
// left input and r times in the right one.
func (k SetOpKind) times(l, r int64) int64 {
	switch {
	case k == Intersect && l > 0 && r > 0, k == Except && l > 0 && r <= 0:
		return 1
	case k == IntersectAll:
		return max(min(l, r), 0)
	case k == ExceptAll:
		return max(l-max(r, 0), 0)
	}
	return 0
}

// SetOpLineWidth gives the bytes of a line of a set operation: the numbers of
// left and of right rows, and how many are given.
const SetOpLineWidth = 24

// SetOpStates gives the states of a set operation over rows of types ts:
// Lines, and if equal rows may have different images a Bag of the left ones.
func SetOpStates(ts []types.Type) []state.Kind {
	if keysAreImages(ts) {
		return []state.Kind{state.KindLines}
	}
	return []state.Kind{state.KindLines, state.KindBag}
}

func keysAreImages(ts []types.Type) bool {
	for _, t := range ts {
		if !t.Kind.ImageIsKey() {
			return false
		}
	}
	return true
}

// setOp keeps for each row how often it stands in either input. A row is
// given at the flush if its number has changed. Of equal rows with different
// images the least of the left input's is given, which the line's blob keeps.
type setOp struct {
	timeless
	kind   SetOpKind
	types  []types.Type
	lines  *state.Lines
	bag    *state.Bag // nil: the key tells the image
	cols   []int
	keys   types.KeyBatch
	images types.ByteBatch
	match  state.Matches
	slots  []state.Slot
	rows   [][]byte
	diff   []int32
	least  [][]byte // of a batch of lines
	out    types.Chunk
}

// NewSetOp makes a set operation over ports 0 (left) and 1. States:
// SetOpStates.
func NewSetOp(t *Task, kind SetOpKind, ts []types.Type) Operator {
	o := &setOp{
		kind: kind, types: ts, lines: t.Lines(0), cols: make([]int, len(ts)),
		slots: make([]state.Slot, types.MaxChunkRows), rows: make([][]byte, types.MaxChunkRows),
		out: *types.NewChunk(ts),
	}
	for i := range ts {
		o.cols[i] = i
	}
	if !keysAreImages(ts) {
		o.bag = t.Bag(1)
	}
	o.match.Max = types.MaxChunkRows
	return o
}

// Process implements Operator.
func (o *setOp) Process(port int, c *types.Chunk, _ Out) error {
	n := c.Rows()
	o.keys.Encode(c, o.cols)
	slots, rows := o.slots[:n], o.rows[:n]
	if err := o.lines.Resolve(&o.keys, state.Create, slots); err != nil {
		return err
	}
	o.lines.MutableRows(slots, rows)
	o.diff = o.diff[:0]
	for k, row := range rows {
		d := c.DiffAt(c.Row(k))
		o.diff = append(o.diff, d)
		f := row[8*port:]
		binary.LittleEndian.PutUint64(f, binary.LittleEndian.Uint64(f)+uint64(int64(d)))
	}
	if port != 0 || o.bag == nil {
		return nil
	}
	o.images.EncodeImages(c, nil)
	return o.bag.Add(&o.keys, &o.images, o.diff)
}

// Flush implements Operator.
func (o *setOp) Flush(_ types.EpochInfo, out Out) error {
	const batch = 256
	for lo, n := 0, o.lines.Touched(); lo < n; lo += batch {
		hi := min(lo+batch, n)
		if o.bag != nil {
			if err := o.findLeast(lo, hi); err != nil {
				return err
			}
		}
		for i := lo; i < hi; i++ {
			if err := o.settle(i, i-lo, out); err != nil {
				return err
			}
		}
	}
	return o.send(out)
}

// findLeast finds the least left image of touched lines lo to hi.
func (o *setOp) findLeast(lo, hi int) error {
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

// settle gives what touched line i, number k of its batch, has changed by.
func (o *setOp) settle(i, k int, out Out) error {
	s, _, _, _ := o.lines.TouchedAt(i)
	row := o.lines.Mutable(s)
	field := func(i int) int64 { return int64(binary.LittleEndian.Uint64(row[8*i:])) }
	given, want := field(2), o.kind.times(field(0), field(1))
	old, image := o.lines.Key(s), o.lines.Key(s)
	if o.bag != nil {
		old, image = o.lines.Blob(s), o.least[k]
	}
	same := want == 0 || bytes.Equal(old, image)
	if given != 0 && !same || given != 0 && want == 0 {
		if err := o.give(old, -given, out); err != nil {
			return err
		}
		given = 0
	}
	if want != given {
		if err := o.give(image, want-given, out); err != nil {
			return err
		}
	}
	if field(0) == 0 && field(1) == 0 {
		o.lines.Delete(s)
		return nil
	}
	binary.LittleEndian.PutUint64(row[16:], uint64(want))
	if o.bag != nil && want == 0 {
		o.lines.SetBlob(s, nil)
	} else if o.bag != nil && !same {
		o.lines.SetBlob(s, image)
	}
	return nil
}

// give adds a row, by its key or its image, to the output n times.
func (o *setOp) give(row []byte, n int64, out Out) error {
	for n != 0 {
		var err error
		if o.bag == nil {
			err = decodeKey(o.out.Cols, row)
		} else {
			err = types.DecodeImage(row, o.out.Cols)
		}
		if err != nil {
			return pgerr.Wrap(err, pgerr.DataCorrupted, "a row in the state of a set operation can not be read")
		}
		part := clampDiff(n)
		n -= int64(part)
		o.out.Diff = append(o.out.Diff, part)
		if o.out.N++; o.out.N == types.MaxChunkRows {
			if err := o.send(out); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *setOp) send(out Out) error {
	if o.out.N == 0 {
		return nil
	}
	err := out.Push(&o.out)
	o.out.Reset()
	return err
}
