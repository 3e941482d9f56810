package journal

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// A segment is a file of frames that begins with a header:
//
//	 0  8 bytes  magic
//	 8  uint32   format version
//	12  uint32   header length
//	16  uint64   LSN of the first frame
//	24  uint64   sum of the frame before that, 0 if it is the first of all
//	32  uint64   xxh3 of the bytes before
//
// All integers of the journal's files are little-endian. A frame at file
// offset o has the LSN start + o - headerLen: LSNs do not count headers, and
// the next segment's start is where this segment's frames end, whatever
// bytes may follow there.
const (
	segmentMagic  = "SDBJRNL\n"
	formatVersion = 1
	headerLen     = 40

	segmentPrefix = "journal-"
	tmpSuffix     = ".tmp"
)

type segment struct {
	start types.LSN
	prev  uint64 // sum of the last frame before the segment
	path  string
	size  int64 // file size when listed
}

// lsn gives the LSN of a file offset; offset is its inverse.
func (s *segment) lsn(off int64) types.LSN    { return s.start + types.LSN(off-headerLen) }
func (s *segment) offset(lsn types.LSN) int64 { return int64(lsn-s.start) + headerLen }

func segmentName(start types.LSN) string { return fmt.Sprintf("%s%016x", segmentPrefix, uint64(start)) }

func parseSegmentName(name string) (types.LSN, bool) {
	hex, ok := strings.CutPrefix(name, segmentPrefix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	u, err := strconv.ParseUint(hex, 16, 64)
	return types.LSN(u), err == nil
}

func appendHeader(dst []byte, start types.LSN, prev uint64) []byte {
	at := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, formatVersion)
	dst = binary.LittleEndian.AppendUint32(dst, headerLen)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(start))
	dst = binary.LittleEndian.AppendUint64(dst, prev)
	return binary.LittleEndian.AppendUint64(dst, xxh3.Hash(dst[at:]))
}

// readHeader checks the header of an opened segment against its name.
func (s *segment) readHeader(f vfs.File) error {
	var h [headerLen]byte
	if n, err := f.ReadAt(h[:], 0); n < headerLen {
		if int64(n) == s.size {
			return corrupted(s.path, 0, s.start, "the file ends inside its header")
		}
		return ioError(err, "read", s.path)
	}
	if string(h[:8]) != segmentMagic {
		return corrupted(s.path, 0, s.start, "it does not begin as a journal file does")
	}
	if v := binary.LittleEndian.Uint32(h[8:]); v > formatVersion {
		return pgerr.New(pgerr.FeatureNotSupported,
			"journal file %q has format version %d, but this server reads versions up to %d", s.path, v, formatVersion).
			WithHint("Start a newer streamdb on this data directory.")
	}
	if binary.LittleEndian.Uint64(h[32:]) != xxh3.Hash(h[:32]) || binary.LittleEndian.Uint32(h[12:]) != headerLen {
		return corrupted(s.path, 0, s.start, "the header's checksum is wrong")
	}
	if start := types.LSN(binary.LittleEndian.Uint64(h[16:])); start != s.start {
		return corrupted(s.path, 16, s.start, "the header says that it begins at LSN %d", start)
	}
	s.prev = binary.LittleEndian.Uint64(h[24:])
	return nil
}

// listSegments gives the segments in order with their headers checked.
func listSegments(dir string, fs vfs.FS) ([]*segment, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, ioError(err, "list", dir)
	}
	var segs []*segment
	for _, name := range names {
		start, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		s := &segment{start: start, path: fs.PathJoin(dir, name)}
		f, err := fs.Open(s.path)
		if err != nil {
			return nil, ioError(err, "open", s.path)
		}
		st, err := f.Stat()
		if err == nil {
			s.size = st.Size()
			err = s.readHeader(f)
		} else {
			err = ioError(err, "read", s.path)
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		segs = append(segs, s)
	}
	sort.Slice(segs, func(i, j int) bool { return segs[i].start < segs[j].start })
	return segs, checkContiguous(dir, fs, segs)
}

// checkContiguous refuses a journal with a hole: a segment that is too short
// to reach the next one's start.
func checkContiguous(dir string, fs vfs.FS, segs []*segment) error {
	for i := 0; i+1 < len(segs); i++ {
		s, next := segs[i], segs[i+1]
		if s.offset(next.start) <= s.size {
			continue
		}
		end, _, err := lastFrame(fs, s, s.size)
		if err != nil {
			return err
		}
		if off := s.offset(end); off < s.size {
			return corrupted(s.path, off, end, "no whole record is there, but the journal goes on at LSN %d in %q", next.start, next.path)
		}
		return pgerr.New(pgerr.DataCorrupted, "journal file %q is missing: %q ends at LSN %d and the next file is %q",
			fs.PathJoin(dir, segmentName(end)), s.path, end, next.path).
			WithHint("Put the missing file back from a copy of the data directory.")
	}
	return nil
}

// createSegment makes an empty segment durable under its name and opens it.
func createSegment(dir string, fs vfs.FS, start types.LSN, prev uint64) (*segment, vfs.File, error) {
	s := &segment{start: start, prev: prev, path: fs.PathJoin(dir, segmentName(start)), size: headerLen}
	tmp := s.path + tmpSuffix
	if err := writeSynced(fs, tmp, appendHeader(nil, start, prev)); err != nil {
		_ = fs.Remove(tmp) // best effort: Open removes it too
		return nil, nil, ioError(err, "create", s.path)
	}
	if err := fs.Rename(tmp, s.path); err != nil {
		return nil, nil, ioError(err, "create", s.path)
	}
	if err := syncDir(fs, dir); err != nil {
		return nil, nil, ioError(err, "create", s.path)
	}
	f, err := fs.OpenReadWrite(s.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, nil, ioError(err, "open", s.path)
	}
	return s, f, nil
}

func writeSynced(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
