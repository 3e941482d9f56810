package expr

import (
	"math"
	"math/bits"

	"github.com/streamdb/streamdb/types"
)

// floatAcc is sum and avg of double precision without rounding on the way, so
// that taking a value away undoes adding it, in any order. The finite values
// are summed in a fixed-point number of floatLimbs 64-bit limbs, two's
// complement, whose unit is 2^-1074: every float8 is a multiple of it, and
// 2^64 of the greatest fit. Sum rounds once, at the end.
//
// State: counts of all rows, NaN, +Infinity, -Infinity and -0, then the limbs.
type floatAcc struct{ avg, single bool } // single: the result is float4

const (
	floatLimbs = 34 // 2099 bits of one value, 64 of multiplicity, the sign
	floatHead  = 40
	floatWidth = floatHead + 8*floatLimbs
)

func (floatAcc) Width() int { return floatWidth }

func (floatAcc) Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec) {
	for k, s := range rows {
		i := c.Row(k)
		if skip(arg, mask, i) {
			continue
		}
		d, x := int64(c.DiffAt(i)), arg.F64[i]
		s = s[off : off+floatWidth]
		add64(s, d)
		switch {
		case x != x:
			add64(s[8:], d)
		case math.IsInf(x, 1):
			add64(s[16:], d)
		case math.IsInf(x, -1):
			add64(s[24:], d)
		case x != 0:
			addFixed(s[floatHead:], x, d)
		case math.Signbit(x):
			add64(s[32:], d)
		}
	}
}

// addFixed adds x × d, both finite and not 0.
func addFixed(limbs []byte, x float64, d int64) {
	u := math.Float64bits(x)
	neg := (u>>63 == 1) != (d < 0)
	if d < 0 {
		d = -d
	}
	m, e := u&(1<<52-1), int(u>>52&0x7ff)
	if e != 0 {
		m |= 1 << 52
		e--
	}
	hi, lo := bits.Mul64(m, uint64(d))
	s := uint(e) & 63
	w := [3]uint64{lo << s, hi<<s | lo>>1>>(63-s), hi >> 1 >> (63 - s)}
	limbs = limbs[e>>6*8:]
	var carry uint64
	for i := 0; len(limbs) > 0 && (i < 3 || carry != 0); i++ {
		var x uint64
		if i < 3 {
			x = w[i]
		}
		l := le.Uint64(limbs)
		if neg {
			l, carry = bits.Sub64(l, x, carry)
		} else {
			l, carry = bits.Add64(l, x, carry)
		}
		le.PutUint64(limbs, l)
		limbs = limbs[8:]
	}
}

func (a floatAcc) Result(rows [][]byte, off int, out *types.Vec, errs *Errors) {
	kind := types.Float8
	if a.single {
		kind = types.Float4
	}
	out.Resize(types.T(kind), len(rows))
	for k, s := range rows {
		s = s[off : off+floatWidth]
		n := get64(s)
		if n == 0 {
			out.SetNull(k)
			continue
		}
		r := a.sum(s, n)
		if a.single {
			r = float64(float32(r))
		}
		if math.IsInf(r, 0) && get64(s[16:]) == 0 && get64(s[24:]) == 0 {
			errs.fail(k, errOverflow)
			out.SetNull(k)
			continue
		}
		if a.avg {
			r /= float64(n)
		}
		out.F64[k] = r
	}
}

func (a floatAcc) sum(s []byte, n int64) float64 {
	nan, pinf, ninf := get64(s[8:]), get64(s[16:]), get64(s[24:])
	switch {
	case nan != 0 || pinf != 0 && ninf != 0:
		return math.NaN()
	case pinf != 0:
		return math.Inf(1)
	case ninf != 0:
		return math.Inf(-1)
	}
	r := roundFixed(s[floatHead:])
	if r == 0 && get64(s[32:]) == n && !a.avg {
		return math.Copysign(0, -1) // nothing but -0
	}
	return r
}

// roundFixed gives the float8 nearest to the fixed-point number, ties to
// even, ±Inf beyond the greatest.
func roundFixed(limbs []byte) float64 {
	var w [floatLimbs]uint64
	for i := range w {
		w[i] = le.Uint64(limbs[8*i:])
	}
	neg := w[floatLimbs-1]>>63 == 1
	if neg {
		c := uint64(1)
		for i := range w {
			w[i], c = bits.Add64(^w[i], 0, c)
		}
	}
	top := floatLimbs - 1
	for top >= 0 && w[top] == 0 {
		top--
	}
	if top < 0 {
		return 0
	}
	t := 64*top + bits.Len64(w[top]) - 1 // the highest bit
	u := w[0]
	if t > 52 {
		u = roundAt(&w, t-52)
	}
	if u >= 0x7ff<<52 {
		u = 0x7ff << 52
	}
	if neg {
		u |= 1 << 63
	}
	return math.Float64frombits(u)
}

// roundAt gives the bits of the float8 whose 53 bits of mantissa begin at bit
// s of w, rounded by what is below.
func roundAt(w *[floatLimbs]uint64, s int) uint64 {
	i, b := s>>6, uint(s)&63
	m := w[i] >> b
	if b != 0 && i+1 < floatLimbs {
		m |= w[i+1] << (64 - b)
	}
	m &= 1<<53 - 1
	h := s - 1 // the half
	half := w[h>>6]>>(uint(h)&63)&1 == 1
	rest := w[h>>6]&(1<<(uint(h)&63)-1) != 0
	for j := 0; j < h>>6 && !rest; j++ {
		rest = w[j] != 0
	}
	u := uint64(s)<<52 + m // the leading bit of m adds the 1 that s lacks
	if half && (rest || m&1 == 1) {
		u++
	}
	return u
}
