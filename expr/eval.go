package expr

import (
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// rowsOf gives sel as a list.
func rowsOf(p *Program, sel []uint16) []uint16 {
	if sel == nil {
		return identity[:p.n]
	}
	return sel
}

// sharedNode computes once a chunk what stands in several places.
type sharedNode struct {
	inner node
	gen   uint64
	vec   *types.Vec
}

func (s *sharedNode) eval(p *Program, sel []uint16) *types.Vec {
	if s.gen != p.gen {
		s.gen, s.vec = p.gen, s.inner.eval(p, sel)
	}
	return s.vec
}

type columnNode struct{ index int }

func (n *columnNode) eval(p *Program, _ []uint16) *types.Vec { return &p.chunk.Cols[n.index] }

// constNode holds a constant as a vector that grows to the longest chunk.
type constNode struct {
	value types.Datum
	vec   types.Vec
	len   int
}

func newConstNode(d types.Datum) *constNode {
	n := &constNode{value: d}
	n.vec.Type = d.Type
	n.vec.Data = d.B
	return n
}

func (n *constNode) eval(p *Program, _ []uint16) *types.Vec {
	v, d := &n.vec, &n.value
	for ; n.len < p.n; n.len++ {
		switch d.Type.Kind.Phys() {
		case types.PhysBool:
			v.Bool = append(v.Bool, d.I != 0)
		case types.PhysInt64:
			v.I64 = append(v.I64, d.I)
		case types.PhysFloat64:
			v.F64 = append(v.F64, d.F)
		case types.PhysInterval:
			v.Iv = append(v.Iv, d.Iv)
		default:
			v.Span = append(v.Span, types.Span{Len: uint32(len(d.B))})
		}
		if d.Null {
			if n.len&63 == 0 {
				v.Nulls = append(v.Nulls, 0)
			}
			v.Nulls.Set(n.len)
		}
	}
	return v
}

// kernel computes a function for the rows of a frame.
type kernel func(f *frame)

// frame is one application of a function to a chunk: its arguments and its
// result, with the memory that is kept from chunk to chunk.
type frame struct {
	p      *Program
	t      types.Type // of the result
	args   []*types.Vec
	consts []*types.Datum // arguments that are constants, else nil
	out    types.Vec
	n      int      // physical rows
	sel    []uint16 // rows wanted, nil: all

	nulls   types.Bitmap // memory of out.Nulls
	live    []uint16     // memory of rows()
	rowsOK  bool
	rowList []uint16
	buf     []byte
}

// rows gives the rows to compute: those wanted that are not NULL already.
func (f *frame) rows() []uint16 {
	if f.rowsOK {
		return f.rowList
	}
	rows := rowsOf(f.p, f.sel)
	if f.out.Nulls != nil {
		if cap(f.live) < f.n {
			f.live = make([]uint16, f.n)
		}
		live, k := f.live[:f.n], 0
		for _, r := range rows {
			live[k] = r
			if !f.out.Nulls.Get(int(r)) {
				k++
			}
		}
		rows = live[:k]
	}
	f.rowsOK, f.rowList = true, rows
	return rows
}

// dense reports whether to compute all rows rather than a list of them: for
// kernels that are cheap and cannot be hurt by the values of other rows.
func (f *frame) dense() bool { return f.sel == nil || 2*len(f.sel) >= f.n }

// setNull makes the result of row r NULL.
func (f *frame) setNull(r int) {
	if f.out.Nulls == nil {
		f.nulls = types.MakeBitmap(f.nulls, f.n)
		f.out.Nulls = f.nulls
	}
	f.out.SetNull(r)
}

// fail reports row r. It keeps going as NULL.
func (f *frame) fail(r int, err error) {
	f.p.fail(r, pgerr.From(err))
	f.setNull(r)
}

// callNode applies a function.
type callNode struct {
	args   []node
	strict bool
	kernel kernel
	f      frame
}

func (c *callNode) eval(p *Program, sel []uint16) *types.Vec {
	f := &c.f
	for i, a := range c.args {
		f.args[i] = a.eval(p, sel)
	}
	f.n, f.sel, f.rowsOK = p.n, sel, false
	f.out.Resize(f.t, p.n)
	if c.strict {
		for _, a := range f.args {
			if a.Nulls != nil {
				f.addNulls(a.Nulls)
			}
		}
	}
	c.kernel(f)
	return &f.out
}

// addNulls makes the result NULL where an argument is.
func (f *frame) addNulls(b types.Bitmap) {
	if f.out.Nulls == nil {
		f.nulls = types.MakeBitmap(f.nulls, f.n)
		f.out.Nulls = f.nulls
		copy(f.nulls, b)
		if f.out.Span != nil {
			clearNullSpans(&f.out, f.n)
		}
		return
	}
	for i := range f.out.Nulls {
		f.out.Nulls[i] |= b[i]
	}
	clearNullSpans(&f.out, f.n)
}

// clearNullSpans gives the NULL rows of a PhysBytes vector a readable slot.
func clearNullSpans(v *types.Vec, n int) {
	if v.Type.Kind.Phys() != types.PhysBytes {
		return
	}
	for i := range n {
		if v.Nulls.Get(i) {
			v.Span[i] = types.Span{}
		}
	}
}

// result is a vector with its NULL memory, for nodes that are not calls.
type result struct {
	vec   types.Vec
	nulls types.Bitmap
}

func (r *result) reset(t types.Type, n int) { r.vec.Resize(t, n) }

func (r *result) setNull(i int) {
	if r.vec.Nulls == nil {
		r.nulls = types.MakeBitmap(r.nulls, r.vec.Len())
		r.vec.Nulls = r.nulls
	}
	r.vec.SetNull(i)
}

// copyRows sets the given rows to those of v.
func (r *result) copyRows(v *types.Vec, rows []uint16) {
	o := &r.vec
	switch o.Type.Kind.Phys() {
	case types.PhysBool:
		for _, i := range rows {
			o.Bool[i] = v.Bool[i]
		}
	case types.PhysInt64:
		for _, i := range rows {
			o.I64[i] = v.I64[i]
		}
	case types.PhysFloat64:
		for _, i := range rows {
			o.F64[i] = v.F64[i]
		}
	case types.PhysInterval:
		for _, i := range rows {
			o.Iv[i] = v.Iv[i]
		}
	default:
		for _, i := range rows {
			if !v.Nulls.Get(int(i)) {
				o.SetBytes(int(i), v.Bytes(int(i)))
			}
		}
	}
	if v.Nulls == nil {
		return
	}
	for _, i := range rows {
		if v.Nulls.Get(int(i)) {
			r.setNull(int(i))
		}
	}
}

// logicNode is AND (false decides) or OR (true decides).
type logicNode struct {
	args    []node
	decides bool
	out     result
	rest    []uint16
}

func (l *logicNode) eval(p *Program, sel []uint16) *types.Vec {
	l.out.reset(boolType, p.n)
	out := &l.out
	rows := rowsOf(p, sel)
	for _, r := range rows {
		out.vec.Bool[r] = !l.decides
	}
	if cap(l.rest) < p.n {
		l.rest = make([]uint16, p.n)
	}
	in := sel
	for _, a := range l.args {
		v := a.eval(p, in)
		k, rest := 0, l.rest[:p.n]
		for _, r := range rows {
			rest[k] = r
			switch {
			case v.Nulls != nil && v.Nulls.Get(int(r)):
				out.setNull(int(r))
				k++
			case v.Bool[r] == l.decides:
				out.vec.Bool[r] = l.decides
				if out.vec.Nulls != nil {
					out.vec.Nulls.Clear(int(r))
				}
			default:
				k++
			}
		}
		if rows = rest[:k]; k == 0 {
			break
		}
		in = rows
	}
	return &out.vec
}

type notNode struct {
	arg node
	out types.Vec
}

func (n *notNode) eval(p *Program, sel []uint16) *types.Vec {
	v := n.arg.eval(p, sel)
	n.out.Resize(boolType, p.n)
	for _, r := range rowsOf(p, sel) {
		n.out.Bool[r] = !v.Bool[r]
	}
	n.out.Nulls = v.Nulls
	return &n.out
}

type isNullNode struct {
	arg node
	out types.Vec
}

func (n *isNullNode) eval(p *Program, sel []uint16) *types.Vec {
	v := n.arg.eval(p, sel)
	n.out.Resize(boolType, p.n)
	if v.Nulls == nil {
		clear(n.out.Bool)
		return &n.out
	}
	for _, r := range rowsOf(p, sel) {
		n.out.Bool[r] = v.Nulls.Get(int(r))
	}
	return &n.out
}

type isTrueNode struct {
	arg  node
	want bool
	out  types.Vec
}

func (n *isTrueNode) eval(p *Program, sel []uint16) *types.Vec {
	v := n.arg.eval(p, sel)
	n.out.Resize(boolType, p.n)
	for _, r := range rowsOf(p, sel) {
		n.out.Bool[r] = v.Bool[r] == n.want && !v.Nulls.Get(int(r))
	}
	return &n.out
}

type distinctNode struct {
	args []node
	out  types.Vec
}

func (n *distinctNode) eval(p *Program, sel []uint16) *types.Vec {
	a, b := n.args[0].eval(p, sel), n.args[1].eval(p, sel)
	n.out.Resize(boolType, p.n)
	for _, r := range rowsOf(p, sel) {
		i := int(r)
		an, bn := a.Null(i), b.Null(i)
		n.out.Bool[i] = an != bn || !an && compareRows(a, b, i) != 0
	}
	return &n.out
}

// caseNode narrows the rows from branch to branch.
type caseNode struct {
	t              types.Type
	conds, results []node
	otherwise      node
	out            result
	hit, rest      []uint16
}

func (c *caseNode) eval(p *Program, sel []uint16) *types.Vec {
	c.out.reset(c.t, p.n)
	if cap(c.hit) < p.n {
		c.hit, c.rest = make([]uint16, p.n), make([]uint16, p.n)
	}
	rows, in := rowsOf(p, sel), sel
	for i, cond := range c.conds {
		v := cond.eval(p, in)
		hit, rest, h, k := c.hit[:p.n], c.rest[:p.n], 0, 0
		for _, r := range rows {
			if v.Bool[r] && !v.Nulls.Get(int(r)) {
				hit[h] = r
				h++
			} else {
				rest[k] = r
				k++
			}
		}
		if h > 0 {
			c.out.copyRows(c.results[i].eval(p, hit[:h]), hit[:h])
		}
		if rows = rest[:k]; k == 0 {
			return &c.out.vec
		}
		in = rows
	}
	c.out.copyRows(c.otherwise.eval(p, in), rows)
	return &c.out.vec
}

type coalesceNode struct {
	t         types.Type
	args      []node
	out       result
	hit, rest []uint16
}

func (c *coalesceNode) eval(p *Program, sel []uint16) *types.Vec {
	first := c.args[0].eval(p, sel)
	if first.Nulls == nil {
		return first
	}
	c.out.reset(c.t, p.n)
	if cap(c.hit) < p.n {
		c.hit, c.rest = make([]uint16, p.n), make([]uint16, p.n)
	}
	rows, v := rowsOf(p, sel), first
	for i := 0; ; i++ {
		hit, rest, h, k := c.hit[:p.n], c.rest[:p.n], 0, 0
		for _, r := range rows {
			// A row that failed is NULL here and must not go on.
			if v.Nulls.Get(int(r)) && !p.failed.Get(int(r)) {
				rest[k] = r
				k++
			} else {
				hit[h] = r
				h++
			}
		}
		c.out.copyRows(v, hit[:h])
		rows = rest[:k]
		if k == 0 || i+1 == len(c.args) {
			break
		}
		v = c.args[i+1].eval(p, rows)
	}
	for _, r := range rows {
		c.out.setNull(int(r))
	}
	return &c.out.vec
}

// inNode is membership in a constant set.
type inNode struct {
	arg   node
	null  bool
	few   []int64 // integers, if they are few
	ints  map[int64]struct{}
	keys  map[string]struct{} // equality encodings of the others
	key   []byte
	out   result
	texts bool // keys are the bytes themselves
}

// fewInts is up to where a scan beats hashing.
const fewInts = 8

func newInNode(arg node, e *InList) *inNode {
	n := &inNode{arg: arg, null: e.Null}
	kind := e.Arg.Type().Kind
	ints := kind.Phys() == types.PhysInt64
	n.texts = kind == types.Text
	n.ints, n.keys = map[int64]struct{}{}, map[string]struct{}{}
	for _, d := range e.Values {
		switch {
		case ints && len(e.Values) <= fewInts:
			n.few = append(n.few, d.I)
		case ints:
			n.ints[d.I] = struct{}{}
		case n.texts:
			n.keys[string(d.B)] = struct{}{}
		default:
			n.keys[string(types.AppendKeyDatum(nil, d))] = struct{}{}
		}
	}
	return n
}

func (n *inNode) eval(p *Program, sel []uint16) *types.Vec {
	v := n.arg.eval(p, sel)
	n.out.reset(boolType, p.n)
	ints := v.Type.Kind.Phys() == types.PhysInt64
	for _, r := range rowsOf(p, sel) {
		i := int(r)
		if v.Null(i) {
			n.out.setNull(i)
			continue
		}
		found := false
		switch {
		case ints && n.few != nil:
			for _, x := range n.few {
				found = found || x == v.I64[i]
			}
		case ints:
			_, found = n.ints[v.I64[i]]
		case n.texts:
			_, found = n.keys[string(v.Bytes(i))]
		default:
			n.key = types.AppendKey(n.key[:0], v, i)
			_, found = n.keys[string(n.key)]
		}
		n.out.vec.Bool[i] = found
		if !found && n.null {
			n.out.setNull(i)
		}
	}
	return &n.out.vec
}
