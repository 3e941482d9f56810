package expr

import (
	"bytes"
	"math"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// rewriteFuncs are overlay, translate and initcap.
func rewriteFuncs() []*Func {
	const txt, i4 = types.Text, types.Int4
	return []*Func{
		fn("overlay", txt, overlay, txt, txt, i4), fn("overlay", txt, overlay, txt, txt, i4, i4),
		safe("translate", txt, translate, txt, txt, txt),
		safe("initcap", txt, initcap, txt),
	}
}

// overlay puts the second argument in place of the characters of the first
// from a place on: as many as the fourth argument says, or as it has itself.
func overlay(f *frame) {
	o := &f.out
	for _, r := range f.rows() {
		s, by, from := f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r)), f.args[2].I64[r]
		n := int64(0)
		if len(f.args) > 3 {
			n = f.args[3].I64[r]
		} else {
			n = charCount(by)
		}
		switch {
		case from <= 0:
			f.fail(int(r), pgerr.New(pgerr.SubstringError, "negative substring length not allowed"))
			continue
		case from+n > math.MaxInt32:
			f.fail(int(r), errInt4Range)
			continue
		}
		start := len(o.Data)
		o.Data = append(o.Data, substring(s, 1, from-1)...)
		o.Data = append(o.Data, by...)
		o.Data = append(o.Data, substring(s, from+n, math.MaxInt64/2)...)
		f.end(int(r), start)
	}
}

// translate replaces each character of the second argument by the one at its
// place in the third, or removes it if there is none.
func translate(f *frame) {
	o := &f.out
	for _, r := range f.rows() {
		s, from, to := f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r)), f.args[2].Bytes(int(r))
		start := len(o.Data)
		for len(s) > 0 {
			c := s[:charLen(s)]
			s = s[len(c):]
			if i := bytes.Index(from, c); i >= 0 {
				c = to[skipChars(to, charCount(from[:i])):]
				if len(c) > 0 {
					c = c[:charLen(c)]
				}
			}
			o.Data = append(o.Data, c...)
		}
		f.end(int(r), start)
	}
}

// initcap makes the first letter of each word upper case, the others lower.
func initcap(f *frame) {
	o := &f.out
	for _, r := range f.rows() {
		start, inWord := len(o.Data), false
		for _, c := range f.args[0].Bytes(int(r)) {
			if inWord {
				c = lowerByte(c)
			} else {
				c = upperByte(c)
			}
			l := lowerByte(c)
			inWord = l >= 'a' && l <= 'z' || c >= '0' && c <= '9'
			o.Data = append(o.Data, c)
		}
		f.end(int(r), start)
	}
}
