package expr

import (
	"fmt"
	"testing"

	"github.com/streamdb/streamdb/types"
)

const benchRows = 1024

// benchChunk has columns int8, int8, text, numeric, int4, timestamp, float8.
func benchChunk() *types.Chunk {
	kinds := []types.Kind{types.Int8, types.Int8, types.Text, types.Numeric, types.Int4, types.Timestamp, types.Float8}
	ts := make([]types.Type, len(kinds))
	for i, k := range kinds {
		ts[i] = types.T(k)
	}
	c := types.NewChunk(ts)
	for i := range benchRows {
		x := int64(i*7919) % 100003
		n := types.NumFromInt64(x * 31)
		n.Scale = 2
		c.AppendRow(1, types.NewInt8(x), types.NewInt8(x*13+1), types.NewText(fmt.Sprintf("abc%d", x)), n.Datum(),
			types.NewInt4(int32(x)), types.Datum{Type: types.T(types.Timestamp), I: x * 1e9}, types.NewFloat8(float64(x)/7))
	}
	c.Diff = nil
	return c
}

type benchCase struct {
	name string
	e    Expr
}

func benchCases(t testing.TB) []benchCase {
	col := func(i int, k types.Kind) Expr { return &Column{Index: i, T: types.T(k)} }
	lit := func(k types.Kind, s string) Expr {
		d, err := types.ParseText(types.T(k), s)
		if err != nil {
			t.Fatal(err)
		}
		return &Const{Value: d}
	}
	must := func(e Expr, err error) Expr {
		if err != nil {
			t.Fatal(err)
		}
		return Fold(e)
	}
	op := func(o string, a, b Expr) Expr { return must(ResolveOp(o, a, b, 0)) }
	call := func(n string, a ...Expr) Expr { return must(ResolveFunc(n, a, 0)) }
	a, b, txt, num := col(0, types.Int8), col(1, types.Int8), col(2, types.Text), col(3, types.Numeric)
	ts := col(5, types.Timestamp)
	return []benchCase{
		{"int8>const", op(">", a, lit(types.Int8, "50000"))},
		{"int8+int8", op("+", a, b)},
		{"mod(int8,const)=0", op("=", call("mod", a, lit(types.Int4, "123")), lit(types.Int4, "0"))},
		{"0.908*int8", op("*", lit(types.Numeric, "0.908"), a)},
		{"numeric+numeric", op("+", num, num)},
		{"numeric>const", op(">", num, lit(types.Numeric, "12345.6"))},
		{"like abc%", op("~~", txt, lit(types.Text, "abc%"))},
		{"like %9%", op("~~", txt, lit(types.Text, "%9%"))},
		{"text=const", op("=", txt, lit(types.Text, "abc500"))},
		{"int8 in (20)", &InList{Arg: a, Values: manyInts(20)}},
		{"int8 in (4)", &InList{Arg: a, Values: manyInts(4)}},
		{"a>k and b<k", &And{Args: []Expr{op(">", a, lit(types.Int8, "50000")), op("<", b, lit(types.Int8, "900000"))}}},
		{"case", &Case{T: a.Type(), Conds: []Expr{op("<", a, lit(types.Int8, "10000")), op("<", a, lit(types.Int8, "50000"))},
			Results: []Expr{a, b}, Else: lit(types.Int8, "0")}},
		{"date_trunc", call("date_trunc", lit(types.Text, "hour"), ts)},
		{"extract", call("extract", lit(types.Text, "hour"), ts)},
		{"split_part", call("split_part", txt, lit(types.Text, "1"), lit(types.Int4, "2"))},
		{"lower||text", op("||", call("lower", txt), txt)},
		{"float8*float8", op("*", col(6, types.Float8), col(6, types.Float8))},
	}
}

func manyInts(n int) []types.Datum {
	var ds []types.Datum
	for i := range n {
		ds = append(ds, types.NewInt8(int64(i*i)))
	}
	return ds
}

// TestNoAllocations: once warm, evaluation allocates nothing.
func TestNoAllocations(t *testing.T) {
	c := benchChunk()
	sel := make([]uint16, 0, benchRows)
	for i := 0; i < benchRows; i += 3 {
		sel = append(sel, uint16(i))
	}
	part := *c
	part.Sel = sel
	for _, bc := range benchCases(t) {
		p, err := Compile([]Expr{bc.e})
		if err != nil {
			t.Fatal(err)
		}
		out, errs := make([]types.Vec, 1), &Errors{}
		for _, in := range []*types.Chunk{c, &part} {
			if err := p.Eval(in, out, errs); err != nil || len(errs.Errs) > 0 {
				t.Fatal(bc.name, err, errs)
			}
			if n := testing.AllocsPerRun(10, func() { _ = p.Eval(in, out, errs) }); n > 0 {
				t.Errorf("%s: %v allocations a chunk", bc.name, n)
			}
		}
	}
}

func BenchmarkEval(b *testing.B) {
	c := benchChunk()
	for _, bc := range benchCases(b) {
		b.Run(bc.name, func(b *testing.B) {
			p, err := Compile([]Expr{bc.e})
			if err != nil {
				b.Fatal(err)
			}
			out, errs := make([]types.Vec, 1), &Errors{}
			for b.Loop() {
				if err := p.Eval(c, out, errs); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b)
		})
	}
}

func BenchmarkFilter(b *testing.B) {
	c := benchChunk()
	p, err := Compile([]Expr{benchCases(b)[0].e})
	if err != nil {
		b.Fatal(err)
	}
	sel, errs := make([]uint16, 0, benchRows), &Errors{}
	for b.Loop() {
		if sel, err = p.Filter(c, sel, errs); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b)
}

func perRow(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

func BenchmarkAggregate(b *testing.B) {
	c := benchChunk()
	for _, bc := range []struct {
		id  string
		col int
	}{{"count()", -1}, {"sum(int8)", 0}, {"sum(int4)", 4}, {"sum(float8)", 6}, {"sum(numeric)", 3}} {
		b.Run(bc.id, func(b *testing.B) {
			f, _ := LookupAggFunc(bc.id)
			if f.Kind == AggVar {
				benchVar(b, f, c, bc.col)
				return
			}
			acc := f.NewFixed()
			lines := make([][]byte, benchRows) // 100 groups
			for i := range lines {
				if lines[i] = make([]byte, 64+acc.Width()); i >= 100 {
					lines[i] = lines[i%100]
				}
			}
			var arg *types.Vec
			if bc.col >= 0 {
				arg = &c.Cols[bc.col]
			}
			for b.Loop() {
				acc.Update(lines, 64, arg, c, nil)
			}
			perRow(b)
		})
	}
}

func benchVar(b *testing.B, f *AggFunc, c *types.Chunk, col int) {
	acc := f.NewVar()
	var state, next []byte
	b.ReportAllocs()
	for b.Loop() {
		for r := range benchRows {
			next = acc.Update(state, &c.Cols[col], r, 1, next[:0])
			state, next = next, state
		}
	}
	perRow(b)
}
