package types

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// The kind of an array is that of its elements with arrayBit set. Its values
// lie in PhysBytes vectors: the number of dimensions as a uvarint, each one's
// length and lower bound as uvarint and varint, then the elements in row-major
// order, each as the image of a row of one column.
const arrayBit Kind = 1 << 7

// maxDims bounds the dimensions of an array, as in PostgreSQL.
const maxDims = 6

// ArrayOf gives the kind of arrays of k.
func ArrayOf(k Kind) Kind { return k | arrayBit }

// Elem gives the kind of an array's elements; ok is false if k is no array.
func (k Kind) Elem() (elem Kind, ok bool) { return k &^ arrayBit, k&arrayBit != 0 }

// arrayOIDs are pg_type.typarray.
var arrayOIDs = map[Kind]uint32{Bool: 1000, Int4: 1007, Int8: 1016, Float8: 1022, Numeric: 1231, Text: 1009, Date: 1182,
	Timestamp: 1115, Timestamptz: 1185, Interval: 1187, Int2: 1005, Float4: 1021, Varchar: 1015, Bpchar: 1014, Bytea: 1001,
	Time: 1183, Timetz: 1270, Uuid: 2951, Name: 1003, Oid: 1028, Char: 1002, Json: 199, Jsonb: 3807}

// Array is an array taken apart. Without dimensions it is empty.
type Array struct {
	Elem  Kind
	Dims  []int
	Lower []int
	Items []Datum
}

// NewArray makes an array of one dimension, from 1.
func NewArray(elem Kind, items []Datum) Array {
	a := Array{Elem: elem, Items: items}
	if len(items) > 0 {
		a.Dims, a.Lower = []int{len(items)}, []int{1}
	}
	return a
}

// DecodeArray takes a value of an array kind apart. The elements share b. Bytes
// that are no array give what could be read of it.
func DecodeArray(k Kind, b []byte) Array {
	a, _ := decodeArray(k, b)
	return a
}

func decodeArray(k Kind, b []byte) (a Array, ok bool) {
	a.Elem, _ = k.Elem()
	dims, w := binary.Uvarint(b)
	if w <= 0 || dims > maxDims {
		return a, false
	}
	b = b[w:]
	n := 1
	for range dims {
		l, w := binary.Uvarint(b)
		if w <= 0 || l > uint64(len(b)) {
			return Array{Elem: a.Elem}, false
		}
		lower, w2 := binary.Varint(b[w:])
		if w2 <= 0 {
			return Array{Elem: a.Elem}, false
		}
		b = b[w+w2:]
		if n *= int(l); n > len(b) {
			return Array{Elem: a.Elem}, false
		}
		a.Dims, a.Lower = append(a.Dims, int(l)), append(a.Lower, int(lower))
	}
	if dims == 0 {
		return a, len(b) == 0
	}
	a.Items = make([]Datum, 0, n)
	for range n {
		d := Datum{Type: T(a.Elem)}
		if len(b) == 0 || b[0] > 1 {
			return Array{Elem: a.Elem}, false
		}
		if d.Null = b[0] == 1; d.Null {
			b = b[1:]
		} else {
			v := Vec{Type: d.Type}
			if b, ok = v.appendImageBytes(b[1:]); !ok {
				return Array{Elem: a.Elem}, false
			}
			d = v.Datum(0)
		}
		a.Items = append(a.Items, d)
	}
	return a, len(b) == 0
}

// Append appends the array as it lies in vectors.
func (a *Array) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(a.Dims)))
	for i, l := range a.Dims {
		dst = binary.AppendVarint(binary.AppendUvarint(dst, uint64(l)), int64(a.Lower[i]))
	}
	for _, d := range a.Items {
		dst = AppendImageDatum(dst, d)
	}
	return dst
}

// quoteElement reports whether an element's text must be quoted.
func quoteElement(s []byte) bool {
	if len(s) == 0 || bytes.EqualFold(s, []byte("null")) {
		return true
	}
	for _, c := range s {
		if c == '"' || c == '\\' || c == '{' || c == '}' || c == ',' || isSpace(c) {
			return true
		}
	}
	return false
}

// appendArrayText appends an array as PostgreSQL prints it.
func appendArrayText(dst []byte, d Datum, loc *time.Location) []byte {
	a := DecodeArray(d.Type.Kind, d.B)
	if len(a.Dims) == 0 {
		return append(dst, "{}"...)
	}
	plain := true
	for _, l := range a.Lower {
		plain = plain && l == 1
	}
	for i := 0; !plain && i < len(a.Dims); i++ {
		dst = strconv.AppendInt(append(dst, '['), int64(a.Lower[i]), 10)
		dst = strconv.AppendInt(append(dst, ':'), int64(a.Lower[i]+a.Dims[i]-1), 10)
		dst = append(dst, ']')
	}
	if !plain {
		dst = append(dst, '=')
	}
	items := a.Items
	var level func(dim int)
	level = func(dim int) {
		dst = append(dst, '{')
		for i := range a.Dims[dim] {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dim+1 < len(a.Dims) {
				level(dim + 1)
				continue
			}
			dst = appendElement(dst, items[0], loc)
			items = items[1:]
		}
		dst = append(dst, '}')
	}
	level(0)
	return dst
}

func appendElement(dst []byte, d Datum, loc *time.Location) []byte {
	if d.Null {
		return append(dst, "NULL"...)
	}
	s := AppendTextIn(nil, d, loc)
	if !quoteElement(s) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

func errArray(s, detail string) error {
	return pgerr.New(pgerr.InvalidTextRepresentation, "malformed array literal: \"%s\"", s).WithDetail("%s", detail)
}

// arrayParser reads an array's text.
type arrayParser struct {
	input, s string
	elem     Type
	loc      *time.Location
	dims     []int // -1: not known yet
	items    []Datum
}

// parseArray reads {1,2}, {{1},{2}} and [0:1]={1,2}.
func parseArray(t Type, s string, loc *time.Location) ([]byte, error) {
	elem, _ := t.Kind.Elem()
	p := arrayParser{input: s, s: strings.TrimLeft(s, " \t\n\v\f\r"), elem: Type{Kind: elem, Mod: t.Mod}, loc: loc}
	var lower, given []int
	for strings.HasPrefix(p.s, "[") {
		end := strings.IndexByte(p.s, ']')
		if end < 0 {
			return nil, errArray(s, "Missing array dimension value.")
		}
		lo, hi, ranged := strings.Cut(p.s[1:end], ":")
		if !ranged {
			lo, hi = "1", lo
		}
		l, err1 := strconv.ParseInt(strings.TrimSpace(lo), 10, 32)
		h, err2 := strconv.ParseInt(strings.TrimSpace(hi), 10, 32)
		if err1 != nil || err2 != nil || len(given) == maxDims {
			return nil, errArray(s, "Missing array dimension value.")
		}
		if h < l {
			return nil, pgerr.New(pgerr.ArraySubscriptError, "upper bound cannot be less than lower bound")
		}
		lower, given = append(lower, int(l)), append(given, int(h-l)+1)
		p.s = strings.TrimLeft(p.s[end+1:], " \t\n\v\f\r")
	}
	if given != nil {
		if !strings.HasPrefix(p.s, "=") {
			return nil, errArray(s, "Missing \"=\" after array dimensions.")
		}
		p.s = strings.TrimLeft(p.s[1:], " \t\n\v\f\r")
		if !strings.HasPrefix(p.s, "{") {
			return nil, errArray(s, "Array contents must start with \"{\".")
		}
	} else if !strings.HasPrefix(p.s, "{") {
		return nil, errArray(s, "Array value must start with \"{\" or dimension information.")
	}
	if err := p.level(0); err != nil {
		return nil, err
	}
	if strings.Trim(p.s, " \t\n\v\f\r") != "" {
		return nil, errArray(s, "Junk after closing right brace.")
	}
	a := Array{Elem: elem, Items: p.items}
	if len(p.items) > 0 {
		a.Dims = p.dims
	}
	if given != nil {
		if len(given) != len(p.dims) {
			return nil, errArray(s, "Specified array dimensions do not match array contents.")
		}
		for i := range given {
			if given[i] != p.dims[i] {
				return nil, errArray(s, "Specified array dimensions do not match array contents.")
			}
		}
	}
	for i := range a.Dims {
		l := 1
		if lower != nil {
			l = lower[i]
		}
		a.Lower = append(a.Lower, l)
	}
	return a.Append(nil), nil
}

func (p *arrayParser) skip() { p.s = strings.TrimLeft(p.s, " \t\n\v\f\r") }

// level reads the elements of a dimension between its braces.
func (p *arrayParser) level(dim int) error {
	if dim >= maxDims {
		return pgerr.New(pgerr.ProgramLimitExceeded, "number of array dimensions (%d) exceeds the maximum allowed (%d)", dim+1, maxDims)
	}
	if dim == len(p.dims) {
		if len(p.items) > 0 {
			return errArray(p.input, "Multidimensional arrays must have sub-arrays with matching dimensions.")
		}
		p.dims = append(p.dims, -1)
	}
	p.s = p.s[1:]
	n := 0
	for p.skip(); ; p.skip() {
		if p.s == "" {
			return errArray(p.input, "Unexpected end of input.")
		}
		switch {
		case p.s[0] == '}' && n == 0:
		case p.s[0] == '{':
			if err := p.level(dim + 1); err != nil {
				return err
			}
			n++
		default:
			if dim+1 < len(p.dims) {
				return errArray(p.input, "Multidimensional arrays must have sub-arrays with matching dimensions.")
			}
			if err := p.element(); err != nil {
				return err
			}
			n++
		}
		p.skip()
		if p.s == "" {
			return errArray(p.input, "Unexpected end of input.")
		}
		if p.s[0] == ',' && n > 0 {
			p.s = p.s[1:]
			if p.skip(); strings.HasPrefix(p.s, "}") {
				return errArray(p.input, "Unexpected \"}\" character.")
			}
			continue
		}
		if p.s[0] != '}' || n == 0 && dim > 0 {
			return errArray(p.input, "Unexpected array element.")
		}
		p.s = p.s[1:]
		break
	}
	if p.dims[dim] >= 0 && p.dims[dim] != n {
		return errArray(p.input, "Multidimensional arrays must have sub-arrays with matching dimensions.")
	}
	p.dims[dim] = n
	return nil
}

func (p *arrayParser) element() error {
	var b []byte
	quoted := strings.HasPrefix(p.s, "\"")
	end, escaped := 0, false // end: behind the last character that counts
	if quoted {
		p.s = p.s[1:]
	}
	for {
		if p.s == "" {
			return errArray(p.input, "Unexpected end of input.")
		}
		c := p.s[0]
		switch {
		case c == '\\' && len(p.s) > 1:
			b = append(b, p.s[1])
			p.s = p.s[2:]
			end, escaped = len(b), true
			continue
		case c == '\\':
			return errArray(p.input, "Unexpected end of input.")
		case quoted && c == '"':
			p.s = p.s[1:]
			return p.add(string(b))
		case !quoted && (c == ',' || c == '}'):
			if end == 0 {
				return errArray(p.input, "Unexpected \""+string(c)+"\" character.")
			}
			s := string(b[:end])
			if strings.EqualFold(s, "null") && !escaped {
				p.items = append(p.items, NullOf(T(p.elem.Kind)))
				return nil
			}
			return p.add(s)
		case !quoted && (c == '"' || c == '{'):
			return errArray(p.input, "Unexpected array element.")
		}
		b = append(b, c)
		if p.s = p.s[1:]; quoted || !isSpace(c) {
			end = len(b)
		}
	}
}

func (p *arrayParser) add(s string) error {
	d, err := ParseTextIn(p.elem, s, p.loc)
	d.Type = T(p.elem.Kind)
	p.items = append(p.items, d)
	return err
}

// appendArrayBinary appends PostgreSQL's binary form.
func appendArrayBinary(dst []byte, d Datum) []byte {
	a := DecodeArray(d.Type.Kind, d.B)
	nulls := uint32(0)
	for _, e := range a.Items {
		if e.Null {
			nulls = 1
		}
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(a.Dims)))
	dst = binary.BigEndian.AppendUint32(dst, nulls)
	dst = binary.BigEndian.AppendUint32(dst, T(a.Elem).OID())
	for i, l := range a.Dims {
		dst = binary.BigEndian.AppendUint32(dst, uint32(l))
		dst = binary.BigEndian.AppendUint32(dst, uint32(a.Lower[i]))
	}
	for _, e := range a.Items {
		at := len(dst)
		dst = append(dst, 0xff, 0xff, 0xff, 0xff)
		if !e.Null {
			dst = AppendBinary(dst, e)
			binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		}
	}
	return dst
}

// parseArrayBinary reads PostgreSQL's binary form.
func parseArrayBinary(t Type, b []byte) ([]byte, error) {
	elem, _ := t.Kind.Elem()
	bad := errBinaryLength(t)
	word := func() (int, bool) {
		if len(b) < 4 {
			return 0, false
		}
		v := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		return int(v), true
	}
	dims, ok1 := word()
	_, ok2 := word()
	oid, ok3 := word()
	if !ok1 || !ok2 || !ok3 || dims < 0 || dims > maxDims {
		return nil, bad
	}
	if uint32(oid) != T(elem).OID() {
		return nil, pgerr.New(pgerr.DatatypeMismatch, "binary data has array element type %d instead of expected %d", uint32(oid), T(elem).OID())
	}
	a, n := Array{Elem: elem}, 1
	for range dims {
		l, ok1 := word()
		lower, ok2 := word()
		if !ok1 || !ok2 || l < 0 || l > len(b) || n > math.MaxInt32/max(l, 1) {
			return nil, bad
		}
		a.Dims, a.Lower, n = append(a.Dims, l), append(a.Lower, lower), n*l
	}
	if dims == 0 || n == 0 {
		a.Dims, a.Lower, n = nil, nil, 0
	}
	if 4*n > len(b) {
		return nil, bad
	}
	for range n {
		l, ok := word()
		if !ok || l > len(b) || l < -1 {
			return nil, bad
		}
		d := NullOf(T(elem))
		if l >= 0 {
			var err error
			if d, err = ParseBinary(Type{Kind: elem, Mod: t.Mod}, b[:l]); err != nil {
				return nil, err
			}
			d.Type, b = T(elem), b[l:]
		}
		a.Items = append(a.Items, d)
	}
	if len(b) > 0 {
		return nil, bad
	}
	return a.Append(nil), nil
}

// CompareArrays orders two values of an array kind: by their elements, then by
// how many they are, then by dimensions.
func CompareArrays(k Kind, x, y []byte) int {
	a, b := DecodeArray(k, x), DecodeArray(k, y)
	for i := 0; i < len(a.Items) && i < len(b.Items); i++ {
		if c := CompareDatum(a.Items[i], b.Items[i]); c != 0 {
			return c
		}
	}
	sign := func(d int) int { return min(max(d, -1), 1) }
	if c := sign(len(a.Items) - len(b.Items)); c != 0 {
		return c
	}
	if c := sign(len(a.Dims) - len(b.Dims)); c != 0 {
		return c
	}
	for i := range a.Dims {
		if c := sign(a.Dims[i] - b.Dims[i]); c != 0 {
			return c
		}
	}
	for i := range a.Lower {
		if c := sign(a.Lower[i] - b.Lower[i]); c != 0 {
			return c
		}
	}
	return 0
}

// appendArrayOrder appends the order encoding of an array: its elements', 0x00,
// the number of dimensions, their lengths and then their lower bounds as 4
// bytes big-endian with the sign flipped.
func appendArrayOrder(dst []byte, d Datum) []byte {
	a := DecodeArray(d.Type.Kind, d.B)
	for _, e := range a.Items {
		dst = AppendOrderDatum(dst, e, OrderSpec{})
	}
	dst = append(dst, 0, byte(len(a.Dims)))
	for _, l := range append(append([]int{}, a.Dims...), a.Lower...) {
		dst = binary.BigEndian.AppendUint32(dst, uint32(l)^1<<31)
	}
	return dst
}
