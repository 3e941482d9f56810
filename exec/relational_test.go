package exec

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/filesystem"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/state/pebble"
	"github.com/streamdb/streamdb/types"
)

// pairFeed is the content of one input of two columns, key and value, as it
// changes at random. Text rows are what rowText gives.
type pairFeed struct {
	rng  *rand.Rand
	ts   []types.Type
	rows []row
	out  []row // changes since the last chunks
}

func (f *pairFeed) value(t types.Type, n int) types.Datum {
	if f.rng.IntN(8) == 0 {
		return types.NullOf(t)
	}
	s := fmt.Sprint(f.rng.IntN(n))
	if t.Kind == types.Numeric {
		s += []string{"", ".0", ".00"}[f.rng.IntN(3)]
	}
	d, err := types.ParseText(t, s)
	if err != nil {
		panic(err)
	}
	return d
}

// change inserts and deletes at random, most rows under few keys.
func (f *pairFeed) change(n int) {
	for range n {
		if len(f.rows) > 0 && f.rng.IntN(5) < 2 {
			i := f.rng.IntN(len(f.rows))
			r := f.rows[i]
			f.rows[i] = f.rows[len(f.rows)-1]
			f.rows = f.rows[:len(f.rows)-1]
			r.diff = -1
			f.out = append(f.out, r)
			continue
		}
		keys := 3
		if f.rng.IntN(2) == 0 {
			keys = 40
		}
		r := row{diff: 1, vals: []types.Datum{f.value(f.ts[0], keys), f.value(f.ts[1], 3)}}
		f.rows = append(f.rows, r)
		f.out = append(f.out, r)
	}
}

func datumText(d types.Datum) string {
	if d.Null {
		return "NULL"
	}
	return string(types.AppendText(nil, d))
}

func (r row) text() string { return datumText(r.vals[0]) + " " + datumText(r.vals[1]) }

func (r row) key(cols ...int) string {
	var b []byte
	for _, c := range cols {
		b = types.AppendKeyDatum(b, r.vals[c])
	}
	return string(b)
}

// model computes an operator's answer from its whole input.
type model func(l, r []row) signed

func joinModel(kind JoinKind, nullSafe bool) model {
	return func(l, r []row) signed {
		out := signed{}
		met := map[string]bool{}
		byKey := map[string][]row{}
		for _, y := range r {
			byKey[y.key(0)] = append(byKey[y.key(0)], y)
		}
		for _, x := range l {
			ys := byKey[x.key(0)]
			if x.vals[0].Null && !nullSafe {
				ys = nil
			}
			if len(ys) > 0 {
				met[x.key(0)] = true
			}
			switch {
			case kind == SemiJoin && len(ys) > 0, kind == AntiJoin && len(ys) == 0:
				out.add(x.text(), 1)
			case kind == SemiJoin || kind == AntiJoin:
			case len(ys) == 0 && kind != InnerJoin:
				out.add(x.text()+" NULL NULL", 1)
			}
			if kind == InnerJoin || kind == LeftJoin || kind == FullJoin {
				for _, y := range ys {
					out.add(x.text()+" "+y.text(), 1)
				}
			}
		}
		for _, y := range r {
			if kind == FullJoin && !met[y.key(0)] {
				out.add("NULL NULL "+y.text(), 1)
			}
		}
		return out
	}
}

func setModel(kind SetOpKind) model {
	return func(l, r []row) signed {
		least, nl, nr := map[string]row{}, map[string]int64{}, map[string]int64{}
		image := func(x row) string {
			return string(types.AppendImageDatum(nil, x.vals[0])) + string(types.AppendImageDatum(nil, x.vals[1]))
		}
		for _, x := range l {
			k := x.key(0, 1)
			nl[k]++
			if old, ok := least[k]; !ok || image(x) < image(old) {
				least[k] = x
			}
		}
		for _, y := range r {
			nr[y.key(0, 1)]++
		}
		out := signed{}
		for k, x := range least {
			if n := kind.times(nl[k], nr[k]); n != 0 {
				out.add(x.text(), n)
			}
		}
		return out
	}
}

// singleModel leaves the keys with several rows out.
func singleModel(l, _ []row) signed {
	n := map[string]int{}
	for _, x := range l {
		n[x.key(0)]++
	}
	out := signed{}
	for _, x := range l {
		if n[x.key(0)] == 1 {
			out.add(x.text(), 1)
		}
	}
	return out
}

var relational = []struct {
	op    string
	types string
	cols  []int // of the exchange; nil: one subtask
	model model
}{
	{"join left=0 right=0", "int8,text", []int{0}, joinModel(InnerJoin, false)},
	{"join left=0 right=0 kind=left", "int8,text", []int{0}, joinModel(LeftJoin, false)},
	{"join left=0 right=0 kind=full", "int8,text", []int{0}, joinModel(FullJoin, false)},
	{"join left=0 right=0 kind=semi", "int8,text", []int{0}, joinModel(SemiJoin, false)},
	{"join left=0 right=0 kind=anti", "int8,text", []int{0}, joinModel(AntiJoin, false)},
	{"join left=0 right=0 kind=left null-safe", "text,int8", []int{0}, joinModel(LeftJoin, true)},
	{"join left=0 right=0 kind=full null-safe", "numeric,int8", []int{0}, joinModel(FullJoin, true)},
	{"join left=0 right=0 kind=semi null-safe", "numeric,int8", []int{0}, joinModel(SemiJoin, true)},
	{"join left=0 right=0 kind=anti null-safe", "text,int8", []int{0}, joinModel(AntiJoin, true)},
	{"set intersect", "int8,text", []int{0, 1}, setModel(Intersect)},
	{"set intersect-all", "int8,text", []int{0, 1}, setModel(IntersectAll)},
	{"set except", "int8,text", []int{0, 1}, setModel(Except)},
	{"set except-all", "int8,text", []int{0, 1}, setModel(ExceptAll)},
	{"set except", "numeric,numeric", []int{0, 1}, setModel(Except)},
	{"set intersect-all", "numeric,text", []int{0, 1}, setModel(IntersectAll)},
	{"single by=0", "int8,text", []int{0}, singleModel},
	{"single by=0", "numeric,numeric", []int{0}, singleModel},
}

// relationalGraph runs one operator behind hash exchanges.
func relationalGraph(t *testing.T, i int) *Graph {
	c := relational[i]
	ts := parseTypes(c.types)
	in := [][]types.Type{ts, ts}
	if strings.HasPrefix(c.op, "single") {
		in = in[:1]
	}
	p := &opParser{t: t, in: in}
	p.line(c.op)
	end := collectSpec(p.in[0])
	end.In = p.in
	f := Fragment{Ops: append(p.ops, end)}
	for port := range in {
		f.Edges = append(f.Edges, Edge{From: -1 - port, Port: port, Dist: Hash, Cols: c.cols})
	}
	return &Graph{Inputs: in, Fragments: []Fragment{f}}
}

// TestRelational runs each operator over random changes in random chunks,
// stops it at checkpoints, goes on at another parallelism and on another
// backend, and compares the sum of all that it gave with a naive answer.
func TestRelational(t *testing.T) {
	for i, c := range relational {
		t.Run(fmt.Sprint(c.op, " ", c.types), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(newSeed(t), uint64(i)))
			ts := parseTypes(c.types)
			feeds := [2]*pairFeed{{rng: rng, ts: ts}, {rng: rng, ts: ts}}
			out := &gathered{rows: signed{}}
			fs := vfs.NewMem()
			var part *Part
			e := types.Epoch(0)
			backends := []state.Backend{memory.New(), pebble.New(), filesystem.New()}
			for k, p := range []int{3, 1, 4, 2} {
				g := relationalGraph(t, i)
				cfg := testConfig(g, p, out)
				cfg.FS, cfg.Restore, cfg.Backend, cfg.CacheBytes = fs, part, backends[k%len(backends)], 1<<16
				j := start(t, cfg)
				for range 4 {
					e++
					pushChanges(t, j, rng, feeds[:len(g.Inputs)])
					cp, parts, errs := checkpointTo(fs)
					barrierAt(t, j, e, cp)
					part = takePart(t, parts, errs)
					wait(t, j, e)
					if got, want := out.String(), c.model(feeds[0].rows, feeds[1].rows).String(); got != want {
						t.Fatalf("epoch %d, parallelism %d:\n%s\nwant\n%s", e, p, got, want)
					}
				}
				j.Stop()
			}
		})
	}
}

func pushChanges(t *testing.T, j *Job, rng *rand.Rand, feeds []*pairFeed) {
	mix := mixer{rng: rng}
	type item struct {
		port int
		c    *types.Chunk
	}
	var items []item
	for port, f := range feeds {
		if rng.IntN(4) > 0 {
			f.change(rng.IntN(60))
		}
		for _, c := range mix.chunks(mix.split(f.out), f.ts) {
			items = append(items, item{port, c})
		}
		f.out = nil
	}
	rng.Shuffle(len(items), func(a, b int) { items[a], items[b] = items[b], items[a] })
	for _, it := range items {
		push(t, j, it.port, it.c)
	}
}
