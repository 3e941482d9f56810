package types

import (
	"bytes"
	"sort"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// JSONKind tells the kinds of a JSON value apart, in the order that jsonb
// sorts them.
type JSONKind uint8

// The kinds.
const (
	JSONNull JSONKind = iota
	JSONString
	JSONNumber
	JSONBool
	JSONArray
	JSONObject
)

// JSON is a JSON value taken apart.
type JSON struct {
	Kind  JSONKind
	Bool  bool
	Text  []byte   // a string without its escapes, a number as it is printed
	Keys  []string // of an object
	Items []JSON   // an array's elements, or an object's values in the order of Keys
}

// maxJSONDepth bounds the nesting of arrays and objects.
const maxJSONDepth = 6000

func errJSON(detail string, args ...any) *pgerr.Error {
	return pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type json").WithDetail(detail, args...)
}

// jsonScanner reads JSON text. Strict, it also refuses what jsonb cannot hold.
type jsonScanner struct {
	b      []byte
	i      int
	depth  int
	strict bool
}

func (s *jsonScanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek gives the next byte that is no space, 0 at the end.
func (s *jsonScanner) peek() byte {
	s.space()
	if s.i == len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// token gives what stands at the place of an error, for its message.
func (s *jsonScanner) token() []byte {
	j := s.i
	if j < len(s.b) && s.b[j] == '"' {
		for j++; j < len(s.b) && s.b[j] != '"'; j++ {
			if s.b[j] == '\\' {
				j++
			}
		}
		return s.b[s.i:min(j+1, len(s.b))]
	}
	if j < len(s.b) && bytes.IndexByte([]byte(".+"), s.b[j]) >= 0 {
		return s.b[j : j+1]
	}
	for j < len(s.b) && (isLetter(s.b[j]|0x20) || isDigit(s.b[j]) || bytes.IndexByte([]byte("_+-."), s.b[j]) >= 0 || s.b[j] >= 0x80) {
		j++
	}
	return s.b[s.i:max(j, min(s.i+1, len(s.b)))]
}

func (s *jsonScanner) unexpected(want string) error {
	if s.peek() == 0 && s.i == len(s.b) {
		return errJSON("The input string ended unexpectedly.")
	}
	t := s.token()
	if c := t[0]; bytes.IndexByte([]byte("{}[]:,\""), c) < 0 && string(t) != "true" && string(t) != "false" && string(t) != "null" && !isDigit(c) {
		return errJSON("Token \"%s\" is invalid.", t)
	}
	return errJSON("Expected %s, but found \"%s\".", want, t)
}

func (s *jsonScanner) enter() error {
	if s.depth++; s.depth > maxJSONDepth {
		return pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded").
			WithHint("JSON values nest up to %d deep.", maxJSONDepth)
	}
	s.i++
	return nil
}

// skip passes over one value and checks its syntax.
func (s *jsonScanner) skip() error {
	switch c := s.peek(); {
	case c == '"':
		_, err := s.str(nil, false)
		return err
	case c == '-' || isDigit(c):
		_, err := s.number()
		return err
	case c == '[':
		return s.array(s.skip)
	case c == '{':
		return s.object(func(int, int) error { return s.skip() })
	}
	return s.word()
}

// array passes over an array, whose elements item reads.
func (s *jsonScanner) array(item func() error) error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.i++
		s.depth--
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			s.depth--
			return nil
		default:
			return s.unexpected("\",\" or \"]\"")
		}
	}
}

// object passes over an object, whose values item reads; it gets the place of
// the key with its quotes.
func (s *jsonScanner) object(item func(from, to int) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.i++
		s.depth--
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.unexpected("string")
		}
		from := s.i
		if _, err := s.str(nil, false); err != nil {
			return err
		}
		to := s.i
		if s.peek() != ':' {
			return s.unexpected("\":\"")
		}
		s.i++
		if err := item(from, to); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			s.depth--
			return nil
		default:
			return s.unexpected("\",\" or \"}\"")
		}
	}
}

func (s *jsonScanner) word() error {
	for _, w := range []string{"null", "true", "false"} {
		if bytes.HasPrefix(s.b[s.i:], []byte(w)) && len(s.token()) == len(w) {
			s.i += len(w)
			return nil
		}
	}
	return s.unexpected("JSON value")
}

func (s *jsonScanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && isDigit(s.b[s.i]) {
		s.i++
	}
	return s.i > from
}

// number passes over a number and gives its text.
func (s *jsonScanner) number() ([]byte, error) {
	from := s.i
	whole := s.token()
	bad := errJSON("Token \"%s\" is invalid.", whole)
	if s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return nil, bad
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		if s.i++; !s.digits() {
			return nil, bad
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		if s.i++; s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return nil, bad
		}
	}
	if s.i-from < len(whole) { // something hangs on it
		return nil, bad
	}
	return s.b[from:s.i], nil
}

// str passes over a string; decode appends it without escapes to dst.
func (s *jsonScanner) str(dst []byte, decode bool) ([]byte, error) {
	from := s.i
	for s.i++; s.i < len(s.b); {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return dst, nil
		case c < 0x20:
			return nil, errJSON("Character with value 0x%02x must be escaped.", c)
		case c != '\\':
			if decode {
				dst = append(dst, c)
			}
			s.i++
		default:
			var err error
			if dst, err = s.escape(dst, decode, from); err != nil {
				return nil, err
			}
		}
	}
	return nil, errJSON("Token \"%s\" is invalid.", s.b[from:])
}

func (s *jsonScanner) escape(dst []byte, decode bool, from int) ([]byte, error) {
	if s.i+1 >= len(s.b) {
		return nil, errJSON("Token \"%s\" is invalid.", s.b[from:])
	}
	c := s.b[s.i+1]
	s.i += 2
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return s.unicode(dst, decode)
	default:
		_, n := utf8.DecodeRune(s.b[s.i-1:])
		return nil, errJSON("Escape sequence \"\\%s\" is invalid.", s.b[s.i-1:s.i-1+n])
	}
	if decode {
		dst = append(dst, c)
	}
	return dst, nil
}

func (s *jsonScanner) hex4() (rune, bool) {
	if s.i+4 > len(s.b) {
		return 0, false
	}
	var r rune
	for _, c := range s.b[s.i : s.i+4] {
		d, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	s.i += 4
	return r, true
}

func (s *jsonScanner) unicode(dst []byte, decode bool) ([]byte, error) {
	r, ok := s.hex4()
	if !ok {
		return nil, errJSON("\"\\u\" must be followed by four hexadecimal digits.")
	}
	if !decode && !s.strict {
		return dst, nil
	}
	switch {
	case r == 0:
		return nil, pgerr.New(pgerr.UntranslatableCharacter, "unsupported Unicode escape sequence").
			WithDetail("\\u0000 cannot be converted to text.")
	case r >= 0xdc00 && r < 0xe000:
		return nil, errJSON("Unicode low surrogate must follow a high surrogate.")
	case r >= 0xd800 && r < 0xdc00:
		if s.i+1 >= len(s.b) || s.b[s.i] != '\\' || s.b[s.i+1] != 'u' {
			return nil, errJSON("Unicode low surrogate must follow a high surrogate.")
		}
		s.i += 2
		low, ok := s.hex4()
		if !ok {
			return nil, errJSON("\"\\u\" must be followed by four hexadecimal digits.")
		}
		if low < 0xdc00 || low >= 0xe000 {
			return nil, errJSON("Unicode high surrogate must not follow a high surrogate.")
		}
		r = utf16.DecodeRune(r, low)
	}
	if decode {
		dst = utf8.AppendRune(dst, r)
	}
	return dst, nil
}

// end checks that nothing follows.
func (s *jsonScanner) end() error {
	if s.peek(); s.i < len(s.b) {
		return s.unexpected("end of input")
	}
	return nil
}

// CheckJSON reports, with 22P02, what is no JSON text.
func CheckJSON(b []byte) error {
	s := jsonScanner{b: b}
	if err := s.skip(); err != nil {
		return err
	}
	return s.end()
}

// ParseJSON takes JSON text apart as jsonb does: of equal keys the last one
// counts, keys are sorted by length and bytes, numbers are as numeric prints
// them.
func ParseJSON(b []byte) (JSON, error) {
	s := jsonScanner{b: b, strict: true}
	v, err := s.value()
	if err == nil {
		err = s.end()
	}
	return v, err
}

func (s *jsonScanner) value() (v JSON, err error) {
	switch c := s.peek(); {
	case c == '"':
		v.Kind = JSONString
		v.Text, err = s.str([]byte{}, true)
	case c == '-' || isDigit(c):
		v.Kind = JSONNumber
		if v.Text, err = s.number(); err == nil {
			v.Text, err = canonicalNumber(v.Text)
		}
	case c == '[':
		v.Kind = JSONArray
		err = s.array(func() error {
			e, err := s.value()
			v.Items = append(v.Items, e)
			return err
		})
	case c == '{':
		v.Kind = JSONObject
		err = s.object(func(from, to int) error {
			key := jsonScanner{b: s.b[:to], i: from}
			k, err := key.str(nil, true)
			if err != nil {
				return err
			}
			e, err := s.value()
			v.Keys, v.Items = append(v.Keys, string(k)), append(v.Items, e)
			return err
		})
		v.sortKeys()
	default:
		if err = s.word(); err == nil && c != 'n' {
			v.Kind, v.Bool = JSONBool, c == 't'
		}
	}
	return v, err
}

func canonicalNumber(b []byte) ([]byte, error) {
	plain := len(b) < 18
	for i, c := range b {
		plain = plain && (isDigit(c) || c == '-' && i == 0 && b[1] != '0')
	}
	if plain {
		return b, nil
	}
	n, err := ParseNumeric(string(b))
	if err != nil {
		return nil, err
	}
	return n.AppendText(nil), nil
}

// jsonKeyLess is the order of an object's keys.
func jsonKeyLess(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

type byKey struct{ v *JSON }

func (s byKey) Len() int           { return len(s.v.Keys) }
func (s byKey) Less(i, j int) bool { return jsonKeyLess(s.v.Keys[i], s.v.Keys[j]) }
func (s byKey) Swap(i, j int) {
	s.v.Keys[i], s.v.Keys[j] = s.v.Keys[j], s.v.Keys[i]
	s.v.Items[i], s.v.Items[j] = s.v.Items[j], s.v.Items[i]
}

// sortKeys puts an object's keys in order; of equal ones the last counts.
func (v *JSON) sortKeys() {
	sort.Stable(byKey{v})
	n := 0
	for i := range v.Keys {
		if n > 0 && v.Keys[n-1] == v.Keys[i] {
			n--
		}
		v.Keys[n], v.Items[n] = v.Keys[i], v.Items[i]
		n++
	}
	v.Keys, v.Items = v.Keys[:n], v.Items[:n]
}

// Field gives the place of an object's key, and whether it is there or would
// have to be put there.
func (v *JSON) Field(key string) (int, bool) {
	i := sort.Search(len(v.Keys), func(i int) bool { return !jsonKeyLess(v.Keys[i], key) })
	return i, i < len(v.Keys) && v.Keys[i] == key
}

// AppendJSONString appends text as a JSON string.
func AppendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c < 0x20 {
				dst = append(dst, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
			} else {
				dst = append(dst, c)
			}
		}
	}
	return append(dst, '"')
}

// Append appends the value as jsonb prints it.
func (v *JSON) Append(dst []byte) []byte {
	switch v.Kind {
	case JSONString:
		return AppendJSONString(dst, v.Text)
	case JSONNumber:
		return append(dst, v.Text...)
	case JSONBool:
		if v.Bool {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case JSONArray, JSONObject:
		open := "[]"
		if v.Kind == JSONObject {
			open = "{}"
		}
		dst = append(dst, open[0])
		for i := range v.Items {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			if v.Kind == JSONObject {
				dst = append(AppendJSONString(dst, []byte(v.Keys[i])), ": "...)
			}
			dst = v.Items[i].Append(dst)
		}
		return append(dst, open[1])
	}
	return append(dst, "null"...)
}

// AppendPretty appends the value on lines of their own, indented by four
// spaces a level.
func (v *JSON) AppendPretty(dst []byte, level int) []byte {
	if v.Kind < JSONArray {
		return v.Append(dst)
	}
	open := "[]"
	if v.Kind == JSONObject {
		open = "{}"
	}
	indent := func(n int) {
		dst = append(dst, '\n')
		for range 4 * n {
			dst = append(dst, ' ')
		}
	}
	dst = append(dst, open[0])
	for i := range v.Items {
		if i > 0 {
			dst = append(dst, ',')
		}
		indent(level + 1)
		if v.Kind == JSONObject {
			dst = append(AppendJSONString(dst, []byte(v.Keys[i])), ": "...)
		}
		dst = v.Items[i].AppendPretty(dst, level+1)
	}
	indent(level)
	return append(dst, open[1])
}

// StripJSONNulls appends JSON text without the fields of objects that are
// null, and without white space.
func StripJSONNulls(dst, b []byte) ([]byte, error) {
	s := jsonScanner{b: b}
	return s.strip(dst)
}

func (s *jsonScanner) strip(dst []byte) ([]byte, error) {
	c := s.peek()
	start, first := s.i, true
	comma := func() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
	}
	switch c {
	case '[':
		dst = append(dst, '[')
		err := s.array(func() (err error) {
			comma()
			dst, err = s.strip(dst)
			return err
		})
		return append(dst, ']'), err
	case '{':
		dst = append(dst, '{')
		err := s.object(func(from, to int) (err error) {
			if s.peek() == 'n' {
				return s.word()
			}
			comma()
			if dst, err = s.restring(dst, from, to); err != nil {
				return err
			}
			dst, err = s.strip(append(dst, ':'))
			return err
		})
		return append(dst, '}'), err
	}
	if err := s.skip(); err != nil {
		return dst, err
	}
	if c == '"' {
		return s.restring(dst, start, s.i)
	}
	return append(dst, s.b[start:s.i]...), nil
}

// restring appends the string at from with the fewest escapes.
func (s *jsonScanner) restring(dst []byte, from, to int) ([]byte, error) {
	t := jsonScanner{b: s.b[:to], i: from}
	text, err := t.str(nil, true)
	return AppendJSONString(dst, text), err
}
