package planner

import (
	"strconv"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// bindTop binds a statement's query. want (may be nil) are the types that its
// untyped literals get, column by column.
func (b *binder) bindTop(q *sql.Query, want []types.Type) (*boundQuery, error) {
	if b.env.View && len(q.OrderBy) > 0 && q.Limit == nil && q.Offset == nil {
		b.notice("ORDER BY is ignored in a continuous query, whose rows have no order")
	}
	return b.bindQuery(q, want, true)
}

// bindQuery binds a query; only the top one of an ad-hoc statement has an
// order and limits.
func (b *binder) bindQuery(q *sql.Query, want []types.Type, top bool) (*boundQuery, error) {
	if q.Locking != "" {
		return nil, unsupported(q, "%s", q.Locking)
	}
	if q.WithTies {
		return nil, unsupported(q, "FETCH FIRST … WITH TIES")
	}
	if (q.Limit != nil || q.Offset != nil) && (b.env.View || !top) {
		where := "a subquery"
		if b.env.View {
			where = "a continuous query"
		}
		clause, at := "LIMIT", q.Limit
		if at == nil {
			clause, at = "OFFSET", q.Offset
		}
		return nil, unsupported(at, "%s in %s", clause, where)
	}
	saved := b.ctes
	defer func() { b.ctes = saved }()
	if q.With != nil {
		if err := b.bindWith(q.With); err != nil {
			return nil, err
		}
	}
	var bq *boundQuery
	var err error
	switch body := q.Body.(type) {
	case *sql.Select:
		bq, err = b.bindSelect(body, q.OrderBy, want)
	case *sql.Values:
		bq, err = b.bindValues(body, want)
		if err == nil {
			err = b.orderByOutput(bq, q.OrderBy)
		}
	case *sql.SetOp:
		bq, err = b.bindSetOp(body)
		if err == nil {
			err = b.orderByOutput(bq, q.OrderBy)
		}
	default:
		err = unsupported(q, "this form of query")
	}
	if err != nil {
		return nil, err
	}
	if b.env.View || !top {
		bq.order = nil
		return bq, nil
	}
	if bq.limit, err = b.bindLimit(q.Limit, "LIMIT"); err != nil {
		return nil, err
	}
	bq.offset, err = b.bindLimit(q.Offset, "OFFSET")
	return bq, err
}

// bindWith puts the queries of WITH in sight. Each is bound once here, so
// that errors in unused ones are found.
func (b *binder) bindWith(w *sql.With) error {
	if w.Recursive {
		return unsupported(w, "WITH RECURSIVE")
	}
	seen := map[string]bool{}
	for i := range w.CTEs {
		c := &w.CTEs[i]
		if seen[c.Name] {
			return pgerr.New(pgerr.DuplicateAlias, `WITH query name "%s" specified more than once`, c.Name).At(c.Position())
		}
		seen[c.Name] = true
		depends, notices := b.depends, b.notices
		if _, _, err := b.bindCTE(&cte{def: c, outer: b.ctes, query: b.outer}); err != nil {
			return err
		}
		b.depends, b.notices = depends, notices
		b.ctes = &cte{def: c, outer: b.ctes, query: b.outer}
	}
	return nil
}

// bindCTE puts a WITH query in the place of its name.
func (b *binder) bindCTE(c *cte) (node, *scope, error) {
	if err := b.countRelation(c.def); err != nil {
		return nil, nil, err
	}
	ctes, outer := b.ctes, b.outer
	b.ctes, b.outer = c.outer, c.query
	defer func() { b.ctes, b.outer = ctes, outer }()
	bq, err := b.bindQuery(c.def.Query, nil, false)
	if err != nil {
		return nil, nil, err
	}
	if len(c.def.Columns) > len(bq.out) {
		return nil, nil, pgerr.New(pgerr.InvalidColumnReference,
			`WITH query "%s" has %d columns available but %d columns specified`,
			c.def.Name, len(bq.out), len(c.def.Columns)).At(c.def.Position())
	}
	for i, n := range c.def.Columns {
		bq.out[i].name = n
	}
	return bq.node, b.scopeOf(bq), nil
}

func (b *binder) countRelation(n sql.Node) error {
	if b.relations++; b.relations > maxRelations {
		return pgerr.New(pgerr.StatementTooComplex, "the query reads more than %d relations", maxRelations).
			WithHint("WITH queries count at each use.").At(n.Position())
	}
	return nil
}

func (b *binder) bindLimit(e sql.Expr, clause string) (expr.Expr, error) {
	if e == nil {
		return nil, nil
	}
	x, err := b.bindExpr(&exprContext{clause: clause, scope: &scope{}, noColumns: true}, e)
	if err != nil {
		return nil, err
	}
	if k := x.Type().Kind; k != types.Int8 && k != types.Int4 && k != types.Unknown && k != types.Numeric && k != types.Float8 {
		return nil, pgerr.New(pgerr.DatatypeMismatch, "argument of %s must be type bigint, not type %s", clause, x.Type()).At(start(e))
	}
	if x, err = b.cast(x, types.T(types.Int8), expr.Assignment, start(e)); err != nil {
		return nil, err
	}
	d, err := expr.EvalConstAt(x, b.env.Now)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Null:
		return nil, nil
	case d.I < 0 && clause == "LIMIT":
		return nil, pgerr.New(pgerr.InvalidRowCountInLimit, "LIMIT must not be negative")
	case d.I < 0:
		return nil, pgerr.New(pgerr.InvalidRowCountInOffset, "OFFSET must not be negative")
	}
	return &expr.Const{Value: d}, nil
}

// bindValues binds VALUES as a query.
func (b *binder) bindValues(v *sql.Values, want []types.Type) (*boundQuery, error) {
	cx := &exprContext{clause: "VALUES", scope: &scope{}, noColumns: true}
	width := len(v.Rows[0])
	rows := make([][]expr.Expr, len(v.Rows))
	for i, r := range v.Rows {
		if len(r) != width {
			return nil, pgerr.New(pgerr.SyntaxError, "VALUES lists must all be the same length").At(rowPos(r, v))
		}
		rows[i] = make([]expr.Expr, width)
		for j, e := range r {
			x, err := b.bindExpr(cx, e)
			if err != nil {
				return nil, err
			}
			rows[i][j] = x
		}
	}
	n := &valuesNode{rows: rows}
	bq := &boundQuery{node: n}
	for j := range width {
		t, err := b.columnType(rows, j, want, v)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if rows[i][j], err = b.cast(rows[i][j], t, expr.Implicit, start(v.Rows[i][j])); err != nil {
				return nil, err
			}
		}
		name := "column" + strconv.Itoa(j+1)
		id := b.md.add(columnInfo{name: name, typ: t})
		n.ids = append(n.ids, id)
		bq.out = append(bq.out, outCol{name: name, id: id})
	}
	return bq, nil
}

func rowPos(r []sql.Expr, v *sql.Values) int {
	if len(r) > 0 {
		return start(r[0])
	}
	return v.Position()
}

// columnType is the common type of column j of VALUES.
func (b *binder) columnType(rows [][]expr.Expr, j int, want []types.Type, v *sql.Values) (types.Type, error) {
	col := make([]expr.Expr, len(rows))
	unknown := true
	for i := range rows {
		col[i] = rows[i][j]
		unknown = unknown && col[i].Type().Kind == types.Unknown
	}
	if unknown && j < len(want) {
		return want[j], nil
	}
	return expr.CommonType(col, "VALUES", start(v.Rows[0][j]))
}

// castOutputs gives a query's node with its output columns of types ts, and
// their ids.
func (b *binder) castOutputs(q *boundQuery, ts []types.Type, ctx expr.CastContext, pos int) (node, []int, error) {
	p := &projectNode{in: q.node}
	ids := make([]int, len(ts))
	have := idSet{}
	for i, c := range q.out {
		e := b.md.ref(c.id)
		x, err := expr.Cast(e, ts[i], ctx, pos)
		if err != nil {
			return nil, nil, err
		}
		ids[i] = c.id
		if x != e {
			ids[i] = b.md.add(columnInfo{name: c.name, typ: ts[i]})
		}
		if !have.has(ids[i]) {
			have.add(ids[i])
			p.items = append(p.items, item{id: ids[i], e: x})
		}
	}
	return p, ids, nil
}

// orderByOutput binds ORDER BY over a body that has only its output columns.
func (b *binder) orderByOutput(q *boundQuery, order []sql.OrderItem) error {
	for _, o := range order {
		spec, err := orderSpec(o)
		if err != nil {
			return err
		}
		at, err := outputOf(o.Expr, q.out, "ORDER BY")
		if err != nil {
			return err
		}
		if c, ok := o.Expr.(*sql.ColumnRef); ok && at < 0 && len(c.Parts) == 1 {
			return pgerr.New(pgerr.UndefinedColumn, `column "%s" does not exist`, c.Parts[0]).At(c.Position())
		}
		if at < 0 {
			return pgerr.New(pgerr.FeatureNotSupported, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause").
				WithDetail("Only result column names can be used, not expressions or functions.").
				WithHint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.").At(start(o.Expr))
		}
		q.order = append(q.order, sortKey{id: q.out[at].id, order: spec})
	}
	return nil
}

// outputPos is the place of output column i of a query, of the query itself
// where the column has none.
func outputPos(q *sql.Query, i int) int {
	switch body := q.Body.(type) {
	case *sql.Select:
		if i >= 0 && i < len(body.Items) {
			return start(body.Items[i].Expr)
		}
	case *sql.Values:
		if i >= 0 && i < len(body.Rows[0]) {
			return start(body.Rows[0][i])
		}
	}
	return q.Position()
}

// outputOf finds the output column that an ordinal or a bare name means, -1
// if e is neither.
func outputOf(e sql.Expr, out []outCol, clause string) (int, error) {
	switch e := e.(type) {
	case *sql.Literal:
		if e.Kind == sql.LitNull || e.Kind == sql.LitBool {
			return -1, nil
		}
		if e.Kind != sql.LitInteger {
			return 0, pgerr.New(pgerr.SyntaxError, "non-integer constant in %s", clause).At(e.Position())
		}
		n, err := strconv.Atoi(e.Text)
		if err != nil || n < 1 || n > len(out) {
			return 0, pgerr.New(pgerr.InvalidColumnReference, "%s position %s is not in select list", clause, e.Text).At(e.Position())
		}
		return n - 1, nil
	case *sql.ColumnRef:
		if len(e.Parts) != 1 {
			return -1, nil
		}
		found := -1
		for i, c := range out {
			if c.name != e.Parts[0] {
				continue
			}
			if found >= 0 && out[found].id != c.id {
				return 0, pgerr.New(pgerr.AmbiguousColumn, `%s "%s" is ambiguous`, clause, c.name).At(e.Position())
			}
			found = i
		}
		return found, nil
	}
	return -1, nil
}

func orderSpec(o sql.OrderItem) (types.OrderSpec, error) {
	spec := types.OrderSpec{Desc: o.Desc}
	switch o.Using {
	case "", "<":
	case ">":
		spec.Desc = true
	default:
		return spec, unsupported(o, "ORDER BY … USING %s", o.Using)
	}
	spec.NullsFirst = spec.Desc
	switch o.Nulls {
	case "FIRST":
		spec.NullsFirst = true
	case "LAST":
		spec.NullsFirst = false
	}
	return spec, nil
}
