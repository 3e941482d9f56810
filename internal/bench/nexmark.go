package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/engine"
	"github.com/streamdb/streamdb/internal/pgerr"

	"github.com/streamdb/streamdb/types"
)

// Options are how a query is measured.
type Options struct {
	Events             int64
	Backend            string // "memory", "filesystem" or "pebble"
	Parallelism        int
	CheckpointInterval time.Duration
	// MemoryStateLimit is the memory backend's bound a job; 0: the server's.
	MemoryStateLimit int64
	Dir              string // under which the data directory is made; "": the system's
}

// Result is one measurement. Events are all events of the generator, of
// whatever kind, as Nexmark counts them; CPU seconds are the process's, the
// generator included.
type Result struct {
	Query           string  `json:"query"`
	Backend         string  `json:"backend"`
	Parallelism     int     `json:"parallelism"`
	Events          int64   `json:"events"`
	WallSeconds     float64 `json:"wall_seconds"`
	CPUSeconds      float64 `json:"cpu_seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	EventsPerCore   float64 `json:"events_per_core"` // per CPU second
	StateBytes      int64   `json:"state_bytes"`     // resident or in the backend, at the end
	Checkpoints     int     `json:"checkpoints"`     // finished meanwhile
	CheckpointMS    float64 `json:"checkpoint_ms"`   // their mean, from barrier to manifest
	PauseMSP50      float64 `json:"pause_ms_p50"`    // of a subtask at a checkpoint
	PauseMSP99      float64 `json:"pause_ms_p99"`
}

// pollInterval is how often the end is looked for: short against any run that
// means something.
const pollInterval = 2 * time.Millisecond

// Nexmark measures one query in an engine of its own, from CREATE SINK until
// the last event is flushed to the sink.
func Nexmark(ctx context.Context, q Query, o Options) (res Result, err error) {
	dir, err := os.MkdirTemp(o.Dir, "streamdb-bench-")
	if err != nil {
		return res, err
	}
	defer func() {
		if e := os.RemoveAll(dir); err == nil {
			err = e
		}
	}()
	en, err := engine.Open(ctx, engine.Config{
		Dir: filepath.Join(dir, "data"), Parallelism: o.Parallelism, Backend: o.Backend,
		CheckpointInterval: o.CheckpointInterval, MemoryStateLimit: o.MemoryStateLimit,
	})
	if err != nil {
		return res, err
	}
	defer en.Kill()
	err = run(ctx, en, fmt.Sprintf("CREATE SOURCE nx WITH (connector = 'nexmark', rate = 0, events = %d, seed = 1)", o.Events))
	if err != nil {
		return res, err
	}
	runtime.GC() // what an earlier run left is not this one's cost
	before := len(en.Checkpoints())
	start := time.Now()
	cpu, err := cpuTime()
	if err != nil {
		return res, err
	}
	if err := run(ctx, en, "CREATE SINK out AS "+q.SQL+" WITH (connector = 'blackhole')"); err != nil {
		return res, err
	}
	if err := awaitFlushed(ctx, en, o.Events); err != nil {
		return res, err
	}
	wall := time.Since(start)
	end, err := cpuTime()
	if err != nil {
		return res, err
	}
	res = Result{
		Query: q.Name, Backend: o.Backend, Parallelism: o.Parallelism, Events: o.Events,
		WallSeconds: wall.Seconds(), CPUSeconds: (end - cpu).Seconds(),
		EventsPerSecond: float64(o.Events) / wall.Seconds(), EventsPerCore: float64(o.Events) / (end - cpu).Seconds(),
	}
	job := en.Jobs()[0]
	res.StateBytes = job.StateBytes
	res.PauseMSP50, res.PauseMSP99 = float64(job.PauseP50)/1000, float64(job.PauseP99)/1000
	return res, res.checkpoints(en.Checkpoints()[before:])
}

// checkpoints adds what the checkpoints made meanwhile have cost.
func (r *Result) checkpoints(list []engine.CheckpointInfo) error {
	var total time.Duration
	for _, c := range list {
		if c.Err != "" {
			return fmt.Errorf("a checkpoint failed during %s: %s", r.Query, c.Err)
		}
		r.Checkpoints++
		total += c.Duration
	}
	if r.Checkpoints > 0 {
		r.CheckpointMS = total.Seconds() * 1000 / float64(r.Checkpoints)
	}
	return nil
}

// awaitFlushed returns when the source has given all its events and the job
// has flushed the epoch of the last one.
func awaitFlushed(ctx context.Context, en *engine.Engine, events int64) error {
	for en.SourceInfos()[0].Events < events {
		if err := pause(ctx, en); err != nil {
			return err
		}
	}
	// An empty change of the catalog closes an epoch behind that of the last
	// event.
	last, err := en.DDL(ctx, func(*catalog.Catalog) ([]catalog.Change, error) { return nil, nil })
	if err != nil {
		return err
	}
	for flushed(en) < last {
		if err := pause(ctx, en); err != nil {
			return err
		}
	}
	return nil
}

func flushed(en *engine.Engine) types.Epoch { return en.Jobs()[0].Epoch }

func pause(ctx context.Context, en *engine.Engine) error {
	if j := en.Jobs(); len(j) != 1 || j[0].State == "failed" {
		return errors.New("the query failed: " + reason(j))
	}
	if s := en.SourceInfos()[0]; s.Err != "" {
		return errors.New("the source failed: " + s.Err)
	}
	select {
	case <-time.After(pollInterval):
		return nil
	case <-ctx.Done():
		return pgerr.Wrap(context.Cause(ctx), pgerr.QueryCanceled, "the benchmark was stopped")
	}
}

func reason(jobs []engine.JobInfo) string {
	if len(jobs) == 0 {
		return "its job is gone"
	}
	return jobs[0].Err
}
