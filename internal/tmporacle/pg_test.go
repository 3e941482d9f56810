package oracle
import ("testing";"os";"fmt";"github.com/streamdb/streamdb/internal/testpg")
func TestPG(t *testing.T) {
	r := &rig{pgDSN: testpg.Start(t), counts: newCounts()}
	var err error
	if r.theirs, err = connect("PostgreSQL", r.pgDSN); err != nil { t.Fatal(err) }
	bad := map[string]int{}; ok, failing, answers, rows := 0,0,0,0
	uses := map[string]int{}
	for n := range 200 {
		s := newScenario(11, n, viewsPerRound)
		r.theirs.must("ROLLBACK; DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public")
		for _, tb := range s.tables { if err := r.theirs.must(tb.create()); err != nil { t.Fatal(err) } }
		var live []*view
		for _, st := range s.steps {
			switch st.kind {
			case stepCreate:
				a, err := r.theirs.do(fmt.Sprintf("CREATE VIEW %s AS %s OFFSET 0", st.view.name, st.view.q)); if err != nil { t.Fatal(err) }
				if a.code != "" { bad[a.code]++; if a.code != "42P01" { fmt.Println(a.code, a.message, st.view.q) } ; continue}
				ok++; live = append(live, st.view)
				set := map[string]bool{}; st.view.q.uses(set); for u := range set { uses[u]++ }
			case stepBatch:
				for _, q := range st.batch() { a, err := r.theirs.do(q); if err != nil { t.Fatal(err) }; if a.code != "" { bad["dml "+a.code]++; if a.code != "23505" && a.code != "25P02" {fmt.Println(a.code, a.message, q)} } }
			}
		}
		for _, v := range live { a, err := r.theirs.do("SELECT * FROM "+v.name); if err != nil { t.Fatal(err) }; answers++; rows += len(a.rows); if a.code != "" { failing++ } 
		  if len(a.rows) > 3000 { fmt.Println("BIG", len(a.rows)) } }
	}
	fmt.Println(ok, bad, answers, rows, "failing", failing)
	for _, c := range constructs() { fmt.Printf("%s=%d ", c, uses[c]) }
	_ = os.Args
}
