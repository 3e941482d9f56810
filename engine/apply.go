package engine

import (
	"slices"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/checkpoint"
	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/connector/all"
	"github.com/streamdb/streamdb/exec/build"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/tablestore"
	"github.com/streamdb/streamdb/types"
)

// applyChange makes one catalog change of a closed epoch real. Epoch loop, or
// recovery before it runs.
func (en *Engine) applyChange(c catalog.Change, in *epochInput) error {
	if c.Put == nil {
		en.removeObject(c.Drop)
		return nil
	}
	o := in.catalog.ByID(c.Put.ID)
	if o == nil { // dropped in the same epoch
		return nil
	}
	if j := en.jobs[o.ID]; j != nil {
		return en.changeJob(j, o)
	}
	if en.rels[o.ID] != nil || en.sources[o.ID] != nil {
		return nil
	}
	return en.addObject(o, in.info.ID, nil)
}

// changeJob gives a job its new settings: a running one takes them over by
// itself; one that has ended and shall run starts again.
func (en *Engine) changeJob(j *job, o *catalog.Object) error {
	j.obj.Store(o)
	s := j.Status().State
	if o.Status == catalog.Suspended || s != "suspended" && s != "failed" {
		j.signal()
		return nil
	}
	n, err := en.newJob(o)
	if err != nil {
		return err
	}
	j.cancel(errShutdown)
	j.wg.Wait()
	n.rel, n.tokens, n.held, j.held = j.rel, j.tokens, j.held, nil
	j.stop()
	j.closeSink()
	if n.rel != nil {
		n.rel.Heal() // readers wait again
	}
	en.mu.Lock()
	en.jobs[o.ID] = n
	en.mu.Unlock()
	if s == "failed" && n.rel != nil {
		en.parts.drop(o.ID) // its files may be what it failed on: built again from its inputs
	}
	n.start(en.parts.get(o.ID))
	return nil
}

// addObject opens an object as of the end of epoch e, with the content that a
// manifest has of it (nil: new).
func (en *Engine) addObject(o *catalog.Object, e types.Epoch, m *checkpoint.Manifest) error {
	switch o.Kind {
	case catalog.Table:
		return en.addTable(o, e, m)
	case catalog.Source:
		var at []types.SplitPosition
		if m != nil {
			at = splitsOf(m.Positions, o.ID)
		}
		h, err := en.newHub(o, at)
		if err != nil {
			return err
		}
		h.log = []positionsAt{{e, h.positions()}}
		en.mu.Lock()
		en.sources[o.ID] = h
		en.mu.Unlock()
	case catalog.SourceRelation:
		return en.addStream(o, e)
	case catalog.MaterializedView, catalog.Sink:
		j, err := en.addJob(o, partOfManifest(m, o.ID), e)
		if err != nil {
			return err
		}
		if m == nil && o.Status != catalog.Suspended {
			j.start(nil)
		}
	}
	return nil
}

func (en *Engine) addTable(o *catalog.Object, e types.Epoch, m *checkpoint.Manifest) error {
	name := o.Backend
	if name == "" {
		name = en.cfg.TableBackend
	}
	backend, err := state.Lookup(name)
	if err != nil {
		return err
	}
	var handles []state.Handle
	if m != nil {
		for _, t := range m.Tables {
			if t.ID == o.ID {
				handles = t.States
			}
		}
	}
	t, err := tablestore.Open(en.ctx, o.ID, o.Name, o.TypeSchema(), o.Key, tablestore.Options{
		Namespace: o.Schema,
		Backend:   backend, HistoryBytes: en.cfg.HistoryBytes,
		Spec: state.Spec{FS: en.fs, Dir: en.path("work", o.ID.String()), Root: en.store.Root(), CacheBytes: en.cfg.CacheBytes, NumGroups: types.KeyGroups},
	}, handles)
	if err != nil {
		return err
	}
	t.Begin(e)
	if m == nil {
		t.Touch()
	}
	en.mu.Lock()
	defer en.mu.Unlock()
	en.tables[o.ID], en.rels[o.ID] = t, t.Relation()
	return nil
}

func splitsOf(ps []sourcePositions, id types.UUID) []types.SplitPosition {
	for _, p := range ps {
		if p.Source == id {
			return p.Splits
		}
	}
	return nil
}

// addStream makes a source's relation; the source itself came before it.
func (en *Engine) addStream(o *catalog.Object, e types.Epoch) error {
	for _, d := range o.Depends {
		h := en.sources[d]
		if h == nil {
			continue
		}
		f, err := all.Source(h.obj.Options["connector"])
		if err != nil {
			return err
		}
		rels, err := f.Relations(sourceSpec(h.obj))
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rels, func(r connector.Relation) bool { return r.Name == o.Relation })
		if i < 0 {
			return pgerr.New(pgerr.DataCorrupted, "source %q has no relation %q any more", h.obj.Name, o.Relation)
		}
		s := h.addRelation(i, o, e)
		en.mu.Lock()
		en.rels[o.ID] = s
		en.mu.Unlock()
		return nil
	}
	return pgerr.Internal("relation %s of a source comes without its source", o.Title())
}

func partOfManifest(m *checkpoint.Manifest, id types.UUID) *checkpoint.Part {
	if m == nil {
		return nil
	}
	for i := range m.Parts {
		if m.Parts[i].Job == id {
			return &m.Parts[i]
		}
	}
	return nil
}

// addJob registers a view's or sink's job without starting it.
func (en *Engine) addJob(o *catalog.Object, part *checkpoint.Part, e types.Epoch) (*job, error) {
	j, err := en.newJob(o)
	if err != nil {
		return nil, err
	}
	if part != nil {
		en.parts.put(part)
	}
	if j.rel != nil && part != nil && part.Epoch == e {
		j.rel.Reset(e)
	}
	if o.Status == catalog.Suspended {
		j.markSuspended()
	}
	en.mu.Lock()
	defer en.mu.Unlock()
	en.jobs[o.ID] = j
	if j.rel != nil {
		en.rels[o.ID] = j.rel
	}
	return j, nil
}

// openSink opens a sink's target once, commits what the part that is gone on
// from has prepared, and discards what is not in it. Driver only.
func (j *job) openSink(part *checkpoint.Part) error {
	en, o := j.en, j.obj.Load()
	if o.Kind != catalog.Sink {
		return nil
	}
	f, err := all.Sink(o.Options["connector"])
	if err != nil {
		return err
	}
	if j.sink == nil {
		s, err := f.Open(en.ctx, sinkSpec(o, j.plan), en.env(0))
		if err != nil {
			return err
		}
		j.mu.Lock()
		j.sink = s
		j.mu.Unlock()
	}
	var tokens []connector.Token
	if part != nil {
		for _, t := range part.Tokens {
			tokens = append(tokens, t)
		}
	}
	if err := j.sink.Abort(en.ctx, tokens); err != nil || len(tokens) == 0 {
		return err
	}
	return j.sink.Commit(en.ctx, tokens)
}

func sinkSpec(o *catalog.Object, p *planner.Plan) connector.SinkSpec {
	return connector.SinkSpec{ID: o.ID, Options: o.Options, Schema: o.TypeSchema(), Key: p.Key, AppendOnly: p.AppendOnly}
}

// minRoom is the space that has to be left for a new object: its state is
// opened when the epoch is already durable, where it must not fail.
const minRoom = 8 << 20

// room refuses a new object when the disk is all but full.
func (en *Engine) room(o *catalog.Object) error {
	u, err := en.fs.GetDiskUsage(en.cfg.Dir)
	tells := err == nil // an in-memory file system does not
	if !tells || u.AvailBytes >= minRoom {
		return nil
	}
	return pgerr.New(pgerr.DiskFull, "could not create %s: no space left on device", o.Describe()).
		WithDetail("Data directory %q has %d bytes left.", en.cfg.Dir, u.AvailBytes).
		WithHint("Free disk space; what is there can be read meanwhile.")
}

// tryOpen finds out, before an object is created, whether its connector will
// have it and its plan can be run.
func (en *Engine) tryOpen(o *catalog.Object) error {
	switch o.Kind {
	case catalog.Source:
		h, err := en.newHub(o, nil)
		if err != nil {
			return err
		}
		defer h.close()
		_, err = h.source(en.ctx)
		return err
	case catalog.MaterializedView, catalog.Sink:
		plan, err := planner.DecodePlan(o.Plan)
		if err != nil {
			return err
		}
		if _, err := build.Graph(plan); err != nil || o.Kind != catalog.Sink {
			return err
		}
		f, err := all.Sink(o.Options["connector"])
		if err != nil {
			return err
		}
		return f.Check(sinkSpec(o, plan))
	}
	return nil
}

// removeObject takes a dropped object away; its job ends in the background.
func (en *Engine) removeObject(id types.UUID) {
	en.mu.Lock()
	j, h, t, rel := en.jobs[id], en.sources[id], en.tables[id], en.rels[id]
	delete(en.jobs, id)
	delete(en.sources, id)
	delete(en.tables, id)
	delete(en.rels, id)
	en.mu.Unlock()
	if j != nil {
		j.cancel(errShutdown) // before its inputs go, so that it does not take that for a failure
	}
	en.parts.drop(id)
	if r := en.rnd.Load(); r != nil && j != nil {
		r.answered(id)
	}
	closeRelation(rel)
	en.removals.Add(1)
	go func() {
		defer en.removals.Done()
		if j != nil {
			j.stop()
			j.closeSink()
		}
		if h != nil {
			h.close()
		}
		if t != nil {
			en.uploads.Wait()
			if err := t.Close(); err != nil {
				en.log.Error("closing a dropped table", "err", err)
			}
		}
		if err := en.fs.RemoveAll(en.path("work", id.String())); err != nil {
			en.log.Warn("scratch files of a dropped object stay until the next start", "err", err)
		}
	}()
}

func closeRelation(r relation.Relation) {
	switch r := r.(type) {
	case *relation.Materialized:
		r.Close()
	case *relation.Stream:
		r.Close()
	}
}

func (j *job) closeSink() {
	if j.sink == nil {
		return
	}
	if err := j.sink.Close(); err != nil {
		j.en.log.Error("closing a sink", "sink", j.name, "err", err)
	}
}

// markSuspended makes readers of a view hear that it stands still.
func (j *job) markSuspended() {
	j.setState("suspended", nil)
	j.isAttached()
	if j.rel != nil {
		j.rel.Fail(pgerr.New(pgerr.ObjectNotInPrerequisite, "materialized view %q is suspended", j.name).
			WithHint("ALTER MATERIALIZED VIEW %s RESUME brings it up to date.", j.name))
	}
}
