package expr

import (
	"math"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var (
	errOverflow  = pgerr.New(pgerr.NumericValueOutOfRange, "value out of range: overflow")
	errUnderflow = pgerr.New(pgerr.NumericValueOutOfRange, "value out of range: underflow")
)

// floatFuncs are the operators and functions on double precision.
func floatFuncs() []*Func {
	const k = types.Float8
	one := func(name string, f func(float64) (float64, error)) *Func {
		return fn(name, k, unary(floats, floats, f), k)
	}
	calm := func(name string, f func(float64) float64) *Func {
		return safe(name, k, unary(floats, floats, sure(f)), k)
	}
	return []*Func{
		fn("+", k, addFloat, k, k), fn("-", k, subFloat, k, k),
		fn("*", k, mulFloat, k, k), fn("/", k, divFloat, k, k),
		calm("+", func(a float64) float64 { return a }), calm("-", func(a float64) float64 { return -a }),
		calm("abs", math.Abs), calm("@", math.Abs),
		calm("ceil", math.Ceil), calm("ceiling", math.Ceil), calm("floor", math.Floor),
		calm("round", math.RoundToEven), calm("trunc", math.Trunc), calm("sign", signFloat),
		one("sqrt", sqrtFloat), one("|/", sqrtFloat), calm("cbrt", math.Cbrt),
		one("ln", logFloat(ln)), one("log", logFloat(log10)), one("log10", logFloat(log10)), one("exp", expFloat),
		fn("power", k, binaryOp(floats, floats, floats, powFloat), k, k),
		fn("pow", k, binaryOp(floats, floats, floats, powFloat), k, k),
		fn("^", k, binaryOp(floats, floats, floats, powFloat), k, k),
	}
}

func addFloat(f *frame) {
	a, b, o := f.args[0].F64[:f.n], f.args[1].F64[:f.n], f.out.F64[:f.n]
	for _, r := range rowsOf(f.p, f.sel) {
		if o[r] = a[r] + b[r]; math.IsInf(o[r], 0) {
			f.checkInf(int(r), a[r], b[r])
		}
	}
}

func subFloat(f *frame) {
	a, b, o := f.args[0].F64[:f.n], f.args[1].F64[:f.n], f.out.F64[:f.n]
	for _, r := range rowsOf(f.p, f.sel) {
		if o[r] = a[r] - b[r]; math.IsInf(o[r], 0) {
			f.checkInf(int(r), a[r], b[r])
		}
	}
}

func mulFloat(f *frame) {
	a, b, o := f.args[0].F64[:f.n], f.args[1].F64[:f.n], f.out.F64[:f.n]
	for _, r := range rowsOf(f.p, f.sel) {
		o[r] = a[r] * b[r]
		switch {
		case math.IsInf(o[r], 0):
			f.checkInf(int(r), a[r], b[r])
		case o[r] == 0 && a[r] != 0 && b[r] != 0 && !f.out.Null(int(r)):
			f.fail(int(r), errUnderflow)
		}
	}
}

// checkInf fails an infinite result of finite operands, unless the row is
// NULL anyway.
func (f *frame) checkInf(r int, a, b float64) {
	if !math.IsInf(a, 0) && !math.IsInf(b, 0) && !f.out.Null(r) {
		f.fail(r, errOverflow)
	}
}

func divFloat(f *frame) {
	a, b, o := f.args[0].F64[:f.n], f.args[1].F64[:f.n], f.out.F64[:f.n]
	for _, r := range f.rows() {
		x, y := a[r], b[r]
		q := x / y
		o[r] = q
		switch {
		case y == 0 && x == x:
			f.fail(int(r), errDivZero)
		case math.IsInf(q, 0) && !math.IsInf(x, 0):
			f.fail(int(r), errOverflow)
		case q == 0 && x != 0 && !math.IsInf(y, 0):
			f.fail(int(r), errUnderflow)
		}
	}
}

func signFloat(a float64) float64 {
	switch {
	case a > 0:
		return 1
	case a < 0:
		return -1
	}
	return 0
}

func sqrtFloat(a float64) (float64, error) {
	if a < 0 {
		return 0, pgerr.New(pgerr.InvalidArgumentForPower, "cannot take square root of a negative number")
	}
	return math.Sqrt(a), nil
}

func logFloat(log func(float64) float64) func(float64) (float64, error) {
	return func(a float64) (float64, error) {
		switch {
		case a == 0:
			return 0, pgerr.New(pgerr.InvalidArgumentForLog, "cannot take logarithm of zero")
		case a < 0:
			return 0, pgerr.New(pgerr.InvalidArgumentForLog, "cannot take logarithm of a negative number")
		}
		return log(a), nil
	}
}

// ln is exact about subnormal numbers, which math.Log is not everywhere.
func ln(a float64) float64 {
	if a < 0x1p-1022 {
		return math.Log(a*0x1p54) - 54*math.Ln2
	}
	return math.Log(a)
}

// log10 is exact for powers of ten.
func log10(a float64) float64 {
	r := ln(a) / math.Ln10
	if n := math.Round(r); math.Abs(r-n) < 1e-9 && n >= 0 && math.Pow10(int(n)) == a {
		return n
	}
	return r
}

func expFloat(a float64) (float64, error) {
	r := math.Exp(a)
	switch {
	case math.IsInf(a, 0) || a != a:
		return r, nil
	case math.IsInf(r, 0):
		return 0, errOverflow
	case r == 0:
		return 0, errUnderflow
	}
	return r, nil
}

func powFloat(a, b float64) (float64, error) {
	switch {
	case a != a || b != b:
		if a == 1 || b == 0 {
			return 1, nil
		}
		return math.NaN(), nil
	case a == 0 && b < 0:
		return 0, pgerr.New(pgerr.InvalidArgumentForPower, "zero raised to a negative power is undefined")
	case a < 0 && math.Floor(b) != b:
		return 0, pgerr.New(pgerr.InvalidArgumentForPower, "a negative number raised to a non-integer power yields a complex result")
	}
	r := math.Pow(a, b)
	if abs := math.Abs(a); abs < 0x1p-1022 && a != 0 { // math.Pow is not exact about these
		r = math.Pow(a*0x1p54, b) * math.Exp2(-54*b)
	}
	if math.IsInf(a, 0) || math.IsInf(b, 0) {
		if a == -1 {
			return 1, nil
		}
		return r, nil
	}
	switch {
	case math.IsInf(r, 0):
		return 0, errOverflow
	case r == 0 && a != 0:
		return 0, errUnderflow
	}
	return r, nil
}
