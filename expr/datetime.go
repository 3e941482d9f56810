package expr

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// The zone of the session is UTC, so what PostgreSQL calls stable because it
// depends on the zone is immutable here.

// datetimeFuncs are the operators and functions on dates, times and intervals.
func datetimeFuncs() []*Func {
	const (
		d, ts, tz, iv = types.Date, types.Timestamp, types.Timestamptz, types.Interval
		i4, f8, txt   = types.Int4, types.Float8, types.Text
		toText        = "Cast the value to text."
	)
	fs := []*Func{
		fn("+", d, binaryOp(ints, ints, ints, types.DateAdd), d, i4),
		fn("+", d, binaryOp(ints, ints, ints, swapped(types.DateAdd)), i4, d),
		fn("-", d, binaryOp(ints, ints, ints, func(a, n int64) (int64, error) { return types.DateAdd(a, -n) }), d, i4),
		fn("-", i4, binaryOp(ints, ints, ints, types.DateSub), d, d),
		fn("+", ts, binaryOp(ints, intervals, ints, dateAddInterval), d, iv),
		fn("+", ts, binaryOp(intervals, ints, ints, swapped(dateAddInterval)), iv, d),
		fn("-", ts, binaryOp(ints, intervals, ints, minus(dateAddInterval)), d, iv),
		fn("+", iv, binaryOp(intervals, intervals, intervals, types.IntervalAdd), iv, iv),
		fn("-", iv, binaryOp(intervals, intervals, intervals, types.IntervalSub), iv, iv),
		fn("-", iv, unary(intervals, intervals, types.IntervalNeg), iv),
		fn("*", iv, binaryOp(intervals, floats, intervals, types.IntervalMul), iv, f8),
		fn("*", iv, binaryOp(floats, intervals, intervals, swapped(types.IntervalMul)), f8, iv),
		fn("/", iv, binaryOp(intervals, floats, intervals, types.IntervalDiv), iv, f8),
		fn("justify_hours", iv, unary(intervals, intervals, types.JustifyHours), iv),
		safe("isfinite", types.Bool, unary(ints, bools, sure(types.DateFinite)), d),
		safe("isfinite", types.Bool, unary(intervals, bools, func(types.IntervalValue) (bool, error) { return true, nil }), iv),
		fn("to_timestamp", tz, unary(floats, ints, toTimestamp), f8),
		bound("date_trunc", iv, bindTrunc(iv), txt, iv),
		bound("date_part", f8, bindPart(iv), txt, iv),
		bound("extract", types.Numeric, bindExtract(iv), txt, iv),
		bound("date_part", f8, bindPart(d), txt, d),
		bound("extract", types.Numeric, bindExtract(d), txt, d),
		refusedFn("to_char", toText, txt, iv, txt),
	}
	for _, k := range []types.Kind{ts, tz} {
		fs = append(fs,
			fn("+", k, binaryOp(ints, intervals, ints, types.TimestampAdd), k, iv),
			fn("+", k, binaryOp(intervals, ints, ints, swapped(types.TimestampAdd)), iv, k),
			fn("-", k, binaryOp(ints, intervals, ints, minus(types.TimestampAdd)), k, iv),
			fn("-", iv, binaryOp(ints, ints, intervals, types.TimestampSub), k, k),
			bound("date_trunc", k, bindTrunc(k), txt, k),
			bound("date_part", f8, bindPart(k), txt, k),
			bound("extract", types.Numeric, bindExtract(k), txt, k),
			safe("isfinite", types.Bool, unary(ints, bools, sure(types.TimestampFinite)), k),
			fn("to_char", txt, toChar, k, txt))
	}
	return fs
}

// clockFuncs depend on the time, or on chance.
func clockFuncs() []*Func {
	now := func(name string, k types.Kind, value func(types.Micros) int64) *Func {
		f := safe(name, k, func(f *frame) {
			v := value(f.p.Now)
			for i := range f.out.I64 {
				f.out.I64[i] = v
			}
		})
		f.Volatility = Stable
		return f
	}
	same := func(m types.Micros) int64 { return int64(m) }
	random := safe("random", types.Float8, func(f *frame) {
		for _, r := range f.rows() {
			f.out.F64[r] = rand.Float64()
		}
	})
	random.Volatility = Volatile
	return []*Func{
		now("now", types.Timestamptz, same), now("current_timestamp", types.Timestamptz, same),
		now("localtimestamp", types.Timestamp, same),
		now("current_date", types.Date, func(m types.Micros) int64 { return types.TimestampToDate(int64(m)) }),
		random,
	}
}

func swapped[A, B, R any](f func(A, B) (R, error)) func(B, A) (R, error) {
	return func(b B, a A) (R, error) { return f(a, b) }
}

// minus makes subtraction of an interval of its addition.
func minus(add func(int64, types.IntervalValue) (int64, error)) func(int64, types.IntervalValue) (int64, error) {
	return func(t int64, iv types.IntervalValue) (int64, error) {
		return add(t, types.IntervalValue{Months: -iv.Months, Days: -iv.Days, Micros: -iv.Micros})
	}
}

func dateAddInterval(d int64, iv types.IntervalValue) (int64, error) {
	t, err := types.DateToTimestamp(d)
	if err != nil {
		return 0, err
	}
	return types.TimestampAdd(t, iv)
}

// toTimestamp is to_timestamp of Unix seconds.
func toTimestamp(s float64) (int64, error) {
	const unixEpoch = 946684800 // 2000-01-01
	switch {
	case s != s:
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp cannot be NaN")
	case math.IsInf(s, 1):
		return types.TimestampPosInf, nil
	case math.IsInf(s, -1):
		return types.TimestampNegInf, nil
	}
	us := math.RoundToEven((s - unixEpoch) * 1e6)
	if !(us >= -math.MaxInt64/2*2 && us < math.MaxInt64) {
		return 0, errToTimestamp(s)
	}
	t, err := types.TimestampAdd(0, types.IntervalValue{Micros: int64(us)})
	if err != nil {
		return 0, errToTimestamp(s)
	}
	return t, nil
}

func errToTimestamp(s float64) error {
	return pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp out of range: \"%g\"", s)
}

// toChar is to_char of timestamps: NULL for ±infinity and for no pattern. A
// pattern is taken apart once for all rows that follow with the same one, and
// what shows nothing finer than a day is copied while the day is the same.
func toChar(f *frame) {
	a, pattern, o := f.args[0], f.args[1], &f.out
	var format types.TimestampFormat
	var err error
	parsed, day, last := "", int64(math.MinInt64), types.Span{}
	for _, r := range f.rows() {
		b, t := viewString(pattern.Bytes(int(r))), a.I64[r]
		if len(b) == 0 || !types.TimestampFinite(t) {
			f.setNull(int(r))
			continue
		}
		if b != parsed {
			err = format.Parse(b)
			parsed, day = b, math.MinInt64
		}
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		start := len(o.Data)
		if d := types.DayOf(t); d == day && format.Daily() {
			o.Data = append(o.Data, o.Data[last.Off:last.Off+last.Len]...)
		} else {
			o.Data = format.Append(o.Data, t)
			day, last = d, types.Span{Off: uint32(start), Len: uint32(len(o.Data) - start)}
		}
		if f.end(int(r), start); len(o.Data) == start { // taken back: too long
			day = math.MinInt64
		}
	}
}

// fieldLookup is types.ExtractField or types.TruncField.
type fieldLookup func(name string, t types.Type) (types.Field, error)

// fieldOf gives the field that a row names: the constant's, found when the
// call was compiled, or the one it spells.
type fieldOf struct {
	constant types.Field
	err      error // of the constant's name; raised by each row
	lookup   fieldLookup
	t        types.Type
}

func newFieldOf(c *Call, lookup fieldLookup, k types.Kind) fieldOf {
	fo := fieldOf{lookup: lookup, t: types.T(k)}
	if name, ok := c.Args[0].(*Const); ok && !name.Value.Null {
		fo.constant, fo.err = lookup(string(name.Value.B), fo.t)
	}
	return fo
}

func (fo *fieldOf) at(f *frame, r int) (types.Field, error) {
	if fo.constant != 0 || fo.err != nil {
		return fo.constant, fo.err
	}
	return fo.lookup(viewString(f.args[0].Bytes(r)), fo.t)
}

// extractAt gives a field of row r; ok is false for NULL.
func extractAt(field types.Field, k types.Kind, v *types.Vec, r int) (n types.Num, ok bool) {
	switch k {
	case types.Date:
		return types.ExtractDate(field, v.I64[r])
	case types.Timestamp:
		return types.ExtractTimestamp(field, v.I64[r])
	case types.Timestamptz:
		return types.ExtractTimestamptz(field, v.I64[r], time.UTC)
	case types.Time:
		return types.ExtractTime(field, v.I64[r]), true
	case types.Timetz:
		return types.ExtractTimetz(field, v.Iv[r]), true
	}
	return types.ExtractInterval(field, v.Iv[r]), true
}

func bindExtract(k types.Kind) func(*Call) (kernel, error) {
	return bindField(k, types.ExtractField, func(f *frame, r int, n types.Num) { appendNumeric(f, r, n) })
}

// bindPart is date_part. PostgreSQL makes a timestamp of a date first.
func bindPart(k types.Kind) func(*Call) (kernel, error) {
	lookup := fieldLookup(types.ExtractField)
	if k == types.Date {
		lookup = func(name string, _ types.Type) (types.Field, error) {
			return types.ExtractField(name, types.T(types.Timestamp))
		}
	}
	return bindField(k, lookup, func(f *frame, r int, n types.Num) { f.out.F64[r] = n.Float64() })
}

func bindField(k types.Kind, lookup fieldLookup, set func(*frame, int, types.Num)) func(*Call) (kernel, error) {
	return func(c *Call) (kernel, error) {
		fo := newFieldOf(c, lookup, k)
		return func(f *frame) {
			v := f.args[1]
			for _, r := range f.rows() {
				n, ok, err := fo.value(f, k, v, int(r))
				switch {
				case err != nil:
					f.fail(int(r), err)
				case !ok:
					f.setNull(int(r))
				default:
					set(f, int(r), n)
				}
			}
		}, nil
	}
}

// value gives the field that row r names of its value; ok is false for NULL.
// date_part makes a timestamp of a date first.
func (fo *fieldOf) value(f *frame, k types.Kind, v *types.Vec, r int) (n types.Num, ok bool, err error) {
	if k != types.Date || f.t.Kind != types.Float8 {
		field, err := fo.at(f, r)
		if err != nil {
			return n, false, err
		}
		n, ok = extractAt(field, k, v, r)
		return n, ok, nil
	}
	t, err := types.DateToTimestamp(v.I64[r])
	if err != nil {
		return n, false, err
	}
	field, err := fo.at(f, r)
	if err != nil {
		return n, false, err
	}
	n, ok = types.ExtractTimestamp(field, t)
	return n, ok, nil
}

func bindTrunc(k types.Kind) func(*Call) (kernel, error) {
	return func(c *Call) (kernel, error) {
		fo := newFieldOf(c, types.TruncField, k)
		return func(f *frame) {
			v := f.args[1]
			for _, r := range f.rows() {
				if k != types.Interval && !types.TimestampFinite(v.I64[r]) {
					f.out.I64[r] = v.I64[r] // of any unit
					continue
				}
				field, err := fo.at(f, int(r))
				switch {
				case err != nil:
				case k == types.Interval:
					f.out.Iv[r] = types.TruncInterval(field, v.Iv[r])
				default:
					f.out.I64[r], err = types.TruncTimestamp(field, v.I64[r])
				}
				if err != nil {
					f.fail(int(r), err)
				}
			}
		}, nil
	}
}
