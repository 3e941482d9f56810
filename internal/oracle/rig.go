package oracle

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Server is the streamdb under test.
type Server interface {
	DSN() string
	Kill()        // at once
	Stop()        // in order
	Start() error // again, on the same data
}

// failure is a difference between the two systems.
type failure struct {
	kind   string // what the same failure of a smaller scenario must have too
	view   string // "" if no view is concerned
	step   int
	detail string
}

func (f *failure) Error() string { return f.kind + ": " + f.detail }

// refusal is a line of refused.txt: what streamdb may refuse by 0A000.
type refusal struct {
	message *regexp.Regexp
	reason  string
}

// parseRefused reads lines of "pattern => reason".
func parseRefused(text string) ([]refusal, error) {
	var out []refusal
	for n, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, reason, ok := strings.Cut(line, " => ")
		if !ok {
			return nil, fmt.Errorf("line %d: expected \"pattern => reason\"", n+1)
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		out = append(out, refusal{re, reason})
	}
	return out, nil
}

// counts are what a run saw.
type counts struct {
	uses      map[string]int // constructs, by queries that have them
	steps     map[string]int // kinds of steps
	queries   int            // views that both made
	compared  int            // answers
	failing   int            // answers that were errors on both sides
	refused   map[string]int // by reason
	invalid   map[string]int // that both refused, by SQLSTATE
	unordered int            // whose errors depend on the order of conditions, or on when constants are computed
}

func newCounts() *counts {
	return &counts{uses: map[string]int{}, steps: map[string]int{}, refused: map[string]int{}, invalid: map[string]int{}}
}

// rig is the two systems side by side.
type rig struct {
	server       Server
	pgDSN        string
	ours, theirs *system
	refused      []refusal
	counts       *counts
	mixed        bool // there are other jobs beside those under test
}

func (r *rig) connect() error {
	var err error
	if r.theirs == nil {
		if r.theirs, err = connect("PostgreSQL", r.pgDSN); err != nil {
			return err
		}
		if err := r.theirs.must("SET client_min_messages = warning; SET timezone = 'UTC'; SET enable_partitionwise_join = off"); err != nil {
			return err
		}
	}
	// A server that has just recovered may still be catching up.
	deadline := time.Now().Add(statementTimeout)
	for {
		if r.ours, err = connect("streamdb", r.server.DSN()); err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// restart ends the server and starts it again.
func (r *rig) restart(end func()) error {
	r.ours.close()
	end()
	if err := r.server.Start(); err != nil {
		return err
	}
	return r.connect()
}

const maxTables = 4

// reset removes what an earlier scenario left.
func (r *rig) reset() error {
	if err := r.theirs.must("ROLLBACK; DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public"); err != nil {
		return err
	}
	if _, err := r.ours.do("ROLLBACK"); err != nil {
		return err
	}
	for i := range maxTables {
		if err := r.ours.must(fmt.Sprintf("DROP TABLE IF EXISTS t%d CASCADE", i)); err != nil {
			return err
		}
	}
	saved, err := r.ours.do("SHOW SAVEPOINTS")
	if err != nil {
		return err
	}
	for _, row := range saved.rows {
		if err := r.ours.must(`DROP SAVEPOINT "` + row[0] + `"`); err != nil {
			return err
		}
	}
	return nil
}

// mix starts jobs that go on beside those under test and must not disturb
// them: a slow one, a suspended one, and one above the memory backend's limit.
func (r *rig) mix() error {
	r.mixed = true
	for _, sql := range []string{
		"CREATE SOURCE mix_bids WITH (connector = 'nexmark', type = 'bid', rate = 500, seed = 7)",
		"CREATE SOURCE mix_many WITH (connector = 'nexmark', type = 'bid', rate = 0, events = 60000, seed = 8)",
		"CREATE MATERIALIZED VIEW mix_slow AS SELECT md5(repeat(url, 200)) AS m, count(*) AS n FROM mix_bids GROUP BY md5(repeat(url, 200))",
		"CREATE MATERIALIZED VIEW mix_suspended AS SELECT auction, count(*) AS n FROM mix_bids GROUP BY auction",
		"ALTER MATERIALIZED VIEW mix_suspended SUSPEND",
		"CREATE MATERIALIZED VIEW mix_large WITH (state_backend = 'memory') AS SELECT auction, bidder, price, url, extra, count(*) AS n FROM mix_many GROUP BY auction, bidder, price, url, extra",
	} {
		if err := r.ours.must(sql); err != nil {
			return err
		}
	}
	return nil
}

// run plays a scenario. The error is a *failure if the systems differ, else
// something is wrong with the rig.
func (r *rig) run(s *scenario) error {
	if err := r.reset(); err != nil {
		return r.asFailure(err, 0)
	}
	p := &play{rig: r, s: s}
	for _, t := range s.tables {
		if err := p.both(t.create()); err != nil {
			return r.asFailure(err, 0)
		}
	}
	for i, st := range s.steps {
		p.step = i
		if err := p.apply(st); err != nil {
			return r.asFailure(err, i)
		}
		if err := p.compare(); err != nil {
			return r.asFailure(err, i)
		}
	}
	return nil
}

// asFailure makes what goes wrong with streamdb's session a failure.
func (r *rig) asFailure(err error, step int) error {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	if strings.HasPrefix(err.Error(), "PostgreSQL") {
		return err
	}
	return &failure{kind: "session", step: step, detail: err.Error()}
}

// play is one run of a scenario.
type play struct {
	*rig
	s    *scenario
	step int
	live []*view
}

func (p *play) fail(kind, view, format string, args ...any) error {
	return &failure{kind: kind, view: view, step: p.step, detail: fmt.Sprintf(format, args...)}
}

// both runs a statement on both sides, which must agree on its outcome.
func (p *play) both(sql string) error {
	theirs, err := p.theirs.do(sql)
	if err != nil {
		return err
	}
	ours, err := p.ours.do(sql)
	if err != nil {
		return err
	}
	switch {
	case ours.code != theirs.code:
		return p.fail("statement "+ours.code+"/"+theirs.code, "", "%s\nhere: %s %s\nPostgreSQL: %s %s", sql, ours.code, ours.message, theirs.code, theirs.message)
	case ours.tag != theirs.tag:
		return p.fail("tag", "", "%s\nhere: %s\nPostgreSQL: %s", sql, ours.tag, theirs.tag)
	}
	return nil
}

func (p *play) apply(st *step) error {
	switch st.kind {
	case stepCreate:
		return p.create(st)
	case stepBatch:
		for _, sql := range st.batch() {
			if err := p.both(sql); err != nil {
				return err
			}
		}
		return nil
	case stepSavepoint:
		for _, t := range p.s.tables {
			if err := p.theirs.must("CREATE TABLE saved_" + t.name + " AS TABLE " + t.name); err != nil {
				return err
			}
		}
	case stepRollback:
		for _, t := range p.s.tables {
			if err := p.theirs.must(fmt.Sprintf("TRUNCATE %s; INSERT INTO %[1]s TABLE saved_%[1]s; DROP TABLE saved_%[1]s", t.name)); err != nil {
				return err
			}
		}
	case stepRestart:
		return p.restart(p.server.Stop)
	case stepCrash:
		return p.restart(p.server.Kill)
	case stepAlter, stepSuspend:
		if !slices.Contains(p.live, st.view) {
			return nil
		}
	}
	for _, sql := range st.sql() {
		if err := p.control(sql); err != nil {
			return p.fail("control", "", "%v", err)
		}
	}
	return nil
}

// control runs a statement of streamdb's own. A savepoint is refused while a
// view is catching up, as it is after a restart: then it is tried again.
func (p *play) control(sql string) error {
	deadline := time.Now().Add(statementTimeout / 2)
	for {
		a, err := p.ours.do(sql)
		switch {
		case err != nil:
			return err
		case a.code == "":
			return nil
		case a.code != "55000" || time.Now().After(deadline):
			return fmt.Errorf("streamdb: %s %s, at: %s", a.code, a.message, sql)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// create makes a view on both sides. PostgreSQL's plain view, with OFFSET 0
// so that it is not merged with what reads it, is always up to date.
func (p *play) create(st *step) error {
	v := st.view
	theirs, err := p.theirs.do(fmt.Sprintf("CREATE VIEW %s AS %s OFFSET 0", v.name, v.q))
	if err != nil {
		return err
	}
	sql := st.sql()[0]
	ours, err := p.ours.do(sql)
	if err != nil {
		return err
	}
	switch {
	case ours.code == "" && theirs.code == "":
		p.live = append(p.live, v)
		p.counts.queries++
		set := map[string]bool{}
		v.q.uses(set)
		for u := range set {
			p.counts.uses[u]++
		}
		return nil
	case ours.code == theirs.code:
		p.counts.invalid[ours.code]++
		return nil
	case ours.code == "0A000":
		for _, ref := range p.refused {
			if ref.message.MatchString(ours.message) {
				p.counts.refused[ref.reason]++
				return p.theirs.must("DROP VIEW " + v.name)
			}
		}
		return p.fail("refused", v.name, "%s\nis refused and not in testdata/refused.txt: %s", sql, ours.message)
	}
	return p.fail("create "+ours.code+"/"+theirs.code, v.name, "%s\nhere: %s %s\nPostgreSQL: %s %s", sql, ours.code, ours.message, theirs.code, theirs.message)
}

// compare asks both sides for every view, and for its query.
func (p *play) compare() error {
	doubtful := map[string]bool{} // views with errors, and what stands on them
	for _, v := range p.live {
		below := slices.ContainsFunc(v.q.reads(), func(n string) bool { return doubtful[n] })
		doubt, err := p.compareView(v, below)
		if err != nil {
			return err
		}
		doubtful[v.name] = doubt || below
	}
	return nil
}

// compareView says whether the view has errors now. Below says that a view
// that it reads has: then only that it answers is checked.
func (p *play) compareView(v *view, below bool) (doubt bool, err error) {
	theirs, err := p.theirs.do("SELECT * FROM " + v.name)
	if err != nil {
		return false, err
	}
	ours, err := p.ours.do("SELECT * FROM " + v.name)
	if err != nil {
		return false, err
	}
	p.counts.compared++
	if ours.code != "" {
		return false, p.fail("view "+ours.code, v.name, "SELECT * FROM %s fails: %s %s\n%s", v.name, ours.code, ours.message, v.q)
	}
	warned := len(ours.warnings) > 0
	switch {
	case below:
		return true, nil
	case warned != (theirs.code != ""):
		if v.q.unordered() || !warned && p.failsInPlanning(v) {
			p.counts.unordered++
			return true, nil
		}
		return false, p.fail(fmt.Sprintf("warning %v/%s", warned, theirs.code), v.name, "%s\nhere the view warns %q\nPostgreSQL: %s %s", v.q, ours.warnings, theirs.code, theirs.message)
	case warned:
		if err := p.compareErrors(v, theirs); err != nil {
			return false, err
		}
	default:
		if d := difference(v.q.columns(), ours, theirs); d != "" {
			return false, p.fail("view", v.name, "view %s%s\n%s\n%s", v.name, v.options, v.q, d)
		}
	}
	return warned, p.compareAdHoc(v, theirs)
}

// failsInPlanning holds if PostgreSQL fails before it sees a row: it computes
// constant parts of an expression, coalesce('x', c)::int, also where no row
// would.
func (p *play) failsInPlanning(v *view) bool {
	a, err := p.theirs.do("EXPLAIN SELECT * FROM " + v.name)
	return err == nil && a.code != ""
}

// compareErrors looks for what PostgreSQL says of a view in streamdb.errors.
func (p *play) compareErrors(v *view, theirs *answer) error {
	ours, err := p.ours.do("SELECT job, sqlstate, message FROM streamdb.errors")
	if err != nil {
		return err
	}
	for _, row := range ours.rows {
		if (row[0] == v.name || row[0] == "public."+v.name) && sameCode(row[1], theirs.code, v.q) {
			return nil
		}
	}
	return p.fail("streamdb.errors "+theirs.code, v.name, "%s\nPostgreSQL: %s %s\nstreamdb.errors has %s %s: %q", v.q, theirs.code, theirs.message, ours.code, ours.message, ours.rows)
}

// compareAdHoc asks the view's query directly.
func (p *play) compareAdHoc(v *view, theirs *answer) error {
	ours, err := p.ours.do(v.q.String())
	if err != nil {
		return err
	}
	p.counts.compared++
	switch {
	case ours.code != "" && theirs.code != "":
		p.counts.failing++
		if !sameCode(ours.code, theirs.code, v.q) {
			return p.fail("ad hoc "+ours.code+"/"+theirs.code, v.name, "%s\nhere: %s %s\nPostgreSQL: %s %s", v.q, ours.code, ours.message, theirs.code, theirs.message)
		}
	case ours.code != theirs.code:
		if !v.q.unordered() && !(ours.code == "" && p.failsInPlanning(v)) {
			return p.fail("ad hoc "+ours.code+"/"+theirs.code, v.name, "%s\nhere: %s %s\nPostgreSQL: %s %s", v.q, ours.code, ours.message, theirs.code, theirs.message)
		}
		p.counts.unordered++
	default:
		if d := difference(v.q.columns(), ours, theirs); d != "" {
			return p.fail("ad hoc", v.name, "asked ad hoc:\n%s\n%s", v.q, d)
		}
	}
	return nil
}

// sameCode holds if two errors of a query are the same as far as SQL tells:
// where several expressions can fail any may come first, and which part of a
// date is wrong has several codes.
func sameCode(a, b string, q *query) bool {
	datetime := []string{"22007", "22008", "22009", "22015"}
	switch {
	case a == b:
		return true
	case slices.Contains(datetime, a) && slices.Contains(datetime, b):
		return true
	}
	return strings.HasPrefix(a, "22") && strings.HasPrefix(b, "22") && manyFail(q)
}

// manyFail holds if there are several places where the query can fail; which
// one does first is not told.
func manyFail(q *query) bool {
	n := 0
	q.each(func(e *expr) {
		if e.fails {
			n += failing(e)
		}
	})
	return n > 1
}

func failing(e *expr) int {
	n := 0
	inner := false
	for _, a := range e.args {
		n += failing(a)
		inner = inner || a.fails
	}
	if e.fails && (!inner || e.use == "cast" || e.use == "division" || e.use == "int arithmetic") {
		n++
	}
	return n
}
