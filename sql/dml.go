package sql

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// target reads "[ONLY] name [*] [[AS] alias]" of UPDATE and DELETE.
func (p *parser) target() (Name, string) {
	only := p.accept("only")
	paren := only && p.acceptOp("(")
	n := p.name()
	if paren {
		p.expectOp(")")
	}
	if !only {
		p.acceptOp("*")
	}
	if p.accept("as") || isColID(p.cur()) && !p.isWord("set") {
		return n, p.colID()
	}
	return n, ""
}

// changes is what UPDATE, DELETE and INSERT share, as it is read.
type changes struct {
	with   frag
	set    []Assignment
	values []frag // of set
	from   []frag
	where  frag
	items  []SelectItem
	fields []frag // of items
}

// run hands all parts to the kernel as one SELECT, whose leading fields are
// the assigned values.
func (c *changes) run(p *parser) (*With, *Select) {
	s := &Select{DistinctOn: make([]Expr, len(c.values)), Items: c.items}
	fields := append([]frag{p.mark(s)}, c.values...)
	f := p.cat(c.with, p.text("SELECT"), p.list(append(fields, c.fields...)))
	if len(c.from) > 0 {
		s.From = make([]TableRef, len(c.from))
		f = p.cat(f, p.text("FROM"), p.list(c.from))
	} else {
		f = p.cat(f, p.noTable())
	}
	if c.where.first != 0 {
		s.Where = hole
		f = p.cat(f, p.text("WHERE"), c.where)
	}
	q := p.run(f)
	for i := range c.set {
		c.set[i].Value = s.DistinctOn[i]
	}
	return q.With, s
}

// whereReturning reads [WHERE …] [RETURNING …].
func (c *changes) whereReturning(p *parser) {
	if p.accept("where") {
		if p.isWords("current", "of") {
			p.refuse(p.cur().pos, "WHERE CURRENT OF")
		}
		c.where = p.expr()
	}
	c.returning(p)
}

func (c *changes) returning(p *parser) {
	if p.accept("returning") {
		c.fields = p.selectItems(&c.items)
	}
}

// assignments reads "column = value, …".
func (c *changes) assignments(p *parser) {
	for {
		a := Assignment{Pos: p.cur().pos}
		if p.isOp("(") {
			a.Columns = p.columnList()
			p.expectOp("=")
			c.values = append(c.values, p.rowValue())
		} else {
			a.Columns = []string{p.colID()}
			p.refuseIndirection()
			p.expectOp("=")
			c.values = append(c.values, p.value())
		}
		c.set = append(c.set, a)
		if !p.acceptOp(",") {
			return
		}
	}
}

func (p *parser) refuseIndirection() {
	if p.isOp(".") || p.isOp("[") {
		p.refuse(p.cur().pos, "assignment to a field or an element")
	}
}

// rowValue reads the right side of "(a, b) = …".
func (p *parser) rowValue() frag {
	n := &Row{Pos: p.cur().pos}
	n.Explicit = p.isWord("row") && p.peek(1).op("(")
	if n.Explicit {
		p.next()
	}
	if !p.isOp("(") || p.queryAhead() {
		return p.expr()
	}
	p.next()
	var items []frag
	if !n.Explicit || !p.isOp(")") {
		items = append(items, p.value())
	}
	for len(items) > 0 && p.acceptOp(",") {
		items = append(items, p.value())
	}
	p.expectOp(")")
	n.Elems = make([]Expr, len(items))
	return p.call("row", n, items...)
}

func (p *parser) update(t *token, with frag) Stmt {
	p.next()
	s := &Update{Pos: t.pos}
	s.Table, s.Alias = p.target()
	p.expect("set")
	c := changes{with: with}
	c.assignments(p)
	if p.accept("from") {
		c.from = p.fromList()
	}
	c.whereReturning(p)
	w, sel := c.run(p)
	s.With, s.Set, s.From, s.Where, s.Returning = w, c.set, sel.From, sel.Where, sel.Items
	return s
}

func (p *parser) delete(t *token, with frag) Stmt {
	p.next()
	p.expect("from")
	s := &Delete{Pos: t.pos}
	s.Table, s.Alias = p.target()
	c := changes{with: with}
	if p.accept("using") {
		c.from = p.fromList()
	}
	c.whereReturning(p)
	w, sel := c.run(p)
	s.With, s.Using, s.Where, s.Returning = w, sel.From, sel.Where, sel.Items
	return s
}

func (p *parser) insert(t *token, with frag) Stmt {
	p.next()
	p.expect("into")
	s := &Insert{Pos: t.pos, Table: p.name()}
	if p.accept("as") {
		s.Alias = p.colID()
	}
	if p.isOp("(") && !p.queryAhead() {
		p.insertColumns(s)
	}
	if p.isWord("overriding") {
		p.refuse(p.cur().pos, "OVERRIDING")
	}
	if !p.accept("default", "values") {
		s.Source = p.run(p.query())
	}
	if p.isWords("on", "conflict") {
		s.OnConflict = p.onConflict()
	}
	c := changes{with: with}
	c.returning(p)
	if with.first != 0 || len(c.items) > 0 {
		w, sel := c.run(p)
		s.With, s.Returning = w, sel.Items
	}
	return s
}

func (p *parser) insertColumns(s *Insert) {
	p.expectOp("(")
	for {
		s.ColumnPos = append(s.ColumnPos, p.cur().pos)
		s.Columns = append(s.Columns, p.colID())
		p.refuseIndirection()
		if !p.acceptOp(",") {
			break
		}
	}
	p.expectOp(")")
}

func (p *parser) onConflict() *OnConflict {
	o := &OnConflict{Pos: p.cur().pos}
	p.expect("on", "conflict")
	switch {
	case p.accept("on", "constraint"):
		o.Constraint = p.colID()
	case p.isOp("("):
		o.Columns = p.conflictColumns()
		if p.isWord("where") {
			p.refuse(p.cur().pos, "ON CONFLICT with a predicate")
		}
	}
	p.expect("do")
	if p.accept("nothing") {
		return o
	}
	p.expect("update", "set")
	if o.Columns == nil && o.Constraint == "" {
		p.failAt(pgerr.SyntaxError, o.Pos, "ON CONFLICT DO UPDATE requires inference specification or constraint name")
		if p.err.Hint == "" {
			p.err.Hint = "For example, ON CONFLICT (column_name)."
		}
	}
	o.DoUpdate = true
	var c changes
	c.assignments(p)
	if p.accept("where") {
		c.where = p.expr()
	}
	_, sel := c.run(p)
	o.Set, o.Where = c.set, sel.Where
	return o
}

func (p *parser) conflictColumns() []string {
	p.expectOp("(")
	var out []string
	for {
		pos := p.cur().pos
		if p.isOp("(") {
			p.refuse(pos, "ON CONFLICT with an expression")
		}
		out = append(out, p.colID())
		if isLabel(p.cur()) || p.isOp("(") {
			p.refuse(pos, "ON CONFLICT with an expression, collation or operator class")
		}
		if !p.acceptOp(",") {
			break
		}
	}
	p.expectOp(")")
	return out
}

func (p *parser) truncate() Stmt {
	s := &Truncate{Pos: p.next().pos}
	p.accept("table")
	for {
		p.accept("only")
		s.Names = append(s.Names, p.name())
		p.acceptOp("*")
		if !p.acceptOp(",") {
			break
		}
	}
	if p.isWords("restart", "identity") {
		p.refuse(p.cur().pos, "RESTART IDENTITY")
	}
	p.accept("continue", "identity")
	if p.isWord("cascade") {
		p.refuse(p.cur().pos, "TRUNCATE CASCADE")
	}
	p.accept("restrict")
	return s
}

// copy reads COPY with both syntaxes of options.
func (p *parser) copy() Stmt {
	s := &Copy{Pos: p.next().pos}
	if p.isOp("(") {
		p.copySource(s)
		p.expect("to")
	} else {
		if t := p.cur(); p.isWord("binary") {
			p.next()
			s.Options = append(s.Options, stringOption(t, "format", "binary"))
		}
		n := p.name()
		s.Table, s.Columns = &n, p.optColumnList()
		s.From = p.accept("from")
		if !s.From {
			p.expect("to")
		}
	}
	s.Program = p.accept("program")
	switch {
	case p.cur().kind == tokString || s.Program:
		s.Target = p.stringConst()
	case p.oneOf("stdin", "stdout"):
		p.next()
		s.Target = "STDOUT"
		if s.From {
			s.Target = "STDIN"
		}
	default:
		p.unexpected()
	}
	p.copyOptions(s)
	if p.isWord("where") {
		if !s.From {
			p.failAt(pgerr.SyntaxError, p.cur().pos, "WHERE clause not allowed with COPY TO")
		}
		p.next()
		s.Where = p.scalar(p.expr())
	}
	return s
}

// copySource reads "(query)" or "(SUBSCRIBE …)".
func (p *parser) copySource(s *Copy) {
	p.expectOp("(")
	switch t := p.cur(); {
	case p.isWord("subscribe"):
		s.Subscribe = p.subscribe()
	case p.oneOf("insert", "update", "delete"):
		p.refuse(t.pos, "COPY of a data-modifying statement")
	default:
		s.Query = p.run(p.query())
	}
	p.expectOp(")")
}

func stringOption(t *token, name, value string) Option {
	return Option{Pos: t.pos, Name: name, Value: &Literal{Pos: t.pos, Kind: LitString, Text: value}}
}

// copyOptions reads "[WITH] (name value, …)" or the old list of words.
func (p *parser) copyOptions(s *Copy) {
	if t := p.cur(); p.accept("using", "delimiters") || p.accept("delimiters") {
		s.Options = append(s.Options, stringOption(t, "delimiter", p.stringConst()))
	}
	p.accept("with")
	if p.isOp("(") {
		s.Options = append(s.Options, p.options(false)...)
		return
	}
	for p.err == nil {
		t := p.cur()
		switch {
		case p.accept("binary"), p.accept("csv"):
			s.Options = append(s.Options, stringOption(t, "format", t.text))
		case p.accept("freeze"), p.accept("header"):
			s.Options = append(s.Options, Option{Pos: t.pos, Name: t.text})
		case p.oneOf("delimiter", "null", "quote", "escape", "encoding"):
			p.next()
			if t.text != "encoding" {
				p.accept("as")
			}
			s.Options = append(s.Options, stringOption(t, t.text, p.stringConst()))
		case p.accept("force"):
			s.Options = append(s.Options, p.forceOption(t))
		default:
			return
		}
	}
}

// forceOption reads FORCE QUOTE | NOT NULL | NULL and its columns.
func (p *parser) forceOption(t *token) Option {
	name := ""
	switch {
	case p.accept("quote"):
		name = "force_quote"
		if p.acceptOp("*") {
			return stringOption(t, name, "*")
		}
	case p.accept("not", "null"):
		name = "force_not_null"
	case p.accept("null"):
		name = "force_null"
	default:
		p.unexpected()
	}
	cols := []string{p.colID()}
	for p.acceptOp(",") {
		cols = append(cols, p.colID())
	}
	return stringOption(t, name, strings.Join(cols, ","))
}

// subscribe reads SUBSCRIBE [TO] relation | (query) [WITH (…)].
func (p *parser) subscribe() *Subscribe {
	s := &Subscribe{Pos: p.next().pos}
	p.accept("to")
	if p.isOp("(") {
		p.next()
		s.Query = p.run(p.query())
		p.expectOp(")")
	} else {
		n := p.name()
		s.Relation = &n
	}
	s.With = p.withOptions()
	return s
}
