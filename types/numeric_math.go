package types

import (
	"math/big"

	"github.com/streamdb/streamdb/internal/pgerr"
)

func errNumOverflow() error {
	return pgerr.New(pgerr.NumericValueOutOfRange, "value overflows numeric format")
}

func errDivisionByZero() error { return pgerr.New(pgerr.DivisionByZero, "division by zero") }

// checked gives n, or an error if it is beyond what numeric can hold.
func (n Num) checked() (Num, error) {
	if n.Scale > maxNumScale || n.big != nil && n.digits()-int(n.Scale) > maxNumWeight {
		return Num{}, errNumOverflow()
	}
	return n, nil
}

func (n *Num) set128(c u128) { n.hi, n.lo, n.big = c.hi, c.lo, nil }

// NumNeg gives -a.
func NumNeg(a Num) Num {
	switch {
	case a.Kind == NumPosInf:
		a.Kind = NumNegInf
	case a.Kind == NumNegInf:
		a.Kind = NumPosInf
	case a.Kind == NumFinite && !a.isZero():
		a.Neg = !a.Neg
	}
	return a
}

// NumAbs gives |a|.
func NumAbs(a Num) Num {
	if a.Sign() < 0 {
		return NumNeg(a)
	}
	return a
}

// NumAdd gives a + b with the larger of their scales.
func NumAdd(a, b Num) (Num, error) {
	if a.Kind != NumFinite || b.Kind != NumFinite {
		return addSpecial(a, b), nil
	}
	s := max(a.Scale, b.Scale)
	r := Num{Scale: s, Neg: a.Neg}
	x, ok1 := a.scaled(s)
	y, ok2 := b.scaled(s)
	if ok1 && ok2 {
		if a.Neg == b.Neg {
			if sum, ok := x.add(y); ok {
				r.set128(sum)
				return r, nil
			}
		} else {
			if x.cmp(y) < 0 {
				x, y, r.Neg = y, x, b.Neg
			}
			r.set128(x.sub(y))
			r.Neg = r.Neg && !r.isZero()
			return r, nil
		}
	}
	bx, by := a.bigScaled(s), b.bigScaled(s)
	sum := new(big.Int)
	switch {
	case a.Neg == b.Neg:
		sum.Add(bx, by)
	case bx.Cmp(by) >= 0:
		sum.Sub(bx, by)
	default:
		sum.Sub(by, bx)
		r.Neg = b.Neg
	}
	r.setBig(sum)
	r.Neg = r.Neg && !r.isZero()
	return r.checked()
}

func addSpecial(a, b Num) Num {
	switch {
	case a.Kind == NumNaN || b.Kind == NumNaN:
		return Num{Kind: NumNaN}
	case a.Kind != NumFinite && b.Kind != NumFinite && a.Kind != b.Kind:
		return Num{Kind: NumNaN}
	case a.Kind != NumFinite:
		return a
	}
	return b
}

// NumSub gives a - b with the larger of their scales.
func NumSub(a, b Num) (Num, error) { return NumAdd(a, NumNeg(b)) }

// NumMul gives a × b, exact, with the sum of their scales (at most 16383, to
// which it is rounded).
func NumMul(a, b Num) (Num, error) {
	if a.Kind != NumFinite || b.Kind != NumFinite {
		return infTimes(a, b), nil
	}
	r := Num{Scale: a.Scale + b.Scale, Neg: a.Neg != b.Neg}
	ok := false
	if a.big == nil && b.big == nil {
		var p u128
		if p, ok = (u128{a.hi, a.lo}).mul(u128{b.hi, b.lo}); ok {
			r.set128(p)
		}
	}
	if !ok {
		r.setBig(new(big.Int).Mul(a.bigCoef(), b.bigCoef()))
	}
	r.Neg = r.Neg && !r.isZero()
	if r.Scale > maxNumScale {
		r = r.rescale(maxNumScale, true)
	}
	return r.checked()
}

// infTimes is the product (or the sign of the quotient) where a or b is not
// finite.
func infTimes(a, b Num) Num {
	s := a.Sign() * b.Sign()
	switch {
	case a.Kind == NumNaN || b.Kind == NumNaN || s == 0:
		return Num{Kind: NumNaN}
	case s < 0:
		return Num{Kind: NumNegInf}
	}
	return Num{Kind: NumPosInf}
}

// NumDiv gives a / b rounded to PostgreSQL's choice of scale: at least 16
// significant digits and no fewer digits after the point than either has.
func NumDiv(a, b Num) (Num, error) {
	if a.Kind != NumFinite || b.Kind != NumFinite {
		return divSpecial(a, b)
	}
	if b.isZero() {
		return Num{}, errDivisionByZero()
	}
	s := divScale(&a, &b)
	return quotient(&a, &b, s, true).checked()
}

func divSpecial(a, b Num) (Num, error) {
	switch {
	case a.Kind == NumNaN || b.Kind == NumNaN:
		return Num{Kind: NumNaN}, nil
	case a.Kind == NumFinite:
		return Num{}, nil
	case b.Kind != NumFinite:
		return Num{Kind: NumNaN}, nil
	case b.isZero():
		return Num{}, errDivisionByZero()
	}
	return infTimes(a, b), nil
}

// divScale is PostgreSQL's select_div_scale, which counts in digits of base
// 10000.
func divScale(a, b *Num) int32 {
	wa, fa := a.leadingDigit()
	wb, fb := b.leadingDigit()
	w := wa - wb
	if fa <= fb {
		w--
	}
	s := max(16-4*w, int(a.Scale), int(b.Scale), 0)
	return int32(min(s, 1000))
}

// leadingDigit gives the weight and the value of the first digit of n in base
// 10000 that is not 0; 0, 0 for 0.
func (n *Num) leadingDigit() (weight, digit int) {
	nd := n.digits()
	if nd == 0 {
		return 0, 0
	}
	e := nd - 1 - int(n.Scale)
	weight = e >> 2
	k := 4*weight + int(n.Scale) // digit = ⌊coefficient / 10^k⌋
	switch {
	case k < 0:
		return weight, int(n.lo) * int(pow10u128[-k].lo) // nd < 4
	case n.big != nil:
		return weight, int(new(big.Int).Quo(n.big, bigPow10(k)).Int64())
	}
	c := u128{n.hi, n.lo}
	for ; k > 18; k -= 18 {
		c, _ = c.div64(pow10u128[18].lo)
	}
	c, _ = c.div64(pow10u128[k].lo)
	return weight, int(c.lo)
}

// quotient gives a / b at a scale, rounded half away from zero or truncated.
// Both are finite and b is not 0.
func quotient(a, b *Num, scale int32, round bool) Num {
	r := Num{Scale: scale, Neg: a.Neg != b.Neg}
	k := scale + b.Scale - a.Scale
	num, ok := u128{a.hi, a.lo}, a.big == nil && b.big == nil && b.hi == 0 && k >= 0
	if ok {
		num, ok = a.scaled(a.Scale + k)
	}
	if ok {
		q, rem := num.div64(b.lo)
		if round && rem >= b.lo-rem {
			q, ok = q.add(u128{0, 1})
		}
		r.set128(q)
	}
	if !ok {
		x, y := a.bigCoef(), b.bigCoef()
		if k >= 0 {
			x = new(big.Int).Mul(x, bigPow10(int(k)))
		} else {
			y = new(big.Int).Mul(y, bigPow10(int(-k)))
		}
		r.setBig(bigQuo(x, y, round))
	}
	r.Neg = r.Neg && !r.isZero()
	return r
}

func bigQuo(x, y *big.Int, round bool) *big.Int {
	q, rem := new(big.Int).QuoRem(x, y, new(big.Int))
	if round && rem.Lsh(rem, 1).Cmp(y) >= 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

// NumMod gives the remainder of a / b truncated, with a's sign and the larger
// of the scales.
func NumMod(a, b Num) (Num, error) {
	switch {
	case a.Kind == NumNaN || b.Kind == NumNaN:
		return Num{Kind: NumNaN}, nil
	case a.Kind != NumFinite:
		if b.isZero() {
			return Num{}, errDivisionByZero()
		}
		return Num{Kind: NumNaN}, nil
	case b.Kind != NumFinite:
		return a, nil
	case b.isZero():
		return Num{}, errDivisionByZero()
	}
	s := max(a.Scale, b.Scale)
	r := Num{Scale: s, Neg: a.Neg}
	x, ok1 := a.scaled(s)
	y, ok2 := b.scaled(s)
	if ok1 && ok2 && y.hi == 0 {
		_, rem := x.div64(y.lo)
		r.set128(u128{0, rem})
	} else {
		r.setBig(new(big.Int).Rem(a.bigScaled(s), b.bigScaled(s)))
	}
	r.Neg = r.Neg && !r.isZero()
	return r, nil
}

// rescale gives a finite n at a scale that may be negative, rounded half away
// from zero or truncated. Of a negative scale the result's scale is 0.
func (n Num) rescale(scale int, round bool) Num {
	d := scale - int(n.Scale)
	r := Num{Scale: int32(max(scale, 0)), Neg: n.Neg}
	switch {
	case d >= 0:
		if c, ok := n.scaled(int32(scale)); ok {
			r.set128(c)
		} else {
			r.setBig(n.bigScaled(int32(scale)))
		}
		return r
	case n.big == nil && -d < len(pow10u128):
		r.set128(quo128(u128{n.hi, n.lo}, -d, round))
	case n.big == nil || -d > n.digits(): // less than a half
		return r.withoutSign()
	default:
		r.setBig(bigQuo(n.big, bigPow10(-d), round))
	}
	if scale < 0 {
		if c, ok := (u128{r.hi, r.lo}).mul(pow10u128[min(-scale, len(pow10u128)-1)]); ok && r.big == nil && -scale < len(pow10u128) {
			r.set128(c)
		} else if !r.isZero() {
			r.setBig(new(big.Int).Mul(r.bigCoef(), bigPow10(-scale)))
		}
	}
	return r.withoutSign()
}

// withoutSign is n with no sign if it is 0.
func (n Num) withoutSign() Num {
	n.Neg = n.Neg && !n.isZero()
	return n
}

// quo128 divides by 10^d, d ≤ 38.
func quo128(c u128, d int, round bool) u128 {
	half := false
	for ; d > 0; d -= 18 { // only the digit next to the cut decides
		p := pow10u128[min(d, 18)].lo
		var rem uint64
		c, rem = c.div64(p)
		half = rem >= p-rem
	}
	if round && half {
		c, _ = c.add(u128{0, 1})
	}
	return c
}

// NumRound rounds half away from zero to a scale, which may be negative.
func NumRound(a Num, scale int) (Num, error) {
	if a.Kind != NumFinite {
		return a, nil
	}
	return a.rescale(clampScale(scale), true).checked()
}

// NumTrunc truncates towards zero to a scale, which may be negative.
func NumTrunc(a Num, scale int) (Num, error) {
	if a.Kind != NumFinite {
		return a, nil
	}
	return a.rescale(clampScale(scale), false).checked()
}

// clampScale bounds a scale to where more would change nothing.
func clampScale(s int) int { return min(max(s, -maxNumWeight-1), maxNumScale) }

// NumCeil gives the least integer ≥ a.
func NumCeil(a Num) (Num, error) { return numToward(a, false) }

// NumFloor gives the greatest integer ≤ a.
func NumFloor(a Num) (Num, error) { return numToward(a, true) }

func numToward(a Num, down bool) (Num, error) {
	if a.Kind != NumFinite {
		return a, nil
	}
	t := a.rescale(0, false)
	if a.Neg != down || a.Scale == 0 || NumCmp(t, a) == 0 {
		return t, nil
	}
	return NumAdd(t, Num{lo: 1, Neg: down})
}

// NumericMod makes the type modifier of numeric(precision, scale).
func NumericMod(precision, scale int) int32 { return int32(precision<<16|scale&0x7ff) + 4 }

// NumericModParts undoes NumericMod; ok is false for no modifier.
func NumericModParts(mod int32) (precision, scale int, ok bool) {
	if mod < 4 {
		return 0, 0, false
	}
	return int(mod-4) >> 16 & 0xffff, int((mod-4)&0x7ff^1024) - 1024, true
}

// NumApplyMod makes n a value of numeric with type modifier mod (-1: as it
// is): rounded to its scale, and refused with 22003 beyond its precision.
func NumApplyMod(n Num, mod int32) (Num, error) {
	p, s, ok := NumericModParts(mod)
	if !ok || n.Kind == NumNaN {
		return n, nil
	}
	overflow := pgerr.New(pgerr.NumericValueOutOfRange, "numeric field overflow")
	if n.Kind != NumFinite {
		return Num{}, overflow.WithDetail("A field with precision %d, scale %d cannot hold an infinite value.", p, s)
	}
	r := n.rescale(s, true)
	if !r.isZero() && r.digits()-int(r.Scale) > p-s {
		limit := "1"
		if p != s {
			limit = "10^" + itoa(p-s)
		}
		return Num{}, overflow.WithDetail("A field with precision %d, scale %d must round to an absolute value less than %s.", p, s, limit)
	}
	return r, nil
}
