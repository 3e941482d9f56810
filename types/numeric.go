package types

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// The image of a numeric, as it lies in PhysBytes vectors and Datums. The
// first byte's top two bits are the class: 0 finite and not negative, 1
// negative, 2 special. Its low six bits are, of a special, 0 NaN, 1
// +Infinity, 2 -Infinity; of the others the display scale if it is under 63,
// else 63 and two big-endian bytes of scale follow. The rest is the
// coefficient's magnitude, big-endian without leading zero bytes (0: none).
// The value is coefficient × 10^-scale; every (value, scale) has exactly one
// image. No bytes at all read as 0, which is what the slot of a NULL holds.
const (
	numClassPos     = 0 << 6
	numClassNeg     = 1 << 6
	numClassSpecial = 2 << 6
	numScaleLong    = 63
)

// Limits of PostgreSQL's numeric, in decimal digits.
const (
	maxNumWeight = 131072 // before the point
	maxNumScale  = 16383  // after the point
)

// NumKind tells finite numerics from the special ones.
type NumKind uint8

// The kinds of a Num.
const (
	NumFinite NumKind = iota
	NumNaN
	NumPosInf
	NumNegInf
)

// Num is a decoded numeric: ±coefficient × 10^-Scale. Coefficients up to 128
// bits lie in the value itself, so that arithmetic on them does not allocate;
// larger ones in a big.Int that is never changed. The zero Num is 0.
type Num struct {
	Kind   NumKind
	Neg    bool  // never set for 0
	Scale  int32 // digits shown after the point, 0..16383
	hi, lo uint64
	big    *big.Int // the coefficient if it needs more than 128 bits
}

// DecodeNumeric decodes an image. Bytes that are no image (see ValidNumeric)
// give some number, never a panic.
func DecodeNumeric(b []byte) Num {
	if len(b) == 0 {
		return Num{}
	}
	h := b[0]
	if h&numClassSpecial != 0 {
		return Num{Kind: NumKind(min(h&3, 2) + 1)}
	}
	n := Num{Neg: h&numClassNeg != 0, Scale: int32(h & 63)}
	b = b[1:]
	if n.Scale == numScaleLong && len(b) >= 2 {
		n.Scale = int32(binary.BigEndian.Uint16(b)) & maxNumScale
		b = b[2:]
	}
	switch {
	case len(b) <= 8:
		n.lo = beUint(b)
	case len(b) <= 16:
		n.hi, n.lo = beUint(b[:len(b)-8]), binary.BigEndian.Uint64(b[len(b)-8:])
	default:
		n.setBig(new(big.Int).SetBytes(b))
	}
	if n.isZero() {
		n.Neg = false
	}
	return n
}

// ValidNumeric reports whether b is the image of a numeric.
func ValidNumeric(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	h := b[0]
	if h&numClassSpecial != 0 {
		return len(b) == 1 && h <= numClassSpecial|2
	}
	rest := b[1:]
	if h&63 == numScaleLong {
		if len(rest) < 2 {
			return false
		}
		if s := binary.BigEndian.Uint16(rest); s < numScaleLong || s > maxNumScale {
			return false
		}
		rest = rest[2:]
	}
	if len(rest) == 0 {
		return h&numClassNeg == 0
	}
	// 147455 digits need at most 61,230 bytes.
	return rest[0] != 0 && len(rest) <= 61230
}

func beUint(b []byte) (u uint64) {
	for _, c := range b {
		u = u<<8 | uint64(c)
	}
	return u
}

// Append appends the image of n.
func (n Num) Append(dst []byte) []byte {
	if n.Kind != NumFinite {
		return append(dst, numClassSpecial|byte(n.Kind-1))
	}
	h := byte(numClassPos)
	if n.Neg {
		h = numClassNeg
	}
	if n.Scale < numScaleLong {
		dst = append(dst, h|byte(n.Scale))
	} else {
		dst = append(dst, h|numScaleLong, byte(n.Scale>>8), byte(n.Scale))
	}
	if n.big != nil {
		return append(dst, n.big.Bytes()...)
	}
	if n.hi != 0 {
		dst = appendBE(dst, n.hi)
		return binary.BigEndian.AppendUint64(dst, n.lo)
	}
	return appendBE(dst, n.lo)
}

func appendBE(dst []byte, u uint64) []byte {
	for s := (bits.Len64(u)+7)&^7 - 8; s >= 0; s -= 8 {
		dst = append(dst, byte(u>>s))
	}
	return dst
}

// Datum makes a numeric value.
func (n Num) Datum() Datum { return Datum{Type: T(Numeric), B: n.Append(nil)} }

func (n *Num) isZero() bool {
	return n.Kind == NumFinite && n.big == nil && n.hi == 0 && n.lo == 0
}

// setBig makes b the coefficient, in the value itself if it fits. n keeps b.
func (n *Num) setBig(b *big.Int) {
	if b.BitLen() > 128 {
		n.big, n.hi, n.lo = b, 0, 0
		return
	}
	var buf [16]byte
	b.FillBytes(buf[:])
	n.big, n.hi, n.lo = nil, binary.BigEndian.Uint64(buf[:8]), binary.BigEndian.Uint64(buf[8:])
}

// bigCoef gives the coefficient as a big.Int that must not be changed.
func (n *Num) bigCoef() *big.Int {
	if n.big != nil {
		return n.big
	}
	var buf [16]byte
	binary.BigEndian.PutUint64(buf[:8], n.hi)
	binary.BigEndian.PutUint64(buf[8:], n.lo)
	return new(big.Int).SetBytes(buf[:])
}

// Sign gives -1, 0 or 1; NaN counts as positive.
func (n Num) Sign() int {
	switch {
	case n.Kind == NumNegInf || n.Neg:
		return -1
	case n.isZero():
		return 0
	}
	return 1
}

// IsNaN reports whether n is NaN.
func (n Num) IsNaN() bool { return n.Kind == NumNaN }

// u128 is an unsigned 128-bit number.
type u128 struct{ hi, lo uint64 }

// pow10u128 holds 10^0 to 10^38, all that fit.
var pow10u128 = func() (p [39]u128) {
	p[0] = u128{0, 1}
	for i := 1; i < len(p); i++ {
		p[i], _ = p[i-1].mul64(10)
	}
	return p
}()

func (a u128) mul64(m uint64) (p u128, ok bool) {
	h, l := bits.Mul64(a.lo, m)
	hh, hl := bits.Mul64(a.hi, m)
	s, c := bits.Add64(h, hl, 0)
	return u128{s, l}, hh == 0 && c == 0
}

func (a u128) mul(b u128) (p u128, ok bool) {
	switch {
	case b.hi == 0:
		return a.mul64(b.lo)
	case a.hi == 0:
		return b.mul64(a.lo)
	}
	return u128{}, false
}

func (a u128) add(b u128) (s u128, ok bool) {
	l, c := bits.Add64(a.lo, b.lo, 0)
	h, c := bits.Add64(a.hi, b.hi, c)
	return u128{h, l}, c == 0
}

// sub needs a ≥ b.
func (a u128) sub(b u128) u128 {
	l, c := bits.Sub64(a.lo, b.lo, 0)
	h, _ := bits.Sub64(a.hi, b.hi, c)
	return u128{h, l}
}

func (a u128) cmp(b u128) int {
	switch {
	case a.hi < b.hi || a.hi == b.hi && a.lo < b.lo:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// div64 divides by d > 0.
func (a u128) div64(d uint64) (q u128, rem uint64) {
	q.hi, rem = a.hi/d, a.hi%d
	q.lo, rem = bits.Div64(rem, a.lo, d)
	return q, rem
}

// digits gives the number of decimal digits, 0 for 0.
func (a u128) digits() int {
	n := bits.Len64(a.lo)
	if a.hi != 0 {
		n = bits.Len64(a.hi) + 64
	}
	d := n * 1233 >> 12 // ⌊n·log10(2)⌋ for these n
	if d < len(pow10u128) && a.cmp(pow10u128[d]) >= 0 {
		d++
	}
	return d
}

// digits gives the number of decimal digits of the coefficient, 0 for 0.
func (n *Num) digits() int {
	if n.big == nil {
		return u128{n.hi, n.lo}.digits()
	}
	d := int(int64(n.big.BitLen()-1) * 30103 / 100000)
	for n.big.Cmp(bigPow10(d)) >= 0 {
		d++
	}
	return d
}

func bigPow10(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// The classes of numerics in the order encoding.
const (
	numOrderNegInf = 1 + iota
	numOrderNeg
	numOrderZero
	numOrderPos
	numOrderPosInf
	numOrderNaN
)

// chunkDigits is how many decimal digits one word of the order encoding has.
const chunkDigits = 18

// appendNumericOrder appends the order encoding of a numeric image. Three
// bytes: the class in the top four bits, below it the exponent of the leading
// decimal digit + 2^18. Then the digits from the leading one on, without
// trailing zeros, 18 to a big-endian word of 8 bytes: the number they make
// (the last padded with zeros) × 2, + 1 if another word follows. For negative
// values the exponent and the words are inverted.
func appendNumericOrder(dst []byte, image []byte) []byte {
	n := DecodeNumeric(image)
	switch n.Kind {
	case NumNaN:
		return append(dst, numOrderNaN<<4, 0, 0)
	case NumPosInf:
		return append(dst, numOrderPosInf<<4, 0, 0)
	case NumNegInf:
		return append(dst, numOrderNegInf<<4, 0, 0)
	}
	if n.isZero() {
		return append(dst, numOrderZero<<4, 0, 0)
	}
	nd := n.digits()
	exp := uint32(nd - 1 - int(n.Scale) + 1<<18)
	class := uint32(numOrderPos)
	if n.Neg {
		class, exp = numOrderNeg, 1<<20-1-exp
	}
	h := class<<20 | exp
	dst = append(dst, byte(h>>16), byte(h>>8), byte(h))
	start := len(dst)
	if n.big == nil && nd <= chunkDigits {
		dst = binary.BigEndian.AppendUint64(dst, n.lo*pow10u128[chunkDigits-nd].lo<<1)
	} else {
		dst = n.appendOrderWords(dst)
	}
	if n.Neg {
		invert(dst[start:])
	}
	return dst
}

func (n *Num) appendOrderWords(dst []byte) []byte {
	var buf [48]byte
	s := n.appendCoef(buf[:0])
	for len(s) > 1 && s[len(s)-1] == '0' {
		s = s[:len(s)-1]
	}
	for len(s) > 0 {
		var w uint64
		for i := 0; i < chunkDigits; i++ {
			w *= 10
			if i < len(s) {
				w += uint64(s[i] - '0')
			}
		}
		s = s[min(chunkDigits, len(s)):]
		w <<= 1
		if len(s) > 0 {
			w |= 1
		}
		dst = binary.BigEndian.AppendUint64(dst, w)
	}
	return dst
}

// appendCoef appends the decimal digits of the coefficient, at least one.
func (n *Num) appendCoef(dst []byte) []byte {
	if n.big != nil {
		return n.big.Append(dst, 10)
	}
	if n.hi == 0 {
		return appendUint(dst, n.lo, 1)
	}
	const e19 = 10_000_000_000_000_000_000
	q, r0 := u128{n.hi, n.lo}.div64(e19)
	q, r1 := q.div64(e19)
	if q.lo != 0 {
		dst = append(dst, byte('0'+q.lo))
		dst = appendUint(dst, r1, 19)
	} else {
		dst = appendUint(dst, r1, 1)
	}
	return appendUint(dst, r0, 19)
}

// appendUint appends u in decimal with at least width digits.
func appendUint(dst []byte, u uint64, width int) []byte {
	var buf [20]byte
	i := len(buf)
	for u > 0 || len(buf)-i < width {
		i--
		buf[i] = byte('0' + u%10)
		u /= 10
	}
	return append(dst, buf[i:]...)
}

// NumCmp orders two numerics as PostgreSQL does, NaN equal to NaN and
// greatest: -1, 0 or 1.
func NumCmp(a, b Num) int {
	ra, rb := a.orderClass(), b.orderClass()
	switch {
	case ra < rb:
		return -1
	case ra > rb:
		return 1
	case ra != numOrderNeg && ra != numOrderPos:
		return 0
	case ra == numOrderNeg:
		return cmpMagnitude(&b, &a)
	}
	return cmpMagnitude(&a, &b)
}

func (n *Num) orderClass() int {
	switch {
	case n.Kind == NumNaN:
		return numOrderNaN
	case n.Kind == NumPosInf:
		return numOrderPosInf
	case n.Kind == NumNegInf:
		return numOrderNegInf
	case n.Neg:
		return numOrderNeg
	case n.isZero():
		return numOrderZero
	}
	return numOrderPos
}

// cmpMagnitude compares |a| with |b|, both finite and not 0.
func cmpMagnitude(a, b *Num) int {
	if a.big == nil && b.big == nil && a.Scale == b.Scale {
		return u128{a.hi, a.lo}.cmp(u128{b.hi, b.lo})
	}
	ea, eb := a.digits()-int(a.Scale), b.digits()-int(b.Scale)
	switch {
	case ea < eb:
		return -1
	case ea > eb:
		return 1
	}
	s := max(a.Scale, b.Scale)
	if x, ok := a.scaled(s); ok {
		if y, ok := b.scaled(s); ok {
			return x.cmp(y)
		}
	}
	return a.bigScaled(s).Cmp(b.bigScaled(s))
}

// scaled gives the coefficient at a scale ≥ n.Scale if it fits 128 bits.
func (n *Num) scaled(scale int32) (u128, bool) {
	c := u128{n.hi, n.lo}
	d := scale - n.Scale
	switch {
	case n.big != nil:
		return c, false
	case d == 0 || c == u128{}:
		return c, true
	case int(d) >= len(pow10u128):
		return c, false
	}
	return c.mul(pow10u128[d])
}

// bigScaled is scaled without a limit; the result must not be changed.
func (n *Num) bigScaled(scale int32) *big.Int {
	c := n.bigCoef()
	if scale == n.Scale {
		return c
	}
	return new(big.Int).Mul(c, bigPow10(int(scale-n.Scale)))
}
