package checkpoint

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Savepoint is a deliberate, named, self-describing copy of everything. It
// lies in a folder of its own, its states in the canonical format, and does
// not depend on checkpoints or the journal.
type Savepoint struct {
	ID       types.UUID
	Name     string
	Created  types.Micros
	Auto     bool // made by the server before a rollback
	Manifest *Manifest
}

// A savepoint's description is framed like a manifest, under its own magic.
const (
	savepointMagic  = "SDBSAVEP"
	SavepointFormat = 1
	savepointFile   = "SAVEPOINT"
)

func (s *Store) savepointsDir() string { return s.fs.PathJoin(s.fs.PathDir(s.dir), "savepoints") }

// SavepointRoot is the folder of a savepoint, to which its handles' files are
// relative.
func (s *Store) SavepointRoot(id types.UUID) string {
	return s.fs.PathJoin(s.savepointsDir(), id.String())
}

// Savepoints lists the savepoints, oldest first. Damaged ones are left out
// and named in the warnings.
func (s *Store) Savepoints() (list []*Savepoint, warnings []error, err error) {
	names, err := s.fs.List(s.savepointsDir())
	if err != nil {
		return nil, nil, ioErr(err, "could not list %q", s.savepointsDir())
	}
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			continue // being made, or left by a crash
		}
		sp, err := ReadSavepoint(s.fs, s.fs.PathJoin(s.savepointsDir(), name))
		if err != nil {
			warnings = append(warnings, err)
			continue
		}
		list = append(list, sp)
	}
	slices.SortFunc(list, func(a, b *Savepoint) int {
		if a.Created != b.Created {
			return int(a.Created - b.Created)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list, warnings, nil
}

// FindSavepoint gives the savepoint called name: 3B001 if there is none.
func (s *Store) FindSavepoint(name string) (*Savepoint, error) {
	list, warnings, err := s.Savepoints()
	if err != nil {
		return nil, err
	}
	for _, sp := range list {
		if sp.Name == name {
			return sp, nil
		}
	}
	e := pgerr.New(pgerr.InvalidSavepoint, "savepoint %q does not exist", name).
		WithHint("SHOW SAVEPOINTS lists those there are.")
	if len(warnings) > 0 {
		e.Detail = "A savepoint that can not be read: " + pgerr.From(warnings[0]).Message
	}
	return nil, e
}

// CreateSavepoint writes m's states in the canonical format, then the
// description, then gives the folder its name, which makes the savepoint
// exist. The files of m must be held (Retain) meanwhile.
func (s *Store) CreateSavepoint(ctx context.Context, sp *Savepoint) error {
	final := s.SavepointRoot(sp.ID)
	tmp := final + tmpSuffix
	if err := s.fs.MkdirAll(tmp, 0o700); err != nil {
		return ioErr(err, "could not create %q", tmp)
	}
	c := *sp
	m, err := s.canonical(ctx, sp.Manifest, tmp)
	if err == nil {
		c.Manifest = m
		err = writeFile(s.fs, s.fs.PathJoin(tmp, savepointFile), appendSavepoint(nil, &c))
	}
	if err == nil {
		if e := s.fs.Rename(tmp, final); e != nil {
			err = ioErr(e, "could not create %q", final)
		}
	}
	if err != nil {
		_ = s.fs.RemoveAll(tmp)
		return err
	}
	*sp = c
	return syncDir(s.fs, s.savepointsDir())
}

// canonical copies a manifest's states into dir, one canonical handle for
// each handle.
func (s *Store) canonical(ctx context.Context, m *Manifest, dir string) (*Manifest, error) {
	out := *m
	out.Tables, out.Parts = nil, nil
	n := 0
	convert := func(hs []state.Handle) ([]state.Handle, error) {
		var to []state.Handle
		for i := range hs {
			h := &hs[i]
			src, err := state.ReadHandles(ctx, s.fs, s.dir, hs[i:i+1], h.Groups)
			if err != nil {
				return nil, err
			}
			n++
			d := state.Dest{FS: s.fs, Root: dir, Prefix: fmt.Sprintf("state-%06d", n), Unlimited: true}
			c, err := state.WriteCanonical(ctx, d, h.Tables, h.Groups, h.NumGroups, h.Epoch, src)
			if e := src.Close(); err == nil {
				err = e
			}
			if err != nil {
				return nil, err
			}
			to = append(to, c)
		}
		return to, nil
	}
	for _, t := range m.Tables {
		hs, err := convert(t.States)
		if err != nil {
			return nil, err
		}
		out.Tables = append(out.Tables, Table{ID: t.ID, States: hs})
	}
	for _, p := range m.Parts {
		hs, err := convert(p.States)
		if err != nil {
			return nil, err
		}
		p.States, p.Tokens = hs, nil // what was prepared is committed
		out.Parts = append(out.Parts, p)
	}
	return &out, nil
}

// VerifySavepoint reads all of a savepoint's files; the error names the first
// that is missing or damaged. What is not whole is not rolled back to.
func (s *Store) VerifySavepoint(ctx context.Context, sp *Savepoint) error {
	root := s.SavepointRoot(sp.ID)
	for _, h := range sp.Manifest.handles() {
		b, err := state.Lookup(h.Backend)
		if err == nil {
			err = b.Verify(ctx, s.fs, root, h)
		}
		if err != nil {
			e := *pgerr.From(err)
			e.Message = fmt.Sprintf("savepoint %q is damaged: %s", sp.Name, e.Message)
			e.Detail = "It lies in " + root + ". Nothing was changed."
			e.Hint = "Roll back to another savepoint (SHOW SAVEPOINTS), or bring the file back from a backup."
			return &e
		}
	}
	return nil
}

// Adopt makes the states of a savepoint available under Root, durably, under
// names of epoch e, and gives its manifest with these handles. The savepoint
// stays.
func (s *Store) Adopt(sp *Savepoint, e types.Epoch) (*Manifest, error) {
	out := *sp.Manifest
	out.Tables, out.Parts = nil, nil
	n := 0
	for _, t := range sp.Manifest.Tables {
		hs, err := s.adopt(sp, t.ID, e, t.States, &n)
		if err != nil {
			return nil, err
		}
		out.Tables = append(out.Tables, Table{ID: t.ID, States: hs})
	}
	for _, p := range sp.Manifest.Parts {
		hs, err := s.adopt(sp, p.Job, e, p.States, &n)
		if err != nil {
			return nil, err
		}
		p.States = hs
		out.Parts = append(out.Parts, p)
	}
	return &out, nil
}

// adopt links the files of one owner's handles; n numbers them.
func (s *Store) adopt(sp *Savepoint, owner types.UUID, e types.Epoch, hs []state.Handle, n *int) ([]state.Handle, error) {
	if len(hs) == 0 {
		return nil, nil
	}
	d, err := s.Dest(owner, e)
	if err != nil {
		return nil, err
	}
	to := slices.Clone(hs)
	for i := range to {
		to[i].Files = slices.Clone(to[i].Files)
		for k := range to[i].Files {
			*n++
			from := s.fs.PathJoin(s.SavepointRoot(sp.ID), to[i].Files[k].Name)
			name := d.Prefix + "-sp" + strconv.Itoa(*n)
			to[i].Files[k].Name = name
			_ = s.fs.Remove(s.fs.PathJoin(s.dir, name)) // left by an attempt that a crash ended
			if err := vfs.LinkOrCopy(s.fs, from, s.fs.PathJoin(s.dir, name)); err != nil {
				return nil, ioErr(err, "could not copy %q", from)
			}
		}
	}
	return to, syncDir(s.fs, s.fs.PathJoin(s.dir, stateDir, owner.String()))
}

// DropSavepoint removes a savepoint for good.
func (s *Store) DropSavepoint(sp *Savepoint) error {
	final := s.SavepointRoot(sp.ID)
	if err := s.fs.Rename(final, final+tmpSuffix); err != nil { // from here on it is gone
		return ioErr(err, "could not remove %q", final)
	}
	if err := syncDir(s.fs, s.savepointsDir()); err != nil {
		return err
	}
	if err := s.fs.RemoveAll(final + tmpSuffix); err != nil {
		return ioErr(err, "could not remove %q", final+tmpSuffix)
	}
	return nil
}

// Sweep removes what crashes have left half-made.
func (s *Store) Sweep() error {
	names, err := s.fs.List(s.savepointsDir())
	if err != nil {
		return ioErr(err, "could not list %q", s.savepointsDir())
	}
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := s.fs.RemoveAll(s.fs.PathJoin(s.savepointsDir(), name)); err != nil {
				return ioErr(err, "could not remove %q", name)
			}
		}
	}
	jobs, err := s.fs.List(s.fs.PathJoin(s.dir, stateDir))
	if err != nil {
		return ioErr(err, "could not list %q", s.dir)
	}
	for _, job := range jobs { // folders of dropped objects
		dir := s.fs.PathJoin(s.dir, stateDir, job)
		if names, err := s.fs.List(dir); err == nil && len(names) == 0 {
			_ = s.fs.Remove(dir)
		}
	}
	return nil
}

// Retain keeps the files of a manifest from being removed until release.
func (s *Store) Retain(m *Manifest) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retained = append(s.retained, m)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.retained = slices.DeleteFunc(s.retained, func(x *Manifest) bool { return x == m })
	}
}

// ReadSavepoint reads the description in a savepoint's folder.
func ReadSavepoint(fs vfs.FS, dir string) (*Savepoint, error) {
	path := fs.PathJoin(dir, savepointFile)
	b, err := readFile(fs, path)
	if err != nil {
		return nil, err
	}
	sp, err := decodeSavepoint(b)
	if err != nil {
		e := *pgerr.From(err)
		e.Message = "file \"" + path + "\": " + e.Message
		return nil, &e
	}
	return sp, nil
}

func appendSavepoint(dst []byte, sp *Savepoint) []byte {
	var body []byte
	body = append(body, sp.ID[:]...)
	body = appendBytes(body, []byte(sp.Name))
	body = binary.AppendVarint(body, int64(sp.Created))
	if sp.Auto {
		body = append(body, 1)
	} else {
		body = append(body, 0)
	}
	body = appendBody(body, sp.Manifest)
	return appendFrame(dst, savepointMagic, SavepointFormat, body)
}

func decodeSavepoint(b []byte) (*Savepoint, error) {
	body, err := openFrame(b, savepointMagic, SavepointFormat, "savepoint")
	if err != nil {
		return nil, err
	}
	d := &decoder{b: body}
	sp := &Savepoint{ID: d.uuid(), Name: string(d.bytes()), Created: types.Micros(d.varint())}
	sp.Auto = d.uvarint() == 1
	sp.Manifest = d.body()
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes are left over", len(d.b))
	}
	return sp, d.err
}

// appendFrame puts a body behind its header: magic, format, length, checksum
// of all that and of the body.
func appendFrame(dst []byte, magic string, format uint32, body []byte) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, format)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(body)))
	h := xxh3.New()
	_, _ = h.Write(dst[start:])
	_, _ = h.Write(body)
	dst = binary.LittleEndian.AppendUint64(dst, h.Sum64())
	return append(dst, body...)
}

// openFrame checks a frame and gives its body.
func openFrame(b []byte, magic string, format uint32, what string) ([]byte, error) {
	switch {
	case len(b) < frameHeader || string(b[:8]) != magic:
		return nil, damaged("it is no %s, or its beginning is damaged", what)
	case binary.LittleEndian.Uint64(b[12:]) != uint64(len(b)-frameHeader):
		return nil, damaged("it has %d bytes instead of the %d that it says", len(b)-frameHeader, binary.LittleEndian.Uint64(b[12:]))
	}
	h := xxh3.New()
	_, _ = h.Write(b[:20])
	_, _ = h.Write(b[frameHeader:])
	if binary.LittleEndian.Uint64(b[20:]) != h.Sum64() {
		return nil, damaged("its checksum does not match")
	}
	if f := binary.LittleEndian.Uint32(b[8:]); f != format {
		return nil, pgerr.Unsupported("%s format %d", what, f).
			WithHint("It was written by another version of streamdb; this one reads format %d. Use that version or a newer one.", format)
	}
	return b[frameHeader:], nil
}
