package planner

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
)

// grouping collects what a SELECT block aggregates while its expressions are
// bound: keys, aggregates, and references to columns that are neither.
//
// A key of a type in which one SQL value has several images (numeric, float8,
// interval) is given as its least image in the group: min of the key, which
// orders ties by image. So the output depends on the group's rows alone.
type grouping struct {
	b       *binder
	scope   *scope // of what is grouped, nil: it has no outer columns
	grouped bool   // there is a GROUP BY, a HAVING or an aggregate
	keys    []groupKey
	aggs    []aggItem
	before  []item // computed below the aggregation
	stray   []strayColumn
}

// groupKey is an expression grouped by: in is its column below the
// aggregation, out the one above that stands for it.
type groupKey struct {
	e       expr.Expr
	in, out int
}

// strayColumn is a reference to a column that is not grouped by.
type strayColumn struct {
	name  string
	pos   int
	below bool // in a subquery
}

// input makes a column below the aggregation of an expression.
func (g *grouping) input(e expr.Expr, name string) int {
	if c, ok := e.(*expr.Column); ok && (g.scope == nil || !g.scope.foreign.has(c.Index)) {
		return c.Index
	}
	for _, it := range g.before {
		if expr.Equal(it.e, e) {
			return it.id
		}
	}
	id := g.b.md.add(columnInfo{name: name, typ: e.Type()})
	g.before = append(g.before, item{id: id, e: e})
	return id
}

// addKey groups by e too, and gives the column that stands for it.
func (g *grouping) addKey(e expr.Expr) int {
	g.grouped = true
	for _, k := range g.keys {
		if sameExpr(k.e, e) {
			return k.out
		}
	}
	in := g.input(e, "key")
	k := groupKey{e: e, in: in, out: in}
	if !e.Type().Kind.ImageIsKey() {
		k.out = g.representative(in)
	}
	g.keys = append(g.keys, k)
	return k.out
}

// representative adds the aggregate that gives the least image of a key.
func (g *grouping) representative(key int) int {
	ref := g.b.md.ref(key)
	f, args, t, err := expr.ResolveAggregate("min", []expr.Expr{ref}, false, 0)
	if err != nil { // every type of key has a min
		return key
	}
	id := g.b.md.add(columnInfo{name: g.b.md.cols[key].name, typ: t})
	g.aggs = append(g.aggs, aggItem{id: id, call: expr.Aggregate{Func: f, Args: args, T: t}})
	return id
}

// match gives the column of the key that e is, nil if it is none.
func (g *grouping) match(e expr.Expr) expr.Expr {
	if _, ok := e.(*expr.Const); ok || len(g.keys) == 0 {
		return nil
	}
	e = g.undone(e)
	for _, k := range g.keys {
		if sameExpr(k.e, e) {
			return g.b.md.ref(k.out)
		}
	}
	return nil
}

// undone is e with the columns that stand for keys replaced by the keys
// themselves: an expression grouped by may contain another one.
func (g *grouping) undone(e expr.Expr) expr.Expr {
	return expr.Rewrite(e, func(x expr.Expr) expr.Expr {
		if c, ok := x.(*expr.Column); ok {
			for _, k := range g.keys {
				if k.out == c.Index {
					return k.e
				}
			}
		}
		return x
	})
}

// sameExpr is expr.Equal, but quick on expressions that differ at the top: it
// is asked at every level of an expression.
func sameExpr(a, b expr.Expr) bool {
	ka, kb := a.Children(), b.Children()
	if a.Type() != b.Type() || len(ka) != len(kb) {
		return false
	}
	ca, ok := a.(*expr.Call)
	cb, ok2 := b.(*expr.Call)
	if ok != ok2 || ok && ca.Func != cb.Func {
		return false
	}
	for i := range ka {
		if !sameExpr(ka[i], kb[i]) {
			return false
		}
	}
	return ok || expr.Equal(a, b)
}

// column is a reference to column e of relation v outside of aggregates.
func (g *grouping) column(e expr.Expr, v *rangeVar, name string, pos int) expr.Expr {
	if k := g.match(e); k != nil {
		return k
	}
	if v != nil && g.determines(v) {
		if c, ok := e.(*expr.Column); ok {
			return g.b.md.ref(g.addKey(c))
		}
	}
	if v != nil && v.name != "" {
		name = v.name + "." + name
	}
	g.stray = append(g.stray, strayColumn{name: name, pos: pos})
	return e
}

// outerReference is a reference to column e from a subquery.
func (g *grouping) outerReference(e expr.Expr, v *rangeVar, name string, pos int) expr.Expr {
	mark := len(g.stray)
	x := g.column(e, v, name, pos)
	for i := range g.stray[mark:] {
		g.stray[mark+i].below = true
	}
	return x
}

// determines reports whether the keys have the whole primary key of v, on
// which all columns of v depend.
func (g *grouping) determines(v *rangeVar) bool {
	if len(v.key) == 0 {
		return false
	}
	have := idSet{}
	for _, k := range g.keys {
		have.add(k.in)
	}
	return have.hasAll(v.key)
}

// aggregate adds a bound call and gives the column of its result.
func (g *grouping) aggregate(a expr.Aggregate, name string) expr.Expr {
	g.grouped = true
	for i, x := range a.Args {
		if a.Filter != nil && mayFail(x) { // computed only where the filter is true
			x = &expr.Case{Conds: []expr.Expr{a.Filter}, Results: []expr.Expr{x}, Else: nullConst(x.Type()), T: x.Type()}
		}
		a.Args[i] = g.b.md.ref(g.input(x, name))
	}
	if a.Filter != nil {
		a.Filter = g.b.md.ref(g.input(a.Filter, "filter"))
	}
	for _, have := range g.aggs {
		if sameAggregate(have.call, a) {
			return g.b.md.ref(have.id)
		}
	}
	id := g.b.md.add(columnInfo{name: name, typ: a.T})
	g.aggs = append(g.aggs, aggItem{id: id, call: a})
	return g.b.md.ref(id)
}

func sameAggregate(a, b expr.Aggregate) bool {
	if a.Func != b.Func || a.Distinct != b.Distinct || len(a.Args) != len(b.Args) ||
		(a.Filter == nil) != (b.Filter == nil) || a.Filter != nil && !expr.Equal(a.Filter, b.Filter) {
		return false
	}
	for i := range a.Args {
		if !expr.Equal(a.Args[i], b.Args[i]) {
			return false
		}
	}
	return true
}

// apply puts the aggregation above in, if there is one.
func (g *grouping) apply(in node) (node, error) {
	if !g.grouped {
		return in, nil
	}
	if len(g.stray) > 0 {
		s := g.stray[0]
		if s.below {
			return nil, pgerr.New(pgerr.GroupingError, `subquery uses ungrouped column "%s" from outer query`, s.name).At(s.pos)
		}
		return nil, pgerr.New(pgerr.GroupingError,
			`column "%s" must appear in the GROUP BY clause or be used in an aggregate function`, s.name).At(s.pos)
	}
	n := &aggNode{aggs: g.aggs}
	need := idSet{}
	for _, k := range g.keys {
		if !need.has(k.in) {
			n.keys = append(n.keys, k.in)
		}
		need.add(k.in)
	}
	for _, a := range g.aggs {
		need.addExprs(a.call.Args...)
		if a.call.Filter != nil {
			need.addExprs(a.call.Filter)
		}
	}
	n.in = in
	if len(g.before) > 0 {
		p := &projectNode{in: in, items: g.before}
		made := newIDSet(p.columns()...)
		for _, id := range in.columns() {
			if need.has(id) && !made.has(id) {
				made.add(id)
				p.items = append(p.items, item{id: id, e: g.b.md.ref(id)})
			}
		}
		n.in = p
	}
	return n, nil
}
