package expr

import (
	"math"
	"strconv"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// otherCasts are the casts of int2, float4, varchar, character, time, timetz,
// name, oid, "char" and jsonb that PostgreSQL has functions for.
func otherCasts(add func(from, to types.Kind, ctx CastContext, total bool, k kernel)) {
	const i2, i4, i8, f4, f8, num = types.Int2, types.Int4, types.Int8, types.Float4, types.Float8, types.Numeric
	add(i2, i4, Implicit, true, sameInts)
	add(i2, i8, Implicit, true, sameInts)
	add(i2, f8, Implicit, true, intToFloat)
	add(i2, num, Implicit, true, intToNumeric)
	add(i4, i2, Assignment, false, unary(ints, ints, toInt2))
	add(i8, i2, Assignment, false, unary(ints, ints, toInt2))
	add(f8, i2, Assignment, false, unary(floats, ints, floatToInt2))
	add(num, i2, Assignment, false, unary(numerics, ints, numericToInt2))
	add(f4, i2, Assignment, false, unary(floats, ints, floatToInt2))
	add(f4, i4, Assignment, false, floatToInt4)
	add(f4, i8, Assignment, false, floatToInt8)
	add(f4, num, Assignment, true, unary(floats, numerics, float4ToNumeric))
	add(f4, f8, Implicit, true, unary(floats, floats, sure(func(a float64) float64 { return a })))
	add(f8, f4, Assignment, false, unary(floats, floats, toFloat4))
	for _, k := range []types.Kind{i2, i4, i8} {
		add(k, f4, Implicit, true, unary(ints, floats, sure(func(a int64) float64 { return float64(float32(a)) })))
	}
	add(num, f4, Implicit, false, unary(numerics, floats, numericToFloat4))

	const oid = types.Oid
	add(i2, oid, Implicit, true, unary(ints, ints, sure(func(a int64) int64 { return int64(uint32(a)) })))
	add(i4, oid, Implicit, true, unary(ints, ints, sure(func(a int64) int64 { return int64(uint32(a)) })))
	add(i8, oid, Implicit, false, unary(ints, ints, int8ToOid))
	add(oid, i4, Assignment, true, unary(ints, ints, sure(func(a int64) int64 { return int64(int32(a)) })))
	add(oid, i8, Assignment, true, sameInts)

	const txt, vc, bp, name, ch = types.Text, types.Varchar, types.Bpchar, types.Name, types.Char
	add(txt, vc, Implicit, true, sameBytes)
	add(txt, bp, Implicit, true, sameBytes)
	add(vc, txt, Implicit, true, sameBytes)
	add(vc, bp, Implicit, true, sameBytes)
	add(bp, txt, Implicit, true, trimmedBytes)
	add(bp, vc, Implicit, true, trimmedBytes)
	add(name, txt, Implicit, true, sameBytes)
	add(name, vc, Assignment, true, sameBytes)
	add(name, bp, Assignment, true, sameBytes)
	add(txt, name, Implicit, true, toName)
	add(vc, name, Implicit, true, toName)
	add(bp, name, Implicit, true, toName)
	for _, k := range []types.Kind{txt, vc, bp} {
		add(k, ch, Assignment, true, fromText)
		if k != txt {
			add(types.Bool, k, Assignment, true, boolToText)
		}
	}
	add(ch, txt, Implicit, true, toText)
	add(ch, vc, Assignment, true, toText)
	add(ch, bp, Assignment, true, toText)
	add(ch, i4, Explicit, true, unary(texts, ints, sure(charToInt)))
	add(i4, ch, Explicit, false, intToChar)

	const tm, tz = types.Time, types.Timetz
	add(tm, types.Interval, Implicit, true, unary(ints, intervals, sure(func(t int64) types.IntervalValue { return types.IntervalValue{Micros: t} })))
	add(tm, tz, Implicit, true, unary(ints, intervals, sure(func(t int64) types.IntervalValue { return types.IntervalValue{Micros: t} })))
	add(tz, tm, Assignment, true, unary(intervals, ints, sure(func(t types.IntervalValue) int64 { return t.Micros })))
	add(types.Interval, tm, Assignment, true, unary(intervals, ints, sure(func(iv types.IntervalValue) int64 { return types.TimeAdd(0, iv) })))
	add(types.Timestamp, tm, Assignment, true, timestampToTime)
	add(types.Timestamptz, tm, Assignment, true, timestampToTime)
	add(types.Timestamptz, tz, Assignment, true, timestampToTimetz)

	add(types.Json, types.Jsonb, Assignment, false, fromText)
	add(types.Jsonb, types.Json, Assignment, true, sameBytes)
	for _, k := range []types.Kind{types.Bool, i2, i4, i8, f4, f8, num} {
		add(types.Jsonb, k, Explicit, false, fromJSONB)
	}
}

var errInt2Range = pgerr.New(pgerr.NumericValueOutOfRange, "smallint out of range")

func toInt2(a int64) (int64, error) {
	if a != int64(int16(a)) {
		return 0, errInt2Range
	}
	return a, nil
}

func floatToInt2(a float64) (int64, error) {
	v := math.RoundToEven(a)
	if !(v >= math.MinInt16 && v <= math.MaxInt16) {
		return 0, errInt2Range
	}
	return int64(v), nil
}

func numericToInt2(n types.Num) (int64, error) {
	if n.Kind == types.NumFinite {
		if i, err := n.ToInt8(); err == nil {
			return toInt2(i)
		}
		return 0, errInt2Range
	}
	_, err := n.ToInt4()
	word := "infinity"
	if n.IsNaN() {
		word = "NaN"
	}
	return 0, pgerr.New(pgerr.CodeOf(err), "cannot convert %s to smallint", word)
}

// toFloat4 rounds to single precision.
func toFloat4(a float64) (float64, error) {
	f := float64(float32(a))
	switch {
	case math.IsInf(f, 0) && !math.IsInf(a, 0):
		return 0, errOverflow
	case f == 0 && a != 0:
		return 0, errUnderflow
	}
	return f, nil
}

func float4ToNumeric(a float64) (types.Num, error) {
	if math.IsNaN(a) || math.IsInf(a, 0) {
		return types.NumFromFloat(a), nil
	}
	return types.ParseNumeric(strconv.FormatFloat(a, 'g', 6, 32))
}

func numericToFloat4(n types.Num) (float64, error) {
	if n.Kind != types.NumFinite {
		return n.ToFloat8()
	}
	d, err := types.ParseText(types.T(types.Float4), n.String())
	return d.F, err
}

func int8ToOid(a int64) (int64, error) {
	if a != int64(uint32(a)) {
		return 0, pgerr.New(pgerr.NumericValueOutOfRange, "OID out of range")
	}
	return a, nil
}

// sameBytes is for casts that keep the bytes; the result shares them.
func sameBytes(f *frame) { f.share(0, func(s []byte, _ int) []byte { return s }) }

func trimmedBytes(f *frame) {
	f.share(0, func(s []byte, _ int) []byte { return types.TrimBlanks(s) })
}

func toName(f *frame) {
	trim := f.args[0].Type.Kind == types.Bpchar
	f.share(0, func(s []byte, _ int) []byte {
		if s = s[:len(types.CutName(s))]; trim { // not capped: see share
			s = types.TrimBlanks(s)
		}
		return s
	})
}

func charToInt(b []byte) int64 {
	if len(b) == 0 {
		return 0
	}
	return int64(int8(b[0]))
}

func intToChar(f *frame) {
	for _, r := range f.rows() {
		switch v := f.args[0].I64[r]; {
		case v < math.MinInt8 || v > math.MaxInt8:
			f.fail(int(r), pgerr.New(pgerr.NumericValueOutOfRange, "\"char\" out of range"))
		case v == 0:
			f.out.Span[r] = types.Span{}
		default:
			setText(f, int(r), []byte{byte(v)})
		}
	}
}

func timestampToTime(f *frame) {
	for _, r := range f.rows() {
		t := f.args[0].I64[r]
		if !types.TimestampFinite(t) {
			f.setNull(int(r))
			continue
		}
		f.out.I64[r] = types.TimestampToTime(t)
	}
}

func timestampToTimetz(f *frame) {
	for _, r := range f.rows() {
		t := f.args[0].I64[r]
		if !types.TimestampFinite(t) {
			f.setNull(int(r))
			continue
		}
		f.out.Iv[r] = types.IntervalValue{Micros: types.TimestampToTime(t)}
	}
}

// fromJSONB takes a number or a truth value out of jsonb.
func fromJSONB(f *frame) {
	for _, r := range f.rows() {
		b := f.args[0].Bytes(int(r))
		k := types.JSONKindOf(b)
		if want := types.JSONNumber; f.t.Kind == types.Bool && k != types.JSONBool || f.t.Kind != types.Bool && k != want {
			f.fail(int(r), pgerr.New(pgerr.InvalidParameterValue, "cannot cast jsonb %s to type %s", jsonKindName(k, true), f.t.Kind))
			continue
		}
		if f.t.Kind == types.Bool {
			f.out.Bool[r] = b[0] == 't'
			continue
		}
		n, err := types.ParseNumeric(string(b))
		if err == nil {
			err = setNumber(f, int(r), n)
		}
		if err != nil {
			f.fail(int(r), err)
		}
	}
}

// jsonKindName is the name of a kind of JSON value in PostgreSQL's messages.
func jsonKindName(k types.JSONKind, message bool) string {
	switch k {
	case types.JSONNull:
		return "null"
	case types.JSONString:
		return "string"
	case types.JSONNumber:
		if message {
			return "numeric"
		}
		return "number"
	case types.JSONBool:
		return "boolean"
	case types.JSONArray:
		return "array"
	}
	return "object"
}

// setNumber makes n row r of a result of any type of numbers.
func setNumber(f *frame, r int, n types.Num) (err error) {
	switch f.t.Kind {
	case types.Int2:
		f.out.I64[r], err = numericToInt2(n)
	case types.Int4:
		f.out.I64[r], err = n.ToInt4()
	case types.Int8:
		f.out.I64[r], err = n.ToInt8()
	case types.Float4:
		f.out.F64[r], err = numericToFloat4(n)
	case types.Float8:
		f.out.F64[r], err = n.ToFloat8()
	default:
		appendNumeric(f, r, n)
	}
	return err
}

// modFuncs bring a value within its type's modifier; cutFuncs are those of
// explicit casts where these do otherwise: they cut what is too long. They
// are casts of a kind to itself.
var modFuncs, cutFuncs = map[types.Kind]*Func{}, map[types.Kind]*Func{}

// modKinds are the kinds with a modifier.
var modKinds = []types.Kind{types.Numeric, types.Varchar, types.Bpchar, types.Time, types.Timetz,
	types.Timestamp, types.Timestamptz, types.Interval}

func modFunctions() (fs []*Func) {
	for _, k := range modKinds {
		f := &Func{Name: kindNames[k], Args: []types.Kind{k}, Result: k, Strict: true, cast: true, bind: bindMod(false)}
		f.id = "cast:" + makeID(f.Name, f.Args, false)
		modFuncs[k] = f
		fs = append(fs, f)
	}
	for _, k := range []types.Kind{types.Varchar, types.Bpchar} {
		f := &Func{Name: kindNames[k], Args: []types.Kind{k}, Result: k, Strict: true, cast: true, total: true, bind: bindMod(true)}
		f.id = "cut:" + makeID(f.Name, f.Args, false)
		cutFuncs[k] = f
		fs = append(fs, f)
	}
	return fs
}

// bindMod makes the kernel that brings values within the call's type.
func bindMod(explicit bool) func(*Call) (kernel, error) {
	return func(c *Call) (kernel, error) {
		t := c.T
		if t.Kind == types.Numeric {
			return func(f *frame) { numericMod(f, t.Mod) }, nil
		}
		return func(f *frame) {
			v := f.args[0]
			for _, r := range f.rows() {
				d, err := types.ApplyMod(v.Datum(int(r)), t, explicit)
				if err != nil {
					f.fail(int(r), err)
					continue
				}
				setDatum(&f.out, int(r), d)
			}
		}, nil
	}
}

func numericMod(f *frame, mod int32) {
	for _, r := range f.rows() {
		n, err := types.NumApplyMod(types.DecodeNumeric(f.args[0].Bytes(int(r))), mod)
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		appendNumeric(f, int(r), n)
	}
}
