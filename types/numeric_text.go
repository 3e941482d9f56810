package types

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

func itoa(i int) string { return strconv.Itoa(i) }

// NumFromInt64 makes an integer of scale 0.
func NumFromInt64(i int64) Num {
	if i < 0 {
		return Num{Neg: true, lo: -uint64(i)}
	}
	return Num{lo: uint64(i)}
}

// NumFromFloat makes a numeric of f's 15 significant digits, as PostgreSQL's
// cast does.
func NumFromFloat(f float64) Num {
	switch {
	case math.IsNaN(f):
		return Num{Kind: NumNaN}
	case math.IsInf(f, 1):
		return Num{Kind: NumPosInf}
	case math.IsInf(f, -1):
		return Num{Kind: NumNegInf}
	}
	var buf [32]byte
	n, _ := parseFinite(string(strconv.AppendFloat(buf[:0], f, 'g', 15, 64)))
	return n
}

// Int64 gives n rounded half away from zero, if it is finite and fits.
func (n Num) Int64() (i int64, ok bool) {
	if n.Kind != NumFinite {
		return 0, false
	}
	if n.Scale > 0 {
		n = n.rescale(0, true)
	}
	switch {
	case n.big != nil || n.hi != 0:
		return 0, false
	case n.Neg:
		return -int64(n.lo), n.lo <= 1<<63
	}
	return int64(n.lo), n.lo < 1<<63
}

// ToInt8 is the cast to bigint, with PostgreSQL's errors.
func (n Num) ToInt8() (int64, error) {
	i, ok := n.Int64()
	if !ok {
		return 0, n.errInt("bigint")
	}
	return i, nil
}

// ToInt4 is the cast to integer, with PostgreSQL's errors.
func (n Num) ToInt4() (int64, error) {
	i, ok := n.Int64()
	if !ok || i != int64(int32(i)) {
		return 0, n.errInt("integer")
	}
	return i, nil
}

func (n Num) errInt(name string) error {
	switch n.Kind {
	case NumFinite:
		return pgerr.New(pgerr.NumericValueOutOfRange, "%s out of range", name)
	case NumNaN:
		return pgerr.New(pgerr.FeatureNotSupported, "cannot convert NaN to %s", name)
	}
	return pgerr.New(pgerr.FeatureNotSupported, "cannot convert infinity to %s", name)
}

// ToFloat8 is the cast to double precision: the nearest float8, or 22003.
func (n Num) ToFloat8() (float64, error) {
	switch n.Kind {
	case NumNaN:
		return math.NaN(), nil
	case NumPosInf:
		return math.Inf(1), nil
	case NumNegInf:
		return math.Inf(-1), nil
	}
	if n.big == nil && n.hi == 0 && n.lo < 1<<53 && n.Scale <= 22 { // both exact
		f := float64(n.lo) / math.Pow10(int(n.Scale))
		if n.Neg {
			f = -f
		}
		return f, nil
	}
	return parseFloat8(string(n.AppendText(nil)))
}

// Float64 is ToFloat8 without errors: values beyond float8 are ±Inf or 0.
func (n Num) Float64() float64 {
	f, err := n.ToFloat8()
	if err != nil {
		f, _ = strconv.ParseFloat(string(n.AppendText(nil)), 64)
	}
	return f
}

// AppendText appends n as PostgreSQL prints it.
func (n Num) AppendText(dst []byte) []byte {
	switch n.Kind {
	case NumNaN:
		return append(dst, "NaN"...)
	case NumPosInf:
		return append(dst, "Infinity"...)
	case NumNegInf:
		return append(dst, "-Infinity"...)
	}
	if n.Neg {
		dst = append(dst, '-')
	}
	if n.Scale == 0 {
		return n.appendCoef(dst)
	}
	var buf [48]byte
	digits := n.appendCoef(buf[:0])
	if n.isZero() {
		digits = digits[:0]
	}
	whole := len(digits) - int(n.Scale)
	if whole <= 0 {
		dst = append(dst, '0', '.')
		for ; whole < 0; whole++ {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[:whole]...)
	dst = append(dst, '.')
	return append(dst, digits[whole:]...)
}

// String gives PostgreSQL's text form.
func (n Num) String() string { return string(n.AppendText(nil)) }

// ParseNumeric reads PostgreSQL's input syntax of numeric.
func ParseNumeric(s string) (Num, error) {
	t := trimSpace(s)
	n, err := parseFinite(t)
	if err == nil {
		return n, nil
	}
	switch strings.ToLower(t) {
	case "nan":
		return Num{Kind: NumNaN}, nil
	case "inf", "+inf", "infinity", "+infinity":
		return Num{Kind: NumPosInf}, nil
	case "-inf", "-infinity":
		return Num{Kind: NumNegInf}, nil
	}
	if err == errSyntax {
		return Num{}, errInput(Numeric, s)
	}
	return Num{}, err
}

// parseFinite reads [+-]digits[.digits][e[+-]digits]; errSyntax if s is
// something else.
func parseFinite(s string) (Num, error) {
	var n Num
	if s != "" && (s[0] == '-' || s[0] == '+') {
		n.Neg = s[0] == '-'
		s = s[1:]
	}
	i, digits, point := 0, 0, -1
	var c u128
	fits := true
	for ; i < len(s); i++ {
		ch := s[i]
		if ch == '.' && point < 0 {
			point = i
			continue
		}
		if ch < '0' || ch > '9' {
			break
		}
		digits++
		if c.hi == 0 && c.lo < 1e18 {
			c.lo = c.lo*10 + uint64(ch-'0')
		} else if fits {
			if c, fits = c.mul64(10); fits {
				c, fits = c.add(u128{0, uint64(ch - '0')})
			}
		}
	}
	if digits == 0 {
		return n, errSyntax
	}
	mantissa, exp := s[:i], 0
	if i < len(s) {
		var err error
		if exp, err = parseExponent(s[i:]); err != nil {
			return n, err
		}
	}
	scale := 0
	if point >= 0 {
		scale = len(mantissa) - point - 1
	}
	if fits {
		n.set128(c)
	} else {
		b, ok := new(big.Int).SetString(strings.Replace(mantissa, ".", "", 1), 10)
		if !ok {
			return n, errSyntax
		}
		n.setBig(b)
	}
	return n.withExponent(scale, exp)
}

// withExponent gives coefficient × 10^(exp-scale), checked.
func (n Num) withExponent(scale, exp int) (Num, error) {
	n.Neg = n.Neg && !n.isZero()
	s := scale - exp
	switch {
	case s > maxNumScale:
		return Num{}, errNumOverflow()
	case s >= 0:
		n.Scale = int32(s)
		return n.checked()
	case n.isZero():
		return n, nil
	case n.digits()-s > maxNumWeight:
		return Num{}, errNumOverflow()
	}
	if c, ok := n.scaled(int32(-s)); ok {
		n.set128(c)
	} else {
		n.setBig(n.bigScaled(int32(-s)))
	}
	return n, nil
}

// parseExponent reads e[+-]digits.
func parseExponent(s string) (int, error) {
	if s[0] != 'e' && s[0] != 'E' {
		return 0, errSyntax
	}
	for i := 1; i < len(s); i++ {
		if (s[i] < '0' || s[i] > '9') && (i > 1 || s[i] != '+' && s[i] != '-') {
			return 0, errSyntax
		}
	}
	if last := s[len(s)-1]; last < '0' || last > '9' {
		return 0, errSyntax
	}
	exp, err := strconv.Atoi(s[1:])
	if err != nil || exp >= math.MaxInt32/2 || exp <= -math.MaxInt32/2 {
		return 0, errNumOverflow()
	}
	return exp, nil
}
