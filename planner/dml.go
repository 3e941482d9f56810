package planner

import (
	"slices"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// Expressions in the plans below are over the table's columns by position.

// InsertPlan is an INSERT.
type InsertPlan struct {
	Table *catalog.Object
	// Source gives rows of all the table's columns in order, cast, with
	// defaults filled in. NOT NULL, CHECK and keys are the executor's.
	Source    *Planned
	Returning []expr.Expr
	Fields    []types.Column // of Returning, nil if there is none
}

// UpdatePlan is an UPDATE.
type UpdatePlan struct {
	Table *catalog.Object
	Pred  expr.Expr // nil: all rows
	// Key are constants that the predicate fixes the whole primary key to: a
	// direct look-up will do. Nil: scan.
	Key []expr.Expr
	// Set has an expression over the old row for each column of the table.
	Set        []expr.Expr
	Returning  []expr.Expr // over the new row
	Fields     []types.Column
	ParamTypes []types.Type
	Notices    []*pgerr.Error
}

// DeletePlan is a DELETE.
type DeletePlan struct {
	Table      *catalog.Object
	Pred       expr.Expr // nil: all rows
	Key        []expr.Expr
	Returning  []expr.Expr // over the old row
	Fields     []types.Column
	ParamTypes []types.Type
	Notices    []*pgerr.Error
}

// target is a table that a statement writes, with its columns as a scope.
type target struct {
	*binder
	table *catalog.Object
	scope *scope
}

// newTarget finds the table. Its columns have their positions as ids.
func newTarget(env *Env, name sql.Name, alias string) (*target, error) {
	if env.View {
		return nil, pgerr.Internal("a continuous query cannot write")
	}
	b := newBinder(env)
	o, err := b.resolve(name)
	if err != nil {
		return nil, err
	}
	if o.Kind != catalog.Table {
		return nil, pgerr.New(pgerr.WrongObjectType, `cannot change %s "%s"`, o.Kind, o.Name).
			WithHint("Only tables can be changed by INSERT, UPDATE and DELETE.")
	}
	t := &target{binder: b, table: o}
	_, t.scope = b.scanObject(o, o.Name)
	if alias != "" {
		if t.scope, err = t.scope.rename(alias, nil); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *target) columnType(i int) types.Type { return t.table.Columns[i].Type }

// assign casts a value to column i's type as an assignment does.
func (t *target) assign(x expr.Expr, i int, pos int) (expr.Expr, error) {
	c := t.table.Columns[i]
	cast, err := t.cast(x, c.Type, expr.Assignment, pos)
	if err != nil {
		if code := pgerr.CodeOf(err); code == pgerr.CannotCoerce || code == pgerr.DatatypeMismatch {
			return nil, pgerr.New(pgerr.DatatypeMismatch, `column "%s" is of type %s but expression is of type %s`,
				c.Name, c.Type, x.Type()).WithHint("You will need to rewrite or cast the expression.").At(pos)
		}
		return nil, err
	}
	return cast, nil
}

// defaultOf is the value that column i gets when none is given.
func (t *target) defaultOf(i int) (expr.Expr, error) {
	c := t.table.Columns[i]
	if c.Default == "" {
		return &expr.Const{Value: types.NullOf(c.Type)}, nil
	}
	e, err := sql.ParseExpr(c.Default)
	if err != nil {
		return nil, err
	}
	x, err := t.bindExpr(&exprContext{scope: &scope{}, clause: "DEFAULT expressions", noColumns: true}, e)
	if err != nil {
		return nil, err
	}
	x, err = t.assign(x, i, 0)
	if err != nil {
		return nil, err
	}
	return expr.Fold(x), nil
}

// columnIndex finds a column of the table.
func (t *target) columnIndex(name string, pos int) (int, error) {
	i := t.table.Column(name)
	if i < 0 {
		return 0, pgerr.New(pgerr.UndefinedColumn, `column "%s" of relation "%s" does not exist`, name, t.table.Name).At(pos)
	}
	return i, nil
}

// returning binds RETURNING over the table's columns.
func (t *target) returning(items []sql.SelectItem) ([]expr.Expr, []types.Column, error) {
	list, err := expandStars(items, t.scope)
	if err != nil {
		return nil, nil, err
	}
	var out []expr.Expr
	var fields []types.Column
	for _, it := range list {
		x := it.bound
		if x == nil {
			if x, err = t.bindExpr(&exprContext{scope: t.scope, clause: "RETURNING"}, it.ast); err != nil {
				return nil, nil, err
			}
		}
		if x, err = t.known(x, it.pos); err != nil {
			return nil, nil, err
		}
		x = expr.Fold(x)
		out = append(out, x)
		fields = append(fields, types.Column{Name: it.name, Type: x.Type()})
	}
	return out, fields, nil
}

// where binds a predicate, and finds the key that it fixes.
func (t *target) where(e sql.Expr) (pred expr.Expr, key []expr.Expr, err error) {
	if e == nil {
		return nil, nil, nil
	}
	preds, err := t.bindCondition(t.scope, e, "WHERE", "WHERE")
	if err != nil {
		return nil, nil, err
	}
	pred = expr.Fold(joinAnd(preds))
	if t.table.Key != nil {
		key = t.md.keyConstants(t.table.Key, splitAnd(nil, pred))
	}
	return pred, key, nil
}

// PlanInsert plans INSERT.
func PlanInsert(env *Env, s *sql.Insert) (*InsertPlan, error) {
	if s.OnConflict != nil {
		return nil, unsupported(s.OnConflict, "ON CONFLICT")
	}
	if s.With != nil && s.Source != nil && s.Source.With != nil {
		return nil, unsupported(s.With, "WITH both before INSERT and in its query")
	}
	t, err := newTarget(env, s.Table, s.Alias)
	if err != nil {
		return nil, err
	}
	cols, err := t.insertColumns(s)
	if err != nil {
		return nil, err
	}
	bq, err := t.insertSource(s, cols)
	if err != nil {
		return nil, err
	}
	if bq, err = t.fillColumns(bq, cols, s); err != nil {
		return nil, err
	}
	p := &InsertPlan{Table: t.table}
	if p.Returning, p.Fields, err = t.returning(s.Returning); err != nil {
		return nil, err
	}
	p.Source, err = t.finish(bq, endCollect)
	return p, err
}

// insertColumns gives the columns that INSERT names, or all.
func (t *target) insertColumns(s *sql.Insert) ([]int, error) {
	var cols []int
	if s.Columns == nil {
		for i := range t.table.Columns {
			cols = append(cols, i)
		}
		return cols, nil
	}
	for k, name := range s.Columns {
		pos := s.Position()
		if k < len(s.ColumnPos) {
			pos = int(s.ColumnPos[k])
		}
		i, err := t.columnIndex(name, pos)
		if err != nil {
			return nil, err
		}
		if slices.Contains(cols, i) {
			return nil, pgerr.New(pgerr.DuplicateColumn, `column "%s" specified more than once`, name).At(pos)
		}
		cols = append(cols, i)
	}
	return cols, nil
}

// insertSource binds the rows to insert, their columns being those of cols
// from the first on, literals typed by them.
func (t *target) insertSource(s *sql.Insert, cols []int) (*boundQuery, error) {
	if s.Source == nil { // DEFAULT VALUES
		return &boundQuery{node: &valuesNode{rows: [][]expr.Expr{{}}}}, nil
	}
	if v, ok := s.Source.Body.(*sql.Values); ok && len(s.Source.OrderBy) == 0 && s.Source.Limit == nil &&
		s.Source.Offset == nil && s.Source.With == nil && s.With == nil {
		return t.insertValues(v, cols, s)
	}
	q := *s.Source
	if s.With != nil {
		q.With = s.With
	}
	want := make([]types.Type, len(cols))
	for k, i := range cols {
		want[k] = t.columnType(i)
	}
	return t.bindTop(&q, want)
}

// insertValues binds VALUES with each value cast to its column by itself.
func (t *target) insertValues(v *sql.Values, cols []int, s *sql.Insert) (*boundQuery, error) {
	n := &valuesNode{}
	width := len(v.Rows[0])
	cx := &exprContext{scope: &scope{}, clause: "VALUES", noColumns: true}
	for _, r := range v.Rows {
		if len(r) != width {
			return nil, pgerr.New(pgerr.SyntaxError, "VALUES lists must all be the same length").At(rowPos(r, v))
		}
		if len(r) > len(cols) {
			return nil, errTooMany(start(r[len(cols)]))
		}
		row := make([]expr.Expr, width)
		for j, e := range r {
			var err error
			if _, ok := e.(*sql.Default); ok {
				row[j], err = t.defaultOf(cols[j])
			} else if row[j], err = t.bindExpr(cx, e); err == nil {
				row[j], err = t.assign(row[j], cols[j], start(e))
			}
			if err != nil {
				return nil, err
			}
		}
		n.rows = append(n.rows, row)
	}
	bq := &boundQuery{node: n}
	for j := range width {
		c := t.table.Columns[cols[j]]
		id := t.md.add(columnInfo{name: c.Name, typ: c.Type})
		n.ids = append(n.ids, id)
		bq.out = append(bq.out, outCol{name: c.Name, id: id})
	}
	return bq, nil
}

func errTooMany(pos int) error {
	return pgerr.New(pgerr.SyntaxError, "INSERT has more expressions than target columns").At(pos)
}

// fillColumns makes of the source's rows rows of the whole table.
func (t *target) fillColumns(in *boundQuery, cols []int, s *sql.Insert) (*boundQuery, error) {
	if len(in.out) > len(cols) {
		return nil, errTooMany(outputPos(s.Source, len(cols)))
	}
	if len(in.out) < len(cols) && s.Columns != nil {
		pos := s.Position()
		if len(in.out) < len(s.ColumnPos) {
			pos = int(s.ColumnPos[len(in.out)])
		}
		return nil, pgerr.New(pgerr.SyntaxError, "INSERT has more target columns than expressions").At(pos)
	}
	p := &projectNode{in: in.node}
	out := &boundQuery{node: p, order: in.order, limit: in.limit, offset: in.offset}
	for i, c := range t.table.Columns {
		var x expr.Expr
		var err error
		if k := slices.Index(cols, i); k >= 0 && k < len(in.out) {
			x, err = t.assign(t.md.ref(in.out[k].id), i, outputPos(s.Source, k))
		} else {
			x, err = t.defaultOf(i)
		}
		if err != nil {
			return nil, err
		}
		id := t.md.add(columnInfo{name: c.Name, typ: c.Type})
		p.items = append(p.items, item{id: id, e: x})
		out.out = append(out.out, outCol{name: c.Name, id: id})
	}
	for _, k := range in.order { // hidden sort columns pass through
		if !newIDSet(p.columns()...).has(k.id) {
			p.items = append(p.items, item{id: k.id, e: t.md.ref(k.id)})
		}
	}
	return out, nil
}

// PlanUpdate plans UPDATE.
func PlanUpdate(env *Env, s *sql.Update) (*UpdatePlan, error) {
	switch {
	case s.With != nil:
		return nil, unsupported(s.With, "WITH before UPDATE")
	case len(s.From) > 0:
		return nil, unsupported(s.From[0], "UPDATE … FROM")
	}
	t, err := newTarget(env, s.Table, s.Alias)
	if err != nil {
		return nil, err
	}
	p := &UpdatePlan{Table: t.table, Set: make([]expr.Expr, len(t.table.Columns))}
	for _, a := range s.Set {
		if err := t.bindSet(p.Set, a); err != nil {
			return nil, err
		}
	}
	for i := range p.Set {
		if p.Set[i] == nil {
			p.Set[i] = t.md.ref(i)
		}
	}
	if p.Pred, p.Key, err = t.where(s.Where); err != nil {
		return nil, err
	}
	if p.Returning, p.Fields, err = t.returning(s.Returning); err != nil {
		return nil, err
	}
	p.ParamTypes, p.Notices = t.params, t.notices
	return p, t.checkParams()
}

// bindSet binds one assignment of SET into set.
func (t *target) bindSet(set []expr.Expr, a sql.Assignment) error {
	values := []sql.Expr{a.Value}
	if len(a.Columns) > 1 {
		r, ok := a.Value.(*sql.Row)
		if !ok {
			return unsupported(a, "UPDATE of several columns from one expression")
		}
		if len(r.Elems) != len(a.Columns) {
			return pgerr.New(pgerr.SyntaxError, "number of columns does not match number of values").At(r.Position())
		}
		values = r.Elems
	}
	for k, name := range a.Columns {
		i, err := t.columnIndex(name, a.Position())
		if err != nil {
			return err
		}
		if set[i] != nil {
			return pgerr.New(pgerr.SyntaxError, `multiple assignments to same column "%s"`, name)
		}
		var x expr.Expr
		if _, ok := values[k].(*sql.Default); ok {
			x, err = t.defaultOf(i)
		} else if x, err = t.bindExpr(&exprContext{scope: t.scope, clause: "UPDATE"}, values[k]); err == nil {
			x, err = t.assign(x, i, start(values[k]))
		}
		if err != nil {
			return err
		}
		set[i] = expr.Fold(x)
	}
	return nil
}

// PlanDelete plans DELETE.
func PlanDelete(env *Env, s *sql.Delete) (*DeletePlan, error) {
	switch {
	case s.With != nil:
		return nil, unsupported(s.With, "WITH before DELETE")
	case len(s.Using) > 0:
		return nil, unsupported(s.Using[0], "DELETE … USING")
	}
	t, err := newTarget(env, s.Table, s.Alias)
	if err != nil {
		return nil, err
	}
	p := &DeletePlan{Table: t.table}
	if p.Pred, p.Key, err = t.where(s.Where); err != nil {
		return nil, err
	}
	if p.Returning, p.Fields, err = t.returning(s.Returning); err != nil {
		return nil, err
	}
	p.ParamTypes, p.Notices = t.params, t.notices
	return p, t.checkParams()
}

// BindTableExprs binds scalar expressions over a row of table (WHERE of COPY,
// CHECK); columns of the results are positions in the table. clause names
// the place for messages, as "check constraints".
func BindTableExprs(env *Env, table *catalog.Object, clause string, exprs ...sql.Expr) ([]expr.Expr, error) {
	b := newBinder(env)
	_, sc := b.scanObject(table, table.Name)
	out := make([]expr.Expr, len(exprs))
	for i, e := range exprs {
		x, err := b.bindExpr(&exprContext{scope: sc, clause: clause}, e)
		if err != nil {
			return nil, err
		}
		if x, err = b.known(x, start(e)); err != nil {
			return nil, err
		}
		out[i] = expr.Fold(x)
	}
	return out, b.checkParams()
}

// BindDefault binds a column's DEFAULT, cast to the column's type. CREATE
// TABLE checks it with this.
func BindDefault(env *Env, table *catalog.Object, column int) (expr.Expr, error) {
	t := &target{binder: newBinder(env), table: table}
	return t.defaultOf(column)
}
