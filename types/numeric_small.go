package types

import (
	"encoding/binary"
	"math/bits"
)

// Most numerics are finite, with a coefficient of 64 bits and a short scale.
// For these, kernels work on the image directly.

// SmallNumeric decodes the image of a finite numeric whose signed coefficient
// fits an int64 and whose scale is under 63; ok is false for others.
func SmallNumeric(b []byte) (coef int64, scale int32, ok bool) {
	if len(b)-1 > 8 || len(b) == 0 || b[0]&numClassSpecial != 0 || b[0]&63 == numScaleLong {
		return 0, 0, false
	}
	var u uint64
	for _, c := range b[1:] {
		u = u<<8 | uint64(c)
	}
	coef = int64(u)
	if b[0]&numClassNeg != 0 {
		return -coef, int32(b[0] & 63), coef >= 0
	}
	return coef, int32(b[0] & 63), coef >= 0
}

// AppendSmallNumeric appends the image of coef × 10^-scale, 0 ≤ scale < 63.
func AppendSmallNumeric(dst []byte, coef int64, scale int32) []byte {
	h, u := byte(scale), uint64(coef)
	if coef < 0 {
		h |= numClassNeg
		u = -u
	}
	n := (bits.Len64(u) + 7) >> 3
	at := len(dst) + 1
	dst = append(dst, h, 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint64(dst[at:], u<<(64-8*n)) // a shift by 64 gives 0
	return dst[:at+n]
}
