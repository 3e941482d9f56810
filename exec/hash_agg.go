package exec

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// AggCall is an aggregate over columns of the input: Arg and Filter are -1
// for none.
type AggCall struct {
	Func     *expr.AggFunc
	Arg      int
	Filter   int
	Distinct bool
	T        types.Type
}

// HashAggSpec is what an aggregation does. The output is the keys, then the
// aggregates.
type HashAggSpec struct {
	In         []types.Type
	Keys       []int
	Aggs       []AggCall
	AppendOnly bool
}

// SortedUse is a Sorted state of an aggregation: the values of column Arg of
// each group's rows, where column Filter is true (-1: of all).
type SortedUse struct {
	Arg, Filter int
	Desc        bool // which end is wanted; false if Distinct
	Distinct    bool
}

// States gives the states that the aggregation keeps after its Lines, which
// are of Width bytes: a Sorted for each (argument, filter, direction) of min
// and max, empty if the input is append-only, then one for each (argument,
// filter) under DISTINCT.
func (s *HashAggSpec) States() []SortedUse {
	l := layoutOf(s)
	return l.sorted
}

// Width gives the bytes of a line.
func (s *HashAggSpec) Width() int {
	l := layoutOf(s)
	return l.width
}

// aggForm is how a call keeps its value.
type aggForm uint8

const (
	formFixed  aggForm = iota // accumulator in the line
	formVar                   // accumulator in the blob
	formInline                // append-only min/max: flag and value in the line
	formKept                  // append-only min/max: value in the blob
	formSorted                // min/max: the current value, of a Sorted, in the blob
)

// inlineWidth is a flag and a value of 8 bytes each.
const inlineWidth = 16

// aggState is a call with its place.
type aggState struct {
	AggCall
	form   aggForm
	off    int // in the line: formFixed, formInline
	part   int // of the blob: the others
	sorted int // of aggLayout.sorted: formSorted's values
	// distinct is which of aggLayout.sorted tells the accumulator when a value
	// comes first and goes last, -1: it sees every row.
	distinct int
	fixed    expr.FixedAcc
	vari     expr.VarAcc
	first    types.ByteBatch // formSorted: current values of a batch of groups
}

// aggLayout is where an aggregation keeps what. A line is the number of the
// group's rows, then the fixed parts of the calls. A blob is its parts, each
// with a uvarint length before it; part 0 is the image of the group's key if
// that does not follow from the key's encoding.
type aggLayout struct {
	calls    []aggState
	width    int
	parts    int
	keyImage bool
	sorted   []SortedUse
}

func layoutOf(s *HashAggSpec) aggLayout {
	l := aggLayout{width: 8}
	for _, k := range s.Keys {
		if !s.In[k].Kind.ImageIsKey() {
			l.keyImage, l.parts = true, 1
		}
	}
	for _, c := range s.Aggs {
		if c.Func.Kind == expr.AggOrdered && !c.Distinct {
			l.use(SortedUse{Arg: c.Arg, Filter: c.Filter, Desc: c.Func.Desc})
		}
	}
	for _, c := range s.Aggs {
		if c.Distinct {
			l.use(SortedUse{Arg: c.Arg, Filter: c.Filter, Distinct: true})
		}
	}
	for _, c := range s.Aggs {
		l.place(c, s.AppendOnly)
	}
	return l
}

// place finds the place for a call.
func (l *aggLayout) place(c AggCall, appendOnly bool) {
	st := aggState{AggCall: c, distinct: -1}
	switch {
	case c.Func.Kind == expr.AggOrdered && !appendOnly:
		st.form = formSorted
		st.sorted = l.use(SortedUse{Arg: c.Arg, Filter: c.Filter, Desc: c.Func.Desc && !c.Distinct, Distinct: c.Distinct})
	case c.Func.Kind == expr.AggOrdered && c.T.Kind.Phys() == types.PhysInt64:
		st.form = formInline
	case c.Func.Kind == expr.AggOrdered:
		st.form = formKept
	case c.Func.Kind == expr.AggVar:
		st.form, st.vari = formVar, c.Func.NewVar()
	default:
		st.form, st.fixed = formFixed, c.Func.NewFixed()
	}
	if c.Distinct && c.Func.Kind != expr.AggOrdered {
		st.distinct = l.use(SortedUse{Arg: c.Arg, Filter: c.Filter, Distinct: true})
	}
	switch st.form {
	case formFixed:
		st.off = l.width
		l.width += st.fixed.Width()
	case formInline:
		st.off = l.width
		l.width += inlineWidth
	default:
		st.part = l.parts
		l.parts++
	}
	l.calls = append(l.calls, st)
}

// use gives the number of a Sorted state, a new one if there is none.
func (l *aggLayout) use(u SortedUse) int {
	i := slices.Index(l.sorted, u)
	if i < 0 {
		i = len(l.sorted)
		l.sorted = append(l.sorted, u)
	}
	return i
}

// hashAgg keeps a line for each group. A group is emitted at the flush, once:
// what it was, from the line's image before the epoch, and what it is, if the
// two differ.
type hashAgg struct {
	timeless
	aggLayout
	spec    HashAggSpec
	id      int
	lines   *state.Lines
	tables  []*state.Sorted // by number in sorted
	ordered []orderedSet
	unique  []distinctSet
	blobs   bool // rows change blobs
	fetches bool // there are calls of formSorted

	keys  types.KeyBatch
	empty types.KeyBatch // the key of the one group without keys
	slots []state.Slot
	rows  [][]byte
	part  blobParts
	buf   []byte
	value []byte
	emit  aggEmitter
}

// NewHashAgg makes an aggregation. States: Lines, then a Sorted for each of
// spec.States.
func NewHashAgg(t *Task, spec HashAggSpec) Operator {
	a := &hashAgg{
		aggLayout: layoutOf(&spec), spec: spec, id: t.Op, lines: t.Lines(0),
		slots: make([]state.Slot, types.MaxChunkRows), rows: make([][]byte, types.MaxChunkRows),
	}
	a.blobs = a.keyImage
	for i := range a.calls {
		c := &a.calls[i]
		a.fetches = a.fetches || c.form == formSorted
		a.blobs = a.blobs || c.form == formKept || c.form == formVar && c.distinct < 0
	}
	for i, u := range a.sorted {
		table := t.Sorted(1 + i)
		a.tables = append(a.tables, table)
		switch {
		case slices.ContainsFunc(a.calls, func(c aggState) bool { return c.distinct == i }):
			a.unique = append(a.unique, newDistinctSet(u, i, table, spec.In[u.Arg]))
		case !spec.AppendOnly:
			a.ordered = append(a.ordered, orderedSet{use: u, table: table})
		}
	}
	a.empty.Add(nil)
	a.part.init(a.parts)
	a.emit.init(a)
	return a
}

// Touched counts the groups changed in the epoch.
func (a *hashAgg) Touched() int { return a.lines.Touched() }

// Process implements Operator.
func (a *hashAgg) Process(_ int, c *types.Chunk, _ Out) error {
	n := c.Rows()
	if err := a.resolve(c, n); err != nil {
		return err
	}
	rows := a.rows[:n]
	countRows(rows, c)
	for i := range a.calls {
		call := &a.calls[i]
		switch {
		case call.distinct >= 0:
		case call.form == formFixed:
			call.fixed.Update(rows, call.off, column(c, call.Arg), c, column(c, call.Filter))
		case call.form == formInline:
			call.updateInline(rows, c)
		}
	}
	if a.blobs {
		a.updateBlobs(c)
	}
	for i := range a.ordered {
		if err := a.ordered[i].add(&a.keys, c); err != nil {
			return err
		}
	}
	for i := range a.unique {
		if err := a.unique[i].add(a, c); err != nil {
			return err
		}
	}
	return nil
}

// resolve fills rows, and slots, with the lines of c's groups.
func (a *hashAgg) resolve(c *types.Chunk, n int) error {
	slots, rows := a.slots[:n], a.rows[:n]
	if len(a.spec.Keys) > 0 || len(a.sorted) > 0 {
		a.keys.Encode(c, a.spec.Keys)
	}
	if len(a.spec.Keys) > 0 {
		if err := a.lines.Resolve(&a.keys, state.Create, slots); err != nil {
			return err
		}
		a.lines.MutableRows(slots, rows)
		return nil
	}
	if err := a.lines.Resolve(&a.empty, state.Create, slots[:1]); err != nil {
		return err
	}
	row := a.lines.Mutable(slots[0])
	for i := range rows {
		slots[i], rows[i] = slots[0], row
	}
	return nil
}

func column(c *types.Chunk, i int) *types.Vec {
	if i < 0 {
		return nil
	}
	return &c.Cols[i]
}

// countRows adds the multiplicities to the groups' numbers of rows.
func countRows(rows [][]byte, c *types.Chunk) {
	if c.Diff == nil {
		for _, row := range rows {
			binary.LittleEndian.PutUint64(row, binary.LittleEndian.Uint64(row)+1)
		}
		return
	}
	for k, row := range rows {
		d := uint64(int64(c.Diff[c.Row(k)]))
		binary.LittleEndian.PutUint64(row, binary.LittleEndian.Uint64(row)+d)
	}
}

// counts reports whether physical row r has a part in the call.
func (c *AggCall) counts(arg, filter *types.Vec, r int) bool {
	return (arg == nil || !arg.Null(r)) && (filter == nil || filter.Bool[r] && !filter.Null(r))
}

// updateInline keeps the greatest or least integer in the lines. No row is
// ever taken back.
func (c *aggState) updateInline(rows [][]byte, in *types.Chunk) {
	arg, filter := column(in, c.Arg), column(in, c.Filter)
	desc := c.Func.Desc
	for k, row := range rows {
		r := in.Row(k)
		if !c.counts(arg, filter, r) {
			continue
		}
		f := row[c.off : c.off+inlineWidth]
		v, cur := arg.I64[r], int64(binary.LittleEndian.Uint64(f[8:]))
		if f[0] == 0 || v != cur && (v > cur) == desc {
			f[0] = 1
			binary.LittleEndian.PutUint64(f[8:], uint64(v))
		}
	}
}

// updateBlobs changes what the rows' groups keep in blobs, row by row.
func (a *hashAgg) updateBlobs(c *types.Chunk) {
	for k, n := 0, c.Rows(); k < n; k++ {
		r := c.Row(k)
		a.part.split(a.lines.Blob(a.slots[k]))
		if a.keyImage && c.DiffAt(r) > 0 {
			a.keepKey(c, r)
		}
		for i := range a.calls {
			call := &a.calls[i]
			if call.distinct >= 0 || call.form != formVar && call.form != formKept {
				continue
			}
			arg := &c.Cols[call.Arg]
			if !call.counts(arg, column(c, call.Filter), r) {
				continue
			}
			if call.form == formVar {
				a.value = call.vari.Update(a.part.get(call.part), arg, r, c.DiffAt(r), a.value[:0])
				a.part.set(call.part, a.value)
			} else {
				a.keepValue(call, arg, r)
			}
		}
		a.storeBlob(a.slots[k])
	}
}

// keepKey keeps the least image of a key that has several: what the group
// shows must not depend on the order of its rows.
func (a *hashAgg) keepKey(c *types.Chunk, r int) {
	a.value = types.AppendImage(a.value[:0], c, r, a.spec.Keys)
	if old := a.part.get(0); len(old) == 0 || string(a.value) < string(old) {
		a.part.set(0, a.value)
	}
}

// keepValue keeps the greatest or least value, ties by image, as its order
// encoding with a uvarint length, then its image.
func (a *hashAgg) keepValue(call *aggState, arg *types.Vec, r int) {
	a.buf = types.AppendOrder(a.buf[:0], arg, r, types.OrderSpec{Desc: call.Func.Desc})
	a.value = binary.AppendUvarint(a.value[:0], uint64(len(a.buf)))
	a.value = append(a.value, a.buf...)
	head := len(a.value)
	a.value = types.AppendImage(a.value, &types.Chunk{Cols: []types.Vec{*arg}}, r, nil)
	old := a.part.get(call.part)
	if len(old) > 0 {
		ord, image := splitKept(old)
		c := bytes.Compare(a.buf, ord)
		if c > 0 || c == 0 && bytes.Compare(a.value[head:], image) >= 0 {
			return
		}
	}
	a.part.set(call.part, a.value)
}

// splitKept takes what keepValue wrote apart.
func splitKept(b []byte) (ord, image []byte) {
	n, w := binary.Uvarint(b)
	return b[w : w+int(n)], b[w+int(n):]
}

// storeBlob writes a line's parts back if they have changed.
func (a *hashAgg) storeBlob(s state.Slot) {
	if !a.part.changed {
		return
	}
	a.buf = a.part.join(a.buf[:0])
	a.lines.SetBlob(s, a.buf)
}

// Flush implements Operator.
func (a *hashAgg) Flush(_ types.EpochInfo, out Out) error {
	for i := range a.unique {
		if err := a.unique[i].drain(a, true); err != nil {
			return err
		}
	}
	if len(a.spec.Keys) == 0 { // one row always, so also in the first epoch
		if err := a.lines.Resolve(&a.empty, state.Create, a.slots[:1]); err != nil {
			return err
		}
	}
	for lo, n := 0, a.lines.Touched(); lo < n; lo += emitLines {
		if err := a.emit.batch(lo, min(lo+emitLines, n), out); err != nil {
			return err
		}
	}
	return nil
}

// blobParts is a blob taken apart. Parts that were not set still lie in the
// blob.
type blobParts struct {
	parts   [][]byte
	own     [][]byte // memory for parts that were set
	changed bool
}

func (p *blobParts) init(n int) { p.parts, p.own = make([][]byte, n), make([][]byte, n) }

// split takes b apart; an empty blob has empty parts.
func (p *blobParts) split(b []byte) {
	p.changed = false
	for i := range p.parts {
		p.parts[i] = nil
		if len(b) > 0 {
			n, w := binary.Uvarint(b)
			p.parts[i] = b[w : w+int(n)]
			b = b[w+int(n):]
		}
	}
}

func (p *blobParts) get(i int) []byte { return p.parts[i] }

func (p *blobParts) set(i int, b []byte) {
	p.own[i] = append(p.own[i][:0], b...)
	p.parts[i] = p.own[i]
	p.changed = true
}

func (p *blobParts) join(dst []byte) []byte {
	for _, b := range p.parts {
		dst = binary.AppendUvarint(dst, uint64(len(b)))
		dst = append(dst, b...)
	}
	return dst
}

// errNegative is a group with fewer than no rows.
func (a *hashAgg) errNegative() error {
	return pgerr.Internal("more rows were taken from a group of operator %d than it had", a.id)
}
