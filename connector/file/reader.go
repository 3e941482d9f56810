package file

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

const (
	// blockSize is how much is read at once.
	blockSize = 256 << 10
	// maxRecord bounds a record, and so the buffer.
	maxRecord = 16 << 20
	// maxRaw bounds what is kept of a rejected record.
	maxRaw = 64 << 10
	// maxScan bounds the bytes of one Read, however few rows they give.
	maxScan = 32 << 20
)

type reader struct {
	s      *source
	f      vfs.File
	inode  uint64
	prefix []byte // the first bytes read, up to prefixLen
	wanted bool
	needed []bool
	rows   *rows
	json   *jsonDecoder
	csv    *csvDecoder
	ready  bool // the CSV header, if any, has been read

	buf  []byte // bytes of the file from base on
	base int64
	at   int // of the next record in buf

	// skip is set while getting over a record that is too long, which begins
	// at base; skipped is the file offset up to which its end was looked for.
	skip    *connector.Rejected
	skipped int64
}

// Close implements connector.Reader.
func (r *reader) Close() error {
	if err := r.f.Close(); err != nil {
		return r.s.ioError(err, "close")
	}
	return nil
}

func (r *reader) offset() int64 { return r.base + int64(r.at) }

func (r *reader) position() types.Position {
	return position{inode: r.inode, offset: r.offset(), sum: xxh3.Hash(r.prefix)}.encode()
}

// consume moves over n bytes of the buffer.
func (r *reader) consume(n int) {
	if room := prefixLen - len(r.prefix); room > 0 {
		r.prefix = append(r.prefix, r.buf[r.at:r.at+min(n, room)]...)
	}
	r.at += n
}

// Read implements connector.Reader.
func (r *reader) Read(ctx context.Context, b *connector.Batch, max int, until types.Position) (types.Position, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limit := int64(-1)
	if until != nil {
		p, err := decodePosition(until)
		if err != nil {
			return nil, err
		}
		limit = p.offset
	}
	c := b.Chunk(0, r.rows.types)
	if ok, err := r.start(limit); !ok || err != nil {
		return r.position(), err
	}
	max = min(max-b.Rows(), types.MaxChunkRows-c.N)
	if max <= 0 {
		return r.position(), nil
	}
	part := c
	if c.N > 0 {
		part = types.NewChunk(r.rows.types) // what c's buffers are shared with is not known
	}
	r.rows.chunk, r.rows.n = nil, 0
	err := r.decode(b, part, max, limit)
	if r.rows.chunk != nil {
		r.rows.end(r.needed)
	}
	if !r.wanted {
		part.Reset()
	}
	if part != c {
		part.Compact(c)
	}
	if err != nil {
		return nil, err
	}
	return r.position(), nil
}

// start reads the CSV header, if there is to be one; false if it is not
// complete yet.
func (r *reader) start(limit int64) (bool, error) {
	if r.ready || r.csv == nil {
		return true, nil
	}
	if !r.s.header {
		r.csv.fields = identity(len(r.s.columns))
		r.ready = true
		return true, nil
	}
	if r.offset() == 0 && limit == 0 {
		return false, nil
	}
	fields, end, err := r.s.readHeader(r.f)
	if err != nil || fields == nil {
		return false, err
	}
	r.csv.fields = fields
	for r.offset() < end {
		if ok, err := r.fill(end); err != nil || !ok {
			return false, err
		}
		r.consume(int(min(end-r.offset(), int64(len(r.buf)-r.at))))
	}
	r.ready = true
	return true, nil
}

// decode takes records until there are max rows and rejected records, the
// limit (-1: none) is reached, or no whole record is left for now.
func (r *reader) decode(b *connector.Batch, c *types.Chunk, max int, limit int64) error {
	start := r.offset()
	rejected := len(b.Rejected)
	for r.rows.n+len(b.Rejected)-rejected < max && r.offset()-start < maxScan && (limit < 0 || r.offset() < limit) {
		if r.at == len(r.buf) && r.skip == nil {
			if ok, err := r.fill(limit); err != nil {
				return err
			} else if !ok {
				break
			}
		}
		if r.rows.chunk == nil { // not before there is something: this is asked often
			r.rows.begin(c, max)
		}
		n, err := r.record()
		if err == errTooLong {
			x := r.reject(r.buf[r.at:], errTooLong)
			r.skip, r.skipped = &x, r.offset()
			r.base, r.at, r.buf = r.offset(), 0, r.buf[:0]
		}
		if r.skip != nil {
			if ok, err := r.skipRecord(b, limit); err != nil || !ok {
				return err
			}
			continue
		}
		if n == 0 {
			if ok, err := r.fill(limit); err != nil {
				return err
			} else if !ok {
				break
			}
			continue
		}
		switch {
		case err == errBlank:
			r.consume(n)
			continue
		case err != nil:
			b.Rejected = append(b.Rejected, r.reject(r.buf[r.at:r.at+n], err))
		default:
			r.rows.n++
		}
		b.Events++
		r.consume(n)
	}
	b.Bytes += r.offset() - start
	return nil
}

var (
	// errBlank is not an error: the record is an empty line.
	errBlank   = errors.New("empty line")
	errTooLong = pgerr.New(pgerr.ProgramLimitExceeded, "line exceeds the limit of %d bytes", maxRecord)
)

// record decodes the next record into the current row and gives its length
// with the newline, 0 if it is not whole in the buffer.
func (r *reader) record() (n int, err error) {
	rest := r.buf[r.at:]
	switch {
	case r.skip != nil:
		return 0, nil
	case r.csv != nil:
		n, err = r.csv.record(rest, r.rows)
	default:
		if n = bytes.IndexByte(rest, '\n') + 1; n > 0 && n <= maxRecord {
			err = r.json.decode(rest[:n-1], r.rows)
		}
	}
	if n > maxRecord || n == 0 && len(rest) >= maxRecord {
		return 0, errTooLong
	}
	return n, err
}

// reject describes the record at the current offset, which could not be read.
func (r *reader) reject(raw []byte, err error) connector.Rejected {
	if n := bytes.IndexByte(raw, '\n'); err == errTooLong && n >= 0 {
		raw = raw[:n]
	}
	raw = bytes.TrimRight(raw[:min(len(raw), maxRaw)], "\r\n")
	return connector.Rejected{Split: split, Offset: r.offset(), Raw: bytes.Clone(raw), Err: pgerr.From(err)}
}

// skipRecord looks for the end of a record that is too long and rejects it;
// false if the end is not there yet. It is the first newline, also inside the
// quotes of CSV, so that one quote too many does not swallow the file.
func (r *reader) skipRecord(b *connector.Batch, limit int64) (bool, error) {
	for from := r.skipped; r.skipped-from < maxScan; {
		block, err := r.readAt(r.buf[:0], r.skipped, blockSize, limit)
		if err != nil || len(block) == 0 {
			return false, err
		}
		r.buf = block[:0]
		n := bytes.IndexByte(block, '\n') + 1
		if n == 0 {
			r.skipped += int64(len(block))
			continue
		}
		b.Rejected = append(b.Rejected, *r.skip)
		b.Events++
		r.skip = nil
		r.base = r.skipped + int64(n)
		return true, r.readPrefix(r.base)
	}
	return false, nil
}

// fill gets more of the file behind what is in the buffer; false if there is
// nothing for now.
func (r *reader) fill(limit int64) (bool, error) {
	left := copy(r.buf, r.buf[r.at:])
	r.base, r.at = r.base+int64(r.at), 0
	// A record that does not fit doubles the buffer.
	buf, err := r.readAt(r.buf[:left], r.base+int64(left), max(blockSize, left), limit)
	if err != nil {
		return false, err
	}
	r.buf = buf
	return len(buf) > left, nil
}

// readAt appends up to n bytes of the file from an offset on, none if there
// are none for now. A limit that it would have to pass is no line's end.
func (r *reader) readAt(dst []byte, off int64, n int, limit int64) ([]byte, error) {
	if limit >= 0 {
		if off >= limit {
			return dst, r.s.changed("no line ends at offset %d", limit)
		}
		n = int(min(int64(n), limit-off))
	}
	have := len(dst)
	if cap(dst) < have+n || cap(dst) > 4*blockSize && have+n <= blockSize {
		dst = append(make([]byte, 0, have+n), dst...)
	}
	got, err := r.f.ReadAt(dst[have:have+n], off)
	switch {
	case got > 0 || n == 0:
		return dst[:have+got], nil
	case err == io.EOF || err == nil:
		return dst, r.checkGrowing(off)
	}
	return dst, r.s.ioError(err, "read")
}

// checkGrowing is asked at the end of the file whether it is still the one
// that its name stands for, and not shorter than before.
func (r *reader) checkGrowing(off int64) error {
	st, err := r.s.fs.Stat(r.s.path)
	if err != nil {
		return r.s.ioError(err, "read")
	}
	if now := inode(st); now != r.inode {
		return r.s.changed("another file has taken its name since offset %d was read", off)
	}
	if st.Size() < off {
		return r.s.changed("it has %d bytes, but was read up to offset %d", st.Size(), off)
	}
	return nil
}

// readPrefix reads what identifies a file that was read up to an offset.
func (r *reader) readPrefix(off int64) error {
	r.prefix = make([]byte, min(prefixLen, off), prefixLen)
	if n, err := r.f.ReadAt(r.prefix, 0); n < len(r.prefix) {
		return r.s.ioError(err, "read")
	}
	return nil
}
