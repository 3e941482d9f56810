package types

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// oracle is a PostgreSQL 15 to compare with.
type oracle struct {
	t    *testing.T
	conn *pgx.Conn
}

func openOracle(t *testing.T) *oracle {
	dsn := os.Getenv("STREAMDB_PG_DSN")
	if dsn == "" {
		t.Skip("set STREAMDB_PG_DSN to a PostgreSQL 15 (host=/dir user=postgres) to compare with it")
	}
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	o := &oracle{t: t, conn: conn}
	if _, err := conn.Exec(context.Background(), "set timezone = 'UTC'; set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'"); err != nil {
		t.Fatal(err)
	}
	return o
}

// answer gives the text of a query's only value, or its error as code and
// message.
func (o *oracle) answer(sql string) string {
	o.t.Helper()
	res := o.conn.PgConn().ExecParams(context.Background(), sql, nil, nil, nil, nil).Read()
	if res.Err != nil {
		var pe *pgconn.PgError
		if !errors.As(res.Err, &pe) {
			o.t.Fatalf("%s: %v", sql, res.Err)
		}
		return pe.Code + " " + pe.Message + hintOf(pe.Detail)
	}
	if len(res.Rows) != 1 {
		o.t.Fatalf("%s: %d rows", sql, len(res.Rows))
	}
	if res.Rows[0][0] == nil {
		return "NULL"
	}
	return string(res.Rows[0][0])
}

func hintOf(detail string) string {
	if detail == "" {
		return ""
	}
	return " | " + detail
}

func result(s fmt.Stringer, err error) string {
	if err != nil {
		e := pgerr.From(err)
		return string(e.Code) + " " + e.Message + hintOf(e.Detail)
	}
	return s.String()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

var textInputs = map[Kind][]string{
	Bool: {"t", "true", " TRUE ", "tr", "y", "yes", "on", "o", "of", "off", "no", "n", "1", "0", "2", "", "f", "fals", "falsey", "10"},
	Int4: {"1", " -5 ", "+7", "2147483647", "2147483648", "-2147483648", "-2147483649", "abc", "", "1.0", "1 2", "99999999999999999999", "--1", "+", "0x10", "007"},
	Int8: {"9223372036854775807", "9223372036854775808", "-9223372036854775808", "x", "1e3", "-0"},
	Float8: {"1", "1.5", "-0", "1e20", "1e15", "1e14", "123456789012345678", "0.0001", "0.00001", "1e-5", "NaN", "nan", "Infinity", "-inf", "+Infinity", "inf",
		"1e400", "-1e400", "1e-400", "0e-400", "abc", "", "1e", ".5", "5.", ".", "1_000", "3.141592653589793", "1e22", "0x1p3", "infini", "1 x", " 1 ", "4.9e-324", "1.7976931348623157e308", "999999999999999.9", "100000000000000000000"},
	Numeric: {"1", "1.00", "-0.0", "0.000", "1e5", "1.5e3", "1.5e-3", "1e-5", "NaN", "nan", " Infinity ", "-inf", "+inf", "abc", "", ".", ".5", "5.", "1e", "1e+", "12345678901234567890123456789012345678901234567890.123",
		"340282366920938463463374607431768211456", "340282366920938463463374607431768211455", "18446744073709551616", "1e131071", "1e131072", "1e-16383", "1e-16384", "0e200000", "1e99999999999", "+1", "--1", "1 1", "0x1", "-.5", "1e-20", "nanx", "1..2", "00012.50"},
	Date: {"2001-01-03", "2001-1-3", "1/3/2001", "1/3/01", "1/3/70", "1/3/69", "Jan 3 2001", "3 Jan 2001", "January 3, 2001", "2001 Jan 3", "3-Jan-2001", "Jan-3-2001", "2001-Jan-3", "20010103", "010103",
		"2001-02-29", "2000-02-29", "1900-02-29", "13/1/2001", "2001-13-01", "2001-00-01", "2001-01-32", "0000-01-01", "0001-01-01 BC", "4714-11-24 BC", "4714-11-23 BC", "5874897-12-31", "5874898-01-01", "infinity", "-infinity", "epoch",
		"abc", "", "2001-01", "2001", "Wed Jan 3 2001", "2001-01-03 04:05:06", "44-03-15 BC", "0044-03-15 BC", "10000-01-01", "2001-01-03T04:05:06Z", "2001-01-03 foo", "1.3.2001", "2001.01.03", "99-Jan-08", "Jan 99 2001", " 2001-01-03 ", "2001/01/03", "May 5 5", "Inf", "2001.003", "2001-003", "2001-366", "2000-366", "2001-000", "1999 Jan 8 BC", "allballs", "J2451187", "8-Jan"},
	Timestamp: {"2001-01-03", "2001-01-03 04:05:06", "2001-01-03T04:05:06", "2001-01-03 04:05", "2001-01-03 04:05:06.1", "2001-01-03 04:05:06.1234567", "2001-01-03 04:05:06.1234565", "2001-01-03 04:05:06.9999999", "2001-01-03 24:00:00", "2001-01-03 24:00:01",
		"2001-01-03 23:59:60", "2001-01-03 23:60:00", "2001-01-03 25:00:00", "2001-01-03 04:05:06+02", "2001-01-03 04:05:06 PST", "20010103T040506", "20010103 040506", "20010103T040506.5", "20010103T0405", "Jan 3 2001 4:05 PM", "Jan 3 2001 12:05 AM", "Jan 3 2001 13:05 PM", "Jan 3 04:05:06 2001", "Wed Jan 03 04:05:06 2001",
		"294276-12-31 23:59:59.999999", "294277-01-01", "4714-11-24 00:00:00 BC", "4714-11-23 23:59:59 BC", "epoch", "infinity", "-infinity", "", "x", "04:05:06", "2001-01-03 04:05:06 BC", "2001-01-03 BC 04:05:06", "2001-01-03 4:5:6", "2001-01-03 04:05:06 America/New_York",
		"2001-01-03 04:05:06 Nowhere/Land", "1/3/2001 4:05", "2001-01-03 04:05:06z", "2001-01-03 04:05:06 UTC", "2001-01-03 04:05:06 04:05:06", "2001-01-03 2001-01-03", "2001-01-03 04:05:06.", "2001-01-03 04", "epoch infinity"},
	Timestamptz: {"2001-01-03", "2001-01-03 04:05:06", "2001-01-03 04:05:06+02", "2001-01-03 04:05:06-0330", "2001-01-03 04:05:06+05:30", "2001-01-03 04:05:06+05:30:15", "2001-01-03 04:05:06 +2", "2001-01-03T04:05:06Z", "2001-01-03T04:05:06.25+02:00", "2001-01-03 04:05:06+16", "2001-01-03 04:05:06+15:59", "2001-01-03 04:05:06 +15:60",
		"2001-01-03 04:05:06 America/New_York", "2001-07-03 04:05:06 america/new_york", "2001-04-01 02:30:00 America/New_York", "2001-10-28 01:30:00 America/New_York", "2001-01-03 04:05:06 EST", "2001-01-03 04:05:06 PDT", "epoch", "infinity", "-infinity", "", "abc", "2001-01-03 04:05:06 Europe/Nowhere", "2001-01-03 +02",
		"294276-12-31 23:59:59+00", "294276-12-31 23:59:59-01", "4714-11-24 00:00:00+01 BC", "0044-03-15 12:00:00+01 BC", "2001-01-03 24:00:00+00", "2001-01-03 04:05 +0200"},
	ArrayOf(Int4): {"{}", "{1,2}", " { 1 , 2 } ", "{{1,2},{3,4}}", "{{1,2},{3}}", "[0:1]={1,2}", "[2]={1,2}", "[1:2][0:0]={{1},{2}}", "{1,NULL,3}", "{null}", "{1,", "{1}}", "{1,}", "{,1}", "1", "", "{a}", "[1:2]={1}", "{1 2}"},
	ArrayOf(Text): {"{a,b}", `{"a b","c,d","{e}"," f "}`, `{"a\"b",c\d}`, `{"NULL",NULL,nULL}`, `{""}`, "{ a b , c }", `{"a"b}`, `{a"b"}`},
	ArrayOf(Bool): {"{t,f}", "{x}"}, ArrayOf(Numeric): {"{1.50,NaN}"}, ArrayOf(Jsonb): {`{"{\"a\": 1}",1}`},
	Int2:    {"1", "-32768", "32767", "32768", "-32769", "x", "", "1.5", "99999999999999999999"},
	Float4:  {"1", "1.5", "-0", "1e20", "999999", "1000000", "123456.7", "1234567", "0.0001", "0.00001", "16777217", "33554433", "33554434", "9.8e37", "3.4028235e38", "3.5e38", "1e-46", "1e-45", "NaN", "inf", "-Infinity", "abc", "", "1e39", "0.1", "3.1415927", "1e10", "4194304.5"},
	Varchar: {"", "abc", " x "},
	Bytea:   {`\x`, `\xdeadBEEF`, `\x de ad`, `\xd`, `\xzz`, `\xé`, "abc", `a\\b`, `\000\377`, `\400`, `a\`, `\12`, ""},
	Time: {"04:05:06", "04:05", "040506", "0405", "040506.789", "04:05:06.1234567", "4:05 PM", "12:00 am", "24:00:00", "24:00:01", "23:59:60", "23:60", "25:00", "04:05:06+02", "04:05:06 PST", "2001-01-03 04:05:06", "2001-01-03 04:05:06+02", "2001-01-03", "allballs", "", "x",
		"T040506", "04:05:06 America/New_York", "2003-04-12 04:05:06 America/New_York", "13:05 PM", "04"},
	Timetz: {"04:05:06", "04:05:06+02", "04:05:06-08:30", "04:05:06 +05:30:15", "040506-08", "0405-08", "4:05 PM PST", "24:00:00+00", "04:05:06+16", "allballs", "2003-04-12 04:05:06 America/New_York", "2003-07-12 04:05:06 America/New_York", "04:05:06 America/New_York", "04:05:06 UTC", "x", "04:05:06.1234567Z"},
	Uuid:   {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11", "", "x", "{a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11-", "a-0eebc999c0b4ef8bb6d6bb9bd380a11"},
	Name:   {"abc", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ääääääääääääääääääääääääääääääääääääääääääääääääää"},
	Oid:    {"0", "4294967295", "4294967296", "-1", "-2147483648", "-2147483649", "x", "", " 7 ", "1.5"},
	Char:   {"a", "", "abc"},
	Json:   {"1", "null", " true ", `{"a": [1, 2.50, "x\u00e9"], "a":  null}`, `[1,]`, `{"a"}`, `{a:1}`, "", "01", "1e5", "-", "-1.5E+3", `"\x"`, `"\u12"`, "tru", "nulls", `"abc`, "[1] 2", "{}", "[]", `{"a":1,}`, `"\ud800"`, `"\u0000"`, "1.", ".5", "+1"},
	Jsonb:  {"1", "null", " true ", `{"bb": [1, 2.50, "x\u00e9"], "a":  null, "bb": {"z":1,"y":[]}}`, `[1,]`, `{"a"}`, "01", "1e5", "1E-5", "-0", "-0.0", "1.50e1", `"\ud83d\ude00"`, `"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\u0000"`, `"\u0001\n\"\\\/"`, "[1, [2, {}], \"a\\tb\"]", "1e131073", `{"aaa":1,"b":2,"cc":3,"":4}`, "[]", "{}", "12345678901234567890123", "\"\u007f\""},
	Interval: {"1 day", "1 year 2 mons 3 days 04:05:06.7", "-1 day +02:03", "1 day -04:05:06", "1 day ago", "1 year 2 months ago", "P1Y2M3DT4H5M6S", "P1Y2M3DT4H5M6.5S", "PT36H", "P-1Y", "P1W", "PT0.5S", "P1.5D", "P0.5Y", "1.5 days", "1.5 months", "1.5 years", "0.1 years", "1.5 weeks", "2 weeks", "04:05", "04:05:06", "-04:05:06", "04:05.5", "1 04:05:06", "-1 04:05:06",
		"1-2", "-1-2", "+1-2", "1-2 3 4:05:06", "1-12", "5", "-5", "1.5", "5 seconds", "5s", "1h30m", "1 h 30 m", "100 hours", "1 millisecond", "1500 ms", "1.5 ms", "1 us", "3 microseconds", "1 decade", "1 century", "1 millennium", "2 mil", "1 c", "@ 1 day", "@ 1 minute ago", "", "abc", "1 foo", "day", "1 day 1 day", "1 hour 04:05:06", "2147483647 days", "2147483648 days", "178956970 years", "178956971 years", "2147483647 months",
		"9223372036854775807 us", "9223372036854775808 us", "1 day 25:00:00", "00:60:00", "00:59:60", "00:00:61", "1 year -1 day", "-1 year 1 day", "-1 mon 2 days -3 hours", "1 day 2", "0", "0 days", "P", "PT", "1Y", "1 quarter", "+ 1 day", "- 1 day", "1 month 0.5 days", "1 year 0.5 months", "1.1 days", ".5 days", "1. days", "ago", "1 ago", "2562047788:00:54.775807", "1 min 2 sec", "1 yr 2 mon", "1day2hours", "2000-01-01", "1 day ago ago", "ago 1 day", "P0001-02-03T04:05:06", "P0001-02-03", "P00010203T040506", "PT04:05:06.5", "P1-2-3", "P-0001-02-03", "P0001-02", "PT040506", "P0001", "1 day 2000-01-01", "10-13", "1-2-3", "P1Y-2M", "1 ago day"},
}

func TestTextLikePostgres(t *testing.T) {
	o := openOracle(t)
	for k, inputs := range textInputs {
		for _, in := range inputs {
			want := o.answer("select " + quote(in) + "::text::" + k.String())
			if got := result(ParseText(T(k), in)); got != want {
				t.Errorf("%s %q\n   have %s\n   want %s", k, in, got, want)
			}
		}
	}
	for _, in := range []string{"2001-01-03 04:05:06", "2001-07-03 04:05:06", "2001-04-01 02:30:00", "2001-10-28 01:30:00", "1800-01-01 00:00:00", "2001-01-03 04:05:06+02"} {
		for _, zone := range []string{"America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"} {
			o.answer("select set_config('timezone', " + quote(zone) + ", false)")
			loc, err := LoadZone(zone)
			if err != nil {
				t.Fatal(err)
			}
			d, err := ParseTextIn(T(Timestamptz), in, loc)
			got := string(AppendTextIn(nil, d, loc))
			if want := o.answer("select " + quote(in) + "::timestamptz"); got != want || err != nil {
				t.Errorf("%q in %s: have %s (%v), want %s", in, zone, got, err, want)
			}
		}
	}
}

func TestNumericModLikePostgres(t *testing.T) {
	o := openOracle(t)
	for _, ps := range [][]int64{{5}, {5, 2}, {3, 5}, {3, -2}, {1, 0}, {38, 10}, {2, 2}, {0, 0}, {1001}, {5, 1001}, {1, 2, 3}} {
		name := strings.ReplaceAll(strings.Trim(fmt.Sprint(ps), "[]"), " ", ",")
		for _, in := range []string{"0", "1.005", "12.345", "99.994", "99.995", "999.99", "99999", "99999.5", "0.00999", "-0.0099951", "NaN", "Infinity", "12349", "99950", "0.995", "-1e30"} {
			want := o.answer("select (" + quote(in) + "::text::numeric(" + name + "))")
			got := ""
			typ, err := TypeByName("numeric", ps)
			if err != nil {
				got = result(nil, err)
			} else {
				got = result(ParseText(typ, in))
			}
			if got != want {
				t.Errorf("%s as numeric(%s)\n   have %s\n   want %s", in, name, got, want)
			}
		}
		if typ, err := TypeByName("numeric", ps); err == nil {
			if want := o.answer(fmt.Sprintf("select format_type(1700, %d)", typ.Mod)); typ.String() != want {
				t.Errorf("%s, want %s", typ, want)
			}
		}
	}
}

var numberSamples = []string{"0", "0.00", "1", "-1", "2", "3", "7", "-7.50", "0.1", "0.001", "10", "10000", "9999", "9999.9999", "10000.0001", "1e20", "1e-20", "123456789.987654321",
	"18446744073709551615", "18446744073709551616", "340282366920938463463374607431768211455", "340282366920938463463374607431768211456", "-99999999999999999999999999999999999999999999.5",
	"1e100", "1e-100", "0.5", "-0.5", "1.5", "2.5", "-2.5", "NaN", "Infinity", "-Infinity", "1e131000", "1e-16000", "1234.5678901234567890123456789012345678901"}

func TestNumericLikePostgres(t *testing.T) {
	o := openOracle(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	samples := append([]string{}, numberSamples...)
	for range 12 {
		n := Num{lo: rng.Uint64() >> rng.IntN(64), hi: rng.Uint64() >> rng.IntN(64) >> rng.IntN(64), Scale: rng.Int32N(30), Neg: rng.IntN(2) == 0}
		samples = append(samples, n.withoutSign().String())
	}
	ops := []struct {
		sql string
		f   func(a, b Num) (Num, error)
	}{
		{"%s + %s", NumAdd}, {"%s - %s", NumSub}, {"%s * %s", NumMul}, {"%s / %s", NumDiv}, {"%s %% %s", NumMod},
		{"case when %[1]s < %[2]s then -1 when %[1]s = %[2]s then 0 else 1 end::numeric", func(a, b Num) (Num, error) { return NumFromInt64(int64(NumCmp(a, b))), nil }},
	}
	for _, a := range samples {
		for _, b := range samples {
			x, err1 := ParseNumeric(a)
			y, err2 := ParseNumeric(b)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			exprs := make([]string, 0, len(ops))
			for _, op := range ops {
				exprs = append(exprs, fmt.Sprintf(op.sql, quote(a)+"::numeric", quote(b)+"::numeric"))
			}
			for i, op := range ops {
				want := o.answer("select " + exprs[i])
				if got := result(op.f(x, y)); got != want {
					t.Errorf("%s\n   have %.200s\n   want %.200s", exprs[i], got, want)
				}
			}
		}
	}
	unary(t, o, samples)
}

func unary(t *testing.T, o *oracle, samples []string) {
	check := func(sql string, got string) {
		if want := o.answer("select " + sql); got != want {
			t.Errorf("%s\n   have %.200s\n   want %.200s", sql, got, want)
		}
	}
	for _, a := range samples {
		n, _ := ParseNumeric(a)
		q := quote(a) + "::numeric"
		for _, s := range []int{-40, -3, -1, 0, 1, 3, 20, 50, 3000, -3000} {
			check(fmt.Sprintf("round(%s, %d)", q, s), result(NumRound(n, s)))
			check(fmt.Sprintf("trunc(%s, %d)", q, s), result(NumTrunc(n, s)))
		}
		check("ceil("+q+")", result(NumCeil(n)))
		check("floor("+q+")", result(NumFloor(n)))
		check("abs("+q+")", NumAbs(n).String())
		check("-("+q+")", NumNeg(n).String())
		i8, err := n.ToInt8()
		check(q+"::int8", result(NewInt8(i8), err))
		i4, err := n.ToInt4()
		check(q+"::int4", result(NewInt4(int32(i4)), err))
		if f, err := n.ToFloat8(); len(a) < 60 && !strings.Contains(a, "e1") {
			check(q+"::float8", result(NewFloat8(f), err))
		}
	}
	for _, f := range []float64{0, 1, -1.5, 0.1, 1e15, 1e20, 1e300, 1e-300, 123456789.123456789, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 1.0 / 3} {
		check("("+quote(NewFloat8(f).String())+"::float8)::numeric", NumFromFloat(f).String())
	}
}

var instants = []string{"2001-01-03 04:05:06.789", "2000-02-29 23:59:59.999999", "1999-12-31 00:00:00", "2004-12-27 12:00:00", "2005-01-01 01:00:00", "0001-01-01 00:00:00", "0001-12-31 12:00:00 BC", "0044-03-15 12:30:00 BC",
	"0100-01-01 00:00:00 BC", "0101-06-01 00:00:00 BC", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "1970-01-01 00:00:00", "2000-12-31 23:00:00", "2001-10-28 05:30:00", "2001-03-31 00:00:00", "infinity", "-infinity"}

var spans = []string{"0", "1 mon", "-1 mon", "1 day", "-1 day", "1 hour", "1 year 2 mons 3 days 04:05:06.7", "-13 mons 40 days -25:00:00", "2147483647 mons", "-2147483647 days", "9223372036854775807 us", "100 years", "00:00:00.000001", "12 hours 33 min", "11 mons 29 days 23:59:59.999"}

var fieldNames = []string{"microseconds", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade", "century", "millennium",
	"isoyear", "dow", "isodow", "doy", "epoch", "julian", "timezone", "timezone_hour", "timezone_minute", "foo"}

func TestDatetimeLikePostgres(t *testing.T) {
	o := openOracle(t)
	check := func(sql string, got string) {
		t.Helper()
		if want := o.answer("select " + sql); got != want {
			t.Errorf("%s\n   have %.200s\n   want %.200s", sql, got, want)
		}
	}
	const zone = "America/New_York"
	o.answer("select set_config('timezone', '" + zone + "', false)")
	loc, _ := LoadZone(zone)
	shown := func(t int64, err error) string {
		if err != nil {
			return result(nil, err)
		}
		return string(AppendTimestamptz(nil, t, loc))
	}
	stamp := func(t int64, err error) string { return result(Datum{Type: T(Timestamp), I: t}, err) }
	for _, in := range instants {
		ts, err := ParseTimestamp(in)
		if err != nil {
			t.Fatal(err)
		}
		last := strings.HasPrefix(in, "294276")
		tz, errTz := ParseTimestamptz(in, loc)
		q := quote(in) + "::timestamp"
		qz := quote(in) + "::timestamptz"
		for _, f := range fieldNames {
			if _, err := TruncField(f, T(Timestamp)); err != nil && !TimestampFinite(ts) {
				continue // PostgreSQL looks at the value first
			}
			if last && f == "epoch" {
				continue // PostgreSQL rounds it
			}
			check("extract("+f+" from "+q+")", extracted(f, T(Timestamp), func(f Field) (Num, bool) { return ExtractTimestamp(f, ts) }))
			check("extract("+f+" from "+q+"::date)", extracted(f, T(Date), func(f Field) (Num, bool) { return ExtractDate(f, TimestampToDate(ts)) }))
			check("date_trunc("+quote(f)+", "+q+")", truncated(f, T(Timestamp), func(f Field) string { return stamp(TruncTimestamp(f, ts)) }))
			if errTz == nil {
				check("extract("+f+" from "+qz+")", extracted(f, T(Timestamptz), func(f Field) (Num, bool) { return ExtractTimestamptz(f, tz, loc) }))
				check("date_trunc("+quote(f)+", "+qz+")", truncated(f, T(Timestamptz), func(f Field) string { return shown(TruncTimestamptz(f, tz, loc)) }))
			}
		}
		for _, s := range spans {
			iv, err := ParseInterval(s)
			if err != nil {
				t.Fatal(err)
			}
			check(q+" + "+quote(s)+"::interval", stamp(TimestampAdd(ts, iv)))
			if errTz == nil {
				check(qz+" + "+quote(s)+"::interval", shown(TimestamptzAdd(tz, iv, loc)))
			}
		}
		for _, b := range instants {
			if last || strings.HasPrefix(b, "294276") {
				continue // PostgreSQL 15 wraps around
			}
			other, _ := ParseTimestamp(b)
			iv, err := TimestampSub(ts, other)
			check(q+" - "+quote(b)+"::timestamp", result(Datum{Type: T(Interval), Iv: iv}, err))
		}
		for _, n := range []int64{0, 1, -1, 400, 2147483647, -2147483648} {
			d, err := DateAdd(TimestampToDate(ts), n)
			check(fmt.Sprintf("%s::date + (%d)", q, n), result(Datum{Type: T(Date), I: d}, err))
		}
	}
	intervalsLikePostgres(t, check)
	formatsLikePostgres(t, check)
}

func extracted(name string, typ Type, f func(Field) (Num, bool)) string {
	field, err := ExtractField(name, typ)
	if err != nil {
		return result(nil, err)
	}
	n, ok := f(field)
	if !ok {
		return "NULL"
	}
	return n.String()
}

func truncated(name string, typ Type, f func(Field) string) string {
	field, err := TruncField(name, typ)
	if err != nil {
		return result(nil, err)
	}
	return f(field)
}

func intervalsLikePostgres(t *testing.T, check func(sql, got string)) {
	show := func(iv IntervalValue, err error) string { return result(Datum{Type: T(Interval), Iv: iv}, err) }
	for _, a := range spans {
		x, _ := ParseInterval(a)
		q := quote(a) + "::interval"
		for _, f := range fieldNames {
			check("extract("+f+" from "+q+")", extracted(f, T(Interval), func(f Field) (Num, bool) { return ExtractInterval(f, x), true }))
			check("date_trunc("+quote(f)+", "+q+")", truncated(f, T(Interval), func(f Field) string { return show(TruncInterval(f, x), nil) }))
		}
		for _, b := range spans {
			y, _ := ParseInterval(b)
			check(fmt.Sprintf("case when %[1]s < %[2]s then -1 when %[1]s = %[2]s then 0 else 1 end", q, quote(b)+"::interval"), itoa(CompareInterval(x, y)))
			if len(a)+len(b) < 34 { // PostgreSQL 15 wraps at the limits
				check(q+" + "+quote(b)+"::interval", show(IntervalAdd(x, y)))
				check(q+" - "+quote(b)+"::interval", show(IntervalSub(x, y)))
			}
		}
		for _, f := range []float64{0, 1, -1, 0.5, 1.5, 3, -0.1, 1e10, 7} {
			check(fmt.Sprintf("%s * %v::float8", q, NewFloat8(f)), show(IntervalMul(x, f)))
			check(fmt.Sprintf("%s / (%v)::float8", q, NewFloat8(f)), show(IntervalDiv(x, f)))
		}
	}
}

func formatsLikePostgres(t *testing.T, check func(sql, got string)) {
	for _, in := range instants {
		ts, _ := ParseTimestamp(in)
		if !TimestampFinite(ts) {
			continue
		}
		for _, p := range []string{"YYYY-MM-DD", "YYYY-MM-DD HH24:MI:SS", "HH12:MI:SS AM", "hh:mi pm", "MS|US", "Dy DY dy, Day DAY day!", "Mon MON mon Month MONTH month.", "Q DDD D ID", "FMDD FMMonth FMDay FMMM FMHH12 FMDDD",
			"\"at T\" HH24", "YYYYMMDDHH24MISS", "YY YYY Y CC", "WW IW IYYY", "yyyy/mm/dd"} {
			got, err := FormatTimestamp(nil, ts, p)
			if err != nil {
				t.Errorf("%s: %v", p, err)
			}
			check("to_char("+quote(in)+"::timestamp, "+quote(p)+")", string(got))
		}
	}
}

func TestBinaryLikePostgres(t *testing.T) {
	o := openOracle(t)
	ctx := context.Background()
	for k, inputs := range textInputs {
		for _, in := range inputs {
			d, err := ParseText(T(k), in)
			if err != nil {
				continue
			}
			res := o.conn.PgConn().ExecParams(ctx, "select "+quote(in)+"::text::"+k.String(), nil, nil, nil, []int16{1}).Read()
			if res.Err != nil {
				continue // TestTextLikePostgres says so
			}
			want := res.Rows[0][0]
			if got := AppendBinary(nil, d); string(got) != string(want) {
				t.Errorf("%s %q: have %x, want %x", k, in, got[:min(len(got), 40)], want[:min(len(want), 40)])
			}
			back, err := ParseBinary(T(k), want)
			if err != nil || !DatumEqualImage(back, d) {
				t.Errorf("%s %q: %x reads as %v (%v)", k, in, want[:min(len(want), 40)], back, err)
			}
		}
	}
}

func TestTypeInfoLikePostgres(t *testing.T) {
	o := openOracle(t)
	for k := Unknown; k < numKinds; k++ {
		typ := T(k)
		want := o.answer(fmt.Sprintf("select typlen || ' ' || format_type(oid, -1) from pg_type where oid = %d", typ.OID()))
		if k == Bpchar { // format_type says bpchar of -1, character of NULL
			want = "-1 character"
		}
		if got := fmt.Sprintf("%d %s", typ.Size(), typ); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	rows, err := o.conn.Query(context.Background(), "select typname::text from pg_type where typtype in ('b','r','m') and typelem = 0 and typname not like 'pg\\_%' and typnamespace = 'pg_catalog'::regnamespace")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if _, err := TypeByName(n, nil); pgerr.CodeOf(err) == pgerr.UndefinedObject && n != "unknown" && n != "char" {
			t.Errorf("%s: %v", n, err)
		}
	}
}

// Shortest digits, above all of whole numbers, where half-way points are
// short.
func TestFloatLikePostgres(t *testing.T) {
	o := openOracle(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 4000 {
		f := math.Float64frombits(rng.Uint64())
		switch i % 4 {
		case 0:
			f = float64(rng.Uint64N(1<<63)) * math.Pow10(rng.IntN(16))
		case 1:
			f = float64(rng.Uint64N(1e6)) * math.Pow10(rng.IntN(36)-5)
		case 2:
			f = math.Ldexp(float64(1+rng.Uint64N(9)), rng.IntN(200))
		}
		in := fmt.Sprintf("%.17e", f)
		if math.IsNaN(f) {
			in = "NaN"
		}
		if want := o.answer("select " + quote(in) + "::float8"); NewFloat8(f).String() != want {
			t.Errorf("%s: have %s, want %s", in, NewFloat8(f), want)
		}
	}
}
