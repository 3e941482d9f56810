package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
)

type (
	// pairJoinNode joins two inputs on the conjunction of on other than as one
	// of many: by any kind, or (InnerJoin, until unnest) because its right side
	// reads columns of its left. pos is the join's place.
	pairJoinNode struct {
		kind        JoinKind
		left, right node
		on          []expr.Expr
		pos         int
	}
	// setOpNode is INTERSECT or EXCEPT; column i of it is inCols[k][i] of
	// input k.
	setOpNode struct {
		kind   SetOpKind
		ins    [2]node
		inCols [2][]int
		ids    []int
	}
	// singleNode is in, of which it is an error to have several rows with the
	// same columns by.
	singleNode struct {
		in node
		by []int
	}
)

func (n *pairJoinNode) columns() []int {
	if n.kind == SemiJoin || n.kind == AntiJoin {
		return n.left.columns()
	}
	return slices.Concat(n.left.columns(), n.right.columns())
}
func (n *setOpNode) columns() []int  { return n.ids }
func (n *singleNode) columns() []int { return n.in.columns() }

func (n *pairJoinNode) inputs() []node { return []node{n.left, n.right} }
func (n *setOpNode) inputs() []node    { return n.ins[:] }
func (n *singleNode) inputs() []node   { return []node{n.in} }

func (n *pairJoinNode) withInputs(in []node) node {
	j := *n
	j.left, j.right = in[0], in[1]
	return &j
}
func (n *setOpNode) withInputs(in []node) node {
	s := *n
	s.ins = [2]node{in[0], in[1]}
	return &s
}
func (n *singleNode) withInputs(in []node) node { return &singleNode{in: in[0], by: n.by} }

// formatJoinLine prints the nodes of this file.
func (m *metadata) formatJoinLine(n node) string {
	switch n := n.(type) {
	case *pairJoinNode:
		s := n.kind.String() + " join"
		if len(n.on) > 0 {
			s += " on " + texts(n.on, " AND ")
		}
		return s
	case *setOpNode:
		return n.kind.String() + " (" + m.names(n.ids) + ")"
	case *singleNode:
		if len(n.by) == 0 {
			return "single row"
		}
		return "single row by (" + m.names(n.by) + ")"
	}
	return "?"
}

// nodeExprs gives the expressions of a node.
func nodeExprs(n node) []expr.Expr {
	switch n := n.(type) {
	case *valuesNode:
		return slices.Concat(n.rows...)
	case *filterNode:
		return n.preds
	case *projectNode:
		es := make([]expr.Expr, len(n.items))
		for i, it := range n.items {
			es[i] = it.e
		}
		return es
	case *aggNode:
		var es []expr.Expr
		for _, a := range n.aggs {
			es = append(es, a.call.Args...)
			if a.call.Filter != nil {
				es = append(es, a.call.Filter)
			}
		}
		return es
	case *joinNode:
		return n.on
	case *pairJoinNode:
		return n.on
	case *equiJoinNode:
		return n.residual
	}
	return nil
}

// mapExprs rebuilds a node with its expressions replaced. Those of
// aggregations stay, which are plain columns of the input.
func mapExprs(n node, f func(expr.Expr) expr.Expr) node {
	all := func(es []expr.Expr) []expr.Expr {
		out := make([]expr.Expr, len(es))
		for i, e := range es {
			out[i] = f(e)
		}
		return out
	}
	switch n := n.(type) {
	case *valuesNode:
		rows := make([][]expr.Expr, len(n.rows))
		for i, r := range n.rows {
			rows[i] = all(r)
		}
		return &valuesNode{ids: n.ids, rows: rows}
	case *filterNode:
		return &filterNode{in: n.in, preds: all(n.preds)}
	case *projectNode:
		items := slices.Clone(n.items)
		for i := range items {
			items[i].e = f(items[i].e)
		}
		return &projectNode{in: n.in, items: items}
	case *joinNode:
		return &joinNode{ins: n.ins, on: all(n.on), pos: n.pos}
	case *pairJoinNode:
		j := *n
		j.on = all(n.on)
		return &j
	}
	return n
}
