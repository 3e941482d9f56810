package engine

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/connector/all"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/types"
)

// Bounds of reading ahead and of what a source may add to one epoch.
const (
	readRows       = types.MaxChunkRows
	aheadBatches   = 16
	maxLagBytes    = 32 << 20 // what the fastest consumer may be behind
	idleSourceWait = 5 * time.Millisecond
	splitsInterval = time.Second
)

// hub reads a source once for all its consumers: a goroutine reads ahead into
// a bounded queue, the epoch loop takes from it and publishes to the source's
// relations. It reads only while someone consumes.
type hub struct {
	en      *Engine
	obj     *catalog.Object
	spec    connector.SourceSpec
	srcMu   sync.Mutex
	src     connector.Source   // opened at the first use, and again after a failure
	streams []*relation.Stream // by the source's relation number; nil: dropped
	ids     []types.UUID
	schemas []types.Schema

	// Epoch loop only.
	needs    [][]int // union over consumers, nil: nobody wants the relation
	admitted map[types.Split]types.Position
	log      []positionsAt // where epochs that can still be attached to ended
	events   atomic.Int64
	bytes    atomic.Int64

	ahead  chan sourceBatch
	put    []sourceBatch // taken and put back: the epoch was not closed
	runMu  sync.Mutex    // a dropped source is closed beside the epoch loop
	closed bool
	cancel context.CancelFunc
	wg     sync.WaitGroup
	errMu  sync.Mutex
	err    error // why reading has stopped for now
}

type positionsAt struct {
	epoch     types.Epoch
	positions []types.SplitPosition
}

// sourceBatch is a piece of one split.
type sourceBatch struct {
	split types.Split
	pos   types.Position
	batch connector.Batch
}

// admission is what an epoch takes of one source.
type admission struct {
	hub     *hub
	batches []sourceBatch
	// until, when replaying, says how far to read instead.
	until []types.SplitPosition
}

// positions are where the admission ends.
func (a *admission) positions() journal.SourcePositions {
	sp := journal.SourcePositions{Source: a.hub.obj.ID, Splits: a.until}
	if a.until != nil {
		return sp
	}
	last := map[types.Split]int{}
	for _, b := range a.batches {
		i, ok := last[b.split]
		if !ok {
			last[b.split] = len(sp.Splits)
			sp.Splits = append(sp.Splits, types.SplitPosition{Split: b.split, Pos: b.pos})
			continue
		}
		sp.Splits[i].Pos = b.pos
	}
	return sp
}

// sourceSpec is an object's spec for its connector.
func sourceSpec(o *catalog.Object) connector.SourceSpec {
	s := connector.SourceSpec{Options: o.Options}
	if len(o.Columns) > 0 {
		s.Columns = o.TypeSchema()
	}
	return s
}

func (en *Engine) env(start types.Micros) connector.Env {
	return connector.Env{FS: en.fs, Now: en.cfg.Now, StartTime: start, Dir: en.cfg.WorkDir}
}

// newHub makes the hub of a source object; its relations are added as their
// objects come, and the source itself is opened when it is first read.
func (en *Engine) newHub(o *catalog.Object, at []types.SplitPosition) (*hub, error) {
	f, err := all.Source(o.Options["connector"])
	if err != nil {
		return nil, err
	}
	rels, err := f.Relations(sourceSpec(o))
	if err != nil {
		return nil, err
	}
	h := &hub{en: en, obj: o, spec: sourceSpec(o), admitted: map[types.Split]types.Position{},
		streams: make([]*relation.Stream, len(rels)), ids: make([]types.UUID, len(rels)),
		needs: make([][]int, len(rels))}
	for _, r := range rels {
		h.schemas = append(h.schemas, r.Schema)
	}
	for _, sp := range at {
		h.admitted[sp.Split] = sp.Pos
	}
	return h, nil
}

// source opens the source, once.
func (h *hub) source(ctx context.Context) (connector.Source, error) {
	h.srcMu.Lock()
	defer h.srcMu.Unlock()
	if h.src != nil {
		return h.src, nil
	}
	f, err := all.Source(h.obj.Options["connector"])
	if err != nil {
		return nil, err
	}
	h.src, err = f.Open(ctx, h.spec, h.en.env(h.obj.StartTime))
	return h.src, err
}

// addRelation makes stream number i of the source, readable from after epoch e.
func (h *hub) addRelation(i int, o *catalog.Object, e types.Epoch) *relation.Stream {
	h.streams[i] = relation.NewStream(o.ID, o.Name, o.TypeSchema(), e, h.en.cfg.HistoryBytes)
	h.ids[i] = o.ID
	return h.streams[i]
}

// require adds columns of relation i to what is read. Epoch loop only; what
// is published from the next epoch on has them.
func (h *hub) require(i int, cols []int) {
	want := append([]int{}, h.needs[i]...)
	for _, c := range cols {
		if !containsInt(want, c) {
			want = append(want, c)
		}
	}
	if h.needs[i] != nil && len(want) == len(h.needs[i]) && h.cancel != nil {
		return
	}
	h.needs[i] = want
	if h.en.live.Load() { // recovery begins to read ahead when it is done
		h.restart()
	}
}

func containsInt(s []int, v int) bool {
	for _, x := range s {
		if x == v {
			return true
		}
	}
	return false
}

// restart begins reading at what was admitted, with the columns now needed.
// A closed hub stays closed.
func (h *hub) restart() {
	h.runMu.Lock()
	defer h.runMu.Unlock()
	h.halt()
	if h.closed {
		return
	}
	ctx, cancel := context.WithCancel(h.en.ctx)
	h.cancel = cancel
	h.ahead = make(chan sourceBatch, aheadBatches)
	from := make(map[types.Split]types.Position, len(h.admitted))
	for s, p := range h.admitted {
		from[s] = p
	}
	r := &aheadReader{h: h, needs: cloneNeeds(h.needs), pos: from, out: h.ahead, readers: map[types.Split]connector.Reader{}}
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		r.run(ctx)
	}()
}

func cloneNeeds(n [][]int) [][]int {
	out := make([][]int, len(n))
	for i := range n {
		if n[i] != nil {
			out[i] = append([]int{}, n[i]...)
		}
	}
	return out
}

// halt stops reading ahead; what was read and not admitted is read again.
// Call with runMu held.
func (h *hub) halt() {
	if h.cancel != nil {
		h.cancel()
		h.wg.Wait()
		h.cancel = nil
	}
	h.put = nil
	h.ahead = nil
}

func (h *hub) close() {
	h.runMu.Lock()
	h.halt()
	h.closed = true
	h.runMu.Unlock()
	for _, s := range h.streams {
		if s != nil {
			s.Close()
		}
	}
	h.srcMu.Lock()
	defer h.srcMu.Unlock()
	if h.src == nil {
		return
	}
	if err := h.src.Close(); err != nil {
		h.en.log.Error("closing a source", "source", h.obj.Name, "err", err)
	}
}

func (h *hub) setErr(err error) {
	h.errMu.Lock()
	defer h.errMu.Unlock()
	if err != nil && (h.err == nil || h.err.Error() != err.Error()) {
		h.en.log.Error("reading a source failed, it is tried again", "source", h.obj.Name, "err", err)
	}
	h.err = err
}

// lag is what the fastest consumer has not taken yet; -1 without consumers.
func (h *hub) lag() int64 {
	least, any := int64(0), false
	for _, s := range h.streams {
		if s == nil {
			continue
		}
		if b, n := s.Lag(); n > 0 {
			if !any || b < least {
				least = b
			}
			any = true
		}
	}
	if !any {
		return -1
	}
	return least
}

// admit takes what the sources have ready. An epoch that only sources cause
// waits (wait > 0) until enough is there or EpochInterval has passed.
func (en *Engine) admit(others bool, last time.Time) (out []admission, wait time.Duration) {
	since := en.cfg.Now().Sub(last)
	for _, h := range en.sources {
		if h.ahead == nil && len(h.put) == 0 {
			continue
		}
		ready := len(h.ahead) + len(h.put)
		if ready == 0 {
			continue
		}
		if lag := h.lag(); lag < 0 || lag > maxLagBytes {
			continue
		}
		if !others && ready < aheadBatches && since < en.cfg.EpochInterval {
			wait = en.cfg.EpochInterval - since
			continue
		}
		if a := h.take(); len(a.batches) > 0 {
			out = append(out, a)
		}
	}
	return out, wait
}

// take empties the queue, as it is now.
func (h *hub) take() admission {
	a := admission{hub: h, batches: h.put}
	h.put = nil
	for n := len(h.ahead); n > 0; n-- {
		a.batches = append(a.batches, <-h.ahead)
	}
	return a
}

// readmit puts back what an epoch that could not be closed had taken.
func (en *Engine) readmit(as []admission) {
	for _, a := range as {
		a.hub.put = append(a.batches, a.hub.put...)
	}
}

// publishSources hands the epoch's rows to the sources' relations, and moves
// the others on.
func (en *Engine) publishSources(in *epochInput) {
	moved := map[*hub]bool{}
	for i := range in.sources {
		a := &in.sources[i]
		moved[a.hub] = true
		a.hub.publish(in, a)
	}
	for _, h := range en.sources {
		if !moved[h] {
			h.publish(in, &admission{hub: h})
		}
	}
}

func (h *hub) publish(in *epochInput, a *admission) {
	chunks := make([][]*types.Chunk, len(h.streams))
	var bytes int64
	for _, b := range a.batches {
		for i, c := range b.batch.Chunks {
			if c != nil && c.N > 0 {
				chunks[i] = append(chunks[i], c)
			}
		}
		bytes += b.batch.Bytes
		h.admitted[b.split] = b.pos
		h.events.Add(b.batch.Events)
		h.en.stageRejected(h.obj.Name, b.batch.Rejected)
	}
	h.bytes.Add(bytes)
	if len(a.batches) > 0 || len(h.log) == 0 {
		h.log = append(h.log, positionsAt{in.info.ID, h.positions()})
	}
	var since types.Epoch = ^types.Epoch(0)
	for i, s := range h.streams {
		if s != nil {
			s.Publish(in.info, chunks[i], chunkBytes(chunks[i]))
			lo, _ := s.Bounds()
			since = min(since, lo)
		}
	}
	n := 0
	for n+1 < len(h.log) && h.log[n+1].epoch <= since {
		n++
	}
	h.log = h.log[n:]
}

// positions are what is admitted so far.
func (h *hub) positions() []types.SplitPosition {
	out := make([]types.SplitPosition, 0, len(h.admitted))
	for s, p := range h.admitted {
		out = append(out, types.SplitPosition{Split: s, Pos: p})
	}
	return out
}

// positionsAt tells how far epoch e reached. Epoch loop only.
func (h *hub) positionsAt(e types.Epoch) []types.SplitPosition {
	var at []types.SplitPosition
	for _, l := range h.log {
		if l.epoch <= e {
			at = l.positions
		}
	}
	return at
}

func chunkBytes(cs []*types.Chunk) int64 {
	var n int64
	for _, c := range cs {
		for i := range c.Cols {
			v := &c.Cols[i]
			n += int64(len(v.I64)*8 + len(v.F64)*8 + len(v.Bool) + len(v.Iv)*16)
			for _, s := range v.Span {
				n += int64(s.Len) + 8
			}
		}
	}
	return n
}

// aheadReader is the goroutine that reads ahead.
type aheadReader struct {
	h       *hub
	needs   [][]int
	pos     map[types.Split]types.Position
	out     chan<- sourceBatch
	readers map[types.Split]connector.Reader
	ended   map[types.Split]bool
	listed  time.Time
}

func (r *aheadReader) run(ctx context.Context) {
	defer func() {
		for _, rd := range r.readers {
			_ = rd.Close()
		}
	}()
	r.ended = map[types.Split]bool{}
	for ctx.Err() == nil {
		got, err := r.round(ctx)
		if ctx.Err() != nil {
			return // what failed was told to
		}
		r.h.setErr(err)
		wait := time.Duration(0)
		switch {
		case err != nil:
			wait = 500 * time.Millisecond
		case !got:
			wait = idleSourceWait
		}
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
}

// round reads one batch of each split.
func (r *aheadReader) round(ctx context.Context) (got bool, err error) {
	if now := time.Now(); now.Sub(r.listed) > splitsInterval {
		src, err := r.h.source(ctx)
		if err != nil {
			return false, err
		}
		splits, err := src.Splits(ctx)
		if err != nil {
			return false, err
		}
		for _, s := range splits {
			if r.readers[s] == nil && !r.ended[s] {
				rd, err := src.Open(ctx, s, r.pos[s], r.needs)
				if err != nil {
					return false, err
				}
				r.readers[s] = rd
			}
		}
		r.listed = now
	}
	for s, rd := range r.readers {
		b := newBatch(r.h.schemas, r.needs)
		pos, err := rd.Read(ctx, &b, readRows, nil)
		if err != nil && !errors.Is(err, io.EOF) {
			_ = rd.Close()
			delete(r.readers, s)
			r.listed = time.Time{}
			return got, err
		}
		if pos != nil && string(pos) != string(r.pos[s]) {
			got = true
			r.pos[s] = pos
			select {
			case r.out <- sourceBatch{split: s, pos: pos, batch: b}:
				if len(r.out) == 1 || len(r.out) == cap(r.out) {
					r.h.en.wakeLoop()
				}
			case <-ctx.Done():
				return got, nil
			}
		}
		if err != nil { // io.EOF
			_ = rd.Close()
			delete(r.readers, s)
			r.ended[s] = true
		}
	}
	return got, nil
}

func newBatch(schemas []types.Schema, needs [][]int) connector.Batch {
	b := connector.Batch{Chunks: make([]*types.Chunk, len(schemas))}
	for i, s := range schemas {
		if needs[i] != nil {
			b.Chunks[i] = types.NewChunk(s.Types())
		}
	}
	return b
}

// readRange gives a source's rows between two sets of positions to fn, for
// replay and for jobs that catch up. It does not touch the hub's own reading.
func (h *hub) readRange(ctx context.Context, from, until []types.SplitPosition, needs [][]int, fn func(sourceBatch) error) error {
	start := map[types.Split]types.Position{}
	for _, sp := range from {
		start[sp.Split] = sp.Pos
	}
	for _, u := range until {
		if string(start[u.Split]) == string(u.Pos) {
			continue
		}
		if err := h.readSplit(ctx, u, start[u.Split], needs, fn); err != nil {
			return err
		}
	}
	return nil
}

func (h *hub) readSplit(ctx context.Context, u types.SplitPosition, pos types.Position, needs [][]int, fn func(sourceBatch) error) error {
	src, err := h.source(ctx)
	if err != nil {
		return err
	}
	rd, err := src.Open(ctx, u.Split, pos, needs)
	if err != nil {
		return err
	}
	defer rd.Close()
	for string(pos) != string(u.Pos) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := newBatch(h.schemas, needs)
		next, err := rd.Read(ctx, &b, readRows, u.Pos)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if next == nil || string(next) == string(pos) {
			if errors.Is(err, io.EOF) {
				return pgerr.New(pgerr.DataCorrupted, "source %q ended before the position that was read from it earlier", h.obj.Name).
					WithDetail("Split %q.", string(u.Split)).
					WithHint("Bring the source's data back, or drop the source.")
			}
			select { // throttled, or the data is not back yet
			case <-time.After(idleSourceWait):
			case <-ctx.Done():
			}
			continue
		}
		pos = next
		if err := fn(sourceBatch{split: u.Split, pos: pos, batch: b}); err != nil {
			return err
		}
	}
	return nil
}
