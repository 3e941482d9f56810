package sql

import "strings"

// session reads the statements about transactions, settings and prepared
// statements; nil means that t begins none of them.
func (p *parser) session(t *token) Stmt {
	switch t.text {
	case "begin":
		p.next()
		_ = p.accept("work") || p.accept("transaction")
		return &Transaction{Pos: t.pos, Kind: "BEGIN", Modes: p.transactionModes()}
	case "start":
		p.next()
		p.expect("transaction")
		return &Transaction{Pos: t.pos, Kind: "BEGIN", Modes: p.transactionModes()}
	case "commit", "end":
		p.next()
		if t.text == "commit" && p.isWord("prepared") {
			return p.unsupported(t, "COMMIT PREPARED")
		}
		return p.finish(t, "COMMIT")
	case "rollback", "abort":
		p.next()
		return p.rollback(t)
	case "savepoint":
		p.next()
		return &Savepoint{Pos: t.pos, Name: p.colID()}
	case "release":
		p.next()
		if p.isWord("savepoint") && isColID(p.peek(1)) {
			p.next()
		}
		return &ReleaseSavepoint{t.pos, p.colID()}
	case "checkpoint":
		p.next()
		return &Checkpoint{t.pos}
	case "set":
		return p.set()
	case "reset":
		p.next()
		return &Reset{t.pos, p.parameter()}
	case "show":
		return p.show()
	case "prepare":
		return p.prepare()
	case "execute":
		return p.execute()
	case "deallocate":
		return p.deallocate()
	case "discard":
		p.next()
		if !p.oneOf("all", "plans", "sequences", "temp", "temporary") {
			p.unexpected()
		}
		return &Discard{t.pos, strings.ToUpper(p.next().text)}
	}
	return nil
}

// finish reads "[WORK | TRANSACTION] [AND [NO] CHAIN]".
func (p *parser) finish(t *token, kind string) Stmt {
	_ = p.accept("work") || p.accept("transaction")
	s := &Transaction{Pos: t.pos, Kind: kind}
	if p.accept("and") {
		s.Chain = !p.accept("no")
		p.expect("chain")
	}
	return s
}

func (p *parser) rollback(t *token) Stmt {
	if t.text == "rollback" {
		if p.isWord("prepared") {
			return p.unsupported(t, "ROLLBACK PREPARED")
		}
		n := 0
		if p.oneOf("work", "transaction") {
			n = 1
		}
		if p.peek(n).word("to") {
			p.i += n + 1
			if p.isWord("savepoint") && isColID(p.peek(1)) {
				p.next()
			}
			s := &RollbackTo{Pos: t.pos, Name: p.colID()}
			s.Cascade = p.accept("cascade")
			if !s.Cascade {
				p.accept("restrict")
			}
			s.With = p.withOptions()
			return s
		}
	}
	return p.finish(t, "ROLLBACK")
}

// transactionModes reads ISOLATION LEVEL … and its kin, with or without
// commas.
func (p *parser) transactionModes() []string {
	var out []string
	for p.err == nil {
		first := p.i
		switch {
		case p.accept("isolation", "level"):
			if !p.accept("read", "committed") && !p.accept("read", "uncommitted") && !p.accept("repeatable", "read") {
				p.expect("serializable")
			}
		case p.accept("read", "only"), p.accept("read", "write"), p.accept("deferrable"), p.accept("not", "deferrable"):
		case len(out) > 0 && p.isOp(","):
			p.next()
			if !p.oneOf("isolation", "read", "deferrable", "not") {
				p.unexpected()
			}
			continue
		default:
			return out
		}
		var words []string
		for i := first; i < p.i && p.err == nil; i++ {
			words = append(words, strings.ToUpper(p.toks[i].text))
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// parameter reads a setting's name, also those of several words.
func (p *parser) parameter() string {
	switch {
	case p.accept("time", "zone"):
		return "timezone"
	case p.accept("transaction", "isolation", "level"):
		return "transaction_isolation"
	case p.accept("session", "authorization"):
		return "session_authorization"
	case p.accept("all"):
		return "all"
	}
	return p.variable()
}

// variable reads a setting's possibly qualified name.
func (p *parser) variable() string {
	name := p.colID()
	for p.acceptOp(".") {
		name += "." + p.colID()
	}
	return name
}

func (p *parser) show() Stmt {
	t := p.next()
	for _, w := range []string{"savepoints", "checkpoints", "jobs", "tables", "sources", "sinks", "views", "materialized views"} {
		if p.accept(strings.Fields(w)...) {
			return &Show{t.pos, w}
		}
	}
	return &Show{t.pos, p.parameter()}
}

func (p *parser) set() Stmt {
	t := p.next()
	s := &Set{Pos: t.pos}
	switch {
	case p.accept("session", "characteristics", "as", "transaction"):
		s.Session = true
		return p.setTransaction(s)
	case p.isWord("constraints"):
		return p.unsupported(t, "SET CONSTRAINTS")
	case p.isWord("session") && !p.peek(1).op("=") && !p.peek(1).word("to") && !p.peek(1).op(".") && !p.peek(1).word("authorization"):
		p.next()
	case p.isWord("local") && !p.peek(1).op("=") && !p.peek(1).word("to") && !p.peek(1).op("."):
		p.next()
		s.Local = true
	}
	switch {
	case p.accept("transaction"):
		if p.isWord("snapshot") {
			return p.unsupported(t, "SET TRANSACTION SNAPSHOT")
		}
		return p.setTransaction(s)
	case p.accept("time", "zone"):
		s.Name = "timezone"
		p.timeZone(s)
		return s
	case p.isWords("xml", "option"):
		return p.unsupported(t, "SET XML OPTION")
	case p.accept("names"):
		s.Name = "client_encoding"
		s.Default = p.accept("default")
		if !s.Default && p.cur().kind == tokString {
			s.Values = []string{p.next().text}
		}
		s.Default = len(s.Values) == 0
		return s
	case p.isWord("schema") && p.peek(1).kind == tokString:
		p.next()
		s.Name, s.Values = "search_path", []string{p.next().text}
		return s
	case p.isWord("role") && !p.peek(1).op("=") && !p.peek(1).word("to"), p.isWords("session", "authorization"):
		if s.Name = p.parameter(); p.cur().kind == tokInteger || p.cur().kind == tokDecimal || p.isOp("-") {
			p.unexpected()
		}
		p.setValues(s)
		return s
	}
	s.Name = p.variable()
	if p.isWords("from", "current") {
		return p.unsupported(t, "SET FROM CURRENT")
	}
	if !p.acceptOp("=") {
		p.expect("to")
	}
	p.setValues(s)
	return s
}

func (p *parser) setTransaction(s *Set) Stmt {
	s.Name, s.Values = "transaction", p.transactionModes()
	if len(s.Values) == 0 {
		p.unexpected()
	}
	return s
}

// setValues reads DEFAULT or a list of values.
func (p *parser) setValues(s *Set) {
	if s.Default = p.accept("default"); s.Default {
		return
	}
	for {
		s.Values = append(s.Values, p.setValue())
		if !p.acceptOp(",") {
			return
		}
	}
}

// setValue reads a string, word or signed number.
func (p *parser) setValue() string {
	t := p.cur()
	switch {
	case t.op("-"), t.op("+"):
		p.next()
		n := p.cur()
		if n.kind != tokInteger && n.kind != tokDecimal {
			p.unexpected()
		}
		p.next()
		return strings.TrimPrefix(t.text, "+") + n.text
	case t.kind == tokString, t.kind == tokInteger, t.kind == tokDecimal, t.kind == tokQuoted,
		t.kind == tokWord && t.kw.class != ReservedKeyword, t.word("true"), t.word("false"), t.word("on"):
		p.next()
		return t.text
	}
	p.unexpected()
	return ""
}

// timeZone reads the value of SET TIME ZONE.
func (p *parser) timeZone(s *Set) {
	switch {
	case p.accept("default"), p.accept("local"):
		s.Default = true
	case p.accept("interval"):
		var t TypeName
		if p.isOp("(") {
			p.precision()
		}
		s.Values = []string{p.stringConst()}
		p.intervalFields(&t)
		if t.Fields != "" {
			s.Values[0] += " " + strings.ToLower(t.Fields)
		}
	case p.cur().kind == tokWord && p.cur().kw.class != NotKeyword:
		p.unexpected()
	default:
		s.Values = []string{p.setValue()}
	}
}

func (p *parser) prepare() Stmt {
	t := p.next()
	if p.isWord("transaction") && p.peek(1).kind == tokString {
		return p.unsupported(t, "PREPARE TRANSACTION")
	}
	s := &Prepare{Pos: t.pos, Name: p.colID()}
	if p.acceptOp("(") {
		for {
			s.Types = append(s.Types, p.typeName())
			if !p.acceptOp(",") {
				break
			}
		}
		p.expectOp(")")
	}
	p.expect("as")
	if !p.isOp("(") && !p.oneOf("select", "values", "table", "with", "insert", "update", "delete", "merge") {
		p.unexpected()
		return s
	}
	first := p.i
	s.Stmt = p.statement()
	s.Text = p.slice(first)
	return s
}

func (p *parser) execute() Stmt {
	s := &Execute{Pos: p.next().pos, Name: p.colID()}
	if p.acceptOp("(") {
		for {
			s.Args = append(s.Args, p.scalar(p.expr()))
			if !p.acceptOp(",") {
				break
			}
		}
		p.expectOp(")")
	}
	return s
}

func (p *parser) deallocate() Stmt {
	s := &Deallocate{Pos: p.next().pos}
	if p.isWord("prepare") && p.peek(1).kind != tokEOF && !p.peek(1).op(";") {
		p.next()
	}
	if !p.accept("all") {
		s.Name = p.colID()
	}
	return s
}
