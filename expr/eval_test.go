package expr

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// The columns of test chunks: two of each kind.
func testTypes() []types.Type {
	var ts []types.Type
	for _, k := range append(slices.Clone(allKinds), allKinds...) {
		ts = append(ts, types.T(k))
	}
	return ts
}

func randomChunk(r *rand.Rand, n int) *types.Chunk {
	ts := testTypes()
	c := types.NewChunk(ts)
	for range n {
		row := make([]types.Datum, len(ts))
		for i, t := range ts {
			row[i] = randomDatum(r, t.Kind)
		}
		c.AppendRow(1, row...)
	}
	if r.IntN(3) > 0 {
		c.Sel = []uint16{}
		for i := range n {
			if r.IntN(3) > 0 {
				c.Sel = append(c.Sel, uint16(i))
			}
		}
	}
	return c
}

// gen makes random well-typed expressions over the test columns.
type gen struct{ r *rand.Rand }

func (g gen) expr(k types.Kind, depth int) Expr {
	if depth == 0 || g.r.IntN(5) == 0 {
		return g.leaf(k)
	}
	switch g.r.IntN(8) {
	case 0:
		c := &Case{T: types.T(k), Else: g.expr(k, depth-1)}
		for range 1 + g.r.IntN(2) {
			c.Conds = append(c.Conds, g.expr(types.Bool, depth-1))
			c.Results = append(c.Results, g.expr(k, depth-1))
		}
		return c
	case 1:
		return &Coalesce{T: types.T(k), Args: []Expr{g.expr(k, depth-1), g.expr(k, depth-1), g.leaf(k)}}
	case 2, 3:
		if k == types.Bool {
			return g.logic(depth)
		}
	}
	return g.call(k, depth)
}

func (g gen) leaf(k types.Kind) Expr {
	if _, array := k.Elem(); array || g.r.IntN(4) == 0 {
		return &Const{Value: randomDatum(g.r, k)}
	}
	i := slices.Index(allKinds, k) + g.r.IntN(2)*len(allKinds)
	return &Column{Index: i, T: types.T(k)}
}

func (g gen) logic(depth int) Expr {
	k := pickOne(g.r, allKinds)
	b := func() Expr { return g.expr(types.Bool, depth-1) }
	switch g.r.IntN(7) {
	case 0:
		return &And{Args: []Expr{b(), b(), b()}}
	case 1:
		return &Or{Args: []Expr{b(), b(), b()}}
	case 2:
		return &Not{Arg: b()}
	case 3:
		return &IsNull{Arg: g.expr(k, depth-1)}
	case 4:
		return &IsTrue{Arg: b(), Want: g.r.IntN(2) == 0}
	case 5:
		return &Distinct{Left: g.expr(k, depth-1), Right: g.expr(k, depth-1)}
	}
	in := &InList{Arg: g.expr(k, depth-1), Null: g.r.IntN(4) == 0}
	for range 1 + g.r.IntN(12) {
		if d := randomDatum(g.r, k); !d.Null {
			in.Values = append(in.Values, d)
		}
	}
	return in
}

func (g gen) call(k types.Kind, depth int) Expr {
	for {
		f := pickOne(g.r, sampleFuncs)
		if f.Result != k || f.refused != "" || f.Volatility != Immutable {
			continue
		}
		c := &Call{Func: f, T: types.T(k)}
		n := len(f.Args)
		if f.Variadic {
			n += g.r.IntN(3)
		}
		if f.alternate {
			n += n % 2
		}
		for i := range n {
			if from := argValues[f.Name]; from != nil && f.arg(i) == types.Text {
				c.Args = append(c.Args, &Const{Value: types.NewText(pickOne(g.r, from))})
				continue
			}
			c.Args = append(c.Args, g.expr(f.arg(i), depth-1))
		}
		return c
	}
}

// reference computes e on one row in the plainest way.
func reference(e Expr, row []types.Datum) (types.Datum, error) {
	one := func(e Expr) (types.Datum, error) { return reference(e, row) }
	switch e := e.(type) {
	case *Column:
		return row[e.Index], nil
	case *Const:
		return e.Value, nil
	case *Call:
		args := make([]Expr, len(e.Args))
		for i, a := range e.Args {
			d, err := one(a)
			if err != nil {
				return d, err
			}
			args[i] = &Const{Value: d}
		}
		return EvalConst(e.WithChildren(args))
	case *And:
		return referenceLogic(e.Args, row, 0)
	case *Or:
		return referenceLogic(e.Args, row, 1)
	case *Not:
		d, err := one(e.Arg)
		d.I = 1 - d.I
		return d, err
	case *IsNull:
		d, err := one(e.Arg)
		return types.NewBool(d.Null), err
	case *IsTrue:
		d, err := one(e.Arg)
		return types.NewBool(!d.Null && (d.I == 1) == e.Want), err
	case *Distinct:
		a, err := one(e.Left)
		if err != nil {
			return a, err
		}
		b, err := one(e.Right)
		return types.NewBool(!bytes.Equal(types.AppendKeyDatum(nil, a), types.AppendKeyDatum(nil, b))), err
	case *Case:
		for i := range e.Conds {
			d, err := one(e.Conds[i])
			if err != nil {
				return d, err
			}
			if !d.Null && d.I == 1 {
				return one(e.Results[i])
			}
		}
		return one(e.Else)
	case *Coalesce:
		for _, a := range e.Args {
			if d, err := one(a); err != nil || !d.Null {
				return d, err
			}
		}
		return types.NullOf(e.T), nil
	case *InList:
		d, err := one(e.Arg)
		if err != nil || d.Null {
			return types.NullOf(boolType), err
		}
		for _, v := range e.Values {
			if types.CompareDatum(d, v) == 0 {
				return types.NewBool(true), nil
			}
		}
		if e.Null {
			return types.NullOf(boolType), nil
		}
		return types.NewBool(false), nil
	}
	return types.Datum{}, pgerr.Internal("%T", e)
}

func referenceLogic(args []Expr, row []types.Datum, decides int64) (types.Datum, error) {
	out := types.Datum{Type: boolType, I: 1 - decides}
	for _, a := range args {
		d, err := reference(a, row)
		switch {
		case err != nil:
			return d, err
		case d.Null:
			out.Null = true
		case d.I == decides:
			return d, nil
		}
	}
	return out, nil
}

func rowOf(c *types.Chunk, r int) []types.Datum {
	row := make([]types.Datum, len(c.Cols))
	for i := range row {
		row[i] = c.Cols[i].Datum(r)
	}
	return row
}

// TestEval compares programs over chunks with selections and NULLs with the
// reference, row by row, also folded, and after the codec.
func TestEval(t *testing.T) {
	r := newRand(t)
	g := gen{r}
	for range 1500 {
		es := []Expr{g.expr(pickOne(r, allKinds), 3), g.expr(types.Bool, 3)}
		if r.IntN(2) == 0 {
			es = append(es, &Coalesce{T: es[0].Type(), Args: []Expr{es[0], es[0]}})
		}
		p, err := Compile(es)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // memory is used again
			checkProgram(t, p, es, randomChunk(r, 1+r.IntN(40)))
		}
		e, rest, err := DecodeExpr(AppendExpr(nil, es[0]))
		if err != nil || len(rest) > 0 || !Equal(e, es[0]) {
			t.Fatalf("%s does not survive the codec: %v", str(es[0]), err)
		}
		checkFolded(t, es[0], randomChunk(r, 10))
	}
}

func checkProgram(t *testing.T, p *Program, es []Expr, c *types.Chunk) {
	t.Helper()
	before := types.EncodeChunk(nil, c)
	var errs Errors
	out := make([]types.Vec, len(es))
	if err := p.Eval(c, out, &errs); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, types.EncodeChunk(nil, c)) {
		t.Fatalf("%s changed its input", str(es[0]))
	}
	if !slices.IsSorted(errs.Rows) || len(slices.Compact(slices.Clone(errs.Rows))) != len(errs.Rows) {
		t.Fatalf("errors at rows %v", errs.Rows)
	}
	for k := range c.Rows() {
		r := c.Row(k)
		failed := false
		want := make([]types.Datum, len(es))
		for i, e := range es {
			d, err := reference(e, rowOf(c, r))
			want[i], failed = d, failed || err != nil
		}
		if slices.Contains(errs.Rows, uint16(r)) != failed {
			t.Fatalf("%v\nrow %v: failed is %v, should be %v", es, rowOf(c, r), !failed, failed)
		}
		for i := range es {
			if got := out[i].Datum(r); !failed && !types.DatumEqualImage(got, want[i]) {
				t.Fatalf("%s\nrow %v: %v, want %v", str(es[i]), rowOf(c, r), got, want[i])
			}
		}
	}
}

// checkFolded: folding may only take errors away.
func checkFolded(t *testing.T, e Expr, c *types.Chunk) {
	t.Helper()
	f := Fold(e)
	for k := range c.Rows() {
		row := rowOf(c, c.Row(k))
		want, err := reference(e, row)
		if err != nil {
			continue
		}
		if got, err := reference(f, row); err != nil || !types.DatumEqualImage(got, want) {
			t.Fatalf("%s folded to %s\nrow %v: %v %v, want %v", str(e), str(f), row, got, err, want)
		}
	}
}

// TestFilter compares filters, whose ANDs stop also at NULL.
func TestFilter(t *testing.T) {
	r := newRand(t)
	g := gen{r}
	for range 1500 {
		e := g.expr(types.Bool, 3)
		p, err := Compile([]Expr{e})
		if err != nil {
			t.Fatal(err)
		}
		c := randomChunk(r, 1+r.IntN(40))
		var errs Errors
		got, err := p.Filter(c, nil, &errs)
		if err != nil {
			t.Fatal(err)
		}
		for k := range c.Rows() {
			i := c.Row(k)
			d, err := reference(e, rowOf(c, i))
			in := slices.Contains(got, uint16(i))
			if err == nil && in != (!d.Null && d.I == 1) || err != nil && in {
				t.Fatalf("%s\nrow %v: passes is %v, want %v %v", str(e), rowOf(c, i), in, d, err)
			}
		}
	}
}

// TestGuards: what a guard keeps away from is not evaluated.
func TestGuards(t *testing.T) {
	x := &Column{Index: 0, T: types.T(types.Int8), Name: "x"}
	num := func(i int64) Expr { return &Const{Value: types.NewInt8(i)} }
	op := func(o string, a, b Expr) Expr {
		e, err := ResolveOp(o, a, b, 0)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	div := op("/", num(10), x)
	nonZero := op("<>", x, num(0))
	c := types.NewChunk([]types.Type{types.T(types.Int8)})
	for i := range 4 {
		c.AppendRow(1, types.NewInt8(int64(i)))
	}
	for _, e := range []Expr{
		&And{Args: []Expr{nonZero, op(">", div, num(3))}},
		&Or{Args: []Expr{op("=", x, num(0)), op(">", div, num(3))}},
		&Case{Conds: []Expr{nonZero}, Results: []Expr{div}, Else: num(0), T: x.T},
		&Coalesce{Args: []Expr{&Case{Conds: []Expr{nonZero}, Results: []Expr{&Const{Value: types.NullOf(x.T)}}, Else: num(1), T: x.T},
			div}, T: x.T},
	} {
		p, err := Compile([]Expr{e})
		if err != nil {
			t.Fatal(err)
		}
		var errs Errors
		out := make([]types.Vec, 1)
		if err := p.Eval(c, out, &errs); err != nil || len(errs.Errs) > 0 {
			t.Errorf("%s: %v %v", str(e), err, errs)
		}
	}
	p, _ := Compile([]Expr{div, op("%", num(1), x)})
	var errs Errors
	out := make([]types.Vec, 2)
	if err := p.Eval(c, out, &errs); err != nil || len(errs.Errs) != 1 || errs.Rows[0] != 0 || errs.Errs[0].Code != pgerr.DivisionByZero {
		t.Errorf("errors %v %v", err, errs)
	}
}

func FuzzDecodeExpr(f *testing.F) {
	g := gen{rand.New(rand.NewPCG(1, 2))}
	for range 50 {
		f.Add(AppendExpr(nil, g.expr(pickOne(g.r, allKinds), 3)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := DecodeExpr(b)
		if err != nil {
			return
		}
		again, _, err := DecodeExpr(AppendExpr(nil, e))
		if err != nil || !Equal(e, again) {
			t.Fatalf("%x: %v", b[:len(b)-len(rest)], err)
		}
		if _, err := Compile([]Expr{e}); err != nil {
			t.Fatalf("%s: %v", str(e), err)
		}
	})
}
