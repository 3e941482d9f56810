package pebble

import (
	"context"
	"io"
	"strings"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// native gives the handle that a store can be opened from by linking files:
// the only one with key groups of the spec, with the same ones and with the
// same tables.
func native(spec state.Spec, handles []state.Handle) *state.Handle {
	var own *state.Handle
	for i := range handles {
		h := &handles[i]
		if h.Groups.Hi <= spec.Groups.Lo || spec.Groups.Hi <= h.Groups.Lo {
			continue
		}
		if own != nil {
			return nil
		}
		own = h
	}
	if own == nil || own.Backend != "pebble" || own.Groups != spec.Groups || own.NumGroups != spec.NumGroups || len(own.Tables) != len(spec.Tables) {
		return nil
	}
	for i, t := range own.Tables {
		if w := spec.Tables[i]; t.ID != w.ID || t.Kind != w.Kind || t.Width != w.Width {
			return nil
		}
	}
	return own
}

// link makes the tree's directory from a handle's files.
func (s *store) link(h *state.Handle) error {
	d, err := describe(h)
	if err != nil {
		return err
	}
	s.counts = d.counts
	names := map[string]string{}
	s.names.Store(&names) // filled below, before anyone else sees it
	fs, dir := s.spec.FS, s.treeDir()
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return s.wrap(err, "could not restore state")
	}
	for _, t := range d.files {
		to := fs.PathJoin(dir, t.name)
		switch {
		case t.file == 0:
			err = writeFile(fs, to, t.content)
		case strings.HasSuffix(t.name, ".sst"):
			f := h.Files[t.file-1]
			if err = checkSize(fs, s.spec.Root, f); err == nil {
				err = vfs.LinkOrCopy(fs, fs.PathJoin(s.spec.Root, f.Name), to)
				names[t.name] = f.Name
			}
		default:
			var b []byte
			if b, err = readChecked(fs, s.spec.Root, h.Files[t.file-1]); err == nil {
				err = writeFile(fs, to, b)
			}
		}
		if err != nil {
			return s.wrap(err, "could not restore state of job %s subtask %d", s.spec.Job, s.spec.Subtask)
		}
	}
	return nil
}

func damaged(name, what string) error {
	return pgerr.New(pgerr.DataCorrupted, "state file %q is damaged: %s", name, what).
		WithHint("If it is a view's, ALTER MATERIALIZED VIEW … RESUME builds it again; if it is a table's, put the file back from a copy of the data directory.")
}

func checkSize(fs vfs.FS, root string, f state.File) error {
	st, err := fs.Stat(fs.PathJoin(root, f.Name))
	if err != nil {
		return pgerr.Wrap(err, pgerr.DataCorrupted, "state file %q is missing or cannot be opened", f.Name).
			WithHint("If it is a view's, ALTER MATERIALIZED VIEW … RESUME builds it again; if it is a table's, put the file back from a copy of the data directory.")
	}
	if st.Size() != f.Bytes {
		return damaged(f.Name, "it does not have the size that was written")
	}
	return nil
}

// readChecked reads a file whose checksum the handle has.
func readChecked(fs vfs.FS, root string, f state.File) ([]byte, error) {
	if err := checkSize(fs, root, f); err != nil {
		return nil, err
	}
	b, err := readFile(fs, fs.PathJoin(root, f.Name))
	if err == nil && xxh3.Hash(b) != f.Sum {
		err = damaged(f.Name, "checksum mismatch")
	}
	return b, err
}

// Read iterates the entries of a handle within key groups r.
func (b *Backend) Read(ctx context.Context, fs vfs.FS, root string, h state.Handle, r types.GroupRange) (state.Entries, error) {
	return b.ReadTables(ctx, fs, root, h, r, func(int) bool { return true })
}

// ReadTables is Read for some tables: lists from the handle itself, the rest
// from the tree, opened read-only over the bundle's files.
func (b *Backend) ReadTables(ctx context.Context, fs vfs.FS, root string, h state.Handle, r types.GroupRange, want func(table int) bool) (state.Entries, error) {
	d, err := describe(&h)
	if err != nil {
		return nil, err
	}
	keyed := false
	for i, t := range h.Tables {
		keyed = keyed || want(i) && t.Kind != state.KindList
	}
	var t *bundleTree
	if keyed {
		if t, err = openBundle(fs, root, &h, d); err != nil {
			return nil, err
		}
	}
	all := state.Concat(len(h.Tables), func(i int) (state.Entries, error) {
		switch {
		case !want(i):
			return nothing{}, nil
		case h.Tables[i].Kind == state.KindList:
			return state.CanonicalFiles{}.ReadTables(ctx, fs, root, state.Handle{Format: 1, Inline: d.lists}, r, func(t int) bool { return t == i })
		}
		return scan(t.db, appendHead(nil, i, r.Lo), groupEnd(i, r.Hi), t.wrap)
	})
	return &bundleEntries{all, t}, nil
}

type nothing struct{}

func (nothing) Next(*state.Entry) error { return io.EOF }
func (nothing) Close() error            { return nil }

// bundleEntries closes the tree with the iterator.
type bundleEntries struct {
	state.Entries
	t *bundleTree
}

func (b *bundleEntries) Close() error {
	err := b.Entries.Close()
	if b.t != nil {
		if e := b.t.close(); err == nil {
			err = e
		}
		b.t = nil
	}
	return err
}

// bundleTree is a tree opened read-only: its small files lie in memory, its
// tables in the bundle under their names there.
type bundleTree struct {
	db      *lsm.DB
	cache   *lsm.Cache
	names   map[string]string
	damaged *string
}

func openBundle(fs vfs.FS, root string, h *state.Handle, d *description) (*bundleTree, error) {
	const dir = "tree"
	mem := vfs.NewMem()
	over := &bundleFS{FS: mem, base: fs, root: root, names: map[string]string{}}
	if err := mem.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, f := range d.files {
		content := f.content
		var err error
		switch {
		case strings.HasSuffix(f.name, ".sst") && f.file > 0:
			err = checkSize(fs, root, h.Files[f.file-1])
			over.names[f.name] = h.Files[f.file-1].Name
		case f.file > 0:
			content, err = readChecked(fs, root, h.Files[f.file-1])
		}
		if err == nil {
			err = writeFile(mem, mem.PathJoin(dir, f.name), content)
		}
		if err != nil {
			return nil, err
		}
	}
	t := &bundleTree{cache: lsm.NewCache(8 << 20), names: over.names}
	o := options(over, t.cache)
	o.ReadOnly = true
	o.EventListener = &lsm.EventListener{DataCorruption: func(i lsm.DataCorruptionInfo) {
		name := fs.PathBase(i.Path)
		t.damaged = &name
	}}
	db, err := lsm.Open(dir, o)
	if err != nil {
		t.cache.Unref()
		return nil, t.wrap(err)
	}
	t.db = db
	return t, nil
}

func (t *bundleTree) wrap(err error) error {
	return wrap(err, t.damaged, t.names, "could not read saved state")
}

func (t *bundleTree) close() error {
	err := t.db.Close()
	t.cache.Unref()
	return err
}

// bundleFS shows the tables of a bundle under the names that the tree knows.
type bundleFS struct {
	vfs.FS // everything else, in memory
	base   vfs.FS
	root   string
	names  map[string]string
}

func (b *bundleFS) at(name string) (string, bool) {
	n, ok := b.names[b.FS.PathBase(name)]
	return b.base.PathJoin(b.root, n), ok
}

// Open opens a table in the bundle, any other file in memory.
func (b *bundleFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if path, ok := b.at(name); ok {
		return b.base.Open(path, opts...)
	}
	return b.FS.Open(name, opts...)
}

// Stat is of the file that Open opens.
func (b *bundleFS) Stat(name string) (vfs.FileInfo, error) {
	if path, ok := b.at(name); ok {
		return b.base.Stat(path)
	}
	return b.FS.Stat(name)
}

// Verify reads every file of a handle and checks all blocks.
func (b *Backend) Verify(ctx context.Context, fs vfs.FS, root string, h state.Handle) error {
	d, err := describe(&h)
	if err != nil {
		return err
	}
	for _, t := range d.files {
		if t.file == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f := h.Files[t.file-1]
		if strings.HasSuffix(t.name, ".sst") {
			err = verifyTable(ctx, fs, root, f)
		} else {
			_, err = readChecked(fs, root, f)
		}
		if err != nil {
			return err
		}
	}
	return state.CanonicalFiles{}.Verify(ctx, fs, root, state.Handle{Format: 1, Inline: d.lists})
}

func verifyTable(ctx context.Context, fs vfs.FS, root string, f state.File) error {
	if err := checkSize(fs, root, f); err != nil {
		return err
	}
	h, err := fs.Open(fs.PathJoin(root, f.Name))
	if err != nil {
		return pgerr.Wrap(err, pgerr.IOError, "could not open state file %q", f.Name)
	}
	src, err := sstable.NewSimpleReadable(h)
	if err != nil {
		h.Close()
		return pgerr.Wrap(err, pgerr.IOError, "could not open state file %q", f.Name)
	}
	r, err := sstable.NewReader(ctx, src, options(fs, nil).MakeReaderOptions())
	if err != nil {
		src.Close()
		return pgerr.Wrap(err, pgerr.DataCorrupted, "state file %q is damaged", f.Name)
	}
	err = r.ValidateBlockChecksums()
	r.Close()
	if err != nil {
		return pgerr.Wrap(err, pgerr.DataCorrupted, "state file %q is damaged", f.Name)
	}
	return nil
}
