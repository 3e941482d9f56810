package sql

import (
	"sync"

	tidb "github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/mysql"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// Parse reads all statements of a query string. Empty statements and
// comments give none. The error is a *pgerr.Error with SQLSTATE and, where
// it has a place, position; no statement is given with it.
//
// Parsing is bounded: a query string has at most 16 MiB (54000), expressions
// and subqueries nest at most 1,000 levels, and the tree of a statement is
// at most some 20,000 levels high (54001). Chains of AND and OR come back
// balanced; chains of other operators, joins and set operations are as high
// as they are long.
func Parse(src string) ([]Text, error) {
	p, err := newParser(src)
	if err != nil {
		return nil, err
	}
	var out []Text
	for {
		for p.acceptOp(";") {
			continue
		}
		if p.cur().kind == tokEOF {
			break
		}
		p.reset()
		first := p.i
		s := p.statement()
		if err := p.end(true); err != nil {
			return nil, err
		}
		out = append(out, Text{Stmt: s, SQL: p.slice(first)})
	}
	return out, nil
}

// ParseExpr reads a lone scalar expression.
func ParseExpr(src string) (Expr, error) {
	p, err := newParser(src)
	if err != nil {
		return nil, err
	}
	e := p.scalar(p.expr())
	if err := p.end(false); err != nil {
		return nil, err
	}
	return e, nil
}

// ParseQuery reads a lone query.
func ParseQuery(src string) (*Query, error) {
	p, err := newParser(src)
	if err != nil {
		return nil, err
	}
	q := p.run(p.query())
	if err := p.end(false); err != nil {
		return nil, err
	}
	return q, nil
}

// maxPooled bounds the kernel text whose parser goes back to the pool: a
// parser keeps the buffers of the longest text it has read.
const maxPooled = 64 << 10

// kernelParsers holds TiDB parsers, which serve one goroutine at a time.
var kernelParsers = sync.Pool{New: func() any {
	tp := tidb.New()
	tp.SetSQLMode(mysql.ModeANSIQuotes | mysql.ModePipesAsConcat | mysql.ModeNoBackslashEscapes | mysql.ModeIgnoreSpace)
	return tp
}}

// run hands an emitted query to TiDB's parser and decodes the answer. It
// never gives nil; the query is empty after an error.
func (p *parser) run(f frag) *Query {
	if p.err != nil {
		return &Query{}
	}
	k := p.render(f)
	q, err := k.parse()
	if err != nil {
		err.Cause = &kernelError{cause: err.Cause, source: p.src, kernel: k.text}
		p.failAt(pgerr.InternalError, 0, "%s", err.Message)
		p.err = err
		return &Query{}
	}
	return q
}

// kernelError keeps both texts for the log: that TiDB's parser refuses what
// the front has accepted is a bug of ours.
type kernelError struct {
	cause          error
	source, kernel string
}

func (e *kernelError) Error() string {
	s := "kernel text " + e.kernel + " of query " + e.source
	if e.cause != nil {
		s = e.cause.Error() + ": " + s
	}
	return s
}

func (e *kernelError) Unwrap() error { return e.cause }

func (k kernelText) parse() (q *Query, err *pgerr.Error) {
	defer func() {
		if r := recover(); r != nil { // a foreign parser must not end the process
			q, err = nil, pgerr.Internal("the kernel parser panicked: %v", r)
		}
	}()
	tp := kernelParsers.Get().(*tidb.Parser)
	q, err = k.parseWith(tp)
	if len(k.text) <= maxPooled { // and not after a panic
		kernelParsers.Put(tp)
	}
	return q, err
}

// parseWith parses and decodes: the list of statements is the parser's own,
// so it must be read before the parser serves another goroutine.
func (k kernelText) parseWith(tp *tidb.Parser) (*Query, *pgerr.Error) {
	stmts, _, err := tp.ParseSQL(k.text)
	if err != nil || len(stmts) != 1 {
		return nil, pgerr.Wrap(err, pgerr.InternalError, "the kernel parser refused a query that streamdb accepts")
	}
	d := decoder{kernelText: k}
	q := d.query(stmts[0])
	return q, d.err
}

// scalar runs an expression on its own.
func (p *parser) scalar(f frag) Expr {
	s := &Select{Items: make([]SelectItem, 1)}
	q := p.run(p.cat(p.text("SELECT"), p.mark(s), p.text(","), f))
	if b, ok := q.Body.(*Select); ok && p.err == nil {
		return b.Items[0].Expr
	}
	return nil
}
