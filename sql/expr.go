package sql

import "strings"

// Precedence of operators, lowest first, as PostgreSQL's grammar orders them
// (documentation, section "Operator Precedence"; gram.y's %left and
// %nonassoc). "::", subscripts and field selection bind tightest and are
// read with the operand.
const (
	precOr = 1 + iota
	precAnd
	precNot
	precIs      // non-associative: IS, ISNULL, NOTNULL
	precCompare // non-associative
	precLike    // non-associative: BETWEEN, IN, LIKE, ILIKE, SIMILAR TO
	precOp      // any other operator
	precAdd
	precMul
	precPow
	precAt // AT TIME ZONE
	precCollate
	precSign // unary plus and minus
)

// chain is the head of operators of one precedence, which group from the
// left. Ops[i] stands between operand i and i+1.
type chain struct {
	Pos
	ops []Binary
}

// expr reads an expression (a_expr of the grammar).
func (p *parser) expr() frag { return p.climb(0, false) }

// restricted reads an expression without AND, OR, NOT, IS NULL, IN, LIKE and
// BETWEEN at its top (b_expr of the grammar).
func (p *parser) restricted() frag { return p.climb(0, true) }

// exprs reads a comma-separated list.
func (p *parser) exprs() []frag {
	fs := []frag{p.expr()}
	for p.acceptOp(",") {
		fs = append(fs, p.expr())
	}
	return fs
}

// climb reads operators of at least the given precedence. restricted is
// b_expr's grammar.
func (p *parser) climb(min int, restricted bool) frag {
	if !p.enter() {
		return frag{}
	}
	defer p.leave()
	left := p.prefix(restricted)
	barred := 0 // non-associative level whose right operand was just read
	for p.err == nil {
		prec := p.infix(restricted)
		if prec == 0 || prec < min {
			break
		}
		if prec == barred {
			p.unexpected()
			break
		}
		left, barred = p.operator(left, prec, restricted)
	}
	return left
}

// prefix reads prefix operators and the operand behind them.
func (p *parser) prefix(restricted bool) frag {
	t := p.cur()
	switch {
	case t.word("not") && !restricted:
		p.next()
		return p.call("unary", &Unary{Pos: t.pos, Op: "NOT"}, p.climb(precNot, restricted))
	case t.op("-") || t.op("+"):
		p.next()
		return p.call("unary", &Unary{Pos: t.pos, Op: t.text}, p.climb(precSign, restricted))
	case isOperator(t) && opPrecedence(t.text) == precOp, t.word("operator") && p.peek(1).op("("):
		b := p.operatorSymbol()
		return p.call("unary", &Unary{Pos: b.Pos, Op: b.Op, Schema: b.Schema}, p.climb(precOp+1, restricted))
	}
	return p.typecasts(p.primary())
}

// typecasts reads the "::type" after an operand.
func (p *parser) typecasts(f frag) frag {
	for p.isOp("::") {
		t := p.next()
		f = p.call("cast", &Cast{Pos: t.pos, Type: p.typeName()}, f)
	}
	return f
}

// isOperator tells operators from punctuation.
func isOperator(t *token) bool {
	return t.kind == tokOp && isOpChar(t.text[0]) && t.text != "=>"
}

func opPrecedence(op string) int {
	switch op {
	case "+", "-":
		return precAdd
	case "*", "/", "%":
		return precMul
	case "^":
		return precPow
	case "=", "<", ">", "<=", ">=", "<>":
		return precCompare
	}
	return precOp
}

// infix gives the precedence of the operator at the cursor, 0 if there is
// none.
func (p *parser) infix(restricted bool) int {
	t := p.cur()
	if isOperator(t) {
		return opPrecedence(t.text)
	}
	if t.kind != tokWord {
		return 0
	}
	switch t.text {
	case "operator":
		if p.peek(1).op("(") {
			return precOp
		}
	case "is":
		n := 1
		if p.peek(n).word("not") {
			n++
		}
		if !restricted || p.peek(n).word("distinct") || p.peek(n).word("document") {
			return precIs
		}
	}
	if restricted {
		return 0
	}
	switch t.text {
	case "or":
		return precOr
	case "and":
		return precAnd
	case "isnull", "notnull":
		return precIs
	case "in", "between", "like", "ilike", "similar":
		return precLike
	case "not":
		switch u := p.peek(1); {
		case u.word("in"), u.word("between"), u.word("like"), u.word("ilike"), u.word("similar"):
			return precLike
		}
	case "at":
		if p.peek(1).word("time") {
			return precAt
		}
	case "collate":
		return precCollate
	}
	return 0
}

// operator reads the operator at the cursor and its right side. It also
// gives the level at which no other operator may follow, 0 for none.
func (p *parser) operator(left frag, prec int, restricted bool) (frag, int) {
	switch prec {
	case precIs:
		return p.isTest(left, restricted)
	case precLike:
		return p.like(left)
	case precCompare:
		b := p.operatorSymbol()
		if p.quantifierAhead() {
			return p.quantified(left, b), 0
		}
		right := p.climb(precCompare+1, restricted)
		return p.chain([]Binary{b}, []frag{left, right}), precCompare
	case precCollate:
		t := p.next()
		return p.call("collate", &Collate{Pos: t.pos, Collation: p.anyName()}, left), 0
	}
	return p.chained(left, prec, restricted), 0
}

// chained reads a run of left-associative operators of one precedence.
func (p *parser) chained(left frag, prec int, restricted bool) frag {
	var ops []Binary
	terms := []frag{left}
	for p.err == nil && p.infix(restricted) == prec {
		b := p.operatorSymbol()
		if p.quantifierAhead() && prec != precAt && prec > precAnd {
			terms = append(terms[:0], p.quantified(p.chain(ops, terms), b))
			ops = nil
			continue
		}
		ops = append(ops, b)
		terms = append(terms, p.climb(prec+1, restricted))
	}
	return p.chain(ops, terms)
}

// chain emits operands with the operators between them.
func (p *parser) chain(ops []Binary, terms []frag) frag {
	if len(ops) == 0 {
		return terms[0]
	}
	native := true
	height := terms[0].height
	for i := range ops {
		native = native && nativeOps[ops[i].Op] && ops[i].Schema == ""
		height = max(height, terms[i+1].height)
		if ops[i].Op != "AND" && ops[i].Op != "OR" {
			height++
		}
	}
	var f frag
	c := &chain{Pos: ops[0].Pos, ops: ops}
	if native {
		f = p.mark(c)
		for i, t := range terms {
			op := ops[max(i-1, 0)].Op // the one before the first operand only joins it to the mark
			f = p.cat(f, p.text(op), t)
		}
		f = p.parens(f)
	} else {
		f = p.call("chain", c, terms...)
	}
	f.height = height
	return p.higher(f)
}

// nativeOps are the operators that the kernel writes as such.
var nativeOps = map[string]bool{
	"AND": true, "OR": true, "+": true, "-": true, "*": true, "/": true, "%": true,
	"=": true, "<>": true, "<": true, ">": true, "<=": true, ">=": true,
}

// operatorSymbol takes an operator: a symbol, OPERATOR(schema.symbol), AND,
// OR or AT TIME ZONE.
func (p *parser) operatorSymbol() Binary {
	t := p.next()
	b := Binary{Pos: t.pos, Op: t.text}
	if t.kind == tokOp {
		return b
	}
	switch t.text {
	case "at":
		p.expect("time", "zone")
		b.Op = "AT TIME ZONE"
	case "operator":
		p.expectOp("(")
		var schema []string
		for isColID(p.cur()) {
			schema = append(schema, p.next().text)
			p.expectOp(".")
		}
		if !isOperator(p.cur()) {
			p.unexpected()
		}
		b.Schema, b.Op = strings.Join(schema, "."), p.next().text
		p.expectOp(")")
	default:
		b.Op = strings.ToUpper(t.text)
	}
	return b
}

func (p *parser) quantifierAhead() bool { return p.oneOf("any", "some", "all") }

// quantified reads "ANY|ALL (array or query)" after an operator.
func (p *parser) quantified(left frag, b Binary) frag {
	q := &Quantified{Pos: b.Pos, Op: b.Op, Schema: b.Schema, All: p.next().text == "all"}
	if p.queryAhead() {
		q.Query = &Query{}
		return p.call("any", q, left, p.subquery())
	}
	q.Array = hole
	p.expectOp("(")
	arr := p.expr()
	p.expectOp(")")
	return p.call("any", q, left, arr)
}

// isTest reads IS …, ISNULL and NOTNULL.
func (p *parser) isTest(left frag, restricted bool) (frag, int) {
	t := p.next()
	n := &IsTest{Pos: t.pos, Test: "NULL"}
	if t.text != "is" {
		n.Not = t.text == "notnull"
		return p.call("is", n, left), 0
	}
	n.Not = p.accept("not")
	switch u := p.next(); {
	case u.word("null"), u.word("true"), u.word("false"), u.word("unknown"), u.word("document"):
		n.Test = strings.ToUpper(u.text)
		return p.call("is", n, left), 0
	case u.word("distinct"):
		p.expect("from")
		b := Binary{Pos: t.pos, Op: "IS DISTINCT FROM"}
		if n.Not {
			b.Op = "IS NOT DISTINCT FROM"
		}
		right := p.climb(precIs+1, restricted)
		return p.chain([]Binary{b}, []frag{left, right}), precIs
	case u.word("normalized"),
		(u.word("nfc") || u.word("nfd") || u.word("nfkc") || u.word("nfkd")) && p.isWord("normalized"):
		p.refuse(t.pos, "IS NORMALIZED")
	default:
		p.unexpectedAt(u)
	}
	return left, 0
}

// like reads [NOT] IN, BETWEEN, LIKE, ILIKE and SIMILAR TO.
func (p *parser) like(left frag) (frag, int) {
	pos, prefix := p.cur().pos, ""
	not := p.accept("not")
	if not {
		prefix = "NOT "
	}
	switch t := p.next(); t.text {
	case "in":
		return p.in(left, pos, not), 0
	case "between":
		return p.between(left, pos, not), precLike
	case "similar":
		p.expect("to")
		return p.pattern(left, Binary{Pos: pos, Op: prefix + "SIMILAR TO"})
	default:
		return p.pattern(left, Binary{Pos: pos, Op: prefix + strings.ToUpper(t.text)})
	}
}

func (p *parser) in(left frag, pos Pos, not bool) frag {
	n := &In{Pos: pos, Not: not}
	if p.queryAhead() {
		n.Query = &Query{}
		return p.call("in", n, left, p.subquery())
	}
	p.expectOp("(")
	items := p.exprs()
	p.expectOp(")")
	n.List = make([]Expr, len(items))
	return p.call("in", n, append([]frag{left}, items...)...)
}

func (p *parser) between(left frag, pos Pos, not bool) frag {
	n := &Between{Pos: pos, Not: not}
	n.Symmetric = p.accept("symmetric")
	if !n.Symmetric {
		p.accept("asymmetric")
	}
	low := p.restricted()
	p.expect("and")
	return p.call("between", n, left, low, p.climb(precLike+1, false))
}

// pattern reads the right side of LIKE and its kin.
func (p *parser) pattern(left frag, b Binary) (frag, int) {
	if p.quantifierAhead() && !strings.HasSuffix(b.Op, "SIMILAR TO") {
		return p.quantified(left, b), 0
	}
	args := []frag{left, p.climb(precLike+1, false)}
	if p.accept("escape") {
		b.Escape = hole
		args = append(args, p.climb(precLike+1, false))
	}
	return p.call("like", &b, args...), precLike
}
