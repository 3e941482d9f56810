package types

import (
	"bytes"
	"encoding/binary"
)

// A jsonb value lies in vectors, images and on disk as the text that
// PostgreSQL prints for it: one space behind each comma and colon, the keys of
// an object once, sorted by length and then bytes, strings with the fewest
// escapes, numbers as numeric prints them. So each value with its numbers'
// scales has exactly one form, and output is a copy.

// NormalizeJSONB appends the canonical form of JSON text; 22P02 for what is
// none.
func NormalizeJSONB(dst, b []byte) ([]byte, error) {
	v, err := ParseJSON(b)
	if err != nil {
		return nil, err
	}
	return v.Append(dst), nil
}

// CompareJSONB orders two jsonb values as PostgreSQL does: -1, 0 or 1.
func CompareJSONB(a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	return bytes.Compare(appendJSONBOrder(nil, a), appendJSONBOrder(nil, b))
}

// appendJSONBOrder appends the order encoding of a jsonb value. A container is
// the byte of its kind, the number of its elements or pairs as 4 bytes
// big-endian, and they in order, keys escaped as bytea is; null, false and
// true are a byte; a string is its byte and the escaped text; a number its
// byte and numeric's order. At the top, where PostgreSQL takes a scalar for an
// array of one, a scalar is 0x10, 1 as 4 bytes, 0x00 and itself; an array is
// 0x10, its length, 0x01 and its elements.
func appendJSONBOrder(dst, b []byte) []byte {
	v, err := ParseJSON(b)
	if err != nil { // no jsonb; only its bytes can be told
		return appendEscaped(append(dst, 0xff), b)
	}
	switch v.Kind {
	case JSONArray:
		dst = binary.BigEndian.AppendUint32(append(dst, jsonOrderArray), uint32(len(v.Items)))
		dst = append(dst, 1)
		for i := range v.Items {
			dst = v.Items[i].appendOrder(dst)
		}
		return dst
	case JSONObject:
		return v.appendOrder(dst)
	}
	return v.appendOrder(append(dst, jsonOrderArray, 0, 0, 0, 1, 0))
}

// The first bytes of the order encodings of JSON values.
const (
	jsonOrderNull = 1 + iota
	jsonOrderString
	jsonOrderNumber
	jsonOrderFalse
	jsonOrderTrue

	jsonOrderArray  = 0x10
	jsonOrderObject = 0x11
)

func (v *JSON) appendOrder(dst []byte) []byte {
	switch v.Kind {
	case JSONString:
		return appendEscaped(append(dst, jsonOrderString), v.Text)
	case JSONNumber:
		n, err := ParseNumeric(string(v.Text))
		if err != nil { // it was printed by numeric
			return append(dst, jsonOrderNumber)
		}
		return appendNumericOrder(append(dst, jsonOrderNumber), n.Append(nil))
	case JSONBool:
		if v.Bool {
			return append(dst, jsonOrderTrue)
		}
		return append(dst, jsonOrderFalse)
	case JSONArray, JSONObject:
		kind := byte(jsonOrderArray)
		if v.Kind == JSONObject {
			kind = jsonOrderObject
		}
		dst = binary.BigEndian.AppendUint32(append(dst, kind), uint32(len(v.Items)))
		for i := range v.Items {
			if v.Kind == JSONObject {
				dst = appendEscaped(dst, []byte(v.Keys[i]))
			}
			dst = v.Items[i].appendOrder(dst)
		}
		return dst
	}
	return append(dst, jsonOrderNull)
}

// JSONKindOf gives the kind of a JSON text's value.
func JSONKindOf(b []byte) JSONKind {
	s := jsonScanner{b: b}
	switch s.peek() {
	case '"':
		return JSONString
	case '[':
		return JSONArray
	case '{':
		return JSONObject
	case 't', 'f':
		return JSONBool
	case 'n', 0:
		return JSONNull
	}
	return JSONNumber
}

// JSONField gives the text of the value of an object's key, the last one if
// there are several; ok is false if b is no object or has no such key. It
// shares b's bytes.
func JSONField(b, key []byte) (value []byte, ok bool) {
	s := jsonScanner{b: b}
	if s.peek() != '{' {
		return nil, false
	}
	err := s.object(func(from, to int) error {
		match := bytes.Equal(b[from+1:to-1], key)
		if !match && bytes.IndexByte(b[from:to], '\\') >= 0 {
			ks := jsonScanner{b: b[:to], i: from}
			k, err := ks.str(nil, true)
			match = err == nil && bytes.Equal(k, key)
		}
		s.space()
		start := s.i
		err := s.skip()
		if match {
			value, ok = b[start:s.i:s.i], true
		}
		return err
	})
	return value, ok && err == nil
}

// JSONElement gives the text of element i of an array, from its end if i < 0;
// ok is false if b is no array or has no such element.
func JSONElement(b []byte, i int64) (value []byte, ok bool) {
	s := jsonScanner{b: b}
	if s.peek() != '[' {
		return nil, false
	}
	if i < 0 {
		if i += int64(JSONLength(b)); i < 0 {
			return nil, false
		}
	}
	at := int64(0)
	err := s.array(func() error {
		s.space()
		start := s.i
		err := s.skip()
		if at == i {
			value, ok = b[start:s.i:s.i], true
		}
		at++
		return err
	})
	return value, ok && err == nil
}

// JSONLength gives the number of elements of an array.
func JSONLength(b []byte) int {
	s := jsonScanner{b: b}
	n := 0
	if s.peek() == '[' && s.array(func() error { n++; return s.skip() }) != nil {
		return 0
	}
	return n
}

// JSONText appends a value as ->> gives it: a string without its quotes and
// escapes, others as they are. ok is false for null.
func JSONText(dst, b []byte) (_ []byte, ok bool, err error) {
	s := jsonScanner{b: b}
	switch s.peek() {
	case 'n':
		return dst, false, nil
	case '"':
		dst, err = s.str(dst, true)
		return dst, true, err
	}
	return append(dst, b...), true, nil
}
