package types

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// maxName is the bytes that a name can have.
const maxName = 63

// TrimBlanks is b without its trailing blanks, which character(n) does not
// compare.
func TrimBlanks(b []byte) []byte { return bytes.TrimRight(b, " ") }

// CutName is b cut to what a name can hold, at a character.
func CutName(b []byte) []byte {
	if len(b) <= maxName {
		return b
	}
	n := maxName
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return b[:n:n]
}

// parseTextOther reads the kinds after interval, without their modifier.
func parseTextOther(t Type, s string, loc *time.Location) (Datum, error) {
	d := Datum{Type: t}
	var err error
	switch t.Kind {
	case Int2:
		d.I, err = parseInt(Int2, s, math.MinInt16, math.MaxInt16)
	case Oid:
		d.I, err = parseOid(s)
	case Float4:
		d.F, err = parseFloat4(s)
	case Bytea:
		d.B, err = ParseBytea(s)
	case Uuid:
		d.B, err = parseUUID(s)
	case Time:
		d.I, err = ParseTime(s)
	case Timetz:
		d.Iv, err = ParseTimetz(s, loc)
	case Jsonb:
		if err = CheckText([]byte(s)); err == nil {
			d.B, err = NormalizeJSONB(nil, []byte(s))
		}
	case Char:
		d.B = parseChar(s)
		err = CheckText([]byte(s))
	default: // Varchar, Bpchar, Name, Json
		d.B = []byte(s)
		err = CheckText(d.B)
		switch {
		case err == nil && t.Kind == Name:
			d.B = CutName(d.B)
		case err == nil && t.Kind == Json:
			err = CheckJSON(d.B)
		}
	}
	return d, err
}

// parseChar reads a "char": the first byte, or one that is told in octal.
func parseChar(s string) []byte {
	b := []byte(s)
	if len(b) == 4 && b[0] == '\\' && b[1] >= '0' && b[1] <= '3' && b[2] >= '0' && b[2] <= '7' && b[3] >= '0' && b[3] <= '7' {
		b = []byte{(b[1]-'0')<<6 | (b[2]-'0')<<3 | (b[3] - '0')}
		if b[0] == 0 {
			return b[:0]
		}
	}
	return b[:min(len(b), 1)]
}

// appendChar appends a "char", in octal if it is no ASCII.
func appendChar(dst, b []byte) []byte {
	if len(b) == 0 || b[0] < 0x80 {
		return append(dst, b...)
	}
	return append(dst, '\\', '0'+b[0]>>6, '0'+b[0]>>3&7, '0'+b[0]&7)
}

// parseOid reads an unsigned 32-bit number; negative ones count from 2^32.
func parseOid(s string) (int64, error) {
	i, err := parseInt(Oid, s, math.MinInt32, math.MaxUint32)
	if i < 0 {
		i += 1 << 32
	}
	return i, err
}

func parseFloat4(s string) (float64, error) {
	t := trimSpace(s)
	switch strings.ToLower(t) {
	case "nan", "inf", "+inf", "infinity", "+infinity", "-inf", "-infinity":
		return parseFloat8(t)
	}
	if !floatSyntax(t) {
		return 0, errInput(Float4, s)
	}
	f, err := strconv.ParseFloat(t, 32)
	if err != nil || f == 0 && hasNonZeroDigit(t) {
		return 0, pgerr.New(pgerr.NumericValueOutOfRange, "\"%s\" is out of range for type real", t)
	}
	return f, nil
}

// appendFloat4 appends the shortest digits that read back as f, in
// PostgreSQL's layout: an exponent below -4 and from 6 on.
func appendFloat4(dst []byte, f float64) []byte {
	a := math.Abs(f)
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return appendFloat(dst, f)
	case a == 0 || float32(a) >= 1e-4 && a < 1e6:
		return strconv.AppendFloat(dst, f, 'f', -1, 32)
	case a < 1<<25:
		return strconv.AppendFloat(dst, f, 'e', -1, 32)
	}
	// As with float8, a form half-way between neighbours is not taken.
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 32)
	for prec := bytes.IndexByte(dst[start:], 'e'); prec < 9 && halfway4(string(dst[start:]), float32(f)); prec++ {
		dst = strconv.AppendFloat(dst[:start], f, 'e', max(prec-1, 1), 32)
	}
	return dst
}

// halfway4 reports whether s lies as near to a neighbour of f as to f.
func halfway4(s string, f float32) bool {
	x, _, err := big.ParseFloat(s, 10, 300, big.ToNearestEven)
	if err != nil {
		return false
	}
	for _, g := range []float32{math.Nextafter32(f, 0), math.Nextafter32(f, float32(math.Inf(1))), math.Nextafter32(f, float32(math.Inf(-1)))} {
		if math.IsInf(float64(g), 0) {
			continue
		}
		mid := new(big.Float).SetPrec(300).SetFloat64((float64(f) + float64(g)) / 2)
		if x.Cmp(mid) == 0 {
			return true
		}
	}
	return false
}

// AppendHex appends bytea's hex form.
func AppendHex(dst, b []byte) []byte { return hex.AppendEncode(append(dst, '\\', 'x'), b) }

// ParseBytea reads bytea's hex and escape forms.
func ParseBytea(s string) ([]byte, error) {
	if strings.HasPrefix(s, `\x`) {
		return DecodeHex([]byte(s[2:]))
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c != '\\':
			out = append(out, c)
		case i+1 < len(s) && s[i+1] == '\\':
			out = append(out, '\\')
			i++
		case i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '3' && s[i+2] >= '0' && s[i+2] <= '7' && s[i+3] >= '0' && s[i+3] <= '7':
			out = append(out, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
		default:
			return nil, pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type bytea")
		}
	}
	return out, nil
}

// DecodeHex reads pairs of hexadecimal digits with white space between them.
func DecodeHex(s []byte) ([]byte, error) {
	out := make([]byte, 0, len(s)/2)
	for i := 0; i < len(s); {
		if c := s[i]; c == ' ' || c == '\n' || c == '\t' || c == '\r' {
			i++
			continue
		}
		hi, ok := hexDigit(s[i])
		if !ok {
			return nil, errHexDigit(s[i:])
		}
		if i+1 >= len(s) {
			return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid hexadecimal data: odd number of digits")
		}
		lo, ok := hexDigit(s[i+1])
		if !ok {
			return nil, errHexDigit(s[i+1:])
		}
		out = append(out, hi<<4|lo)
		i += 2
	}
	return out, nil
}

func errHexDigit(s []byte) error {
	_, n := utf8.DecodeRune(s)
	return pgerr.New(pgerr.InvalidParameterValue, "invalid hexadecimal digit: \"%s\"", s[:n])
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// parseUUID reads 32 hexadecimal digits, with a hyphen after any four of them
// if one likes, and braces around them.
func parseUUID(s string) ([]byte, error) {
	t := s
	if n := len(t); n > 1 && t[0] == '{' {
		if t[n-1] != '}' {
			return nil, errInput(Uuid, s)
		}
		t = t[1 : n-1]
	}
	out := make([]byte, 0, 16)
	for len(out) < 16 {
		if len(t) < 2 {
			return nil, errInput(Uuid, s)
		}
		hi, ok1 := hexDigit(t[0])
		lo, ok2 := hexDigit(t[1])
		if !ok1 || !ok2 {
			return nil, errInput(Uuid, s)
		}
		out = append(out, hi<<4|lo)
		t = t[2:]
		if t != "" && t[0] == '-' && len(out)%2 == 0 && len(out) < 16 {
			t = t[1:]
		}
	}
	if t != "" {
		return nil, errInput(Uuid, s)
	}
	return out, nil
}

func appendUUID(dst, b []byte) []byte {
	for i, c := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
	}
	return dst
}

// appendOrderOther appends the order encoding of the kinds after interval that
// no earlier one has the form of: int2 is 2 and oid 4 bytes big-endian, int2
// with the sign flipped; timetz its µs UTC and its zone, with the signs
// flipped; character(n) text without trailing blanks; bytea its bytes, each
// 0x00 followed by 0xff, and two 0x00; uuid its bytes; jsonb is described at
// appendJSONBOrder.
func appendOrderOther(dst []byte, d Datum) []byte {
	switch d.Type.Kind {
	case Int2:
		u := uint16(d.I) ^ 1<<15
		return append(dst, orderValue, byte(u>>8), byte(u))
	case Oid:
		return binary.BigEndian.AppendUint32(append(dst, orderValue), uint32(d.I))
	case Timetz:
		dst = appendOrderInt64(dst, TimetzUTC(d.Iv))
		return binary.BigEndian.AppendUint32(dst, uint32(d.Iv.Months)^1<<31)
	case Bpchar:
		return append(append(append(dst, orderValue), TrimBlanks(d.B)...), 0)
	case Uuid:
		return append(append(dst, orderValue), d.B...)
	case Jsonb:
		return appendJSONBOrder(append(dst, orderValue), d.B)
	}
	return appendEscaped(append(dst, orderValue), d.B)
}

// appendEscaped appends bytes so that they delimit themselves in their order.
func appendEscaped(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, c)
		if c == 0 {
			dst = append(dst, 0xff)
		}
	}
	return append(dst, 0, 0)
}

func appendBinaryOther(dst []byte, d Datum) []byte {
	switch d.Type.Kind {
	case Int2:
		return binary.BigEndian.AppendUint16(dst, uint16(d.I))
	case Oid:
		return binary.BigEndian.AppendUint32(dst, uint32(d.I))
	case Float4:
		if d.F != d.F {
			return binary.BigEndian.AppendUint32(dst, 0x7fc00000)
		}
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(d.F)))
	case Time:
		return binary.BigEndian.AppendUint64(dst, uint64(d.I))
	case Timetz:
		dst = binary.BigEndian.AppendUint64(dst, uint64(d.Iv.Micros))
		return binary.BigEndian.AppendUint32(dst, uint32(d.Iv.Months))
	case Char:
		if len(d.B) == 0 {
			return append(dst, 0)
		}
		return append(dst, d.B[0])
	}
	return append(append(dst, 1), d.B...) // jsonb and its version
}

// binaryWidth gives the bytes of a binary form of fixed width, 0 for others.
func binaryWidth(k Kind) int {
	switch k {
	case Char:
		return 1
	case Int2:
		return 2
	case Oid, Float4:
		return 4
	case Time:
		return 8
	case Timetz:
		return 12
	case Uuid:
		return 16
	}
	return 0
}

// parseBinaryOther is ParseBinary of the kinds after interval.
func parseBinaryOther(t Type, b []byte) (Datum, error) {
	d := Datum{Type: t}
	if w := binaryWidth(t.Kind); w > 0 && len(b) != w {
		return Datum{}, errBinaryLength(t)
	}
	var err error
	switch t.Kind {
	case Int2:
		d.I = int64(int16(binary.BigEndian.Uint16(b)))
	case Oid:
		d.I = int64(binary.BigEndian.Uint32(b))
	case Float4:
		d.F = float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case Time, Timetz:
		us := int64(binary.BigEndian.Uint64(b))
		if us < 0 || us > microsPerDay {
			return Datum{}, pgerr.New(pgerr.DatetimeFieldOverflow, "time out of range")
		}
		if d.I = us; t.Kind == Timetz {
			d.I, d.Iv = 0, IntervalValue{Micros: us, Months: int32(binary.BigEndian.Uint32(b[8:]))}
			if z := d.Iv.Months; z <= -57600 || z >= 57600 {
				return Datum{}, pgerr.New(pgerr.InvalidTimeZoneDisplacement, "time zone displacement out of range")
			}
		}
	case Char:
		if d.B = []byte{}; b[0] != 0 {
			d.B = []byte{b[0]}
		}
	case Bytea, Uuid:
		d.B = append([]byte{}, b...)
	case Jsonb:
		if len(b) == 0 || b[0] != 1 {
			return Datum{}, pgerr.New(pgerr.InternalError, "unsupported jsonb version number")
		}
		if err = CheckText(b[1:]); err == nil {
			d.B, err = NormalizeJSONB(nil, b[1:])
		}
	default:
		if err = CheckText(b); err == nil && t.Kind == Name && len(b) > maxName {
			err = pgerr.New(pgerr.NameTooLong, "identifier too long").
				WithDetail("Identifier must be less than %d characters.", maxName+1)
		}
		if err == nil && t.Kind == Json {
			err = CheckJSON(b)
		}
		d.B = append([]byte{}, b...)
	}
	if err != nil {
		return Datum{}, err
	}
	return ApplyMod(d, t, false)
}

// DecodeKey takes one value of v's type off an equality encoding (AppendKey)
// and adds it to v. ok is false for kinds whose keys do not tell the exact
// value (numeric, floats, interval, character, jsonb) and for bytes that are
// no key.
func DecodeKey(v *Vec, key []byte) (rest []byte, ok bool) {
	if len(key) == 0 {
		return key, false
	}
	if key[0] != orderValue {
		v.AppendNull()
		return key[1:], true
	}
	key = key[1:]
	d := Datum{Type: v.Type}
	k := v.Type.Kind
	w := k.width()
	switch k {
	case Numeric, Float8, Float4, Interval, Bpchar, Jsonb, Json:
		return key, false
	case Timetz:
		w = 12
	case Uuid:
		w = 16
	}
	switch {
	case len(key) < w:
		return key, false
	case k == Bool:
		d.I = int64(key[0])
	case w == 2:
		d.I = int64(int16(binary.BigEndian.Uint16(key) ^ 1<<15))
	case k == Oid:
		d.I = int64(binary.BigEndian.Uint32(key))
	case w == 4:
		d.I = int64(int32(binary.BigEndian.Uint32(key) ^ 1<<31))
	case w == 8:
		d.I = int64(binary.BigEndian.Uint64(key) ^ 1<<63)
	case k == Timetz:
		z := int32(binary.BigEndian.Uint32(key[8:]) ^ 1<<31)
		d.Iv = IntervalValue{Months: z, Micros: int64(binary.BigEndian.Uint64(key)^1<<63) - int64(z)*microsPerSecond}
	case k == Uuid:
		d.B = key[:16]
	case k == Bytea:
		d.B, w = unescapeKey(key)
	default:
		w = bytes.IndexByte(key, 0) + 1
		d.B = key[:max(w-1, 0)]
	}
	if w <= 0 {
		return key, false
	}
	v.Append(d)
	return key[w:], true
}

// unescapeKey undoes appendEscaped and gives the bytes that it took, 0 if they
// have no end.
func unescapeKey(key []byte) (b []byte, n int) {
	for i := 0; i+1 < len(key); i++ {
		if key[i] == 0 {
			if key[i+1] == 0 {
				return b, i + 2
			}
			b = append(b, 0)
			i++
			continue
		}
		b = append(b, key[i])
	}
	return nil, 0
}
