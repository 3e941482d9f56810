package types

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// errSyntax is the inner parsers' word for "not this syntax"; callers turn it
// into an error that quotes the input.
var errSyntax = errors.New("syntax")

func errInput(k Kind, s string) error {
	code := pgerr.InvalidTextRepresentation
	switch k {
	case Date, Timestamp, Timestamptz, Interval, Time, Timetz:
		code = pgerr.InvalidDatetimeFormat
	}
	return pgerr.New(code, "invalid input syntax for type %s: \"%s\"", textInputName(k), s)
}

// textInputName is the name that PostgreSQL's input functions use.
func textInputName(k Kind) string {
	switch k {
	case Timestamp:
		return "timestamp"
	case Time:
		return "time"
	default:
		return T(k).String()
	}
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// trimSpace takes off what C's isspace calls white.
func trimSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// AppendText appends a value as PostgreSQL prints it (TimeZone UTC, DateStyle
// ISO, IntervalStyle postgres, extra_float_digits 1). NULL appends nothing.
func AppendText(dst []byte, d Datum) []byte { return AppendTextIn(dst, d, time.UTC) }

// AppendTextIn is AppendText with timestamptz shown in zone loc.
func AppendTextIn(dst []byte, d Datum, loc *time.Location) []byte {
	if d.Null {
		return dst
	}
	switch d.Type.Kind {
	case Bool:
		return appendBool(dst, d.I != 0)
	case Int4, Int8:
		return strconv.AppendInt(dst, d.I, 10)
	case Float8:
		return appendFloat(dst, d.F)
	case Numeric:
		return DecodeNumeric(d.B).AppendText(dst)
	case Date:
		return AppendDate(dst, d.I)
	case Timestamp:
		return AppendTimestamp(dst, d.I)
	case Timestamptz:
		return AppendTimestamptz(dst, d.I, loc)
	case Interval:
		return AppendInterval(dst, d.Iv)
	case Int2, Oid:
		return strconv.AppendInt(dst, d.I, 10)
	case Float4:
		return appendFloat4(dst, d.F)
	case Bytea:
		return AppendHex(dst, d.B)
	case Time:
		return appendClock(dst, uint64(d.I))
	case Timetz:
		return AppendTimetz(dst, d.Iv)
	case Uuid:
		return appendUUID(dst, d.B)
	case Char:
		return appendChar(dst, d.B)
	default:
		if d.Type.Kind&arrayBit != 0 {
			return appendArrayText(dst, d, loc)
		}
		return append(dst, d.B...)
	}
}

// AppendText appends row r as PostgreSQL prints it; NULL appends nothing.
func (v *Vec) AppendText(dst []byte, r int) []byte { return v.AppendTextIn(dst, r, time.UTC) }

// AppendTextIn is AppendText with timestamptz shown in zone loc.
func (v *Vec) AppendTextIn(dst []byte, r int, loc *time.Location) []byte {
	if v.Null(r) {
		return dst
	}
	switch v.Type.Kind {
	case Bool:
		return appendBool(dst, v.Bool[r])
	case Int4, Int8:
		return strconv.AppendInt(dst, v.I64[r], 10)
	case Float8:
		return appendFloat(dst, v.F64[r])
	default:
		return AppendTextIn(dst, v.Datum(r), loc)
	}
}

// String gives the text form of d, NULL as "NULL". For messages and tests.
func (d Datum) String() string {
	if d.Null {
		return "NULL"
	}
	return string(AppendText(nil, d))
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 't')
	}
	return append(dst, 'f')
}

// appendFloat appends the shortest digits that read back as f, in
// PostgreSQL's layout: an exponent below -4 and from 15 on.
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e15) {
		return appendExponent(dst, f)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendExponent appends the shortest d.ddde±dd that lies nearer to f than to
// any other float8. Go's shortest form may lie half-way, which reads back as
// f under round-to-even; PostgreSQL takes a longer one then. Only from 2^54 on
// can a half-way point have fewer digits than f.
func appendExponent(dst []byte, f float64) []byte {
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if math.Abs(f) < 1<<54 {
		return dst
	}
	for prec := 0; halfway(dst[start:], f, &prec); {
		for prec++; prec < 17; prec++ {
			dst = strconv.AppendFloat(dst[:start], f, 'e', prec, 64)
			if g, err := strconv.ParseFloat(string(dst[start:]), 64); err == nil && g == f {
				break
			}
		}
	}
	return dst
}

// halfway reports whether s, a form of f ≥ 2^54 in magnitude as
// d.ddde+dd, is half-way between f and a neighbour. It gives the number of
// digits after the point.
func halfway(s []byte, f float64, prec *int) bool {
	var d uint64
	n, exp := 0, 0
	for i, c := range s {
		if c == 'e' {
			exp, _ = strconv.Atoi(string(s[i+1:]))
			break
		}
		if isDigit(c) {
			d = d*10 + uint64(c-'0')
			n++
		}
	}
	*prec = n - 1
	// s is d × 10^q; half-way points are (2m±1) × 2^k for f's mantissa m, and
	// (4m-1) × 2^k below a power of two. Their odd parts are compared.
	q := exp - *prec
	if q < 0 || q > 24 {
		return false
	}
	for ; d&1 == 0 && d != 0; d >>= 1 {
	}
	for ; q > 0; q-- {
		if d > 1<<55 {
			return false
		}
		d *= 5
	}
	m := math.Float64bits(f)&(1<<52-1) | 1<<52
	return d == 2*m+1 || d == 2*m-1 || m == 1<<52 && d == 4*m-1
}

// ParseText reads a value of type t from PostgreSQL's input syntax, with
// timestamptz without a zone in UTC. It applies t's modifier. Errors carry
// PostgreSQL's message and SQLSTATE.
func ParseText(t Type, s string) (Datum, error) { return ParseTextIn(t, s, time.UTC) }

// ParseTextIn is ParseText with session zone loc.
func ParseTextIn(t Type, s string, loc *time.Location) (Datum, error) {
	d := Datum{Type: t}
	var err error
	if t.Kind&arrayBit != 0 {
		if err = CheckText([]byte(s)); err == nil {
			d.B, err = parseArray(t, s, loc)
		}
		if err != nil {
			return Datum{}, err
		}
		return d, nil
	}
	switch t.Kind {
	case Bool:
		var b bool
		if b, err = parseBool(s); b {
			d.I = 1
		}
	case Int4:
		d.I, err = parseInt(Int4, s, math.MinInt32, math.MaxInt32)
	case Int8:
		d.I, err = parseInt(Int8, s, math.MinInt64, math.MaxInt64)
	case Float8:
		d.F, err = parseFloat8(s)
	case Numeric:
		var n Num
		if n, err = ParseNumeric(s); err == nil {
			n, err = NumApplyMod(n, t.Mod)
		}
		if err == nil {
			d.B = n.Append(nil)
		}
	case Date:
		d.I, err = ParseDate(s)
	case Timestamp:
		d.I, err = ParseTimestamp(s)
	case Timestamptz:
		d.I, err = ParseTimestamptz(s, loc)
	case Interval:
		d.Iv, err = ParseInterval(s)
	case Text, Unknown:
		d.B = []byte(s)
		err = CheckText(d.B)
	default:
		d, err = parseTextOther(t, s, loc)
	}
	if err == nil && t.Mod >= 0 && t.Kind != Numeric {
		d, err = ApplyMod(d, t, false)
	}
	if err != nil {
		return Datum{}, err
	}
	return d, nil
}

// CheckText reports, with 22021, bytes that text cannot hold: what is not
// UTF-8, and 0x00.
func CheckText(b []byte) error {
	for i := 0; i < len(b); {
		if c := b[i]; c != 0 && c < utf8.RuneSelf {
			i++
			continue
		}
		r, w := utf8.DecodeRune(b[i:])
		if b[i] == 0 || r == utf8.RuneError && w == 1 {
			return pgerr.New(pgerr.CharacterNotInRepertoire,
				"invalid byte sequence for encoding \"UTF8\": %s", badBytes(b[i:]))
		}
		i += w
	}
	return nil
}

// badBytes shows the bytes of one broken character as PostgreSQL does.
func badBytes(b []byte) string {
	n := 1
	switch {
	case b[0]&0xe0 == 0xc0:
		n = 2
	case b[0]&0xf0 == 0xe0:
		n = 3
	case b[0]&0xf8 == 0xf0:
		n = 4
	}
	var s []byte
	for i, c := range b[:min(n, len(b))] {
		if i > 0 {
			s = append(s, ' ')
		}
		s = append(s, '0', 'x', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
	}
	return string(s)
}

// parseBool accepts any unique prefix of true, false, yes, no, on, off, and
// 1, 0, in either case.
func parseBool(s string) (bool, error) {
	t := strings.ToLower(trimSpace(s))
	prefix := func(word string, n int) bool { return len(t) >= n && strings.HasPrefix(word, t) }
	switch {
	case t == "1", prefix("true", 1), prefix("yes", 1), t == "on":
		return true, nil
	case t == "0", prefix("false", 1), prefix("no", 1), prefix("off", 2):
		return false, nil
	}
	return false, errInput(Bool, s)
}

func parseInt(k Kind, s string, lo, hi int64) (int64, error) {
	t := trimSpace(s)
	digits := t
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		digits = digits[1:]
	}
	if digits == "" {
		return 0, errInput(k, s)
	}
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, errInput(k, s)
		}
	}
	i, err := strconv.ParseInt(t, 10, 64)
	if err != nil || i < lo || i > hi {
		return 0, pgerr.New(pgerr.NumericValueOutOfRange, "value \"%s\" is out of range for type %s", s, T(k))
	}
	return i, nil
}

func parseFloat8(s string) (float64, error) {
	t := trimSpace(s)
	switch strings.ToLower(t) {
	case "nan":
		return math.NaN(), nil
	case "inf", "+inf", "infinity", "+infinity":
		return math.Inf(1), nil
	case "-inf", "-infinity":
		return math.Inf(-1), nil
	}
	if !floatSyntax(t) {
		return 0, errInput(Float8, s)
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || f == 0 && hasNonZeroDigit(t) {
		return 0, pgerr.New(pgerr.NumericValueOutOfRange, "\"%s\" is out of range for type double precision", t)
	}
	return f, nil
}

// floatSyntax holds for C's decimal and hexadecimal floats, without Go's
// underscores and with no more words.
func floatSyntax(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '_' || s[i] == 'i' || s[i] == 'n' || s[i] == 'I' || s[i] == 'N' {
			return false
		}
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil || errors.Is(err, strconv.ErrRange)
}

// hasNonZeroDigit looks at the mantissa only.
func hasNonZeroDigit(s string) bool {
	for i := 0; i < len(s) && s[i] != 'e' && s[i] != 'E'; i++ {
		if s[i] >= '1' && s[i] <= '9' {
			return true
		}
	}
	return false
}
