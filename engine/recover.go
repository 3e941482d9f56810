package engine

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/checkpoint"
	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/types"
)

type sourcePositions = journal.SourcePositions

// epochGap is what epoch numbers jump by at a start: the cuts of sources
// alone that a crash has lost had smaller numbers than these.
const epochGap = 1 << 16

// rejectedID is the identity of streamdb.rejected in every data directory.
var rejectedID = types.UUID{0: 0x73, 1: 0x64, 6: 0x40, 8: 0x80, 15: 0x01}

// rejectedColumns are streamdb.rejected: what sources could not decode.
func rejectedColumns() []catalog.Column {
	text := types.T(types.Text)
	return []catalog.Column{
		{ID: 1, Name: "source", Type: text}, {ID: 2, Name: "split", Type: text},
		{ID: 3, Name: "offset", Type: types.T(types.Int8)},
		{ID: 4, Name: "sqlstate", Type: text}, {ID: 5, Name: "error", Type: text}, {ID: 6, Name: "raw", Type: text},
	}
}

// bootstrap is the catalog of a new data directory, the same in each.
func bootstrap() (*catalog.Catalog, error) {
	return catalog.Empty().Apply([]catalog.Change{{Put: &catalog.Object{
		ID: rejectedID, Kind: catalog.Table, Schema: catalog.StreamDB, Name: "rejected",
		Columns: rejectedColumns(), Status: catalog.Ready, NumGroups: types.KeyGroups, Created: 1,
	}}})
}

// recover brings the engine to where the journal ends: from the newest sound
// manifest (nil: from the beginning), replaying epoch by epoch what came after
// it with the code that closes live epochs.
func (en *Engine) recover(ctx context.Context, m *checkpoint.Manifest) error {
	start := time.Now()
	if err := en.restore(ctx, m); err != nil {
		return err
	}
	n, err := en.replay(ctx, en.lsn)
	if err != nil {
		return err
	}
	last := *en.closed.Load()
	if n > 0 || m != nil {
		last.ID = (last.ID/epochGap + 1) * epochGap
		en.advanceAll(last)
	}
	en.goLive()
	en.nextRound = en.cfg.Now().Add(en.cfg.CheckpointInterval)
	en.log.Info("recovered", "epochs_replayed", n, "epoch", last.ID, "took", time.Since(start))
	return nil
}

// goLive lets the sources read ahead: replay is over.
func (en *Engine) goLive() {
	en.starting.Lock() // no job may be half-way through attaching
	defer en.starting.Unlock()
	en.live.Store(true)
	for _, h := range en.sources {
		if slices.ContainsFunc(h.needs, func(n []int) bool { return n != nil }) {
			h.restart()
		}
	}
}

// restore opens everything as a manifest has it (nil: a new directory) and
// waits until all jobs stand at their inputs.
func (en *Engine) restore(ctx context.Context, m *checkpoint.Manifest) error {
	cat, err := bootstrap()
	if err != nil {
		return err
	}
	info := types.EpochInfo{ID: 1, Now: en.now(), Catalog: cat.Version()}
	en.timeline.Store(1)
	if m != nil {
		if cat, err = catalog.Decode(m.Catalog); err != nil {
			return err
		}
		info, en.lsn = m.Epoch, m.LSN
		en.timeline.Store(m.Timeline)
		en.manifest.Store(m)
	}
	en.cat.Store(cat)
	en.closed.Store(&info)
	order := []catalog.Kind{catalog.Table, catalog.Source, catalog.SourceRelation, catalog.MaterializedView, catalog.Sink}
	for _, kind := range order {
		for _, o := range cat.Objects(kind) {
			if err := en.addObject(o, info.ID, m); err != nil {
				return objectError(o, err)
			}
		}
	}
	if m == nil {
		return nil
	}
	for _, j := range en.jobs {
		if j.obj.Load().Status != catalog.Suspended {
			j.start(en.parts.get(j.id))
		}
	}
	patience := time.After(attachPatience)
	for _, j := range en.jobs {
		select {
		case <-j.attached:
		case <-patience:
			en.log.Warn("a job does not stand at its inputs yet; it will be built again", "job", j.name)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// attachPatience bounds how long a recovery waits for all jobs to stand at
// their inputs. One that comes later misses what was replayed meanwhile, and
// so is rebuilt.
const attachPatience = 30 * time.Second

// objectError says which object could not be recovered.
func objectError(o *catalog.Object, err error) error {
	e := *pgerr.From(err)
	e.Message = "recovering " + o.Describe() + ": " + e.Message
	return &e
}

// replay applies the journal from lsn on and gives the number of epochs.
func (en *Engine) replay(ctx context.Context, lsn types.LSN) (int, error) {
	r, err := en.journal.Read(lsn)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, loose := 0, false
	in := en.newReplay()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		loose = true
		switch rec.Kind {
		case journal.KindCommit:
			err = en.replayCommit(rec.Commit, in)
		case journal.KindDDL:
			err = en.replayDDL(rec.DDL, in)
		case journal.KindTimeline:
			for _, t := range en.tables {
				t.Unstage()
			}
			if !rec.Timeline.Savepoint.IsZero() && rec.Timeline.Number > en.timeline.Load() {
				en.lsn = rec.LSN // where the manifest that it makes begins
				err = en.replayRollback(ctx, rec.Timeline, in)
			}
			in, loose = en.newReplay(), false
		case journal.KindCut:
			if err = en.replayCut(ctx, rec.Cut, in); err == nil {
				in, loose = en.newReplay(), false
				n++
			}
		}
		if err != nil {
			return n, err
		}
	}
	en.lsn = en.journal.End()
	if loose {
		return n, en.voidTail(ctx)
	}
	return n, nil
}

// voidTail marks records that were written without their cut, and so were
// never acknowledged, as void for all later replays.
func (en *Engine) voidTail(ctx context.Context) error {
	for _, t := range en.tables {
		t.Unstage()
	}
	lsn, err := en.journal.Append(ctx, &journal.Record{Kind: journal.KindTimeline, Timeline: &journal.Timeline{Number: en.timeline.Load()}})
	if err != nil {
		return err
	}
	en.lsn = lsn
	return en.journal.Sync(ctx)
}

func (en *Engine) newReplay() *epochInput {
	return &epochInput{catalog: en.cat.Load(), replaying: true}
}

func (en *Engine) replayCommit(c *journal.Commit, in *epochInput) error {
	for _, tc := range c.Tables {
		t, o := en.tables[tc.Table], in.catalog.ByID(tc.Table)
		if t == nil || o == nil {
			return pgerr.New(pgerr.DataCorrupted, "the journal has a commit to table %s, which does not exist at that point", tc.Table)
		}
		w := TableWrite{Table: tc.Table}
		for _, b := range tc.Chunks {
			chunk, rest, err := types.DecodeChunk(b, o.TypeSchema().Types())
			if err != nil || len(rest) > 0 {
				return pgerr.Wrap(err, pgerr.DataCorrupted, "the journal has a commit to table %q that can not be read", o.Name)
			}
			w.Chunks = append(w.Chunks, chunk)
		}
		t.Stage(w.Chunks)
	}
	return nil
}

// replayDDL notes what a DDL record changes; the cut after it makes it so.
func (en *Engine) replayDDL(d *journal.DDL, in *epochInput) error {
	changes, err := catalog.DecodeChanges(d.Delta)
	if err == nil {
		in.deltas = append(in.deltas, changes)
	}
	return err
}

// replayCut closes a replayed epoch: its sources' rows are read again up to
// the recorded positions.
func (en *Engine) replayCut(ctx context.Context, c *journal.Cut, in *epochInput) error {
	en.starting.Lock() // keeps jobs that attach meanwhile out
	defer en.starting.Unlock()
	in.info = c.Epoch
	if in.info.ID <= en.closed.Load().ID {
		return pgerr.New(pgerr.DataCorrupted, "the journal has epoch %d after epoch %d", in.info.ID, en.closed.Load().ID)
	}
	for _, changes := range in.deltas {
		next, err := in.catalog.Apply(changes)
		if err != nil {
			return err
		}
		in.catalog = next
		in.changes = append(in.changes, changes...)
	}
	for _, sp := range c.Positions {
		h := en.sources[sp.Source]
		if h == nil {
			return pgerr.New(pgerr.DataCorrupted, "the journal has positions of source %s, which does not exist at that point", sp.Source)
		}
		a := admission{hub: h, until: sp.Splits}
		if err := h.awaitConsumers(ctx); err != nil {
			return err
		}
		err := h.readRange(ctx, h.positions(), sp.Splits, h.needs, func(b sourceBatch) error {
			a.batches = append(a.batches, b)
			return nil
		})
		if err != nil {
			return err
		}
		in.sources = append(in.sources, a)
	}
	return en.apply(in)
}

// awaitConsumers holds a replay until the fastest consumer has taken most of
// what is published.
func (h *hub) awaitConsumers(ctx context.Context) error {
	for h.lag() > maxLagBytes {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// advanceAll makes info the newest closed epoch although nothing has changed.
func (en *Engine) advanceAll(info types.EpochInfo) {
	info.Now = max(info.Now, en.now())
	info.Catalog = en.cat.Load().Version()
	en.closed.Store(&info)
	for _, t := range en.tables {
		t.Relation().Advance(info.ID)
	}
	for _, h := range en.sources {
		for _, s := range h.streams {
			if s != nil {
				s.Publish(info, nil, 0)
			}
		}
	}
	for _, j := range en.jobs {
		j.signal()
	}
}

// stageRejected adds undecodable records to streamdb.rejected in the epoch
// that is being applied. They are derived from the source, so a replay finds
// them again; they are not in the journal. Epoch loop only.
func (en *Engine) stageRejected(source string, rs []connector.Rejected) {
	t := en.tables[rejectedID]
	if len(rs) == 0 || t == nil {
		return
	}
	var schema types.Schema
	for _, c := range rejectedColumns() {
		schema = append(schema, types.Column{Name: c.Name, Type: c.Type})
	}
	for len(rs) > 0 {
		n := min(len(rs), types.MaxChunkRows)
		c := types.NewChunk(schema.Types())
		for _, r := range rs[:n] {
			c.AppendRow(1, types.NewText(source), types.NewText(string(r.Split)), types.NewInt8(r.Offset),
				types.NewText(string(r.Err.Code)), types.NewText(r.Err.Message), types.NewText(strings.ToValidUTF8(strings.ReplaceAll(string(r.Raw), "\x00", ""), "\uFFFD")))
		}
		t.Stage([]*types.Chunk{c})
		rs = rs[n:]
	}
}
