package exec

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Config says what a job runs and where.
type Config struct {
	ID          types.UUID
	Name        string // for messages
	Graph       *Graph
	Parallelism int
	NumGroups   int // key groups, fixed for the job's life; 0: types.KeyGroups
	Backend     state.Backend
	FS          vfs.FS
	Dir         string // scratch of this job alone
	Root        string // where the files of Restore's handles lie
	MemoryLimit int64  // bytes of state of the memory backend, 0: the backend's default
	CacheBytes  int64  // of the pebble backend, 0: the backend's default
	// Restore is where to go on, of any parallelism and backend; nil: empty.
	Restore *Part
	Output  *relation.Materialized   // of a view
	Sink    connector.Sink           // of a sink
	Collect func(*types.Chunk) error // gets the output's chunks, borrowed; one call at a time
	// OnFlushed is called in order of epochs once an epoch is complete and
	// published, OnFailed at most once, when the job has ended by itself.
	// OnFlushed must not wait for the job.
	OnFlushed func(types.EpochInfo)
	OnFailed  func(error)
	Clock     func() time.Time // nil: time.Now
}

// Job is a running dataflow. Push and Barrier belong to one goroutine, the
// driver; everything else may be called from any.
type Job struct {
	cfg      Config
	now      func() time.Time
	subtasks []*subtask
	inputs   [][]*emitter // by input
	control  []*emitter   // barriers for fragments without inputs
	uploads  uploader
	stats    jobStats
	done     chan struct{} // closed when the job is to end
	ended    chan struct{} // closed when it has
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	last     types.Epoch // of the last barrier; driver only
	upTo     atomic.Uint64

	mu          sync.Mutex
	err         error // why the job ends; errStopped after Stop
	epochs      []*openEpoch
	progress    chan struct{} // closed and replaced when an epoch completes
	checkpoints []*pendingCheckpoint
	tokens      []preparedToken
	standing    *errorDelta // as of the last complete epoch
}

// openEpoch is an epoch whose barrier is on its way.
type openEpoch struct {
	info    types.EpochInfo
	cp      *pendingCheckpoint
	missing int // subtasks
	errs    []*errorDelta
}

// Start restores a job's state and runs it. The context bounds the restoring
// only.
func Start(ctx context.Context, cfg Config) (*Job, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	j := &Job{
		cfg: cfg, now: cfg.Clock, done: make(chan struct{}), ended: make(chan struct{}),
		progress: make(chan struct{}), standing: newErrorDelta(),
	}
	if cfg.Restore != nil {
		var err error
		if j.standing, err = decodeErrors(cfg.Restore.Errors); err != nil {
			return nil, err
		}
		j.last = cfg.Restore.Epoch
		j.upTo.Store(uint64(j.last))
	}
	w := &wiring{job: j, graph: cfg.Graph, parallelism: cfg.Parallelism}
	if err := w.build(ctx); err != nil {
		j.closeAll()
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	j.cancel = cancel
	j.uploads = uploader{queue: make(chan upload, maxCheckpoints*len(j.subtasks)), done: j.done}
	j.wg.Add(len(j.subtasks) + 1)
	for _, s := range j.subtasks {
		go func() {
			defer j.wg.Done()
			j.end(s.run())
		}()
	}
	go func() {
		defer j.wg.Done()
		j.uploads.run(run)
	}()
	go j.supervise()
	return j, nil
}

func (cfg *Config) complete() error {
	if cfg.NumGroups == 0 {
		cfg.NumGroups = types.KeyGroups
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Parallelism < 1 || cfg.Parallelism > cfg.NumGroups {
		return pgerr.New(pgerr.InvalidParameterValue, "parallelism must be between 1 and %d, the number of key groups", cfg.NumGroups)
	}
	if c := cfg.Collect; c != nil {
		var mu sync.Mutex
		cfg.Collect = func(x *types.Chunk) error {
			mu.Lock()
			defer mu.Unlock()
			return c(x)
		}
	}
	return cfg.Graph.check()
}

// supervise waits for the end of all goroutines, and cleans up.
func (j *Job) supervise() {
	<-j.done
	j.cancel()
	j.wg.Wait()
	j.uploads.discard()
	err := j.Err()
	if cerr := j.closeAll(); err == nil {
		err = cerr
	}
	shown := err
	if shown == nil {
		shown = pgerr.New(pgerr.AdminShutdown, "job %s was stopped", j.cfg.Name)
	}
	j.abandon(shown)
	close(j.ended)
	if err != nil && j.cfg.OnFailed != nil {
		j.cfg.OnFailed(err)
	}
}

// closeAll takes the content from readers, then closes the states.
func (j *Job) closeAll() error {
	if j.cfg.Output != nil {
		j.cfg.Output.CloseParts()
	}
	var first error
	for _, s := range j.subtasks {
		if err := s.close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// end makes the job end for a reason; the first one stays. Nil and errStopped
// say nothing new.
func (j *Job) end(err error) {
	if err == nil || errors.Is(err, errStopped) {
		return
	}
	j.halt(err)
}

func (j *Job) halt(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = err
		close(j.done)
		close(j.progress)
	}
}

// Err gives why the job has failed, nil if it runs or was stopped.
func (j *Job) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if errors.Is(j.err, errStopped) {
		return nil
	}
	return j.err
}

// ending gives what the driver gets from a job that ends.
func (j *Job) ending() error {
	if err := j.Err(); err != nil {
		return err
	}
	return pgerr.New(pgerr.AdminShutdown, "job %s was stopped", j.cfg.Name)
}

// Stop ends the job where it is and returns when nothing of it runs.
func (j *Job) Stop() {
	j.halt(errStopped)
	<-j.ended
}

// Push gives a chunk of an input. The chunk is immutable from now on and
// shared. It waits for credit, and gives the job's error once it has failed.
func (j *Job) Push(input int, c *types.Chunk) error {
	if input < 0 || input >= len(j.inputs) {
		return pgerr.Internal("job %s has no input %d", j.cfg.Name, input)
	}
	for _, x := range j.inputs[input] {
		if err := x.share(c); err != nil {
			return j.ending()
		}
	}
	return nil
}

// Barrier ends an epoch, with a checkpoint if cp is not nil. It waits for
// credit at most; several epochs may be on the way. A checkpoint too many is
// refused at once: cp.Done is called before Barrier returns.
func (j *Job) Barrier(info types.EpochInfo, cp *Checkpoint) error {
	if info.ID <= j.last {
		return pgerr.Internal("job %s got barrier %d after %d", j.cfg.Name, info.ID, j.last)
	}
	j.last = info.ID
	b := &barrier{info: info, cp: j.begin(info, cp)}
	j.mu.Lock()
	if j.err != nil {
		j.mu.Unlock()
		return j.ending()
	}
	j.epochs = append(j.epochs, &openEpoch{info: info, cp: b.cp, missing: len(j.subtasks)})
	j.mu.Unlock()
	for _, xs := range j.inputs {
		if err := barriers(xs, b); err != nil {
			return j.ending()
		}
	}
	if err := barriers(j.control, b); err != nil {
		return j.ending()
	}
	return nil
}

func barriers(xs []*emitter, b *barrier) error {
	for _, x := range xs {
		if err := x.barrier(b); err != nil {
			return err
		}
	}
	return nil
}

// flushed notes that a subtask has flushed an epoch; the last one completes
// it. Epochs complete in order, because every subtask flushes in order.
func (j *Job) flushed(info types.EpochInfo, errs *errorDelta) {
	j.mu.Lock()
	var o *openEpoch
	for _, x := range j.epochs {
		if x.info.ID == info.ID {
			o = x
		}
	}
	if errs != nil {
		o.errs = append(o.errs, errs)
	}
	o.missing--
	if o.missing > 0 {
		j.mu.Unlock()
		return
	}
	j.epochs = j.epochs[1:]
	for _, d := range o.errs {
		j.standing.merge(d)
	}
	if o.cp != nil {
		o.cp.errors = j.standing.encode()
	}
	j.mu.Unlock()
	if o.cp != nil {
		o.cp.share(nil, nil)
	}
	if j.cfg.Output != nil {
		j.cfg.Output.Publish(info)
	}
	j.upTo.Store(uint64(info.ID))
	j.wakeWaiters()
	if j.cfg.OnFlushed != nil {
		j.cfg.OnFlushed(info)
	}
}

func (j *Job) wakeWaiters() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		close(j.progress)
		j.progress = make(chan struct{})
	}
}

// Flushed gives the last complete epoch.
func (j *Job) Flushed() types.Epoch { return types.Epoch(j.upTo.Load()) }

// Wait returns when epoch e is complete and published, when ctx ends, or when
// the job does.
func (j *Job) Wait(ctx context.Context, e types.Epoch) error {
	for {
		j.mu.Lock()
		ch, ended := j.progress, j.err != nil
		j.mu.Unlock()
		switch {
		case j.Flushed() >= e:
			return nil
		case ended:
			return j.ending()
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Wake gives the earliest instant at which the job has something to do
// without input.
func (j *Job) Wake() (types.Micros, bool) {
	w := noWake
	for _, s := range j.subtasks {
		w = min(w, s.wake.Load())
	}
	return types.Micros(w), w != noWake
}

// Errors gives the error rows standing after the last complete epoch, up to a
// bound, and the number of all.
func (j *Job) Errors() (named []StandingError, total int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.standing.list()
}
