package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
)

// pruneColumns drops what nobody needs: columns of scans, computed columns,
// aggregates. Below operators that keep state it puts a projection to just
// the columns needed.
func pruneColumns(m *metadata, q *boundQuery) error {
	q.node = prune(m, q.node, q.needed())
	return nil
}

func prune(m *metadata, n node, need idSet) node {
	switch n := n.(type) {
	case *scanNode:
		s := &scanNode{rel: n.rel, point: n.point, ords: []int{}, ids: []int{}}
		for i, id := range n.ids {
			if need.has(id) {
				s.ords, s.ids = append(s.ords, n.ords[i]), append(s.ids, id)
			}
		}
		return s
	case *valuesNode:
		return pruneValues(n, need)
	case *filterNode:
		in := need.clone()
		in.addExprs(n.preds...)
		return &filterNode{in: prune(m, n.in, in), preds: n.preds}
	case *projectNode:
		p := &projectNode{items: []item{}}
		in := idSet{}
		for _, it := range n.items {
			if need.has(it.id) {
				p.items = append(p.items, it)
				in.addExprs(it.e)
			}
		}
		p.in = prune(m, n.in, in)
		return p
	case *aggNode:
		return pruneAgg(m, n, need)
	case *equiJoinNode:
		j := *n
		all := need.clone()
		all.addExprs(n.residual...)
		for _, k := range slices.Concat(n.leftKeys, n.rightKeys) {
			all.add(k)
		}
		j.left, j.right = pruneTo(m, n.left, all), pruneTo(m, n.right, all)
		return &j
	case *unionNode:
		return pruneUnion(m, n, need)
	case *setOpNode: // every column decides which rows there are
		s := *n
		for k, in := range n.ins {
			s.ins[k] = pruneTo(m, in, newIDSet(n.inCols[k]...))
		}
		return &s
	case *singleNode:
		in := need.clone()
		for _, k := range n.by {
			in.add(k)
		}
		if len(in) == 0 { // a row without columns has no image
			in.add(n.in.columns()[0])
		}
		return &singleNode{in: pruneTo(m, n.in, in), by: n.by}
	}
	return n
}

// pruneTo prunes n and leaves exactly the columns needed of it.
func pruneTo(m *metadata, n node, need idSet) node {
	own := idSet{}
	for _, id := range n.columns() {
		if need.has(id) {
			own.add(id)
		}
	}
	n = prune(m, n, own)
	cols := n.columns()
	if len(cols) == len(own) {
		return n
	}
	p := &projectNode{in: n, items: []item{}}
	for _, id := range cols {
		if own.has(id) {
			p.items = append(p.items, item{id: id, e: m.ref(id)})
		}
	}
	return p
}

func pruneValues(n *valuesNode, need idSet) node {
	v := &valuesNode{ids: []int{}, rows: make([][]expr.Expr, len(n.rows))}
	for j, id := range n.ids {
		if !need.has(id) {
			continue
		}
		v.ids = append(v.ids, id)
		for i := range n.rows {
			v.rows[i] = append(v.rows[i], n.rows[i][j])
		}
	}
	return v
}

func pruneAgg(m *metadata, n *aggNode, need idSet) node {
	a := &aggNode{keys: n.keys}
	in := newIDSet(n.keys...)
	for _, g := range n.aggs {
		if !need.has(g.id) {
			continue
		}
		a.aggs = append(a.aggs, g)
		in.addExprs(g.call.Args...)
		if g.call.Filter != nil {
			in.addExprs(g.call.Filter)
		}
	}
	a.in = pruneTo(m, n.in, in)
	return a
}

func pruneUnion(m *metadata, n *unionNode, need idSet) node {
	u := &unionNode{ids: []int{}, ins: make([]node, len(n.ins)), inCols: make([][]int, len(n.ins))}
	for i, id := range n.ids {
		if need.has(id) {
			u.ids = append(u.ids, id)
			for k := range n.ins {
				u.inCols[k] = append(u.inCols[k], n.inCols[k][i])
			}
		}
	}
	for k, in := range n.ins {
		u.ins[k] = prune(m, in, newIDSet(u.inCols[k]...))
	}
	return u
}
