package exec

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Metrics is what a job has done so far. Counters grow from Start on.
type Metrics struct {
	Subtasks []SubtaskMetrics
	// FreezeP50 and FreezeP99 are over the last freezes of all subtasks.
	FreezeP50, FreezeP99 time.Duration
	Freezes              int64
	Checkpoints          int64 // finished
	FailedCheckpoints    int64
	UploadMillis         int64 // of the last finished checkpoint, barrier to part
	StateBytes           int64
}

// SubtaskMetrics is one subtask's share.
type SubtaskMetrics struct {
	Subtask      int
	Busy         time.Duration // processing, including waiting for credit
	StateBytes   int64         // as of the last epoch
	TouchedLines int64         // in the last epoch
	Operators    []OperatorMetrics
}

// OperatorMetrics counts what an operator took and gave, in physical change
// rows whatever their multiplicity.
type OperatorMetrics struct {
	Op      int
	Name    string
	RowsIn  int64
	Chunks  int64
	RowsOut int64
}

type opStats struct{ rowsIn, chunks, rowsOut atomic.Int64 }

func (s *opStats) take(rows int) {
	s.rowsIn.Add(int64(rows))
	s.chunks.Add(1)
}

type subtaskStats struct{ busy, stateBytes, touched atomic.Int64 }

// keptPauses is how many freezes the percentiles are over.
const keptPauses = 1024

type jobStats struct {
	mu          sync.Mutex
	pauses      []time.Duration // a ring
	freezes     int64
	checkpoints int64
	failed      int64
	upload      time.Duration
}

func (s *jobStats) pause(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pauses) < keptPauses {
		s.pauses = append(s.pauses, d)
	} else {
		s.pauses[s.freezes%keptPauses] = d
	}
	s.freezes++
}

func (s *jobStats) checkpoint(d time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed++
		return
	}
	s.checkpoints++
	s.upload = d
}

// Metrics gives a snapshot of the counters.
func (j *Job) Metrics() Metrics {
	j.stats.mu.Lock()
	pauses := slices.Clone(j.stats.pauses)
	m := Metrics{
		Freezes: j.stats.freezes, Checkpoints: j.stats.checkpoints,
		FailedCheckpoints: j.stats.failed, UploadMillis: j.stats.upload.Milliseconds(),
	}
	j.stats.mu.Unlock()
	slices.Sort(pauses)
	if n := len(pauses); n > 0 {
		m.FreezeP50, m.FreezeP99 = pauses[n/2], pauses[n*99/100]
	}
	for _, s := range j.subtasks {
		sm := SubtaskMetrics{
			Subtask: s.number, Busy: time.Duration(s.stats.busy.Load()),
			StateBytes: s.stats.stateBytes.Load(), TouchedLines: s.stats.touched.Load(),
		}
		for _, n := range s.nodes {
			sm.Operators = append(sm.Operators, OperatorMetrics{
				Op: n.id, Name: n.name,
				RowsIn: n.stats.rowsIn.Load(), Chunks: n.stats.chunks.Load(), RowsOut: n.stats.rowsOut.Load(),
			})
		}
		m.StateBytes += sm.StateBytes
		m.Subtasks = append(m.Subtasks, sm)
	}
	return m
}
