package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// prepared is an analysed statement. What it caches is good for one catalog
// version and search_path.
type prepared struct {
	st     *statement
	params []types.Type
	fields []wire.Field

	query   *sql.Query // of a SELECT, with the session's functions filled in
	point   *pointRead // the statement reads one row by its key
	plan    *queryPlan // made without parameters' values; nil if there are some
	insert  *planner.InsertPlan
	update  *planner.UpdatePlan
	delete  *planner.DeletePlan
	version types.Version
	path    string
}

// ParamTypes implements wire.Prepared.
func (p *prepared) ParamTypes() []types.Type { return p.params }

// Fields implements wire.Prepared.
func (p *prepared) Fields() []wire.Field { return p.fields }

var errFailedBlock = pgerr.New(pgerr.InFailedTransaction,
	"current transaction is aborted, commands ignored until end of transaction block")

// admit refuses a statement in a failed block, unless it can end it.
func (s *session) admit(n sql.Stmt) error {
	if s.tx == nil {
		return nil
	}
	switch n := n.(type) {
	case *sql.RollbackTo:
		return nil
	case *sql.Transaction:
		if n.Kind != "BEGIN" {
			return nil
		}
	}
	if s.tx.failed {
		return errFailedBlock
	}
	return s.grounded()
}

// Prepare implements wire.Session.
func (s *session) Prepare(ctx context.Context, ws wire.Statement, paramOIDs []uint32) (wire.Prepared, error) {
	st, ok := ws.(*statement)
	if !ok {
		return nil, pgerr.Internal("a statement of another engine")
	}
	if err := s.admit(st.stmt); err != nil {
		return nil, err
	}
	params := make([]types.Type, len(paramOIDs))
	for i, oid := range paramOIDs {
		if oid == 0 {
			continue
		}
		t, known := types.TypeByOID(oid, -1)
		if !known {
			var err error
			if t, err = paramType(oid, i+1); err != nil {
				return nil, err
			}
		}
		params[i] = t
	}
	return s.prepare(st, params)
}

// paramType stands in for the types of PostgreSQL that clients name for
// parameters and streamdb does not have: those that read the same text.
func paramType(oid uint32, n int) (types.Type, error) {
	const varchar, bpchar, name, int2 = 1043, 1042, 19, 21
	switch oid {
	case varchar, bpchar, name:
		return types.T(types.Text), nil
	case int2:
		return types.Type{}, nil // inferred
	}
	return types.Type{}, pgerr.Unsupported("the type of parameter $%d (OID %d)", n, oid).
		WithHint("Leave the parameter's type open, or cast it in the query.")
}

// prepare analyses a statement; params are the declared types.
func (s *session) prepare(st *statement, params []types.Type) (*prepared, error) {
	p := &prepared{st: st, version: s.en.Catalog().Version(), path: s.settings.get("search_path")}
	var err error
	switch n := st.stmt.(type) {
	case *sql.QueryStmt:
		err = s.prepareQuery(p, n.Query, params)
	case *sql.Insert:
		if p.insert, err = planner.PlanInsert(s.env(params, nil), n); err == nil {
			p.params, p.fields = p.insert.Source.ParamTypes, fieldsOf(p.insert.Fields)
		}
	case *sql.Update:
		if p.update, err = planner.PlanUpdate(s.env(params, nil), n); err == nil {
			p.params, p.fields = p.update.ParamTypes, fieldsOf(p.update.Fields)
		}
	case *sql.Delete:
		if p.delete, err = planner.PlanDelete(s.env(params, nil), n); err == nil {
			p.params, p.fields = p.delete.ParamTypes, fieldsOf(p.delete.Fields)
		}
	case *sql.Explain:
		p.fields = textFields("QUERY PLAN")
	case *sql.Show:
		p.fields, err = s.showFields(n)
	case *sql.Execute:
		var named *namedStatement
		if named, err = s.named(n.Name); err == nil {
			p.fields = named.prepared.fields
		}
	case *sql.Unsupported:
		err = pgerr.Unsupported("%s", n.What).At(n.Position())
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// fieldsOf gives result columns, nil for none.
func fieldsOf(cols []types.Column) []wire.Field {
	if cols == nil {
		return nil
	}
	fs := make([]wire.Field, len(cols))
	for i, c := range cols {
		fs[i] = wire.Field{Name: c.Name, Type: c.Type}
	}
	return fs
}

func textFields(names ...string) []wire.Field {
	fs := make([]wire.Field, len(names))
	for i, n := range names {
		fs[i] = wire.Field{Name: n, Type: types.T(types.Text)}
	}
	return fs
}

// env is what statements are planned in.
func (s *session) env(params []types.Type, values []types.Datum) *planner.Env {
	now := s.en.now()
	if s.tx != nil {
		now = s.tx.now
	}
	return &planner.Env{Catalog: s.en.Catalog(), SearchPath: s.settings.searchPath(), ParamTypes: params,
		Params: values, Now: now, ExtraRelations: systemObject}
}

// Execute implements wire.Session.
func (s *session) Execute(ctx context.Context, wp wire.Prepared, params []types.Datum) (*wire.Result, error) {
	p, ok := wp.(*prepared)
	if !ok {
		return nil, pgerr.Internal("a prepared statement of another engine")
	}
	if err := s.admit(p.st.stmt); err != nil {
		return nil, err
	}
	if err := s.en.err(); err != nil {
		return nil, err
	}
	timeout := s.settings.statementTimeout()
	if timeout == 0 {
		return s.execute(ctx, p, params)
	}
	tctx, cancel := context.WithTimeoutCause(ctx, timeout, errStatementTimeout)
	res, err := s.execute(tctx, p, params)
	switch {
	case err != nil:
		err = timedOut(tctx, err)
		cancel()
		return nil, err
	case res.CopyIn != nil:
		run := res.CopyIn.Run
		res.CopyIn.Run = inTime(run, timeout)
	case res.CopyOut != nil:
		run := res.CopyOut.Run
		res.CopyOut.Run = inTime(run, timeout)
	}
	cancel()
	return res, nil
}

var errStatementTimeout = pgerr.New(pgerr.QueryCanceled, "canceling statement due to statement timeout")

// timedOut gives the timeout's error if that is why a statement failed.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStatementTimeout) {
		if c := pgerr.CodeOf(err); c == pgerr.QueryCanceled || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return errStatementTimeout
		}
	}
	return err
}

// inTime bounds a COPY by the statement timeout.
func inTime[T any](run func(context.Context, T) (string, error), timeout time.Duration) func(context.Context, T) (string, error) {
	return func(ctx context.Context, x T) (string, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, errStatementTimeout)
		defer cancel()
		tag, err := run(ctx, x)
		if err != nil {
			return "", timedOut(ctx, err)
		}
		return tag, nil
	}
}

// execute runs a statement.
func (s *session) execute(ctx context.Context, p *prepared, params []types.Datum) (*wire.Result, error) {
	switch n := p.st.stmt.(type) {
	case *sql.Transaction:
		return s.transactionStatement(ctx, n)
	case *sql.Savepoint:
		return s.savepointStatement(ctx, p.st, n)
	case *sql.ReleaseSavepoint:
		return s.releaseStatement(ctx, p.st, n)
	case *sql.RollbackTo:
		return s.rollbackToStatement(ctx, p.st, n)
	case *sql.CreateTable, *sql.CreateSource, *sql.CreateView, *sql.CreateSink, *sql.Drop, *sql.AlterObject, *sql.Checkpoint:
		return s.define(ctx, p.st)
	}
	tx := s.open()
	tx.statements++
	if tx.statements > 1 {
		tx.again = nil
	}
	tx.queries++
	switch n := p.st.stmt.(type) {
	case *sql.QueryStmt:
		return s.executeQuery(ctx, p, params)
	case *sql.Insert, *sql.Update, *sql.Delete, *sql.Truncate:
		return s.executeWrite(ctx, p, params)
	case *sql.Copy:
		return s.executeCopy(ctx, n)
	case *sql.Execute:
		return s.executeNamed(ctx, n)
	case *sql.Explain:
		return s.executeExplain(n)
	case *sql.Subscribe:
		return nil, pgerr.Unsupported("SUBSCRIBE as a statement of its own").
			WithHint("Write COPY (SUBSCRIBE TO relation) TO STDOUT.").At(n.Position())
	}
	tx.queries--
	return s.executeSession(p)
}

// executeSession runs the statements that concern only the session.
func (s *session) executeSession(p *prepared) (*wire.Result, error) {
	switch n := p.st.stmt.(type) {
	case *sql.Set:
		return s.set(n)
	case *sql.Reset:
		return s.reset(n)
	case *sql.Show:
		return s.show(n)
	case *sql.Prepare:
		return s.prepareNamed(n)
	case *sql.Deallocate:
		return s.deallocate(n)
	case *sql.Discard:
		return s.discard(n)
	}
	return nil, pgerr.Internal("no execution of %T", p.st.stmt)
}

// errResultType refuses a prepared statement whose shape, which the client was
// told, has changed with the catalog.
var errResultType = pgerr.New(pgerr.FeatureNotSupported, "cached plan must not change result type").
	WithHint("Prepare the statement again.")

// stale reports whether what p caches may no longer hold.
func (s *session) stale(p *prepared) bool {
	return p.version != s.en.Catalog().Version() || p.path != s.settings.get("search_path")
}

// renew analyses a statement again after the catalog changed. Its shape has
// been told to the client and must be the same.
func (s *session) renew(p *prepared) error {
	q, err := s.prepare(p.st, p.params)
	if err != nil {
		return err
	}
	if !slices.Equal(q.fields, p.fields) {
		return errResultType
	}
	*p = *q
	return nil
}

// namedStatement is a statement that PREPARE made.
type namedStatement struct{ prepared *prepared }

// maxNamed bounds the statements that a session keeps by PREPARE.
const maxNamed = 10_000

func (s *session) named(name string) (*namedStatement, error) {
	n := s.prepared[name]
	if n == nil {
		return nil, pgerr.New(pgerr.InvalidStatementName, "prepared statement \"%s\" does not exist", name)
	}
	return n, nil
}

func (s *session) prepareNamed(n *sql.Prepare) (*wire.Result, error) {
	if s.prepared[n.Name] != nil {
		return nil, pgerr.New(pgerr.DuplicatePreparedStmt, "prepared statement \"%s\" already exists", n.Name)
	}
	if len(s.prepared) >= maxNamed {
		return nil, pgerr.New(pgerr.ConfigurationLimit, "too many prepared statements in this session").
			WithHint("A session keeps at most %d; DEALLOCATE some.", maxNamed)
	}
	ts := make([]types.Type, len(n.Types))
	for i, t := range n.Types {
		var err error
		if ts[i], err = planner.ResolveType(t); err != nil {
			return nil, err
		}
	}
	p, err := s.prepare(&statement{stmt: n.Stmt, text: n.Text}, ts)
	if err != nil {
		return nil, err
	}
	s.prepared[n.Name] = &namedStatement{prepared: p}
	return &wire.Result{Tag: "PREPARE"}, nil
}

func (s *session) executeNamed(ctx context.Context, n *sql.Execute) (*wire.Result, error) {
	named, err := s.named(n.Name)
	if err != nil {
		return nil, err
	}
	p := named.prepared
	if len(n.Args) != len(p.params) {
		return nil, pgerr.New(pgerr.SyntaxError, "wrong number of parameters for prepared statement \"%s\"", n.Name).
			WithDetail("Expected %d parameters but got %d.", len(p.params), len(n.Args))
	}
	params, err := s.arguments(n.Args, p.params)
	if err != nil {
		return nil, err
	}
	switch p.st.stmt.(type) {
	case *sql.QueryStmt:
		return s.executeQuery(ctx, p, params)
	case *sql.Insert, *sql.Update, *sql.Delete:
		return s.executeWrite(ctx, p, params)
	}
	return nil, pgerr.Unsupported("EXECUTE of such a statement").At(n.Position())
}

// arguments evaluates the arguments of EXECUTE as values of the types.
func (s *session) arguments(args []sql.Expr, ts []types.Type) ([]types.Datum, error) {
	if len(args) == 0 {
		return nil, nil
	}
	none := &catalog.Object{Name: "EXECUTE"}
	out := make([]types.Datum, len(args))
	for i, a := range args {
		if l, ok := a.(*sql.Literal); ok && l.Kind == sql.LitString { // of yet unknown type
			d, err := types.ParseText(ts[i], l.Text)
			if err != nil {
				return nil, pgerr.From(err).At(l.Position())
			}
			out[i] = d
			continue
		}
		x, err := planner.BindTableExprs(s.env(nil, nil), none, "EXECUTE parameters", a)
		if err != nil {
			return nil, err
		}
		if c, ok := x[0].(*expr.Const); ok && c.Value.Null {
			out[i] = types.NullOf(ts[i])
			continue
		}
		cast, err := expr.Cast(x[0], ts[i], expr.Assignment, a.Position())
		if err != nil {
			return nil, err
		}
		if out[i], err = expr.EvalConstAt(cast, s.open().now); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *session) deallocate(n *sql.Deallocate) (*wire.Result, error) {
	wired, _ := s.client.(wire.PreparedStatements)
	switch {
	case n.Name == "":
		clear(s.prepared)
		if wired != nil {
			wired.DeallocateAll()
		}
		return &wire.Result{Tag: "DEALLOCATE ALL"}, nil
	case s.prepared[n.Name] != nil:
		delete(s.prepared, n.Name)
	case wired != nil:
		if err := wired.Deallocate(n.Name); err != nil {
			return nil, err
		}
	default:
		return nil, pgerr.New(pgerr.InvalidStatementName, "prepared statement \"%s\" does not exist", n.Name)
	}
	return &wire.Result{Tag: "DEALLOCATE"}, nil
}

func (s *session) discard(n *sql.Discard) (*wire.Result, error) {
	if n.What == "ALL" {
		if s.tx.explicit {
			return nil, pgerr.New(pgerr.ActiveTransaction, "DISCARD ALL cannot run inside a transaction block")
		}
		if _, err := s.deallocate(&sql.Deallocate{}); err != nil {
			return nil, err
		}
		s.settings.values = settingValues{}
		s.report()
	}
	return &wire.Result{Tag: fmt.Sprintf("DISCARD %s", n.What)}, nil
}
