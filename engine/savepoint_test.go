package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// world is a database with one of everything.
type world struct {
	*core
	tab, src, bid, fsrc, lines, v, w, x, y, sink types.UUID
	all                                          []types.UUID // that can be read
}

func newWorld(c *core, backend string, parallelism, events int) *world {
	c.t.Helper()
	o := catalog.Object{Backend: backend, Parallelism: parallelism}
	w := &world{core: c}
	w.tab = c.table("t", "id int8,g text,v int8", 0)
	w.bid = c.nexmark(events)
	c.append("lines.csv", 0, 50)
	w.fsrc = c.put(&catalog.Object{Kind: catalog.Source, Schema: "public", Name: "lines", Columns: cols("k int8,s text"),
		Options: map[string]string{"connector": "file", "path": "lines.csv", "format": "csv"}})
	w.lines = c.put(&catalog.Object{Kind: catalog.SourceRelation, Schema: "public", Name: "lines",
		Depends: []types.UUID{w.fsrc}, Columns: cols("k int8,s text")})
	w.v = c.view("v", "SELECT g, count(*) AS n, max(v) AS m FROM t GROUP BY g", o)
	w.w = c.view("w", "SELECT n, count(*) AS c FROM v GROUP BY n", o)
	w.x = c.view("x", "SELECT channel, count(*) AS n, max(price) AS p FROM bid GROUP BY channel", o)
	w.y = c.view("y", "SELECT s, count(*) AS n, sum(k) AS k FROM lines GROUP BY s", o)
	w.sink = c.create(catalog.Sink, "out", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{
		Backend: backend, Parallelism: parallelism,
		Options: map[string]string{"connector": "file", "path": "out", "format": "json"}})
	c.must(c.en.WaitReady(c.ctx(), w.sink))
	w.all = []types.UUID{w.tab, w.v, w.w, w.x, w.y}
	return w
}

// append adds lines lo to hi to a CSV file in the work directory.
func (c *core) append(name string, lo, hi int) {
	c.t.Helper()
	fs := c.fs
	if fs == nil {
		fs = vfs.Default
	}
	path := fs.PathJoin(c.dir, name)
	var b []byte
	for i := lo; i < hi; i++ {
		b = fmt.Appendf(b, "%d,s%d\n", i, i%7)
	}
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	c.must(err)
	st, err := f.Stat()
	c.must(err)
	_, err = f.WriteAt(b, st.Size())
	c.must(err)
	c.must(f.Sync())
	d, err := fs.OpenDir(c.dir)
	c.must(err)
	c.must(d.Sync())
	c.must(errors.Join(f.Close(), d.Close()))
}

// content reads everything at one epoch, not below low.
func (w *world) content(low types.Epoch) string {
	w.t.Helper()
	var b strings.Builder
	for _, id := range w.all {
		fmt.Fprintf(&b, "%s\n", w.rows(id, low))
	}
	return b.String()
}

func (w *world) caughtUp(bids, lines int) {
	w.t.Helper()
	count := func(id types.UUID, at int) int {
		n := 0
		for _, r := range strings.Split(w.rows(id, 0), "; ") {
			if f := strings.Fields(r); len(f) > at {
				k := 0
				fmt.Sscan(f[at], &k)
				n += k
			}
		}
		return n
	}
	w.await("sources are read", func() bool { return count(w.x, 1) == bids && count(w.y, 1) == lines })
}

func TestSavepointMatrix(t *testing.T) {
	backends := []string{"memory", "filesystem", "pebble"}
	for i, from := range backends {
		c := newMemCore(t, nil)
		w := newWorld(c, from, []int{1, 3, 2}[i], 20000)
		w.write(w.tab, "+1 a 10", "+2 b 20", "+3 b 30")
		w.caughtUp(18400, 50)
		c.must(c.en.CreateSavepoint(c.ctx(), "s1"))
		want := w.content(0)
		w.append("lines.csv", 50, 80)
		e := w.write(w.tab, "-1 a 10", "+4 c 1", "-3 b 30", "+3 b 31")
		w.caughtUp(18400, 80)
		c.must(c.en.CreateSavepoint(c.ctx(), "s2"))
		late := w.content(e)
		later := c.view("later", "SELECT count(*) AS n FROM v", catalog.Object{})
		_, err := c.en.RollbackTo(c.ctx(), "s1", RollbackOptions{})
		c.wantCode(err, pgerr.DependentObjectsExist, "CASCADE")
		if !strings.Contains(pgerr.From(err).Detail, "later") {
			t.Fatalf("%v does not list the later view", err)
		}
		_, err = c.en.RollbackTo(c.ctx(), "s1", RollbackOptions{Cascade: true})
		c.wantCode(err, pgerr.ObjectNotInPrerequisite, "append_only_sinks")
		for _, to := range backends {
			for _, p := range []int{1, 3, 8} {
				o := RollbackOptions{Cascade: true, Parallelism: p, Backend: to, KeepAppendOnlySinks: true}
				_, err = c.en.RollbackTo(c.ctx(), "s1", o)
				c.must(err)
				name := fmt.Sprintf("%s→%s×%d", from, to, p)
				c.want(w.tab, 0, "1 a 10; 2 b 20; 3 b 30")
				c.want(w.v, 0, "a 1 10; b 2 30")
				if s := c.rows(w.x, 0); !strings.Contains(want, s) {
					t.Fatalf("%s: source view has %s", name, s)
				}
				w.caughtUp(18400, 80) // the lines since the savepoint come again
				if i := c.info(w.v); i.Backend != to || i.Parallelism != p {
					t.Fatalf("%s: view is on %s × %d", name, i.Backend, i.Parallelism)
				}
				if c.en.Catalog().ByID(later) != nil {
					t.Fatal("the later view is still there")
				}
				e = w.write(w.tab, "-1 a 10", "+4 c 1", "-3 b 30", "+3 b 31")
				if got := w.content(e); got != late {
					t.Fatalf("%s: going on gives\n%s\nwant\n%s", name, got, late)
				}
				if p == 3 {
					c.lose()
					if got := w.content(e); got != late {
						t.Fatalf("%s: after a crash\n%s\nwant\n%s", name, got, late)
					}
				}
			}
		}
		_, err = c.en.RollbackTo(c.ctx(), "s2", RollbackOptions{KeepAppendOnlySinks: true})
		c.must(err)
		if got := w.content(0); got != late {
			t.Fatalf("the later savepoint gives\n%s\nwant\n%s", got, late)
		}
		w.sinkHolds(e)
		c.en.Kill()
	}
}

// sinkHolds checks that the sink has no standing failure.
func (w *world) sinkHolds(types.Epoch) {
	w.t.Helper()
	w.checkpoint()
	if i := w.info(w.sink); i.State != "running" || i.LastCheckpointErr != "" {
		w.t.Fatalf("the sink is %+v", i)
	}
}

// At each write and sync of a rollback the server dies: afterwards all is as
// before the statement, or as in the savepoint, and the settings asked for
// hold in the latter case.
func TestRollbackCrashPoints(t *testing.T) {
	mem := newMemFS()
	var left atomic.Int64
	var after atomic.Pointer[memFS]
	count := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) == 0 {
			dead := mem.crash(0, nil)
			after.Store(&dead)
		}
		return nil
	})
	c := &core{t: t, dir: "/data", fs: errorfs.Wrap(mem, count)}
	c.open()
	t.Cleanup(func() { c.en.Kill() })
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
	c.write(tab, "+1 a", "+2 b")
	c.must(c.en.CreateSavepoint(c.ctx(), "s"))
	c.write(tab, "+3 a")
	const before, saved = "a 2; b 1", "a 1; b 1"
	back, forth := 0, 0
	for n := int64(1); ; n += 3 {
		c.write(tab, "+4 z")
		e := c.write(tab, "-4 z")
		c.want(v, e, before)
		p := 1 + int(n)%7
		after.Store(nil)
		left.Store(n)
		_, err := c.en.RollbackTo(c.ctx(), "s", RollbackOptions{Parallelism: p})
		c.must(err)
		c.want(v, 0, saved)
		left.Store(-1)
		dead := after.Load()
		c.write(tab, "+3 a")
		if dead == nil {
			t.Logf("%d times as before, %d times rolled back", back, forth)
			break
		}
		d := &core{t: t, dir: "/data", fs: *dead}
		d.open()
		switch got := d.rows(v, d.en.closed.Load().ID); got {
		case before:
			back++
		case saved:
			forth++
			if i := d.info(v); i.Parallelism != p {
				t.Fatalf("crash at %d: parallelism %d, asked for %d", n, i.Parallelism, p)
			}
			e := d.write(tab, "+3 a")
			d.lose()
			d.want(v, e, before)
		default:
			t.Fatalf("crash at %d: %s", n, got)
		}
		d.en.Kill()
	}
	if back == 0 || forth == 0 {
		t.Fatalf("%d times as before, %d times rolled back: the points are not all there", back, forth)
	}
}

// A recovery that has to fall back to a checkpoint before a rollback rolls
// back again, also after the savepoint was dropped.
func TestFallBackAcrossRollback(t *testing.T) {
	for _, drop := range []bool{false, true} {
		c := newMemCore(t, nil)
		tab := c.table("t", "id int8,g text", 0)
		v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: "pebble"})
		c.write(tab, "+1 a", "+2 b")
		c.must(c.en.CreateSavepoint(c.ctx(), "s"))
		c.write(tab, "+3 a")
		_, err := c.en.RollbackTo(c.ctx(), "s", RollbackOptions{Parallelism: 4, Backend: "filesystem"})
		c.must(err)
		e := c.write(tab, "+5 e")
		if drop {
			c.must(c.en.ReleaseSavepoint(c.ctx(), "s"))
		}
		c.en.Kill()
		c.damage("checkpoints", "MANIFEST-", -1)
		c.open()
		c.want(v, e, "a 1; b 1; e 1")
		if i := c.info(v); i.Parallelism != 4 || i.Backend != "filesystem" {
			t.Fatalf("drop=%v: view is on %s × %d", drop, i.Backend, i.Parallelism)
		}
		c.lose()
		c.want(v, e, "a 1; b 1; e 1")
		c.en.Kill()
	}
}

// damage flips a byte in the middle of the last (at -1) or first (0) file with
// a prefix in a folder of the data directory, and gives its path.
func (c *core) damage(dir, prefix string, at int) string {
	c.t.Helper()
	var names []string
	root := c.fs.PathJoin(c.dir, dir)
	list, err := c.fs.List(root)
	c.must(err)
	for _, n := range list {
		if strings.HasPrefix(n, prefix) && !strings.HasSuffix(n, ".tmp") {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		c.t.Fatalf("no %s in %v", prefix, list)
	}
	last := names[0]
	for _, n := range names {
		if at < 0 && n > last || at == 0 && n < last {
			last = n
		}
	}
	path := c.fs.PathJoin(root, last)
	c.flip(path, -1)
	return path
}

// flip changes one byte of a file, the middle one for off < 0.
func (c *core) flip(path string, off int64) {
	c.t.Helper()
	f, err := c.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	c.must(err)
	st, err := f.Stat()
	c.must(err)
	if off < 0 {
		off = st.Size() / 2
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], off)
	c.must(err)
	b[0] ^= 0x40
	_, err = f.WriteAt(b[:], off)
	c.must(err)
	c.must(f.Sync())
	c.must(f.Close())
}

// A subscriber gets the difference that a rollback makes.
func TestRollbackDiff(t *testing.T) {
	c := newMemCore(t, nil)
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
	c.write(tab, "+1 a", "+2 b")
	c.must(c.en.CreateSavepoint(c.ctx(), "s"))
	e := c.write(tab, "+3 a", "-2 b", "+4 c")
	c.want(v, e, "a 2; c 1")
	release := c.en.subscribe(v)
	defer release()
	moved := c.en.timelineChanged()
	_, err := c.en.RollbackTo(c.ctx(), "s", RollbackOptions{})
	c.must(err)
	<-moved
	chunks, at, ok, err := c.en.rollbackDiff(c.ctx(), v)
	c.must(err)
	if !ok || at <= e {
		t.Fatalf("difference at %d (ok %v), rolled back after %d", at, ok, e)
	}
	sum := map[string]int{}
	for _, ch := range chunks {
		for k := range ch.Rows() {
			r := ch.Row(k)
			sum[string(ch.Cols[0].AppendText(nil, r))+" "+string(ch.Cols[1].AppendText(nil, r))] += int(ch.DiffAt(r))
		}
	}
	if got := fmt.Sprint(sum); got != "map[a 1:1 a 2:-1 b 1:1 c 1:-1]" {
		t.Fatalf("difference %s", got)
	}
}
