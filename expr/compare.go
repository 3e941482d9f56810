package expr

import (
	"bytes"

	"github.com/streamdb/streamdb/types"
)

// comparison is one of the six operators, told as equality or less-than with
// the operands swapped or the answer negated.
type comparison struct {
	op              string
	less, swap, not bool
}

var comparisons = []comparison{
	{op: "="}, {op: "<>", not: true},
	{op: "<", less: true}, {op: ">", less: true, swap: true},
	{op: "<=", less: true, swap: true, not: true}, {op: ">=", less: true, not: true},
}

func compareFuncs() []*Func {
	var fs []*Func
	for _, c := range comparisons {
		for _, k := range allKinds {
			if k != types.Varchar && k != types.Json { // varchar is compared as text
				fs = append(fs, safe(c.op, types.Bool, c.kernel(k), k, k))
			}
		}
		fs = append(fs, asOther(c.op, types.Float8, types.Bool, types.Float4, types.Float8), asOther(c.op, types.Float8, types.Bool, types.Float8, types.Float4),
			asOther(c.op, types.Text, types.Bool, types.Name, types.Text), asOther(c.op, types.Text, types.Bool, types.Text, types.Name))
		fs = append(fs, c.mixed(types.Date, types.Timestamp), c.mixed(types.Date, types.Timestamptz),
			c.mixed(types.Timestamp, types.Date), c.mixed(types.Timestamptz, types.Date),
			c.mixed(types.Timestamp, types.Timestamptz), c.mixed(types.Timestamptz, types.Timestamp))
	}
	return fs
}

func (c comparison) kernel(k types.Kind) kernel {
	switch k {
	case types.Bool:
		return c.rowwise
	case types.Float8, types.Float4:
		return c.floats
	case types.Text, types.Bytea, types.Uuid, types.Name, types.Char:
		return c.texts
	}
	if k.Phys() != types.PhysInt64 {
		return c.rowwise
	}
	return c.ints
}

func (c comparison) ints(f *frame) {
	x, y := f.args[0], f.args[1]
	cx, cy := f.consts[0], f.consts[1]
	if c.swap {
		x, y, cx, cy = y, x, cy, cx
	}
	a, b, o, not := x.I64[:f.n], y.I64[:f.n], f.out.Bool[:f.n], c.not
	switch {
	case !f.dense() && c.less:
		for _, r := range f.sel {
			o[r] = (a[r] < b[r]) != not
		}
	case !f.dense():
		for _, r := range f.sel {
			o[r] = (a[r] == b[r]) != not
		}
	case !c.less && cy != nil:
		eqConst(o, a, cy.I, not)
	case !c.less:
		for i := range o {
			o[i] = (a[i] == b[i]) != not
		}
	case cy != nil:
		lessConst(o, a, cy.I, not)
	case cx != nil:
		greaterConst(o, b, cx.I, not)
	default:
		for i := range o {
			o[i] = (a[i] < b[i]) != not
		}
	}
}

func eqConst(o []bool, a []int64, k int64, not bool) {
	a = a[:len(o)]
	for i := range o {
		o[i] = (a[i] == k) != not
	}
}

func lessConst(o []bool, a []int64, k int64, not bool) {
	a = a[:len(o)]
	for i := range o {
		o[i] = (a[i] < k) != not
	}
}

func greaterConst(o []bool, a []int64, k int64, not bool) {
	a = a[:len(o)]
	for i := range o {
		o[i] = (a[i] > k) != not
	}
}

// floats compares with every NaN equal and greatest.
func (c comparison) floats(f *frame) {
	x, y := f.args[0], f.args[1]
	if c.swap {
		x, y = y, x
	}
	a, b, o, not := x.F64[:f.n], y.F64[:f.n], f.out.Bool[:f.n], c.not
	rows := rowsOf(f.p, f.sel)
	if c.less {
		for _, r := range rows {
			o[r] = (a[r] < b[r] || b[r] != b[r] && a[r] == a[r]) != not
		}
		return
	}
	for _, r := range rows {
		o[r] = (a[r] == b[r] || a[r] != a[r] && b[r] != b[r]) != not
	}
}

func (c comparison) texts(f *frame) {
	x, y := f.args[0], f.args[1]
	if c.swap {
		x, y = y, x
	}
	o := f.out.Bool[:f.n]
	if c.less {
		for _, r := range f.rows() {
			o[r] = (bytes.Compare(x.Bytes(int(r)), y.Bytes(int(r))) < 0) != c.not
		}
		return
	}
	for _, r := range f.rows() {
		o[r] = bytes.Equal(x.Bytes(int(r)), y.Bytes(int(r))) != c.not
	}
}

func (c comparison) rowwise(f *frame) {
	x, y := f.args[0], f.args[1]
	if c.swap {
		x, y = y, x
	}
	for _, r := range f.rows() {
		cmp := compareRows(x, y, int(r))
		f.out.Bool[r] = (cmp < 0 && c.less || cmp == 0 && !c.less) != c.not
	}
}

// compareRows orders row r of two vectors of one kind, neither NULL.
func compareRows(a, b *types.Vec, r int) int {
	switch a.Type.Kind {
	case types.Bool:
		switch {
		case a.Bool[r] == b.Bool[r]:
			return 0
		case b.Bool[r]:
			return -1
		}
		return 1
	case types.Float8, types.Float4:
		return types.CompareFloat(a.F64[r], b.F64[r])
	case types.Interval:
		return types.CompareInterval(a.Iv[r], b.Iv[r])
	case types.Timetz:
		return types.CompareTimetz(a.Iv[r], b.Iv[r])
	case types.Numeric:
		return compareNumerics(a.Bytes(r), b.Bytes(r))
	case types.Bpchar:
		return bytes.Compare(types.TrimBlanks(a.Bytes(r)), types.TrimBlanks(b.Bytes(r)))
	case types.Jsonb:
		return types.CompareJSONB(a.Bytes(r), b.Bytes(r))
	}
	if _, ok := a.Type.Kind.Elem(); ok {
		return types.CompareArrays(a.Type.Kind, a.Bytes(r), b.Bytes(r))
	}
	if a.Type.Kind.Phys() == types.PhysBytes {
		return bytes.Compare(a.Bytes(r), b.Bytes(r))
	}
	switch {
	case a.I64[r] < b.I64[r]:
		return -1
	case a.I64[r] > b.I64[r]:
		return 1
	}
	return 0
}

// mixed compares dates with timestamps, and the two kinds of timestamp (in
// UTC). Dates beyond the timestamps' range compare as beyond them.
func (c comparison) mixed(x, y types.Kind) *Func {
	return safe(c.op, types.Bool, func(f *frame) {
		for _, r := range f.rows() {
			a, b := instant(x, f.args[0].I64[r]), instant(y, f.args[1].I64[r])
			if c.swap {
				a, b = b, a
			}
			if c.less {
				f.out.Bool[r] = (a < b) != c.not
			} else {
				f.out.Bool[r] = (a == b) != c.not
			}
		}
	}, x, y)
}

// instant is a date or timestamp in µs, with room beyond the finite
// timestamps for the dates that are later.
func instant(k types.Kind, v int64) int64 {
	if k != types.Date {
		return v
	}
	t, err := types.DateToTimestamp(v)
	if err != nil {
		return types.TimestampPosInf - 1
	}
	return t
}

// greatestFuncs are GREATEST and LEAST, one per kind: NULL only if all
// arguments are.
func greatestFuncs() []*Func {
	var fs []*Func
	for _, k := range allKinds {
		if k == types.Json {
			continue
		}
		for _, name := range []string{"greatest", "least"} {
			f := safe(name, k, extreme(name == "greatest"), k)
			f.Strict, f.Variadic = false, true
			fs = append(fs, f)
		}
	}
	return fs
}

func extreme(greatest bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			i := int(r)
			var best *types.Vec
			for _, v := range f.args {
				switch {
				case v.Null(i):
				case best == nil:
					best = v
				default:
					if c := compareRows(v, best, i); c != 0 && c > 0 == greatest {
						best = v
					}
				}
			}
			if best == nil {
				f.setNull(i)
				continue
			}
			copyValue(&f.out, best, i)
		}
	}
}

func copyValue(dst, src *types.Vec, r int) {
	switch dst.Type.Kind.Phys() {
	case types.PhysBool:
		dst.Bool[r] = src.Bool[r]
	case types.PhysInt64:
		dst.I64[r] = src.I64[r]
	case types.PhysFloat64:
		dst.F64[r] = src.F64[r]
	case types.PhysInterval:
		dst.Iv[r] = src.Iv[r]
	default:
		dst.SetBytes(r, src.Bytes(r))
	}
}
