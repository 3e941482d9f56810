package file

import (
	"math"
	"strconv"
	"unsafe"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// rows builds a chunk row by row, each value straight into its column. The
// row under construction is row n; a record that turns out wrong leaves it to
// the next one.
type rows struct {
	schema types.Schema
	types  []types.Type
	chunk  *types.Chunk
	n      int
	row    uint64   // number of the row under construction, for set
	set    []uint64 // the row that last gave a value to each column
	bytes  []int    // size hint of each column's Data
}

func newRows(s types.Schema) *rows {
	return &rows{schema: s, types: s.Types(), set: make([]uint64, len(s)), bytes: make([]int, len(s))}
}

// begin makes the empty chunk c the one to fill with up to max rows.
func (r *rows) begin(c *types.Chunk, max int) {
	r.chunk, r.n = c, 0
	c.Diff, c.Sel, c.N = nil, nil, 0
	for i := range c.Cols {
		v := &c.Cols[i]
		v.Data = nil // may have been shared when the chunk was used before
		v.Resize(r.types[i], max)
		if v.Type.Kind.Phys() == types.PhysBytes {
			v.Data = make([]byte, 0, r.bytes[i])
		}
	}
}

// end gives the chunk its length and makes the columns that are not needed
// NULL.
func (r *rows) end(needed []bool) {
	c := r.chunk
	c.N = r.n
	for i := range c.Cols {
		v := &c.Cols[i]
		// Little more than this is wanted next time, if that is as long.
		r.bytes[i] = len(v.Data) + len(v.Data)/8
		switch v.Type.Kind.Phys() {
		case types.PhysBool:
			v.Bool = v.Bool[:r.n]
		case types.PhysInt64:
			v.I64 = v.I64[:r.n]
		case types.PhysFloat64:
			v.F64 = v.F64[:r.n]
		case types.PhysInterval:
			v.Iv = v.Iv[:r.n]
		default:
			v.Span = v.Span[:r.n]
		}
		switch {
		case !needed[i]:
			connector.SetNulls(v, r.n)
			v.Data = nil
		case v.Nulls != nil:
			v.Nulls = v.Nulls[:(r.n+63)>>6]
			if r.n&63 != 0 {
				v.Nulls[r.n>>6] &= 1<<(r.n&63) - 1 // of a row that was rejected
			}
			if !v.Nulls.Any() {
				v.Nulls = nil
			}
		}
	}
}

// beginRow starts the row under construction, also again.
func (r *rows) beginRow() { r.row++ }

// has notes that column i has a value that is not NULL, and gives its vector.
func (r *rows) has(i int) *types.Vec {
	v := &r.chunk.Cols[i]
	r.set[i] = r.row
	if v.Nulls != nil {
		v.Nulls.Clear(r.n)
	}
	return v
}

// null makes column i NULL.
func (r *rows) null(i int) { r.set[i] = 0 }

// endRow makes the columns without a value NULL.
func (r *rows) endRow() error {
	for i, row := range r.set {
		if row == r.row {
			continue
		}
		if r.schema[i].NotNull {
			return pgerr.New(pgerr.NotNullViolation, "null value in column %q violates not-null constraint", r.schema[i].Name)
		}
		r.chunk.Cols[i].SetNull(r.n)
	}
	return nil
}

// setBool gives column i a boolean.
func (r *rows) setBool(i int, b bool) { r.has(i).Bool[r.n] = b }

// setText gives column i of type text a value that needs no checks.
func (r *rows) setText(i int, b []byte) { r.has(i).SetBytes(r.n, b) }

// isText reports whether column i takes any text as it is.
func (r *rows) isText(i int) bool { return r.types[i].Kind == types.Text && r.types[i].Mod < 0 }

// parse gives column i the value that b is the text input of.
func (r *rows) parse(i int, b []byte) error {
	t := r.types[i]
	switch t.Kind {
	case types.Text:
		if t.Mod < 0 {
			if err := types.CheckText(b); err != nil {
				return r.inColumn(i, err)
			}
			r.setText(i, b)
			return nil
		}
	case types.Int8, types.Int4:
		if n, ok := parseInt(b); ok && (t.Kind == types.Int8 || n == int64(int32(n))) {
			r.has(i).I64[r.n] = n
			return nil
		}
	case types.Float8:
		if f, err := strconv.ParseFloat(text(b), 64); err == nil && isNumber(b) && (f != 0 || b[0] == '0') {
			r.has(i).F64[r.n] = f
			return nil
		}
	case types.Numeric:
		if t.Mod < 0 && len(b) <= 30 {
			if n, err := types.ParseNumeric(text(b)); err == nil {
				v := r.has(i)
				off := len(v.Data)
				v.Data = n.Append(v.Data)
				v.Span[r.n] = types.Span{Off: uint32(off), Len: uint32(len(v.Data) - off)}
				return nil
			}
		}
	}
	d, err := types.ParseText(t, text(b))
	if err != nil {
		return r.inColumn(i, err)
	}
	v := r.has(i)
	switch t.Kind.Phys() {
	case types.PhysBool:
		v.Bool[r.n] = d.I != 0
	case types.PhysInt64:
		v.I64[r.n] = d.I
	case types.PhysFloat64:
		v.F64[r.n] = d.F
	case types.PhysInterval:
		v.Iv[r.n] = d.Iv
	default:
		v.SetBytes(r.n, d.B)
	}
	return nil
}

// inColumn names the column in an error.
func (r *rows) inColumn(i int, err error) error {
	e := *pgerr.From(err)
	e.Column = r.schema[i].Name
	if e.Detail == "" {
		e.Detail = "Column " + strconv.Quote(e.Column) + "."
	}
	return &e
}

// text is b as a string for the time of a call that does not keep it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parseInt reads plain decimal digits with an optional minus; false for
// anything else, also what overflows.
func parseInt(b []byte) (int64, bool) {
	d := b
	if len(b) > 0 && b[0] == '-' {
		d = b[1:]
	}
	if len(d) == 0 || len(d) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range d {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(d) < len(b) {
		n = -n
	}
	return n, true
}

// isNumber reports whether b is made of the characters of decimal floats
// only, so that Go and PostgreSQL read it alike.
func isNumber(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return false
		}
	}
	return len(b) > 0 && len(b) < math.MaxUint8
}
