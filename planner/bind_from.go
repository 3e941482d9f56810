package planner

import (
	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
)

// fromItem is a part of FROM: the relations to join, on what, and the names.
// After it is added to another it is not used any more.
type fromItem struct {
	ins   []node
	pos   []int
	on    []expr.Expr
	scope *scope
	// lateral says that it may read columns of what stands to its left.
	lateral bool
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
	saved := b.lateral
	defer func() { b.lateral = saved }()
	all := &fromItem{scope: &scope{}}
	for _, r := range list {
		b.lateral = all.scope
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
	if g.lateral && len(f.ins) > 0 {
		j := &pairJoinNode{left: f.node(), right: g.node(), pos: g.pos[0]}
		f.ins, f.pos, f.on = []node{j}, []int{j.pos}, nil
		return f.scope.merge(g.scope)
	}
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
		if err := b.countRelation(r); err != nil {
			return nil, err
		}
		bq, err := b.bindDerived(r)
		if err != nil {
			return nil, err
		}
		sc := b.scopeOf(bq)
		if sc, err = sc.rename(r.Alias, r.Columns); err != nil {
			return nil, err
		}
		f := single(bq.node, sc, r)
		f.lateral = r.Lateral
		return f, nil
	case *sql.FuncTable:
		return nil, unsupported(r, "a function in FROM")
	case *sql.Join:
		return b.bindJoin(r)
	}
	return nil, unsupported(r, "this form of FROM")
}

// bindDerived binds a subquery in FROM. A lateral one sees what stands to its
// left.
func (b *binder) bindDerived(r *sql.DerivedTable) (*boundQuery, error) {
	if r.Lateral && b.lateral != nil {
		saved := b.outer
		b.outer = &outerQuery{cx: &exprContext{scope: b.lateral, clause: "FROM"}, outer: saved}
		defer func() { b.outer = saved }()
	}
	return b.bindQuery(r.Query, nil, false)
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
