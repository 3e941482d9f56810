package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
)

// unnest makes dependent joins, whose right side reads columns of the left,
// independent. From the simplest to the general:
//
//   - conditions on the outer columns that stand in filters and inner joins
//     become conditions of the join;
//   - an aggregation without keys groups by the columns that the outer ones
//     have to equal, and is joined on these;
//   - else the right side is computed for each different value of the outer
//     columns (the domain) at once, and is joined on them (Neumann and Kemper,
//     Unnesting Arbitrary Queries).
func unnest(m *metadata, q *boundQuery) error {
	u := &unnester{m: m}
	q.node = rewrite(q.node, func(n node) node {
		switch n := n.(type) {
		case *singleNode:
			return u.single(n, nil)
		case *pairJoinNode:
			return u.join(n)
		}
		return n
	})
	if u.size > maxUnnested {
		return pgerr.New(pgerr.StatementTooComplex, "the query's subqueries are nested too deeply").
			WithHint("Write some of them as joins.")
	}
	return nil
}

// maxUnnested bounds the nodes that domains repeat.
const maxUnnested = 4096

type unnester struct {
	m    *metadata
	size int
}

// freeColumns are the columns that n reads and does not have.
func freeColumns(n node) idSet {
	free := idSet{}
	have := idSet{}
	for i, in := range n.inputs() {
		sub := freeColumns(in)
		if p, ok := n.(*pairJoinNode); ok && i == 1 {
			for _, id := range p.left.columns() {
				delete(sub, id)
			}
		}
		for id := range sub {
			free.add(id)
		}
		for _, id := range in.columns() {
			have.add(id)
		}
	}
	used := idSet{}
	used.addExprs(nodeExprs(n)...)
	for id := range used {
		if !have.has(id) {
			free.add(id)
		}
	}
	return free
}

// outerColumns are the columns of left that n reads, ascending.
func outerColumns(n, left node) []int {
	free := freeColumns(n)
	var ids []int
	for _, id := range left.columns() {
		if free.has(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (u *unnester) join(j *pairJoinNode) node {
	outer := outerColumns(j.right, j.left)
	if len(outer) == 0 {
		if j.kind == InnerJoin {
			return &joinNode{ins: []node{j.left, j.right}, on: j.on, pos: []int{j.pos, j.pos}}
		}
		return j
	}
	right := rewrite(j.right, func(n node) node {
		if s, ok := n.(*singleNode); ok {
			return u.single(s, outer)
		}
		return mergeNode(u.m, n)
	})
	j = &pairJoinNode{kind: j.kind, left: j.left, right: right, on: j.on, pos: j.pos}
	if n := u.pullConditions(j, outer); n != nil {
		return n
	}
	u.nameOperands(j, outer)
	outer = outerColumns(j.right, j.left)
	if n := u.pullAggregate(j, outer); n != nil {
		return n
	}
	d := &domain{u: u, left: j.left, outer: outer, total: total(right)}
	in, ids := d.depend(j.right)
	return d.joinOn(j, in, ids)
}

// single removes a check that a row is single which is so anyway, the outer
// columns being given.
func (u *unnester) single(n *singleNode, outer []int) node {
	if len(n.by) == 0 && (u.m.atMostOne(n.in) || u.fixed(n.in, newIDSet(outer...))) {
		return n.in
	}
	return n
}

// fixed reports that a block of joins, filters and projections has at most one
// row, the columns given: each of its relations has a key that is equated to
// what is given, or to columns of relations of which that is so.
func (u *unnester) fixed(n node, given idSet) bool {
	var leaves []node
	var preds []expr.Expr
	switch b := blockOf(n).(type) {
	case *filterNode:
		leaves, preds = []node{b.in}, b.preds
	case *joinNode:
		leaves, preds = b.ins, b.on
	default:
		return false
	}
	given = given.clone()
	for left := slices.Clone(leaves); len(left) > 0; {
		i := slices.IndexFunc(left, func(l node) bool { return u.m.atMostOne(l) || u.keyGiven(l, preds, given) })
		if i < 0 {
			return false
		}
		for _, id := range left[i].columns() {
			given.add(id)
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

// keyGiven reports that preds equate each column of n's key to what is given.
func (u *unnester) keyGiven(n node, preds []expr.Expr, given idSet) bool {
	key := u.m.uniqueKey(n)
	if len(key) == 0 {
		return false
	}
	for _, k := range key {
		ok := slices.ContainsFunc(preds, func(p expr.Expr) bool {
			l, r, _, eq := equality(p)
			return eq && (columnID(l) == k && given.hasAll(expr.Columns(r)) || columnID(r) == k && given.hasAll(expr.Columns(l)))
		})
		if !ok {
			return false
		}
	}
	return true
}

// blockOf takes projections off.
func blockOf(n node) node {
	for {
		p, ok := n.(*projectNode)
		if !ok {
			return n
		}
		n = p.in
	}
}

// pullConditions makes the join independent whose right side reads outer
// columns only in a block of filters, inner joins and projections.
func (u *unnester) pullConditions(j *pairJoinNode, outer []int) node {
	items, block := []item(nil), j.right
	if p, ok := block.(*projectNode); ok {
		if p.inlinable() == nil {
			return nil
		}
		items, block = p.items, p.in
	}
	isOuter := newIDSet(outer...)
	reads := func(e expr.Expr) bool { return slices.ContainsFunc(expr.Columns(e), isOuter.has) }
	var pulled, stay []expr.Expr
	split := func(preds []expr.Expr) {
		for _, p := range preds {
			if reads(p) {
				pulled = append(pulled, p)
			} else {
				stay = append(stay, p)
			}
		}
	}
	switch b := block.(type) {
	case *filterNode:
		split(b.preds)
		block = b.in
		if len(stay) > 0 {
			block = &filterNode{in: b.in, preds: stay}
		}
	case *joinNode:
		split(b.on)
		block = &joinNode{ins: b.ins, on: stay, pos: b.pos}
	}
	if len(outerColumns(block, j.left)) > 0 {
		return nil
	}
	s := substitution{}
	for _, it := range items {
		if !it.passes() {
			s[it.id] = it.e
		}
	}
	on := slices.Concat(pulled, s.exprs(j.on))
	if v, ok := block.(*valuesNode); ok && len(v.rows) == 1 && len(on) == 0 && (j.kind == InnerJoin || j.kind == LeftJoin) {
		return u.oneRow(j.left, v, items)
	}
	switch j.kind {
	case SemiJoin, AntiJoin:
		return &pairJoinNode{kind: j.kind, left: j.left, right: block, on: on, pos: j.pos}
	case InnerJoin:
		in := &joinNode{ins: []node{j.left, block}, on: on, pos: []int{j.pos, j.pos}}
		if items == nil {
			return in
		}
		return &projectNode{in: in, items: append(u.pass(j.left.columns()), items...)}
	case LeftJoin:
		return u.pullLeft(j, block, items, on, reads)
	}
	return nil
}

// oneRow computes what a subquery without FROM gives.
func (u *unnester) oneRow(left node, v *valuesNode, items []item) node {
	s := substitution{}
	for i, id := range v.ids {
		s[id] = v.rows[0][i]
	}
	p := &projectNode{in: left, items: u.pass(left.columns())}
	if items == nil {
		items = u.pass(v.ids)
	}
	for _, it := range items {
		p.items = append(p.items, item{id: it.id, e: s.expr(it.e)})
	}
	return p
}

// pullLeft finishes pullConditions for a left join: what is computed of outer
// columns is computed above it, and only where there is a match.
func (u *unnester) pullLeft(j *pairJoinNode, block node, items []item, on []expr.Expr, reads func(expr.Expr) bool) node {
	if !slices.ContainsFunc(items, func(it item) bool { return reads(it.e) }) {
		right := block
		if items != nil {
			right = u.compute(block, items, on)
		}
		return &pairJoinNode{kind: LeftJoin, left: j.left, right: right, on: on, pos: j.pos}
	}
	mark := u.m.add(columnInfo{name: "match", typ: boolType})
	right := &projectNode{in: block, items: u.pass(block.columns())}
	right.items = append(right.items, item{id: mark, e: constBool(true)})
	top := &projectNode{items: u.pass(j.left.columns())}
	for _, it := range items {
		e := it.e
		if !it.passes() {
			e = &expr.Case{Conds: []expr.Expr{u.m.ref(mark)}, Results: []expr.Expr{e}, Else: nullConst(e.Type()), T: e.Type()}
		}
		top.items = append(top.items, item{id: it.id, e: e})
	}
	top.in = &pairJoinNode{kind: LeftJoin, left: j.left, right: right, on: on, pos: j.pos}
	return top
}

// compute is items over in, with the columns of in that preds read too.
func (u *unnester) compute(in node, items []item, preds []expr.Expr) node {
	p := &projectNode{in: in, items: slices.Clone(items)}
	have := newIDSet(p.columns()...)
	need := idSet{}
	need.addExprs(preds...)
	for _, id := range in.columns() {
		if need.has(id) && !have.has(id) {
			p.items = append(p.items, item{id: id, e: u.m.ref(id)})
		}
	}
	return p
}

// pass gives items that pass columns through.
func (u *unnester) pass(ids []int) []item {
	items := make([]item, len(ids))
	for i, id := range ids {
		items[i] = item{id: id, e: u.m.ref(id)}
	}
	return items
}

// nameOperands computes what stands on the outer side of equalities (casts,
// mostly) as columns of the left side, so that they can be keys.
func (u *unnester) nameOperands(j *pairJoinNode, outer []int) {
	isOuter := newIDSet(outer...)
	p := &projectNode{in: j.left, items: u.pass(j.left.columns())}
	width := len(p.items)
	name := func(e expr.Expr) expr.Expr {
		if cols := expr.Columns(e); len(cols) == 0 || !isOuter.hasAll(cols) || columnID(e) >= 0 || mayFail(e) {
			return e
		}
		for _, it := range p.items[width:] {
			if expr.Equal(it.e, e) {
				return u.m.ref(it.id)
			}
		}
		id := u.m.add(columnInfo{name: "outer", typ: e.Type()})
		p.items = append(p.items, item{id: id, e: e})
		return u.m.ref(id)
	}
	j.right = rewrite(j.right, func(n node) node {
		switch n.(type) {
		case *filterNode, *joinNode, *pairJoinNode:
			return mapExprs(n, func(e expr.Expr) expr.Expr {
				if c, ok := e.(*expr.Call); ok && c.Func.Name == "=" && len(c.Args) == 2 {
					return c.WithChildren([]expr.Expr{name(c.Args[0]), name(c.Args[1])})
				}
				return e
			})
		}
		return n
	})
	if len(p.items) > width {
		j.left = p
	}
}

// pullAggregate makes the left join with an aggregation without keys
// independent: the aggregation groups by the domain, and where the domain's
// value has no group the aggregates are those over no rows: 0 for counts, else
// NULL.
func (u *unnester) pullAggregate(j *pairJoinNode, outer []int) node {
	if j.kind != InnerJoin && (j.kind != LeftJoin || len(j.on) > 0) {
		return nil
	}
	items := []item(nil)
	agg, ok := j.right.(*aggNode)
	if p, isProject := j.right.(*projectNode); isProject && p.inlinable() != nil {
		items = p.items
		agg, ok = p.in.(*aggNode)
	}
	if !ok || len(agg.keys) > 0 {
		return nil
	}
	d := &domain{u: u, left: j.left, outer: outer, total: total(agg.in)}
	in, ids := d.depend(agg.in)
	group, s := u.emptyAware(agg, in, ids)
	if items == nil {
		items = u.pass(agg.columns())
	}
	top := &projectNode{
		in:    d.joinOn(&pairJoinNode{kind: LeftJoin, left: j.left, pos: j.pos}, group, ids),
		items: u.pass(j.left.columns()),
	}
	for _, it := range items {
		top.items = append(top.items, item{id: it.id, e: s.expr(it.e)})
	}
	if len(j.on) > 0 { // of an inner join
		return &filterNode{in: top, preds: j.on}
	}
	return top
}

// emptyAware groups in by keys, and gives what stands for agg's columns where
// the group may be missing.
func (u *unnester) emptyAware(agg *aggNode, in node, keys []int) (*aggNode, substitution) {
	g := &aggNode{in: in, keys: keys}
	s := substitution{}
	for _, a := range agg.aggs {
		id := u.m.add(u.m.cols[a.id])
		g.aggs = append(g.aggs, aggItem{id: id, call: a.call})
		s[a.id] = u.m.ref(id)
		if a.call.Func.Name == "count" || a.call.Func.Name == "regr_count" {
			s[a.id] = &expr.Coalesce{Args: []expr.Expr{s[a.id], countZero}, T: a.call.T}
		}
	}
	return g, s
}
