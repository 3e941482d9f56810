package sql

import (
	"strings"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
)

type stringKind uint8

const (
	plainString stringKind = iota
	escapeString
	unicodeString
	bitString
	hexString
)

// unterminated gives PostgreSQL's words for each kind.
func (k stringKind) unterminated() string {
	switch k {
	case bitString:
		return "unterminated bit string literal"
	case hexString:
		return "unterminated hexadecimal string literal"
	default:
		return "unterminated quoted string"
	}
}

// quoted reads a string whose quote stands at quote and whose token starts
// at start. Strings with a line break between them are one.
func (l *lexer) quoted(start, quote int, kind stringKind) {
	var b strings.Builder
	i := quote + 1
	for {
		i = l.stringPart(&b, start, i, kind)
		if l.err != nil {
			return
		}
		next, ok := continuation(l.src, i)
		if !ok {
			break
		}
		i = next
	}
	l.finishString(b.String(), start, i, kind)
}

func (l *lexer) finishString(text string, start, end int, kind stringKind) {
	switch kind {
	case bitString, hexString:
		prefix := "b"
		if kind == hexString {
			prefix = "x"
		}
		l.add(tokBits, prefix+text, start, end)
		return
	case unicodeString:
		text, end = l.unicodeText(text, start, end)
	case escapeString:
		// Escapes by number may have made text that is no UTF-8.
		if err := checkEncoding(text); err != nil && l.err == nil {
			l.err = pgerr.From(err)
		}
	}
	l.add(tokString, text, start, end)
}

// stringPart appends the text up to the closing quote and gives the offset
// after it.
func (l *lexer) stringPart(b *strings.Builder, start, i int, kind stringKind) int {
	for i < len(l.src) {
		c := l.src[i]
		switch {
		case c == '\'' && i+1 < len(l.src) && l.src[i+1] == '\'':
			b.WriteByte('\'')
			i += 2
		case c == '\'':
			return i + 1
		case c == '\\' && kind == escapeString && i+1 < len(l.src):
			i = l.escape(b, i)
			if l.err != nil {
				return i
			}
		default:
			b.WriteByte(c)
			i++
		}
	}
	l.fail(kind.unterminated(), start, len(l.src))
	return i
}

// continuation finds the next part of a string: white space and line
// comments with at least one line break, then a quote.
func continuation(s string, i int) (int, bool) {
	newline := false
	for i < len(s) {
		c := s[i]
		switch {
		case c == '\n' || c == '\r':
			newline = true
			i++
		case isSpace(c):
			i++
		case c == '-' && i+1 < len(s) && s[i+1] == '-':
			i = lineEnd(s, i)
		default:
			return i + 1, newline && c == '\''
		}
	}
	return i, false
}

// escape reads one backslash escape of E'…' and gives the offset after it.
func (l *lexer) escape(b *strings.Builder, i int) int {
	c := l.src[i+1]
	switch c {
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'v':
		b.WriteByte('\v')
	case 'u', 'U':
		return l.unicodeEscape(b, i)
	case 'x':
		n, j := scanBase(l.src, i+2, 2, 16)
		if j == i+2 {
			b.WriteByte('x')
		} else {
			b.WriteByte(byte(n))
		}
		return j
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n, j := scanBase(l.src, i+1, 3, 8)
		b.WriteByte(byte(n))
		return j
	default:
		n := runeLen(l.src[i+1:])
		b.WriteString(l.src[i+1 : i+1+n])
		return i + 1 + n
	}
	return i + 2
}

// scanBase reads at most max digits of a base.
func scanBase(s string, i, max int, base rune) (rune, int) {
	var n rune
	for k := 0; k < max && i < len(s); k++ {
		d := digitValue(s[i])
		if d < 0 || d >= base {
			break
		}
		n = n*base + d
		i++
	}
	return n, i
}

func digitValue(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// unicodeEscape reads \uXXXX or \UXXXXXXXX of E'…', also as a surrogate pair.
func (l *lexer) unicodeEscape(b *strings.Builder, i int) int {
	r, j, ok := hexEscape(l.src, i)
	if !ok {
		l.failCode(pgerr.InvalidEscapeSequence, "invalid Unicode escape", i)
		l.err.Hint = `Unicode escapes must be \uXXXX or \UXXXXXXXX.`
		return j
	}
	if r >= 0xD800 && r < 0xDC00 {
		low, k, ok := hexEscape(l.src, j)
		if !ok || low < 0xDC00 || low > 0xDFFF {
			l.fail("invalid Unicode surrogate pair", j, min(j+1, len(l.src)))
			return j
		}
		r, j = (r-0xD800)<<10+(low-0xDC00)+0x10000, k
	} else if r >= 0xDC00 && r <= 0xDFFF {
		l.fail("invalid Unicode surrogate pair", i, j)
		return j
	}
	if r <= 0 || r > utf8.MaxRune {
		l.fail("invalid Unicode escape value", i, j)
		return j
	}
	b.WriteRune(r)
	return j
}

// hexEscape reads \uXXXX or \UXXXXXXXX at i.
func hexEscape(s string, i int) (rune, int, bool) {
	if i+1 >= len(s) || s[i] != '\\' || s[i+1] != 'u' && s[i+1] != 'U' {
		return 0, i, false
	}
	digits := 4
	if s[i+1] == 'U' {
		digits = 8
	}
	r, j := scanBase(s, i+2, digits, 16)
	return r, j, j-i-2 == digits
}

// unicodeText resolves the escapes of U&'…' and U&"…", after a UESCAPE
// clause if one follows, and gives the token's end.
func (l *lexer) unicodeText(text string, start, end int) (string, int) {
	esc := byte('\\')
	save := l.at
	l.at = end
	if l.skipSpace() && len(l.src)-l.at > 7 && strings.EqualFold(l.src[l.at:l.at+7], "uescape") && !isIdentPart(l.src[l.at+7]) {
		l.at += 7
		if !l.skipSpace() || l.src[l.at] != '\'' {
			l.fail("UESCAPE must be followed by a simple string literal", l.at, min(l.at+1, len(l.src)))
			return "", end
		}
		at := l.at
		if at+2 >= len(l.src) || l.src[at+2] != '\'' || !validUescape(l.src[at+1]) {
			l.fail("invalid Unicode escape character", at, min(at+3, len(l.src)))
			return "", end
		}
		esc, end = l.src[at+1], at+3
	}
	l.at = save
	return l.unescape(text, esc, start), end
}

func validUescape(c byte) bool {
	return digitValue(c) < 0 && c != '+' && c != '\'' && c != '"' && !isSpace(c) && c < 0x80
}

// unescape resolves \XXXX, \+XXXXXX and \\ with the given escape character.
func (l *lexer) unescape(text string, esc byte, start int) string {
	if strings.IndexByte(text, esc) < 0 {
		return text
	}
	var b strings.Builder
	var high rune // pending first half of a surrogate pair
	for i := 0; i < len(text); {
		if text[i] != esc || i+1 < len(text) && text[i+1] == esc {
			if high != 0 {
				l.failCode(pgerr.SyntaxError, "invalid Unicode surrogate pair", start)
				return ""
			}
			b.WriteByte(text[i])
			if text[i] == esc {
				i++
			}
			i++
			continue
		}
		digits, from := 4, i+1
		if from < len(text) && text[from] == '+' {
			digits, from = 6, i+2
		}
		r, j := scanBase(text, from, digits, 16)
		if j-from != digits {
			l.failCode(pgerr.SyntaxError, "invalid Unicode escape", start)
			l.err.Hint = `Unicode escapes must be \XXXX or \+XXXXXX.`
			return ""
		}
		i = j
		isLow := r >= 0xDC00 && r <= 0xDFFF
		switch {
		case (high != 0) != isLow:
			l.failCode(pgerr.SyntaxError, "invalid Unicode surrogate pair", start)
			return ""
		case isLow:
			b.WriteRune((high-0xD800)<<10 + (r - 0xDC00) + 0x10000)
			high = 0
		case r >= 0xD800 && r < 0xDC00:
			high = r
		case r == 0 || r > utf8.MaxRune:
			l.failCode(pgerr.SyntaxError, "invalid Unicode escape value", start)
			return ""
		default:
			b.WriteRune(r)
		}
	}
	if high != 0 {
		l.failCode(pgerr.SyntaxError, "invalid Unicode surrogate pair", start)
	}
	return b.String()
}
