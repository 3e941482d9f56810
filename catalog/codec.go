package catalog

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// The encoding of objects, changes and whole versions, for the journal, the
// catalog store and savepoints: a format byte, then fields in order. Integers
// are uvarints (zig-zag where they may be negative), strings and lists have
// their length before them. Checksums are the container's.

const codecFormat = 1

// AppendChanges appends the encoding of a list of changes.
func AppendChanges(dst []byte, changes []Change) []byte {
	dst = append(dst, codecFormat)
	dst = binary.AppendUvarint(dst, uint64(len(changes)))
	for i := range changes {
		if o := changes[i].Put; o != nil {
			dst = append(dst, 1)
			dst = appendObject(dst, o)
		} else {
			dst = append(dst, 2)
			dst = append(dst, changes[i].Drop[:]...)
		}
	}
	return dst
}

// DecodeChanges reads what AppendChanges wrote and nothing more. Damaged
// bytes are XX001, a newer format is 0A000.
func DecodeChanges(b []byte) ([]Change, error) {
	d := decoder{b: b}
	if err := d.format(); err != nil {
		return nil, err
	}
	n := d.count(2)
	changes := make([]Change, 0, n)
	for range n {
		var c Change
		switch d.byte() {
		case 1:
			c.Put = d.object()
		case 2:
			c.Drop = d.uuid()
		default:
			d.bad = true
		}
		changes = append(changes, c)
	}
	return changes, d.end("changes")
}

// Append appends the encoding of the whole version.
func (c *Catalog) Append(dst []byte) []byte {
	dst = append(dst, codecFormat)
	dst = binary.AppendUvarint(dst, uint64(c.version))
	dst = binary.AppendUvarint(dst, uint64(c.nextOID))
	objects := c.Objects()
	dst = binary.AppendUvarint(dst, uint64(len(objects)))
	for _, o := range objects {
		dst = appendObject(dst, o)
	}
	return dst
}

// Decode reads what Append wrote and nothing more.
func Decode(b []byte) (*Catalog, error) {
	d := decoder{b: b}
	if err := d.format(); err != nil {
		return nil, err
	}
	c := Empty()
	c.version = types.Version(d.uint())
	next := d.uint32()
	n := d.count(16)
	for range n {
		o := d.object()
		if d.bad || o.OID == 0 || c.byID[o.ID] != nil || c.put(o) != nil {
			return nil, errDamaged("version")
		}
	}
	if err := d.end("version"); err != nil {
		return nil, err
	}
	c.nextOID = max(c.nextOID, next)
	for _, o := range c.byID {
		if c.checkObject(o) != nil {
			return nil, errDamaged("version")
		}
	}
	return c, nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendObject(dst []byte, o *Object) []byte {
	dst = append(dst, o.ID[:]...)
	dst = binary.AppendUvarint(dst, uint64(o.OID))
	dst = append(dst, byte(o.Kind), byte(o.Status))
	dst = appendString(dst, o.Schema)
	dst = appendString(dst, o.Name)
	dst = binary.AppendUvarint(dst, uint64(len(o.Columns)))
	for _, c := range o.Columns {
		dst = binary.AppendUvarint(dst, uint64(c.ID))
		dst = appendString(dst, c.Name)
		dst = append(dst, byte(c.Type.Kind))
		dst = binary.AppendVarint(dst, int64(c.Type.Mod))
		dst = appendBool(dst, c.NotNull)
		dst = appendString(dst, c.Default)
	}
	dst = appendBool(dst, o.Key != nil)
	if o.Key != nil {
		dst = binary.AppendUvarint(dst, uint64(len(o.Key)))
		for _, k := range o.Key {
			dst = binary.AppendUvarint(dst, uint64(k))
		}
	}
	dst = appendString(dst, o.Definition)
	dst = appendString(dst, string(o.Plan))
	dst = binary.AppendUvarint(dst, uint64(len(o.Options)))
	for _, k := range slices.Sorted(maps.Keys(o.Options)) {
		dst = appendString(dst, k)
		dst = appendString(dst, o.Options[k])
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Depends)))
	for _, d := range o.Depends {
		dst = append(dst, d[:]...)
	}
	dst = binary.AppendUvarint(dst, uint64(o.Parallelism))
	dst = appendString(dst, o.Backend)
	dst = binary.AppendUvarint(dst, uint64(o.NumGroups))
	dst = binary.AppendVarint(dst, int64(o.StartTime))
	dst = appendString(dst, o.Relation)
	return binary.AppendUvarint(dst, uint64(o.Created))
}

// decoder takes values off b. Once bad, it gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func errDamaged(what string) error {
	return pgerr.New(pgerr.DataCorrupted, "an encoded catalog is damaged (%s)", what)
}

func (d *decoder) format() error {
	switch f := d.byte(); {
	case d.bad || f == 0:
		return errDamaged("bytes")
	case f > codecFormat:
		return pgerr.New(pgerr.FeatureNotSupported, "catalog format %d is newer than this streamdb", f).
			WithHint("Use the version of streamdb that wrote it, or a later one.")
	}
	return nil
}

func (d *decoder) end(what string) error {
	if d.bad || len(d.b) != 0 {
		return errDamaged(what)
	}
	return nil
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) bool() bool {
	b := d.byte()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uint()
	d.bad = d.bad || v > 1<<32-1
	return uint32(v)
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of elements that take at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uint()
	if d.bad || n > uint64(len(d.b)/size) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) string() string { return string(d.take(d.uint())) }

func (d *decoder) uuid() (u types.UUID) {
	copy(u[:], d.take(16))
	return u
}

func (d *decoder) object() *Object {
	o := &Object{ID: d.uuid(), OID: d.uint32(), Kind: Kind(d.byte()), Status: Status(d.byte())}
	if o.Kind < Table || o.Kind > System || o.Status > Suspended {
		d.bad = true
	}
	o.Schema, o.Name = d.string(), d.string()
	o.Columns = d.columns()
	if d.bool() {
		o.Key = make([]int, d.count(1))
		for i := range o.Key {
			k := d.uint()
			d.bad = d.bad || k >= uint64(len(o.Columns))
			o.Key[i] = int(k)
		}
	}
	o.Definition = d.string()
	if p := d.string(); p != "" {
		o.Plan = []byte(p)
	}
	if n := d.count(2); n > 0 {
		o.Options = make(map[string]string, n)
		for range n {
			k := d.string()
			o.Options[k] = d.string()
		}
	}
	if n := d.count(16); n > 0 {
		o.Depends = make([]types.UUID, n)
		for i := range o.Depends {
			o.Depends[i] = d.uuid()
		}
	}
	o.Parallelism = int(d.uint32())
	o.Backend = d.string()
	o.NumGroups = int(d.uint32())
	o.StartTime = types.Micros(d.int())
	o.Relation = d.string()
	o.Created = types.Epoch(d.uint())
	return o
}

func (d *decoder) columns() []Column {
	n := d.count(6)
	if n == 0 {
		return nil
	}
	cols := make([]Column, n)
	for i := range cols {
		c := &cols[i]
		c.ID, c.Name = d.uint32(), d.string()
		kind, mod := d.byte(), d.int()
		c.Type = types.Type{Kind: types.Kind(kind), Mod: int32(mod)}
		if c.Type.Kind == types.Unknown || !c.Type.Kind.Valid() || int64(c.Type.Mod) != mod {
			d.bad = true
		}
		c.NotNull, c.Default = d.bool(), d.string()
	}
	return cols
}
