package planner

import (
	"slices"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// fromItem is a part of FROM: the relations to join, on what, and the names.
type fromItem struct {
	ins   []node
	pos   []int
	on    []expr.Expr
	scope *scope
}

// node is the join of the item's relations.
func (f *fromItem) node() node {
	switch {
	case len(f.ins) == 0: // no FROM: one row without columns
		return &valuesNode{rows: [][]expr.Expr{{}}}
	case len(f.ins) == 1 && len(f.on) == 0:
		return f.ins[0]
	case len(f.ins) == 1:
		return &filterNode{in: f.ins[0], preds: f.on}
	}
	return &joinNode{ins: f.ins, on: f.on, pos: f.pos}
}

// bindFrom binds the comma-separated list.
func (b *binder) bindFrom(list []sql.TableRef) (*fromItem, error) {
	all := &fromItem{scope: &scope{}}
	for _, r := range list {
		f, err := b.bindTableRef(r)
		if err != nil {
			return nil, err
		}
		if err := all.add(f); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (f *fromItem) add(g *fromItem) error {
	f.ins = append(f.ins, g.ins...)
	f.pos = append(f.pos, g.pos...)
	f.on = append(f.on, g.on...)
	return f.scope.merge(g.scope)
}

func (b *binder) bindTableRef(r sql.TableRef) (*fromItem, error) {
	switch r := r.(type) {
	case *sql.TableName:
		return b.bindTableName(r)
	case *sql.DerivedTable:
		if r.Lateral {
			return nil, unsupported(r, "LATERAL")
		}
		if err := b.countRelation(r); err != nil {
			return nil, err
		}
		bq, err := b.bindQuery(r.Query, nil, false)
		if err != nil {
			return nil, err
		}
		sc := b.scopeOf(bq)
		if sc, err = sc.rename(r.Alias, r.Columns); err != nil {
			return nil, err
		}
		return single(bq.node, sc, r), nil
	case *sql.FuncTable:
		return nil, unsupported(r, "a function in FROM")
	case *sql.Join:
		return b.bindJoin(r)
	}
	return nil, unsupported(r, "this form of FROM")
}

func single(n node, sc *scope, at sql.Node) *fromItem {
	return &fromItem{ins: []node{n}, pos: []int{at.Position()}, scope: sc}
}

func (b *binder) bindTableName(t *sql.TableName) (*fromItem, error) {
	if t.AsOf != nil {
		return nil, unsupported(t, "FOR SYSTEM_TIME AS OF")
	}
	written := t.Name.Parts[len(t.Name.Parts)-1]
	var n node
	var sc *scope
	c := b.cteNamed(t.Name)
	if c != nil {
		var err error
		if n, sc, err = b.bindCTE(c); err != nil {
			return nil, err
		}
		sc.vars[0].name = written
	} else {
		if err := b.countRelation(t); err != nil {
			return nil, err
		}
		o, err := b.resolve(t.Name)
		if err != nil {
			return nil, err
		}
		if err := b.readable(o, t.Name); err != nil {
			return nil, err
		}
		n, sc = b.scanObject(o, written)
	}
	if t.Alias != "" || len(t.Columns) > 0 {
		alias := t.Alias
		if alias == "" {
			alias = written
		}
		var err error
		if sc, err = sc.rename(alias, t.Columns); err != nil {
			return nil, err
		}
	}
	return single(n, sc, t), nil
}

func (b *binder) cteNamed(n sql.Name) *cte {
	if len(n.Parts) != 1 {
		return nil
	}
	for c := b.ctes; c != nil; c = c.outer {
		if c.def.Name == n.Parts[0] {
			return c
		}
	}
	return nil
}

// readable verifies that a query may read from an object.
func (b *binder) readable(o *catalog.Object, name sql.Name) error {
	switch o.Kind {
	case catalog.Source:
		e := pgerr.New(pgerr.WrongObjectType, `"%s" is a source of several relations`, o.Name).At(name.Position())
		for _, r := range b.env.Catalog.Dependents(o.ID) {
			if r.Kind == catalog.SourceRelation {
				return e.WithHint("Name one of its relations, such as %s.", r.Title())
			}
		}
		return e
	case catalog.SourceRelation:
		if !b.env.View {
			return pgerr.New(pgerr.FeatureNotSupported, `cannot read from source "%s" directly`, o.Title()).
				WithHint("Create a materialized view over it: CREATE MATERIALIZED VIEW v AS SELECT … FROM %s.", o.Title()).
				At(name.Position())
		}
	case catalog.System:
		if b.env.View {
			return unsupported(name, "a continuous query over the system relation %s", o.Title())
		}
	case catalog.Sink, catalog.Schema:
		return pgerr.New(pgerr.WrongObjectType, `cannot read from %s "%s"`, o.Kind, o.Name).At(name.Position())
	}
	return nil
}

func (b *binder) bindJoin(j *sql.Join) (*fromItem, error) {
	if j.Kind != "INNER" && j.Kind != "CROSS" {
		return nil, unsupported(j, "%s JOIN", j.Kind)
	}
	if j.UsingAlias != "" {
		return nil, unsupported(j, "an alias of JOIN … USING")
	}
	f, err := b.bindTableRef(j.Left)
	if err != nil {
		return nil, err
	}
	right, err := b.bindTableRef(j.Right)
	if err != nil {
		return nil, err
	}
	lcols, rcols := f.scope.cols, right.scope.cols
	if err := f.add(right); err != nil {
		return nil, err
	}
	using := j.Using
	if j.Natural {
		using = commonNames(lcols, rcols)
	}
	if len(using) > 0 {
		if err := b.joinUsing(f, using, lcols, rcols, j); err != nil {
			return nil, err
		}
	}
	if j.On != nil {
		pred, err := b.bindCondition(f.scope, j.On, "JOIN/ON", "JOIN conditions")
		if err != nil {
			return nil, err
		}
		f.on = append(f.on, pred...)
	}
	if j.Alias != "" {
		if f.scope, err = f.scope.rename(j.Alias, j.Columns); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// bindCondition binds a boolean clause and gives its conjuncts.
func (b *binder) bindCondition(sc *scope, e sql.Expr, clause, noAggs string) ([]expr.Expr, error) {
	x, err := b.bindExpr(&exprContext{scope: sc, clause: noAggs}, e)
	if err != nil {
		return nil, err
	}
	if x, err = b.boolean(x, clause, start(e)); err != nil {
		return nil, err
	}
	return splitAnd(nil, x), nil
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
// columns come first, then the rest of both sides.
func (b *binder) joinUsing(f *fromItem, using []string, l, r []scopeCol, j *sql.Join) error {
	var merged []scopeCol
	for i, name := range using {
		if slices.Contains(using[:i], name) {
			return pgerr.New(pgerr.DuplicateColumn, `column name "%s" appears more than once in USING clause`, name)
		}
		lc, err := usingColumn(l, name, "left")
		if err != nil {
			return err
		}
		rc, err := usingColumn(r, name, "right")
		if err != nil {
			return err
		}
		t, err := expr.CommonType([]expr.Expr{lc, rc}, "JOIN/USING", j.Position())
		if err != nil {
			return err
		}
		eq, err := expr.ResolveOp("=", lc, rc, j.Position())
		if err != nil {
			return err
		}
		if lc, err = expr.Cast(lc, types.T(t.Kind), expr.Implicit, j.Position()); err != nil {
			return err
		}
		f.on = append(f.on, eq)
		merged = append(merged, scopeCol{name: name, e: lc})
	}
	for _, c := range slices.Concat(l, r) {
		if !slices.Contains(using, c.name) {
			merged = append(merged, c)
		}
	}
	f.scope.cols = merged
	return nil
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
