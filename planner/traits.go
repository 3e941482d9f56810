package planner

import (
	"slices"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
)

// The inferred traits of logical nodes. They choose cheaper forms of
// operators and are never needed for the right answer.

// uniqueKey gives columns that are unique in n's output, nil if none are
// known. A relation of at most one row has none.
func (m *metadata) uniqueKey(n node) []int {
	switch n := n.(type) {
	case *scanNode:
		if n.rel.Key == nil {
			return nil
		}
		var key []int
		for _, k := range n.rel.Key {
			at := slices.Index(n.ords, k)
			if at < 0 {
				return nil
			}
			key = append(key, n.ids[at])
		}
		return key
	case *filterNode:
		return m.uniqueKey(n.in)
	case *projectNode:
		key := m.uniqueKey(n.in)
		if key == nil {
			return nil
		}
		return projectedKey(n, key)
	case *aggNode:
		return m.groupKey(n)
	case *equiJoinNode:
		return m.joinKey(n)
	case *setOpNode:
		if n.kind == Intersect || n.kind == Except {
			return n.ids
		}
	case *singleNode:
		if len(n.by) > 0 {
			return n.by
		}
		return m.uniqueKey(n.in)
	}
	return nil
}

// projectedKey follows a key through a projection, which may compute a
// renamed column but must keep each.
func projectedKey(n *projectNode, key []int) []int {
	if !newIDSet(n.columns()...).hasAll(key) {
		return nil
	}
	return key
}

// groupKey is the grouping's keys by the columns that stand for them above.
func (m *metadata) groupKey(n *aggNode) []int {
	if len(n.keys) == 0 {
		return nil
	}
	key := make([]int, len(n.keys))
	for i, k := range n.keys {
		key[i] = k
		if r, ok := n.representative(k); ok {
			key[i] = r
		}
	}
	return key
}

// representative gives the aggregate that stands for key k above the
// grouping, if one does.
func (n *aggNode) representative(k int) (int, bool) {
	for _, a := range n.aggs {
		if a.call.Func.Name != "min" || a.call.Filter != nil || a.call.Distinct || len(a.call.Args) != 1 {
			continue
		}
		if columnID(a.call.Args[0]) == k {
			return a.id, true
		}
	}
	return 0, false
}

// joinKey: if one side's rows match at most one row of the other, its key is
// the join's; else both keys together are. Unmatched rows of a full join have
// NULLs in both, and so no key; those of a left join have the left key.
func (m *metadata) joinKey(n *equiJoinNode) []int {
	lk, rk := m.uniqueKey(n.left), m.uniqueKey(n.right)
	switch {
	case n.kind == SemiJoin || n.kind == AntiJoin:
		return lk
	case n.kind == FullJoin:
		return nil
	case n.kind == LeftJoin && lk != nil && m.atMostOne(n.right):
		return lk
	case n.kind == LeftJoin && lk != nil && rk != nil && newIDSet(n.rightKeys...).hasAll(rk):
		return lk
	case n.kind == LeftJoin && lk != nil && rk != nil:
		return slices.Concat(lk, rk)
	case n.kind == LeftJoin:
		return nil
	case rk != nil && m.atMostOne(n.left):
		return rk
	case lk != nil && m.atMostOne(n.right):
		return lk
	case lk != nil && rk != nil && newIDSet(n.rightKeys...).hasAll(rk):
		return lk
	case lk != nil && rk != nil && newIDSet(n.leftKeys...).hasAll(lk):
		return rk
	case lk != nil && rk != nil:
		return slices.Concat(lk, rk)
	}
	return nil
}

// appendOnly reports that no row of n's output is ever taken back.
func (m *metadata) appendOnly(n node) bool {
	switch n := n.(type) {
	case *scanNode:
		switch n.rel.Kind {
		case catalog.SourceRelation:
			return true
		case catalog.MaterializedView:
			return planAppendOnly(n.rel.Plan)
		}
		return false
	case *valuesNode:
		return true
	case *aggNode:
		return len(n.keys) > 0 && len(n.aggs) == 0 && m.appendOnly(n.in)
	case *equiJoinNode:
		if n.kind != InnerJoin && n.kind != SemiJoin {
			return false
		}
	case *setOpNode, *singleNode:
		return false
	}
	for _, in := range n.inputs() {
		if !m.appendOnly(in) {
			return false
		}
	}
	return true
}

// atMostOne reports that n never has more than one row.
func (m *metadata) atMostOne(n node) bool {
	switch n := n.(type) {
	case *valuesNode:
		return len(n.rows) <= 1
	case *filterNode:
		return m.atMostOne(n.in)
	case *projectNode:
		return m.atMostOne(n.in)
	case *aggNode:
		return len(n.keys) == 0 || m.atMostOne(n.in)
	case *singleNode:
		return len(n.by) == 0 || m.atMostOne(n.in)
	case *joinNode:
		return !slices.ContainsFunc(n.ins, func(in node) bool { return !m.atMostOne(in) })
	case *pairJoinNode:
		return m.atMostOne(n.left) && (n.kind == SemiJoin || n.kind == AntiJoin || n.kind != FullJoin && m.atMostOne(n.right))
	case *equiJoinNode:
		return m.atMostOne(n.left) && (n.kind == SemiJoin || n.kind == AntiJoin || n.kind != FullJoin && m.atMostOne(n.right))
	}
	return false
}

// notNull reports that column id of n is never NULL.
func (m *metadata) notNull(n node, id int) bool {
	switch n := n.(type) {
	case *scanNode:
		return m.cols[id].notNull && slices.Contains(n.ids, id)
	case *filterNode:
		return m.notNull(n.in, id)
	case *projectNode:
		for _, it := range n.items {
			if it.id == id {
				return m.exprNotNull(n.in, it.e)
			}
		}
		return false
	case *valuesNode:
		at := slices.Index(n.ids, id)
		return at >= 0 && !slices.ContainsFunc(n.rows, func(r []expr.Expr) bool { return !m.exprNotNull(n, r[at]) })
	case *aggNode:
		for _, a := range n.aggs {
			if a.id == id {
				return m.aggNotNull(n, a)
			}
		}
		return slices.Contains(n.keys, id) && m.notNull(n.in, id)
	case *joinNode:
		return slices.ContainsFunc(n.ins, func(in node) bool { return m.notNull(in, id) })
	case *pairJoinNode:
		return n.kind != FullJoin && (m.notNull(n.left, id) || n.kind == InnerJoin && m.notNull(n.right, id))
	case *equiJoinNode:
		return n.kind != FullJoin && (m.notNull(n.left, id) || n.kind == InnerJoin && m.notNull(n.right, id))
	case *unionNode:
		at := slices.Index(n.ids, id)
		for k, in := range n.ins {
			if at < 0 || !m.notNull(in, n.inCols[k][at]) {
				return false
			}
		}
		return true
	case *setOpNode:
		at := slices.Index(n.ids, id)
		return at >= 0 && m.notNull(n.ins[0], n.inCols[0][at])
	case *singleNode:
		return m.notNull(n.in, id)
	}
	return false
}

// aggNotNull: counts are never NULL, and in a group the least and greatest of
// what is never NULL are not either.
func (m *metadata) aggNotNull(n *aggNode, a aggItem) bool {
	switch a.call.Func.Name {
	case "count":
		return true
	case "min", "max":
		return len(n.keys) > 0 && a.call.Filter == nil && m.notNull(n.in, columnID(a.call.Args[0]))
	}
	return false
}

// exprNotNull reports that an expression over n is never NULL. It knows
// constants, columns and casts of them.
func (m *metadata) exprNotNull(n node, e expr.Expr) bool {
	switch e := e.(type) {
	case *expr.Const:
		return !e.Value.Null
	case *expr.Column:
		return m.notNull(n, e.Index)
	case *expr.IsNull, *expr.IsTrue, *expr.Distinct:
		return true
	case *expr.Coalesce:
		return slices.ContainsFunc(e.Args, func(a expr.Expr) bool { return m.exprNotNull(n, a) })
	}
	return false
}
