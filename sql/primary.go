package sql

import (
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// primary reads an operand with the subscripts and fields behind it (c_expr
// of the grammar).
func (p *parser) primary() frag {
	t := p.cur()
	switch t.kind {
	case tokString:
		p.next()
		return p.mark(&Literal{Pos: t.pos, Kind: LitString, Text: t.text})
	case tokInteger:
		p.next()
		return p.mark(&Literal{Pos: t.pos, Kind: LitInteger, Text: t.text})
	case tokDecimal:
		p.next()
		return p.mark(&Literal{Pos: t.pos, Kind: LitDecimal, Text: t.text})
	case tokBits:
		p.next()
		return p.mark(&Literal{Pos: t.pos, Kind: LitBits, Text: t.text})
	case tokParam:
		p.next()
		n, err := strconv.ParseInt(t.text, 10, 32)
		if err != nil || n == 0 {
			p.failAt(pgerr.UndefinedParameter, t.pos, "there is no parameter $%s", t.text)
		}
		return p.indirection(p.mark(&Param{Pos: t.pos, Number: int(n)}))
	case tokOp:
		return p.parenthesised()
	case tokWord, tokQuoted:
		if p.typedLiteralAhead() {
			return p.typedLiteral()
		}
		if t.kind == tokWord && t.kw.class != NotKeyword {
			if f, ok := p.special(t); ok {
				return f
			}
		}
		return p.nameOrCall()
	}
	p.unexpected()
	return frag{}
}

// parenthesised reads "(query)", "(expr)" or the row "(a, b)".
func (p *parser) parenthesised() frag {
	t := p.cur()
	if p.queryAhead() {
		return p.indirection(p.call("subquery", &Subquery{Pos: t.pos}, p.subquery()))
	}
	p.expectOp("(")
	items := p.exprs()
	p.expectOp(")")
	if len(items) == 1 {
		return p.indirection(items[0])
	}
	return p.row(&Row{Pos: t.pos, Elems: make([]Expr, len(items))}, items)
}

// row emits a row and, if OVERLAPS follows, the row behind it.
func (p *parser) row(n *Row, items []frag) frag {
	f := p.call("row", n, items...)
	if !p.isWord("overlaps") {
		return f
	}
	b := Binary{Pos: p.next().pos, Op: "OVERLAPS"}
	if len(n.Elems) != 2 {
		p.failAt(pgerr.SyntaxError, n.Pos, "wrong number of parameters on left side of OVERLAPS expression")
	}
	r := &Row{Pos: p.cur().pos, Explicit: p.accept("row")}
	p.expectOp("(")
	right := p.exprs()
	p.expectOp(")")
	if len(right) != 2 {
		p.failAt(pgerr.SyntaxError, r.Pos, "wrong number of parameters on right side of OVERLAPS expression")
	}
	r.Elems = make([]Expr, len(right))
	return p.chain([]Binary{b}, []frag{f, p.call("row", r, right...)})
}

// indirection reads subscripts, slices and fields behind an operand.
func (p *parser) indirection(f frag) frag {
	for p.err == nil {
		t := p.cur()
		switch {
		case t.op("["):
			f = p.subscript(f)
		case t.op("."):
			p.next()
			n := &Field{Pos: t.pos, Name: "*"}
			if !p.acceptOp("*") {
				n.Name = p.label()
			}
			f = p.call("field", n, f)
		default:
			return f
		}
	}
	return f
}

func (p *parser) subscript(f frag) frag {
	n := &Index{Pos: p.next().pos}
	args := []frag{f}
	if !p.isOp(":") {
		n.Low = hole
		args = append(args, p.expr())
	}
	if p.acceptOp(":") {
		n.IsSlice = true
		if !p.isOp("]") {
			n.Hi = hole
			args = append(args, p.expr())
		}
	}
	p.expectOp("]")
	return p.call("index", n, args...)
}

// special reads what starts with a keyword that is no plain name; false
// means that the keyword is used as one.
func (p *parser) special(t *token) (frag, bool) {
	switch t.text {
	case "null":
		p.next()
		return p.mark(&Literal{Pos: t.pos, Kind: LitNull}), true
	case "true", "false":
		p.next()
		return p.mark(&Literal{Pos: t.pos, Kind: LitBool, Text: t.text}), true
	case "case":
		return p.caseExpr(), true
	case "cast":
		return p.castCall(), true
	case "array":
		return p.array(), true
	case "default":
		p.next()
		if p.strayDefault == 0 {
			p.strayDefault = t.pos
		}
		return p.mark(&Default{t.pos}), true
	case "unique":
		p.refuse(t.pos, "the UNIQUE predicate")
		return frag{}, true
	case "current_date", "current_role", "current_user", "session_user", "user", "current_catalog":
		p.next()
		return p.call(t.text, &Call{Pos: t.pos, Name: Name{t.pos, []string{t.text}}}), true
	case "current_schema":
		if p.peek(1).op("(") {
			return frag{}, false
		}
		p.next()
		return p.call(t.text, &Call{Pos: t.pos, Name: Name{t.pos, []string{t.text}}}), true
	case "current_time", "current_timestamp", "localtime", "localtimestamp":
		return p.currentTime(), true
	case "collation":
		if !p.peek(1).word("for") {
			return frag{}, false
		}
		p.i += 2
		return p.parenCall(t, "pg_collation_for"), true
	}
	if t.kw.class == ColumnKeyword && p.peek(1).op("(") {
		return p.specialCall(t)
	}
	return frag{}, false
}

// castCall reads CAST(x AS type).
func (p *parser) castCall() frag {
	n := &Cast{Pos: p.next().pos}
	p.expectOp("(")
	x := p.expr()
	p.expect("as")
	n.Type = p.typeName()
	p.expectOp(")")
	return p.call("cast", n, x)
}

// currentTime reads CURRENT_TIMESTAMP and its kin with optional precision.
func (p *parser) currentTime() frag {
	t := p.next()
	c := &Call{Pos: t.pos, Name: Name{t.pos, []string{t.text}}}
	if !p.acceptOp("(") {
		return p.call(t.text, c)
	}
	n := p.cur()
	if n.kind != tokInteger {
		p.unexpected()
	}
	p.next()
	p.expectOp(")")
	c.Args = make([]Arg, 1)
	return p.call(t.text, c, p.mark(&Literal{Pos: n.pos, Kind: LitInteger, Text: n.text}))
}

func (p *parser) caseExpr() frag {
	n := &Case{Pos: p.next().pos}
	var operand []frag
	if !p.isWord("when") {
		n.Operand = hole
		operand = []frag{p.expr()}
	}
	f := p.cat(p.text("CASE"), p.call("case", n, operand...))
	for first := true; first || p.isWord("when"); first = false {
		p.expect("when")
		f = p.cat(f, p.text("WHEN"), p.expr())
		p.expect("then")
		f = p.cat(f, p.text("THEN"), p.expr())
		n.Whens = append(n.Whens, When{})
	}
	if p.accept("else") {
		n.Else = hole
		f = p.cat(f, p.text("ELSE"), p.expr())
	}
	p.expect("end")
	return p.higher(p.cat(f, p.text("END")))
}

// array reads ARRAY(query) and ARRAY[…].
func (p *parser) array() frag {
	t := p.next()
	if p.isOp("(") {
		if !p.queryAhead() {
			p.next()
			p.unexpected()
		}
		return p.call("array_query", &ArrayQuery{Pos: t.pos}, p.subquery())
	}
	if !p.isOp("[") {
		p.unexpected()
	}
	return p.arrayElems(t.pos)
}

// arrayElems reads "[…]", whose elements may be such lists again.
func (p *parser) arrayElems(pos Pos) frag {
	if !p.enter() {
		return frag{}
	}
	defer p.leave()
	p.expectOp("[")
	n := &Array{Pos: pos}
	var args []frag
	nested := p.isOp("[")
	for !p.isOp("]") && p.err == nil {
		if nested {
			args = append(args, p.arrayElems(p.cur().pos))
		} else {
			args = append(args, p.expr())
		}
		if !p.acceptOp(",") {
			break
		}
		if p.isOp("]") {
			p.unexpected()
		}
	}
	p.expectOp("]")
	n.Elems = make([]Expr, len(args))
	return p.call("array", n, args...)
}

// typedLiteralAhead tells whether a constant as "type 'text'" stands here.
func (p *parser) typedLiteralAhead() bool {
	t, n := p.cur(), 1
	if t.kind == tokWord {
		if t.kw.class == ReservedKeyword {
			return false
		}
		switch t.text {
		case "double":
			if p.peek(1).word("precision") {
				n = 2
			}
		case "national":
			n = 2
			fallthrough
		case "bit", "char", "character", "nchar":
			if p.peek(n).word("varying") {
				n++
			}
		}
		if t.kw.class == ColumnKeyword && !typeWords[t.text] && !p.peek(1).op(".") {
			return false
		}
	}
	for p.peek(n).op(".") && isLabel(p.peek(n+1)) {
		n += 2
	}
	if m := p.peek(n); m.op("(") {
		if m.match == 0 {
			return false
		}
		n = int(m.match) - p.i + 1
	}
	if t.word("timestamp") || t.word("time") {
		if p.peek(n).word("with") || p.peek(n).word("without") {
			n += 3
		}
	}
	return p.peek(n).kind == tokString
}

// typedLiteral reads "type 'text'" and INTERVAL 'text' fields.
func (p *parser) typedLiteral() frag {
	t := p.cur()
	n := &Cast{Pos: t.pos}
	if p.accept("interval") {
		n.Type = TypeName{Pos: t.pos, Parts: []string{"interval"}}
		if p.isOp("(") {
			n.Type.Mods = p.typeMods()
		}
	} else {
		first := p.i
		n.Type = p.simpleType()
		// A constant of a type without a length is not cut to one character.
		if !p.toks[p.i-1].op(")") && p.toks[first].kind == tokWord && len(n.Type.Mods) > 0 {
			n.Type.Mods = nil
			n.Type.Parts = []string{map[string]string{"character": "bpchar", "bit": "bit varying"}[n.Type.Parts[0]]}
		}
	}
	s := p.cur()
	text := p.stringConst()
	if t.word("interval") && len(n.Type.Mods) == 0 {
		p.intervalFields(&n.Type)
	}
	return p.call("cast", n, p.mark(&Literal{Pos: s.pos, Kind: LitString, Text: text}))
}

// nameOrCall reads a column reference or a function call.
func (p *parser) nameOrCall() frag {
	t := p.cur()
	if !isColID(t) && !isTypeFunc(t) {
		p.unexpected()
		return frag{}
	}
	n := 1
	for p.peek(n).op(".") && isLabel(p.peek(n+1)) {
		n += 2
	}
	switch {
	case p.peek(n).op("(") && (n > 1 && isColID(t) || n == 1 && isTypeFunc(t)):
		return p.functionCall()
	case !isColID(t): // a word for functions and types alone
		p.next()
		p.unexpected()
		return frag{}
	}
	parts := []string{p.next().text}
	for p.isOp(".") {
		p.next()
		if p.acceptOp("*") {
			if p.isOp(".") || p.isOp("[") {
				p.failAt(pgerr.SyntaxError, t.pos, `improper use of "*"`)
			}
			return p.ident("*", &Star{Pos: t.pos, Qualifier: parts})
		}
		parts = append(parts, p.label())
	}
	if len(parts) > 4 {
		p.failAt(pgerr.SyntaxError, t.pos, "improper qualified name (too many dotted names): %s", strings.Join(parts, "."))
	}
	return p.indirection(p.ident(parts[len(parts)-1], &ColumnRef{Pos: t.pos, Parts: parts}))
}
