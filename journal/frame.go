package journal

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/types"
)

// A record lies in a frame:
//
//	 0  uint64  xxh3 of all that follows
//	 8  uint64  the frame's own LSN
//	16  uint64  LSN up to which the journal was durable when this was appended
//	24  uint64  the previous frame's sum
//	32  uint32  length of the body
//	36  uint8   kind of record; 0 is a mark, with an empty body
//	37  uint8   1: the next frame is of the same Append, which counts only whole
//	38  uint16  0
//	40  body
//
// The own LSN lets a search for frames behind damaged bytes find them. The
// durable LSN then tells lost data from the tail of a crash: damage below
// some later frame's durable LSN was once synced. The previous frame's sum
// makes a chain, so that bytes of an append that was cut off can never be
// taken for the continuation of what was written over it.
const (
	frameLen   = 40
	maxBody    = 1 << 30
	kindMark   = Kind(0)
	flagMore   = 1
	windowSize = 256 << 10
	// keepBuffer bounds the memory kept for reuse after a large record.
	keepBuffer = 4 << 20
)

type frame struct {
	lsn     types.LSN
	durable types.LSN
	prev    uint64
	sum     uint64
	kind    Kind
	more    bool
	body    []byte
}

func (f *frame) end() types.LSN { return f.lsn + frameLen + types.LSN(len(f.body)) }

// beginFrame appends room for a frame's head; the body is appended after it,
// and finishFrame fills in the head.
func beginFrame(dst []byte) []byte { return append(dst, make([]byte, frameLen)...) }

// finishFrame completes the frame that is all of b and gives its sum.
func finishFrame(b []byte, lsn, durable types.LSN, prev uint64, kind Kind, more bool) uint64 {
	le := binary.LittleEndian
	le.PutUint64(b[8:], uint64(lsn))
	le.PutUint64(b[16:], uint64(durable))
	le.PutUint64(b[24:], prev)
	le.PutUint32(b[32:], uint32(len(b)-frameLen))
	b[36] = byte(kind)
	if more {
		b[37] = flagMore
	}
	sum := xxh3.Hash(b[8:])
	le.PutUint64(b, sum)
	return sum
}

// errNoFrame is what frames.next says of bytes that are no frame.
var errNoFrame = errors.New("no whole record")

// frames walks the frames of one segment between two file offsets, with a
// window of bounded size (or one frame, if that is larger).
type frames struct {
	f     vfs.File
	s     *segment
	off   int64 // of the next frame
	limit int64 // frames end at or before
	buf   []byte
	base  int64 // file offset of buf[0]
}

// bytes gives n bytes at the current offset, which lie below the limit.
func (w *frames) bytes(n int) ([]byte, error) {
	if w.off < w.base || w.off+int64(n) > w.base+int64(len(w.buf)) {
		size := int(min(int64(max(n, windowSize)), w.limit-w.off))
		if cap(w.buf) < size || cap(w.buf) > keepBuffer && size <= keepBuffer {
			w.buf = make([]byte, size)
		}
		w.buf = w.buf[:size]
		w.base = w.off
		if got, err := w.f.ReadAt(w.buf, w.off); got < size {
			w.buf = w.buf[:0]
			if err == nil || err == io.EOF {
				return nil, errNoFrame
			}
			return nil, ioError(err, "read", w.s.path)
		}
	}
	i := w.off - w.base
	return w.buf[i : i+int64(n)], nil
}

// next gives the next frame, its body valid until the following call; io.EOF
// at the limit; errNoFrame where no valid frame is, without moving.
func (w *frames) next() (frame, error) {
	left := w.limit - w.off
	if left <= 0 {
		return frame{}, io.EOF
	}
	if left < frameLen {
		return frame{}, errNoFrame
	}
	h, err := w.bytes(frameLen)
	if err != nil {
		return frame{}, err
	}
	le := binary.LittleEndian
	n := int64(le.Uint32(h[32:]))
	if n > left-frameLen || types.LSN(le.Uint64(h[8:])) != w.s.lsn(w.off) {
		return frame{}, errNoFrame
	}
	b, err := w.bytes(frameLen + int(n))
	if err != nil {
		return frame{}, err
	}
	f := frame{
		sum:     le.Uint64(b),
		lsn:     types.LSN(le.Uint64(b[8:])),
		durable: types.LSN(le.Uint64(b[16:])),
		prev:    le.Uint64(b[24:]),
		kind:    Kind(b[36]),
		more:    b[37] == flagMore,
		body:    b[frameLen:],
	}
	if f.sum != xxh3.Hash(b[8:]) || b[37] > flagMore || b[38]|b[39] != 0 || f.durable > f.lsn {
		return frame{}, errNoFrame
	}
	w.off += int64(len(b))
	return f, nil
}

// lastFrame walks a segment's frames up to a file offset and gives the LSN
// after the last append that is whole there, and the sum of its last frame.
func lastFrame(fs vfs.FS, s *segment, limit int64) (end types.LSN, sum uint64, err error) {
	f, err := fs.Open(s.path)
	if err != nil {
		return 0, 0, ioError(err, "open", s.path)
	}
	defer f.Close()
	w := frames{f: f, s: s, off: headerLen, limit: limit}
	end, sum = s.start, s.prev
	prev := s.prev
	for {
		fr, err := w.next()
		if err == io.EOF || err == errNoFrame || err == nil && fr.prev != prev {
			return end, sum, nil
		}
		if err != nil {
			return 0, 0, err
		}
		prev = fr.sum
		if !fr.more {
			end, sum = fr.end(), fr.sum
		}
	}
}

// durableBehind looks in the rest of a segment, from the end of its whole
// appends on, for a frame that was appended when more than that was durable.
func durableBehind(fs vfs.FS, s *segment, end types.LSN) (types.LSN, bool, error) {
	f, err := fs.Open(s.path)
	if err != nil {
		return 0, false, ioError(err, "open", s.path)
	}
	defer f.Close()
	le := binary.LittleEndian
	w := frames{f: f, s: s, limit: s.size}
	buf := make([]byte, windowSize)
	for base := s.offset(end); base+frameLen <= s.size; base += windowSize - frameLen + 1 {
		n := int(min(windowSize, s.size-base))
		if got, err := f.ReadAt(buf[:n], base); got < n {
			return 0, false, ioError(err, "read", s.path)
		}
		for i := 0; i+frameLen <= n; i++ {
			if types.LSN(le.Uint64(buf[i+8:])) != s.lsn(base+int64(i)) || types.LSN(le.Uint64(buf[i+16:])) <= end {
				continue
			}
			w.off = base + int64(i)
			switch fr, err := w.next(); {
			case err == nil:
				return fr.durable, true, nil
			case err != errNoFrame:
				return 0, false, err
			}
		}
	}
	return 0, false, nil
}
