package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/checkpoint"
	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// round is a checkpoint under way: the tables and every running job snapshot
// at the end of one epoch and upload on their own; when all have answered, or
// the timeout has passed, the manifest is written with each job's newest part.
type round struct {
	en        *Engine
	info      types.EpochInfo
	lsn       types.LSN
	timeline  uint64
	cat       *catalog.Catalog
	positions []journal.SourcePositions
	started   time.Time

	mu       sync.Mutex
	waiting  map[types.UUID]bool // jobs that have not answered
	tables   map[types.UUID][]state.Handle
	pending  int // tables still uploading
	err      error
	open     bool          // tables are frozen: the round may end
	frozen   chan struct{} // closed when cat and positions are set
	asks     []chan error  // CHECKPOINT statements that this round answers
	ended    bool
	bytes    int64 // uploaded
	done     chan struct{}
	finished chan struct{} // closed at the very end
}

// partBook keeps each job's newest part.
type partBook struct {
	mu    sync.Mutex
	parts map[types.UUID]*checkpoint.Part
}

func (b *partBook) put(p *checkpoint.Part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts == nil {
		b.parts = map[types.UUID]*checkpoint.Part{}
	}
	if old := b.parts[p.Job]; old == nil || old.Epoch <= p.Epoch {
		b.parts[p.Job] = p
	}
}

func (b *partBook) get(id types.UUID) *checkpoint.Part {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.parts[id]
}

// all gives the newest parts of all jobs, also those that no manifest names
// yet.
func (b *partBook) all() []checkpoint.Part {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []checkpoint.Part
	for _, p := range b.parts {
		out = append(out, *p)
	}
	return out
}

func (b *partBook) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.parts)
}

func (b *partBook) drop(id types.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.parts, id)
}

// CheckpointInfo is a line of SHOW CHECKPOINTS.
type CheckpointInfo struct {
	Number   uint64
	Epoch    types.Epoch
	Started  time.Time
	Duration time.Duration
	Bytes    int64 // written by this checkpoint
	Total    int64 // size of all state it names
	Jobs     int
	Late     int // jobs that stand with an older part
	Err      string
}

// checkpointLog remembers the newest checkpoints, bounded.
type checkpointLog struct {
	mu   sync.Mutex
	list []CheckpointInfo
	asks []chan error // who waits for the next round
	last types.Epoch  // epoch of the newest manifest
}

const keptCheckpointInfos = 100

func (l *checkpointLog) add(i CheckpointInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, i)
	if len(l.list) > keptCheckpointInfos {
		l.list = l.list[1:]
	}
}

// Checkpoints lists the newest checkpoints, oldest first.
func (en *Engine) Checkpoints() []CheckpointInfo {
	en.ckpts.mu.Lock()
	defer en.ckpts.mu.Unlock()
	return append([]CheckpointInfo(nil), en.ckpts.list...)
}

// Checkpoint makes a checkpoint now and waits for its manifest.
func (en *Engine) Checkpoint(ctx context.Context) (*checkpoint.Manifest, error) {
	ask := make(chan error, 1)
	en.ckpts.mu.Lock()
	en.ckpts.asks = append(en.ckpts.asks, ask)
	en.ckpts.mu.Unlock()
	en.wakeLoop()
	select {
	case err := <-ask:
		return en.manifest.Load(), err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-en.ctx.Done():
		return nil, en.err()
	}
}

// nudge closes an epoch although nothing has come.
func (en *Engine) nudge() {
	r := &request{ddl: func(*catalog.Catalog) ([]catalog.Change, error) { return nil, nil }, done: make(chan struct{})}
	select {
	case en.reqs <- r:
	default: // the loop is busy: epochs close anyway
	}
}

// checkpointDue says whether the next epoch shall be a checkpoint's. Epoch
// loop only.
func (en *Engine) checkpointDue() bool {
	if en.rnd.Load() != nil {
		return false
	}
	en.ckpts.mu.Lock()
	asked := len(en.ckpts.asks) > 0
	last := en.ckpts.last
	en.ckpts.mu.Unlock()
	if asked {
		return true
	}
	if en.cfg.CheckpointInterval < 0 || en.closed.Load().ID == last {
		return false
	}
	return !en.cfg.Now().Before(en.nextRound)
}

// beginRound starts a round at the epoch about to be applied, so that no job
// can pass it. Epoch loop only.
func (en *Engine) beginRound(info types.EpochInfo) *round {
	r := &round{en: en, info: info, lsn: en.lsn, timeline: en.timeline.Load(), started: en.cfg.Now(),
		waiting: map[types.UUID]bool{}, tables: map[types.UUID][]state.Handle{},
		done: make(chan struct{}), finished: make(chan struct{}), frozen: make(chan struct{})}
	en.ckpts.mu.Lock()
	r.asks, en.ckpts.asks = en.ckpts.asks, nil
	en.ckpts.mu.Unlock()
	stalls := map[types.UUID]bool{}
	for id, j := range en.jobs {
		if !en.stalled(j, stalls) {
			r.waiting[id] = true
		}
	}
	en.nextRound = r.started.Add(en.cfg.CheckpointInterval)
	en.rnd.Store(r)
	return r
}

// stalled reports whether a job can not get to the newest epoch for now: it,
// or one that it stands on, does not run. Known holds what was found so far.
func (en *Engine) stalled(j *job, known map[types.UUID]bool) bool {
	if s, ok := known[j.id]; ok {
		return s
	}
	state := j.Status().State
	s := state != "running" && !(state == "creating" && en.goesOn(j))
	for _, in := range j.plan.Inputs {
		if on := en.jobs[in.Relation]; on != nil && !s {
			s = en.stalled(on, known)
		}
	}
	known[j.id] = s
	return s
}

// goesOn reports whether a job that starts has to go on from its part: a sink.
// A manifest whose tables are past that part would leave it behind for ever,
// so a round waits for it.
func (en *Engine) goesOn(j *job) bool { return j.rel == nil && en.parts.get(j.id) != nil }

// freezeTables snapshots the tables at the round's epoch, which has just been
// applied, and lets the round end when all have answered. Epoch loop only.
func (en *Engine) freezeTables(r *round) {
	r.cat = en.cat.Load()
	for _, h := range en.sources {
		r.positions = append(r.positions, journal.SourcePositions{Source: h.obj.ID, Splits: h.positions()})
	}
	close(r.frozen)
	frozen := map[types.UUID]state.Frozen{}
	for id, t := range en.tables {
		f, err := t.Freeze(r.info.ID)
		if err != nil {
			r.fail(err)
			continue
		}
		if f == nil {
			r.tables[id] = t.Handles()
			continue
		}
		frozen[id] = f
	}
	r.pending = len(frozen)
	en.uploads.Add(1)
	go func() {
		defer en.uploads.Done()
		for id, f := range frozen {
			h, err := en.uploadTable(id, r.info.ID, f)
			r.tableDone(id, h, err)
		}
	}()
	r.mu.Lock()
	waiting := slices.Collect(maps.Keys(r.waiting))
	r.mu.Unlock()
	for _, id := range waiting { // one that stopped meanwhile answers never
		if j := en.jobs[id]; j == nil {
			r.answered(id)
		} else {
			j.signal()
		}
	}
	r.mu.Lock()
	r.open = true
	r.checkEnd()
	r.mu.Unlock()
	en.wg.Add(1)
	go func() {
		defer en.wg.Done()
		r.await()
	}()
}

func (en *Engine) uploadTable(id types.UUID, e types.Epoch, f state.Frozen) (state.Handle, error) {
	d, err := en.store.Dest(id, e)
	if err != nil {
		f.Discard()
		return state.Handle{}, err
	}
	return f.Upload(en.ctx, d)
}

func (r *round) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *round) tableDone(id types.UUID, h state.Handle, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending--
	if err != nil {
		if r.err == nil {
			r.err = err
		}
	} else {
		r.tables[id] = []state.Handle{h}
		r.bytes += h.New
	}
	r.checkEnd()
}

// wants reports whether the round still waits for a job.
func (r *round) wants(id types.UUID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting[id]
}

func (r *round) answered(id types.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, id)
	r.checkEnd()
}

// checkEnd ends the round when nothing is missing. Call with mu held.
func (r *round) checkEnd() {
	if !r.ended && r.open && r.pending == 0 && len(r.waiting) == 0 {
		r.ended = true
		close(r.done)
	}
}

// unchanged answers for a job that has nothing new since its newest part: it
// stands for this epoch too. Driver only.
func (r *round) unchanged(j *job) {
	if old := j.en.parts.get(j.id); old != nil {
		p := *old
		p.Epoch = r.info.ID
		if !r.awaitFrozen() {
			return
		}
		p.Positions = r.positions
		j.en.parts.put(&p)
		r.answered(j.id)
		return
	}
	r.answered(j.id) // nothing to save: it is made anew
}

// awaitFrozen returns when the round has its catalog and positions; false: the
// engine ends before.
func (r *round) awaitFrozen() bool {
	select {
	case <-r.frozen:
		return true
	case <-r.en.ctx.Done():
		return false
	}
}

// checkpoint is the order to job j to snapshot at the round's epoch.
func (r *round) checkpoint(j *job) *exec.Checkpoint {
	d, err := j.en.store.Dest(j.id, r.info.ID)
	if err != nil {
		j.ckptFailed(err)
		r.answered(j.id)
		return nil
	}
	d.Unlimited = j.en.unlimited.Load() > 0
	release := j.en.store.Hold(j.id, r.info.ID) // it may end after the round
	return &exec.Checkpoint{Dest: d, Done: func(p *exec.Part, err error) {
		defer release()
		if err != nil {
			j.ckptFailed(err)
			r.answered(j.id)
			return
		}
		part := j.partOf(p)
		if !r.awaitFrozen() {
			return
		}
		part.Positions = r.positions
		j.mu.Lock()
		j.status.LastCkpt = nil
		j.mu.Unlock()
		j.en.parts.put(part)
		r.mu.Lock()
		for _, h := range part.States {
			r.bytes += h.New
		}
		r.mu.Unlock()
		r.answered(j.id)
	}}
}

// ckptFailed remembers why the job has no part in a round; it goes on, and
// tries again at the next one.
func (j *job) ckptFailed(err error) {
	j.en.log.Warn("a checkpoint of a job failed; the job goes on", "job", j.name, "err", err)
	j.mu.Lock()
	j.status.LastCkpt = pgerr.From(err)
	j.mu.Unlock()
	j.redirty.Store(true)
}

// partOf adds to a snapshot what was prepared earlier and is not committed.
func (j *job) partOf(p *exec.Part) *checkpoint.Part {
	out := &checkpoint.Part{Job: j.id, Epoch: p.Epoch, States: p.States, Errors: p.Errors}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range p.Tokens {
		if !slices.ContainsFunc(j.tokens, func(have connector.Token) bool { return string(have) == string(t) }) {
			j.tokens = append(j.tokens, t)
		}
	}
	for _, t := range j.tokens {
		out.Tokens = append(out.Tokens, t)
	}
	return out
}

// await writes the manifest when the round is full or its time is up.
func (r *round) await() {
	en := r.en
	r.waitAnswers()
	r.mu.Lock()
	r.ended = true
	late, pending, err := len(r.waiting), r.pending, r.err
	r.mu.Unlock()
	if err != nil {
		en.touchTables()
	}
	var m *checkpoint.Manifest
	if err == nil && pending > 0 {
		err = pgerr.New(pgerr.QueryCanceled, "checkpoint at epoch %d timed out: %d tables are still being written", r.info.ID, pending)
	}
	if err == nil && en.ctx.Err() != nil && late > 0 {
		err = en.err()
	}
	if err == nil {
		m = r.manifest()
		err = en.commitManifest(m)
	}
	r.report(m, late, err)
	en.rnd.Store(nil)
	close(r.finished)
	en.ckpts.mu.Lock()
	if err == nil {
		en.ckpts.last = r.info.ID
	}
	en.ckpts.mu.Unlock()
	for _, a := range r.asks {
		a <- err
	}
}

// lateGrace is how long a round waits for views that have not reached its
// epoch: they are slow, and go into a later manifest.
const lateGrace = time.Second

// waitAnswers waits for all, but no longer than lateGrace for views that are
// not even at the round's epoch yet, and CheckpointTimeout for the rest: a
// sink's part is waited for longer because it can not be rebuilt.
func (r *round) waitAnswers() {
	limit := time.After(r.en.cfg.CheckpointTimeout)
	grace := time.NewTimer(lateGrace)
	defer grace.Stop()
	for {
		select {
		case <-r.done:
			return
		case <-limit:
			return
		case <-r.en.ctx.Done():
			return
		case <-grace.C:
			if r.onlyLateViews() {
				return
			}
			grace.Reset(lateGrace / 4)
		}
	}
}

func (r *round) onlyLateViews() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open || r.pending > 0 {
		return false
	}
	for id := range r.waiting {
		j, err := r.en.job(id)
		if err != nil {
			continue
		}
		if j.rel == nil || j.Status().Epoch >= r.info.ID {
			return false
		}
	}
	return true
}

// touchTables makes the next round snapshot all tables again: what this one
// froze is not in any manifest.
func (en *Engine) touchTables() {
	en.mu.RLock()
	defer en.mu.RUnlock()
	for _, t := range en.tables {
		t.Touch()
	}
}

func (r *round) report(m *checkpoint.Manifest, late int, err error) {
	i := CheckpointInfo{Epoch: r.info.ID, Started: r.started, Duration: r.en.cfg.Now().Sub(r.started), Late: late}
	if err != nil {
		i.Err = pgerr.From(err).Message
		r.en.log.Error("a checkpoint failed", "epoch", r.info.ID, "err", err)
	}
	if m != nil {
		i.Number, i.Jobs, i.Total = m.Number, len(m.Parts), m.Bytes()
	}
	r.mu.Lock()
	i.Bytes = r.bytes
	r.mu.Unlock()
	r.en.ckpts.add(i)
}

// manifest puts together what the round has, and for late jobs their
// previous parts.
func (r *round) manifest() *checkpoint.Manifest {
	en := r.en
	m := &checkpoint.Manifest{Timeline: r.timeline, Epoch: r.info, LSN: r.lsn,
		Catalog: r.cat.Append(nil), Positions: r.positions}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, hs := range r.tables {
		m.Tables = append(m.Tables, checkpoint.Table{ID: id, States: hs})
	}
	for _, o := range r.cat.Objects(catalog.MaterializedView, catalog.Sink) {
		if p := en.parts.get(o.ID); p != nil && p.Epoch <= r.info.ID {
			m.Parts = append(m.Parts, *p)
		}
	}
	return m
}

// commitManifest makes a checkpoint complete: the manifest is synced, which is
// the commit point; then sinks commit what they had prepared, old manifests,
// files and journal go.
func (en *Engine) commitManifest(m *checkpoint.Manifest) error {
	if err := en.journal.Sync(en.ctx); err != nil { // cuts of sources alone are not synced before
		return err
	}
	if err := en.store.Write(m); err != nil {
		return err
	}
	en.manifest.Store(m)
	for i := range m.Parts {
		en.commitSink(&m.Parts[i])
	}
	en.mu.RLock()
	for _, t := range m.Tables {
		if tab := en.tables[t.ID]; tab != nil {
			tab.SetHandles(t.States)
		}
	}
	en.mu.RUnlock()
	release := en.store.Retain(&checkpoint.Manifest{Parts: en.parts.all()})
	defer release()
	if err := en.store.Prune(); err != nil {
		en.log.Warn("old checkpoint files could not be removed", "err", err)
	}
	if lsn, ok := en.store.OldestLSN(); ok {
		if err := en.journal.Truncate(en.ctx, lsn); err != nil {
			en.log.Warn("the journal could not be shortened", "err", err)
		}
	}
	return nil
}

// commitSink makes a part's prepared output visible. A failure is tried again
// at the next checkpoint: the tokens stay.
func (en *Engine) commitSink(p *checkpoint.Part) {
	en.mu.RLock()
	j := en.jobs[p.Job]
	en.mu.RUnlock()
	if j == nil || j.sink == nil || len(p.Tokens) == 0 {
		return
	}
	ts := make([]connector.Token, len(p.Tokens))
	for i, t := range p.Tokens {
		ts[i] = t
	}
	if err := j.sink.Commit(en.ctx, ts); err != nil {
		en.log.Error("a sink could not commit; it is tried again at the next checkpoint", "sink", j.name, "err", err)
		return
	}
	if ex := j.exec.Load(); ex != nil {
		ex.Committed(p.Epoch)
	}
	j.mu.Lock()
	j.tokens = dropTokens(j.tokens, p.Tokens)
	j.mu.Unlock()
}

func dropTokens(from []connector.Token, done [][]byte) []connector.Token {
	var rest []connector.Token
	for _, t := range from {
		kept := true
		for _, d := range done {
			kept = kept && string(d) != string(t)
		}
		if kept {
			rest = append(rest, t)
		}
	}
	return rest
}
