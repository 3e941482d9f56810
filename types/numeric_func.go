package types

import (
	"math"
	"math/big"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// The functions below round to the scale that PostgreSQL chooses: about 16
// significant digits, and no fewer digits after the point than the arguments
// have. They compute with enough more that the last digit is right.

const (
	minSigDigits    = 16
	maxDisplayScale = 1000
	// maxExpResult bounds the decimal weight of results, as PostgreSQL's
	// NUMERIC_MAX_RESULT_SCALE does.
	maxExpResult = 2000
	log10e       = 0.434294481903252
)

func clampDisplay(rscale int, least ...int32) int32 {
	for _, s := range least {
		rscale = max(rscale, int(s))
	}
	return int32(min(max(rscale, 0), maxDisplayScale))
}

func errNegativeRoot() error {
	return pgerr.New(pgerr.InvalidArgumentForPower, "cannot take square root of a negative number")
}

// NumSqrt gives the square root.
func NumSqrt(a Num) (Num, error) {
	switch {
	case a.Kind == NumNaN:
		return a, nil
	case a.Sign() < 0:
		return Num{}, errNegativeRoot()
	case a.Kind != NumFinite:
		return a, nil
	}
	w, _ := a.leadingDigit()
	x := (w + 1) * 4
	half := x / 2
	if x < 0 {
		half = -(-x / 2)
	}
	return numSqrtScale(a, clampDisplay(minSigDigits-(half-1), a.Scale)), nil
}

// numSqrtScale gives the root of a ≥ 0 rounded to a scale.
func numSqrtScale(a Num, scale int32) Num {
	c := a.bigCoef() // × 10^-Scale; root × 10^(scale+1) = √(c × 10^(2(scale+1)-Scale))
	k := 2*(int(scale)+1) - int(a.Scale)
	if k >= 0 {
		c = new(big.Int).Mul(c, bigPow10(k))
	} else {
		c = new(big.Int).Quo(c, bigPow10(-k))
	}
	r := Num{Scale: scale}
	r.setBig(bigQuo(new(big.Int).Sqrt(c), big.NewInt(10), true))
	return r
}

// NumRootAt is the square root of a ≥ 0 rounded to a scale, for standard
// deviations.
func NumRootAt(a Num, scale int32) Num { return numSqrtScale(a, scale) }

// NumDivScale is the scale that NumDiv gives to a / b.
func NumDivScale(a, b Num) int32 { return divScale(&a, &b) }

// bigFloat gives a finite n with a precision in bits.
func (n Num) bigFloat(prec uint) *big.Float {
	f := new(big.Float).SetPrec(prec).SetInt(n.bigCoef())
	if n.Scale > 0 {
		f.Quo(f, new(big.Float).SetPrec(prec).SetInt(bigPow10(int(n.Scale))))
	}
	if n.Neg {
		f.Neg(f)
	}
	return f
}

// numFromBigFloat rounds f to a scale, halves away from zero.
func numFromBigFloat(f *big.Float, scale int32) (Num, error) {
	x := new(big.Float).SetPrec(f.Prec()+64).Mul(f, new(big.Float).SetPrec(f.Prec()+64).SetInt(bigPow10(int(scale))))
	half := big.NewFloat(0.5)
	if x.Sign() < 0 {
		half.Neg(half)
	}
	i, _ := x.Add(x, half).Int(nil)
	return NumFromBig(i, scale)
}

// bitsFor gives the bits for a number of decimal digits, and some more.
func bitsFor(digits int) uint { return uint(max(digits, 1))*10/3 + 96 }

// bigExp gives e^x.
func bigExp(x *big.Float, prec uint) *big.Float {
	k := max(x.MantExp(nil)+8, 0)
	prec += uint(2*k) + 64
	r := new(big.Float).SetPrec(prec).SetMantExp(new(big.Float).SetPrec(prec).Set(x), -k)
	sum, term := new(big.Float).SetPrec(prec).SetInt64(1), new(big.Float).SetPrec(prec).SetInt64(1)
	for i := int64(1); ; i++ {
		term.Mul(term, r)
		term.Quo(term, new(big.Float).SetInt64(i))
		if term.Sign() == 0 || term.MantExp(nil) < -int(prec) {
			break
		}
		sum.Add(sum, term)
	}
	for range k {
		sum.Mul(sum, sum)
	}
	return sum
}

// bigAtanh2 gives 2 artanh(z) = ln((1+z)/(1-z)) for small z.
func bigAtanh2(z *big.Float, prec uint) *big.Float {
	sq := new(big.Float).SetPrec(prec).Mul(z, z)
	power, sum := new(big.Float).SetPrec(prec).Set(z), new(big.Float).SetPrec(prec).Set(z)
	for i := int64(3); power.Sign() != 0; i += 2 {
		power.Mul(power, sq)
		t := new(big.Float).SetPrec(prec).Quo(power, new(big.Float).SetInt64(i))
		if t.Sign() == 0 || t.MantExp(nil) < sum.MantExp(nil)-int(prec) {
			break
		}
		sum.Add(sum, t)
	}
	return sum.Add(sum, sum)
}

// bigLn gives the natural logarithm of x > 0.
func bigLn(x *big.Float, prec uint) *big.Float {
	one := big.NewFloat(1)
	prec += 64
	if d := new(big.Float).SetPrec(x.Prec()).Sub(x, one); d.Sign() == 0 {
		return new(big.Float).SetPrec(prec)
	} else if e := d.MantExp(nil); e < 0 {
		prec += uint(-e)
	}
	m := new(big.Float).SetPrec(prec)
	e := x.MantExp(m)
	m.SetPrec(prec)
	if m.Cmp(big.NewFloat(math.Sqrt2/2)) < 0 { // into [√½, √2)
		m.SetMantExp(m, 1)
		e--
	}
	z := new(big.Float).SetPrec(prec).Quo(new(big.Float).SetPrec(prec).Sub(m, one), new(big.Float).SetPrec(prec).Add(m, one))
	r := bigAtanh2(z, prec)
	if e != 0 {
		third := new(big.Float).SetPrec(prec).Quo(one, big.NewFloat(3).SetPrec(prec))
		ln2 := bigAtanh2(third, prec)
		r.Add(r, ln2.Mul(ln2, new(big.Float).SetInt64(int64(e))))
	}
	return r
}

// groups gives the first digits of a finite n ≠ 0 in base 10000: at most n of
// them as one number, the weight of the first, and how many they are.
func (n *Num) groups(most int) (value float64, weight, count int) {
	weight, _ = n.leadingDigit()
	// The digits from 10000^weight down to the last that is not 0.
	c := new(big.Int).Set(n.bigCoef())
	low := -((int(n.Scale) + 3) / 4) // weight of the last group
	c.Mul(c, bigPow10(-4*low-int(n.Scale)))
	all := weight - low + 1
	drop := max(all-most, 0)
	if drop > 0 {
		c.Quo(c, bigPow10(4*drop))
	}
	count = min(all, most)
	for count > 1 && drop == 0 {
		q, r := new(big.Int).QuoRem(c, big.NewInt(10000), new(big.Int))
		if r.Sign() != 0 {
			break
		}
		c = q
		count--
	}
	value, _ = new(big.Float).SetInt(c).Float64()
	return value, weight, count
}

// lnWeight estimates the decimal weight of ln(a), as PostgreSQL does.
func lnWeight(a Num) int {
	if a.Sign() <= 0 {
		return 0
	}
	if NumCmp(a, Num{lo: 9, Scale: 1}) >= 0 && NumCmp(a, Num{lo: 11, Scale: 1}) <= 0 {
		x, err := NumSub(a, Num{lo: 1})
		if err != nil || x.isZero() {
			return 0
		}
		w, d := x.leadingDigit()
		return w*4 + int(math.Log10(float64(d)))
	}
	v, w, n := a.groups(2)
	ln := math.Log(v) + float64((w-n+1)*4)*math.Ln10
	return int(math.Log10(math.Abs(ln)))
}

func errLog(a Num) error {
	if a.isZero() {
		return pgerr.New(pgerr.InvalidArgumentForLog, "cannot take logarithm of zero")
	}
	return pgerr.New(pgerr.InvalidArgumentForLog, "cannot take logarithm of a negative number")
}

// NumLn gives the natural logarithm.
func NumLn(a Num) (Num, error) {
	switch {
	case a.Kind == NumNaN:
		return a, nil
	case a.Sign() <= 0:
		return Num{}, errLog(a)
	case a.Kind != NumFinite:
		return a, nil
	}
	scale := clampDisplay(minSigDigits-lnWeight(a), a.Scale)
	prec := bitsFor(int(scale) + a.digits() + 10)
	return numFromBigFloat(bigLn(a.bigFloat(prec), prec), scale)
}

// NumLog gives the logarithm of a in a base.
func NumLog(base, a Num) (Num, error) {
	if base.Kind == NumNaN || a.Kind == NumNaN {
		return Num{Kind: NumNaN}, nil
	}
	for _, x := range []Num{base, a} {
		if x.Sign() <= 0 && x.Sign() < 0 {
			return Num{}, errLog(x)
		}
	}
	for _, x := range []Num{base, a} {
		if x.Sign() == 0 {
			return Num{}, errLog(x)
		}
	}
	switch {
	case base.Kind == NumPosInf && a.Kind == NumPosInf:
		return Num{Kind: NumNaN}, nil
	case base.Kind == NumPosInf:
		return Num{}, nil
	case a.Kind == NumPosInf:
		return a, nil
	}
	wb, wa := lnWeight(base), lnWeight(a)
	scale := clampDisplay(minSigDigits-(wa-wb), base.Scale, a.Scale)
	prec := bitsFor(int(scale) + a.digits() + base.digits() + 30)
	x, y := bigLn(a.bigFloat(prec), prec), bigLn(base.bigFloat(prec), prec)
	if y.Sign() == 0 {
		return Num{}, errDivisionByZero()
	}
	return numFromBigFloat(x.Quo(x, y), scale)
}

// NumExp gives e^a.
func NumExp(a Num) (Num, error) {
	switch a.Kind {
	case NumNaN, NumPosInf:
		return a, nil
	case NumNegInf:
		return Num{}, nil
	}
	val := a.Float64()
	w := math.Min(math.Max(val*log10e, -maxExpResult), maxExpResult)
	scale := clampDisplay(minSigDigits-int(w), a.Scale)
	return expScale(a, val, scale)
}

// expScale gives e^a rounded to a scale, val being about a.
func expScale(a Num, val float64, scale int32) (Num, error) {
	if math.Abs(val) >= maxExpResult*3 {
		if val > 0 {
			return Num{}, errNumOverflow()
		}
		return Num{Scale: scale}, nil
	}
	prec := bitsFor(int(scale) + int(math.Max(val*log10e, 0)) + 10)
	return numFromBigFloat(bigExp(a.bigFloat(prec), prec), scale)
}

func (n *Num) isIntegral() bool {
	if n.Kind != NumFinite {
		return n.Kind != NumNaN
	}
	t := n.rescale(0, false)
	return NumCmp(t, *n) == 0
}

// NumPower gives a^b.
func NumPower(a, b Num) (Num, error) {
	one := Num{lo: 1}
	switch {
	case a.Kind == NumNaN && b.isZero(), b.Kind == NumNaN && a.Kind == NumFinite && NumCmp(a, one) == 0:
		return one, nil
	case a.Kind == NumNaN || b.Kind == NumNaN:
		return Num{Kind: NumNaN}, nil
	case a.isZero() && b.Sign() < 0:
		return Num{}, pgerr.New(pgerr.InvalidArgumentForPower, "zero raised to a negative power is undefined")
	case a.Sign() < 0 && !b.isIntegral():
		return Num{}, pgerr.New(pgerr.InvalidArgumentForPower, "a negative number raised to a non-integer power yields a complex result")
	case a.Kind != NumFinite || b.Kind != NumFinite:
		return powerInfinite(a, b), nil
	}
	if b.isIntegral() {
		if e, ok := b.rescale(0, false).Int64(); ok && e == int64(int32(e)) {
			return powerInt(a, int(e))
		}
	}
	switch {
	case a.isZero():
		return Num{Scale: minSigDigits}, nil
	case a.Sign() < 0: // to a huge whole power
		r, err := NumPower(NumNeg(a), b)
		half, _ := NumMod(b, NumFromInt64(2))
		if err == nil && !half.isZero() {
			r = NumNeg(r)
		}
		return r, err
	}
	x := bigLn(a.bigFloat(256), 192)
	x.Mul(x, b.bigFloat(256))
	val, _ := x.Float64()
	if math.Abs(val) > maxExpResult*3.01 {
		if val > 0 {
			return Num{}, errNumOverflow()
		}
		return Num{Scale: maxDisplayScale}, nil
	}
	scale := clampDisplay(minSigDigits-int(val*log10e), a.Scale, b.Scale)
	if math.Abs(val) >= maxExpResult*3 {
		return expScale(b, val, scale)
	}
	prec := bitsFor(int(scale) + int(math.Max(val*log10e, 0)) + a.digits() + b.digits() + 20)
	x = bigLn(a.bigFloat(prec), prec)
	x.Mul(x, b.bigFloat(prec))
	return numFromBigFloat(bigExp(x, prec), scale)
}

func powerInfinite(a, b Num) Num {
	one := Num{lo: 1}
	switch {
	case a.Kind == NumFinite && NumCmp(a, one) == 0, b.isZero():
		return one
	case a.isZero():
		return Num{}
	case b.Kind != NumFinite:
		c := NumCmp(NumAbs(a), one)
		switch {
		case c == 0:
			return one
		case (c > 0) == (b.Sign() > 0):
			return Num{Kind: NumPosInf}
		}
		return Num{}
	case b.Sign() < 0:
		return Num{}
	case a.Kind == NumPosInf:
		return a
	}
	if rem, err := NumMod(b, NumFromInt64(2)); err == nil && !rem.isZero() {
		return a
	}
	return Num{Kind: NumPosInf}
}

// powerInt gives a^e for a whole e.
func powerInt(a Num, e int) (Num, error) {
	rscale := clampDisplay(minSigDigits, a.Scale)
	weight := 0.0
	if !a.isZero() {
		v, w, n := a.groups(4)
		weight = float64(e) * (math.Log10(v) + float64((w-n+1)*4))
	}
	switch {
	case weight > (32767+1)*4:
		return Num{}, errNumOverflow()
	case !a.isZero() && e < -2 && weight+1 < -float64(rscale), !a.isZero() && e > 2 && weight+1 < -float64(rscale):
		return Num{Scale: rscale}, nil
	}
	switch {
	case e == 0:
		return Num{lo: 1}.rescale(int(rscale), true).checked()
	case a.isZero():
		return Num{Scale: rscale}, nil
	case e == 1:
		return a.rescale(int(rscale), true).checked()
	case e == -1:
		one := Num{lo: 1}
		return quotient(&one, &a, rscale, true).checked()
	}
	prec := bitsFor(int(rscale)+int(math.Max(weight, 0))+30) + 64
	x := a.bigFloat(prec)
	x.Abs(x)
	r := new(big.Float).SetPrec(prec).SetInt64(1)
	n := e
	if n < 0 {
		n = -n
	}
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			r.Mul(r, x)
		}
		x.Mul(x, x)
	}
	if e < 0 {
		r.Quo(new(big.Float).SetPrec(prec).SetInt64(1), r)
	}
	if a.Neg && e&1 != 0 {
		r.Neg(r)
	}
	return numFromBigFloat(r, rscale)
}

// NumMinScale gives the fewest digits after the point that show a exactly; ok
// is false for NaN and infinities.
func NumMinScale(a Num) (int32, bool) {
	if a.Kind != NumFinite {
		return 0, false
	}
	s := a.Scale
	c := new(big.Int).Set(a.bigCoef())
	if c.Sign() == 0 {
		return 0, true
	}
	ten, rem := big.NewInt(10), new(big.Int)
	for s > 0 {
		q, r := new(big.Int).QuoRem(c, ten, rem)
		if r.Sign() != 0 {
			break
		}
		c = q
		s--
	}
	return s, true
}

// NumGcd gives the greatest common divisor at the larger scale.
func NumGcd(a, b Num) (Num, error) {
	if a.Kind != NumFinite || b.Kind != NumFinite {
		return Num{Kind: NumNaN}, nil
	}
	s := max(a.Scale, b.Scale)
	r := Num{Scale: s}
	r.setBig(new(big.Int).GCD(nil, nil, a.bigScaled(s), b.bigScaled(s)))
	return r, nil
}

// NumLcm gives the least common multiple at the larger scale.
func NumLcm(a, b Num) (Num, error) {
	if a.Kind != NumFinite || b.Kind != NumFinite {
		return Num{Kind: NumNaN}, nil
	}
	s := max(a.Scale, b.Scale)
	r := Num{Scale: s}
	x, y := a.bigScaled(s), b.bigScaled(s)
	if x.Sign() != 0 && y.Sign() != 0 {
		g := new(big.Int).GCD(nil, nil, x, y)
		r.setBig(new(big.Int).Mul(new(big.Int).Quo(x, g), y))
	}
	return r.checked()
}

// NumFactorial gives n!; 22003 for negative n and beyond numeric's range.
func NumFactorial(n int64) (Num, error) {
	switch {
	case n < 0:
		return Num{}, pgerr.New(pgerr.NumericValueOutOfRange, "factorial of a negative number is undefined")
	case n > 32177:
		return Num{}, errNumOverflow()
	}
	return NumFromBig(new(big.Int).MulRange(1, max(n, 1)), 0)
}
