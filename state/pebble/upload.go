package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Freeze keeps the snapshot for Upload.
func (s *store) Freeze(e types.Epoch, snap state.Snapshot) (state.Frozen, error) {
	c := &change{snap: snap, hold: true}
	f := &frozen{s: s, e: e, c: c, lists: snap.Lists(), counts: snap.Counts()}
	s.enqueue(c)
	return f, nil
}

// frozen is a checkpoint. Its change goes into the tree whether it is
// uploaded or not: the next checkpoint builds on it.
type frozen struct {
	s      *store
	e      types.Epoch
	c      *change
	lists  state.Entries // readable also after the snapshot's release
	counts []state.Count
}

// Discard gives the checkpoint up; its changes are applied with the next.
func (f *frozen) Discard() {
	f.s.queueMu.Lock()
	f.c.hold = false
	f.s.queueMu.Unlock()
	f.s.prune()
}

// Upload applies the changes and links the tree's files into the bundle.
func (f *frozen) Upload(ctx context.Context, d state.Dest) (state.Handle, error) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return state.Handle{}, errClosed
	}
	h, err := f.upload(ctx, d)
	f.Discard()
	if e := s.applyReady(ctx); err == nil && e != nil { // spills that waited
		err = e
	}
	if err != nil {
		return state.Handle{}, err
	}
	return h, nil
}

func (f *frozen) upload(ctx context.Context, d state.Dest) (state.Handle, error) {
	s := f.s
	if err := s.applyUntil(ctx, f.c); err != nil {
		return state.Handle{}, err
	}
	lists, _, err := state.EncodeInline(ctx, f.lists, 0)
	if err != nil {
		return state.Handle{}, err
	}
	h := state.Handle{
		Backend: "pebble", Format: descVersion, Epoch: f.e,
		Groups: s.spec.Groups, NumGroups: s.spec.NumGroups, Tables: s.spec.Tables,
	}
	desc := description{counts: f.counts, lists: lists}
	dir := s.spec.FS.PathJoin(s.spec.Dir, "checkpoint")
	err = s.spec.FS.RemoveAll(dir)
	if err == nil {
		err = s.db.Checkpoint(dir)
	}
	if err == nil {
		err = s.publish(d, f.e, dir, &h, &desc)
	}
	if e := s.spec.FS.RemoveAll(dir); err == nil {
		err = e
	}
	if err != nil {
		return state.Handle{}, s.wrap(err, "could not upload state of job %s subtask %d", s.spec.Job, s.spec.Subtask)
	}
	h.Inline = appendDescription(nil, &desc)
	h.Bytes += int64(len(h.Inline))
	h.New += int64(len(h.Inline))
	return h, nil
}

// publish brings the files of a checkpoint of the tree into the bundle: new
// tables by link, the tree's manifest as a copy, small files in the handle.
func (s *store) publish(d state.Dest, e types.Epoch, dir string, h *state.Handle, desc *description) error {
	fs := s.spec.FS
	files, err := fs.List(dir)
	if err != nil {
		return err
	}
	slices.Sort(files)
	into := d.FS.PathDir(d.FS.PathJoin(d.Root, d.Prefix))
	if err := d.FS.MkdirAll(into, 0o755); err != nil {
		return err
	}
	s.uploads++
	names := make(map[string]string, len(files))
	for _, name := range files {
		path := fs.PathJoin(dir, name)
		switch {
		case strings.HasSuffix(name, ".sst"):
			f, fresh, err := s.publishTable(d, path, name)
			if err != nil {
				return err
			}
			if fresh {
				h.New += f.Bytes
			}
			h.Bytes += f.Bytes
			names[name] = f.Name
			desc.files = append(desc.files, treeFile{name: name, file: len(h.Files) + 1})
			h.Files = append(h.Files, f)
		case strings.HasPrefix(name, "MANIFEST-"):
			f, err := publishManifest(d, fs, path, fmt.Sprintf("%s-%s-%016x-%d.manifest", d.Prefix, s.instance, uint64(e), s.uploads))
			if err != nil {
				return err
			}
			h.New += f.Bytes
			h.Bytes += f.Bytes
			desc.files = append(desc.files, treeFile{name: name, file: len(h.Files) + 1})
			h.Files = append(h.Files, f)
		default:
			b, err := readFile(fs, path)
			if err != nil {
				return err
			}
			desc.files = append(desc.files, treeFile{name: name, content: b})
		}
	}
	s.names.Store(&names)
	return state.SyncDir(d.FS, into)
}

// publishTable links a table into the bundle unless it is there. A table that
// was uploaded before may have been released since, so it is looked for.
func (s *store) publishTable(d state.Dest, path, name string) (f state.File, fresh bool, err error) {
	st, err := s.spec.FS.Stat(path)
	if err != nil {
		return f, false, err
	}
	f.Bytes = st.Size()
	f.Name = (*s.names.Load())[name]
	if f.Name == "" {
		f.Name = fmt.Sprintf("%s-%s-%s", d.Prefix, s.instance, name)
	}
	to := d.FS.PathJoin(d.Root, f.Name)
	if there, err := d.FS.Stat(to); err == nil {
		if there.Size() == f.Bytes {
			return f, false, nil
		}
		if err := d.FS.Remove(to); err != nil { // an unfinished copy
			return f, false, err
		}
	}
	return f, true, vfs.LinkOrCopy(d.FS, path, to)
}

func publishManifest(d state.Dest, fs vfs.FS, path, name string) (state.File, error) {
	b, err := readFile(fs, path)
	if err != nil {
		return state.File{}, err
	}
	return state.File{Name: name, Bytes: int64(len(b)), Sum: xxh3.Hash(b)}, writeFile(d.FS, d.FS.PathJoin(d.Root, name), b)
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if e := f.Close(); err == nil {
		err = e
	}
	return b, err
}

func writeFile(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Clone(b)) // a write may scramble its argument
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// description is the Inline part of a handle: what the tree's directory looks
// like, the sizes of the tables, and the lists in the canonical format.
type description struct {
	files  []treeFile
	counts []state.Count
	lists  []byte
}

// treeFile is a file of the tree: number file-1 of the handle's, or content.
type treeFile struct {
	name    string
	file    int
	content []byte
}

const descVersion = 1

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendDescription(dst []byte, d *description) []byte {
	dst = append(dst, descVersion)
	dst = binary.AppendUvarint(dst, uint64(len(d.files)))
	for _, f := range d.files {
		dst = appendBytes(dst, []byte(f.name))
		dst = binary.AppendUvarint(dst, uint64(f.file))
		dst = appendBytes(dst, f.content)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.counts)))
	for _, c := range d.counts {
		dst = binary.AppendUvarint(dst, uint64(c.Keys))
		dst = binary.AppendUvarint(dst, uint64(c.Entries))
	}
	return appendBytes(dst, d.lists)
}

// describe decodes the description of a handle and checks it against it.
func describe(h *state.Handle) (*description, error) {
	bad := func() (*description, error) {
		return nil, pgerr.New(pgerr.DataCorrupted, "malformed handle of a pebble state")
	}
	if h.Format != descVersion || len(h.Inline) == 0 || h.Inline[0] != descVersion {
		return nil, pgerr.Unsupported("a pebble state of format version %d (this server reads up to %d)", h.Format, descVersion)
	}
	b, ok := h.Inline[1:], true
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok, b = false, nil
			return 0
		}
		b = b[n:]
		return v
	}
	blob := func() []byte {
		n := number()
		if n > uint64(len(b)) {
			ok, b = false, nil
			return nil
		}
		v := b[:n:n]
		b = b[n:]
		return v
	}
	d := &description{}
	for n := number(); n > 0 && ok; n-- {
		f := treeFile{name: string(blob())}
		at := number()
		f.file, f.content = int(at), blob()
		if at > uint64(len(h.Files)) || f.name == "" || strings.ContainsAny(f.name, "/\\") {
			return bad()
		}
		d.files = append(d.files, f)
	}
	for n := number(); n > 0 && ok; n-- {
		d.counts = append(d.counts, state.Count{Keys: int64(number()), Entries: int64(number())})
	}
	d.lists = blob()
	if !ok || len(b) != 0 || len(d.counts) != len(h.Tables) {
		return bad()
	}
	return d, nil
}
