package sql

import (
	"fmt"
	"strings"
)

// FormatExpr gives the normalised text of an expression: with no parentheses
// but those it needs. The text reads back to the same tree.
func FormatExpr(e Expr) string {
	var f formatter
	f.expr(e)
	return f.String()
}

// FormatQuery gives the normalised text of a query, which reads back to the
// same tree.
func FormatQuery(q *Query) string {
	var f formatter
	f.query(q)
	return f.String()
}

// FormatType gives the normalised text of a type.
func FormatType(t TypeName) string {
	var f formatter
	f.typeName(t)
	return f.String()
}

type formatter struct {
	strings.Builder
	full bool // parenthesise every operand: for tests of precedence
}

func (f *formatter) put(ss ...string) {
	for _, s := range ss {
		f.WriteString(s)
	}
}

// precPostfix binds tighter than any operator of the table in expr.go.
const (
	precPostfix = precSign + 1 // "::", subscripts, fields
	precPrimary = precPostfix + 1
)

// precedence gives how tightly the top of an expression binds.
func precedence(e Expr) int {
	switch e := e.(type) {
	case *Unary:
		switch e.Op {
		case "NOT":
			return precNot
		case "+", "-":
			if e.Schema == "" {
				return precSign
			}
		}
		return precOp
	case *Binary:
		return binaryPrecedence(e.Op, e.Schema)
	case *Quantified:
		return binaryPrecedence(e.Op, e.Schema)
	case *IsTest:
		return precIs
	case *Between, *In:
		return precLike
	case *Collate:
		return precCollate
	case *Cast, *Index, *Field:
		return precPostfix
	}
	return precPrimary
}

func binaryPrecedence(op, schema string) int {
	if schema != "" {
		return precOp
	}
	switch op {
	case "OR":
		return precOr
	case "AND":
		return precAnd
	case "IS DISTINCT FROM", "IS NOT DISTINCT FROM":
		return precIs
	case "LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "SIMILAR TO", "NOT SIMILAR TO":
		return precLike
	case "AT TIME ZONE":
		return precAt
	}
	return opPrecedence(op)
}

// operand writes an expression, in parentheses if it binds less than min.
func (f *formatter) operand(e Expr, min int) {
	if precedence(e) >= min && (!f.full || precedence(e) >= precPrimary) {
		f.expr(e)
		return
	}
	f.put("(")
	f.expr(e)
	f.put(")")
}

func (f *formatter) exprs(es []Expr) {
	for i, e := range es {
		if i > 0 {
			f.put(", ")
		}
		f.expr(e)
	}
}

func (f *formatter) expr(e Expr) {
	switch e := e.(type) {
	case *Literal:
		f.literal(e)
	case *Param:
		fmt.Fprintf(f, "$%d", e.Number)
	case *ColumnRef:
		f.put(formatName(e.Parts))
	case *Star:
		if len(e.Qualifier) > 0 {
			f.put(formatName(e.Qualifier), ".")
		}
		f.put("*")
	case *Default:
		f.put("DEFAULT")
	case *Unary:
		f.unary(e)
	case *Binary:
		f.binary(e)
	case *Quantified:
		f.quantified(e)
	case *IsTest:
		f.operand(e.Operand, precIs+1)
		f.put(" IS ", not(e.Not), e.Test)
	case *Between:
		f.between(e)
	case *In:
		f.in(e)
	case *Exists:
		f.put("EXISTS ")
		f.subquery(e.Query)
	case *Subquery:
		f.subquery(e.Query)
	case *ArrayQuery:
		f.put("ARRAY")
		f.subquery(e.Query)
	case *Array:
		f.put("ARRAY[")
		f.exprs(e.Elems)
		f.put("]")
	case *Row:
		f.row(e)
	case *Case:
		f.caseExpr(e)
	case *Cast:
		f.operand(e.Operand, precPostfix)
		f.put("::")
		f.typeName(e.Type)
	case *Collate:
		f.operand(e.Operand, precCollate)
		f.put(" COLLATE ", e.Collation.String())
	case *Field:
		f.base(e.Operand, false)
		f.put(".")
		if e.Name == "*" {
			f.put("*")
		} else {
			f.put(QuoteIdent(e.Name))
		}
	case *Index:
		f.index(e)
	case *Call:
		f.call(e)
	}
}

func not(b bool) string {
	if b {
		return "NOT "
	}
	return ""
}

func (f *formatter) subquery(q *Query) {
	f.put("(")
	f.query(q)
	f.put(")")
}

func (f *formatter) literal(l *Literal) {
	switch l.Kind {
	case LitNull:
		f.put("NULL")
	case LitString:
		f.put(QuoteLiteral(l.Text))
	case LitBits:
		f.put(l.Text[:1], QuoteLiteral(l.Text[1:]))
	default:
		f.put(l.Text)
	}
}

// operatorText gives an operator's symbol, qualified if it must be.
func operatorText(op, schema string) string {
	if schema == "" {
		return op
	}
	return "OPERATOR(" + formatName(strings.Split(schema, ".")) + "." + op + ")"
}

func (f *formatter) unary(e *Unary) {
	switch p := precedence(e); p {
	case precNot:
		f.put("NOT ")
		f.operand(e.Operand, precNot)
	case precSign:
		f.put(e.Op)
		if u, ok := e.Operand.(*Unary); ok && precedence(u) == precSign {
			f.put(" ") // two minus signs would start a comment
		}
		f.operand(e.Operand, precSign)
	default:
		f.put(operatorText(e.Op, e.Schema), " ")
		f.operand(e.Operand, precOp+1)
	}
}

func (f *formatter) binary(e *Binary) {
	if e.Op == "OVERLAPS" {
		f.expr(e.Left)
		f.put(" OVERLAPS ")
		f.expr(e.Right)
		return
	}
	p := precedence(e)
	left, right := p, p+1
	switch p {
	case precIs, precCompare, precLike:
		left = p + 1
	case precOr, precAnd:
		right = p // read as one chain
	}
	f.operand(e.Left, left)
	f.put(" ", operatorText(e.Op, e.Schema), " ")
	f.operand(e.Right, right)
	if e.Escape != nil {
		f.put(" ESCAPE ")
		f.operand(e.Escape, p+1)
	}
}

func (f *formatter) quantified(e *Quantified) {
	p := precedence(e)
	if p == precCompare || p == precLike {
		p++
	}
	f.operand(e.Operand, p)
	f.put(" ", operatorText(e.Op, e.Schema))
	if e.All {
		f.put(" ALL ")
	} else {
		f.put(" ANY ")
	}
	if e.Query != nil {
		f.subquery(e.Query)
		return
	}
	f.put("(")
	f.expr(e.Array)
	f.put(")")
}

func (f *formatter) between(e *Between) {
	f.operand(e.Operand, precLike+1)
	f.put(" ", not(e.Not), "BETWEEN ")
	if e.Symmetric {
		f.put("SYMMETRIC ")
	}
	f.operand(e.Low, precPostfix) // the grammar allows only some operators here
	f.put(" AND ")
	f.operand(e.High, precLike+1)
}

func (f *formatter) in(e *In) {
	f.operand(e.Operand, precLike+1)
	f.put(" ", not(e.Not), "IN ")
	if e.Query != nil {
		f.subquery(e.Query)
		return
	}
	f.put("(")
	f.exprs(e.List)
	f.put(")")
}

func (f *formatter) row(e *Row) {
	if e.Explicit || len(e.Elems) < 2 {
		f.put("ROW")
	}
	f.put("(")
	f.exprs(e.Elems)
	f.put(")")
}

func (f *formatter) caseExpr(e *Case) {
	f.put("CASE")
	if e.Operand != nil {
		f.put(" ")
		f.expr(e.Operand)
	}
	for _, w := range e.Whens {
		f.put(" WHEN ")
		f.expr(w.Cond)
		f.put(" THEN ")
		f.expr(w.Result)
	}
	if e.Else != nil {
		f.put(" ELSE ")
		f.expr(e.Else)
	}
	f.put(" END")
}

// base writes what a subscript or a field selects from. A column's name
// takes a subscript as it is, but a field only in parentheses.
func (f *formatter) base(e Expr, subscript bool) {
	switch e.(type) {
	case *Param, *Index, *Field, *Subquery:
		f.expr(e)
		return
	case *ColumnRef:
		if subscript {
			f.expr(e)
			return
		}
	}
	f.put("(")
	f.expr(e)
	f.put(")")
}

func (f *formatter) index(e *Index) {
	f.base(e.Operand, true)
	f.put("[")
	if e.Low != nil {
		f.expr(e.Low)
	}
	if e.IsSlice {
		f.put(" : ") // ":" and a following operator or colon must not join
		if e.Hi != nil {
			f.expr(e.Hi)
		}
	}
	f.put("]")
}

// bareCalls are the functions whose names are keywords of the grammar and
// that take a plain list of arguments.
var bareCalls = map[string]bool{
	"coalesce": true, "greatest": true, "least": true, "nullif": true, "grouping": true,
	"substring": true, "overlay": true,
}

// bareWords are the functions that are called without parentheses.
var bareWords = map[string]bool{
	"current_date": true, "current_time": true, "current_timestamp": true, "localtime": true,
	"localtimestamp": true, "current_role": true, "current_user": true, "session_user": true, "user": true,
	"current_catalog": true,
}

// specialCall writes the calls that have a syntax of their own.
func (f *formatter) specialCall(e *Call) bool {
	if len(e.Name.Parts) != 1 || e.Star || e.Distinct || e.Variadic || e.OrderBy != nil || e.Filter != nil || e.Over != nil {
		return false
	}
	name := e.Name.Parts[0]
	switch {
	case bareWords[name] && len(e.Args) == 0:
		f.put(name)
	case bareWords[name], bareCalls[name] && len(e.Args) > 0:
		f.put(name, "(")
		f.args(e)
		f.put(")")
	case name == "extract" && len(e.Args) == 2:
		field, ok := e.Args[0].Expr.(*Literal)
		if !ok || field.Kind != LitString {
			return false
		}
		f.put("extract(")
		if plainIdent(field.Text) && KeywordClassOf(field.Text) <= UnreservedKeyword {
			f.put(field.Text)
		} else {
			f.literal(field)
		}
		f.put(" FROM ")
		f.expr(e.Args[1].Expr)
		f.put(")")
	case name == "position" && len(e.Args) == 2:
		f.put("position(")
		f.operand(e.Args[1].Expr, precPostfix)
		f.put(" IN ")
		f.operand(e.Args[0].Expr, precPostfix)
		f.put(")")
	default:
		return false
	}
	return true
}

func (f *formatter) args(e *Call) {
	for i, a := range e.Args {
		if i > 0 {
			f.put(", ")
		}
		if e.Variadic && i == len(e.Args)-1 {
			f.put("VARIADIC ")
		}
		if a.Name != "" {
			f.put(QuoteIdent(a.Name), " => ")
		}
		f.expr(a.Expr)
	}
}

func (f *formatter) call(e *Call) {
	if f.specialCall(e) {
		return
	}
	f.put(quoteFunction(e.Name.Parts), "(")
	if e.Distinct {
		f.put("DISTINCT ")
	}
	if e.Star {
		f.put("*")
	}
	f.args(e)
	if len(e.OrderBy) > 0 && !e.WithinGroup {
		f.put(" ORDER BY ")
		f.order(e.OrderBy)
	}
	f.put(")")
	if e.WithinGroup {
		f.put(" WITHIN GROUP (ORDER BY ")
		f.order(e.OrderBy)
		f.put(")")
	}
	if e.Filter != nil {
		f.put(" FILTER (WHERE ")
		f.expr(e.Filter)
		f.put(")")
	}
	if e.IgnoreNulls {
		f.put(" IGNORE NULLS")
	}
	if e.Over != nil {
		f.put(" OVER ")
		if e.Over.IsRef {
			f.put(QuoteIdent(e.Over.Name))
		} else {
			f.window(e.Over)
		}
	}
}

func (f *formatter) typeName(t TypeName) {
	if t.SetOf {
		f.put("SETOF ")
	}
	name, suffix := formatName(t.Parts), ""
	if _, ok := canonicalTypes[t.Parts[0]]; ok && len(t.Parts) == 1 {
		name = t.Parts[0]
		if s, ok := strings.CutSuffix(name, " with time zone"); ok {
			name, suffix = s, " with time zone"
		}
	}
	f.put(name)
	fields := ""
	if t.Fields != "" {
		fields = " " + t.Fields
	}
	f.put(fields)
	if len(t.Mods) > 0 {
		for i, m := range t.Mods {
			if i == 0 {
				f.put("(")
			} else {
				f.put(", ")
			}
			fmt.Fprintf(f, "%d", m)
		}
		f.put(")")
	}
	f.put(suffix, strings.Repeat("[]", t.Array))
}
