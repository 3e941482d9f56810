package build

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/jackc/pgx/v5"

	"github.com/streamdb/streamdb/exec"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/internal/testpg"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/types"
)

// TestPostgres keeps each query of testdata/postgres.sql as a view over random
// changes, and after each epoch compares it, and the same query run from
// scratch, with what PostgreSQL answers over the same rows.
func TestPostgres(t *testing.T) {
	dsn := testpg.Start(t)
	text, err := os.ReadFile("testdata/postgres.sql")
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	pg, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close(context.Background())
	for i, q := range strings.Split(string(text), ";\n") {
		if q = strings.TrimSpace(q); q == "" {
			continue
		}
		t.Run(fmt.Sprint(i, " ", strings.Join(strings.Fields(q), " ")), func(t *testing.T) {
			comparePostgres(t, pg, q, 1+i%3, 10, rand.New(rand.NewPCG(seed, uint64(i))))
		})
	}
}

// world is the tables of a test, here and in PostgreSQL.
type world struct {
	pg    *pgx.Conn
	bases []*table
}

func newWorld(t *testing.T, pg *pgx.Conn) *world {
	w := &world{pg: pg}
	for _, o := range tables {
		b := &table{rows: map[int64][]types.Datum{}}
		var cols []string
		for i, c := range o.Columns {
			b.schema = append(b.schema, c.Type)
			cols = append(cols, c.Name+" "+c.Type.String())
			if i == 0 {
				cols[0] += " PRIMARY KEY"
			}
		}
		w.bases = append(w.bases, b)
		w.exec(t, "DROP TABLE IF EXISTS "+o.Name+"; CREATE TABLE "+o.Name+" ("+strings.Join(cols, ", ")+")")
	}
	return w
}

func (w *world) exec(t *testing.T, q string) {
	t.Helper()
	if _, err := w.pg.Exec(t.Context(), q, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

// change makes random changes to table n in both systems.
func (w *world) change(t *testing.T, n int, rng *rand.Rand) *types.Chunk {
	b, name := w.bases[n], tables[n].Name
	c := types.NewChunk(b.schema)
	for range rng.IntN(20) {
		b.change(rng, c)
	}
	var script strings.Builder
	for r := range c.N {
		if c.DiffAt(r) < 0 {
			fmt.Fprintf(&script, "DELETE FROM %s WHERE %s = %d;", name, tables[n].Columns[0].Name, c.Cols[0].I64[r])
			continue
		}
		var vals []string
		for i := range c.Cols {
			v := "NULL"
			if !c.Cols[i].Null(r) {
				v = "'" + string(c.Cols[i].AppendText(nil, r)) + "'"
			}
			vals = append(vals, v)
		}
		fmt.Fprintf(&script, "INSERT INTO %s VALUES (%s);", name, strings.Join(vals, ", "))
	}
	w.exec(t, script.String())
	return c
}

// answer is PostgreSQL's answer, or its error's code.
func (w *world) answer(t *testing.T, q string) (map[string]int64, pgerr.Code) {
	t.Helper()
	rows, err := w.pg.Query(t.Context(), q, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for rows.Next() {
		var b strings.Builder
		for _, v := range rows.RawValues() {
			if v == nil {
				b.WriteString("NULL|")
			} else {
				b.WriteString(string(v) + "|")
			}
		}
		out[b.String()]++
	}
	rows.Close()
	if e, ok := rows.Err().(interface{ SQLState() string }); ok {
		return nil, pgerr.Code(e.SQLState())
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return out, pgerr.SuccessfulCompletion
}

func comparePostgres(t *testing.T, pg *pgx.Conn, q string, parallelism, epochs int, rng *rand.Rand) {
	w := newWorld(t, pg)
	view := plan(t, q, true)
	b := planner.EncodePlan(view)
	view, err := planner.DecodePlan(b)
	if err != nil {
		t.Fatal(err)
	}
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
	for e := types.Epoch(1); e <= types.Epoch(epochs); e++ {
		for n := range w.bases {
			if rng.IntN(5) == 0 {
				continue
			}
			c := w.change(t, n, rng)
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
		want, code := w.answer(t, q)
		got, err := adHoc(t, plan(t, q, false), w.bases)
		if code != pgerr.CodeOf(err) || code == pgerr.SuccessfulCompletion && sorted(got) != sorted(want) {
			t.Fatalf("%s\nepoch %d, ad hoc: %v\n%s\nwant %s\n%s", q, e, err, sorted(got), code, sorted(want))
		}
		if code != pgerr.SuccessfulCompletion {
			continue
		}
		if _, n := j.Errors(); n != 0 {
			t.Fatalf("%s\nepoch %d: the view has %d errors", q, e, n)
		}
		if got := content(t, rel, e); sorted(got) != sorted(want) {
			t.Fatalf("%s\nepoch %d, the view:\n%s\nwant\n%s\n%s", q, e, sorted(got), sorted(want), planText(t, q))
		}
	}
}

func planText(t *testing.T, q string) string {
	return strings.Join(planner.Explain(&planner.Planned{Plan: plan(t, q, true)}, false), "\n")
}
