package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// bindJoin binds a JOIN. Inner ones become part of the list of relations to
// join; the others are one relation in it.
func (b *binder) bindJoin(j *sql.Join) (*fromItem, error) {
	if j.UsingAlias != "" {
		return nil, unsupported(j, "an alias of JOIN … USING")
	}
	left, err := b.bindTableRef(j.Left)
	if err != nil {
		return nil, err
	}
	right, err := b.bindRight(j, left.scope)
	if err != nil {
		return nil, err
	}
	both := &scope{}
	for _, s := range []*scope{left.scope, right.scope} {
		if err := both.merge(s); err != nil {
			return nil, err
		}
	}
	var on []expr.Expr
	lcols, rcols := left.scope.cols, right.scope.cols
	using := j.Using
	if j.Natural {
		using = commonNames(lcols, rcols)
	}
	if len(using) > 0 {
		if on, err = b.joinUsing(both, using, lcols, rcols, j); err != nil {
			return nil, err
		}
	}
	if j.On != nil {
		if on, err = b.bindCondition(both, j.On, "JOIN/ON", "JOIN conditions"); err != nil {
			return nil, err
		}
	}
	f := &fromItem{scope: both, lateral: left.lateral || right.lateral}
	switch j.Kind {
	case "INNER", "CROSS":
		if right.lateral {
			f.outer(&pairJoinNode{left: left.node(), right: right.node(), on: on, pos: j.Position()}, nil)
			break
		}
		f.ins, f.pos = slices.Concat(left.ins, right.ins), slices.Concat(left.pos, right.pos)
		f.on = slices.Concat(left.on, right.on, on)
	case "LEFT":
		f.outer(&pairJoinNode{kind: LeftJoin, left: left.node(), right: right.node(), on: on, pos: j.Position()}, rcols)
	case "RIGHT":
		f.outer(&pairJoinNode{kind: LeftJoin, left: right.node(), right: left.node(), on: on, pos: j.Position()}, lcols)
	case "FULL":
		f.outer(&pairJoinNode{kind: FullJoin, left: left.node(), right: right.node(), on: on, pos: j.Position()}, slices.Concat(lcols, rcols))
	default:
		return nil, unsupported(j, "%s JOIN", j.Kind)
	}
	if j.Alias != "" {
		if f.scope, err = f.scope.rename(j.Alias, j.Columns); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// bindRight binds the right side of a join, which may be lateral.
func (b *binder) bindRight(j *sql.Join, left *scope) (*fromItem, error) {
	saved := b.lateral
	defer func() { b.lateral = saved }()
	if j.Kind != "RIGHT" && j.Kind != "FULL" {
		b.lateral = &scope{}
		for _, s := range []*scope{saved, left} {
			if s != nil {
				b.lateral.vars = append(b.lateral.vars, s.vars...)
				b.lateral.cols = append(b.lateral.cols, s.cols...)
			}
		}
	}
	return b.bindTableRef(j.Right)
}

// outer makes the item one outer join, which may make columns NULL.
func (f *fromItem) outer(j *pairJoinNode, nulled []scopeCol) {
	f.ins, f.pos = []node{j}, []int{j.pos}
	for _, c := range nulled {
		f.scope.null(c.e)
	}
}

func commonNames(l, r []scopeCol) []string {
	var names []string
	for _, c := range l {
		if slices.ContainsFunc(r, func(d scopeCol) bool { return d.name == c.name }) && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// joinUsing equates the columns and merges each pair in the scope: the merged
// columns come first, then the rest of both sides. It gives the equalities.
func (b *binder) joinUsing(both *scope, using []string, l, r []scopeCol, j *sql.Join) ([]expr.Expr, error) {
	var merged []scopeCol
	var on []expr.Expr
	for i, name := range using {
		if slices.Contains(using[:i], name) {
			return nil, pgerr.New(pgerr.DuplicateColumn, `column name "%s" appears more than once in USING clause`, name)
		}
		lc, err := usingColumn(l, name, "left")
		if err != nil {
			return nil, err
		}
		rc, err := usingColumn(r, name, "right")
		if err != nil {
			return nil, err
		}
		t, err := expr.CommonType([]expr.Expr{lc, rc}, "JOIN/USING", j.Position())
		if err != nil {
			return nil, err
		}
		eq, err := expr.ResolveOp("=", lc, rc, j.Position())
		if err != nil {
			return nil, err
		}
		on = append(on, eq)
		m, err := mergedColumn(j, lc, rc, types.T(t.Kind))
		if err != nil {
			return nil, err
		}
		merged = append(merged, scopeCol{name: name, e: m})
	}
	for _, c := range slices.Concat(l, r) {
		if !slices.Contains(using, c.name) {
			merged = append(merged, c)
		}
	}
	both.cols = merged
	return on, nil
}

// mergedColumn is what the name of a USING column alone means: the side that
// is never NULL of itself, of a full join the one that is not NULL.
func mergedColumn(j *sql.Join, l, r expr.Expr, t types.Type) (expr.Expr, error) {
	l, err := expr.Cast(l, t, expr.Implicit, j.Position())
	if err != nil {
		return nil, err
	}
	if j.Kind != "RIGHT" && j.Kind != "FULL" {
		return l, nil
	}
	if r, err = expr.Cast(r, t, expr.Implicit, j.Position()); err != nil || j.Kind == "RIGHT" {
		return r, err
	}
	return &expr.Coalesce{Args: []expr.Expr{l, r}, T: t}, nil
}

func usingColumn(cols []scopeCol, name, side string) (expr.Expr, error) {
	var found expr.Expr
	for _, c := range cols {
		if c.name != name {
			continue
		}
		if found != nil {
			return nil, pgerr.New(pgerr.AmbiguousColumn,
				`common column name "%s" appears more than once in %s table`, name, side)
		}
		found = c.e
	}
	if found == nil {
		return nil, pgerr.New(pgerr.UndefinedColumn,
			`column "%s" specified in USING clause does not exist in %s table`, name, side)
	}
	return found, nil
}
