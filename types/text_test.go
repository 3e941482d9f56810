package types

import (
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// What PostgreSQL 15 answers; pg_test.go compares far more with a real one.
func TestText(t *testing.T) {
	for _, c := range []struct {
		kind     Kind
		in, want string
	}{
		{Bool, " TRUE ", "t"}, {Bool, "of", "f"}, {Bool, "o", `22P02 invalid input syntax for type boolean: "o"`},
		{Int4, " -5 ", "-5"}, {Int4, "abc", `22P02 invalid input syntax for type integer: "abc"`},
		{Int4, "2147483648", `22003 value "2147483648" is out of range for type integer`},
		{Int8, "-9223372036854775808", "-9223372036854775808"}, {Int8, "1e3", `22P02 invalid input syntax for type bigint: "1e3"`},
		{Float8, "1e15", "1e+15"}, {Float8, "1e14", "100000000000000"}, {Float8, "0.00001", "1e-05"}, {Float8, "0.0001", "0.0001"},
		{Float8, "-0", "-0"}, {Float8, "nan", "NaN"}, {Float8, "-inf", "-Infinity"}, {Float8, "1e400", `22003 "1e400" is out of range for type double precision`},
		{Float8, "99834259088285792", "9.983425908828579e+16"}, {Float8, "1e23", "9.999999999999999e+22"}, {Float8, "9007199254740993", "9.007199254740992e+15"},
		{Numeric, "1.500", "1.500"}, {Numeric, "-0.0", "0.0"}, {Numeric, "1.5e-3", "0.0015"}, {Numeric, "1e-16384", "22003 value overflows numeric format"},
		{Numeric, "1..2", `22P02 invalid input syntax for type numeric: "1..2"`}, {Numeric, "340282366920938463463374607431768211456", "340282366920938463463374607431768211456"},
		{Text, "a\x00", `22021 invalid byte sequence for encoding "UTF8": 0x00`}, {Text, "\xff", `22021 invalid byte sequence for encoding "UTF8": 0xff`},
		{Date, "Jan 3 2001", "2001-01-03"}, {Date, "1/3/2001", "2001-01-03"}, {Date, "20010103", "2001-01-03"}, {Date, "0044-03-15 BC", "0044-03-15 BC"},
		{Date, "2001-02-29", `22008 date/time field value out of range: "2001-02-29"`}, {Date, "5874898-01-01", `22008 date out of range: "5874898-01-01"`},
		{Date, "abc", `22007 invalid input syntax for type date: "abc"`}, {Date, "today", `0A000 date/time value "today" is not supported`},
		{Timestamp, "2001-01-03T04:05:06.1234567", "2001-01-03 04:05:06.123457"}, {Timestamp, "2001-01-03 24:00:00", "2001-01-04 00:00:00"},
		{Timestamp, "epoch", "1970-01-01 00:00:00"}, {Timestamp, "294277-01-01", `22008 timestamp out of range: "294277-01-01"`},
		{Timestamp, "4714-11-24 00:00:00 BC", "4714-11-24 00:00:00 BC"}, {Timestamp, "2001-01-03 25:00:00", `22008 date/time field value out of range: "2001-01-03 25:00:00"`},
		{Timestamptz, "2001-01-03 04:05:06+05:30", "2001-01-02 22:35:06+00"}, {Timestamptz, "2001-07-03 04:05:06 America/New_York", "2001-07-03 08:05:06+00"},
		{Timestamptz, "2001-01-03 04:05:06+16", `22009 time zone displacement out of range: "2001-01-03 04:05:06+16"`},
		{Timestamptz, "x", `22007 invalid input syntax for type timestamp with time zone: "x"`},
		{Timestamptz, "2001-01-03 04:05:06 Nowhere/Land", `22023 time zone "nowhere/land" not recognized`},
		{Interval, "1 year 2 mons 3 days 04:05:06.7", "1 year 2 mons 3 days 04:05:06.7"}, {Interval, "P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"},
		{Interval, "1 day ago", "-1 days"}, {Interval, "-1 mon 2 days -3 hours", "-1 mons +2 days -03:00:00"}, {Interval, "1.5 months", "1 mon 15 days"},
		{Interval, "1-2 3 4:05:06", "1 year 2 mons 3 days 04:05:06"}, {Interval, "2147483648 days", `22015 interval field value out of range: "2147483648 days"`},
		{Interval, "1 foo", `22007 invalid input syntax for type interval: "1 foo"`}, {Interval, "0", "00:00:00"},
	} {
		if got := result(ParseText(T(c.kind), c.in)); got != c.want {
			t.Errorf("%s %q: have %s, want %s", c.kind, c.in, got, c.want)
		}
	}
}

func num(t *testing.T, s string) Num {
	t.Helper()
	n, err := ParseNumeric(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNumericArithmetic(t *testing.T) {
	for _, c := range []struct {
		a, op, b, want string
	}{
		{"1.0", "+", "2.00", "3.00"}, {"1", "-", "1.00", "0.00"}, {"1.50", "*", "2.0", "3.000"}, {"1", "/", "3", "0.33333333333333333333"},
		{"10", "/", "4", "2.5000000000000000"}, {"-7", "%", "3", "-1"}, {"7.5", "%", "-2", "1.5"}, {"1", "/", "0", "22012 division by zero"},
		{"NaN", "/", "0", "NaN"}, {"Infinity", "-", "Infinity", "NaN"}, {"1", "/", "Infinity", "0"}, {"Infinity", "*", "-2", "-Infinity"},
		{"340282366920938463463374607431768211455", "+", "1", "340282366920938463463374607431768211456"},
		{"18446744073709551616", "*", "18446744073709551616", "340282366920938463463374607431768211456"},
		{"9e131071", "+", "9e131071", "22003 value overflows numeric format"},
	} {
		f := map[string]func(a, b Num) (Num, error){"+": NumAdd, "-": NumSub, "*": NumMul, "/": NumDiv, "%": NumMod}[c.op]
		if got := result(f(num(t, c.a), num(t, c.b))); got != c.want {
			t.Errorf("%s %s %s: have %s, want %s", c.a, c.op, c.b, got, c.want)
		}
	}
	typ, err := TypeByName("numeric", []int64{4, 2})
	if err != nil || typ.String() != "numeric(4,2)" {
		t.Fatal(typ, err)
	}
	const want = "22003 numeric field overflow | A field with precision 4, scale 2 must round to an absolute value less than 10^2."
	if got := result(ParseText(typ, "99.995")); got != want {
		t.Errorf("have %s, want %s", got, want)
	}
}

// Additions and products that fit 128 bits must not allocate.
func TestNumericDoesNotAllocate(t *testing.T) {
	image := num(t, "123456789.25").Append(nil)
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		a := DecodeNumeric(image)
		s, _ := NumAdd(a, NumFromInt64(7))
		s, _ = NumMul(s, a)
		s, _ = NumDiv(s, NumFromInt64(3))
		buf = s.Append(buf[:0])
		buf = appendNumericOrder(buf[:0], image)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		buf, _ = FormatTimestamp(buf[:0], 12345678, "YYYY-MM-DD HH24:MI:SS.US Dy")
		buf = AppendTimestamp(buf[:0], 12345678)
		_, _ = ParseTimestamp("2001-01-03 04:05:06.789")
	}); n != 0 {
		t.Errorf("timestamps: %v allocations", n)
	}
}

// The encodings are in journals and checkpoints: these bytes never change.
func TestFrozenEncodings(t *testing.T) {
	for _, c := range []struct {
		d          Datum
		key, image string
	}{
		{NewBool(true), "0101", "0001"},
		{NewInt4(-2), "017ffffffe", "00feffffff"},
		{NewInt8(258), "018000000000000102", "000201000000000000"},
		{NewFloat8(math.Copysign(0, -1)), "018000000000000000", "000000000000000080"},
		{NewFloat8(1.5), "01bff8000000000000", "00000000000000f83f"},
		{NewText("ab"), "01616200", "00026162"},
		{num(t, "-1.50").Datum(), "012bfffffbd62f96e761ffff", "00024296"},
		{Datum{Type: T(Interval), Iv: IntervalValue{Months: 1, Days: 2, Micros: 3}}, "01800000000283baec0003", "0003000000000000000200000001000000"},
		{NullOf(T(Int8)), "02", "01"},
	} {
		key, image := hex.EncodeToString(AppendKeyDatum(nil, c.d)), hex.EncodeToString(AppendImageDatum(nil, c.d))
		t.Logf("%s: key %s image %s", c.d, key, image)
		if key != c.key || image != c.image {
			t.Errorf("%s: key %s image %s, want %s %s", c.d, key, image, c.key, c.image)
		}
	}
	const want = "020a0101ff0102010102fbffffff000000000102000000000001000000000000000000000102000000000000f83f0000000000000000" +
		"0102010000010203006162630102010000000000000001020200000000000000000000000000000001020300000000000000000000000000000001" +
		"020300000000000000020000000100000000000000000000000000000000000000"
	if got := hex.EncodeToString(EncodeChunk(nil, fuzzChunk())); got != want {
		t.Errorf("chunk: have %s, want %s", got, want)
	}
}

func TestTypeByName(t *testing.T) {
	for _, c := range []struct {
		name string
		mods []int64
		want string
	}{
		{"int", nil, "integer"}, {"pg_catalog.int8", nil, "bigint"}, {"float", []int64{53}, "double precision"}, {"decimal", []int64{10, 2}, "numeric(10,2)"},
		{"timestamp", nil, "timestamp without time zone"}, {"timestamp", []int64{3}, "timestamp(3) without time zone"}, {"timetz", []int64{9}, "time(6) with time zone"}, {"interval", []int64{2}, "interval(2)"}, {"char", nil, "character(1)"}, {"bpchar", nil, "character"}, {"character varying", []int64{7}, "character varying(7)"}, {"varchar", []int64{0}, "22023 length for type varchar must be at least 1"},
		{"varchar", nil, "character varying"}, {"jsonb", nil, "jsonb"}, {"xml", nil, "0A000 type xml is not supported"}, {"int[]", nil, "integer[]"}, {"xml[]", nil, "0A000 type xml[] is not supported"}, {"foo[]", nil, `42704 type "foo" does not exist`},
		{"foo", nil, `42704 type "foo" does not exist`}, {"numeric", []int64{0}, "22023 NUMERIC precision 0 must be between 1 and 1000"},
		{"text", []int64{1}, `42601 type modifier is not allowed for type "text"`},
	} {
		if got := result(TypeByName(c.name, c.mods)); got != c.want {
			t.Errorf("%s: have %s, want %s", c.name, got, c.want)
		}
	}
	for k := Unknown; k < numKinds; k++ {
		if typ, ok := TypeByOID(T(k).OID(), -1); !ok || typ != T(k) {
			t.Errorf("%s: oid gives %s", k, typ)
		}
	}
}

func TestCivil(t *testing.T) {
	for d := int64(minDate); d < 4_000_000; d += 97 {
		y, m, day := CivilFromDays(d)
		if back := DaysFromCivil(y, m, day); back != d {
			t.Fatalf("day %d is %d-%d-%d, which is day %d", d, y, m, day, back)
		}
		u := time.Unix(d*secondsPerDay+unixEpochSeconds, 0).UTC()
		if int64(u.Year()) != y || int(u.Month()) != m || u.Day() != day || int64(u.Weekday()) != weekday(d) {
			t.Fatalf("day %d is %d-%d-%d, not %s", d, y, m, day, u)
		}
		if iy, w := u.ISOWeek(); dateField(FieldWeek, d) != int64(w) || iy > 0 && dateField(FieldISOYear, d) != int64(iy) {
			t.Fatalf("%s: week %d", u, dateField(FieldWeek, d))
		}
	}
	now := time.Date(2026, 11, 23, 1, 2, 3, 4000, time.UTC)
	if got := MicrosOf(now).Time(); !got.Equal(now) {
		t.Errorf("have %s, want %s", got, now)
	}
}

func TestFormatTimestampRefuses(t *testing.T) {
	for _, p := range []string{"YYYY-MM-DDTHH24", "hello", "DDth", "RM", "TZ"} {
		if _, err := FormatTimestamp(nil, 0, p); pgerr.CodeOf(err) != pgerr.FeatureNotSupported {
			t.Errorf("%q: %v", p, err)
		}
	}
}
