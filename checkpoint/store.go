package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Kept is how many manifests stay: the newest, and one to fall back to.
const Kept = 2

// Store keeps manifests and savepoints of a data directory, and the files of
// state that they name:
//
//	<dir>/checkpoints/MANIFEST-<number>    a manifest each
//	<dir>/checkpoints/state/<job>/…        files of handles, shared by manifests
//	<dir>/savepoints/<id>/                 a savepoint each, complete in itself
//
// It is safe for use by many goroutines.
type Store struct {
	fs   vfs.FS
	dir  string
	mu   sync.Mutex
	last uint64
	kept []*Manifest // ascending by number, the sound ones of the newest Kept
	// retained are manifests whose files something is being copied from.
	retained []*Manifest
	held     map[upload]int
}

// upload names the files that one job or table writes for one epoch.
type upload struct {
	owner string
	epoch types.Epoch
}

const (
	manifestPrefix = "MANIFEST-"
	stateDir       = "state"
	tmpSuffix      = ".tmp"
)

// Open opens the store in a data directory, making its folders.
func Open(fs vfs.FS, dataDir string) (*Store, error) {
	s := &Store{fs: fs, dir: fs.PathJoin(dataDir, "checkpoints")}
	for _, d := range []string{fs.PathJoin(s.dir, stateDir), fs.PathJoin(dataDir, "savepoints")} {
		if err := fs.MkdirAll(d, 0o700); err != nil {
			return nil, ioErr(err, "could not create directory %q", d)
		}
	}
	for _, d := range []string{s.dir, dataDir} {
		if err := syncDir(fs, d); err != nil {
			return nil, err
		}
	}
	return s, s.Sweep()
}

func ioErr(err error, format string, args ...any) *pgerr.Error {
	if isNoSpace(err) {
		return pgerr.Wrap(err, pgerr.DiskFull, format+": no space left on device", args...).
			WithHint("Free disk space; the checkpoint is tried again.")
	}
	return pgerr.Wrap(err, pgerr.IOError, format, args...)
}

// Root is where the files that handles name lie.
func (s *Store) Root() string { return s.dir }

// Prefix begins the names of the files that a job or table uploads for an
// epoch, relative to Root.
func (s *Store) Prefix(job types.UUID, e types.Epoch) string {
	return s.fs.PathJoin(stateDir, job.String(), strconv.FormatUint(uint64(e), 16))
}

// Dest is where a job or table uploads to for an epoch.
func (s *Store) Dest(job types.UUID, e types.Epoch) (state.Dest, error) {
	parent := s.fs.PathJoin(s.dir, stateDir)
	dir := s.fs.PathJoin(parent, job.String())
	if _, err := s.fs.Stat(dir); notExist(err) {
		if err := s.fs.MkdirAll(dir, 0o700); err != nil {
			return state.Dest{}, ioErr(err, "could not create %q", dir)
		}
		if err := syncDir(s.fs, parent); err != nil { // else the folder may not survive a crash
			return state.Dest{}, err
		}
	}
	return state.Dest{FS: s.fs, Root: s.dir, Prefix: s.Prefix(job, e)}, nil
}

// Hold keeps Prune from the files that a job or table uploads for an epoch,
// until release: by then a manifest, or what Retain holds, must name them.
func (s *Store) Hold(job types.UUID, e types.Epoch) (release func()) {
	u := upload{job.String(), e}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[upload]int{}
	}
	s.held[u]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.held[u]--; s.held[u] == 0 {
			delete(s.held, u)
		}
	}
}

func (s *Store) manifestPath(n uint64) string {
	return s.fs.PathJoin(s.dir, fmt.Sprintf("%s%016x", manifestPrefix, n))
}

// numbers lists the manifests there are, ascending.
func (s *Store) numbers() ([]uint64, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, ioErr(err, "could not list %q", s.dir)
	}
	var ns []uint64
	for _, name := range names {
		hex, ok := strings.CutPrefix(name, manifestPrefix)
		if n, err := strconv.ParseUint(hex, 16, 64); ok && err == nil && len(hex) == 16 {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns, nil
}

// Newest gives the newest sound manifest, nil if there never was one. For
// each newer one that is damaged there is a warning that names the file. If
// there are manifests and none is sound, the error says so: starting from
// nothing would lose data.
func (s *Store) Newest() (*Manifest, []error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ns, err := s.numbers()
	if err != nil {
		return nil, nil, err
	}
	var warnings []error
	var sound, tables *Manifest // tables: the newest that has all of the tables' files
	s.kept = nil
	for _, n := range slices.Backward(ns) {
		s.last = max(s.last, n)
		m, err := ReadManifest(s.fs, s.manifestPath(n))
		if err == nil && sound == nil {
			if err = s.verify(m, m.handles()); err != nil && tables == nil && s.verify(m, m.tableHandles()) == nil {
				tables = m
			}
		}
		if err != nil {
			if pgerr.CodeOf(err) == pgerr.FeatureNotSupported {
				return nil, nil, err // written by a newer version
			}
			if sound == nil {
				warnings = append(warnings, err)
			}
			continue
		}
		if sound == nil {
			sound = m
		}
		s.kept = append(s.kept, m)
	}
	slices.Reverse(s.kept)
	if sound == nil && tables != nil {
		// What views hold can be computed again: the jobs whose files are gone
		// fail by name, and nothing else does.
		sound, s.kept = tables, append(s.kept, tables)
	}
	if sound == nil && len(warnings) > 0 {
		e := pgerr.Wrap(warnings[0], pgerr.DataCorrupted, "no checkpoint in %q is sound: %s", s.dir, warnings[0].Error()).
			WithHint("Restore the named file from a backup of the data directory. Starting without any checkpoint would lose data, so the server does not.")
		return nil, warnings, e
	}
	return sound, warnings, nil
}

// verify checks that all files of handles of a manifest are there in full.
// Their contents have checksums of their own, checked where they are read.
func (s *Store) verify(m *Manifest, hs []state.Handle) error {
	for _, h := range hs {
		for _, f := range h.Files {
			path := s.fs.PathJoin(s.dir, f.Name)
			info, err := s.fs.Stat(path)
			switch {
			case err != nil:
				return pgerr.Wrap(err, pgerr.DataCorrupted, "file %q of checkpoint %d is missing", path, m.Number)
			case f.Bytes > 0 && info.Size() != f.Bytes:
				return pgerr.New(pgerr.DataCorrupted, "file %q of checkpoint %d has %d bytes instead of %d", path, m.Number, info.Size(), f.Bytes)
			}
		}
	}
	return nil
}

// Write makes a manifest durable under the next number: the commit point of
// a checkpoint.
func (s *Store) Write(m *Manifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Number = s.last + 1
	if err := WriteManifest(s.fs, s.manifestPath(m.Number), m); err != nil {
		return err
	}
	s.last = m.Number
	s.kept = append(s.kept, m)
	return nil
}

// Manifests gives the kept manifests, oldest first.
func (s *Store) Manifests() []*Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kept)
}

// OldestLSN is the place from which the journal is still needed.
func (s *Store) OldestLSN() (types.LSN, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) < Kept {
		return 0, false // the fall-back is the journal from its beginning
	}
	lsn := s.kept[0].LSN
	for _, m := range s.kept {
		lsn = min(lsn, m.LSN)
	}
	return lsn, true
}

// Prune removes manifests beyond the newest Kept, then the files that no kept
// manifest names and that are not of a checkpoint still under way: those of
// epochs after the newest manifest's, and those held.
func (s *Store) Prune() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ns, err := s.numbers()
	if err != nil {
		return err
	}
	if len(s.kept) > Kept {
		s.kept = slices.Clone(s.kept[len(s.kept)-Kept:])
	}
	if len(s.kept) == 0 {
		return nil
	}
	for _, n := range ns {
		if n < s.kept[0].Number {
			if err := s.fs.Remove(s.manifestPath(n)); err != nil {
				return ioErr(err, "could not remove %q", s.manifestPath(n))
			}
		}
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return err
	}
	return s.removeUnnamed()
}

func (s *Store) removeUnnamed() error {
	named := map[string]bool{}
	for _, m := range slices.Concat(s.kept, s.retained) {
		for _, f := range m.Files() {
			named[f] = true
		}
	}
	newest := s.kept[len(s.kept)-1].Epoch.ID
	root := s.fs.PathJoin(s.dir, stateDir)
	jobs, err := s.fs.List(root)
	if err != nil {
		return ioErr(err, "could not list %q", root)
	}
	for _, job := range jobs {
		if err := s.removeUnnamedOf(job, named, newest); err != nil {
			return err
		}
	}
	return nil
}

// removeUnnamedOf clears one job's folder. A file's name begins with the
// epoch of its upload in hexadecimal (Prefix).
func (s *Store) removeUnnamedOf(job string, named map[string]bool, newest types.Epoch) error {
	dir := s.fs.PathJoin(s.dir, stateDir, job)
	names, err := s.fs.List(dir)
	if err != nil {
		return ioErr(err, "could not list %q", dir)
	}
	for _, name := range names {
		e, err := strconv.ParseUint(name[:hexLen(name)], 16, 64)
		if named[s.fs.PathJoin(stateDir, job, name)] || err != nil || types.Epoch(e) > newest || s.held[upload{job, types.Epoch(e)}] > 0 {
			continue
		}
		if err := s.fs.Remove(s.fs.PathJoin(dir, name)); err != nil {
			return ioErr(err, "could not remove %q", s.fs.PathJoin(dir, name))
		}
	}
	return nil
}

func hexLen(s string) int {
	n := 0
	for n < len(s) && strings.IndexByte("0123456789abcdef", s[n]) >= 0 {
		n++
	}
	return n
}

// writeFile makes a file durable: temporary name, sync, rename, directory.
func writeFile(fs vfs.FS, path string, b []byte) error {
	tmp := path + tmpSuffix
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return ioErr(err, "could not create %q", tmp)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = fs.Rename(tmp, path)
	}
	if err != nil {
		_ = fs.Remove(tmp)
		return ioErr(err, "could not write %q", path)
	}
	return syncDir(fs, fs.PathDir(path))
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return ioErr(err, "could not open directory %q", dir)
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	if err != nil {
		return ioErr(err, "could not sync directory %q", dir)
	}
	return nil
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, ioErr(err, "could not open %q", path)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, ioErr(err, "could not read %q", path)
	}
	return b, nil
}

func notExist(err error) bool { return errors.Is(err, os.ErrNotExist) }
