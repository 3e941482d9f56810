package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/types"
)

var countZero = &expr.Const{Value: types.NewInt8(0)}

func constBool(v bool) expr.Expr { return &expr.Const{Value: types.NewBool(v)} }

func nullConst(t types.Type) expr.Expr { return &expr.Const{Value: types.NullOf(t)} }

// domain is the different values of columns outer of left.
type domain struct {
	u     *unnester
	left  node
	outer []int
	// total says that nothing in the dependent side can fail, so that it may
	// be computed also for values that no row asks for.
	total bool
}

// total reports that no expression of n can fail, and no row need be single.
func total(n node) bool {
	if _, ok := n.(*singleNode); ok {
		return false
	}
	if slices.ContainsFunc(nodeExprs(n), mayFail) {
		return false
	}
	return !slices.ContainsFunc(n.inputs(), func(in node) bool { return !total(in) })
}

// values is the domain's relation, with columns of its own.
func (d *domain) values() (node, []int) {
	m := d.u.m
	left := d.trimmed()
	d.u.size += count(left)
	p := &projectNode{in: left}
	agg := &aggNode{in: p}
	ids := make([]int, len(d.outer))
	for i, id := range d.outer {
		key := m.add(columnInfo{name: m.cols[id].name, typ: m.typ(id)})
		p.items = append(p.items, item{id: key, e: m.ref(id)})
		agg.keys = append(agg.keys, key)
		if ids[i] = key; m.typ(id).Kind.ImageIsKey() {
			continue
		}
		// Of a value with several images the least stands for it.
		if f, args, t, err := expr.ResolveAggregate("min", []expr.Expr{m.ref(key)}, false, 0); err == nil {
			ids[i] = m.add(columnInfo{name: m.cols[id].name, typ: t})
			agg.aggs = append(agg.aggs, aggItem{id: ids[i], call: expr.Aggregate{Func: f, Args: args, T: t}})
		}
	}
	return agg, ids
}

// trimmed is the left side without what does not change the values of its
// outer columns: left joins with more columns.
func (d *domain) trimmed() node {
	n := d.left
	for {
		switch x := n.(type) {
		case *pairJoinNode:
			if x.kind == LeftJoin && newIDSet(x.left.columns()...).hasAll(d.outer) {
				n = x.left
				continue
			}
		case *projectNode:
			if newIDSet(x.in.columns()...).hasAll(d.outer) {
				n = x.in
				continue
			}
		}
		return n
	}
}

func count(n node) int {
	c := 1
	for _, in := range n.inputs() {
		c += count(in)
	}
	return c
}

// rename puts the domain's columns in the place of the outer ones.
func (d *domain) rename(ids []int) func(expr.Expr) expr.Expr {
	s := substitution{}
	for i, id := range d.outer {
		s[id] = d.u.m.ref(ids[i])
	}
	return s.expr
}

// same are the conditions that two columns of the domain's value are one.
func (d *domain) same(a, b []int) []expr.Expr {
	on := make([]expr.Expr, len(a))
	for i := range a {
		on[i] = &expr.Not{Arg: &expr.Distinct{Left: d.u.m.ref(a[i]), Right: d.u.m.ref(b[i])}}
	}
	return on
}

// joinOn joins the left side with in, whose columns ids are the domain's.
func (d *domain) joinOn(j *pairJoinNode, in node, ids []int) node {
	on := slices.Concat(d.same(d.outer, ids), j.on)
	if j.kind == InnerJoin {
		return &joinNode{ins: []node{j.left, in}, on: on, pos: []int{j.pos, j.pos}}
	}
	return &pairJoinNode{kind: j.kind, left: j.left, right: in, on: on, pos: j.pos}
}

// depend gives the rows of n for each value of the domain, and the columns
// that hold the value.
func (d *domain) depend(n node) (node, []int) {
	if !d.reads(n) {
		v, ids := d.values()
		return &joinNode{ins: []node{n, v}, pos: []int{0, 0}}, ids
	}
	switch n := n.(type) {
	case *valuesNode:
		return d.dependValues(n)
	case *filterNode:
		if d.reads(n.in) {
			in, ids := d.depend(n.in)
			return &filterNode{in: in, preds: mapAll(n.preds, d.rename(ids))}, ids
		}
		return d.dependBlock([]node{n.in}, n.preds)
	case *projectNode:
		in, ids := d.depend(n.in)
		p := mapExprs(&projectNode{in: in, items: n.items}, d.rename(ids)).(*projectNode)
		for i, id := range ids {
			if !slices.Contains(p.columns(), id) {
				p.items = append(p.items, item{id: ids[i], e: d.u.m.ref(id)})
			}
		}
		return p, ids
	case *aggNode:
		return d.dependAgg(n)
	case *joinNode:
		return d.dependJoin(n)
	case *pairJoinNode:
		return d.dependPair(n)
	case *unionNode:
		return d.dependUnion(n)
	case *setOpNode:
		return d.dependSetOp(n)
	case *singleNode:
		in, ids := d.depend(n.in)
		return &singleNode{in: in, by: slices.Concat(n.by, ids)}, ids
	}
	return n, nil // a scan, which reads nothing
}

func (d *domain) reads(n node) bool { return len(outerColumns(n, d.left)) > 0 }

func mapAll(es []expr.Expr, f func(expr.Expr) expr.Expr) []expr.Expr {
	out := make([]expr.Expr, len(es))
	for i, e := range es {
		out[i] = f(e)
	}
	return out
}

// dependBlock joins relations that do not depend, on preds that do. Where
// equalities with columns of the relations give each column of the domain, and
// nothing can fail, these columns stand for the domain: values that no row
// asks for do no harm.
func (d *domain) dependBlock(ins []node, preds []expr.Expr) (node, []int) {
	have := idSet{}
	for _, in := range ins {
		for _, id := range in.columns() {
			have.add(id)
		}
	}
	if d.total {
		if n, ids := d.substitute(ins, preds, have); n != nil {
			return n, ids
		}
	}
	v, ids := d.values()
	pos := make([]int, len(ins)+1)
	return &joinNode{ins: append(slices.Clone(ins), v), on: mapAll(preds, d.rename(ids)), pos: pos}, ids
}

func (d *domain) substitute(ins []node, preds []expr.Expr, have idSet) (node, []int) {
	m := d.u.m
	s := substitution{}
	p := &projectNode{}
	for id := range have {
		p.items = append(p.items, item{id: id, e: m.ref(id)})
	}
	slices.SortFunc(p.items, func(a, b item) int { return a.id - b.id })
	var ids []int
	var given []expr.Expr
	for _, outer := range d.outer {
		e := d.givenBy(outer, preds, have)
		if e == nil {
			return nil, nil
		}
		id := m.add(columnInfo{name: m.cols[outer].name, typ: m.typ(outer)})
		p.items = append(p.items, item{id: id, e: e})
		ids = append(ids, id)
		s[outer] = e
		given = append(given, &expr.Not{Arg: &expr.IsNull{Arg: e}})
	}
	on := given
	for _, q := range preds {
		if l, r, nullSafe, ok := equality(q); ok && !nullSafe && expr.Equal(s.expr(l), s.expr(r)) {
			continue // e = e, of what is not NULL
		}
		on = append(on, s.expr(q))
	}
	if len(ins) == 1 {
		p.in = &filterNode{in: ins[0], preds: on}
	} else {
		p.in = &joinNode{ins: ins, on: on, pos: make([]int, len(ins))}
	}
	return p, ids
}

// givenBy gives the expression over columns of have that an outer column
// equals. A type in which equal values differ in form is left alone.
func (d *domain) givenBy(outer int, preds []expr.Expr, have idSet) expr.Expr {
	kind := d.u.m.typ(outer).Kind
	for _, q := range preds {
		l, r, nullSafe, ok := equality(q)
		if !ok || nullSafe {
			continue
		}
		if columnID(r) == outer {
			l, r = r, l
		}
		if columnID(l) != outer || r.Type().Kind != kind || !kind.ImageIsKey() && d.uses(outer, preds) > 1 {
			continue
		}
		if cols := expr.Columns(r); len(cols) > 0 && have.hasAll(cols) && !mayFail(r) {
			return r
		}
	}
	return nil
}

// uses counts the conjuncts that read an outer column.
func (d *domain) uses(outer int, preds []expr.Expr) int {
	n := 0
	for _, q := range preds {
		if slices.Contains(expr.Columns(q), outer) {
			n++
		}
	}
	return n
}

// dependValues makes VALUES with outer columns one projection of the domain
// for each row.
func (d *domain) dependValues(n *valuesNode) (node, []int) {
	m := d.u.m
	union := &unionNode{}
	cols := slices.Clone(n.ids)
	var ids []int
	for _, id := range d.outer {
		ids = append(ids, m.add(columnInfo{name: m.cols[id].name, typ: m.typ(id)}))
	}
	for _, row := range n.rows {
		v, vids := d.values()
		p := &projectNode{in: v, items: d.u.pass(vids)}
		var out []int
		for i, e := range row {
			id := m.add(m.cols[n.ids[i]])
			p.items = append(p.items, item{id: id, e: d.rename(vids)(e)})
			out = append(out, id)
		}
		union.ins, union.inCols = append(union.ins, p), append(union.inCols, append(out, vids...))
	}
	union.ids = append(cols, ids...)
	return union, ids
}

// dependAgg groups by the domain too. Without keys of its own every value of
// the domain has one row, be its group empty.
func (d *domain) dependAgg(n *aggNode) (node, []int) {
	in, ids := d.depend(n.in)
	if len(n.keys) > 0 {
		return &aggNode{in: in, keys: slices.Concat(n.keys, ids), aggs: n.aggs}, ids
	}
	group, s := d.u.emptyAware(n, in, ids)
	v, vids := d.values()
	p := &projectNode{
		in:    &pairJoinNode{kind: LeftJoin, left: v, right: group, on: d.same(vids, ids)},
		items: d.u.pass(vids),
	}
	for _, a := range n.aggs {
		p.items = append(p.items, item{id: a.id, e: s[a.id]})
	}
	return p, vids
}

// dependJoin makes the inputs depend that read outer columns, and joins them
// on the domain's value too. If only the condition reads some, the domain is
// joined in.
func (d *domain) dependJoin(n *joinNode) (node, []int) {
	ins := slices.Clone(n.ins)
	var ids []int
	var on []expr.Expr
	for i, in := range ins {
		if !d.reads(in) {
			continue
		}
		dep, own := d.depend(in)
		ins[i] = dep
		if ids == nil {
			ids = own
		} else {
			on = append(on, d.same(ids, own)...)
		}
	}
	if ids == nil {
		return d.dependBlock(ins, n.on)
	}
	return &joinNode{ins: ins, on: append(on, mapAll(n.on, d.rename(ids))...), pos: n.pos}, ids
}

// dependPair makes the left side depend always, so that its rows are told
// apart by the domain's value, and the right side if it or the condition needs
// it.
func (d *domain) dependPair(n *pairJoinNode) (node, []int) {
	j := *n
	var ids, rids []int
	j.left, ids = d.depend(n.left)
	on := mapAll(n.on, d.rename(ids))
	if d.reads(n.right) || n.kind == FullJoin {
		j.right, rids = d.depend(n.right)
		on = append(d.same(ids, rids), on...)
	}
	j.on = on
	if n.kind != FullJoin {
		return &j, ids
	}
	m := d.u.m
	p := &projectNode{in: &j, items: d.u.pass(n.columns())}
	either := make([]int, len(ids))
	for i := range ids {
		t := m.typ(ids[i])
		either[i] = m.add(columnInfo{name: m.cols[ids[i]].name, typ: t})
		// Where a value is NULL on both sides, NULL is what it is.
		p.items = append(p.items, item{id: either[i], e: &expr.Coalesce{Args: []expr.Expr{m.ref(ids[i]), m.ref(rids[i])}, T: t}})
	}
	return p, either
}

func (d *domain) dependUnion(n *unionNode) (node, []int) {
	un := &unionNode{ids: slices.Clone(n.ids)}
	for k, in := range n.ins {
		dep, ids := d.depend(in)
		un.ins, un.inCols = append(un.ins, dep), append(un.inCols, slices.Concat(n.inCols[k], ids))
	}
	ids := d.fresh()
	un.ids = append(un.ids, ids...)
	return un, ids
}

func (d *domain) dependSetOp(n *setOpNode) (node, []int) {
	s := &setOpNode{kind: n.kind, ids: slices.Clone(n.ids)}
	for k, in := range n.ins {
		dep, ids := d.depend(in)
		s.ins[k], s.inCols[k] = dep, slices.Concat(n.inCols[k], ids)
	}
	ids := d.fresh()
	s.ids = append(s.ids, ids...)
	return s, ids
}

// fresh makes columns for the domain's value.
func (d *domain) fresh() []int {
	var ids []int
	for _, id := range d.outer {
		ids = append(ids, d.u.m.add(columnInfo{name: d.u.m.cols[id].name, typ: d.u.m.typ(id)}))
	}
	return ids
}
