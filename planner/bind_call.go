package planner

import (
	"strings"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
)

func (b *binder) bindCall(cx *exprContext, e *sql.Call) (expr.Expr, error) {
	name, err := callName(e)
	if err != nil {
		return nil, err
	}
	if expr.IsAggregate(name) {
		return b.bindAggregate(cx, e, name)
	}
	if err := notAggregate(e, name); err != nil {
		return nil, err
	}
	args, err := b.bindArgs(cx, e)
	if err != nil {
		return nil, err
	}
	switch name {
	case "coalesce", "greatest", "least":
		if err := sameTypes(args, strings.ToUpper(name), func(i int) int { return start(e.Args[i].Expr) }); err != nil {
			return nil, err
		}
	}
	x, err := expr.ResolveFunc(name, args, e.Position())
	if err != nil {
		return nil, b.atLiteral(err, args...)
	}
	if e.Star {
		return nil, pgerr.New(pgerr.WrongObjectType, "%s(*) specified, but %s is not an aggregate function", name, name).At(e.Position())
	}
	b.settleCall(args, x)
	return b.allowed(x, e.Position())
}

// callName is the function's name, after a refusal of the forms of calls
// that are not supported.
func callName(e *sql.Call) (string, error) {
	parts := e.Name.Parts
	if len(parts) > 2 || len(parts) == 2 && parts[0] != "pg_catalog" {
		return "", pgerr.New(pgerr.UndefinedFunction, "function %s does not exist", strings.Join(parts, ".")).At(e.Position())
	}
	switch {
	case e.Over != nil:
		return "", unsupported(e, "a window function")
	case e.WithinGroup:
		return "", unsupported(e, "WITHIN GROUP")
	case e.Variadic:
		return "", unsupported(e, "VARIADIC")
	case e.IgnoreNulls:
		return "", unsupported(e, "IGNORE NULLS")
	}
	return parts[len(parts)-1], nil
}

// notAggregate refuses what only aggregates may have.
func notAggregate(e *sql.Call, name string) error {
	what := ""
	switch {
	case e.Distinct:
		what = "DISTINCT"
	case len(e.OrderBy) > 0:
		what = "ORDER BY"
	case e.Filter != nil:
		what = "FILTER"
	default:
		return nil
	}
	return pgerr.New(pgerr.WrongObjectType, "%s specified, but %s is not an aggregate function", what, name).At(e.Position())
}

func (b *binder) bindArgs(cx *exprContext, e *sql.Call) ([]expr.Expr, error) {
	args := make([]expr.Expr, len(e.Args))
	for i, a := range e.Args {
		if a.Name != "" {
			return nil, unsupported(e, "a call with named arguments")
		}
		var err error
		if args[i], err = b.bindExpr(cx, a.Expr); err != nil {
			return nil, err
		}
	}
	return args, nil
}

func (b *binder) bindAggregate(cx *exprContext, e *sql.Call, name string) (expr.Expr, error) {
	switch {
	case cx.nested && cx.clause == "FILTER":
		return nil, pgerr.New(pgerr.GroupingError, "aggregate functions are not allowed in FILTER").At(e.Position())
	case cx.nested:
		return nil, pgerr.New(pgerr.GroupingError, "aggregate function calls cannot be nested").At(e.Position())
	case cx.group == nil:
		return nil, pgerr.New(pgerr.GroupingError, "aggregate functions are not allowed in %s", cx.clause).At(e.Position())
	case len(e.OrderBy) > 0:
		return nil, unsupported(e, "ORDER BY in an aggregate")
	}
	inner := &exprContext{scope: cx.scope, clause: cx.clause, group: nil, nested: true, subs: cx.below}
	args, err := b.bindArgs(inner, e)
	if err != nil {
		return nil, err
	}
	f, cast, t, err := expr.ResolveAggregate(name, args, e.Star, e.Position())
	if err != nil {
		return nil, b.atLiteral(err, args...)
	}
	for i, a := range args {
		if i < len(cast) {
			b.settle(a, cast[i].Type())
		}
	}
	a := expr.Aggregate{Func: f, Args: append([]expr.Expr(nil), cast...), Distinct: e.Distinct && f.Kind != expr.AggOrdered, T: t, Pos: e.Position()}
	if e.Filter != nil {
		inner.clause = "FILTER"
		if a.Filter, err = b.bindExpr(inner, e.Filter); err != nil {
			return nil, err
		}
		if a.Filter, err = b.boolean(a.Filter, "FILTER", start(e.Filter)); err != nil {
			return nil, err
		}
	}
	if foreignOnly(cx.scope, a.Args) {
		return nil, unsupported(e, "an aggregate of an outer query")
	}
	return cx.group.aggregate(a, name), nil
}
