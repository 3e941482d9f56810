package types

// Span is a value's place in a byte buffer.
type Span struct{ Off, Len uint32 }

// IntervalValue is PostgreSQL's interval: three fields that do not carry
// into each other.
type IntervalValue struct {
	Months int32
	Days   int32
	Micros int64
}

// Bitmap is a set of row numbers, bit i of word i/64. A nil Bitmap is empty.
type Bitmap []uint64

// Get reports whether i is in the set.
func (b Bitmap) Get(i int) bool { return b != nil && b[i>>6]&(1<<(uint(i)&63)) != 0 }

// Set adds i; the bitmap must be long enough (see MakeBitmap).
func (b Bitmap) Set(i int) { b[i>>6] |= 1 << (uint(i) & 63) }

// Clear removes i.
func (b Bitmap) Clear(i int) { b[i>>6] &^= 1 << (uint(i) & 63) }

// Any reports whether the set has a member.
func (b Bitmap) Any() bool {
	for _, w := range b {
		if w != 0 {
			return true
		}
	}
	return false
}

// MakeBitmap gives an empty set that can hold 0..n-1, reusing b's memory if
// it is large enough.
func MakeBitmap(b Bitmap, n int) Bitmap {
	w := (n + 63) >> 6
	if cap(b) < w {
		return make(Bitmap, w)
	}
	b = b[:w]
	clear(b)
	return b
}

// Vec is a column of values. Which slice is used follows from Type's Phys;
// the others are nil. Nulls has a bit set for each NULL row and is nil if
// there is none; the value slot of a NULL row holds anything valid to read
// (for PhysBytes: a Span inside Data), never relied on.
//
// PhysBytes values are Spans into Data, so a gather copies eight bytes a row
// and shares Data; several rows may share one Span's bytes.
//
// Whoever receives a Vec from another operator must not change what its
// slices point at.
type Vec struct {
	Type  Type
	Nulls Bitmap
	Bool  []bool
	I64   []int64
	F64   []float64
	Iv    []IntervalValue
	Span  []Span
	Data  []byte
	// Shared says that Data belongs to another vector or to everyone: it is
	// never appended to, and let go instead of reused.
	Shared bool
}

// Len gives the number of physical rows.
func (v *Vec) Len() int {
	switch v.Type.Kind.Phys() {
	case PhysBool:
		return len(v.Bool)
	case PhysInt64:
		return len(v.I64)
	case PhysFloat64:
		return len(v.F64)
	case PhysInterval:
		return len(v.Iv)
	default:
		return len(v.Span)
	}
}

// Null reports whether row i is NULL.
func (v *Vec) Null(i int) bool { return v.Nulls.Get(i) }

// Bytes gives row i of a PhysBytes vector, valid as long as the vector.
func (v *Vec) Bytes(i int) []byte {
	s := v.Span[i]
	return v.Data[s.Off : s.Off+s.Len : s.Off+s.Len]
}

// Reset makes v an empty vector of type t, keeping its memory.
func (v *Vec) Reset(t Type) {
	v.Type = t
	v.Nulls = nil
	v.Bool, v.I64, v.F64, v.Iv = v.Bool[:0], v.I64[:0], v.F64[:0], v.Iv[:0]
	v.Span = v.Span[:0]
	v.emptyData()
}

// emptyData empties Data, keeping its memory if it is v's own.
func (v *Vec) emptyData() {
	if v.Shared {
		v.Data, v.Shared = nil, false
	}
	v.Data = v.Data[:0]
}

// ownData makes Data fit to be appended to.
func (v *Vec) ownData() {
	if v.Shared {
		v.Data, v.Shared = append([]byte(nil), v.Data...), false
	}
}

// Resize makes v hold n rows of type t with undefined values and no NULLs,
// reusing memory; Data is emptied.
func (v *Vec) Resize(t Type, n int) {
	v.Type = t
	v.Nulls = nil
	v.emptyData()
	switch t.Kind.Phys() {
	case PhysBool:
		v.Bool = grow(v.Bool, n)
	case PhysInt64:
		v.I64 = grow(v.I64, n)
	case PhysFloat64:
		v.F64 = grow(v.F64, n)
	case PhysInterval:
		v.Iv = grow(v.Iv, n)
	default:
		v.Span = grow(v.Span, n)
	}
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// SetNull marks row i of an n-row vector NULL and gives it a readable slot.
func (v *Vec) SetNull(i int) {
	if v.Nulls == nil {
		v.Nulls = make(Bitmap, (v.Len()+63)>>6)
	}
	v.Nulls.Set(i)
	if v.Type.Kind.Phys() == PhysBytes {
		v.Span[i] = Span{}
	}
}

// SetBytes gives row i of a PhysBytes vector a copy of b.
func (v *Vec) SetBytes(i int, b []byte) {
	v.ownData()
	v.Span[i] = Span{Off: uint32(len(v.Data)), Len: uint32(len(b))}
	v.Data = append(v.Data, b...)
}

// Append adds one value. Row-at-a-time: for edges and tests, not hot loops.
func (v *Vec) Append(d Datum) {
	n := v.Len()
	switch v.Type.Kind.Phys() {
	case PhysBool:
		v.Bool = append(v.Bool, d.I != 0)
	case PhysInt64:
		v.I64 = append(v.I64, d.I)
	case PhysFloat64:
		v.F64 = append(v.F64, d.F)
	case PhysInterval:
		v.Iv = append(v.Iv, d.Iv)
	default:
		v.ownData()
		v.Span = append(v.Span, Span{Off: uint32(len(v.Data)), Len: uint32(len(d.B))})
		v.Data = append(v.Data, d.B...)
	}
	if v.Nulls != nil && len(v.Nulls) <= n>>6 {
		v.Nulls = append(v.Nulls, 0)
	}
	if d.Null {
		for len(v.Nulls) <= n>>6 {
			v.Nulls = append(v.Nulls, 0)
		}
		v.Nulls.Set(n)
	}
}

// Datum gives row i as a single value, its bytes shared with the vector.
func (v *Vec) Datum(i int) Datum {
	d := Datum{Type: v.Type}
	if v.Null(i) {
		d.Null = true
		return d
	}
	switch v.Type.Kind.Phys() {
	case PhysBool:
		if v.Bool[i] {
			d.I = 1
		}
	case PhysInt64:
		d.I = v.I64[i]
	case PhysFloat64:
		d.F = v.F64[i]
	case PhysInterval:
		d.Iv = v.Iv[i]
	default:
		d.B = v.Bytes(i)
	}
	return d
}

// Gather makes dst the rows of v named by sel, in order. PhysBytes shares
// v's Data.
func (v *Vec) Gather(dst *Vec, sel []uint16) {
	dst.Type = v.Type
	dst.Nulls = nil
	switch v.Type.Kind.Phys() {
	case PhysBool:
		dst.Bool = gather(dst.Bool, v.Bool, sel)
	case PhysInt64:
		dst.I64 = gather(dst.I64, v.I64, sel)
	case PhysFloat64:
		dst.F64 = gather(dst.F64, v.F64, sel)
	case PhysInterval:
		dst.Iv = gather(dst.Iv, v.Iv, sel)
	default:
		dst.Span = gather(dst.Span, v.Span, sel)
		dst.Data, dst.Shared = v.Data, true
	}
	if v.Nulls != nil {
		dst.Nulls = MakeBitmap(nil, len(sel))
		for i, r := range sel {
			if v.Nulls.Get(int(r)) {
				dst.Nulls.Set(i)
			}
		}
	}
}

func gather[T any](dst, src []T, sel []uint16) []T {
	dst = grow(dst, len(sel))
	for i, r := range sel {
		dst[i] = src[r]
	}
	return dst
}

// Datum is one value, for literals, parameters, the wire and tests; the data
// path works on Vecs. I holds Bool (0, 1) and every PhysInt64 kind; B holds
// PhysBytes values (Text: UTF-8; Numeric: its image).
type Datum struct {
	Type Type
	Null bool
	I    int64
	F    float64
	Iv   IntervalValue
	B    []byte
}

// NullOf is NULL of type t.
func NullOf(t Type) Datum { return Datum{Type: t, Null: true} }

// NewBool, NewInt8, NewInt4, NewFloat8 and NewText make non-NULL values.
func NewBool(b bool) Datum {
	d := Datum{Type: T(Bool)}
	if b {
		d.I = 1
	}
	return d
}

// NewInt8 makes a bigint.
func NewInt8(i int64) Datum { return Datum{Type: T(Int8), I: i} }

// NewInt4 makes an integer.
func NewInt4(i int32) Datum { return Datum{Type: T(Int4), I: int64(i)} }

// NewFloat8 makes a double precision.
func NewFloat8(f float64) Datum { return Datum{Type: T(Float8), F: f} }

// NewText makes a text.
func NewText(s string) Datum { return Datum{Type: T(Text), B: []byte(s)} }
