package file

import (
	"bytes"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// maxDepth bounds the nesting of JSON values.
const maxDepth = 1000

// jsonDecoder reads an object a line into rows, directed by the columns: it
// expects the keys in the order of the line before, and looks them up only
// where they are not.
type jsonDecoder struct {
	cols    map[string]int
	keys    []expectedKey
	scratch []byte

	b []byte // the line
	i int
}

// expectedKey is a key as it stood in the last line, without escapes.
type expectedKey struct {
	raw []byte
	col int // -1: none
}

func newJSONDecoder(s types.Schema) *jsonDecoder {
	d := &jsonDecoder{cols: map[string]int{}}
	for i, c := range s {
		d.cols[c.Name] = i
	}
	return d
}

func errJSON(format string, args ...any) *pgerr.Error {
	return pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type json").
		WithDetail(format, args...)
}

func (d *jsonDecoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\r', '\n':
			d.i++
		default:
			return
		}
	}
}

// peek gives the next byte after white space, 0 at the end.
func (d *jsonDecoder) peek() byte {
	d.space()
	if d.i < len(d.b) {
		return d.b[d.i]
	}
	return 0
}

func (d *jsonDecoder) unexpected(want string) error {
	if d.i >= len(d.b) {
		return errJSON("The line ends where %s is expected.", want)
	}
	r, _ := utf8.DecodeRune(d.b[d.i:])
	return errJSON("Expected %s at byte %d, but found %q.", want, d.i+1, r)
}

// decode decodes one line into the current row.
func (d *jsonDecoder) decode(line []byte, rows *rows) error {
	d.b, d.i = line, 0
	switch d.peek() {
	case 0:
		if d.i == len(d.b) {
			return errBlank
		}
		return d.unexpected("a JSON object")
	case '{':
		d.i++
	default:
		return d.unexpected("a JSON object")
	}
	rows.beginRow()
	if err := d.members(rows); err != nil {
		return err
	}
	if d.space(); d.i < len(d.b) {
		return d.unexpected("the end of the line")
	}
	return rows.endRow()
}

// members reads the rest of the line's object.
func (d *jsonDecoder) members(rows *rows) error {
	if d.peek() == '}' {
		d.i++
		return nil
	}
	for n := 0; ; n++ {
		if d.peek() != '"' {
			return d.unexpected("a string")
		}
		col, err := d.key(n)
		if err != nil {
			return err
		}
		if d.peek() != ':' {
			return d.unexpected("\":\"")
		}
		d.i++
		if col < 0 {
			err = d.skip(0)
		} else {
			err = d.value(rows, col)
		}
		if err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.i++
		case '}':
			d.i++
			return nil
		default:
			return d.unexpected("\",\" or \"}\"")
		}
	}
}

// key reads the line's n-th key and gives its column.
func (d *jsonDecoder) key(n int) (int, error) {
	if n < len(d.keys) {
		k := &d.keys[n]
		if end := d.i + 1 + len(k.raw); end < len(d.b) && d.b[end] == '"' && bytes.Equal(d.b[d.i+1:end], k.raw) {
			d.i = end + 1
			return k.col, nil
		}
	}
	raw, escaped, err := d.str()
	if err != nil {
		return 0, err
	}
	if escaped {
		if d.scratch, err = unescape(d.scratch[:0], raw); err != nil {
			return 0, err
		}
		if col, ok := d.cols[string(d.scratch)]; ok {
			return col, nil
		}
		return -1, nil
	}
	col, ok := d.cols[string(raw)]
	if !ok {
		col = -1
	}
	if len(raw) <= 256 && n < 1024 {
		for len(d.keys) <= n {
			d.keys = append(d.keys, expectedKey{})
		}
		d.keys[n] = expectedKey{raw: append(d.keys[n].raw[:0], raw...), col: col}
	}
	return col, nil
}

// value reads a value into column col.
func (d *jsonDecoder) value(rows *rows, col int) error {
	c := d.peek()
	if c == '"' {
		raw, escaped, err := d.str()
		if err != nil {
			return err
		}
		if escaped {
			if d.scratch, err = unescape(d.scratch[:0], raw); err != nil {
				return rows.inColumn(col, err)
			}
			raw = d.scratch
		}
		if rows.isText(col) {
			rows.setText(col, raw)
			return nil
		}
		return rows.parse(col, raw)
	}
	start := d.i
	if err := d.skip(0); err != nil {
		return err
	}
	raw := d.b[start:d.i]
	kind := rows.types[col].Kind
	switch {
	case c == 'n':
		rows.null(col)
		return nil
	case kind == types.Text && rows.isText(col):
		rows.setText(col, raw)
		return nil
	case kind == types.Text:
		return rows.parse(col, raw)
	case kind == types.Bool && (c == 't' || c == 'f'):
		rows.setBool(col, c == 't')
		return nil
	case isDigitOrMinus(c) && (kind == types.Int4 || kind == types.Int8 || kind == types.Float8 || kind == types.Numeric):
		return rows.parse(col, raw)
	}
	return rows.inColumn(col, pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type %s: %q",
		rows.types[col], raw[:min(len(raw), 100)]))
}

func isDigitOrMinus(c byte) bool { return c == '-' || c-'0' <= 9 }

// str reads a string and gives what stands between its quotes.
func (d *jsonDecoder) str() (raw []byte, escaped bool, err error) {
	start := d.i + 1
	high := byte(0)
	for i := start; i < len(d.b); i++ {
		c := d.b[i]
		high |= c
		switch {
		case c == '"':
			raw = d.b[start:i]
			d.i = i + 1
			if high >= utf8.RuneSelf && !utf8.Valid(raw) {
				return nil, false, types.CheckText(raw)
			}
			return raw, escaped, nil
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			d.i = i
			return nil, false, errJSON("Character with value 0x%02x must be escaped.", c)
		}
	}
	d.i = len(d.b)
	return nil, false, d.unexpected("the end of a string")
}

// skip reads any value.
func (d *jsonDecoder) skip(depth int) error {
	if depth > maxDepth {
		return pgerr.New(pgerr.StatementTooComplex, "JSON is nested more than %d levels deep", maxDepth)
	}
	switch c := d.peek(); {
	case c == '"':
		raw, escaped, err := d.str()
		if err == nil && escaped {
			d.scratch, err = unescape(d.scratch[:0], raw)
		}
		if err != nil && pgerr.CodeOf(err) == pgerr.UntranslatableCharacter {
			return nil // right JSON, and nobody wants its text
		}
		return err
	case isDigitOrMinus(c):
		return d.number()
	case c == 't':
		return d.word("true")
	case c == 'f':
		return d.word("false")
	case c == 'n':
		return d.word("null")
	case c == '[' || c == '{':
		return d.skipNested(depth, c)
	}
	return d.unexpected("a JSON value")
}

func (d *jsonDecoder) word(w string) error {
	if !bytes.HasPrefix(d.b[d.i:], []byte(w)) {
		return d.unexpected("a JSON value")
	}
	d.i += len(w)
	return nil
}

// skipNested reads an array or object.
func (d *jsonDecoder) skipNested(depth int, open byte) error {
	d.i++
	last := open + 2 // ']' after '[', '}' after '{'
	if d.peek() == last {
		d.i++
		return nil
	}
	for {
		if open == '{' {
			if d.peek() != '"' {
				return d.unexpected("a string")
			}
			if err := d.skip(depth + 1); err != nil {
				return err
			}
			if d.peek() != ':' {
				return d.unexpected("\":\"")
			}
			d.i++
		}
		if err := d.skip(depth + 1); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.i++
		case last:
			d.i++
			return nil
		default:
			return d.unexpected("\",\" or the end of the value")
		}
	}
}

// number reads a number by JSON's grammar.
func (d *jsonDecoder) number() error {
	if d.b[d.i] == '-' {
		d.i++
	}
	whole := d.i
	if !d.digits() || d.b[whole] == '0' && d.i > whole+1 {
		return d.unexpected("a number")
	}
	if d.i < len(d.b) && d.b[d.i] == '.' {
		d.i++
		if !d.digits() {
			return d.unexpected("a digit")
		}
	}
	if d.i < len(d.b) && d.b[d.i]|0x20 == 'e' {
		d.i++
		if d.i < len(d.b) && (d.b[d.i] == '+' || d.b[d.i] == '-') {
			d.i++
		}
		if !d.digits() {
			return d.unexpected("a digit")
		}
	}
	return nil
}

func (d *jsonDecoder) digits() bool {
	start := d.i
	for d.i < len(d.b) && d.b[d.i]-'0' <= 9 {
		d.i++
	}
	return d.i > start
}

// unescape appends a string's text.
func unescape(dst, raw []byte) ([]byte, error) {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			continue
		}
		i++ // str has seen to it that something follows
		switch c := raw[i]; c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, n, err := unicodeEscape(raw[i-1:])
			if err != nil {
				return dst, err
			}
			dst = utf8.AppendRune(dst, r)
			i += n - 2
		default:
			return dst, errJSON("Escape sequence %q is invalid.", raw[i-1:i+1])
		}
	}
	return dst, nil
}

// unicodeEscape reads \uXXXX, or two of them that are a surrogate pair, and
// gives how long it is.
func unicodeEscape(b []byte) (rune, int, error) {
	r, ok := hex4(b)
	switch {
	case !ok:
		return 0, 0, errJSON("\"\\u\" must be followed by four hexadecimal digits.")
	case r == 0:
		return 0, 0, pgerr.New(pgerr.UntranslatableCharacter, "unsupported Unicode escape sequence").
			WithDetail("\\u0000 cannot be converted to text.")
	case r < 0xd800 || r > 0xdfff:
		return r, 6, nil
	}
	if r <= 0xdbff {
		if low, ok := hex4(b[6:]); ok && low >= 0xdc00 && low <= 0xdfff {
			return (r-0xd800)<<10 + (low - 0xdc00) + 0x10000, 12, nil
		}
	}
	return 0, 0, errJSON("Unicode low surrogate must follow a high surrogate.")
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
