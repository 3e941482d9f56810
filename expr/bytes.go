package expr

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// bytesFuncs are the operators and functions on bytea, and those between it
// and text.
func bytesFuncs() []*Func {
	const by, txt, i4, i8, b = types.Bytea, types.Text, types.Int4, types.Int8, types.Bool
	size := func(name string, f func([]byte) int64, k types.Kind) *Func {
		return safe(name, i4, unary(texts, ints, sure(f)), k)
	}
	length := func(s []byte) int64 { return int64(len(s)) }
	like := func(name string, not bool) *Func { return fn(name, b, likeBytes(not), by, by) }
	fs := []*Func{
		safe("||", by, concatTwo, by, by),
		size("length", length, by), size("octet_length", length, by), size("bit_length", func(s []byte) int64 { return 8 * int64(len(s)) }, by),
		size("length", func(s []byte) int64 { return charCount(types.TrimBlanks(s)) }, types.Bpchar),
		size("char_length", func(s []byte) int64 { return charCount(types.TrimBlanks(s)) }, types.Bpchar),
		size("character_length", func(s []byte) int64 { return charCount(types.TrimBlanks(s)) }, types.Bpchar),
		size("octet_length", length, types.Bpchar),
		safe("position", i4, binaryOp(texts, texts, ints, bytePosition), by, by),
		fn("overlay", by, overlayBytes, by, by, i4), fn("overlay", by, overlayBytes, by, by, i4, i4),
		like("~~", false), like("!~~", true), like("like", false), like("notlike", true),
		fn("get_byte", i4, getByte, by, i4), fn("set_byte", by, setByte, by, i4, i4),
		fn("get_bit", i4, getBit, by, i8), fn("set_bit", by, setBit, by, i8, i4),
		safe("bit_count", i8, unary(texts, ints, sure(bitCount)), by),
		fn("encode", txt, encodeBytes, by, txt), fn("decode", by, decodeText, txt, txt),
		fn("convert_from", txt, convertFrom, by, types.Name), fn("convert_to", by, convertTo, txt, types.Name),
		safe("md5", txt, md5Text, by),
		fn("to_hex", txt, unary(ints, texts, sure(func(i int64) []byte { return appendHexInt(nil, uint64(uint32(i))) })), i4),
		fn("to_hex", txt, unary(ints, texts, sure(func(i int64) []byte { return appendHexInt(nil, uint64(i)) })), i8),
		fn("normalize", txt, normalizeText, txt), fn("normalize", txt, normalizeText, txt, txt),
		fn("is_normalized", b, isNormalized, txt), fn("is_normalized", b, isNormalized, txt, txt),
		fn("unistr", txt, unary(texts, texts, unistr), txt),
		fn("quote_ident", txt, unary(texts, texts, sure(func(s []byte) []byte { return appendIdent(nil, s) })), txt),
	}
	for _, name := range []string{"substr", "substring"} {
		fs = append(fs, fn(name, by, substringBytes, by, i4), fn(name, by, substringBytes, by, i4, i4))
	}
	for _, h := range []struct {
		name string
		sum  func([]byte) []byte
	}{
		{"sha224", func(s []byte) []byte { x := sha256.Sum224(s); return x[:] }},
		{"sha256", func(s []byte) []byte { x := sha256.Sum256(s); return x[:] }},
		{"sha384", func(s []byte) []byte { x := sha512.Sum384(s); return x[:] }},
		{"sha512", func(s []byte) []byte { x := sha512.Sum512(s); return x[:] }},
	} {
		fs = append(fs, safe(h.name, by, unary(texts, texts, sure(h.sum)), by))
	}
	for _, t := range []struct {
		name        string
		left, right bool
	}{{"btrim", true, true}, {"ltrim", true, false}, {"rtrim", false, true}} {
		fs = append(fs, safe(t.name, by, trimBytes(t.left, t.right), by, by))
	}
	return fs
}

func bytePosition(s, sub []byte) (int64, error) { return int64(bytes.Index(s, sub) + 1), nil }

// likeBytes is LIKE over bytes: a character is a byte.
func likeBytes(not bool) kernel {
	wide := func(b []byte) []byte { // bytes as characters of the same numbers
		out := make([]byte, 0, 2*len(b))
		for _, c := range b {
			out = utf8.AppendRune(out, rune(c))
		}
		return out
	}
	return func(f *frame) {
		for _, r := range f.rows() {
			m := matchLike(wide(f.args[0].Bytes(int(r))), wide(f.args[1].Bytes(int(r))), false)
			if m == likeBad {
				f.fail(int(r), errLikeEscape)
				continue
			}
			f.out.Bool[r] = (m == likeYes) != not
		}
	}
}

func substringBytes(f *frame) {
	f.share(0, func(s []byte, r int) []byte {
		from, end := f.args[1].I64[r], int64(math.MaxInt64)
		if len(f.args) > 2 {
			n := f.args[2].I64[r]
			if n < 0 {
				f.fail(r, pgerr.New(pgerr.SubstringError, "negative substring length not allowed"))
				return s[:0]
			}
			if end = from + n; end > math.MaxInt32 {
				end = math.MaxInt64
			}
		}
		lo := min(max(from, 1)-1, int64(len(s)))
		hi := int64(len(s))
		if end-1 < hi {
			hi = max(end-1, lo)
		}
		return s[lo:hi]
	})
	f.clearFailed()
}

func overlayBytes(f *frame) {
	o := &f.out
	for _, r := range f.rows() {
		s, by, from := f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r)), f.args[2].I64[r]
		n := int64(len(by))
		if len(f.args) > 3 {
			n = f.args[3].I64[r]
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
		o.Data = append(o.Data, s[:min(from-1, int64(len(s)))]...)
		o.Data = append(o.Data, by...)
		o.Data = append(o.Data, s[min(max(from+n-1, 0), int64(len(s))):]...)
		f.end(int(r), start)
	}
}

func trimBytes(left, right bool) kernel {
	return func(f *frame) {
		f.share(0, func(s []byte, r int) []byte {
			set := f.args[1].Bytes(r)
			for left && len(s) > 0 && bytes.IndexByte(set, s[0]) >= 0 {
				s = s[1:]
			}
			for right && len(s) > 0 && bytes.IndexByte(set, s[len(s)-1]) >= 0 {
				s = s[:len(s)-1]
			}
			return s
		})
	}
}

func errIndex(i, n int64) *pgerr.Error {
	return pgerr.New(pgerr.ArraySubscriptError, "index %d out of valid range, 0..%d", i, n-1)
}

// at checks an index into n bytes or bits.
func (f *frame) at(r int, n int64) bool {
	if i := f.args[1].I64[r]; i < 0 || i >= n {
		f.fail(r, errIndex(i, n))
		return false
	}
	return true
}

func getByte(f *frame) {
	for _, r := range f.rows() {
		if s := f.args[0].Bytes(int(r)); f.at(int(r), int64(len(s))) {
			f.out.I64[r] = int64(s[f.args[1].I64[r]])
		}
	}
}

func setByte(f *frame) {
	for _, r := range f.rows() {
		if s := f.args[0].Bytes(int(r)); f.at(int(r), int64(len(s))) {
			f.buf = append(f.buf[:0], s...)
			f.buf[f.args[1].I64[r]] = byte(f.args[2].I64[r])
			setText(f, int(r), f.buf)
		}
	}
}

func getBit(f *frame) {
	for _, r := range f.rows() {
		if s := f.args[0].Bytes(int(r)); f.at(int(r), 8*int64(len(s))) {
			i := f.args[1].I64[r]
			f.out.I64[r] = int64(s[i/8] >> (i % 8) & 1)
		}
	}
}

func setBit(f *frame) {
	for _, r := range f.rows() {
		s, bit := f.args[0].Bytes(int(r)), f.args[2].I64[r]
		if !f.at(int(r), 8*int64(len(s))) {
			continue
		}
		if bit != 0 && bit != 1 {
			f.fail(int(r), pgerr.New(pgerr.InvalidParameterValue, "new bit must be 0 or 1"))
			continue
		}
		i := f.args[1].I64[r]
		f.buf = append(f.buf[:0], s...)
		f.buf[i/8] = f.buf[i/8]&^(1<<(i%8)) | byte(bit)<<(i%8)
		setText(f, int(r), f.buf)
	}
}

func bitCount(s []byte) int64 {
	n := int64(0)
	for _, c := range s {
		for ; c != 0; c &= c - 1 {
			n++
		}
	}
	return n
}

func appendHexInt(dst []byte, u uint64) []byte {
	if u >= 16 {
		dst = appendHexInt(dst, u>>4)
	}
	return append(dst, "0123456789abcdef"[u&15])
}

func errEncoding(name []byte) *pgerr.Error {
	return pgerr.New(pgerr.InvalidParameterValue, "unrecognized encoding: \"%s\"", name)
}

func encodeBytes(f *frame) {
	for _, r := range f.rows() {
		s, name := f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r))
		b := f.buf[:0]
		switch strings.ToLower(string(name)) {
		case "hex":
			b = hex.AppendEncode(b, s)
		case "base64":
			line := base64.StdEncoding.EncodeToString(s)
			for len(line) > 76 {
				b = append(append(b, line[:76]...), '\n')
				line = line[76:]
			}
			b = append(b, line...)
		case "escape":
			for _, c := range s {
				switch {
				case c == '\\':
					b = append(b, '\\', '\\')
				case c == 0 || c >= 0x80:
					b = append(b, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
				default:
					b = append(b, c)
				}
			}
		default:
			f.fail(int(r), errEncoding(name))
			continue
		}
		f.buf = b
		setText(f, int(r), b)
	}
}

func decodeText(f *frame) {
	for _, r := range f.rows() {
		s, name := f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r))
		var b []byte
		var err error
		switch strings.ToLower(string(name)) {
		case "hex":
			b, err = types.DecodeHex(s)
		case "base64":
			b, err = decodeBase64(s)
		case "escape":
			b, err = decodeEscape(s)
		default:
			err = errEncoding(name)
		}
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		setText(f, int(r), b)
	}
}

func decodeEscape(s []byte) ([]byte, error) {
	if bytes.HasPrefix(s, []byte(`\x`)) { // not hex here
		return nil, pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type bytea")
	}
	return types.ParseBytea(string(s))
}

// decodeBase64 reads base64 with white space anywhere.
func decodeBase64(s []byte) ([]byte, error) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var out []byte
	var buf uint32
	pos, end := 0, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			continue
		}
		v := 0
		if c == '=' {
			if end == 0 {
				switch pos {
				case 2:
					end = 1
				case 3:
					end = 2
				default:
					return nil, pgerr.New(pgerr.InvalidParameterValue, "unexpected \"=\" while decoding base64 sequence")
				}
			}
		} else if v = strings.IndexByte(digits, c); v < 0 {
			_, n := utf8.DecodeRune(s[i:])
			return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid symbol \"%s\" found while decoding base64 sequence", s[i:i+n])
		}
		buf = buf<<6 | uint32(v)
		if pos++; pos == 4 {
			out = append(out, byte(buf>>16))
			if end == 0 || end > 1 {
				out = append(out, byte(buf>>8))
			}
			if end == 0 || end > 2 {
				out = append(out, byte(buf))
			}
			buf, pos = 0, 0
		}
	}
	if pos != 0 {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid base64 end sequence").
			WithHint("Input data is missing padding, is truncated, or is otherwise corrupted.")
	}
	return out, nil
}

// otherEncodings are PostgreSQL's, without hyphens.
var otherEncodings = strings.Fields(`abc alt big5 euccn eucjis2004 eucjp euckr euctw gb18030 gbk iso88591 iso885910 iso885913
	iso885914 iso885915 iso885916 iso88592 iso88593 iso88594 iso88595 iso88596 iso88597 iso88598 iso88599 johab koi8 koi8r koi8u
	latin1 latin10 latin2 latin3 latin4 latin5 latin6 latin7 latin8 latin9 mskanji muleinternal shiftjis shiftjis2004 sjis
	sqlascii tcvn tcvn5712 uhc vscii win win1250 win1251 win1252 win1253 win1254 win1255 win1256 win1257 win1258 win866 win874
	win932 win936 win949 win950 windows1250 windows1251 windows1252 windows1253 windows1254 windows1255 windows1256 windows1257
	windows1258 windows866 windows874 windows932 windows936 windows949 windows950`)

// knownEncoding says what becomes of the name of an encoding: UTF-8 is taken,
// PostgreSQL's others are refused, the rest do not exist.
func knownEncoding(name []byte, what string) error {
	plain := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' {
			return -1
		}
		return r
	}, strings.ToLower(string(name)))
	switch plain {
	case "utf8", "unicode":
		return nil
	}
	if slices.Contains(otherEncodings, plain) {
		return pgerr.Unsupported("encoding %s", name)
	}
	return pgerr.New(pgerr.InvalidParameterValue, "invalid %s encoding name \"%s\"", what, name)
}

func convertFrom(f *frame) {
	for _, r := range f.rows() {
		s := f.args[0].Bytes(int(r))
		err := knownEncoding(f.args[1].Bytes(int(r)), "source")
		if err == nil {
			err = types.CheckText(s)
		}
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		setText(f, int(r), s)
	}
}

func convertTo(f *frame) {
	for _, r := range f.rows() {
		if err := knownEncoding(f.args[1].Bytes(int(r)), "destination"); err != nil {
			f.fail(int(r), err)
			continue
		}
		setText(f, int(r), f.args[0].Bytes(int(r)))
	}
}

// normalForm gives the form that the second argument names, NFC without one.
func normalForm(f *frame, r int) (norm.Form, error) {
	if len(f.args) < 2 {
		return norm.NFC, nil
	}
	name := f.args[1].Bytes(r)
	switch strings.ToUpper(string(name)) {
	case "NFC":
		return norm.NFC, nil
	case "NFD":
		return norm.NFD, nil
	case "NFKC":
		return norm.NFKC, nil
	case "NFKD":
		return norm.NFKD, nil
	}
	return norm.NFC, pgerr.New(pgerr.InvalidParameterValue, "invalid normalization form: %s", name)
}

func normalizeText(f *frame) {
	for _, r := range f.rows() {
		form, err := normalForm(f, int(r))
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		setText(f, int(r), form.Bytes(f.args[0].Bytes(int(r))))
	}
}

func isNormalized(f *frame) {
	for _, r := range f.rows() {
		form, err := normalForm(f, int(r))
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		f.out.Bool[r] = form.IsNormal(f.args[0].Bytes(int(r)))
	}
}

// unistr replaces the escapes \XXXX, \+XXXXXX, \uXXXX, \UXXXXXXXX and \\.
func unistr(s []byte) ([]byte, error) {
	var out []byte
	high := rune(0)
	for len(s) > 0 {
		if s[0] != '\\' {
			if high != 0 {
				return nil, errSurrogate
			}
			out = append(out, s[0])
			s = s[1:]
			continue
		}
		if len(s) > 1 && s[1] == '\\' {
			if high != 0 {
				return nil, errSurrogate
			}
			out, s = append(out, '\\'), s[2:]
			continue
		}
		c, n := unicodeEscape(s[1:])
		if n == 0 {
			return nil, pgerr.New(pgerr.SyntaxError, "invalid Unicode escape").
				WithHint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
		}
		s = s[1+n:]
		switch {
		case c == 0 || c > utf8.MaxRune:
			return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid Unicode code point: %04X", uint32(c))
		case high != 0 && c >= 0xdc00 && c < 0xe000:
			c = (high-0xd800)<<10 | (c - 0xdc00) + 0x10000
			high = 0
		case high != 0 || c >= 0xdc00 && c < 0xe000:
			return nil, errSurrogate
		case c >= 0xd800 && c < 0xdc00:
			high = c
			continue
		}
		out = utf8.AppendRune(out, c)
	}
	if high != 0 {
		return nil, errSurrogate
	}
	return out, nil
}

var errSurrogate = pgerr.New(pgerr.SyntaxError, "invalid Unicode surrogate pair")

// unicodeEscape reads what stands behind a backslash, and gives its length.
func unicodeEscape(s []byte) (c rune, n int) {
	skip, digits := 0, 4
	switch {
	case len(s) > 0 && s[0] == '+':
		skip, digits = 1, 6
	case len(s) > 0 && s[0] == 'u':
		skip = 1
	case len(s) > 0 && s[0] == 'U':
		skip, digits = 1, 8
	}
	if len(s) < skip+digits {
		return 0, 0
	}
	for _, d := range s[skip : skip+digits] {
		v := strings.IndexByte("0123456789abcdef", lowerByte(d))
		if v < 0 {
			return 0, 0
		}
		c = c<<4 | rune(v)
	}
	return c, skip + digits
}
