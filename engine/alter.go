package engine

import (
	"context"

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
	return j.do(ctx, func(context.Context) error {
		part, err := j.quiesce(j.ctx)
		if err != nil {
			return err
		}
		// From here on the old dataflow is over; what fails is answered by
		// going on from the part with whatever settings hold.
		alterErr := en.update(ctx, id, func(o *catalog.Object) error {
			if parallelism > 0 {
				if parallelism > o.NumGroups {
					return pgerr.New(pgerr.InvalidParameterValue, "parallelism %d is more than the job's %d key groups", parallelism, o.NumGroups)
				}
				o.Parallelism = parallelism
			}
			if backend != "" {
				o.Backend = backend
			}
			return nil
		})
		j.ex.Stop()
		if j.rel != nil {
			j.rel.CloseParts()
		}
		if err := j.startExec(part); err != nil {
			return err
		}
		j.redirty.Store(true)
		return alterErr
	})
}

// Suspend stops a job and keeps its state for Resume.
func (en *Engine) Suspend(ctx context.Context, id types.UUID) error {
	j, err := en.job(id)
	if err != nil {
		return err
	}
	if j.obj.Load().Status == catalog.Suspended {
		return pgerr.New(pgerr.ObjectNotInPrerequisite, "%q is suspended already", j.name)
	}
	if s := j.Status(); s.State != "running" {
		return pgerr.New(pgerr.ObjectNotInPrerequisite, "%q can not be suspended while it is %s", j.name, s.State).
			WithHint("SHOW JOBS tells its progress.")
	}
	err = j.do(ctx, func(context.Context) error {
		part, err := j.quiesce(j.ctx)
		if err != nil {
			return err
		}
		if part.Positions, err = j.heldPositions(part); err != nil {
			return err
		}
		en.parts.put(part)
		return errSuspended
	})
	if err != nil {
		return err
	}
	j.wg.Wait() // the driver has ended: no checkpoint waits for it
	if err := en.update(ctx, id, func(o *catalog.Object) error { o.Status = catalog.Suspended; return nil }); err != nil {
		return err
	}
	_, err = en.Checkpoint(ctx)
	return err
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
	if err := en.update(ctx, id, func(o *catalog.Object) error { o.Status = catalog.Ready; return nil }); err != nil {
		return err
	}
	j.stop()
	j.restart(en.parts.get(id))
	return en.WaitReady(ctx, id)
}

// restart runs a stopped driver again.
func (j *job) restart(part *checkpoint.Part) {
	j.ctx, j.cancel = context.WithCancelCause(j.en.ctx)
	j.setState("creating", nil)
	if j.rel != nil {
		j.rel.Heal() // readers wait again
	}
	j.start(part)
}
