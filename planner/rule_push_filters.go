package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
)

// pushFilters moves each conjunct as far down as its columns allow: below
// joins, grouping (conjuncts over keys), projections and UNION ALL.
//
// Guards hold: a conjunct that may fail moves only together with all
// conjuncts that stand before it and do not join, and never below a grouping.
func pushFilters(m *metadata, q *boundQuery) error {
	q.node = rewrite(q.node, func(n node) node {
		switch n := n.(type) {
		case *filterNode:
			return pushInto(m, n.in, n.preds)
		case *joinNode:
			return pushBelowJoin(m, n)
		case *pairJoinNode:
			return pushBelowPair(m, n)
		}
		return n
	})
	return nil
}

// pushInto filters n by preds, as deep in n as can be.
func pushInto(m *metadata, n node, preds []expr.Expr) node {
	if len(preds) == 0 {
		return n
	}
	switch n := n.(type) {
	case *filterNode:
		return pushInto(m, n.in, slices.Concat(n.preds, preds))
	case *projectNode:
		if s := n.inlinable(); s != nil {
			return &projectNode{in: pushInto(m, n.in, s.exprs(preds)), items: n.items}
		}
	case *joinNode:
		return pushBelowJoin(m, &joinNode{ins: n.ins, on: slices.Concat(n.on, preds), pos: n.pos})
	case *pairJoinNode:
		return pushIntoPair(m, n, preds)
	case *aggNode:
		return pushBelowGrouping(m, n, preds)
	case *unionNode:
		ins := make([]node, len(n.ins))
		for k, in := range n.ins {
			s := substitution{}
			for i, id := range n.ids {
				s[id] = m.ref(n.inCols[k][i])
			}
			ins[k] = pushInto(m, in, s.exprs(preds))
		}
		return n.withInputs(ins)
	}
	return &filterNode{in: n, preds: preds}
}

func pushBelowJoin(m *metadata, n *joinNode) node {
	down := make([][]expr.Expr, len(n.ins))
	sets := make([]idSet, len(n.ins))
	for i, in := range n.ins {
		sets[i] = newIDSet(in.columns()...)
	}
	var stay []expr.Expr
	guards := idSet{} // inputs to which earlier conjuncts went; -1: one stayed
	for _, p := range n.on {
		cols := expr.Columns(p)
		to := -1
		if len(cols) > 0 && expr.MaxVolatility(p) != expr.Volatile {
			to = slices.IndexFunc(sets, func(s idSet) bool { return s.hasAll(cols) })
		}
		if to >= 0 && mayFail(p) && (len(guards) > 1 || len(guards) == 1 && !guards.has(to)) {
			to = -1
		}
		if to >= 0 {
			down[to] = append(down[to], p)
			guards.add(to)
			continue
		}
		stay = append(stay, p)
		if _, _, _, ok := equality(p); !ok {
			guards.add(-1)
		}
	}
	ins := make([]node, len(n.ins))
	for i, in := range n.ins {
		ins[i] = pushInto(m, in, down[i])
	}
	return &joinNode{ins: ins, on: stay, pos: n.pos}
}

func pushBelowGrouping(m *metadata, n *aggNode, preds []expr.Expr) node {
	keys := idSet{}
	for _, k := range n.keys {
		if m.typ(k).Kind.ImageIsKey() {
			keys.add(k)
		}
	}
	var down, stay []expr.Expr
	for _, p := range preds {
		cols := expr.Columns(p)
		if len(cols) > 0 && keys.hasAll(cols) && !mayFail(p) && expr.MaxVolatility(p) != expr.Volatile {
			down = append(down, p)
		} else {
			stay = append(stay, p)
		}
	}
	var out node = &aggNode{in: pushInto(m, n.in, down), keys: n.keys, aggs: n.aggs}
	if len(stay) > 0 {
		out = &filterNode{in: out, preds: stay}
	}
	return out
}
