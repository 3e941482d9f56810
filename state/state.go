// Package state keeps a subtask's managed state. Three concrete structures
// (Lines, Bag, Sorted) hold rows in pointer-free pages and do every row
// operation; a Backend never sees one: it loads misses in sorted batches,
// takes what changed at a checkpoint, and uploads it from another goroutine.
//
// Everything in state is an Entry (table, key group, key, sub-key → value).
// Entries are also the canonical format of savepoints, so state moves between
// backends and parallelisms entry by entry.
package state

import (
	"context"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/types"
)

// ID identifies a state by what it contains (planner derives it); equal
// contents have equal ids also in another version of a query.
type ID [16]byte

// Kind is a structure. Written to disk: never renumber.
type Kind uint8

// The structures.
const (
	KindLines  Kind = 1 // key → fixed-width row, with an optional blob
	KindBag    Kind = 2 // key → rows (images) with multiplicity
	KindSorted Kind = 3 // key → (order key, image) with multiplicity, in order
	KindList   Kind = 4 // operator state: a named list of blobs
)

// Redistribution says how operator state (lists) is dealt out when a job
// starts with another parallelism.
type Redistribution uint8

// The redistributions.
const (
	Split     Redistribution = iota // elements dealt out round robin
	Union                           // every subtask gets all elements
	Broadcast                       // every subtask holds the same; one copy is kept
)

// TableSpec declares one state of a subtask. Its place in Spec.Tables is its
// number within the store.
type TableSpec struct {
	ID     ID
	Name   string // for people: "hash_agg 2 groups"
	Kind   Kind
	Width  int // KindLines: bytes of the fixed part of a line
	Redist Redistribution
}

// Spec is what a store is opened for.
type Spec struct {
	Job        types.UUID
	Subtask    int
	NumGroups  int              // key groups of the job
	Groups     types.GroupRange // those that this subtask owns
	Tables     []TableSpec
	FS         vfs.FS
	Dir        string // scratch of this subtask alone (emptied at Open)
	Root       string // where the files of handles lie
	Limit      int64  // memory backend: bytes per subtask, 0: the backend's default
	CacheBytes int64  // pebble: bound on hot pages and block cache, 0: the backend's default
}

// Entry is one piece of state in the canonical form, valid until the
// iterator's next step. Lines: Sub empty, Value the fixed part then the blob.
// Bag: Sub the row image, Value the multiplicity (zig-zag varint). Sorted: Sub
// the uvarint-length-prefixed order key then the image, Value the
// multiplicity. List: Key the list's index as 8 bytes, Value the blob.
type Entry struct {
	Table int // index into TableSpecs
	Group uint16
	Key   []byte
	Sub   []byte
	Value []byte // nil: the entry is gone (only among dirty entries)
}

// Entries iterates; Next gives io.EOF at the end. Sorted by (table, group,
// key, sub) where the source says so.
type Entries interface {
	Next(e *Entry) error
	Close() error
}

// File is a file of a handle, by a name relative to the bundle's root.
type File struct {
	Name  string
	Bytes int64
	Sum   uint64 // xxh3 of the contents, 0 if the format has its own block checksums
}

// Handle names a subtask's uploaded state. It holds no absolute paths.
type Handle struct {
	Backend   string // which backend reads it: "memory", "filesystem", "pebble", "canonical"
	Format    uint16
	Epoch     types.Epoch
	Groups    types.GroupRange
	NumGroups int
	Tables    []TableSpec
	Files     []File
	Inline    []byte // memory backend: the entries themselves; pebble: its description
	Bytes     int64  // size of the whole state, serialised
	New       int64  // bytes that this upload had to write
}

// Dest is where a Frozen uploads to.
type Dest struct {
	FS   vfs.FS
	Root string // bundle root; files go to Root/<name>
	// Prefix starts the names of new files, unique to this job and subtask.
	Prefix string
	// Unlimited lifts the memory backend's limit (savepoints go to files).
	Unlimited bool
}

// Backend opens stores and reads handles. Third parties may register one.
type Backend interface {
	Name() string
	// Open prepares a store from handles of any backend (see ReadHandle)
	// whose key groups overlap the spec's; entries of other groups are left
	// out. No handles: empty state.
	Open(ctx context.Context, spec Spec, handles []Handle) (Store, error)
	// Read iterates the entries of one of its own handles, sorted, for the
	// tables given by id and the groups in r.
	Read(ctx context.Context, fs vfs.FS, root string, h Handle, r types.GroupRange) (Entries, error)
	// Verify checks every file of a handle; the error names the file.
	Verify(ctx context.Context, fs vfs.FS, root string, h Handle) error
}

// Store is the tier under a subtask's structures.
type Store interface {
	// Resident reports that the structures hold everything: there is no tier
	// below, so no misses.
	Resident() bool
	// Load gives the entries of the keys, which come sorted by (group, key)
	// and are misses; entries come in that order.
	Load(table int, keys *SortedKeys) (Entries, error)
	// Scan gives all entries of a table within key groups, sorted. From names
	// the first (group, key) wanted, nil for the range's start.
	Scan(table int, r types.GroupRange, from []byte) (Entries, error)
	// Freeze takes what a checkpoint at e needs. No I/O, no waiting.
	Freeze(e types.Epoch, s Snapshot) (Frozen, error)
	// Bytes is the size of what the tier holds, for SHOW JOBS.
	Bytes() int64
	Close() error
}

// SortedKeys is a batch of misses.
type SortedKeys struct {
	Groups []uint16
	Keys   [][]byte
}

// Snapshot is the structures' content as of a freeze, readable from any
// goroutine until Release. Pages written after the freeze were copied first.
type Snapshot interface {
	// Dirty iterates entries changed since the previous freeze, All iterates
	// everything resident; both sorted by (table, group, key, sub) only if
	// sorted is asked for.
	Dirty(sorted bool) Entries
	All(sorted bool) Entries
	// Lists iterates the items of lists, which are not among the dirty
	// entries. All has them too.
	Lists() Entries
	// Counts gives the sizes of the tables, cold entries included.
	Counts() []Count
	Release()
}

// Frozen is a checkpoint's state on its way to a file.
type Frozen interface {
	// Upload writes and syncs the files and gives the handle. On another
	// goroutine; once. The memory backend fails here by name above its limit.
	Upload(ctx context.Context, d Dest) (Handle, error)
	// Discard gives it up.
	Discard()
}
