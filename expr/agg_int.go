package expr

import (
	"encoding/binary"
	"math/bits"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var le = binary.LittleEndian

// add64 adds d to the counter at b.
func add64(b []byte, d int64) { le.PutUint64(b, le.Uint64(b)+uint64(d)) }

func get64(b []byte) int64 { return int64(le.Uint64(b)) }

// add128 adds x × d to the 128-bit number at b.
func add128(b []byte, x, d int64) {
	hi, lo := bits.Mul64(uint64(x), uint64(d))
	hi -= uint64(x>>63)&uint64(d) + uint64(d>>63)&uint64(x)
	b = b[:16]
	s, c := bits.Add64(le.Uint64(b), lo, 0)
	le.PutUint64(b, s)
	le.PutUint64(b[8:], le.Uint64(b[8:])+hi+c)
}

// skip reports whether physical row i has no part in an aggregate.
func skip(arg, mask *types.Vec, i int) bool {
	return arg != nil && arg.Nulls.Get(i) || mask != nil && (!mask.Bool[i] || mask.Nulls.Get(i))
}

// fail reports output row i.
func (e *Errors) fail(i int, err *pgerr.Error) {
	e.Rows = append(e.Rows, uint16(i))
	e.Errs = append(e.Errs, err)
}

// countAcc is count: one 64-bit counter.
type countAcc struct{}

func (countAcc) Width() int { return 8 }

func (countAcc) Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec) {
	if (arg == nil || arg.Nulls == nil) && mask == nil {
		if c.Diff == nil {
			for _, s := range rows {
				add64(s[off:], 1)
			}
			return
		}
		for k, s := range rows {
			add64(s[off:], int64(c.Diff[c.Row(k)]))
		}
		return
	}
	for k, s := range rows {
		if i := c.Row(k); !skip(arg, mask, i) {
			add64(s[off:], int64(c.DiffAt(i)))
		}
	}
}

func (countAcc) Result(rows [][]byte, off int, out *types.Vec, _ *Errors) {
	out.Resize(types.T(types.Int8), len(rows))
	for k, s := range rows {
		out.I64[k] = get64(s[off:])
	}
}

// intAcc is sum and avg of integers: a 128-bit sum, a 64-bit count.
type intAcc struct {
	kind   types.Kind // of the result
	result func(hi int64, lo uint64, n int64, out *types.Vec, k int) error
}

func (intAcc) Width() int { return 24 }

func (intAcc) Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec) {
	v := arg.I64
	for k, s := range rows {
		i := c.Row(k)
		if skip(arg, mask, i) {
			continue
		}
		d := int64(c.DiffAt(i))
		s = s[off : off+24]
		add128(s, v[i], d)
		add64(s[16:], d)
	}
}

func (a intAcc) Result(rows [][]byte, off int, out *types.Vec, errs *Errors) {
	out.Resize(types.T(a.kind), len(rows))
	for k, s := range rows {
		s = s[off : off+24]
		n := get64(s[16:])
		if n == 0 {
			out.SetNull(k)
			continue
		}
		if err := a.result(get64(s[8:]), le.Uint64(s), n, out, k); err != nil {
			errs.fail(k, pgerr.From(err))
			out.SetNull(k)
		}
	}
}

func sumToInt8(hi int64, lo uint64, _ int64, out *types.Vec, k int) error {
	if hi != int64(lo)>>63 {
		return errInt8Range
	}
	out.I64[k] = int64(lo)
	return nil
}

func setNum(out *types.Vec, k int, n types.Num) {
	start := len(out.Data)
	out.Data = n.Append(out.Data)
	out.Span[k] = types.Span{Off: uint32(start), Len: uint32(len(out.Data) - start)}
}

func sumToNumeric(hi int64, lo uint64, _ int64, out *types.Vec, k int) error {
	setNum(out, k, types.NumFromInt128(hi, lo, 0))
	return nil
}

func avgToNumeric(hi int64, lo uint64, n int64, out *types.Vec, k int) error {
	q, err := types.NumDiv(types.NumFromInt128(hi, lo, 0), types.NumFromInt64(n))
	if err == nil {
		setNum(out, k, q)
	}
	return err
}

// boolAcc is bool_and and bool_or: counts of true and of false.
type boolAcc struct{ or bool }

func (boolAcc) Width() int { return 16 }

func (boolAcc) Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec) {
	for k, s := range rows {
		i := c.Row(k)
		if skip(arg, mask, i) {
			continue
		}
		if s = s[off : off+16]; !arg.Bool[i] {
			s = s[8:]
		}
		add64(s, int64(c.DiffAt(i)))
	}
}

func (a boolAcc) Result(rows [][]byte, off int, out *types.Vec, _ *Errors) {
	out.Resize(boolType, len(rows))
	for k, s := range rows {
		yes, no := get64(s[off:]), get64(s[off+8:])
		switch {
		case yes == 0 && no == 0:
			out.SetNull(k)
		case a.or:
			out.Bool[k] = yes != 0
		default:
			out.Bool[k] = no == 0
		}
	}
}

// intervalAcc is sum and avg of intervals: 128-bit sums of months, days and
// µs, a 64-bit count.
type intervalAcc struct{ avg bool }

func (intervalAcc) Width() int { return 56 }

func (intervalAcc) Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec) {
	for k, s := range rows {
		i := c.Row(k)
		if skip(arg, mask, i) {
			continue
		}
		d, iv := int64(c.DiffAt(i)), &arg.Iv[i]
		s = s[off : off+56]
		add128(s, int64(iv.Months), d)
		add128(s[16:], int64(iv.Days), d)
		add128(s[32:], iv.Micros, d)
		add64(s[48:], d)
	}
}

var errIntervalRange = pgerr.New(pgerr.DatetimeFieldOverflow, "interval out of range")

func (a intervalAcc) Result(rows [][]byte, off int, out *types.Vec, errs *Errors) {
	out.Resize(types.T(types.Interval), len(rows))
	for k, s := range rows {
		s = s[off : off+56]
		n := get64(s[48:])
		if n == 0 {
			out.SetNull(k)
			continue
		}
		months, ok1 := fit64(s)
		days, ok2 := fit64(s[16:])
		micros, ok3 := fit64(s[32:])
		iv := types.IntervalValue{Months: int32(months), Days: int32(days), Micros: micros}
		if !ok1 || !ok2 || !ok3 || int64(iv.Months) != months || int64(iv.Days) != days {
			errs.fail(k, errIntervalRange)
			out.SetNull(k)
			continue
		}
		if a.avg {
			var err error
			if iv, err = types.IntervalDiv(iv, float64(n)); err != nil {
				errs.fail(k, pgerr.From(err))
				out.SetNull(k)
				continue
			}
		}
		out.Iv[k] = iv
	}
}

// fit64 gives the 128-bit number at b if it fits 64 bits.
func fit64(b []byte) (int64, bool) {
	lo := get64(b)
	return lo, get64(b[8:]) == lo>>63
}
