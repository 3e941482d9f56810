package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// The canonical format is described in docs/formats/state.md.
const (
	canonicalName    = "canonical"
	canonicalMagic   = "sdbstate"
	canonicalVersion = 1
	headerBytes      = 12 // magic, version u16, reserved u16
	frameBytes       = 12 // payload length u32, xxh3 of the payload u64
	footerBytes      = 28 // offset and length of the index, xxh3 of these, magic
	blockBytes       = 64 << 10
)

// CanonicalWriter writes sorted entries in the canonical format.
type CanonicalWriter struct {
	w       io.Writer
	off     int64
	block   []byte // with room for the frame
	key     []byte // of the last entry in the block
	index   []byte
	blocks  int
	table   int
	group   uint16
	entries int64
}

// NewCanonicalWriter starts a file.
func NewCanonicalWriter(w io.Writer) (*CanonicalWriter, error) {
	c := &CanonicalWriter{w: w, block: make([]byte, frameBytes, blockBytes+blockBytes/4)}
	h := append([]byte(canonicalMagic), canonicalVersion, 0, 0, 0)
	return c, c.write(h)
}

func (c *CanonicalWriter) write(b []byte) error {
	n, err := c.w.Write(b)
	c.off += int64(n)
	return err
}

// Add appends an entry; entries come sorted.
func (c *CanonicalWriter) Add(e *Entry) error {
	if len(c.block) > frameBytes && (len(c.block) >= blockBytes || e.Table != c.table || e.Group != c.group) {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if len(c.block) == frameBytes {
		c.table, c.group, c.key = e.Table, e.Group, c.key[:0]
		c.block = binary.AppendUvarint(c.block, uint64(e.Table))
		c.block = binary.AppendUvarint(c.block, uint64(e.Group))
	}
	shared := sharedPrefix(c.key, e.Key)
	c.block = binary.AppendUvarint(c.block, uint64(shared))
	c.block = appendBytes(c.block, e.Key[shared:])
	c.block = appendBytes(c.block, e.Sub)
	c.block = appendBytes(c.block, e.Value)
	c.key = append(c.key[:0], e.Key...)
	c.entries++
	return nil
}

func sharedPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := 0; i < n; i++ {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func (c *CanonicalWriter) flush() error {
	c.index = binary.AppendUvarint(c.index, uint64(c.table))
	c.index = binary.AppendUvarint(c.index, uint64(c.group))
	c.index = binary.AppendUvarint(c.index, uint64(c.off))
	c.index = binary.AppendUvarint(c.index, uint64(len(c.block)))
	c.blocks++
	err := c.frame(c.block)
	c.block = c.block[:frameBytes]
	return err
}

// frame writes a payload that has room for its frame before it.
func (c *CanonicalWriter) frame(b []byte) error {
	if len(b)-frameBytes > 1<<31 {
		return pgerr.New(pgerr.ProgramLimitExceeded, "a state entry exceeds 2 GiB")
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-frameBytes))
	binary.LittleEndian.PutUint64(b[4:], xxh3.Hash(b[frameBytes:]))
	return c.write(b)
}

// Close writes the last block and the index, and gives the file's length.
func (c *CanonicalWriter) Close() (int64, error) {
	if len(c.block) > frameBytes {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	at := c.off
	b := binary.AppendUvarint(make([]byte, frameBytes), uint64(c.blocks))
	b = binary.AppendUvarint(b, uint64(c.entries))
	b = append(b, c.index...)
	if err := c.frame(b); err != nil {
		return 0, err
	}
	f := binary.LittleEndian.AppendUint64(nil, uint64(at))
	f = binary.LittleEndian.AppendUint32(f, uint32(len(b)))
	f = binary.LittleEndian.AppendUint64(f, xxh3.Hash(f))
	f = append(f, canonicalMagic...)
	err := c.write(f)
	return c.off, err
}

// blockRef is a block as the index names it.
type blockRef struct {
	table int
	group int
	off   int64
	bytes int
}

// CanonicalReader reads a file in the canonical format.
type CanonicalReader struct {
	name   string // for errors
	r      io.ReaderAt
	size   int64
	blocks []blockRef
	close  func() error
}

// corrupt is the error for a damaged file.
func corrupt(name, format string, args ...any) error {
	return pgerr.New(pgerr.DataCorrupted, "state file %q is damaged: %s", name, fmt.Sprintf(format, args...)).
		WithHint("If it is a view's, ALTER MATERIALIZED VIEW … RESUME builds it again; if it is a table's, put the file back from a copy of the data directory.")
}

// OpenCanonical checks a file's ends and reads its index.
func OpenCanonical(name string, r io.ReaderAt, size int64) (*CanonicalReader, error) {
	c := &CanonicalReader{name: name, r: r, size: size}
	if size < headerBytes+frameBytes+footerBytes {
		return nil, corrupt(name, "it has only %d bytes", size)
	}
	var h [headerBytes]byte
	if err := c.readAt(h[:], 0); err != nil {
		return nil, err
	}
	if string(h[:8]) != canonicalMagic {
		return nil, corrupt(name, "it does not begin as a state file")
	}
	if v := binary.LittleEndian.Uint16(h[8:]); v != canonicalVersion {
		return nil, pgerr.Unsupported("state file %q of format version %d (this server reads up to %d)", name, v, canonicalVersion)
	}
	var f [footerBytes]byte
	if err := c.readAt(f[:], size-footerBytes); err != nil {
		return nil, err
	}
	off, n := int64(binary.LittleEndian.Uint64(f[:])), int64(binary.LittleEndian.Uint32(f[8:]))
	if string(f[20:]) != canonicalMagic || binary.LittleEndian.Uint64(f[12:]) != xxh3.Hash(f[:12]) {
		return nil, corrupt(name, "its end is missing or altered")
	}
	if off < headerBytes || n < frameBytes || off+n != size-footerBytes {
		return nil, corrupt(name, "its index is out of place")
	}
	p, err := c.block(nil, off, int(n))
	if err != nil {
		return nil, err
	}
	return c, c.parseIndex(p, off)
}

func (c *CanonicalReader) readAt(b []byte, off int64) error {
	if n, err := c.r.ReadAt(b, off); n < len(b) {
		if err == nil || err == io.EOF {
			return corrupt(c.name, "it ends early")
		}
		return pgerr.Wrap(err, pgerr.IOError, "could not read state file %q", c.name)
	}
	return nil
}

func (c *CanonicalReader) parseIndex(p []byte, end int64) error {
	d := decoder{b: p}
	n := d.uvarint()
	d.uvarint()
	if n > uint64(len(p))/4 {
		return corrupt(c.name, "its index is malformed")
	}
	c.blocks = make([]blockRef, 0, n)
	at := int64(headerBytes)
	for ; n > 0; n-- {
		b := blockRef{int(d.uvarint()), int(d.uvarint()), int64(d.uvarint()), int(d.uvarint())}
		if d.bad || b.table < 0 || b.group < 0 || b.group > 1<<16 || b.off != at || b.bytes < frameBytes || int64(b.bytes) > end-at {
			return corrupt(c.name, "its index is malformed")
		}
		at += int64(b.bytes)
		c.blocks = append(c.blocks, b)
	}
	if d.bad || len(d.b) != 0 || at != end {
		return corrupt(c.name, "its index is malformed")
	}
	return nil
}

// block reads a block and checks it; buf may be used for it.
func (c *CanonicalReader) block(buf []byte, off int64, n int) ([]byte, error) {
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if err := c.readAt(buf, off); err != nil {
		return nil, err
	}
	if int(binary.LittleEndian.Uint32(buf)) != n-frameBytes ||
		binary.LittleEndian.Uint64(buf[4:]) != xxh3.Hash(buf[frameBytes:]) {
		return nil, corrupt(c.name, "checksum mismatch in the block at %d", off)
	}
	return buf[frameBytes:], nil
}

// Verify reads everything.
func (c *CanonicalReader) Verify() error {
	keep := c.close
	c.close = nil // drain closes the iterator, not the file
	err := drain(c.Entries(types.GroupRange{Lo: 0, Hi: 1 << 16}, func(int) bool { return true }), func(*Entry) error { return nil })
	c.close = keep
	return err
}

// Close closes the file.
func (c *CanonicalReader) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

// Entries iterates the entries of some tables and key groups. Closing it
// closes the file.
func (c *CanonicalReader) Entries(r types.GroupRange, want func(table int) bool) Entries {
	it := &canonicalEntries{c: c}
	for _, b := range c.blocks {
		if want(b.table) && b.group >= r.Lo && b.group < r.Hi {
			it.blocks = append(it.blocks, b)
		}
	}
	return it
}

type canonicalEntries struct {
	c      *CanonicalReader
	blocks []blockRef
	cur    blockRef
	buf    []byte
	d      decoder
	key    []byte
}

func (it *canonicalEntries) Close() error { return it.c.Close() }

func (it *canonicalEntries) Next(e *Entry) error {
	for len(it.d.b) == 0 {
		if len(it.blocks) == 0 {
			return io.EOF
		}
		it.cur, it.blocks = it.blocks[0], it.blocks[1:]
		p, err := it.c.block(it.buf, it.cur.off, it.cur.bytes)
		if err != nil {
			return err
		}
		it.buf, it.key = p[:0:cap(p)], it.key[:0]
		it.d = decoder{b: p}
		if t, g := it.d.uvarint(), it.d.uvarint(); t != uint64(it.cur.table) || g != uint64(it.cur.group) {
			return corrupt(it.c.name, "the block at %d is not what the index says", it.cur.off)
		}
	}
	shared := it.d.uvarint()
	if shared > uint64(len(it.key)) {
		it.d.bad = true
	} else {
		it.key = append(it.key[:shared], it.d.bytes()...)
	}
	*e = Entry{Table: it.cur.table, Group: uint16(it.cur.group), Key: it.key, Sub: it.d.bytes(), Value: it.d.bytes()}
	if it.d.bad {
		return corrupt(it.c.name, "malformed entry in the block at %d", it.cur.off)
	}
	return nil
}

// decoder reads varints and byte strings with bounds checks.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// WriteFile writes all entries of src to a canonical file of a bundle, under
// a temporary name until it is synced.
func WriteFile(ctx context.Context, d Dest, name string, src Entries) (File, error) {
	path := d.FS.PathJoin(d.Root, name)
	tmp := path + ".tmp"
	f, err := create(d.FS, tmp)
	if err != nil {
		src.Close()
		return File{}, pgerr.Wrap(err, pgerr.IOError, "could not create state file %q", name)
	}
	n, err := copyEntries(ctx, f, src)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = d.FS.Rename(tmp, path)
	}
	if err == nil {
		err = SyncDir(d.FS, d.FS.PathDir(path))
	}
	if err != nil {
		d.FS.Remove(tmp)
		return File{}, pgerr.Wrap(err, ioCode(err), "could not write state file %q", name)
	}
	return File{Name: name, Bytes: n}, nil
}

// create makes a file and the directory that it is in.
func create(fs vfs.FS, path string) (vfs.File, error) {
	if err := fs.MkdirAll(fs.PathDir(path), 0o755); err != nil {
		return nil, err
	}
	return fs.Create(path, vfs.WriteCategoryUnspecified)
}

// ioCode keeps a code that an error has, else it is an I/O error.
func ioCode(err error) pgerr.Code {
	if vfs.IsNoSpaceError(err) {
		return pgerr.DiskFull
	}
	if c := pgerr.CodeOf(err); c != pgerr.InternalError {
		return c
	}
	return pgerr.IOError
}

// SyncDir makes the names in a directory durable.
func SyncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// copyEntries writes a canonical file to w and closes src.
func copyEntries(ctx context.Context, w io.Writer, src Entries) (int64, error) {
	bw := &batchWriter{w: w}
	c, err := NewCanonicalWriter(bw)
	if err != nil {
		src.Close()
		return 0, err
	}
	i := 0
	err = drain(src, func(e *Entry) error {
		if i++; i&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		return c.Add(e)
	})
	if err != nil {
		return 0, err
	}
	n, err := c.Close()
	if err != nil {
		return 0, err
	}
	return n, bw.flush()
}

// batchWriter gathers blocks into larger writes.
type batchWriter struct {
	w   io.Writer
	buf []byte
}

func (b *batchWriter) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p...)
	if len(b.buf) < 1<<20 {
		return len(p), nil
	}
	return len(p), b.flush()
}

func (b *batchWriter) flush() error {
	_, err := b.w.Write(b.buf)
	b.buf = b.buf[:0]
	return err
}

// OpenFile opens a canonical file of a bundle and checks its size.
func OpenFile(fs vfs.FS, root string, f File) (*CanonicalReader, error) {
	h, err := fs.Open(fs.PathJoin(root, f.Name))
	if err != nil {
		return nil, missing(f.Name, err)
	}
	st, err := h.Stat()
	if err == nil && st.Size() != f.Bytes {
		err = corrupt(f.Name, "it has %d bytes, not %d", st.Size(), f.Bytes)
	}
	var c *CanonicalReader
	if err == nil {
		c, err = OpenCanonical(f.Name, h, f.Bytes)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	c.close = h.Close
	return c, nil
}

func missing(name string, err error) error {
	return pgerr.Wrap(err, pgerr.DataCorrupted, "state file %q is missing or cannot be opened", name).
		WithHint("If it is a view's, ALTER MATERIALIZED VIEW … RESUME builds it again; if it is a table's, put the file back from a copy of the data directory.")
}

// WriteCanonical writes sorted entries, of the given tables and key groups,
// as a handle that every backend can be restored from: the form of savepoints.
// It closes src.
func WriteCanonical(ctx context.Context, d Dest, tables []TableSpec, groups types.GroupRange, numGroups int, e types.Epoch, src Entries) (Handle, error) {
	f, err := WriteFile(ctx, d, FileName(d, e), src)
	if err != nil {
		return Handle{}, err
	}
	return Handle{
		Backend: canonicalName, Format: canonicalVersion, Epoch: e, Groups: groups, NumGroups: numGroups,
		Tables: tables, Files: []File{f}, Bytes: f.Bytes, New: f.Bytes,
	}, nil
}

// FileName is the name of the canonical file of a checkpoint at e.
func FileName(d Dest, e types.Epoch) string {
	return fmt.Sprintf("%s-%016x.state", d.Prefix, uint64(e))
}

// CanonicalFiles reads handles whose content is one canonical file, or inline
// in that format. It is a Backend's reading half.
type CanonicalFiles struct{}

// Read iterates the entries of a handle within key groups r.
func (f CanonicalFiles) Read(ctx context.Context, fs vfs.FS, root string, h Handle, r types.GroupRange) (Entries, error) {
	return f.ReadTables(ctx, fs, root, h, r, func(int) bool { return true })
}

// ReadTables is Read for some tables.
func (f CanonicalFiles) ReadTables(ctx context.Context, fs vfs.FS, root string, h Handle, r types.GroupRange, want func(table int) bool) (Entries, error) {
	c, err := f.open(fs, root, h)
	if err != nil {
		return nil, err
	}
	return c.Entries(r, want), nil
}

// Verify reads all of a handle.
func (f CanonicalFiles) Verify(ctx context.Context, fs vfs.FS, root string, h Handle) error {
	c, err := f.open(fs, root, h)
	if err != nil {
		return err
	}
	err = c.Verify()
	if e := c.Close(); err == nil {
		err = e
	}
	return err
}

func (CanonicalFiles) open(fs vfs.FS, root string, h Handle) (*CanonicalReader, error) {
	if h.Format != canonicalVersion {
		return nil, pgerr.Unsupported("a state of format %q version %d (this server reads up to %d)", h.Backend, h.Format, canonicalVersion)
	}
	if len(h.Files) == 0 {
		return OpenCanonical("(inline)", bytes.NewReader(h.Inline), int64(len(h.Inline)))
	}
	return OpenFile(fs, root, h.Files[0])
}

// canonicalBackend reads savepoints; no job runs on it.
type canonicalBackend struct{ CanonicalFiles }

func (canonicalBackend) Name() string { return canonicalName }

func (canonicalBackend) Open(context.Context, Spec, []Handle) (Store, error) {
	return nil, pgerr.New(pgerr.InvalidParameterValue, "unknown state backend %q", canonicalName)
}

func init() { Register(canonicalBackend{}) }
