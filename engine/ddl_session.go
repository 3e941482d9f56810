package engine

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/connector/all"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// define runs the statements that change what exists. They are no part of
// transactions: a block refuses them, and among several statements of one
// query string each first commits what came before it.
func (s *session) define(ctx context.Context, st *statement) (*wire.Result, error) {
	if _, ok := st.stmt.(*sql.Checkpoint); ok {
		_, err := s.en.Checkpoint(ctx)
		return &wire.Result{Tag: "CHECKPOINT"}, err
	}
	if d, ok := st.stmt.(*sql.Drop); ok && d.Kind == sql.KindSavepoint {
		return s.dropSavepoints(ctx, st, d)
	}
	tag := definitionTag(st.stmt)
	if err := s.definition(ctx, tag); err != nil {
		return nil, err
	}
	var err error
	switch n := st.stmt.(type) {
	case *sql.CreateTable:
		err = s.createTable(ctx, n)
	case *sql.CreateSource:
		err = s.createSource(ctx, n)
	case *sql.CreateView:
		err = s.createView(ctx, n)
	case *sql.CreateSink:
		err = s.createSink(ctx, n)
	case *sql.Drop:
		err = s.drop(ctx, n)
	case *sql.AlterObject:
		err = s.alter(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	return &wire.Result{Tag: tag}, nil
}

func definitionTag(n sql.Stmt) string {
	switch n := n.(type) {
	case *sql.CreateTable:
		return "CREATE TABLE"
	case *sql.CreateSource:
		return "CREATE SOURCE"
	case *sql.CreateView:
		if n.Materialized {
			return "CREATE MATERIALIZED VIEW"
		}
		return "CREATE VIEW"
	case *sql.CreateSink:
		return "CREATE SINK"
	case *sql.Drop:
		return "DROP " + string(n.Kind)
	case *sql.AlterObject:
		return "ALTER " + string(n.Kind)
	}
	return ""
}

// errTaken ends a CREATE … IF NOT EXISTS of what exists.
var errTaken = errors.New("the name is taken")

// newName gives the schema and name that a CREATE means, errTaken if it may
// be skipped.
func (s *session) newName(n sql.Name, ifNotExists bool) (schema, name string, err error) {
	if schema, name, err = catalog.SplitName(n.Parts); err != nil {
		return "", "", pgerr.From(err).At(n.Position())
	}
	cat := s.en.Catalog()
	if schema == "" {
		i := slices.IndexFunc(s.settings.searchPath(), func(p string) bool { return cat.HasSchema(p) })
		if i < 0 {
			return "", "", pgerr.New(pgerr.InvalidSchemaName, "no schema has been selected to create in").At(n.Position())
		}
		schema = s.settings.searchPath()[i]
	}
	err = cat.CheckFree(schema, name)
	if pgerr.CodeOf(err) == pgerr.DuplicateTable && ifNotExists {
		s.notice("NOTICE", pgerr.New(pgerr.DuplicateTable, "relation \"%s\" already exists, skipping", name))
		return "", "", errTaken
	}
	if err != nil {
		return "", "", pgerr.From(err).At(n.Position())
	}
	return schema, name, nil
}

// skipTaken makes nothing of a CREATE that was skipped.
func skipTaken(err error) error {
	if errors.Is(err, errTaken) {
		return nil
	}
	return err
}

// create puts new objects into the catalog, if their names are still free and
// what they stand on is still there.
func (s *session) create(ctx context.Context, objs ...*catalog.Object) error {
	e, err := s.en.DDL(ctx, func(c *catalog.Catalog) ([]catalog.Change, error) {
		var changes []catalog.Change
		own := map[types.UUID]bool{}
		for _, o := range objs {
			for _, d := range o.Depends {
				if !own[d] && c.ByID(d) == nil {
					return nil, pgerr.New(pgerr.UndefinedTable, "a relation that %s stands on was dropped", o.Describe())
				}
			}
			own[o.ID] = true
			changes = append(changes, catalog.Change{Put: o})
		}
		return changes, nil
	})
	if err == nil {
		s.low = max(s.low, e)
	}
	return err
}

// maxColumns is PostgreSQL's bound on the columns of a relation.
const maxColumns = 1600

func (s *session) createTable(ctx context.Context, n *sql.CreateTable) error {
	switch {
	case n.As != nil:
		return pgerr.Unsupported("CREATE TABLE AS").WithHint("CREATE TABLE, then INSERT INTO … SELECT.").At(n.Position())
	case n.Temporary:
		return pgerr.Unsupported("CREATE TEMPORARY TABLE").At(n.Position())
	}
	schema, name, err := s.newName(n.Name, n.IfNotExists)
	if err != nil {
		return skipTaken(err)
	}
	cols, err := s.columns(name, n.Columns)
	if err != nil {
		return err
	}
	if len(cols) == 0 {
		return pgerr.Unsupported("a table without columns").At(n.Position())
	}
	o := &catalog.Object{ID: types.NewUUID(), Kind: catalog.Table, Schema: schema, Name: name, Columns: cols,
		Status: catalog.Ready, NumGroups: types.KeyGroups}
	if o.Backend, err = tableOptions(n.With); err != nil {
		return err
	}
	if err := primaryKey(o, n); err != nil {
		return err
	}
	for i := range o.Columns {
		if o.Columns[i].Default == "" {
			continue
		}
		if _, err := planner.BindDefault(s.env(nil, nil), o, i); err != nil {
			return err
		}
	}
	return s.create(ctx, o)
}

// columns makes the columns of a CREATE.
func (s *session) columns(table string, defs []sql.ColumnDef) ([]catalog.Column, error) {
	if len(defs) > maxColumns {
		return nil, pgerr.New(pgerr.TooManyColumns, "tables can have at most %d columns", maxColumns)
	}
	var cols []catalog.Column
	for i, d := range defs {
		if slices.ContainsFunc(cols, func(c catalog.Column) bool { return c.Name == d.Name }) {
			return nil, pgerr.New(pgerr.DuplicateColumn, "column \"%s\" specified more than once", d.Name).At(d.Position())
		}
		switch {
		case d.Unique:
			return nil, pgerr.Unsupported("a UNIQUE constraint").WithHint("Only a PRIMARY KEY is kept unique.").At(d.Position())
		case d.Check != nil:
			return nil, pgerr.Unsupported("a CHECK constraint").At(d.Position())
		case d.Other != "":
			return nil, pgerr.Unsupported("%s of column \"%s\"", d.Other, d.Name).At(d.Position())
		}
		t, err := planner.ResolveType(d.Type)
		if err != nil {
			return nil, err
		}
		c := catalog.Column{ID: uint32(i + 1), Name: d.Name, Type: t, NotNull: d.NotNull || d.PrimaryKey}
		if d.Default != nil {
			c.Default = sql.FormatExpr(d.Default)
		}
		cols = append(cols, c)
	}
	return cols, nil
}

// primaryKey reads the key of a CREATE TABLE into o.
func primaryKey(o *catalog.Object, n *sql.CreateTable) error {
	set := func(pos int, names ...string) error {
		if o.Key != nil {
			return pgerr.New(pgerr.InvalidTableDefinition, "multiple primary keys for table \"%s\" are not allowed", o.Name).At(pos)
		}
		for _, c := range names {
			i := o.Column(c)
			if i < 0 {
				return pgerr.New(pgerr.UndefinedColumn, "column \"%s\" named in key does not exist", c).At(pos)
			}
			if slices.Contains(o.Key, i) {
				return pgerr.New(pgerr.DuplicateColumn, "column \"%s\" appears twice in primary key constraint", c).At(pos)
			}
			o.Key = append(o.Key, i)
			o.Columns[i].NotNull = true
		}
		return nil
	}
	for _, d := range n.Columns {
		if d.PrimaryKey {
			if err := set(d.Position(), d.Name); err != nil {
				return err
			}
		}
	}
	for _, c := range n.Constraints {
		if c.Kind != "PRIMARY KEY" {
			return pgerr.Unsupported("a %s constraint", c.Kind).At(c.Position())
		}
		if err := set(c.Position(), c.Columns...); err != nil {
			return err
		}
	}
	return nil
}

// errOption refuses an option that a statement does not have.
func errOption(o sql.Option, what, known string) error {
	return pgerr.New(pgerr.InvalidParameterValue, "%s has no option \"%s\"", what, o.Name).
		WithHint("Its options are: %s.", known).At(o.Position())
}

func optionText(o sql.Option) string {
	if o.Value == nil {
		return ""
	}
	return o.Value.Text
}

func tableOptions(opts []sql.Option) (backend string, err error) {
	for _, o := range opts {
		if o.Name != "state_backend" {
			return "", errOption(o, "a table", "state_backend")
		}
		if backend, err = backendOption(o); err != nil {
			return "", err
		}
	}
	return backend, nil
}

func backendOption(o sql.Option) (string, error) {
	name := optionText(o)
	if _, err := state.Lookup(name); err != nil {
		return "", pgerr.From(err).At(o.Position())
	}
	return name, nil
}

func parallelismOption(o sql.Option) (int, error) {
	n, err := strconv.Atoi(optionText(o))
	if err != nil || n < 1 || n > types.KeyGroups {
		return 0, pgerr.New(pgerr.InvalidParameterValue, "invalid value for option \"%s\": \"%s\"", o.Name, optionText(o)).
			WithHint("It must be an integer from 1 to %d, the number of key groups.", types.KeyGroups).At(o.Position())
	}
	return n, nil
}

// jobOptions takes the options of a job, and the rest, which only a sink may
// have.
func (s *session) jobOptions(o *catalog.Object, opts []sql.Option) (rest map[string]string, err error) {
	o.Parallelism, o.Backend, o.NumGroups = s.en.cfg.Parallelism, s.en.cfg.Backend, types.KeyGroups
	rest = map[string]string{}
	if err := onlyOnce(opts); err != nil {
		return nil, err
	}
	for _, w := range opts {
		switch {
		case w.Name == "parallelism":
			o.Parallelism, err = parallelismOption(w)
		case w.Name == "state_backend":
			o.Backend, err = backendOption(w)
		case o.Kind == catalog.Sink:
			err = addOption(rest, w)
		default:
			err = errOption(w, "a materialized view", "parallelism, state_backend")
		}
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// onlyOnce refuses an option that is given twice.
func onlyOnce(opts []sql.Option) error {
	seen := map[string]bool{}
	for _, w := range opts {
		if seen[w.Name] {
			return pgerr.New(pgerr.SyntaxError, "option \"%s\" given more than once", w.Name).At(w.Position())
		}
		seen[w.Name] = true
	}
	return nil
}

func addOption(m map[string]string, o sql.Option) error {
	if _, twice := m[o.Name]; twice {
		return pgerr.New(pgerr.SyntaxError, "option \"%s\" given more than once", o.Name).At(o.Position())
	}
	m[o.Name] = optionText(o)
	return nil
}

// createView makes a materialized view and waits until it can be read. If
// that takes too long for the client the view exists all the same.
func (s *session) createView(ctx context.Context, n *sql.CreateView) error {
	switch {
	case !n.Materialized:
		return pgerr.Unsupported("CREATE VIEW").WithHint("Use CREATE MATERIALIZED VIEW.").At(n.Position())
	case n.OrReplace:
		return pgerr.Unsupported("CREATE OR REPLACE MATERIALIZED VIEW").WithHint("DROP it first.").At(n.Position())
	}
	schema, name, err := s.newName(n.Name, n.IfNotExists)
	if err != nil {
		return skipTaken(err)
	}
	o := &catalog.Object{ID: types.NewUUID(), Kind: catalog.MaterializedView, Schema: schema, Name: name,
		Status: catalog.Ready, Definition: n.Text}
	if _, err := s.jobOptions(o, n.With); err != nil {
		return err
	}
	planned, err := planner.PlanView(s.env(nil, nil), n.Query, n.Columns)
	if err != nil {
		return err
	}
	if err := s.standOn(o, planned); err != nil {
		return err
	}
	return s.createJob(ctx, o, planned)
}

func (s *session) createSink(ctx context.Context, n *sql.CreateSink) error {
	schema, name, err := s.newName(n.Name, n.IfNotExists)
	if err != nil {
		return skipTaken(err)
	}
	o := &catalog.Object{ID: types.NewUUID(), Kind: catalog.Sink, Schema: schema, Name: name,
		Status: catalog.Ready, Definition: n.Text}
	if o.Options, err = s.jobOptions(o, n.With); err != nil {
		return err
	}
	planned, err := planner.PlanSink(s.env(nil, nil), n.Query)
	if err != nil {
		return err
	}
	if err := s.standOn(o, planned); err != nil {
		return err
	}
	if err := s.en.tryOpen(o); err != nil {
		return err
	}
	return s.createJob(ctx, o, planned)
}

// standOn takes what a job's object has from its plan.
func (s *session) standOn(o *catalog.Object, p *planner.Planned) error {
	if len(p.Fields) == 0 {
		return pgerr.Unsupported("a query without columns here")
	}
	for _, id := range p.Depends {
		if isSystem(id) {
			return pgerr.Unsupported("a continuous query over \"streamdb.%s\"", systemByID[id].obj.Name).
				WithHint("Its rows are those of the moment. SELECT from it.")
		}
	}
	o.Depends, o.Key, o.Plan = p.Depends, p.Plan.Key, planner.EncodePlan(p.Plan)
	for i, f := range p.Fields {
		o.Columns = append(o.Columns, catalog.Column{ID: uint32(i + 1), Name: f.Name, Type: f.Type, NotNull: f.NotNull})
	}
	return nil
}

func (s *session) createJob(ctx context.Context, o *catalog.Object, p *planner.Planned) error {
	s.notices(p.Notices)
	if err := s.create(ctx, o); err != nil {
		return err
	}
	err := s.en.WaitReady(ctx, o.ID)
	if err != nil && ctx.Err() != nil {
		e := *pgerr.From(timedOut(ctx, err))
		if e.Code == pgerr.InternalError {
			e = *pgerr.New(pgerr.QueryCanceled, "canceling statement due to user request")
		}
		return e.WithDetail("%s exists and goes on being built.", o.Describe()).WithHint("SHOW JOBS tells its progress.")
	}
	return err
}

func (s *session) createSource(ctx context.Context, n *sql.CreateSource) error {
	schema, name, err := s.newName(n.Name, n.IfNotExists)
	if err != nil {
		return skipTaken(err)
	}
	src := &catalog.Object{ID: types.NewUUID(), Kind: catalog.Source, Schema: schema, Name: name, Status: catalog.Ready,
		Options: map[string]string{}, StartTime: s.en.now()}
	for _, o := range n.With {
		if err := addOption(src.Options, o); err != nil {
			return err
		}
	}
	for _, d := range n.Columns {
		if d.PrimaryKey || d.Default != nil {
			return pgerr.Unsupported("a key or a default of a source's column").At(d.Position())
		}
	}
	if src.Columns, err = s.columns(name, n.Columns); err != nil {
		return err
	}
	objs, err := sourceObjects(s.en.Catalog(), src)
	if err != nil {
		return err
	}
	if err := s.en.tryOpen(src); err != nil {
		return err
	}
	return s.create(ctx, objs...)
}

// sourceObjects gives a source with all its parts: its relation, or a schema
// of its name with its relations.
func sourceObjects(cat *catalog.Catalog, src *catalog.Object) ([]*catalog.Object, error) {
	f, err := all.Source(src.Options["connector"])
	if err != nil {
		return nil, err
	}
	rels, err := f.Relations(sourceSpec(src))
	if err != nil {
		return nil, err
	}
	objs := []*catalog.Object{src}
	schema := src.Schema
	if len(rels) > 1 {
		if err := cat.CheckFreeSchema(src.Name); err != nil {
			return nil, err
		}
		schema = src.Name
		objs = append(objs, &catalog.Object{ID: types.NewUUID(), Kind: catalog.Schema, Name: src.Name,
			Status: catalog.Ready, Depends: []types.UUID{src.ID}})
	}
	for _, r := range rels {
		o := &catalog.Object{ID: types.NewUUID(), Kind: catalog.SourceRelation, Schema: schema, Name: r.Name, Relation: r.Name,
			Status: catalog.Ready, Depends: []types.UUID{src.ID}}
		if len(rels) == 1 {
			o.Name = src.Name
		}
		for i, c := range r.Schema {
			o.Columns = append(o.Columns, catalog.Column{ID: uint32(i + 1), Name: c.Name, Type: c.Type, NotNull: c.NotNull})
		}
		objs = append(objs, o)
	}
	return objs, nil
}

// dropKinds are what DROP can name.
var dropKinds = map[sql.ObjectKind]catalog.Kind{
	sql.KindTable: catalog.Table, sql.KindSource: catalog.Source, sql.KindSink: catalog.Sink,
	sql.KindMaterializedView: catalog.MaterializedView, sql.KindSchema: catalog.Schema,
}

func (s *session) drop(ctx context.Context, n *sql.Drop) error {
	kind, ok := dropKinds[n.Kind]
	if !ok {
		return pgerr.Unsupported("DROP %s", n.Kind).At(n.Position())
	}
	req := catalog.DropRequest{SearchPath: s.settings.searchPath(), Kind: kind, IfExists: n.IfExists, Cascade: n.Cascade}
	for _, name := range n.Names {
		req.Names = append(req.Names, name.Parts)
	}
	plan, err := catalog.PlanDrop(s.en.Catalog(), req)
	if err != nil {
		return err
	}
	for _, o := range plan.Dropped {
		if o.Schema == catalog.StreamDB {
			return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: \"%s\" is a system table", o.Title())
		}
	}
	if len(plan.Changes) > 0 {
		e, err := s.en.DDL(ctx, func(c *catalog.Catalog) ([]catalog.Change, error) {
			if plan, err = catalog.PlanDrop(c, req); err != nil {
				return nil, err
			}
			return plan.Changes, nil
		})
		if err != nil {
			return err
		}
		s.low = max(s.low, e)
	}
	s.notices(plan.Notices)
	return nil
}

// alter runs ALTER … SUSPEND, RESUME and SET (…) of a job.
func (s *session) alter(ctx context.Context, n *sql.AlterObject) error {
	what := "ALTER " + string(n.Kind)
	kind := dropKinds[n.Kind]
	if kind != catalog.MaterializedView && kind != catalog.Sink {
		return pgerr.Unsupported("%s … %s", what, n.Action).At(n.Position())
	}
	o, err := s.en.Catalog().Resolve(s.settings.searchPath(), n.Name.Parts)
	if err != nil {
		return pgerr.From(err).At(n.Name.Position())
	}
	if o.Kind != kind {
		return pgerr.New(pgerr.WrongObjectType, "\"%s\" is not a %s", o.Name, kind).At(n.Name.Position())
	}
	switch n.Action {
	case "SUSPEND":
		return s.en.Suspend(ctx, o.ID)
	case "RESUME":
		return s.en.Resume(ctx, o.ID)
	case "SET":
		parallelism, backend := 0, ""
		for _, w := range n.With {
			switch w.Name {
			case "parallelism":
				parallelism, err = parallelismOption(w)
			case "state_backend":
				backend, err = backendOption(w)
			default:
				err = errOption(w, what+" … SET", "parallelism, state_backend")
			}
			if err != nil {
				return err
			}
		}
		return s.en.Alter(ctx, o.ID, parallelism, backend)
	}
	return pgerr.Unsupported("%s … %s", what, n.Action).WithHint("There are SUSPEND, RESUME and SET (…).").At(n.Position())
}

// savepointStatement runs SAVEPOINT, a subtransaction in a block and a
// stream savepoint outside, and CREATE SAVEPOINT, always the latter.
func (s *session) savepointStatement(ctx context.Context, st *statement, n *sql.Savepoint) (*wire.Result, error) {
	what := "SAVEPOINT"
	if n.Stream {
		what = "CREATE SAVEPOINT"
	}
	for _, o := range n.With {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "%s has no option \"%s\"", what, o.Name).
			WithHint("It has none.").At(o.Position())
	}
	if !n.Stream && s.tx != nil && s.tx.explicit {
		return &wire.Result{Tag: what}, s.subtransaction(n.Name)
	}
	if err := s.standsAlone(st, what); err != nil {
		return nil, err
	}
	return &wire.Result{Tag: what}, s.en.CreateSavepoint(ctx, n.Name)
}

// releaseStatement runs RELEASE SAVEPOINT.
func (s *session) releaseStatement(ctx context.Context, st *statement, n *sql.ReleaseSavepoint) (*wire.Result, error) {
	done := &wire.Result{Tag: "RELEASE"}
	if s.tx != nil && s.tx.explicit {
		return done, s.tx.release(n.Name)
	}
	if err := s.standsAlone(st, "RELEASE SAVEPOINT"); err != nil {
		return nil, err
	}
	return done, s.en.ReleaseSavepoint(ctx, n.Name)
}

// dropSavepoints runs DROP SAVEPOINT.
func (s *session) dropSavepoints(ctx context.Context, st *statement, n *sql.Drop) (*wire.Result, error) {
	if err := s.standsAlone(st, "DROP SAVEPOINT"); err != nil {
		return nil, err
	}
	for _, name := range n.Names {
		err := s.en.ReleaseSavepoint(ctx, name.Parts[len(name.Parts)-1])
		if n.IfExists && pgerr.CodeOf(err) == pgerr.InvalidSavepoint {
			s.notice("NOTICE", pgerr.New(pgerr.SuccessfulCompletion, "%s, skipping", pgerr.From(err).Message))
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return &wire.Result{Tag: "DROP SAVEPOINT"}, nil
}

// rollbackToStatement runs ROLLBACK TO SAVEPOINT: of a subtransaction in a
// block, of the database outside.
func (s *session) rollbackToStatement(ctx context.Context, st *statement, n *sql.RollbackTo) (*wire.Result, error) {
	done := &wire.Result{Tag: "ROLLBACK"}
	if s.tx != nil && s.tx.explicit {
		if n.Cascade || len(n.With) > 0 {
			return nil, pgerr.New(pgerr.ActiveTransaction, "a rollback of the database cannot run inside a transaction block").
				WithHint("CASCADE and WITH belong to it. COMMIT or ROLLBACK first.")
		}
		if err := s.grounded(); err != nil {
			return nil, err
		}
		return done, s.rollbackTo(n.Name)
	}
	if err := s.standsAlone(st, "ROLLBACK TO SAVEPOINT"); err != nil {
		return nil, err
	}
	opts, err := rollbackOptions(n)
	if err != nil {
		return nil, err
	}
	report, err := s.en.RollbackTo(ctx, n.Name, opts)
	if err != nil {
		return nil, err
	}
	note := pgerr.New(pgerr.SuccessfulCompletion, "the state before the rollback was saved as savepoint \"%s\"", report.AutoSavepoint).
		WithHint("ROLLBACK TO SAVEPOINT %s CASCADE undoes the rollback.", report.AutoSavepoint)
	if len(report.Lines) > 0 {
		note = note.WithDetail("%s", strings.Join(report.Lines, "\n"))
	}
	s.notice("NOTICE", note)
	return done, nil
}

func rollbackOptions(n *sql.RollbackTo) (RollbackOptions, error) {
	opts := RollbackOptions{Cascade: n.Cascade}
	var err error
	for _, o := range n.With {
		switch o.Name {
		case "parallelism":
			opts.Parallelism, err = parallelismOption(o)
		case "state_backend":
			opts.Backend, err = backendOption(o)
		case "append_only_sinks":
			if opts.KeepAppendOnlySinks = optionText(o) == "keep"; !opts.KeepAppendOnlySinks {
				err = pgerr.New(pgerr.InvalidParameterValue, "invalid value for option \"%s\": \"%s\"", o.Name, optionText(o)).
					WithHint("It can be 'keep': their output stays as it is.").At(o.Position())
			}
		default:
			err = errOption(o, "ROLLBACK TO SAVEPOINT", "parallelism, state_backend, append_only_sinks")
		}
		if err != nil {
			return opts, err
		}
	}
	return opts, nil
}
