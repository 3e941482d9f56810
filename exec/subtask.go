package exec

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// subtask is one goroutine: a gate, the operators of the fused fragments
// behind it, which call each other directly, and their state.
type subtask struct {
	job    *Job
	number int // among all subtasks of the job
	gate   *gate
	nodes  []*node // in topological order; chunks from outside enter the first
	outs   []*emitter
	state  *state.State
	lock   sync.Locker // held while state moves, nil: nobody else reads it
	writer preparer
	wake   atomic.Int64 // Micros, noWake if none
	stats  subtaskStats
	errs   *errorDelta // of the current epoch, nil: none
}

// preparer is an operator whose output is prepared at checkpoints.
type preparer interface {
	Prepare(e types.Epoch) (connector.Token, error)
}

// shared is an operator whose state others read under a lock.
type shared interface{ Locker() sync.Locker }

// closer is an operator that holds something to be closed.
type closer interface{ Close() error }

// node is an operator in a subtask, and the Out that it writes to.
type node struct {
	op    Operator
	id    int
	name  string
	next  []target   // operators of the same subtask
	exits []*emitter // to other subtasks
	fail  func(*ErrorRows) error
	out   []types.Type
	stats opStats
}

type target struct {
	node *node
	port int
}

// Push implements Out.
func (n *node) Push(c *types.Chunk) error {
	rows := c.Rows()
	if rows == 0 {
		return nil
	}
	checkOutput(n, c)
	n.stats.rowsOut.Add(int64(rows))
	for i := range n.next {
		t := &n.next[i]
		t.node.stats.take(rows)
		if err := t.node.op.Process(t.port, c, t.node); err != nil {
			return err
		}
	}
	for _, x := range n.exits {
		if err := x.copy(c); err != nil {
			return err
		}
	}
	return nil
}

// Fail implements Out.
func (n *node) Fail(rows *ErrorRows) error { return n.fail(rows) }

// process runs a chunk that arrived from outside.
func (n *node) process(port int, c *types.Chunk) error {
	rows := c.Rows()
	if rows == 0 {
		return nil
	}
	n.stats.take(rows)
	return n.op.Process(port, c, n)
}

// noWake is a subtask's wake if no operator waits for time.
const noWake = int64(^uint64(0) >> 1)

// run is the subtask's goroutine. A panic ends the job, not the process.
func (s *subtask) run() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = pgerr.Internal("a subtask of job %s panicked: %v", s.job.cfg.Name, r).WithDetail("%s", debug.Stack())
		}
	}()
	for {
		m, err := s.gate.next()
		if err != nil {
			return err
		}
		start := s.job.now()
		if m.barrier == nil {
			err = s.nodes[0].process(int(m.port), m.chunk)
			s.gate.release(m)
		} else {
			err = s.flush(m.barrier)
		}
		if err != nil {
			return err
		}
		s.stats.busy.Add(int64(s.job.now().Sub(start)))
	}
}

// flush ends an epoch: the operators say what they owe, the barrier goes on,
// and the state is frozen if there is a checkpoint.
func (s *subtask) flush(b *barrier) error {
	for _, n := range s.nodes {
		if err := n.op.Flush(b.info, n); err != nil {
			return err
		}
	}
	for _, x := range s.outs {
		if err := x.barrier(b); err != nil {
			return err
		}
	}
	frozen, err := s.endEpoch(b)
	if err != nil {
		return err
	}
	s.noteWake()
	errs := s.errs
	s.errs = nil
	s.job.flushed(b.info, errs)
	if b.cp == nil {
		return nil
	}
	return s.deliver(b, frozen)
}

// endEpoch ends the state's epoch and freezes it for a checkpoint. It is the
// pause of the subtask: no I/O.
func (s *subtask) endEpoch(b *barrier) (state.Frozen, error) {
	if s.state == nil {
		return nil, nil
	}
	if s.lock != nil {
		s.lock.Lock()
		defer s.lock.Unlock()
	}
	s.stats.touched.Store(s.touched())
	if err := s.state.EndEpoch(); err != nil {
		return nil, err
	}
	s.stats.stateBytes.Store(s.state.Bytes())
	if b.cp == nil {
		return nil, nil
	}
	start := s.job.now()
	f, err := s.state.Freeze(b.info.ID)
	s.job.stats.pause(s.job.now().Sub(start))
	return f, err
}

// touched counts the lines touched in the epoch.
func (s *subtask) touched() int64 {
	t := int64(0)
	for _, n := range s.nodes {
		if c, ok := n.op.(interface{ Touched() int }); ok {
			t += int64(c.Touched())
		}
	}
	return t
}

// deliver hands a checkpoint's share to the uploader.
func (s *subtask) deliver(b *barrier, f state.Frozen) error {
	if s.writer != nil {
		t, err := s.writer.Prepare(b.info.ID)
		if err != nil {
			if f != nil {
				f.Discard()
			}
			return err
		}
		if t != nil {
			s.job.prepared(b.info.ID, t)
		}
	}
	return s.job.uploads.add(upload{cp: b.cp, subtask: s.number, frozen: f})
}

// noteWake publishes the earliest instant at which an operator wants to run.
func (s *subtask) noteWake() {
	w := noWake
	for _, n := range s.nodes {
		if t, ok := n.op.Wake(); ok {
			w = min(w, int64(t))
		}
	}
	s.wake.Store(w)
}

// fail takes error rows of an operator of the subtask.
func (s *subtask) fail(rows *ErrorRows) error {
	if s.errs == nil {
		s.errs = newErrorDelta()
	}
	s.errs.add(rows)
	return nil
}

// close gives up what the subtask holds. Its goroutine has ended.
func (s *subtask) close() error {
	var first error
	for _, n := range s.nodes {
		if c, ok := n.op.(closer); ok {
			if err := c.Close(); err != nil && first == nil {
				first = err
			}
		}
	}
	if s.state != nil {
		if err := s.state.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
