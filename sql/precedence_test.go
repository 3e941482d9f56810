package sql

import (
	"math/rand"
	"testing"
	"time"
)

// randomExpr makes an expression tree as the parser would give it.
func randomExpr(rng *rand.Rand, depth int) Expr {
	if depth == 0 || rng.Intn(8) == 0 {
		return randomLeaf(rng)
	}
	sub := func() Expr { return randomExpr(rng, depth-1) }
	pick := func(ss ...string) string { return ss[rng.Intn(len(ss))] }
	switch rng.Intn(14) {
	case 0:
		return &Unary{Op: pick("NOT", "-", "+", "@", "~", "!!"), Operand: sub()}
	case 1:
		return &Unary{Op: "|/", Schema: "s", Operand: sub()}
	case 2, 3:
		return &Binary{Op: pick("+", "-", "*", "/", "%", "^", "||", "&&", "->", "<<", "="), Left: sub(), Right: sub()}
	case 4:
		return &Binary{Op: pick("AND", "OR"), Left: sub(), Right: sub()}
	case 5:
		return &Binary{Op: pick("=", "<>", "<", ">", "<=", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM", "AT TIME ZONE"), Left: sub(), Right: sub()}
	case 6:
		b := &Binary{Op: pick("LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "SIMILAR TO", "NOT SIMILAR TO"), Left: sub(), Right: sub()}
		if rng.Intn(2) == 0 {
			b.Escape = sub()
		}
		return b
	case 7:
		return &IsTest{Operand: sub(), Test: pick("NULL", "TRUE", "FALSE", "UNKNOWN"), Not: rng.Intn(2) == 0}
	case 8:
		return &Between{Operand: sub(), Low: sub(), High: sub(), Not: rng.Intn(2) == 0, Symmetric: rng.Intn(2) == 0}
	case 9:
		return &In{Operand: sub(), List: []Expr{sub(), sub()}, Not: rng.Intn(2) == 0}
	case 10:
		return &Cast{Operand: sub(), Type: TypeName{Parts: []string{pick("integer", "text", "timestamp with time zone")}, Array: rng.Intn(2)}}
	case 11:
		return &Quantified{Operand: sub(), Op: pick("=", "<", "+", "||", "LIKE", "NOT ILIKE"), All: rng.Intn(2) == 0, Array: sub()}
	case 12:
		return randomPostfix(rng, sub)
	}
	return &Binary{Op: "#", Schema: "s", Left: sub(), Right: sub()}
}

func randomPostfix(rng *rand.Rand, sub func() Expr) Expr {
	switch rng.Intn(5) {
	case 0:
		return &Collate{Operand: sub(), Collation: Name{Parts: []string{"C"}}}
	case 1:
		return &Field{Operand: sub(), Name: "f"}
	case 2:
		return &Index{Operand: sub(), Low: sub()}
	case 3:
		return &Index{Operand: sub(), Low: sub(), Hi: sub(), IsSlice: true}
	}
	return &Case{Operand: sub(), Whens: []When{{sub(), sub()}}, Else: sub()}
}

func randomLeaf(rng *rand.Rand) Expr {
	switch rng.Intn(6) {
	case 0:
		return &Literal{Kind: LitInteger, Text: "1"}
	case 1:
		return &Literal{Kind: LitString, Text: "it's"}
	case 2:
		return &Call{Name: Name{Parts: []string{"f"}}, Args: []Arg{{Expr: &ColumnRef{Parts: []string{"x"}}}}}
	case 3:
		return &Row{Elems: []Expr{&ColumnRef{Parts: []string{"p"}}, &Param{Number: 1}}}
	case 4:
		return &Literal{Kind: LitDecimal, Text: "1.50"}
	}
	return &ColumnRef{Parts: []string{"a"}}
}

// TestPrecedence formats random trees with all parentheses and with the
// fewest: both must read back to one tree, and the full form to the tree
// itself (AND and OR regrouped).
func TestPrecedence(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	for i := 0; i < 3000; i++ {
		e := randomExpr(rng, 1+rng.Intn(5))
		full := formatter{full: true}
		full.expr(e)
		a, err := ParseExpr(full.String())
		if err != nil {
			t.Fatalf("%s: %v", full.String(), err)
		}
		text := FormatExpr(e)
		b, err := ParseExpr(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if dump(a) != dump(b) {
			t.Fatalf("%s\n%s\n%s\n%s", full.String(), text, dump(a), dump(b))
		}
		if FormatExpr(a) != text {
			t.Fatalf("%s\nreads back as\n%s", text, FormatExpr(a))
		}
	}
}
