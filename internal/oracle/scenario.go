package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// view is a materialized view under test.
type view struct {
	name    string
	q       *query
	options string // WITH (…) of streamdb's
	depth   int
}

// stepKind is what a step does.
type stepKind int

const (
	stepCreate     stepKind = iota // a view
	stepBatch                      // DML
	stepCheckpoint                 // CHECKPOINT
	stepAlter                      // a view's parallelism and backend
	stepSuspend                    // a view, and resume it
	stepSavepoint                  // save
	stepRollback                   // to the savepoint
	stepRestart                    // in order
	stepCrash                      // by SIGKILL
)

// step is one thing that happens to both systems; after it they are compared.
type step struct {
	kind   stepKind
	view   *view
	stmts  []*statement
	words  string // around a batch: "", COMMIT or ROLLBACK; of ALTER: the options
	inside int    // statements in a subtransaction that is rolled back, from the front; 0 none
}

// scenario is one round: tables, and what happens.
type scenario struct {
	tables []*table
	steps  []*step
}

// views in the order of their creation.
func (s *scenario) views() []*view {
	var out []*view
	for _, st := range s.steps {
		if st.kind == stepCreate {
			out = append(out, st.view)
		}
	}
	return out
}

// String is the scenario as SQL that a person can run.
func (s *scenario) String() string {
	var b strings.Builder
	for _, t := range s.tables {
		fmt.Fprintf(&b, "%s;\n", t.create())
	}
	for _, st := range s.steps {
		for _, line := range st.sql() {
			fmt.Fprintf(&b, "%s;\n", line)
		}
	}
	return b.String()
}

// sql is the step in streamdb's SQL.
func (st *step) sql() []string {
	switch st.kind {
	case stepCreate:
		return []string{fmt.Sprintf("CREATE MATERIALIZED VIEW %s%s AS %s", st.view.name, st.view.options, st.view.q)}
	case stepBatch:
		return st.batch()
	case stepCheckpoint:
		return []string{"CHECKPOINT"}
	case stepAlter:
		return []string{fmt.Sprintf("ALTER MATERIALIZED VIEW %s SET (%s)", st.view.name, st.words)}
	case stepSuspend:
		return []string{"ALTER MATERIALIZED VIEW " + st.view.name + " SUSPEND", "ALTER MATERIALIZED VIEW " + st.view.name + " RESUME"}
	case stepSavepoint:
		return []string{"SAVEPOINT oracle"}
	case stepRollback:
		return []string{"ROLLBACK TO SAVEPOINT oracle CASCADE", "DROP SAVEPOINT oracle"}
	case stepRestart:
		return []string{"-- restart the server"}
	default:
		return []string{"-- kill the server and start it again"}
	}
}

// batch is the DML with its transaction's words.
func (st *step) batch() []string {
	var out []string
	if st.words != "" {
		out = append(out, "BEGIN")
	}
	for i, s := range st.stmts {
		if i == 0 && st.inside > 0 && st.words != "" {
			out = append(out, "SAVEPOINT inner_one")
		}
		out = append(out, s.String())
		if i+1 == st.inside && st.words != "" {
			out = append(out, "ROLLBACK TO SAVEPOINT inner_one")
		}
	}
	if st.words != "" {
		out = append(out, st.words)
	}
	return out
}

// uses adds the constructs of the step itself.
func (st *step) uses(set map[string]bool) {
	switch st.kind {
	case stepBatch:
		for _, s := range st.stmts {
			set[s.use] = true
		}
		if st.words != "" {
			set["transaction "+strings.ToLower(st.words)] = true
		}
		if st.inside > 0 && st.words != "" {
			set["subtransaction"] = true
		}
	case stepCreate:
		for _, o := range []string{"parallelism = 3", "'memory'", "'filesystem'", "'pebble'"} {
			if strings.Contains(st.view.options, o) {
				set["with "+strings.Trim(o, "'")] = true
			}
		}
	default:
		set[map[stepKind]string{stepCheckpoint: "checkpoint", stepAlter: "alter", stepSuspend: "suspend", stepSavepoint: "savepoint",
			stepRollback: "rollback to savepoint", stepRestart: "restart", stepCrash: "crash"}[st.kind]] = true
	}
}

const (
	viewsPerRound  = 10
	epochsPerRound = 8
)

// newScenario makes round n of the run with the given seed: up to maxViews
// views.
func newScenario(seed uint64, n, maxViews int) *scenario {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	s := &scenario{}
	qm := &queryMaker{r: r}
	for i := range 2 + r.IntN(2) {
		t := newTable(r, i)
		s.tables = append(s.tables, t)
		qm.rels = append(qm.rels, &relation{name: t.name, cols: t.cols, rows: 20})
	}
	load := &step{kind: stepBatch}
	for _, t := range s.tables {
		load.stmts = append(load.stmts, newInsert(r, t, 8+r.IntN(12)))
	}
	// Some views see the first rows as changes, the others as history.
	early := r.IntN(maxViews + 1)
	names := constructs()
	for i := range maxViews {
		if i == early {
			s.steps = append(s.steps, load)
		}
		qm.focus = names[(n*viewsPerRound+i)%len(names)]
		v := newView(r, qm, i)
		s.steps = append(s.steps, &step{kind: stepCreate, view: v})
	}
	if early == maxViews {
		s.steps = append(s.steps, load)
	}
	saved := false
	for range epochsPerRound {
		if extra := newExtra(r, s, &saved); extra != nil {
			s.steps = append(s.steps, extra)
		}
		s.steps = append(s.steps, newBatch(r, s.tables))
	}
	if saved {
		s.steps = append(s.steps, &step{kind: stepRollback})
	}
	return s
}

func newView(r *rand.Rand, qm *queryMaker, i int) *view {
	q, rows := qm.make()
	v := &view{name: fmt.Sprintf("v%d", i), q: q, depth: 1}
	reads := q.reads()
	for _, rel := range qm.rels {
		if slices.Contains(reads, rel.name) {
			v.depth = max(v.depth, rel.depth+1)
		}
	}
	var with []string
	if r.IntN(2) == 0 {
		with = append(with, "parallelism = 3")
	}
	if r.IntN(2) == 0 {
		with = append(with, "state_backend = "+pick(r, "'memory'", "'filesystem'", "'pebble'"))
	}
	if len(with) > 0 {
		v.options = " WITH (" + strings.Join(with, ", ") + ")"
	}
	qm.rels = append(qm.rels, &relation{name: v.name, cols: q.columns(), depth: v.depth, rows: rows})
	return v
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// newExtra is now and then something other than DML.
func newExtra(r *rand.Rand, s *scenario, saved *bool) *step {
	views := s.views()
	switch r.IntN(14) {
	case 0:
		return &step{kind: stepCheckpoint}
	case 1:
		return &step{kind: stepAlter, view: pick(r, views...), words: pick(r, "parallelism = 1", "parallelism = 3", "state_backend = 'filesystem'",
			"parallelism = 2, state_backend = 'memory'", "state_backend = 'pebble'")}
	case 2:
		return &step{kind: stepSuspend, view: pick(r, views...)}
	case 3, 4:
		*saved = !*saved
		if *saved {
			return &step{kind: stepSavepoint}
		}
		return &step{kind: stepRollback}
	case 5:
		return &step{kind: pick(r, stepRestart, stepCrash)}
	}
	return nil
}

func newBatch(r *rand.Rand, tables []*table) *step {
	st := &step{kind: stepBatch}
	for range 1 + r.IntN(4) {
		st.stmts = append(st.stmts, newStatement(r, pick(r, tables...)))
	}
	if r.IntN(2) == 0 {
		st.words = pick(r, "COMMIT", "COMMIT", "COMMIT", "ROLLBACK")
		if r.IntN(2) == 0 {
			st.inside = 1 + r.IntN(len(st.stmts))
		}
	}
	return st
}
