package engine

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/types"
)

var million = flag.Bool("million", false, "run the tests of large states with a million rows")

func manyRows() int {
	if *million {
		return 1_000_000
	}
	return 100_000
}

// load commits n rows (i, i%1000) to a table in transactions of 64K rows.
func (c *core) load(tab types.UUID, n int) types.Epoch {
	c.t.Helper()
	var e types.Epoch
	ts := c.en.Catalog().ByID(tab).TypeSchema().Types()
	for lo := 0; lo < n; {
		var w TableWrite
		w.Table = tab
		for len(w.Chunks) < 16 && lo < n {
			ch := types.NewChunk(ts)
			for ; ch.N < types.MaxChunkRows && lo < n; lo++ {
				ch.AppendRow(1, types.NewInt8(int64(lo)), types.NewInt8(int64(lo%1000)))
			}
			w.Chunks = append(w.Chunks, ch)
		}
		var err error
		e, err = c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{w}})
		c.must(err)
	}
	return e
}

// set changes v of rows.
func (c *core) set(tab types.UUID, old, v func(id int64) int64, ids ...int64) types.Epoch {
	c.t.Helper()
	ts := c.en.Catalog().ByID(tab).TypeSchema().Types()
	w := TableWrite{Table: tab}
	for part := range slices.Chunk(ids, types.MaxChunkRows/2) {
		ch := types.NewChunk(ts)
		for _, id := range part {
			ch.AppendRow(-1, types.NewInt8(id), types.NewInt8(old(id)))
			ch.AppendRow(1, types.NewInt8(id), types.NewInt8(v(id)))
		}
		w.Chunks = append(w.Chunks, ch)
	}
	e, err := c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{w}})
	c.must(err)
	return e
}

func mod(id int64) int64 { return id % 1000 }

// Changing one row below views over many (a million by flag) processes a handful of rows.
func TestOneRowOfMany(t *testing.T) {
	n := manyRows()
	c := newCore(t)
	tab := c.table("t", "id int8,v int8", 0)
	c.load(tab, n)
	var views []types.UUID
	for _, b := range []string{"pebble", "filesystem"} {
		base := c.view("g_"+b, "SELECT v, count(*) AS n, max(id) AS m FROM t GROUP BY v", catalog.Object{Backend: b, Parallelism: 2})
		top := c.view("top_"+b, "SELECT count(*) AS n, sum(n) AS s FROM g_"+b+" WHERE n > 0", catalog.Object{Backend: b})
		views = append(views, base, top)
	}
	e := c.set(tab, mod, mod, 1) // all have flushed
	for _, v := range views {
		c.rows(v, e)
	}
	before := map[types.UUID]int64{}
	for _, v := range views {
		before[v] = c.info(v).Processed
	}
	e = c.set(tab, mod, func(int64) int64 { return 7 }, int64(n-1))
	for _, v := range views {
		c.rows(v, e)
		if p := c.info(v).Processed - before[v]; p < 1 || p > 100 {
			t.Errorf("%s processed %d rows", c.info(v).Name, p)
		}
	}
	c.want(views[1], e, fmt.Sprintf("1000 %d", n))
}

// After 1% of the keys have changed a checkpoint writes less than a tenth of
// what a full one does; what no checkpoint needs any more is deleted, what a
// savepoint or a kept checkpoint needs is not, also across crashes.
func TestIncrementalFiles(t *testing.T) {
	n := manyRows()
	c := newCore(t)
	tab := c.table("t", "id int8,v int8", 0)
	v := c.view("v", "SELECT id, max(v) AS m FROM t GROUP BY id", catalog.Object{Backend: "pebble"})
	e := c.load(tab, n)
	c.en.cfg.ReadTimeout = time.Minute
	p, err := c.en.Pin(context.Background(), []types.UUID{v}, e)
	c.must(err)
	p.Release()
	c.checkpoint()
	last := func() CheckpointInfo { l := c.en.Checkpoints(); return l[len(l)-1] }
	full := last().Bytes
	rng := rand.New(rand.NewPCG(1, 1))
	var ids []int64
	for _, i := range rng.Perm(n)[:n/100] {
		ids = append(ids, int64(i))
	}
	for round := range int64(3) {
		e = c.set(tab, func(id int64) int64 {
			if round == 0 {
				return mod(id)
			}
			return 1000 + round - 1
		}, func(int64) int64 { return 1000 + round }, ids...)
		p, err := c.en.Pin(context.Background(), []types.UUID{v}, e)
		c.must(err)
		p.Release()
		c.checkpoint()
		inc := last().Bytes
		t.Logf("full checkpoint %d bytes, of 1%% changed keys %d (%.1f%%)", full, inc, 100*float64(inc)/float64(full))
		if inc*10 > full {
			t.Errorf("1%% changed: %d bytes written, %d by the full checkpoint", inc, full)
		}
		if round == 1 {
			c.crash()
		}
	}
	c.drop(v)
	c.checkpoint()
	c.checkpoint()
	if got, want := c.stateFiles(), c.namedFiles(); !slices.Equal(got, want) {
		t.Fatalf("files %v\nnamed %v", got, want)
	}
	if s := strings.Join(c.stateFiles(), " "); strings.Contains(s, v.String()) {
		t.Fatalf("files of the dropped view are left: %s", s)
	}
}

func (c *core) stateFiles() (out []string) {
	c.t.Helper()
	fs, root := c.en.fs, c.en.store.Root()
	jobs, err := fs.List(fs.PathJoin(root, "state"))
	c.must(err)
	for _, j := range jobs {
		names, err := fs.List(fs.PathJoin(root, "state", j))
		c.must(err)
		for _, n := range names {
			out = append(out, fs.PathJoin("state", j, n))
		}
	}
	slices.Sort(out)
	return out
}

func (c *core) namedFiles() (out []string) {
	for _, m := range c.en.store.Manifests() {
		out = append(out, m.Files()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A recovery reads a source from the checkpoint's positions on, and nothing
// before them.
func TestRecoveryReadsNoMore(t *testing.T) {
	c := newMemCore(t, nil)
	w := newWorld(c, "pebble", 2, 100000)
	w.caughtUp(92000, 50)
	c.checkpoint()
	w.append("lines.csv", 50, 73)
	w.caughtUp(92000, 73)
	want := w.content(0)
	c.write(w.tab, "+1 a 1") // makes what was read durable
	c.lose()
	w.caughtUp(92000, 73)
	for _, s := range c.en.SourceInfos() {
		if n := map[string]int64{"lines": 23}[s.Name]; s.Events != n {
			t.Errorf("source %s: %d events read after recovery, want %d", s.Name, s.Events, n)
		}
	}
	c.write(w.tab, "-1 a 1")
	if got := w.content(c.en.closed.Load().ID); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

// Close ends every goroutine.
func TestNoLeak(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := newMemCore(t, nil)
	w := newWorld(c, "pebble", 3, 100000)
	w.write(w.tab, "+1 a 10")
	c.must(c.en.CreateSavepoint(c.ctx(), "s"))
	c.must(c.en.Alter(c.ctx(), w.v, 2, "filesystem"))
	c.drop(w.w)
	_, err := c.en.RollbackTo(c.ctx(), "s", RollbackOptions{KeepAppendOnlySinks: true})
	c.must(err)
	c.must(c.en.WaitReady(c.ctx(), w.x))
	c.must(c.en.Suspend(c.ctx(), w.x))
	c.must(c.en.Close(context.Background()))
}
