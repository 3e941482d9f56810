package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/types"
)

// node is an operator of the logical plan. It knows nothing of the runtime.
// Nodes are rebuilt by rules, never shared between plans.
type node interface {
	// columns are the ids of the columns that it gives.
	columns() []int
	// inputs are its operands in order.
	inputs() []node
	// withInputs is the same node over other operands.
	withInputs(in []node) node
}

type (
	// scanNode reads columns ords of a relation as columns ids. point, if set,
	// are the constants that its key has to equal.
	scanNode struct {
		rel   *catalog.Object
		ords  []int
		ids   []int
		point []expr.Expr
	}
	// valuesNode is constant rows.
	valuesNode struct {
		ids  []int
		rows [][]expr.Expr
	}
	// filterNode keeps rows on which all of preds are true. Earlier ones guard
	// later ones.
	filterNode struct {
		in    node
		preds []expr.Expr
	}
	// projectNode gives items and nothing else; ids are unique among them. An
	// item that passes a column through keeps its id.
	projectNode struct {
		in    node
		items []item
	}
	// aggNode groups by columns keys and gives them, then aggs. The arguments
	// and filters of aggs are plain columns.
	aggNode struct {
		in   node
		keys []int
		aggs []aggItem
	}
	// joinNode is the inner join of all ins on the conjunction of on, as
	// written: earlier conjuncts guard later ones. pos are the places of ins.
	joinNode struct {
		ins []node
		on  []expr.Expr
		pos []int
	}
	// equiJoinNode is what the rules make of a joinNode.
	// what a pairJoinNode becomes too. Without keys all rows meet all. A join
	// that is not inner gives its left rows, then if it pairs its right rows.
	equiJoinNode struct {
		kind                JoinKind
		left, right         node
		leftKeys, rightKeys []int
		nullSafe            []bool
		residual            []expr.Expr
	}
	// unionNode is UNION ALL; column i of it is inCols[k][i] of input k.
	unionNode struct {
		ins    []node
		inCols [][]int
		ids    []int
	}
)

type item struct {
	id int
	e  expr.Expr
}

// passes reports whether the item gives a column of the input as it is.
func (it item) passes() bool {
	c, ok := it.e.(*expr.Column)
	return ok && c.Index == it.id
}

type aggItem struct {
	id   int
	call expr.Aggregate
}

// sortKey orders an ad-hoc query by a column.
type sortKey struct {
	id    int
	order types.OrderSpec
}

// outCol is a named output column of a query. unknown says that it is an
// untyped literal that became text.
type outCol struct {
	name    string
	id      int
	unknown bool
}

// boundQuery is a query with its output; order, limit and offset are only in
// ad-hoc queries.
type boundQuery struct {
	node          node
	out           []outCol
	order         []sortKey
	limit, offset expr.Expr
}

func (q *boundQuery) ids() []int {
	ids := make([]int, len(q.out))
	for i, c := range q.out {
		ids[i] = c.id
	}
	return ids
}

// needed are the columns that the query's end wants: output and order.
func (q *boundQuery) needed() idSet {
	need := newIDSet(q.ids()...)
	for _, k := range q.order {
		need.add(k.id)
	}
	return need
}

func (n *scanNode) columns() []int   { return n.ids }
func (n *valuesNode) columns() []int { return n.ids }
func (n *filterNode) columns() []int { return n.in.columns() }
func (n *projectNode) columns() []int {
	ids := make([]int, len(n.items))
	for i, it := range n.items {
		ids[i] = it.id
	}
	return ids
}
func (n *aggNode) columns() []int {
	ids := slices.Clone(n.keys)
	for _, a := range n.aggs {
		ids = append(ids, a.id)
	}
	return ids
}
func (n *joinNode) columns() []int {
	var ids []int
	for _, in := range n.ins {
		ids = append(ids, in.columns()...)
	}
	return ids
}
func (n *equiJoinNode) columns() []int {
	if n.kind == SemiJoin || n.kind == AntiJoin {
		return n.left.columns()
	}
	return slices.Concat(n.left.columns(), n.right.columns())
}
func (n *unionNode) columns() []int { return n.ids }

func (n *scanNode) inputs() []node     { return nil }
func (n *valuesNode) inputs() []node   { return nil }
func (n *filterNode) inputs() []node   { return []node{n.in} }
func (n *projectNode) inputs() []node  { return []node{n.in} }
func (n *aggNode) inputs() []node      { return []node{n.in} }
func (n *joinNode) inputs() []node     { return n.ins }
func (n *equiJoinNode) inputs() []node { return []node{n.left, n.right} }
func (n *unionNode) inputs() []node    { return n.ins }

func (n *scanNode) withInputs([]node) node   { return n }
func (n *valuesNode) withInputs([]node) node { return n }
func (n *filterNode) withInputs(in []node) node {
	return &filterNode{in: in[0], preds: n.preds}
}
func (n *projectNode) withInputs(in []node) node {
	return &projectNode{in: in[0], items: n.items}
}
func (n *aggNode) withInputs(in []node) node {
	return &aggNode{in: in[0], keys: n.keys, aggs: n.aggs}
}
func (n *joinNode) withInputs(in []node) node {
	return &joinNode{ins: in, on: n.on, pos: n.pos}
}
func (n *equiJoinNode) withInputs(in []node) node {
	j := *n
	j.left, j.right = in[0], in[1]
	return &j
}
func (n *unionNode) withInputs(in []node) node {
	return &unionNode{ins: in, inCols: n.inCols, ids: n.ids}
}

// rewrite rebuilds a plan from its leaves up.
func rewrite(n node, f func(node) node) node {
	old := n.inputs()
	var in []node
	for i, c := range old {
		r := rewrite(c, f)
		if r != c && in == nil {
			in = slices.Clone(old)
		}
		if in != nil {
			in[i] = r
		}
	}
	if in != nil {
		n = n.withInputs(in)
	}
	return f(n)
}

// idSet is a set of column ids.
type idSet map[int]struct{}

func newIDSet(ids ...int) idSet {
	s := make(idSet, len(ids))
	for _, id := range ids {
		s.add(id)
	}
	return s
}

func (s idSet) add(id int) { s[id] = struct{}{} }

func (s idSet) has(id int) bool { _, ok := s[id]; return ok }

func (s idSet) hasAll(ids []int) bool {
	for _, id := range ids {
		if !s.has(id) {
			return false
		}
	}
	return true
}

func (s idSet) clone() idSet {
	c := make(idSet, len(s))
	for id := range s {
		c.add(id)
	}
	return c
}

func (s idSet) addExprs(es ...expr.Expr) {
	for _, e := range es {
		for _, id := range expr.Columns(e) {
			s.add(id)
		}
	}
}

// splitAnd gives the conjuncts of e in order.
func splitAnd(dst []expr.Expr, e expr.Expr) []expr.Expr {
	if a, ok := e.(*expr.And); ok {
		for _, arg := range a.Args {
			dst = splitAnd(dst, arg)
		}
		return dst
	}
	return append(dst, e)
}

// joinAnd is the conjunction of preds, nil for none.
func joinAnd(preds []expr.Expr) expr.Expr {
	switch len(preds) {
	case 0:
		return nil
	case 1:
		return preds[0]
	}
	return &expr.And{Args: preds}
}

// formatTree gives a plan one line a node, operands indented.
func (m *metadata) formatTree(n node) []string {
	var lines []string
	m.formatNode(n, 0, &lines)
	return lines
}

func (m *metadata) formatNode(n node, depth int, lines *[]string) {
	*lines = append(*lines, strings.Repeat("  ", depth)+m.formatLine(n))
	for _, in := range n.inputs() {
		m.formatNode(in, depth+1, lines)
	}
}

func (m *metadata) formatLine(n node) string {
	switch n := n.(type) {
	case *scanNode:
		s := "scan " + n.rel.Title() + " (" + m.names(n.ids) + ")"
		if n.point != nil {
			s += " key = (" + text(n.point...) + ")"
		}
		return s
	case *valuesNode:
		return fmt.Sprintf("values %d rows (%s)", len(n.rows), m.names(n.ids))
	case *filterNode:
		return "filter " + texts(n.preds, " AND ")
	case *projectNode:
		parts := make([]string, len(n.items))
		for i, it := range n.items {
			parts[i] = text(it.e)
			if c, ok := it.e.(*expr.Column); !ok || c.Name != m.cols[it.id].name {
				parts[i] += " AS " + m.cols[it.id].name
			}
		}
		return "project " + strings.Join(parts, ", ")
	case *aggNode:
		parts := make([]string, len(n.aggs))
		for i, a := range n.aggs {
			parts[i] = a.call.String()
		}
		s := "aggregate"
		if len(n.keys) > 0 {
			s += " by (" + m.names(n.keys) + ")"
		}
		if len(parts) > 0 {
			s += " " + strings.Join(parts, ", ")
		}
		return s
	case *joinNode:
		s := "join"
		if len(n.on) > 0 {
			s += " on " + texts(n.on, " AND ")
		}
		return s
	case *equiJoinNode:
		s := "join"
		if n.kind != InnerJoin {
			s = n.kind.String() + " join"
		}
		s += " (" + m.names(n.leftKeys) + ") = (" + m.names(n.rightKeys) + ")"
		if len(n.residual) > 0 {
			s += " where " + texts(n.residual, " AND ")
		}
		return s
	case *unionNode:
		return "union all (" + m.names(n.ids) + ")"
	}
	return m.formatJoinLine(n)
}

func (m *metadata) names(ids []int) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = m.cols[id].name
	}
	return strings.Join(s, ", ")
}

// text prints expressions for people.
func text(es ...expr.Expr) string { return texts(es, ", ") }

func texts(es []expr.Expr, sep string) string {
	s := make([]string, len(es))
	for i, e := range es {
		s[i] = fmt.Sprint(e)
	}
	return strings.Join(s, sep)
}
