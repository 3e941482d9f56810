package engine

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// memFS is a file system in memory that can crash at any moment. MemFS's own
// Link, Lock and ReuseForWrite lock twice, and block for ever if that moment is
// within them.
type memFS struct {
	*vfs.MemFS
	mu *sync.Mutex
}

func newMemFS() memFS { return memFS{vfs.NewCrashableMem(), new(sync.Mutex)} }

func (m memFS) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.MemFS.Link(from, to)
}

func (m memFS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.MemFS.Lock(name)
}

func (m memFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.MemFS.ReuseForWrite(from, to, c)
}

func (m memFS) crash(unsyncedPercent int, rng *rand.Rand) memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return memFS{m.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: rng}), new(sync.Mutex)}
}

// newMemCore is an engine on a file system in memory that can crash.
func newMemCore(t *testing.T, cfg func(*Config)) *core {
	c := &core{t: t, dir: "/data", fs: newMemFS(), cfg: cfg}
	c.open()
	t.Cleanup(func() { c.en.Kill() })
	return c
}

// lose ends the engine as a power failure does: what was not synced is gone.
func (c *core) lose() {
	c.t.Helper()
	after := c.fs.(memFS).crash(0, nil)
	c.en.Kill()
	c.fs = after
	c.open()
}

func (c *core) checkpoint() {
	c.t.Helper()
	_, err := c.en.Checkpoint(c.ctx())
	c.must(err)
}

func (c *core) drop(ids ...types.UUID) {
	c.t.Helper()
	_, err := c.en.DDL(c.ctx(), func(*catalog.Catalog) ([]catalog.Change, error) {
		var out []catalog.Change
		for _, id := range ids {
			out = append(out, catalog.Change{Drop: id})
		}
		return out, nil
	})
	c.must(err)
}

func (c *core) info(id types.UUID) JobInfo {
	c.t.Helper()
	for _, i := range c.en.Jobs() {
		if i.ID == id {
			return i
		}
	}
	c.t.Fatalf("no job %s", id)
	return JobInfo{}
}

// await waits until a condition holds.
func (c *core) await(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not in time; jobs %+v", what, c.en.Jobs())
		}
	}
}

func (c *core) wantCode(err error, code pgerr.Code, hint string) {
	c.t.Helper()
	if pgerr.CodeOf(err) != code {
		c.t.Fatalf("got %v, want SQLSTATE %s", err, code)
	}
	if e := pgerr.From(err); hint != "" && !strings.Contains(e.Hint+e.Message+e.Detail, hint) {
		c.t.Fatalf("%q / %q does not say %q", e.Message, e.Hint, hint)
	}
}

// What ALTER, SUSPEND and RESUME decide holds after a crash that comes before
// the next checkpoint.
func TestSettingsSurviveCrash(t *testing.T) {
	c := newMemCore(t, nil)
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
	c.write(tab, "+1 a", "+2 b")
	c.checkpoint()
	c.must(c.en.Alter(c.ctx(), v, 3, "pebble"))
	e := c.write(tab, "+3 a")
	c.lose()
	c.want(v, e, "a 2; b 1")
	c.await("the dataflow has three subtasks", func() bool {
		j, _ := c.en.job(v)
		ex := j.exec.Load()
		return ex != nil && len(ex.Metrics().Subtasks) >= 3
	})
	c.must(c.en.Suspend(c.ctx(), v))
	c.must(c.en.Resume(c.ctx(), v))
	e = c.write(tab, "+4 c")
	c.lose()
	c.want(v, e, "a 2; b 1; c 1")
	if s := c.info(v).State; s != "running" {
		t.Fatalf("resumed view is %s", s)
	}
	// Suspended, and the checkpoint that SUSPEND makes is lost.
	c.checkpoint()
	_, err := c.en.DDL(c.ctx(), func(cat *catalog.Catalog) ([]catalog.Change, error) {
		o := *cat.ByID(v)
		o.Status = catalog.Suspended
		return []catalog.Change{{Put: &o}}, nil
	})
	c.must(err)
	c.lose()
	c.await("the view stands still", func() bool { return c.info(v).State == "suspended" })
	e = c.write(tab, "-4 c")
	c.must(c.en.Resume(c.ctx(), v))
	c.want(v, e, "a 2; b 1")
}

// A view over a suspended one waits for it, also after a restart.
func TestViewOverSuspended(t *testing.T) {
	c := newMemCore(t, nil)
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
	w := c.view("w", "SELECT sum(n) AS s FROM v", catalog.Object{})
	e := c.write(tab, "+1 a", "+2 b")
	c.want(w, e, "2")
	c.must(c.en.Suspend(c.ctx(), v))
	e = c.write(tab, "+3 a")
	_, err := c.en.DDL(c.ctx(), func(cat *catalog.Catalog) ([]catalog.Change, error) {
		o := *cat.ByID(w)
		o.ID, o.OID, o.Name = types.NewUUID(), 0, "x"
		return []catalog.Change{{Put: &o}}, nil
	})
	c.wantCode(err, pgerr.ObjectNotInPrerequisite, "RESUME")
	c.lose()
	c.must(c.en.Resume(c.ctx(), v))
	c.want(w, e, "3")
}

// Resume builds a failed job again.
func TestResumeFailed(t *testing.T) {
	c := newMemCore(t, nil)
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT count(*) AS n FROM t", catalog.Object{})
	w := c.view("w", "SELECT n FROM v", catalog.Object{})
	c.write(tab, "+1 a")
	j, err := c.en.job(v)
	c.must(err)
	_ = j.do(c.ctx(), func(context.Context) error { // what the state layer would report
		j.ex.Stop()
		return nil
	})
	e := c.write(tab, "+2 b")
	c.await("the view fails", func() bool { return c.info(v).State == "failed" })
	_, err = c.en.Pin(c.ctx(), []types.UUID{v}, e)
	c.wantCode(err, pgerr.ObjectNotInPrerequisite, "RESUME")
	c.must(c.en.Resume(c.ctx(), v))
	c.want(v, e, "2")
	c.want(w, e, "2")
}

// ALTER, DROP and a rollback at once neither block each other nor leave
// anything half done.
func TestAlterDuringRollback(t *testing.T) {
	c := newMemCore(t, nil)
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: "pebble"})
	c.write(tab, "+1 a", "+2 b")
	c.must(c.en.CreateSavepoint(c.ctx(), "s"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for k := range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if k == 0 {
					_ = c.en.Alter(context.Background(), v, 1+i%4, []string{"pebble", "filesystem"}[i%2])
					continue
				}
				if p, err := c.en.Pin(context.Background(), []types.UUID{tab}, 0); err != nil {
					t.Errorf("a reader during a rollback: %v", err)
				} else {
					p.Release()
				}
				_, _ = c.en.Jobs(), c.en.Checkpoints()
			}
		}()
	}
	for i := range 4 {
		c.write(tab, fmt.Sprintf("+%d c", 10+i))
		if i%2 == 1 {
			c.drop(v)
		}
		_, err := c.en.RollbackTo(c.ctx(), "s", RollbackOptions{})
		c.must(err)
		c.want(v, 0, "a 1; b 1")
		c.want(tab, 0, "1 a; 2 b")
	}
	close(stop)
	wg.Wait()
	e := c.write(tab, "+3 a")
	c.want(v, e, "a 2; b 1")
	c.lose()
	c.want(v, e, "a 2; b 1")
}

// DROP while the view still reads what was there before it, and CREATE that a
// crash interrupts.
func TestDropDuringBackfill(t *testing.T) {
	c := newMemCore(t, nil)
	c.nexmark(400000)
	v := c.create(catalog.MaterializedView, "v", "SELECT auction, count(*) AS n FROM bid GROUP BY auction", catalog.Object{})
	c.await("some rows", func() bool { return c.info(v).RowsIn > 0 })
	w := c.create(catalog.MaterializedView, "w", "SELECT auction, count(*) AS n FROM bid GROUP BY auction", catalog.Object{Parallelism: 2})
	x := c.create(catalog.MaterializedView, "x", "SELECT count(*) AS n FROM w", catalog.Object{})
	c.drop(w, x)
	c.drop(v)
	if n := len(c.en.Jobs()); n != 0 {
		t.Fatalf("%d jobs are left", n)
	}
	v = c.create(catalog.MaterializedView, "v", "SELECT count(*) AS n FROM bid", catalog.Object{})
	c.lose()
	c.await("all bids", func() bool { return c.rows(v, 0) == "368000" })
}

func TestSecondEngine(t *testing.T) {
	c := newCore(t)
	_, err := Open(context.Background(), Config{Dir: c.dir})
	c.wantCode(err, pgerr.ObjectInUse, "--data-dir")
	if !strings.Contains(err.Error(), c.dir) {
		t.Fatalf("%v does not name the directory", err)
	}
	tab := c.table("t", "id int8", 0)
	c.write(tab, "+1")
	c.must(c.en.Close(c.ctx()))
	if _, err := os.Stat(filepath.Join(c.dir, "LOCK")); err != nil {
		t.Log("the lock file goes with the lock")
	}
	c.open()
	c.want(tab, 0, "1")
}
