package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/checkpoint"
	"github.com/streamdb/streamdb/connector/all"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/types"
)

// SavepointInfo is a line of SHOW SAVEPOINTS.
type SavepointInfo struct {
	Name     string
	Epoch    types.Epoch
	Created  types.Micros
	Bytes    int64
	Objects  int
	Timeline uint64
	Auto     bool
}

// Savepoints lists the savepoints, oldest first.
func (en *Engine) Savepoints() ([]SavepointInfo, error) {
	list, warnings, err := en.store.Savepoints()
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		en.log.Warn("a savepoint can not be read", "err", w)
	}
	var out []SavepointInfo
	for _, sp := range list {
		i := SavepointInfo{Name: sp.Name, Epoch: sp.Manifest.Epoch.ID, Created: sp.Created, Bytes: sp.Manifest.Bytes(),
			Timeline: sp.Manifest.Timeline, Auto: sp.Auto}
		if cat, err := catalog.Decode(sp.Manifest.Catalog); err == nil {
			i.Objects = cat.Len()
		}
		out = append(out, i)
	}
	return out, nil
}

// CreateSavepoint saves everything, at one epoch, under a name.
func (en *Engine) CreateSavepoint(ctx context.Context, name string) error {
	en.spMu.Lock()
	defer en.spMu.Unlock()
	return en.createSavepoint(ctx, name, false)
}

// createSavepoint needs spMu.
func (en *Engine) createSavepoint(ctx context.Context, name string, auto bool) error {
	list, _, err := en.store.Savepoints()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(sp *checkpoint.Savepoint) bool { return sp.Name == name }) {
		return pgerr.New(pgerr.DuplicateObject, "savepoint %q already exists", name).
			WithHint("Choose another name, or DROP SAVEPOINT %s first.", name)
	}
	m, release, err := en.fullCheckpoint(ctx)
	if err != nil {
		return err
	}
	defer release()
	return en.store.CreateSavepoint(ctx, &checkpoint.Savepoint{
		ID: types.NewUUID(), Name: name, Created: en.now(), Auto: auto, Manifest: m,
	})
}

// fullCheckpoint makes a checkpoint that has a part of every job at its own
// epoch (suspended ones: their last), also above the memory backend's limit.
// Jobs that are being started are waited for, as long as a checkpoint may take.
func (en *Engine) fullCheckpoint(ctx context.Context) (*checkpoint.Manifest, func(), error) {
	en.unlimited.Add(1)
	defer en.unlimited.Add(-1)
	for deadline := time.Now().Add(en.cfg.CheckpointTimeout); ; {
		m, err := en.Checkpoint(ctx)
		if err != nil {
			return nil, nil, err
		}
		release := en.store.Retain(m)
		late, err := en.incomplete(m)
		if err == nil {
			return m, release, nil
		}
		release()
		if late == nil || late.Status().State == "failed" || time.Now().After(deadline) {
			return nil, nil, err
		}
		select {
		case <-time.After(fullRetry):
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// fullRetry is the time between two tries to catch all jobs at one epoch.
const fullRetry = 10 * time.Millisecond

// incomplete says what of a checkpoint is missing for a savepoint; late is the
// job that was not caught up, if it is that.
func (en *Engine) incomplete(m *checkpoint.Manifest) (late *job, err error) {
	cat, err := catalog.Decode(m.Catalog)
	if err != nil {
		return nil, err
	}
	for _, o := range cat.Objects(catalog.MaterializedView, catalog.Sink) {
		p := partOfManifest(m, o.ID)
		if o.Status != catalog.Suspended && (p == nil || p.Epoch != m.Epoch.ID) {
			late, _ := en.job(o.ID)
			if late != nil && late.Status().State == "failed" {
				return late, pgerr.New(pgerr.ObjectNotInPrerequisite, "%s has failed, so a savepoint can not hold it", o.Describe()).
					WithHint("SHOW JOBS tells why. ALTER … RESUME builds it again, or drop it.")
			}
			return late, pgerr.New(pgerr.ObjectNotInPrerequisite, "%s is not caught up, so a savepoint can not hold it", o.Describe()).
				WithHint("SHOW JOBS tells its progress. Wait, or suspend it.")
		}
		if p != nil && len(p.Tokens) > 0 && !en.committed(o.ID) {
			return nil, pgerr.New(pgerr.ObjectNotInPrerequisite, "%s could not commit its output yet, so a savepoint can not hold it", o.Describe()).
				WithHint("The server's log has the reason; try again when it is mended.")
		}
	}
	return nil, nil
}

// committed reports whether a sink has committed all that it has prepared.
func (en *Engine) committed(id types.UUID) bool {
	j, err := en.job(id)
	if err != nil {
		return true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.tokens) == 0
}

// ReleaseSavepoint removes a savepoint. If a recovery that falls back to an
// older checkpoint would roll back to it again, that checkpoint goes first.
func (en *Engine) ReleaseSavepoint(ctx context.Context, name string) error {
	en.spMu.Lock()
	defer en.spMu.Unlock()
	sp, err := en.store.FindSavepoint(name)
	if err != nil {
		return err
	}
	now := en.timeline.Load()
	older := func(m *checkpoint.Manifest) bool { return m.Timeline < now }
	for range checkpoint.Kept {
		if !slices.ContainsFunc(en.store.Manifests(), older) {
			break
		}
		if _, err := en.Checkpoint(ctx); err != nil {
			return err
		}
	}
	return en.store.DropSavepoint(sp)
}

// RollbackOptions are ROLLBACK TO SAVEPOINT's words.
type RollbackOptions struct {
	Cascade             bool
	Parallelism         int    // of all jobs, 0: as saved
	Backend             string // of all jobs, "": as saved
	KeepAppendOnlySinks bool
}

// RollbackReport is what the user is told.
type RollbackReport struct {
	AutoSavepoint string
	Lines         []string
}

// RollbackTo makes the database's content that of a savepoint: a new epoch on
// a new timeline. The state before is saved first, under an automatic name.
func (en *Engine) RollbackTo(ctx context.Context, name string, o RollbackOptions) (*RollbackReport, error) {
	en.spMu.Lock()
	defer en.spMu.Unlock()
	sp, err := en.store.FindSavepoint(name)
	if err != nil {
		return nil, err
	}
	cat, err := catalog.Decode(sp.Manifest.Catalog)
	if err != nil {
		return nil, err
	}
	rep := &RollbackReport{}
	if err := en.checkRollback(cat, name, o, rep); err != nil {
		return nil, err
	}
	rep.AutoSavepoint = fmt.Sprintf("auto_%s", en.cfg.Now().UTC().Format("20060102_150405.000000"))
	rep.AutoSavepoint = strings.ReplaceAll(rep.AutoSavepoint, ".", "_")
	if err := en.createSavepoint(ctx, rep.AutoSavepoint, true); err != nil {
		return nil, err
	}
	// From the Timeline record on there is no way back: all of it has to be
	// readable before.
	if err := en.store.VerifySavepoint(ctx, sp); err != nil {
		return nil, err
	}
	if cat, err = en.rollbackCatalog(cat, o); err != nil {
		return nil, err
	}
	return rep, en.inLoop(ctx, func() error { return en.rollback(sp, cat) })
}

// checkRollback refuses what needs a word that was not said.
func (en *Engine) checkRollback(cat *catalog.Catalog, name string, o RollbackOptions, rep *RollbackReport) error {
	var later []string
	for _, x := range en.cat.Load().Objects() {
		if cat.ByID(x.ID) == nil {
			later = append(later, x.Describe())
		}
	}
	if len(later) > 0 && !o.Cascade {
		return pgerr.New(pgerr.DependentObjectsExist, "cannot roll back to savepoint %q because objects were created after it", name).
			WithDetail("%s", strings.Join(later, "\n")).
			WithHint("Use ROLLBACK TO SAVEPOINT %s CASCADE to drop them too.", name)
	}
	for _, l := range later {
		rep.Lines = append(rep.Lines, "drop cascades to "+l)
	}
	for _, x := range cat.Objects(catalog.Sink) {
		keeps, err := en.appendOnlySink(x)
		if err != nil {
			return err
		}
		if keeps && !o.KeepAppendOnlySinks {
			return pgerr.New(pgerr.ObjectNotInPrerequisite, "cannot roll back to savepoint %q: what sink %q has written since can not be taken back", name, x.Name).
				WithHint("Say WITH (append_only_sinks = 'keep') to leave its output as it is and go on behind it.")
		}
	}
	return nil
}

func (en *Engine) appendOnlySink(o *catalog.Object) (bool, error) {
	f, err := all.Sink(o.Options["connector"])
	if err != nil {
		return false, err
	}
	plan, err := planner.DecodePlan(o.Plan)
	if err != nil {
		return false, err
	}
	s, err := f.Open(en.ctx, sinkSpec(o, plan), en.env(0))
	if err != nil {
		return false, err
	}
	return s.AppendOnly(), s.Close()
}

// rollbackCatalog is the savepoint's catalog, as a version after the newest,
// with the settings asked for.
func (en *Engine) rollbackCatalog(cat *catalog.Catalog, o RollbackOptions) (*catalog.Catalog, error) {
	cat = cat.After(en.cat.Load())
	var changes []catalog.Change
	for _, x := range cat.Objects(catalog.MaterializedView, catalog.Sink) {
		c := *x
		if o.Parallelism > 0 {
			c.Parallelism = min(o.Parallelism, c.NumGroups)
		}
		if o.Backend != "" {
			c.Backend = o.Backend
		}
		changes = append(changes, catalog.Change{Put: &c})
	}
	return cat.Apply(changes)
}

// rollback runs in the epoch loop. The commit point is the synced Timeline
// record: a crash after it replays to the same content.
func (en *Engine) rollback(sp *checkpoint.Savepoint, cat *catalog.Catalog) error {
	if r := en.rnd.Load(); r != nil {
		<-r.finished
	}
	before := *en.closed.Load()
	en.sessions.abortAll(pgerr.New(pgerr.SerializationFailure, "could not serialize access: the database was rolled back to savepoint %q", sp.Name).
		WithHint("Run the transaction again."))
	en.saveForSubscribers()
	t := &journal.Timeline{Number: en.timeline.Load() + 1, Epoch: before.ID + 1, Savepoint: sp.ID}
	if err := en.recordRollback(t, cat); err != nil {
		return err
	}
	if err := en.takeOver(en.ctx, sp, cat, t); err != nil {
		en.fatal(err)
		return err
	}
	en.goLive()
	en.diffForSubscribers(t.Epoch)
	en.log.Info("rolled back", "savepoint", sp.Name, "timeline", t.Number, "epoch", t.Epoch)
	return nil
}

// recordRollback writes the Timeline record, and before it what the rollback
// changes in the savepoint's catalog. Recovery from the manifest that follows
// begins at the Timeline record and passes over it.
func (en *Engine) recordRollback(t *journal.Timeline, cat *catalog.Catalog) error {
	var put []catalog.Change
	for _, o := range cat.Objects(catalog.MaterializedView, catalog.Sink) {
		put = append(put, catalog.Change{Put: o})
	}
	ddl := &journal.Record{Kind: journal.KindDDL, DDL: &journal.DDL{Version: cat.Version(), Delta: catalog.AppendChanges(nil, put)}}
	line := &journal.Record{Kind: journal.KindTimeline, Timeline: t}
	lsn, err := en.journal.Append(en.ctx, ddl, line)
	if err != nil {
		return err
	}
	if err := en.journal.Sync(en.ctx); err != nil {
		en.fatal(err)
		return err
	}
	en.lsn = lsn
	return nil
}

// takeOver replaces everything by a savepoint's content, as of epoch t.Epoch.
func (en *Engine) takeOver(ctx context.Context, sp *checkpoint.Savepoint, cat *catalog.Catalog, t *journal.Timeline) error {
	en.live.Store(false)
	en.closeObjects()
	m, err := en.store.Adopt(sp, t.Epoch)
	if err != nil {
		return err
	}
	m.Timeline, m.LSN = t.Number, en.lsn
	m.Epoch = types.EpochInfo{ID: t.Epoch, Now: max(en.now(), en.closed.Load().Now), Catalog: cat.Version()}
	m.Catalog = cat.Append(nil)
	for i := range m.Parts {
		if cat.ByID(m.Parts[i].Job).Status != catalog.Suspended {
			m.Parts[i].Epoch = t.Epoch
		}
	}
	en.parts.clear()
	if err := en.store.Write(m); err != nil {
		return err
	}
	return en.restore(ctx, m)
}

// replayRollback does at recovery what a Timeline record, and the DDL record
// before it, say.
func (en *Engine) replayRollback(ctx context.Context, t *journal.Timeline, in *epochInput) error {
	list, _, err := en.store.Savepoints()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(sp *checkpoint.Savepoint) bool { return sp.ID == t.Savepoint })
	if i < 0 {
		return pgerr.New(pgerr.DataCorrupted, "the journal rolls back to savepoint %s, which is gone", t.Savepoint).
			WithHint("Bring the folder of that savepoint back.")
	}
	cat, err := catalog.Decode(list[i].Manifest.Catalog)
	if err != nil {
		return err
	}
	cat = cat.After(en.cat.Load())
	for _, changes := range in.deltas {
		if cat, err = cat.Apply(changes); err != nil {
			return err
		}
	}
	return en.takeOver(ctx, list[i], cat, t)
}
