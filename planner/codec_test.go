package planner

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
)

// somePlans are plans with every operator and construct.
func somePlans(t testing.TB) [][]byte {
	f := fixtureT(t)
	var out [][]byte
	for _, src := range []string{
		"SELECT b, sum(a), min(d), count(DISTINCT c) FILTER (WHERE e) FROM t GROUP BY b HAVING count(*) > 1",
		"SELECT t.a, u.ts FROM t JOIN u ON t.b = u.y AND t.a < u.x",
		"SELECT a FROM t UNION ALL VALUES (1), (2)",
		"SELECT DISTINCT c FROM t WHERE c IN ('a', 'b', NULL)",
		"SELECT count(*) FROM bid",
		"SELECT t.a, u.ts FROM t LEFT JOIN u ON t.b = u.y",
		"SELECT t.a, u.ts FROM t FULL JOIN u ON t.b = u.y AND t.a < u.x",
		"SELECT a, (SELECT c FROM u WHERE u.y = t.b) AS c FROM t WHERE b NOT IN (SELECT y FROM u)",
		"SELECT d FROM t EXCEPT ALL SELECT x FROM u",
	} {
		q, err := sql.ParseQuery(src)
		if err != nil {
			t.Fatal(err)
		}
		p, err := PlanView(f.env(), q, nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, EncodePlan(p.Plan))
		if p, err = PlanSink(f.env(), q); err != nil {
			t.Fatal(err)
		}
		out = append(out, EncodePlan(p.Plan))
	}
	q, _ := sql.ParseQuery("SELECT a + 1 FROM t WHERE a = 3 ORDER BY c DESC NULLS LAST LIMIT 2 OFFSET 1")
	p, err := PlanQuery(f.env(), q)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, EncodePlan(p.Plan))
}

func TestPlanCodecDamage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	for _, b := range somePlans(t) {
		p, err := DecodePlan(b)
		if err != nil || !bytes.Equal(EncodePlan(p), b) {
			t.Fatalf("a plan does not survive its stored form: %v", err)
		}
		if planAppendOnly(b) != p.AppendOnly {
			t.Error("append-only is read wrongly off the stored form")
		}
		for n := range len(b) {
			if _, err := DecodePlan(b[:n]); err == nil {
				t.Fatalf("%d of %d bytes are taken for a plan", n, len(b))
			}
		}
		for range 300 {
			c := bytes.Clone(b)
			c[rnd.IntN(len(c))] ^= 1 << rnd.IntN(8)
			if p, err := DecodePlan(c); err == nil {
				Explain(&Planned{Plan: p}, true) // whatever passes can be walked
			}
		}
	}
	if _, err := DecodePlan([]byte{planFormat + 1, 0}); pgerr.CodeOf(err) != pgerr.FeatureNotSupported {
		t.Errorf("a newer format gives %v", err)
	}
}

func FuzzDecodePlan(f *testing.F) {
	for _, b := range somePlans(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePlan(b)
		if err != nil {
			return
		}
		c := EncodePlan(p)
		if q, err := DecodePlan(c); err != nil || !bytes.Equal(EncodePlan(q), c) {
			t.Fatalf("a decoded plan does not survive its stored form: %v", err)
		}
		Explain(&Planned{Plan: p}, true)
	})
}

func BenchmarkPlanPoint(b *testing.B) {
	f := fixtureT(b)
	env := f.env()
	env.Explain = false
	q, err := sql.ParseQuery("SELECT b, c FROM t WHERE a = 5")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := PlanQuery(env, q); err != nil {
			b.Fatal(err)
		}
	}
}
