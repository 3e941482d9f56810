package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// executeWrite runs INSERT, UPDATE, DELETE and TRUNCATE into the
// transaction's write buffer.
func (s *session) executeWrite(ctx context.Context, p *prepared, params []types.Datum) (*wire.Result, error) {
	run := func(ctx context.Context) (*written, error) { return s.write1(ctx, p, params) }
	w, err := run(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(w.fields, p.fields) {
		return nil, errResultType
	}
	s.notices(w.notices)
	s.retryable(w, run)
	if w.fields == nil {
		return &wire.Result{Tag: w.tag()}, nil
	}
	tag := w.tag()
	return &wire.Result{Fields: w.fields, Rows: &chunkRows{chunks: w.returned, tag: fixedTag(tag)}}, nil
}

// retryable notes how to run the transaction's only statement again after a
// conflict, if what the client was told can be the same then.
func (s *session) retryable(w *written, run func(context.Context) (*written, error)) {
	tx := s.tx
	if tx.explicit || tx.statements > 1 || w.fields != nil {
		return
	}
	tx.tag = w.tag()
	tx.again = func(ctx context.Context) (string, error) {
		// What the conflict was with is in an epoch after the one read.
		s.low++
		w, err := run(ctx)
		if err != nil {
			return "", err
		}
		return w.tag(), nil
	}
}

// write1 runs a writing statement once.
func (s *session) write1(ctx context.Context, p *prepared, params []types.Datum) (*written, error) {
	switch n := p.st.stmt.(type) {
	case *sql.Insert:
		return s.insert(ctx, p, n, params)
	case *sql.Update:
		return s.update(ctx, p, n, params)
	case *sql.Delete:
		return s.delete(ctx, p, n, params)
	case *sql.Truncate:
		return s.truncate(ctx, n)
	}
	return nil, pgerr.Internal("no execution of %T", p.st.stmt)
}

// replan reports whether a writing statement has to be planned for this
// execution: its parameters have values now, or the catalog has changed.
func (s *session) replan(p *prepared) bool { return len(p.params) > 0 || s.stale(p) }

// written is what a writing statement did: how many rows of one table, and
// what RETURNING gives of them.
type written struct {
	what    string
	table   *catalog.Object
	rows    int64
	notices []*pgerr.Error

	writes   *tableWrites
	fields   []wire.Field // nil: no RETURNING
	returns  *expr.Program
	returned []*types.Chunk
	errs     expr.Errors
	out      []types.Vec
}

func (w *written) tag() string {
	switch w.what {
	case "INSERT":
		return fmt.Sprintf("INSERT 0 %d", w.rows)
	case "TRUNCATE":
		return "TRUNCATE TABLE"
	}
	return fmt.Sprintf("%s %d", w.what, w.rows)
}

// startWrite readies a statement that writes table o.
func (s *session) startWrite(what string, o *catalog.Object, returning []expr.Expr, fields []types.Column) (*written, error) {
	buf, err := s.write(what)
	if err != nil {
		return nil, err
	}
	if o.Schema == catalog.StreamDB && (what == "INSERT" || what == "UPDATE" || what == "COPY") {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied for table %s", o.Title()).
			WithHint("Its rows can only be deleted.")
	}
	w := &written{what: what, table: o, writes: buf.table(o), fields: fieldsOf(fields)}
	if len(returning) > 0 {
		if w.returns, err = expr.Compile(returning); err != nil {
			return nil, err
		}
		w.returns.Now = s.tx.now
	}
	return w, nil
}

// put buffers the selected rows of c, as often as they stand there, at sign.
func (w *written) put(c *types.Chunk, sign int64) error {
	for k, n := 0, c.Rows(); k < n; k++ {
		r := c.Row(k)
		if err := w.writes.add(c, r, sign*int64(c.DiffAt(r))); err != nil {
			return err
		}
	}
	return nil
}

func countRows(c *types.Chunk) (n int64) {
	if c.Diff == nil {
		return int64(c.Rows())
	}
	for k := range c.Rows() {
		n += int64(c.Diff[c.Row(k)])
	}
	return n
}

// give computes what RETURNING gives of rows.
func (w *written) give(c *types.Chunk) error {
	if w.returns == nil {
		return nil
	}
	cols, err := w.eval(w.returns, c)
	if err != nil {
		return err
	}
	out := types.NewChunk(typesOf(w.returns.Exprs()))
	(&types.Chunk{Cols: cols, Diff: c.Diff, Sel: c.Sel, N: c.N}).Compact(out)
	w.returned = append(w.returned, out)
	return nil
}

// eval computes a program over rows; a row that fails fails the statement.
func (w *written) eval(p *expr.Program, c *types.Chunk) ([]types.Vec, error) {
	if len(w.out) < len(p.Exprs()) {
		w.out = make([]types.Vec, len(p.Exprs()))
	}
	w.errs.Reset()
	out := w.out[:len(p.Exprs())]
	if err := p.Eval(c, out, &w.errs); err != nil {
		return nil, err
	}
	if len(w.errs.Errs) > 0 {
		return nil, w.errs.Errs[0]
	}
	return out, nil
}

func typesOf(es []expr.Expr) []types.Type {
	ts := make([]types.Type, len(es))
	for i, e := range es {
		ts[i] = e.Type()
	}
	return ts
}

// insert runs INSERT.
func (s *session) insert(ctx context.Context, p *prepared, n *sql.Insert, params []types.Datum) (*written, error) {
	plan := p.insert
	if s.replan(p) {
		var err error
		if plan, err = planner.PlanInsert(s.env(p.params, params), n); err != nil {
			return nil, err
		}
	}
	w, err := s.startWrite("INSERT", plan.Table, plan.Returning, plan.Fields)
	if err != nil {
		return nil, err
	}
	w.notices = plan.Source.Notices
	source, err := newQueryPlan(plan.Source)
	if err != nil {
		return nil, err
	}
	rows, err := s.startQuery(ctx, source)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ins, err := s.newInserter(ctx, w)
	if err != nil {
		return nil, err
	}
	defer ins.close()
	var self []*types.Chunk // rows of a source that reads the table itself
	selfish := slices.Contains(plan.Source.Depends, plan.Table.ID)
	for {
		c, err := rows.Next(ctx)
		if err != nil {
			return nil, err
		}
		if c == nil {
			break
		}
		if !selfish {
			if err := ins.insert(c); err != nil {
				return nil, err
			}
			continue
		}
		self = append(self, types.NewChunk(w.writes.types))
		c.Compact(self[len(self)-1])
		if err := w.writes.buf.fits(self); err != nil {
			return nil, err
		}
	}
	for _, c := range self {
		if err := ins.insert(c); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// fits bounds the rows that are gathered before they are written; they are
// counted roughly, by the last full chunk.
func (b *writeBuffer) fits(chunks []*types.Chunk) error {
	c := chunks[max(0, len(chunks)-2)]
	per := int64(c.N) * 16
	for i := range c.Cols {
		per += int64(len(c.Cols[i].Data))
	}
	if b.bytes+per*int64(len(chunks)) > b.limit {
		return b.grow(b.limit)
	}
	return nil
}

// maxChecked bounds the rows of a statement whose keys are looked up at once;
// what lies beyond is found out at COMMIT.
const maxChecked = 10_000

// inserter puts new rows into a table: NOT NULL, keys, RETURNING.
type inserter struct {
	w    *written
	ctx  context.Context
	pins pinned // to look for keys that are taken, nil: not looked for
	left int
	key  []types.Datum
}

// newInserter starts to insert. A lone statement commits at once, which
// checks the keys anyway; within a block the error should come here.
func (s *session) newInserter(ctx context.Context, w *written) (*inserter, error) {
	ins := &inserter{w: w, ctx: ctx, left: maxChecked}
	if !s.tx.explicit || w.table.Key == nil {
		return ins, nil
	}
	var err error
	ins.pins, err = s.pin(ctx, []types.UUID{w.table.ID})
	return ins, err
}

func (ins *inserter) close() { ins.pins.release() }

func (ins *inserter) insert(c *types.Chunk) error {
	w := ins.w
	if err := checkNotNull(w.table, c); err != nil {
		return err
	}
	if err := w.put(c, 1); err != nil {
		return err
	}
	w.rows += countRows(c)
	if err := ins.checkKeys(c); err != nil {
		return err
	}
	return w.give(c)
}

// checkKeys refuses rows whose key has another row by now, as far as can be
// seen.
func (ins *inserter) checkKeys(c *types.Chunk) error {
	w := ins.w
	if w.table.Key == nil {
		return nil
	}
	var keys types.KeyBatch
	keys.Encode(c, w.table.Key)
	for k := range keys.Len() {
		added, removed := w.writes.balance(keys.Hash[k], keys.Key(k))
		if added > 1 {
			return errDuplicateKey(w.table, c, c.Row(k))
		}
		if added == 0 || removed > 0 || ins.pins.Pins == nil || ins.left == 0 {
			continue
		}
		ins.left--
		ins.key = ins.key[:0]
		for _, col := range w.table.Key {
			ins.key = append(ins.key, c.Cols[col].Datum(c.Row(k)))
		}
		have, err := ins.pins.Snaps[w.table.ID].Lookup(ins.ctx, ins.key)
		if err != nil {
			return err
		}
		if have.N > 0 {
			return errDuplicateKey(w.table, c, c.Row(k))
		}
	}
	return nil
}

// balance gives how many rows of a key were added and taken away.
func (t *tableWrites) balance(h uint64, key []byte) (added, removed int64) {
	for i := t.first(h, key); i >= 0; i = t.writes[i].next {
		if d := t.writes[i].diff; d > 0 {
			added += d
		} else {
			removed -= d
		}
	}
	return added, removed
}

func errDuplicateKey(o *catalog.Object, c *types.Chunk, row int) error {
	var cols, vals []byte
	for i, k := range o.Key {
		if i > 0 {
			cols, vals = append(cols, ", "...), append(vals, ", "...)
		}
		cols = append(cols, o.Columns[k].Name...)
		vals = c.Cols[k].AppendText(vals, row)
	}
	e := pgerr.New(pgerr.UniqueViolation, "duplicate key value violates unique constraint \"%s_pkey\"", o.Name).
		WithDetail("Key (%s)=(%s) already exists.", cols, vals)
	e.Schema, e.Table, e.Constraint = o.Schema, o.Name, o.Name+"_pkey"
	return e
}

// checkNotNull is PostgreSQL's check of NOT NULL columns.
func checkNotNull(o *catalog.Object, c *types.Chunk) error {
	for i := range o.Columns {
		v := &c.Cols[i]
		if !o.Columns[i].NotNull || v.Nulls == nil {
			continue
		}
		for k, n := 0, c.Rows(); k < n; k++ {
			r := c.Row(k)
			if !v.Null(r) {
				continue
			}
			e := pgerr.New(pgerr.NotNullViolation, "null value in column \"%s\" of relation \"%s\" violates not-null constraint",
				o.Columns[i].Name, o.Name).WithDetail("Failing row contains (%s).", rowText(c, r))
			e.Schema, e.Table, e.Column = o.Schema, o.Name, o.Columns[i].Name
			return e
		}
	}
	return nil
}

// rowText prints a row as PostgreSQL's messages do.
func rowText(c *types.Chunk, r int) string {
	var b []byte
	for i := range c.Cols {
		if i > 0 {
			b = append(b, ", "...)
		}
		if c.Cols[i].Null(r) {
			b = append(b, "null"...)
			continue
		}
		b = c.Cols[i].AppendText(b, r)
	}
	return string(b)
}

// matching gives the rows of a table on which pred holds, by look-up if the
// key is fixed. They are gathered first: what a statement writes is not seen
// by itself.
func (s *session) matching(ctx context.Context, w *written, pred expr.Expr, key []expr.Expr) ([]*types.Chunk, error) {
	pins, err := s.pin(ctx, []types.UUID{w.table.ID})
	if err != nil {
		return nil, err
	}
	defer pins.release()
	m := matcher{w: w}
	if pred != nil {
		if m.pred, err = expr.Compile([]expr.Expr{pred}); err != nil {
			return nil, err
		}
		m.pred.Now = s.tx.now
	}
	rd := reader{snap: pins.Snaps[w.table.ID], own: s.tx.writes.of(w.table.ID)}
	if key == nil {
		err = rd.scan(ctx, nil, m.take)
		return m.found, err
	}
	values, ok, err := evalKey(key, s.tx.now)
	if err != nil || !ok {
		return nil, err
	}
	c, err := rd.lookup(ctx, values)
	if err != nil || c.N == 0 {
		return nil, err
	}
	err = m.take(c)
	return m.found, err
}

// matcher keeps the rows that a predicate is true of.
type matcher struct {
	w     *written
	pred  *expr.Program
	sel   []uint16
	errs  expr.Errors
	found []*types.Chunk
}

func (m *matcher) take(c *types.Chunk) error {
	sub := types.Chunk{Cols: c.Cols, Diff: c.Diff, Sel: c.Sel, N: c.N}
	if m.pred != nil {
		m.errs.Reset()
		var err error
		if m.sel, err = m.pred.Filter(c, m.sel, &m.errs); err != nil {
			return err
		}
		if len(m.errs.Errs) > 0 {
			return m.errs.Errs[0]
		}
		if sub.Sel = m.sel; len(m.sel) == 0 {
			return nil
		}
	}
	n := len(m.found)
	if n == 0 || m.found[n-1].N+sub.Rows() > types.MaxChunkRows {
		m.found = append(m.found, types.NewChunk(m.w.writes.types))
		n++
		if err := m.w.writes.buf.fits(m.found); err != nil {
			return err
		}
	}
	sub.Compact(m.found[n-1])
	return nil
}

// update runs UPDATE.
func (s *session) update(ctx context.Context, p *prepared, n *sql.Update, params []types.Datum) (*written, error) {
	plan := p.update
	if s.replan(p) {
		var err error
		if plan, err = planner.PlanUpdate(s.env(p.params, params), n); err != nil {
			return nil, err
		}
	}
	w, err := s.startWrite("UPDATE", plan.Table, plan.Returning, plan.Fields)
	if err != nil {
		return nil, err
	}
	w.notices = plan.Notices
	old, err := s.matching(ctx, w, plan.Pred, plan.Key)
	if err != nil {
		return nil, err
	}
	set, err := expr.Compile(plan.Set)
	if err != nil {
		return nil, err
	}
	set.Now = s.tx.now
	var changed []*types.Chunk // new rows whose key may be another
	for _, c := range old {
		cols, err := w.eval(set, c)
		if err != nil {
			return nil, err
		}
		row := types.NewChunk(w.writes.types)
		(&types.Chunk{Cols: cols, Diff: c.Diff, N: c.N}).Compact(row)
		if err := checkNotNull(w.table, row); err != nil {
			return nil, err
		}
		if err := w.put(c, -1); err != nil {
			return nil, err
		}
		if err := w.put(row, 1); err != nil {
			return nil, err
		}
		w.rows += countRows(row)
		if setsKey(plan) {
			changed = append(changed, row)
		}
		if err := w.give(row); err != nil {
			return nil, err
		}
	}
	if len(changed) == 0 {
		return w, nil
	}
	ins, err := s.newInserter(ctx, w)
	if err != nil {
		return nil, err
	}
	defer ins.close()
	for _, c := range changed {
		if err := ins.checkKeys(c); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// setsKey reports whether an UPDATE may change keys.
func setsKey(p *planner.UpdatePlan) bool {
	for _, k := range p.Table.Key {
		if c, ok := p.Set[k].(*expr.Column); !ok || c.Index != k {
			return true
		}
	}
	return false
}

// delete runs DELETE.
func (s *session) delete(ctx context.Context, p *prepared, n *sql.Delete, params []types.Datum) (*written, error) {
	plan := p.delete
	if s.replan(p) {
		var err error
		if plan, err = planner.PlanDelete(s.env(p.params, params), n); err != nil {
			return nil, err
		}
	}
	w, err := s.startWrite("DELETE", plan.Table, plan.Returning, plan.Fields)
	if err != nil {
		return nil, err
	}
	w.notices = plan.Notices
	return w, s.deleteMatching(ctx, w, plan.Pred, plan.Key)
}

func (s *session) deleteMatching(ctx context.Context, w *written, pred expr.Expr, key []expr.Expr) error {
	old, err := s.matching(ctx, w, pred, key)
	if err != nil {
		return err
	}
	for _, c := range old {
		if err := w.put(c, -1); err != nil {
			return err
		}
		w.rows += countRows(c)
		if err := w.give(c); err != nil {
			return err
		}
	}
	return nil
}

// truncate runs TRUNCATE: it deletes all rows, as part of the transaction.
func (s *session) truncate(ctx context.Context, n *sql.Truncate) (*written, error) {
	var last *written
	for _, name := range n.Names {
		o, err := s.en.Catalog().Resolve(s.settings.searchPath(), name.Parts)
		if err != nil {
			return nil, pgerr.From(err).At(name.Position())
		}
		if o.Kind != catalog.Table {
			return nil, pgerr.New(pgerr.WrongObjectType, "\"%s\" is not a table", o.Name).At(name.Position())
		}
		if last, err = s.startWrite("TRUNCATE", o, nil, nil); err != nil {
			return nil, err
		}
		if err := s.deleteMatching(ctx, last, nil, nil); err != nil {
			return nil, err
		}
	}
	return last, nil
}
