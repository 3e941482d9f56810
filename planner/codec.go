package planner

import (
	"encoding/binary"
	"fmt"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// The stored form of a plan: a format byte, a flags byte, then the fields of
// Plan in order. Integers are varints, lists and strings have their length
// before them, expressions are in expr's form. Checksums are the container's.

const (
	planFormat    = 1
	flagAppend    = 1
	maxPlanColumn = 1 << 20
)

// The operators' tags. Never renumber.
const (
	tagFilter = iota + 1
	tagProject
	tagHashAgg
	tagHashJoin
	tagUnionAll
	tagValues
	tagMaterialize
	tagSinkWrite
	tagCollect
	tagOuterJoin // a kind, then as tagHashJoin
	tagSetOp
	tagSingleRow
)

// EncodePlan gives the stored form of a plan.
func EncodePlan(p *Plan) []byte {
	e := encoder{}
	e.b = append(e.b, planFormat, boolByte(p.AppendOnly)*flagAppend)
	e.len(len(p.Schema))
	for _, c := range p.Schema {
		e.str(c.Name)
		e.typ(c.Type)
		e.bool(c.NotNull)
	}
	e.optInts(p.Key)
	e.len(len(p.Inputs))
	for _, in := range p.Inputs {
		e.b = append(e.b, in.Relation[:]...)
		e.str(in.Name)
		e.ints(in.Columns)
		e.types(in.Types)
		e.bool(in.Point != nil)
		if in.Point != nil {
			e.exprs(in.Point)
		}
	}
	e.len(len(p.Fragments))
	for _, f := range p.Fragments {
		e.fragment(&f)
	}
	e.len(len(p.Order))
	for _, k := range p.Order {
		e.int(k.Col)
		e.b = append(e.b, boolByte(k.Order.Desc)|boolByte(k.Order.NullsFirst)<<1)
	}
	e.optExpr(p.Limit)
	e.optExpr(p.Offset)
	e.int(p.Hidden)
	return e.b
}

// planAppendOnly reads the trait off an encoded plan; false for other bytes.
func planAppendOnly(b []byte) bool {
	return len(b) >= 2 && b[0] == planFormat && b[1]&flagAppend != 0
}

type encoder struct{ b []byte }

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func (e *encoder) bool(v bool) { e.b = append(e.b, boolByte(v)) }
func (e *encoder) int(v int)   { e.b = binary.AppendVarint(e.b, int64(v)) }
func (e *encoder) len(v int)   { e.b = binary.AppendUvarint(e.b, uint64(v)) }

func (e *encoder) str(s string) {
	e.len(len(s))
	e.b = append(e.b, s...)
}

func (e *encoder) typ(t types.Type) {
	e.b = append(e.b, byte(t.Kind))
	e.int(int(t.Mod))
}

func (e *encoder) types(ts []types.Type) {
	e.len(len(ts))
	for _, t := range ts {
		e.typ(t)
	}
}

func (e *encoder) ints(v []int) {
	e.len(len(v))
	for _, i := range v {
		e.int(i)
	}
}

func (e *encoder) optInts(v []int) {
	e.bool(v != nil)
	if v != nil {
		e.ints(v)
	}
}

func (e *encoder) bools(v []bool) {
	e.len(len(v))
	for _, x := range v {
		e.bool(x)
	}
}

func (e *encoder) expr(x expr.Expr) { e.b = expr.AppendExpr(e.b, x) }

func (e *encoder) optExpr(x expr.Expr) {
	e.bool(x != nil)
	if x != nil {
		e.expr(x)
	}
}

func (e *encoder) exprs(xs []expr.Expr) {
	e.len(len(xs))
	for _, x := range xs {
		e.expr(x)
	}
}

func (e *encoder) fragment(f *Fragment) {
	e.bool(f.Singleton)
	e.len(len(f.Edges))
	for _, g := range f.Edges {
		e.int(g.From)
		e.int(g.Port)
		e.b = append(e.b, byte(g.Dist))
		e.optInts(g.Cols)
	}
	e.len(len(f.Ops))
	for _, op := range f.Ops {
		e.op(op)
	}
}

func (e *encoder) base(tag byte, b *Base) {
	e.b = append(e.b, tag)
	e.int(b.ID)
	e.types(b.Out)
	e.len(len(b.Keeps))
	for _, k := range b.Keeps {
		e.b = append(e.b, k.ID[:]...)
		e.b = append(e.b, byte(k.Kind))
		e.str(k.Name)
		e.str(k.Bound)
	}
}

func (e *encoder) op(op Op) {
	switch o := op.(type) {
	case *Filter:
		e.base(tagFilter, &o.Base)
		e.expr(o.Pred)
	case *Project:
		e.base(tagProject, &o.Base)
		e.exprs(o.Exprs)
	case *HashAgg:
		e.base(tagHashAgg, &o.Base)
		e.ints(o.Keys)
		e.bool(o.AppendOnly)
		e.len(len(o.Aggs))
		for _, a := range o.Aggs {
			e.str(a.Func.ID())
			e.ints(a.Args)
			e.int(a.Filter)
			e.bool(a.Distinct)
			e.typ(a.T)
		}
	case *HashJoin:
		if o.Kind == InnerJoin {
			e.base(tagHashJoin, &o.Base)
		} else {
			e.base(tagOuterJoin, &o.Base)
			e.b = append(e.b, byte(o.Kind))
		}
		e.ints(o.LeftKeys)
		e.ints(o.RightKeys)
		e.types(o.LeftTypes)
		e.types(o.RightTypes)
		e.bools(o.NullSafe)
		e.optExpr(o.Residual)
	case *SetOp:
		e.base(tagSetOp, &o.Base)
		e.b = append(e.b, byte(o.Kind))
	case *SingleRow:
		e.base(tagSingleRow, &o.Base)
		e.ints(o.By)
	case *UnionAll:
		e.base(tagUnionAll, &o.Base)
	case *Values:
		e.base(tagValues, &o.Base)
		e.len(len(o.Rows))
		for _, r := range o.Rows {
			e.exprs(r)
		}
	case *Materialize:
		e.base(tagMaterialize, &o.Base)
		e.optInts(o.Key)
	case *SinkWrite:
		e.base(tagSinkWrite, &o.Base)
	case *Collect:
		e.base(tagCollect, &o.Base)
	}
}

// DecodePlan reads what EncodePlan wrote and nothing more. Damaged bytes are
// XX001, a newer format is 0A000. The decoded plan is checked: every
// reference in it is to something that exists.
func DecodePlan(b []byte) (*Plan, error) {
	if len(b) < 2 || b[0] == 0 {
		return nil, errPlan("it is too short")
	}
	if b[0] > planFormat {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "plan format %d is newer than this streamdb", b[0]).
			WithHint("Use the version of streamdb that wrote it, or a later one.")
	}
	d := decoder{b: b[2:]}
	p := d.plan()
	p.AppendOnly = b[1]&flagAppend != 0
	if d.err == nil && (len(d.b) != 0 || b[1] > flagAppend) {
		d.fail("there is more than a plan")
	}
	if d.err == nil {
		d.err = p.check()
	}
	if d.err != nil {
		return nil, d.err
	}
	return p, nil
}

func errPlan(format string, args ...any) error {
	return pgerr.New(pgerr.DataCorrupted, "a stored plan is damaged: %s", fmt.Sprintf(format, args...))
}

// decoder takes values off b. Once it has failed it gives zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = errPlan(format, args...)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n > len(d.b) {
		d.fail("it ends too early")
		return make([]byte, min(n, 16))
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail("a boolean is %d", v)
	}
	return v == 1
}

func (d *decoder) int() int {
	v, n := binary.Varint(d.b)
	if n <= 0 || v < -maxPlanColumn || v > 1<<31 {
		d.fail("a number is out of range")
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

// len reads a number of elements of at least one byte each.
func (d *decoder) len() int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > uint64(len(d.b)) {
		d.fail("a length is out of range")
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) str() string {
	n := d.len()
	if d.err != nil {
		return ""
	}
	return string(d.take(n))
}

func (d *decoder) typ() types.Type {
	t := types.Type{Kind: types.Kind(d.byte()), Mod: int32(d.int())}
	if !t.Kind.Valid() || t.Kind == types.Unknown {
		d.fail("a type is %d", t.Kind)
	}
	return t
}

func (d *decoder) types() []types.Type {
	ts := make([]types.Type, d.len())
	for i := range ts {
		ts[i] = d.typ()
	}
	return ts
}

func (d *decoder) ints() []int {
	v := make([]int, d.len())
	for i := range v {
		v[i] = d.int()
	}
	return v
}

func (d *decoder) optInts() []int {
	if !d.bool() {
		return nil
	}
	return d.ints()
}

func (d *decoder) expr() expr.Expr {
	if d.err != nil {
		return nil
	}
	e, rest, err := expr.DecodeExpr(d.b)
	if err != nil {
		d.fail("%v", err)
		return nil
	}
	d.b = rest
	return e
}

func (d *decoder) optExpr() expr.Expr {
	if !d.bool() {
		return nil
	}
	return d.expr()
}

func (d *decoder) exprs() []expr.Expr {
	es := make([]expr.Expr, d.len())
	for i := range es {
		es[i] = d.expr()
	}
	return es
}

func (d *decoder) plan() *Plan {
	p := &Plan{}
	p.Schema = make(types.Schema, d.len())
	for i := range p.Schema {
		p.Schema[i] = types.Column{Name: d.str(), Type: d.typ(), NotNull: d.bool()}
	}
	p.Key = d.optInts()
	for range d.len() {
		var in Input
		copy(in.Relation[:], d.take(16))
		in.Name, in.Columns, in.Types = d.str(), d.ints(), d.types()
		if d.bool() {
			in.Point = d.exprs()
		}
		p.Inputs = append(p.Inputs, in)
	}
	for range d.len() {
		p.Fragments = append(p.Fragments, d.fragment())
	}
	for range d.len() {
		k := SortKey{Col: d.int()}
		f := d.byte()
		k.Order = types.OrderSpec{Desc: f&1 != 0, NullsFirst: f&2 != 0}
		p.Order = append(p.Order, k)
	}
	p.Limit, p.Offset, p.Hidden = d.optExpr(), d.optExpr(), d.int()
	return p
}

func (d *decoder) fragment() Fragment {
	f := Fragment{Singleton: d.bool()}
	for range d.len() {
		f.Edges = append(f.Edges, Edge{From: d.int(), Port: d.int(), Dist: Dist(d.byte()), Cols: d.optInts()})
	}
	for range d.len() {
		if op := d.op(); op != nil {
			f.Ops = append(f.Ops, op)
		}
	}
	return f
}

func (d *decoder) base() Base {
	b := Base{ID: d.int(), Out: d.types()}
	for range d.len() {
		var k StateDecl
		copy(k.ID[:], d.take(16))
		k.Kind, k.Name, k.Bound = state.Kind(d.byte()), d.str(), d.str()
		if k.Kind < state.KindLines || k.Kind > state.KindList {
			d.fail("a state is of kind %d", k.Kind)
		}
		b.Keeps = append(b.Keeps, k)
	}
	return b
}

func (d *decoder) op() Op {
	switch tag := d.byte(); tag {
	case tagFilter:
		return &Filter{Base: d.base(), Pred: d.expr()}
	case tagProject:
		return &Project{Base: d.base(), Exprs: d.exprs()}
	case tagHashAgg:
		return d.hashAgg()
	case tagHashJoin:
		return d.hashJoin(d.base(), InnerJoin)
	case tagOuterJoin:
		base := d.base()
		return d.hashJoin(base, JoinKind(d.byte()))
	case tagSetOp:
		return &SetOp{Base: d.base(), Kind: SetOpKind(d.byte())}
	case tagSingleRow:
		return &SingleRow{Base: d.base(), By: d.ints()}
	case tagUnionAll:
		return &UnionAll{d.base()}
	case tagValues:
		v := &Values{Base: d.base()}
		for range d.len() {
			v.Rows = append(v.Rows, d.exprs())
		}
		return v
	case tagMaterialize:
		return &Materialize{Base: d.base(), Key: d.optInts()}
	case tagSinkWrite:
		return &SinkWrite{d.base()}
	case tagCollect:
		return &Collect{d.base()}
	default:
		d.fail("operator %d is unknown", tag)
		return nil
	}
}

func (d *decoder) hashAgg() Op {
	o := &HashAgg{Base: d.base(), Keys: d.ints(), AppendOnly: d.bool()}
	for range d.len() {
		id := d.str()
		a := AggCall{Args: d.ints(), Filter: d.int(), Distinct: d.bool(), T: d.typ()}
		f, ok := expr.LookupAggFunc(id)
		if !ok {
			d.fail("aggregate %q is unknown", id)
			return nil
		}
		a.Func = f
		o.Aggs = append(o.Aggs, a)
	}
	return o
}

func (d *decoder) hashJoin(base Base, kind JoinKind) Op {
	j := &HashJoin{Base: base, Kind: kind, LeftKeys: d.ints(), RightKeys: d.ints(), LeftTypes: d.types(), RightTypes: d.types()}
	j.NullSafe = make([]bool, d.len())
	for i := range j.NullSafe {
		j.NullSafe[i] = d.bool()
	}
	j.Residual = d.optExpr()
	return j
}
