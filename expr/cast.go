package expr

import (
	"math"
	"strconv"
	"unsafe"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// CastContext says how loudly a cast was asked for.
type CastContext uint8

// The contexts, each allowing what the one before allows.
const (
	Implicit   CastContext = iota // in expressions
	Assignment                    // into a column
	Explicit                      // CAST and ::
)

// castEntry is a row of pg_cast: a function and the context that it needs.
// ViaText marks the casts that PostgreSQL makes of input and output functions.
type castEntry struct {
	f       *Func
	ctx     CastContext
	viaText bool
}

// allKinds are the kinds that columns have.
var allKinds = []types.Kind{types.Bool, types.Int4, types.Int8, types.Float8, types.Numeric, types.Text,
	types.Date, types.Timestamp, types.Timestamptz, types.Interval, types.Int2, types.Float4, types.Varchar,
	types.Bpchar, types.Bytea, types.Time, types.Timetz, types.Uuid, types.Name, types.Oid, types.Char, types.Json, types.Jsonb}

func castTable() map[[2]types.Kind]castEntry {
	m := map[[2]types.Kind]castEntry{}
	add := func(from, to types.Kind, ctx CastContext, total bool, k kernel) {
		f := &Func{Name: kindName(to), Args: []types.Kind{from}, Result: to, Strict: true, cast: true, total: total, kernel: k}
		m[[2]types.Kind{from, to}] = castEntry{f: f, ctx: ctx}
	}
	add(types.Int4, types.Int8, Implicit, true, sameInts)
	add(types.Int4, types.Float8, Implicit, true, intToFloat)
	add(types.Int8, types.Float8, Implicit, true, intToFloat)
	add(types.Int4, types.Numeric, Implicit, true, intToNumeric)
	add(types.Int8, types.Numeric, Implicit, true, intToNumeric)
	add(types.Numeric, types.Float8, Implicit, false, numericToFloat)
	add(types.Int8, types.Int4, Assignment, false, int8ToInt4)
	add(types.Float8, types.Int4, Assignment, false, floatToInt4)
	add(types.Float8, types.Int8, Assignment, false, floatToInt8)
	add(types.Float8, types.Numeric, Assignment, true, floatToNumeric)
	add(types.Numeric, types.Int4, Assignment, false, unary(numerics, ints, types.Num.ToInt4))
	add(types.Numeric, types.Int8, Assignment, false, unary(numerics, ints, types.Num.ToInt8))
	add(types.Int4, types.Bool, Explicit, true, intToBool)
	add(types.Bool, types.Int4, Explicit, true, boolToInt)
	add(types.Date, types.Timestamp, Implicit, false, unary(ints, ints, types.DateToTimestamp))
	add(types.Date, types.Timestamptz, Implicit, false, unary(ints, ints, types.DateToTimestamp))
	add(types.Timestamp, types.Timestamptz, Implicit, true, sameInts)
	add(types.Timestamptz, types.Timestamp, Assignment, true, sameInts)
	add(types.Timestamp, types.Date, Assignment, true, timestampToDate)
	add(types.Timestamptz, types.Date, Assignment, true, timestampToDate)
	add(types.Bool, types.Text, Assignment, true, boolToText)
	otherCasts(add)
	for _, k := range append(append([]types.Kind{}, allKinds...), arrayKinds...) {
		for _, str := range stringKinds {
			if _, ok := m[[2]types.Kind{k, str}]; !ok && k != str {
				add(k, str, Assignment, true, toText)
				setViaText(m, k, str)
			}
			if _, ok := m[[2]types.Kind{str, k}]; !ok && k != str {
				add(str, k, Explicit, false, fromText)
				setViaText(m, str, k)
			}
		}
	}
	return m
}

// stringKinds are PostgreSQL's string types: from and to these every type has
// a cast through its text.
var stringKinds = []types.Kind{types.Text, types.Varchar, types.Bpchar, types.Name}

func setViaText(m map[[2]types.Kind]castEntry, from, to types.Kind) {
	c := m[[2]types.Kind{from, to}]
	c.viaText = true
	m[[2]types.Kind{from, to}] = c
}

// Cast makes e a value of type to, as PostgreSQL coerces in a context; 42846
// if it does not. Literals of unknown type are read here, with errors at pos.
func Cast(e Expr, to types.Type, ctx CastContext, pos int) (Expr, error) {
	from := e.Type()
	if from == to {
		return e, nil
	}
	if c, ok := e.(*Const); ok {
		if c.Value.Null && (from.Kind == types.Unknown || canCast(from.Kind, to.Kind, ctx)) {
			return &Const{Value: types.NullOf(to)}, nil
		}
		if from.Kind == types.Unknown {
			d, err := types.ParseText(types.T(to.Kind), string(c.Value.B))
			if err != nil {
				return nil, pgerr.From(err).At(pos)
			}
			return castMod(&Const{Value: d}, to, ctx, pos)
		}
	}
	if from.Kind != to.Kind {
		ce, ok := registry.casts[[2]types.Kind{from.Kind, to.Kind}]
		if !ok || ce.ctx > ctx {
			return nil, pgerr.New(pgerr.CannotCoerce, "cannot cast type %s to %s", from.Kind, to.Kind).At(pos)
		}
		e = &Call{Func: ce.f, Args: []Expr{e}, T: types.T(to.Kind), Pos: pos}
	}
	return castMod(e, to, ctx, pos)
}

// castMod brings e, of to's kind, within to's precision, scale or length.
func castMod(e Expr, to types.Type, ctx CastContext, pos int) (Expr, error) {
	if to.Mod < 0 || e.Type().Mod == to.Mod {
		return e, nil
	}
	f := modFuncs[to.Kind]
	if ctx == Explicit && cutFuncs[to.Kind] != nil {
		f = cutFuncs[to.Kind]
	}
	if f == nil {
		return e, nil
	}
	c := &Call{Func: f, Args: []Expr{e}, T: to, Pos: pos}
	if k, ok := e.(*Const); ok {
		d, err := types.ApplyMod(k.Value, to, f == cutFuncs[to.Kind])
		switch {
		case err == nil:
			return &Const{Value: d}, nil
		case to.Kind != types.Numeric: // numeric's is raised when it is evaluated
			return nil, pgerr.From(err).At(pos)
		}
	}
	return c, nil
}

func canCast(from, to types.Kind, ctx CastContext) bool {
	c, ok := registry.casts[[2]types.Kind{from, to}]
	return from == to || ok && c.ctx <= ctx
}

// CanCast reports whether Cast would take a value of kind from to kind to.
func CanCast(from, to types.Kind, ctx CastContext) bool {
	return from == types.Unknown || canCast(from, to, ctx)
}

// sameInts is for casts that keep the number.
func sameInts(f *frame) {
	if f.dense() {
		copy(f.out.I64, f.args[0].I64[:f.n])
		return
	}
	for _, r := range f.sel {
		f.out.I64[r] = f.args[0].I64[r]
	}
}

func intToFloat(f *frame) {
	a, o := f.args[0].I64[:f.n], f.out.F64[:f.n]
	if f.dense() {
		for i := range o {
			o[i] = float64(a[i])
		}
		return
	}
	for _, r := range f.sel {
		o[r] = float64(a[r])
	}
}

func intToNumeric(f *frame) {
	a, o := f.args[0].I64, &f.out
	for _, r := range f.rows() {
		start := len(o.Data)
		o.Data = types.AppendSmallNumeric(o.Data, a[r], 0)
		f.end(int(r), start)
	}
}

func floatToNumeric(f *frame) {
	a := f.args[0].F64
	for _, r := range f.rows() {
		appendNumeric(f, int(r), types.NumFromFloat(a[r]))
	}
}

func numericToFloat(f *frame) {
	for _, r := range f.rows() {
		v, err := types.DecodeNumeric(f.args[0].Bytes(int(r))).ToFloat8()
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		f.out.F64[r] = v
	}
}

var (
	errInt4Range = pgerr.New(pgerr.NumericValueOutOfRange, "integer out of range")
	errInt8Range = pgerr.New(pgerr.NumericValueOutOfRange, "bigint out of range")
)

func int8ToInt4(f *frame) {
	a := f.args[0].I64
	for _, r := range f.rows() {
		v := a[r]
		if v != int64(int32(v)) {
			f.fail(int(r), errInt4Range)
			continue
		}
		f.out.I64[r] = v
	}
}

func floatToInt4(f *frame) {
	a := f.args[0].F64
	for _, r := range f.rows() {
		v := math.RoundToEven(a[r])
		if !(v >= math.MinInt32 && v <= math.MaxInt32) {
			f.fail(int(r), errInt4Range)
			continue
		}
		f.out.I64[r] = int64(v)
	}
}

func floatToInt8(f *frame) {
	a := f.args[0].F64
	for _, r := range f.rows() {
		v := math.RoundToEven(a[r])
		if !(v >= math.MinInt64 && v < -math.MinInt64) {
			f.fail(int(r), errInt8Range)
			continue
		}
		f.out.I64[r] = int64(v)
	}
}

func intToBool(f *frame) {
	for _, r := range f.rows() {
		f.out.Bool[r] = f.args[0].I64[r] != 0
	}
}

func boolToInt(f *frame) {
	for _, r := range f.rows() {
		f.out.I64[r] = 0
		if f.args[0].Bool[r] {
			f.out.I64[r] = 1
		}
	}
}

func timestampToDate(f *frame) {
	for _, r := range f.rows() {
		f.out.I64[r] = types.TimestampToDate(f.args[0].I64[r])
	}
}

func boolToText(f *frame) {
	for _, r := range f.rows() {
		if f.args[0].Bool[r] {
			f.out.SetBytes(int(r), []byte("true"))
		} else {
			f.out.SetBytes(int(r), []byte("false"))
		}
	}
}

// toText prints as the output functions do.
func toText(f *frame) {
	a, o := f.args[0], &f.out
	for _, r := range f.rows() {
		start := len(o.Data)
		o.Data = a.AppendText(o.Data, int(r))
		if f.t.Kind == types.Name {
			o.Data = o.Data[:start+len(types.CutName(o.Data[start:]))]
		}
		f.end(int(r), start)
	}
}

// fromText reads as the input functions do.
func fromText(f *frame) {
	a := f.args[0]
	for _, r := range f.rows() {
		b := a.Bytes(int(r))
		if k := f.t.Kind; k == types.Int8 || k == types.Int4 {
			if i, ok := plainInt(b); ok && (k == types.Int8 || i == int64(int32(i))) {
				f.out.I64[r] = i
				continue
			}
		}
		d, err := types.ParseText(types.T(f.t.Kind), viewString(b))
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		setDatum(&f.out, int(r), d)
	}
}

// plainInt reads what most integers look like.
func plainInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	if len(b) <= 18 {
		var u int64
		digits, neg := b, b[0] == '-'
		if neg {
			digits = b[1:]
		}
		for _, c := range digits {
			if c < '0' || c > '9' {
				return 0, false
			}
			u = u*10 + int64(c-'0')
		}
		if neg {
			u = -u
		}
		return u, len(digits) > 0
	}
	i, err := strconv.ParseInt(viewString(b), 10, 64)
	return i, err == nil && b[0] != '+'
}

// viewString is b as a string that must not outlive the call it is passed to.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func setDatum(v *types.Vec, r int, d types.Datum) {
	switch v.Type.Kind.Phys() {
	case types.PhysBool:
		v.Bool[r] = d.I != 0
	case types.PhysInt64:
		v.I64[r] = d.I
	case types.PhysFloat64:
		v.F64[r] = d.F
	case types.PhysInterval:
		v.Iv[r] = d.Iv
	default:
		v.SetBytes(r, d.B)
	}
}
