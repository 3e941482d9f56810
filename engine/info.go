package engine

import (
	"slices"
	"strings"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/types"
)

// JobInfo is a line of SHOW JOBS.
type JobInfo struct {
	ID                 types.UUID
	Name               string
	Kind               string
	State              string
	Epoch              types.Epoch // up to which it has worked
	Lag                uint64      // epochs behind the newest
	Parallelism        int
	Backend            string
	RowsIn             int64 // pushed into the job
	Processed          int64 // rows that its operators have taken, each counted
	StateBytes         int64
	Progress           int64 // rows read while catching up
	Err                string
	LastCheckpointErr  string
	PauseP50, PauseP99 int64 // µs a subtask stood still for snapshots
}

// Jobs lists the jobs by name.
func (en *Engine) Jobs() []JobInfo {
	en.mu.RLock()
	jobs := make([]*job, 0, len(en.jobs))
	for _, j := range en.jobs {
		jobs = append(jobs, j)
	}
	en.mu.RUnlock()
	newest := en.closed.Load().ID
	out := make([]JobInfo, 0, len(jobs))
	for _, j := range jobs {
		out = append(out, j.info(newest))
	}
	slices.SortFunc(out, func(a, b JobInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (j *job) info(newest types.Epoch) JobInfo {
	o, s := j.obj.Load(), j.Status()
	i := JobInfo{ID: j.id, Name: o.Title(), Kind: o.Kind.String(), State: s.State, Epoch: s.Epoch,
		Parallelism: o.Parallelism, Backend: o.Backend, Progress: s.Progress, RowsIn: s.RowsIn}
	if s.Epoch < newest {
		i.Lag = uint64(newest - s.Epoch)
	}
	if s.Err != nil {
		i.Err = s.Err.Message
	}
	if s.LastCkpt != nil {
		i.LastCheckpointErr = s.LastCkpt.Message
	}
	if ex := j.exec.Load(); ex != nil {
		m := ex.Metrics()
		for _, st := range m.Subtasks {
			for _, op := range st.Operators {
				i.Processed += op.RowsIn
			}
		}
		i.StateBytes = m.StateBytes
		i.PauseP50, i.PauseP99 = m.FreezeP50.Microseconds(), m.FreezeP99.Microseconds()
	}
	return i
}

// SourceInfo is a line of SHOW SOURCES.
type SourceInfo struct {
	Name, Connector, Replay string
	Events, Bytes           int64
	Err                     string
}

// SourceInfos lists the sources by name.
func (en *Engine) SourceInfos() []SourceInfo {
	en.mu.RLock()
	defer en.mu.RUnlock()
	var out []SourceInfo
	for _, h := range en.sources {
		out = append(out, h.info())
	}
	slices.SortFunc(out, func(a, b SourceInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (h *hub) info() SourceInfo {
	i := SourceInfo{Name: h.obj.Title(), Connector: h.obj.Options["connector"], Replay: connector.Exact.String(),
		Events: h.events.Load(), Bytes: h.bytes.Load()}
	h.srcMu.Lock()
	if h.src != nil {
		i.Replay = h.src.Replay().String()
	}
	h.srcMu.Unlock()
	h.errMu.Lock()
	if h.err != nil {
		i.Err = h.err.Error()
	}
	h.errMu.Unlock()
	return i
}

// JobErrors are the standing error rows of one job.
type JobErrors struct {
	Job   string
	Named []exec.StandingError
	Total int64
}

// ErrorRows lists what rows of which jobs stand in error now.
func (en *Engine) ErrorRows() []JobErrors {
	en.mu.RLock()
	defer en.mu.RUnlock()
	var out []JobErrors
	for _, j := range en.jobs {
		if ex := j.exec.Load(); ex != nil {
			if named, total := ex.Errors(); total > 0 {
				out = append(out, JobErrors{Job: j.obj.Load().Title(), Named: named, Total: total})
			}
		}
	}
	slices.SortFunc(out, func(a, b JobErrors) int { return strings.Compare(a.Job, b.Job) })
	return out
}

// HasErrors reports whether a view has standing errors.
func (en *Engine) HasErrors(id types.UUID) bool {
	en.mu.RLock()
	j := en.jobs[id]
	en.mu.RUnlock()
	if j == nil {
		return false
	}
	ex := j.exec.Load()
	if ex == nil {
		return false
	}
	_, total := ex.Errors()
	return total > 0
}
