// Package pebble is the state backend for state larger than memory: an LSM
// tree lies below the structures. Hot keys stay in the structures; what is
// not there is loaded in sorted batches, and changes go down at checkpoints,
// sorted, as tables ingested directly into the tree. A checkpoint hard-links
// the tree's files, so it uploads only what is new since the last one.
package pebble

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

const (
	// DefaultCacheBytes is the memory of a subtask if its spec names none: a
	// quarter of it for blocks of the tree, the rest for hot keys.
	DefaultCacheBytes = 256 << 20

	fileBytes = 8 << 20 // of an ingested table

	// Every checkpoint adds a sublevel to level 0. Compacting it rewrites
	// about everything below, so it waits until the checkpoints since have
	// uploaded some 16 times their changes' size; Bloom filters keep the cost
	// for reads low. (The tree compacts at half its threshold.)
	level0Threshold = 32
	level0Files     = 256
)

// Backend is the pebble backend.
type Backend struct{}

func init() { state.Register(New()) }

// New gives the backend.
func New() *Backend { return &Backend{} }

// Name is "pebble".
func (*Backend) Name() string { return "pebble" }

// options are for all trees; readers and writers must agree on them.
func options(fs vfs.FS, cache *lsm.Cache) *lsm.Options {
	o := &lsm.Options{
		FS: fs, Comparer: comparer, Cache: cache, Logger: quiet{},
		DisableWAL: true, MemTableSize: 256 << 10,
		L0CompactionThreshold: level0Threshold, L0CompactionFileThreshold: level0Files, L0StopWritesThreshold: 1 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
		MaxManifestFileSize:        256 << 10,
		FormatMajorVersion:         lsm.FormatTableFormatV6,
	}
	o.Experimental.ReadSamplingMultiplier = -1
	o.TargetFileSizes[0] = fileBytes
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].Compression = func() *block.CompressionProfile { return block.SnappyCompression }
	}
	o.EnsureDefaults()
	return o
}

// quiet drops the tree's chatter; what it cannot survive still ends the
// process with its message.
type quiet struct{}

func (quiet) Infof(string, ...interface{})  {}
func (quiet) Errorf(string, ...interface{}) {}
func (quiet) Fatalf(format string, args ...interface{}) {
	lsm.DefaultLogger.Fatalf(format, args...)
}

// store is the tier of one subtask. The owner loads and scans; uploads and
// spills apply changes from other goroutines, one at a time under mu.
type store struct {
	spec   state.Spec
	db     *lsm.DB
	cache  *lsm.Cache
	budget int64
	counts []state.Count
	bytes  atomic.Int64
	damage atomic.Pointer[string] // a file found damaged

	mu       sync.Mutex
	instance string // names the tree: starts its files' names
	uploads  int    // numbers manifests
	ingested int    // numbers tables being written
	closed   bool

	// names are the tree's tables that are in a bundle: their names there.
	names atomic.Pointer[map[string]string]

	queueMu sync.Mutex
	queue   []*change
	pending atomic.Int32
	spills  sync.WaitGroup
	failed  error // of a spill, given to the next caller
}

// change is a snapshot on its way into the tree.
type change struct {
	snap    state.Snapshot
	hold    bool // a checkpoint: later changes wait until it is uploaded
	applied bool
}

// Open prepares the tree in spec.Dir: from the files of a pebble handle of
// the very same key groups and tables by linking, else by writing the
// handles' entries.
func (b *Backend) Open(ctx context.Context, spec state.Spec, handles []state.Handle) (state.Store, error) {
	budget := spec.CacheBytes
	if budget <= 0 {
		budget = DefaultCacheBytes
	}
	s := &store{
		spec: spec, budget: budget - budget/4, counts: make([]state.Count, len(spec.Tables)),
		instance: types.NewUUID().String()[:13],
	}
	s.names.Store(&map[string]string{})
	if err := resetDir(spec.FS, spec.Dir); err != nil {
		return nil, pgerr.Wrap(err, pgerr.IOError, "could not prepare the directory for state of job %s subtask %d", spec.Job, spec.Subtask)
	}
	own := native(spec, handles)
	if own != nil {
		if err := s.link(own); err != nil {
			return nil, err
		}
	}
	s.cache = lsm.NewCache(budget / 4)
	o := options(spec.FS, s.cache)
	o.EventListener = &lsm.EventListener{DataCorruption: func(i lsm.DataCorruptionInfo) {
		name := spec.FS.PathBase(i.Path)
		s.damage.Store(&name)
	}}
	db, err := lsm.Open(s.treeDir(), o)
	if err != nil {
		s.cache.Unref()
		return nil, s.wrap(err, "could not open state of job %s subtask %d", spec.Job, spec.Subtask)
	}
	s.db = db
	if own == nil {
		err = s.load(ctx, handles)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.bytes.Store(int64(s.treeBytes()))
	return s, nil
}

func resetDir(fs vfs.FS, dir string) error {
	if err := fs.RemoveAll(dir); err != nil {
		return err
	}
	return fs.MkdirAll(dir, 0o755)
}

func (s *store) treeDir() string { return s.spec.FS.PathJoin(s.spec.Dir, "tree") }

func (s *store) treeBytes() uint64 {
	m := s.db.Metrics()
	t := m.Total()
	return uint64(t.TablesSize)
}

// load writes the entries of handles into the empty tree.
func (s *store) load(ctx context.Context, handles []state.Handle) error {
	last := struct {
		table int
		key   []byte
	}{table: -1}
	src := state.Concat(len(s.spec.Tables), func(i int) (state.Entries, error) {
		if s.spec.Tables[i].Kind == state.KindList {
			return state.Restore(ctx, state.Spec{Tables: s.spec.Tables}, nil, i)
		}
		return state.Restore(ctx, s.spec, handles, i)
	})
	return s.ingest(ctx, src, func(e *state.Entry) {
		c := &s.counts[e.Table]
		c.Entries++
		if last.table != e.Table || string(last.key) != string(e.Key) {
			c.Keys++
		}
		last.table, last.key = e.Table, append(last.key[:0], e.Key...)
	})
}

// Resident is false.
func (s *store) Resident() bool { return false }

// Counts gives the sizes of the tables as of Open.
func (s *store) Counts() []state.Count { return s.counts }

// CacheBytes is the share of memory for hot keys.
func (s *store) CacheBytes() int64 { return s.budget }

// Bytes is the size of the tree's tables.
func (s *store) Bytes() int64 { return s.bytes.Load() }

// Pending counts the changes that are not in the tree yet.
func (s *store) Pending() int { return int(s.pending.Load()) }

// Close removes the tree.
func (s *store) Close() error {
	s.spills.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.db.Close()
	s.cache.Unref()
	if e := s.spec.FS.RemoveAll(s.spec.Dir); err == nil {
		err = e
	}
	return err
}

// wrap gives an error of the tree a code, and names a damaged file.
func (s *store) wrap(err error, format string, args ...any) error {
	return wrap(err, s.damage.Load(), *s.names.Load(), format, args...)
}

func wrap(err error, damaged *string, names map[string]string, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	switch {
	case err == nil:
		return nil
	case damaged != nil:
		name := *damaged
		if n, ok := names[name]; ok {
			name = n
		}
		return pgerr.Wrap(err, pgerr.DataCorrupted, "%s: state file %q is damaged", what, name)
	case lsm.IsCorruptionError(err):
		return pgerr.Wrap(err, pgerr.DataCorrupted, "%s: a state file is damaged", what)
	case vfs.IsNoSpaceError(err):
		return pgerr.Wrap(err, pgerr.DiskFull, "%s: no space left on the device", what)
	case pgerr.CodeOf(err) != pgerr.InternalError:
		return err
	}
	return pgerr.Wrap(err, pgerr.IOError, "%s", what)
}
