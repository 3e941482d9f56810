package oracle

import (
	"slices"
	"strings"
	"time"
)

// shrink makes a failing scenario smaller for as long as it fails in the same
// way, until nothing more can go or the time is over.
func shrink(s *scenario, f *failure, again func(*scenario) *failure, until time.Time) (*scenario, *failure) {
	try := func(c *scenario) bool {
		if time.Now().After(until) {
			return false
		}
		g := again(c)
		if g == nil || g.kind != f.kind {
			return false
		}
		s, f = c, g
		return true
	}
	first := s.clone()
	first.steps = first.steps[:min(f.step+1, len(first.steps))]
	try(first)
	if f.view != "" {
		c := s.clone()
		c.keep(f.view)
		try(c)
	}
	for again := true; again && time.Now().Before(until); {
		again = false
		for i := 0; ; i++ {
			c := s.clone()
			ok := c.edit(i)
			if !ok {
				break
			}
			if try(c) {
				again = true
				i-- // the next edit has this number now
			}
		}
	}
	return s, f
}

// keep drops the views that the named one does not need.
func (s *scenario) keep(name string) {
	need := map[string]bool{name: true}
	views := s.views()
	for i := len(views) - 1; i >= 0; i-- {
		if need[views[i].name] {
			for _, n := range views[i].q.reads() {
				need[n] = true
			}
		}
	}
	s.steps = slices.DeleteFunc(s.steps, func(st *step) bool { return st.view != nil && !need[st.view.name] })
}

// edit makes the scenario smaller in the i-th way, and says whether there is
// one.
func (s *scenario) edit(i int) bool {
	e := &editor{left: i}
	for k, st := range s.steps {
		if e.here() {
			s.steps = slices.Delete(s.steps, k, k+1)
			if st.kind == stepCreate {
				s.steps = slices.DeleteFunc(s.steps, func(o *step) bool { return o.view == st.view })
			}
			if st.kind == stepSavepoint || st.kind == stepRollback {
				s.pair(k, st.kind)
			}
			return true
		}
	}
	for k := range s.tables {
		if e.here() {
			s.tables = slices.Delete(s.tables, k, k+1)
			return true
		}
	}
	for _, st := range s.steps {
		if e.batch(st) || st.kind == stepCreate && e.view(st.view) {
			return true
		}
	}
	return false
}

// pair removes the other one of a savepoint and its rollback: of the one that
// stood at k.
func (s *scenario) pair(k int, gone stepKind) {
	if gone == stepSavepoint {
		for i := k; i < len(s.steps); i++ {
			if s.steps[i].kind == stepRollback {
				s.steps = slices.Delete(s.steps, i, i+1)
				return
			}
		}
	}
	for i := k - 1; i >= 0 && gone == stepRollback; i-- {
		if s.steps[i].kind == stepSavepoint {
			s.steps = slices.Delete(s.steps, i, i+1)
			return
		}
	}
}

// editor counts down to the edit that is wanted.
type editor struct{ left int }

func (e *editor) here() bool {
	e.left--
	return e.left == -1
}

func (e *editor) batch(st *step) bool {
	if st.words != "" && e.here() {
		st.words, st.inside = "", 0
		return true
	}
	if st.inside > 0 && e.here() {
		st.inside = 0
		return true
	}
	for k := range st.stmts {
		if e.here() {
			st.stmts = slices.Delete(st.stmts, k, k+1)
			st.inside = min(st.inside, len(st.stmts))
			return true
		}
	}
	for _, stmt := range st.stmts {
		for n := len(stmt.rows) / 2; n > 0; n /= 2 { // halves first, then single rows
			for k := 0; k+n <= len(stmt.rows); k += n {
				if e.here() {
					stmt.rows = slices.Delete(stmt.rows, k, k+n)
					return true
				}
			}
		}
	}
	return false
}

func (e *editor) view(v *view) bool {
	if v.options != "" && e.here() {
		v.options = ""
		return true
	}
	return e.query(v.q)
}

func (e *editor) query(q *query) bool {
	if e.clauses(q) {
		return true
	}
	for k := range q.items {
		if len(q.items) > 1 && q.union == nil && e.here() {
			q.items = slices.Delete(q.items, k, k+1)
			return true
		}
	}
	for k := len(q.from) - 1; k > 0; k-- {
		if e.here() {
			q.from = slices.Delete(q.from, k, k+1)
			return true
		}
	}
	for k := range q.from {
		if sub := q.from[k].sub; sub != nil && e.query(sub) {
			return true
		}
	}
	var all []*expr
	q.each(func(x *expr) { all = appendNodes(all, x) })
	for _, x := range all {
		for _, a := range x.args {
			if a.typ == x.typ && !strings.HasPrefix(a.format, "DISTINCT") && e.here() {
				*x = *a
				return true
			}
		}
	}
	return q.union != nil && e.query(q.union)
}

// clauses drops a clause, or a part of one.
func (e *editor) clauses(q *query) bool {
	if q.distinct && e.here() {
		q.distinct = false
		return true
	}
	if q.union != nil && e.here() {
		q.union = nil
		return true
	}
	if q.ordinals && e.here() {
		q.ordinals = false
		return true
	}
	for _, list := range []*[]*expr{&q.where, &q.having, &q.groupBy} {
		for k := range *list {
			if e.here() {
				*list = slices.Delete(*list, k, k+1)
				return true
			}
		}
	}
	return false
}

func appendNodes(all []*expr, x *expr) []*expr {
	if slices.Contains(all, x) {
		return all
	}
	all = append(all, x)
	for _, a := range x.args {
		all = appendNodes(all, a)
	}
	return all
}

// clone is a copy that shares nothing that an edit changes.
func (s *scenario) clone() *scenario {
	c := &scenario{tables: slices.Clone(s.tables)}
	views := map[*view]*view{}
	for _, st := range s.steps {
		n := *st
		n.stmts = nil
		for _, stmt := range st.stmts {
			n.stmts = append(n.stmts, &statement{text: stmt.text, rows: slices.Clone(stmt.rows), use: stmt.use})
		}
		if st.view != nil {
			if views[st.view] == nil {
				v := *st.view
				v.q = v.q.clone(map[*expr]*expr{})
				views[st.view] = &v
			}
			n.view = views[st.view]
		}
		c.steps = append(c.steps, &n)
	}
	return c
}

func (q *query) clone(done map[*expr]*expr) *query {
	if q == nil {
		return nil
	}
	c := *q
	c.items = slices.Clone(q.items)
	for i := range c.items {
		c.items[i].e = c.items[i].e.clone(done)
	}
	c.from = slices.Clone(q.from)
	for i := range c.from {
		c.from[i].on = c.from[i].on.clone(done)
		c.from[i].sub = c.from[i].sub.clone(done)
	}
	list := func(es []*expr) []*expr {
		es = slices.Clone(es)
		for i := range es {
			es[i] = es[i].clone(done)
		}
		return es
	}
	c.where, c.groupBy, c.having = list(q.where), list(q.groupBy), list(q.having)
	c.union = q.union.clone(done)
	return &c
}

// clone keeps what is shared within a query shared: a key of GROUP BY is also
// an output.
func (e *expr) clone(done map[*expr]*expr) *expr {
	if e == nil || done[e] != nil {
		return done[e]
	}
	c := *e
	done[e] = &c
	c.args = slices.Clone(e.args)
	for i := range c.args {
		c.args[i] = c.args[i].clone(done)
	}
	return &c
}
