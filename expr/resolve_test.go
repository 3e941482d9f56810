package expr

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

func colOf(k types.Kind) Expr {
	return &Column{Index: int(k), T: types.T(k), Name: "c_" + kindNames[k]}
}

func unknownLit(s string) Expr {
	return &Const{Value: types.Datum{Type: types.T(types.Unknown), B: []byte(s)}}
}

func intLit(i int32) Expr { return &Const{Value: types.NewInt4(i)} }

func TestResolveErrors(t *testing.T) {
	const (
		opHint   = "No operator matches the given name and argument types. You might need to add explicit type casts."
		opHint1  = "No operator matches the given name and argument type. You might need to add an explicit type cast."
		opMany   = "Could not choose a best candidate operator. You might need to add explicit type casts."
		funcHint = "No function matches the given name and argument types. You might need to add explicit type casts."
	)
	op := func(o string, l, r Expr) func() (Expr, error) {
		return func() (Expr, error) { return ResolveOp(o, l, r, 5) }
	}
	call := func(n string, a ...Expr) func() (Expr, error) {
		return func() (Expr, error) { return ResolveFunc(n, a, 5) }
	}
	text, i4, i8, b := colOf(types.Text), colOf(types.Int4), colOf(types.Int8), colOf(types.Bool)
	for _, tc := range []struct {
		do        func() (Expr, error)
		code      pgerr.Code
		msg, hint string
	}{
		{op("+", text, i4), pgerr.UndefinedFunction, "operator does not exist: text + integer", opHint},
		{op("-", nil, text), pgerr.UndefinedFunction, "operator does not exist: - text", opHint1},
		{op("+", unknownLit("a"), unknownLit("b")), pgerr.AmbiguousFunction, "operator is not unique: unknown + unknown", opMany},
		{op("||", i4, i4), pgerr.UndefinedFunction, "operator does not exist: integer || integer", opHint},
		{op("=", i4, text), pgerr.UndefinedFunction, "operator does not exist: integer = text", opHint},
		{op("%", colOf(types.Float8), i4), pgerr.UndefinedFunction, "operator does not exist: double precision % integer", opHint},
		{op("~", text, unknownLit("(?=a)")), pgerr.FeatureNotSupported, "look-around in a regular expression ((?=) is not supported", "Match the parts in two steps, or with several conditions."},
		{op("=", i4, unknownLit("x")), pgerr.InvalidTextRepresentation, `invalid input syntax for type integer: "x"`, ""},
		{call("length", i4), pgerr.UndefinedFunction, "function length(integer) does not exist", funcHint},
		{call("nosuch"), pgerr.UndefinedFunction, "function nosuch() does not exist", funcHint},
		{call("regexp_split_to_table", text, text), pgerr.FeatureNotSupported, "function regexp_split_to_table is not supported", ""},
		{call("to_char", colOf(types.Interval), text), pgerr.FeatureNotSupported, "function to_char(interval, text) is not supported", "Cast the value to text."},
		{call("coalesce", i4, text), pgerr.DatatypeMismatch, "COALESCE types integer and text cannot be matched", ""},
		{call("greatest", i4, b), pgerr.DatatypeMismatch, "GREATEST types integer and boolean cannot be matched", ""},
		{func() (Expr, error) { return Cast(b, types.T(types.Date), Explicit, 5) }, pgerr.CannotCoerce, "cannot cast type boolean to date", ""},
		{func() (Expr, error) { return Cast(i8, types.T(types.Int4), Implicit, 5) }, pgerr.CannotCoerce, "cannot cast type bigint to integer", ""},
		{func() (Expr, error) { return Cast(text, types.T(types.Int4), Assignment, 5) }, pgerr.CannotCoerce, "cannot cast type text to integer", ""},
	} {
		_, err := tc.do()
		e := pgerr.From(err)
		if err == nil || e.Code != tc.code || e.Message != tc.msg || e.Hint != tc.hint || e.Position != 5 {
			t.Errorf("got %+v, want %s %s", e, tc.code, tc.msg)
		}
	}
}

func TestString(t *testing.T) {
	op := func(o string, l, r Expr) Expr {
		e, err := ResolveOp(o, l, r, 0)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	i8, txt := colOf(types.Int8), colOf(types.Text)
	sum := op("+", i8, intLit(5))
	count, args, typ, err := ResolveAggregate("count", nil, true, 0)
	if err != nil || len(args) > 0 || typ.Kind != types.Int8 {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		e    interface{ String() string }
		want string
	}{
		{sum.(*Call), "(c_int8 + (5)::bigint)"},
		{Fold(sum).(*Call), "(c_int8 + '5'::bigint)"},
		{op("||", txt, unknownLit("it's")).(*Call), "(c_text || 'it''s'::text)"},
		{op("-", nil, i8).(*Call), "(- c_int8)"},
		{&And{Args: []Expr{op("=", i8, intLit(-1)), &Not{Arg: colOf(types.Bool)}}}, "((c_int8 = ('-1'::integer)::bigint) AND (NOT c_bool))"},
		{&InList{Arg: i8, Values: []types.Datum{types.NewInt8(1)}, Null: true}, "(c_int8 IN ('1'::bigint, NULL))"},
		{&Case{Conds: []Expr{colOf(types.Bool)}, Results: []Expr{i8}, Else: i8, T: i8.Type()}, "CASE WHEN c_bool THEN c_int8 ELSE c_int8 END"},
		{&Column{Index: 3}, "#3"},
		{&Const{Value: types.NullOf(types.T(types.Date))}, "NULL::date"},
		{&Aggregate{Func: count, Filter: &IsNull{Arg: txt}}, "count(*) FILTER (WHERE (c_text IS NULL))"},
	} {
		if got := tc.e.String(); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

func TestWalks(t *testing.T) {
	a, b := colOf(types.Int8), colOf(types.Int4)
	e, err := ResolveOp("+", a, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := Columns(e); !slices.Equal(got, []int{int(types.Int4), int(types.Int8)}) {
		t.Errorf("columns %v", got)
	}
	moved := Remap(e, func(i int) int { return i + 10 })
	if got := Columns(moved); !slices.Equal(got, []int{int(types.Int4) + 10, int(types.Int8) + 10}) {
		t.Errorf("columns %v", got)
	}
	if Equal(e, moved) || !Equal(e, Remap(moved, func(i int) int { return i - 10 })) {
		t.Error("Equal is wrong about Remap")
	}
	for name, want := range map[string]Volatility{"now": Stable, "random": Volatile, "current_date": Stable} {
		f, err := ResolveFunc(name, nil, 0)
		if err != nil || MaxVolatility(&IsNull{Arg: f}) != want {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := EvalConst(f); pgerr.CodeOf(err) != pgerr.FeatureNotSupported {
			t.Errorf("EvalConst of %s: %v", name, err)
		}
		if c, ok := Fold(f).(*Call); !ok || c != f {
			t.Errorf("%s was folded", name)
		}
	}
	now, _ := ResolveFunc("now", nil, 0)
	if d, err := EvalConstAt(now, 1e6); err != nil || d.String() != "2000-01-01 00:00:01+00" {
		t.Errorf("now(): %v %v", d, err)
	}
}

func TestFold(t *testing.T) {
	x, err := ResolveOp(">", colOf(types.Int8), intLit(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := ResolveOp("/", intLit(1), intLit(0), 0)
	if err != nil {
		t.Fatal(err)
	}
	yes, no := &Const{Value: types.NewBool(true)}, &Const{Value: types.NewBool(false)}
	for _, tc := range []struct {
		e    Expr
		want string
	}{
		{bad, "(1 / 0)"}, // raised by the rows that reach it
		{&And{Args: []Expr{yes, x}}, "(c_int8 > '1'::bigint)"},
		{&And{Args: []Expr{no, &IsNull{Arg: bad}}}, "false"},
		{&And{Args: []Expr{&IsNull{Arg: bad}, no}}, "(((1 / 0) IS NULL) AND false)"},
		{&Or{Args: []Expr{x, yes}}, "true"},
		{&Case{Conds: []Expr{no}, Results: []Expr{bad}, Else: intLit(3), T: intLit(3).Type()}, "3"},
		{&Coalesce{Args: []Expr{intLit(2), bad}, T: bad.Type()}, "2"},
	} {
		if got := str(Fold(tc.e)); got != tc.want {
			t.Errorf("%s folds to %s, want %s", str(tc.e), got, tc.want)
		}
	}
}

func TestCommonType(t *testing.T) {
	k := func(ks ...types.Kind) []Expr {
		var es []Expr
		for _, x := range ks {
			es = append(es, &Column{T: types.T(x)})
		}
		return es
	}
	money := types.Type{Kind: types.Numeric, Mod: types.NumericMod(10, 2)}
	for _, tc := range []struct {
		es   []Expr
		want types.Type
	}{
		{k(types.Int4, types.Int8), types.T(types.Int8)},
		{k(types.Int8, types.Numeric, types.Int4), types.T(types.Numeric)},
		{k(types.Numeric, types.Float8), types.T(types.Float8)},
		{k(types.Float8, types.Numeric), types.T(types.Float8)},
		{k(types.Date, types.Timestamptz, types.Timestamp), types.T(types.Timestamptz)},
		{k(types.Unknown, types.Unknown), types.T(types.Text)},
		{k(types.Unknown, types.Date), types.T(types.Date)},
		{[]Expr{&Column{T: money}, &Column{T: money}}, money},
		{[]Expr{&Column{T: money}, &Column{T: types.T(types.Numeric)}}, types.T(types.Numeric)},
	} {
		if got, err := CommonType(tc.es, "CASE", 0); err != nil || got != tc.want {
			t.Errorf("%v: %v %v", tc.es, got, err)
		}
	}
}

// TestIDs: stored plans name functions by id, so no id may go.
func TestIDs(t *testing.T) {
	const path = "testdata/ids.txt"
	if *rewrite {
		var ids []string
		for id := range registry.byID {
			ids = append(ids, id)
		}
		for id := range aggByID {
			ids = append(ids, "aggregate "+id)
		}
		slices.Sort(ids)
		if err := os.WriteFile(path, []byte(strings.Join(ids, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(strings.ReplaceAll(string(b), "aggregate ", "aggregate=")) {
		name, agg := strings.CutPrefix(id, "aggregate=")
		_, ok := LookupFunc(name)
		if agg {
			_, ok = LookupAggFunc(name)
		}
		if !ok {
			t.Errorf("%s is gone", id)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	e, err := ResolveOp("+", colOf(types.Int8), colOf(types.Int8), 0)
	if err != nil {
		t.Fatal(err)
	}
	good := AppendExpr(nil, e)
	for i := range good {
		if _, _, err := DecodeExpr(good[:i]); err == nil {
			t.Errorf("%d of %d bytes were taken", i, len(good))
		}
	}
	other := []byte(strings.Replace(string(good), "+(int8", "?(int8", 1))
	if _, _, err := DecodeExpr(other); err == nil || !strings.Contains(err.Error(), "?(int8,int8)") {
		t.Errorf("unknown function: %v", err)
	}
	if _, _, err := DecodeExpr([]byte(strings.Repeat(string([]byte{tagNot}), 1<<20))); err == nil {
		t.Error("bottomless nesting was taken")
	}
}
