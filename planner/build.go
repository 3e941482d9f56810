package planner

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// builder makes the physical plan of an optimised logical one: fragments,
// exchanges, positions for ids, and the states with their identities.
type builder struct {
	md    *metadata
	env   *Env
	canon *canonizer
	view  bool // several subtasks and state; else one chain without exchange
	plan  Plan
	ops   int
	twins map[state.ID]int
}

// stream is rows on their way up: where they come from and what is known of
// them.
type stream struct {
	from int   // fragment, or -1-i for input i
	cols []int // column ids by position
	// dist are, for each column of the key by which rows are distributed, the
	// columns that are equal to it; nil: not distributed by a key.
	dist   [][]int
	single bool // one subtask has all rows
}

func (s *stream) position(id int) int { return slices.Index(s.cols, id) }

func (s *stream) positions(ids []int) []int {
	at := make([]int, len(ids))
	for i, id := range ids {
		at[i] = s.position(id)
	}
	return at
}

// remap turns ids of e into positions of s.
func (s *stream) remap(e expr.Expr) expr.Expr {
	if e == nil {
		return nil
	}
	return expr.Remap(e, s.position)
}

// distributedBy reports whether rows lie as an exchange by ids would lay them.
func (s *stream) distributedBy(ids []int) bool {
	if s.single {
		return true
	}
	if len(s.dist) != len(ids) || len(ids) == 0 {
		return false
	}
	for i, id := range ids {
		if !slices.Contains(s.dist[i], id) {
			return false
		}
	}
	return true
}

func (b *builder) types(ids []int) []types.Type {
	ts := make([]types.Type, len(ids))
	for i, id := range ids {
		ts[i] = b.md.typ(id)
	}
	return ts
}

func (b *builder) base(cols []int) Base {
	b.ops++
	return Base{ID: b.ops - 1, Out: b.types(cols)}
}

// add appends an operator to the stream's fragment; a stream straight from
// an input gets a fragment of its own.
func (b *builder) add(s *stream, op Op) {
	if s.from < 0 {
		dist := Any
		if !b.view {
			dist = Forward
		}
		s.from = b.fragment(Fragment{Edges: []Edge{{From: s.from, Dist: dist}}})
	}
	f := &b.plan.Fragments[s.from]
	f.Ops = append(f.Ops, op)
}

// fragment adds a fragment; a plan without exchange has one subtask.
func (b *builder) fragment(f Fragment) int {
	f.Singleton = f.Singleton || !b.view
	b.plan.Fragments = append(b.plan.Fragments, f)
	return len(b.plan.Fragments) - 1
}

// exchange distributes s by ids (none: to one subtask), unless it is so
// already or the plan has one subtask anyway.
func (b *builder) exchange(s *stream, ids []int) {
	if !b.view || s.distributedBy(ids) {
		return
	}
	e := Edge{From: s.from, Dist: Hash, Cols: s.positions(ids)}
	if len(ids) == 0 {
		e = Edge{From: s.from, Dist: Singleton}
	}
	s.single = len(ids) == 0
	s.from = b.fragment(Fragment{Singleton: s.single, Edges: []Edge{e}})
	s.dist = equals(ids)
}

func equals(ids []int) [][]int {
	if len(ids) == 0 {
		return nil
	}
	d := make([][]int, len(ids))
	for i, id := range ids {
		d[i] = []int{id}
	}
	return d
}

func (b *builder) build(q *boundQuery, end ending) (*Plan, error) {
	if end == endCollect {
		q.node = b.findPoints(q.node)
	}
	key := b.md.uniqueKey(q.node)
	b.plan.AppendOnly = b.md.appendOnly(q.node)
	s := b.node(q.node)
	cols := q.ids()
	for _, k := range q.order {
		at := slices.Index(cols, k.id)
		if at < 0 {
			at = len(cols)
			cols = append(cols, k.id)
			b.plan.Hidden++
		}
		b.plan.Order = append(b.plan.Order, SortKey{Col: at, Order: k.order})
	}
	b.plan.Limit, b.plan.Offset = q.limit, q.offset
	if !slices.Equal(s.cols, cols) {
		b.projectTo(s, cols)
	}
	b.plan.Key = positionsOrNil(q.ids(), key)
	switch end {
	case endCollect:
		b.add(s, &Collect{b.base(s.cols)})
	case endSink:
		b.add(s, &SinkWrite{b.base(s.cols)})
	case endMaterialize:
		b.materialize(s, q)
	}
	return &b.plan, nil
}

// positionsOrNil gives the places of key in cols, nil if one has none.
func positionsOrNil(cols, key []int) []int {
	if key == nil {
		return nil
	}
	at := make([]int, len(key))
	for i, k := range key {
		if at[i] = slices.Index(cols, k); at[i] < 0 {
			return nil
		}
	}
	return at
}

func (b *builder) materialize(s *stream, q *boundQuery) {
	key, bound := s.cols, "the view's rows"
	if b.plan.Key != nil {
		key = nil
		for _, k := range b.plan.Key {
			key = append(key, s.cols[k])
		}
		bound = fmt.Sprintf("one row per key (%s)", b.md.names(key))
	}
	b.exchange(s, key)
	op := &Materialize{Base: b.base(s.cols), Key: b.plan.Key}
	op.Keeps = []StateDecl{b.state(b.canon.bag("materialize", q.node, key, s.cols), state.KindBag, "materialize", bound)}
	b.add(s, op)
}

// projectTo reorders, repeats and drops columns.
func (b *builder) projectTo(s *stream, cols []int) {
	p := &Project{Base: b.base(cols)}
	for _, id := range cols {
		p.Exprs = append(p.Exprs, s.remap(b.md.ref(id)))
	}
	b.add(s, p)
	s.cols = cols
	s.dropLost()
}

// dropLost forgets a distribution by columns that are gone.
func (s *stream) dropLost() {
	have := newIDSet(s.cols...)
	dist := make([][]int, len(s.dist))
	for i, same := range s.dist {
		for _, id := range same {
			if have.has(id) {
				dist[i] = append(dist[i], id)
			}
		}
		if len(dist[i]) == 0 {
			s.dist = nil
			return
		}
	}
	s.dist = dist
}

func (b *builder) node(n node) *stream {
	switch n := n.(type) {
	case *scanNode:
		return b.scan(n)
	case *valuesNode:
		return b.values(n)
	case *filterNode:
		s := b.node(n.in)
		pred := s.remap(joinAnd(n.preds))
		b.add(s, &Filter{Base: b.base(s.cols), Pred: pred})
		return s
	case *projectNode:
		return b.project(n)
	case *aggNode:
		return b.aggregate(n)
	case *equiJoinNode:
		return b.join(n)
	case *unionNode:
		return b.union(n)
	case *setOpNode:
		return b.setOp(n)
	case *singleNode:
		return b.singleRow(n)
	}
	return &stream{}
}

func (b *builder) scan(n *scanNode) *stream {
	in := Input{Relation: n.rel.ID, Name: n.rel.Title(), Columns: n.ords, Types: b.types(n.ids), Point: n.point}
	b.plan.Inputs = append(b.plan.Inputs, in)
	return &stream{from: -len(b.plan.Inputs), cols: n.ids}
}

func (b *builder) values(n *valuesNode) *stream {
	op := &Values{Base: b.base(n.ids), Rows: n.rows}
	op.Keeps = []StateDecl{b.state(b.canon.list(n), state.KindList, "values", "one entry")}
	return &stream{from: b.fragment(Fragment{Singleton: true, Ops: []Op{op}}), cols: n.ids, single: true}
}

func (b *builder) project(n *projectNode) *stream {
	s := b.node(n.in)
	cols := n.columns()
	p := &Project{Base: b.base(cols)}
	for _, it := range n.items {
		p.Exprs = append(p.Exprs, s.remap(it.e))
	}
	b.add(s, p)
	s.cols = cols
	s.dropLost()
	return s
}

func (b *builder) aggregate(n *aggNode) *stream {
	s := b.node(n.in)
	b.exchange(s, n.keys)
	in := *s
	s.cols = n.columns()
	op := &HashAgg{Base: b.base(s.cols), Keys: in.positions(n.keys), AppendOnly: b.md.appendOnly(n.in)}
	for _, a := range n.aggs {
		c := AggCall{Func: a.call.Func, Filter: -1, Distinct: a.call.Distinct, T: a.call.T}
		for _, x := range a.call.Args {
			c.Args = append(c.Args, in.position(columnID(x)))
		}
		if a.call.Filter != nil {
			c.Filter = in.position(columnID(a.call.Filter))
		}
		op.Aggs = append(op.Aggs, c)
	}
	op.Keeps = b.aggStates(n, op.AppendOnly)
	b.add(s, op)
	for i, k := range n.keys {
		if r, ok := n.representative(k); ok && i < len(s.dist) && slices.Contains(s.dist[i], k) {
			s.dist[i] = append(s.dist[i], r)
		}
	}
	return s
}

// columnID is the column that e is; aggregates' arguments always are one.
func columnID(e expr.Expr) int {
	if c, ok := e.(*expr.Column); ok {
		return c.Index
	}
	return -1
}

func (b *builder) aggStates(n *aggNode, appendOnly bool) []StateDecl {
	bound := "one line"
	if len(n.keys) > 0 {
		bound = fmt.Sprintf("one line per group (%s)", b.md.names(n.keys))
	}
	keeps := []StateDecl{b.state(b.canon.lines(n, appendOnly), state.KindLines, "groups", bound)}
	for _, distinct := range []bool{false, true} {
		var seen []string
		for _, a := range n.aggs {
			if !keepsValues(a.call, distinct) {
				continue
			}
			k := sortedKey(a.call)
			if slices.Contains(seen, k) {
				continue
			}
			seen = append(seen, k)
			name := "values of " + text(a.call.Args...)
			keeps = append(keeps, b.state(b.canon.sorted(n, a.call), state.KindSorted, name, "the different "+name+" in each group"))
		}
	}
	return keeps
}

// keepsValues reports whether an aggregate keeps its argument's values: under
// DISTINCT, or (distinct false) to find the next one when the least or
// greatest goes (over append-only input that state is there and empty).
func keepsValues(a expr.Aggregate, distinct bool) bool {
	if distinct {
		return a.Distinct
	}
	return a.Func.Kind == expr.AggOrdered
}

// sortedKey tells Sorted states apart: argument, direction, filter.
func sortedKey(a expr.Aggregate) string {
	f := -1
	if a.Filter != nil {
		f = columnID(a.Filter)
	}
	cols := make([]int, len(a.Args))
	for i, x := range a.Args {
		cols[i] = columnID(x)
	}
	return fmt.Sprint(cols, a.Func.Desc && !a.Distinct, f)
}

// state declares a state. Equal contents kept twice in a plan (a self-join)
// are told apart by their order in it.
func (b *builder) state(id state.ID, kind state.Kind, name, bound string) StateDecl {
	n := b.twins[id]
	b.twins[id] = n + 1
	if n > 0 {
		id = stateID("twin", string(id[:]), strconv.Itoa(n))
	}
	return StateDecl{ID: id, Kind: kind, Name: name, Bound: bound}
}

func (b *builder) union(n *unionNode) *stream {
	ins := make([]*stream, len(n.ins))
	for k, in := range n.ins {
		ins[k] = b.node(in)
		if !slices.Equal(ins[k].cols, n.inCols[k]) {
			b.projectTo(ins[k], n.inCols[k])
		}
	}
	return b.unionAll(ins, n.ids)
}

// unionAll puts streams together; their columns are those of ids by position.
func (b *builder) unionAll(ins []*stream, ids []int) *stream {
	var edges []Edge
	for k, s := range ins {
		e := Edge{From: s.from, Port: k, Dist: Any}
		if !b.view {
			e.Dist = Forward
		}
		edges = append(edges, e)
	}
	s := &stream{cols: ids, from: b.fragment(Fragment{Edges: edges})}
	b.add(s, &UnionAll{b.base(ids)})
	return s
}
