package expr

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// AggKind says how an aggregate keeps its state.
type AggKind uint8

// The kinds of state.
const (
	AggFixed   AggKind = iota // a fixed number of bytes: NewFixed
	AggVar                    // a blob of varying length: NewVar
	AggOrdered                // min and max: the caller keeps the values in order
)

// AggFunc is an aggregate of the registry. Entries are never changed.
type AggFunc struct {
	Name   string
	Args   []types.Kind // empty: count(*); Unknown: any kind
	Result types.Kind
	Kind   AggKind
	// Strict aggregates skip rows whose argument is NULL: all but count(*).
	Strict bool
	// Desc: of the values in order (types.AppendOrder under OrderSpec{Desc:
	// Desc}, ties by least image) the first is the result. Only AggOrdered.
	Desc  bool
	sig   *Func
	fixed FixedAcc
	vari  func() VarAcc
}

// FixedAcc is an accumulator whose state is Width bytes, little-endian, that
// are all zero for no rows. It is stateless itself, so any number of
// goroutines may share it.
type FixedAcc interface {
	Width() int
	// Update adds to the states at rows[k][off:] the k-th selected row of c,
	// as many times as its multiplicity says. arg is nil for count(*), else
	// the argument with c.N rows; NULLs are skipped. mask, unless nil, is a
	// bool vector: only rows where it is true count. It cannot fail.
	Update(rows [][]byte, off int, arg *types.Vec, c *types.Chunk, mask *types.Vec)
	// Result makes out hold len(rows) results. A state without a result is an
	// error of its row in errs.
	Result(rows [][]byte, off int, out *types.Vec, errs *Errors)
}

// VarAcc is an accumulator with a blob as state, empty for no rows. It has
// scratch memory, so it belongs to one goroutine.
type VarAcc interface {
	// Update appends to dst the state that follows old after diff copies of
	// row of arg. It cannot fail; dst must not share memory with old.
	Update(old []byte, arg *types.Vec, row int, diff int32, dst []byte) []byte
	// Result sets row outRow of out, which has its type and length already.
	Result(blob []byte, out *types.Vec, outRow int) *pgerr.Error
}

// ID names f in stored plans.
func (f *AggFunc) ID() string { return f.sig.id }

// NewFixed gives the accumulator of an AggFixed function.
func (f *AggFunc) NewFixed() FixedAcc { return f.fixed }

// NewVar makes the accumulator of an AggVar function.
func (f *AggFunc) NewVar() VarAcc { return f.vari() }

var (
	aggByID   = map[string]*AggFunc{}
	aggByName = map[string][]*Func{}
	aggBySig  = map[*Func]*AggFunc{}
)

func init() {
	add := func(f *AggFunc) {
		f.sig = &Func{Name: f.Name, Args: f.Args, Result: f.Result}
		f.sig.id = makeID(f.Name, f.Args, false)
		aggByID[f.sig.id], aggBySig[f.sig] = f, f
		aggByName[f.Name] = append(aggByName[f.Name], f.sig)
	}
	fixed := func(name string, arg, result types.Kind, acc FixedAcc) {
		add(&AggFunc{Name: name, Args: []types.Kind{arg}, Result: result, Strict: true, fixed: acc})
	}
	add(&AggFunc{Name: "count", Result: types.Int8, fixed: countAcc{}})
	fixed("count", types.Unknown, types.Int8, countAcc{})
	fixed("sum", types.Int4, types.Int8, intAcc{types.Int8, sumToInt8})
	fixed("sum", types.Int8, types.Numeric, intAcc{types.Numeric, sumToNumeric})
	fixed("sum", types.Float8, types.Float8, floatAcc{})
	fixed("sum", types.Interval, types.Interval, intervalAcc{})
	fixed("avg", types.Int4, types.Numeric, intAcc{types.Numeric, avgToNumeric})
	fixed("avg", types.Int8, types.Numeric, intAcc{types.Numeric, avgToNumeric})
	fixed("avg", types.Float8, types.Float8, floatAcc{avg: true})
	fixed("avg", types.Interval, types.Interval, intervalAcc{avg: true})
	fixed("bool_and", types.Bool, types.Bool, boolAcc{})
	fixed("every", types.Bool, types.Bool, boolAcc{})
	fixed("bool_or", types.Bool, types.Bool, boolAcc{or: true})
	for _, name := range []string{"sum", "avg"} {
		avg := name == "avg"
		add(&AggFunc{Name: name, Args: []types.Kind{types.Numeric}, Result: types.Numeric, Kind: AggVar, Strict: true,
			vari: func() VarAcc { return &numericAcc{avg: avg} }})
	}
	for i, k := range []types.Kind{types.Int2, types.Int4, types.Int8} {
		for name, op := range map[string]byte{"bit_and": '&', "bit_or": '|', "bit_xor": '#'} {
			fixed(name, k, k, bitAcc{k, 16 << i, op})
		}
		for name, s := range spreadNames {
			fixed(name, k, types.Numeric, intSpread{s})
		}
	}
	for name, s := range spreadNames {
		fixed(name, types.Float4, types.Float8, floatSpread{s})
		fixed(name, types.Float8, types.Float8, floatSpread{s})
		add(&AggFunc{Name: name, Args: []types.Kind{types.Numeric}, Result: types.Numeric, Kind: AggVar, Strict: true,
			vari: func() VarAcc { return &numericSpread{k: s} }})
	}
	fixed("sum", types.Int2, types.Int8, intAcc{types.Int8, sumToInt8})
	fixed("avg", types.Int2, types.Numeric, intAcc{types.Numeric, avgToNumeric})
	fixed("sum", types.Float4, types.Float4, floatAcc{single: true})
	fixed("avg", types.Float4, types.Float8, floatAcc{avg: true})
	for _, k := range allKinds {
		switch k {
		case types.Bool, types.Varchar, types.Bytea, types.Uuid, types.Name, types.Char, types.Json, types.Jsonb:
			continue
		}
		add(&AggFunc{Name: "min", Args: []types.Kind{k}, Result: k, Kind: AggOrdered, Strict: true})
		add(&AggFunc{Name: "max", Args: []types.Kind{k}, Result: k, Kind: AggOrdered, Strict: true, Desc: true})
	}
}

// refusedAggregates are PostgreSQL's others.
var refusedAggregates = map[string]bool{}

func init() {
	for _, n := range strings.Fields(`array_agg string_agg json_agg jsonb_agg json_object_agg jsonb_object_agg xmlagg
		corr covar_pop covar_samp regr_avgx regr_avgy
		regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy mode percentile_cont
		percentile_disc rank dense_rank percent_rank cume_dist range_agg
		range_intersect_agg grouping`) {
		refusedAggregates[n] = true
	}
}

// IsAggregate reports whether name (in lower case) is an aggregate of
// PostgreSQL's, also one that is refused.
func IsAggregate(name string) bool { return aggByName[name] != nil || refusedAggregates[name] }

// LookupAggFunc finds an aggregate by its id.
func LookupAggFunc(id string) (*AggFunc, bool) {
	f, ok := aggByID[id]
	return f, ok
}

// ResolveAggregate binds an aggregate call (star: name(*)) by PostgreSQL's
// rules: the function, the arguments cast to what it takes, the result's type.
func ResolveAggregate(name string, args []Expr, star bool, pos int) (*AggFunc, []Expr, types.Type, error) {
	if refusedAggregates[name] {
		return nil, nil, types.Type{}, pgerr.Unsupported("aggregate %s", name).At(pos)
	}
	kinds := kindsOf(args)
	switch {
	case name == "count" && star:
		f := aggByID["count()"]
		return f, nil, types.T(f.Result), nil
	case len(args) == 0 && !star:
		return nil, nil, types.Type{}, pgerr.New(pgerr.WrongObjectType,
			"%s(*) must be used to call a parameterless aggregate function", name).At(pos)
	case name == "count" && len(args) == 1:
		f := aggByID["count(unknown)"]
		arg := args[0]
		if kinds[0] == types.Unknown {
			var err error
			if arg, err = Cast(arg, types.T(types.Text), Implicit, pos); err != nil {
				return nil, nil, types.Type{}, err
			}
		}
		return f, []Expr{arg}, types.T(f.Result), nil
	}
	sig, err := pickAggregate(name, kinds)
	if err != nil {
		return nil, nil, types.Type{}, err.At(pos)
	}
	cast := make([]Expr, len(args))
	for i, a := range args {
		var err error
		if cast[i], err = Cast(a, types.T(sig.Args[i]), Implicit, pos); err != nil {
			return nil, nil, types.Type{}, err
		}
	}
	return aggBySig[sig], cast, types.T(sig.Result), nil
}

func pickAggregate(name string, kinds []types.Kind) (*Func, *pgerr.Error) {
	var cands []*Func
	if name != "count" {
		cands = applicable(aggByName[name], kinds)
	}
	if len(cands) == 0 {
		return nil, errNoFunction(name, signature(kinds))
	}
	sig := exact(cands, kinds)
	if sig == nil {
		sig = pick(cands, kinds)
	}
	if sig == nil {
		return nil, errNotUnique(name, kinds)
	}
	return sig, nil
}
