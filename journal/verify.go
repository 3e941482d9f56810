package journal

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Verify reads the whole journal in dir without changing it and gives the
// first damage as an error (XX001). The half-written tail of a crash is none.
func Verify(dir string, fs vfs.FS) error {
	segs, err := listSegments(dir, fs)
	if err != nil {
		return err
	}
	var sum uint64
	for i, s := range segs {
		if i > 0 && s.prev != sum {
			return corrupted(s.path, 24, s.start, "it does not continue the file before it")
		}
		end := segs[min(i+1, len(segs)-1)].start
		if i+1 == len(segs) {
			if end, _, err = recoverEnd(fs, s, 0); err != nil {
				return err
			}
		}
		if sum, err = verifySegment(fs, s, s.offset(end)); err != nil {
			return err
		}
	}
	return nil
}

// verifySegment checks all frames and bodies up to a file offset and gives
// the last frame's sum.
func verifySegment(fs vfs.FS, s *segment, limit int64) (uint64, error) {
	f, err := fs.Open(s.path)
	if err != nil {
		return 0, ioError(err, "open", s.path)
	}
	defer f.Close()
	w := frames{f: f, s: s, off: headerLen, limit: limit}
	sum := s.prev
	var d decoder
	for {
		off := w.off
		fr, err := w.next()
		switch {
		case err == io.EOF:
			return sum, nil
		case err == errNoFrame || err == nil && fr.prev != sum:
			return 0, corrupted(s.path, off, s.lsn(off), "no whole record begins there")
		case err != nil:
			return 0, err
		}
		sum = fr.sum
		if fr.kind == kindMark && len(fr.body) == 0 {
			continue
		}
		if _, err := d.decode(fr.kind, fr.body); err != nil {
			return 0, corrupted(s.path, off, fr.lsn, "the record's checksum is right but it cannot be decoded")
		}
	}
}
