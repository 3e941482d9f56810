package pebble

import (
	"bytes"
	"encoding/binary"

	lsm "github.com/cockroachdb/pebble/v2"
)

// A key in the LSM tree is table (u16), key group (u16), key, sub-key; numbers
// big-endian, the key escaped (0x00 → 0x00 0xFF) and ended by 0x00 0x01. So
// bytes order as entries do, and what comes before the sub-key is a prefix
// that Bloom filters know.

const (
	headBytes = 4
	escape    = 0x00
	escaped   = 0xff
	endOfKey  = 0x01
)

func appendHead(dst []byte, table int, group int) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(table))
	return binary.BigEndian.AppendUint16(dst, uint16(group))
}

func appendPrefix(dst []byte, table int, group uint16, key []byte) []byte {
	dst = appendHead(dst, table, int(group))
	for {
		i := bytes.IndexByte(key, escape)
		if i < 0 {
			break
		}
		dst = append(append(dst, key[:i+1]...), escaped)
		key = key[i+1:]
	}
	return append(append(dst, key...), escape, endOfKey)
}

// prefixLen is the length of what comes before the sub-key; all of a key that
// is not one of ours.
func prefixLen(k []byte) int {
	for i := headBytes; i < len(k); {
		j := bytes.IndexByte(k[i:], escape)
		if j < 0 || i+j+1 >= len(k) {
			break
		}
		if i += j + 2; k[i-1] == endOfKey {
			return i
		}
	}
	return len(k)
}

// splitKey takes a key apart, using buf for the unescaped key.
func splitKey(k, buf []byte) (table int, group uint16, key, sub []byte, ok bool) {
	n := prefixLen(k)
	if n < headBytes+2 || k[n-1] != endOfKey || k[n-2] != escape {
		return 0, 0, nil, nil, false
	}
	key = buf[:0]
	for in := k[headBytes : n-2]; ; {
		i := bytes.IndexByte(in, escape)
		if i < 0 {
			key = append(key, in...)
			break
		}
		key = append(key, in[:i+1]...)
		in = in[i+2:]
	}
	return int(binary.BigEndian.Uint16(k)), binary.BigEndian.Uint16(k[2:]), key, k[n:], true
}

// comparer orders keys bytewise. Its name is in the files: never change what
// it stands for.
var comparer = &lsm.Comparer{
	Name:                 "streamdb.state.v1",
	Compare:              bytes.Compare,
	Equal:                bytes.Equal,
	Split:                prefixLen,
	ComparePointSuffixes: bytes.Compare,
	CompareRangeSuffixes: bytes.Compare,
	AbbreviatedKey:       lsm.DefaultComparer.AbbreviatedKey,
	FormatKey:            lsm.DefaultComparer.FormatKey,
	Separator:            func(dst, a, b []byte) []byte { return append(dst, a...) },
	Successor:            func(dst, a []byte) []byte { return append(dst, a...) },
	ImmediateSuccessor:   func(dst, a []byte) []byte { return append(append(dst, a...), 0) },
}
