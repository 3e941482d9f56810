package expr

import (
	"encoding/binary"
	"math/big"
	"slices"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// numericAcc is sum and avg of numeric, exact. The blob keeps, as varints,
// the counts of NaN, +Infinity and -Infinity and how many rows there are of
// each display scale (number of scales, then scale and count, ascending);
// then a sign byte and the big-endian magnitude of the sum of the finite
// values in units of the greatest scale that has rows. No rows: no bytes.
//
// Counting scales is what makes the result's scale that of a recomputation
// over the rows that remain.
type numericAcc struct {
	avg       bool
	special   [3]int64 // NaN, +Infinity, -Infinity
	scales    []scaleCount
	sum       big.Int
	x, y, rem big.Int // scratch
	buf       []byte
	pows      map[int32]*big.Int
}

type scaleCount struct {
	scale int32
	n     int64
}

func (a *numericAcc) decode(b []byte) {
	a.special = [3]int64{}
	a.scales = a.scales[:0]
	a.sum.SetInt64(0)
	if len(b) == 0 {
		return
	}
	next := func() int64 {
		i, n := binary.Varint(b)
		b = b[max(n, 0):]
		return i
	}
	for i := range a.special {
		a.special[i] = next()
	}
	for n := next(); n > 0; n-- {
		a.scales = append(a.scales, scaleCount{scale: int32(next()), n: next()})
	}
	if len(b) > 1 {
		a.sum.SetBytes(b[1:])
		if b[0] == 1 {
			a.sum.Neg(&a.sum)
		}
	}
}

func (a *numericAcc) encode(dst []byte) []byte {
	if len(a.scales) == 0 && a.special == [3]int64{} {
		return dst
	}
	for _, n := range a.special {
		dst = binary.AppendVarint(dst, n)
	}
	dst = binary.AppendVarint(dst, int64(len(a.scales)))
	for _, s := range a.scales {
		dst = binary.AppendVarint(dst, int64(s.scale))
		dst = binary.AppendVarint(dst, s.n)
	}
	if a.sum.Sign() == 0 {
		return dst
	}
	sign := byte(0)
	if a.sum.Sign() < 0 {
		sign = 1
	}
	dst = append(dst, sign)
	n := (a.sum.BitLen() + 7) / 8
	if cap(a.buf) < n {
		a.buf = make([]byte, n)
	}
	return append(dst, a.sum.FillBytes(a.buf[:n])...)
}

// unit is the scale that the sum is in.
func (a *numericAcc) unit() int32 {
	if len(a.scales) == 0 {
		return 0
	}
	return a.scales[len(a.scales)-1].scale
}

func (a *numericAcc) pow10(n int32) *big.Int {
	if p, ok := a.pows[n]; ok {
		return p
	}
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	if a.pows == nil || len(a.pows) > 64 { // bounded
		a.pows = map[int32]*big.Int{}
	}
	a.pows[n] = p
	return p
}

func (a *numericAcc) Update(old []byte, arg *types.Vec, row int, diff int32, dst []byte) []byte {
	if arg.Null(row) || diff == 0 {
		return append(dst, old...)
	}
	a.decode(old)
	v := types.DecodeNumeric(arg.Bytes(row))
	if v.Kind != types.NumFinite {
		a.special[v.Kind-types.NumNaN] += int64(diff)
		return a.encode(dst)
	}
	before := a.unit()
	a.countScale(v.Scale, int64(diff))
	work := max(before, v.Scale)
	if work > before && a.sum.Sign() != 0 {
		a.x.Mul(&a.sum, a.pow10(work-before))
		a.sum.Set(&a.x)
	}
	a.term(v, diff, work)
	a.sum.Add(&a.sum, &a.x)
	a.trim()
	return a.encode(dst)
}

// trim drops the finest scales while they have no rows and the sum does
// without them. While retractions run ahead of what they take away, it may
// not.
func (a *numericAcc) trim() {
	for n := len(a.scales); n > 0 && a.scales[n-1].n == 0; n-- {
		if n == 1 {
			if a.sum.Sign() == 0 {
				a.scales = a.scales[:0]
			}
			return
		}
		a.x.QuoRem(&a.sum, a.pow10(a.scales[n-1].scale-a.scales[n-2].scale), &a.rem)
		if a.rem.Sign() != 0 {
			return
		}
		a.sum.Set(&a.x)
		a.scales = a.scales[:n-1]
	}
}

// term sets a.x to v × diff in units of 10^-work.
func (a *numericAcc) term(v types.Num, diff int32, work int32) {
	if c, ok := v.Coefficient64(); ok {
		a.x.SetInt64(c)
	} else {
		v.Coefficient(&a.x)
	}
	if diff != 1 {
		a.y.SetInt64(int64(diff))
		a.rem.Mul(&a.x, &a.y)
		a.x.Set(&a.rem)
	}
	if work > v.Scale {
		a.rem.Mul(&a.x, a.pow10(work-v.Scale))
		a.x.Set(&a.rem)
	}
}

// countScale counts rows of a scale; those with none are not kept, but for the
// finest, which the sum's unit hangs on (see trim). A count may be negative
// while retractions run ahead.
func (a *numericAcc) countScale(scale int32, d int64) {
	i, ok := slices.BinarySearchFunc(a.scales, scale, func(s scaleCount, t int32) int { return int(s.scale - t) })
	switch {
	case !ok:
		a.scales = slices.Insert(a.scales, i, scaleCount{scale, d})
	case a.scales[i].n+d == 0 && i+1 < len(a.scales):
		a.scales = slices.Delete(a.scales, i, i+1)
	default:
		a.scales[i].n += d
	}
}

func (a *numericAcc) Result(blob []byte, out *types.Vec, outRow int) *pgerr.Error {
	a.decode(blob)
	var n int64
	for _, s := range a.scales {
		n += s.n
	}
	nan, pinf, ninf := a.special[0], a.special[1], a.special[2]
	r := types.Num{}
	switch {
	case nan != 0 || pinf != 0 && ninf != 0:
		r.Kind = types.NumNaN
	case pinf != 0:
		r.Kind = types.NumPosInf
	case ninf != 0:
		r.Kind = types.NumNegInf
	case n == 0:
		out.SetNull(outRow)
		return nil
	default:
		var err error
		if r, err = types.NumFromBig(&a.sum, a.unit()); err == nil && a.avg {
			r, err = types.NumDiv(r, types.NumFromInt64(n))
		}
		if err != nil {
			out.SetNull(outRow)
			return pgerr.From(err)
		}
	}
	setNum(out, outRow, r)
	return nil
}
