package engine

import (
	"context"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/types"
)

// Bounds of one epoch, so that none grows without limit.
const (
	maxEpochRequests = 4096
	maxEpochBytes    = 64 << 20 // of commits; a larger single commit still stands alone
)

// Commit is a transaction's net changes, table by table. Within a table a
// key's old and new row stand in the same chunk.
type Commit struct {
	Tables []TableWrite
	Bytes  int64
}

// TableWrite is one table's share. The chunks belong to the engine once
// submitted.
type TableWrite struct {
	Table  types.UUID
	Chunks []*types.Chunk
}

// request is something for the epoch loop. Exactly one of commit, ddl and
// call is set.
type request struct {
	commit *Commit
	// ddl decides the catalog changes over the newest version; they take
	// effect at the end of the epoch.
	ddl func(*catalog.Catalog) ([]catalog.Change, error)
	// call runs between epochs.
	call func() error

	done     chan struct{}
	timeline uint64 // on which the commit was submitted
	epoch    types.Epoch
	err      error
	changes  []catalog.Change
	version  types.Version
	encoded  *journal.Commit
}

func (r *request) finish(e types.Epoch, err error) {
	r.epoch, r.err = e, err
	close(r.done)
}

// submit hands a request to the loop and waits. If ctx ends first the request
// may still take effect; the error says so for commits.
func (en *Engine) submit(ctx context.Context, r *request) (types.Epoch, error) {
	r.done = make(chan struct{})
	if err := en.err(); err != nil {
		return 0, err
	}
	select {
	case en.reqs <- r:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-en.ctx.Done():
		return 0, en.err()
	}
	// Once queued the outcome of a commit must be known: it may be durable. A
	// call can be left alone (it checks its own context).
	giveUp := ctx.Done()
	if r.call == nil {
		giveUp = nil
	}
	select {
	case <-r.done:
		return r.epoch, r.err
	case <-giveUp:
		return 0, context.Cause(ctx)
	case <-en.ctx.Done():
		select {
		case <-r.done:
			return r.epoch, r.err
		case <-time.After(time.Second):
			return 0, en.err()
		}
	}
}

// Commit makes a transaction durable and gives the epoch at which it is
// visible. 40001 and 23505 as tablestore.Table.Check says.
func (en *Engine) Commit(ctx context.Context, c *Commit) (types.Epoch, error) {
	return en.submit(ctx, &request{commit: c, timeline: en.timeline.Load()})
}

// DDL changes the catalog by what decide says over the newest version, and
// gives the epoch from which the change holds.
func (en *Engine) DDL(ctx context.Context, decide func(*catalog.Catalog) ([]catalog.Change, error)) (types.Epoch, error) {
	return en.submit(ctx, &request{ddl: decide})
}

// between runs a job's fn between two epochs: in the epoch loop, or at once
// while a recovery, in place of the loop, waits for the jobs to attach. If ctx
// ends first it does not run any more.
func (en *Engine) between(ctx context.Context, fn func() error) error {
	if !en.live.Load() {
		en.starting.Lock()
		if !en.live.Load() {
			defer en.starting.Unlock()
			return fn()
		}
		en.starting.Unlock() // it is over meanwhile
	}
	return en.inLoop(ctx, fn)
}

// inLoop runs fn in the epoch loop.
func (en *Engine) inLoop(ctx context.Context, fn func() error) error {
	inner := fn
	fn = func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return inner()
	}
	_, err := en.submit(ctx, &request{call: fn})
	return err
}

// epochInput is what one epoch consists of, live or replayed.
type epochInput struct {
	info      types.EpochInfo
	writes    []TableWrite
	changes   []catalog.Change
	catalog   *catalog.Catalog // in force after the epoch
	sources   []admission
	replaying bool
	deltas    [][]catalog.Change // read from the journal, not yet applied
}

// loop is the epoch loop.
func (en *Engine) loop() {
	lastSource := en.cfg.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var first *request
		select {
		case <-en.ctx.Done():
			en.refuseAll()
			return
		case first = <-en.reqs:
		case <-en.kick:
		case <-tick.C:
		}
		batch := en.gather(first)
		sources, wait := en.admit(len(batch) > 0, lastSource)
		if wait > 0 { // not enough to be worth an epoch yet
			time.AfterFunc(wait, en.wakeLoop)
		}
		if len(sources) > 0 {
			lastSource = en.cfg.Now()
		}
		due := en.checkpointDue()
		if len(batch) == 0 && len(sources) == 0 && !due {
			continue
		}
		if err := en.closeEpoch(batch, sources, due); err != nil {
			en.fatal(err)
		}
	}
}

// refuseAll answers what is still queued at the end.
func (en *Engine) refuseAll() {
	for {
		select {
		case r := <-en.reqs:
			r.finish(0, en.err())
		default:
			return
		}
	}
}

// gather takes what is queued, runs calls at once, and leaves commits and DDL.
func (en *Engine) gather(first *request) []*request {
	var batch []*request
	var bytes int64
	take := func(r *request) {
		if r.call != nil {
			r.finish(en.closed.Load().ID, r.call())
			return
		}
		if r.commit != nil {
			bytes += r.commit.Bytes
		}
		batch = append(batch, r)
	}
	if first != nil {
		take(first)
	}
	for len(batch) < maxEpochRequests && bytes < maxEpochBytes {
		select {
		case r := <-en.reqs:
			take(r)
		default:
			return batch
		}
	}
	return batch
}

// closeEpoch decides, logs and applies one epoch. An error is fatal; what
// only concerns a request is answered to it.
func (en *Engine) closeEpoch(batch []*request, sources []admission, checkpoint bool) error {
	last := en.closed.Load()
	in := epochInput{
		info:    types.EpochInfo{ID: last.ID + 1, Now: max(en.now(), last.Now)},
		catalog: en.cat.Load(), sources: sources,
	}
	accepted := en.decide(batch, &in)
	if len(accepted) == 0 && len(sources) == 0 && !checkpoint {
		return nil
	}
	in.info.Catalog = in.catalog.Version()
	if err := en.record(accepted, &in); err != nil {
		for _, w := range in.writes {
			en.tables[w.Table].Unstage()
		}
		en.readmit(sources)
		for _, r := range accepted {
			r.finish(0, err)
		}
		if pgerr.CodeOf(err) == pgerr.DiskFull { // nothing was written
			en.diskFull(err, checkpoint)
			return nil
		}
		return err
	}
	en.full = false
	var r *round
	if checkpoint {
		r = en.beginRound(in.info)
	}
	if err := en.apply(&in); err != nil {
		return err
	}
	if r != nil {
		en.freezeTables(r)
	}
	for _, q := range accepted {
		q.finish(in.info.ID, nil)
	}
	return nil
}

// diskFull answers the CHECKPOINT statements that wait for an epoch, puts the
// next automatic one off, and tells the log once.
func (en *Engine) diskFull(err error, checkpoint bool) {
	if !en.full {
		en.log.Error("the disk is full: writes are refused until space returns", "err", err)
	}
	en.full = true
	if !checkpoint {
		return
	}
	en.nextRound = en.cfg.Now().Add(en.cfg.CheckpointInterval)
	en.ckpts.mu.Lock()
	asks := en.ckpts.asks
	en.ckpts.asks = nil
	en.ckpts.mu.Unlock()
	for _, a := range asks {
		a <- err
	}
}

// decide checks each request against what is committed and what came before
// it in the epoch, and stages it; refused ones are answered.
func (en *Engine) decide(batch []*request, in *epochInput) []*request {
	accepted := batch[:0]
	for _, r := range batch {
		var err error
		if r.commit != nil {
			err = en.stageCommit(r, in)
		} else {
			err = en.stageDDL(r, in)
		}
		if err != nil {
			r.finish(0, err)
			continue
		}
		accepted = append(accepted, r)
	}
	return accepted
}

func (en *Engine) stageCommit(r *request, in *epochInput) error {
	if r.timeline != en.timeline.Load() {
		return pgerr.New(pgerr.SerializationFailure, "could not serialize access: the database was rolled back").
			WithHint("Run the transaction again.")
	}
	for _, w := range r.commit.Tables {
		t := en.tables[w.Table]
		if t == nil || !tableStands(in.catalog, w.Table) {
			return pgerr.New(pgerr.SerializationFailure, "could not serialize access: a table was dropped").
				WithHint("Run the transaction again.")
		}
		if err := t.Check(w.Chunks); err != nil {
			return err
		}
	}
	r.encoded = &journal.Commit{}
	for _, w := range r.commit.Tables {
		tc := journal.TableChanges{Table: w.Table}
		for _, c := range w.Chunks {
			tc.Chunks = append(tc.Chunks, types.EncodeChunk(nil, c))
		}
		r.encoded.Tables = append(r.encoded.Tables, tc)
		en.tables[w.Table].Stage(w.Chunks)
		in.writes = append(in.writes, w)
	}
	return nil
}

func tableStands(cat *catalog.Catalog, id types.UUID) bool {
	return cat.ByID(id) != nil
}

func (en *Engine) stageDDL(r *request, in *epochInput) error {
	changes, err := r.ddl(in.catalog)
	if err != nil {
		return err
	}
	for i := range changes {
		if o := changes[i].Put; o != nil && o.Created == 0 {
			o.Created = in.info.ID
		}
	}
	next, err := in.catalog.Apply(changes)
	if err != nil {
		return err
	}
	for i := range changes {
		if o := changes[i].Put; o != nil && in.catalog.ByID(o.ID) == nil {
			if err := overSuspended(in.catalog, o); err != nil {
				return err
			}
			if err := en.room(o); err != nil {
				return err
			}
			if err := en.tryOpen(o); err != nil {
				return err
			}
		}
	}
	r.changes, r.version = changes, next.Version()
	in.catalog = next
	in.changes = append(in.changes, changes...)
	return nil
}

// overSuspended refuses a new view or sink over one that stands still: it
// would wait for it.
func overSuspended(cat *catalog.Catalog, o *catalog.Object) error {
	for _, d := range o.Depends {
		if on := cat.ByID(d); on != nil && on.Status == catalog.Suspended {
			return pgerr.New(pgerr.ObjectNotInPrerequisite, "%s is suspended", on.Describe()).
				WithHint("ALTER MATERIALIZED VIEW %s RESUME first.", on.Name)
		}
	}
	return nil
}

// record writes the epoch to the journal. Epochs with commits or DDL are
// synced before anyone hears of them; an epoch of sources alone is made
// durable by the next one or by the checkpoint: it can be read again.
func (en *Engine) record(accepted []*request, in *epochInput) error {
	recs := make([]*journal.Record, 0, len(accepted)+1)
	for _, r := range accepted {
		if r.commit != nil {
			recs = append(recs, &journal.Record{Kind: journal.KindCommit, Commit: r.encoded})
		} else {
			delta := catalog.AppendChanges(nil, r.changes)
			recs = append(recs, &journal.Record{Kind: journal.KindDDL, DDL: &journal.DDL{Version: r.version, Delta: delta}})
		}
	}
	cut := &journal.Cut{Epoch: in.info}
	for _, a := range in.sources {
		cut.Positions = append(cut.Positions, a.positions())
	}
	recs = append(recs, &journal.Record{Kind: journal.KindCut, Cut: cut})
	lsn, err := en.journal.Append(en.ctx, recs...)
	if err != nil {
		return err
	}
	if len(accepted) > 0 {
		if err := en.journal.Sync(en.ctx); err != nil { // never just refused, whatever the reason: the records may be there
			return pgerr.Wrap(err, pgerr.IOError, "the journal could not be made durable: %s", pgerr.From(err).Message).
				WithHint("The server stops. Whether the last commits hold is told after the next start.")
		}
	}
	en.lsn = lsn
	return nil
}

// apply makes a recorded epoch happen: tables first, then sources, then the
// catalog, then the jobs that DDL starts or ends. It is the same for live
// epochs and replayed ones.
func (en *Engine) apply(in *epochInput) error {
	en.publishSources(in)
	for id, t := range en.tables {
		if err := t.Flush(in.info); err != nil {
			return wrapIO(err, "applying epoch %d to table %s", in.info.ID, id)
		}
	}
	info := in.info
	en.cat.Store(in.catalog)
	en.closed.Store(&info)
	for _, j := range en.jobs {
		if len(j.plan.Inputs) == 0 { // nothing else wakes it
			j.signal()
		}
	}
	for _, c := range in.changes {
		if err := en.applyChange(c, in); err != nil {
			return err
		}
	}
	return nil
}
