package exec

import (
	"encoding/binary"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// JoinKind says which rows a join gives.
type JoinKind uint8

// The kinds. A right join is a left one with its sides exchanged.
const (
	InnerJoin JoinKind = iota // pairs
	LeftJoin                  // pairs, and the left rows without a match, with NULLs on the right
	FullJoin                  // pairs, and the rows of both sides without a match
	SemiJoin                  // the left rows with a match, as they are
	AntiJoin                  // the left rows without a match, as they are
)

// States gives the kinds of state that a join of this kind keeps, in order.
func (k JoinKind) States() []state.Kind {
	switch k {
	case InnerJoin:
		return []state.Kind{state.KindBag, state.KindBag}
	case LeftJoin, FullJoin:
		return []state.Kind{state.KindBag, state.KindBag, state.KindLines}
	}
	return []state.Kind{state.KindBag, state.KindLines}
}

// JoinLineWidth gives the bytes of a line of a join that is not inner: the
// numbers of left and of right rows with the key, then for each side what is
// decided of its rows.
const JoinLineWidth = 8 + 8 + 8

// What is decided of a side's rows with one key. A key is decided at the
// flush; one that is new has given nothing before that, so that a match which
// comes in the same epoch causes no churn.
const (
	undecided byte = iota
	lone           // the other side has no row with the key
	matched
)

// outerJoin is an equi-join that gives some rows by whether they have a match
// at all. No condition but the keys decides on a match, so a line for each
// key, with the number of rows of both sides, knows.
//
// While a key stays as the last flush has decided, changes of rows pass on (or
// not) as they come. A flush that finds a key's match gained or lost gives or
// takes back all its rows.
type outerJoin struct {
	hashJoin
	kind   JoinKind
	counts *state.Lines
	gives  [2]bool // the side's rows are given by whether they have a match
	want   byte    // when they are: lone or matched
	nulls  [2][]types.Vec
	slots  []state.Slot
	rows   [][]byte
	chosen []uint16
	view   types.Chunk
	turns  [2]turnedKeys
	lone   [2]types.Chunk // turned rows, decoded
}

// turnedKeys are keys of which all rows of a side are now given (+1) or taken
// back (-1).
type turnedKeys struct {
	keys  types.KeyBatch
	signs []int64
}

func newOuterJoin(t *Task, spec HashJoinSpec) *outerJoin {
	o := &outerJoin{
		kind: spec.Kind, want: lone, gives: [2]bool{true, spec.Kind == FullJoin},
		slots: make([]state.Slot, types.MaxChunkRows), rows: make([][]byte, types.MaxChunkRows),
		chosen: make([]uint16, 0, types.MaxChunkRows),
	}
	bags := [2]*state.Bag{t.Bag(0)}
	if o.pairs() {
		bags[1] = t.Bag(1)
	}
	o.counts = t.Lines(len(spec.Kind.States()) - 1)
	o.init(t, spec, bags)
	if spec.Kind == SemiJoin {
		o.want = matched
	}
	for side, ts := range spec.Types {
		if o.gives[side] {
			o.lone[side] = *types.NewChunk(ts)
		}
	}
	if o.pairs() {
		for side, ts := range spec.Types {
			o.nulls[side] = make([]types.Vec, len(ts))
			for i, ty := range ts {
				o.nulls[side][i] = allNull(ty)
			}
		}
	}
	return o
}

// allNull is a column of NULLs as long as any chunk.
func allNull(t types.Type) types.Vec {
	var v types.Vec
	v.Resize(t, types.MaxChunkRows)
	for i := range types.MaxChunkRows {
		v.SetNull(i)
	}
	return v
}

// pairs reports whether the join gives pairs, and so keeps both sides' rows.
func (o *outerJoin) pairs() bool { return o.kind == LeftJoin || o.kind == FullJoin }

// Process implements Operator.
func (o *outerJoin) Process(side int, c *types.Chunk, out Out) error {
	o.in = *c
	o.in.Sel = o.matchable(side, c)
	n := o.in.Rows()
	if n < c.Rows() && o.gives[side] && o.want == lone {
		if err := o.push(side, c, o.without(c), out); err != nil {
			return err
		}
	}
	if n == 0 {
		return nil
	}
	o.keys.Encode(&o.in, o.spec.Keys[side])
	if o.bags[side] != nil {
		o.images.EncodeImages(&o.in, nil)
		if err := o.bags[side].Add(&o.keys, &o.images, o.diffs()); err != nil {
			return err
		}
	}
	if err := o.count(side, n); err != nil {
		return err
	}
	if o.gives[side] {
		if err := o.push(side, &o.in, o.decided(side, n), out); err != nil {
			return err
		}
	}
	if !o.pairs() {
		return nil
	}
	return o.matches(side, out)
}

// without selects the rows of c that are not in o.in: those that match
// nothing because of a NULL.
func (o *outerJoin) without(c *types.Chunk) []uint16 {
	o.chosen = o.chosen[:0]
	can := o.in.Sel
	for k, n := 0, c.Rows(); k < n; k++ {
		r := uint16(c.Row(k))
		if len(can) > 0 && can[0] == r {
			can = can[1:]
			continue
		}
		o.chosen = append(o.chosen, r)
	}
	return o.chosen
}

// count adds the multiplicities of o.in to the lines of its keys, and leaves
// these in o.rows.
func (o *outerJoin) count(side, n int) error {
	slots, rows := o.slots[:n], o.rows[:n]
	if err := o.counts.Resolve(&o.keys, state.Create, slots); err != nil {
		return err
	}
	o.counts.MutableRows(slots, rows)
	for k, row := range rows {
		f := row[8*side:]
		binary.LittleEndian.PutUint64(f, binary.LittleEndian.Uint64(f)+uint64(int64(o.in.DiffAt(o.in.Row(k)))))
	}
	return nil
}

// decided selects the rows of o.in whose key stands as wanted.
func (o *outerJoin) decided(side, n int) []uint16 {
	o.chosen = o.chosen[:0]
	for k, row := range o.rows[:n] {
		if row[16+side] == o.want {
			o.chosen = append(o.chosen, uint16(o.in.Row(k)))
		}
	}
	return o.chosen
}

// push gives rows of one side, with NULLs for the other if that has columns.
func (o *outerJoin) push(side int, c *types.Chunk, sel []uint16, out Out) error {
	if len(sel) == 0 {
		return nil
	}
	cols := append(o.view.Cols[:0], c.Cols...)
	if o.pairs() {
		cols = cols[:0]
		if side == 1 {
			cols = append(cols, o.nulls[0]...)
		}
		cols = append(cols, c.Cols...)
		if side == 0 {
			cols = append(cols, o.nulls[1]...)
		}
	}
	o.view = types.Chunk{Cols: cols, Diff: c.Diff, Sel: sel, N: c.N}
	return out.Push(&o.view)
}

// Flush implements Operator: it decides on the keys of the epoch.
func (o *outerJoin) Flush(_ types.EpochInfo, out Out) error {
	for i, n := 0, o.counts.Touched(); i < n; i++ {
		s, _, _, _ := o.counts.TouchedAt(i)
		o.decide(s)
		for side := range o.turns {
			if t := &o.turns[side]; t.keys.Len() == types.MaxChunkRows || i == n-1 && t.keys.Len() > 0 {
				if err := o.turn(side, out); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// decide brings the line of a key to what it stands at now, and notes it if
// its rows turn.
func (o *outerJoin) decide(s state.Slot) {
	row := o.counts.Mutable(s)
	n := [2]uint64{binary.LittleEndian.Uint64(row), binary.LittleEndian.Uint64(row[8:])}
	if n[0] == 0 && n[1] == 0 {
		o.counts.Delete(s)
		return
	}
	for side, gives := range o.gives {
		was, is := row[16+side], matched
		if n[1-side] == 0 {
			is = lone
		}
		if !gives || was == is {
			continue
		}
		row[16+side] = is
		if n[side] == 0 || was != o.want && is != o.want {
			continue
		}
		t := &o.turns[side]
		t.keys.Add(o.counts.Key(s))
		if is == o.want {
			t.signs = append(t.signs, 1)
		} else {
			t.signs = append(t.signs, -1)
		}
	}
}

// turn gives or takes back the rows of the keys noted for a side.
func (o *outerJoin) turn(side int, out Out) error {
	t := &o.turns[side]
	for o.match.Begin(); ; {
		if err := o.bags[side].Match(&t.keys, &o.match); err != nil {
			return err
		}
		for i, k := range o.match.Key {
			w, err := product(t.signs[k], o.match.Count[i])
			if err != nil {
				return err
			}
			if err := o.turned(side, w, o.match.Image.Bytes(i), out); err != nil {
				return err
			}
		}
		if err := o.sendTurned(side, out); err != nil {
			return err
		}
		if !o.match.More {
			break
		}
	}
	t.keys.Reset()
	t.signs = t.signs[:0]
	return nil
}

// turned adds a row to those to be sent, w times.
func (o *outerJoin) turned(side int, w int64, image []byte, out Out) error {
	for w != 0 {
		if o.lone[side].N == types.MaxChunkRows {
			if err := o.sendTurned(side, out); err != nil {
				return err
			}
		}
		if err := types.DecodeImage(image, o.lone[side].Cols); err != nil {
			return pgerr.Wrap(err, pgerr.DataCorrupted, "a row in the state of a join can not be read")
		}
		part := clampDiff(w)
		w -= int64(part)
		o.lone[side].Diff = append(o.lone[side].Diff, part)
		o.lone[side].N++
	}
	return nil
}

func (o *outerJoin) sendTurned(side int, out Out) error {
	err := o.push(side, &o.lone[side], allRows[:o.lone[side].N], out)
	o.lone[side].Reset()
	return err
}
