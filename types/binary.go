package types

import (
	"encoding/binary"
	"math"
	"math/big"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// AppendBinary appends a value in the binary form of PostgreSQL's wire. NULL
// appends nothing.
func AppendBinary(dst []byte, d Datum) []byte {
	if d.Null {
		return dst
	}
	switch d.Type.Kind {
	case Bool:
		return append(dst, byte(d.I&1))
	case Int4, Date:
		return binary.BigEndian.AppendUint32(dst, uint32(d.I))
	case Int8, Timestamp, Timestamptz:
		return binary.BigEndian.AppendUint64(dst, uint64(d.I))
	case Float8:
		return binary.BigEndian.AppendUint64(dst, floatImage(d.F))
	case Numeric:
		return appendNumericBinary(dst, DecodeNumeric(d.B))
	case Int2, Oid, Float4, Time, Timetz, Char, Jsonb:
		return appendBinaryOther(dst, d)
	case Interval:
		dst = binary.BigEndian.AppendUint64(dst, uint64(d.Iv.Micros))
		dst = binary.BigEndian.AppendUint32(dst, uint32(d.Iv.Days))
		return binary.BigEndian.AppendUint32(dst, uint32(d.Iv.Months))
	default:
		if d.Type.Kind&arrayBit != 0 {
			return appendArrayBinary(dst, d)
		}
		return append(dst, d.B...)
	}
}

func errBinaryLength(t Type) error {
	return pgerr.New(pgerr.InvalidBinaryRepr, "incorrect binary data format for type %s", t)
}

// ParseBinary reads the binary form of a value of type t and applies t's
// modifier; 22P03 for bytes that are none. The result shares nothing with b.
func ParseBinary(t Type, b []byte) (Datum, error) {
	d := Datum{Type: t}
	if t.Kind&arrayBit != 0 {
		var err error
		d.B, err = parseArrayBinary(t, b)
		return d, err
	}
	if t.Kind > Interval {
		return parseBinaryOther(t, b)
	}
	switch w := t.Kind.width(); {
	case w > 0 && len(b) != w:
		return Datum{}, errBinaryLength(t)
	case t.Kind == Bool:
		if b[0] != 0 {
			d.I = 1
		}
	case w == 4:
		d.I = int64(int32(binary.BigEndian.Uint32(b)))
		if t.Kind == Date && DateFinite(d.I) && !validDate(d.I) {
			return Datum{}, errDateRange()
		}
	case t.Kind == Float8:
		d.F = math.Float64frombits(binary.BigEndian.Uint64(b))
	case w == 8:
		d.I = int64(binary.BigEndian.Uint64(b))
		if t.Kind != Int8 && TimestampFinite(d.I) && !validTimestamp(d.I) {
			return Datum{}, errTimestampRange()
		}
	case t.Kind == Interval:
		d.Iv = IntervalValue{
			Micros: int64(binary.BigEndian.Uint64(b)),
			Days:   int32(binary.BigEndian.Uint32(b[8:])),
			Months: int32(binary.BigEndian.Uint32(b[12:])),
		}
	case t.Kind == Numeric:
		n, err := parseNumericBinary(b)
		if err == nil {
			n, err = NumApplyMod(n, t.Mod)
		}
		if err != nil {
			return Datum{}, err
		}
		d.B = n.Append(nil)
	default:
		if err := CheckText(b); err != nil {
			return Datum{}, err
		}
		d.B = append([]byte{}, b...)
	}
	if t.Mod >= 0 {
		return ApplyMod(d, t, false)
	}
	return d, nil
}

// The signs of numeric's wire form: four int16 (count, weight, sign, scale),
// then digits of base 10000, the first one at 10000^weight.
const (
	wireNumPos    = 0x0000
	wireNumNeg    = 0x4000
	wireNumNaN    = 0xC000
	wireNumPosInf = 0xD000
	wireNumNegInf = 0xF000

	wireInfScale = 0x20 // what PostgreSQL sends
)

func appendNumericHeader(dst []byte, count, weight int, sign uint16, scale int32) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(count))
	dst = binary.BigEndian.AppendUint16(dst, uint16(int16(weight)))
	dst = binary.BigEndian.AppendUint16(dst, sign)
	return binary.BigEndian.AppendUint16(dst, uint16(scale))
}

func appendNumericBinary(dst []byte, n Num) []byte {
	switch n.Kind {
	case NumNaN:
		return appendNumericHeader(dst, 0, 0, wireNumNaN, 0)
	case NumPosInf:
		return appendNumericHeader(dst, 0, 0, wireNumPosInf, wireInfScale)
	case NumNegInf:
		return appendNumericHeader(dst, 0, 0, wireNumNegInf, wireInfScale)
	}
	if n.isZero() {
		return appendNumericHeader(dst, 0, 0, wireNumPos, n.Scale)
	}
	sign := uint16(wireNumPos)
	if n.Neg {
		sign = wireNumNeg
	}
	// Decimal digits, padded on the left so that groups of four end at the
	// decimal point, and on the right to a whole group.
	var buf [64]byte
	s := n.appendCoef(buf[:0])
	first := len(s) - 1 - int(n.Scale) // exponent of the first digit
	weight := first >> 2
	lead := 3 - first&3 // zeros before the first digit
	count := (lead + len(s) + 3) / 4
	head := len(dst)
	dst = appendNumericHeader(dst, count, weight, sign, n.Scale)
	for g := 0; g < count; g++ {
		v := 0
		for j := 4*g - lead; j < 4*g-lead+4; j++ {
			v *= 10
			if j >= 0 && j < len(s) {
				v += int(s[j] - '0')
			}
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(v))
	}
	for count > 0 && dst[len(dst)-1] == 0 && dst[len(dst)-2] == 0 { // as PostgreSQL sends it
		dst = dst[:len(dst)-2]
		count--
	}
	binary.BigEndian.PutUint16(dst[head:], uint16(count))
	return dst
}

func parseNumericBinary(b []byte) (Num, error) {
	if len(b) < 8 {
		return Num{}, errBinaryLength(T(Numeric))
	}
	count, weight := int(binary.BigEndian.Uint16(b)), int(int16(binary.BigEndian.Uint16(b[2:])))
	sign, scale := binary.BigEndian.Uint16(b[4:]), int(binary.BigEndian.Uint16(b[6:]))
	b = b[8:]
	if len(b) != 2*count {
		return Num{}, errBinaryLength(T(Numeric))
	}
	switch sign {
	case wireNumNaN:
		return Num{Kind: NumNaN}, nil
	case wireNumPosInf:
		return Num{Kind: NumPosInf}, nil
	case wireNumNegInf:
		return Num{Kind: NumNegInf}, nil
	case wireNumPos, wireNumNeg:
	default:
		return Num{}, pgerr.New(pgerr.InvalidBinaryRepr, "invalid sign in external \"numeric\" value")
	}
	if scale > maxNumScale {
		return Num{}, pgerr.New(pgerr.InvalidBinaryRepr, "invalid scale in external \"numeric\" value")
	}
	for i := 0; i < count; i++ {
		if binary.BigEndian.Uint16(b[2*i:]) > 9999 {
			return Num{}, pgerr.New(pgerr.InvalidBinaryRepr, "invalid digit in external \"numeric\" value")
		}
	}
	n := Num{Neg: sign == wireNumNeg}
	n.setGroups(b, count)
	// The digits are an integer at scale -4·(weight-count+1); cut what lies
	// beyond the declared scale, as PostgreSQL does.
	return n.wireScaled(4*(count-1-weight), scale)
}

// setGroups makes count base-10000 digits the coefficient.
func (n *Num) setGroups(b []byte, count int) {
	var c u128
	fits := count <= 9 // 36 digits
	for i := 0; i < count && fits; i++ {
		c, _ = c.mul64(10000)
		c, _ = c.add(u128{0, uint64(binary.BigEndian.Uint16(b[2*i:]))})
	}
	if fits {
		n.set128(c)
		return
	}
	text := make([]byte, 0, 4*count)
	for i := 0; i < count; i++ {
		text = appendUint(text, uint64(binary.BigEndian.Uint16(b[2*i:])), 4)
	}
	v, _ := new(big.Int).SetString(string(text), 10)
	n.setBig(v)
}

// wireScaled gives coefficient × 10^-have, have possibly negative, at scale
// want.
func (n Num) wireScaled(have, want int) (Num, error) {
	if n.isZero() {
		return Num{Scale: int32(want)}, nil
	}
	if have < 0 {
		if n.digits()-have > maxNumWeight {
			return Num{}, errNumOverflow()
		}
		if c, ok := n.scaled(int32(-have)); ok {
			n.set128(c)
		} else {
			n.setBig(n.bigScaled(int32(-have)))
		}
		have = 0
	}
	n.Scale = int32(have)
	return n.rescale(want, false).checked()
}
