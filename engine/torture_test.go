package engine

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/types"
)

var (
	tortureSeeds = flag.Int("torture.seeds", 200, "crash loops to run")
	tortureSeed  = flag.Int64("torture.seed", 0, "the one seed to run, 0: as many as torture.seeds says")
)

// model is what the database must hold.
type model struct {
	rows map[int64]string // id → group
	bag  map[int64]int    // of a table without a key
}

func (m model) clone() model {
	n := model{map[int64]string{}, map[int64]int{}}
	for k, v := range m.rows {
		n.rows[k] = v
	}
	for k, v := range m.bag {
		n.bag[k] = v
	}
	return n
}

func (m model) groups() map[string]int {
	n := map[string]int{}
	for _, g := range m.rows {
		n[g]++
	}
	return n
}

func joined(s []string) string {
	sort.Strings(s)
	return strings.Join(s, "; ")
}

func (m model) table() string {
	var out []string
	for id, g := range m.rows {
		out = append(out, fmt.Sprintf("%d %s", id, g))
	}
	return joined(out)
}

func (m model) bagText() string {
	var out []string
	for v, n := range m.bag {
		for range n {
			out = append(out, fmt.Sprint(v))
		}
	}
	return joined(out)
}

// view gives the rows of views of kinds 0 (per group) and 1 (per count).
func (m model) view(kind int) string {
	var out []string
	per := map[int]int{}
	for g, n := range m.groups() {
		if kind == 0 {
			out = append(out, fmt.Sprintf("%s %d", g, n))
		}
		per[n]++
	}
	if kind == 1 {
		for n, k := range per {
			out = append(out, fmt.Sprintf("%d %d", n, k))
		}
	}
	return joined(out)
}

type torture struct {
	*core
	rng      *rand.Rand
	model    model
	tab, bag types.UUID
	views    []types.UUID // in the order of creation
	kinds    map[types.UUID]int
	saved    map[string]savedModel
	last     types.Epoch
	log      []string
}

type savedModel struct {
	model model
	views []types.UUID
}

// TestCrashLoops runs random statements, checkpoints, savepoints and
// rollbacks, ends the engine at random moments by killing it or by losing all
// that was not synced, and checks that everything acknowledged is there, once.
func TestCrashLoops(t *testing.T) {
	first, n := int64(1), int64(*tortureSeeds)
	if *tortureSeed != 0 {
		first, n = *tortureSeed, 1
	} else if testing.Short() {
		n = 10
	}
	for seed := first; seed < first+n; seed++ {
		if !t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { crashLoop(t, seed) }) {
			t.Fatalf("replay with -run TestCrashLoops -torture.seed=%d", seed)
		}
	}
}

func crashLoop(t *testing.T, seed int64) {
	x := &torture{core: newMemCore(t, nil), rng: rand.New(rand.NewPCG(uint64(seed), 0)),
		model: model{map[int64]string{}, map[int64]int{}}, kinds: map[types.UUID]int{}, saved: map[string]savedModel{}}
	defer func() {
		if t.Failed() {
			t.Log(strings.Join(x.log, "\n"))
		}
		x.en.Kill()
	}()
	x.tab = x.table("t", "id int8,g text", 0)
	x.bag = x.table("b", "v int8")
	for range 40 {
		x.step()
		if x.rng.IntN(5) == 0 {
			x.check()
		}
	}
	x.crashNow()
	x.check()
}

func (x *torture) note(format string, args ...any) {
	x.log = append(x.log, fmt.Sprintf(format, args...))
}

func (x *torture) step() {
	switch r := x.rng.IntN(100); {
	case r < 45:
		x.dml()
	case r < 55:
		x.createView()
	case r < 59:
		x.dropView()
	case r < 66:
		x.note("checkpoint")
		x.checkpoint()
	case r < 71:
		x.savepoint()
	case r < 75:
		x.rollback()
	case r < 78:
		x.release()
	case r < 83:
		x.alter()
	case r < 87:
		x.suspendResume()
	default:
		x.crashNow()
	}
}

func (x *torture) dml() {
	next := x.model.clone()
	ch := types.NewChunk(x.en.Catalog().ByID(x.tab).TypeSchema().Types())
	row := func(diff int32, id int64, g string) { ch.AppendRow(diff, types.NewInt8(id), types.NewText(g)) }
	for range 1 + x.rng.IntN(6) {
		id, g := int64(x.rng.IntN(30)), string(rune('a'+x.rng.IntN(5)))
		old, ok := x.model.rows[id]
		if cur, now := next.rows[id]; ok != now || cur != old {
			continue // changed in this transaction already
		}
		if ok {
			row(-1, id, old)
			delete(next.rows, id)
		}
		if !ok || x.rng.IntN(2) == 0 {
			if ok && g == old {
				g += "x"
			}
			row(1, id, g)
			next.rows[id] = g
		}
	}
	bc := types.NewChunk(x.en.Catalog().ByID(x.bag).TypeSchema().Types())
	v := int64(x.rng.IntN(4))
	if next.bag[v] > 0 && x.rng.IntN(2) == 0 {
		bc.AppendRow(-1, types.NewInt8(v))
		next.bag[v]--
	} else {
		bc.AppendRow(2, types.NewInt8(v))
		next.bag[v] += 2
	}
	c := &Commit{Tables: []TableWrite{{Table: x.bag, Chunks: []*types.Chunk{bc}}}}
	if ch.N > 0 {
		c.Tables = append(c.Tables, TableWrite{Table: x.tab, Chunks: []*types.Chunk{ch}})
	}
	e, err := x.en.Commit(x.ctx(), c)
	x.must(err)
	x.note("commit at %d: %s", e, next.table())
	x.model, x.last = next, e
}

func (x *torture) createView() {
	if len(x.views) > 4 {
		return
	}
	o := catalog.Object{Backend: []string{"memory", "filesystem", "pebble"}[x.rng.IntN(3)], Parallelism: 1 + x.rng.IntN(3)}
	name := fmt.Sprintf("v%d", x.rng.Uint32())
	kind, query := 0, "SELECT g, count(*) AS n FROM t GROUP BY g"
	if base := x.pick(0); !base.IsZero() && x.rng.IntN(2) == 0 {
		kind, query = 1, "SELECT n, count(*) AS c FROM "+x.en.Catalog().ByID(base).Name+" GROUP BY n"
	}
	id := x.create(catalog.MaterializedView, name, query, o)
	x.note("create %s %s %+v as %s", id, name, o.Backend, query)
	if x.rng.IntN(2) == 0 {
		x.must(x.en.WaitReady(x.ctx(), id))
	}
	x.views = append(x.views, id)
	x.kinds[id] = kind
}

// pick gives a random view of a kind (-1: any), or zero.
func (x *torture) pick(kind int) types.UUID {
	for _, i := range x.rng.Perm(len(x.views)) {
		if id := x.views[i]; kind < 0 || x.kinds[id] == kind {
			return id
		}
	}
	return types.UUID{}
}

func (x *torture) dropView() {
	id := x.pick(-1)
	if id.IsZero() {
		return
	}
	var gone []types.UUID
	for _, d := range x.en.Catalog().Dependents(id) {
		gone = append(gone, d.ID)
	}
	gone = append(gone, id)
	x.note("drop %v", gone)
	x.drop(gone...)
	x.views = slices.DeleteFunc(x.views, func(v types.UUID) bool { return slices.Contains(gone, v) })
}

func (x *torture) savepoint() {
	for _, v := range x.views {
		x.must(x.en.WaitReady(x.ctx(), v))
	}
	name := fmt.Sprintf("s%d", len(x.log))
	x.note("savepoint %s", name)
	x.must(x.en.CreateSavepoint(x.ctx(), name))
	x.saved[name] = savedModel{x.model.clone(), slices.Clone(x.views)}
}

func (x *torture) anySaved() string {
	var names []string
	for n := range x.saved {
		names = append(names, n)
	}
	if len(names) == 0 {
		return ""
	}
	sort.Strings(names)
	return names[x.rng.IntN(len(names))]
}

func (x *torture) rollback() {
	name := x.anySaved()
	if name == "" {
		return
	}
	for _, v := range x.views {
		x.must(x.en.WaitReady(x.ctx(), v))
	}
	o := RollbackOptions{Cascade: true}
	if x.rng.IntN(2) == 0 {
		o.Parallelism, o.Backend = 1+x.rng.IntN(8), []string{"memory", "filesystem", "pebble"}[x.rng.IntN(3)]
	}
	x.note("rollback to %s %+v", name, o)
	_, err := x.en.RollbackTo(x.ctx(), name, o)
	x.must(err)
	s := x.saved[name]
	x.model, x.views, x.last = s.model.clone(), slices.Clone(s.views), x.en.closed.Load().ID
}

func (x *torture) release() {
	if name := x.anySaved(); name != "" {
		x.note("release %s", name)
		x.must(x.en.ReleaseSavepoint(x.ctx(), name))
		delete(x.saved, name)
	}
}

func (x *torture) alter() {
	if id := x.pick(-1); !id.IsZero() {
		x.must(x.en.WaitReady(x.ctx(), id))
		p, b := x.rng.IntN(5), []string{"", "memory", "filesystem", "pebble"}[x.rng.IntN(4)]
		x.note("alter %s %d %q", id, p, b)
		x.must(x.en.Alter(x.ctx(), id, p, b))
	}
}

func (x *torture) suspendResume() {
	id := x.pick(-1)
	if id.IsZero() {
		return
	}
	x.must(x.en.WaitReady(x.ctx(), id))
	x.note("suspend %s", id)
	x.must(x.en.Suspend(x.ctx(), id))
	x.dml()
	if x.rng.IntN(2) == 0 {
		x.crashNow()
	}
	x.note("resume %s", id)
	x.must(x.en.Resume(x.ctx(), id))
}

// crashNow ends the engine, sometimes while it writes or makes a checkpoint.
func (x *torture) crashNow() {
	mem := x.fs.(memFS)
	busy := x.rng.IntN(3)
	wait := time.Duration(x.rng.IntN(1500)) * time.Microsecond
	done, en, name := make(chan struct{}), x.en, fmt.Sprintf("x%d", len(x.log))
	go func() {
		defer close(done)
		switch busy {
		case 1:
			_, _ = en.Checkpoint(context.Background())
		case 2:
			_ = en.CreateSavepoint(context.Background(), name)
		}
	}()
	if busy > 0 {
		time.Sleep(wait)
	}
	after := mem
	if x.rng.IntN(4) > 0 {
		after = mem.crash(x.rng.IntN(3)*50, x.rng)
	}
	x.note("crash (busy %d, lost %v)", busy, after != mem)
	x.en.Kill()
	<-done
	x.fs = after
	x.open()
	if x.rng.IntN(4) == 0 { // again, in the middle of recovery's aftermath
		x.note("again")
		x.lose()
	}
}

func (x *torture) check() {
	x.t.Helper()
	if got, want := x.rows(x.tab, x.last), x.model.table(); got != want {
		x.t.Fatalf("table: got  %s\nwant %s", got, want)
	}
	if got, want := x.rows(x.bag, x.last), x.model.bagText(); got != want {
		x.t.Fatalf("bag: got  %s\nwant %s", got, want)
	}
	for _, v := range x.views {
		if got, want := x.rows(v, x.last), x.model.view(x.kinds[v]); got != want {
			x.t.Fatalf("view %s: got  %s\nwant %s", v, got, want)
		}
	}
}
