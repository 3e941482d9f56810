package expr

import (
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/types"
)

// String gives the column's name, or #index if it has none.
func (e *Column) String() string {
	if e.Name == "" {
		return "#" + strconv.Itoa(e.Index)
	}
	return e.Name
}

// String gives the literal as SQL, with its type where the literal alone
// would not have it.
func (e *Const) String() string {
	d := e.Value
	if d.Null {
		return "NULL::" + d.Type.String()
	}
	s := d.String()
	switch d.Type.Kind {
	case types.Bool:
		if d.I != 0 {
			return "true"
		}
		return "false"
	case types.Int4:
		if d.I >= 0 {
			return s
		}
	case types.Numeric:
		if s[0] != '-' && strings.Contains(s, ".") {
			return s
		}
	case types.Unknown:
		return quoteLiteral(s)
	}
	return quoteLiteral(s) + "::" + d.Type.String()
}

func quoteLiteral(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// String gives the call as SQL: an operator infix, a cast with "::".
func (e *Call) String() string {
	switch {
	case e.Func.cast:
		return "(" + str(e.Args[0]) + ")::" + e.T.String()
	case e.Func.isOp() && len(e.Args) == 2:
		return "(" + str(e.Args[0]) + " " + e.Func.Name + " " + str(e.Args[1]) + ")"
	case e.Func.isOp():
		return "(" + e.Func.Name + " " + str(e.Args[0]) + ")"
	}
	return e.Func.Name + "(" + join(e.Args, ", ") + ")"
}

// String gives "(a AND b)".
func (e *And) String() string { return "(" + join(e.Args, " AND ") + ")" }

// String gives "(a OR b)".
func (e *Or) String() string { return "(" + join(e.Args, " OR ") + ")" }

// String gives "(NOT a)".
func (e *Not) String() string { return "(NOT " + str(e.Arg) + ")" }

// String gives "(a IS NULL)".
func (e *IsNull) String() string { return "(" + str(e.Arg) + " IS NULL)" }

// String gives "(a IS TRUE)" or "(a IS FALSE)".
func (e *IsTrue) String() string {
	if e.Want {
		return "(" + str(e.Arg) + " IS TRUE)"
	}
	return "(" + str(e.Arg) + " IS FALSE)"
}

// String gives "(a IS DISTINCT FROM b)".
func (e *Distinct) String() string {
	return "(" + str(e.Left) + " IS DISTINCT FROM " + str(e.Right) + ")"
}

// String gives "CASE WHEN … THEN … ELSE … END".
func (e *Case) String() string {
	var b strings.Builder
	b.WriteString("CASE")
	for i := range e.Conds {
		b.WriteString(" WHEN " + str(e.Conds[i]) + " THEN " + str(e.Results[i]))
	}
	b.WriteString(" ELSE " + str(e.Else) + " END")
	return b.String()
}

// String gives "COALESCE(a, b)".
func (e *Coalesce) String() string { return "COALESCE(" + join(e.Args, ", ") + ")" }

// String gives "(a IN (1, 2))".
func (e *InList) String() string {
	items := make([]string, 0, len(e.Values)+1)
	for _, d := range e.Values {
		items = append(items, (&Const{Value: d}).String())
	}
	if e.Null {
		items = append(items, "NULL")
	}
	return "(" + str(e.Arg) + " IN (" + strings.Join(items, ", ") + "))"
}

// String gives the aggregate as SQL.
func (a *Aggregate) String() string {
	s := a.Func.Name + "("
	switch {
	case len(a.Args) == 0:
		s += "*"
	case a.Distinct:
		s += "DISTINCT " + join(a.Args, ", ")
	default:
		s += join(a.Args, ", ")
	}
	s += ")"
	if a.Filter != nil {
		s += " FILTER (WHERE " + str(a.Filter) + ")"
	}
	return s
}

// stringer is what every node also is.
type stringer interface{ String() string }

func str(e Expr) string {
	if s, ok := e.(stringer); ok {
		return s.String()
	}
	return "?"
}

func join(es []Expr, sep string) string {
	s := make([]string, len(es))
	for i, e := range es {
		s[i] = str(e)
	}
	return strings.Join(s, sep)
}
