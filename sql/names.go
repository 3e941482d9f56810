package sql

import "strings"

// QuoteIdent quotes an identifier where it would not read back as itself:
// as PostgreSQL's quote_identifier does.
func QuoteIdent(s string) string {
	if plainIdent(s) && KeywordClassOf(s) <= UnreservedKeyword {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

func plainIdent(s string) bool {
	if s == "" || isDigit(s[0]) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '_' && (c < 'a' || c > 'z') && !isDigit(c) {
			return false
		}
	}
	return true
}

// QuoteLiteral gives text as a string constant.
func QuoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// String gives the name quoted and dotted.
func (n Name) String() string { return formatName(n.Parts) }

func formatName(parts []string) string {
	qs := make([]string, len(parts))
	for i, p := range parts {
		qs[i] = QuoteIdent(p)
	}
	return strings.Join(qs, ".")
}

// quoteFunction quotes a function's name, which may also be one of the words
// for functions and types.
func quoteFunction(parts []string) string {
	if len(parts) == 1 && KeywordClassOf(parts[0]) == FunctionKeyword {
		return parts[0]
	}
	return formatName(parts)
}

// NoName is the name of an output column that has none.
const NoName = "?column?"

// OutputName gives the name of a select item without an alias, as PostgreSQL
// derives it.
func OutputName(e Expr) string {
	if name, _ := figureName(e); name != "" {
		return name
	}
	return NoName
}

// figureName gives a name and how good it is: 0 for none, 1 for a type's or
// "case", which yield to a better one inside, 2 for a name that stands.
func figureName(e Expr) (string, int) {
	switch e := e.(type) {
	case *ColumnRef:
		return e.Parts[len(e.Parts)-1], 2
	case *Field:
		if e.Name != "*" {
			return e.Name, 2
		}
	case *Index:
		return figureName(e.Operand)
	case *Call:
		return e.Name.Parts[len(e.Name.Parts)-1], 2
	case *Binary:
		switch e.Op {
		case "AT TIME ZONE":
			return "timezone", 2
		case "OVERLAPS":
			return "overlaps", 2
		}
	case *Cast:
		if name, rank := figureName(e.Operand); rank > 1 {
			return name, rank
		}
		return CanonicalType(e.Type), 1
	case *Collate:
		return figureName(e.Operand)
	case *Case:
		if name, rank := figureName(e.Else); rank > 1 {
			return name, rank
		}
		return "case", 1
	case *Array, *ArrayQuery:
		return "array", 2
	case *Row:
		return "row", 2
	case *Exists:
		return "exists", 2
	case *Subquery:
		return firstOutput(e.Query), 2
	}
	return "", 0
}

// firstOutput gives the name of a query's first column.
func firstOutput(q *Query) string {
	for {
		switch b := q.Body.(type) {
		case *SetOp:
			q = b.Left
			continue
		case *Values:
			return "column1"
		case *Select:
			if len(b.Items) == 0 {
				return NoName
			}
			if b.Items[0].Alias != "" {
				return b.Items[0].Alias
			}
			return OutputName(b.Items[0].Expr)
		}
		return NoName
	}
}
