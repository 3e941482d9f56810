package sql

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// queryFrag is a query as it is read: parentheses around it are transparent,
// so clauses behind them may still join it.
type queryFrag struct {
	head          *Query // what stands in ORDER BY, LIMIT and FOR UPDATE, with holes
	with          frag
	body          frag
	keys          []frag // of ORDER BY
	limit, offset frag
	single        bool // body is one SELECT or VALUES, no set operation
}

// carrier heads a SELECT that only wraps an operand of a set operation.
type carrier struct{ Pos }

// queryStart tells whether a word begins a query.
func queryStart(t *token) bool {
	return t.word("select") || t.word("values") || t.word("with") || t.word("table")
}

// queryAhead tells whether the parenthesis at the cursor opens a query, not
// an expression or a join: that is so if a query starts inside all opening
// parentheses, and only a query's clauses follow where one but the outermost
// closes.
func (p *parser) queryAhead() bool {
	if !p.isOp("(") {
		return false
	}
	n := p.i
	for n < len(p.toks) && p.toks[n].op("(") && n-p.i <= maxNesting {
		n++
	}
	if n-p.i > maxNesting {
		return false // reading it as an expression finds the limit
	}
	if !queryStart(&p.toks[n]) {
		return false
	}
	for n -= 1; n > p.i; n-- {
		if p.toks[n].match == 0 {
			return true
		}
		switch t := &p.toks[p.toks[n].match+1]; {
		case t.op(")"), t.word("union"), t.word("except"), t.word("intersect"), t.word("order"),
			t.word("limit"), t.word("offset"), t.word("fetch"), t.word("for"):
		default:
			return false
		}
	}
	return true
}

// subquery reads "(query)".
func (p *parser) subquery() frag {
	p.expectOp("(")
	q := p.query()
	p.expectOp(")")
	return p.higher(p.parens(q))
}

// query reads a query and emits it.
func (p *parser) query() frag { return p.emitQuery(p.readQuery()) }

func (p *parser) emitQuery(q queryFrag) frag {
	f := p.cat(q.with, q.body)
	if !q.hasTail() {
		return f
	}
	keys := append([]frag{p.mark(q.head)}, q.keys...)
	for _, k := range []frag{q.limit, q.offset} {
		if k.first != 0 {
			keys = append(keys, k)
		}
	}
	return p.cat(f, p.text("ORDER BY"), p.list(keys))
}

func (q *queryFrag) hasTail() bool {
	h := q.head
	return len(h.OrderBy) > 0 || h.Limit != nil || h.Offset != nil || h.Locking != ""
}

// readQuery reads a query with its WITH, ORDER BY, LIMIT and FOR UPDATE.
func (p *parser) readQuery() queryFrag {
	if !p.enter() {
		return queryFrag{head: &Query{}}
	}
	defer p.leave()
	pos := p.cur().pos
	var with frag
	if p.isWord("with") {
		with = p.with()
	}
	return p.queryBehind(with, pos)
}

// queryBehind reads a query whose WITH has been read.
func (p *parser) queryBehind(with frag, pos Pos) queryFrag {
	q := p.setOperation(p.intersection, "union", "except")
	if with.first != 0 {
		if q.with.first != 0 {
			p.failAt(pgerr.SyntaxError, pos, "multiple WITH clauses not allowed")
		}
		q.with = with
	}
	p.tail(&q)
	return q
}

func (p *parser) intersection() queryFrag { return p.setOperation(p.term, "intersect") }

// setOperation reads operands of the next higher precedence with the given
// operators between them, which group from the left.
func (p *parser) setOperation(operand func() queryFrag, ops ...string) queryFrag {
	left := operand()
	if !p.oneOf(ops...) {
		return left
	}
	body := p.operand(left)
	for p.err == nil && p.oneOf(ops...) {
		op := strings.ToUpper(p.next().text)
		if p.accept("all") {
			op += " ALL"
		} else {
			p.accept("distinct")
		}
		body = p.higher(p.cat(body, p.text(op), p.operand(operand())))
	}
	return queryFrag{head: &Query{}, body: body}
}

// operand emits an operand of a set operation: what is more than a SELECT
// goes into a carrier, so that its clauses stay its own.
func (p *parser) operand(q queryFrag) frag {
	if q.single && q.with.first == 0 && !q.hasTail() {
		return q.body
	}
	c := &carrier{}
	return p.higher(p.cat(p.text("SELECT"), p.mark(c), p.text("FROM"), p.parens(p.emitQuery(q)), p.text("AS"), p.ident("query", c)))
}

// term reads one SELECT, VALUES, TABLE or query in parentheses.
func (p *parser) term() queryFrag {
	q := queryFrag{head: &Query{}, single: true}
	switch {
	case p.isOp("("):
		p.next()
		q = p.readQuery()
		p.expectOp(")")
	case p.isWord("select"):
		q.body = p.selectBlock()
	case p.isWord("values"):
		q.body = p.values()
	case p.isWord("table"):
		t := p.next()
		s := &Select{Pos: t.pos, Items: []SelectItem{{Pos: t.pos}}, From: make([]TableRef, 1)}
		q.body = p.cat(p.text("SELECT"), p.mark(s), p.text(","), p.ident("*", &Star{Pos: t.pos}), p.text("FROM"), p.relation(false))
	default:
		p.unexpected()
	}
	return q
}

// tail reads ORDER BY, LIMIT, OFFSET, FETCH and FOR UPDATE.
func (p *parser) tail(q *queryFrag) {
	h := q.head
	if p.isWord("order") {
		if len(h.OrderBy) > 0 {
			p.failAt(pgerr.SyntaxError, p.cur().pos, "multiple ORDER BY clauses not allowed")
		}
		p.orderBy(&h.OrderBy, &q.keys)
	}
	var limit, offset, locked bool
	for p.err == nil {
		t := p.cur()
		bounds := limit || offset
		switch {
		case p.isWord("for") && !p.peek(1).word("system_time"):
			p.locking(h)
			locked = true
		case locked && bounds, p.oneOf("limit", "fetch") && limit, p.isWord("offset") && offset:
			return
		case p.oneOf("limit", "fetch"):
			if h.Limit != nil {
				p.failAt(pgerr.SyntaxError, t.pos, "multiple LIMIT clauses not allowed")
			}
			p.limit(q)
			limit = true
		case p.isWord("offset"):
			if h.Offset != nil {
				p.failAt(pgerr.SyntaxError, t.pos, "multiple OFFSET clauses not allowed")
			}
			p.next()
			h.Offset, q.offset = hole, p.expr()
			if !p.accept("row") {
				p.accept("rows")
			}
			offset = true
		default:
			return
		}
	}
}

// limit reads LIMIT n and FETCH FIRST n ROWS ONLY | WITH TIES.
func (p *parser) limit(q *queryFrag) {
	t := p.next()
	if t.text == "limit" {
		if p.accept("all") {
			return
		}
		q.head.Limit, q.limit = hole, p.expr()
		if p.isOp(",") {
			p.failAt(pgerr.SyntaxError, t.pos, "LIMIT #,# syntax is not supported")
			p.err.Hint = "Use separate LIMIT and OFFSET clauses."
		}
		return
	}
	if !p.accept("first") {
		p.expect("next")
	}
	q.head.Limit = hole
	switch n := p.cur(); {
	case p.oneOf("row", "rows"):
		q.limit = p.mark(&Literal{Pos: n.pos, Kind: LitInteger, Text: "1"})
	case n.op("-") || n.op("+"):
		q.limit = p.prefix(true)
	default:
		q.limit = p.primary()
	}
	if !p.accept("rows") {
		p.expect("row")
	}
	if !p.accept("with", "ties") {
		p.expect("only")
		return
	}
	q.head.WithTies = true
	if len(q.head.OrderBy) == 0 {
		p.failAt(pgerr.SyntaxError, t.pos, "WITH TIES cannot be specified without ORDER BY clause")
	}
}

// locking reads FOR UPDATE and its kin.
func (p *parser) locking(h *Query) {
	var words []string
	take := func(ws ...string) bool {
		ok := p.accept(ws...)
		if ok {
			words = append(words, strings.ToUpper(strings.Join(ws, " ")))
		}
		return ok
	}
	take("for")
	if take("read", "only") {
		return // means nothing, as in PostgreSQL
	}
	if !take("update") && !take("no", "key", "update") && !take("share") && !take("key", "share") {
		p.unexpected()
	}
	if take("of") {
		var ns []string
		for _, n := range p.names() {
			ns = append(ns, formatName(n.Parts))
		}
		words = append(words, strings.Join(ns, ", "))
	}
	if !take("nowait") {
		take("skip", "locked")
	}
	if h.Locking != "" {
		h.Locking += " "
	}
	h.Locking += strings.Join(words, " ")
}

// with reads a WITH clause.
func (p *parser) with() frag {
	w := &With{Pos: p.next().pos}
	if isColID(p.peek(1)) { // else RECURSIVE is a name
		w.Recursive = p.accept("recursive")
	}
	f := p.text("WITH")
	if w.Recursive {
		f = p.text("WITH RECURSIVE")
	}
	for {
		c := CTE{Pos: p.cur().pos, Name: p.colID(), Columns: p.optColumnList()}
		p.expect("as")
		switch {
		case p.accept("not", "materialized"):
			c.Materialized = "NOT MATERIALIZED"
		case p.accept("materialized"):
			c.Materialized = "MATERIALIZED"
		}
		if t := p.peek(1); t.word("insert") || t.word("update") || t.word("delete") {
			p.refuse(t.pos, "a data-modifying statement in WITH")
		}
		if len(w.CTEs) > 0 {
			f = p.cat(f, p.text(","))
		}
		f = p.cat(f, p.ident(c.Name, w), p.text("AS"), p.subquery())
		if p.isWord("search") || p.isWord("cycle") {
			p.refuse(p.cur().pos, "the %s clause of WITH", strings.ToUpper(p.cur().text))
		}
		w.CTEs = append(w.CTEs, c)
		if !p.acceptOp(",") {
			return f
		}
	}
}

// values reads VALUES (…), (…).
func (p *parser) values() frag {
	v := &Values{Pos: p.next().pos}
	f := p.cat(p.text("SELECT"), p.mark(v))
	for {
		pos := p.cur().pos
		p.expectOp("(")
		items := []frag{p.value()}
		for p.acceptOp(",") {
			items = append(items, p.value())
		}
		p.expectOp(")")
		v.Rows = append(v.Rows, nil)
		f = p.cat(f, p.text(","), p.call("row", &Row{Pos: pos, Elems: make([]Expr, len(items))}, items...))
		if !p.acceptOp(",") {
			return f
		}
	}
}

// value reads an expression or DEFAULT.
func (p *parser) value() frag {
	if t := p.cur(); t.word("default") {
		p.next()
		return p.mark(&Default{t.pos})
	}
	return p.expr()
}

// selectBlock reads one SELECT up to its WINDOW clause.
func (p *parser) selectBlock() frag {
	s := &Select{Pos: p.next().pos}
	var fields []frag
	if p.accept("distinct") {
		s.Distinct = true
		if p.accept("on") {
			p.expectOp("(")
			fields = p.exprs()
			p.expectOp(")")
			s.DistinctOn = make([]Expr, len(fields))
		}
	} else {
		p.accept("all")
	}
	if !p.selectListEnds() || s.Distinct {
		fields = append(fields, p.selectItems(&s.Items)...)
	}
	if p.isWord("into") {
		p.refuse(p.cur().pos, "SELECT INTO")
	}
	return p.selectTail(s, fields)
}

// selectTail reads FROM and what follows, and emits the block.
func (p *parser) selectTail(s *Select, fields []frag) frag {
	f := p.cat(p.text("SELECT"), p.list(append([]frag{p.mark(s)}, fields...)))
	var from []frag
	if p.accept("from") {
		from = p.fromList()
	}
	var rest frag
	if p.accept("where") {
		if p.isWords("current", "of") {
			p.refuse(p.cur().pos, "WHERE CURRENT OF")
		}
		s.Where = hole
		rest = p.cat(p.text("WHERE"), p.expr())
	}
	if p.isWord("group") {
		p.expect("group", "by")
		if p.accept("distinct") {
			s.GroupDistinct = true
		} else {
			p.accept("all")
		}
		items := p.groupItems(true)
		s.GroupBy = make([]GroupingSet, len(items))
		rest = p.cat(rest, p.text("GROUP BY"), p.list(items))
	}
	if p.accept("having") {
		s.Having = hole
		rest = p.cat(rest, p.text("HAVING"), p.expr())
	}
	if p.accept("window") {
		rest = p.cat(rest, p.text("WINDOW"), p.list(p.windows(s)))
	}
	switch {
	case len(from) > 0:
		s.From = make([]TableRef, len(from))
		f = p.cat(f, p.text("FROM"), p.list(from))
	case rest.first != 0:
		f = p.cat(f, p.noTable()) // the kernel knows no WHERE without FROM
	}
	f = p.cat(f, rest)
	f.height += int32(len(from))
	return p.higher(f)
}

// noTable is a FROM that the decoder does not look at.
func (p *parser) noTable() frag { return p.cat(p.text("FROM"), p.ident("none", &carrier{})) }

// selectListEnds tells that the select list is empty.
func (p *parser) selectListEnds() bool {
	t := p.cur()
	if t.kind == tokEOF || t.op(")") || t.op(";") {
		return true
	}
	switch t.text {
	case "from", "where", "group", "having", "window", "union", "except", "intersect", "order", "limit",
		"offset", "fetch", "for", "into", "with":
		return t.kind == tokWord
	}
	return false
}

// selectItems reads a select list or RETURNING: labels go to items.
func (p *parser) selectItems(items *[]SelectItem) []frag {
	var fields []frag
	for {
		t := p.cur()
		item := SelectItem{Pos: t.pos}
		if p.acceptOp("*") {
			fields = append(fields, p.ident("*", &Star{Pos: t.pos}))
		} else {
			fields = append(fields, p.expr())
			if p.accept("as") {
				item.Alias = p.label()
			} else if l := p.cur(); l.kind == tokQuoted || l.kind == tokWord && !l.kw.needsAs {
				item.Alias = p.next().text
			}
		}
		*items = append(*items, item)
		if !p.acceptOp(",") {
			return fields
		}
	}
}

// groupItems reads the elements of GROUP BY; sets are allowed at its top and
// in GROUPING SETS.
func (p *parser) groupItems(sets bool) []frag {
	if !p.enter() {
		return nil
	}
	defer p.leave()
	var out []frag
	for {
		t := p.cur()
		switch {
		case sets && t.op("(") && p.peek(1).op(")"):
			p.i += 2
			out = append(out, p.mark(&GroupingSet{Pos: t.pos, Kind: "()"}))
		case sets && (t.word("rollup") || t.word("cube")) && p.peek(1).op("("):
			p.i += 2
			out = append(out, p.groupCall(t, strings.ToUpper(t.text), false))
		case sets && p.isWords("grouping", "sets"):
			p.i += 2
			p.expectOp("(")
			out = append(out, p.groupCall(t, "GROUPING SETS", true))
		default:
			out = append(out, p.expr())
		}
		if !p.acceptOp(",") {
			return out
		}
	}
}

func (p *parser) groupCall(t *token, kind string, sets bool) frag {
	items := p.groupItems(sets)
	p.expectOp(")")
	g := &GroupingSet{Pos: t.pos, Kind: kind, Sets: make([]GroupingSet, len(items))}
	return p.call("group", g, items...)
}

func (p *parser) windows(s *Select) []frag {
	var out []frag
	for {
		w := &Window{Pos: p.cur().pos, Name: p.colID()}
		p.expect("as")
		out = append(out, p.cat(p.ident(w.Name, w), p.text("AS"), p.windowSpec(w)))
		s.Windows = append(s.Windows, Window{})
		if !p.acceptOp(",") {
			return out
		}
	}
}
