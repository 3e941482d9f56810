package planner

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/types"
)

// check verifies that every reference in a plan is to something that exists,
// so that a damaged plan cannot make an operator read outside of its chunks.
func (p *Plan) check() error {
	for _, in := range p.Inputs {
		if len(in.Columns) != len(in.Types) || !within(in.Columns, maxPlanColumn) {
			return errPlan("an input's columns do not match their types")
		}
	}
	if len(p.Fragments) == 0 {
		return errPlan("it has no fragment")
	}
	outs := make([][]types.Type, len(p.Fragments))
	ids := map[int]bool{}
	for i := range p.Fragments {
		f := &p.Fragments[i]
		in, err := p.checkEdges(f, i, outs)
		if err != nil {
			return err
		}
		if len(f.Ops) == 0 {
			return errPlan("fragment %d has no operator", i)
		}
		for k, op := range f.Ops {
			if ids[op.OpID()] {
				return errPlan("operator %d is there twice", op.OpID())
			}
			ids[op.OpID()] = true
			if err := checkOp(op, in, k == 0); err != nil {
				return err
			}
			in = [][]types.Type{op.Types()}
		}
		outs[i] = in[0]
	}
	width := len(outs[len(outs)-1])
	for _, k := range p.Order {
		if k.Col < 0 || k.Col >= width {
			return errPlan("it sorts by column %d of %d", k.Col, width)
		}
	}
	if !within(p.Key, len(p.Schema)) || p.Hidden < 0 || len(p.Schema)+p.Hidden != width {
		return errPlan("its schema does not match its output")
	}
	return nil
}

// checkEdges gives the column types of each port of fragment i.
func (p *Plan) checkEdges(f *Fragment, i int, outs [][]types.Type) ([][]types.Type, error) {
	ports := make([][]types.Type, len(f.Edges))
	for _, e := range f.Edges {
		var from []types.Type
		switch {
		case e.From >= 0 && e.From < i:
			from = outs[e.From]
		case e.From < 0 && -1-e.From < len(p.Inputs):
			from = p.Inputs[-1-e.From].Types
		default:
			return nil, errPlan("an edge of fragment %d comes from %d", i, e.From)
		}
		if e.Dist > Forward || !within(e.Cols, len(from)) || e.Port < 0 || e.Port >= len(ports) || ports[e.Port] != nil {
			return nil, errPlan("an edge of fragment %d is invalid", i)
		}
		if from == nil {
			from = []types.Type{}
		}
		ports[e.Port] = from
	}
	return ports, nil
}

func within(cols []int, n int) bool {
	for _, c := range cols {
		if c < 0 || c >= n {
			return false
		}
	}
	return true
}

func exprsWithin(n int, es ...expr.Expr) bool {
	for _, e := range es {
		if e != nil && !within(expr.Columns(e), n) {
			return false
		}
	}
	return true
}

// checkOp verifies an operator over inputs of the given types.
func checkOp(op Op, in [][]types.Type, first bool) error {
	ports := 1
	switch op.(type) {
	case *HashJoin, *SetOp:
		ports = 2
	case *UnionAll:
		ports = len(in)
	case *Values:
		ports = 0
	}
	if len(in) != ports || ports != 1 && !first {
		return errPlan("operator %d has %d inputs", op.OpID(), len(in))
	}
	n := 0
	if len(in) > 0 {
		n = len(in[0])
	}
	if !opWithin(op, in, n) {
		return errPlan("operator %d reads columns that are not there", op.OpID())
	}
	return nil
}

func opWithin(op Op, in [][]types.Type, n int) bool {
	out := len(op.Types())
	switch o := op.(type) {
	case *Filter:
		return out == n && o.Pred != nil && exprsWithin(n, o.Pred)
	case *Project:
		return out == len(o.Exprs) && exprsWithin(n, o.Exprs...)
	case *HashAgg:
		ok := within(o.Keys, n) && out == len(o.Keys)+len(o.Aggs)
		for _, a := range o.Aggs {
			ok = ok && within(a.Args, n) && a.Filter >= -1 && a.Filter < n && len(a.Args) == len(a.Func.Args)
		}
		return ok
	case *HashJoin:
		return o.within(len(in[0]), len(in[1]))
	case *SetOp:
		return o.Kind <= ExceptAll && len(in[0]) == out && len(in[1]) == out
	case *SingleRow:
		return out == n && within(o.By, n)
	case *Values:
		for _, row := range o.Rows {
			if len(row) != out || !exprsWithin(0, row...) {
				return false
			}
		}
		return true
	case *Materialize:
		return out == n && within(o.Key, n)
	case *UnionAll:
		for _, ts := range in {
			if len(ts) != out {
				return false
			}
		}
		return true
	default:
		return out == n
	}
}

// within verifies a join of l and r columns.
func (o *HashJoin) within(l, r int) bool {
	out := l + r
	if o.Kind == SemiJoin || o.Kind == AntiJoin {
		out = l
	}
	return o.Kind <= AntiJoin && (o.Kind == InnerJoin || o.Residual == nil) &&
		len(o.LeftTypes) == l && len(o.RightTypes) == r && len(o.Out) == out && within(o.LeftKeys, l) &&
		within(o.RightKeys, r) && len(o.LeftKeys) == len(o.RightKeys) && len(o.NullSafe) == len(o.LeftKeys) &&
		exprsWithin(out, o.Residual)
}
