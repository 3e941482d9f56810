package planner

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// selectItem is an element of the select list, * expanded: an expression of
// the syntax tree, or one bound already.
type selectItem struct {
	ast   sql.Expr
	bound expr.Expr
	rel   *rangeVar // of bound
	name  string
	pos   int
}

// selectBinder binds one SELECT block.
type selectBinder struct {
	*binder
	s     *sql.Select
	scope *scope
	group *grouping
	items []selectItem
	exprs []expr.Expr // the items, bound
	// unknown are the items that are untyped literals.
	unknown []bool
	out     []outCol
	// The subqueries of WHERE, of what is grouped, of HAVING and of what is
	// made of the groups.
	where, below, having, above subqueries
}

func (b *binder) bindSelect(s *sql.Select, order []sql.OrderItem, want []types.Type) (*boundQuery, error) {
	if err := refuseClauses(s); err != nil {
		return nil, err
	}
	from, err := b.bindFrom(s.From)
	if err != nil {
		return nil, err
	}
	sb := &selectBinder{binder: b, s: s, scope: from.scope, group: &grouping{b: b, scope: from.scope}}
	var late []expr.Expr
	if s.Where != nil {
		var plain []expr.Expr
		plain, late, err = b.bindWhere(&exprContext{scope: from.scope, clause: "WHERE", subs: &sb.where}, s.Where, "WHERE")
		if err != nil {
			return nil, err
		}
		from.on = append(from.on, plain...)
	}
	if sb.items, err = expandStars(s.Items, from.scope); err != nil {
		return nil, err
	}
	if err := sb.bindGroupBy(); err != nil {
		return nil, err
	}
	if err := sb.bindItems(want); err != nil {
		return nil, err
	}
	having, err := sb.bindHaving()
	if err != nil {
		return nil, err
	}
	in := sb.where.over(from.node())
	if len(late) > 0 {
		in = &filterNode{in: in, preds: late}
	}
	return sb.assemble(in, having, order)
}

func refuseClauses(s *sql.Select) error {
	switch {
	case len(s.DistinctOn) > 0:
		return unsupported(s.DistinctOn[0], "SELECT DISTINCT ON")
	case len(s.Windows) > 0:
		return unsupported(s.Windows[0], "WINDOW")
	case s.GroupDistinct:
		return unsupported(s, "GROUP BY DISTINCT")
	}
	return nil
}

// expandStars puts columns for * and t.*.
func expandStars(items []sql.SelectItem, sc *scope) ([]selectItem, error) {
	var out []selectItem
	for _, it := range items {
		star, ok := it.Expr.(*sql.Star)
		if !ok {
			name := it.Alias
			if name == "" {
				name = sql.OutputName(it.Expr)
			}
			out = append(out, selectItem{ast: it.Expr, name: name, pos: start(it.Expr)})
			continue
		}
		cols := sc.cols
		if len(star.Qualifier) > 0 {
			v, err := sc.relation(star.Qualifier, star.Position())
			if err != nil {
				return nil, err
			}
			cols = v.cols
		} else if len(sc.vars) == 0 {
			return nil, pgerr.New(pgerr.SyntaxError, "SELECT * with no tables specified is not valid").At(star.Position())
		}
		for _, c := range cols {
			out = append(out, selectItem{bound: c.e, rel: sc.owner(c.e), name: c.name, pos: star.Position()})
		}
	}
	return out, nil
}

// bindGroupBy binds GROUP BY: ordinals and aliases of the select list, or
// expressions. A bare name is an input column first, as in PostgreSQL.
func (sb *selectBinder) bindGroupBy() error {
	for _, set := range sb.s.GroupBy {
		if set.Kind != "" {
			if set.Kind == "()" {
				return unsupported(set, "GROUP BY ()")
			}
			return unsupported(set, "%s", set.Kind)
		}
		for _, e := range set.Exprs {
			if err := sb.bindGroupKey(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (sb *selectBinder) bindGroupKey(e sql.Expr) error {
	cx := &exprContext{scope: sb.scope, clause: "GROUP BY", subs: &sb.below}
	var x expr.Expr
	var err error
	if it := sb.groupItem(e); it != nil {
		if it.bound != nil {
			x = it.bound
		} else {
			x, err = sb.bindExpr(cx, it.ast)
		}
	} else {
		if _, err = outputOf(e, sb.names(), "GROUP BY"); err != nil && !isName(e) {
			return err
		}
		x, err = sb.bindExpr(cx, e)
	}
	if err != nil {
		return err
	}
	if x, err = sb.known(x, start(e)); err != nil {
		return err
	}
	sb.group.addKey(x)
	return nil
}

func isName(e sql.Expr) bool { _, ok := e.(*sql.ColumnRef); return ok }

// groupItem is the select item that a GROUP BY ordinal or alias means.
func (sb *selectBinder) groupItem(e sql.Expr) *selectItem {
	if c, ok := e.(*sql.ColumnRef); ok {
		if len(c.Parts) != 1 {
			return nil
		}
		for _, in := range sb.scope.cols {
			if in.name == c.Parts[0] {
				return nil
			}
		}
	}
	if at, err := outputOf(e, sb.names(), "GROUP BY"); err == nil && at >= 0 {
		return &sb.items[at]
	}
	return nil
}

// names are the select items as output columns, by place.
func (sb *selectBinder) names() []outCol {
	out := make([]outCol, len(sb.items))
	for i, it := range sb.items {
		out[i] = outCol{name: it.name, id: i}
	}
	return out
}

func (sb *selectBinder) bindItems(want []types.Type) error {
	cx := sb.groupedContext("")
	for i, it := range sb.items {
		var x expr.Expr
		var err error
		if it.bound != nil {
			x = sb.group.column(it.bound, it.rel, it.name, it.pos)
		} else {
			x, err = sb.bindExpr(cx, it.ast)
		}
		if err != nil {
			return err
		}
		unknown := x.Type().Kind == types.Unknown && !sb.isOpen(x)
		sb.unknown = append(sb.unknown, unknown)
		if x.Type().Kind == types.Unknown && i < len(want) {
			x, err = sb.cast(x, want[i], expr.Assignment, it.pos)
		} else {
			x, err = sb.known(x, it.pos)
		}
		if err != nil {
			return err
		}
		sb.exprs = append(sb.exprs, x)
	}
	return nil
}

func (sb *selectBinder) groupedContext(clause string) *exprContext {
	return &exprContext{scope: sb.scope, clause: clause, group: sb.group, subs: &sb.above, below: &sb.below}
}

func (sb *selectBinder) bindHaving() ([]expr.Expr, error) {
	if sb.s.Having == nil {
		return nil, nil
	}
	cx := sb.groupedContext("HAVING")
	cx.subs = &sb.having
	plain, late, err := sb.bindWhere(cx, sb.s.Having, "HAVING")
	if err != nil {
		return nil, err
	}
	sb.group.grouped = true
	return append(plain, late...), nil
}

// assemble puts the plan of the block together: aggregation, HAVING, the
// select list, DISTINCT, and the sort keys.
func (sb *selectBinder) assemble(in node, having []expr.Expr, order []sql.OrderItem) (*boundQuery, error) {
	proj := &projectNode{}
	have := map[int]bool{}
	for i, x := range sb.exprs {
		id := sb.place(proj, have, x, sb.items[i].name)
		sb.out = append(sb.out, outCol{name: sb.items[i].name, id: id, unknown: sb.unknown[i]})
	}
	visible := len(proj.items)
	keys, err := sb.bindOrder(order, proj, have)
	if err != nil {
		return nil, err
	}
	if in, err = sb.group.apply(sb.below.over(in)); err != nil {
		return nil, err
	}
	in = sb.having.over(in)
	if len(having) > 0 {
		in = &filterNode{in: in, preds: having}
	}
	proj.in = sb.above.over(in)
	bq := &boundQuery{node: proj, out: sb.out, order: keys}
	if sb.s.Distinct {
		if len(proj.items) > visible {
			return nil, pgerr.New(pgerr.InvalidColumnReference,
				"for SELECT DISTINCT, ORDER BY expressions must appear in select list").At(sb.hiddenPos(order, keys, visible, proj))
		}
		sb.distinct(bq)
	}
	return bq, nil
}

// place is project, but a column of an outer query gets a name of its own.
func (sb *selectBinder) place(p *projectNode, have map[int]bool, x expr.Expr, name string) int {
	if c, ok := x.(*expr.Column); ok && sb.scope.foreign.has(c.Index) {
		id := sb.md.add(columnInfo{name: name, typ: x.Type()})
		p.items = append(p.items, item{id: id, e: x})
		return id
	}
	return sb.project(p, have, x, name)
}

// project adds x to a projection, unless it has it already, and gives its id.
func (b *binder) project(p *projectNode, have map[int]bool, x expr.Expr, name string) int {
	if c, ok := x.(*expr.Column); ok {
		if !have[c.Index] {
			have[c.Index] = true
			p.items = append(p.items, item{id: c.Index, e: x})
		}
		return c.Index
	}
	for _, it := range p.items {
		if expr.MaxVolatility(x) != expr.Volatile && expr.Equal(it.e, x) {
			return it.id
		}
	}
	id := b.md.add(columnInfo{name: name, typ: x.Type()})
	p.items = append(p.items, item{id: id, e: x})
	return id
}

// bindOrder binds ORDER BY: ordinals and output names first, then
// expressions over the input, which may add hidden columns.
func (sb *selectBinder) bindOrder(order []sql.OrderItem, proj *projectNode, have map[int]bool) ([]sortKey, error) {
	var keys []sortKey
	for _, o := range order {
		spec, err := orderSpec(o)
		if err != nil {
			return nil, err
		}
		at, err := outputOf(o.Expr, sb.out, "ORDER BY")
		if err != nil {
			return nil, err
		}
		if at >= 0 {
			keys = append(keys, sortKey{id: sb.out[at].id, order: spec})
			continue
		}
		x, err := sb.bindExpr(sb.groupedContext("ORDER BY"), o.Expr)
		if err != nil {
			return nil, err
		}
		if x, err = sb.known(x, start(o.Expr)); err != nil {
			return nil, err
		}
		keys = append(keys, sortKey{id: sb.place(proj, have, x, "?column?"), order: spec})
	}
	return keys, nil
}

// hiddenPos is the place of the first ORDER BY expression that made a hidden
// column.
func (sb *selectBinder) hiddenPos(order []sql.OrderItem, keys []sortKey, visible int, proj *projectNode) int {
	hidden := idSet{}
	for _, it := range proj.items[visible:] {
		hidden.add(it.id)
	}
	for i, k := range keys {
		if hidden.has(k.id) {
			return start(order[i].Expr)
		}
	}
	return 0
}

// distinct groups a query by all its output columns.
func (b *binder) distinct(q *boundQuery) {
	g := &grouping{b: b, grouped: true}
	to := map[int]int{}
	for i, c := range q.out {
		if _, ok := to[c.id]; !ok {
			to[c.id] = g.addKey(b.md.ref(c.id))
		}
		q.out[i].id = to[c.id]
	}
	for i := range q.order {
		q.order[i].id = to[q.order[i].id]
	}
	q.node, _ = g.apply(q.node)
}
