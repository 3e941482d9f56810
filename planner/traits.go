package planner

import (
	"slices"

	"github.com/streamdb/streamdb/catalog"
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
// the join's; else both keys together are.
func (m *metadata) joinKey(n *equiJoinNode) []int {
	lk, rk := m.uniqueKey(n.left), m.uniqueKey(n.right)
	switch {
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
	}
	for _, in := range n.inputs() {
		if !m.appendOnly(in) {
			return false
		}
	}
	return true
}
