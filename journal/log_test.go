package journal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var ctx = context.Background()

func ddl(n int) *Record {
	return &Record{Kind: KindDDL, DDL: &DDL{Version: types.Version(n), Delta: []byte(fmt.Sprintf("delta %d %s", n, strings.Repeat("x", n%97)))}}
}

func mustOpen(t testing.TB, fs vfs.FS, opts Options) *Log {
	t.Helper()
	l, err := Open("j", fs, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t testing.TB, l *Log, rs ...*Record) types.LSN {
	t.Helper()
	lsn, err := l.Append(ctx, rs...)
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// versions reads the DDL versions from an LSN on.
func versions(t testing.TB, l *Log, from types.LSN) (vs []int) {
	t.Helper()
	r, err := l.Read(from)
	mustDo(t, err)
	defer r.Close()
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return vs
		}
		mustDo(t, err)
		vs = append(vs, int(rec.DDL.Version))
	}
}

// wantUpTo checks that vs is 0..n-1 shifted by first.
func wantSequence(t testing.TB, vs []int, first, n int) {
	t.Helper()
	if len(vs) != n {
		t.Fatalf("%d records, want %d", len(vs), n)
	}
	for i, v := range vs {
		if v != first+i {
			t.Fatalf("record %d is %d, want %d", i, v, first+i)
		}
	}
}

func wantCode(t testing.TB, err error, code pgerr.Code, substr ...string) {
	t.Helper()
	if pgerr.CodeOf(err) != code {
		t.Fatalf("error %v, want SQLSTATE %s", err, code)
	}
	for _, s := range substr {
		if !strings.Contains(err.Error(), s) {
			t.Fatalf("error %q does not contain %q", err, s)
		}
	}
	if pgerr.From(err).Hint == "" {
		t.Fatalf("error %q has no hint", err)
	}
}

func TestReadFromEveryRecord(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs, Options{SegmentBytes: 1000})
	var lsns []types.LSN
	for i := 0; i < 200; i += 2 {
		a, b := ddl(i), ddl(i+1)
		mustAppend(t, l, a, b)
		lsns = append(lsns, a.LSN, b.LSN)
	}
	if len(l.segs) < 10 {
		t.Fatalf("only %d segments", len(l.segs))
	}
	check := func() {
		for i, lsn := range lsns {
			wantSequence(t, versions(t, l, lsn), i, len(lsns)-i)
		}
		wantSequence(t, versions(t, l, l.End()), 0, 0)
	}
	check()
	mustDo(t, l.Close())
	l = mustOpen(t, fs, Options{SegmentBytes: 1000})
	check()
	lsns = append(lsns, l.End())
	mustAppend(t, l, ddl(200))
	check()
	if _, err := l.Read(l.End() + 1); err == nil {
		t.Fatal("read beyond the end")
	}
	r, err := l.Read(lsns[3] + 1)
	mustDo(t, err)
	_, err = r.Next()
	wantCode(t, err, pgerr.DataCorrupted)
	mustDo(t, r.Close())
	mustDo(t, l.Close())
	mustDo(t, Verify("j", fs))
}

func TestReaderFollows(t *testing.T) {
	l := mustOpen(t, vfs.NewMem(), Options{SegmentBytes: 500})
	r, err := l.Read(0)
	mustDo(t, err)
	for i := range 100 {
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("before record %d: %v", i, err)
		}
		mustAppend(t, l, ddl(i))
		rec, err := r.Next()
		mustDo(t, err)
		if int(rec.DDL.Version) != i {
			t.Fatalf("got record %d, want %d", rec.DDL.Version, i)
		}
	}
	mustDo(t, r.Close())
	mustDo(t, l.Close())
}

func TestReadWhileAppending(t *testing.T) {
	l := mustOpen(t, vfs.NewMem(), Options{SegmentBytes: 2000})
	const n = 2000
	done := make(chan error, 1)
	go func() {
		for i := range n {
			if _, err := l.Append(ctx, ddl(i)); err != nil {
				done <- err
				return
			}
			if i%10 == 0 {
				if err := l.Sync(ctx); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	r, err := l.Read(0)
	mustDo(t, err)
	for got := 0; got < n; {
		rec, err := r.Next()
		if err == io.EOF {
			continue
		}
		mustDo(t, err)
		if int(rec.DDL.Version) != got {
			t.Fatalf("got record %d, want %d", rec.DDL.Version, got)
		}
		got++
	}
	mustDo(t, <-done)
	mustDo(t, l.Close())
}

func TestTruncate(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs, Options{SegmentBytes: 1000})
	var lsns []types.LSN
	for i := range 200 {
		r := ddl(i)
		mustAppend(t, l, r)
		lsns = append(lsns, r.LSN)
	}
	for i := 0; i < 200; i += 17 {
		mustDo(t, l.Truncate(ctx, lsns[i]))
		if l.Start() > lsns[i] {
			t.Fatalf("truncating to %d dropped up to %d", lsns[i], l.Start())
		}
		wantSequence(t, versions(t, l, lsns[i]), i, 200-i)
	}
	mustDo(t, l.Truncate(ctx, l.End()))
	if len(l.segs) != 1 {
		t.Fatalf("%d segments left", len(l.segs))
	}
	_, err := l.Read(0)
	wantCode(t, err, pgerr.DataCorrupted)
	mustDo(t, l.Close())
	mustDo(t, Verify("j", fs))
	l = mustOpen(t, fs, Options{SegmentBytes: 1000, Durable: lsns[199]})
	mustAppend(t, l, ddl(200))
	mustDo(t, l.Close())
}

// corruptAt inverts a byte of a file.
func corruptAt(t testing.TB, fs vfs.FS, path string, off int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	mustDo(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], off)
	mustDo(t, err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b[:], off)
	mustDo(t, err)
	mustDo(t, f.Close())
}

func copyFile(t testing.TB, fs vfs.FS, from, to string, n int64) {
	t.Helper()
	f, err := fs.Open(from)
	mustDo(t, err)
	b, err := io.ReadAll(f)
	mustDo(t, err)
	mustDo(t, f.Close())
	g, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	mustDo(t, err)
	_, err = g.Write(b[:min(n, int64(len(b)))])
	mustDo(t, err)
	mustDo(t, g.Close())
}

func TestTornTailIsCut(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs, Options{})
	mustAppend(t, l, ddl(0), ddl(1))
	mustDo(t, l.Sync(ctx))
	whole := l.End()
	mustAppend(t, l, ddl(2), ddl(3))
	end := l.End()
	path := l.cur.path
	// No Close: it would leave a mark.
	for cut := whole; cut < end; cut++ {
		crashed := vfs.NewMem()
		mustDo(t, crashed.MkdirAll("j", 0o755))
		_, err := vfs.Clone(fs, crashed, "j", "j")
		mustDo(t, err)
		copyFile(t, fs, path, path+"x", int64(cut)+headerLen)
		copyTo(t, fs, path+"x", crashed, path)
		mustDo(t, Verify("j", crashed))
		l := mustOpen(t, crashed, Options{Durable: whole})
		if l.End() != whole {
			t.Fatalf("cut at %d: end is %d, want %d", cut, l.End(), whole)
		}
		mustAppend(t, l, ddl(2))
		mustDo(t, l.Close())
		l = mustOpen(t, crashed, Options{})
		wantSequence(t, versions(t, l, 0), 0, 3)
		mustDo(t, l.Close())
		mustDo(t, Verify("j", crashed))
	}
}

func copyTo(t testing.TB, from vfs.FS, src string, to vfs.FS, dst string) {
	t.Helper()
	f, err := from.Open(src)
	mustDo(t, err)
	b, err := io.ReadAll(f)
	mustDo(t, err)
	mustDo(t, f.Close())
	g, err := to.Create(dst, vfs.WriteCategoryUnspecified)
	mustDo(t, err)
	_, err = g.Write(b)
	mustDo(t, err)
	mustDo(t, g.Close())
}

func TestDamageToDurableBytesIsFound(t *testing.T) {
	build := func() (vfs.FS, []*segment) {
		fs := vfs.NewMem()
		l := mustOpen(t, fs, Options{SegmentBytes: 200})
		for i := range 12 {
			mustAppend(t, l, ddl(i))
			mustDo(t, l.Sync(ctx))
		}
		mustDo(t, l.Close())
		segs := l.segs
		if len(segs) < 3 {
			t.Fatalf("%d segments", len(segs))
		}
		return fs, segs
	}
	_, segs := build()
	last := segs[len(segs)-1]
	for i, s := range segs {
		fs, _ := build()
		st, err := fs.Stat(s.path)
		mustDo(t, err)
		size := st.Size()
		if i == len(segs)-1 {
			size -= frameLen // the mark itself protects all before it
		}
		for off := int64(0); off < size; off += 7 {
			corruptAt(t, fs, s.path, off)
			err := Verify("j", fs)
			if code := pgerr.CodeOf(err); code != pgerr.DataCorrupted && code != pgerr.FeatureNotSupported {
				t.Fatalf("%s, offset %d: Verify says %v", s.path, off, err)
			}
			if pgerr.From(err).Hint == "" {
				t.Fatalf("%s, offset %d: no hint with %v", s.path, off, err)
			}
			if l, err := Open("j", fs, Options{}); err == nil {
				if s == last {
					t.Fatalf("offset %d of the last segment: opened", off)
				}
				r, err := l.Read(0)
				mustDo(t, err)
				for err == nil {
					_, err = r.Next()
				}
				wantCode(t, err, pgerr.DataCorrupted, s.path)
				mustDo(t, r.Close())
				mustDo(t, l.f.Close()) // leave no mark
			}
			corruptAt(t, fs, s.path, off)
		}
	}
}

func TestMissingSegment(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs, Options{SegmentBytes: 400})
	for i := range 30 {
		mustAppend(t, l, ddl(i))
	}
	mustDo(t, l.Close())
	mustDo(t, fs.Remove(l.segs[2].path))
	_, err := Open("j", fs, Options{})
	wantCode(t, err, pgerr.DataCorrupted, l.segs[2].path, "missing")
	mustDo(t, fs.RemoveAll("j"))
	_, err = Open("j", fs, Options{Durable: 10})
	wantCode(t, err, pgerr.DataCorrupted, "missing")
}

func TestDurableBeyondEnd(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpen(t, fs, Options{})
	mustAppend(t, l, ddl(0))
	mustDo(t, l.Close())
	_, err := Open("j", fs, Options{Durable: l.End() + 1})
	wantCode(t, err, pgerr.DataCorrupted, l.cur.path, "durable")
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	mustDo(t, fs.MkdirAll("j", 0o755))
	h := appendHeader(nil, 0, 0)
	h[8] = formatVersion + 1
	mustDo(t, writeSynced(fs, "j/"+segmentName(0), h))
	_, err := Open("j", fs, Options{})
	wantCode(t, err, pgerr.FeatureNotSupported, segmentName(0), "version 2")
}

// TestDiskFull fails each write in turn with part of it on the disk.
func TestDiskFull(t *testing.T) {
	mem := vfs.NewMem()
	var full bool
	inj := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full && (op.Kind == errorfs.OpFileWriteAt || op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate) {
			return syscall.ENOSPC
		}
		return nil
	})
	l := mustOpen(t, &partialFS{FS: errorfs.Wrap(mem, inj), mem: mem}, Options{SegmentBytes: 600})
	n := 0
	for i := range 100 {
		full = i%3 == 1
		if full {
			end := l.End()
			_, err := l.Append(ctx, ddl(1000+i), ddl(2000+i), ddl(3000+i))
			wantCode(t, err, pgerr.DiskFull)
			if l.End() != end {
				t.Fatal("a failed append moved the end")
			}
			continue
		}
		mustAppend(t, l, ddl(n), ddl(n+1))
		n += 2
		wantSequence(t, versions(t, l, 0), 0, n)
	}
	// A crash right after a failed write.
	full = true
	_, err := l.Append(ctx, ddl(1000), ddl(2000), ddl(3000))
	wantCode(t, err, pgerr.DiskFull)
	l = mustOpen(t, mem, Options{SegmentBytes: 600})
	wantSequence(t, versions(t, l, 0), 0, n)
	mustDo(t, l.Close())
	mustDo(t, Verify("j", mem))
}

// partialFS leaves all but the last byte of a failed WriteAt on the disk.
type partialFS struct {
	vfs.FS
	mem vfs.FS
}

type partialFile struct {
	vfs.File
	raw vfs.File
}

func (p *partialFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(name, c, o...)
	if err != nil {
		return nil, err
	}
	raw, err := p.mem.OpenReadWrite(name, c, o...)
	return &partialFile{File: f, raw: raw}, err
}

func (p *partialFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := p.File.WriteAt(b, off)
	if err != nil {
		n, _ = p.raw.WriteAt(b[:len(b)-1], off)
	}
	return n, err
}

func TestFailedSyncIsFinal(t *testing.T) {
	mem := vfs.NewMem()
	boom := errors.New("boom")
	var fail bool
	inj := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fail && (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync) {
			return boom
		}
		return nil
	})
	l := mustOpen(t, errorfs.Wrap(mem, inj), Options{})
	mustAppend(t, l, ddl(0))
	fail = true
	err := l.Sync(ctx)
	wantCode(t, err, pgerr.IOError, l.cur.path)
	fail = false
	if again := l.Sync(ctx); !errors.Is(again, boom) {
		t.Fatalf("second sync: %v", again)
	}
	if _, again := l.Append(ctx, ddl(1)); !errors.Is(again, boom) {
		t.Fatalf("append after a failed sync: %v", again)
	}
	if err := l.Close(); !errors.Is(err, boom) {
		t.Fatalf("close after a failed sync: %v", err)
	}
}

func TestCanceled(t *testing.T) {
	l := mustOpen(t, vfs.NewMem(), Options{})
	c, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Append(c, ddl(0)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mustAppend(t, l, ddl(0))
	mustDo(t, l.Close())
	if _, err := l.Append(ctx, ddl(0)); err == nil {
		t.Fatal("append after close")
	}
}

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// TestGolden reads a journal of each format version, kept for ever. It has
// testRecords in segments of one record.
func TestGolden(t *testing.T) {
	dir := filepath.Join("testdata", "v1")
	if *rewrite {
		mustDo(t, os.RemoveAll(dir))
		l, err := Open(dir, vfs.Default, Options{SegmentBytes: 1})
		mustDo(t, err)
		for _, r := range testRecords() {
			mustAppend(t, l, r)
		}
		mustDo(t, l.Close())
	}
	mustDo(t, Verify(dir, vfs.Default))
	fs := vfs.NewMem()
	_, err := vfs.Clone(vfs.Default, fs, dir, "j")
	mustDo(t, err)
	l := mustOpen(t, fs, Options{SegmentBytes: 1})
	r, err := l.Read(0)
	mustDo(t, err)
	for _, want := range testRecords() {
		got, err := r.Next()
		mustDo(t, err)
		if !sameRecord(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatal(err)
	}
	mustDo(t, r.Close())
	mustDo(t, l.Close())
}

// FuzzOpen opens and reads a journal of arbitrary bytes: it never panics,
// and what it opens it can append to and read back.
func FuzzOpen(f *testing.F) {
	fs := vfs.NewMem()
	l, err := Open("j", fs, Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range testRecords() {
		if _, err := l.Append(ctx, r); err != nil {
			f.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	g, err := fs.Open(l.cur.path)
	if err != nil {
		f.Fatal(err)
	}
	b, err := io.ReadAll(g)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint16(0), byte(0))
	f.Add(b, uint16(60), byte(1))
	f.Add(b[:len(b)-9], uint16(200), byte(7))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, flip byte) {
		b = append([]byte(nil), b...)
		if int(at) < len(b) {
			b[at] ^= flip
		}
		fs := vfs.NewMem()
		mustDo(t, fs.MkdirAll("j", 0o755))
		mustDo(t, writeSynced(fs, "j/"+segmentName(0), b))
		l, err := Open("j", fs, Options{})
		if err != nil {
			return
		}
		lsn := l.End()
		mustAppend(t, l, ddl(42))
		rd, err := l.Read(0)
		mustDo(t, err)
		for {
			rec, err := rd.Next()
			if err != nil {
				if err == io.EOF {
					t.Fatal("the appended record is not there")
				}
				break // a body that is not ours under a right checksum
			}
			if rec.LSN == lsn {
				if rec.DDL.Version != 42 {
					t.Fatalf("read back %d", rec.DDL.Version)
				}
				break
			}
		}
		mustDo(t, rd.Close())
		mustDo(t, l.Close())
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 10_000, 200_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l, err := Open(b.TempDir(), vfs.Default, Options{})
			mustDo(b, err)
			r := &Record{Kind: KindCommit, Commit: &Commit{Tables: []TableChanges{{Chunks: [][]byte{make([]byte, size)}}}}}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				mustAppend(b, l, r)
				if l.End() > 1<<30 { // keep the disk's share out of it
					b.StopTimer()
					mustDo(b, l.Close())
					l, err = Open(b.TempDir(), vfs.Default, Options{})
					mustDo(b, err)
					b.StartTimer()
				}
			}
			mustDo(b, l.Close())
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l, err := Open(b.TempDir(), vfs.Default, Options{})
	mustDo(b, err)
	r := &Record{Kind: KindCommit, Commit: &Commit{Tables: []TableChanges{{Chunks: [][]byte{make([]byte, 10_000)}}}}}
	const n = 10_000
	for range n {
		mustAppend(b, l, r)
	}
	b.SetBytes(n * 10_000)
	b.ReportAllocs()
	for b.Loop() {
		rd, err := l.Read(0)
		mustDo(b, err)
		for range n {
			if _, err := rd.Next(); err != nil {
				b.Fatal(err)
			}
		}
		mustDo(b, rd.Close())
	}
	mustDo(b, l.Close())
}
