package build

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"context"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The tables of the tests: t (a, b, c, d), u (x, c).
var tables = []*catalog.Object{
	{ID: types.UUID{15: 1}, Kind: catalog.Table, Name: "t", Key: []int{0}, Columns: []catalog.Column{
		{ID: 1, Name: "a", Type: types.T(types.Int8), NotNull: true}, {ID: 2, Name: "b", Type: types.T(types.Int4)},
		{ID: 3, Name: "c", Type: types.T(types.Text)}, {ID: 4, Name: "d", Type: types.T(types.Numeric)},
	}},
	{ID: types.UUID{15: 2}, Kind: catalog.Table, Name: "u", Key: []int{0}, Columns: []catalog.Column{
		{ID: 1, Name: "x", Type: types.T(types.Int8), NotNull: true}, {ID: 2, Name: "c", Type: types.T(types.Text)},
	}},
}

func testCatalog(t testing.TB) *catalog.Catalog {
	c := catalog.Empty()
	for _, o := range tables {
		o := *o
		o.Schema, o.Status = catalog.PublicSchema, catalog.Ready
		var err error
		if c, err = c.Apply([]catalog.Change{{Put: &o}}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func plan(t testing.TB, text string, view bool) *planner.Plan {
	t.Helper()
	stmts, err := sql.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	q := stmts[0].Stmt.(*sql.QueryStmt).Query
	env := &planner.Env{Catalog: testCatalog(t)}
	f := planner.PlanQuery
	if view {
		f = func(e *planner.Env, q *sql.Query) (*planner.Planned, error) { return planner.PlanView(e, q, nil) }
	}
	p, err := f(env, q)
	if err != nil {
		t.Fatal(err)
	}
	return p.Plan
}

// table is a table's content in a test.
type table struct {
	schema []types.Type
	rows   map[int64][]types.Datum // by the key, its first column
}

// change inserts, updates or deletes a random row and adds the changes to c.
func (b *table) change(rng *rand.Rand, c *types.Chunk) {
	k := rng.Int64N(60)
	if old := b.rows[k]; old != nil {
		c.AppendRow(-1, old...)
		delete(b.rows, k)
		if rng.IntN(2) == 0 {
			return
		}
	}
	r := []types.Datum{types.NewInt8(k)}
	for _, t := range b.schema[1:] {
		if rng.IntN(6) == 0 {
			r = append(r, types.NullOf(t))
			continue
		}
		var d types.Datum
		switch t.Kind {
		case types.Int4:
			d = types.NewInt4(int32(rng.IntN(5)))
		case types.Text:
			d = types.NewText(fmt.Sprint("v", rng.IntN(7)))
		default:
			d, _ = types.ParseText(t, []string{"1.0", "1.00", "2.5", "-3"}[rng.IntN(4)])
		}
		r = append(r, d)
	}
	b.rows[k] = r
	c.AppendRow(1, r...)
}

// narrow gives the columns of c that an input wants.
func narrow(c *types.Chunk, cols []int) *types.Chunk {
	out := &types.Chunk{Diff: c.Diff, N: c.N}
	for _, i := range cols {
		out.Cols = append(out.Cols, c.Cols[i])
	}
	return out
}

func index(id types.UUID) int { return int(id[15]) - 1 }

func text(c *types.Chunk, r int) string {
	var b []byte
	for i := range c.Cols {
		if c.Cols[i].Null(r) {
			b = append(b, "NULL|"...)
		} else {
			b = append(c.Cols[i].AppendText(b, r), '|')
		}
	}
	return string(b)
}

// sorted gives rows with their multiplicities as text.
func sorted(rows map[string]int64) string {
	var out []string
	for r, n := range rows {
		if n != 0 {
			out = append(out, fmt.Sprintf("%d× %s", n, r))
		}
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

func adHoc(t *testing.T, p *planner.Plan, bases []*table) (map[string]int64, error) {
	t.Helper()
	g, err := Graph(p)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int64{}
	err = exec.Run(t.Context(), exec.Query{
		Graph: g, Backend: memory.New(),
		Feed: func(i int, push func(*types.Chunk) error) error {
			b := bases[index(p.Inputs[i].Relation)]
			c := types.NewChunk(b.schema)
			for _, r := range b.rows {
				c.AppendRow(1, r...)
			}
			return push(narrow(c, p.Inputs[i].Columns))
		},
		Out: func(c *types.Chunk) error {
			for k := range c.Rows() {
				rows[text(c, c.Row(k))] += int64(c.DiffAt(c.Row(k)))
			}
			return nil
		},
	})
	return rows, err
}

var queries = []string{
	`SELECT a, b + 1, c FROM t WHERE b > 1`,
	`SELECT DISTINCT c FROM t`,
	`SELECT c, count(*), sum(b), min(a), max(a), avg(b) FROM t GROUP BY c`,
	`SELECT count(*), max(c), sum(a) FROM t WHERE b <> 2`,
	`SELECT b, count(*) FILTER (WHERE c = 'v1') AS f, count(DISTINCT c) AS n, sum(d) FROM t GROUP BY b HAVING count(*) > 2`,
	`SELECT t.a, u.x, t.c FROM t JOIN u ON t.c = u.c WHERE t.b >= 1`,
	`SELECT u.c, count(*) FROM t, u WHERE t.a = u.x GROUP BY u.c`,
	`SELECT n, count(*) FROM (SELECT c, count(*) AS n FROM t GROUP BY c) s GROUP BY n`,
	`SELECT a FROM t UNION ALL SELECT x FROM u`,
	`SELECT l.a, r.a AS a2 FROM t l JOIN t r ON l.b = r.b AND l.a < r.a`,
	`SELECT d, min(c), count(DISTINCT b) FROM t GROUP BY d`,
}

// TestViewsEqualQueries keeps each query as a view over random DML, at two
// parallelisms, and compares it with the query run from scratch.
func TestViewsEqualQueries(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, q := range queries {
		for _, parallelism := range []int{1, 3} {
			t.Run(fmt.Sprintf("%d/%d", i, parallelism), func(t *testing.T) {
				testView(t, q, parallelism, rand.New(rand.NewPCG(seed, uint64(i))))
			})
		}
	}
}

func testView(t *testing.T, q string, parallelism int, rng *rand.Rand) {
	view, query := plan(t, q, true), plan(t, q, false)
	g, err := Graph(view)
	if err != nil {
		t.Fatal(err)
	}
	rel := relation.NewMaterialized(types.UUID{9}, view.Schema, view.Key, types.KeyGroups, 0)
	rel.Start(1)
	j, err := exec.Start(t.Context(), exec.Config{
		Name: "v", Graph: g, Parallelism: parallelism, Backend: memory.New(), FS: vfs.NewMem(), Dir: "d", Output: rel,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Stop()
	var bases []*table
	for _, o := range tables {
		b := &table{rows: map[int64][]types.Datum{}}
		for _, c := range o.Columns {
			b.schema = append(b.schema, c.Type)
		}
		bases = append(bases, b)
	}
	for e := types.Epoch(1); e <= 12; e++ {
		for n, b := range bases {
			c := types.NewChunk(b.schema)
			for range rng.IntN(25) {
				b.change(rng, c)
			}
			for i, in := range view.Inputs {
				if index(in.Relation) == n {
					if err := j.Push(i, narrow(c, in.Columns)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := j.Barrier(types.EpochInfo{ID: e}, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := j.Wait(ctx, e)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		want, err := adHoc(t, query, bases)
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, rel, e); sorted(got) != sorted(want) {
			t.Fatalf("%s\nepoch %d:\n%s\nwant\n%s", q, e, sorted(got), sorted(want))
		}
	}
}

func content(t *testing.T, rel *relation.Materialized, e types.Epoch) map[string]int64 {
	t.Helper()
	snap, err := rel.Pin(e)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	chunks, err := snap.Scan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer chunks.Close()
	rows := map[string]int64{}
	for {
		c, err := chunks.Next()
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			return rows
		}
		for k := range c.Rows() {
			rows[text(c, c.Row(k))] += int64(c.DiffAt(c.Row(k)))
		}
	}
}

func TestOrderAndLimit(t *testing.T) {
	b := &table{schema: []types.Type{types.T(types.Int8), types.T(types.Int4), types.T(types.Text), types.T(types.Numeric)}, rows: map[int64][]types.Datum{}}
	for k := range int64(10) {
		b.rows[k] = []types.Datum{types.NewInt8(k), types.NewInt4(int32(k % 3)), types.NewText("x"), types.NullOf(types.T(types.Numeric))}
	}
	rows, err := adHoc(t, plan(t, `SELECT a FROM t ORDER BY b DESC, a LIMIT 3 OFFSET 1`, false), []*table{b, nil})
	if err != nil {
		t.Fatal(err)
	}
	if got := sorted(rows); got != "1× 1|\n1× 5|\n1× 8|" {
		t.Fatalf("got\n%s", got)
	}
	if rows, err = adHoc(t, plan(t, `SELECT 1 + 2, 'x'`, false), []*table{b, nil}); err != nil || sorted(rows) != "1× 3|x|" {
		t.Fatalf("%v\n%s", err, sorted(rows))
	}
	if _, err := adHoc(t, plan(t, `SELECT 1 / (a - a) FROM t`, false), []*table{b, nil}); pgerr.CodeOf(err) != pgerr.DivisionByZero {
		t.Fatalf("got %v", err)
	}
}

// TestBrokenPlans: what does not fit is refused here.
func TestBrokenPlans(t *testing.T) {
	i8, tx := types.T(types.Int8), types.T(types.Text)
	base := func(id int, out ...types.Type) planner.Base { return planner.Base{ID: id, Out: out} }
	in := []planner.Input{{Columns: []int{0}, Types: []types.Type{i8}}}
	edge := []planner.Edge{{From: -1}}
	bad := map[string]*planner.Plan{
		"no fragments": {},
		"types change": {Inputs: in, Fragments: []planner.Fragment{{Edges: edge, Ops: []planner.Op{
			&planner.Filter{Base: base(1, tx), Pred: &expr.Const{Value: types.NewBool(true)}}}}}},
		"column missing": {Inputs: in, Fragments: []planner.Fragment{{Edges: edge, Ops: []planner.Op{
			&planner.Project{Base: base(1, i8), Exprs: []expr.Expr{&expr.Column{Index: 3, T: i8}}}}}}},
		"edge to later": {Inputs: in, Fragments: []planner.Fragment{{Edges: []planner.Edge{{From: 0}}, Ops: []planner.Op{&planner.Collect{Base: base(1, i8)}}}}},
		"two ids": {Inputs: in, Fragments: []planner.Fragment{{Edges: edge, Ops: []planner.Op{
			&planner.UnionAll{Base: base(1, i8)}, &planner.Collect{Base: base(1, i8)}}}}},
		"no state declared": {Inputs: in, Fragments: []planner.Fragment{{Edges: edge, Ops: []planner.Op{
			&planner.Materialize{Base: base(1, i8)}}}}},
		"hash without columns": {Inputs: in, Fragments: []planner.Fragment{{Edges: []planner.Edge{{From: -1, Dist: planner.Hash}}, Ops: []planner.Op{&planner.SinkWrite{Base: base(1, i8)}}}}},
		"end in the middle": {Inputs: in, Fragments: []planner.Fragment{{Edges: edge, Ops: []planner.Op{
			&planner.SinkWrite{Base: base(1, i8)}, &planner.Collect{Base: base(2, i8)}}}}},
	}
	for name, p := range bad {
		if name != "no fragments" {
			p.Schema = types.Schema{{Type: i8}}
		}
		if _, err := Graph(p); pgerr.CodeOf(err) != pgerr.InternalError {
			t.Errorf("%s: %v", name, err)
		}
	}
}
