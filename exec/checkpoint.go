package exec

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// maxCheckpoints is how many checkpoints of a job may be on the way. One more
// is refused, so that an upload that hangs keeps bounded memory.
const maxCheckpoints = 2

// pendingCheckpoint gathers a checkpoint's part: the state of each subtask,
// and the job's own share once the epoch is complete.
type pendingCheckpoint struct {
	job   *Job
	cp    *Checkpoint
	epoch types.Epoch
	start time.Time

	mu      sync.Mutex
	missing int // shares
	handles []state.Handle
	errors  []byte
	err     error
}

// share notes one share, with an error if it failed, and finishes the
// checkpoint with the last one.
func (p *pendingCheckpoint) share(h *state.Handle, err error) {
	p.mu.Lock()
	if err != nil && p.err == nil {
		p.err = err
	}
	if h != nil {
		p.handles = append(p.handles, *h)
		p.checkInline()
	}
	p.missing--
	done := p.missing == 0
	p.mu.Unlock()
	if done {
		p.finish()
	}
}

func (p *pendingCheckpoint) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// checkInline holds the memory backend's limit for the job as a whole: what
// its subtasks' snapshots put inline is kept by the coordinator. Call with mu
// held.
func (p *pendingCheckpoint) checkInline() {
	var n int64
	for i := range p.handles {
		n += int64(len(p.handles[i].Inline))
	}
	limit := p.job.cfg.MemoryLimit
	if p.err == nil && limit > 0 && n > limit && p.job.cfg.Backend.Name() == "memory" && !p.cp.Dest.Unlimited {
		p.err = pgerr.New(pgerr.ConfigurationLimit, "state of job %q is at least %d bytes, more than the memory backend's limit of %d for a job", p.job.cfg.Name, n, limit).
			WithHint("SET (state_backend = 'filesystem') or 'pebble' for it; without a checkpoint it is rebuilt after a restart.")
	}
}

// finish calls Done. The caller had the last share.
func (p *pendingCheckpoint) finish() {
	j := p.job
	if !j.forget(p) {
		return // the job has stopped and said so
	}
	j.stats.checkpoint(j.now().Sub(p.start), p.err)
	if p.err != nil {
		p.cp.Done(nil, p.err)
		return
	}
	slices.SortFunc(p.handles, func(a, b state.Handle) int { return a.Groups.Lo - b.Groups.Lo })
	p.cp.Done(&Part{
		Job: j.cfg.ID, Epoch: p.epoch, States: p.handles,
		Tokens: j.tokensUpTo(p.epoch), Errors: p.errors,
	}, nil)
}

// upload is a subtask's frozen state on its way; frozen is nil if the subtask
// has no state.
type upload struct {
	cp      *pendingCheckpoint
	subtask int
	frozen  state.Frozen
}

// uploader writes frozen states in a goroutine of its own.
type uploader struct {
	queue chan upload
	done  <-chan struct{}
}

// add never waits: the queue holds all that maxCheckpoints can bring.
func (u *uploader) add(x upload) error {
	select {
	case u.queue <- x:
		return nil
	case <-u.done:
		x.discard()
		return errStopped
	}
}

func (x *upload) discard() {
	if x.frozen != nil {
		x.frozen.Discard()
	}
}

// run ends when the job does.
func (u *uploader) run(ctx context.Context) {
	for {
		select {
		case x := <-u.queue:
			x.do(ctx)
		case <-u.done:
			return
		}
	}
}

// discard gives up what is left in the queue of a job that has ended.
func (u *uploader) discard() {
	for {
		select {
		case x := <-u.queue:
			x.discard()
		default:
			return
		}
	}
}

// do uploads. A failure fails this checkpoint only.
func (x *upload) do(ctx context.Context) {
	if x.frozen == nil {
		x.cp.share(nil, nil)
		return
	}
	if x.cp.failed() {
		x.frozen.Discard()
		x.cp.share(nil, nil)
		return
	}
	d := x.cp.cp.Dest
	d.Prefix += fmt.Sprintf("s%03d-", x.subtask)
	h, err := protect(func() (state.Handle, error) { return x.frozen.Upload(ctx, d) })
	if err != nil {
		x.cp.share(nil, err)
		return
	}
	x.cp.share(&h, nil)
}

// protect makes a panic of a state backend the checkpoint's error.
func protect(f func() (state.Handle, error)) (h state.Handle, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = pgerr.Internal("writing a checkpoint panicked: %v", r)
		}
	}()
	return f()
}

// preparedToken is a sink's output that no committed checkpoint names yet.
type preparedToken struct {
	epoch types.Epoch
	token connector.Token
}

// prepared keeps a token until Committed: the output of a checkpoint that
// fails belongs to the next one.
func (j *Job) prepared(e types.Epoch, t connector.Token) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tokens = append(j.tokens, preparedToken{e, t})
}

func (j *Job) tokensUpTo(e types.Epoch) []connector.Token {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ts []connector.Token
	for _, t := range j.tokens {
		if t.epoch <= e {
			ts = append(ts, t.token)
		}
	}
	return ts
}

// Committed says that the sink has committed the tokens of the part of epoch
// e. Until then each later part names them again.
func (j *Job) Committed(e types.Epoch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tokens = slices.DeleteFunc(j.tokens, func(t preparedToken) bool { return t.epoch <= e })
}

// begin admits a checkpoint at a barrier; nil if there is none or it was
// refused.
func (j *Job) begin(info types.EpochInfo, cp *Checkpoint) *pendingCheckpoint {
	if cp == nil {
		return nil
	}
	p := &pendingCheckpoint{job: j, cp: cp, epoch: info.ID, start: j.now(), missing: len(j.subtasks) + 1}
	j.mu.Lock()
	n := len(j.checkpoints)
	if n < maxCheckpoints && j.err == nil {
		j.checkpoints = append(j.checkpoints, p)
		j.mu.Unlock()
		return p
	}
	ending := j.err != nil
	j.mu.Unlock()
	if ending {
		cp.Done(nil, j.ending())
		return nil
	}
	err := pgerr.New(pgerr.ObjectInUse, "the checkpoint of %s at epoch %d was skipped: %d earlier ones are still being written", j.cfg.Name, info.ID, n)
	j.stats.checkpoint(0, err)
	cp.Done(nil, err)
	return nil
}

// forget takes a checkpoint off the list; false if it was not on it.
func (j *Job) forget(p *pendingCheckpoint) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.Index(j.checkpoints, p)
	if i < 0 {
		return false
	}
	j.checkpoints = slices.Delete(j.checkpoints, i, i+1)
	return true
}

// abandon fails the checkpoints on the way: the job has ended.
func (j *Job) abandon(err error) {
	j.mu.Lock()
	ps := j.checkpoints
	j.checkpoints = nil
	j.mu.Unlock()
	for _, p := range ps {
		j.stats.checkpoint(0, err)
		p.cp.Done(nil, err)
	}
}
