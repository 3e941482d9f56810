package relation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var schema = types.Schema{{Name: "k", Type: types.T(types.Int8)}, {Name: "v", Type: types.T(types.Text)}}

// view is a Materialized with the subtasks that maintain it.
type view struct {
	t  testing.TB
	m  *Materialized
	st []*state.State
	ps []*Partition
}

func newView(t testing.TB, key []int, parts int, historyBytes int64) *view {
	var id types.UUID
	id[0] = 1
	v := &view{t: t, m: NewMaterialized(id, schema, key, types.KeyGroups, historyBytes)}
	v.m.Reset(1)
	v.open(parts)
	return v
}

func (v *view) open(parts int) {
	v.t.Helper()
	v.st, v.ps = nil, nil
	for i := range parts {
		g := types.GroupRange{Lo: i * types.KeyGroups / parts, Hi: (i + 1) * types.KeyGroups / parts}
		st, err := state.Open(context.Background(), memory.New(), state.Spec{FS: vfs.NewMem(), NumGroups: types.KeyGroups, Groups: g,
			Tables: []state.TableSpec{{Name: "rows", Kind: state.KindBag}}}, nil)
		if err != nil {
			v.t.Fatal(err)
		}
		v.st = append(v.st, st)
		v.ps = append(v.ps, v.m.OpenPartition(i, st.Bag(0), g))
	}
}

type row struct {
	k int64
	v string
}

type rows map[row]int64

// apply gives changes to the partitions that own them, without a flush.
func (v *view) apply(change rows) {
	v.t.Helper()
	chunks := make([]*types.Chunk, len(v.ps))
	for i := range chunks {
		chunks[i] = types.NewChunk(schema.Types())
	}
	for r, n := range change {
		one := types.NewChunk(schema.Types())
		one.AppendRow(int32(n), types.NewInt8(r.k), types.NewText(r.v))
		var keys types.KeyBatch
		keys.Encode(one, v.m.rowKey)
		g := types.KeyGroup(keys.Hash[0], types.KeyGroups)
		for i, p := range v.ps {
			if g >= p.groups.Lo && g < p.groups.Hi {
				chunks[i].AppendRow(int32(n), types.NewInt8(r.k), types.NewText(r.v))
			}
		}
	}
	for i, p := range v.ps {
		if err := p.Apply(chunks[i]); err != nil {
			v.t.Fatal(err)
		}
	}
}

func (v *view) flush(i int, e types.Epoch) {
	v.t.Helper()
	if err := v.ps[i].Flush(types.EpochInfo{ID: e}); err != nil {
		v.t.Fatal(err)
	}
	l := v.ps[i].Locker()
	l.Lock()
	err := v.st[i].EndEpoch()
	l.Unlock()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *view) epoch(e types.Epoch, change rows) {
	v.t.Helper()
	v.apply(change)
	for i := range v.ps {
		v.flush(i, e)
	}
	v.m.Publish(types.EpochInfo{ID: e})
}

func add(into rows, chunks ...*types.Chunk) {
	for _, c := range chunks {
		for i := range c.Rows() {
			r := c.Row(i)
			x := row{c.Cols[0].I64[r], string(c.Cols[1].AppendText(nil, r))}
			if into[x] += int64(c.DiffAt(r)); into[x] == 0 {
				delete(into, x)
			}
		}
	}
}

func scanAll(s Snapshot) (rows, error) {
	it, err := s.Scan(context.Background(), nil)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	out := rows{}
	for {
		c, err := it.Next()
		if c == nil || err != nil {
			return out, err
		}
		add(out, c)
	}
}

func (v *view) pin(e types.Epoch) Snapshot {
	v.t.Helper()
	s, err := v.m.Pin(e)
	if err != nil {
		v.t.Fatalf("epoch %d: %v", e, err)
	}
	return s
}

// Whatever is applied, flushed and published meanwhile, in whatever order the
// subtasks come, a pinned epoch reads as its model, whole and by key, and a
// cursor's deltas add up to the newest.
func TestModel(t *testing.T) {
	for seed := range uint64(15) {
		rng := rand.New(rand.NewPCG(seed, 1))
		keyed := seed%2 == 0
		var key []int
		if keyed {
			key = []int{0}
		}
		v := newView(t, key, 1+int(seed%3), 0)
		model := map[types.Epoch]rows{1: {}}
		cur, err := v.m.Attach("c", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen := rows{}
		type held struct {
			s  Snapshot
			it Chunks
			at rows
		}
		var pins []held
		e := types.Epoch(1)
		for range 120 {
			change, next := rows{}, maps.Clone(model[e])
			for range rng.IntN(8) {
				k := int64(rng.IntN(20))
				if keyed {
					for r := range next {
						if r.k == k {
							change[r]--
							delete(next, r)
						}
					}
				}
				if r := (row{k, fmt.Sprint("v", rng.IntN(5))}); keyed || next[r] == 0 || rng.IntN(2) == 0 {
					change[r]++
					next[r]++
				} else {
					change[r]--
					if next[r]--; next[r] == 0 {
						delete(next, r)
					}
				}
			}
			maps.DeleteFunc(change, func(_ row, n int64) bool { return n == 0 })
			e++
			model[e] = next
			v.apply(change)
			for _, i := range rng.Perm(len(v.ps)) {
				v.flush(i, e)
				if len(pins) > 0 { // read between the flushes
					p := pins[rng.IntN(len(pins))]
					got, err := scanAll(p.s)
					if err != nil || !maps.Equal(got, model[p.s.Epoch()]) {
						t.Fatalf("seed %d: epoch %d during %d: %v\ngot  %v\nwant %v", seed, p.s.Epoch(), e, err, got, model[p.s.Epoch()])
					}
				}
			}
			if _, upper := v.m.Bounds(); upper != e {
				t.Fatalf("seed %d: epoch %d is visible before it is published", seed, e)
			}
			v.m.Publish(types.EpochInfo{ID: e})
			if rng.IntN(4) == 0 && len(pins) < 8 { // a scan that is gone on with piece by piece
				s := v.pin(e)
				it, _ := s.Scan(context.Background(), nil)
				pins = append(pins, held{s, it, rows{}})
			}
			if len(pins) > 0 {
				i := rng.IntN(len(pins))
				p := pins[i]
				c, err := p.it.Next()
				if err != nil {
					t.Fatal(err)
				}
				if c != nil {
					add(p.at, c)
				} else {
					if !maps.Equal(p.at, model[p.s.Epoch()]) {
						t.Fatalf("seed %d: epoch %d read over %d epochs:\ngot  %v\nwant %v", seed, p.s.Epoch(), e-p.s.Epoch(), p.at, model[p.s.Epoch()])
					}
					p.s.Release()
					pins = slices.Delete(pins, i, i+1)
				}
			}
			if keyed && len(pins) > 0 {
				s, k := pins[rng.IntN(len(pins))].s, int64(rng.IntN(20))
				c, err := s.Lookup(context.Background(), []types.Datum{types.NewInt8(k)})
				if err != nil {
					t.Fatal(err)
				}
				got, want := rows{}, maps.Clone(model[s.Epoch()])
				add(got, c)
				maps.DeleteFunc(want, func(r row, _ int64) bool { return r.k != k })
				if !maps.Equal(got, want) {
					t.Fatalf("seed %d: key %d at %d: got %v, want %v", seed, k, s.Epoch(), got, want)
				}
			}
			if rng.IntN(3) == 0 {
				for {
					d, upper, err := cur.Poll()
					if err != nil {
						t.Fatal(err)
					}
					if d == nil {
						if upper != e+1 || cur.Position() != e {
							t.Fatalf("seed %d: cursor at %d, upper %d, epoch %d", seed, cur.Position(), upper, e)
						}
						break
					}
					add(seen, d.Chunks...)
				}
				if !maps.Equal(seen, model[e]) {
					t.Fatalf("seed %d: the deltas add up to %v, want %v", seed, seen, model[e])
				}
			}
		}
		for _, p := range pins {
			p.s.Release()
		}
		cur.Close()
		v.m.Close()
	}
}

// Past its bound the history drops its oldest: who stands there is told.
func TestHistoryBound(t *testing.T) {
	v := newView(t, nil, 1, 1000)
	cur, _ := v.m.Attach("slow", 1, nil)
	defer cur.Close()
	s := v.pin(1)
	defer s.Release()
	for e := types.Epoch(2); e < 30; e++ {
		v.epoch(e, rows{{int64(e), strings.Repeat("x", 100)}: 1})
	}
	if _, err := scanAll(s); pgerr.CodeOf(err) != pgerr.SnapshotTooOld || pgerr.From(err).Hint == "" {
		t.Fatalf("an old snapshot: %v", err)
	}
	if _, _, err := cur.Poll(); !errors.Is(err, ErrDetached) {
		t.Fatalf("a slow cursor: %v", err)
	}
	if _, err := v.m.Attach("late", 2, nil); !errors.Is(err, ErrDetached) {
		t.Fatal(err)
	}
	if _, err := v.m.Pin(2); !errors.Is(err, ErrNotReadable) {
		t.Fatal(err)
	}
	got, err := scanAll(v.pin(29))
	if err != nil || len(got) != 28 {
		t.Fatalf("%d rows, %v", len(got), err)
	}
}

// A few epochs stay although nobody holds them; Hold and pins keep more.
func TestGrace(t *testing.T) {
	v := newView(t, nil, 1, 0)
	step := func(to types.Epoch) {
		_, upper := v.m.Bounds()
		for e := upper; e <= to; e++ {
			v.epoch(e, rows{{int64(e), "x"}: 1})
		}
	}
	step(200)
	since, upper := v.m.Bounds()
	if upper != 201 || upper-since != Grace {
		t.Fatalf("[%d, %d)", since, upper)
	}
	cur, err := v.m.Attach("c", since, nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if d, _, err := cur.Poll(); err != nil {
			t.Fatal(err)
		} else if d == nil {
			break
		}
	}
	cur.Hold(since)
	step(400)
	if got, _ := v.m.Bounds(); got != since {
		t.Fatalf("held at %d, kept from %d", since, got)
	}
	cur.Close()
	step(401)
	if got, _ := v.m.Bounds(); got != 402-Grace {
		t.Fatalf("kept from %d", got)
	}
}

func TestWaitFailClose(t *testing.T) {
	v := newView(t, nil, 2, 0)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		if err := v.m.Wait(context.Background(), 2); err != nil {
			t.Error(err)
		}
	}()
	v.epoch(2, rows{{1, "a"}: 1})
	wg.Wait()
	cancel()
	if err := v.m.Wait(ctx, 9); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	v.m.Fail(pgerr.New(pgerr.ObjectNotInPrerequisite, "suspended"))
	if _, err := v.m.Pin(2); pgerr.CodeOf(err) != pgerr.ObjectNotInPrerequisite {
		t.Fatal(err)
	}
	v.m.Heal()
	s := v.pin(2)
	// The job stops and starts at another parallelism: the content is opened
	// anew, what read the old one is told.
	v.m.CloseParts()
	if _, err := scanAll(s); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	s.Release()
	if _, err := v.m.Pin(2); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	// A cursor before a new first content has to attach anew.
	behind, err := v.m.Attach("behind", 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	v.m.Start(5)
	v.open(3)
	if _, err := v.m.Pin(4); !errors.Is(err, ErrNotReadable) {
		t.Fatal(err)
	}
	v.epoch(5, rows{{1, "a"}: 1, {2, "b"}: 2})
	if _, _, err := behind.Poll(); !errors.Is(err, ErrDetached) {
		t.Fatal(err)
	}
	s = v.pin(5)
	if got, err := scanAll(s); err != nil || !maps.Equal(got, rows{{1, "a"}: 1, {2, "b"}: 2}) {
		t.Fatalf("%v %v", got, err)
	}
	s.Release()
	v.m.Close()
	if err := v.m.Wait(context.Background(), 9); pgerr.CodeOf(err) != pgerr.UndefinedTable {
		t.Fatal(err)
	}
}

// A row taken away that was never there is an error, not a negative content.
func TestInvariant(t *testing.T) {
	v := newView(t, nil, 1, 0)
	v.apply(rows{{1, "a"}: -1})
	if err := v.ps[0].Flush(types.EpochInfo{ID: 2}); pgerr.CodeOf(err) != pgerr.InternalError {
		t.Fatal(err)
	}
}

// Readers of many epochs beside a writer, for the race detector.
func TestConcurrentReaders(t *testing.T) {
	v := newView(t, []int{0}, 2, 0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, upper := v.m.Bounds()
				s, err := v.m.Pin(upper - 1)
				if err != nil {
					continue
				}
				got, err := scanAll(s)
				var sum int64
				for r, n := range got {
					if n != 1 {
						t.Errorf("row %v counts %d", r, n)
					}
					sum += r.k
				}
				if err != nil || s.Epoch() > 1 && (len(got) != 10 || sum != 45) {
					t.Errorf("epoch %d: %v %v", s.Epoch(), got, err)
				}
				s.Release()
			}
		}()
	}
	old := rows{}
	for e := types.Epoch(2); e < 300; e++ {
		change := maps.Clone(old)
		for r := range change {
			change[r] = -1
		}
		old = rows{}
		for k := range int64(10) {
			r := row{k, fmt.Sprint(e % 3)}
			old[r] = 1
			change[r]++
		}
		maps.DeleteFunc(change, func(_ row, n int64) bool { return n == 0 })
		v.epoch(e, change)
	}
	close(stop)
	wg.Wait()
}

func big(b *testing.B, n int) *view {
	v := newView(b, []int{0}, 1, 0)
	c := types.NewChunk(schema.Types())
	for i := range n {
		c.AppendRow(1, types.NewInt8(int64(i)), types.NewText("value"))
		if c.N == types.MaxChunkRows || i == n-1 {
			if err := v.ps[0].Apply(c); err != nil {
				b.Fatal(err)
			}
			c = types.NewChunk(schema.Types())
		}
	}
	v.flush(0, 2)
	v.m.Publish(types.EpochInfo{ID: 2})
	return v
}

func BenchmarkScan1M(b *testing.B) {
	v := big(b, 1_000_000)
	s := v.pin(2)
	b.ReportAllocs()
	for b.Loop() {
		it, _ := s.Scan(context.Background(), nil)
		for {
			c, err := it.Next()
			if err != nil {
				b.Fatal(err)
			}
			if c == nil {
				break
			}
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	v := big(b, 1_000_000)
	s := v.pin(2)
	key := []types.Datum{types.NewInt8(4711)}
	b.ReportAllocs()
	for b.Loop() {
		if c, err := s.Lookup(context.Background(), key); err != nil || c.N != 1 {
			b.Fatal(c, err)
		}
	}
}

func BenchmarkApplyFlush(b *testing.B) {
	v := big(b, 1_000_000)
	c := types.NewChunk(schema.Types())
	for i := range 2048 {
		c.AppendRow(-1, types.NewInt8(int64(i)), types.NewText("value"))
		c.AppendRow(1, types.NewInt8(int64(i)), types.NewText("other"))
	}
	d := types.NewChunk(schema.Types())
	for i := range 2048 {
		d.AppendRow(-1, types.NewInt8(int64(i)), types.NewText("other"))
		d.AppendRow(1, types.NewInt8(int64(i)), types.NewText("value"))
	}
	b.ReportAllocs()
	e := types.Epoch(3)
	for b.Loop() {
		_ = v.ps[0].Apply(c)
		v.flush(0, e)
		v.m.Publish(types.EpochInfo{ID: e})
		c, d = d, c
		e++
	}
	b.ReportMetric(4096*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
