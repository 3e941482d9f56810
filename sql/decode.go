package sql

import (
	"sort"
	"strconv"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// decoder turns TiDB's tree of a kernel text into ours: it fills the holes
// of the nodes that stand aside. Its first error sticks; any error is a bug
// of ours, since the front has accepted the text.
type decoder struct {
	kernelText
	err *pgerr.Error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = pgerr.Internal(format, args...)
	}
}

// named gives the node that a kernel identifier stands for.
func (d *decoder) named(ident string) Node {
	i := strings.LastIndexByte(ident, sideMark)
	n, err := strconv.Atoi(ident[i+1:])
	if i < 0 || err != nil || n < 0 || n >= len(d.sides) {
		d.fail("kernel identifier %q stands for nothing", ident)
		return nil
	}
	return d.sides[n]
}

// marked gives the node that a "?" stands for.
func (d *decoder) marked(n ast.ExprNode) Node {
	if m, ok := n.(*marker); ok {
		i := sort.Search(len(d.marks), func(i int) bool { return int(d.marks[i].offset) >= m.offset })
		if i < len(d.marks) && int(d.marks[i].offset) == m.offset {
			return d.sides[d.marks[i].side]
		}
	}
	d.fail("kernel text has a %T in place of a mark", n)
	return nil
}

// query decodes a query. It never gives nil.
func (d *decoder) query(n ast.Node) *Query {
	switch n := n.(type) {
	case *ast.SelectStmt:
		return d.selectStmt(n)
	case *ast.SetOprStmt:
		q := d.tail(n.OrderBy)
		q.With = d.with(n.With)
		left := d.setOperations(n.SelectList.Selects)
		q.Body, q.Pos = left.Body, left.Pos
		return q
	case *ast.SubqueryExpr:
		return d.query(n.Query)
	}
	d.fail("kernel text has a %T in place of a query", n)
	return &Query{}
}

// setOperations groups operands from the left.
func (d *decoder) setOperations(operands []ast.Node) *Query {
	left := d.query(operands[0])
	for _, n := range operands[1:] {
		s, ok := n.(*ast.SelectStmt)
		if !ok || s.AfterSetOperator == nil {
			d.fail("kernel text has a %T as operand of a set operation", n)
			return left
		}
		right := d.query(s)
		op, all := strings.CutSuffix(strings.ToUpper(s.AfterSetOperator.String()), " ALL")
		left = &Query{Pos: left.Pos, Body: &SetOp{Pos: right.Pos, Op: op, All: all, Left: left, Right: right}}
	}
	return left
}

// tail decodes ORDER BY, LIMIT and OFFSET, which travel as one list.
func (d *decoder) tail(o *ast.OrderByClause) *Query {
	if o == nil {
		return &Query{}
	}
	q, ok := d.marked(o.Items[0].Expr).(*Query)
	if !ok {
		d.fail("kernel ORDER BY has no head")
		return &Query{}
	}
	in := operands{d: d, args: byItems(o.Items[1:])}
	in.order(q.OrderBy)
	in.fill(&q.Limit)
	in.fill(&q.Offset)
	in.done("ORDER BY")
	return q
}

func byItems(items []*ast.ByItem) []ast.ExprNode {
	out := make([]ast.ExprNode, len(items))
	for i, it := range items {
		out[i] = it.Expr
	}
	return out
}

func (d *decoder) with(w *ast.WithClause) *With {
	if w == nil {
		return nil
	}
	out, ok := d.named(w.CTEs[0].Name.O).(*With)
	if !ok || len(out.CTEs) != len(w.CTEs) {
		d.fail("kernel WITH has no head")
		return nil
	}
	for i, c := range w.CTEs {
		out.CTEs[i].Query = d.query(c.Query)
	}
	return out
}

func (d *decoder) selectStmt(n *ast.SelectStmt) *Query {
	q := d.tail(n.OrderBy)
	q.With = d.with(n.With)
	in := operands{d: d, args: make([]ast.ExprNode, len(n.Fields.Fields))}
	for i, f := range n.Fields.Fields {
		in.args[i] = f.Expr
	}
	switch s := d.marked(in.next()).(type) {
	case *carrier:
		t, ok := n.From.TableRefs.Left.(*ast.TableSource)
		if !ok {
			d.fail("kernel carrier is empty")
			return q
		}
		return d.query(t.Source)
	case *Values:
		for i := range s.Rows {
			if r, ok := in.expr().(*Row); ok {
				s.Rows[i] = r.Elems
			}
		}
		q.Body, q.Pos = s, s.Pos
	case *Select:
		d.selectBlock(n, s, &in)
		q.Body, q.Pos = s, s.Pos
	default:
		d.fail("kernel SELECT has no head")
	}
	in.done("SELECT")
	return q
}

func (d *decoder) selectBlock(n *ast.SelectStmt, s *Select, in *operands) {
	in.all(s.DistinctOn)
	for i := range s.Items {
		s.Items[i].Expr = in.expr()
	}
	if len(s.From) > 0 {
		d.from(n.From.TableRefs, s.From)
	}
	if s.Where != nil {
		s.Where = d.expr(n.Where)
	}
	if s.GroupBy != nil {
		for i, it := range n.GroupBy.Items {
			s.GroupBy[i] = d.group(it.Expr)
		}
	}
	if s.Having != nil {
		s.Having = d.expr(n.Having.Expr)
	}
	for i := range n.WindowSpecs {
		spec := &n.WindowSpecs[i]
		if w, ok := d.named(spec.Name.O).(*Window); ok {
			d.window(w, spec)
			s.Windows[i] = *w
		}
	}
}

// group decodes an element of GROUP BY. A row without the word ROW is a list.
func (d *decoder) group(n ast.ExprNode) GroupingSet {
	var side Node
	switch n := n.(type) {
	case *marker:
		side = d.marked(n)
	case *ast.FuncCallExpr:
		side = d.named(n.FnName.O)
		if g, ok := side.(*GroupingSet); ok {
			for i, a := range n.Args {
				g.Sets[i] = d.group(a)
			}
		}
	}
	if g, ok := side.(*GroupingSet); ok {
		return *g
	}
	e := d.expr(n)
	if r, ok := e.(*Row); ok && !r.Explicit {
		return GroupingSet{Pos: r.Pos, Exprs: r.Elems}
	}
	g := GroupingSet{Exprs: []Expr{e}}
	if e != nil {
		g.Pos = Pos(e.Position())
	}
	return g
}

// from decodes comma-separated items, which TiDB has as joins without ON.
func (d *decoder) from(n ast.ResultSetNode, out []TableRef) {
	for i := len(out) - 1; i > 0; i-- {
		j, ok := n.(*ast.Join)
		if !ok || j.On != nil {
			d.fail("kernel FROM has too few items")
			return
		}
		out[i] = d.table(j.Right)
		n = j.Left
	}
	out[0] = d.table(n)
}

// table decodes an item of FROM, joins from the left without recursion.
func (d *decoder) table(n ast.ResultSetNode) TableRef {
	var spine []*ast.Join
	for {
		j, ok := n.(*ast.Join)
		if !ok {
			break
		}
		if j.Right != nil {
			spine = append(spine, j)
		}
		n = j.Left
	}
	left := d.tableSource(n)
	for i := len(spine) - 1; i >= 0; i-- {
		left = d.join(left, spine[i])
	}
	return left
}

func (d *decoder) join(left TableRef, n *ast.Join) TableRef {
	var c *ast.FuncCallExpr
	if n.On != nil {
		c, _ = n.On.Expr.(*ast.FuncCallExpr)
	}
	if c == nil {
		d.fail("kernel join has no condition")
		return left
	}
	j, ok := d.named(c.FnName.O).(*Join)
	if !ok {
		d.fail("kernel join has no head")
		return left
	}
	j.Left, j.Right = left, d.table(n.Right)
	in := operands{d: d, args: c.Args}
	in.fill(&j.On)
	in.done("JOIN")
	return j
}

func (d *decoder) tableSource(n ast.ResultSetNode) TableRef {
	s, ok := n.(*ast.TableSource)
	if !ok {
		d.fail("kernel FROM holds a %T", n)
		return nil
	}
	if t, ok := s.Source.(*ast.TableName); ok {
		out, ok := d.named(t.Name.O).(*TableName)
		if !ok {
			d.fail("kernel table has no head")
			return nil
		}
		if out.AsOf != nil && t.AsOf != nil {
			out.AsOf = d.expr(t.AsOf.TsExpr)
		}
		return out
	}
	switch out := d.named(s.AsName.O).(type) {
	case *DerivedTable:
		out.Query = d.query(s.Source)
		return out
	case *FuncTable:
		d.functions(s.Source, out)
		return out
	}
	d.fail("kernel subquery has no head")
	return nil
}

func (d *decoder) functions(n ast.ResultSetNode, out *FuncTable) {
	s, ok := n.(*ast.SelectStmt)
	if !ok || len(s.Fields.Fields) != len(out.Calls) {
		d.fail("kernel table function holds a %T", n)
		return
	}
	for i, f := range s.Fields.Fields {
		if out.Calls[i], ok = d.expr(f.Expr).(*Call); !ok {
			d.fail("kernel table function is no call")
		}
	}
}

// window decodes PARTITION BY and ORDER BY; the bounds of a frame are the
// last keys of PARTITION BY.
func (d *decoder) window(w *Window, n *ast.WindowSpec) {
	in := operands{d: d}
	if n.PartitionBy != nil {
		in.args = byItems(n.PartitionBy.Items)
	}
	in.all(w.PartitionBy)
	if w.Frame != nil {
		in.fill(&w.Frame.StartExpr)
		in.fill(&w.Frame.EndExpr)
	}
	in.done("PARTITION BY")
	if n.OrderBy != nil {
		in = operands{d: d, args: byItems(n.OrderBy.Items)}
		in.order(w.OrderBy)
		in.done("window ORDER BY")
	}
}

// expr decodes a scalar expression.
func (d *decoder) expr(n ast.ExprNode) Expr {
	switch n := n.(type) {
	case *marker:
		if e, ok := d.marked(n).(Expr); ok {
			return e
		}
	case *ast.ColumnNameExpr:
		if e, ok := d.named(n.Name.Name.O).(Expr); ok {
			return e
		}
	case *ast.ParenthesesExpr:
		return d.nativeChain(n.Expr)
	case *ast.FuncCallExpr:
		return d.call(n)
	case *ast.WindowFuncExpr:
		if c, ok := d.expr(n.Args[0]).(*Call); ok && c.Over != nil {
			if !c.Over.IsRef {
				d.window(c.Over, &n.Spec)
			}
			return c
		}
	case *ast.CaseExpr:
		return d.caseExpr(n)
	}
	d.fail("kernel text has a %T in place of an expression", n)
	return nil
}

func (d *decoder) caseExpr(n *ast.CaseExpr) Expr {
	c, ok := d.expr(n.Value).(*Case)
	if !ok || len(c.Whens) != len(n.WhenClauses) {
		d.fail("kernel CASE has no head")
		return nil
	}
	for i, w := range n.WhenClauses {
		c.Whens[i] = When{d.expr(w.Expr), d.expr(w.Result)}
	}
	if c.Else != nil {
		c.Else = d.expr(n.ElseClause)
	}
	return c
}

// nativeChain decodes "? + a - b": TiDB groups it from the left with the
// mark innermost.
func (d *decoder) nativeChain(n ast.ExprNode) Expr {
	var terms []ast.ExprNode
	var ops []opcode.Op
	for {
		b, ok := n.(*ast.BinaryOperationExpr)
		if !ok {
			break
		}
		terms = append(terms, b.R)
		ops = append(ops, b.Op)
		n = b.L
	}
	c, ok := d.marked(n).(*chain)
	if !ok || len(terms) != len(c.ops)+1 {
		d.fail("kernel chain has no head")
		return nil
	}
	exprs := make([]Expr, len(terms))
	for i, t := range terms {
		exprs[len(terms)-1-i] = d.expr(t)
		if k := len(c.ops) - 1 - i; k >= 0 && nativeOpcodes[c.ops[k].Op] != ops[i] {
			d.fail("kernel chain has %v in place of %s", ops[i], c.ops[k].Op)
		}
	}
	return d.groupChain(c.ops, exprs)
}

var nativeOpcodes = map[string]opcode.Op{
	"AND": opcode.LogicAnd, "OR": opcode.LogicOr, "+": opcode.Plus, "-": opcode.Minus, "*": opcode.Mul,
	"/": opcode.Div, "%": opcode.Mod, "=": opcode.EQ, "<>": opcode.NE, "<": opcode.LT, ">": opcode.GT,
	"<=": opcode.LE, ">=": opcode.GE,
}

// groupChain builds binary nodes from operands: AND and OR balanced, others from
// the left.
func (d *decoder) groupChain(ops []Binary, terms []Expr) Expr {
	if op := ops[0].Op; (op == "AND" || op == "OR") && ops[0].Schema == "" {
		return balance(flatten(op, ops, terms))
	}
	left := terms[0]
	for i := range ops {
		b := ops[i]
		b.Left, b.Right = left, terms[i+1]
		left = &b
	}
	return left
}

// flatten replaces operands that are chains of the same AND or OR by their
// operands: grouping means nothing to either.
func flatten(op string, ops []Binary, terms []Expr) ([]Binary, []Expr) {
	nested := false
	for _, t := range terms {
		b, ok := t.(*Binary)
		nested = nested || ok && b.Op == op
	}
	if !nested {
		return ops, terms
	}
	var outOps []Binary
	var outTerms []Expr
	var walk func(e Expr)
	walk = func(e Expr) {
		b, ok := e.(*Binary)
		if !ok || b.Op != op {
			outTerms = append(outTerms, e)
			return
		}
		walk(b.Left)
		outOps = append(outOps, Binary{Pos: b.Pos, Op: op})
		walk(b.Right)
	}
	for i, t := range terms {
		if i > 0 {
			outOps = append(outOps, ops[i-1])
		}
		walk(t)
	}
	return outOps, outTerms
}

// balance builds a tree of least height; the left half is never the smaller.
func balance(ops []Binary, terms []Expr) Expr {
	if len(terms) == 1 {
		return terms[0]
	}
	k := (len(terms) + 1) / 2
	b := ops[k-1]
	b.Left, b.Right = balance(ops[:k-1], terms[:k]), balance(ops[k:], terms[k:])
	return &b
}

// call decodes a kernel call: its node with its operands.
func (d *decoder) call(f *ast.FuncCallExpr) Expr {
	in := operands{d: d, args: f.Args}
	side := d.named(f.FnName.O)
	e := in.fillNode(side)
	if e == nil {
		d.fail("kernel call %q stands for a %T", f.FnName.O, side)
	}
	in.done(f.FnName.O)
	return e
}

// operands hands out the operands of a kernel form in order.
type operands struct {
	d    *decoder
	args []ast.ExprNode
	i    int
}

func (o *operands) next() ast.ExprNode {
	if o.i >= len(o.args) {
		o.d.fail("kernel form has too few operands")
		return nil
	}
	o.i++
	return o.args[o.i-1]
}

func (o *operands) expr() Expr {
	n := o.next()
	if n == nil {
		return nil
	}
	return o.d.expr(n)
}

// fill decodes the next operand into a hole, if it is one.
func (o *operands) fill(e *Expr) {
	if *e != nil {
		*e = o.expr()
	}
}

func (o *operands) all(es []Expr) {
	for i := range es {
		es[i] = o.expr()
	}
}

func (o *operands) order(items []OrderItem) {
	for i := range items {
		items[i].Expr = o.expr()
	}
}

func (o *operands) query() *Query {
	s, ok := o.next().(*ast.SubqueryExpr)
	if !ok {
		o.d.fail("kernel form has no subquery")
		return nil
	}
	return o.d.query(s)
}

// done checks that all operands were taken.
func (o *operands) done(form string) {
	if o.i != len(o.args) {
		o.d.fail("kernel form %q has %d operands, %d were taken", form, len(o.args), o.i)
	}
}

// fillNode fills the holes of an expression in the order in which the front
// emits them; nil means that the node is no expression with operands.
func (o *operands) fillNode(side Node) Expr {
	switch n := side.(type) {
	case *chain:
		terms := make([]Expr, len(n.ops)+1)
		o.all(terms)
		return o.d.groupChain(n.ops, terms)
	case *Unary:
		n.Operand = o.expr()
	case *Binary:
		n.Left, n.Right = o.expr(), o.expr()
		o.fill(&n.Escape)
	case *IsTest:
		n.Operand = o.expr()
	case *Between:
		n.Operand, n.Low, n.High = o.expr(), o.expr(), o.expr()
	case *In:
		n.Operand = o.expr()
		if n.Query != nil {
			n.Query = o.query()
		}
		o.all(n.List)
	case *Quantified:
		n.Operand = o.expr()
		if n.Query != nil {
			n.Query = o.query()
		}
		o.fill(&n.Array)
	case *Exists:
		n.Query = o.query()
	case *Subquery:
		n.Query = o.query()
	case *ArrayQuery:
		n.Query = o.query()
	case *Array:
		o.all(n.Elems)
	case *Row:
		o.all(n.Elems)
	case *Case:
		o.fill(&n.Operand)
	case *Cast:
		n.Operand = o.expr()
	case *Collate:
		n.Operand = o.expr()
	case *Field:
		n.Operand = o.expr()
	case *Index:
		n.Operand = o.expr()
		o.fill(&n.Low)
		o.fill(&n.Hi)
	case *Call:
		for i := range n.Args {
			n.Args[i].Expr = o.expr()
		}
		o.order(n.OrderBy)
		o.fill(&n.Filter)
	default:
		return nil
	}
	return side.(Expr)
}
