package sql

import "strings"

// create reads CREATE ….
func (p *parser) create() Stmt {
	t := p.next()
	replace := p.accept("or", "replace")
	if !replace && p.accept("savepoint") {
		return &Savepoint{Pos: t.pos, Name: p.colID(), Stream: true, With: p.withOptions()}
	}
	first := p.i
	if p.oneOf("local", "global") && (p.peek(1).word("temp") || p.peek(1).word("temporary")) {
		p.next()
	}
	temporary := p.accept("temp") || p.accept("temporary")
	switch {
	case p.isWords("materialized", "view") && !temporary, p.isWord("view"):
		if temporary {
			return p.unsupported(t, "CREATE TEMPORARY VIEW")
		}
		return p.createView(t, replace)
	case p.isWord("table") && !replace:
		p.next()
		return p.createTable(t, temporary)
	case replace || temporary:
	case p.accept("source"):
		return p.createSource(t)
	case p.accept("sink"):
		return p.createSink(t)
	}
	if what, ok := p.knownObject("CREATE"); ok && !strings.HasSuffix(what, " TABLE") {
		return p.unsupported(t, what)
	}
	p.i = first
	if what, ok := p.knownObject("CREATE"); ok && !replace {
		return p.unsupported(t, what)
	}
	p.unexpected()
	return nil
}

func (p *parser) ifNotExists() bool { return p.accept("if", "not", "exists") }

func (p *parser) createView(t *token, replace bool) Stmt {
	v := &CreateView{Pos: t.pos, OrReplace: replace, Materialized: p.accept("materialized")}
	p.expect("view")
	v.IfNotExists = p.ifNotExists()
	v.Name, v.Columns = p.name(), p.optColumnList()
	if p.oneOf("using", "tablespace") {
		p.refuse(p.cur().pos, "%s of a materialized view", strings.ToUpper(p.cur().text))
	}
	v.With = p.withOptions()
	p.expect("as")
	v.Query, v.Text = p.queryText()
	if !v.Materialized {
		if p.isWord("with") {
			p.refuse(p.cur().pos, "WITH CHECK OPTION")
		}
		return v
	}
	if p.accept("with", "no", "data") {
		return &Unsupported{t.pos, "CREATE MATERIALIZED VIEW … WITH NO DATA"}
	}
	p.accept("with", "data")
	return v
}

func (p *parser) createSource(t *token) Stmt {
	s := &CreateSource{Pos: t.pos, IfNotExists: p.ifNotExists(), Name: p.name()}
	if p.isOp("(") {
		var constraints []TableConstraint
		s.Columns, constraints = p.tableElements()
		if len(constraints) > 0 {
			p.refuse(constraints[0].Pos, "a table constraint of a source")
		}
	}
	s.With = p.withOptions()
	return s
}

func (p *parser) createSink(t *token) Stmt {
	s := &CreateSink{Pos: t.pos, IfNotExists: p.ifNotExists(), Name: p.name()}
	if p.accept("from") {
		rel := &TableName{Pos: p.cur().pos, Name: p.name()}
		star := []SelectItem{{Pos: rel.Pos, Expr: &Star{Pos: rel.Pos}}}
		s.Query = &Query{Pos: rel.Pos, Body: &Select{Pos: rel.Pos, Items: star, From: []TableRef{rel}}}
		s.Text = "SELECT * FROM " + formatName(rel.Name.Parts)
	} else {
		p.expect("as")
		s.Query, s.Text = p.queryText()
	}
	s.With = p.withOptions()
	return s
}

func (p *parser) createTable(t *token, temporary bool) Stmt {
	s := &CreateTable{Pos: t.pos, Temporary: temporary, IfNotExists: p.ifNotExists(), Name: p.name()}
	named := false // columns without types: CREATE TABLE AS follows
	switch {
	case p.isWord("of"):
		p.refuse(p.cur().pos, "CREATE TABLE OF")
	case p.isWords("partition", "of"):
		p.refuse(p.cur().pos, "CREATE TABLE PARTITION OF")
	case p.isOp("(") && (p.peek(2).op(",") || p.peek(2).op(")")):
		named = true
		pos := p.cur().pos
		for _, c := range p.columnList() {
			s.Columns = append(s.Columns, ColumnDef{Pos: pos, Name: c})
		}
	case p.isOp("("):
		s.Columns, s.Constraints = p.tableElements()
	case p.isWord("using"), p.isWord("with"), p.isWord("on"), p.isWord("tablespace"), p.isWord("as"):
		named = true
	default:
		p.unexpected()
	}
	p.tableClauses(s)
	if !named {
		return s
	}
	p.expect("as")
	if p.isWord("execute") {
		p.refuse(p.cur().pos, "CREATE TABLE AS EXECUTE")
	}
	s.As = p.run(p.query())
	if p.accept("with", "no", "data") {
		return &Unsupported{t.pos, "CREATE TABLE AS … WITH NO DATA"}
	}
	p.accept("with", "data")
	return s
}

// tableClauses reads what stands behind the columns.
func (p *parser) tableClauses(s *CreateTable) {
	for p.err == nil {
		t := p.cur()
		switch {
		case p.isWord("inherits"):
			p.refuse(t.pos, "INHERITS")
		case p.isWords("partition", "by"):
			p.refuse(t.pos, "PARTITION BY")
		case p.isWord("using"):
			p.refuse(t.pos, "USING of a table")
		case p.isWord("tablespace"):
			p.refuse(t.pos, "TABLESPACE")
		case p.isWord("on"):
			p.expect("on", "commit")
			if !p.accept("preserve", "rows") {
				p.refuse(t.pos, "ON COMMIT %s", strings.ToUpper(p.cur().text))
			}
		case p.accept("without", "oids"):
		case p.isWord("with"):
			s.With = p.withOptions()
		default:
			return
		}
	}
}

// tableElements reads "(column or constraint, …)".
func (p *parser) tableElements() ([]ColumnDef, []TableConstraint) {
	var cols []ColumnDef
	var cons []TableConstraint
	p.expectOp("(")
	if p.acceptOp(")") {
		return nil, nil
	}
	for {
		switch {
		case p.oneOf("constraint", "check", "unique", "primary", "foreign", "exclude") && !p.peek(1).op(","):
			if c, ok := p.tableConstraint(); ok {
				cons = append(cons, c)
				break
			}
			cols = append(cols, p.columnDef())
		case p.isWord("like"):
			p.refuse(p.cur().pos, "LIKE in CREATE TABLE")
		default:
			cols = append(cols, p.columnDef())
		}
		if !p.acceptOp(",") {
			break
		}
	}
	p.expectOp(")")
	return cols, cons
}

func (p *parser) columnDef() ColumnDef {
	d := ColumnDef{Pos: p.cur().pos, Name: p.colID(), Type: p.typeName()}
	for p.err == nil && p.columnConstraint(&d) {
		continue
	}
	return d
}

// columnConstraint reads one constraint and tells whether one stood there.
func (p *parser) columnConstraint(d *ColumnDef) bool {
	if p.accept("constraint") {
		p.colID()
	}
	switch {
	case p.accept("not", "null"):
		d.NotNull = true
	case p.accept("null"):
	case p.accept("primary", "key"):
		d.PrimaryKey = true
	case p.accept("unique"):
		p.refuseNullsNotDistinct()
		d.Unique = true
	case p.accept("default"):
		d.Default = p.scalar(p.restricted())
	case p.accept("check"):
		d.Check = p.check(d.Check)
	case p.accept("references"):
		d.Other = "REFERENCES"
		p.references()
	case p.accept("generated"):
		d.Other = "GENERATED"
		p.generated()
	case p.accept("collate"):
		d.Other = "COLLATE"
		p.name()
	case p.accept("compression"):
		d.Other = "COMPRESSION"
		p.colID()
	case p.constraintTiming():
	default:
		return false
	}
	return true
}

func (p *parser) refuseNullsNotDistinct() {
	if p.isWords("nulls", "not", "distinct") {
		p.refuse(p.cur().pos, "NULLS NOT DISTINCT")
	}
	p.accept("nulls", "distinct")
}

// constraintTiming takes DEFERRABLE and its kin.
func (p *parser) constraintTiming() bool {
	return p.accept("deferrable") || p.accept("not", "deferrable") ||
		p.accept("initially", "deferred") || p.accept("initially", "immediate")
}

// check reads "(condition)"; several conditions of a column hold together.
func (p *parser) check(before Expr) Expr {
	pos := p.cur().pos
	p.expectOp("(")
	e := p.scalar(p.expr())
	p.expectOp(")")
	p.accept("no", "inherit")
	if before != nil {
		return &Binary{Pos: pos, Op: "AND", Left: before, Right: e}
	}
	return e
}

// references reads a foreign key's target and actions.
func (p *parser) references() {
	p.name()
	p.optColumnList()
	if p.accept("match") && !p.accept("full") && !p.accept("partial") {
		p.expect("simple")
	}
	for p.accept("on", "delete") || p.accept("on", "update") {
		switch {
		case p.accept("no", "action"), p.accept("restrict"), p.accept("cascade"):
		case p.accept("set", "null"), p.accept("set", "default"):
			p.optColumnList()
		default:
			p.unexpected()
		}
	}
}

// generated reads GENERATED … AS IDENTITY | (expression) STORED.
func (p *parser) generated() {
	if !p.accept("by", "default") {
		p.expect("always")
	}
	p.expect("as")
	if p.accept("identity") {
		if p.isOp("(") {
			p.skipParens()
		}
		return
	}
	p.expectOp("(")
	p.expr()
	p.expectOp(")")
	p.expect("stored")
}

func (p *parser) skipParens() {
	if p.cur().match == 0 {
		p.i = len(p.toks) - 1
		p.unexpected()
		return
	}
	p.i = int(p.cur().match) + 1
}

// tableConstraint reads a table constraint; false means that a column's name
// stands there.
func (p *parser) tableConstraint() (TableConstraint, bool) {
	c := TableConstraint{Pos: p.cur().pos}
	if p.accept("constraint") {
		c.Name = p.colID()
	}
	switch {
	case p.accept("primary", "key"):
		c.Kind = "PRIMARY KEY"
		c.Columns = p.keyColumns()
	case p.accept("unique"):
		c.Kind = "UNIQUE"
		p.refuseNullsNotDistinct()
		c.Columns = p.keyColumns()
	case p.accept("check"):
		c.Kind, c.Check = "CHECK", p.check(nil)
	case p.accept("foreign", "key"):
		c.Kind, c.Columns = "FOREIGN KEY", p.columnList()
		p.expect("references")
		p.references()
	case p.isWord("exclude") && (c.Name != "" || p.peek(1).op("(") || p.peek(1).word("using")):
		p.refuse(c.Pos, "EXCLUDE")
	case c.Name == "" && isColID(p.cur()):
		return c, false
	default:
		p.unexpected()
	}
	for p.constraintTiming() || p.accept("not", "valid") {
		continue
	}
	return c, true
}

func (p *parser) keyColumns() []string {
	if p.isWords("using", "index") {
		p.refuse(p.cur().pos, "USING INDEX")
	}
	cols := p.columnList()
	if p.oneOf("include", "with", "using") {
		p.refuse(p.cur().pos, "%s in a constraint", strings.ToUpper(p.cur().text))
	}
	return cols
}

// objectKind takes the words of an object that streamdb has.
func (p *parser) objectKind() (ObjectKind, bool) {
	for _, k := range []ObjectKind{KindTable, KindSource, KindSink, KindMaterializedView, KindView, KindSchema, KindIndex} {
		if p.accept(strings.Fields(strings.ToLower(string(k)))...) {
			return k, true
		}
	}
	return "", false
}

// drop reads DROP ….
func (p *parser) drop() Stmt {
	t := p.next()
	if p.accept("savepoint") {
		s := &Drop{Pos: t.pos, Kind: KindSavepoint, IfExists: p.accept("if", "exists")}
		n := p.cur()
		s.Names = []Name{{Pos: n.pos, Parts: []string{p.colID()}}}
		return s
	}
	kind, ok := p.objectKind()
	if !ok {
		if what, ok := p.knownObject("DROP"); ok {
			return p.unsupported(t, what)
		}
		p.unexpected()
		return nil
	}
	if kind == KindIndex {
		p.accept("concurrently")
	}
	s := &Drop{Pos: t.pos, Kind: kind, IfExists: p.accept("if", "exists"), Names: p.names()}
	s.Cascade = p.accept("cascade")
	if !s.Cascade {
		p.accept("restrict")
	}
	return s
}

// alter reads ALTER … SUSPEND | RESUME | SET (…) of a job; other actions of
// jobs are kept by their first word.
func (p *parser) alter() Stmt {
	t := p.next()
	first := p.i
	kind, ok := p.objectKind()
	if !ok || kind == KindTable || kind == KindView || kind == KindSchema || kind == KindIndex {
		p.i = first
		if what, ok := p.knownObject("ALTER"); ok {
			return p.unsupported(t, what)
		}
		p.unexpected()
		return nil
	}
	s := &AlterObject{Pos: t.pos, Kind: kind}
	if p.isWords("all", "in") {
		return p.unsupported(t, "ALTER "+string(kind)+" ALL")
	}
	p.accept("if", "exists")
	s.Name = p.name()
	switch {
	case p.accept("suspend"):
		s.Action = "SUSPEND"
	case p.accept("resume"):
		s.Action = "RESUME"
	case p.isWord("set") && p.peek(1).op("("):
		p.next()
		s.Action, s.With = "SET", p.options(true)
	default:
		action := p.i
		if p.cur().kind != tokWord {
			p.unexpected()
		}
		p.skip()
		s.Action = p.slice(action)
	}
	return s
}
