package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// slowBackend is the filesystem backend with uploads that wait for a word.
type slowBackend struct {
	state.Backend
	mu      sync.Mutex
	held    chan struct{} // closed: uploads go on; nil: they are not held
	after   bool          // they are held when the files are written
	waiting atomic.Int32
}

func (b *slowBackend) Name() string { return "slow" }

func (b *slowBackend) hold() (release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := make(chan struct{})
	b.held = ch
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.held = nil
		close(ch)
	}
}

func (b *slowBackend) Open(ctx context.Context, spec state.Spec, hs []state.Handle) (state.Store, error) {
	s, err := b.Backend.Open(ctx, spec, hs)
	return &slowStore{s, b}, err
}

type slowStore struct {
	state.Store
	b *slowBackend
}

func (s *slowStore) Freeze(e types.Epoch, sn state.Snapshot) (state.Frozen, error) {
	f, err := s.Store.Freeze(e, sn)
	return &slowFrozen{f, s.b}, err
}

type slowFrozen struct {
	state.Frozen
	b *slowBackend
}

func (f *slowFrozen) Upload(ctx context.Context, d state.Dest) (state.Handle, error) {
	f.b.mu.Lock()
	ch, after := f.b.held, f.b.after
	f.b.mu.Unlock()
	if after {
		h, err := f.Frozen.Upload(ctx, d)
		f.b.wait(ctx, ch)
		return h, err
	}
	if !f.b.wait(ctx, ch) {
		f.Discard()
		return state.Handle{}, context.Cause(ctx)
	}
	return f.Frozen.Upload(ctx, d)
}

func (b *slowBackend) wait(ctx context.Context, ch chan struct{}) bool {
	if ch == nil {
		return true
	}
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	select {
	case <-ch:
		return true
	case <-ctx.Done():
		return false
	}
}

var slow = sync.OnceValue(func() *slowBackend {
	fs, err := state.Lookup("filesystem")
	if err != nil {
		panic(err)
	}
	b := &slowBackend{Backend: fs}
	state.Register(b)
	return b
})

// With a job's upload held back its rows still become visible, a commit is
// still acknowledged, and a checkpoint goes on with the job's older part.
func TestUploadHeldBack(t *testing.T) {
	b := slow()
	c := newMemCore(t, nil)
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: "slow"})
	ok := c.view("ok", "SELECT count(*) AS n FROM t", catalog.Object{})
	c.write(tab, "+1 a")
	c.checkpoint()
	c.cfg = func(c *Config) { c.CheckpointTimeout = 1 }
	c.en.cfg.CheckpointTimeout = 200e6
	release := b.hold()
	e := c.write(tab, "+2 a")
	done := make(chan error, 1)
	go func() {
		_, err := c.en.Checkpoint(context.Background())
		done <- err
	}()
	c.await("the upload waits", func() bool { return b.waiting.Load() > 0 })
	c.want(v, e, "a 2")
	e = c.write(tab, "+3 b")
	c.want(v, e, "a 2; b 1")
	c.want(ok, e, "3")
	c.must(<-done)
	m := c.en.manifest.Load()
	for _, p := range m.Parts {
		if late := p.Epoch < m.Epoch.ID; late != (p.Job == v) {
			t.Fatalf("part of %s is of epoch %d in a checkpoint of %d", p.Job, p.Epoch, m.Epoch.ID)
		}
	}
	c.drop(v) // while its upload hangs
	release()
	c.write(tab, "+4 c")
	c.checkpoint()
	c.cfg = nil
	c.lose()
	c.want(ok, 0, "4")
}

// Files of an upload that ends after its checkpoint's manifest, or that ALTER
// has made meanwhile, are not taken for rubbish.
func TestLateUploadKeepsFiles(t *testing.T) {
	b := slow()
	b.after = true
	defer func() { b.after = false }()
	c := newMemCore(t, nil)
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: "slow"})
	c.write(tab, "+1 a")
	c.en.cfg.CheckpointTimeout = 50e6
	release := b.hold()
	c.checkpoint() // without v
	release()
	c.await("the late part is there", func() bool { return c.en.parts.get(v) != nil })
	c.checkpoint()
	n := c.en.manifest.Load().Number
	c.lose()
	if got := c.en.manifest.Load().Number; got != n {
		t.Fatalf("recovered from checkpoint %d instead of %d", got, n)
	}
	// ALTER's own snapshot hangs while two checkpoints pass.
	c.en.cfg.CheckpointTimeout = 50e6
	c.write(tab, "+2 a")
	release = b.hold()
	done := make(chan error, 1)
	go func() { done <- c.en.Alter(context.Background(), v, 3, "") }()
	c.await("the upload waits", func() bool { return b.waiting.Load() > 0 })
	for i := range 2 {
		c.write(tab, fmt.Sprintf("+%d b", 10+i), fmt.Sprintf("+%d b", 20+i))
		c.checkpoint()
	}
	release()
	c.must(<-done)
	e := c.write(tab, "+3 a")
	c.want(v, e, "a 3; b 4")
	c.lose()
	c.want(v, e, "a 3; b 4")
}

// A suspended job, and one over the memory backend's limit, delay nobody. The
// latter's checkpoint fails by name, its query goes on, and it is built again
// after a restart.
func TestBesideOthers(t *testing.T) {
	c := newMemCore(t, func(c *Config) { c.MemoryStateLimit = 64 << 10 })
	tab := c.table("t", "id int8,g text", 0)
	good := c.view("good", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: "pebble"})
	still := c.view("still", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
	on := c.view("onstill", "SELECT sum(n) AS s FROM still", catalog.Object{})
	fat := c.view("fat", "SELECT id, count(*) AS n FROM t GROUP BY id", catalog.Object{Backend: "memory"})
	onfat := c.view("onfat", "SELECT count(*) AS c FROM fat", catalog.Object{})
	c.must(c.en.Suspend(c.ctx(), still))
	ch := types.NewChunk(c.en.Catalog().ByID(tab).TypeSchema().Types())
	for i := range 4000 {
		ch.AppendRow(1, types.NewInt8(int64(i)), types.NewText("g"))
	}
	e, err := c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{{Table: tab, Chunks: []*types.Chunk{ch}}}})
	c.must(err)
	c.want(good, e, "g 4000")
	c.want(onfat, e, "4000")
	c.checkpoint()
	i := c.info(fat)
	if !strings.Contains(i.LastCheckpointErr, "fat") && !strings.Contains(i.LastCheckpointErr, "memory") || i.State != "running" {
		t.Fatalf("over the limit: %+v", i)
	}
	j, err := c.en.job(fat)
	c.must(err)
	if h := j.Status().LastCkpt.Hint; h == "" {
		t.Fatalf("%v has no hint", j.Status().LastCkpt)
	}
	m := c.en.manifest.Load()
	for _, p := range m.Parts {
		if p.Job == fat && p.Epoch == m.Epoch.ID {
			t.Fatal("the job over the limit has a new part")
		}
		if (p.Job == good || p.Job == onfat) && p.Epoch != m.Epoch.ID {
			t.Fatalf("a healthy job was left behind at %d, the checkpoint is of %d", p.Epoch, m.Epoch.ID)
		}
	}
	if l := c.en.Checkpoints(); l[len(l)-1].Late != 0 {
		t.Fatalf("%d jobs were waited for", l[len(l)-1].Late)
	}
	c.lose()
	e = c.write(tab, "+5000 g")
	c.want(good, e, "g 4001")
	c.want(onfat, e, "4001")
	c.must(c.en.Resume(c.ctx(), still))
	c.want(on, e, "4001")
}

// faulty is a file system whose writes fail on demand.
type faulty struct {
	vfs.FS
	mem  memFS
	rule atomic.Pointer[func(op errorfs.Op) error]
}

func newFaulty() *faulty {
	f := &faulty{mem: newMemFS()}
	f.FS = errorfs.Wrap(f.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if r := f.rule.Load(); r != nil {
			return (*r)(op)
		}
		return nil
	}))
	return f
}

func (f *faulty) heal() { f.rule.Store(nil) }

// fail makes operations of the kinds on paths with a part fail.
func (f *faulty) fail(err error, part string, kinds ...errorfs.OpKind) {
	rule := func(op errorfs.Op) error {
		for _, k := range kinds {
			if op.Kind == k && strings.Contains(op.Path, part) {
				return err
			}
		}
		return nil
	}
	f.rule.Store(&rule)
}

var writes = []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpLink}

// With a full disk writes are refused by name, reads go on, and when space
// returns nothing is lost.
func TestDiskFull(t *testing.T) {
	f := newFaulty()
	c := &core{t: t, dir: "/data", fs: f}
	c.open()
	t.Cleanup(func() { c.en.Kill() })
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: "filesystem"})
	n := c.nexmark(1000000)
	_ = n
	x := c.view("x", "SELECT count(*) AS n FROM bid", catalog.Object{})
	e := c.write(tab, "+1 a")
	// The journal.
	f.fail(syscall.ENOSPC, "/journal/", writes...)
	_, err := c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{{Table: tab, Chunks: []*types.Chunk{c.chunk(tab, "+2 a")}}}})
	c.wantCode(err, pgerr.DiskFull, "")
	_, err = c.en.DDL(c.ctx(), func(*catalog.Catalog) ([]catalog.Change, error) { return []catalog.Change{{Drop: v}}, nil })
	c.wantCode(err, pgerr.DiskFull, "")
	_, err = c.en.Checkpoint(c.ctx())
	c.wantCode(err, pgerr.DiskFull, "")
	c.want(v, e, "a 1")
	f.heal()
	e = c.write(tab, "+2 b")
	c.want(v, e, "a 1; b 1")
	// The checkpoints.
	f.fail(syscall.ENOSPC, "/checkpoints/", writes...)
	_, err = c.en.Checkpoint(c.ctx())
	c.wantCode(err, pgerr.DiskFull, "")
	e = c.write(tab, "+3 b")
	c.want(v, e, "a 1; b 2")
	f.heal()
	c.checkpoint()
	c.await("all bids", func() bool { return c.rows(x, 0) == "920000" })
	dead := f.mem.crash(0, nil)
	c.en.Kill()
	c.fs = dead
	c.open()
	c.want(tab, e, "1 a; 2 b; 3 b")
	c.want(v, e, "a 1; b 2")
	c.await("all bids", func() bool { return c.rows(x, 0) == "920000" })
}

// What has not reached the disk for certain is fatal; what fails in a
// checkpoint only fails it.
func TestFailingDisk(t *testing.T) {
	eio := errors.New("input/output error")
	for _, k := range []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileWriteAt} {
		for _, cause := range []error{eio, syscall.ENOSPC} {
			if k == errorfs.OpFileWriteAt && cause != eio {
				continue
			}
			f := newFaulty()
			c := &core{t: t, dir: "/data", fs: f}
			c.open()
			tab := c.table("t", "id int8,g text", 0)
			v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: "pebble"})
			c.write(tab, "+1 a")
			f.fail(cause, "/checkpoints/", append(writes, k)...)
			if _, err := c.en.Checkpoint(c.ctx()); err == nil {
				t.Fatal("a checkpoint that could not be written")
			}
			e := c.write(tab, "+2 b")
			c.want(v, e, "a 1; b 1")
			f.fail(cause, "/journal/", k)
			_, err := c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{{Table: tab, Chunks: []*types.Chunk{c.chunk(tab, "+3 c")}}}})
			if err == nil {
				if k == errorfs.OpFileSync { // the journal syncs data only
					c.en.Kill()
					continue
				}
				t.Fatalf("%v: a commit that is not durable was acknowledged", k)
			}
			f.heal()
			_, err = c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{{Table: tab, Chunks: []*types.Chunk{c.chunk(tab, "+4 d")}}}})
			if err == nil {
				t.Fatalf("%v: the engine goes on after a failed sync", k)
			}
			dead := f.mem.crash(0, nil)
			c.en.Kill()
			c.fs = dead
			c.open()
			if got := c.rows(v, 0); got != "a 1; b 1" && got != "a 1; b 1; c 1" {
				t.Fatalf("%v: %s", k, got)
			}
			c.en.Kill()
		}
	}
}

// Damaged and newer files are named, and the older sound copy is used.
func TestDamagedFiles(t *testing.T) {
	type damage func(c *core) (path string, fatal bool)
	for name, do := range map[string]damage{
		"newest manifest": func(c *core) (string, bool) { return c.damage("checkpoints", "MANIFEST-", -1), false },
		"missing state file": func(c *core) (string, bool) {
			p := c.fs.PathJoin(c.dir, "checkpoints", c.newestFile())
			c.must(c.fs.Remove(p))
			return p, false
		},
		"journal middle": func(c *core) (string, bool) {
			list, err := c.fs.List(c.fs.PathJoin(c.dir, "journal"))
			c.must(err)
			p := c.fs.PathJoin(c.dir, "journal", list[0])
			c.flip(p, -1)
			return p, true
		},
		"newer manifest": func(c *core) (string, bool) {
			ms := c.en.store.Manifests()
			p := c.fs.PathJoin(c.dir, "checkpoints", fmt.Sprintf("MANIFEST-%016x", ms[len(ms)-1].Number))
			c.newer(p)
			return p, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newMemCore(t, nil)
			tab := c.table("t", "id int8,g text", 0)
			v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
			c.write(tab, "+1 a")
			c.checkpoint()
			c.write(tab, "+2 b")
			c.checkpoint()
			e := c.write(tab, "+3 c")
			c.en.Kill()
			path, fatal := do(c)
			if !fatal {
				c.open()
				c.want(v, e, "a 1; b 1; c 1")
				c.want(tab, e, "1 a; 2 b; 3 c")
				return
			}
			_, err := Open(context.Background(), Config{Dir: c.dir, FS: c.fs})
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Fatalf("%v does not name %s", err, path)
			}
			if pgerr.From(err).Hint == "" {
				t.Fatalf("%v does not say what to do", err)
			}
			t.Log(err)
			c.fs = newMemFS() // for the clean-up
			c.open()
		})
	}
}

// newer makes a sound manifest one of the next format.
func (c *core) newer(path string) {
	c.t.Helper()
	f, err := c.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	c.must(err)
	st, err := f.Stat()
	c.must(err)
	b := make([]byte, st.Size())
	_, err = f.ReadAt(b, 0)
	c.must(err)
	b[8]++
	h := xxh3.New()
	_, _ = h.Write(b[:20])
	_, _ = h.Write(b[28:])
	binary.LittleEndian.PutUint64(b[20:], h.Sum64())
	_, err = f.WriteAt(b, 0)
	c.must(errors.Join(err, f.Close()))
}

// newestFile names a file of state that only the newest manifest has.
func (c *core) newestFile() string {
	ms := c.en.store.Manifests()
	old := strings.Join(ms[0].Files(), " ")
	for _, f := range ms[len(ms)-1].Files() {
		if !strings.Contains(old, f) {
			return f
		}
	}
	c.t.Fatal("no file of its own")
	return ""
}
