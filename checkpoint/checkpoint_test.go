package checkpoint

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/state"
	_ "github.com/streamdb/streamdb/state/filesystem"
	"github.com/streamdb/streamdb/types"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func id(b byte) (u types.UUID) {
	for i := range u {
		u[i] = b
	}
	return u
}

// sample has something in every field.
func sample() *Manifest {
	spec := []state.TableSpec{
		{ID: state.ID(id(7)), Name: "hash_agg 2 groups", Kind: state.KindLines, Width: 24},
		{ID: state.ID(id(8)), Name: "rows", Kind: state.KindBag},
	}
	h := state.Handle{Backend: "pebble", Format: 1, Epoch: 41, Groups: types.GroupRange{Lo: 3, Hi: 86}, NumGroups: 256,
		Tables: spec, Files: []state.File{{Name: "state/x/29-1.sst", Bytes: 1 << 20, Sum: 77}, {Name: "state/x/29-2.sst", Bytes: 9}},
		Inline: []byte("inline"), Bytes: 123456, New: 77}
	pos := []journal.SourcePositions{{Source: id(3), Splits: []types.SplitPosition{{Split: "0", Pos: []byte{1, 2}}, {Split: "file", Pos: []byte("p")}}}}
	return &Manifest{
		Number: 12, Timeline: 3, Epoch: types.EpochInfo{ID: 1 << 40, Now: -5, Catalog: 99}, LSN: 1 << 33,
		Catalog: []byte("catalog"), Positions: pos,
		Tables: []Table{{ID: id(1), States: []state.Handle{h}}, {ID: id(2)}},
		Parts: []Part{{Job: id(4), Epoch: 41, States: []state.Handle{h, h}, Tokens: [][]byte{{9}, []byte("token")}, Errors: []byte("e"), Positions: pos},
			{Job: id(5), Epoch: 7}},
	}
}

func sampleSavepoint() *Savepoint {
	return &Savepoint{ID: id(6), Name: "before the move", Created: 1234567, Auto: true, Manifest: sample()}
}

func TestRoundTrip(t *testing.T) {
	m := sample()
	got, err := DecodeManifest(AppendManifest(nil, m))
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("%v\n%+v\n%+v", err, got, m)
	}
	sp := sampleSavepoint()
	back, err := decodeSavepoint(appendSavepoint(nil, sp))
	if err != nil || !reflect.DeepEqual(back, sp) {
		t.Fatalf("%v\n%+v", err, back)
	}
	if got, err = DecodeManifest(AppendManifest(nil, &Manifest{})); err != nil || !reflect.DeepEqual(got, &Manifest{}) {
		t.Fatalf("%v\n%+v", err, got)
	}
}

// What version 1 wrote is read for ever.
func TestGoldenV1(t *testing.T) {
	for name, g := range map[string]struct {
		bytes []byte
		read  func([]byte) (any, error)
		want  any
	}{
		"manifest":  {AppendManifest(nil, sample()), func(b []byte) (any, error) { return DecodeManifest(b) }, sample()},
		"savepoint": {appendSavepoint(nil, sampleSavepoint()), func(b []byte) (any, error) { return decodeSavepoint(b) }, sampleSavepoint()},
	} {
		path := filepath.Join("testdata", "v1", name)
		if *rewrite {
			if err := os.WriteFile(path, g.bytes, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.read(b)
		if err != nil || !reflect.DeepEqual(got, g.want) {
			t.Fatalf("%s: %v\n%+v", name, err, got)
		}
		if string(b) != string(g.bytes) {
			t.Fatalf("%s: this version writes version 1 differently", name)
		}
	}
}

// A flipped or missing byte anywhere is an error by name, never another manifest.
func TestDamage(t *testing.T) {
	m, sp := AppendManifest(nil, sample()), appendSavepoint(nil, sampleSavepoint())
	for name, b := range map[string][]byte{"manifest": m, "savepoint": sp} {
		read := func(b []byte) error { _, err := DecodeManifest(b); return err }
		if name == "savepoint" {
			read = func(b []byte) error { _, err := decodeSavepoint(b); return err }
		}
		for i := range b {
			for _, mask := range []byte{1, 0x80, 0xff} {
				d := slices.Clone(b)
				d[i] ^= mask
				if err := read(d); pgerr.CodeOf(err) != pgerr.DataCorrupted {
					t.Fatalf("%s: byte %d: %v", name, i, err)
				}
			}
			if err := read(b[:i]); pgerr.CodeOf(err) != pgerr.DataCorrupted {
				t.Fatalf("%s: %d bytes: %v", name, i, err)
			}
		}
		if err := read(append(slices.Clone(b), 0)); pgerr.CodeOf(err) != pgerr.DataCorrupted {
			t.Fatalf("%s: a byte too many: %v", name, err)
		}
	}
}

func FuzzBody(f *testing.F) {
	f.Add(appendBody(nil, sample()))
	f.Add(appendBody(nil, &Manifest{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &decoder{b: b}
		m := d.body()
		if d.err != nil || len(d.b) > 0 {
			return
		}
		back := &decoder{b: appendBody(nil, m)}
		if got := back.body(); back.err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%v\n%+v\n%+v", back.err, got, m)
		}
	})
}

const dir = "/data"

func open(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	makeDataDir(t, fs)
	s, err := Open(fs, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func makeDataDir(t *testing.T, fs vfs.FS) {
	t.Helper()
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syncDir(fs, "/"); err != nil {
		t.Fatal(err)
	}
}

// checkpoint writes a manifest of epoch e whose one part has the files named
// by old, and a new one.
func (x *files) checkpoint(t *testing.T, s *Store, e types.Epoch, keep int) *Manifest {
	t.Helper()
	d, err := s.Dest(id(1), e)
	if err != nil {
		t.Fatal(err)
	}
	name := d.Prefix + "-f"
	if err := writeFile(s.fs, s.fs.PathJoin(d.Root, name), []byte(name)); err != nil {
		t.Fatal(err)
	}
	x.names = append(x.names[max(0, len(x.names)-keep):], state.File{Name: name, Bytes: int64(len(name))})
	m := &Manifest{Timeline: 1, Epoch: types.EpochInfo{ID: e}, LSN: types.LSN(e) * 100,
		Parts: []Part{{Job: id(1), Epoch: e, States: []state.Handle{{Backend: "x", Files: slices.Clone(x.names)}}}}}
	if err := s.Write(m); err != nil {
		t.Fatal(err)
	}
	return m
}

type files struct{ names []state.File }

func stateFiles(t *testing.T, s *Store) []string {
	t.Helper()
	jobs, err := s.fs.List(s.fs.PathJoin(s.dir, stateDir))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, j := range jobs {
		names, err := s.fs.List(s.fs.PathJoin(s.dir, stateDir, j))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			out = append(out, s.fs.PathJoin(stateDir, j, n))
		}
	}
	slices.Sort(out)
	return out
}

func named(ms ...*Manifest) []string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Files()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestNewest(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	if m, warnings, err := s.Newest(); m != nil || warnings != nil || err != nil {
		t.Fatal(m, warnings, err)
	}
	var x files
	a, b := x.checkpoint(t, s, 10, 1), x.checkpoint(t, s, 20, 1)
	newest := func(want *Manifest, complaints int) {
		t.Helper()
		s = open(t, fs)
		m, warnings, err := s.Newest()
		if err != nil || !reflect.DeepEqual(m, want) || len(warnings) != complaints {
			t.Fatalf("%+v\n%v %v", m, warnings, err)
		}
		for _, w := range warnings {
			if !strings.Contains(w.Error(), "/data/checkpoints/") {
				t.Fatalf("%v names no file", w)
			}
		}
	}
	newest(b, 0)
	path := s.manifestPath(b.Number)
	sound := read(t, fs, path)
	bad := slices.Clone(sound)
	bad[len(bad)-1] ^= 1
	write(t, fs, path, bad)
	newest(a, 1)
	// A newer one goes beyond the damaged number, and is found.
	c := x.checkpoint(t, s, 30, 1)
	if c.Number <= b.Number {
		t.Fatalf("number %d after %d", c.Number, b.Number)
	}
	newest(c, 0)
	// A file that is missing or cut off.
	last := fs.PathJoin(s.dir, c.Files()[1])
	write(t, fs, last, []byte("short"))
	newest(a, 2)
	if err := fs.Remove(last); err != nil {
		t.Fatal(err)
	}
	newest(a, 2)
	// A newer format is refused by name, whatever else is there.
	write(t, fs, path, appendFrame(nil, manifestMagic, ManifestFormat+1, []byte("whatever")))
	_, _, err := open(t, fs).Newest()
	if pgerr.CodeOf(err) != pgerr.FeatureNotSupported || !strings.Contains(err.Error(), path) || pgerr.From(err).Hint == "" {
		t.Fatal(err)
	}
	// Nothing sound: an error, not a start from nothing.
	for _, m := range []*Manifest{a, b, c} {
		write(t, fs, s.manifestPath(m.Number), []byte("x"))
	}
	_, _, err = open(t, fs).Newest()
	if pgerr.CodeOf(err) != pgerr.DataCorrupted || pgerr.From(err).Hint == "" {
		t.Fatal(err)
	}
}

func read(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	if err := writeFile(fs, path, b); err != nil {
		t.Fatal(err)
	}
}

func TestPrune(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	var x files
	var ms []*Manifest
	for e := types.Epoch(1); e < 12; e++ {
		ms = append(ms, x.checkpoint(t, s, e, 2))
		if err := s.Prune(); err != nil {
			t.Fatal(err)
		}
		kept := ms[max(0, len(ms)-Kept):]
		if got := stateFiles(t, s); !slices.Equal(got, named(kept...)) {
			t.Fatalf("epoch %d: %v, named %v", e, got, named(kept...))
		}
		lsn, ok := s.OldestLSN()
		if ok != (len(ms) >= Kept) || ok && lsn != kept[0].LSN {
			t.Fatalf("epoch %d: oldest LSN %d %v", e, lsn, ok)
		}
	}
	// Retained files stay until they are let go.
	held := ms[len(ms)-1]
	release := s.Retain(held)
	for e := types.Epoch(20); e < 24; e++ {
		ms = append(ms, x.checkpoint(t, s, e, 0))
		if err := s.Prune(); err != nil {
			t.Fatal(err)
		}
	}
	kept := ms[len(ms)-Kept:]
	if got := stateFiles(t, s); !slices.Equal(got, named(append(kept, held)...)) {
		t.Fatalf("retained: %v", got)
	}
	// What a checkpoint under way has written stays too, until it is too old.
	under := s.Prefix(id(1), 30) + "-new"
	write(t, fs, fs.PathJoin(s.dir, under), []byte("x"))
	release()
	for range 2 {
		if err := s.Prune(); err != nil {
			t.Fatal(err)
		}
		if got, want := stateFiles(t, s), append(named(kept...), under); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	kept = []*Manifest{x.checkpoint(t, s, 40, 0), x.checkpoint(t, s, 41, 0)}
	if err := s.Prune(); err != nil {
		t.Fatal(err)
	}
	if got := stateFiles(t, s); !slices.Equal(got, named(kept...)) {
		t.Fatalf("%v", got)
	}
}

// At every write of a checkpoint and its pruning the machine dies: what is
// found then is the newest manifest or the one before, all of its files are
// there, and the next prunings remove the rest.
func TestCrashAtEachWrite(t *testing.T) {
	for n := int64(1); ; n++ {
		mem := vfs.NewCrashableMem()
		var left atomic.Int64
		var dead atomic.Pointer[vfs.MemFS]
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpLink && left.Add(-1) == 0 {
				dead.Store(mem.CrashClone(vfs.CrashCloneCfg{}))
			}
			return nil
		}))
		s := open(t, fs)
		var x files
		var ms []*Manifest
		left.Store(n)
		for e := types.Epoch(1); e < 6; e++ {
			ms = append(ms, x.checkpoint(t, s, e, 1))
			if err := s.Prune(); err != nil {
				t.Fatal(err)
			}
		}
		left.Store(-1)
		if dead.Load() == nil {
			t.Logf("%d points", n-1)
			return
		}
		r := open(t, dead.Load())
		m, warnings, err := r.Newest()
		if err != nil || len(warnings) > 0 {
			t.Fatalf("crash at %d: %v %v", n, warnings, err)
		}
		if m == nil {
			continue
		}
		if i := int(m.Number) - 1; !reflect.DeepEqual(ms[i], m) {
			t.Fatalf("crash at %d: manifest %d differs", n, m.Number)
		}
		var y files
		kept := []*Manifest{y.checkpoint(t, r, 50, 0), y.checkpoint(t, r, 51, 0)}
		if err := r.Prune(); err != nil {
			t.Fatal(err)
		}
		if got := stateFiles(t, r); !slices.Equal(got, named(kept...)) {
			t.Fatalf("crash at %d: %v", n, got)
		}
	}
}

// fill makes a manifest with a table of n keys on the filesystem backend.
func fill(t *testing.T, s *Store, n int) *Manifest {
	t.Helper()
	ctx := context.Background()
	b, err := state.Lookup("filesystem")
	if err != nil {
		t.Fatal(err)
	}
	spec := state.Spec{Job: id(1), FS: s.fs, Root: s.Root(), Dir: "/data/work", Tables: []state.TableSpec{{ID: state.ID(id(9)), Name: "t", Kind: state.KindBag}}}
	st, err := state.Open(ctx, b, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var k types.KeyBatch
	var rows types.ByteBatch
	for i := range n {
		k.Add(fmt.Appendf(nil, "key %d", i))
		rows.Add(fmt.Appendf(nil, "row %d", i))
	}
	if err := st.Bag(0).Add(&k, &rows, nil); err != nil {
		t.Fatal(err)
	}
	f, err := st.Freeze(5)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Dest(id(1), 5)
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Upload(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	m := &Manifest{Timeline: 1, Epoch: types.EpochInfo{ID: 5}, Tables: []Table{{ID: id(1), States: []state.Handle{h}}},
		Parts: []Part{{Job: id(2), Epoch: 5, States: []state.Handle{h}, Tokens: [][]byte{{1}}}}}
	if err := s.Write(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func count(t *testing.T, s *Store, root string, hs []state.Handle) int {
	t.Helper()
	it, err := state.ReadHandles(context.Background(), s.fs, root, hs, types.GroupRange{Lo: 0, Hi: types.KeyGroups})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	n := 0
	for {
		var e state.Entry
		err := it.Next(&e)
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
}

func TestSavepoints(t *testing.T) {
	ctx := context.Background()
	s := open(t, vfs.NewMem())
	m := fill(t, s, 500)
	a := &Savepoint{ID: id(20), Name: "a", Created: 2, Manifest: m}
	b := &Savepoint{ID: id(21), Name: "b", Created: 1, Manifest: m}
	for _, sp := range []*Savepoint{a, b} {
		if err := s.CreateSavepoint(ctx, sp); err != nil {
			t.Fatal(err)
		}
	}
	list, warnings, err := s.Savepoints()
	if err != nil || len(warnings) > 0 || len(list) != 2 || list[0].Name != "b" || !reflect.DeepEqual(list[1], a) {
		t.Fatalf("%+v %v %v", list, warnings, err)
	}
	if p := list[1].Manifest.Parts[0]; p.Tokens != nil || p.States[0].Backend != "canonical" {
		t.Fatalf("%+v", p)
	}
	// It stands alone: without the checkpoints it can be adopted.
	if err := s.fs.RemoveAll(s.fs.PathJoin(s.dir, stateDir, id(1).String())); err != nil {
		t.Fatal(err)
	}
	am, err := s.Adopt(a, 77)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, s.Root(), am.Tables[0].States); n != 500 {
		t.Fatalf("%d entries adopted", n)
	}
	for _, f := range am.Files() {
		if !strings.Contains(f, "/4d-") { // Prune keeps it by its epoch
			t.Fatalf("adopted as %s", f)
		}
	}
	if err := s.DropSavepoint(a); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, s.Root(), am.Tables[0].States); n != 500 {
		t.Fatalf("%d entries after the savepoint has gone", n)
	}
	if _, err := s.FindSavepoint("a"); pgerr.CodeOf(err) != pgerr.InvalidSavepoint {
		t.Fatal(err)
	}
	// A damaged one is left out and named.
	path := s.fs.PathJoin(s.SavepointRoot(b.ID), savepointFile)
	bytes := read(t, s.fs, path)
	bytes[len(bytes)/2] ^= 8
	write(t, s.fs, path, bytes)
	if list, warnings, err = s.Savepoints(); len(list) != 0 || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), path) {
		t.Fatal(list, warnings, err)
	}
	if _, err := s.FindSavepoint("b"); !strings.Contains(pgerr.From(err).Detail, path) {
		t.Fatalf("%+v", err)
	}
}

// At each write of CREATE, of adopting and of DROP the machine dies or the
// disk fails: there is no savepoint, or a whole one.
func TestSavepointCrash(t *testing.T) {
	ctx := context.Background()
	for _, fail := range []error{nil, errors.New("input/output error")} {
		points := [3]int{} // none, whole, adopted
		for n := int64(1); ; n++ {
			mem := vfs.NewCrashableMem()
			var left atomic.Int64
			var dead atomic.Pointer[vfs.MemFS]
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || left.Add(-1) != 0 {
					return nil
				}
				dead.Store(mem.CrashClone(vfs.CrashCloneCfg{}))
				return fail
			}))
			s := open(t, fs)
			m := fill(t, s, 50)
			sp := &Savepoint{ID: id(20), Name: "s", Manifest: m}
			left.Store(n)
			err := s.CreateSavepoint(ctx, sp)
			var am *Manifest
			if err == nil {
				am, err = s.Adopt(sp, 9)
			}
			if err == nil {
				err = s.Write(am)
			}
			if err == nil {
				err = s.DropSavepoint(sp)
			}
			left.Store(-1)
			if dead.Load() == nil {
				break
			}
			if fail == nil && err != nil {
				t.Fatal(err)
			}
			if fail != nil { // the same process goes on
				if list, warnings, err := s.Savepoints(); err != nil || len(warnings) > 0 || len(list) > 1 {
					t.Fatalf("failure at %d: %v %v %v", n, list, warnings, err)
				}
			}
			r := open(t, dead.Load())
			got, warnings, err := r.Newest()
			if err != nil || len(warnings) > 0 {
				t.Fatalf("crash at %d: %v %v", n, warnings, err)
			}
			if k := count(t, r, r.Root(), got.Tables[0].States); k != 50 {
				t.Fatalf("crash at %d: checkpoint of %d entries", n, k)
			}
			if got.Number == 2 {
				points[2]++
			}
			list, warnings, err := r.Savepoints()
			if err != nil || len(warnings) > 0 {
				t.Fatalf("crash at %d: %v %v", n, warnings, err)
			}
			points[len(list)]++
			for _, sp := range list {
				if k := count(t, r, r.SavepointRoot(sp.ID), sp.Manifest.Tables[0].States); k != 50 {
					t.Fatalf("crash at %d: savepoint of %d entries", n, k)
				}
			}
			names, err := r.fs.List(r.savepointsDir())
			if err != nil || len(names) != len(list) {
				t.Fatalf("crash at %d: %v is left", n, names)
			}
		}
		t.Logf("%d times none, %d times whole, %d times adopted", points[0], points[1], points[2])
		if points[0] == 0 || points[1] == 0 || points[2] == 0 {
			t.Fatal("the points are not all there")
		}
	}
}
