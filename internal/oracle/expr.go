// Package oracle compares streamdb with PostgreSQL: random tables, views and
// changes, and after each change every view and the same query asked ad hoc
// must give PostgreSQL's answer. What fails is made smaller before it is shown.
//
// A run is rounds; a round is a function of the run's seed and its number, so
// that one round can be replayed alone.
package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// sqlType is a type by its name in SQL.
type sqlType string

const (
	boolean     sqlType = "bool"
	int4        sqlType = "int4"
	int8        sqlType = "int8"
	float8      sqlType = "float8"
	numeric     sqlType = "numeric"
	text        sqlType = "text"
	date        sqlType = "date"
	timestamp   sqlType = "timestamp"
	timestamptz sqlType = "timestamptz"
	interval    sqlType = "interval"
)

var allTypes = []sqlType{boolean, int4, int8, float8, numeric, text, date, timestamp, timestamptz, interval}

// level says how exactly two systems must agree on a value.
type level int

const (
	exact level = iota
	loose       // the value, not its representation: 1.0 and 1.00, 1 day and 24:00:00
	rough       // to nine digits: a sum of floats in any order
)

// expr is an expression of SQL: format with its arguments put in.
type expr struct {
	typ    sqlType
	format string
	args   []*expr
	use    string // the construct it counts for, "" none
	fails  bool   // it, or an argument, may raise an error
	level  level
	column bool // it, or an argument, is a column
	plain  bool // a column of a table, whose floats add up exactly
}

func (e *expr) String() string {
	if len(e.args) == 0 {
		return e.format
	}
	args := make([]any, len(e.args))
	for i, a := range e.args {
		args[i] = a.String()
	}
	return fmt.Sprintf(e.format, args...)
}

// uses adds the constructs in e.
func (e *expr) uses(set map[string]bool) {
	if e.use != "" {
		set[e.use] = true
	}
	for _, a := range e.args {
		a.uses(set)
	}
}

// node makes an expression of parts.
func node(typ sqlType, use, format string, args ...*expr) *expr {
	e := &expr{typ: typ, format: format, args: args, use: use}
	for _, a := range args {
		e.fails = e.fails || a.fails
		e.column = e.column || a.column
		e.level = max(e.level, a.level)
	}
	if typ != numeric && typ != float8 && typ != interval && e.level < rough {
		e.level = exact // what is the same value has the same image
	}
	return e
}

// production is a way to make an expression of typ. An argument of type
// "lit:T" is a literal of T.
type production struct {
	typ    sqlType
	use    string
	format string
	args   []sqlType
	fails  bool // it can fail on some input
	image  bool // it looks at the representation: no loose arguments
}

const literalOf = "lit:"

var productions = makeProductions()

var byType = func() map[sqlType][]*production {
	m := map[sqlType][]*production{}
	for i := range productions {
		p := &productions[i]
		m[p.typ] = append(m[p.typ], p)
	}
	return m
}()

func makeProductions() []production {
	var ps []production
	add := func(typ sqlType, use, format string, args ...sqlType) *production {
		ps = append(ps, production{typ: typ, use: use, format: format, args: args})
		return &ps[len(ps)-1]
	}
	fails := func(typ sqlType, use, format string, args ...sqlType) {
		add(typ, use, format, args...).fails = true
	}
	image := func(typ sqlType, use, format string, args ...sqlType) {
		add(typ, use, format, args...).image = true
	}
	for _, t := range allTypes {
		addForType(add, t)
	}
	add(boolean, "and", "(%s AND %s)", boolean, boolean)
	add(boolean, "or", "(%s OR %s)", boolean, boolean)
	add(boolean, "not", "(NOT %s)", boolean)
	add(boolean, "is true", "(%s IS TRUE)", boolean)
	add(boolean, "is not false", "(%s IS NOT FALSE)", boolean)
	for _, p := range [][2]sqlType{{int4, int8}, {int8, int4}, {int4, numeric}, {numeric, int8}, {float8, int4}, {int8, float8}, {numeric, float8}, {date, timestamp}} {
		add(boolean, "mixed comparison", "(%s < %s)", p[0], p[1])
		add(boolean, "mixed comparison", "(%s = %s)", p[0], p[1])
	}
	addArithmetic(add, fails, image)
	addCasts(add, fails, image)
	addText(add)
	addTimes(add, fails, image)
	return ps
}

type adder func(typ sqlType, use, format string, args ...sqlType) *production
type variant func(typ sqlType, use, format string, args ...sqlType)

// addForType adds what there is for every type.
func addForType(add adder, t sqlType) {
	lit := sqlType(literalOf) + t
	for _, op := range []string{"=", "<>", "<", "<=", ">", ">="} {
		add(boolean, "comparison", "(%s "+op+" %s)", t, t)
		add(boolean, "comparison", "(%s "+op+" %s)", t, lit)
	}
	add(boolean, "is distinct from", "(%s IS DISTINCT FROM %s)", t, t)
	add(boolean, "is distinct from", "(%s IS NOT DISTINCT FROM %s)", t, t)
	add(boolean, "between", "(%s BETWEEN %s AND %s)", t, t, lit)
	add(boolean, "between", "(%s NOT BETWEEN %s AND %s)", t, lit, lit)
	add(boolean, "in", "(%s IN (%s, %s, %s))", t, lit, lit, lit)
	add(boolean, "in", "(%s IN (%s, NULL))", t, lit)
	add(boolean, "not in", "(%s NOT IN (%s, %s))", t, lit, lit)
	add(boolean, "is null", "(%s IS NULL)", t)
	add(boolean, "is null", "(%s IS NOT NULL)", t)
	add(t, "coalesce", "coalesce(%s, %s)", t, t)
	add(t, "nullif", "nullif(%s, %s)", t, t)
	add(t, "greatest", "greatest(%s, %s)", t, t)
	add(t, "least", "least(%s, %s, %s)", t, t, lit)
	add(t, "case", "(CASE WHEN %s THEN %s ELSE %s END)", boolean, t, t)
	add(t, "case", "(CASE WHEN %s THEN %s WHEN %s THEN %s END)", boolean, t, boolean, lit)
	add(t, "simple case", "(CASE %s WHEN 1 THEN %s WHEN 2 THEN %s ELSE NULL END)", int4, t, t)
	add(t, "simple case", "(CASE %s WHEN 'a' THEN %s ELSE %s END)", text, t, t)
}

func addArithmetic(add adder, fails, image variant) {
	for _, t := range []sqlType{int4, int8} {
		for _, op := range []string{"+", "-", "*"} {
			fails(t, "int arithmetic", "(%s "+op+" %s)", t, t)
		}
		for _, op := range []string{"/", "%%"} {
			fails(t, "division", "(%s "+op+" %s)", t, t)
		}
		add(t, "int arithmetic", "(%s %% 100 + %s / 1000)", t, t)
		add(t, "int arithmetic", "(- (%s %% 10))", t)
		fails(t, "numeric functions", "abs(%s)", t)
		fails(t, "numeric functions", "mod(%s, %s)", t, t)
		add(t, "guarded division", "(CASE WHEN %[2]s <> 0 THEN %[1]s %% 50 / %[2]s END)", t, t)
	}
	fails(int8, "int arithmetic", "(%s + %s)", int4, int8)
	for _, op := range []string{"+", "-", "*"} {
		add(numeric, "numeric arithmetic", "(%s "+op+" %s)", numeric, numeric)
		add(float8, "float arithmetic", "(%s "+op+" %s)", float8, float8)
	}
	add(numeric, "numeric arithmetic", "(%s + %s)", numeric, int4)
	add(numeric, "numeric arithmetic", "(%s * %s)", "lit:numeric", int8)
	add(numeric, "numeric arithmetic", "(- %s)", numeric)
	fails(float8, "division", "(%s / %s)", float8, float8)
	add(float8, "float arithmetic", "(%s / 4.0)", float8)
	add(float8, "float arithmetic", "(%s * %s)", float8, int4)
	for _, f := range []string{"abs", "floor", "ceil", "round", "trunc"} {
		add(numeric, "numeric functions", f+"(%s)", numeric)
		add(float8, "numeric functions", f+"(%s)", float8)
	}
	add(numeric, "numeric functions", "round(%s, 1)", numeric)
	add(numeric, "numeric functions", "trunc(%s, 2)", numeric)
	image(numeric, "numeric arithmetic", "(%s / 8)", numeric)
}

func addCasts(add adder, fails, image variant) {
	cast := func(kind variant, from sqlType, to ...sqlType) {
		for _, t := range to {
			kind(t, "cast", "(%s)::"+string(t), from)
		}
	}
	safe := variant(func(typ sqlType, use, format string, args ...sqlType) { add(typ, use, format, args...) })
	cast(safe, int4, int8, numeric, float8, text, boolean)
	cast(safe, int8, numeric, float8, text)
	cast(safe, boolean, int4, text)
	cast(safe, numeric, float8)
	cast(image, numeric, text)
	cast(safe, float8, numeric)
	cast(image, float8, text)
	cast(safe, date, text, timestamp)
	cast(safe, timestamp, text, date)
	cast(safe, timestamptz, text)
	cast(image, interval, text)
	cast(fails, int8, int4)
	cast(fails, numeric, int4, int8)
	cast(fails, float8, int4, int8)
	cast(fails, text, int4, int8, numeric, float8, date, boolean, interval)
	add(int4, "cast", "CAST(%s AS int4)", int4)
	fails(numeric, "cast", "CAST(%s AS numeric(6,2))", numeric)
}

func addText(add adder) {
	for _, pattern := range []string{"a%%", "%%b%%", "_", "%%\\_%%", "", "Z%%a", "%%é%%"} {
		add(boolean, "like", "(%s LIKE '"+pattern+"')", text)
		add(boolean, "not like", "(%s NOT LIKE '"+pattern+"')", text)
	}
	add(boolean, "like", "(%s LIKE %s)", text, text)
	add(boolean, "like", "starts_with(%s, %s)", text, "lit:text")
	add(text, "concat", "(%s || %s)", text, text)
	add(text, "concat", "(%s || %s)", text, int4)
	add(text, "concat", "concat(%s, '-', %s)", text, int8)
	for _, f := range []string{"upper", "lower", "reverse", "trim", "md5"} {
		add(text, "text functions", f+"(%s)", text)
	}
	add(text, "text functions", "substring(%s, 2, 3)", text)
	add(text, "text functions", "substring(%s FROM 2)", text)
	add(text, "text functions", "left(%s, 2)", text)
	add(text, "text functions", "replace(%s, %s, 'Q')", text, "lit:text")
	add(text, "text functions", "split_part(%s, 'a', 1)", text)
	add(text, "text functions", "lpad(%s, 5, '*')", text)
	add(int4, "text functions", "length(%s)", text)
	add(int4, "text functions", "position('b' IN %s)", text)
}

func addTimes(add adder, fails, image variant) {
	add(date, "date arithmetic", "(%s + %s %% 100)", date, int4)
	add(date, "date arithmetic", "(%s - 7)", date)
	fails(int4, "date arithmetic", "(%s - %s)", date, date)
	for _, t := range []sqlType{timestamp, timestamptz} {
		add(t, "time arithmetic", "(%s + interval '1 mon 2 days 03:00:00')", t)
		add(t, "time arithmetic", "(%s - interval '90 minutes')", t)
		fails(interval, "time arithmetic", "(%s - %s)", t, t)
		for _, unit := range []string{"month", "hour", "week"} {
			add(t, "date_trunc", "date_trunc('"+unit+"', %s)", t)
		}
		for _, unit := range []string{"year", "dow", "epoch", "second"} {
			add(numeric, "extract", "extract("+unit+" FROM %s)", t)
		}
		add(text, "to_char", "to_char(%s, 'YYYY-MM-DD HH24:MI')", t)
	}
	image(timestamp, "time arithmetic", "(%s + %s)", timestamp, interval)
	image(interval, "time arithmetic", "(%s + %s)", interval, interval)
	image(interval, "time arithmetic", "(%s * 2)", interval)
	image(interval, "time arithmetic", "(- %s)", interval)
	add(numeric, "extract", "extract(month FROM %s)", date)
	image(numeric, "extract", "extract(day FROM %s)", interval)
}

// maker makes random expressions. Leaves gives a column (or, above a GROUP
// BY, a key or an aggregate) of a type, nil if there is none.
type maker struct {
	r      *rand.Rand
	leaf   func(sqlType) *expr
	focus  string // construct to prefer
	noFail bool   // only what cannot raise an error
}

// value makes an expression of type t.
func (m *maker) value(t sqlType, depth int) *expr {
	if depth <= 0 || m.r.IntN(4) == 0 {
		if l := m.leaf(t); l != nil {
			return l
		}
	}
	if depth <= -2 {
		return m.last(t)
	}
	for range 8 {
		if p := m.choose(byType[t]); p != nil {
			if e := m.apply(p, depth-1); e != nil {
				return e
			}
		}
	}
	if l := m.leaf(t); l != nil {
		return l
	}
	return m.last(t)
}

// last is the simplest expression where there is no column of the type: a
// literal, but a condition on some column, as PostgreSQL computes constant
// conditions while it plans.
func (m *maker) last(t sqlType) *expr {
	if t == boolean {
		for _, i := range m.r.Perm(len(allTypes)) {
			if l := m.leaf(allTypes[i]); l != nil {
				return node(boolean, "is null", pick(m.r, "(%s IS NULL)", "(%s IS NOT NULL)"), l)
			}
		}
	}
	return m.literal(t)
}

// choose picks a production: one of the focus, or one of a random construct,
// so that those of many forms do not crowd out the others.
func (m *maker) choose(ps []*production) *production {
	use := m.focus
	if use == "" || m.r.IntN(2) == 0 || !slices.ContainsFunc(ps, func(p *production) bool { return p.use == use }) {
		use = ps[m.r.IntN(len(ps))].use
		if m.r.IntN(2) == 0 {
			names := map[string]bool{}
			var order []string
			for _, p := range ps {
				if !names[p.use] {
					names[p.use] = true
					order = append(order, p.use)
				}
			}
			use = order[m.r.IntN(len(order))]
		}
	}
	// A query that fails says little: few of the expressions may.
	noFail := m.noFail || m.r.IntN(3) > 0
	var fit []*production
	for _, p := range ps {
		if p.use == use && !(noFail && p.fails) {
			fit = append(fit, p)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[m.r.IntN(len(fit))]
}

// apply makes an expression by p, nil if its arguments do not suit.
func (m *maker) apply(p *production, depth int) *expr {
	args := make([]*expr, len(p.args))
	for i, t := range p.args {
		if lit, ok := strings.CutPrefix(string(t), literalOf); ok {
			args[i] = m.literal(sqlType(lit))
			continue
		}
		args[i] = m.value(t, depth)
		if p.image && args[i].level != exact || args[i].level == rough {
			return nil
		}
	}
	e := node(p.typ, p.use, p.format, args...)
	e.fails = e.fails || p.fails
	if !e.column {
		return nil // PostgreSQL computes constants while it plans
	}
	return e
}

func (m *maker) literal(t sqlType) *expr {
	return &expr{typ: t, format: quoted(m.r, t, pools[t])}
}
