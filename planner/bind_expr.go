package planner

import (
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// exprContext says where an expression stands.
type exprContext struct {
	scope  *scope
	clause string // for "aggregate functions are not allowed in …"
	// group takes aggregates and judges columns; nil where aggregates are not
	// allowed.
	group     *grouping
	noColumns bool // column references are an error of their own
	// subs takes subqueries, below those in arguments of aggregates; nil where
	// there can be none.
	subs, below *subqueries
	nested      bool // inside of an aggregate
}

// bindExpr binds an expression. Where rows are grouped, what equals a
// grouping key becomes the key's column.
func (b *binder) bindExpr(cx *exprContext, e sql.Expr) (expr.Expr, error) {
	if cx.group == nil {
		return b.bindNode(cx, e)
	}
	mark := len(cx.group.stray)
	x, err := b.bindNode(cx, e)
	if err != nil {
		return nil, err
	}
	if len(cx.group.stray) > mark {
		if k := cx.group.match(x); k != nil {
			cx.group.stray = cx.group.stray[:mark]
			return k, nil
		}
	}
	return x, nil
}

func (b *binder) bindNode(cx *exprContext, e sql.Expr) (expr.Expr, error) {
	switch e := e.(type) {
	case *sql.Literal:
		x, err := literal(e)
		if c, ok := x.(*expr.Const); ok && e.Kind == sql.LitString {
			b.literals[c] = e.Position()
		}
		return x, err
	case *sql.Param:
		return b.param(e)
	case *sql.ColumnRef:
		return b.bindColumn(cx, e)
	case *sql.Unary:
		return b.bindUnary(cx, e)
	case *sql.Binary:
		return b.bindBinary(cx, e)
	case *sql.IsTest:
		return b.bindIsTest(cx, e)
	case *sql.Between:
		return b.bindBetween(cx, e)
	case *sql.In:
		return b.bindIn(cx, e)
	case *sql.Case:
		return b.bindCase(cx, e)
	case *sql.Cast:
		return b.bindCast(cx, e)
	case *sql.Call:
		return b.bindCall(cx, e)
	case *sql.Row:
		if len(e.Elems) == 1 && !e.Explicit {
			return b.bindExpr(cx, e.Elems[0])
		}
		return nil, unsupported(e, "a row as a value")
	case *sql.Collate:
		return b.bindCollate(cx, e)
	case *sql.Subquery:
		return b.bindScalar(cx, e)
	case *sql.Exists:
		return b.bindExists(cx, e)
	case *sql.Quantified:
		if e.Query != nil {
			q, err := quantifiedOf(e)
			if err != nil {
				return nil, err
			}
			return b.bindQuantified(cx, q)
		}
	case *sql.Default:
		return nil, pgerr.New(pgerr.SyntaxError, "DEFAULT is not allowed in this context").At(e.Position())
	}
	return nil, refuseExpr(e)
}

func refuseExpr(e sql.Expr) error {
	switch e := e.(type) {
	case *sql.Quantified:
		return unsupported(e, "ANY and ALL over an array")
	case *sql.Array, *sql.ArrayQuery, *sql.Index:
		return unsupported(e, "an array")
	case *sql.Field:
		return unsupported(e, "a field of a row")
	case *sql.Star:
		return unsupported(e, "a row as a value")
	}
	return unsupported(e, "this expression")
}

func (b *binder) bindAll(cx *exprContext, es []sql.Expr) ([]expr.Expr, error) {
	out := make([]expr.Expr, len(es))
	for i, e := range es {
		var err error
		if out[i], err = b.bindExpr(cx, e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// literal types a constant as PostgreSQL does: integers by size, decimals as
// numeric, strings and NULL as unknown.
func literal(l *sql.Literal) (expr.Expr, error) {
	d := types.NullOf(types.T(types.Unknown))
	switch l.Kind {
	case sql.LitNull:
	case sql.LitBool:
		d = types.NewBool(strings.EqualFold(l.Text, "true"))
	case sql.LitInteger, sql.LitDecimal:
		return number(l.Text, l.Kind, l.Position())
	case sql.LitString:
		d = types.Datum{Type: types.T(types.Unknown), B: []byte(l.Text)}
	default:
		return nil, unsupported(l, "a bit string")
	}
	return &expr.Const{Value: d}, nil
}

func number(s string, kind sql.LiteralKind, pos int) (expr.Expr, error) {
	if kind == sql.LitInteger {
		if n, err := strconv.ParseInt(s, 0, 64); err == nil {
			d := types.NewInt8(n)
			if int64(int32(n)) == n {
				d = types.NewInt4(int32(n))
			}
			return &expr.Const{Value: d}, nil
		}
	}
	n, err := types.ParseNumeric(s)
	if err != nil {
		return nil, pgerr.From(err).At(pos)
	}
	return &expr.Const{Value: n.Datum()}, nil
}

func (b *binder) bindColumn(cx *exprContext, e *sql.ColumnRef) (expr.Expr, error) {
	if cx.noColumns {
		switch cx.clause {
		case "LIMIT", "OFFSET":
			return nil, pgerr.New(pgerr.InvalidColumnReference, "argument of %s must not contain variables", cx.clause).At(e.Position())
		case "DEFAULT expressions":
			return nil, pgerr.New(pgerr.FeatureNotSupported, "cannot use column reference in DEFAULT expression").At(e.Position())
		}
	}
	x, v, err := cx.scope.column(e.Parts, e.Position())
	if err != nil {
		return b.outerColumn(cx, e, err)
	}
	if cx.group == nil || cx.nested {
		return x, nil
	}
	return cx.group.column(x, v, e.Parts[len(e.Parts)-1], e.Position()), nil
}

func (b *binder) bindUnary(cx *exprContext, e *sql.Unary) (expr.Expr, error) {
	if l, ok := e.Operand.(*sql.Literal); ok && e.Op == "-" && (l.Kind == sql.LitInteger || l.Kind == sql.LitDecimal) {
		return number("-"+l.Text, l.Kind, e.Position())
	}
	x, err := b.bindExpr(cx, e.Operand)
	if err != nil {
		return nil, err
	}
	if e.Op == "NOT" {
		if x, err = b.boolean(x, "NOT", start(e.Operand)); err != nil {
			return nil, err
		}
		return &expr.Not{Arg: x}, nil
	}
	r, err := expr.ResolveOp(e.Op, nil, x, e.Position())
	if err != nil {
		return nil, err
	}
	b.settleCall([]expr.Expr{x}, r)
	return b.allowed(r, e.Position())
}

// operator binds an infix operator over bound operands.
func (b *binder) operator(op string, l, r expr.Expr, pos int) (expr.Expr, error) {
	x, err := expr.ResolveOp(op, l, r, pos)
	if err != nil {
		return nil, b.atLiteral(err, l, r)
	}
	b.settleCall([]expr.Expr{l, r}, x)
	return b.allowed(x, pos)
}

// likeOps are the operators behind the LIKE words.
var likeOps = map[string]string{"LIKE": "~~", "NOT LIKE": "!~~", "ILIKE": "~~*", "NOT ILIKE": "!~~*"}

func (b *binder) bindBinary(cx *exprContext, e *sql.Binary) (expr.Expr, error) {
	if e.Op == "AND" || e.Op == "OR" {
		return b.bindLogic(cx, e)
	}
	if e.Schema != "" && e.Schema != "pg_catalog" {
		return nil, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s.%s", e.Schema, e.Op).At(e.Position())
	}
	switch e.Op {
	case "SIMILAR TO", "NOT SIMILAR TO", "OVERLAPS", "AT TIME ZONE":
		return nil, unsupported(e, "%s", strings.TrimPrefix(e.Op, "NOT "))
	}
	l, err := b.bindExpr(cx, e.Left)
	if err != nil {
		return nil, err
	}
	r, err := b.bindExpr(cx, e.Right)
	if err != nil {
		return nil, err
	}
	if op, ok := likeOps[e.Op]; ok {
		if e.Escape != nil {
			if r, err = b.bindEscape(cx, r, e); err != nil {
				return nil, err
			}
		}
		return b.operator(op, l, r, e.Position())
	}
	switch e.Op {
	case "IS DISTINCT FROM", "IS NOT DISTINCT FROM":
		x, err := b.distinctFrom(l, r, e.Position())
		if err != nil || e.Op == "IS DISTINCT FROM" {
			return x, err
		}
		return &expr.Not{Arg: x}, nil
	}
	return b.operator(e.Op, l, r, e.Position())
}

func (b *binder) bindEscape(cx *exprContext, pattern expr.Expr, e *sql.Binary) (expr.Expr, error) {
	esc, err := b.bindExpr(cx, e.Escape)
	if err != nil {
		return nil, err
	}
	x, err := expr.ResolveFunc("like_escape", []expr.Expr{pattern, esc}, e.Position())
	if err == nil {
		b.settleCall([]expr.Expr{pattern, esc}, x)
	}
	return x, err
}

// distinctFrom compares as "=" would, with operands of one type.
func (b *binder) distinctFrom(l, r expr.Expr, pos int) (expr.Expr, error) {
	if _, err := expr.ResolveOp("=", l, r, pos); err != nil {
		return nil, b.atLiteral(err, l, r)
	}
	t, err := expr.CommonType([]expr.Expr{l, r}, "IS DISTINCT FROM", pos)
	if err != nil {
		return nil, err
	}
	if l, err = b.cast(l, types.T(t.Kind), expr.Implicit, pos); err != nil {
		return nil, err
	}
	if r, err = b.cast(r, types.T(t.Kind), expr.Implicit, pos); err != nil {
		return nil, err
	}
	return &expr.Distinct{Left: l, Right: r}, nil
}

// bindLogic binds a chain of one of AND and OR as one node.
func (b *binder) bindLogic(cx *exprContext, e *sql.Binary) (expr.Expr, error) {
	var parts []sql.Expr
	stack := []sql.Expr{e}
	for len(stack) > 0 { // no recursion: chains are long
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if x, ok := top.(*sql.Binary); ok && x.Op == e.Op {
			stack = append(stack, x.Right, x.Left)
			continue
		}
		parts = append(parts, top)
	}
	args := make([]expr.Expr, len(parts))
	for i, p := range parts {
		x, err := b.bindExpr(cx, p)
		if err != nil {
			return nil, err
		}
		if args[i], err = b.boolean(x, e.Op, start(p)); err != nil {
			return nil, err
		}
	}
	if e.Op == "AND" {
		return &expr.And{Args: args}, nil
	}
	return &expr.Or{Args: args}, nil
}

func (b *binder) bindIsTest(cx *exprContext, e *sql.IsTest) (expr.Expr, error) {
	x, err := b.bindExpr(cx, e.Operand)
	if err != nil {
		return nil, err
	}
	word := "IS " + e.Test
	if e.Not {
		word = "IS NOT " + e.Test
	}
	switch e.Test {
	case "NULL":
		if !b.isOpen(x) { // this test tells no type
			if x, err = b.known(x, e.Position()); err != nil {
				return nil, err
			}
		}
		x = &expr.IsNull{Arg: x}
	case "TRUE", "FALSE":
		if x, err = b.boolean(x, word, start(e.Operand)); err != nil {
			return nil, err
		}
		x = &expr.IsTrue{Arg: x, Want: e.Test == "TRUE"}
	case "UNKNOWN":
		if x, err = b.boolean(x, word, start(e.Operand)); err != nil {
			return nil, err
		}
		x = &expr.IsNull{Arg: x}
	default:
		return nil, unsupported(e, "%s", word)
	}
	if e.Not {
		x = &expr.Not{Arg: x}
	}
	return x, nil
}

func (b *binder) bindBetween(cx *exprContext, e *sql.Between) (expr.Expr, error) {
	xs, err := b.bindAll(cx, []sql.Expr{e.Operand, e.Low, e.High})
	if err != nil {
		return nil, err
	}
	x, err := b.between(xs[0], xs[1], xs[2], e.Not, e.Position())
	if err != nil || !e.Symmetric {
		return x, err
	}
	y, err := b.between(xs[0], xs[2], xs[1], e.Not, e.Position())
	if err != nil {
		return nil, err
	}
	if e.Not {
		return &expr.And{Args: []expr.Expr{x, y}}, nil
	}
	return &expr.Or{Args: []expr.Expr{x, y}}, nil
}

func (b *binder) between(x, lo, hi expr.Expr, not bool, pos int) (expr.Expr, error) {
	ops := [2]string{">=", "<="}
	if not {
		ops = [2]string{"<", ">"}
	}
	l, err := b.operator(ops[0], x, lo, pos)
	if err != nil {
		return nil, err
	}
	h, err := b.operator(ops[1], x, hi, pos)
	if err != nil {
		return nil, err
	}
	if not {
		return &expr.Or{Args: []expr.Expr{l, h}}, nil
	}
	return &expr.And{Args: []expr.Expr{l, h}}, nil
}

// bindIn binds IN (list): to a set of constants if all are, else to a chain
// of comparisons.
func (b *binder) bindIn(cx *exprContext, e *sql.In) (expr.Expr, error) {
	if e.Query != nil {
		return b.bindQuantified(cx, quantifiedIn(e))
	}
	if r, ok := e.Operand.(*sql.Row); ok && (len(r.Elems) != 1 || r.Explicit) {
		return nil, unsupported(e, "a row as a value")
	}
	x, err := b.bindExpr(cx, e.Operand)
	if err != nil {
		return nil, err
	}
	list, err := b.bindAll(cx, e.List)
	if err != nil {
		return nil, err
	}
	in, err := b.inList(x, list, e.Position())
	if err != nil {
		return nil, err
	}
	if e.Not {
		return &expr.Not{Arg: in}, nil
	}
	return in, nil
}

func (b *binder) inList(x expr.Expr, list []expr.Expr, pos int) (expr.Expr, error) {
	t, err := expr.CommonType(append([]expr.Expr{x}, list...), "IN", pos)
	if err == nil {
		_, err = expr.ResolveOp("=", &expr.Const{Value: types.NullOf(t)}, &expr.Const{Value: types.NullOf(t)}, pos)
	}
	if err != nil { // no one type: each element has to compare by itself
		return b.inChain(x, list, pos)
	}
	t = types.T(t.Kind)
	if x, err = b.cast(x, t, expr.Implicit, pos); err != nil {
		return nil, err
	}
	set := &expr.InList{Arg: x}
	constant := true
	cast := make([]expr.Expr, len(list))
	for i, v := range list {
		if cast[i], err = b.cast(v, t, expr.Implicit, pos); err != nil {
			return nil, err
		}
		c, ok := expr.Fold(cast[i]).(*expr.Const)
		switch {
		case !ok:
			constant = false
		case c.Value.Null:
			set.Null = true
		default:
			set.Values = append(set.Values, c.Value)
		}
	}
	if constant && len(list) > 1 {
		return set, nil
	}
	return b.inChain(x, cast, pos)
}

func (b *binder) inChain(x expr.Expr, list []expr.Expr, pos int) (expr.Expr, error) {
	or := &expr.Or{}
	for _, v := range list {
		eq, err := b.operator("=", x, v, pos)
		if err != nil {
			return nil, err
		}
		or.Args = append(or.Args, eq)
	}
	if len(or.Args) == 1 {
		return or.Args[0], nil
	}
	return or, nil
}

func (b *binder) bindCase(cx *exprContext, e *sql.Case) (expr.Expr, error) {
	c := &expr.Case{}
	var operand expr.Expr
	var err error
	if e.Operand != nil {
		if operand, err = b.bindExpr(cx, e.Operand); err != nil {
			return nil, err
		}
		if operand, err = b.known(operand, start(e.Operand)); err != nil {
			return nil, err
		}
	}
	for _, w := range e.Whens {
		cond, err := b.bindExpr(cx, w.Cond)
		if err != nil {
			return nil, err
		}
		if operand != nil {
			cond, err = b.operator("=", operand, cond, w.Cond.Position())
		} else {
			cond, err = b.boolean(cond, "CASE/WHEN", start(w.Cond))
		}
		if err != nil {
			return nil, err
		}
		result, err := b.bindExpr(cx, w.Result)
		if err != nil {
			return nil, err
		}
		c.Conds, c.Results = append(c.Conds, cond), append(c.Results, result)
	}
	c.Else = &expr.Const{Value: types.NullOf(types.T(types.Unknown))}
	if e.Else != nil {
		if c.Else, err = b.bindExpr(cx, e.Else); err != nil {
			return nil, err
		}
	}
	return c, b.unifyCase(c, e)
}

// unifyCase brings the branches to one type. PostgreSQL looks at ELSE first.
func (b *binder) unifyCase(c *expr.Case, e *sql.Case) error {
	branches := append([]expr.Expr{c.Else}, c.Results...)
	pos := e.Position()
	if err := sameTypes(branches, "CASE", func(i int) int { return start(e.Whens[i-1].Result) }); err != nil {
		return err
	}
	t, err := expr.CommonType(branches, "CASE", pos)
	if err != nil {
		return err
	}
	c.T = t
	if c.Else, err = b.cast(c.Else, t, expr.Implicit, pos); err != nil {
		return err
	}
	for i := range c.Results {
		if c.Results[i], err = b.cast(c.Results[i], t, expr.Implicit, start(e.Whens[i].Result)); err != nil {
			return err
		}
	}
	return nil
}

func (b *binder) bindCast(cx *exprContext, e *sql.Cast) (expr.Expr, error) {
	t, err := typeOf(e.Type)
	if err != nil {
		return nil, err
	}
	operand := e.Operand
	if e.Type.Fields != "" {
		if operand, err = intervalLiteral(e); err != nil {
			return nil, err
		}
	}
	x, err := b.bindExpr(cx, operand)
	if err != nil {
		return nil, err
	}
	x, err = b.cast(x, t, expr.Explicit, e.Position())
	if err != nil {
		return nil, err
	}
	return b.allowed(x, e.Position())
}

// intervalLiteral is INTERVAL 'n' FIELD as INTERVAL 'n field'.
func intervalLiteral(e *sql.Cast) (sql.Expr, error) {
	l, ok := e.Operand.(*sql.Literal)
	if ok && l.Kind == sql.LitString && !strings.Contains(e.Type.Fields, " ") {
		if _, err := strconv.ParseFloat(strings.TrimSpace(l.Text), 64); err == nil {
			return &sql.Literal{Pos: l.Pos, Kind: sql.LitString, Text: l.Text + " " + strings.ToLower(e.Type.Fields)}, nil
		}
	}
	return nil, unsupported(e, "INTERVAL with fields %s in this form", e.Type.Fields)
}

func (b *binder) bindCollate(cx *exprContext, e *sql.Collate) (expr.Expr, error) {
	switch name := e.Collation.Parts[len(e.Collation.Parts)-1]; name {
	case "C", "POSIX", "default", "ucs_basic":
	default:
		return nil, unsupported(e, `collation "%s"`, name)
	}
	x, err := b.bindExpr(cx, e.Operand)
	if err != nil {
		return nil, err
	}
	if x, err = b.known(x, e.Position()); err != nil {
		return nil, err
	}
	if x.Type().Kind != types.Text {
		return nil, pgerr.New(pgerr.DatatypeMismatch, "collations are not supported by type %s", x.Type()).At(e.Position())
	}
	return x, nil
}

// start is the place of the leftmost part of e, where PostgreSQL points when
// it is about the whole of e.
func start(e sql.Expr) int {
	var first sql.Expr
	switch e := e.(type) {
	case *sql.Binary:
		first = e.Left
	case *sql.IsTest:
		first = e.Operand
	case *sql.Between:
		first = e.Operand
	case *sql.In:
		first = e.Operand
	case *sql.Cast:
		first = e.Operand
	}
	if first != nil {
		if p := start(first); p > 0 && p < e.Position() {
			return p
		}
	}
	return e.Position()
}

// allowed refuses the clock and chance in a continuous query.
func (b *binder) allowed(x expr.Expr, pos int) (expr.Expr, error) {
	if c, ok := x.(*expr.Call); ok && b.env.View && c.Func.Volatility != expr.Immutable {
		return nil, pgerr.Unsupported("%s in a continuous query", c.Func.Name).At(pos).
			WithHint("The answer of a continuous query may depend only on its input.")
	}
	return x, nil
}
