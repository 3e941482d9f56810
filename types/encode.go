package types

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
)

// The two row encodings. Image is exact and used for rows themselves:
// retractions, bags, views. Key is SQL's equality and order: GROUP BY,
// DISTINCT, joins, ORDER BY, key groups.

// OrderSpec is how one column sorts. The zero value is PostgreSQL's default:
// ascending, NULLs last.
type OrderSpec struct {
	Desc       bool
	NullsFirst bool
}

// AppendKey appends the equality encoding of row r of v: equal SQL values
// give equal bytes, and bytes.Compare orders as SQL does ascending with NULLs
// last. Encodings are self-delimiting, so keys of several columns are the
// concatenation of theirs.
func AppendKey(dst []byte, v *Vec, r int) []byte { return AppendOrder(dst, v, r, OrderSpec{}) }

// The first byte of every order encoding.
const (
	orderNullFirst = 0x00
	orderValue     = 0x01
	orderNullLast  = 0x02
)

// AppendOrder appends the order encoding of row r of v: bytes.Compare of two
// of them orders as SQL does under o, and equal SQL values give equal bytes.
//
// Format: a marker byte (null first, value, null last), then the value,
// inverted bytewise if o.Desc. Bool is one byte; int4 and date are 4, int8
// and timestamps 8 bytes big-endian with the sign flipped; float8 is its
// bits, inverted if negative, sign flipped if not, with -0 as 0 and every NaN
// as the greatest; text is its bytes and 0x00; interval is its length in µs
// (a month is 30 days, a day 24 hours) as 10 bytes big-endian with the sign
// flipped; numeric is described at appendNumericOrder, the kinds after interval
// at appendOrderOther, arrays at appendArrayOrder. Frozen: hashes of it place rows in key groups.
func AppendOrder(dst []byte, v *Vec, r int, o OrderSpec) []byte {
	if v.Null(r) {
		return appendOrderNull(dst, o)
	}
	start := len(dst) + 1
	switch v.Type.Kind {
	case Int8, Timestamp, Timestamptz, Time:
		dst = appendOrderInt64(dst, v.I64[r])
	case Int4, Date:
		dst = appendOrderInt32(dst, v.I64[r])
	case Bool:
		dst = appendOrderBool(dst, v.Bool[r])
	case Float8, Float4:
		dst = appendOrderFloat(dst, v.F64[r])
	case Interval:
		dst = appendOrderInterval(dst, v.Iv[r])
	case Numeric:
		dst = appendNumericOrder(append(dst, orderValue), v.Bytes(r))
	case Int2, Oid, Timetz, Bpchar, Bytea, Uuid, Jsonb:
		dst = appendOrderOther(dst, v.Datum(r))
	default:
		if v.Type.Kind&arrayBit != 0 {
			dst = appendArrayOrder(append(dst, orderValue), v.Datum(r))
			break
		}
		s := v.Span[r]
		dst = append(dst, orderValue)
		dst = append(dst, v.Data[s.Off:s.Off+s.Len]...)
		dst = append(dst, 0)
	}
	if o.Desc {
		invert(dst[start:])
	}
	return dst
}

// AppendOrderDatum is AppendOrder for a single value.
func AppendOrderDatum(dst []byte, d Datum, o OrderSpec) []byte {
	if d.Null {
		return appendOrderNull(dst, o)
	}
	start := len(dst) + 1
	switch d.Type.Kind {
	case Int8, Timestamp, Timestamptz, Time:
		dst = appendOrderInt64(dst, d.I)
	case Int4, Date:
		dst = appendOrderInt32(dst, d.I)
	case Bool:
		dst = appendOrderBool(dst, d.I != 0)
	case Float8, Float4:
		dst = appendOrderFloat(dst, d.F)
	case Interval:
		dst = appendOrderInterval(dst, d.Iv)
	case Numeric:
		dst = appendNumericOrder(append(dst, orderValue), d.B)
	case Int2, Oid, Timetz, Bpchar, Bytea, Uuid, Jsonb:
		dst = appendOrderOther(dst, d)
	default:
		if d.Type.Kind&arrayBit != 0 {
			dst = appendArrayOrder(append(dst, orderValue), d)
			break
		}
		dst = append(dst, orderValue)
		dst = append(dst, d.B...)
		dst = append(dst, 0)
	}
	if o.Desc {
		invert(dst[start:])
	}
	return dst
}

// AppendKeyDatum is AppendKey for a single value.
func AppendKeyDatum(dst []byte, d Datum) []byte { return AppendOrderDatum(dst, d, OrderSpec{}) }

func appendOrderNull(dst []byte, o OrderSpec) []byte {
	if o.NullsFirst {
		return append(dst, orderNullFirst)
	}
	return append(dst, orderNullLast)
}

func appendOrderInt64(dst []byte, i int64) []byte {
	u := uint64(i) ^ 1<<63
	return append(dst, orderValue, byte(u>>56), byte(u>>48), byte(u>>40), byte(u>>32),
		byte(u>>24), byte(u>>16), byte(u>>8), byte(u))
}

func appendOrderInt32(dst []byte, i int64) []byte {
	u := uint32(i) ^ 1<<31
	return append(dst, orderValue, byte(u>>24), byte(u>>16), byte(u>>8), byte(u))
}

func appendOrderBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, orderValue, 1)
	}
	return append(dst, orderValue, 0)
}

func appendOrderFloat(dst []byte, f float64) []byte {
	u := uint64(math.MaxUint64)
	switch {
	case f == 0: // also -0
		u = 1 << 63
	case f < 0:
		u = ^math.Float64bits(f)
	case f > 0:
		u = math.Float64bits(f) | 1<<63
	}
	return append(dst, orderValue, byte(u>>56), byte(u>>48), byte(u>>40), byte(u>>32),
		byte(u>>24), byte(u>>16), byte(u>>8), byte(u))
}

func appendOrderInterval(dst []byte, iv IntervalValue) []byte {
	hi, lo := iv.span()
	h := uint16(hi) ^ 1<<15 // |span| < 2^79
	dst = append(dst, orderValue, byte(h>>8), byte(h))
	return binary.BigEndian.AppendUint64(dst, lo)
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

// span gives the length of the interval in µs as a signed 128-bit number, by
// PostgreSQL's rule for comparison: a month is 30 days, a day is 24 hours.
func (iv IntervalValue) span() (hi int64, lo uint64) {
	days := int64(iv.Months)*30 + int64(iv.Days)
	neg := days < 0
	if neg {
		days = -days
	}
	h, l := bits.Mul64(uint64(days), uint64(microsPerDay))
	if neg {
		var b uint64
		l, b = bits.Sub64(0, l, 0)
		h, _ = bits.Sub64(0, h, b)
	}
	l, c := bits.Add64(l, uint64(iv.Micros), 0)
	h, _ = bits.Add64(h, uint64(iv.Micros>>63), c)
	return int64(h), l
}

// CompareInterval orders two intervals as PostgreSQL does: -1, 0 or 1.
func CompareInterval(a, b IntervalValue) int {
	ah, al := a.span()
	bh, bl := b.span()
	switch {
	case ah < bh:
		return -1
	case ah > bh:
		return 1
	case al < bl:
		return -1
	case al > bl:
		return 1
	}
	return 0
}

// CompareFloat orders two float8 as PostgreSQL does: -0 equals 0, NaN equals
// NaN and is the greatest.
func CompareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	case math.IsNaN(a) && math.IsNaN(b):
		return 0
	case math.IsNaN(a):
		return 1
	}
	return -1
}

// CompareDatum orders two values of one kind in SQL's ascending order with
// NULLs last, NULLs being equal: -1, 0 or 1.
func CompareDatum(a, b Datum) int {
	if a.Null || b.Null {
		switch {
		case a.Null && b.Null:
			return 0
		case a.Null:
			return 1
		}
		return -1
	}
	switch a.Type.Kind {
	case Bool, Int4, Int8, Date, Timestamp, Timestamptz, Int2, Oid, Time:
		switch {
		case a.I < b.I:
			return -1
		case a.I > b.I:
			return 1
		}
		return 0
	case Float8, Float4:
		return CompareFloat(a.F, b.F)
	case Interval:
		return CompareInterval(a.Iv, b.Iv)
	case Timetz:
		return CompareTimetz(a.Iv, b.Iv)
	case Numeric:
		return NumCmp(DecodeNumeric(a.B), DecodeNumeric(b.B))
	case Bpchar:
		return bytes.Compare(TrimBlanks(a.B), TrimBlanks(b.B))
	case Jsonb:
		return CompareJSONB(a.B, b.B)
	default:
		if a.Type.Kind&arrayBit != 0 {
			return CompareArrays(a.Type.Kind, a.B, b.B)
		}
		return bytes.Compare(a.B, b.B)
	}
}
