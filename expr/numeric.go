package expr

import (
	"cmp"

	"github.com/streamdb/streamdb/types"
)

// numericFuncs are the operators and functions on numeric.
func numericFuncs() []*Func {
	const k, i4 = types.Numeric, types.Int4
	two := func(name string, f func(a, b types.Num) (types.Num, error)) *Func {
		return fn(name, k, binaryOp(numerics, numerics, numerics, f), k, k)
	}
	one := func(name string, f func(types.Num) (types.Num, error)) *Func {
		return fn(name, k, unary(numerics, numerics, f), k)
	}
	round0 := func(a types.Num) (types.Num, error) { return types.NumRound(a, 0) }
	trunc0 := func(a types.Num) (types.Num, error) { return types.NumTrunc(a, 0) }
	round := func(a types.Num, s int64) (types.Num, error) { return types.NumRound(a, int(s)) }
	trunc := func(a types.Num, s int64) (types.Num, error) { return types.NumTrunc(a, int(s)) }
	same := func(a types.Num) (types.Num, error) { return a, nil }
	return []*Func{
		fn("+", k, addNumeric, k, k), fn("-", k, subNumeric, k, k), fn("*", k, mulNumeric, k, k), two("/", types.NumDiv),
		two("%", types.NumMod), two("mod", types.NumMod), two("div", divTrunc),
		one("+", same), one("-", sure(types.NumNeg)),
		one("abs", sure(types.NumAbs)), one("@", sure(types.NumAbs)),
		one("ceil", types.NumCeil), one("ceiling", types.NumCeil), one("floor", types.NumFloor),
		one("round", round0), one("trunc", trunc0), one("sign", sure(signNumeric)),
		fn("round", k, binaryOp(numerics, ints, numerics, round), k, i4),
		fn("trunc", k, binaryOp(numerics, ints, numerics, trunc), k, i4),
	}
}

// smallPow10 holds the powers of ten that fit an int64.
var smallPow10 = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// sameScale brings two coefficients to the larger scale, if they still fit.
func sameScale(x int64, sx int32, y int64, sy int32) (_, _ int64, scale int32, ok bool) {
	switch d := sx - sy; {
	case d == 0:
		return x, y, sx, true
	case d > 0 && int(d) < len(smallPow10):
		y, ok = mulChecked(y, smallPow10[d])
		return x, y, sx, ok
	case d < 0 && int(-d) < len(smallPow10):
		x, ok = mulChecked(x, smallPow10[-d])
		return x, y, sy, ok
	}
	return 0, 0, 0, false
}

func addNumeric(f *frame) { sumNumeric(f, 1, types.NumAdd) }

func subNumeric(f *frame) { sumNumeric(f, -1, types.NumSub) }

// sumNumeric adds sign × the second argument, by way of general where the
// numbers are not small.
func sumNumeric(f *frame, sign int64, general func(a, b types.Num) (types.Num, error)) {
	a, b, o := f.args[0], f.args[1], &f.out
	for _, r := range f.rows() {
		p, q := a.Bytes(int(r)), b.Bytes(int(r))
		x, sx, ok1 := types.SmallNumeric(p)
		y, sy, ok2 := types.SmallNumeric(q)
		if ok1 && ok2 {
			if x, y, s, ok := sameScale(x, sx, y*sign, sy); ok {
				if sum := x + y; (x^sum)&(y^sum) >= 0 {
					start := len(o.Data)
					o.Data = types.AppendSmallNumeric(o.Data, sum, s)
					f.end(int(r), start)
					continue
				}
			}
		}
		n, err := general(types.DecodeNumeric(p), types.DecodeNumeric(q))
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		appendNumeric(f, int(r), n)
	}
}

// maxSmallScale is the last scale that small images have.
const maxSmallScale = 62

func mulNumeric(f *frame) {
	a, b, o := f.args[0], f.args[1], &f.out
	for _, r := range f.rows() {
		p, q := a.Bytes(int(r)), b.Bytes(int(r))
		x, sx, ok1 := types.SmallNumeric(p)
		y, sy, ok2 := types.SmallNumeric(q)
		if ok1 && ok2 && sx+sy <= maxSmallScale {
			if z, ok := mulChecked(x, y); ok {
				start := len(o.Data)
				o.Data = types.AppendSmallNumeric(o.Data, z, sx+sy)
				f.end(int(r), start)
				continue
			}
		}
		n, err := types.NumMul(types.DecodeNumeric(p), types.DecodeNumeric(q))
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		appendNumeric(f, int(r), n)
	}
}

// compareNumerics orders two images.
func compareNumerics(p, q []byte) int {
	x, sx, ok1 := types.SmallNumeric(p)
	y, sy, ok2 := types.SmallNumeric(q)
	if ok1 && ok2 {
		if x, y, _, ok := sameScale(x, sx, y, sy); ok {
			return cmp.Compare(x, y)
		}
	}
	return types.NumCmp(types.DecodeNumeric(p), types.DecodeNumeric(q))
}

func signNumeric(a types.Num) types.Num {
	if a.IsNaN() {
		return a
	}
	return types.NumFromInt64(int64(a.Sign()))
}

// divTrunc is the integer quotient, truncated.
func divTrunc(a, b types.Num) (types.Num, error) {
	if a.Kind != types.NumFinite || b.Kind != types.NumFinite || b.Sign() == 0 {
		return types.NumDiv(a, b)
	}
	rem, err := types.NumMod(a, b)
	if err != nil {
		return a, err
	}
	if a, err = types.NumSub(a, rem); err != nil {
		return a, err
	}
	if a, err = types.NumDiv(a, b); err != nil { // without remainder
		return a, err
	}
	return types.NumTrunc(a, 0)
}
