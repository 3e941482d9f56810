package expr

import (
	"bytes"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// newRand seeds a test and prints the seed.
func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// runAggregate aggregates c's only column in one group.
func runAggregate(f *AggFunc, c *types.Chunk) (types.Datum, *pgerr.Error) {
	out := types.Vec{}
	switch f.Kind {
	case AggFixed:
		acc := f.NewFixed()
		state := make([]byte, acc.Width()+8)
		rows := make([][]byte, c.Rows())
		for i := range rows {
			rows[i] = state
		}
		var arg *types.Vec
		if len(f.Args) > 0 {
			arg = &c.Cols[0]
		}
		acc.Update(rows, 8, arg, c, nil)
		var errs Errors
		acc.Result([][]byte{state}, 8, &out, &errs)
		if len(errs.Errs) > 0 {
			return types.Datum{}, errs.Errs[0]
		}
	case AggVar:
		blob := []byte(nil)
		acc := f.NewVar()
		for k := range c.Rows() {
			r := c.Row(k)
			blob = acc.Update(blob, &c.Cols[0], r, c.DiffAt(r), nil)
		}
		out.Resize(types.T(f.Result), 1)
		if err := acc.Result(blob, &out, 0); err != nil {
			return types.Datum{}, err
		}
	case AggOrdered:
		return extremeOf(f, c), nil
	}
	return out.Datum(0), nil
}

func extremeOf(f *AggFunc, c *types.Chunk) types.Datum {
	best, key := types.NullOf(types.T(f.Result)), []byte(nil)
	for k := range c.Rows() {
		v := &c.Cols[0]
		if r := c.Row(k); !v.Null(r) {
			o := types.AppendOrder(nil, v, r, types.OrderSpec{Desc: f.Desc})
			if key == nil || bytes.Compare(o, key) < 0 {
				best, key = v.Datum(r), o
			}
		}
	}
	return best
}

func randomDatum(r *rand.Rand, k types.Kind) types.Datum {
	texts := edgeValues[k]
	if elem, ok := k.Elem(); ok {
		texts = (&sampler{r: r}).arrayTexts(elem)
	}
	d, err := types.ParseText(types.T(k), pickOne(r, texts))
	if err != nil {
		panic(err)
	}
	switch {
	case r.IntN(8) == 0:
		return types.NullOf(types.T(k))
	case k == types.Float8 && r.IntN(2) == 0:
		d.F = math.Float64frombits(r.Uint64())
	case k == types.Numeric && r.IntN(2) == 0:
		n, err := types.NumRound(types.NumFromFloat((r.Float64()-0.5)*1e6), r.IntN(5))
		if err != nil {
			panic(err)
		}
		d = n.Datum()
	}
	return d
}

// TestRetraction inserts and retracts at random, retractions also ahead of
// their insertions: the state is that of a recomputation over what remains,
// byte for byte.
func TestRetraction(t *testing.T) {
	r := newRand(t)
	for _, f := range aggByID {
		if f.Kind == AggOrdered {
			continue
		}
		k := types.Int8
		if len(f.Args) > 0 && f.Args[0] != types.Unknown {
			k = f.Args[0]
		}
		for range 40 {
			testRetraction(t, r, f, k)
		}
	}
}

func testRetraction(t *testing.T, r *rand.Rand, f *AggFunc, k types.Kind) {
	kept, all := types.NewChunk([]types.Type{types.T(k)}), types.NewChunk([]types.Type{types.T(k)})
	type change struct {
		d types.Datum
		n int32
	}
	var changes []change
	for range r.IntN(20) {
		d := randomDatum(r, k)
		if r.IntN(2) == 0 {
			n := int32(r.IntN(3) + 1)
			kept.AppendRow(n, d)
			changes = append(changes, change{d, n})
			continue
		}
		n := int32(r.Uint32()>>1) | 1
		changes = append(changes, change{d, n}, change{d, -n})
	}
	r.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
	for _, c := range changes {
		all.AppendRow(c.n, c.d)
	}
	if a, b := aggState(f, kept), aggState(f, all); !bytes.Equal(a, b) {
		t.Fatalf("%s over %v: state %x, recomputed %x", f.ID(), changes, b, a)
	}
	a, err1 := runAggregate(f, kept)
	b, err2 := runAggregate(f, all)
	if (err1 == nil) != (err2 == nil) || err1 == nil && !types.DatumEqualImage(a, b) {
		t.Fatalf("%s: %v %v, recomputed %v %v", f.ID(), b, err2, a, err1)
	}
}

func aggState(f *AggFunc, c *types.Chunk) []byte {
	if f.Kind == AggVar {
		var blob []byte
		acc := f.NewVar()
		for k := range c.N {
			blob = acc.Update(blob, &c.Cols[0], k, c.DiffAt(k), nil)
		}
		return blob
	}
	acc := f.NewFixed()
	state := make([]byte, acc.Width())
	rows := make([][]byte, c.N)
	for i := range rows {
		rows[i] = state
	}
	acc.Update(rows, 0, &c.Cols[0], c, nil)
	return state
}

// TestFloatSum compares with sums of unbounded precision.
func TestFloatSum(t *testing.T) {
	r := newRand(t)
	f, _ := LookupAggFunc("sum(float8)")
	for range 500 {
		c := types.NewChunk([]types.Type{types.T(types.Float8)})
		exact := new(big.Float).SetPrec(4000)
		for range 1 + r.IntN(30) {
			x := math.Float64frombits(r.Uint64())
			if r.IntN(3) == 0 {
				x = math.Ldexp(r.Float64()-0.5, -1060-r.IntN(20)) // near the subnormals
			}
			if math.IsNaN(x) || math.IsInf(x, 0) {
				continue
			}
			d := int32(r.IntN(7) - 3)
			if d == 0 {
				d = math.MinInt32
			}
			c.AppendRow(d, types.NewFloat8(x))
			exact.Add(exact, new(big.Float).SetPrec(4000).Mul(big.NewFloat(x), big.NewFloat(float64(d))))
		}
		want, _ := exact.Float64()
		got, err := runAggregate(f, c)
		switch {
		case math.IsInf(want, 0):
			if err == nil || err.Code != pgerr.NumericValueOutOfRange {
				t.Fatalf("got %v %v, want an overflow", got, err)
			}
		case err != nil:
			t.Fatal(err)
		case !got.Null && got.F != want:
			t.Fatalf("got %g, want %g", got.F, want)
		}
	}
}

func TestMask(t *testing.T) {
	c := types.NewChunk([]types.Type{types.T(types.Int8), boolType})
	for i := range 10 {
		b := types.NewBool(i%3 == 0)
		b.Null = i == 6
		c.AppendRow(1, types.NewInt8(int64(i)), b)
	}
	for id, want := range map[string]string{"count()": "3", "count(unknown)": "3", "sum(int8)": "12", "avg(int8)": "4.0000000000000000"} {
		f, ok := LookupAggFunc(id)
		if !ok {
			t.Fatal(id)
		}
		acc := f.NewFixed()
		state := make([]byte, acc.Width())
		var arg *types.Vec
		if len(f.Args) > 0 {
			arg = &c.Cols[0]
		}
		rows := slices.Repeat([][]byte{state}, 10)
		acc.Update(rows, 0, arg, c, &c.Cols[1])
		var out types.Vec
		acc.Result([][]byte{state}, 0, &out, &Errors{})
		if got := out.Datum(0).String(); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

func TestResolveAggregate(t *testing.T) {
	text := &Column{T: types.T(types.Text)}
	unknown := &Const{Value: types.Datum{Type: types.T(types.Unknown), B: []byte("1")}}
	for _, tc := range []struct {
		name string
		args []Expr
		code pgerr.Code
		msg  string
	}{
		{"sum", []Expr{text}, pgerr.UndefinedFunction, "function sum(text) does not exist"},
		{"sum", []Expr{unknown}, pgerr.AmbiguousFunction, "function sum(unknown) is not unique"},
		{"stddev", []Expr{text}, pgerr.UndefinedFunction, "function stddev(text) does not exist"}, {"corr", []Expr{text}, pgerr.FeatureNotSupported, "aggregate corr is not supported"},
		{"count", nil, pgerr.WrongObjectType, "count(*) must be used to call a parameterless aggregate function"},
	} {
		_, _, _, err := ResolveAggregate(tc.name, tc.args, false, 7)
		if e := pgerr.From(err); err == nil || e.Code != tc.code || e.Message != tc.msg || e.Position != 7 {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	for id, f := range aggByID {
		if g, ok := LookupAggFunc(f.ID()); !ok || g != f || id != f.ID() {
			t.Errorf("%s does not find itself", id)
		}
	}
}
