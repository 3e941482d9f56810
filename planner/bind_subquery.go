package planner

import (
	"slices"
	"strings"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// outerQuery is a place in a query around the one that is bound: what a
// column's name means there if it means nothing here.
type outerQuery struct {
	cx    *exprContext
	outer *outerQuery
}

// subqueries are the joins that the expressions of a clause need with their
// subqueries. They are dependent: unnest makes them independent.
type subqueries struct {
	joins []*pairJoinNode
	conds []expr.Expr // beside the joins, of semi and anti joins
}

// over puts the joins above a node.
func (s *subqueries) over(n node) node {
	for _, j := range s.joins {
		c := *j
		c.left = n
		n = &c
	}
	return n
}

func (s *subqueries) join(kind JoinKind, right node, on []expr.Expr, pos int) {
	s.joins = append(s.joins, &pairJoinNode{kind: kind, right: right, on: on, pos: pos})
}

// outerColumn resolves a column that is none of cx's own in the queries around
// it. The error is that of the innermost.
func (b *binder) outerColumn(cx *exprContext, e *sql.ColumnRef, inner error) (expr.Expr, error) {
	code := pgerr.CodeOf(inner)
	if code != pgerr.UndefinedTable && code != pgerr.FeatureNotSupported && (code != pgerr.UndefinedColumn || len(e.Parts) > 1) {
		return nil, inner
	}
	for o := b.outer; o != nil; o = o.outer {
		if o.cx.noColumns {
			break
		}
		x, v, err := o.cx.scope.column(e.Parts, e.Position())
		if c := pgerr.CodeOf(err); err != nil && (c == pgerr.UndefinedTable || c == pgerr.UndefinedColumn && len(e.Parts) == 1) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if o.cx.group != nil && !o.cx.nested {
			x = o.cx.group.outerReference(x, v, e.Parts[len(e.Parts)-1], e.Position())
		}
		if cx.scope.foreign == nil {
			cx.scope.foreign = idSet{}
		}
		cx.scope.foreign.addExprs(x)
		return x, nil
	}
	if b.lateral != nil && code == pgerr.UndefinedTable && len(e.Parts) == 2 {
		for _, v := range b.lateral.vars {
			if v.name == e.Parts[0] {
				return nil, pgerr.New(pgerr.UndefinedTable, `invalid reference to FROM-clause entry for table "%s"`, v.name).
					WithHint(`There is an entry for table "%s", but it cannot be referenced from this part of the query.`, v.name).At(e.Position())
			}
		}
	}
	return nil, inner
}

// within binds a query as a subquery of an expression.
func (b *binder) within(cx *exprContext, q *sql.Query) (*boundQuery, error) {
	if err := b.countRelation(q); err != nil {
		return nil, err
	}
	saved := b.outer
	b.outer = &outerQuery{cx: cx, outer: saved}
	defer func() { b.outer = saved }()
	return b.bindQuery(q, nil, false)
}

// oneColumn is within for a subquery that gives values.
func (b *binder) oneColumn(cx *exprContext, q *sql.Query, pos int) (*boundQuery, error) {
	bq, err := b.within(cx, q)
	if err != nil {
		return nil, err
	}
	if len(bq.out) != 1 {
		return nil, pgerr.New(pgerr.SyntaxError, "subquery must return only one column").At(pos)
	}
	return bq, nil
}

// bindScalar binds a subquery as a value: NULL if it has no row.
func (b *binder) bindScalar(cx *exprContext, e *sql.Subquery) (expr.Expr, error) {
	if cx.subs == nil {
		return nil, unsupported(e, "a scalar subquery in %s", clauseName(cx))
	}
	bq, err := b.oneColumn(cx, e.Query, e.Position())
	if err != nil {
		return nil, err
	}
	return b.scalar(cx, &singleNode{in: bq.node}, bq.out[0].id, e.Position()), nil
}

// scalar joins a subquery's only row, and gives a column of it.
func (b *binder) scalar(cx *exprContext, n node, id, pos int) expr.Expr {
	cx.subs.join(LeftJoin, n, nil, pos)
	cx.scope.null(b.md.ref(id))
	return b.md.ref(id)
}

func clauseName(cx *exprContext) string {
	if cx.clause == "" {
		return "this place"
	}
	return cx.clause
}

// bindExists binds EXISTS as a value.
func (b *binder) bindExists(cx *exprContext, e *sql.Exists) (expr.Expr, error) {
	if cx.subs == nil {
		return nil, unsupported(e, "EXISTS in %s", clauseName(cx))
	}
	bq, err := b.within(cx, withoutLimit(e.Query))
	if err != nil {
		return nil, err
	}
	x, err := b.anyTrue(cx, bq.node, constBool(true), e.Position())
	if err != nil {
		return nil, err
	}
	return &expr.IsTrue{Arg: x, Want: true}, nil
}

// withoutLimit drops the limit of EXISTS's query, to which a row more or less
// is nothing.
func withoutLimit(q *sql.Query) *sql.Query {
	l, ok := q.Limit.(*sql.Literal)
	if !ok || l.Kind != sql.LitInteger || strings.Trim(l.Text, "0") == "" || q.Offset != nil || q.WithTies {
		return q
	}
	c := *q
	c.Limit = nil
	return &c
}

// anyTrue is bool_or of e over n: NULL over no rows, and unlike a count the
// same as long as the answer is.
func (b *binder) anyTrue(cx *exprContext, n node, e expr.Expr, pos int) (expr.Expr, error) {
	return b.aggregateOver(cx, n, "bool_or", e, pos)
}

func (b *binder) aggregateOver(cx *exprContext, n node, name string, e expr.Expr, pos int) (expr.Expr, error) {
	arg := b.md.add(columnInfo{name: name, typ: e.Type()})
	p := &projectNode{in: n, items: []item{{id: arg, e: e}}}
	f, args, t, err := expr.ResolveAggregate(name, []expr.Expr{b.md.ref(arg)}, false, pos)
	if err != nil {
		return nil, err
	}
	id := b.md.add(columnInfo{name: name, typ: t})
	agg := &aggNode{in: p, aggs: []aggItem{{id: id, call: expr.Aggregate{Func: f, Args: args, T: t, Pos: pos}}}}
	return b.scalar(cx, agg, id, pos), nil
}

// quantified is "left op ANY|ALL (query)" and what is said otherwise: IN is
// = ANY, NOT IN is <> ALL.
type quantified struct {
	op    string
	all   bool
	left  sql.Expr
	query *sql.Query
	pos   int
	node  sql.Expr
}

// negated are the operators of the negations of comparisons.
var negated = map[string]string{"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}

func quantifiedIn(e *sql.In) *quantified {
	q := &quantified{op: "=", left: e.Operand, query: e.Query, pos: e.Position(), node: e}
	if e.Not {
		q.op, q.all = "<>", true
	}
	return q
}

func quantifiedOf(e *sql.Quantified) (*quantified, error) {
	if e.Schema != "" && e.Schema != "pg_catalog" {
		return nil, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s.%s", e.Schema, e.Op).At(e.Position())
	}
	return &quantified{op: e.Op, all: e.All, left: e.Operand, query: e.Query, pos: e.Position(), node: e}, nil
}

// operands binds the left side and the query, and gives the comparison of one
// with the other's rows.
func (b *binder) operands(cx *exprContext, q *quantified) (left []expr.Expr, bq *boundQuery, cmp expr.Expr, err error) {
	elems := []sql.Expr{q.left}
	if r, ok := q.left.(*sql.Row); ok {
		elems = r.Elems
	}
	if left, err = b.bindAll(cx, elems); err != nil {
		return nil, nil, nil, err
	}
	if bq, cmp, err = b.compareRows(cx, q, left); err != nil {
		return nil, nil, nil, err
	}
	return left, bq, cmp, nil
}

// compareRows binds the query and compares left with its rows.
func (b *binder) compareRows(cx *exprContext, q *quantified, left []expr.Expr) (*boundQuery, expr.Expr, error) {
	bq, err := b.within(cx, q.query)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case len(bq.out) < len(left):
		return nil, nil, pgerr.New(pgerr.SyntaxError, "subquery has too few columns").At(q.pos)
	case len(bq.out) > len(left):
		return nil, nil, pgerr.New(pgerr.SyntaxError, "subquery has too many columns").At(q.pos)
	case len(left) > 1 && q.op != "=" && q.op != "<>":
		return nil, nil, unsupported(q.node, "%s between rows", q.op)
	}
	var parts []expr.Expr
	for i, l := range left {
		c, err := b.operator(q.op, l, b.md.ref(bq.out[i].id), q.pos)
		if err != nil {
			return nil, nil, err
		}
		if parts = append(parts, c); c.Type().Kind != types.Bool {
			return nil, nil, pgerr.New(pgerr.DatatypeMismatch, "row comparison operator must yield type boolean, not type %s", c.Type()).At(q.pos)
		}
	}
	switch {
	case len(parts) == 1:
		return bq, parts[0], nil
	case q.op == "<>":
		return bq, &expr.Or{Args: parts}, nil
	}
	return bq, &expr.And{Args: parts}, nil
}

// bindQuantified binds a comparison with the rows of a query as a value.
//
// "l = ANY (q)" is: true if a row equals l; else NULL if there are rows and l
// is, or a row is NULL; else false. That no row and a NULL row can be told
// apart without l keeps the part that l needs a plain look-up by key.
func (b *binder) bindQuantified(cx *exprContext, q *quantified) (expr.Expr, error) {
	if cx.subs == nil {
		return nil, unsupported(q.node, "a subquery in %s", clauseName(cx))
	}
	if q.all { // l op ALL (q) is NOT (l negated ANY (q))
		if op, ok := negated[q.op]; ok {
			n := *q
			n.op, n.all = op, false
			x, err := b.bindQuantified(cx, &n)
			if err == nil {
				return &expr.Not{Arg: x}, nil
			}
			if _, _, _, own := b.operands(cx, q); own != nil { // of the operator that was written
				err = own
			}
			return nil, err
		}
		return nil, unsupported(q.node, "%s ALL", q.op)
	}
	left, bq, cmp, err := b.operands(cx, q)
	if err != nil {
		return nil, err
	}
	switch {
	case len(left) == 1 && q.op == "=":
		return b.equalsAny(cx, q, left[0], bq, cmp)
	case len(left) == 1 && q.op != "<>" && negated[q.op] != "" && ordered(b.md.typ(bq.out[0].id)):
		return b.comparesAny(cx, q, left[0], bq)
	}
	yes, err := b.anyTrue(cx, bq.node, cmp, q.pos)
	if err != nil {
		return nil, err
	}
	if bq, cmp, err = b.compareRows(cx, q, left); err != nil {
		return nil, err
	}
	unknown, err := b.anyTrue(cx, bq.node, &expr.IsNull{Arg: cmp}, q.pos)
	if err != nil {
		return nil, err
	}
	return threeValued(yes, nil, unknown), nil
}

// threeValued is true if yes, false if empty, NULL if unknown, else false.
func threeValued(yes, empty, unknown expr.Expr) expr.Expr {
	null := nullConst(boolType)
	c := &expr.Case{T: boolType, Else: constBool(false), Conds: []expr.Expr{&expr.IsTrue{Arg: yes, Want: true}}, Results: []expr.Expr{constBool(true)}}
	if empty != nil {
		c.Conds, c.Results = append(c.Conds, empty), append(c.Results, constBool(false))
	}
	c.Conds, c.Results = append(c.Conds, &expr.IsTrue{Arg: unknown, Want: true}), append(c.Results, null)
	return c
}

// ordered reports whether max and min of a type tell what any of its values
// compares like.
func ordered(t types.Type) bool {
	_, _, _, err := expr.ResolveAggregate("max", []expr.Expr{nullConst(t)}, false, 0)
	return err == nil && t.Kind != types.Bool
}

func (b *binder) equalsAny(cx *exprContext, q *quantified, left expr.Expr, bq *boundQuery, cmp expr.Expr) (expr.Expr, error) {
	right := bq.out[0].id
	never := b.neverNull(cx, left) && b.md.notNull(bq.node, right)
	yes, err := b.anyTrue(cx, &filterNode{in: bq.node, preds: []expr.Expr{cmp}}, constBool(true), q.pos)
	if err != nil {
		return nil, err
	}
	if never {
		return &expr.IsTrue{Arg: yes, Want: true}, nil
	}
	nulls, err := b.hasNulls(cx, q)
	if err != nil {
		return nil, err
	}
	unknown := &expr.Or{Args: []expr.Expr{&expr.IsNull{Arg: left}, nulls}}
	return threeValued(yes, &expr.IsNull{Arg: nulls}, unknown), nil
}

// hasNulls is NULL if the query has no row, else whether one is NULL.
func (b *binder) hasNulls(cx *exprContext, q *quantified) (expr.Expr, error) {
	bq, err := b.within(cx, q.query)
	if err != nil {
		return nil, err
	}
	return b.anyTrue(cx, bq.node, &expr.IsNull{Arg: b.md.ref(bq.out[0].id)}, q.pos)
}

// comparesAny compares with the greatest or least row.
func (b *binder) comparesAny(cx *exprContext, q *quantified, left expr.Expr, bq *boundQuery) (expr.Expr, error) {
	name := "max"
	if q.op == ">" || q.op == ">=" {
		name = "min"
	}
	best, err := b.aggregateOver(cx, bq.node, name, b.md.ref(bq.out[0].id), q.pos)
	if err != nil {
		return nil, err
	}
	yes, err := b.operator(q.op, left, best, q.pos)
	if err != nil {
		return nil, err
	}
	nulls, err := b.hasNulls(cx, q)
	if err != nil {
		return nil, err
	}
	unknown := &expr.Or{Args: []expr.Expr{&expr.IsNull{Arg: left}, nulls}}
	return threeValued(yes, &expr.IsNull{Arg: nulls}, unknown), nil
}

// neverNull reports that a bound expression is no NULL, whatever the row.
func (b *binder) neverNull(cx *exprContext, e expr.Expr) bool {
	switch e := e.(type) {
	case *expr.Const:
		return !e.Value.Null
	case *expr.Column:
		return b.md.cols[e.Index].notNull && !cx.scope.nulled.has(e.Index) && !cx.scope.foreign.has(e.Index)
	}
	return false
}

// bindWhere binds a condition. Its conjuncts that ask whether a subquery has a
// row become semi and anti joins; what it gives are the others: first those
// that read no subquery, then those that do.
func (b *binder) bindWhere(cx *exprContext, e sql.Expr, clause string) (plain, late []expr.Expr, err error) {
	for _, c := range conjuncts(nil, e) {
		done, err := b.bindMatch(cx, c, false)
		if err != nil {
			return nil, nil, err
		}
		if done {
			continue
		}
		joins := len(cx.subs.joins)
		x, err := b.bindExpr(cx, c)
		if err != nil {
			return nil, nil, err
		}
		if x, err = b.boolean(x, clauseOf(c, e, clause), start(c)); err != nil {
			return nil, nil, err
		}
		if len(cx.subs.joins) > joins {
			late = splitAnd(late, x)
		} else {
			plain = splitAnd(plain, x)
		}
	}
	return plain, append(late, cx.subs.conds...), nil
}

// clauseOf names what wants a boolean: the clause, or AND.
func clauseOf(c, whole sql.Expr, clause string) string {
	if c == whole {
		return clause
	}
	return "AND"
}

// conjuncts gives the operands of a chain of AND in order.
func conjuncts(dst []sql.Expr, e sql.Expr) []sql.Expr {
	stack := []sql.Expr{e}
	for len(stack) > 0 { // no recursion: chains are long
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if x, ok := top.(*sql.Binary); ok && x.Op == "AND" {
			stack = append(stack, x.Right, x.Left)
			continue
		}
		dst = append(dst, top)
	}
	return dst
}

// bindMatch makes a semi or anti join of a conjunct, if it is one.
func (b *binder) bindMatch(cx *exprContext, e sql.Expr, not bool) (bool, error) {
	switch e := e.(type) {
	case *sql.Unary:
		if e.Op == "NOT" {
			return b.bindMatch(cx, e.Operand, !not)
		}
	case *sql.Row:
		if len(e.Elems) == 1 && !e.Explicit {
			return b.bindMatch(cx, e.Elems[0], not)
		}
	case *sql.Exists:
		bq, err := b.within(cx, withoutLimit(e.Query))
		if err != nil {
			return false, err
		}
		cx.subs.join(matchKind(not), bq.node, nil, e.Position())
		return true, nil
	case *sql.In:
		if e.Query != nil {
			return b.bindMember(cx, quantifiedIn(e), not)
		}
	case *sql.Quantified:
		if e.Query != nil && (e.Op == "=" && !e.All || e.Op == "<>" && e.All) {
			q, err := quantifiedOf(e)
			if err != nil {
				return false, err
			}
			return b.bindMember(cx, q, not)
		}
	}
	return false, nil
}

func matchKind(not bool) JoinKind {
	if not {
		return AntiJoin
	}
	return SemiJoin
}

// bindMember makes a join of [NOT] IN (query). For NOT IN a row passes if
// there is no row that it equals or may equal; of single values that is: no
// row that it equals, and either no row, or no NULL on both sides.
func (b *binder) bindMember(cx *exprContext, q *quantified, not bool) (bool, error) {
	c := *q
	if c.all {
		c.op, c.all, not = "=", false, !not
	}
	left, bq, cmp, err := b.operands(cx, &c)
	if err != nil {
		return false, err
	}
	if !not {
		cx.subs.join(SemiJoin, bq.node, splitAnd(nil, cmp), q.pos)
		return true, nil
	}
	never := true
	for i, l := range left {
		never = never && b.neverNull(cx, l) && b.md.notNull(bq.node, bq.out[i].id)
	}
	if len(left) > 1 && !never {
		maybe := &expr.Not{Arg: &expr.IsTrue{Arg: cmp, Want: false}}
		cx.subs.join(AntiJoin, bq.node, []expr.Expr{maybe}, q.pos)
		return true, nil
	}
	cx.subs.join(AntiJoin, bq.node, splitAnd(nil, cmp), q.pos)
	if never {
		return true, nil
	}
	nulls, err := b.hasNulls(cx, &c)
	if err != nil {
		return false, err
	}
	// No row at all, or neither side NULL.
	known := &expr.And{Args: []expr.Expr{&expr.Not{Arg: &expr.IsNull{Arg: left[0]}}, &expr.Not{Arg: nulls}}}
	cx.subs.conds = append(cx.subs.conds, &expr.Or{Args: []expr.Expr{&expr.IsNull{Arg: nulls}, known}})
	return true, nil
}

// foreignOnly reports that expressions read columns of outer queries and none
// of their own.
func foreignOnly(s *scope, es []expr.Expr) bool {
	some := false
	for _, e := range es {
		cols := expr.Columns(e)
		if slices.ContainsFunc(cols, func(id int) bool { return !s.foreign.has(id) }) {
			return false
		}
		some = some || len(cols) > 0
	}
	return some
}
