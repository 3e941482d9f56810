package exec

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/filesystem"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/state/pebble"
	"github.com/streamdb/streamdb/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	intText = parseTypes("int8,text")
	aggOut  = parseTypes("int8,int8,numeric,text")
)

// aggGraph is input 0 (k int8, v text) → filter and key arithmetic → hash
// exchange → per key: count, sum(k), max(v) → end.
func aggGraph(t *testing.T, end OpSpec) *Graph {
	p := &opParser{t: t, in: [][]types.Type{intText}}
	p.line("filter (>= $0 0)")
	first := Fragment{Edges: []Edge{{From: -1, Dist: Any}}, Ops: p.ops}
	q := &opParser{t: t, in: p.in, tables: 10}
	q.line("agg keys=0 : count, sum($0), max($1)")
	end.In, end.Out = q.in, q.in[0]
	second := Fragment{Edges: []Edge{{From: 0, Dist: Hash, Cols: []int{0}}}, Ops: append(q.ops, end)}
	for i := range second.Ops {
		second.Ops[i].ID += 10
	}
	return &Graph{Inputs: [][]types.Type{intText}, Fragments: []Fragment{first, second}}
}

// joinGraph joins inputs 0 and 1 on their first columns by hash exchanges.
func joinGraph(t *testing.T) *Graph {
	p := &opParser{t: t, in: [][]types.Type{intText, intText}}
	p.line("join left=0 right=0")
	ops := append(p.ops, collectSpec(p.in[0]))
	return &Graph{Inputs: [][]types.Type{intText, intText}, Fragments: []Fragment{{
		Edges: []Edge{{From: -1, Port: 0, Dist: Hash, Cols: []int{0}}, {From: -2, Port: 1, Dist: Hash, Cols: []int{0}}},
		Ops:   ops,
	}}}
}

// gathered is the output of a job.
type gathered struct {
	mu   sync.Mutex
	rows signed
}

func (g *gathered) take(c *types.Chunk) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rows.addChunk(c)
	return nil
}

func (g *gathered) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rows.String()
}

func testConfig(g *Graph, parallelism int, out *gathered) Config {
	return Config{
		ID: types.UUID{1}, Name: "test", Graph: g, Parallelism: parallelism,
		Backend: memory.New(), FS: vfs.NewMem(), Dir: "scratch", Root: "root", Collect: out.take, MemoryLimit: 1 << 30,
	}
}

func start(t *testing.T, cfg Config) *Job {
	t.Helper()
	j, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Stop)
	return j
}

func push(t *testing.T, j *Job, input int, c *types.Chunk) {
	t.Helper()
	if err := j.Push(input, c); err != nil {
		t.Fatal(err)
	}
}

func barrierAt(t *testing.T, j *Job, e types.Epoch, cp *Checkpoint) {
	t.Helper()
	if err := j.Barrier(types.EpochInfo{ID: e}, cp); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, j *Job, e types.Epoch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := j.Wait(ctx, e); err != nil {
		t.Fatal(err)
	}
}

// checkpointAt asks for a checkpoint and gives where its part will be.
func checkpointTo(fs vfs.FS) (*Checkpoint, chan *Part, chan error) {
	parts, errs := make(chan *Part, 1), make(chan error, 1)
	return &Checkpoint{Dest: state.Dest{FS: fs, Root: "root", Prefix: "j-"}, Done: func(p *Part, err error) {
		if err != nil {
			errs <- err
			return
		}
		parts <- p
	}}, parts, errs
}

func takePart(t *testing.T, parts chan *Part, errs chan error) *Part {
	t.Helper()
	select {
	case p := <-parts:
		return p
	case err := <-errs:
		t.Fatal(err)
	case <-time.After(10 * time.Second):
		t.Fatal("no checkpoint")
	}
	return nil
}

// feed is random changes, of which every prefix is consistent.
type feed struct {
	rng  *rand.Rand
	live []row
}

func (f *feed) chunk(n int) *types.Chunk {
	c := types.NewChunk(intText)
	for range n {
		if len(f.live) > 0 && f.rng.IntN(3) == 0 {
			i := f.rng.IntN(len(f.live))
			c.AppendRow(-1, f.live[i].vals...)
			f.live[i] = f.live[len(f.live)-1]
			f.live = f.live[:len(f.live)-1]
			continue
		}
		r := row{vals: []types.Datum{types.NewInt8(int64(f.rng.IntN(60) - 5)), types.NewText(fmt.Sprint("v", f.rng.IntN(50)))}}
		f.live = append(f.live, r)
		c.AppendRow(1, r.vals...)
	}
	return c
}

// answer computes aggGraph's output from scratch.
func (f *feed) answer() signed {
	type group struct {
		n   int64
		max string
	}
	m := map[int64]*group{}
	for _, r := range f.live {
		k, v := r.vals[0].I, string(r.vals[1].B)
		if k < 0 {
			continue
		}
		if m[k] == nil {
			m[k] = &group{}
		}
		m[k].n++
		m[k].max = max(m[k].max, v)
	}
	s := signed{}
	for k, g := range m {
		s.add(fmt.Sprintf("%d %d %d %s", k, g.n, k*g.n, g.max), 1)
	}
	return s
}

func TestJobAggregates(t *testing.T) {
	for _, p := range []int{1, 3, 8} {
		t.Run(fmt.Sprint("parallelism=", p), func(t *testing.T) {
			f := &feed{rng: rand.New(rand.NewPCG(newSeed(t), 2))}
			out := &gathered{rows: signed{}}
			j := start(t, testConfig(aggGraph(t, collectSpec(nil)), p, out))
			e := types.Epoch(0)
			for range 20 {
				for range f.rng.IntN(5) {
					push(t, j, 0, f.chunk(1+f.rng.IntN(600)))
				}
				e++
				barrierAt(t, j, e, nil)
				if f.rng.IntN(3) == 0 {
					wait(t, j, e)
					if got, want := out.String(), f.answer().String(); got != want {
						t.Fatalf("epoch %d:\n%s\nwant\n%s", e, got, want)
					}
				}
			}
			wait(t, j, e)
			if got, want := out.String(), f.answer().String(); got != want {
				t.Fatalf("%s\nwant\n%s", got, want)
			}
			if j.Flushed() != e {
				t.Fatalf("flushed %d of %d", j.Flushed(), e)
			}
		})
	}
}

func TestJobJoins(t *testing.T) {
	for _, p := range []int{1, 4} {
		out := &gathered{rows: signed{}}
		j := start(t, testConfig(joinGraph(t), p, out))
		rng := rand.New(rand.NewPCG(newSeed(t), 3))
		sides := [2]*feed{{rng: rng}, {rng: rng}}
		for e := range types.Epoch(10) {
			for range 4 {
				s := rng.IntN(2)
				push(t, j, s, sides[s].chunk(100))
			}
			barrierAt(t, j, e+1, nil)
		}
		wait(t, j, 10)
		want := signed{}
		for _, l := range sides[0].live {
			for _, r := range sides[1].live {
				if l.vals[0].I == r.vals[0].I {
					want.add(fmt.Sprintf("%d %s %d %s", l.vals[0].I, l.vals[1].B, r.vals[0].I, r.vals[1].B), 1)
				}
			}
		}
		if out.String() != want.String() {
			t.Fatalf("parallelism %d: %s\nwant\n%s", p, out, want)
		}
	}
}

// TestJobRestores goes on from a checkpoint at other parallelisms and on other
// backends; what the new job emits takes back what the old one gave.
func TestJobRestores(t *testing.T) {
	f := &feed{rng: rand.New(rand.NewPCG(newSeed(t), 4))}
	out := &gathered{rows: signed{}}
	var part *Part
	e := types.Epoch(0)
	fs := vfs.NewMem()
	backends := []state.Backend{memory.New(), pebble.New(), filesystem.New()}
	for i, p := range []int{3, 1, 8, 2, 5, 1} {
		cfg := testConfig(aggGraph(t, collectSpec(nil)), p, out)
		cfg.FS, cfg.Restore, cfg.Backend = fs, part, backends[i%len(backends)]
		j := start(t, cfg)
		if part != nil && j.Flushed() != part.Epoch {
			t.Fatalf("restored at %d, part of %d", j.Flushed(), part.Epoch)
		}
		for range 3 {
			push(t, j, 0, f.chunk(800))
			e++
			barrierAt(t, j, e, nil)
		}
		push(t, j, 0, f.chunk(10))
		e++
		cp, parts, errs := checkpointTo(fs)
		barrierAt(t, j, e, cp)
		part = takePart(t, parts, errs)
		if part.Epoch != e || len(part.States) == 0 {
			t.Fatalf("part of epoch %d with %d states", part.Epoch, len(part.States))
		}
		if got, want := out.String(), f.answer().String(); got != want {
			t.Fatalf("parallelism %d:\n%s\nwant\n%s", p, got, want)
		}
		if m := j.Metrics(); m.Checkpoints != 1 || m.Freezes == 0 {
			t.Fatalf("metrics %+v", m)
		}
		j.Stop()
	}
}

// held is a backend whose uploads wait.
type held struct {
	*memory.Backend
	gate chan struct{}
	err  error
}

func (h *held) Open(ctx context.Context, s state.Spec, hs []state.Handle) (state.Store, error) {
	st, err := h.Backend.Open(ctx, s, hs)
	if err != nil {
		return nil, err
	}
	return &heldStore{Store: st, h: h}, nil
}

type heldStore struct {
	state.Store
	h *held
}

func (s *heldStore) Freeze(e types.Epoch, sn state.Snapshot) (state.Frozen, error) {
	f, err := s.Store.Freeze(e, sn)
	return &heldFrozen{Frozen: f, h: s.h}, err
}

type heldFrozen struct {
	state.Frozen
	h *held
}

func (f *heldFrozen) Upload(ctx context.Context, d state.Dest) (state.Handle, error) {
	select {
	case <-f.h.gate:
	case <-ctx.Done():
		f.Frozen.Discard()
		return state.Handle{}, ctx.Err()
	}
	if f.h.err != nil {
		f.Frozen.Discard()
		return state.Handle{}, f.h.err
	}
	return f.Frozen.Upload(ctx, d)
}

func TestUploadHeldBack(t *testing.T) {
	f := &feed{rng: rand.New(rand.NewPCG(newSeed(t), 5))}
	out := &gathered{rows: signed{}}
	cfg := testConfig(aggGraph(t, collectSpec(nil)), 2, out)
	h := &held{Backend: memory.New(), gate: make(chan struct{})}
	cfg.Backend = h
	j := start(t, cfg)
	cp, parts, errs := checkpointTo(cfg.FS)
	push(t, j, 0, f.chunk(100))
	barrierAt(t, j, 1, cp)
	for e := types.Epoch(2); e < 20; e++ {
		push(t, j, 0, f.chunk(500))
		barrierAt(t, j, e, nil)
		wait(t, j, e)
	}
	if got, want := out.String(), f.answer().String(); got != want {
		t.Fatalf("%s\nwant\n%s", got, want)
	}
	cp2, _, errs2 := checkpointTo(cfg.FS)
	barrierAt(t, j, 20, cp2)
	cp3, _, errs3 := checkpointTo(cfg.FS)
	barrierAt(t, j, 21, cp3)
	if err := <-errs3; !sameErr(err, pgerr.ObjectInUse) {
		t.Fatalf("a third checkpoint at once: %v", err)
	}
	wait(t, j, 21)
	select {
	case <-parts:
		t.Fatal("a part although the upload hangs")
	default:
	}
	h.err = nil
	close(h.gate)
	if p := takePart(t, parts, errs); p.Epoch != 1 {
		t.Fatalf("part of epoch %d", p.Epoch)
	}
	j.Stop()
	select {
	case <-errs2:
	default: // it was through before the stop
	}
}

func TestUploadFails(t *testing.T) {
	f := &feed{rng: rand.New(rand.NewPCG(1, 5))}
	out := &gathered{rows: signed{}}
	cfg := testConfig(aggGraph(t, collectSpec(nil)), 2, out)
	h := &held{Backend: memory.New(), gate: make(chan struct{}), err: errors.New("disk full")}
	close(h.gate)
	cfg.Backend = h
	j := start(t, cfg)
	cp, _, errs := checkpointTo(cfg.FS)
	push(t, j, 0, f.chunk(100))
	barrierAt(t, j, 1, cp)
	if err := <-errs; err == nil || err.Error() != "disk full" {
		t.Fatalf("got %v", err)
	}
	push(t, j, 0, f.chunk(100))
	barrierAt(t, j, 2, nil)
	wait(t, j, 2)
	if got, want := out.String(), f.answer().String(); got != want {
		t.Fatalf("%s\nwant\n%s", got, want)
	}
}

// TestStopFailsCheckpoints: each Done is called once, also when the job ends.
func TestStopFailsCheckpoints(t *testing.T) {
	cfg := testConfig(aggGraph(t, collectSpec(nil)), 3, &gathered{rows: signed{}})
	cfg.Backend = &held{Backend: memory.New(), gate: make(chan struct{})}
	j := start(t, cfg)
	cp, _, errs := checkpointTo(cfg.FS)
	barrierAt(t, j, 1, cp)
	j.Stop()
	if err := <-errs; !sameErr(err, pgerr.AdminShutdown) {
		t.Fatalf("got %v", err)
	}
	if err := j.Push(0, types.NewChunk(intText)); err != nil {
		t.Fatalf("an empty chunk needs no credit: %v", err)
	}
	if err := j.Barrier(types.EpochInfo{ID: 2}, nil); !sameErr(err, pgerr.AdminShutdown) {
		t.Fatalf("got %v", err)
	}
}

// breaking fails, or panics, on a row whose key is bad.
type breaking struct {
	timeless
	panics bool
}

func (b breaking) Process(_ int, c *types.Chunk, out Out) error {
	for k := range c.Rows() {
		if c.Cols[0].I64[c.Row(k)] == 666 {
			if b.panics {
				panic("broken")
			}
			return pgerr.Internal("broken")
		}
	}
	return out.Push(c)
}

func (breaking) Flush(types.EpochInfo, Out) error { return nil }

func TestSubtaskFails(t *testing.T) {
	for _, panics := range []bool{false, true} {
		g := aggGraph(t, collectSpec(nil))
		g.Fragments[1].Ops = append([]OpSpec{opSpec(50, "breaking", intText, nil, func(*Task) (Operator, error) { return breaking{panics: panics}, nil })}, g.Fragments[1].Ops...)
		g.Fragments[1].Ops[0].In = [][]types.Type{intText}
		cfg := testConfig(g, 3, &gathered{rows: signed{}})
		failed := make(chan error, 2)
		cfg.OnFailed = func(err error) { failed <- err }
		j := start(t, cfg)
		f := &feed{rng: rand.New(rand.NewPCG(1, 6))}
		push(t, j, 0, f.chunk(100))
		barrierAt(t, j, 1, nil)
		wait(t, j, 1)
		c := types.NewChunk(intText)
		c.AppendRow(1, types.NewInt8(666), types.NewText("x"))
		_ = j.Push(0, c)
		var err error
		for e := types.Epoch(2); err == nil; e++ {
			if err = j.Push(0, f.chunk(100)); err == nil {
				err = j.Barrier(types.EpochInfo{ID: e}, nil)
			}
		}
		if !sameErr(err, pgerr.InternalError) || !strings.Contains(err.Error(), "broken") {
			t.Fatalf("the driver got %v", err)
		}
		if got := <-failed; got != j.Err() {
			t.Fatalf("OnFailed got %v", got)
		}
		if werr := j.Wait(t.Context(), 1000); !sameErr(werr, pgerr.InternalError) {
			t.Fatalf("Wait gave %v", werr)
		}
		j.Stop()
		select {
		case err := <-failed:
			t.Fatalf("OnFailed again: %v", err)
		default:
		}
	}
}

// TestStandingErrors: error rows are summed over subtasks, saved, and go with
// their rows.
func TestStandingErrors(t *testing.T) {
	g := func() *Graph {
		p := &opParser{t: t, in: [][]types.Type{intText}}
		p.line("project (/ 10 $0); $1")
		return &Graph{Inputs: [][]types.Type{intText}, Fragments: []Fragment{{
			Edges: []Edge{{From: -1, Dist: Any}}, Ops: append(p.ops, collectSpec(p.in[0])),
		}}}
	}
	one := func(diff int32, k int64, v string) *types.Chunk {
		c := types.NewChunk(intText)
		c.AppendRow(diff, types.NewInt8(k), types.NewText(v))
		return c
	}
	out := &gathered{rows: signed{}}
	cfg := testConfig(g(), 3, out)
	j := start(t, cfg)
	push(t, j, 0, one(1, 0, "a"))
	push(t, j, 0, one(2, 0, "b"))
	push(t, j, 0, one(1, 5, "c"))
	push(t, j, 0, one(-1, 0, "a"))
	cp, parts, errs := checkpointTo(cfg.FS)
	barrierAt(t, j, 1, cp)
	part := takePart(t, parts, errs)
	wait(t, j, 1)
	check := func(j *Job, total int64) {
		t.Helper()
		named, n := j.Errors()
		if n != total || total > 0 && (len(named) != 1 || named[0].Count != total || named[0].Err.Code != pgerr.DivisionByZero) {
			t.Fatalf("standing: %d %+v, want %d", n, named, total)
		}
	}
	check(j, 2)
	j.Stop()
	cfg.Restore = part
	j = start(t, cfg)
	check(j, 2)
	push(t, j, 0, one(-1, 0, "b"))
	barrierAt(t, j, 2, nil)
	wait(t, j, 2)
	check(j, 1)
	push(t, j, 0, one(-1, 0, "b"))
	barrierAt(t, j, 3, nil)
	wait(t, j, 3)
	check(j, 0)
}

// TestView publishes epochs and lets a cursor follow.
func TestView(t *testing.T) {
	schema := types.Schema{{Name: "k", Type: types.T(types.Int8)}, {Name: "n", Type: types.T(types.Int8)},
		{Name: "s", Type: types.T(types.Numeric)}, {Name: "m", Type: types.T(types.Text)}}
	for _, p := range []int{1, 3} {
		f := &feed{rng: rand.New(rand.NewPCG(newSeed(t), 7))}
		rel := relation.NewMaterialized(types.UUID{2}, schema, []int{0}, types.KeyGroups, 0)
		rel.Start(1)
		end := opSpec(60, "materialize", aggOut, []state.TableSpec{{ID: testID(60), Name: "rows", Kind: state.KindBag}}, NewMaterialize)
		cfg := testConfig(aggGraph(t, end), p, nil)
		cfg.Collect = nil
		cfg.Output = rel
		var seen []types.Epoch
		cfg.OnFlushed = func(i types.EpochInfo) { seen = append(seen, i.ID) }
		j := start(t, cfg)
		for e := types.Epoch(1); e <= 10; e++ {
			push(t, j, 0, f.chunk(200))
			barrierAt(t, j, e, nil)
		}
		wait(t, j, 10)
		if _, upper := rel.Bounds(); upper != 11 {
			t.Fatalf("published below %d", upper)
		}
		snap, err := rel.Pin(10)
		if err != nil {
			t.Fatal(err)
		}
		got := signed{}
		ch, err := snap.Scan(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for {
			c, err := ch.Next()
			if err != nil {
				t.Fatal(err)
			}
			if c == nil {
				break
			}
			got.addChunk(c)
		}
		ch.Close()
		snap.Release()
		if got.String() != f.answer().String() {
			t.Fatalf("%s\nwant\n%s", got, f.answer())
		}
		j.Stop()
		for i, e := range seen {
			if e != types.Epoch(i+1) {
				t.Fatalf("flushed in the order %v", seen)
			}
		}
	}
}

// fakeSink keeps what was written, by token.
type fakeSink struct {
	mu   sync.Mutex
	rows signed // prepared
	n    int
}

func (s *fakeSink) AppendOnly() bool                                { return false }
func (s *fakeSink) Commit(context.Context, []connector.Token) error { return nil }
func (s *fakeSink) Abort(context.Context, []connector.Token) error  { return nil }
func (s *fakeSink) Close() error                                    { return nil }
func (s *fakeSink) Writer(_ context.Context, i int) (connector.Writer, error) {
	return &fakeWriter{s: s, i: i, rows: signed{}}, nil
}

type fakeWriter struct {
	s    *fakeSink
	i    int
	rows signed
}

func (w *fakeWriter) Write(_ types.Epoch, c *types.Chunk) error { w.rows.addChunk(c); return nil }
func (w *fakeWriter) Close() error                              { return nil }
func (w *fakeWriter) Prepare(e types.Epoch) (connector.Token, error) {
	if len(w.rows) == 0 {
		return nil, nil
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for r, n := range w.rows {
		w.s.rows.add(r, n)
	}
	w.rows = signed{}
	return fmt.Appendf(nil, "%d/%d", e, w.i), nil
}

// TestSinkTokens: a token stands in every part until it is said to be
// committed.
func TestSinkTokens(t *testing.T) {
	p := &opParser{t: t, in: [][]types.Type{intText}}
	p.line("filter (>= $0 0)")
	ops := append(p.ops, opSpec(70, "sink", intText, nil, NewSinkWrite))
	ops[1].In = p.in
	g := &Graph{Inputs: [][]types.Type{intText}, Fragments: []Fragment{{Edges: []Edge{{From: -1, Dist: Any}}, Ops: ops}}}
	cfg := testConfig(g, 2, nil)
	sink := &fakeSink{rows: signed{}}
	cfg.Collect, cfg.Sink = nil, sink
	j := start(t, cfg)
	f := &feed{rng: rand.New(rand.NewPCG(1, 8))}
	tokens := func(e types.Epoch) int {
		push(t, j, 0, f.chunk(10))
		push(t, j, 0, f.chunk(10))
		cp, parts, errs := checkpointTo(cfg.FS)
		barrierAt(t, j, e, cp)
		return len(takePart(t, parts, errs).Tokens)
	}
	if a, b := tokens(1), tokens(2); a != 2 || b != 4 {
		t.Fatalf("%d, then %d tokens", a, b)
	}
	j.Committed(1)
	if n := tokens(3); n != 4 {
		t.Fatalf("%d tokens after the commit", n)
	}
}

// TestOneRow: changing one row below a large aggregation costs a few rows.
func TestOneRow(t *testing.T) {
	out := &gathered{rows: signed{}}
	j := start(t, testConfig(aggGraph(t, collectSpec(nil)), 2, out))
	c := types.NewChunk(intText)
	e := types.Epoch(1)
	for i := range 100_000 {
		c.AppendRow(1, types.NewInt8(int64(i)), types.NewText("v"))
		if c.N == types.MaxChunkRows {
			push(t, j, 0, c)
			c = types.NewChunk(intText)
		}
	}
	push(t, j, 0, c)
	barrierAt(t, j, e, nil)
	wait(t, j, e)
	sum := func() (n int64) {
		for _, s := range j.Metrics().Subtasks {
			for _, o := range s.Operators {
				n += o.RowsIn
			}
		}
		return n
	}
	before := sum()
	one := types.NewChunk(intText)
	one.AppendRow(-1, types.NewInt8(777), types.NewText("v"))
	one.AppendRow(1, types.NewInt8(777), types.NewText("w"))
	push(t, j, 0, one)
	barrierAt(t, j, e+1, nil)
	wait(t, j, e+1)
	if n := sum() - before; n > 10 {
		t.Fatalf("one changed row cost %d", n)
	}
}

func TestRunQuery(t *testing.T) {
	g := aggGraph(t, collectSpec(nil))
	g.Finish = Finish{Order: []SortKey{{Col: 1, Order: types.OrderSpec{Desc: true}}, {Col: 0}}, Limit: 3, Offset: 1, Hidden: 1}
	c := types.NewChunk(intText)
	for k := range int64(6) {
		for range k + 1 {
			c.AppendRow(1, types.NewInt8(k), types.NewText("v"))
		}
	}
	run := func(g *Graph) (string, error) {
		var b strings.Builder
		err := Run(t.Context(), Query{
			Graph: g, Backend: memory.New(),
			Feed: func(_ int, push func(*types.Chunk) error) error { return push(c) },
			Out: func(c *types.Chunk) error {
				for k := range c.Rows() {
					fmt.Fprintf(&b, "%d: %s\n", c.DiffAt(c.Row(k)), rowText(c, c.Row(k)))
				}
				return nil
			},
		})
		return b.String(), err
	}
	got, err := run(g)
	if want := "1: 4 5 20\n1: 3 4 12\n1: 2 3 6\n"; err != nil || got != want {
		t.Fatalf("%v\n%swant\n%s", err, got, want)
	}
	p := &opParser{t: t, in: [][]types.Type{intText}}
	p.line("project (/ 10 $0)")
	bad := &Graph{Inputs: g.Inputs, Finish: Finish{Limit: -1}, Fragments: []Fragment{{Edges: []Edge{{From: -1}}, Ops: append(p.ops, collectSpec(p.in[0]))}}}
	if _, err := run(bad); !sameErr(err, pgerr.DivisionByZero) {
		t.Fatalf("an error row gave %v", err)
	}
	few := &Graph{Inputs: g.Inputs, Finish: Finish{Limit: 2}, Fragments: []Fragment{{Edges: []Edge{{From: -1}}, Ops: []OpSpec{collectSpec(intText)}}}}
	few.Fragments[0].Ops[0].In = [][]types.Type{intText}
	if got, err := run(few); err != nil || got != "1: 0 v\n1: 1 v\n" {
		t.Fatalf("%v\n%s", err, got)
	}
}

// TestTopN compares the bounded sort with a full one.
func TestTopN(t *testing.T) {
	rng := rand.New(rand.NewPCG(newSeed(t), 9))
	order := []SortKey{{Col: 0, Order: types.OrderSpec{Desc: true}}}
	var rows [2]strings.Builder
	xs := make([]*finisher, 2)
	for i, memory := range []int64{0, 1 << 40} {
		xs[i] = newFinisher(Finish{Order: order, Limit: 37, Offset: 11}, intText, memory, func(c *types.Chunk) error {
			for k := range c.Rows() {
				for range c.DiffAt(c.Row(k)) {
					rows[i].WriteString(rowText(c, c.Row(k)) + "\n")
				}
			}
			return nil
		})
	}
	xs[1].sorter.bound = -1
	for range 40 {
		c := types.NewChunk(intText)
		for range 500 {
			c.AppendRow(int32(1+rng.IntN(2)), types.NewInt8(rng.Int64N(3000)), types.NewText(fmt.Sprint(rng.IntN(3))))
		}
		for _, x := range xs {
			if err := x.push(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range xs {
		if err := x.end(); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := rows[0].String(), rows[1].String(); a != b || strings.Count(a, "\n") != 37 {
		t.Fatalf("bounded:\n%s\nfull:\n%s", a, b)
	}
}

// TestRestoreEmitsOnce: what is emitted in a job's first epoch is not in that
// of the restored one.
func TestRestoreEmitsOnce(t *testing.T) {
	g := func() *Graph {
		p := &opParser{t: t}
		p.line("values 1; 2")
		q := &opParser{t: t, in: p.in, tables: 10}
		q.line("agg : count, sum($0)")
		q.ops[0].ID = 20
		return &Graph{Fragments: []Fragment{
			{Singleton: true, Ops: p.ops},
			{Singleton: true, Edges: []Edge{{From: 0, Dist: Singleton}}, Ops: append(q.ops, collectSpec(q.in[0]))},
		}}
	}
	out := &gathered{rows: signed{}}
	cfg := testConfig(g(), 3, out)
	for e := types.Epoch(1); e <= 3; e++ {
		j := start(t, cfg)
		cp, parts, errs := checkpointTo(cfg.FS)
		barrierAt(t, j, e, cp)
		cfg.Restore = takePart(t, parts, errs)
		j.Stop()
		if out.String() != "+1 2 3\n" {
			t.Fatalf("epoch %d: %s", e, out)
		}
	}
}
