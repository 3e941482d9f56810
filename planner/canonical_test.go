package planner

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/state"
)

// ids plans a view and gives the canonical form and the identities of its
// states.
func (f *fixture) ids(src string) (string, []state.ID) {
	f.t.Helper()
	q, err := sql.ParseQuery(src)
	if err != nil {
		f.t.Fatalf("%s: %v", src, err)
	}
	p, err := PlanView(f.env(), q, nil)
	if err != nil {
		f.t.Fatalf("%s: %v", src, err)
	}
	var ids []state.ID
	for _, frag := range p.Plan.Fragments {
		for _, op := range frag.Ops {
			for _, s := range op.States() {
				ids = append(ids, s.ID)
			}
		}
	}
	return p.Canonical, ids
}

// TestCanonicalEquivalence: what is written differently and means the same
// has the same canonical form and the same states.
func TestCanonicalEquivalence(t *testing.T) {
	groups := [][]string{
		{
			"SELECT a, b FROM t WHERE a > 1 AND b < 2",
			"SELECT t.a, t.b FROM t WHERE b < 2 AND a > 1",
			"SELECT q.a AS x, q.b AS y FROM t AS q WHERE 1 < q.a AND q.b < 2",
			"SELECT * FROM (SELECT a, b FROM t WHERE a > 1) s WHERE b < 2",
			"WITH w AS (SELECT * FROM t) SELECT p, q FROM (SELECT a, b, c FROM w) AS s(p, q) WHERE q < 2 AND p > 1",
			"SELECT a, b FROM t WHERE a > 1 AND b < 2 AND true AND a > 1",
		},
		{
			"SELECT channel, count(*), max(price) FROM bid WHERE price > 5 GROUP BY channel",
			"SELECT c, count(*), max(p) FROM (SELECT price AS p, channel AS c FROM bid) s WHERE p > 5 GROUP BY 1",
			"SELECT channel AS ch, count(*), max(price) FROM bid WHERE 5 < price GROUP BY ch",
		},
		{
			"SELECT t.c, u.y FROM t JOIN u ON t.b = u.y WHERE u.c = 'x'",
			"SELECT l.c, r.y FROM t AS l, u AS r WHERE r.y = l.b AND 'x' = r.c",
			"SELECT l.c, r.y FROM t AS l JOIN (SELECT * FROM u WHERE c = 'x') AS r ON r.y = l.b",
		},
		{
			"SELECT channel, count(*) AS n FROM bid GROUP BY channel HAVING channel <> 'x'",
			"SELECT channel, count(*) FROM bid WHERE channel <> 'x' GROUP BY channel",
			"SELECT * FROM (SELECT channel, count(*) FROM bid GROUP BY channel) s WHERE channel <> 'x'",
		},
	}
	f := fixtureT(t)
	var forms []string
	for _, g := range groups {
		want, wantIDs := f.ids(g[0])
		for _, src := range g[1:] {
			got, gotIDs := f.ids(src)
			if got != want || fmt.Sprint(gotIDs) != fmt.Sprint(wantIDs) {
				t.Errorf("%s\n  %s %x\n%s\n  %s %x", g[0], want, wantIDs, src, got, gotIDs)
			}
		}
		for _, other := range forms {
			if other == want {
				t.Errorf("%s is taken for another query", g[0])
			}
		}
		forms = append(forms, want)
	}
}

// TestCanonicalDistinguishes: what differs in content differs in its states.
func TestCanonicalDistinguishes(t *testing.T) {
	f := fixtureT(t)
	seen := map[string]string{}
	for _, src := range []string{
		"SELECT b, count(*) FROM t GROUP BY b",
		"SELECT b, count(c) FROM t GROUP BY b",
		"SELECT b, count(DISTINCT c) FROM t GROUP BY b",
		"SELECT b, count(c) FILTER (WHERE e) FROM t GROUP BY b",
		"SELECT b, count(c) FROM t WHERE e GROUP BY b",
		"SELECT a, count(c) FROM t GROUP BY a",
		"SELECT b, count(c) FROM t WHERE b > 1 GROUP BY b",
		"SELECT b, count(c) FROM t WHERE b > 2 GROUP BY b",
		"SELECT b, count(c) FROM t WHERE b > 2.0 GROUP BY b",
		"SELECT b, min(c) FROM t GROUP BY b",
		"SELECT b, max(c) FROM t GROUP BY b",
		"SELECT c, count(*) FROM u GROUP BY c",
	} {
		_, ids := f.ids(src)
		k := fmt.Sprint(ids[0])
		if other := seen[k]; other != "" {
			t.Errorf("%s and %s have one state", src, other)
		}
		seen[k] = src
	}
}

// TestCanonicalRename: names of tables and columns are not in the form.
func TestCanonicalRename(t *testing.T) {
	f := fixtureT(t)
	want, wantIDs := f.ids("SELECT b, sum(a) FROM t WHERE c LIKE 'x%' GROUP BY b")
	o, err := f.cat.Resolve([]string{"public"}, []string{"t"})
	if err != nil {
		t.Fatal(err)
	}
	r := *o
	r.Name, r.Columns = "renamed", append([]catalog.Column(nil), o.Columns...)
	r.Columns[0].Name, r.Columns[1].Name, r.Columns[2].Name = "p", "q", "r"
	if f.cat, err = f.cat.Apply([]catalog.Change{{Put: &r}}); err != nil {
		t.Fatal(err)
	}
	got, gotIDs := f.ids("SELECT q, sum(p) FROM renamed WHERE r LIKE 'x%' GROUP BY q")
	if got != want || fmt.Sprint(gotIDs) != fmt.Sprint(wantIDs) {
		t.Errorf("%s\n%s", want, got)
	}
}

// TestCanonicalConjunctOrder shuffles conjuncts that cannot fail.
func TestCanonicalConjunctOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	f := fixtureT(t)
	preds := []string{"t1.a > 1", "t1.b = t2.a", "t2.c <> 'x'", "t2.b IS NOT NULL", "t1.e", "t1.c = t2.c", "NOT t2.e", "t1.b IN (1, 2)"}
	query := func() string {
		return "SELECT t1.a, t2.d FROM t AS t1, t AS t2 WHERE " + strings.Join(preds, " AND ")
	}
	want, _ := f.ids(query())
	for range 50 {
		rnd.Shuffle(len(preds), func(i, j int) { preds[i], preds[j] = preds[j], preds[i] })
		if got, _ := f.ids(query()); got != want {
			t.Fatalf("%s\n%s\n%s", query(), want, got)
		}
	}
}
