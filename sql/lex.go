package sql

import (
	"strings"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// maxSource bounds the text of one query string.
const maxSource = 16 << 20

// maxIdentBytes is PostgreSQL's NAMEDATALEN - 1.
const maxIdentBytes = 63

type tokenKind uint8

const (
	tokEOF    tokenKind = iota
	tokWord             // unquoted identifier or keyword, folded
	tokQuoted           // quoted identifier
	tokString           // string constant, unescaped
	tokBits             // bit string, with its leading b or x
	tokInteger
	tokDecimal
	tokParam // $n, text without the $
	tokOp    // operator or punctuation
)

// token is one lexical element. text is folded or unescaped; start and end
// are byte offsets in the source.
type token struct {
	kind       tokenKind
	kw         keyword
	text       string
	start, end int32
	pos        Pos
	match      int32 // of "(": index of its ")", 0 if there is none
}

// lexer cuts a query string into tokens by PostgreSQL's rules. The first
// error sticks.
type lexer struct {
	src    string
	at     int
	toks   []token
	open   []int32 // indexes of open parentheses
	posAt  int     // byte offset that posVal belongs to
	posVal Pos
	err    *pgerr.Error
}

// lex gives the tokens of src, the last one tokEOF.
func lex(src string) ([]token, error) {
	if len(src) > maxSource {
		return nil, pgerr.New(pgerr.ProgramLimitExceeded, "query string is too long: %d bytes, the limit is %d", len(src), maxSource).
			WithHint("Split the query string into several, or load the rows with COPY.")
	}
	if err := checkEncoding(src); err != nil {
		return nil, err
	}
	l := &lexer{src: src, posVal: 1, toks: make([]token, 0, len(src)/5+4)}
	for l.err == nil && l.skipSpace() {
		l.next()
	}
	if l.err != nil {
		return nil, l.err
	}
	l.add(tokEOF, "", len(src), len(src))
	return l.toks, nil
}

// checkEncoding refuses text that is not UTF-8 or holds a zero byte.
func checkEncoding(s string) error {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return nil
	}
	for i, r := range s {
		if r == 0 {
			return invalidBytes("\x00")
		}
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return invalidBytes(s[i : i+1])
			}
		}
	}
	return nil
}

// invalidBytes is PostgreSQL's refusal of bytes that are no UTF-8 text.
func invalidBytes(s string) *pgerr.Error {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("0x")
		b.WriteByte(hex[s[i]>>4])
		b.WriteByte(hex[s[i]&15])
	}
	return pgerr.New(pgerr.CharacterNotInRepertoire, `invalid byte sequence for encoding "UTF8": %s`, b.String())
}

// charPos gives the 1-based character position of a byte offset. Offsets
// mostly ascend, so that the whole text is counted once.
func (l *lexer) charPos(off int) Pos {
	if off < l.posAt {
		return Pos(utf8.RuneCountInString(l.src[:off]) + 1)
	}
	l.posVal += Pos(utf8.RuneCountInString(l.src[l.posAt:off]))
	l.posAt = off
	return l.posVal
}

func (l *lexer) add(k tokenKind, text string, start, end int) {
	t := token{kind: k, text: text, start: int32(start), end: int32(end), pos: l.charPos(start)}
	switch {
	case k == tokWord:
		t.kw = keywords[text]
	case k == tokOp && text == "(":
		l.open = append(l.open, int32(len(l.toks)))
	case k == tokOp && text == ")" && len(l.open) > 0:
		l.toks[l.open[len(l.open)-1]].match = int32(len(l.toks))
		l.open = l.open[:len(l.open)-1]
	}
	l.toks = append(l.toks, t)
	l.at = end
}

// fail reports a lexical error as PostgreSQL does: with the text from start
// to end.
func (l *lexer) fail(msg string, start, end int) {
	l.failCode(pgerr.SyntaxError, msg+` at or near "`+l.src[start:end]+`"`, start)
}

func (l *lexer) failCode(code pgerr.Code, msg string, off int) {
	if l.err == nil {
		l.err = pgerr.New(code, "%s", msg).At(int(l.charPos(off)))
	}
}

func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.src) {
		return l.src[l.at+n]
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isIdentStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
func isIdentPart(c byte) bool { return isIdentStart(c) || isDigit(c) || c == '$' }
func isOpChar(c byte) bool    { return c != 0 && strings.IndexByte("+-*/<>=~!@#%^&|`?", c) >= 0 }

// skipSpace skips white space and comments and tells whether text follows.
func (l *lexer) skipSpace() bool {
	for l.at < len(l.src) {
		c := l.src[l.at]
		switch {
		case isSpace(c):
			l.at++
		case c == '-' && l.peek(1) == '-':
			l.at = lineEnd(l.src, l.at)
		case c == '/' && l.peek(1) == '*':
			if !l.skipComment() {
				return false
			}
		default:
			return true
		}
	}
	return false
}

func lineEnd(s string, i int) int {
	for i < len(s) && s[i] != '\n' && s[i] != '\r' {
		i++
	}
	return i
}

// skipComment skips a comment, which may hold others.
func (l *lexer) skipComment() bool {
	start, depth := l.at, 0
	for l.at < len(l.src) {
		switch {
		case l.src[l.at] == '/' && l.peek(1) == '*':
			depth++
			l.at += 2
		case l.src[l.at] == '*' && l.peek(1) == '/':
			depth--
			l.at += 2
			if depth == 0 {
				return true
			}
		default:
			l.at++
		}
	}
	l.fail("unterminated /* comment", start, len(l.src))
	return false
}

// next reads one token; the cursor stands on its first byte.
func (l *lexer) next() {
	c := l.src[l.at]
	switch {
	case c == '\'':
		l.quoted(l.at, l.at, plainString)
	case c == '"':
		l.quotedIdent(l.at, false)
	case isDigit(c) || c == '.' && isDigit(l.peek(1)):
		l.number()
	case c == '$':
		l.dollar()
	case isIdentStart(c):
		if !l.prefixed(c) {
			l.word()
		}
	case c == ':' && (l.peek(1) == ':' || l.peek(1) == '='):
		l.add(tokOp, l.src[l.at:l.at+2], l.at, l.at+2)
	case c == '.' && l.peek(1) == '.':
		l.add(tokOp, "..", l.at, l.at+2)
	case isOpChar(c):
		l.operator()
	default:
		_, n := utf8.DecodeRuneInString(l.src[l.at:])
		l.add(tokOp, l.src[l.at:l.at+n], l.at, l.at+n)
	}
}

// prefixed reads E”, B”, X”, N”, U&” and U&"" and tells whether one
// stood there.
func (l *lexer) prefixed(c byte) bool {
	start := l.at
	switch {
	case l.peek(1) == '\'':
		switch c {
		case 'e', 'E':
			l.quoted(start, start+1, escapeString)
		case 'b', 'B':
			l.quoted(start, start+1, bitString)
		case 'x', 'X':
			l.quoted(start, start+1, hexString)
		case 'n', 'N': // N'x' is the type nchar before a string
			l.add(tokWord, "nchar", start, start+1)
			l.quoted(start+1, start+1, plainString)
		default:
			return false
		}
		return true
	case (c == 'u' || c == 'U') && l.peek(1) == '&' && l.peek(2) == '\'':
		l.quoted(start, start+2, unicodeString)
		return true
	case (c == 'u' || c == 'U') && l.peek(1) == '&' && l.peek(2) == '"':
		l.at += 2
		l.quotedIdent(start, true)
		return true
	}
	return false
}

func (l *lexer) word() {
	start, end := l.at, identEnd(l.src, l.at)
	l.add(tokWord, truncateIdent(foldIdent(l.src[start:end])), start, end)
}

// foldIdent folds ASCII letters only, as PostgreSQL does under UTF-8.
func foldIdent(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// truncateIdent cuts an identifier to 63 bytes at a character's border.
func truncateIdent(s string) string {
	if len(s) <= maxIdentBytes {
		return s
	}
	n := maxIdentBytes
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// quotedIdent reads "…" with the cursor on the quote; start is the token's.
func (l *lexer) quotedIdent(start int, unicode bool) {
	i := l.at + 1
	var b strings.Builder
	for {
		n := strings.IndexByte(l.src[i:], '"')
		if n < 0 {
			l.fail("unterminated quoted identifier", start, len(l.src))
			return
		}
		b.WriteString(l.src[i : i+n])
		i += n + 1
		if i >= len(l.src) || l.src[i] != '"' {
			break
		}
		b.WriteByte('"')
		i++
	}
	text, end := b.String(), i
	if unicode {
		text, end = l.unicodeText(text, start, end)
	}
	if text == "" {
		l.fail("zero-length delimited identifier", start, end)
		return
	}
	l.add(tokQuoted, truncateIdent(text), start, end)
}

// number reads 12, 1.5, .5, 1e10 and refuses 12abc.
func (l *lexer) number() {
	start, i, kind := l.at, l.at, tokInteger
	digits := func() {
		for i < len(l.src) && isDigit(l.src[i]) {
			i++
		}
	}
	digits()
	// "1..2" is an integer before "..".
	if i < len(l.src) && l.src[i] == '.' && (i+1 >= len(l.src) || l.src[i+1] != '.') {
		kind = tokDecimal
		i++
		digits()
	}
	if i < len(l.src) && (l.src[i] == 'e' || l.src[i] == 'E') {
		j := i + 1
		sign := j < len(l.src) && (l.src[j] == '+' || l.src[j] == '-')
		if sign {
			j++
		}
		switch {
		case j < len(l.src) && isDigit(l.src[j]):
			kind = tokDecimal
			i = j
			digits()
		case sign:
			l.fail("trailing junk after numeric literal", start, j)
			return
		}
	}
	if i < len(l.src) && isIdentStart(l.src[i]) {
		l.fail("trailing junk after numeric literal", start, identEnd(l.src, i))
		return
	}
	l.add(kind, l.src[start:i], start, i)
}

func identEnd(s string, i int) int {
	for i < len(s) && isIdentPart(s[i]) {
		i++
	}
	return i
}

func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// dollar reads $1 or a dollar-quoted string.
func (l *lexer) dollar() {
	start, i := l.at, l.at+1
	if i < len(l.src) && isDigit(l.src[i]) {
		for i < len(l.src) && isDigit(l.src[i]) {
			i++
		}
		if i < len(l.src) && isIdentStart(l.src[i]) {
			l.fail("trailing junk after parameter", start, identEnd(l.src, i))
			return
		}
		l.add(tokParam, l.src[start+1:i], start, i)
		return
	}
	for i < len(l.src) && isIdentPart(l.src[i]) && l.src[i] != '$' {
		i++
	}
	if i >= len(l.src) || l.src[i] != '$' {
		l.add(tokOp, "$", start, start+1)
		return
	}
	tag := l.src[start : i+1]
	n := strings.Index(l.src[i+1:], tag)
	if n < 0 {
		l.fail("unterminated dollar-quoted string", start, len(l.src))
		return
	}
	l.add(tokString, l.src[i+1:i+1+n], start, i+1+n+len(tag))
}

// operator reads the longest operator by PostgreSQL's rule: a comment ends
// it, and one of several characters ends in + or - only if it holds one of
// the characters that no SQL operator has.
func (l *lexer) operator() {
	start, i := l.at, l.at
	for i < len(l.src) && isOpChar(l.src[i]) {
		if i > start && (strings.HasPrefix(l.src[i:], "--") || strings.HasPrefix(l.src[i:], "/*")) {
			break
		}
		i++
	}
	for i-start > 1 && (l.src[i-1] == '+' || l.src[i-1] == '-') && !strings.ContainsAny(l.src[start:i-1], "~!@#%^&|`?") {
		i--
	}
	text := l.src[start:i]
	if len(text) > maxIdentBytes {
		l.fail("operator too long", start, i)
		return
	}
	if text == "!=" {
		text = "<>"
	}
	l.add(tokOp, text, start, i)
}
