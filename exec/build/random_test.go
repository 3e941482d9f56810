package build

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/streamdb/streamdb/internal/testpg"
)

var (
	randomN    = flag.Int("random.n", 150, "random queries of TestRandomPostgres")
	randomSeed = flag.Uint64("random.seed", 0, "seed of TestRandomPostgres, 0: random")
	randomOnly = flag.Int("random.only", -1, "number of the only query to run")
)

// TestRandomPostgres is TestPostgres with random queries of joins, subqueries
// and set operations.
func TestRandomPostgres(t *testing.T) {
	dsn := testpg.Start(t)
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-random.seed=%d", seed)
	pg, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close(context.Background())
	for i := range *randomN {
		if *randomOnly >= 0 && i != *randomOnly {
			continue
		}
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		g := &queryGen{rng: rng}
		q := g.query([]string{"n", "s", "n"}[:1+rng.IntN(3)], nil, 2)
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			comparePostgres(t, pg, q, 1+i%3, 5, rng)
		})
	}
}

// queryGen makes queries over t and u whose expressions cannot fail. A type
// is n (a number) or s (a text).
type queryGen struct {
	rng *rand.Rand
	n   int // of aliases
}

type genCol struct{ ref, typ string }

func (g *queryGen) alias() string { g.n++; return fmt.Sprint("r", g.n) }

func (g *queryGen) oneIn(n int) bool { return g.rng.IntN(n) == 0 }

func pickOf[T any](g *queryGen, of ...T) T { return of[g.rng.IntN(len(of))] }

// query gives a query with output columns o0, o1, … of the given types.
func (g *queryGen) query(out []string, outer []genCol, depth int) string {
	if depth > 0 && g.oneIn(6) {
		op := pickOf(g, "UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL")
		return "(" + g.query(out, outer, depth-1) + ") " + op + " (" + g.query(out, outer, depth-1) + ")"
	}
	from, cols := g.from(outer, depth)
	var items []string
	group := ""
	if g.oneIn(3) {
		keys := []genCol{}
		for range g.rng.IntN(3) {
			keys = append(keys, pickOf(g, cols...))
		}
		for i, t := range out {
			items = append(items, fmt.Sprintf("%s AS o%d", g.grouped(t, keys, cols, outer, depth), i))
		}
		if len(keys) > 0 {
			group = " GROUP BY " + refs(keys)
		}
		if g.oneIn(3) {
			group += fmt.Sprintf(" HAVING count(*) %s %d", pickOf(g, ">", "<="), g.rng.IntN(4))
			if len(keys) > 0 {
				group += pickOf(g, " AND ", " OR ") + g.pred(keys, outer, depth-1)
			}
		}
	} else {
		for i, t := range out {
			items = append(items, fmt.Sprintf("%s AS o%d", g.value(t, cols, outer, depth), i))
		}
	}
	distinct := ""
	if g.oneIn(6) {
		distinct = "DISTINCT "
	}
	where := ""
	if !g.oneIn(3) {
		where = " WHERE " + g.pred(cols, outer, depth)
	}
	return "SELECT " + distinct + strings.Join(items, ", ") + " FROM " + from + where + group
}

func refs(cols []genCol) string {
	s := make([]string, len(cols))
	for i, c := range cols {
		s[i] = c.ref
	}
	return strings.Join(s, ", ")
}

func (g *queryGen) and(a, b []genCol) []genCol { return append(append([]genCol(nil), a...), b...) }

func (g *queryGen) grouped(t string, keys, cols, outer []genCol, depth int) string {
	if k := ofType(keys, t); len(k) > 0 && g.oneIn(2) {
		return pickOf(g, k...).ref
	}
	if t == "s" {
		return pickOf(g, "min", "max") + "(" + g.value("s", cols, nil, 0) + ")"
	}
	if g.oneIn(3) {
		return "count(*)"
	}
	return pickOf(g, "min", "max", "count", "count") + "(" + g.value("n", cols, nil, depth-1) + ")"
}

func ofType(cols []genCol, t string) (out []genCol) {
	for _, c := range cols {
		if c.typ == t {
			out = append(out, c)
		}
	}
	return out
}

// source gives a relation of FROM with its columns.
func (g *queryGen) source(outer []genCol, lateral []genCol, depth int) (string, []genCol) {
	a := g.alias()
	switch {
	case depth > 0 && g.oneIn(5):
		out := []string{"n", "s"}
		word, sees := "", outer
		if len(lateral) > 0 && g.oneIn(2) {
			word, sees = "LATERAL ", g.and(lateral, outer)
		}
		return word + "(" + g.query(out, sees, depth-1) + ") AS " + a, []genCol{{a + ".o0", "n"}, {a + ".o1", "s"}}
	case g.oneIn(12):
		return "(VALUES (1, 'v1'), (2, NULL), (7, 'v3')) AS " + a + "(x, c)", []genCol{{a + ".x", "n"}, {a + ".c", "s"}}
	case g.oneIn(2):
		return "u AS " + a, []genCol{{a + ".x", "n"}, {a + ".c", "s"}}
	}
	return "t AS " + a, []genCol{{a + ".a", "n"}, {a + ".b", "n"}, {a + ".c", "s"}}
}

func (g *queryGen) from(outer []genCol, depth int) (string, []genCol) {
	s, cols := g.source(outer, nil, depth)
	for range g.rng.IntN(3) {
		kind := pickOf(g, "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", ",")
		lateral := cols
		if kind == "RIGHT JOIN" || kind == "FULL JOIN" {
			lateral = nil
		}
		r, more := g.source(outer, lateral, depth)
		both := g.and(cols, more)
		if kind == "," {
			s, cols = s+" CROSS JOIN "+r, both
			break // one of these is enough
		}
		on := g.equality(cols, more)
		if g.oneIn(3) && kind != "FULL JOIN" {
			on += " AND " + g.compare(both, nil)
		}
		s, cols = s+" "+kind+" "+r+" ON "+on, both
	}
	return s, cols
}

func (g *queryGen) equality(a, b []genCol) string {
	for {
		x, y := pickOf(g, a...), pickOf(g, b...)
		if x.typ == y.typ {
			return x.ref + " = " + y.ref
		}
	}
}

// leaf gives a column or a constant.
func (g *queryGen) leaf(t string, cols, outer []genCol) string {
	if c := ofType(outer, t); len(c) > 0 && g.oneIn(3) {
		return pickOf(g, c...).ref
	}
	if c := ofType(cols, t); len(c) > 0 && !g.oneIn(6) {
		return pickOf(g, c...).ref
	}
	if t == "s" {
		return fmt.Sprintf("'v%d'", g.rng.IntN(7))
	}
	return fmt.Sprint(g.rng.IntN(60))
}

func (g *queryGen) value(t string, cols, outer []genCol, depth int) string {
	if depth > 0 && g.oneIn(6) {
		return g.scalar(t, cols, outer, depth-1)
	}
	if t == "n" && g.oneIn(5) {
		return "coalesce(" + g.leaf(t, cols, outer) + ", " + g.leaf(t, cols, outer) + ")"
	}
	return g.leaf(t, cols, outer)
}

// scalar gives a subquery with one row: an aggregate, or by key.
func (g *queryGen) scalar(t string, cols, outer []genCol, depth int) string {
	sees := g.and(cols, outer)
	if g.oneIn(4) {
		if n := ofType(sees, "n"); len(n) > 0 {
			return "(SELECT " + map[string]string{"n": "k.x", "s": "k.c"}[t] + " FROM u AS k WHERE k.x = " + pickOf(g, n...).ref + ")"
		}
	}
	from, own := g.from(sees, depth)
	agg := pickOf(g, "min", "max") + "(" + g.leaf(t, own, nil) + ")"
	if t == "n" && g.oneIn(2) {
		agg = "count(*)"
	}
	return "(SELECT " + agg + " FROM " + from + " WHERE " + g.pred(own, sees, depth) + ")"
}

func (g *queryGen) compare(cols, outer []genCol) string {
	t := pickOf(g, "n", "n", "s")
	op := pickOf(g, "=", "=", "=", "<>", "<", ">=")
	if g.oneIn(8) {
		return g.leaf(t, cols, outer) + " IS NOT DISTINCT FROM " + g.leaf(t, cols, outer)
	}
	if g.oneIn(8) {
		return pickOf(g, cols...).ref + pickOf(g, " IS NULL", " IS NOT NULL")
	}
	return g.leaf(t, cols, outer) + " " + op + " " + g.leaf(t, cols, outer)
}

func (g *queryGen) pred(cols, outer []genCol, depth int) string {
	switch n := g.rng.IntN(10); {
	case n < 2:
		return "(" + g.pred(cols, outer, depth-1) + " AND " + g.pred(cols, outer, depth-1) + ")"
	case n == 2:
		return "(" + g.pred(cols, outer, depth-1) + " OR " + g.pred(cols, outer, depth-1) + ")"
	case n == 3:
		return "NOT " + "(" + g.pred(cols, outer, depth-1) + ")"
	case n < 8 && depth > 0:
		return g.subqueryPred(cols, outer, depth-1)
	}
	return g.compare(cols, outer)
}

func (g *queryGen) subqueryPred(cols, outer []genCol, depth int) string {
	sees := g.and(cols, outer)
	t := pickOf(g, "n", "s")
	x := g.leaf(t, cols, outer)
	switch g.rng.IntN(6) {
	case 0:
		return "EXISTS (" + g.query([]string{t}, sees, depth) + ")"
	case 1:
		return "NOT EXISTS (" + g.query([]string{t}, sees, depth) + ")"
	case 2:
		return x + " IN (" + g.query([]string{t}, sees, depth) + ")"
	case 3:
		return x + " NOT IN (" + g.query([]string{t}, sees, depth) + ")"
	case 4:
		return x + pickOf(g, " = ", " <> ", " < ", " >= ") + pickOf(g, "ANY", "ALL") + " (" + g.query([]string{t}, sees, depth) + ")"
	}
	return x + pickOf(g, " = ", " < ", " >= ") + g.scalar(t, cols, outer, depth)
}
