package journal

import (
	"encoding/binary"
	"errors"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// The bodies of records. Numbers are uvarints in their shortest form, byte
// strings have their length before them, positions their length + 1 (0: nil).
//
//	Commit    number of tables; of each: UUID, number of chunks, the chunks
//	DDL       catalog version, delta
//	Cut       epoch, wall time (zigzag), catalog version, number of sources;
//	          of each: UUID, number of splits; of each: split, position
//	Timeline  number, epoch, savepoint's UUID

// errRecord is what decode says of a body that is no record.
var errRecord = errors.New("malformed record")

// appendBody appends the body of r.
func appendBody(dst []byte, r *Record) ([]byte, error) {
	switch {
	case r.Kind == KindCommit && r.Commit != nil:
		return appendCommit(dst, r.Commit), nil
	case r.Kind == KindDDL && r.DDL != nil:
		dst = binary.AppendUvarint(dst, uint64(r.DDL.Version))
		return appendBytes(dst, r.DDL.Delta), nil
	case r.Kind == KindCut && r.Cut != nil:
		return appendCut(dst, r.Cut), nil
	case r.Kind == KindTimeline && r.Timeline != nil:
		dst = binary.AppendUvarint(dst, r.Timeline.Number)
		dst = binary.AppendUvarint(dst, uint64(r.Timeline.Epoch))
		return append(dst, r.Timeline.Savepoint[:]...), nil
	}
	return nil, pgerr.Internal("journal record of kind %d without that content", r.Kind)
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendCommit(dst []byte, c *Commit) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(c.Tables)))
	for i := range c.Tables {
		t := &c.Tables[i]
		dst = append(dst, t.Table[:]...)
		dst = binary.AppendUvarint(dst, uint64(len(t.Chunks)))
		for _, chunk := range t.Chunks {
			dst = appendBytes(dst, chunk)
		}
	}
	return dst
}

func appendCut(dst []byte, c *Cut) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.Epoch.ID))
	dst = binary.AppendVarint(dst, int64(c.Epoch.Now))
	dst = binary.AppendUvarint(dst, uint64(c.Epoch.Catalog))
	dst = binary.AppendUvarint(dst, uint64(len(c.Positions)))
	for i := range c.Positions {
		p := &c.Positions[i]
		dst = append(dst, p.Source[:]...)
		dst = binary.AppendUvarint(dst, uint64(len(p.Splits)))
		for _, s := range p.Splits {
			dst = binary.AppendUvarint(dst, uint64(len(s.Split)))
			dst = append(dst, s.Split...)
			if s.Pos == nil {
				dst = append(dst, 0)
				continue
			}
			dst = binary.AppendUvarint(dst, uint64(len(s.Pos))+1)
			dst = append(dst, s.Pos...)
		}
	}
	return dst
}

// decoder decodes bodies into a record that it owns and uses again. Byte
// strings are shared with the body.
type decoder struct {
	rec      Record
	commit   Commit
	ddl      DDL
	cut      Cut
	timeline Timeline

	b   []byte
	bad bool
}

// decode decodes one body. The record is valid until the next call and as
// long as the body. Memory is bounded by a small multiple of the body.
func (d *decoder) decode(kind Kind, body []byte) (*Record, error) {
	d.b, d.bad = body, false
	d.rec = Record{Kind: kind}
	switch kind {
	case KindCommit:
		d.readCommit()
		d.rec.Commit = &d.commit
	case KindDDL:
		d.ddl = DDL{Version: types.Version(d.uvarint()), Delta: d.bytes(d.uvarint())}
		d.rec.DDL = &d.ddl
	case KindCut:
		d.readCut()
		d.rec.Cut = &d.cut
	case KindTimeline:
		d.timeline = Timeline{Number: d.uvarint(), Epoch: types.Epoch(d.uvarint()), Savepoint: d.uuid()}
		d.rec.Timeline = &d.timeline
	default:
		return nil, errRecord
	}
	if d.bad || len(d.b) != 0 {
		return nil, errRecord
	}
	return &d.rec, nil
}

func (d *decoder) readCommit() {
	tables := d.commit.Tables[:cap(d.commit.Tables)]
	n := d.count(len(types.UUID{}) + 1)
	for i := 0; i < n && !d.bad; i++ {
		if i == len(tables) {
			tables = append(tables, TableChanges{})
		}
		t := &tables[i]
		t.Table = d.uuid()
		chunks := t.Chunks[:0]
		for m := d.count(1); m > 0 && !d.bad; m-- {
			chunks = append(chunks, d.bytes(d.uvarint()))
		}
		t.Chunks = chunks
	}
	if d.bad {
		n = 0
	}
	d.commit.Tables = tables[:n]
}

func (d *decoder) readCut() {
	d.cut.Epoch = types.EpochInfo{
		ID:      types.Epoch(d.uvarint()),
		Now:     types.Micros(d.varint()),
		Catalog: types.Version(d.uvarint()),
	}
	positions := d.cut.Positions[:cap(d.cut.Positions)]
	n := d.count(len(types.UUID{}) + 1)
	for i := 0; i < n && !d.bad; i++ {
		if i == len(positions) {
			positions = append(positions, SourcePositions{})
		}
		p := &positions[i]
		p.Source = d.uuid()
		splits := p.Splits[:0]
		for m := d.count(2); m > 0 && !d.bad; m-- {
			s := types.SplitPosition{Split: types.Split(d.bytes(d.uvarint()))}
			if l := d.uvarint(); l > 0 {
				s.Pos = d.bytes(l - 1)
			}
			splits = append(splits, s)
		}
		p.Splits = splits
	}
	if d.bad {
		n = 0
	}
	d.cut.Positions = positions[:n]
}

func (d *decoder) uvarint() uint64 {
	u, w := binary.Uvarint(d.b)
	if w <= 0 || w > 1 && d.b[w-1] == 0 { // one form of a number only
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[w:]
	return u
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads how many things follow that take at least size bytes each.
func (d *decoder) count(size int) int {
	u := d.uvarint()
	if u > uint64(len(d.b)/size) {
		d.b, d.bad = nil, true
		return 0
	}
	return int(u)
}

// bytes takes n bytes, not nil even if n is 0.
func (d *decoder) bytes(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) uuid() (u types.UUID) {
	copy(u[:], d.bytes(uint64(len(u))))
	return u
}
