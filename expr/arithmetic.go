package expr

import (
	"math"
	"math/bits"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var errDivZero = pgerr.New(pgerr.DivisionByZero, "division by zero")

// arithmeticFuncs are the operators and functions on integers.
func arithmeticFuncs() []*Func {
	const i4, i8 = types.Int4, types.Int8
	var fs []*Func
	for _, k := range []types.Kind{i4, i8} {
		narrow := k == i4
		fs = append(fs,
			fn("+", k, pickInt(narrow, addInt4, addInt8), k, k),
			fn("-", k, pickInt(narrow, subInt4, subInt8), k, k),
			fn("*", k, pickInt(narrow, mulInt4, mulInt8), k, k),
			fn("/", k, divInt(narrow), k, k),
			fn("%", k, modInt, k, k),
			fn("mod", k, modInt, k, k),
			safe("+", k, sameInts, k),
			fn("-", k, unary(ints, ints, negInt(narrow)), k),
			fn("abs", k, unary(ints, ints, absInt(narrow)), k),
			fn("@", k, unary(ints, ints, absInt(narrow)), k),
			safe("&", k, binaryOp(ints, ints, ints, func(a, b int64) (int64, error) { return a & b, nil }), k, k),
			safe("|", k, binaryOp(ints, ints, ints, func(a, b int64) (int64, error) { return a | b, nil }), k, k),
			safe("#", k, binaryOp(ints, ints, ints, func(a, b int64) (int64, error) { return a ^ b, nil }), k, k),
			safe("~", k, unary(ints, ints, sure(func(a int64) int64 { return ^a })), k),
			safe("<<", k, binaryOp(ints, ints, ints, shiftLeft(narrow)), k, i4),
			safe(">>", k, binaryOp(ints, ints, ints, shiftRight(narrow)), k, i4))
	}
	return fs
}

func pickInt(narrow bool, int4, int8 kernel) kernel {
	if narrow {
		return int4
	}
	return int8
}

func errIntRange(narrow bool) *pgerr.Error {
	if narrow {
		return errInt4Range
	}
	return errInt8Range
}

// The dense loops below compute every row and only note that some row went
// wrong; which one it was, and whether it counts, a second loop finds out.

func addInt4(f *frame) {
	a, b, o := f.args[0].I64[:f.n], f.args[1].I64[:f.n], f.out.I64[:f.n]
	if f.dense() {
		var bad int64
		for i := range o {
			s := a[i] + b[i]
			bad |= s ^ int64(int32(s))
			o[i] = s
		}
		if bad == 0 {
			return
		}
	}
	for _, r := range f.rows() {
		if o[r] = a[r] + b[r]; o[r] != int64(int32(o[r])) {
			f.fail(int(r), errInt4Range)
		}
	}
}

func subInt4(f *frame) {
	a, b, o := f.args[0].I64[:f.n], f.args[1].I64[:f.n], f.out.I64[:f.n]
	if f.dense() {
		var bad int64
		for i := range o {
			s := a[i] - b[i]
			bad |= s ^ int64(int32(s))
			o[i] = s
		}
		if bad == 0 {
			return
		}
	}
	for _, r := range f.rows() {
		if o[r] = a[r] - b[r]; o[r] != int64(int32(o[r])) {
			f.fail(int(r), errInt4Range)
		}
	}
}

func mulInt4(f *frame) {
	a, b, o := f.args[0].I64[:f.n], f.args[1].I64[:f.n], f.out.I64[:f.n]
	if f.dense() {
		var bad int64
		for i := range o {
			s := a[i] * b[i]
			bad |= s ^ int64(int32(s))
			o[i] = s
		}
		if bad == 0 {
			return
		}
	}
	for _, r := range f.rows() {
		if o[r] = a[r] * b[r]; o[r] != int64(int32(o[r])) {
			f.fail(int(r), errInt4Range)
		}
	}
}

func addInt8(f *frame) {
	a, b, o := f.args[0].I64[:f.n], f.args[1].I64[:f.n], f.out.I64[:f.n]
	if f.dense() {
		var bad int64
		for i := range o {
			s := a[i] + b[i]
			bad |= (a[i] ^ s) & (b[i] ^ s)
			o[i] = s
		}
		if bad >= 0 {
			return
		}
	}
	for _, r := range f.rows() {
		s := a[r] + b[r]
		if o[r] = s; (a[r]^s)&(b[r]^s) < 0 {
			f.fail(int(r), errInt8Range)
		}
	}
}

func subInt8(f *frame) {
	a, b, o := f.args[0].I64[:f.n], f.args[1].I64[:f.n], f.out.I64[:f.n]
	if f.dense() {
		var bad int64
		for i := range o {
			s := a[i] - b[i]
			bad |= (a[i] ^ b[i]) & (a[i] ^ s)
			o[i] = s
		}
		if bad >= 0 {
			return
		}
	}
	for _, r := range f.rows() {
		s := a[r] - b[r]
		if o[r] = s; (a[r]^b[r])&(a[r]^s) < 0 {
			f.fail(int(r), errInt8Range)
		}
	}
}

func mulInt8(f *frame) {
	a, b, o := f.args[0].I64[:f.n], f.args[1].I64[:f.n], f.out.I64[:f.n]
	if f.dense() {
		var bad int64 // both within 32 bits: the product fits
		for i := range o {
			bad |= (a[i] ^ int64(int32(a[i]))) | (b[i] ^ int64(int32(b[i])))
			o[i] = a[i] * b[i]
		}
		if bad == 0 {
			return
		}
	}
	for _, r := range f.rows() {
		p, ok := mulChecked(a[r], b[r])
		if o[r] = p; !ok {
			f.fail(int(r), errInt8Range)
		}
	}
}

// mulChecked gives a × b and whether it fits.
func mulChecked(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	h := int64(hi)
	if a < 0 {
		h -= b
	}
	if b < 0 {
		h -= a
	}
	return int64(lo), h == int64(lo)>>63
}

func divInt(narrow bool) kernel {
	least := int64(math.MinInt64)
	if narrow {
		least = math.MinInt32
	}
	return func(f *frame) {
		a, b, o := f.args[0].I64[:f.n], f.args[1].I64[:f.n], f.out.I64[:f.n]
		for _, r := range f.rows() {
			switch d := b[r]; {
			case d == 0:
				f.fail(int(r), errDivZero)
			case d == -1 && a[r] == least:
				f.fail(int(r), errIntRange(narrow))
			default:
				o[r] = a[r] / d
			}
		}
	}
}

func modInt(f *frame) {
	a, o := f.args[0].I64[:f.n], f.out.I64[:f.n]
	if c := f.consts[1]; c != nil && !c.Null && c.I != 0 {
		modConst(f, a, o, c.I)
		return
	}
	b := f.args[1].I64[:f.n]
	for _, r := range f.rows() {
		if b[r] == 0 {
			f.fail(int(r), errDivZero)
			continue
		}
		o[r] = a[r] % b[r]
	}
}

// modConst divides by 32 bits where it can: several times faster.
func modConst(f *frame, a, o []int64, m int64) {
	if m < 0 && m != math.MinInt64 {
		m = -m // the remainder has a's sign
	}
	small := m > 0 && m <= math.MaxUint32
	for _, r := range rowsOf(f.p, f.sel) {
		if x := a[r]; small && uint64(x) <= math.MaxUint32 {
			o[r] = int64(uint32(x) % uint32(m))
		} else {
			o[r] = x % m
		}
	}
}

func negInt(narrow bool) func(int64) (int64, error) {
	return func(a int64) (int64, error) {
		if a == math.MinInt64 || narrow && a == math.MinInt32 {
			return 0, errIntRange(narrow)
		}
		return -a, nil
	}
}

func absInt(narrow bool) func(int64) (int64, error) {
	neg := negInt(narrow)
	return func(a int64) (int64, error) {
		if a >= 0 {
			return a, nil
		}
		return neg(a)
	}
}

// Shifts take the count modulo the width, as the machine does for PostgreSQL.
func shiftLeft(narrow bool) func(a, b int64) (int64, error) {
	return func(a, b int64) (int64, error) {
		if narrow {
			return int64(int32(a) << (uint(b) & 31)), nil
		}
		return a << (uint(b) & 63), nil
	}
}

func shiftRight(narrow bool) func(a, b int64) (int64, error) {
	return func(a, b int64) (int64, error) {
		if narrow {
			return a >> (uint(b) & 31), nil
		}
		return a >> (uint(b) & 63), nil
	}
}
