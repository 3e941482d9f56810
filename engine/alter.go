package engine

import (
	"context"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/checkpoint"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// WaitReady returns when a new view can be read, or a new sink has taken all
// that was there before it. If ctx ends first the object exists all the same.
func (en *Engine) WaitReady(ctx context.Context, id types.UUID) error {
	j, err := en.job(id)
	if err != nil {
		return err
	}
	for {
		j.mu.Lock()
		s, ch := j.status, j.changed
		j.mu.Unlock()
		switch {
		case s.State == "failed":
			return s.Err
		case s.State == "running" && j.rel != nil:
			return waitReadable(ctx, j.rel)
		case s.State == "running":
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (en *Engine) job(id types.UUID) (*job, error) {
	en.mu.RLock()
	defer en.mu.RUnlock()
	if j := en.jobs[id]; j != nil {
		return j, nil
	}
	return nil, pgerr.New(pgerr.UndefinedTable, "there is no job with id %s", id).
		WithHint("It was dropped; SHOW JOBS lists those there are.")
}

// update changes an object's settings in the catalog.
func (en *Engine) update(ctx context.Context, id types.UUID, fn func(o *catalog.Object) error) error {
	_, err := en.DDL(ctx, func(c *catalog.Catalog) ([]catalog.Change, error) {
		old := c.ByID(id)
		if old == nil {
			return nil, pgerr.New(pgerr.UndefinedTable, "the object was dropped")
		}
		o := *old
		if err := fn(&o); err != nil {
			return nil, err
		}
		return []catalog.Change{{Put: &o}}, nil
	})
	return err
}

// Alter moves a job to another parallelism (0: as it is) and backend ("": as
// it is): it stops after an epoch, and goes on from its state there.
func (en *Engine) Alter(ctx context.Context, id types.UUID, parallelism int, backend string) error {
	if backend != "" {
		if _, err := state.Lookup(backend); err != nil {
			return err
		}
	}
	j, err := en.job(id)
	if err != nil {
		return err
	}
	if s := j.Status(); s.State == "failed" {
		return pgerr.New(pgerr.ObjectNotInPrerequisite, "job %q has failed", j.name).WithHint("Drop it, or resume it.")
	}
	err = en.update(ctx, id, func(o *catalog.Object) error {
		if parallelism > o.NumGroups {
			return pgerr.New(pgerr.InvalidParameterValue, "parallelism %d is more than the job's %d key groups", parallelism, o.NumGroups)
		}
		if parallelism > 0 {
			o.Parallelism = parallelism
		}
		if backend != "" {
			o.Backend = backend
		}
		return nil
	})
	if err != nil || j.Status().State == "suspended" {
		return err // RESUME takes it over
	}
	return j.do(ctx, func(context.Context) error { return j.rescale() })
}

// placement is what a dataflow was started with.
type placement struct {
	parallelism int
	backend     string
}

func placementOf(o *catalog.Object) placement { return placement{o.Parallelism, o.Backend} }

// reconcile makes the job what its object says: an ALTER that recovery has
// replayed, or whose statement did not live to see it done. Driver only.
func (j *job) reconcile() error {
	o := j.obj.Load()
	if o.Status == catalog.Suspended {
		return j.suspend()
	}
	if placementOf(o) == j.runs || time.Now().Before(j.retry) {
		return nil
	}
	err := j.rescale()
	if err != nil && j.exec.Load() != nil && j.ex.Err() == nil && j.ctx.Err() == nil { // its state could not be saved
		j.retry = time.Now().Add(placementRetry)
		j.ckptFailed(err)
		return nil
	}
	return err
}

// rescale starts the dataflow anew with the settings of the object, from its
// state at the end of an epoch. If that can not be saved, the dataflow goes on
// as it is. Driver only.
func (j *job) rescale() error {
	if placementOf(j.obj.Load()) == j.runs {
		return nil
	}
	part, release, err := j.quiesce(j.ctx)
	if err != nil {
		return err
	}
	defer release()
	j.ex.Stop()
	j.exec.Store(nil)
	if j.rel != nil {
		j.rel.CloseParts()
	}
	j.redirty.Store(true)
	return j.startExec(part)
}

// placementRetry is how long a job that could not be moved waits.
const placementRetry = time.Second

// Suspend stops a job and keeps its state for Resume.
func (en *Engine) Suspend(ctx context.Context, id types.UUID) error {
	j, err := en.job(id)
	if err != nil {
		return err
	}
	if j.obj.Load().Status == catalog.Suspended {
		return pgerr.New(pgerr.ObjectNotInPrerequisite, "%q is suspended already", j.name)
	}
	if j.Status().State == "creating" { // also one that is built again
		if err := en.WaitReady(ctx, id); err != nil {
			return err
		}
	}
	if s := j.Status(); s.State != "running" {
		return pgerr.New(pgerr.ObjectNotInPrerequisite, "%q can not be suspended while it is %s", j.name, s.State).
			WithHint("SHOW JOBS tells its progress.")
	}
	if err = j.do(ctx, func(context.Context) error { return j.suspend() }); err != nil {
		return err
	}
	j.wg.Wait() // the driver has ended: no checkpoint waits for it
	if err := en.update(ctx, id, func(o *catalog.Object) error { o.Status = catalog.Suspended; return nil }); err != nil {
		return err
	}
	_, err = en.Checkpoint(ctx)
	return err
}

// suspend saves the job's part; errSuspended then ends its driver. Driver only.
func (j *job) suspend() error {
	part, release, err := j.quiesce(j.ctx)
	if err != nil {
		return err
	}
	defer release()
	if part.Positions, err = j.heldPositions(part); err != nil {
		return err
	}
	j.en.parts.put(part)
	return errSuspended
}

// errSuspended ends a driver that was told to stop with its part saved.
var errSuspended = pgerr.New(pgerr.ObjectNotInPrerequisite, "suspended")

// heldPositions are how far the job has read its sources at a part's epoch.
func (j *job) heldPositions(p *checkpoint.Part) (out []sourcePositions, err error) {
	err = j.en.between(j.ctx, func() error {
		for _, in := range j.inputs {
			if in.stream != nil {
				h := in.stream.hub
				out = append(out, sourcePositions{Source: h.obj.ID, Splits: h.positionsAt(p.Epoch)})
			}
		}
		return nil
	})
	return out, err
}

// Resume starts a suspended or failed job: from its part if the changes since
// then can still be had, else built again.
func (en *Engine) Resume(ctx context.Context, id types.UUID) error {
	j, err := en.job(id)
	if err != nil {
		return err
	}
	switch s := j.Status(); s.State {
	case "suspended", "failed":
	default:
		return pgerr.New(pgerr.ObjectNotInPrerequisite, "%q is not suspended", j.name)
	}
	// The epoch that makes it ready starts the job (changeJob).
	if err := en.update(ctx, id, func(o *catalog.Object) error { o.Status = catalog.Ready; return nil }); err != nil {
		return err
	}
	if err := en.WaitReady(ctx, id); err != nil || j.rel != nil {
		return err
	}
	// A sink can go on from its part only while its inputs keep the changes
	// since: a recovery must not need to do it again.
	_, err = en.Checkpoint(ctx)
	return err
}
