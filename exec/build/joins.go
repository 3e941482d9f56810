package build

import (
	"slices"

	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// joinKinds and setKinds map the planner's kinds.
var (
	joinKinds = map[planner.JoinKind]exec.JoinKind{
		planner.InnerJoin: exec.InnerJoin, planner.LeftJoin: exec.LeftJoin, planner.FullJoin: exec.FullJoin,
		planner.SemiJoin: exec.SemiJoin, planner.AntiJoin: exec.AntiJoin,
	}
	setKinds = map[planner.SetOpKind]exec.SetOpKind{
		planner.Intersect: exec.Intersect, planner.IntersectAll: exec.IntersectAll,
		planner.Except: exec.Except, planner.ExceptAll: exec.ExceptAll,
	}
)

// keep gives an operator's states of some kinds; lines are of a width.
func keep(kinds []state.Kind, width int) []state.TableSpec {
	ts := make([]state.TableSpec, len(kinds))
	for i, k := range kinds {
		if ts[i].Kind = k; k == state.KindLines {
			ts[i].Width = width
		}
	}
	return ts
}

func hashJoin(s *exec.OpSpec, o *planner.HashJoin) error {
	s.Name = "hash_join"
	kind, known := joinKinds[o.Kind]
	both := slices.Concat(o.LeftTypes, o.RightTypes)
	out := both
	if kind == exec.SemiJoin || kind == exec.AntiJoin {
		out = o.LeftTypes
	}
	switch {
	case !known || kind != exec.InnerJoin && o.Residual != nil:
		return pgerr.Internal("operator %d is a join of kind %d with a condition", s.ID, o.Kind)
	case len(s.In) != 2 || !sameTypes(s.In[0], o.LeftTypes) || !sameTypes(s.In[1], o.RightTypes):
		return pgerr.Internal("the inputs of operator %d, a join, do not have its types", s.ID)
	case !sameTypes(out, s.Out):
		return pgerr.Internal("the output of operator %d, a join, is not its two sides", s.ID)
	case len(o.LeftKeys) != len(o.RightKeys) || o.NullSafe != nil && len(o.NullSafe) != len(o.LeftKeys):
		return pgerr.Internal("operator %d, a join, has %d and %d keys", s.ID, len(o.LeftKeys), len(o.RightKeys))
	}
	if err := joinKeys(s, o); err != nil {
		return err
	}
	var residual []expr.Expr
	if o.Residual != nil {
		residual = []expr.Expr{o.Residual}
		if _, err := compile(s, residual, both); err != nil {
			return err
		}
	}
	s.Tables = keep(kind.States(), exec.JoinLineWidth)
	s.New = func(t *exec.Task) (exec.Operator, error) {
		spec := exec.HashJoinSpec{
			Kind: kind, Keys: [2][]int{o.LeftKeys, o.RightKeys}, NullSafe: o.NullSafe,
			Types: [2][]types.Type{o.LeftTypes, o.RightTypes},
		}
		if residual != nil {
			p, err := program(t, residual)
			if err != nil {
				return nil, err
			}
			spec.Residual = p
		}
		return exec.NewHashJoin(t, spec), nil
	}
	return nil
}

func joinKeys(s *exec.OpSpec, o *planner.HashJoin) error {
	if err := checkColumns("a join", o.LeftKeys, o.LeftTypes); err != nil {
		return err
	}
	if err := checkColumns("a join", o.RightKeys, o.RightTypes); err != nil {
		return err
	}
	for i, l := range o.LeftKeys {
		if o.LeftTypes[l].Kind != o.RightTypes[o.RightKeys[i]].Kind {
			return pgerr.Internal("key %d of operator %d, a join, compares different types", i, s.ID)
		}
	}
	return nil
}

func setOp(s *exec.OpSpec, o *planner.SetOp) error {
	s.Name = "set_op"
	kind, known := setKinds[o.Kind]
	if !known || len(s.In) != 2 || !sameTypes(s.In[0], s.Out) || !sameTypes(s.In[1], s.Out) {
		return pgerr.Internal("the inputs of operator %d, a set operation, do not have its types", s.ID)
	}
	s.Tables = keep(exec.SetOpStates(s.Out), exec.SetOpLineWidth)
	s.New = func(t *exec.Task) (exec.Operator, error) { return exec.NewSetOp(t, kind, s.Out), nil }
	return nil
}

func singleRow(s *exec.OpSpec, o *planner.SingleRow) error {
	s.Name = "single_row"
	if err := pass(s); err != nil {
		return err
	}
	if err := checkColumns(s.Name, o.By, s.Out); err != nil {
		return err
	}
	s.Tables = keep([]state.Kind{state.KindLines, state.KindBag}, exec.SingleRowLineWidth)
	s.New = func(t *exec.Task) (exec.Operator, error) { return exec.NewSingleRow(t, s.Out, o.By), nil }
	return nil
}
