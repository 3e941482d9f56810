// Package build turns physical plans into dataflows that exec can run. It
// checks everything that running relies on, so that a broken plan is an error
// here (XX000) and not damage later.
package build

import (
	"fmt"
	"slices"

	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Graph makes the dataflow of a plan. Expressions are compiled anew for each
// subtask, but once here, so that what cannot be run is refused before it is
// started.
func Graph(p *planner.Plan) (*exec.Graph, error) {
	g := &exec.Graph{Finish: exec.Finish{Limit: -1, Hidden: p.Hidden}}
	for _, in := range p.Inputs {
		if len(in.Columns) != len(in.Types) {
			return nil, pgerr.Internal("input %s has %d columns and %d types", in.Name, len(in.Columns), len(in.Types))
		}
		g.Inputs = append(g.Inputs, in.Types)
	}
	b := builder{plan: p, graph: g, ids: map[int]bool{}, states: map[state.ID]bool{}}
	for i := range p.Fragments {
		if err := b.fragment(i); err != nil {
			return nil, err
		}
	}
	if len(g.Fragments) == 0 {
		return nil, pgerr.Internal("plan without fragments")
	}
	if err := b.output(); err != nil {
		return nil, err
	}
	return g, b.finish()
}

type builder struct {
	plan   *planner.Plan
	graph  *exec.Graph
	ids    map[int]bool
	states map[state.ID]bool
}

// source gives the column types of what an edge carries.
func (b *builder) source(frag, from int) ([]types.Type, error) {
	switch {
	case from < 0 && -1-from < len(b.graph.Inputs):
		return b.graph.Inputs[-1-from], nil
	case from >= 0 && from < frag:
		ops := b.graph.Fragments[from].Ops
		return ops[len(ops)-1].Out, nil
	}
	return nil, pgerr.Internal("fragment %d has an edge from %d", frag, from)
}

func (b *builder) fragment(i int) error {
	f := &b.plan.Fragments[i]
	out := exec.Fragment{Singleton: f.Singleton}
	var ports [][]types.Type
	for _, e := range f.Edges {
		ts, err := b.edge(i, e)
		if err != nil {
			return err
		}
		for len(ports) <= e.Port {
			ports = append(ports, nil)
		}
		if ports[e.Port] != nil && !sameTypes(ports[e.Port], ts) {
			return pgerr.Internal("the edges into port %d of fragment %d have different types", e.Port, i)
		}
		ports[e.Port] = ts
		out.Edges = append(out.Edges, exec.Edge{From: e.From, Port: e.Port, Dist: dists[e.Dist], Cols: e.Cols})
	}
	for k, op := range f.Ops {
		if b.ids[op.OpID()] {
			return pgerr.Internal("two operators have the id %d", op.OpID())
		}
		b.ids[op.OpID()] = true
		last := i == len(b.plan.Fragments)-1 && k == len(f.Ops)-1
		spec, err := b.op(op, ports, last)
		if err != nil {
			return err
		}
		out.Ops = append(out.Ops, *spec)
		ports = [][]types.Type{spec.Out}
	}
	if len(out.Ops) == 0 {
		return pgerr.Internal("fragment %d has no operators", i)
	}
	b.graph.Fragments = append(b.graph.Fragments, out)
	return nil
}

// dists maps the planner's distributions.
var dists = map[planner.Dist]exec.Dist{
	planner.Any: exec.Any, planner.Hash: exec.Hash, planner.Singleton: exec.Singleton, planner.Forward: exec.Forward,
}

// edge checks an edge into fragment i and gives the types that it carries.
func (b *builder) edge(i int, e planner.Edge) ([]types.Type, error) {
	ts, err := b.source(i, e.From)
	if err != nil {
		return nil, err
	}
	single := b.plan.Fragments[i].Singleton
	switch {
	case b.adHoc(): // one goroutine, whatever the distribution
	case e.Port < 0 || e.Port > 1<<10:
		return nil, pgerr.Internal("fragment %d has an edge to port %d", i, e.Port)
	case e.Dist == planner.Hash && len(e.Cols) == 0:
		return nil, pgerr.Internal("a hash edge into fragment %d without columns", i)
	case e.Dist == planner.Singleton && !single:
		return nil, pgerr.Internal("a singleton edge into fragment %d, which is not one", i)
	case e.Dist == planner.Forward && e.From >= 0 && b.plan.Fragments[e.From].Singleton != single:
		return nil, pgerr.Internal("a forward edge between fragments %d and %d of different parallelism", e.From, i)
	case e.Dist == planner.Forward && e.From < 0 && !single:
		return nil, pgerr.Internal("a forward edge from an input into fragment %d", i)
	}
	if _, ok := dists[e.Dist]; !ok {
		return nil, pgerr.Internal("unknown distribution %d", e.Dist)
	}
	return ts, checkColumns("an edge", e.Cols, ts)
}

// adHoc reports whether the plan is of an ad-hoc read.
func (b *builder) adHoc() bool {
	ops := b.plan.Fragments[len(b.plan.Fragments)-1].Ops
	if len(ops) == 0 {
		return false
	}
	_, ok := ops[len(ops)-1].(*planner.Collect)
	return ok
}

// op makes an operator's spec over the types of its ports.
func (b *builder) op(op planner.Op, in [][]types.Type, last bool) (*exec.OpSpec, error) {
	s := &exec.OpSpec{ID: op.OpID(), In: in, Out: op.Types()}
	var err error
	switch o := op.(type) {
	case *planner.Filter:
		err = filter(s, o)
	case *planner.Project:
		err = project(s, o)
	case *planner.HashAgg:
		err = hashAgg(s, o)
	case *planner.HashJoin:
		err = hashJoin(s, o)
	case *planner.SetOp:
		err = setOp(s, o)
	case *planner.SingleRow:
		err = singleRow(s, o)
	case *planner.UnionAll:
		err = union(s)
	case *planner.Values:
		err = values(s, o)
	case *planner.Materialize:
		s.Name, s.New = "materialize", exec.NewMaterialize
		err = b.terminal(s, last, checkColumns(s.Name, o.Key, s.Out))
	case *planner.SinkWrite:
		s.Name, s.New = "sink", exec.NewSinkWrite
		err = b.terminal(s, last, nil)
	case *planner.Collect:
		s.Name, s.New = "collect", exec.NewCollect
		err = b.terminal(s, last, nil)
	default:
		err = pgerr.Internal("no execution of %T", op)
	}
	if err != nil {
		return nil, err
	}
	return s, b.tables(s, op.States())
}

// terminal checks an operator that has to be the plan's last.
func (b *builder) terminal(s *exec.OpSpec, last bool, err error) error {
	if err != nil {
		return err
	}
	if !last {
		return pgerr.Internal("%s is not the last operator of the plan", s.Name)
	}
	return pass(s)
}

// kinds are the structures that an operator keeps, by its name.
var kinds = map[string][]state.Kind{
	"values":      {state.KindList},
	"materialize": {state.KindBag},
}

// tables makes the specs of an operator's states from their declarations. An
// operator whose kinds are not in the table above has set them itself.
func (b *builder) tables(s *exec.OpSpec, decls []planner.StateDecl) error {
	want := kinds[s.Name]
	if s.Tables == nil {
		s.Tables = make([]state.TableSpec, len(want))
	} else {
		want = make([]state.Kind, len(s.Tables))
		for i := range want {
			want[i] = s.Tables[i].Kind
		}
	}
	if len(decls) != len(want) {
		return pgerr.Internal("%s (operator %d) keeps %d states, the plan declares %d", s.Name, s.ID, len(want), len(decls))
	}
	for i, d := range decls {
		if d.Kind != want[i] {
			return pgerr.Internal("state %d of %s (operator %d) is of kind %d, the plan declares %d", i, s.Name, s.ID, want[i], d.Kind)
		}
		if b.states[d.ID] {
			return pgerr.Internal("two states have the id %x", d.ID)
		}
		b.states[d.ID] = true
		t := &s.Tables[i]
		t.ID, t.Kind, t.Name = d.ID, d.Kind, fmt.Sprintf("%s %d %s", s.Name, s.ID, d.Name)
		if d.Kind == state.KindList {
			t.Redist = state.Union
		}
	}
	return nil
}

// output checks that the last fragment gives the plan's schema.
func (b *builder) output() error {
	ops := b.graph.Fragments[len(b.graph.Fragments)-1].Ops
	last := ops[len(ops)-1].Out
	ts := b.plan.Schema.Types()
	if len(last) != len(ts)+b.plan.Hidden && len(last) != len(ts) {
		return pgerr.Internal("the plan gives %d columns, its schema has %d", len(last), len(ts))
	}
	for i, t := range ts {
		if last[i].Kind != t.Kind {
			return pgerr.Internal("column %d of the plan is of another type than its schema says", i+1)
		}
	}
	return nil
}

// finish evaluates order, limit and offset.
func (b *builder) finish() error {
	f := &b.graph.Finish
	ops := b.graph.Fragments[len(b.graph.Fragments)-1].Ops
	last := ops[len(ops)-1].Out
	for _, k := range b.plan.Order {
		if err := checkColumns("ORDER BY", []int{k.Col}, last); err != nil {
			return err
		}
		f.Order = append(f.Order, exec.SortKey{Col: k.Col, Order: k.Order})
	}
	if b.plan.Hidden < 0 || b.plan.Hidden > len(last) {
		return pgerr.Internal("%d hidden columns of %d", b.plan.Hidden, len(last))
	}
	limit, err := count(b.plan.Limit, -1)
	if err != nil {
		return err
	}
	if limit < -1 {
		return pgerr.New(pgerr.InvalidRowCountInLimit, "LIMIT must not be negative")
	}
	offset, err := count(b.plan.Offset, 0)
	if err != nil {
		return err
	}
	if offset < 0 {
		return pgerr.New(pgerr.InvalidRowCountInOffset, "OFFSET must not be negative")
	}
	f.Limit, f.Offset = limit, offset
	return nil
}

// count evaluates a constant bigint; none is what no expression and NULL
// mean, -2 stands for any negative number.
func count(e expr.Expr, none int64) (int64, error) {
	if e == nil {
		return none, nil
	}
	p, err := expr.Compile([]expr.Expr{e})
	if err != nil {
		return 0, err
	}
	if k := e.Type().Kind; k != types.Int8 {
		return 0, pgerr.Internal("LIMIT or OFFSET is not a bigint")
	}
	out := make([]types.Vec, 1)
	var errs expr.Errors
	if err := p.Eval(&types.Chunk{N: 1}, out, &errs); err != nil {
		return 0, err
	}
	switch {
	case len(errs.Errs) > 0:
		return 0, errs.Errs[0]
	case out[0].Null(0):
		return none, nil
	case out[0].I64[0] < 0:
		return -2, nil
	}
	return out[0].I64[0], nil
}

func checkColumns(what string, cols []int, ts []types.Type) error {
	for _, c := range cols {
		if c < 0 || c >= len(ts) {
			return pgerr.Internal("%s names column %d of %d", what, c, len(ts))
		}
	}
	return nil
}

func sameTypes(a, b []types.Type) bool {
	return slices.EqualFunc(a, b, func(x, y types.Type) bool { return x.Kind == y.Kind })
}
