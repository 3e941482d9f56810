package oracle

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/testpg"
	"github.com/streamdb/streamdb/internal/testserver"
)

var (
	flagN     = flag.Int("oracle.n", 300, "random queries")
	flagSeed  = flag.Uint64("oracle.seed", 0, "seed; 0: from the clock")
	flagRound = flag.Int("oracle.round", -1, "replay this round only")
	flagMix   = flag.Bool("oracle.mix", true, "let a slow, a suspended and an over-limit job run beside those under test")
	flagTime  = flag.Duration("oracle.shrink", 40*time.Second, "how long to make a failing case smaller")
	flagKeep  = flag.Int("oracle.failures", 3, "stop after so many failures")
)

// minUses is how many of 2,000 queries must have each construct.
const minUses = 50

func TestMain(m *testing.M) { testserver.Main(m) }

func TestOracle(t *testing.T) {
	if testing.Short() {
		*flagN = min(*flagN, 40)
	}
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-oracle.seed)", seed)
	refused, err := os.ReadFile("testdata/refused.txt")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{pgDSN: testpg.Start(t), counts: newCounts()}
	if r.refused, err = parseRefused(string(refused)); err != nil {
		t.Fatalf("testdata/refused.txt: %v", err)
	}
	startServer(t, r)
	first, last := 0, (*flagN+viewsPerRound-1)/viewsPerRound
	if *flagRound >= 0 {
		first, last = *flagRound, *flagRound+1
	}
	failures := 0
	for n := first; n < last && failures < *flagKeep; n++ {
		s := newScenario(seed, n, viewsPerRound)
		for _, st := range s.steps {
			set := map[string]bool{}
			st.uses(set)
			for u := range set {
				r.counts.steps[u]++
			}
		}
		err := r.run(s)
		var f *failure
		switch {
		case err == nil:
		case errors.As(err, &f):
			failures++
			report(t, r, s, f, seed, n)
		default:
			t.Fatal(err)
		}
	}
	r.report(t, *flagRound < 0)
}

// startServer gives the rig a server with nothing in it.
func startServer(t *testing.T, r *rig) {
	t.Helper()
	if r.server != nil {
		r.server.Kill()
	}
	r.server = testserver.StartProcess(t, testserver.Options{CheckpointInterval: time.Second, ReadTimeout: 8 * time.Second})
	if err := r.connect(); err != nil {
		t.Fatal(err)
	}
	if *flagMix {
		if err := r.mix(); err != nil {
			t.Fatal(err)
		}
	}
}

// report shows a failure in its smallest form, and how to see it again.
func report(t *testing.T, r *rig, s *scenario, f *failure, seed uint64, n int) {
	t.Helper()
	real := r.counts
	r.counts = newCounts()
	defer func() { r.counts = real }()
	if *flagTime == 0 {
		t.Errorf("round %d, step %d: %s\nreplay: go test ./internal/oracle -run TestOracle -oracle.seed=%d -oracle.round=%d", n, f.step, f.Error(), seed, n)
		startServer(t, r)
		return
	}
	defer func(d time.Duration) { statementTimeout = d }(statementTimeout)
	statementTimeout = 5 * time.Second
	startServer(t, r)
	small, last := shrink(s, f, func(c *scenario) *failure {
		err := r.run(c)
		var f *failure
		if err != nil && !errors.As(err, &f) {
			t.Fatal(err)
		}
		if f != nil && f.kind == "session" {
			startServer(t, r)
		}
		return f
	}, time.Now().Add(*flagTime))
	t.Errorf("round %d: %s\n\nsmallest case:\n%s\nreplay: go test ./internal/oracle -run TestOracle -oracle.seed=%d -oracle.round=%d",
		n, last.Error(), small, seed, n)
	startServer(t, r)
}

// report prints what was seen, and fails if constructs were too rare.
func (r *rig) report(t *testing.T, whole bool) {
	t.Helper()
	c := r.counts
	t.Logf("%d queries, %d answers compared, %d of them errors on both sides, %d that depend on the order of evaluation",
		c.queries, c.compared, c.failing, c.unordered)
	t.Logf("refused here: %v; by both: %v", c.refused, c.invalid)
	for _, name := range slices.Sorted(maps.Keys(c.steps)) {
		t.Logf("%7d steps   %s", c.steps[name], name)
	}
	need := minUses * c.queries / 2000
	if c.queries < 100 {
		need = 0
	}
	for _, name := range constructs() {
		t.Logf("%7d queries %s", c.uses[name], name)
		if whole && !t.Failed() && c.uses[name] < need {
			t.Errorf("construct %q was in %d queries, expected %d", name, c.uses[name], need)
		}
	}
	if bad := c.invalid; whole && sum(bad)*20 > c.queries+20 {
		t.Errorf("too many queries are no SQL: %v", bad)
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// TestGenerator runs without any server: rounds are functions of the seed, and
// edits end.
func TestGenerator(t *testing.T) {
	for n := range 50 {
		a, b := newScenario(7, n, viewsPerRound), newScenario(7, n, viewsPerRound)
		if a.String() != b.String() {
			t.Fatalf("round %d differs from itself:\n%s\n%s", n, a, b)
		}
		if c := a.clone(); c.String() != a.String() {
			t.Fatalf("round %d differs from its clone", n)
		}
	}
	s := newScenario(7, 3, viewsPerRound)
	f := &failure{kind: "k", step: len(s.steps) - 1}
	runs := 0
	small, _ := shrink(s, f, func(c *scenario) *failure {
		runs++
		if len(c.views()) > 0 && len(c.tables) > 0 {
			return f
		}
		return nil
	}, time.Now().Add(10*time.Second))
	if len(small.views()) != 1 || len(small.tables) != 1 || len(small.steps) != 1 {
		t.Errorf("after %d runs the smallest scenario is still:\n%s", runs, small)
	}
	fmt.Println(newScenario(7, 1, viewsPerRound))
}
