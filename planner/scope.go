package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// scopeCol is a column by the name under which expressions know it.
type scopeCol struct {
	name string
	e    expr.Expr // a column, or a cast of one (JOIN … USING)
}

// rangeVar is a relation of FROM under its alias.
type rangeVar struct {
	name   string // the alias, or the relation's own name
	real   string // the relation's own name, "" for a derived table
	schema string // "" if the relation has an alias
	cols   []scopeCol
	// key are the ids of a table's primary key, on which its other columns
	// depend; nil for anything else.
	key []int
}

// scope is what the names in a query's clauses mean: columns by their bare
// name in cols (in the order of *), relations in vars.
type scope struct {
	vars []*rangeVar
	cols []scopeCol
	// nulled are columns that an outer join may make NULL, foreign those of
	// outer queries that have been referred to.
	nulled, foreign idSet
}

// null notes that an outer join may make the columns of e NULL.
func (s *scope) null(e expr.Expr) {
	if s.nulled == nil {
		s.nulled = idSet{}
	}
	s.nulled.addExprs(e)
}

// merge adds what s2 has. A relation named twice is an error.
func (s *scope) merge(s2 *scope) error {
	for _, v := range s2.vars {
		for _, w := range s.vars {
			if v.name != "" && v.name == w.name && v.schema == w.schema {
				return pgerr.New(pgerr.DuplicateAlias, `table name "%s" specified more than once`, v.name)
			}
		}
	}
	for id := range s2.nulled {
		if s.nulled == nil {
			s.nulled = idSet{}
		}
		s.nulled.add(id)
	}
	s.vars = append(s.vars, s2.vars...)
	s.cols = append(slices.Clip(s.cols), s2.cols...)
	return nil
}

// column resolves a column reference of one to four parts.
func (s *scope) column(parts []string, pos int) (expr.Expr, *rangeVar, error) {
	name := parts[len(parts)-1]
	if len(parts) == 1 {
		return s.bare(name, pos)
	}
	v, err := s.relation(parts[:len(parts)-1], pos)
	if err != nil {
		return nil, nil, err
	}
	var found expr.Expr
	for _, c := range v.cols {
		if c.name != name {
			continue
		}
		if found != nil {
			return nil, nil, errAmbiguous(name, pos)
		}
		found = c.e
	}
	if found == nil {
		e := pgerr.New(pgerr.UndefinedColumn, "column %s.%s does not exist", v.name, name).At(pos)
		return nil, nil, s.suggest(e, v, name)
	}
	return found, v, nil
}

func (s *scope) bare(name string, pos int) (expr.Expr, *rangeVar, error) {
	var found expr.Expr
	for _, c := range s.cols {
		if c.name != name {
			continue
		}
		if found != nil {
			return nil, nil, errAmbiguous(name, pos)
		}
		found = c.e
	}
	if found != nil {
		return found, s.owner(found), nil
	}
	for _, v := range s.vars {
		if v.name == name {
			return nil, nil, pgerr.Unsupported("a whole row as a value").At(pos)
		}
	}
	e := pgerr.New(pgerr.UndefinedColumn, `column "%s" does not exist`, name).At(pos)
	return nil, nil, s.suggest(e, nil, name)
}

func errAmbiguous(name string, pos int) error {
	return pgerr.New(pgerr.AmbiguousColumn, `column reference "%s" is ambiguous`, name).At(pos)
}

// owner gives the relation that a column comes from, nil for none.
func (s *scope) owner(e expr.Expr) *rangeVar {
	c, ok := e.(*expr.Column)
	if !ok {
		return nil
	}
	for _, v := range s.vars {
		for _, vc := range v.cols {
			if o, ok := vc.e.(*expr.Column); ok && o.Index == c.Index {
				return v
			}
		}
	}
	return nil
}

// relation resolves the qualifier of a column.
func (s *scope) relation(parts []string, pos int) (*rangeVar, error) {
	schema, name, err := catalog.SplitName(parts)
	if err != nil {
		return nil, pgerr.From(err).At(pos)
	}
	var found *rangeVar
	for _, v := range s.vars {
		if v.name != name || schema != "" && v.schema != schema {
			continue
		}
		if found != nil {
			return nil, pgerr.New(pgerr.AmbiguousColumn, `table reference "%s" is ambiguous`, name).At(pos)
		}
		found = v
	}
	if found != nil {
		return found, nil
	}
	for _, v := range s.vars {
		if v.name == name {
			return nil, pgerr.New(pgerr.UndefinedTable, `invalid reference to FROM-clause entry for table "%s"`, name).
				WithHint(`There is an entry for table "%s", but it cannot be referenced from this part of the query.`, name).At(pos)
		}
		if v.real == name {
			return nil, pgerr.New(pgerr.UndefinedTable, `invalid reference to FROM-clause entry for table "%s"`, name).
				WithHint(`Perhaps you meant to reference the table alias "%s".`, v.name).At(pos)
		}
	}
	return nil, pgerr.New(pgerr.UndefinedTable, `missing FROM-clause entry for table "%s"`, name).At(pos)
}

// suggest adds PostgreSQL's hint with the nearest columns, of v if given.
func (s *scope) suggest(e *pgerr.Error, v *rangeVar, name string) error {
	const maxDistance = 3
	best, hits := maxDistance+1, []string(nil)
	for _, w := range s.vars {
		if v != nil && v != w {
			continue
		}
		for _, c := range w.cols {
			d := distance(name, c.name, maxDistance)
			if d > maxDistance || d > len(name)/2 {
				continue
			}
			if d < best {
				best, hits = d, nil
			}
			if d == best {
				hits = append(hits, fmt.Sprintf(`the column "%s.%s"`, w.name, c.name))
			}
		}
	}
	if n := len(hits); n == 1 || n == 2 {
		return e.WithHint("Perhaps you meant to reference %s.", strings.Join(hits, " or "))
	}
	return e
}

// distance is the Levenshtein distance of a and b, or more than limit.
func distance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 || max(len(a)-len(b), len(b)-len(a)) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// rename gives a relation of FROM an alias and names for its first columns.
func (s *scope) rename(alias string, names []string) (*scope, error) {
	if len(names) > len(s.cols) {
		return nil, pgerr.New(pgerr.InvalidColumnReference, `table "%s" has %d columns available but %d columns specified`,
			alias, len(s.cols), len(names))
	}
	v := &rangeVar{name: alias, cols: slices.Clone(s.cols)}
	if len(s.vars) == 1 {
		v.key, v.real = s.vars[0].key, s.vars[0].real
	}
	for i, n := range names {
		v.cols[i].name = n
	}
	return &scope{vars: []*rangeVar{v}, cols: v.cols, nulled: s.nulled}, nil
}

// scanObject makes a scan of all columns of a relation, and its scope.
func (b *binder) scanObject(o *catalog.Object, written string) (*scanNode, *scope) {
	n := &scanNode{rel: o}
	v := &rangeVar{name: o.Name, real: written, schema: o.Schema}
	for i, c := range o.Columns {
		id := b.md.add(columnInfo{name: c.Name, typ: c.Type, notNull: c.NotNull, object: o.ID, number: c.ID})
		n.ords, n.ids = append(n.ords, i), append(n.ids, id)
		v.cols = append(v.cols, scopeCol{name: c.Name, e: b.md.ref(id)})
	}
	if o.Kind == catalog.Table && o.Key != nil {
		for _, k := range o.Key {
			v.key = append(v.key, n.ids[k])
		}
	}
	return n, &scope{vars: []*rangeVar{v}, cols: v.cols}
}

// scopeOf is the scope of a query's output, under no name yet.
func (b *binder) scopeOf(q *boundQuery) *scope {
	v := &rangeVar{}
	for _, c := range q.out {
		ref := &expr.Column{Index: c.id, T: b.md.typ(c.id), Name: c.name}
		v.cols = append(v.cols, scopeCol{name: c.name, e: ref})
	}
	s := &scope{vars: []*rangeVar{v}, cols: v.cols}
	for _, c := range q.out {
		if b.md.cols[c.id].notNull && !b.md.notNull(q.node, c.id) {
			s.null(b.md.ref(c.id))
		}
	}
	return s
}

var boolType = types.T(types.Bool)
