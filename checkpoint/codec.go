package checkpoint

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// A manifest file is: magic (8 bytes), format (uint32), body length (uint64),
// xxh3 of everything before and of the body (uint64), body. Little endian;
// docs/formats/manifest.md has the body.
const (
	manifestMagic  = "SDBMANIF"
	ManifestFormat = 1
	frameHeader    = 8 + 4 + 8 + 8
)

// WriteManifest writes m to a file, durably.
func WriteManifest(fs vfs.FS, path string, m *Manifest) error {
	return writeFile(fs, path, AppendManifest(nil, m))
}

// ReadManifest reads a manifest; XX001 naming the file if it is damaged,
// 0A000 if a newer version wrote it.
func ReadManifest(fs vfs.FS, path string) (*Manifest, error) {
	b, err := readFile(fs, path)
	if err != nil {
		return nil, err
	}
	m, err := DecodeManifest(b)
	if err != nil {
		e := *pgerr.From(err)
		e.Message = "file \"" + path + "\": " + e.Message
		return nil, &e
	}
	return m, nil
}

// AppendManifest encodes a manifest with its header.
func AppendManifest(dst []byte, m *Manifest) []byte {
	return appendFrame(dst, manifestMagic, ManifestFormat, appendBody(nil, m))
}

// DecodeManifest decodes what AppendManifest gives.
func DecodeManifest(b []byte) (*Manifest, error) {
	body, err := openFrame(b, manifestMagic, ManifestFormat, "manifest")
	if err != nil {
		return nil, err
	}
	d := &decoder{b: body}
	m := d.body()
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes are left over", len(d.b))
	}
	return m, d.err
}

func damaged(format string, args ...any) error {
	return pgerr.New(pgerr.DataCorrupted, format, args...)
}

func appendBody(dst []byte, m *Manifest) []byte {
	u := binary.AppendUvarint
	dst = u(dst, m.Number)
	dst = u(dst, m.Timeline)
	dst = u(dst, uint64(m.Epoch.ID))
	dst = binary.AppendVarint(dst, int64(m.Epoch.Now))
	dst = u(dst, uint64(m.Epoch.Catalog))
	dst = u(dst, uint64(m.LSN))
	dst = appendBytes(dst, m.Catalog)
	dst = appendPositions(dst, m.Positions)
	dst = u(dst, uint64(len(m.Tables)))
	for _, t := range m.Tables {
		dst = append(dst, t.ID[:]...)
		dst = appendHandles(dst, t.States)
	}
	dst = u(dst, uint64(len(m.Parts)))
	for i := range m.Parts {
		dst = appendPart(dst, &m.Parts[i])
	}
	return dst
}

func appendPart(dst []byte, p *Part) []byte {
	dst = append(dst, p.Job[:]...)
	dst = binary.AppendUvarint(dst, uint64(p.Epoch))
	dst = appendHandles(dst, p.States)
	dst = binary.AppendUvarint(dst, uint64(len(p.Tokens)))
	for _, t := range p.Tokens {
		dst = appendBytes(dst, t)
	}
	dst = appendBytes(dst, p.Errors)
	return appendPositions(dst, p.Positions)
}

func appendHandles(dst []byte, hs []state.Handle) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(hs)))
	for i := range hs {
		dst = state.AppendHandle(dst, &hs[i])
	}
	return dst
}

func appendPositions(dst []byte, ps []journal.SourcePositions) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ps)))
	for _, p := range ps {
		dst = append(dst, p.Source[:]...)
		dst = binary.AppendUvarint(dst, uint64(len(p.Splits)))
		for _, s := range p.Splits {
			dst = appendBytes(dst, []byte(s.Split))
			dst = appendBytes(dst, s.Pos)
		}
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// decoder reads a body; after the first error everything is zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = damaged(format, args...)
	}
	d.b = nil
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("a number is cut off")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("a number is cut off")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads the length of a list whose elements take at least one byte.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail("a list of %d entries does not fit", n)
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.count()
	if n == 0 {
		return nil
	}
	out := append([]byte(nil), d.b[:n]...)
	d.b = d.b[n:]
	return out
}

func (d *decoder) uuid() (u types.UUID) {
	if len(d.b) < len(u) {
		d.fail("an identifier is cut off")
		return u
	}
	copy(u[:], d.b)
	d.b = d.b[len(u):]
	return u
}

func (d *decoder) body() *Manifest {
	m := &Manifest{Number: d.uvarint(), Timeline: d.uvarint()}
	m.Epoch.ID = types.Epoch(d.uvarint())
	m.Epoch.Now = types.Micros(d.varint())
	m.Epoch.Catalog = types.Version(d.uvarint())
	m.LSN = types.LSN(d.uvarint())
	m.Catalog = d.bytes()
	m.Positions = d.positions()
	for range d.count() {
		m.Tables = append(m.Tables, Table{ID: d.uuid(), States: d.handles()})
	}
	for range d.count() {
		m.Parts = append(m.Parts, d.part())
	}
	return m
}

func (d *decoder) part() Part {
	p := Part{Job: d.uuid(), Epoch: types.Epoch(d.uvarint()), States: d.handles()}
	for range d.count() {
		p.Tokens = append(p.Tokens, d.bytes())
	}
	p.Errors = d.bytes()
	p.Positions = d.positions()
	return p
}

func (d *decoder) handles() []state.Handle {
	var hs []state.Handle
	for range d.count() {
		h, rest, err := state.DecodeHandle(d.b)
		if err != nil {
			d.fail("a handle: %s", pgerr.From(err).Message)
			return nil
		}
		d.b = rest
		hs = append(hs, h)
	}
	return hs
}

func (d *decoder) positions() []journal.SourcePositions {
	var ps []journal.SourcePositions
	for range d.count() {
		p := journal.SourcePositions{Source: d.uuid()}
		for range d.count() {
			p.Splits = append(p.Splits, types.SplitPosition{Split: types.Split(d.bytes()), Pos: d.bytes()})
		}
		ps = append(ps, p)
	}
	return ps
}
