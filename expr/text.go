package expr

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"math"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// textFuncs are the operators and functions on text. Case follows the C
// locale, as the collation does: only ASCII letters have it.
func textFuncs() []*Func {
	const txt, i4, b = types.Text, types.Int4, types.Bool
	size := func(name string, f func([]byte) int64) *Func { return safe(name, i4, unary(texts, ints, sure(f)), txt) }
	part := func(name string, f func([]byte, int64) []byte) *Func { return safe(name, txt, slice(f), txt, i4) }
	fs := []*Func{
		safe("||", txt, concatTwo, txt, txt),
		safe("lower", txt, mapBytes(lowerByte), txt), safe("upper", txt, mapBytes(upperByte), txt),
		size("length", charCount), size("char_length", charCount), size("character_length", charCount),
		size("octet_length", func(s []byte) int64 { return int64(len(s)) }),
		size("bit_length", func(s []byte) int64 { return 8 * int64(len(s)) }),
		size("ascii", firstChar),
		safe("position", i4, binaryOp(texts, texts, ints, strpos), txt, txt),
		safe("strpos", i4, binaryOp(texts, texts, ints, strpos), txt, txt),
		part("left", leftChars), part("right", rightChars),
		safe("starts_with", b, binaryOp(texts, texts, bools, hasPrefix), txt, txt),
		safe("^@", b, binaryOp(texts, texts, bools, hasPrefix), txt, txt),
		fn("replace", txt, replaceText, txt, txt, txt),
		fn("split_part", txt, splitPart, txt, txt, i4),
		safe("reverse", txt, reverseText, txt),
		fn("repeat", txt, repeatText, txt, i4),
		fn("lpad", txt, pad(true), txt, i4), fn("lpad", txt, pad(true), txt, i4, txt),
		fn("rpad", txt, pad(false), txt, i4), fn("rpad", txt, pad(false), txt, i4, txt),
		fn("chr", txt, chr, i4), safe("md5", txt, md5Text, txt),
		safe("boolout", txt, toText, b), safe("bpcharout", txt, sameBytes, types.Bpchar),
	}
	for _, name := range []string{"substr", "substring"} {
		fs = append(fs, part(name, func(s []byte, from int64) []byte { return substring(s, from, math.MaxInt64/2) }),
			fn(name, txt, substringLen, txt, i4, i4))
	}
	for _, t := range []struct {
		name        string
		left, right bool
	}{{"btrim", true, true}, {"ltrim", true, false}, {"rtrim", false, true}} {
		fs = append(fs, safe(t.name, txt, trim(t.left, t.right), txt), safe(t.name, txt, trim(t.left, t.right), txt, txt))
	}
	concat, ws := safe("concat", txt, concatAll, txt), safe("concat_ws", txt, concatWS, txt, txt)
	concat.Strict, concat.Variadic = false, true
	ws.Strict, ws.Variadic = false, true
	return append(fs, concat, ws)
}

// maxText bounds what a text function may build for one row.
const maxText = 16 << 20

var errTooLong = pgerr.New(pgerr.ProgramLimitExceeded, "requested length too large")

func concatTwo(f *frame) {
	a, b, o := f.args[0], f.args[1], &f.out
	for _, r := range f.rows() {
		start := len(o.Data)
		o.Data = append(o.Data, a.Bytes(int(r))...)
		o.Data = append(o.Data, b.Bytes(int(r))...)
		f.end(int(r), start)
	}
}

func concatAll(f *frame) {
	o := &f.out
	for _, r := range f.rows() {
		start := len(o.Data)
		for _, a := range f.args {
			if !a.Null(int(r)) {
				o.Data = append(o.Data, a.Bytes(int(r))...)
			}
		}
		f.end(int(r), start)
	}
}

func concatWS(f *frame) {
	o := &f.out
	for _, r := range f.rows() {
		if f.args[0].Null(int(r)) {
			f.setNull(int(r))
			continue
		}
		start, first := len(o.Data), true
		for _, a := range f.args[1:] {
			if a.Null(int(r)) {
				continue
			}
			if !first {
				o.Data = append(o.Data, f.args[0].Bytes(int(r))...)
			}
			first = false
			o.Data = append(o.Data, a.Bytes(int(r))...)
		}
		f.end(int(r), start)
	}
}

func upperByte(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - ('a' - 'A')
	}
	return c
}

func mapBytes(m func(byte) byte) kernel {
	var table [256]byte
	for i := range table {
		table[i] = m(byte(i))
	}
	return func(f *frame) {
		for _, r := range f.rows() {
			start := len(f.out.Data)
			for _, c := range f.args[0].Bytes(int(r)) {
				f.out.Data = append(f.out.Data, table[c])
			}
			f.end(int(r), start)
		}
	}
}

func charCount(s []byte) int64 { return int64(utf8.RuneCount(s)) }

func firstChar(s []byte) int64 {
	if len(s) == 0 {
		return 0
	}
	r, _ := utf8.DecodeRune(s)
	return int64(r)
}

// strpos gives the place of sub in s in characters, from 1; 0 if it is not
// there.
func strpos(s, sub []byte) (int64, error) {
	i := bytes.Index(s, sub)
	if i < 0 {
		return 0, nil
	}
	return charCount(s[:i]) + 1, nil
}

func hasPrefix(s, prefix []byte) (bool, error) { return bytes.HasPrefix(s, prefix), nil }

// slice makes a function that gives a part of its argument; the result shares
// the argument's bytes.
func slice(part func([]byte, int64) []byte) kernel {
	return func(f *frame) {
		n := f.args[1].I64
		f.share(0, func(s []byte, r int) []byte { return part(s, n[r]) })
	}
}

// share makes the result's rows parts of argument i's rows, without copying.
func (f *frame) share(i int, part func(s []byte, r int) []byte) {
	v := f.args[i]
	for _, r := range f.rows() {
		s := v.Bytes(int(r))
		p := part(s, int(r))
		off := cap(s) - cap(p) // Bytes caps what it gives, so this is p's place in s
		f.out.Span[r] = types.Span{Off: v.Span[r].Off + uint32(off), Len: uint32(len(p))}
	}
	f.out.Data = v.Data[:len(v.Data):len(v.Data)]
}

// skipChars gives the byte offset of character n of s (from 0), or len(s).
func skipChars(s []byte, n int64) int {
	i := 0
	for ; n > 0 && i < len(s); n-- {
		i += charLen(s[i:])
	}
	return i
}

func leftChars(s []byte, n int64) []byte {
	if n < 0 {
		n = max(charCount(s)+n, 0)
	}
	return s[:skipChars(s, n)]
}

func rightChars(s []byte, n int64) []byte {
	if n == math.MinInt32 { // which has no opposite in int4
		return s
	}
	if n < 0 {
		return s[skipChars(s, -n):]
	}
	return s[skipChars(s, max(charCount(s)-n, 0)):]
}

// substring gives n characters of s from place from, which may lie before 1.
// As in PostgreSQL an end beyond int4 is no end.
func substring(s []byte, from, n int64) []byte {
	end := from + n // exclusive; int64 does not overflow
	if end > math.MaxInt32 {
		end = math.MaxInt64 / 2
	}
	from = max(from, 1)
	if end <= from {
		return s[:0]
	}
	s = s[skipChars(s, from-1):]
	return s[:skipChars(s, end-from)]
}

func substringLen(f *frame) {
	from, n := f.args[1].I64, f.args[2].I64
	f.share(0, func(s []byte, r int) []byte {
		if n[r] < 0 {
			f.fail(r, pgerr.New(pgerr.SubstringError, "negative substring length not allowed"))
			return s[:0]
		}
		return substring(s, from[r], n[r])
	})
	f.clearFailed()
}

// clearFailed gives rows that became NULL a readable slot again.
func (f *frame) clearFailed() {
	if f.out.Nulls != nil {
		clearNullSpans(&f.out, f.n)
	}
}

// trim takes characters of a set (a space if there is no second argument) off
// the ends.
func trim(left, right bool) kernel {
	space := []byte(" ")
	return func(f *frame) {
		f.share(0, func(s []byte, r int) []byte {
			set := space
			if len(f.args) > 1 {
				set = f.args[1].Bytes(r)
			}
			for left && len(s) > 0 && bytes.Contains(set, s[:charLen(s)]) {
				s = s[charLen(s):]
			}
			for right && len(s) > 0 {
				_, n := utf8.DecodeLastRune(s)
				if !bytes.Contains(set, s[len(s)-n:]) {
					break
				}
				s = s[:len(s)-n]
			}
			return s
		})
	}
}

func replaceText(f *frame) {
	o := &f.out
	for _, r := range f.rows() {
		s, from, to := f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r)), f.args[2].Bytes(int(r))
		start := len(o.Data)
		for len(from) > 0 {
			i := bytes.Index(s, from)
			if i < 0 || len(o.Data)-start > maxText {
				break
			}
			o.Data = append(append(o.Data, s[:i]...), to...)
			s = s[i+len(from):]
		}
		if len(o.Data)-start > maxText {
			o.Data = o.Data[:start]
			f.fail(int(r), errTooLong)
			continue
		}
		o.Data = append(o.Data, s...)
		f.end(int(r), start)
	}
}

func splitPart(f *frame) {
	sep, n := f.args[1], f.args[2].I64
	f.share(0, func(s []byte, r int) []byte {
		if n[r] == 0 {
			f.fail(r, pgerr.New(pgerr.InvalidParameterValue, "field position must not be zero"))
			return s[:0]
		}
		return field(s, sep.Bytes(r), n[r])
	})
	f.clearFailed()
}

// field gives part n of s between separators, from the end if n < 0.
func field(s, sep []byte, n int64) []byte {
	if len(sep) == 0 {
		if n == 1 || n == -1 {
			return s
		}
		return s[:0]
	}
	if n < 0 {
		if n += int64(bytes.Count(s, sep)) + 2; n <= 0 {
			return s[:0]
		}
	}
	for ; ; n-- {
		i := bytes.Index(s, sep)
		switch {
		case n == 1 && i >= 0:
			return s[:i]
		case n == 1:
			return s
		case i < 0:
			return s[:0]
		}
		s = s[i+len(sep):]
	}
}

func reverseText(f *frame) {
	for _, r := range f.rows() {
		start := len(f.out.Data)
		for s := f.args[0].Bytes(int(r)); len(s) > 0; {
			_, n := utf8.DecodeLastRune(s)
			f.out.Data = append(f.out.Data, s[len(s)-n:]...)
			s = s[:len(s)-n]
		}
		f.end(int(r), start)
	}
}

func repeatText(f *frame) {
	for _, r := range f.rows() {
		s, n := f.args[0].Bytes(int(r)), f.args[1].I64[r]
		if n > 0 && int64(len(s))*n > maxText {
			f.fail(int(r), errTooLong)
			continue
		}
		start := len(f.out.Data)
		for ; n > 0 && len(s) > 0; n-- {
			f.out.Data = append(f.out.Data, s...)
		}
		f.end(int(r), start)
	}
}

// pad is lpad and rpad: filled with the third argument (spaces) to a length
// in characters, or cut to it.
func pad(left bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			s, n, fill := f.args[0].Bytes(int(r)), max(f.args[1].I64[r], 0), []byte(" ")
			if len(f.args) > 2 {
				fill = f.args[2].Bytes(int(r))
			}
			if len(fill) == 0 {
				n = min(n, charCount(s))
			}
			if n*int64(len(fill)) > maxText {
				f.fail(int(r), errTooLong)
				continue
			}
			start := len(f.out.Data)
			s = s[:skipChars(s, n)]
			need := n - charCount(s)
			if !left {
				f.out.Data = append(f.out.Data, s...)
			}
			for i := 0; need > 0; need-- {
				w := charLen(fill[i:])
				f.out.Data = append(f.out.Data, fill[i:i+w]...)
				if i += w; i == len(fill) {
					i = 0
				}
			}
			if left {
				f.out.Data = append(f.out.Data, s...)
			}
			f.end(int(r), start)
		}
	}
}

func chr(f *frame) {
	for _, r := range f.rows() {
		c := f.args[0].I64[r]
		var err *pgerr.Error
		switch {
		case c < 0:
			err = pgerr.New(pgerr.InvalidParameterValue, "character number must be positive")
		case c == 0:
			err = pgerr.New(pgerr.ProgramLimitExceeded, "null character not permitted")
		case c > utf8.MaxRune:
			err = pgerr.New(pgerr.ProgramLimitExceeded, "requested character too large for encoding: %d", c)
		case !utf8.ValidRune(rune(c)):
			err = pgerr.New(pgerr.ProgramLimitExceeded, "requested character not valid for encoding: %d", c)
		}
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		start := len(f.out.Data)
		f.out.Data = utf8.AppendRune(f.out.Data, rune(c))
		f.end(int(r), start)
	}
}

func md5Text(f *frame) {
	for _, r := range f.rows() {
		sum := md5.Sum(f.args[0].Bytes(int(r)))
		start := len(f.out.Data)
		f.out.Data = hex.AppendEncode(f.out.Data, sum[:])
		f.end(int(r), start)
	}
}
