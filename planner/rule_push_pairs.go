package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
)

// pushIntoPair filters a join by preds, as deep as can be. A predicate that
// is not true where a side is all NULL makes that side's rows necessary: an
// outer join becomes a left or an inner one.
func pushIntoPair(m *metadata, n *pairJoinNode, preds []expr.Expr) node {
	ls, rs := newIDSet(n.left.columns()...), newIDSet(n.right.columns()...)
	kind, left, right := n.kind, n.left, n.right
	rejects := func(s idSet) bool {
		return slices.ContainsFunc(preds, func(p expr.Expr) bool { return rejectsNulls(p, s) })
	}
	if kind == FullJoin && rejects(ls) {
		kind = LeftJoin
	} else if kind == FullJoin && rejects(rs) {
		kind, left, right, ls, rs = LeftJoin, right, left, rs, ls
	}
	if kind == LeftJoin && rejects(rs) {
		return pushBelowJoin(m, &joinNode{ins: []node{left, right}, on: slices.Concat(n.on, preds), pos: []int{n.pos, n.pos}})
	}
	j := &pairJoinNode{kind: kind, left: left, right: right, on: n.on, pos: n.pos}
	if kind == FullJoin {
		return &filterNode{in: j, preds: preds}
	}
	down, stay := splitPreds(preds, ls)
	j.left = pushInto(m, left, down)
	if len(stay) > 0 {
		return &filterNode{in: j, preds: stay}
	}
	return j
}

// splitPreds gives the conjuncts over columns of s alone, and the others. One
// that may fail goes down only if none before it stays.
func splitPreds(preds []expr.Expr, s idSet) (down, stay []expr.Expr) {
	for _, p := range preds {
		cols := expr.Columns(p)
		if len(cols) > 0 && s.hasAll(cols) && expr.MaxVolatility(p) != expr.Volatile && (len(stay) == 0 || !mayFail(p)) {
			down = append(down, p)
		} else {
			stay = append(stay, p)
		}
	}
	return down, stay
}

// pushBelowPair moves a join's own conditions into its inputs: those on the
// right side alone decide which right rows there are to match, and in a semi
// join those on the left side alone which left rows can have a match.
func pushBelowPair(m *metadata, n *pairJoinNode) node {
	if n.kind == FullJoin || n.kind == InnerJoin {
		return n
	}
	j := *n
	var down []expr.Expr
	var stay []expr.Expr
	rs := newIDSet(n.right.columns()...)
	for _, p := range n.on {
		cols := expr.Columns(p)
		if len(cols) > 0 && rs.hasAll(cols) && !mayFail(p) && expr.MaxVolatility(p) != expr.Volatile {
			down = append(down, p)
		} else {
			stay = append(stay, p)
		}
	}
	j.right, j.on = pushInto(m, n.right, down), stay
	if n.kind == SemiJoin {
		down, j.on = nil, nil
		ls := newIDSet(n.left.columns()...)
		for _, p := range stay {
			if cols := expr.Columns(p); len(cols) > 0 && ls.hasAll(cols) && !mayFail(p) && expr.MaxVolatility(p) != expr.Volatile {
				down = append(down, p)
			} else {
				j.on = append(j.on, p)
			}
		}
		j.left = pushInto(m, n.left, down)
	}
	return &j
}

// rejectsNulls reports that p is not true on a row whose columns s are NULL.
func rejectsNulls(p expr.Expr, s idSet) bool {
	switch p := p.(type) {
	case *expr.And:
		return slices.ContainsFunc(p.Args, func(a expr.Expr) bool { return rejectsNulls(a, s) })
	case *expr.Or:
		return !slices.ContainsFunc(p.Args, func(a expr.Expr) bool { return !rejectsNulls(a, s) })
	case *expr.Not:
		if t, ok := p.Arg.(*expr.IsNull); ok {
			return nullOn(t.Arg, s)
		}
	case *expr.IsTrue:
		return nullOn(p.Arg, s)
	case *expr.Const:
		return p.Value.Null || p.Value.I == 0 && p.Type().Kind == boolType.Kind
	}
	return nullOn(p, s)
}

// nullOn reports that e is NULL on a row whose columns s are NULL. An error
// counts as NULL: what may fail would have failed no less with other values.
func nullOn(e expr.Expr, s idSet) bool {
	switch e := e.(type) {
	case *expr.Column:
		return s.has(e.Index)
	case *expr.Const:
		return e.Value.Null
	case *expr.Call:
		return e.Func.Strict && slices.ContainsFunc(e.Args, func(a expr.Expr) bool { return nullOn(a, s) })
	case *expr.Not:
		return nullOn(e.Arg, s)
	case *expr.InList:
		return nullOn(e.Arg, s)
	case *expr.Coalesce:
		return !slices.ContainsFunc(e.Args, func(a expr.Expr) bool { return !nullOn(a, s) })
	}
	return false
}
