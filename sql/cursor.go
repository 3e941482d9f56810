package sql

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// parser reads statements from tokens. Its first error sticks and moves the
// cursor to the end, where no word or operator matches any more: callers
// need not look at the error until they are done.
type parser struct {
	src   string
	toks  []token
	i     int
	far   int // the furthest token that did not match while words before it did
	depth int
	// strayDefault is where the word DEFAULT stood in an expression: an error
	// of meaning, which any error of syntax precedes.
	strayDefault Pos

	err    *pgerr.Error
	pieces []piece // pieces[0] is unused: 0 means none
	sides  []Node
}

func newParser(src string) (*parser, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	return &parser{src: src, toks: toks, pieces: make([]piece, 1, len(toks)+8)}, nil
}

// reset forgets the kernel text of the statement before.
func (p *parser) reset() {
	p.pieces = p.pieces[:1]
	p.sides = nil
}

func (p *parser) cur() *token { return &p.toks[p.i] }

// peek gives the token n places ahead, the end of input past the last.
func (p *parser) peek(n int) *token { return &p.toks[min(p.i+n, len(p.toks)-1)] }

func (p *parser) next() *token {
	t := &p.toks[p.i]
	if t.kind != tokEOF {
		p.i++
	}
	return t
}

func (t *token) word(w string) bool { return t.kind == tokWord && t.text == w }
func (t *token) op(o string) bool   { return t.kind == tokOp && t.text == o }

func (p *parser) isWord(w string) bool { return p.toks[p.i].word(w) }
func (p *parser) isOp(o string) bool   { return p.toks[p.i].op(o) }

// isWords tells whether the words stand next, in this order.
func (p *parser) isWords(ws ...string) bool {
	for n, w := range ws {
		if !p.peek(n).word(w) {
			if n > 0 {
				p.far = max(p.far, min(p.i+n, len(p.toks)-1))
			}
			return false
		}
	}
	return true
}

// oneOf tells whether one of the words stands next.
func (p *parser) oneOf(ws ...string) bool {
	for _, w := range ws {
		if p.isWord(w) {
			return true
		}
	}
	return false
}

// accept takes the words if all of them stand next.
func (p *parser) accept(ws ...string) bool {
	if !p.isWords(ws...) {
		return false
	}
	p.i += len(ws)
	return true
}

func (p *parser) acceptOp(o string) bool {
	if !p.isOp(o) {
		return false
	}
	p.i++
	return true
}

// expect takes the words or fails at the first that is not there.
func (p *parser) expect(ws ...string) {
	for _, w := range ws {
		if !p.accept(w) {
			p.unexpected()
			return
		}
	}
}

func (p *parser) expectOp(o string) {
	if !p.acceptOp(o) {
		p.unexpected()
	}
}

// end checks that nothing follows but a semicolon, if one may, and gives the
// statement's error.
func (p *parser) end(semicolon bool) error {
	if p.cur().kind != tokEOF && !(semicolon && p.isOp(";")) {
		p.unexpected()
	}
	if p.strayDefault > 0 {
		p.failAt(pgerr.SyntaxError, p.strayDefault, "DEFAULT is not allowed in this context")
	}
	if p.err != nil {
		return p.err
	}
	return nil
}

// failAt sets the error, unless there is one.
func (p *parser) failAt(code pgerr.Code, pos Pos, format string, args ...any) {
	if p.err == nil {
		p.err = pgerr.New(code, format, args...).At(int(pos))
		p.i = len(p.toks) - 1
	}
}

// refuse refuses by name what PostgreSQL has and streamdb does not.
func (p *parser) refuse(pos Pos, format string, args ...any) {
	if p.err == nil {
		p.failAt("", pos, "")
		p.err = pgerr.Unsupported(format, args...).At(int(pos))
	}
}

// unexpected is the syntax error at the cursor, or behind the words at the
// cursor that could go no other way.
func (p *parser) unexpected() { p.unexpectedAt(&p.toks[max(p.i, p.far)]) }

func (p *parser) unexpectedAt(t *token) {
	if t.kind == tokEOF {
		p.failAt(pgerr.SyntaxError, t.pos, "syntax error at end of input")
		return
	}
	p.failAt(pgerr.SyntaxError, t.pos, `syntax error at or near "%s"`, p.src[t.start:t.end])
}

// enter counts one level of nesting; leave must follow if it gives true.
func (p *parser) enter() bool {
	if p.depth >= maxNesting {
		p.tooDeep()
		return false
	}
	p.depth++
	return true
}

func (p *parser) leave() { p.depth-- }

// name classes, as the grammar of PostgreSQL calls them.

// isColID: may name a column or table.
func isColID(t *token) bool {
	return t.kind == tokQuoted || t.kind == tokWord && t.kw.class <= ColumnKeyword
}

// isTypeFunc: may name a type or function.
func isTypeFunc(t *token) bool {
	return t.kind == tokQuoted || t.kind == tokWord && t.kw.class != ColumnKeyword && t.kw.class != ReservedKeyword
}

// isLabel: may follow a dot or AS.
func isLabel(t *token) bool { return t.kind == tokQuoted || t.kind == tokWord }

// colID takes an identifier that names a column, table or other object.
func (p *parser) colID() string {
	if !isColID(p.cur()) {
		p.unexpected()
		return ""
	}
	return p.next().text
}

// label takes any identifier or keyword.
func (p *parser) label() string {
	if !isLabel(p.cur()) {
		p.unexpected()
		return ""
	}
	return p.next().text
}

// name takes a possibly qualified name.
func (p *parser) name() Name {
	n := Name{Pos: p.cur().pos, Parts: []string{p.colID()}}
	for p.acceptOp(".") {
		n.Parts = append(n.Parts, p.label())
	}
	if len(n.Parts) > 3 {
		p.failAt(pgerr.SyntaxError, n.Pos, "improper qualified name (too many dotted names): %s", strings.Join(n.Parts, "."))
	}
	return n
}

// names takes a comma-separated list of names.
func (p *parser) names() []Name {
	ns := []Name{p.name()}
	for p.acceptOp(",") {
		ns = append(ns, p.name())
	}
	return ns
}

// columnList takes "(a, b, …)".
func (p *parser) columnList() []string {
	p.expectOp("(")
	cs := []string{p.colID()}
	for p.acceptOp(",") {
		cs = append(cs, p.colID())
	}
	p.expectOp(")")
	return cs
}

// optColumnList takes "(a, b, …)" if it stands there.
func (p *parser) optColumnList() []string {
	if !p.isOp("(") {
		return nil
	}
	return p.columnList()
}

// stringConst takes a string constant.
func (p *parser) stringConst() string {
	if p.cur().kind != tokString {
		p.unexpected()
		return ""
	}
	return p.next().text
}

// slice gives the source from token index i up to the cursor.
func (p *parser) slice(i int) string {
	if i >= p.i {
		return ""
	}
	return p.src[p.toks[i].start:p.toks[p.i-1].end]
}
