package expr

import (
	"math"

	"github.com/streamdb/streamdb/types"
)

// asOther makes an overload that is computed by the one that takes two of kind
// by: it exists for the choice among overloads.
func asOther(name string, by, result types.Kind, args ...types.Kind) *Func {
	f := fn(name, result, nil, args...)
	same := make([]types.Kind, len(args))
	for i := range same {
		same[i] = by
	}
	f.as = makeID(name, same, false)
	return f
}

// smallFuncs are the operators and functions on smallint and real.
func smallFuncs() []*Func {
	const i2, i4, f4, f8 = types.Int2, types.Int4, types.Float4, types.Float8
	two := func(name string, op func(a, b int64) (int64, error)) *Func {
		return fn(name, i2, binaryOp(ints, ints, ints, op), i2, i2)
	}
	one := func(name string, op func(a int64) (int64, error)) *Func {
		return fn(name, i2, unary(ints, ints, op), i2)
	}
	sum := func(op func(a, b int64) int64) func(a, b int64) (int64, error) {
		return func(a, b int64) (int64, error) { return toInt2(op(a, b)) }
	}
	div := func(op func(a, b int64) int64) func(a, b int64) (int64, error) {
		return func(a, b int64) (int64, error) {
			if b == 0 {
				return 0, errDivZero
			}
			return toInt2(op(a, b))
		}
	}
	quo, rem := div(func(a, b int64) int64 { return a / b }), div(func(a, b int64) int64 { return a % b })
	abs := func(a int64) (int64, error) { return toInt2(max(a, -a)) }
	fs := []*Func{
		two("+", sum(func(a, b int64) int64 { return a + b })), two("-", sum(func(a, b int64) int64 { return a - b })),
		two("*", sum(func(a, b int64) int64 { return a * b })), two("/", quo), two("%", rem), two("mod", rem),
		safe("+", i2, sameInts, i2), one("-", func(a int64) (int64, error) { return toInt2(-a) }),
		one("abs", abs), one("@", abs),
		two("&", sum(func(a, b int64) int64 { return a & b })), two("|", sum(func(a, b int64) int64 { return a | b })),
		two("#", sum(func(a, b int64) int64 { return a ^ b })), safe("~", i2, unary(ints, ints, sure(func(a int64) int64 { return ^a })), i2),
		safe("<<", i2, binaryOp(ints, ints, ints, func(a, n int64) (int64, error) { return int64(int16(int32(a) << (uint(n) & 31))), nil }), i2, i4),
		safe(">>", i2, binaryOp(ints, ints, ints, func(a, n int64) (int64, error) { return a >> (uint(n) & 31), nil }), i2, i4),
	}
	single := func(name string, op func(a, b float64) (float64, error)) *Func {
		return fn(name, f4, binaryOp(floats, floats, floats, op), f4, f4)
	}
	calm := func(name string, op func(float64) float64) *Func {
		return safe(name, f4, unary(floats, floats, sure(op)), f4)
	}
	fs = append(fs,
		single("+", func(a, b float64) (float64, error) { return round4(a+b, false, math.IsInf(a, 0) || math.IsInf(b, 0)) }),
		single("-", func(a, b float64) (float64, error) { return round4(a-b, false, math.IsInf(a, 0) || math.IsInf(b, 0)) }),
		single("*", func(a, b float64) (float64, error) {
			return round4(a*b, a != 0 && b != 0, math.IsInf(a, 0) || math.IsInf(b, 0))
		}),
		single("/", divFloat4),
		calm("+", func(a float64) float64 { return a }), calm("-", func(a float64) float64 { return -a }),
		calm("abs", math.Abs), calm("@", math.Abs))
	for _, op := range []string{"+", "-", "*", "/"} {
		fs = append(fs, asOther(op, f8, f8, f4, f8), asOther(op, f8, f8, f8, f4))
	}
	return fs
}

// round4 rounds a result to single precision: 0 of operands that are not is
// an underflow, infinity of finite ones an overflow.
func round4(a float64, nonZero, infinite bool) (float64, error) {
	f := float64(float32(a))
	switch {
	case math.IsInf(f, 0) && !infinite:
		return 0, errOverflow
	case f == 0 && nonZero:
		return 0, errUnderflow
	}
	return f, nil
}

func divFloat4(a, b float64) (float64, error) {
	if b == 0 && a == a {
		return 0, errDivZero
	}
	return round4(a/b, a != 0 && !math.IsInf(b, 0), math.IsInf(a, 0))
}

// timeFuncs are the operators and functions on times of day.
func timeFuncs() []*Func {
	const tm, tz, d, iv = types.Time, types.Timetz, types.Date, types.Interval
	add := func(t int64, iv types.IntervalValue) (int64, error) { return types.TimeAdd(t, iv), nil }
	sub := func(t int64, iv types.IntervalValue) (int64, error) {
		return types.TimeAdd(t, types.IntervalValue{Micros: -(iv.Micros % microsPerDay)}), nil
	}
	addZ := func(t, iv types.IntervalValue) (types.IntervalValue, error) {
		t.Micros = types.TimeAdd(t.Micros, iv)
		return t, nil
	}
	subZ := func(t, iv types.IntervalValue) (types.IntervalValue, error) {
		t.Micros, _ = sub(t.Micros, iv)
		return t, nil
	}
	diff := func(a, b int64) (types.IntervalValue, error) { return types.IntervalValue{Micros: a - b}, nil }
	fs := []*Func{
		safe("+", tm, binaryOp(ints, intervals, ints, add), tm, iv), safe("+", tm, binaryOp(intervals, ints, ints, swapped(add)), iv, tm),
		safe("-", tm, binaryOp(ints, intervals, ints, sub), tm, iv), safe("-", iv, binaryOp(ints, ints, intervals, diff), tm, tm),
		safe("+", tz, binaryOp(intervals, intervals, intervals, addZ), tz, iv),
		safe("+", tz, binaryOp(intervals, intervals, intervals, swapped(addZ)), iv, tz),
		safe("-", tz, binaryOp(intervals, intervals, intervals, subZ), tz, iv),
	}
	for _, k := range []types.Kind{tm, tz} {
		fs = append(fs, bound("date_part", types.Float8, bindPart(k), types.Text, k), bound("extract", types.Numeric, bindExtract(k), types.Text, k))
	}
	for _, name := range []string{"+"} {
		fs = append(fs, fn(name, types.Timestamp, binaryOp(ints, ints, ints, dateTime), d, tm), fn(name, types.Timestamp, binaryOp(ints, ints, ints, swapped(dateTime)), tm, d),
			fn(name, types.Timestamptz, binaryOp(ints, intervals, ints, dateTimetz), d, tz), fn(name, types.Timestamptz, binaryOp(intervals, ints, ints, swapped(dateTimetz)), tz, d))
	}
	return fs
}

const microsPerDay = 86400000000

// dateTime is a date with a time of day.
func dateTime(d, t int64) (int64, error) {
	ts, err := types.DateToTimestamp(d)
	if err != nil || !types.TimestampFinite(ts) {
		return ts, err
	}
	return types.TimestampAdd(ts, types.IntervalValue{Micros: t})
}

func dateTimetz(d int64, t types.IntervalValue) (int64, error) {
	return dateTime(d, types.TimetzUTC(t))
}
