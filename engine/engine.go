// Package engine is the database: sessions and transactions on one side, the
// epoch loop, jobs, checkpoints and recovery on the other.
//
// One goroutine, the epoch loop (epoch.go), decides the order of everything:
// it takes commits, DDL and what the sources have read, writes them to the
// journal as an epoch, applies them, and hands the epoch to the jobs. Jobs
// run on their own (job.go); nothing waits for a slow one but its own readers.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/checkpoint"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/tablestore"
	"github.com/streamdb/streamdb/types"
)

// Config is how an engine is opened. Zero values mean the defaults.
type Config struct {
	Dir    string // data directory
	FS     vfs.FS // nil: the operating system's
	Now    func() time.Time
	Logger *slog.Logger

	Parallelism        int           // of new jobs; default 1
	Backend            string        // of new jobs; default "pebble"
	TableBackend       string        // of tables; default "pebble"
	CheckpointInterval time.Duration // default 10s; negative: only on demand
	// CheckpointTimeout is how long a checkpoint waits for slow jobs before
	// it goes on with their previous parts.
	CheckpointTimeout time.Duration
	MemoryStateLimit  int64 // bytes a job on the memory backend; default 5 MiB
	CacheBytes        int64 // pebble: per subtask
	HistoryBytes      int64 // per relation
	// EpochInterval is the shortest time between epochs that only sources
	// cause.
	EpochInterval time.Duration
	WorkDir       string // where relative paths of connectors start
	ReadTimeout   time.Duration
}

func (c *Config) defaults() {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	set(&c.Parallelism, 1)
	set(&c.Backend, "pebble")
	set(&c.TableBackend, "pebble")
	set(&c.CheckpointInterval, 10*time.Second)
	set(&c.CheckpointTimeout, 20*time.Second)
	set(&c.MemoryStateLimit, 5<<20)
	set(&c.HistoryBytes, relation.DefaultHistoryBytes)
	set(&c.EpochInterval, 10*time.Millisecond)
	set(&c.WorkDir, ".")
	set(&c.ReadTimeout, time.Minute)
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Engine is an open data directory.
type Engine struct {
	cfg     Config
	fs      vfs.FS
	log     *slog.Logger
	lock    io.Closer
	journal journal.Journal
	store   *checkpoint.Store

	cat    atomic.Pointer[catalog.Catalog]
	closed atomic.Pointer[types.EpochInfo] // newest closed epoch
	rnd    atomic.Pointer[round]           // checkpoint under way, nil none
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // background goroutines
	// uploads are those of tables under way, removals the endings of dropped
	// objects: what both hold must not be opened anew meanwhile.
	uploads, removals sync.WaitGroup

	reqs chan *request
	kick chan struct{} // wakes the epoch loop: a source has something, or a consumer moved

	// mu guards the maps; only the epoch loop writes them.
	mu      sync.RWMutex
	tables  map[types.UUID]*tablestore.Table
	sources map[types.UUID]*hub
	jobs    map[types.UUID]*job
	rels    map[types.UUID]relation.Relation

	lsn       types.LSN     // after the newest cut; epoch loop only
	timeline  atomic.Uint64 // moved by the epoch loop only
	manifest  atomic.Pointer[checkpoint.Manifest]
	parts     partBook
	ckpts     checkpointLog
	failed    atomic.Pointer[pgerr.Error] // why the engine has stopped
	live      atomic.Bool                 // the epoch loop runs
	starting  sync.Mutex                  // stands for the loop before it runs
	sessions  sessionSet
	spMu      sync.Mutex   // one savepoint statement at a time
	unlimited atomic.Int32 // >0: a savepoint is being made, the memory backend's limit does not hold
	subs      subscriberBook
	nextRound time.Time
	full      bool // the disk was full at the last epoch; epoch loop only
}

// pg2000 is the origin of types.Micros in Unix microseconds.
const pg2000 = 946684800 * 1000000

func (en *Engine) now() types.Micros { return types.Micros(en.cfg.Now().UnixMicro() - pg2000) }

// Open opens a data directory, recovers it, and starts to work. A second
// server on the same directory is refused.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	cfg.defaults()
	en := &Engine{
		cfg: cfg, fs: cfg.FS, log: cfg.Logger,
		reqs: make(chan *request, 1024), kick: make(chan struct{}, 1),
		tables: map[types.UUID]*tablestore.Table{}, sources: map[types.UUID]*hub{},
		jobs: map[types.UUID]*job{}, rels: map[types.UUID]relation.Relation{},
	}
	en.ctx, en.cancel = context.WithCancelCause(context.Background())
	if err := en.open(ctx); err != nil {
		en.cancel(err)
		en.closeAll()
		return nil, err
	}
	en.wg.Add(1)
	go func() {
		defer en.wg.Done()
		en.loop()
	}()
	return en, nil
}

func (en *Engine) open(ctx context.Context) error {
	if err := makeDir(en.fs, en.cfg.Dir); err != nil {
		return pgerr.Wrap(err, pgerr.IOError, "could not create data directory %q", en.cfg.Dir)
	}
	lock, err := en.fs.Lock(en.path("LOCK"))
	if err != nil {
		return pgerr.Wrap(err, pgerr.ObjectInUse, "data directory %q is in use by another server", en.cfg.Dir).
			WithHint("Stop the other server, or give this one its own --data-dir.")
	}
	en.lock = lock
	if u, err := en.fs.GetDiskUsage(en.cfg.Dir); err == nil && u.AvailBytes < minRoom/4 {
		return pgerr.New(pgerr.DiskFull, "could not start: no space left on device").
			WithDetail("Data directory %q has %d bytes left.", en.cfg.Dir, u.AvailBytes).
			WithHint("Free some disk space and start again; nothing is lost.")
	}
	// The scratch of a former run; what counts is in checkpoints and journal.
	if err := en.fs.RemoveAll(en.path("work")); err != nil {
		return pgerr.Wrap(err, pgerr.IOError, "could not clear %q", en.path("work"))
	}
	if en.store, err = checkpoint.Open(en.fs, en.cfg.Dir); err != nil {
		return err
	}
	m, warnings, err := en.store.Newest()
	if err != nil {
		return err
	}
	for _, w := range warnings {
		en.log.Warn("a checkpoint could not be used, an older one is", "err", w)
	}
	opts := journal.Options{}
	if m != nil {
		opts.Durable = m.LSN // a journal that ends before it has lost something
	}
	log, err := journal.Open(en.path("journal"), en.fs, opts)
	if err != nil {
		return err
	}
	en.journal = log
	return en.recover(ctx, m)
}

// makeDir makes a folder and those above it, durably.
func makeDir(fs vfs.FS, dir string) error {
	var missing []string
	for d := dir; ; {
		if _, err := fs.Stat(d); err == nil || !errors.Is(err, os.ErrNotExist) {
			break
		}
		missing = append(missing, d)
		up := fs.PathDir(d)
		if up == d || up == "." {
			break
		}
		d = up
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range missing {
		f, err := fs.OpenDir(fs.PathDir(d))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (en *Engine) path(elem ...string) string {
	return en.fs.PathJoin(append([]string{en.cfg.Dir}, elem...)...)
}

// Close stops the engine: a last checkpoint if one can be had before ctx
// ends, then everything is closed. What was acknowledged is safe either way.
func (en *Engine) Close(ctx context.Context) error {
	_, err := en.Checkpoint(ctx)
	en.stop()
	return err
}

// Kill stops without a last checkpoint.
func (en *Engine) Kill() { en.stop() }

func (en *Engine) stop() {
	en.cancel(errShutdown)
	en.sessions.closeAll()
	en.closeAll()
}

var errShutdown = pgerr.New(pgerr.AdminShutdown, "terminating connection due to administrator command")

func (en *Engine) closeAll() {
	en.wg.Wait()
	en.closeObjects()
	if en.journal != nil {
		if err := en.journal.Close(); err != nil {
			en.log.Error("closing the journal", "err", err)
		}
	}
	if en.lock != nil {
		if err := en.lock.Close(); err != nil {
			en.log.Error("releasing the lock", "err", err)
		}
	}
}

// closeObjects ends all jobs, sources and tables, and waits for those that
// DROP is ending. Nothing that changes objects may run.
func (en *Engine) closeObjects() {
	for _, j := range en.jobs {
		j.cancel(errShutdown) // before what they stand on goes
	}
	en.mu.Lock()
	jobs, sources, tables := en.jobs, en.sources, en.tables
	en.tables, en.sources = map[types.UUID]*tablestore.Table{}, map[types.UUID]*hub{}
	en.jobs, en.rels = map[types.UUID]*job{}, map[types.UUID]relation.Relation{}
	en.mu.Unlock()
	en.uploads.Wait()
	for _, j := range jobs {
		j.stop()
		j.closeSink()
	}
	for _, h := range sources {
		h.close()
	}
	for id, t := range tables {
		if err := t.Close(); err != nil {
			en.log.Error("closing a table", "table", id, "err", err)
		}
	}
	en.removals.Wait()
}

// fatal ends the engine's work: the journal can not be trusted any more.
func (en *Engine) fatal(err error) {
	e := pgerr.From(err)
	en.failed.CompareAndSwap(nil, e)
	en.log.Error("streamdb stops: the journal failed", "err", err)
	en.cancel(e)
}

// err says why the engine no longer takes work, nil while it does.
func (en *Engine) err() error {
	if e := en.failed.Load(); e != nil {
		return e
	}
	if en.ctx.Err() != nil {
		return errShutdown
	}
	return nil
}

// Catalog is the newest version.
func (en *Engine) Catalog() *catalog.Catalog { return en.cat.Load() }

// Relation gives a published relation.
func (en *Engine) Relation(id types.UUID) (relation.Relation, error) {
	en.mu.RLock()
	defer en.mu.RUnlock()
	r, ok := en.rels[id]
	if !ok {
		return nil, pgerr.New(pgerr.UndefinedTable, "relation %s does not exist", id).
			WithHint("It was dropped; run the statement again.")
	}
	return r, nil
}

// pinRetry is the time between two tries to pin.
const pinRetry = time.Millisecond

// Pins are snapshots of several relations at one epoch.
type Pins struct {
	Epoch types.Epoch
	Snaps map[types.UUID]relation.Snapshot
}

// Release lets all snapshots go.
func (p *Pins) Release() {
	for _, s := range p.Snaps {
		s.Release()
	}
}

// Pin gives snapshots of the relations at one epoch, not below low, the
// newest that all of them have. It waits, bounded by the read timeout, only
// for these relations.
func (en *Engine) Pin(ctx context.Context, ids []types.UUID, low types.Epoch) (*Pins, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, en.cfg.ReadTimeout, pgerr.New(pgerr.CannotConnectNow,
		"the relation is not caught up to the session's last commit yet").
		WithHint("SHOW JOBS tells the progress; run the query again later."))
	defer cancel()
	for {
		p, err := en.tryPin(ctx, ids, low)
		if !errors.Is(err, relation.ErrNotReadable) && !errors.Is(err, relation.ErrStopped) && !en.comingBack(err, ids) {
			return p, err
		}
		select { // history moved on between the look and the pin, or a job is starting
		case <-time.After(pinRetry):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// comingBack reports whether relations are missing only because a rollback is
// putting everything up anew.
func (en *Engine) comingBack(err error, ids []types.UUID) bool {
	if pgerr.CodeOf(err) != pgerr.UndefinedTable {
		return false
	}
	cat := en.cat.Load()
	return !slices.ContainsFunc(ids, func(id types.UUID) bool { return cat.ByID(id) == nil })
}

func (en *Engine) tryPin(ctx context.Context, ids []types.UUID, low types.Epoch) (*Pins, error) {
	rels := make([]relation.Relation, 0, len(ids))
	for _, id := range ids {
		r, err := en.Relation(id)
		if err != nil {
			return nil, err
		}
		rels = append(rels, r)
	}
	e := types.Epoch(0)
	newest := en.closed.Load().ID
	for _, r := range rels {
		since, upper := r.Bounds()
		low = max(low, since)
		if upper > 0 {
			newest = min(newest, upper-1)
		}
	}
	e = max(low, newest)
	p := &Pins{Epoch: e, Snaps: make(map[types.UUID]relation.Snapshot, len(rels))}
	for _, r := range rels {
		if err := r.Wait(ctx, e); err != nil {
			p.Release()
			return nil, err
		}
		s, err := r.Pin(e)
		if err != nil {
			p.Release()
			return nil, err
		}
		p.Snaps[r.ID()] = s
	}
	return p, nil
}

func (en *Engine) wakeLoop() {
	select {
	case en.kick <- struct{}{}:
	default:
	}
}

// wrapIO names what was being done when a file operation failed.
func wrapIO(err error, format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
