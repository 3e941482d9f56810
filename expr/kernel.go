package expr

import (
	"github.com/streamdb/streamdb/types"
)

// Kernels that matter for throughput are loops written out per type. The
// others, whose work per row is far more than a call, are made by unary,
// binaryOp and their kin from a function of one row.

// access reads and writes the values of a vector as A.
type access[A any] struct {
	get func(v *types.Vec, r int) A
	set func(f *frame, r int, a A)
}

var (
	bools     = access[bool]{func(v *types.Vec, r int) bool { return v.Bool[r] }, func(f *frame, r int, a bool) { f.out.Bool[r] = a }}
	ints      = access[int64]{func(v *types.Vec, r int) int64 { return v.I64[r] }, func(f *frame, r int, a int64) { f.out.I64[r] = a }}
	floats    = access[float64]{func(v *types.Vec, r int) float64 { return v.F64[r] }, func(f *frame, r int, a float64) { f.out.F64[r] = a }}
	intervals = access[types.IntervalValue]{func(v *types.Vec, r int) types.IntervalValue { return v.Iv[r] }, func(f *frame, r int, a types.IntervalValue) { f.out.Iv[r] = a }}
	numerics  = access[types.Num]{func(v *types.Vec, r int) types.Num { return types.DecodeNumeric(v.Bytes(r)) }, appendNumeric}
	texts     = access[[]byte]{(*types.Vec).Bytes, setText}
)

// maxVector bounds the bytes of a result for one chunk, whose offsets are 32
// bits.
const maxVector = 1 << 30

// end makes what was appended to out.Data since start the value of row r.
func (f *frame) end(r int, start int) {
	if len(f.out.Data) > maxVector {
		f.out.Data = f.out.Data[:start]
		f.fail(r, errTooLong)
		return
	}
	f.out.Span[r] = types.Span{Off: uint32(start), Len: uint32(len(f.out.Data) - start)}
}

func setText(f *frame, r int, a []byte) {
	start := len(f.out.Data)
	f.out.Data = append(f.out.Data, a...)
	f.end(r, start)
}

// appendNumeric sets row r of a numeric result.
func appendNumeric(f *frame, r int, n types.Num) {
	start := len(f.out.Data)
	f.out.Data = n.Append(f.out.Data)
	f.end(r, start)
}

func unary[A, R any](a access[A], o access[R], fn func(A) (R, error)) kernel {
	return func(f *frame) {
		v := f.args[0]
		for _, r := range f.rows() {
			x, err := fn(a.get(v, int(r)))
			if err != nil {
				f.fail(int(r), err)
				continue
			}
			o.set(f, int(r), x)
		}
	}
}

func binaryOp[A, B, R any](a access[A], b access[B], o access[R], fn func(A, B) (R, error)) kernel {
	return func(f *frame) {
		v, w := f.args[0], f.args[1]
		for _, r := range f.rows() {
			x, err := fn(a.get(v, int(r)), b.get(w, int(r)))
			if err != nil {
				f.fail(int(r), err)
				continue
			}
			o.set(f, int(r), x)
		}
	}
}

// sure makes a function that never fails one that might.
func sure[A, R any](fn func(A) R) func(A) (R, error) {
	return func(a A) (R, error) { return fn(a), nil }
}

// fn makes a strict, immutable function.
func fn(name string, result types.Kind, k kernel, args ...types.Kind) *Func {
	return &Func{Name: name, Args: args, Result: result, Strict: true, kernel: k}
}

// safe makes one that never fails.
func safe(name string, result types.Kind, k kernel, args ...types.Kind) *Func {
	f := fn(name, result, k, args...)
	f.total = true
	return f
}

// bound makes a function whose kernel depends on the call.
func bound(name string, result types.Kind, b func(*Call) (kernel, error), args ...types.Kind) *Func {
	f := fn(name, result, nil, args...)
	f.bind = b
	return f
}

// refusedFn stands for an overload that PostgreSQL has and streamdb refuses, so
// that a call of it is not taken for another overload; hint says what to do
// instead.
func refusedFn(name string, hint string, result types.Kind, args ...types.Kind) *Func {
	f := fn(name, result, nil, args...)
	f.refused, f.hint = "function "+name+signature(args), hint
	return f
}
