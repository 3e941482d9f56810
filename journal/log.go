package journal

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// DefaultSegmentBytes is the size at which a new segment is begun.
const DefaultSegmentBytes = 64 << 20

// Options are a log's settings; the zero value is the default.
type Options struct {
	// SegmentBytes is the size of frames at which the next segment is begun;
	// 0 is DefaultSegmentBytes. A segment may exceed it by one Append.
	SegmentBytes int64
	// Durable is an LSN that is known to have been durable, as from the
	// checkpoint's manifest: a journal that ends before it is damaged.
	Durable types.LSN
}

// Log is the journal in a directory of segment files. Append, Sync, Truncate
// and Close exclude each other; readers run beside them.
type Log struct {
	fs   vfs.FS
	dir  string
	opts Options

	mu      sync.Mutex // serialises writers
	f       vfs.File   // the last segment
	cur     *segment
	sum     uint64 // of the last frame
	durable types.LSN
	marked  types.LSN // the end after which only a mark would be closed
	buf     []byte
	failed  error // sticky
	closed  bool

	end  atomic.Uint64
	smu  sync.RWMutex // guards segs
	segs []*segment   // ascending; the last is cur
}

var _ Journal = (*Log)(nil)

// Open opens the journal in dir, making it if there is none. The tail that a
// crash has left half-written is cut off; all that is left is made durable.
// Damage to what was once durable is an error (XX001) naming file and offset.
// The caller has locked the directory.
func Open(dir string, fs vfs.FS, opts Options) (*Log, error) {
	if opts.SegmentBytes <= 0 {
		opts.SegmentBytes = DefaultSegmentBytes
	}
	l := &Log{fs: fs, dir: dir, opts: opts}
	if err := l.prepareDir(); err != nil {
		return nil, err
	}
	segs, err := listSegments(dir, fs)
	if err != nil {
		return nil, err
	}
	if err := l.openLast(segs); err != nil {
		return nil, err
	}
	return l, nil
}

// prepareDir makes the directory and removes segments that were never named.
func (l *Log) prepareDir() error {
	if err := l.fs.MkdirAll(l.dir, 0o755); err != nil {
		return ioError(err, "create", l.dir)
	}
	if err := syncDir(l.fs, l.fs.PathDir(l.dir)); err != nil {
		return ioError(err, "sync", l.fs.PathDir(l.dir))
	}
	names, err := l.fs.List(l.dir)
	if err != nil {
		return ioError(err, "list", l.dir)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, segmentPrefix) || !strings.HasSuffix(name, tmpSuffix) {
			continue
		}
		path := l.fs.PathJoin(l.dir, name)
		if err := l.fs.Remove(path); err != nil {
			return ioError(err, "remove", path)
		}
	}
	return nil
}

// openLast finds the journal's end in its last segment.
func (l *Log) openLast(segs []*segment) error {
	if len(segs) == 0 {
		if l.opts.Durable > 0 {
			return pgerr.New(pgerr.DataCorrupted, "the journal in %q is missing, but was durable up to LSN %d", l.dir, l.opts.Durable).
				WithHint("Put the journal's files back from a copy of the data directory.")
		}
		s, f, err := createSegment(l.dir, l.fs, 0, 0)
		if err != nil {
			return err
		}
		l.segs, l.cur, l.f = []*segment{s}, s, f
		return nil
	}
	s := segs[len(segs)-1]
	end, sum, err := recoverEnd(l.fs, s, l.opts.Durable)
	if err != nil {
		return err
	}
	f, err := l.fs.OpenReadWrite(s.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return ioError(err, "open", s.path)
	}
	// After a killed process the tail may be in memory only. Whoever reads it
	// acts on it, so it must not go away again.
	if err = f.Sync(); err == nil {
		err = syncDir(l.fs, l.dir)
	}
	if err != nil {
		f.Close()
		return ioError(err, "sync", s.path)
	}
	l.segs, l.cur, l.f = segs, s, f
	l.sum, l.durable, l.marked = sum, end, end
	l.end.Store(uint64(end))
	return nil
}

// recoverEnd gives the end of the last segment's whole appends, and refuses
// one that lies before what is known to have been durable.
func recoverEnd(fs vfs.FS, s *segment, durable types.LSN) (types.LSN, uint64, error) {
	end, sum, err := lastFrame(fs, s, s.size)
	if err != nil {
		return 0, 0, err
	}
	if s.offset(end) < s.size {
		lsn, found, err := durableBehind(fs, s, end)
		if err != nil {
			return 0, 0, err
		}
		if found {
			durable = max(durable, lsn)
		}
	}
	if durable > end {
		return 0, 0, corrupted(s.path, s.offset(end), end, "no whole record is there, but the journal was durable up to LSN %d", durable)
	}
	return end, sum, nil
}

// End gives the LSN after the last appended record.
func (l *Log) End() types.LSN { return types.LSN(l.end.Load()) }

// Start gives the LSN of the oldest record that is still there.
func (l *Log) Start() types.LSN {
	l.smu.RLock()
	defer l.smu.RUnlock()
	return l.segs[0].start
}

// fail makes the log refuse all further writes.
func (l *Log) fail(err error) error {
	l.failed = err
	return err
}

// writable must be checked before each write.
func (l *Log) writable(ctx context.Context) error {
	switch {
	case l.failed != nil:
		return l.failed
	case l.closed:
		return pgerr.Internal("the journal is closed")
	}
	return ctx.Err()
}

// Append implements Journal. The records of one call count only together: a
// crash leaves all of them or none. They lie in one segment, and a record's
// body is at most 1 GiB (54000). If the disk is full (53100) nothing is
// appended and a later Append may succeed; after any other failed write the
// journal refuses all further appends.
func (l *Log) Append(ctx context.Context, rs ...*Record) (types.LSN, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writable(ctx); err != nil {
		return 0, err
	}
	if len(rs) == 0 {
		return l.End(), nil
	}
	if int64(l.End()-l.cur.start) >= l.opts.SegmentBytes {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	buf, sum, err := l.encode(l.buf[:0], rs)
	if cap(buf) <= keepBuffer {
		l.buf = buf
	} else {
		l.buf = nil
	}
	if err != nil {
		return 0, err
	}
	return l.write(buf, sum)
}

// encode appends the frames of rs, chained to the last one written.
func (l *Log) encode(buf []byte, rs []*Record) ([]byte, uint64, error) {
	end, sum := l.End(), l.sum
	for i, r := range rs {
		at := len(buf)
		body, err := appendBody(beginFrame(buf), r)
		if err != nil {
			return buf, 0, err
		}
		buf = body
		if n := len(buf) - at - frameLen; n > maxBody {
			return buf, 0, pgerr.New(pgerr.ProgramLimitExceeded, "a journal record of %d bytes exceeds the limit of %d", n, maxBody).
				WithHint("Split the transaction into smaller ones.")
		}
		r.LSN = end + types.LSN(at)
		sum = finishFrame(buf[at:], r.LSN, l.durable, sum, r.Kind, i+1 < len(rs))
	}
	return buf, sum, nil
}

// write puts whole frames at the end. What a failed write leaves behind the
// end is no whole append, and is written over by the next.
func (l *Log) write(buf []byte, sum uint64) (types.LSN, error) {
	end := l.End()
	if _, err := l.f.WriteAt(buf, l.cur.offset(end)); err != nil {
		uerr := ioError(err, "write", l.cur.path)
		if isNoSpace(err) {
			return 0, uerr
		}
		return 0, l.fail(uerr)
	}
	end += types.LSN(len(buf))
	l.sum = sum
	l.end.Store(uint64(end))
	return end, nil
}

// rotate makes the last segment durable and begins the next.
func (l *Log) rotate() error {
	if err := l.sync(); err != nil {
		return err
	}
	s, f, err := createSegment(l.dir, l.fs, l.End(), l.sum)
	if err != nil {
		if pgerr.CodeOf(err) == pgerr.DiskFull {
			return err
		}
		return l.fail(err)
	}
	old := l.f
	l.f, l.cur = f, s
	l.smu.Lock()
	l.segs = append(l.segs, s)
	l.smu.Unlock()
	if err := old.Close(); err != nil {
		return l.fail(ioError(err, "close", s.path))
	}
	return nil
}

// Sync implements Journal.
func (l *Log) Sync(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writable(ctx); err != nil {
		return err
	}
	return l.sync()
}

// sync makes the last segment durable; all before it are. After a failed
// fsync the kernel may have dropped the pages, so trying again would lie.
func (l *Log) sync() error {
	end := l.End()
	if l.durable == end {
		return nil
	}
	if err := l.f.SyncData(); err != nil {
		return l.fail(ioError(err, "sync", l.cur.path))
	}
	l.durable = end
	return nil
}

// Truncate implements Journal. Readers that stand in a dropped segment go on
// to its end.
func (l *Log) Truncate(ctx context.Context, lsn types.LSN) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if err := l.writable(ctx); err != nil {
			return err
		}
		l.smu.RLock()
		drop := len(l.segs) > 1 && l.segs[1].start <= lsn
		s := l.segs[0]
		l.smu.RUnlock()
		if !drop {
			return nil
		}
		// Oldest first, each made durable: a crash never leaves a hole.
		if err := l.fs.Remove(s.path); err != nil {
			return ioError(err, "remove", s.path)
		}
		l.smu.Lock()
		l.segs = append([]*segment(nil), l.segs[1:]...)
		l.smu.Unlock()
		if err := syncDir(l.fs, l.dir); err != nil {
			return ioError(err, "sync", l.dir)
		}
	}
}

// Close syncs what was appended, and leaves a mark that says so: damage to a
// journal that was closed is always found.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	err := l.failed
	if err == nil {
		err = l.sync()
	}
	if err == nil && l.marked != l.End() {
		buf := beginFrame(nil)
		sum := finishFrame(buf, l.End(), l.durable, l.sum, kindMark, false)
		if _, werr := l.write(buf, sum); werr == nil { // without a mark all is still there
			err = l.sync()
		}
	}
	if cerr := l.f.Close(); err == nil && cerr != nil {
		err = ioError(cerr, "close", l.cur.path)
	}
	return err
}
