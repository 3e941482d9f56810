package sql

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// tableFrag is an item of FROM as it is read.
type tableFrag struct {
	frag
	join *Join // set for a join without an alias: only those may stand alone in parentheses
	many bool  // needs parentheses as the right side of a join
}

// fromList reads comma-separated items.
func (p *parser) fromList() []frag {
	fs := []frag{p.joins().frag}
	for p.acceptOp(",") {
		fs = append(fs, p.joins().frag)
	}
	return fs
}

// joins reads an item with the joins behind it, which group from the left.
func (p *parser) joins() tableFrag {
	if !p.enter() {
		return tableFrag{}
	}
	defer p.leave()
	left := p.tableFactor()
	for p.err == nil {
		n, ok := p.joinWords()
		if !ok {
			break
		}
		var right tableFrag
		var cond []frag
		if n.Natural || n.Kind == "CROSS" {
			right = p.tableFactor()
		} else {
			right = p.joins() // a JOIN b JOIN c ON … ON …
			cond = p.joinCondition(n)
		}
		if right.many {
			right.frag = p.parens(right.frag)
		}
		f := p.cat(left.frag, p.text("JOIN"), right.frag, p.text("ON"), p.call("join", n, cond...))
		left = tableFrag{frag: p.higher(f), join: n, many: true}
	}
	return left
}

// joinWords takes the words of a join.
func (p *parser) joinWords() (*Join, bool) {
	t := p.cur()
	if t.kind != tokWord {
		return nil, false
	}
	switch t.text {
	case "natural", "cross", "join", "inner", "left", "right", "full":
	default:
		return nil, false
	}
	n := &Join{Pos: t.pos, Kind: "INNER", Natural: p.accept("natural")}
	switch {
	case !n.Natural && p.accept("cross"):
		n.Kind = "CROSS"
	case p.oneOf("left", "right", "full"):
		n.Kind = strings.ToUpper(p.next().text)
		p.accept("outer")
	default:
		p.accept("inner")
	}
	p.expect("join")
	return n, true
}

// joinCondition reads ON or USING.
func (p *parser) joinCondition(n *Join) []frag {
	if p.accept("using") {
		n.Using = p.columnList()
		if p.accept("as") {
			n.UsingAlias = p.colID()
		}
		return nil
	}
	p.expect("on")
	n.On = hole
	return []frag{p.expr()}
}

// tableFactor reads a relation, subquery, function or join in parentheses.
func (p *parser) tableFactor() tableFrag {
	t := p.cur()
	lateral := p.accept("lateral")
	at := p.i
	switch {
	case p.isOp("(") && p.queryAhead():
		q := p.subquery()
		n := &DerivedTable{Pos: t.pos, Lateral: lateral}
		if n.Alias, n.Columns = p.alias(); n.Alias == "" {
			p.needAlias(at)
		}
		return tableFrag{frag: p.cat(q, p.text("AS"), p.ident("derived", n))}
	case p.isOp("(") && !lateral:
		return p.parenthesisedJoin()
	case p.isWords("rows", "from") && p.peek(2).op("("):
		p.i += 3
		return tableFrag{frag: p.functionTable(t.pos, lateral, true)}
	case lateral || p.functionAhead():
		return tableFrag{frag: p.functionTable(t.pos, lateral, false)}
	}
	return tableFrag{frag: p.relation(true)}
}

// needAlias refuses a subquery without a name, as PostgreSQL 15 does.
func (p *parser) needAlias(paren int) {
	what, example := "subquery", "SELECT"
	if p.toks[paren+1].word("values") {
		what, example = "VALUES", "VALUES"
	}
	if p.err == nil {
		p.failAt(pgerr.SyntaxError, p.toks[paren].pos, "%s in FROM must have an alias", what)
		p.err.Hint = "For example, FROM (" + example + " ...) [AS] foo."
	}
}

func (p *parser) parenthesisedJoin() tableFrag {
	p.expectOp("(")
	f := p.joins()
	if f.join == nil {
		p.unexpected() // PostgreSQL wants a join here
		return f
	}
	p.expectOp(")")
	if alias, columns := p.alias(); alias != "" {
		f.join.Alias, f.join.Columns = alias, columns
		f.join = nil
	}
	return f
}

// relation reads a table by name.
func (p *parser) relation(aliased bool) frag {
	n := &TableName{Pos: p.cur().pos}
	if t := p.cur(); isTypeFunc(t) && !isColID(t) {
		p.next() // only a function could go on
		p.unexpected()
	}
	n.Only = p.accept("only")
	if n.Only && p.acceptOp("(") {
		n.Name = p.name()
		p.expectOp(")")
	} else {
		n.Name = p.name()
		if !n.Only {
			p.acceptOp("*")
		}
	}
	if !aliased {
		return p.ident("table", n)
	}
	asOf := p.systemTime(n)
	n.Alias, n.Columns = p.alias()
	if n.AsOf == nil {
		asOf = p.systemTime(n)
	}
	if p.isWord("tablesample") {
		p.refuse(p.cur().pos, "TABLESAMPLE")
	}
	return p.cat(p.ident("table", n), asOf)
}

// systemTime reads FOR SYSTEM_TIME AS OF.
func (p *parser) systemTime(n *TableName) frag {
	if !p.accept("for", "system_time", "as", "of") {
		return frag{}
	}
	n.AsOf = hole
	return p.cat(p.text("AS OF TIMESTAMP"), p.expr())
}

// alias reads "[AS] name [(columns)]" if it stands there.
func (p *parser) alias() (string, []string) {
	t := p.cur()
	if !p.accept("as") {
		if !isColID(t) {
			return "", nil
		}
		// PostgreSQL takes ASOF for an alias, and would join without it.
		if t.word("asof") && (p.peek(1).word("join") || p.peek(1).word("left")) {
			p.refuse(t.pos, "ASOF JOIN")
		}
	}
	return p.colID(), p.optColumnList()
}

// functionAhead tells whether a function call stands at the cursor.
func (p *parser) functionAhead() bool {
	t := p.cur()
	if t.kind == tokWord && t.kw.class == ReservedKeyword {
		return strings.HasPrefix(t.text, "current_") || strings.HasPrefix(t.text, "local") ||
			t.text == "user" || t.text == "session_user"
	}
	if t.word("current_schema") {
		return true
	}
	if !isLabel(t) {
		return false
	}
	n := 1
	for p.peek(n).op(".") && isLabel(p.peek(n+1)) {
		n += 2
	}
	return p.peek(n).op("(")
}

// tableFunctions are the calls with a syntax of their own that may stand in
// FROM.
var tableFunctions = map[string]bool{
	"coalesce": true, "greatest": true, "least": true, "nullif": true, "extract": true,
	"overlay": true, "position": true, "substring": true, "trim": true,
}

// functionTable reads a function in FROM, or the list of ROWS FROM.
func (p *parser) functionTable(pos Pos, lateral, rowsFrom bool) frag {
	n := &FuncTable{Pos: pos, Lateral: lateral}
	calls := []frag{p.tableFunction()}
	for rowsFrom && p.acceptOp(",") {
		calls = append(calls, p.tableFunction())
	}
	if rowsFrom {
		p.expectOp(")")
	}
	n.Calls = make([]*Call, len(calls))
	if p.isWord("with") && p.peek(1).word("ordinality") {
		p.i += 2
		n.Ordinality = true
	}
	p.functionAlias(n)
	return p.higher(p.cat(p.text("(SELECT"), p.list(calls), p.text(") AS"), p.ident("function", n)))
}

// tableFunction reads a call without FILTER and OVER.
func (p *parser) tableFunction() frag {
	t := p.cur()
	if t.kind == tokWord && (t.kw.class == ReservedKeyword || t.text == "current_schema" && !p.peek(1).op("(") ||
		tableFunctions[t.text] && p.peek(1).op("(")) && p.functionAhead() {
		f, _ := p.special(t)
		return f
	}
	if !p.functionAhead() || t.kind == tokWord && t.kw.class == ColumnKeyword && p.peek(1).op("(") {
		if p.functionAhead() || !isLabel(t) {
			p.unexpected()
		} else {
			p.next()
			p.unexpected()
		}
		return frag{}
	}
	c, args := p.application(t, p.functionName())
	return p.call("call", c, args...)
}

// functionAlias reads an alias with column names or definitions.
func (p *parser) functionAlias(n *FuncTable) {
	as := p.accept("as")
	switch {
	case as && p.isOp("("):
	case as || isColID(p.cur()):
		n.Alias = p.colID()
		if !p.isOp("(") {
			return
		}
		if t := p.peek(2); t.op(",") || t.op(")") {
			n.Columns = p.columnList()
			return
		}
	default:
		return
	}
	p.expectOp("(")
	for {
		d := ColumnDef{Pos: p.cur().pos, Name: p.colID(), Type: p.typeName()}
		if p.isWord("collate") {
			p.refuse(p.cur().pos, "COLLATE in a column definition list")
		}
		n.ColumnDefs = append(n.ColumnDefs, d)
		if !p.acceptOp(",") {
			break
		}
	}
	p.expectOp(")")
}
