package sql

import (
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// typeWords are the types that the grammar knows by keyword.
var typeWords = map[string]bool{
	"bigint": true, "bit": true, "boolean": true, "char": true, "character": true, "dec": true,
	"decimal": true, "float": true, "int": true, "integer": true, "interval": true,
	"national": true, "nchar": true, "numeric": true, "real": true, "smallint": true, "time": true,
	"timestamp": true, "varchar": true,
}

// canonicalTypes maps the names of the standard to PostgreSQL's own.
var canonicalTypes = map[string]string{
	"bigint": "int8", "bit": "bit", "bit varying": "varbit", "boolean": "bool", "character": "bpchar",
	"character varying": "varchar", "decimal": "numeric", "double precision": "float8", "int": "int4",
	"integer": "int4", "numeric": "numeric", "real": "float4", "smallint": "int2",
	"time": "time", "time with time zone": "timetz", "timestamp": "timestamp",
	"timestamp with time zone": "timestamptz", "interval": "interval", "varchar": "varchar",
}

// CanonicalType gives PostgreSQL's own name of a type as its catalog has it:
// int4 for integer, timestamptz for timestamp with time zone. Other names
// are given as they are, without their schema.
func CanonicalType(t TypeName) string {
	name := t.Parts[len(t.Parts)-1]
	if c, ok := canonicalTypes[name]; ok && len(t.Parts) == 1 {
		return c
	}
	return name
}

// typeName reads a type with array bounds.
func (p *parser) typeName() TypeName {
	pos := p.cur().pos
	setOf := p.accept("setof")
	t := p.simpleType()
	t.Pos, t.SetOf = pos, setOf
	if p.accept("array") {
		t.Array = 1
		if p.acceptOp("[") {
			p.integer()
			p.expectOp("]")
		}
		return t
	}
	for p.acceptOp("[") {
		if p.cur().kind == tokInteger {
			p.next()
		}
		p.expectOp("]")
		t.Array++
	}
	return t
}

// integer takes an integer constant.
func (p *parser) integer() int64 {
	t := p.cur()
	if t.kind != tokInteger {
		p.unexpected()
		return 0
	}
	p.next()
	n, err := strconv.ParseInt(t.text, 10, 32)
	if err != nil { // PostgreSQL's grammar wants an int4 here
		p.unexpectedAt(t)
	}
	return n
}

// typeMods reads "(n, …)".
func (p *parser) typeMods() []int64 {
	p.expectOp("(")
	var ms []int64
	for {
		neg := p.acceptOp("-")
		n := p.integer()
		if neg {
			n = -n
		}
		ms = append(ms, n)
		if !p.acceptOp(",") {
			break
		}
	}
	p.expectOp(")")
	return ms
}

func (p *parser) optTypeMods() []int64 {
	if !p.isOp("(") {
		return nil
	}
	return p.typeMods()
}

// simpleType reads a type without array bounds.
func (p *parser) simpleType() TypeName {
	t := p.cur()
	out := TypeName{Pos: t.pos}
	if t.kind == tokWord && (typeWords[t.text] || t.text == "double" && p.peek(1).word("precision")) && !p.peek(1).op(".") {
		p.next()
		p.keywordType(t.text, &out)
		return out
	}
	if !isTypeFunc(t) && !(isColID(t) && p.peek(1).op(".")) {
		p.unexpected()
		return out
	}
	out.Parts = []string{p.next().text}
	for p.acceptOp(".") {
		out.Parts = append(out.Parts, p.label())
	}
	out.Mods = p.optTypeMods()
	return out
}

func (p *parser) keywordType(word string, t *TypeName) {
	name := word
	switch word {
	case "double":
		p.expect("precision")
		name = "double precision"
	case "bit", "char", "character", "nchar", "national":
		if word == "national" && !p.accept("character") {
			p.expect("char")
		}
		if word != "bit" {
			name = "character"
		}
		if p.accept("varying") {
			name += " varying"
		}
		t.Mods = p.optTypeMods()
		if t.Mods == nil && (name == "character" || name == "bit") {
			t.Mods = []int64{1} // as the standard has it; see typedLiteral
		}
	case "varchar", "numeric", "decimal", "dec":
		if word == "dec" {
			name = "decimal"
		}
		t.Mods = p.optTypeMods()
	case "float":
		name = p.floatType()
	case "time", "timestamp":
		if p.isOp("(") {
			t.Mods = []int64{p.precision()}
		}
		switch {
		case p.isWord("with") && p.peek(1).word("time"):
			p.i += 2
			p.expect("zone")
			name += " with time zone"
		case p.accept("without"):
			p.expect("time", "zone")
		}
	case "interval":
		if p.isOp("(") {
			t.Mods = []int64{p.precision()}
		} else {
			p.intervalFields(t)
		}
	}
	t.Parts = []string{name}
}

// precision reads "(n)".
func (p *parser) precision() int64 {
	p.expectOp("(")
	n := p.integer()
	p.expectOp(")")
	return n
}

// floatType reads FLOAT's precision in bits and gives the type it means.
func (p *parser) floatType() string {
	pos := p.peek(1).pos
	if !p.isOp("(") {
		return "double precision"
	}
	switch n := p.precision(); {
	case n < 1:
		p.failAt(pgerr.InvalidParameterValue, pos, "precision for type float must be at least 1 bit")
	case n <= 24:
		return "real"
	case n > 53:
		p.failAt(pgerr.InvalidParameterValue, pos, "precision for type float must be less than 54 bits")
	}
	return "double precision"
}

// intervalRanges are the last fields that may follow "first TO".
var intervalRanges = map[string]string{
	"year":   "month",
	"day":    "hour minute second",
	"hour":   "minute second",
	"minute": "second",
}

// intervalFields reads INTERVAL's field words.
func (p *parser) intervalFields(t *TypeName) {
	if !p.oneOf("year", "month", "day", "hour", "minute", "second") {
		return
	}
	first := p.next().text
	t.Fields = strings.ToUpper(first)
	last := first
	if p.isWord("to") {
		p.next()
		last = p.cur().text
		if p.cur().kind != tokWord || !strings.Contains(" "+intervalRanges[first]+" ", " "+last+" ") {
			p.unexpected()
			return
		}
		p.next()
		t.Fields += " TO " + strings.ToUpper(last)
	}
	if last == "second" && p.isOp("(") {
		t.Mods = []int64{p.precision()}
	}
}

// anyName reads a possibly qualified name as collations have it.
func (p *parser) anyName() Name { return p.name() }
