package types

import "math/big"

// NumFromInt128 gives (hi × 2^64 + lo) × 10^-scale, hi signed.
func NumFromInt128(hi int64, lo uint64, scale int32) Num {
	n := Num{Neg: hi < 0, Scale: scale, hi: uint64(hi), lo: lo}
	if n.Neg {
		n.lo = -n.lo
		n.hi = ^n.hi
		if n.lo == 0 {
			n.hi++
		}
	}
	return n
}

// NumFromBig gives b × 10^-scale; it does not keep b. Beyond what numeric can
// hold it is an error.
func NumFromBig(b *big.Int, scale int32) (Num, error) {
	n := Num{Neg: b.Sign() < 0, Scale: scale}
	n.setBig(new(big.Int).Abs(b))
	return n.checked()
}

// Coefficient sets dst to the signed coefficient of a finite n and gives it.
func (n Num) Coefficient(dst *big.Int) *big.Int {
	dst.Set(n.bigCoef())
	if n.Neg {
		dst.Neg(dst)
	}
	return dst
}

// Coefficient64 gives the signed coefficient of a finite n if it fits.
func (n Num) Coefficient64() (c int64, ok bool) {
	if n.Kind != NumFinite || n.big != nil || n.hi != 0 || n.lo >= 1<<63 {
		return 0, false
	}
	if n.Neg {
		return -int64(n.lo), true
	}
	return int64(n.lo), true
}
