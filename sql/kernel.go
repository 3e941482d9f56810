package sql

import (
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// The kernel language is the small dialect in which a query is handed to
// TiDB's parser. The front recognises PostgreSQL's syntax and makes, for each
// element, a node of our own tree with holes where its operands belong; the
// nodes stand aside, numbered. The kernel text carries the structure alone:
//
//	?                      a node without operands: a literal, a parameter,
//	                       the head of a SELECT, of an ORDER BY or of a chain
//	"name<1>n"             an identifier that stands for node n
//	"form<1>n"(a, b, …)    node n with its operands, in the order of its holes
//	(? + a - b)            a chain of operators with one precedence
//	CASE "case<1>n"(…) WHEN … THEN … [ELSE …] END
//	FIRST_VALUE(call) OVER (PARTITION BY … ORDER BY …) | OVER "name"
//	SELECT ?, item, … FROM … WHERE … GROUP BY … HAVING … WINDOW "w<1>n" AS (…)
//	query UNION [ALL] query …, ORDER BY ?, key, …, WITH "cte<1>n" AS (query)
//	left JOIN right ON "join<1>n"([condition])
//	(query) AS "derived<1>n", (SELECT call, …) AS "function<1>n"
//
// decode.go takes TiDB's tree of this text and fills the holes. Everything
// user-written is quoted or stands aside, so no word or operator of MySQL's
// can change its meaning.

// sideMark separates a kernel identifier from its node's number.
const sideMark = '\x01'

// hole marks an operand that the decoder will fill in.
var hole Expr = &Default{}

// Limits of what a statement may nest. Recursion while parsing follows
// maxNesting; the height of a finished tree is bounded by maxHeight, which
// long chains of arithmetic and joins reach: AND and OR do not, they are
// balanced.
const (
	maxNesting = 1000
	maxHeight  = 20000
)

type pieceKind uint8

const (
	pieceText pieceKind = iota
	pieceIdent
	pieceMark
)

// piece is one element of kernel text. Pieces form linked lists, so that
// text can be put before what is already there.
type piece struct {
	text string
	side int32
	next int32
	kind pieceKind
}

// frag is a run of pieces (indexes into parser.pieces, 0 for none) and the
// height of the tree that it stands for.
type frag struct{ first, last, height int32 }

func (p *parser) piece(kind pieceKind, text string, side int32) frag {
	p.pieces = append(p.pieces, piece{kind: kind, text: text, side: side})
	n := int32(len(p.pieces) - 1)
	return frag{n, n, 0}
}

func (p *parser) text(s string) frag { return p.piece(pieceText, s, 0) }

// aside puts a node aside and gives its number.
func (p *parser) aside(n Node) int32 {
	p.sides = append(p.sides, n)
	return int32(len(p.sides) - 1)
}

// mark is a "?" that stands for a node without operands.
func (p *parser) mark(n Node) frag { return p.piece(pieceMark, "?", p.aside(n)) }

// ident is an identifier that stands for a node.
func (p *parser) ident(name string, n Node) frag { return p.piece(pieceIdent, name, p.aside(n)) }

// cat joins runs into one.
func (p *parser) cat(fs ...frag) frag {
	var out frag
	for _, f := range fs {
		switch {
		case f.first == 0:
			continue
		case out.first == 0:
			out.first = f.first
		default:
			p.pieces[out.last].next = f.first
		}
		out.last = f.last
		out.height = max(out.height, f.height)
	}
	return out
}

// list joins runs with commas.
func (p *parser) list(fs []frag) frag {
	var out frag
	for i, f := range fs {
		if i > 0 {
			out = p.cat(out, p.text(","))
		}
		out = p.cat(out, f)
	}
	return out
}

// higher gives f one level more.
func (p *parser) higher(f frag) frag {
	f.height++
	if f.height > maxHeight {
		p.tooDeep()
	}
	return f
}

// call is a node with its operands.
func (p *parser) call(form string, n Node, args ...frag) frag {
	return p.higher(p.cat(p.ident(form, n), p.text("("), p.list(args), p.text(")")))
}

func (p *parser) parens(f frag) frag { return p.cat(p.text("("), f, p.text(")")) }

func (p *parser) tooDeep() {
	p.failAt(pgerr.StatementTooComplex, p.cur().pos, "stack depth limit exceeded")
	if p.err.Code == pgerr.StatementTooComplex {
		p.err.Position = 0
		p.err.Hint = "Split the statement: an expression may nest " + strconv.Itoa(maxNesting) +
			" levels, and its tree may be " + strconv.Itoa(maxHeight) + " high."
	}
}

// kernelText is rendered kernel text with what is needed to read it back.
type kernelText struct {
	text  string
	marks []markSide // by ascending offset
	sides []Node
}

// markSide tells which node the "?" at an offset stands for.
type markSide struct{ offset, side int32 }

func (p *parser) render(f frag) kernelText {
	k := kernelText{sides: p.sides}
	var b strings.Builder
	for i := f.first; i != 0; i = p.pieces[i].next {
		pc := &p.pieces[i]
		switch pc.kind {
		case pieceText:
			b.WriteString(pc.text)
		case pieceMark:
			k.marks = append(k.marks, markSide{int32(b.Len()), pc.side})
			b.WriteByte('?')
		case pieceIdent:
			b.WriteByte('"')
			b.WriteString(strings.ReplaceAll(pc.text, `"`, `""`))
			b.WriteByte(sideMark)
			b.WriteString(strconv.Itoa(int(pc.side)))
			b.WriteByte('"')
		}
		b.WriteByte(' ')
		if i == f.last {
			break
		}
	}
	k.text = b.String()
	return k
}
