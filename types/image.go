package types

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

// Image format: one bit per column set for NULL (column i is bit i%8 of byte
// i/8, the rest 0), then the values that are not NULL in column order: bool 1
// byte, int2 2, int4, oid and date 4, int8, time and timestamps 8, floats 8
// bits of a float8 with one form of NaN, interval (and timetz) 8 µs + 4 days +
// 4 months, all little-endian; the others a uvarint length and the bytes. A row has exactly one image.

// errImage is what DecodeImage says of bytes that are no image of the types.
var errImage = errors.New("malformed row image")

// AppendImage appends the exact image of columns cols (nil: all) of row r.
func AppendImage(dst []byte, c *Chunk, r int, cols []int) []byte {
	n := len(cols)
	if cols == nil {
		n = len(c.Cols)
	}
	head := len(dst)
	for i := 0; i < n; i += 8 {
		dst = append(dst, 0)
	}
	for i := 0; i < n; i++ {
		ci := i
		if cols != nil {
			ci = cols[i]
		}
		v := &c.Cols[ci]
		if v.Null(r) {
			dst[head+i>>3] |= 1 << (i & 7)
			continue
		}
		dst = appendImageValue(dst, v, r)
	}
	return dst
}

func appendImageValue(dst []byte, v *Vec, r int) []byte {
	switch v.Type.Kind {
	case Int8, Timestamp, Timestamptz, Time:
		return binary.LittleEndian.AppendUint64(dst, uint64(v.I64[r]))
	case Int4, Date, Oid:
		return binary.LittleEndian.AppendUint32(dst, uint32(v.I64[r]))
	case Int2:
		return binary.LittleEndian.AppendUint16(dst, uint16(v.I64[r]))
	case Bool:
		if v.Bool[r] {
			return append(dst, 1)
		}
		return append(dst, 0)
	case Float8, Float4:
		return binary.LittleEndian.AppendUint64(dst, floatImage(v.F64[r]))
	case Interval, Timetz:
		return appendImageInterval(dst, v.Iv[r])
	default:
		s := v.Span[r]
		dst = binary.AppendUvarint(dst, uint64(s.Len))
		return append(dst, v.Data[s.Off:s.Off+s.Len]...)
	}
}

func appendImageInterval(dst []byte, iv IntervalValue) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(iv.Micros))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(iv.Days))
	return binary.LittleEndian.AppendUint32(dst, uint32(iv.Months))
}

// floatImage is the bits of f, with one NaN: PostgreSQL cannot tell NaNs
// apart, so a retraction must not either.
func floatImage(f float64) uint64 {
	if f != f {
		return 0x7ff8000000000000
	}
	return math.Float64bits(f)
}

// AppendImageDatum appends the image of the one-column row (d).
func AppendImageDatum(dst []byte, d Datum) []byte {
	if d.Null {
		return append(dst, 1)
	}
	dst = append(dst, 0)
	switch d.Type.Kind {
	case Int8, Timestamp, Timestamptz, Time:
		return binary.LittleEndian.AppendUint64(dst, uint64(d.I))
	case Int4, Date, Oid:
		return binary.LittleEndian.AppendUint32(dst, uint32(d.I))
	case Int2:
		return binary.LittleEndian.AppendUint16(dst, uint16(d.I))
	case Bool:
		return append(dst, byte(d.I&1))
	case Float8, Float4:
		return binary.LittleEndian.AppendUint64(dst, floatImage(d.F))
	case Interval, Timetz:
		return appendImageInterval(dst, d.Iv)
	default:
		dst = binary.AppendUvarint(dst, uint64(len(d.B)))
		return append(dst, d.B...)
	}
}

// ImageEqual reports whether two images are of the same row.
func ImageEqual(a, b []byte) bool { return bytes.Equal(a, b) }

// DatumEqualImage reports whether two values of one kind are the same
// exactly (1.0 is not 1.00); NULLs are.
func DatumEqualImage(a, b Datum) bool {
	if a.Null || b.Null {
		return a.Null == b.Null
	}
	switch a.Type.Kind.Phys() {
	case PhysBool, PhysInt64:
		return a.I == b.I
	case PhysFloat64:
		return floatImage(a.F) == floatImage(b.F)
	case PhysInterval:
		return a.Iv == b.Iv
	default:
		return bytes.Equal(a.B, b.B)
	}
}

// DecodeImage appends the row of which image is the image to cols, whose
// types are set. The bytes are copied. Bytes that are no image of these types
// are an error, and cols stay as they were.
func DecodeImage(image []byte, cols []Vec) error {
	h := (len(cols) + 7) >> 3
	if len(image) < h {
		return errImage
	}
	if used := len(cols) & 7; used != 0 && image[h-1]>>used != 0 {
		return errImage
	}
	var ok bool
	nulls, b := image[:h], image[h:]
	for i := range cols {
		v := &cols[i]
		if nulls[i>>3]&(1<<(i&7)) != 0 {
			v.AppendNull()
			continue
		}
		if b, ok = v.appendImageBytes(b); !ok {
			truncateRow(cols[:i])
			return errImage
		}
	}
	if len(b) != 0 {
		truncateRow(cols)
		return errImage
	}
	return nil
}

// truncateRow takes the last row off each vector.
func truncateRow(cols []Vec) {
	for i := range cols {
		cols[i].truncate(cols[i].Len() - 1)
	}
}

// truncate makes v its first n rows. Data is left: nothing names its end.
func (v *Vec) truncate(n int) {
	for i := n; i < v.Len() && v.Nulls != nil; i++ {
		v.Nulls.Clear(i)
	}
	switch v.Type.Kind.Phys() {
	case PhysBool:
		v.Bool = v.Bool[:n]
	case PhysInt64:
		v.I64 = v.I64[:n]
	case PhysFloat64:
		v.F64 = v.F64[:n]
	case PhysInterval:
		v.Iv = v.Iv[:n]
	default:
		v.Span = v.Span[:n]
	}
}

// AppendNull adds a NULL.
func (v *Vec) AppendNull() {
	n := v.Len()
	switch v.Type.Kind.Phys() {
	case PhysBool:
		v.Bool = append(v.Bool, false)
	case PhysInt64:
		v.I64 = append(v.I64, 0)
	case PhysFloat64:
		v.F64 = append(v.F64, 0)
	case PhysInterval:
		v.Iv = append(v.Iv, IntervalValue{})
	default:
		v.Span = append(v.Span, Span{})
	}
	for len(v.Nulls) <= n>>6 {
		v.Nulls = append(v.Nulls, 0)
	}
	v.Nulls.Set(n)
}

// appendImageBytes takes one value of v's type off b and adds it to v.
func (v *Vec) appendImageBytes(b []byte) (rest []byte, ok bool) {
	n := v.Len()
	switch k := v.Type.Kind; k.Phys() {
	case PhysBool:
		if len(b) < 1 || b[0] > 1 {
			return b, false
		}
		v.Bool = append(v.Bool, b[0] == 1)
		b = b[1:]
	case PhysInt64:
		w := k.width()
		if len(b) < w {
			return b, false
		}
		v.I64 = append(v.I64, readInt(b, k))
		b = b[w:]
	case PhysFloat64:
		if len(b) < 8 {
			return b, false
		}
		v.F64 = append(v.F64, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		b = b[8:]
	case PhysInterval:
		if len(b) < 16 {
			return b, false
		}
		v.Iv = append(v.Iv, readInterval(b))
		b = b[16:]
	default:
		l, w := binary.Uvarint(b)
		if w <= 0 || w > 1 && b[w-1] == 0 || l > uint64(len(b)-w) { // one form of a length only
			return b, false
		}
		val := b[w : w+int(l)]
		if !ValidBytes(k, val) {
			return b, false
		}
		v.Span = append(v.Span, Span{Off: uint32(len(v.Data)), Len: uint32(l)})
		v.Data = append(v.Data, val...)
		b = b[w+int(l):]
	}
	if v.Nulls != nil && len(v.Nulls) <= n>>6 {
		v.Nulls = append(v.Nulls, 0)
	}
	return b, true
}

// width gives the bytes of a fixed-width value in images and chunks, 0 for
// text and numeric.
func (k Kind) width() int {
	switch k {
	case Bool:
		return 1
	case Int2:
		return 2
	case Int4, Date, Oid:
		return 4
	case Int8, Timestamp, Timestamptz, Time, Float8, Float4:
		return 8
	case Interval, Timetz:
		return 16
	default:
		return 0
	}
}

func readInt(b []byte, k Kind) int64 {
	switch k {
	case Int2:
		return int64(int16(binary.LittleEndian.Uint16(b)))
	case Int4, Date:
		return int64(int32(binary.LittleEndian.Uint32(b)))
	case Oid:
		return int64(binary.LittleEndian.Uint32(b))
	}
	return int64(binary.LittleEndian.Uint64(b))
}

// ValidBytes reports whether b can be a value of a PhysBytes kind.
func ValidBytes(k Kind, b []byte) bool {
	switch k {
	case Numeric:
		return ValidNumeric(b)
	case Uuid:
		return len(b) == 16
	case Char:
		return len(b) == 0 || len(b) == 1 && b[0] != 0
	}
	if k&arrayBit != 0 {
		_, ok := decodeArray(k, b)
		return ok
	}
	return true
}

func readInterval(b []byte) IntervalValue {
	return IntervalValue{
		Micros: int64(binary.LittleEndian.Uint64(b)),
		Days:   int32(binary.LittleEndian.Uint32(b[8:])),
		Months: int32(binary.LittleEndian.Uint32(b[12:])),
	}
}

// ByteBatch is a batch of byte strings in one buffer.
type ByteBatch struct {
	Data []byte
	Span []Span
}

// Len gives the number of strings.
func (b *ByteBatch) Len() int { return len(b.Span) }

// Bytes gives string i, valid until the batch is reset.
func (b *ByteBatch) Bytes(i int) []byte {
	s := b.Span[i]
	return b.Data[s.Off : s.Off+s.Len : s.Off+s.Len]
}

// Reset empties the batch and keeps its memory.
func (b *ByteBatch) Reset() { b.Data, b.Span = b.Data[:0], b.Span[:0] }

// Add appends a copy of s.
func (b *ByteBatch) Add(s []byte) {
	b.Span = append(b.Span, Span{Off: uint32(len(b.Data)), Len: uint32(len(s))})
	b.Data = append(b.Data, s...)
}

// EncodeImages makes b the images of columns cols (nil: all) of c's selected
// rows, in their order.
func (b *ByteBatch) EncodeImages(c *Chunk, cols []int) {
	b.Reset()
	for k, n := 0, c.Rows(); k < n; k++ {
		off := len(b.Data)
		b.Data = AppendImage(b.Data, c, c.Row(k), cols)
		b.Span = append(b.Span, Span{Off: uint32(off), Len: uint32(len(b.Data) - off)})
	}
}
