package expr

import (
	"bytes"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// likeFuncs are LIKE and ILIKE, as operators, and ESCAPE's helper.
func likeFuncs() []*Func {
	const txt = types.Text
	like := func(name string, fold, not bool) *Func {
		return bound(name, types.Bool, bindLike(fold, not), txt, txt)
	}
	fs := []*Func{
		like("~~", false, false), like("!~~", false, true), like("~~*", true, false), like("!~~*", true, true),
		like("like", false, false), like("notlike", false, true),
		fn("like_escape", txt, likeEscape, txt, txt),
	}
	return fs
}

// likeForm is how a constant pattern is matched.
type likeForm uint8

const (
	likeGeneral  likeForm = iota
	likeExact             // no wildcard
	likePrefix            // abc%
	likeSuffix            // %abc
	likeContains          // %abc%
	likeBoth              // abc%def
)

// likePattern is a pattern made ready. With general form only text counts.
type likePattern struct {
	form       likeForm
	fold       bool
	text       []byte // the pattern itself
	head, tail []byte
}

func newLikePattern(pattern []byte, fold bool) likePattern {
	p := likePattern{text: pattern, fold: fold}
	if fold || bytes.ContainsAny(pattern, `_\`) {
		return p
	}
	parts := bytes.Split(pattern, []byte("%"))
	switch {
	case len(parts) == 1:
		p.form, p.head = likeExact, pattern
	case len(parts) == 2 && len(parts[1]) == 0:
		p.form, p.head = likePrefix, parts[0]
	case len(parts) == 2 && len(parts[0]) == 0:
		p.form, p.tail = likeSuffix, parts[1]
	case len(parts) == 2:
		p.form, p.head, p.tail = likeBoth, parts[0], parts[1]
	case len(parts) == 3 && len(parts[0]) == 0 && len(parts[2]) == 0:
		p.form, p.head = likeContains, parts[1]
	}
	return p
}

func bindLike(fold, not bool) func(*Call) (kernel, error) {
	return func(c *Call) (kernel, error) {
		k, ok := c.Args[1].(*Const)
		if !ok || k.Value.Null {
			return func(f *frame) { likeRows(f, fold, not) }, nil
		}
		p := newLikePattern(k.Value.B, fold)
		return func(f *frame) { p.match(f, not) }, nil
	}
}

// match matches all rows with a constant pattern.
func (p *likePattern) match(f *frame, not bool) {
	v, o, rows := f.args[0], f.out.Bool, f.rows()
	switch p.form {
	case likeExact:
		for _, r := range rows {
			o[r] = bytes.Equal(v.Bytes(int(r)), p.head) != not
		}
	case likePrefix:
		for _, r := range rows {
			o[r] = bytes.HasPrefix(v.Bytes(int(r)), p.head) != not
		}
	case likeSuffix:
		for _, r := range rows {
			o[r] = bytes.HasSuffix(v.Bytes(int(r)), p.tail) != not
		}
	case likeBoth:
		for _, r := range rows {
			b := v.Bytes(int(r))
			o[r] = (len(b) >= len(p.head)+len(p.tail) && bytes.HasPrefix(b, p.head) && bytes.HasSuffix(b, p.tail)) != not
		}
	case likeContains:
		for _, r := range rows {
			o[r] = bytes.Contains(v.Bytes(int(r)), p.head) != not
		}
	default:
		for _, r := range rows {
			m := matchLike(v.Bytes(int(r)), p.text, p.fold)
			if m == likeBad {
				f.fail(int(r), errLikeEscape)
				continue
			}
			o[r] = (m == likeYes) != not
		}
	}
}

func likeRows(f *frame, fold, not bool) {
	for _, r := range f.rows() {
		m := matchLike(f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r)), fold)
		if m == likeBad {
			f.fail(int(r), errLikeEscape)
			continue
		}
		f.out.Bool[r] = (m == likeYes) != not
	}
}

var errLikeEscape = pgerr.New(pgerr.InvalidEscapeSequence, "LIKE pattern must not end with escape character")

// likeResult is what matchLike says. Abort: no match, nor can there be one
// further on in the text.
type likeResult uint8

const (
	likeNo likeResult = iota
	likeYes
	likeAbort
	likeBad // the pattern ends with its escape character
)

// lowerByte folds case as the C locale does.
func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// matchLike matches text t with pattern p. Like PostgreSQL it meets a
// malformed end of the pattern only if the text gets it there.
func matchLike(t, p []byte, fold bool) likeResult {
	for len(t) > 0 && len(p) > 0 {
		switch {
		case p[0] == '\\':
			if p = p[1:]; len(p) == 0 {
				return likeBad
			}
			if !sameByte(p[0], t[0], fold) {
				return likeNo
			}
		case p[0] == '%':
			return matchAfterPercent(t, p[1:], fold)
		case p[0] == '_':
			t, p = t[charLen(t):], p[1:]
			continue
		case !sameByte(p[0], t[0], fold):
			return likeNo
		}
		t, p = t[1:], p[1:]
	}
	if len(t) > 0 {
		return likeNo
	}
	for len(p) > 0 && p[0] == '%' {
		p = p[1:]
	}
	if len(p) == 0 {
		return likeYes
	}
	return likeAbort
}

// matchAfterPercent tries the rest of the pattern at every place of t.
func matchAfterPercent(t, p []byte, fold bool) likeResult {
	for len(p) > 0 && (p[0] == '%' || p[0] == '_') {
		if p[0] == '_' {
			if len(t) == 0 {
				return likeAbort
			}
			t = t[charLen(t):]
		}
		p = p[1:]
	}
	if len(p) == 0 {
		return likeYes
	}
	first := p[0]
	if first == '\\' {
		if len(p) < 2 {
			return likeBad
		}
		first = p[1]
	}
	for len(t) > 0 {
		if sameByte(first, t[0], fold) {
			if m := matchLike(t, p, fold); m != likeNo {
				return m
			}
		}
		t = t[charLen(t):]
	}
	return likeAbort
}

func sameByte(a, b byte, fold bool) bool {
	return a == b || fold && lowerByte(a) == lowerByte(b)
}

// charLen gives the bytes of t's first character, t not empty.
func charLen(t []byte) int {
	if t[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRune(t)
	return n
}

// likeEscape rewrites a pattern with another escape character to "\".
func likeEscape(f *frame) {
	for _, r := range f.rows() {
		p, e := f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r))
		if len(e) > 0 && charLen(e) != len(e) {
			f.fail(int(r), pgerr.New(pgerr.InvalidEscapeSequence, "invalid escape string").
				WithHint("Escape string must be empty or one character."))
			continue
		}
		f.buf = appendEscaped(f.buf[:0], p, e)
		setText(f, int(r), f.buf)
	}
}

func appendEscaped(dst, p, e []byte) []byte {
	if len(e) == 1 && e[0] == '\\' {
		return append(dst, p...)
	}
	after := false // just behind an escape character
	for len(p) > 0 {
		n := charLen(p)
		switch {
		case !after && len(e) > 0 && bytes.Equal(p[:n], e):
			dst = append(dst, '\\')
			after = true
		case p[0] == '\\':
			if !after {
				dst = append(dst, '\\')
			}
			dst = append(dst, '\\')
			after = false
		default:
			dst = append(dst, p[:n]...)
			after = false
		}
		p = p[n:]
	}
	return dst
}
