package journal

import (
	"io"
	"sort"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// reader walks the log. At the end it gives io.EOF, and later goes on if more
// has been appended.
type reader struct {
	l     *Log
	w     frames // of the current segment; w.f is nil before the first
	lsn   types.LSN
	sum   uint64 // of the previous frame
	chain bool   // sum is known
	dec   decoder
}

// Read implements Journal. Its memory is bounded by a window and the largest
// record.
func (l *Log) Read(from types.LSN) (Reader, error) {
	if start, end := l.Start(), l.End(); from < start || from > end {
		return nil, pgerr.New(pgerr.DataCorrupted, "the journal in %q has no LSN %d: it goes from %d to %d", l.dir, from, start, end).
			WithHint(restoreHint)
	}
	return &reader{l: l, lsn: from}, nil
}

// at gives the segment that holds lsn, and where its frames end. An lsn
// between two segments belongs to the later.
func (l *Log) at(lsn types.LSN) (s *segment, end types.LSN) {
	end = l.End() // before the segments: without a later one, it is in the last
	l.smu.RLock()
	defer l.smu.RUnlock()
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].start > lsn })
	if i < len(l.segs) {
		end = l.segs[i].start
	}
	if i == 0 {
		return nil, end
	}
	return l.segs[i-1], end
}

// Next implements Reader.
func (r *reader) Next() (*Record, error) {
	for {
		if r.w.f == nil || r.w.off >= r.w.limit {
			if err := r.advance(); err != nil {
				return nil, err
			}
		}
		fr, err := r.w.next()
		if err == errNoFrame || err == nil && r.chain && fr.prev != r.sum {
			return nil, corrupted(r.w.s.path, r.w.s.offset(r.lsn), r.lsn, "no whole record begins there")
		}
		if err != nil {
			return nil, err
		}
		r.lsn, r.sum, r.chain = fr.end(), fr.sum, true
		if fr.kind == kindMark {
			continue
		}
		rec, err := r.dec.decode(fr.kind, fr.body)
		if err != nil {
			return nil, corrupted(r.w.s.path, r.w.s.offset(fr.lsn), fr.lsn, "the record's checksum is right but it cannot be decoded")
		}
		rec.LSN = fr.lsn
		return rec, nil
	}
}

// advance finds more to read at r.lsn, in this segment or the next; io.EOF if
// there is nothing yet.
func (r *reader) advance() error {
	s, end := r.l.at(r.lsn)
	if s == nil {
		return pgerr.New(pgerr.DataCorrupted, "the journal in %q was truncated beyond LSN %d", r.l.dir, r.lsn)
	}
	if r.w.f != nil && s.start != r.w.s.start {
		if err := r.closeFile(); err != nil {
			return err
		}
	}
	if r.w.f == nil {
		f, err := r.l.fs.Open(s.path)
		if err != nil {
			return ioError(err, "open", s.path)
		}
		r.w = frames{f: f, s: s, off: s.offset(r.lsn), buf: r.w.buf[:0]}
		if r.lsn == s.start {
			if r.chain && r.sum != s.prev {
				return corrupted(s.path, 24, s.start, "it does not continue the file before it")
			}
			r.sum, r.chain = s.prev, true
		}
	}
	r.w.limit = r.w.s.offset(end)
	if r.w.off >= r.w.limit {
		return io.EOF
	}
	return nil
}

func (r *reader) closeFile() error {
	f := r.w.f
	r.w.f = nil
	if f == nil {
		return nil
	}
	if err := f.Close(); err != nil {
		return ioError(err, "close", r.w.s.path)
	}
	return nil
}

// Close implements Reader.
func (r *reader) Close() error { return r.closeFile() }
