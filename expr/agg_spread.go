package expr

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// spread tells variance and standard deviation apart, of a sample and of a
// population.
type spread struct{ root, sample bool }

// spreadNames are the aggregates by PostgreSQL's names.
var spreadNames = map[string]spread{
	"variance": {sample: true}, "var_samp": {sample: true}, "var_pop": {},
	"stddev": {root: true, sample: true}, "stddev_samp": {root: true, sample: true}, "stddev_pop": {root: true},
}

// numeric gives the spread of n values of which the sum and the sum of squares
// are s × 10^-scale and q × 10^-2scale; ok is false for NULL.
func (k spread) numeric(n int64, s, q *big.Int, scale int32) (r types.Num, ok bool, err error) {
	if n < 1 || k.sample && n < 2 {
		return r, false, nil
	}
	count := big.NewInt(n)
	top := new(big.Int).Mul(q, count)
	top.Sub(top, new(big.Int).Mul(s, s))
	if top.Sign() <= 0 {
		return r, true, nil
	}
	div := n
	if k.sample {
		div--
	}
	bottom, err := types.NumFromBig(new(big.Int).Mul(count, big.NewInt(div)), 0)
	if err != nil {
		return r, false, err
	}
	if 2*scale > 16383 {
		return r, false, pgerr.New(pgerr.NumericValueOutOfRange, "value overflows numeric format")
	}
	a, err := types.NumFromBig(top, 2*scale)
	if err != nil {
		return r, false, err
	}
	at := types.NumDivScale(a, bottom)
	if r, err = types.NumDiv(a, bottom); err == nil && k.root {
		r = types.NumRootAt(r, at)
	}
	return r, true, err
}

// intSpread is the spread of integers. State: count, sum (128 bits), sum of
// squares (192 bits), two's complement.
type intSpread struct{ k spread }

const intSpreadWidth = 8 + 16 + 24

func (intSpread) Width() int { return intSpreadWidth }

func (intSpread) Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec) {
	for k, s := range rows {
		i := c.Row(k)
		if skip(arg, mask, i) {
			continue
		}
		d, x := int64(c.DiffAt(i)), arg.I64[i]
		s = s[off : off+intSpreadWidth]
		add64(s, d)
		add128(s[8:], x, d)
		addSquare192(s[24:], x, d)
	}
}

// addSquare192 adds x² × d to the 192-bit number at b; d has 32 bits.
func addSquare192(b []byte, x, d int64) {
	hi, lo := bits.Mul64(magnitude(x), magnitude(x))
	m := magnitude(d)
	h0, w0 := bits.Mul64(lo, m)
	w2, w1 := bits.Mul64(hi, m)
	w1, carry := bits.Add64(w1, h0, 0)
	w2 += carry
	addWords(b[:24], [3]uint64{w0, w1, w2}, d < 0)
}

// addWords adds or takes away three words at b, carrying to its end.
func addWords(b []byte, w [3]uint64, neg bool) {
	var carry uint64
	for i := 0; 8*i < len(b); i++ {
		var x uint64
		if i < len(w) {
			x = w[i]
		} else if carry == 0 {
			return
		}
		l := le.Uint64(b[8*i:])
		if neg {
			l, carry = bits.Sub64(l, x, carry)
		} else {
			l, carry = bits.Add64(l, x, carry)
		}
		le.PutUint64(b[8*i:], l)
	}
}

// bigLE reads a little-endian number in two's complement.
func bigLE(b []byte) *big.Int {
	be := make([]byte, len(b))
	for i, c := range b {
		be[len(b)-1-i] = c
	}
	x := new(big.Int).SetBytes(be)
	if b[len(b)-1]&0x80 != 0 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return x
}

func (a intSpread) Result(rows [][]byte, off int, out *types.Vec, errs *Errors) {
	out.Resize(types.T(types.Numeric), len(rows))
	for k, s := range rows {
		s = s[off : off+intSpreadWidth]
		r, ok, err := a.k.numeric(get64(s), bigLE(s[8:24]), bigLE(s[24:]), 0)
		switch {
		case err != nil:
			errs.fail(k, pgerr.From(err))
			out.SetNull(k)
		case !ok:
			out.SetNull(k)
		default:
			setNum(out, k, r)
		}
	}
}

// numericSpread is the spread of numeric. The blob is that of the sum of the
// values (see numericAcc) with its length before it, then that of the squares'.
type numericSpread struct {
	k            spread
	sum, squares numericAcc
	square       types.Vec
	tmp          []byte
}

func (a *numericSpread) split(b []byte) (sum, squares []byte) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil
	}
	return b[w : w+int(n)], b[w+int(n):]
}

func (a *numericSpread) Update(old []byte, arg *types.Vec, row int, diff int32, dst []byte) []byte {
	if arg.Null(row) || diff == 0 {
		return append(dst, old...)
	}
	sum, squares := a.split(old)
	v := types.DecodeNumeric(arg.Bytes(row))
	sq := types.Num{Kind: types.NumNaN}
	if v.Kind == types.NumFinite {
		c := v.Coefficient(new(big.Int))
		if n, err := types.NumFromBig(c.Mul(c, c), min(2*v.Scale, 16383)); err == nil {
			sq = n
		}
	}
	a.square.Resize(types.T(types.Numeric), 1)
	a.square.SetBytes(0, sq.Append(nil))
	a.tmp = a.sum.Update(sum, arg, row, diff, a.tmp[:0])
	rest := a.squares.Update(squares, &a.square, 0, diff, nil)
	if len(a.tmp) == 0 && len(rest) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(a.tmp)))
	return append(append(dst, a.tmp...), rest...)
}

func (a *numericSpread) Result(blob []byte, out *types.Vec, outRow int) *pgerr.Error {
	sum, squares := a.split(blob)
	a.sum.decode(sum)
	a.squares.decode(squares)
	n, special := int64(0), int64(0)
	for _, s := range a.sum.scales {
		n += s.n
	}
	for _, c := range a.sum.special {
		special += c
	}
	if total := n + special; total < 1 || a.k.sample && total < 2 {
		out.SetNull(outRow)
		return nil
	}
	if special != 0 {
		setNum(out, outRow, types.Num{Kind: types.NumNaN})
		return nil
	}
	// Both in units of the sum's scale, the squares' twice that.
	scale := a.sum.unit()
	q := new(big.Int).Set(&a.squares.sum)
	if d := 2*scale - a.squares.unit(); d > 0 {
		q.Mul(q, a.sum.pow10(d))
	}
	r, ok, err := a.k.numeric(n, &a.sum.sum, q, scale)
	switch {
	case err != nil:
		out.SetNull(outRow)
		return pgerr.From(err)
	case !ok:
		out.SetNull(outRow)
		return nil
	}
	setNum(out, outRow, r)
	return nil
}

// floatSpread is the spread of floats, exact until its one rounding. State:
// count, count of NaN and infinities, the sum in fixed point as floatAcc has
// it, the sum of squares in fixed point in units of 2^-2148.
type floatSpread struct{ k spread }

const (
	squareLimbs      = 68 // 4196 bits of one square, 64 of multiplicity, the sign
	floatSpreadWidth = 16 + 8*floatLimbs + 8*squareLimbs
)

func (floatSpread) Width() int { return floatSpreadWidth }

func (floatSpread) Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec) {
	for k, s := range rows {
		i := c.Row(k)
		if skip(arg, mask, i) {
			continue
		}
		d, x := int64(c.DiffAt(i)), arg.F64[i]
		s = s[off : off+floatSpreadWidth]
		add64(s, d)
		switch {
		case x != x || math.IsInf(x, 0):
			add64(s[8:], d)
		case x != 0:
			addFixed(s[16:16+8*floatLimbs], x, d)
			addFixedSquare(s[16+8*floatLimbs:], x, d)
		}
	}
}

// addFixedSquare adds x² × d, x finite and not 0; d has 32 bits.
func addFixedSquare(limbs []byte, x float64, d int64) {
	u := math.Float64bits(x)
	m, e := u&(1<<52-1), int(u>>52&0x7ff)
	if e != 0 {
		m |= 1 << 52
		e--
	}
	hi, lo := bits.Mul64(m, m) // 106 bits
	n := magnitude(d)
	h0, w0 := bits.Mul64(lo, n)
	w2, w1 := bits.Mul64(hi, n)
	w1, carry := bits.Add64(w1, h0, 0)
	w2 += carry // 138 bits in all
	s := uint(2*e) & 63
	shifted := [3]uint64{w0 << s, w1<<s | w0>>1>>(63-s), w2<<s | w1>>1>>(63-s)}
	limbs = limbs[2*e>>6*8:]
	addWords(limbs, shifted, d < 0)
	if top := w2 >> 1 >> (63 - s); top != 0 {
		addWords(limbs[24:], [3]uint64{top}, d < 0)
	}
}

func (a floatSpread) Result(rows [][]byte, off int, out *types.Vec, errs *Errors) {
	out.Resize(types.T(types.Float8), len(rows))
	for k, s := range rows {
		s = s[off : off+floatSpreadWidth]
		n := get64(s)
		switch {
		case n < 1 || a.k.sample && n < 2:
			out.SetNull(k)
		case get64(s[8:]) != 0:
			out.F64[k] = math.NaN()
		default:
			r := a.value(s, n)
			if math.IsInf(r, 0) {
				errs.fail(k, errOverflow)
				out.SetNull(k)
				continue
			}
			out.F64[k] = r
		}
	}
}

func (a floatSpread) value(s []byte, n int64) float64 {
	sum, q := bigLE(s[16:16+8*floatLimbs]), bigLE(s[16+8*floatLimbs:])
	count := big.NewInt(n)
	top := q.Mul(q, count)
	if top.Sub(top, sum.Mul(sum, sum)).Sign() <= 0 {
		return 0
	}
	div := n
	if a.k.sample {
		div--
	}
	f := new(big.Float).SetPrec(128).SetInt(top)
	f.Quo(f, new(big.Float).SetInt(count.Mul(count, big.NewInt(div))))
	f.SetMantExp(f, -2148)
	if a.k.root {
		f.Sqrt(f)
	}
	r, _ := f.Float64()
	return r
}

// bitAcc is bit_and, bit_or and bit_xor: how many rows there are, and how many
// of them have each bit.
type bitAcc struct {
	kind types.Kind
	bits int
	op   byte
}

func (a bitAcc) Width() int { return 8 + 8*a.bits }

func (a bitAcc) Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec) {
	for k, s := range rows {
		i := c.Row(k)
		if skip(arg, mask, i) {
			continue
		}
		d := int64(c.DiffAt(i))
		s = s[off : off+8+8*a.bits]
		add64(s, d)
		x := uint64(arg.I64[i])
		if a.bits < 64 {
			x &= 1<<a.bits - 1
		}
		for ; x != 0; x &= x - 1 {
			add64(s[8+8*bits.TrailingZeros64(x):], d)
		}
	}
}

func (a bitAcc) Result(rows [][]byte, off int, out *types.Vec, _ *Errors) {
	out.Resize(types.T(a.kind), len(rows))
	for k, s := range rows {
		s = s[off : off+8+8*a.bits]
		n := get64(s)
		if n == 0 {
			out.SetNull(k)
			continue
		}
		x := uint64(0)
		for b := range a.bits {
			c := get64(s[8+8*b:])
			if a.op == '&' && c == n || a.op == '|' && c != 0 || a.op == '#' && c&1 == 1 {
				x |= 1 << b
			}
		}
		shift := 64 - a.bits
		out.I64[k] = int64(x<<shift) >> shift
	}
}
