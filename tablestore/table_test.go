package tablestore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/types"
)

var schema = types.Schema{{Name: "id", Type: types.T(types.Int8)}, {Name: "g", Type: types.T(types.Text)}}

type fixture struct {
	t *testing.T
	*Table
	fs vfs.FS
	e  types.Epoch
}

func newFixture(t *testing.T, key []int) *fixture {
	f := &fixture{t: t, fs: vfs.NewMem(), e: 1}
	f.open(key, nil)
	return f
}

func (f *fixture) open(key []int, hs []state.Handle) {
	f.t.Helper()
	var id types.UUID
	id[0] = 1
	tab, err := Open(context.Background(), id, "t", schema, key,
		Options{Backend: memory.New(), Spec: state.Spec{FS: f.fs, Dir: "/work", Root: "/root"}}, hs)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Table = tab
	tab.Begin(f.e)
	f.t.Cleanup(func() { _ = tab.Close() })
}

// chunk is rows written as "+1 a".
func chunk(rows ...string) *types.Chunk {
	c := types.NewChunk(schema.Types())
	for _, r := range rows {
		var id int64
		var g string
		fmt.Sscan(r[1:], &id, &g)
		d := int32(1)
		if r[0] == '-' {
			d = -1
		}
		c.AppendRow(d, types.NewInt8(id), types.NewText(g))
	}
	return c
}

// commit checks and stages one transaction.
func (f *fixture) commit(code pgerr.Code, rows ...string) {
	f.t.Helper()
	cs := []*types.Chunk{chunk(rows...)}
	err := f.Check(cs)
	if code == "" && err != nil || code != "" && pgerr.CodeOf(err) != code {
		f.t.Fatalf("%v: %v, want %q", rows, err, code)
	}
	if err == nil {
		f.Stage(cs)
	}
}

func (f *fixture) flush() {
	f.t.Helper()
	f.e++
	if err := f.Flush(types.EpochInfo{ID: f.e}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) want(want string) {
	f.t.Helper()
	if got := content(f.t, f.Relation(), f.e); got != want {
		f.t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func content(t *testing.T, r relation.Relation, e types.Epoch) string {
	t.Helper()
	s, err := r.Pin(e)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	it, err := s.Scan(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var out []string
	for {
		c, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			slices.Sort(out)
			return strings.Join(out, "; ")
		}
		for i := range c.Rows() {
			r := c.Row(i)
			row := string(c.Cols[1].AppendText(append(c.Cols[0].AppendText(nil, r), ' '), r))
			for range c.DiffAt(r) {
				out = append(out, row)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	f := newFixture(t, []int{0})
	f.commit("", "+1 a", "+2 b")
	f.commit(pgerr.UniqueViolation, "+2 c") // staged before, in the same epoch
	f.commit(pgerr.SerializationFailure, "-2 x", "+2 c")
	f.commit("", "-2 b", "+2 c")
	f.commit(pgerr.UniqueViolation, "+3 a", "+3 b") // within one transaction
	f.want("")
	f.flush()
	f.want("1 a; 2 c")
	f.commit("", "-1 a", "-2 c", "+1 c", "+2 a") // the keys swap their rows
	f.flush()
	f.want("1 c; 2 a")
	f.commit("", "-1 c", "+5 c") // the key moves
	f.commit("", "+1 z")
	f.commit(pgerr.SerializationFailure, "-1 c")
	f.flush()
	f.want("1 z; 2 a; 5 c")
	err := f.Check([]*types.Chunk{chunk("+1 q")})
	if e := pgerr.From(err); e.Detail != "Key (id)=(1) already exists." || e.Table != "t" {
		t.Fatalf("%+v", e)
	}
	f.commit("", "+9 n")
	f.Unstage()
	f.commit("", "+9 m")
	f.flush()
	f.want("1 z; 2 a; 5 c; 9 m")
	e := f.e
	f.flush() // nothing: the epoch counts all the same
	if _, upper := f.Relation().Bounds(); upper != e+2 {
		t.Fatalf("upper %d", upper)
	}
}

func TestBagTable(t *testing.T) {
	f := newFixture(t, nil)
	f.commit("", "+1 a", "+1 a", "+2 b")
	f.commit("", "-1 a")
	f.commit("", "-1 a")
	f.commit(pgerr.SerializationFailure, "-1 a")
	f.commit("", "+1 a", "-1 a", "-2 b")
	f.flush()
	f.want("")
	f.commit("", "+1 a", "+1 a")
	f.flush()
	f.commit(pgerr.SerializationFailure, "-1 a", "-1 a", "-1 a")
	f.commit("", "-1 a")
	f.flush()
	f.want("1 a")
}

// A transaction larger than a page of matches is checked in full.
func TestCheckManyKeys(t *testing.T) {
	f := newFixture(t, []int{0})
	const n = 10000
	load := types.NewChunk(schema.Types())
	change := types.NewChunk(schema.Types())
	for i := range n {
		load.AppendRow(1, types.NewInt8(int64(i)), types.NewText("a"))
		change.AppendRow(-1, types.NewInt8(int64(i)), types.NewText("a"))
		change.AppendRow(1, types.NewInt8(int64(i)), types.NewText("b"))
	}
	if err := f.Check([]*types.Chunk{load}); err != nil {
		t.Fatal(err)
	}
	f.Stage([]*types.Chunk{load})
	f.flush()
	if err := f.Check([]*types.Chunk{load}); pgerr.CodeOf(err) != pgerr.UniqueViolation {
		t.Fatalf("all keys are taken: %v", err)
	}
	if err := f.Check([]*types.Chunk{change}); err != nil {
		t.Fatalf("all rows are there: %v", err)
	}
	f.Stage([]*types.Chunk{change})
	f.flush()
	last := types.NewChunk(schema.Types())
	last.AppendRow(-1, types.NewInt8(n-1), types.NewText("a"))
	if err := f.Check([]*types.Chunk{last}); pgerr.CodeOf(err) != pgerr.SerializationFailure {
		t.Fatal(err)
	}
}

// Random transactions against a model, with checkpoints and restarts.
func TestRandom(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		f := newFixture(t, []int{0})
		model := map[int64]string{}
		for step := range 60 {
			for range rng.IntN(4) {
				id, g := int64(rng.IntN(12)), string(rune('a'+rng.IntN(3)))
				old, ok := model[id]
				switch rng.IntN(3) {
				case 0:
					if ok {
						f.commit(pgerr.UniqueViolation, fmt.Sprintf("+%d %s", id, g))
					} else {
						f.commit("", fmt.Sprintf("+%d %s", id, g))
						model[id] = g
					}
				case 1:
					if ok && old == g {
						f.commit("", fmt.Sprintf("-%d %s", id, g))
						delete(model, id)
					} else {
						f.commit(pgerr.SerializationFailure, fmt.Sprintf("-%d %s", id, g))
					}
				default:
					if ok {
						f.commit("", fmt.Sprintf("-%d %s", id, old), fmt.Sprintf("+%d %s", id, g))
						model[id] = g
					}
				}
			}
			f.flush()
			var want []string
			for id, g := range model {
				want = append(want, fmt.Sprintf("%d %s", id, g))
			}
			slices.Sort(want)
			if got := content(t, f.Relation(), f.e); got != strings.Join(want, "; ") {
				t.Fatalf("seed %d, step %d: got  %s\nwant %s", seed, step, got, strings.Join(want, "; "))
			}
			if rng.IntN(10) == 0 {
				f.restart()
			}
		}
	}
}

// restart takes a checkpoint and opens the table from it.
func (f *fixture) restart() {
	f.t.Helper()
	fr, err := f.Freeze(f.e)
	if err != nil {
		f.t.Fatal(err)
	}
	hs := f.Handles()
	if fr != nil {
		h, err := fr.Upload(context.Background(), state.Dest{FS: f.fs, Root: "/root", Prefix: fmt.Sprint("t", f.e), Unlimited: true})
		if err != nil {
			f.t.Fatal(err)
		}
		hs = []state.Handle{h}
		f.SetHandles(hs)
	}
	if fr, err := f.Freeze(f.e); fr != nil || err != nil {
		f.t.Fatalf("frozen again although nothing has changed: %v", err)
	}
	if err := f.Table.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.open([]int{0}, hs)
}

func BenchmarkInsert(b *testing.B) {
	var id types.UUID
	tab, err := Open(context.Background(), id, "t", schema, []int{0},
		Options{Backend: memory.New(), Spec: state.Spec{FS: vfs.NewMem(), Dir: "/work", Root: "/root"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer tab.Close()
	tab.Begin(1)
	e, next := types.Epoch(1), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		var cs []*types.Chunk
		for range 16 {
			c := types.NewChunk(schema.Types())
			for range types.MaxChunkRows {
				c.AppendRow(1, types.NewInt8(next), types.NewText("value"))
				next++
			}
			cs = append(cs, c)
		}
		if err := tab.Check(cs); err != nil {
			b.Fatal(err)
		}
		tab.Stage(cs)
		e++
		if err := tab.Flush(types.EpochInfo{ID: e}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "rows/s")
}
