package sql

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// specialCall reads the functions that have a syntax of their own; false
// means that the keyword is used as a column's name.
func (p *parser) specialCall(t *token) (frag, bool) {
	if strings.HasPrefix(t.text, "xml") || t.text == "treat" || t.text == "normalize" {
		p.refuse(t.pos, "%s", strings.ToUpper(t.text))
		return frag{}, true
	}
	switch t.text {
	case "exists":
		p.next()
		if !p.queryAhead() {
			p.next()
			p.unexpected()
		}
		return p.call("exists", &Exists{Pos: t.pos}, p.subquery()), true
	case "row":
		p.i += 2
		var items []frag
		if !p.isOp(")") {
			items = p.exprs()
		}
		p.expectOp(")")
		return p.row(&Row{Pos: t.pos, Explicit: true, Elems: make([]Expr, len(items))}, items), true
	case "coalesce", "greatest", "least", "nullif", "grouping":
		p.next()
		return p.parenCall(t, t.text), true
	case "extract":
		return p.extract(), true
	case "overlay":
		return p.overlay(), true
	case "position":
		return p.position(), true
	case "substring":
		return p.substring(), true
	case "trim":
		return p.trim(), true
	}
	return frag{}, false
}

// emitCall is a call whose arguments are all plain.
func (p *parser) emitCall(t *token, name string, args ...frag) frag {
	c := &Call{Pos: t.pos, Name: Name{t.pos, []string{name}}, Args: make([]Arg, len(args))}
	return p.call(name, c, args...)
}

// parenCall reads "(a, b, …)" as the arguments of name.
func (p *parser) parenCall(t *token, name string) frag {
	p.expectOp("(")
	args := p.exprs()
	if name == "nullif" && len(args) != 2 {
		p.unexpected()
	}
	p.expectOp(")")
	return p.emitCall(t, name, args...)
}

func (p *parser) extract() frag {
	t := p.next()
	p.expectOp("(")
	f := p.cur()
	plain := f.kind == tokString || f.kind == tokQuoted || f.kind == tokWord && f.kw.class == NotKeyword
	if !plain && !p.oneOf("year", "month", "day", "hour", "minute", "second") {
		p.unexpected()
	}
	field := p.mark(&Literal{Pos: f.pos, Kind: LitString, Text: f.text})
	p.next()
	p.expect("from")
	arg := p.expr()
	p.expectOp(")")
	return p.emitCall(t, t.text, field, arg)
}

func (p *parser) overlay() frag {
	t := p.next()
	if !p.sqlArgs() {
		return p.arguments(t, Name{t.pos, []string{t.text}})
	}
	p.expectOp("(")
	args := []frag{p.expr()}
	p.expect("placing")
	args = append(args, p.expr())
	p.expect("from")
	args = append(args, p.expr())
	if p.accept("for") {
		args = append(args, p.expr())
	}
	p.expectOp(")")
	return p.emitCall(t, t.text, args...)
}

// sqlArgs tells whether the parentheses at the cursor hold the standard's
// words between arguments, and not a plain list.
func (p *parser) sqlArgs() bool {
	depth := 0
	for n := p.i; n < int(p.cur().match); n++ {
		t := &p.toks[n]
		switch {
		case t.op("("), t.op("["):
			depth++
		case t.op(")"), t.op("]"):
			depth--
		case depth != 1 || t.kind != tokWord:
		case t.text == "from" && !p.toks[n-1].word("distinct"), t.text == "for", t.text == "placing",
			t.text == "similar" && n > p.i+1 && !p.toks[n+1].word("to"):
			return true
		}
	}
	return false
}

func (p *parser) position() frag {
	t := p.next()
	p.expectOp("(")
	needle := p.restricted()
	p.expect("in")
	text := p.restricted()
	p.expectOp(")")
	return p.emitCall(t, t.text, text, needle)
}

func (p *parser) substring() frag {
	t := p.next()
	if !p.sqlArgs() {
		return p.arguments(t, Name{t.pos, []string{t.text}})
	}
	p.expectOp("(")
	text := p.expr()
	var from, count frag
	for first := true; p.err == nil && (first || p.oneOf("from", "for")); first = false {
		switch {
		case p.isWord("from") && from.first == 0:
			p.next()
			from = p.expr()
		case p.isWord("for") && count.first == 0:
			p.next()
			count = p.expr()
		case p.isWord("similar") && first:
			p.refuse(p.cur().pos, "SUBSTRING with SIMILAR")
		default:
			p.unexpected()
		}
	}
	p.expectOp(")")
	switch {
	case count.first == 0:
		return p.emitCall(t, t.text, text, from)
	case from.first == 0:
		from = p.mark(&Literal{Pos: t.pos, Kind: LitInteger, Text: "1"})
	}
	return p.emitCall(t, t.text, text, from, count)
}

func (p *parser) trim() frag {
	t := p.next()
	p.expectOp("(")
	name := "btrim"
	switch {
	case p.accept("leading"):
		name = "ltrim"
	case p.accept("trailing"):
		name = "rtrim"
	default:
		p.accept("both")
	}
	var args []frag
	if p.accept("from") {
		args = p.exprs()
	} else {
		args = p.exprs()
		if len(args) == 1 && p.accept("from") {
			args = append(p.exprs(), args[0])
		}
	}
	p.expectOp(")")
	return p.emitCall(t, name, args...)
}

// functionName takes the possibly qualified name of a call.
func (p *parser) functionName() Name {
	n := Name{Pos: p.cur().pos, Parts: []string{p.label()}}
	for p.acceptOp(".") {
		n.Parts = append(n.Parts, p.label())
	}
	if len(n.Parts) > 3 {
		p.failAt(pgerr.SyntaxError, n.Pos, "improper qualified name (too many dotted names): %s", strings.Join(n.Parts, "."))
	}
	return n
}

// functionCall reads a call by name with all that may follow it.
func (p *parser) functionCall() frag {
	t := p.cur()
	return p.arguments(t, p.functionName())
}

// callArgs gathers what a call holds, in the order of its holes.
type callArgs struct {
	*Call
	args []frag
}

// application reads "(…)" behind a function's name.
func (p *parser) application(t *token, name Name) (*Call, []frag) {
	c := callArgs{Call: &Call{Pos: t.pos, Name: name}}
	p.expectOp("(")
	switch {
	case p.isOp(")"):
	case p.acceptOp("*"):
		c.Star = true
	default:
		p.argumentList(&c)
	}
	p.expectOp(")")
	return c.Call, c.args
}

// arguments reads "(…)" and the clauses behind a call.
func (p *parser) arguments(t *token, name Name) frag {
	var c callArgs
	c.Call, c.args = p.application(t, name)
	p.callSuffix(&c)
	f := p.call("call", c.Call, c.args...)
	if !p.accept("over") {
		return f
	}
	f = p.cat(p.text("FIRST_VALUE("), f, p.text(") OVER"))
	if !p.isOp("(") {
		c.Over = &Window{Pos: p.cur().pos, Name: p.colID(), IsRef: true}
		return p.higher(p.cat(f, p.ident(c.Over.Name, c.Over)))
	}
	c.Over = &Window{Pos: p.cur().pos}
	return p.higher(p.cat(f, p.windowSpec(c.Over)))
}

func (p *parser) argumentList(c *callArgs) {
	if p.accept("distinct") {
		c.Distinct = true
	} else {
		p.accept("all")
	}
	for {
		variadic := p.accept("variadic")
		c.Variadic = c.Variadic || variadic
		var a Arg
		if isTypeFunc(p.cur()) && (p.peek(1).op("=>") || p.peek(1).op(":=")) {
			a.Name = p.next().text
			p.next()
		}
		c.Args = append(c.Args, a)
		c.args = append(c.args, p.expr())
		if variadic || !p.acceptOp(",") {
			break
		}
	}
	if p.isWords("order", "by") {
		p.orderBy(&c.OrderBy, &c.args)
	}
}

// callSuffix reads WITHIN GROUP, FILTER and IGNORE NULLS.
func (p *parser) callSuffix(c *callArgs) {
	if t := p.cur(); p.accept("within") {
		p.expect("group")
		switch {
		case len(c.OrderBy) > 0:
			p.failAt(pgerr.SyntaxError, t.pos, "cannot use multiple ORDER BY clauses with WITHIN GROUP")
		case c.Distinct:
			p.failAt(pgerr.SyntaxError, t.pos, "cannot use DISTINCT with WITHIN GROUP")
		case c.Variadic:
			p.failAt(pgerr.SyntaxError, t.pos, "cannot use VARIADIC with WITHIN GROUP")
		}
		c.WithinGroup = true
		p.expectOp("(")
		if !p.isWord("order") {
			p.unexpected()
		}
		p.orderBy(&c.OrderBy, &c.args)
		p.expectOp(")")
	}
	if p.accept("filter") {
		p.expectOp("(")
		p.expect("where")
		c.Filter = hole
		c.args = append(c.args, p.expr())
		p.expectOp(")")
	}
	if p.accept("ignore", "nulls") {
		c.IgnoreNulls = true
	} else {
		p.accept("respect", "nulls")
	}
}

// orderBy reads "ORDER BY key, …": the keys' words go to items, their
// expressions to args.
func (p *parser) orderBy(items *[]OrderItem, args *[]frag) {
	p.expect("order", "by")
	for {
		o := OrderItem{Pos: p.cur().pos}
		*args = append(*args, p.expr())
		switch {
		case p.accept("asc"):
		case p.accept("desc"):
			o.Desc = true
		case p.accept("using"):
			if !isOperator(p.cur()) && !p.isWord("operator") {
				p.unexpected()
			}
			b := p.operatorSymbol()
			o.Using = b.Op
			if b.Schema != "" {
				p.refuse(b.Pos, "ORDER BY USING OPERATOR(%s.%s)", b.Schema, b.Op)
			}
		}
		if p.isWord("nulls") && (p.peek(1).word("first") || p.peek(1).word("last")) {
			p.next()
			o.Nulls = strings.ToUpper(p.next().text)
		}
		*items = append(*items, o)
		if !p.acceptOp(",") {
			return
		}
	}
}

// windowSpec reads "(…)" of OVER and WINDOW. The bounds of a frame travel as
// the last keys of PARTITION BY.
func (p *parser) windowSpec(w *Window) frag {
	p.expectOp("(")
	if isColID(p.cur()) && !p.oneOf("partition", "range", "rows", "groups") {
		w.Base = p.colID()
	}
	var part, order []frag
	if p.accept("partition", "by") {
		part = p.exprs()
		w.PartitionBy = make([]Expr, len(part))
	}
	if p.isWord("order") {
		p.orderBy(&w.OrderBy, &order)
	}
	if p.oneOf("range", "rows", "groups") {
		w.Frame = p.frame(&part)
	}
	p.expectOp(")")
	f := p.text("(")
	if len(part) > 0 {
		f = p.cat(f, p.text("PARTITION BY"), p.list(part))
	}
	if len(order) > 0 {
		f = p.cat(f, p.text("ORDER BY"), p.list(order))
	}
	return p.cat(f, p.text(")"))
}

func (p *parser) frame(bounds *[]frag) *Frame {
	fr := &Frame{Mode: strings.ToUpper(p.next().text), End: "CURRENT ROW"}
	pos := p.cur().pos
	between := p.accept("between")
	startPos := p.cur().pos
	p.frameBound(&fr.Start, &fr.StartExpr, bounds)
	endPos := pos
	if between {
		p.expect("and")
		endPos = p.cur().pos
		p.frameBound(&fr.End, &fr.EndExpr, bounds)
	}
	p.checkFrame(fr, startPos, endPos, between)
	if p.accept("exclude") {
		switch {
		case p.accept("current", "row"):
			fr.Exclude = "CURRENT ROW"
		case p.accept("group"):
			fr.Exclude = "GROUP"
		case p.accept("ties"):
			fr.Exclude = "TIES"
		case p.accept("no", "others"):
			fr.Exclude = "NO OTHERS"
		default:
			p.unexpected()
		}
	}
	return fr
}

func (p *parser) frameBound(kind *string, e *Expr, bounds *[]frag) {
	switch {
	case p.isWord("unbounded") && (p.peek(1).word("preceding") || p.peek(1).word("following")):
		p.next()
		*kind = "UNBOUNDED " + strings.ToUpper(p.next().text)
		return
	case p.accept("current", "row"):
		*kind = "CURRENT ROW"
		return
	}
	*bounds = append(*bounds, p.expr())
	*e = hole
	if !p.oneOf("preceding", "following") {
		p.unexpected()
	}
	*kind = strings.ToUpper(p.next().text)
}

// checkFrame refuses frames that end before they start, as the grammar does.
func (p *parser) checkFrame(fr *Frame, startPos, endPos Pos, between bool) {
	switch {
	case fr.Start == "UNBOUNDED FOLLOWING":
		p.failAt(pgerr.WindowingError, startPos, "frame start cannot be UNBOUNDED FOLLOWING")
	case fr.End == "UNBOUNDED PRECEDING":
		p.failAt(pgerr.WindowingError, endPos, "frame end cannot be UNBOUNDED PRECEDING")
	case !between && fr.Start == "FOLLOWING":
		p.failAt(pgerr.WindowingError, endPos, "frame starting from following row cannot end with current row")
	case fr.Start == "CURRENT ROW" && fr.End == "PRECEDING":
		p.failAt(pgerr.WindowingError, endPos, "frame starting from current row cannot have preceding rows")
	case fr.Start == "FOLLOWING" && (fr.End == "PRECEDING" || fr.End == "CURRENT ROW"):
		p.failAt(pgerr.WindowingError, endPos, "frame starting from following row cannot have preceding rows")
	}
}
