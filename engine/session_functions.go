package engine

import (
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/sql"
)

// sessionFunction gives the value of a function that asks about the session,
// as a text; integer says that it is one.
func (s *session) sessionFunction(c *sql.Call) (value string, integer, ok bool) {
	name := c.Name.Parts[len(c.Name.Parts)-1]
	if len(c.Name.Parts) > 1 && c.Name.Parts[0] != catalog.PgCatalog || c.Star || c.Over != nil {
		return "", false, false
	}
	if name == "current_setting" && len(c.Args) > 0 {
		l, lit := c.Args[0].Expr.(*sql.Literal)
		if !lit || l.Kind != sql.LitString {
			return "", false, false
		}
		v, known := s.setting(strings.ToLower(l.Text))
		return v, false, known
	}
	if len(c.Args) > 0 {
		return "", false, false
	}
	switch name {
	case "version":
		return "PostgreSQL " + ServerVersion, false, true
	case "current_database", "current_catalog":
		return s.database, false, true
	case "current_user", "session_user", "user", "current_role":
		return s.user, false, true
	case "current_schema":
		for _, p := range s.settings.searchPath() {
			if s.en.Catalog().HasSchema(p) {
				return p, false, true
			}
		}
	case "pg_backend_pid":
		return strconv.Itoa(int(s.pid)), true, true
	}
	return "", false, false
}

// fillFunctions gives a query with the functions that ask about the session
// replaced by their values, in its select list and WHERE; the query itself
// stays as it is.
func (s *session) fillFunctions(q *sql.Query) *sql.Query {
	sel, ok := q.Body.(*sql.Select)
	if !ok {
		return q
	}
	out := *sel
	changed := false
	for i, it := range sel.Items {
		e := s.fill(it.Expr)
		if e == it.Expr {
			continue
		}
		if !changed {
			out.Items = append([]sql.SelectItem(nil), sel.Items...)
		}
		changed = true
		out.Items[i].Expr = e
		if c, ok := it.Expr.(*sql.Call); ok && it.Alias == "" {
			out.Items[i].Alias = c.Name.Parts[len(c.Name.Parts)-1]
		}
	}
	if sel.Where != nil {
		out.Where = s.fill(sel.Where)
		changed = changed || out.Where != sel.Where
	}
	if !changed {
		return q
	}
	filled := *q
	filled.Body = &out
	return &filled
}

// fill replaces within an expression.
func (s *session) fill(e sql.Expr) sql.Expr {
	switch e := e.(type) {
	case *sql.Call:
		if v, integer, ok := s.sessionFunction(e); ok {
			l := &sql.Literal{Pos: e.Pos, Kind: sql.LitString, Text: v}
			if integer {
				l.Kind = sql.LitInteger
				return l
			}
			return &sql.Cast{Pos: e.Pos, Operand: l, Type: sql.TypeName{Pos: e.Pos, Parts: []string{"text"}}}
		}
		for i, a := range e.Args {
			if x := s.fill(a.Expr); x != a.Expr {
				c := *e
				c.Args = append([]sql.Arg(nil), e.Args...)
				c.Args[i].Expr = x
				return s.fill(&c)
			}
		}
	case *sql.Cast:
		if x := s.fill(e.Operand); x != e.Operand {
			c := *e
			c.Operand = x
			return &c
		}
	case *sql.Unary:
		if x := s.fill(e.Operand); x != e.Operand {
			c := *e
			c.Operand = x
			return &c
		}
	case *sql.Binary:
		l, r := s.fill(e.Left), s.fill(e.Right)
		if l != e.Left || r != e.Right {
			c := *e
			c.Left, c.Right = l, r
			return &c
		}
	}
	return e
}
