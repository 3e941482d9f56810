package build

import (
	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// one gives the only port's types.
func one(s *exec.OpSpec) ([]types.Type, error) {
	if len(s.In) != 1 || s.In[0] == nil {
		return nil, pgerr.Internal("%s (operator %d) has %d inputs", s.Name, s.ID, len(s.In))
	}
	return s.In[0], nil
}

// pass checks an operator whose output is its input.
func pass(s *exec.OpSpec) error {
	in, err := one(s)
	if err != nil {
		return err
	}
	if !sameTypes(in, s.Out) {
		return pgerr.Internal("%s (operator %d) changes the types of its input", s.Name, s.ID)
	}
	return nil
}

// compile checks expressions against the columns that they read and gives
// their program.
func compile(s *exec.OpSpec, es []expr.Expr, in []types.Type) (*expr.Program, error) {
	var err error
	for _, e := range es {
		expr.Walk(e, func(n expr.Expr) bool {
			if c, ok := n.(*expr.Column); ok && err == nil {
				if c.Index < 0 || c.Index >= len(in) || in[c.Index].Kind != c.T.Kind {
					err = pgerr.Internal("%s (operator %d) reads column %d, which its input does not have so", s.Name, s.ID, c.Index)
				}
			}
			return true
		})
	}
	if err != nil {
		return nil, err
	}
	return expr.Compile(es)
}

// program compiles for a subtask what has been checked.
func program(t *exec.Task, es []expr.Expr) (*expr.Program, error) {
	p, err := expr.Compile(es)
	if err != nil {
		return nil, err
	}
	p.Now = t.Now
	return p, nil
}

func filter(s *exec.OpSpec, o *planner.Filter) error {
	s.Name = "filter"
	if err := pass(s); err != nil {
		return err
	}
	if o.Pred.Type().Kind != types.Bool {
		return pgerr.Internal("the predicate of operator %d is not boolean", s.ID)
	}
	es := []expr.Expr{o.Pred}
	if _, err := compile(s, es, s.In[0]); err != nil {
		return err
	}
	s.New = func(t *exec.Task) (exec.Operator, error) {
		p, err := program(t, es)
		if err != nil {
			return nil, err
		}
		return exec.NewFilter(t, p), nil
	}
	return nil
}

// exprTypes checks that expressions give a row's types.
func exprTypes(s *exec.OpSpec, es []expr.Expr) error {
	if len(es) != len(s.Out) {
		return pgerr.Internal("%s (operator %d) has %d expressions for %d columns", s.Name, s.ID, len(es), len(s.Out))
	}
	for i, e := range es {
		if e.Type().Kind != s.Out[i].Kind {
			return pgerr.Internal("expression %d of operator %d has another type than its column", i, s.ID)
		}
	}
	return nil
}

func project(s *exec.OpSpec, o *planner.Project) error {
	s.Name = "project"
	in, err := one(s)
	if err != nil {
		return err
	}
	if err := exprTypes(s, o.Exprs); err != nil {
		return err
	}
	if _, err := compile(s, o.Exprs, in); err != nil {
		return err
	}
	s.New = func(t *exec.Task) (exec.Operator, error) {
		p, err := program(t, o.Exprs)
		if err != nil {
			return nil, err
		}
		return exec.NewProject(t, p), nil
	}
	return nil
}

func union(s *exec.OpSpec) error {
	s.Name = "union_all"
	for _, in := range s.In {
		if in == nil || !sameTypes(in, s.Out) {
			return pgerr.Internal("an input of operator %d has other types than its output", s.ID)
		}
	}
	s.New = func(*exec.Task) (exec.Operator, error) { return exec.NewUnion(), nil }
	return nil
}

func values(s *exec.OpSpec, o *planner.Values) error {
	s.Name = "values"
	if len(s.In) != 0 {
		return pgerr.Internal("operator %d, a VALUES list, has an input", s.ID)
	}
	for _, row := range o.Rows {
		if err := exprTypes(s, row); err != nil {
			return err
		}
		if _, err := compile(s, row, nil); err != nil {
			return err
		}
	}
	s.New = func(t *exec.Task) (exec.Operator, error) {
		var rows []*expr.Program
		for _, row := range o.Rows {
			p, err := program(t, row)
			if err != nil {
				return nil, err
			}
			rows = append(rows, p)
		}
		return exec.NewValues(t, rows), nil
	}
	return nil
}

func hashAgg(s *exec.OpSpec, o *planner.HashAgg) error {
	s.Name = "hash_agg"
	in, err := one(s)
	if err != nil {
		return err
	}
	if err := checkColumns(s.Name, o.Keys, in); err != nil {
		return err
	}
	if len(s.Out) != len(o.Keys)+len(o.Aggs) {
		return pgerr.Internal("operator %d, an aggregation, has %d columns for %d keys and %d aggregates", s.ID, len(s.Out), len(o.Keys), len(o.Aggs))
	}
	for i, k := range o.Keys {
		if in[k].Kind != s.Out[i].Kind {
			return pgerr.Internal("key %d of operator %d changes its type", i, s.ID)
		}
	}
	spec := exec.HashAggSpec{In: in, Keys: o.Keys, AppendOnly: o.AppendOnly}
	for i := range o.Aggs {
		c, err := aggCall(s, &o.Aggs[i], in)
		if err != nil {
			return err
		}
		if c.T.Kind != s.Out[len(o.Keys)+i].Kind {
			return pgerr.Internal("aggregate %d of operator %d has another type than its column", i, s.ID)
		}
		spec.Aggs = append(spec.Aggs, c)
	}
	s.Tables = []state.TableSpec{{Kind: state.KindLines, Width: spec.Width()}}
	for range spec.States() {
		s.Tables = append(s.Tables, state.TableSpec{Kind: state.KindSorted})
	}
	s.New = func(t *exec.Task) (exec.Operator, error) { return exec.NewHashAgg(t, spec), nil }
	return nil
}

// aggCall checks an aggregate.
func aggCall(s *exec.OpSpec, a *planner.AggCall, in []types.Type) (exec.AggCall, error) {
	c := exec.AggCall{Func: a.Func, Arg: -1, Filter: a.Filter, Distinct: a.Distinct, T: a.T}
	if len(a.Args) > 1 {
		return c, pgerr.Unsupported("an aggregate with %d arguments", len(a.Args))
	}
	if err := checkColumns(s.Name, a.Args, in); err != nil {
		return c, err
	}
	if len(a.Args) == 1 {
		c.Arg = a.Args[0]
	}
	switch {
	case len(a.Args) != len(a.Func.Args):
		return c, pgerr.Internal("%s of operator %d has %d arguments", a.Func.Name, s.ID, len(a.Args))
	case c.Arg >= 0 && a.Func.Args[0] != types.Unknown && in[c.Arg].Kind != a.Func.Args[0]:
		return c, pgerr.Internal("the argument of %s of operator %d has another type than it takes", a.Func.Name, s.ID)
	case a.T.Kind != a.Func.Result:
		return c, pgerr.Internal("%s of operator %d has another type than it gives", a.Func.Name, s.ID)
	case a.Filter >= 0 && (a.Filter >= len(in) || in[a.Filter].Kind != types.Bool):
		return c, pgerr.Internal("the filter of %s of operator %d is not a boolean column", a.Func.Name, s.ID)
	case a.Distinct && c.Arg < 0:
		return c, pgerr.Internal("%s of operator %d is DISTINCT without an argument", a.Func.Name, s.ID)
	case a.Distinct && in[c.Arg].Kind == types.Interval && a.Func.Kind == expr.AggFixed && a.Func.Result == types.Interval:
		return c, pgerr.Unsupported("%s(DISTINCT interval)", a.Func.Name)
	}
	return c, nil
}
