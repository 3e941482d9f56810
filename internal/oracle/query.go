package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// relation is what a query can read: a table or a view.
type relation struct {
	name  string
	cols  []column
	depth int // of views over views; 0 a table
	rows  int // estimated
}

// source is an item of FROM. Joins after the first have a condition, or USING.
type source struct {
	rel   *relation
	alias string
	sub   *query // a subquery in place of rel
	on    *expr
	using string
}

type item struct {
	e    *expr
	name string
}

// query is a SELECT of the grammar.
type query struct {
	distinct bool
	items    []item
	from     []source
	where    []*expr
	groupBy  []*expr
	having   []*expr
	grouped  bool
	ordinals bool   // GROUP BY by position
	with     bool   // the first subquery stands in WITH
	union    *query // UNION ALL with it
}

func (q *query) String() string {
	var b strings.Builder
	if q.with && len(q.from) > 0 && q.from[0].sub != nil {
		fmt.Fprintf(&b, "WITH w%s AS (%s) ", q.from[0].alias, q.from[0].sub)
	}
	b.WriteString("SELECT ")
	if q.distinct {
		b.WriteString("DISTINCT ")
	}
	for i, it := range q.items {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s AS %s", it.e, it.name)
	}
	for i, s := range q.from {
		b.WriteString([]string{" FROM ", " JOIN "}[min(i, 1)])
		switch {
		case s.sub != nil && q.with && i == 0:
			b.WriteString("w" + s.alias)
		case s.sub != nil:
			fmt.Fprintf(&b, "(%s)", s.sub)
		default:
			b.WriteString(s.rel.name)
		}
		b.WriteString(" AS " + s.alias)
		switch {
		case s.using != "":
			b.WriteString(" USING (" + s.using + ")")
		case i > 0:
			b.WriteString(" ON " + s.on.String())
		}
	}
	writeList(&b, " WHERE ", " AND ", q.where)
	if keys := q.keys(); len(keys) > 0 {
		b.WriteString(" GROUP BY " + strings.Join(keys, ", "))
	}
	writeList(&b, " HAVING ", " AND ", q.having)
	if q.union != nil {
		b.WriteString(" UNION ALL " + q.union.String())
	}
	return b.String()
}

func writeList(b *strings.Builder, word, sep string, list []*expr) {
	for i, e := range list {
		if i == 0 {
			b.WriteString(word)
		} else {
			b.WriteString(sep)
		}
		b.WriteString(e.String())
	}
}

// keys is what stands after GROUP BY.
func (q *query) keys() []string {
	var out []string
	for _, k := range q.groupBy {
		s := k.String()
		if i := slices.IndexFunc(q.items, func(it item) bool { return it.e == k }); i >= 0 && q.ordinals {
			s = fmt.Sprint(i + 1)
		}
		out = append(out, s)
	}
	return out
}

// columns are the columns of the query's result.
func (q *query) columns() []column {
	var cols []column
	for i, it := range q.items {
		c := column{name: it.name, typ: it.e.typ, level: it.e.level}
		if q.distinct && c.level == exact && hasForms(c.typ) {
			c.level = loose
		}
		if q.union != nil {
			c.level = max(c.level, q.union.items[i].e.level)
		}
		cols = append(cols, c)
	}
	return cols
}

// hasForms holds for types in which equal values can look different.
func hasForms(t sqlType) bool { return t == numeric || t == float8 || t == interval }

// each calls visit with every expression of the query and its subqueries.
func (q *query) each(visit func(*expr)) {
	for _, it := range q.items {
		visit(it.e)
	}
	for _, s := range q.from {
		if s.on != nil {
			visit(s.on)
		}
		if s.sub != nil {
			s.sub.each(visit)
		}
	}
	for _, list := range [][]*expr{q.where, q.groupBy, q.having} {
		for _, e := range list {
			visit(e)
		}
	}
	if q.union != nil {
		q.union.each(visit)
	}
}

// uses adds the query's constructs.
func (q *query) uses(set map[string]bool) {
	q.each(func(e *expr) { e.uses(set) })
	mark := func(name string, on bool) {
		if on {
			set[name] = true
		}
	}
	mark("filter", len(q.where) > 0)
	mark("group by", len(q.groupBy) > 0)
	mark("group by ordinal", len(q.groupBy) > 0 && q.ordinals)
	mark("global aggregate", q.grouped && len(q.groupBy) == 0)
	mark("having", len(q.having) > 0)
	mark("distinct", q.distinct)
	mark("union all", q.union != nil)
	mark("join", len(q.from) == 2)
	mark("join of three", len(q.from) == 3)
	seen := map[string]bool{}
	for i, s := range q.from {
		mark("using", s.using != "")
		mark("subquery", s.sub != nil && !(q.with && i == 0))
		mark("with", s.sub != nil && q.with && i == 0)
		if s.rel != nil {
			mark("self join", seen[s.rel.name])
			seen[s.rel.name] = true
			mark("view over view", s.rel.depth == 1)
			mark("view over view over view", s.rel.depth > 1)
		}
	}
}

// mayFail holds if some expression can raise an error.
func (q *query) mayFail() bool {
	fails := false
	q.each(func(e *expr) { fails = fails || e.fails })
	return fails
}

// unordered holds if whether an error is raised depends on the order in which
// conditions are evaluated, which SQL does not tell.
func (q *query) unordered() bool {
	n, fails := 0, false
	count := func(list []*expr) {
		for _, e := range list {
			n++
			fails = fails || e.fails
			set := map[string]bool{}
			e.uses(set)
			if set["and"] {
				n++
			}
		}
	}
	count(q.where)
	count(q.having)
	for _, s := range q.from {
		if s.on != nil {
			count([]*expr{s.on})
		}
		if s.sub != nil {
			if s.sub.mayFail() || s.sub.unordered() {
				return true // it may be pulled up
			}
		}
	}
	if len(q.from) > 1 {
		n++
	}
	return fails && n > 1 || q.union != nil && q.union.unordered()
}

// reads gives the names of the relations that the query reads.
func (q *query) reads() []string {
	var out []string
	for _, s := range q.from {
		if s.sub != nil {
			out = append(out, s.sub.reads()...)
		} else {
			out = append(out, s.rel.name)
		}
	}
	if q.union != nil {
		out = append(out, q.union.reads()...)
	}
	return out
}

// queryMaker makes random queries over relations.
type queryMaker struct {
	r     *rand.Rand
	rels  []*relation
	focus string
	tag   int
}

// constructs that the shape of a query makes; those of expressions come from
// the productions.
var shapes = []string{"filter", "group by", "group by ordinal", "global aggregate", "having", "distinct", "union all", "join", "join of three",
	"self join", "using", "subquery", "with", "view over view", "view over view over view", "count(*)", "count", "sum", "avg", "min", "max",
	"filter clause", "distinct aggregate"}

// constructs is all that a run counts.
func constructs() []string {
	all := slices.Clone(shapes)
	for _, p := range productions {
		if !slices.Contains(all, p.use) {
			all = append(all, p.use)
		}
	}
	return all
}

// make tries until the query has the focus in it, within reason.
func (qm *queryMaker) make() (*query, int) {
	var q *query
	rows := 0
	for range 60 {
		q, rows = qm.query(0)
		set := map[string]bool{}
		q.uses(set)
		if qm.focus == "" || set[qm.focus] {
			break
		}
	}
	return q, rows
}

// want says whether to use a construct: always if it is in focus, else one
// time in n.
func (qm *queryMaker) want(n int, names ...string) bool {
	return slices.Contains(names, qm.focus) && qm.r.IntN(4) > 0 || qm.r.IntN(n) == 0
}

// query makes a query and estimates its rows.
func (qm *queryMaker) query(nesting int) (*query, int) {
	q := &query{}
	cols, rows := qm.fromClause(q, nesting)
	leaf := func(t sqlType) *expr { return qm.column(q, cols, t) }
	m := &maker{r: qm.r, leaf: leaf, focus: qm.focus}
	if qm.want(2, "filter", "like", "not like", "in", "not in") {
		for range 1 + qm.r.IntN(2) {
			q.where = append(q.where, m.value(boolean, 2))
		}
	}
	qm.subqueries(q, cols)
	aggregates := []string{"group by", "group by ordinal", "global aggregate", "having", "count(*)", "count", "sum", "avg", "min", "max", "filter clause", "distinct aggregate"}
	if qm.want(3, aggregates...) {
		rows = qm.grouping(q, m, rows)
	} else {
		for range 1 + qm.r.IntN(4) {
			q.items = append(q.items, item{e: m.value(allTypes[qm.r.IntN(len(allTypes))], 1+qm.r.IntN(2))})
		}
		q.distinct = qm.want(8, "distinct")
	}
	for i := range q.items {
		q.items[i].name = fmt.Sprintf("x%d", i)
	}
	if nesting == 0 && qm.want(14, "union all") {
		qm.unionAll(q)
		rows *= 2
	}
	return q, rows
}

// unionAll adds a second branch of the same types.
func (qm *queryMaker) unionAll(q *query) {
	other := &query{}
	cols, _ := qm.fromClause(other, 1)
	m := &maker{r: qm.r, leaf: func(t sqlType) *expr { return qm.column(other, cols, t) }}
	for _, it := range q.items {
		other.items = append(other.items, item{e: m.value(it.e.typ, 1), name: it.name})
	}
	q.union = other
}

// fromCol is a column in scope.
type fromCol struct {
	column
	alias string
}

func (qm *queryMaker) column(q *query, cols []fromCol, t sqlType) *expr {
	var fit []fromCol
	for _, c := range cols {
		if c.typ == t && c.level != rough {
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	c := fit[qm.r.IntN(len(fit))]
	name := c.alias + "." + c.name
	if len(q.from) == 1 && qm.r.IntN(3) > 0 {
		name = c.name
	}
	return &expr{typ: t, format: name, level: c.level, column: true, plain: c.plain}
}

const maxRows = 4000 // of a join's estimated result

func (qm *queryMaker) relation() *relation {
	switch {
	case qm.focus == "view over view" && qm.r.IntN(2) == 0:
		return qm.pick(func(r *relation) bool { return r.depth == 1 })
	case qm.focus == "view over view over view" && qm.r.IntN(2) == 0:
		return qm.pick(func(r *relation) bool { return r.depth > 1 })
	}
	return qm.pick(func(*relation) bool { return true })
}

func (qm *queryMaker) pick(ok func(*relation) bool) *relation {
	var fit []*relation
	for _, r := range qm.rels {
		if ok(r) {
			fit = append(fit, r)
		}
	}
	if len(fit) == 0 {
		fit = qm.rels
	}
	return fit[qm.r.IntN(len(fit))]
}

// fromClause fills FROM and gives the columns in scope and the rows.
func (qm *queryMaker) fromClause(q *query, nesting int) ([]fromCol, int) {
	qm.tag++
	first := source{alias: fmt.Sprintf("a%d", qm.tag)}
	var cols []fromCol
	rows := 0
	if nesting == 0 && qm.want(10, "subquery", "with") {
		sub, n := qm.query(1)
		first.sub, rows = sub, n
		q.with = qm.focus == "with" || qm.focus != "subquery" && qm.r.IntN(2) == 0
		cols = inScope(sub.columns(), first.alias)
	} else {
		first.rel = qm.relation()
		rows = first.rel.rows
		cols = inScope(first.rel.cols, first.alias)
	}
	q.from = []source{first}
	joins := 0
	if qm.want(3, "join", "self join", "using", "join of three") {
		joins = 1
		if qm.want(4, "join of three") {
			joins = 2
		}
	}
	for range joins {
		cols, rows = qm.join(q, cols, rows)
	}
	return cols, rows
}

func inScope(cols []column, alias string) []fromCol {
	out := make([]fromCol, len(cols))
	for i, c := range cols {
		out[i] = fromCol{c, alias}
	}
	return out
}

// join adds a relation, if there is one that fits.
func (qm *queryMaker) join(q *query, cols []fromCol, rows int) ([]fromCol, int) {
	for range 10 {
		rel := qm.relation()
		if qm.focus == "self join" && q.from[0].rel != nil {
			rel = q.from[0].rel
		}
		qm.tag++
		s := source{rel: rel, alias: fmt.Sprintf("a%d", qm.tag)}
		right := inScope(rel.cols, s.alias)
		l, rcol, ok := qm.pair(cols, right)
		n := max(1, rows*rel.rows/4)
		if !ok || n > maxRows {
			continue
		}
		if l.name == rcol.name && l.typ == rcol.typ && len(q.from) == 1 && qm.want(3, "using") {
			s.using = l.name
		} else {
			s.on = qm.condition(l, rcol, cols, right)
		}
		q.from = append(q.from, s)
		return append(slices.Clone(cols), right...), n
	}
	return cols, rows
}

// pair finds two columns that can be equal.
func (qm *queryMaker) pair(left, right []fromCol) (l, r fromCol, ok bool) {
	for range 20 {
		l, r = left[qm.r.IntN(len(left))], right[qm.r.IntN(len(right))]
		sameName := l.name == r.name || qm.focus != "using"
		if l.typ == r.typ && l.typ != boolean && l.level != rough && r.level != rough && sameName {
			return l, r, true
		}
	}
	return l, r, false
}

func (qm *queryMaker) condition(l, r fromCol, left, right []fromCol) *expr {
	ref := func(c fromCol) *expr {
		return &expr{typ: c.typ, format: c.alias + "." + c.name, level: c.level, column: true, plain: c.plain}
	}
	le, re := ref(l), ref(r)
	if l.typ == int4 && qm.r.IntN(4) == 0 {
		le = node(int4, "join on expression", "(%s %% 100 + 1)", le)
	}
	eq := node(boolean, "equi-join", "%s = %s", le, re)
	if qm.r.IntN(4) == 0 {
		both := append(slices.Clone(left), right...)
		m := &maker{r: qm.r, noFail: true, leaf: func(t sqlType) *expr { return qm.column(&query{from: make([]source, 2)}, both, t) }}
		eq = node(boolean, "join residual", "(%s AND %s)", eq, m.value(boolean, 1))
	}
	return eq
}

// grouping makes the query one with aggregates.
func (qm *queryMaker) grouping(q *query, m *maker, rows int) int {
	q.grouped = true
	keys := 0
	if qm.focus != "global aggregate" && qm.r.IntN(6) > 0 {
		keys = 1 + qm.r.IntN(2)
	}
	for range keys {
		k := m.value(allTypes[qm.r.IntN(len(allTypes))], qm.r.IntN(2))
		if !k.column || k.level == rough {
			continue
		}
		if hasForms(k.typ) {
			c := *k
			c.level = max(c.level, loose)
			k = &c
		}
		q.groupBy = append(q.groupBy, k)
	}
	q.ordinals = qm.want(5, "group by ordinal")
	over := &maker{r: qm.r, focus: qm.focus}
	over.leaf = func(t sqlType) *expr {
		for _, i := range qm.r.Perm(len(q.groupBy)) {
			if q.groupBy[i].typ == t && qm.r.IntN(3) > 0 {
				return q.groupBy[i]
			}
		}
		if a := qm.aggregate(m, t); a != nil && a.level != rough {
			return a
		}
		return nil
	}
	for _, k := range q.groupBy {
		if q.ordinals || qm.r.IntN(5) > 0 {
			q.items = append(q.items, item{e: k})
		}
	}
	for range 1 + qm.r.IntN(3) {
		t := allTypes[1+qm.r.IntN(len(allTypes)-1)]
		e := qm.aggregate(m, t)
		if e == nil || qm.r.IntN(5) == 0 {
			e = over.value(t, 1)
		}
		q.items = append(q.items, item{e: e})
	}
	if qm.want(4, "having") {
		q.having = append(q.having, over.value(boolean, 1))
	}
	if len(q.groupBy) == 0 {
		return 1
	}
	return max(1, min(rows/2, 20))
}

// aggregate makes an aggregate call of result type t, nil if there is none.
func (qm *queryMaker) aggregate(m *maker, t sqlType) *expr {
	type call struct {
		name string
		arg  sqlType
	}
	var calls []call
	if t != boolean {
		calls = append(calls, call{"min", t}, call{"max", t})
	}
	switch t {
	case int8:
		calls = append(calls, call{"sum", int4}, call{"count", allTypes[qm.r.IntN(len(allTypes))]}, call{"count(*)", ""})
	case numeric:
		calls = append(calls, call{"sum", int8}, call{"sum", numeric}, call{"avg", int4}, call{"avg", int8}, call{"avg", numeric})
	case float8, interval:
		calls = append(calls, call{"sum", t}, call{"avg", t})
	}
	if len(calls) == 0 {
		return nil
	}
	c := calls[qm.r.IntN(len(calls))]
	for _, want := range calls {
		if want.name == qm.focus && qm.r.IntN(2) == 0 {
			c = want
		}
	}
	e := &expr{typ: t, format: "count(*)", use: c.name, column: true}
	if c.arg != "" {
		arg := m.value(c.arg, qm.r.IntN(2))
		if !arg.column || arg.level == rough || c.name == "avg" && arg.level == loose {
			return nil
		}
		e = node(t, c.name, c.name+"(%s)", arg)
		if qm.takesDistinct(c.name, c.arg) {
			e = node(t, c.name, c.name+"(%s)", node(c.arg, "distinct aggregate", "DISTINCT %s", arg))
			e.args[0].plain = arg.plain
		}
		e.level = aggregateLevel(c.name, arg)
		e.column = true
	}
	if qm.want(6, "filter clause") {
		cond := m.value(boolean, 1)
		l := e.level
		e = node(t, "filter clause", "%s FILTER (WHERE %s)", e, cond)
		e.level, e.column = l, true
	}
	return e
}

// takesDistinct says whether an aggregate gets DISTINCT. A sum of distinct
// intervals does not: equal ones have several forms, and it depends on which
// of them is taken (streamdb refuses it: testdata/sql/refused.slt).
func (qm *queryMaker) takesDistinct(name string, arg sqlType) bool {
	switch {
	case arg == interval && (name == "sum" || name == "avg"):
		return false
	case name == "count":
		return qm.want(2, "distinct aggregate")
	}
	return qm.want(5, "distinct aggregate")
}

func aggregateLevel(name string, arg *expr) level {
	switch {
	case name == "count" || !hasForms(arg.typ) && name != "avg" && name != "sum":
		return exact
	case arg.typ == float8 && (name == "sum" || name == "avg") && !arg.plain:
		return rough
	}
	return loose
}
