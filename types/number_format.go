package types

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// NumberFormat is a pattern of to_char for numbers, taken apart.
type NumberFormat struct {
	nodes               []numNode
	pre, post, multi    int // digits before and after the point, and shifted by V
	zeroStart, zeroEnd  int
	preSign             int // digits before the sign S
	sign                numSign
	zero, decimal, fill bool
	minus, plus         bool
	bracket, blank      bool
	roman, exponent     bool
}

type numSign uint8

const (
	signNone numSign = iota
	signBefore
	signAfter
)

// numKey is a pattern's keyword; keyText is text as it is.
type numKey uint8

const (
	keyText numKey = iota
	key9
	key0
	keyPoint
	keyComma
	keyCurrency
	keyMI
	keyPL
	keySG
	keyRN
	keyTH
	keyNone // says something of the whole only
)

type numNode struct {
	key   numKey
	text  string
	lower bool
}

func errNumFormat(format string, args ...any) error {
	return pgerr.New(pgerr.SyntaxError, format, args...)
}

// Parse takes a pattern apart; the errors are PostgreSQL's.
func (f *NumberFormat) Parse(p string) error {
	*f = NumberFormat{nodes: f.nodes[:0]}
	for p != "" {
		if p[0] == '"' {
			for p = p[1:]; p != "" && p[0] != '"'; p = p[1:] {
				if p[0] == '\\' && len(p) > 1 {
					p = p[1:]
				}
				f.nodes = append(f.nodes, numNode{text: p[:1]})
			}
			p = p[min(1, len(p)):]
			continue
		}
		n, err := f.keyword(p)
		if err != nil {
			return err
		}
		if n > 0 {
			p = p[n:]
			continue
		}
		if p[0] == '\\' && len(p) > 1 && p[1] == '"' {
			p = p[1:]
		}
		f.nodes = append(f.nodes, numNode{text: p[:1]})
		p = p[1:]
	}
	return nil
}

// keyword reads a keyword and gives its length, 0 for none.
func (f *NumberFormat) keyword(p string) (n int, err error) {
	has := func(w string) bool {
		return len(p) >= len(w) && (p[:len(w)] == w || p[:len(w)] == strings.ToLower(w))
	}
	add := func(k numKey, n int) (int, error) {
		f.nodes = append(f.nodes, numNode{key: k, lower: p[0] >= 'a'})
		return n, nil
	}
	if f.exponent && !has("EEEE") && !(p[0] == ' ') {
		return 0, errNumFormat("\"EEEE\" must be the last pattern used")
	}
	switch {
	case has("EEEE"):
		switch {
		case f.exponent:
			return 0, errNumFormat("cannot use \"EEEE\" twice")
		case f.fill || f.sign != signNone || f.bracket || f.minus || f.plus || f.roman || f.multi > 0:
			return 0, pgerr.New(pgerr.SyntaxError, "\"EEEE\" is incompatible with other formats").
				WithDetail("\"EEEE\" may only be used together with digit and decimal point patterns.")
		}
		f.exponent = true
		return add(keyNone, 4)
	case has("FM"):
		f.fill = true
		return add(keyNone, 2)
	case has("MI"):
		if f.sign != signNone {
			return 0, errNumFormat("cannot use \"S\" and \"MI\" together")
		}
		f.minus = true
		return add(keyMI, 2)
	case has("PL"):
		if f.sign != signNone {
			return 0, errNumFormat("cannot use \"S\" and \"PL\" together")
		}
		f.plus = true
		return add(keyPL, 2)
	case has("PR"):
		if f.sign != signNone || f.plus || f.minus {
			return 0, errNumFormat("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together")
		}
		f.bracket = true
		return add(keyNone, 2)
	case has("RN"):
		f.roman = true
		return add(keyRN, 2)
	case has("SG"):
		if f.sign != signNone {
			return 0, errNumFormat("cannot use \"S\" and \"SG\" together")
		}
		f.minus, f.plus = true, true
		return add(keySG, 2)
	case has("SP"):
		return add(keyNone, 2)
	case has("TH"):
		return add(keyTH, 2)
	}
	return f.letter(p[0], add)
}

func (f *NumberFormat) letter(c byte, add func(numKey, int) (int, error)) (int, error) {
	switch c {
	case '9', '0':
		if f.bracket {
			return 0, errNumFormat("\"%c\" must be ahead of \"PR\"", c)
		}
		key := key9
		if c == '0' {
			key = key0
			if !f.zero && !f.decimal {
				f.zero, f.zeroStart = true, f.pre+1
			}
		}
		switch {
		case c == '9' && f.multi > 0:
			f.multi++
			return add(key, 1)
		case f.decimal:
			f.post++
		default:
			f.pre++
		}
		if c == '0' {
			f.zeroEnd = f.pre + f.post
		}
		return add(key, 1)
	case 'B', 'b':
		if f.pre == 0 && f.post == 0 && !f.zero {
			f.blank = true
		}
		return add(keyNone, 1)
	case '.', 'D', 'd':
		if f.decimal {
			return 0, errNumFormat("multiple decimal points")
		}
		if f.multi > 0 {
			return 0, errNumFormat("cannot use \"V\" and decimal point together")
		}
		f.decimal = true
		return add(keyPoint, 1)
	case ',', 'G', 'g':
		return add(keyComma, 1)
	case 'L', 'l':
		return add(keyCurrency, 1)
	case 'C', 'c':
		return add(keyNone, 1)
	case 'S', 's':
		if f.sign != signNone {
			return 0, errNumFormat("cannot use \"S\" twice")
		}
		if f.plus || f.minus || f.bracket {
			return 0, errNumFormat("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together")
		}
		if f.sign = signAfter; !f.decimal {
			f.sign, f.preSign = signBefore, f.pre
		}
		return add(keyNone, 1)
	case 'V', 'v':
		if f.decimal {
			return 0, errNumFormat("cannot use \"V\" and decimal point together")
		}
		f.multi = 1 // counted from 1
		return add(keyNone, 1)
	}
	return 0, nil
}

// shift gives how many digits V shifts by.
func (f *NumberFormat) shift() int { return max(f.multi-1, 0) }

// AppendNumeric appends a numeric by the pattern.
func (f *NumberFormat) AppendNumeric(dst []byte, n Num) ([]byte, error) {
	switch {
	case f.roman:
		i, err := n.ToInt4()
		return f.appendRoman(dst, i), err
	case f.exponent:
		return f.appendScientific(dst, n), nil
	}
	if s := f.shift(); s > 0 {
		m, err := NumFromBig(bigPow10(s), 0)
		if err == nil {
			n, err = NumMul(n, m)
		}
		if err != nil {
			return dst, err
		}
	}
	r, err := NumRound(n, f.post)
	if err != nil {
		return dst, err
	}
	return f.appendText(dst, r.String(), f.post), nil
}

// AppendFloat appends a float8, of which digits (15, of float4 6) are told.
func (f *NumberFormat) AppendFloat(dst []byte, v float64, digits int) ([]byte, error) {
	if f.roman {
		i := math.RoundToEven(v)
		if !(i >= math.MinInt32 && i <= math.MaxInt32) {
			i = 0 // which has no form either
		}
		return f.appendRoman(dst, int64(i)), nil
	}
	if f.exponent {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return f.appendScientific(dst, Num{Kind: NumNaN}), nil
		}
		s := strconv.FormatFloat(v, 'e', f.post, 64)
		if s[0] != '-' {
			dst = append(dst, ' ')
		}
		return append(dst, s...), nil
	}
	if s := f.shift(); s > 0 {
		v *= math.Pow10(s)
	}
	pre, post := len(strconv.FormatFloat(math.Abs(v), 'f', 0, 64)), f.post
	if math.IsInf(v, 0) {
		pre = len("Infinity")
	}
	switch {
	case pre >= digits:
		post = 0
	case pre+post > digits:
		post = digits - pre
	}
	text := strconv.FormatFloat(v, 'f', post, 64)
	switch {
	case math.IsNaN(v):
		text = "NaN"
	case math.IsInf(v, 1):
		text = "Infinity"
	case math.IsInf(v, -1):
		text = "-Infinity"
	}
	return f.appendText(dst, text, post), nil
}

// AppendInt appends an integer.
func (f *NumberFormat) AppendInt(dst []byte, i int64) ([]byte, error) {
	switch {
	case f.roman && i != int64(int32(i)):
		return dst, pgerr.New(pgerr.NumericValueOutOfRange, "integer out of range")
	case f.roman:
		return f.appendRoman(dst, i), nil
	case f.exponent:
		return f.appendScientific(dst, NumFromInt64(i)), nil
	}
	text := strconv.FormatInt(i, 10)
	if s := f.shift(); s > 0 {
		b := new(big.Int).Mul(big.NewInt(i), bigPow10(s))
		if !b.IsInt64() {
			return dst, pgerr.New(pgerr.NumericValueOutOfRange, "bigint out of range")
		}
		text = b.String()
	}
	if f.post > 0 {
		text += "." + strings.Repeat("0", f.post)
	}
	return f.appendText(dst, text, f.post), nil
}

func (f *NumberFormat) appendScientific(dst []byte, n Num) []byte {
	if n.Kind != NumFinite {
		dst = append(dst, ' ')
		dst = append(dst, strings.Repeat("#", f.pre)...)
		dst = append(dst, '.')
		return append(dst, strings.Repeat("#", f.post+4)...)
	}
	if !n.Neg {
		dst = append(dst, ' ')
	}
	if n.isZero() {
		return append(dst, strconv.FormatFloat(0, 'e', f.post, 64)...)
	}
	x := n.bigFloat(bitsFor(n.digits() + f.post + 20))
	return x.Append(dst, 'e', f.post)
}

// romanParts are the letters of ones, tens and hundreds.
var romanParts = [...]struct {
	value int64
	text  string
}{{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"}, {100, "C"}, {90, "XC"}, {50, "L"}, {40, "XL"}, {10, "X"}, {9, "IX"}, {5, "V"}, {4, "IV"}, {1, "I"}}

func (f *NumberFormat) appendRoman(dst []byte, i int64) []byte {
	s := ""
	if i > 3999 || i < 1 {
		s = strings.Repeat("#", 15)
	}
	for _, p := range romanParts {
		for s == "" && i >= 1 || len(s) > 0 && s[0] != '#' && i >= p.value {
			if i < p.value {
				break
			}
			s += p.text
			i -= p.value
		}
	}
	for _, n := range f.nodes {
		if n.key != keyRN {
			continue
		}
		if n.lower {
			s = strings.ToLower(s)
		}
		if !f.fill {
			dst = append(dst, strings.Repeat(" ", max(15-len(s), 0))...)
		}
		return append(dst, s...)
	}
	return dst
}

// numWriter writes one number by a pattern.
type numWriter struct {
	f                  *NumberFormat
	dst                []byte
	number             string
	at                 int // in number
	curr, spaces       int // digits passed; those without a digit
	count              int
	negative, signDone bool
	in                 bool // digits have begun
	last               int  // last digit that is shown, -1 for all
	sign               numSign
	bracket            bool
	zeroStart          int
}

// appendText lays out a number's text, which has post digits after the point.
func (f *NumberFormat) appendText(dst []byte, text string, post int) []byte {
	w := numWriter{f: f, dst: dst, last: -1, sign: f.sign, bracket: f.bracket}
	if text[0] == '-' {
		w.negative, text = true, text[1:]
	}
	w.number = text
	pre := strings.IndexByte(text, '.')
	if pre < 0 {
		pre = len(text)
	}
	want := f.pre + f.shift()
	switch {
	case pre < want:
		w.spaces = want - pre
	case pre > want:
		w.number = strings.Repeat("#", want) + "." + strings.Repeat("#", post)
	}
	w.prepare(want, post)
	for i := range f.nodes {
		w.node(&f.nodes[i])
	}
	return w.dst
}

func (w *numWriter) prepare(pre, post int) {
	f := w.f
	w.zeroStart = max(f.zeroStart-1, 0)
	switch {
	case f.plus || f.minus:
		w.signDone = !f.plus || f.minus
	default:
		if !w.negative && w.bracket && f.fill {
			w.bracket = false
		}
		w.signDone = !w.negative && f.fill && f.sign == signNone
		if w.sign == signBefore && f.pre == f.preSign {
			w.sign = signAfter
		}
	}
	w.count = post + pre - 1
	if f.fill && f.decimal {
		if i := strings.IndexByte(w.number, '.'); i >= 0 {
			w.last = i
			for j := i + 1; j < len(w.number); j++ {
				if w.number[j] != '0' {
					w.last = j
				}
			}
			if f.zeroEnd > w.spaces {
				w.last = max(w.last, min(len(w.number)-1, f.zeroEnd-w.spaces))
			}
		}
	}
	if !w.signDone && w.spaces == 0 {
		w.count++
	}
}

// zeroAhead holds where a 0 before the point is left out: 9.9 of 0.1.
func (w *numWriter) zeroAhead() bool {
	return !w.f.zero && w.at == 0 && w.number != "" && w.number[0] == '0' && w.f.post != 0
}

func (w *numWriter) put(s string) { w.dst = append(w.dst, s...) }

func (w *numWriter) space() {
	if !w.f.fill {
		w.put(" ")
	}
}

func (w *numWriter) node(n *numNode) {
	switch n.key {
	case keyText:
		w.put(n.text)
	case key9, key0, keyPoint:
		w.digit(n.key)
	case keyComma:
		if w.in {
			w.put(",")
		} else {
			w.space()
		}
	case keyCurrency:
		w.put(" ")
	case keyMI:
		if w.negative {
			w.put("-")
		} else {
			w.space()
		}
	case keyPL:
		if !w.negative {
			w.put("+")
		} else {
			w.space()
		}
	case keySG:
		w.put(signText(w.negative))
	case keyTH:
		w.ordinal(n.lower)
	}
}

func signText(negative bool) string {
	if negative {
		return "-"
	}
	return "+"
}

func (w *numWriter) ordinal(lower bool) {
	if w.negative || w.f.decimal || w.number == "" || w.number[0] == '#' {
		return
	}
	s := ordinalSuffix(w.number)
	if !lower {
		s = strings.ToUpper(s)
	}
	w.put(s)
}

// ordinalSuffix gives st, nd, rd or th of a number.
func ordinalSuffix(number string) string {
	n := len(number)
	if n > 1 && number[n-2] == '1' {
		return "th"
	}
	switch number[n-1] {
	case '1':
		return "st"
	case '2':
		return "nd"
	case '3':
		return "rd"
	}
	return "th"
}

func (w *numWriter) lastIsPoint() bool { return w.last >= 0 && w.number[w.last] == '.' }

// digit writes a digit's or the point's place.
func (w *numWriter) digit(key numKey) {
	f := w.f
	w.in = false
	if !w.signDone && (w.curr >= w.spaces || f.zero && w.zeroStart == w.curr) && (!w.zeroAhead() || w.lastIsPoint()) {
		w.writeSign()
	}
	switch {
	case w.curr < w.spaces && (w.zeroStart > w.curr || !f.zero):
		w.space()
	case f.zero && w.curr < w.spaces && w.zeroStart <= w.curr:
		w.put("0")
		w.in = true
	default:
		w.numberChar(key)
	}
	end := w.count
	if w.spaces > 0 {
		end++
	}
	if f.decimal {
		end++
	}
	if w.last >= 0 && w.last == w.at {
		end = w.curr
	}
	if w.curr+1 == end {
		switch {
		case w.signDone && w.bracket:
			if w.negative {
				w.put(">")
			} else {
				w.put(" ")
			}
		case f.sign != signNone && w.sign == signAfter:
			w.put(signText(w.negative))
		}
	}
	w.curr++
}

func (w *numWriter) writeSign() {
	switch {
	case w.f.sign != signNone:
		if w.sign == signBefore {
			w.put(signText(w.negative))
			w.signDone = true
		}
		return
	case w.bracket:
		if w.negative {
			w.put("<")
		} else {
			w.put(" ")
		}
	case !w.negative:
		w.space()
	default:
		w.put("-")
	}
	w.signDone = true
}

func (w *numWriter) numberChar(key numKey) {
	c := byte(0)
	if w.at < len(w.number) {
		c = w.number[w.at]
	}
	switch {
	case c == '.':
		w.put(".")
	case w.last >= 0 && w.at > w.last && key != key0:
	case w.zeroAhead():
		if !w.f.fill {
			w.put(" ")
		} else if w.lastIsPoint() {
			w.put("0")
		}
	case c != 0:
		w.dst = append(w.dst, c)
		w.in = true
	}
	if c != 0 {
		w.at++
	}
}
