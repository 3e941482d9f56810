package sql

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// statement reads one statement.
func (p *parser) statement() Stmt {
	t := p.cur()
	if t.op("(") {
		return &QueryStmt{t.pos, p.run(p.query())}
	}
	if t.kind != tokWord {
		p.unexpected()
		return nil
	}
	switch t.text {
	case "select", "values", "table", "with", "insert", "update", "delete":
		return p.queryOrDML()
	case "create":
		return p.create()
	case "drop":
		return p.drop()
	case "alter":
		return p.alter()
	case "truncate":
		return p.truncate()
	case "copy":
		return p.copy()
	case "subscribe":
		return p.subscribe()
	case "explain":
		return p.explain()
	}
	if s := p.session(t); s != nil || p.err != nil {
		return s
	}
	if what, ok := knownStatements[t.text]; ok {
		p.next()
		return p.unsupported(t, what)
	}
	p.unexpected()
	return nil
}

// knownStatements are the statements of PostgreSQL that streamdb knows by
// name only.
var knownStatements = map[string]string{
	"analyse": "ANALYZE", "analyze": "ANALYZE", "call": "CALL", "close": "CLOSE", "cluster": "CLUSTER",
	"comment": "COMMENT", "declare": "DECLARE", "do": "DO", "fetch": "FETCH", "grant": "GRANT",
	"import": "IMPORT FOREIGN SCHEMA", "listen": "LISTEN", "load": "LOAD", "lock": "LOCK", "merge": "MERGE",
	"move": "MOVE", "notify": "NOTIFY", "reassign": "REASSIGN OWNED", "refresh": "REFRESH MATERIALIZED VIEW",
	"reindex": "REINDEX", "revoke": "REVOKE", "security": "SECURITY LABEL", "unlisten": "UNLISTEN",
	"vacuum": "VACUUM",
}

// knownObjects are the objects of CREATE, ALTER and DROP that streamdb knows
// by name only, by the words that name them.
var knownObjects = []string{
	"access method", "aggregate", "cast", "collation", "constraint trigger", "conversion", "database",
	"default conversion", "default privileges", "domain", "event trigger", "extension",
	"foreign data wrapper", "foreign table", "function", "group", "index", "language", "large object",
	"materialized view", "operator class", "operator family", "operator", "owned", "policy",
	"procedural language", "procedure", "publication", "recursive view", "role", "routine", "rule",
	"schema", "sequence", "server", "statistics", "subscription", "system", "table", "tablespace",
	"text search", "transform", "trigger", "trusted language", "type", "unique index", "unlogged table",
	"unlogged sequence", "user mapping", "user", "view",
}

// knownObject gives the statement's name if a known object stands next.
func (p *parser) knownObject(verb string) (string, bool) {
	for _, o := range knownObjects {
		if p.isWords(strings.Fields(o)...) {
			return verb + " " + strings.ToUpper(o), true
		}
	}
	return "", false
}

// unsupported skips to the end of a statement that only its name is known of.
func (p *parser) unsupported(t *token, what string) Stmt {
	p.skip()
	return &Unsupported{t.pos, what}
}

// skip moves to the semicolon that ends the statement: not one in
// parentheses, nor in the body of a function in standard SQL.
func (p *parser) skip() {
	body, cases := 0, 0
	for p.cur().kind != tokEOF {
		t := p.cur()
		switch {
		case t.op(";") && body == 0:
			return
		case t.op("(") && t.match > 0:
			p.i = int(t.match)
		case t.word("begin") && p.peek(1).word("atomic"):
			body++
		case t.word("case") && body > 0:
			cases++
		case t.word("end") && cases > 0:
			cases--
		case t.word("end") && body > 0:
			body--
		}
		p.next()
	}
}

// queryOrDML reads a query, INSERT, UPDATE or DELETE with its WITH.
func (p *parser) queryOrDML() Stmt {
	t := p.cur()
	var with frag
	if t.text == "with" {
		with = p.with()
	}
	switch {
	case p.isWord("insert"):
		return p.insert(t, with)
	case p.isWord("update"):
		return p.update(t, with)
	case p.isWord("delete"):
		return p.delete(t, with)
	}
	q := p.run(p.emitQuery(p.queryBehind(with, t.pos)))
	return &QueryStmt{t.pos, q}
}

// queryText reads a query that is stored: with its source text.
func (p *parser) queryText() (*Query, string) {
	first := p.i
	q := p.run(p.query())
	return q, p.slice(first)
}

// explain reads EXPLAIN [ANALYZE] [VERBOSE] | EXPLAIN (options).
func (p *parser) explain() Stmt {
	e := &Explain{Pos: p.next().pos}
	if p.isOp("(") && !p.queryAhead() {
		e.Options = p.options(false)
		for _, o := range e.Options {
			if KeywordClassOf(o.Name) == ReservedKeyword && o.Name != "analyze" && o.Name != "analyse" {
				p.failAt(pgerr.SyntaxError, o.Pos, `syntax error at or near "%s"`, o.Name)
			}
		}
	} else {
		for _, w := range []string{"analyze", "verbose"} {
			if t := p.cur(); p.accept(w) || w == "analyze" && p.accept("analyse") {
				e.Options = append(e.Options, Option{Pos: t.pos, Name: w})
			}
		}
	}
	if !p.isOp("(") && !p.oneOf("select", "values", "table", "with", "insert", "update", "delete", "create",
		"execute", "subscribe", "declare", "merge", "refresh") {
		p.unexpected()
		return e
	}
	e.Stmt = p.statement()
	return e
}

// options reads "(name = value, …)", or "(name value, …)" without equals. A
// name may stand alone.
func (p *parser) options(equals bool) []Option {
	p.expectOp("(")
	var out []Option
	for p.err == nil {
		o := Option{Pos: p.cur().pos}
		if equals && p.cur().kind == tokString {
			o.Name = p.next().text
		} else {
			o.Name = p.label()
			for p.acceptOp(".") {
				o.Name += "." + p.label()
			}
		}
		if equals && p.acceptOp("=") || !equals && !p.isOp(",") && !p.isOp(")") {
			if t := p.cur(); !equals && t.kind == tokWord && t.kw.class == ReservedKeyword && !optionWords[t.text] {
				p.unexpected()
			}
			o.Value = p.optionValue()
		}
		out = append(out, o)
		if !p.acceptOp(",") {
			break
		}
	}
	p.expectOp(")")
	return out
}

// optionWords are the reserved words that are values of options.
var optionWords = map[string]bool{"true": true, "false": true, "on": true}

// optionValue reads a literal, a signed number, a word, "*" or a list of
// names, which becomes one string.
func (p *parser) optionValue() *Literal {
	t := p.cur()
	l := &Literal{Pos: t.pos, Kind: LitString, Text: t.text}
	if t.op("+") || t.op("-") {
		p.next()
		n := p.cur()
		if n.kind != tokInteger && n.kind != tokDecimal {
			p.unexpected()
		}
		l.Text = strings.TrimPrefix(t.text, "+") + n.text
		t = n
	}
	switch {
	case t.kind == tokInteger:
		l.Kind = LitInteger
	case t.kind == tokDecimal:
		l.Kind = LitDecimal
	case t.word("true"), t.word("false"):
		l.Kind = LitBool
	case t.word("null"):
		l.Kind, l.Text = LitNull, ""
	case t.kind == tokString, t.kind == tokWord, t.kind == tokQuoted, t.op("*"):
	case t.op("("):
		l.Text = strings.Join(p.columnList(), ",")
		return l
	default:
		p.unexpected()
	}
	p.next()
	return l
}

// withOptions reads "WITH (…)" if it stands there.
func (p *parser) withOptions() []Option {
	if !p.accept("with") {
		return nil
	}
	return p.options(true)
}
