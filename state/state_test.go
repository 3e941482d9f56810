package state_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/filesystem"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/state/pebble"
	"github.com/streamdb/streamdb/types"
)

var rewrite = flag.Bool("rewrite", false, "rewrite golden files")

// TestNoAllocations: the aggregate's inner loop allocates nothing once its
// keys and its log of touched lines exist.
func TestNoAllocations(t *testing.T) {
	for _, b := range []state.Backend{memory.New(), pebble.New()} {
		s := open(t, b, t.TempDir(), nil, aggSpec)
		fill(t, s, 100_000)
		batches := keyBatches(8, 100_000)
		slots, rows := make([]state.Slot, benchRows), make([][]byte, benchRows)
		epoch := func() {
			for i := range batches {
				if err := aggregate(s.Lines(0), &batches[i], slots, rows); err != nil {
					t.Fatal(err)
				}
			}
			for i := range s.Lines(0).Touched() {
				s.Lines(0).TouchedAt(i)
			}
			if err := s.EndEpoch(); err != nil {
				t.Fatal(err)
			}
		}
		epoch()
		if n := testing.AllocsPerRun(20, epoch); n != 0 {
			t.Errorf("%s: %v allocations an epoch of %d rows", b.Name(), n, 8*benchRows)
		}
	}
}

// TestBytesPerKey holds the memory of three int64 under an int8 key below 96
// bytes a key.
func TestBytesPerKey(t *testing.T) {
	const keys = 300_000
	before := heap()
	s := open(t, memory.New(), t.TempDir(), nil, aggSpec)
	fill(t, s, keys)
	got := float64(heap()-before) / keys
	runtime.KeepAlive(s)
	t.Logf("%.1f bytes a key", got)
	if got > 96 {
		t.Errorf("%.1f bytes a key", got)
	}
}

func upload(t *testing.T, s *state.State, e types.Epoch, dir string) state.Handle {
	t.Helper()
	f, err := s.Freeze(e)
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Upload(context.Background(), state.Dest{FS: vfs.Default, Root: dir + "/root", Prefix: "job-0"})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestIncremental: changing 1% of 1M keys uploads under 10% of the bytes of a
// full checkpoint, checkpoint after checkpoint.
func TestIncremental(t *testing.T) {
	keys := int64(1_000_000)
	if testing.Short() {
		keys = 200_000
	}
	dir := t.TempDir()
	s := open(t, pebble.New(), dir, nil, aggSpec)
	fill(t, s, keys)
	full := upload(t, s, 1, dir)
	slots, rows := make([]state.Slot, benchRows), make([][]byte, benchRows)
	batches := keyBatches(100, keys)
	for e := types.Epoch(2); e < 8; e++ {
		for n := 0; n < int(keys)/100/benchRows; n++ {
			if err := aggregate(s.Lines(0), &batches[(n+int(e)*10)%100], slots, rows); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.EndEpoch(); err != nil {
			t.Fatal(err)
		}
		h := upload(t, s, e, dir)
		t.Logf("full %d bytes in %d files, new %d of %d", full.New, len(full.Files), h.New, h.Bytes)
		if h.New*10 >= full.New {
			t.Fatalf("epoch %d uploaded %d bytes, a full checkpoint %d", e, h.New, full.New)
		}
	}
}

// TestReleasedFile: a file that was deleted since the last checkpoint, though
// the tree still uses it, is uploaded again.
func TestReleasedFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, pebble.New(), dir, nil, aggSpec)
	fill(t, s, 1000)
	h := upload(t, s, 1, dir)
	for _, f := range h.Files {
		if err := os.Remove(dir + "/root/" + f.Name); err != nil {
			t.Fatal(err)
		}
	}
	h = upload(t, s, 2, dir)
	if err := pebble.New().Verify(context.Background(), vfs.Default, dir+"/root", h); err != nil {
		t.Fatal(err)
	}
	if r := openAt(t, pebble.New(), dir, h); r.Lines(0).Len() != 1000 {
		t.Fatalf("%d lines", r.Lines(0).Len())
	}
}

// TestDamage flips a byte of every file, cuts it and removes it: the error
// names the file.
func TestDamage(t *testing.T) {
	ctx := context.Background()
	for _, b := range []state.Backend{filesystem.New(), pebble.New()} {
		dir := t.TempDir()
		s := open(t, b, dir, nil, aggSpec)
		fill(t, s, 20_000)
		h := upload(t, s, 1, dir)
		if err := b.Verify(ctx, vfs.Default, dir+"/root", h); err != nil {
			t.Fatal(err)
		}
		for _, f := range h.Files {
			path := dir + "/root/" + f.Name
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			flipped := slices.Clone(whole)
			flipped[len(flipped)/2] ^= 1
			for what, content := range map[string][]byte{"flipped": flipped, "cut": whole[:len(whole)-1], "missing": nil} {
				os.Remove(path)
				if content != nil {
					os.WriteFile(path, content, 0o644)
				}
				err := b.Verify(ctx, vfs.Default, dir+"/root", h)
				if pgerr.CodeOf(err) != pgerr.DataCorrupted || !strings.Contains(err.Error(), f.Name) {
					t.Errorf("%s: %s %s: %v", b.Name(), f.Name, what, err)
				}
				if err := readAll(b, dir, h); pgerr.CodeOf(err) != pgerr.DataCorrupted || !strings.Contains(err.Error(), f.Name) {
					t.Errorf("%s: reading %s %s: %v", b.Name(), f.Name, what, err)
				}
			}
			os.WriteFile(path, whole, 0o644)
		}
		if err := readAll(b, dir, h); err != nil {
			t.Fatal(err)
		}
	}
}

func readAll(b state.Backend, dir string, h state.Handle) error {
	it, err := b.Read(context.Background(), vfs.Default, dir+"/root", h, h.Groups)
	if err != nil {
		return err
	}
	defer it.Close()
	var e state.Entry
	for {
		if err := it.Next(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// TestMemoryLimit: above the limit the upload fails by name, the state goes
// on, and an unlimited upload goes to a file.
func TestMemoryLimit(t *testing.T) {
	dir := t.TempDir()
	s := open(t, memory.New(), dir, nil, aggSpec)
	fill(t, s, 300_000)
	f, err := s.Freeze(1)
	if err != nil {
		t.Fatal(err)
	}
	d := state.Dest{FS: vfs.Default, Root: dir + "/root", Prefix: "m"}
	_, err = f.Upload(context.Background(), d)
	if pgerr.CodeOf(err) != pgerr.ConfigurationLimit || !strings.Contains(err.Error(), "5242880") || pgerr.From(err).Hint == "" {
		t.Fatalf("error %v", err)
	}
	fill(t, s, 310_000)
	if f, err = s.Freeze(2); err != nil {
		t.Fatal(err)
	}
	d.Unlimited = true
	h, err := f.Upload(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	if r := openAt(t, pebble.New(), dir, h); r.Lines(0).Len() != 310_000 {
		t.Fatalf("%d lines", r.Lines(0).Len())
	}
}

func TestLookup(t *testing.T) {
	if _, err := state.Lookup("rocksdb"); pgerr.CodeOf(err) != pgerr.InvalidParameterValue ||
		pgerr.From(err).Hint != "Known state backends: 'filesystem', 'memory', 'pebble'." {
		t.Fatalf("%v %+v", err, pgerr.From(err))
	}
}

// sample is entries of all kinds as a file.
func sample(t testing.TB) []byte {
	var b bytes.Buffer
	w, err := state.NewCanonicalWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []state.Entry{
		{Table: 0, Group: 3, Key: []byte("apple"), Value: []byte("row and blob")},
		{Table: 0, Group: 3, Key: []byte("apricot"), Value: []byte{}},
		{Table: 0, Group: 200, Key: nil, Value: []byte{0}},
		{Table: 1, Group: 7, Key: []byte("k"), Sub: []byte("image"), Value: []byte{2}},
		{Table: 1, Group: 7, Key: []byte("k"), Sub: []byte("other image"), Value: []byte{3}},
		{Table: 3, Group: 0, Key: make([]byte, 8), Value: []byte("item")},
	} {
		if err := w.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := w.Close(); err != nil || n != int64(b.Len()) {
		t.Fatal(n, b.Len(), err)
	}
	return b.Bytes()
}

// TestGolden: files of every version so far can be read, and today's writer
// writes the newest.
func TestGolden(t *testing.T) {
	const path = "testdata/canonical-v1.state"
	if *rewrite {
		if err := os.WriteFile(path, sample(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, sample(t)) {
		t.Error("the format changed without a new version")
	}
	c, err := state.OpenCanonical(path, bytes.NewReader(want), int64(len(want)))
	if err == nil {
		err = c.Verify()
	}
	if err != nil {
		t.Fatal(err)
	}
	newer := slices.Clone(want)
	newer[8]++
	if _, err := state.OpenCanonical(path, bytes.NewReader(newer), int64(len(newer))); pgerr.CodeOf(err) != pgerr.FeatureNotSupported || !strings.Contains(err.Error(), path) {
		t.Errorf("newer version: %v", err)
	}
}

// FuzzCanonical: no file makes the reader crash, or changes what it read
// unnoticed.
func FuzzCanonical(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := state.OpenCanonical("f", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		c.Verify()
	})
}

// FuzzHandle: what decodes encodes to a handle that decodes to the same.
func FuzzHandle(f *testing.F) {
	f.Add(state.AppendHandle(nil, sampleHandle()))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, _, err := state.DecodeHandle(b)
		if err != nil {
			return
		}
		enc := state.AppendHandle(nil, &h)
		again, rest, err := state.DecodeHandle(enc)
		if err != nil || len(rest) != 0 || !bytes.Equal(enc, state.AppendHandle(nil, &again)) {
			t.Fatalf("%v: %+v, %+v", err, h, again)
		}
	})
}

func sampleHandle() *state.Handle {
	return &state.Handle{
		Backend: "pebble", Format: 1, Epoch: 77, Groups: types.GroupRange{Lo: 3, Hi: 9}, NumGroups: 256,
		Tables: []state.TableSpec{{Name: "a", Kind: state.KindLines, Width: 24}, {Name: "l", Kind: state.KindList, Redist: state.Union}},
		Files:  []state.File{{Name: "x.sst", Bytes: 100, Sum: 5}}, Inline: []byte("inline"), Bytes: 1000, New: 10,
	}
}

func TestGoldenHandle(t *testing.T) {
	const path = "testdata/handle-v1"
	got := state.AppendHandle(nil, sampleHandle())
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the format changed without a new version")
	}
	h, rest, err := state.DecodeHandle(want)
	if err != nil || len(rest) != 0 || !reflect.DeepEqual(&h, sampleHandle()) {
		t.Errorf("%v: %+v", err, h)
	}
	want[0]++
	if _, _, err := state.DecodeHandle(want); pgerr.CodeOf(err) != pgerr.FeatureNotSupported {
		t.Errorf("newer version: %v", err)
	}
}
