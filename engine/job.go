package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/checkpoint"
	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/exec/build"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// job drives one view or sink: it takes the changes of its inputs epoch by
// epoch, pushes them into the dataflow, and follows each with a barrier. It is
// the unit of failure, parallelism, backend and checkpoint; nothing but its
// own readers and consumers waits for it.
type job struct {
	en   *Engine
	id   types.UUID
	name string
	rel  *relation.Materialized // nil for a sink
	sink connector.Sink         // nil for a view

	obj  atomic.Pointer[catalog.Object] // its settings now
	exec atomic.Pointer[exec.Job]       // the dataflow, for those who only look
	plan *planner.Plan

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	ready  chan struct{} // shared by all cursors, rounds and flushes
	cmds   chan *command

	// The driver goroutine's own.
	ex      *exec.Job
	inputs  []*jobInput
	runs    placement   // of ex
	retry   time.Time   // when to try new settings again
	barrier types.Epoch // newest barrier sent
	dirty   bool        // barriers since the newest part
	round   types.Epoch // newest round answered

	redirty  atomic.Bool   // the newest snapshot failed: the next round takes it again
	attached chan struct{} // closed when cursors stand on all inputs, or it failed
	once     sync.Once
	held     []relation.Cursor // of a suspended sink; the driver's, and its successor's

	mu      sync.Mutex
	tokens  []connector.Token // prepared by the sink, not yet known to be committed
	flushed types.Epoch       // newest barrier flushed
	decree  types.Epoch       // beyond flushed nothing changes up to here
	status  jobStatus
	changed chan struct{} // closed and replaced when status.State changes
}

// jobStatus is what SHOW JOBS tells.
type jobStatus struct {
	State    string // "creating", "running", "suspended", "failed"
	Err      *pgerr.Error
	Progress int64 // rows read while catching up
	RowsIn   int64 // change rows pushed into the dataflow
	Epoch    types.Epoch
	LastCkpt *pgerr.Error // why the last checkpoint of this job failed
}

// jobInput is one relation that the job reads.
type jobInput struct {
	spec   planner.Input
	rel    relation.Relation
	stream *streamRef // set for a source's relation
	cur    relation.Cursor
	next   *relation.Delta // polled, not yet pushed
	upper  types.Epoch
}

// streamRef is where a source relation comes from.
type streamRef struct {
	hub *hub
	num int
}

// command changes a running job between two epochs.
type command struct {
	fn   func(ctx context.Context) error
	done chan error
}

// newJob makes a job that is not yet started. Epoch loop only.
func (en *Engine) newJob(o *catalog.Object) (*job, error) {
	plan, err := planner.DecodePlan(o.Plan)
	if err != nil {
		return nil, err
	}
	j := &job{en: en, id: o.ID, name: o.Name, plan: plan,
		ready: make(chan struct{}, 1), cmds: make(chan *command, 16), attached: make(chan struct{})}
	j.obj.Store(o)
	j.ctx, j.cancel = context.WithCancelCause(en.ctx)
	j.status.State = "creating"
	j.changed = make(chan struct{})
	if o.Kind == catalog.MaterializedView {
		j.rel = relation.NewMaterialized(o.ID, o.TypeSchema(), plan.Key, o.NumGroups, en.cfg.HistoryBytes)
	}
	return j, nil
}

// start runs the driver. Part is what to go on from, nil for nothing.
func (j *job) start(part *checkpoint.Part) {
	j.wg.Add(1)
	go func() {
		defer j.wg.Done()
		j.run(part)
	}()
}

// stop ends the driver and the dataflow.
func (j *job) stop() {
	j.cancel(errShutdown)
	j.wg.Wait()
	j.letGo()
}

// holdInputs keeps a suspended sink's places in its inputs, so that their
// history stays, within its bound: a sink can not be built again from what
// they hold now. Driver only, at its end.
func (j *job) holdInputs() {
	if j.rel != nil {
		return
	}
	for _, in := range j.inputs {
		j.held = append(j.held, in.cur)
		in.cur = nil
	}
}

// letGo gives up what holdInputs keeps.
func (j *job) letGo() {
	for _, c := range j.held {
		c.Close()
	}
	j.held = nil
}

// run is the driver: attach, then follow the inputs until stopped. An input
// that no longer has what the job needs makes it start over from nothing.
func (j *job) run(part *checkpoint.Part) {
	defer j.isAttached()
	defer j.shutdown()
	for {
		err := j.attach(part)
		attached := err == nil
		if attached {
			j.setState("running", nil)
			err = j.follow()
		}
		if j.ctx.Err() != nil {
			return
		}
		if !attached && pgerr.CodeOf(err) == pgerr.SnapshotTooOld {
			// An input was restarted, or outran its history, while it was read.
			j.shutdown()
			select {
			case <-time.After(inputRetry):
			case <-j.ctx.Done():
				return
			}
			continue
		}
		if errors.Is(err, errSuspended) {
			j.holdInputs()
			j.shutdown()
			j.markSuspended()
			return
		}
		if errors.Is(err, relation.ErrDetached) && j.rel != nil {
			j.en.log.Warn("a job fell too far behind and is rebuilt", "job", j.name)
			j.setState("creating", nil)
			j.shutdown()
			part = nil
			continue
		}
		j.fail(err)
		j.shutdown()
		j.isAttached()
		j.serveFailed()
		return
	}
}

// isAttached tells those who wait for attached.
func (j *job) isAttached() { j.once.Do(func() { close(j.attached) }) }

// shutdown ends the dataflow and lets the inputs go.
func (j *job) shutdown() {
	if j.ex != nil {
		j.ex.Stop()
		j.ex = nil
		j.exec.Store(nil)
	}
	for _, in := range j.inputs {
		if in.cur != nil {
			in.cur.Close()
		}
	}
	j.inputs = nil
	if j.rel != nil {
		j.rel.CloseParts()
	}
}

func (j *job) fail(err error) {
	e := pgerr.From(err)
	j.setState("failed", e)
	j.en.log.Error("a job failed", "job", j.name, "err", err)
	if j.rel != nil {
		j.rel.Fail(pgerr.Wrap(e, pgerr.ObjectNotInPrerequisite, "materialized view %q has failed: %s", j.name, e.Message).
			WithHint("ALTER MATERIALIZED VIEW %s RESUME builds it again; SHOW JOBS shows the error.", j.name))
	}
}

// serveFailed answers commands until the job is stopped.
func (j *job) serveFailed() {
	for {
		select {
		case <-j.ctx.Done():
			return
		case c := <-j.cmds:
			c.done <- pgerr.New(pgerr.ObjectNotInPrerequisite, "job %q has failed", j.name).WithHint("Drop it, or resume it.")
		}
	}
}

func (j *job) setState(s string, err *pgerr.Error) {
	j.mu.Lock()
	j.status.State, j.status.Err = s, err
	close(j.changed)
	j.changed = make(chan struct{})
	j.mu.Unlock()
	if r := j.en.rnd.Load(); r != nil && s != "running" && !(s == "creating" && j.en.goesOn(j)) {
		r.answered(j.id) // it will not get to the round's epoch
	}
}

// Status is a copy for SHOW JOBS.
func (j *job) Status() jobStatus {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.status
	s.Epoch = j.flushed
	if j.flushed >= j.barrier { // else the decree waits for barriers on the way
		s.Epoch = max(j.flushed, j.decree)
	}
	return s
}

// do runs fn in the driver between two epochs.
func (j *job) do(ctx context.Context, fn func(ctx context.Context) error) error {
	c := &command{fn: fn, done: make(chan error, 1)}
	select {
	case j.cmds <- c:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-j.ctx.Done():
		return context.Cause(j.ctx)
	}
	j.signal()
	select {
	case err := <-c.done:
		return err
	case <-j.ctx.Done():
		return context.Cause(j.ctx)
	}
}

func (j *job) signal() {
	select {
	case j.ready <- struct{}{}:
	default:
	}
}

// startExec opens the dataflow with the state of a part (nil: empty).
func (j *job) startExec(part *checkpoint.Part) error {
	o := j.obj.Load()
	graph, err := build.Graph(j.plan)
	if err != nil {
		return err
	}
	backend, err := state.Lookup(o.Backend)
	if err != nil {
		return err
	}
	cfg := exec.Config{
		ID: j.id, Name: j.name, Graph: graph, Parallelism: o.Parallelism, NumGroups: o.NumGroups,
		Backend: backend, FS: j.en.fs, Dir: j.en.path("work", j.id.String()), Root: j.en.store.Root(),
		MemoryLimit: j.en.cfg.MemoryStateLimit, CacheBytes: j.en.cfg.CacheBytes,
		Output: j.rel, Sink: j.sink, OnFlushed: j.onFlushed,
		OnFailed: func(err error) { j.signal() },
	}
	if part != nil {
		cfg.Restore = execPart(part)
	}
	ex, err := exec.Start(j.ctx, cfg)
	if err != nil {
		return err
	}
	j.ex = ex
	j.runs = placementOf(o)
	j.exec.Store(ex)
	return nil
}

func execPart(p *checkpoint.Part) *exec.Part {
	out := &exec.Part{Job: p.Job, Epoch: p.Epoch, States: p.States, Errors: p.Errors}
	for _, t := range p.Tokens {
		out.Tokens = append(out.Tokens, t)
	}
	return out
}

// onFlushed hears of every published epoch, from the dataflow.
func (j *job) onFlushed(info types.EpochInfo) {
	j.mu.Lock()
	j.flushed = max(j.flushed, info.ID)
	j.mu.Unlock()
	j.advance()
	j.signal()
	j.en.wakeLoop() // sources may go on
}

// advance moves the view's upper by decree once all barriers are flushed.
func (j *job) advance() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.rel != nil && j.decree > j.flushed && j.flushed >= j.barrier {
		j.rel.Advance(j.decree)
	}
}

// follow takes the inputs' changes until something fails.
func (j *job) follow() error {
	for {
		if err := j.reconcile(); err != nil {
			return err
		}
		moved, err := j.step()
		if err != nil {
			return err
		}
		if moved {
			continue
		}
		select {
		case <-j.ctx.Done():
			return context.Cause(j.ctx)
		case c := <-j.cmds:
			err := c.fn(j.ctx)
			if errors.Is(err, errSuspended) {
				c.done <- nil
				return err
			}
			c.done <- err
		case <-j.ready:
		}
	}
}

// step does the next epoch, if there is one; else it moves on by decree.
func (j *job) step() (moved bool, err error) {
	if err := j.ex.Err(); err != nil {
		return false, err
	}
	// Without inputs the epochs closed count. With inputs they must not: an
	// input publishes an epoch, and wakes the job, before it counts as closed.
	frontier := ^types.Epoch(0)
	if len(j.inputs) == 0 {
		frontier = j.en.closed.Load().ID
	}
	for _, in := range j.inputs {
		if in.next == nil {
			if in.next, in.upper, err = in.cur.Poll(); err != nil {
				return false, err
			}
		} else {
			_, in.upper = in.rel.Bounds()
		}
		frontier = min(frontier, max(in.upper, 1)-1) // 0: the input has not begun yet
	}
	info, found := types.EpochInfo{}, false
	for _, in := range j.inputs {
		if in.next != nil && in.next.Info.ID <= frontier && (!found || in.next.Info.ID < info.ID) {
			info, found = in.next.Info, true
		}
	}
	r := j.pendingRound()
	if r != nil && r.info.ID <= frontier && (!found || r.info.ID <= info.ID) {
		info, found = r.info, true
	} else {
		r = nil
	}
	if found {
		return true, j.epoch(info, r)
	}
	j.setDecree(frontier)
	return false, nil
}

// epoch pushes all changes of one epoch and its barrier.
func (j *job) epoch(info types.EpochInfo, r *round) error {
	pushed := false
	for i, in := range j.inputs {
		if in.next == nil || in.next.Info.ID != info.ID {
			continue
		}
		for _, c := range in.next.Chunks {
			if err := j.push(i, c); err != nil {
				return err
			}
		}
		in.next = nil
		pushed = true
	}
	var cp *exec.Checkpoint
	if r != nil {
		j.round = r.info.ID
		if !pushed && !j.dirty && !j.redirty.Load() {
			r.unchanged(j)
			j.setDecree(info.ID)
			return nil
		}
		cp = r.checkpoint(j)
		j.dirty = false
		j.redirty.Store(false)
	} else {
		j.dirty = true
	}
	return j.sendBarrier(info, cp)
}

func (j *job) sendBarrier(info types.EpochInfo, cp *exec.Checkpoint) error {
	j.mu.Lock()
	j.barrier = info.ID
	j.mu.Unlock()
	return j.ex.Barrier(info, cp)
}

// push gives input i's columns of a shared chunk to the dataflow.
func (j *job) push(i int, c *types.Chunk) error {
	cols := j.inputs[i].spec.Columns
	p := &types.Chunk{Cols: make([]types.Vec, len(cols)), Diff: c.Diff, Sel: c.Sel, N: c.N}
	for k, col := range cols {
		p.Cols[k] = c.Cols[col]
	}
	j.mu.Lock()
	j.status.RowsIn += int64(p.Rows())
	j.mu.Unlock()
	return j.ex.Push(i, p)
}

func (j *job) setDecree(e types.Epoch) {
	j.mu.Lock()
	j.decree = max(j.decree, e)
	j.mu.Unlock()
	j.advance()
}

// pendingRound is a checkpoint round that this job has not answered.
func (j *job) pendingRound() *round {
	r := j.en.rnd.Load()
	if r == nil || r.info.ID <= j.round || !r.wants(j.id) {
		return nil
	}
	return r
}

// quiesce ends the current epoch with a snapshot: the part of a checkpoint of
// this job alone, at an epoch beyond all it has done. Its files are held until
// release. Driver only.
func (j *job) quiesce(ctx context.Context) (part *checkpoint.Part, release func(), err error) {
	for {
		if moved, err := j.step(); err != nil {
			return nil, nil, err
		} else if moved {
			continue
		}
		info := *j.en.closed.Load()
		caught := true
		for _, in := range j.inputs {
			caught = caught && in.upper > info.ID
		}
		if caught && info.ID > j.barrier {
			release := j.en.store.Hold(j.id, info.ID)
			part, err := j.snapshot(ctx, info)
			if err != nil {
				release()
				return nil, nil, err
			}
			return part, release, nil
		}
		j.en.nudge()
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-j.ready:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (j *job) snapshot(ctx context.Context, info types.EpochInfo) (*checkpoint.Part, error) {
	type result struct {
		part *exec.Part
		err  error
	}
	dest, err := j.en.store.Dest(j.id, info.ID)
	if err != nil {
		return nil, err
	}
	dest.Unlimited = true
	ch := make(chan result, 1)
	cp := &exec.Checkpoint{Dest: dest, Done: func(p *exec.Part, err error) { ch <- result{p, err} }}
	if err := j.sendBarrier(info, cp); err != nil {
		return nil, err
	}
	select {
	case r := <-ch:
		if r.err != nil {
			return nil, r.err
		}
		return j.partOf(r.part), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
