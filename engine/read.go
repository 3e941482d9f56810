package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/exec/build"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// sortBytes bounds the memory of an ad-hoc read's ORDER BY.
const sortBytes = 256 << 20

// queryPlan is a planned ad-hoc query, ready to run any number of times.
type queryPlan struct {
	planned *planner.Planned
	graph   *exec.Graph
}

// prepareQuery analyses a SELECT. A plan without parameters is kept.
func (s *session) prepareQuery(p *prepared, q *sql.Query, params []types.Type) error {
	p.query = s.fillFunctions(q)
	if p.point = s.pointRead(p.query, params); p.point != nil {
		p.params, p.fields = p.point.params, p.point.fields
		return nil
	}
	planned, err := planner.PlanQuery(s.env(params, nil), p.query)
	if err != nil {
		return err
	}
	p.params, p.fields = planned.ParamTypes, fieldsOf(planned.Fields)
	if p.fields == nil {
		p.fields = []wire.Field{}
	}
	if len(p.params) > 0 {
		return nil // planned again with their values
	}
	p.plan, err = newQueryPlan(planned)
	return err
}

func newQueryPlan(planned *planner.Planned) (*queryPlan, error) {
	g, err := build.Graph(planned.Plan)
	if err != nil {
		return nil, err
	}
	return &queryPlan{planned: planned, graph: g}, nil
}

// executeQuery starts a SELECT: it pins what it reads; the rows are computed
// as the client takes them.
func (s *session) executeQuery(ctx context.Context, p *prepared, params []types.Datum) (*wire.Result, error) {
	if s.stale(p) {
		if err := s.renew(p); err != nil {
			return nil, err
		}
	}
	if p.point != nil {
		return s.executePoint(ctx, p, params)
	}
	plan := p.plan
	if plan == nil {
		planned, err := planner.PlanQuery(s.env(p.params, params), p.query)
		if err != nil {
			return nil, err
		}
		if plan, err = newQueryPlan(planned); err != nil {
			return nil, err
		}
	}
	s.notices(plan.planned.Notices)
	rows, err := s.startQuery(ctx, plan)
	if err != nil {
		return nil, err
	}
	return &wire.Result{Fields: p.fields, Rows: rows}, nil
}

// startQuery pins what a plan reads and readies its rows.
func (s *session) startQuery(ctx context.Context, plan *queryPlan) (*queryRows, error) {
	r := &queryRows{s: s, plan: plan}
	var ids []types.UUID
	for i := range plan.planned.Plan.Inputs {
		id := plan.planned.Plan.Inputs[i].Relation
		if !isSystem(id) {
			ids = append(ids, id)
		}
	}
	r.ids = ids
	var err error
	if r.pins, err = s.pin(ctx, ids); err != nil {
		return nil, err
	}
	if err := s.warnOfErrors(ids); err != nil {
		r.pins.release()
		return nil, err
	}
	if s.tx != nil {
		r.now = s.tx.now
		r.readOwn(s.tx.writes, ids)
	}
	var cancel context.CancelCauseFunc
	r.ctx, cancel = context.WithCancelCause(s.ctx)
	r.cancel = cancel
	if d := s.settings.statementTimeout(); d > 0 {
		r.ctx, r.stopTimer = context.WithTimeoutCause(r.ctx, d, errStatementTimeout)
	}
	r.next, r.stop = iter.Pull(r.run)
	return r, nil
}

// pinned is what a statement reads. Borrowed pins belong to the transaction.
type pinned struct {
	*Pins
	borrowed bool
}

func (p *pinned) release() {
	if p.Pins != nil && !p.borrowed {
		p.Release()
	}
}

// pin gives snapshots of relations at one epoch: in READ COMMITTED the
// newest, else the transaction's.
func (s *session) pin(ctx context.Context, ids []types.UUID) (pinned, error) {
	tx := s.tx
	if tx != nil && tx.level != readCommitted {
		return s.pinRepeatable(ctx, tx, ids)
	}
	p, err := s.en.Pin(ctx, ids, s.low)
	if err != nil {
		return pinned{}, err
	}
	s.low = max(s.low, p.Epoch)
	return pinned{Pins: p}, nil
}

// pinRepeatable reads at the epoch of the transaction's first statement. All
// tables are held there at once, for the statements to come; a view that is
// behind is waited for.
func (s *session) pinRepeatable(ctx context.Context, tx *transaction, ids []types.UUID) (pinned, error) {
	if tx.pins == nil {
		p, err := s.en.Pin(ctx, ids, s.low)
		if err != nil {
			return pinned{}, err
		}
		tx.pins = p
		s.low = max(s.low, p.Epoch)
		for _, o := range s.en.Catalog().Objects(catalog.Table, catalog.MaterializedView) {
			if p.Snaps[o.ID] != nil {
				continue
			}
			if r, err := s.en.Relation(o.ID); err == nil {
				if snap, err := r.Pin(p.Epoch); err == nil {
					p.Snaps[o.ID] = snap
				}
			}
		}
		return pinned{Pins: p, borrowed: true}, nil
	}
	for _, id := range ids {
		if tx.pins.Snaps[id] != nil {
			continue
		}
		r, err := s.en.Relation(id)
		if err != nil {
			return pinned{}, err
		}
		if err := r.Wait(ctx, tx.pins.Epoch); err != nil {
			return pinned{}, err
		}
		snap, err := r.Pin(tx.pins.Epoch)
		if errors.Is(err, relation.ErrNotReadable) {
			return pinned{}, pgerr.New(pgerr.SnapshotTooOld, "snapshot too old").
				WithDetail("A relation is no longer kept as it was at the transaction's first statement.").
				WithHint("Run the transaction again.")
		}
		if err != nil {
			return pinned{}, err
		}
		tx.pins.Snaps[id] = snap
	}
	return pinned{Pins: tx.pins, borrowed: true}, nil
}

// warnOfErrors tells of views that lack rows on which an expression failed;
// under streamdb.strict that is an error.
func (s *session) warnOfErrors(ids []types.UUID) error {
	for _, id := range ids {
		n, name := s.en.standingErrors(id)
		if n == 0 {
			continue
		}
		rows := "1 row"
		if n != 1 {
			rows = fmt.Sprintf("%d rows", n)
		}
		msg := fmt.Sprintf("materialized view \"%s\" stands without %s that could not be computed", name, rows)
		const hint = "SELECT * FROM streamdb.errors shows them."
		if s.settings.bool("streamdb.strict") {
			return pgerr.New(pgerr.ObjectNotInPrerequisite, "%s", msg).WithHint("%s", hint)
		}
		s.notice("WARNING", pgerr.New(pgerr.Warning, "%s", msg).WithHint("%s", hint))
	}
	return nil
}

// queryRows is a running SELECT: a coroutine that computes while the client
// waits for the next chunk.
type queryRows struct {
	s     *session
	plan  *queryPlan
	pins  pinned
	own   map[types.UUID]*tableWrites // the transaction's writes that it reads
	rest  []*types.Chunk              // computed before they were asked for
	ids   []types.UUID                // of what is pinned
	begun bool                        // the first rows were computed
	now   types.Micros

	ctx       context.Context // of the query; Next's end it too
	cancel    context.CancelCauseFunc
	stopTimer context.CancelFunc
	next      func() (*types.Chunk, bool)
	stop      func()
	err       error
}

// errNoMore tells the query that its rows are no longer wanted.
var errNoMore = errors.New("the rows are no longer wanted")

// run is the coroutine.
func (r *queryRows) run(yield func(*types.Chunk) bool) {
	r.err = r.execute(func(c *types.Chunk) error {
		if !yield(c) {
			return errNoMore
		}
		return nil
	})
}

// execute computes the rows.
func (r *queryRows) execute(out func(*types.Chunk) error) error {
	backend, err := state.Lookup(adhocBackend)
	if err != nil {
		return err
	}
	return exec.Run(r.ctx, exec.Query{
		Graph: r.plan.graph, Info: types.EpochInfo{ID: r.pins.Epoch, Now: r.now}, Backend: backend,
		Feed: r.feed, Out: out, SortBytes: sortBytes,
	})
}

// adhocBackend keeps the state of ad-hoc reads.
const adhocBackend = "memory"

// feed pushes an input's rows.
func (r *queryRows) feed(input int, push func(*types.Chunk) error) error {
	in := &r.plan.planned.Plan.Inputs[input]
	n := narrow{cols: in.Columns}
	if isSystem(in.Relation) {
		chunks, err := r.s.en.systemChunks(in.Relation)
		if err != nil {
			return err
		}
		for _, c := range chunks {
			if err := push(n.of(c)); err != nil {
				return err
			}
		}
		return nil
	}
	rd := reader{snap: r.pins.Snaps[in.Relation], own: r.own[in.Relation]}
	if in.Point != nil {
		key, ok, err := evalKey(in.Point, r.now)
		if err != nil || !ok {
			return err
		}
		c, err := rd.lookup(r.ctx, key)
		if err != nil || c.N == 0 {
			return err
		}
		return push(n.of(c))
	}
	return rd.scan(r.ctx, in.Columns, func(c *types.Chunk) error { return push(n.of(c)) })
}

// evalKey evaluates the constants of a look-up; false if one is NULL, which
// no key equals.
func evalKey(es []expr.Expr, now types.Micros) ([]types.Datum, bool, error) {
	key := make([]types.Datum, len(es))
	for i, e := range es {
		var err error
		if key[i], err = expr.EvalConstAt(e, now); err != nil {
			return nil, false, err
		}
		if key[i].Null {
			return nil, false, nil
		}
	}
	return key, true, nil
}

// narrow gives the wanted columns of chunks.
type narrow struct {
	cols []int
	c    types.Chunk
}

func (n *narrow) of(c *types.Chunk) *types.Chunk {
	if n.c.Cols == nil {
		n.c.Cols = make([]types.Vec, len(n.cols))
	}
	for i, col := range n.cols {
		n.c.Cols[i] = c.Cols[col]
	}
	n.c.Diff, n.c.Sel, n.c.N = c.Diff, c.Sel, c.N
	return &n.c
}

// Next implements wire.Rows.
func (r *queryRows) Next(ctx context.Context) (*types.Chunk, error) {
	stop := context.AfterFunc(ctx, func() { r.cancel(context.Cause(ctx)) })
	defer stop()
	if !r.begun {
		r.begun = true
		if err := r.begin(); err != nil {
			return nil, err
		}
	}
	if len(r.rest) > 0 {
		c := r.rest[0]
		r.rest = r.rest[1:]
		return c, nil
	}
	if c, ok := r.next(); ok {
		if r.own != nil { // the portal may stand in it when settleCursors is called
			c = owned(c)
		}
		return c, nil
	}
	return nil, r.failure()
}

// failure is why the query has ended, nil if with its last row.
func (r *queryRows) failure() error {
	if r.ctx.Err() != nil && (errors.Is(r.err, context.Canceled) || errors.Is(r.err, context.DeadlineExceeded)) {
		return context.Cause(r.ctx)
	}
	return r.err
}

// aheadRows is how many rows are computed before the first is given. If a
// relation is moved to another parallelism or backend meanwhile, the query
// begins again.
const aheadRows = types.MaxChunkRows

// begin computes the first rows.
func (r *queryRows) begin() error {
	for {
		for rows := 0; rows < aheadRows; {
			c, ok := r.next()
			if !ok {
				break
			}
			rows += c.Rows()
			r.rest = append(r.rest, owned(c))
		}
		if !errors.Is(r.err, relation.ErrStopped) || r.pins.borrowed {
			return nil // another error comes after the rows
		}
		r.rest = nil
		if err := r.restart(); err != nil {
			return err
		}
	}
}

// restart readies the query once more, at a newer epoch.
func (r *queryRows) restart() error {
	r.pins.release()
	r.pins = pinned{}
	pins, err := r.s.pin(r.ctx, r.ids)
	if err != nil {
		return err
	}
	r.pins, r.err = pins, nil
	r.next, r.stop = iter.Pull(r.run)
	return nil
}

// readOwn notes which of the transaction's writes the query reads.
func (r *queryRows) readOwn(b *writeBuffer, ids []types.UUID) {
	for _, id := range ids {
		if t := b.of(id); t != nil {
			if r.own == nil {
				r.own = map[types.UUID]*tableWrites{}
				r.s.cursors = append(r.s.cursors, r)
			}
			r.own[id] = t
		}
	}
}

// cursorBytes bounds the rows of open cursors that a write makes compute.
const cursorBytes = 256 << 20

// settleCursors computes the rest of the rows of queries that are open and
// read the transaction's writes, which are about to change.
func (s *session) settleCursors() error {
	for _, r := range s.cursors {
		r.begun = true
		var bytes int64
		for {
			c, ok := r.next()
			if !ok {
				break // an error comes when the rows are asked for
			}
			if bytes += int64(c.Rows()) * 16 * int64(len(c.Cols)+1); bytes > cursorBytes {
				return pgerr.New(pgerr.OutOfMemory, "the rows of an open cursor need more than %d MB of memory", int64(cursorBytes)>>20).
					WithHint("Read the cursor to its end before writing.")
			}
			r.rest = append(r.rest, owned(c))
		}
	}
	s.cursors = nil
	return nil
}

// owned copies a chunk.
func owned(c *types.Chunk) *types.Chunk {
	ts := make([]types.Type, len(c.Cols))
	for i := range c.Cols {
		ts[i] = c.Cols[i].Type
	}
	own := types.NewChunk(ts)
	c.Compact(own)
	return own
}

// Tag implements wire.Rows.
func (r *queryRows) Tag(n int64) string { return fmt.Sprintf("SELECT %d", n) }

// Close implements wire.Rows.
func (r *queryRows) Close() {
	r.rest = nil
	r.s.cursors = slices.DeleteFunc(r.s.cursors, func(o *queryRows) bool { return o == r })
	r.cancel(errNoMore)
	r.stop()
	if r.stopTimer != nil {
		r.stopTimer()
	}
	r.pins.release()
}

// chunkRows is a result that has been computed.
type chunkRows struct {
	chunks []*types.Chunk
	tag    func(n int64) string
}

// Next implements wire.Rows.
func (r *chunkRows) Next(context.Context) (*types.Chunk, error) {
	if len(r.chunks) == 0 {
		return nil, nil
	}
	c := r.chunks[0]
	r.chunks = r.chunks[1:]
	return c, nil
}

// Tag implements wire.Rows.
func (r *chunkRows) Tag(n int64) string { return r.tag(n) }

// Close implements wire.Rows.
func (r *chunkRows) Close() { r.chunks = nil }

// selectTag is the command tag of a SELECT.
func selectTag(n int64) string { return fmt.Sprintf("SELECT %d", n) }

// fixedTag is a command tag that does not tell a number of rows.
func fixedTag(tag string) func(int64) string { return func(int64) string { return tag } }
