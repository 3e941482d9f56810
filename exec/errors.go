package exec

import (
	"encoding/binary"
	"slices"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// maxErrorRows and maxErrorBytes bound the error rows that a job can name.
// Past the bound only their number is kept, which stays exact.
const (
	maxErrorRows  = 10_000
	maxErrorBytes = 4 << 20
)

// StandingError is a row on which an operator's expression fails.
type StandingError struct {
	Op    int
	Image []byte // of the operator's input row; of the group's key for an aggregate
	Err   *pgerr.Error
	Count int64
}

type errorKey struct {
	op    int
	image string
}

type errorEntry struct {
	count int64
	err   *pgerr.Error
}

// errorDelta is what an epoch of a subtask changes about the error rows.
type errorDelta struct {
	rows   map[errorKey]errorEntry
	total  map[int]int64 // by operator, all rows
	bytes  int64
	hidden bool // some rows count in total only
}

func newErrorDelta() *errorDelta {
	return &errorDelta{rows: map[errorKey]errorEntry{}, total: map[int]int64{}}
}

// add takes signed error rows.
func (d *errorDelta) add(r *ErrorRows) {
	for i, diff := range r.Diff {
		d.put(errorKey{op: r.Op, image: string(r.Images.Bytes(i))}, errorEntry{int64(diff), r.Errs[i]})
	}
}

// put sums one row. A row that is not yet there and finds no room is counted.
func (d *errorDelta) put(k errorKey, e errorEntry) {
	d.total[k.op] += e.count
	old, ok := d.rows[k]
	switch {
	case ok && old.count+e.count == 0:
		delete(d.rows, k)
		d.bytes -= int64(len(k.image))
	case ok:
		d.rows[k] = errorEntry{old.count + e.count, e.err}
	case d.hidden || len(d.rows) >= maxErrorRows || d.bytes+int64(len(k.image)) > maxErrorBytes:
		d.hidden = true
	default:
		d.rows[k] = e
		d.bytes += int64(len(k.image))
	}
}

// merge adds what another delta has. Once all rows of an operator are gone,
// so are those that were named.
func (d *errorDelta) merge(o *errorDelta) {
	named := map[int]int64{}
	for k, e := range o.rows {
		d.put(k, e)
		named[k.op] += e.count
	}
	for op, n := range o.total {
		d.total[op] += n - named[op] // the ones that o only counted
		if d.total[op] == 0 {
			delete(d.total, op)
			d.forget(op)
		}
	}
	d.hidden = (d.hidden || o.hidden) && len(d.total) > 0
}

func (d *errorDelta) forget(op int) {
	for k := range d.rows {
		if k.op == op {
			delete(d.rows, k)
			d.bytes -= int64(len(k.image))
		}
	}
}

// list gives the named rows in order of operator and image, and the number of
// all.
func (d *errorDelta) list() (named []StandingError, total int64) {
	for _, n := range d.total {
		total += n
	}
	for k, e := range d.rows {
		if e.count > 0 {
			named = append(named, StandingError{Op: k.op, Image: []byte(k.image), Err: e.err, Count: e.count})
		}
	}
	slices.SortFunc(named, func(a, b StandingError) int {
		if a.Op != b.Op {
			return a.Op - b.Op
		}
		return slices.Compare(a.Image, b.Image)
	})
	return named, total
}

// errorsFormat is the version of the encoding of Part.Errors:
//
//	byte version, uvarint n, n totals (uvarint operator, varint rows),
//	uvarint n, n rows (uvarint operator, bytes image, varint count, and the
//	error: bytes code, message, detail, hint, uvarint position),
//	bytes being a uvarint length and the bytes.
const errorsFormat = 1

// encode gives Part.Errors, nil if there are none.
func (d *errorDelta) encode() []byte {
	if len(d.total) == 0 {
		return nil
	}
	b := []byte{errorsFormat}
	b = binary.AppendUvarint(b, uint64(len(d.total)))
	ops := make([]int, 0, len(d.total))
	for op := range d.total {
		ops = append(ops, op)
	}
	slices.Sort(ops)
	for _, op := range ops {
		b = binary.AppendUvarint(b, uint64(op))
		b = binary.AppendVarint(b, d.total[op])
	}
	keys := make([]errorKey, 0, len(d.rows))
	for k := range d.rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y errorKey) int {
		if x.op != y.op {
			return x.op - y.op
		}
		return slices.Compare([]byte(x.image), []byte(y.image))
	})
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		e := d.rows[k]
		b = binary.AppendUvarint(b, uint64(k.op))
		b = appendString(b, k.image)
		b = binary.AppendVarint(b, e.count)
		for _, s := range [...]string{string(e.err.Code), e.err.Message, e.err.Detail, e.err.Hint} {
			b = appendString(b, s)
		}
		b = binary.AppendUvarint(b, uint64(e.err.Position))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decodeErrors reads what encode wrote.
func decodeErrors(b []byte) (*errorDelta, error) {
	d := newErrorDelta()
	if len(b) == 0 {
		return d, nil
	}
	if b[0] != errorsFormat {
		return nil, pgerr.New(pgerr.DataCorrupted, "the checkpoint's error rows have format %d, which this version does not know", b[0])
	}
	r := errorReader{b: b[1:]}
	totals := map[int]int64{}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		op := int(r.uvarint())
		totals[op] = r.varint()
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		k := errorKey{op: int(r.uvarint()), image: r.str()}
		e := errorEntry{count: r.varint()}
		e.err = &pgerr.Error{Code: pgerr.Code(r.str()), Message: r.str(), Detail: r.str(), Hint: r.str()}
		e.err.Position = int(r.uvarint())
		d.put(k, e)
	}
	if r.bad || len(r.b) != 0 {
		return nil, pgerr.New(pgerr.DataCorrupted, "the checkpoint's error rows are damaged")
	}
	for op, n := range totals {
		if d.total[op] != n {
			d.total[op], d.hidden = n, true
		}
	}
	return d, nil
}

// errorReader takes values off bytes; once bad it gives zeros.
type errorReader struct {
	b   []byte
	bad bool
}

func (r *errorReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *errorReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *errorReader) str() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
