package expr

import (
	"math"
	"math/bits"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// mathFuncs are the mathematical functions beside the operators.
func mathFuncs() []*Func {
	const i4, i8, f8, num = types.Int4, types.Int8, types.Float8, types.Numeric
	one := func(name string, f func(types.Num) (types.Num, error)) *Func {
		return fn(name, num, unary(numerics, numerics, f), num)
	}
	two := func(name string, f func(a, b types.Num) (types.Num, error)) *Func {
		return fn(name, num, binaryOp(numerics, numerics, numerics, f), num, num)
	}
	log10 := func(a types.Num) (types.Num, error) { return types.NumLog(types.NumFromInt64(10), a) }
	fs := []*Func{
		one("sqrt", types.NumSqrt), one("ln", types.NumLn), one("exp", types.NumExp), one("log", log10), one("log10", log10),
		two("log", types.NumLog), two("power", types.NumPower), two("pow", types.NumPower), two("^", types.NumPower),
		two("gcd", types.NumGcd), two("lcm", types.NumLcm),
		fn("factorial", num, unary(ints, numerics, types.NumFactorial), i8),
		safe("scale", i4, scaleOf(func(a types.Num) (int32, bool) { return a.Scale, a.Kind == types.NumFinite }), num),
		safe("min_scale", i4, scaleOf(types.NumMinScale), num),
		one("trim_scale", func(a types.Num) (types.Num, error) {
			s, ok := types.NumMinScale(a)
			if !ok {
				return a, nil
			}
			return types.NumRound(a, int(s))
		}),
		fn("width_bucket", i4, widthBucketFloat, f8, f8, f8, i4), fn("width_bucket", i4, widthBucketNumeric, num, num, num, i4),
		safe("pi", f8, func(f *frame) {
			for _, r := range f.rows() {
				f.out.F64[r] = math.Pi
			}
		}),
	}
	for _, k := range []types.Kind{i4, i8} {
		narrow := k == i4
		fs = append(fs, fn("gcd", k, binaryOp(ints, ints, ints, gcdInt(narrow)), k, k), fn("lcm", k, binaryOp(ints, ints, ints, lcmInt(narrow)), k, k))
	}
	return append(fs, trigFuncs()...)
}

func scaleOf(f func(types.Num) (int32, bool)) kernel {
	return func(fr *frame) {
		for _, r := range fr.rows() {
			s, ok := f(types.DecodeNumeric(fr.args[0].Bytes(int(r))))
			if !ok {
				fr.setNull(int(r))
				continue
			}
			fr.out.I64[r] = int64(s)
		}
	}
}

// trigFuncs are the trigonometric and hyperbolic functions.
func trigFuncs() []*Func {
	const f8 = types.Float8
	var fs []*Func
	add := func(name string, f func(float64) (float64, error)) {
		fs = append(fs, fn(name, f8, unary(floats, floats, f), f8))
	}
	noInf := func(f func(float64) float64) func(float64) (float64, error) {
		return func(a float64) (float64, error) {
			if math.IsInf(a, 0) {
				return 0, errInputRange
			}
			return f(a), nil
		}
	}
	within := func(lo, hi float64, f func(float64) float64) func(float64) (float64, error) {
		return func(a float64) (float64, error) {
			if a < lo || a > hi {
				return 0, errInputRange
			}
			return f(a), nil
		}
	}
	inf := math.Inf(1)
	add("degrees", func(a float64) (float64, error) { return finite(a/(math.Pi/180), a) })
	add("radians", func(a float64) (float64, error) {
		r, err := finite(a*(math.Pi/180), a)
		if r == 0 && a != 0 {
			return 0, errUnderflow
		}
		return r, err
	})
	add("sin", noInf(math.Sin))
	add("cos", noInf(math.Cos))
	add("tan", noInf(math.Tan))
	add("cot", func(a float64) (float64, error) {
		if math.IsInf(a, 0) {
			return 0, errInputRange
		}
		return 1 / math.Tan(a), nil
	})
	add("asin", within(-1, 1, math.Asin))
	add("acos", within(-1, 1, math.Acos))
	add("atan", within(-inf, inf, math.Atan))
	add("sinh", within(-inf, inf, math.Sinh))
	add("cosh", within(-inf, inf, math.Cosh))
	add("tanh", within(-inf, inf, math.Tanh))
	add("asinh", within(-inf, inf, math.Asinh))
	add("acosh", within(1, inf, math.Acosh))
	add("atanh", within(-1, 1, math.Atanh))
	add("sind", noInf(sinDegrees))
	add("cosd", noInf(cosDegrees))
	add("tand", noInf(func(a float64) float64 { return quadrantTan(a, false) }))
	add("cotd", noInf(func(a float64) float64 { return quadrantTan(a, true) }))
	add("asind", within(-1, 1, func(a float64) float64 { return exactDegrees(math.Asin(a)) }))
	add("acosd", within(-1, 1, func(a float64) float64 { return exactDegrees(math.Acos(a)) }))
	add("atand", within(-inf, inf, func(a float64) float64 { return exactDegrees(math.Atan(a)) }))
	atan2 := func(a, b float64) (float64, error) { return math.Atan2(a, b), nil }
	atan2d := func(a, b float64) (float64, error) { return exactDegrees(math.Atan2(a, b)), nil }
	cbrt := fn("||/", f8, unary(floats, floats, sure(math.Cbrt)), f8)
	return append(fs, cbrt, safe("atan2", f8, binaryOp(floats, floats, floats, atan2), f8, f8),
		safe("atan2d", f8, binaryOp(floats, floats, floats, atan2d), f8, f8))
}

var errInputRange = pgerr.New(pgerr.NumericValueOutOfRange, "input is out of range")

// finite fails an infinite result of a finite argument.
func finite(r, a float64) (float64, error) {
	if math.IsInf(r, 0) && !math.IsInf(a, 0) {
		return 0, errOverflow
	}
	return r, nil
}

// exactDegrees gives radians in degrees, whole where the angle is a well-known
// one.
func exactDegrees(rad float64) float64 {
	d := rad * (180 / math.Pi)
	if r := math.Round(d/15) * 15; r != 0 && math.Abs(d-r) < 1e-13*math.Max(math.Abs(r), 1) {
		return r
	}
	return d
}

// sinDegrees is exact at the multiples of 30 degrees.
func sinDegrees(a float64) float64 {
	sign := 1.0
	if a = math.Mod(a, 360); a < 0 {
		a, sign = -a, -1
	}
	if a > 180 {
		a, sign = 360-a, -sign
	}
	if a > 90 {
		a = 180 - a
	}
	switch a {
	case 0:
		return sign * 0
	case 30:
		return sign * 0.5
	case 90:
		return sign
	}
	return sign * math.Sin(a*(math.Pi/180))
}

func cosDegrees(a float64) float64 {
	if a = math.Abs(math.Mod(a, 360)); a > 180 {
		a = 360 - a
	}
	sign := 1.0
	if a > 90 {
		a, sign = 180-a, -1
	}
	switch a {
	case 0:
		return sign
	case 60:
		return sign * 0.5
	case 90:
		return 0
	}
	return sign * math.Cos(a*(math.Pi/180))
}

func quadrantTan(a float64, cot bool) float64 {
	s, c := sinDegrees(a), cosDegrees(a)
	if math.Abs(math.Mod(a, 90)) == 45 {
		s, c = math.Copysign(1, s), math.Copysign(1, c)
	}
	if cot {
		s, c = c, s
	}
	if s == 0 {
		return 0
	}
	return s / c
}

func gcdInt(narrow bool) func(a, b int64) (int64, error) {
	return func(a, b int64) (int64, error) {
		x, y := magnitude(a), magnitude(b)
		for y != 0 {
			x, y = y, x%y
		}
		if x > math.MaxInt64 || narrow && x > math.MaxInt32 {
			return 0, errIntRange(narrow)
		}
		return int64(x), nil
	}
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

func lcmInt(narrow bool) func(a, b int64) (int64, error) {
	gcd := gcdInt(false)
	return func(a, b int64) (int64, error) {
		if a == 0 || b == 0 {
			return 0, nil
		}
		g, err := gcd(a, b)
		if err != nil {
			return 0, errIntRange(narrow)
		}
		hi, lo := bits.Mul64(magnitude(a)/uint64(g), magnitude(b))
		if hi != 0 || lo > math.MaxInt64 || narrow && lo > math.MaxInt32 {
			return 0, errIntRange(narrow)
		}
		return int64(lo), nil
	}
}

func errWidth(msg string) *pgerr.Error { return pgerr.New(pgerr.InvalidArgumentForWidth, "%s", msg) }

// widthBucketFloat tells in which of n equal parts of [low, high) a value lies,
// 0 below and n+1 above.
func widthBucketFloat(f *frame) {
	for _, r := range f.rows() {
		x, lo, hi, n := f.args[0].F64[r], f.args[1].F64[r], f.args[2].F64[r], f.args[3].I64[r]
		b, err := bucketFloat(x, lo, hi, n)
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		f.out.I64[r] = b
	}
}

func bucketFloat(x, lo, hi float64, n int64) (int64, error) {
	switch {
	case n <= 0:
		return 0, errWidth("count must be greater than zero")
	case x != x || lo != lo || hi != hi:
		return 0, errWidth("operand, lower bound, and upper bound cannot be NaN")
	case math.IsInf(lo, 0) || math.IsInf(hi, 0):
		return 0, errWidth("lower and upper bounds must be finite")
	case lo == hi:
		return 0, errWidth("lower bound cannot equal upper bound")
	}
	down := lo > hi
	if down {
		x, lo, hi = -x, -lo, -hi
	}
	switch {
	case x < lo:
		return 0, nil
	case x >= hi:
		if n == math.MaxInt32 {
			return 0, errInt4Range
		}
		return n + 1, nil
	}
	w := hi - lo
	part := (x - lo) / w
	if math.IsInf(w, 0) {
		part = (x/2 - lo/2) / (hi/2 - lo/2)
	}
	return int64(float64(n)*part) + 1, nil // as PostgreSQL 15, which rounding may take to n + 1
}

func widthBucketNumeric(f *frame) {
	for _, r := range f.rows() {
		arg := func(i int) types.Num { return types.DecodeNumeric(f.args[i].Bytes(int(r))) }
		b, err := bucketNumeric(arg(0), arg(1), arg(2), f.args[3].I64[r])
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		f.out.I64[r] = b
	}
}

func bucketNumeric(x, lo, hi types.Num, n int64) (int64, error) {
	switch {
	case n <= 0:
		return 0, errWidth("count must be greater than zero")
	case x.IsNaN() || lo.IsNaN() || hi.IsNaN():
		return 0, errWidth("operand, lower bound, and upper bound cannot be NaN")
	case lo.Kind != types.NumFinite || hi.Kind != types.NumFinite:
		return 0, errWidth("lower and upper bounds must be finite")
	}
	switch c := types.NumCmp(lo, hi); {
	case c == 0:
		return 0, errWidth("lower bound cannot equal upper bound")
	case c > 0:
		x, lo, hi = types.NumNeg(x), types.NumNeg(lo), types.NumNeg(hi)
	}
	switch {
	case types.NumCmp(x, lo) < 0:
		return 0, nil
	case types.NumCmp(x, hi) >= 0:
		if n == math.MaxInt32 {
			return 0, errInt4Range
		}
		return n + 1, nil
	}
	a, err1 := types.NumSub(x, lo)
	w, err2 := types.NumSub(hi, lo)
	if err1 != nil || err2 != nil {
		return 0, errInt4Range
	}
	a, err := types.NumMul(a, types.NumFromInt64(n))
	if err != nil {
		return 0, err
	}
	if a, err = types.NumDiv(a, w); err == nil {
		a, err = types.NumFloor(a)
	}
	b, err3 := a.ToInt4()
	if err != nil || err3 != nil {
		return 0, errInt4Range
	}
	return b + 1, nil
}
