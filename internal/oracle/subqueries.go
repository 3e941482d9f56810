package oracle

import (
	"fmt"
	"slices"
)

func init() { // they are in focus and counted like the other constructs
	for _, f := range subqueryForms {
		if !slices.Contains(shapes, f.use) {
			shapes = append(shapes, f.use)
		}
	}
}

// subqueryForms are conditions with a subquery over a relation (%[1]s, under
// the alias %[2]s) whose column %[3]s is compared with the column %%s of the
// query around it.
var subqueryForms = []struct{ use, format string }{
	{"exists", "EXISTS (SELECT 1 FROM %[1]s AS %[2]s WHERE %[2]s.%[3]s = %%s)"},
	{"not exists", "NOT EXISTS (SELECT 1 FROM %[1]s AS %[2]s WHERE %[2]s.%[3]s > %%s)"},
	{"in subquery", "%%s IN (SELECT %[2]s.%[3]s FROM %[1]s AS %[2]s)"},
	{"not in subquery", "%%s NOT IN (SELECT %[2]s.%[3]s FROM %[1]s AS %[2]s WHERE %[2]s.%[3]s IS NOT NULL)"},
	{"not in subquery", "(%%s NOT IN (SELECT %[2]s.%[3]s FROM %[1]s AS %[2]s)) IS NOT FALSE"},
	{"any subquery", "%%s >= ANY (SELECT %[2]s.%[3]s FROM %[1]s AS %[2]s)"},
	{"all subquery", "%%s < ALL (SELECT %[2]s.%[3]s FROM %[1]s AS %[2]s)"},
	{"scalar subquery", "1 < (SELECT count(*) FROM %[1]s AS %[2]s WHERE %[2]s.%[3]s = %%s)"},
	{"scalar subquery", "%%s = (SELECT max(%[2]s.%[3]s) FROM %[1]s AS %[2]s)"},
}

// subqueries adds conditions with subqueries over relations that the query
// reads anyway.
func (qm *queryMaker) subqueries(q *query, cols []fromCol) {
	if !qm.want(4, "exists", "not exists", "in subquery", "not in subquery", "any subquery", "all subquery", "scalar subquery") {
		return
	}
	s := q.from[qm.r.IntN(len(q.from))]
	if s.rel == nil {
		return
	}
	inner := s.rel.cols[qm.r.IntN(len(s.rel.cols))]
	if inner.typ == boolean || inner.level == rough {
		return
	}
	x := qm.column(q, cols, inner.typ)
	if x == nil {
		return
	}
	qm.tag++
	alias := fmt.Sprintf("a%d", qm.tag)
	f := subqueryForms[qm.r.IntN(len(subqueryForms))]
	for _, g := range subqueryForms {
		if g.use == qm.focus {
			f = g
		}
	}
	if len(q.from) == 1 { // a bare name would be the subquery's own column
		x.format = q.from[0].alias + "." + x.format[lastDot(x.format)+1:]
	}
	q.where = append(q.where, node(boolean, f.use, fmt.Sprintf(f.format, s.rel.name, alias, inner.name), x))
}

// lastDot gives the place of the last dot of a name, -1 if it has none.
func lastDot(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '.' {
			return i
		}
	}
	return -1
}
