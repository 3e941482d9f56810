package exec

import (
	"math/rand/v2"
	"testing"

	"github.com/streamdb/streamdb/types"
)

// perfTypes: key, price, text key, flag.
var perfTypes = parseTypes("int8,int8,text,bool")

// perfChunks makes n full chunks with keys below keys.
func perfChunks(n, keys int) (out []*types.Chunk) {
	rng := rand.New(rand.NewPCG(1, 1))
	names := make([]string, 1000)
	for i := range names {
		names[i] = "channel-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
	}
	for range n {
		c := types.NewChunk(perfTypes)
		for range types.MaxChunkRows {
			c.AppendRow(1, types.NewInt8(rng.Int64N(int64(keys))), types.NewInt8(rng.Int64N(1e6)),
				types.NewText(names[rng.IntN(len(names))]), types.NewBool(rng.IntN(2) == 0))
		}
		c.Diff = nil
		out = append(out, c)
	}
	return out
}

// nothing ends a chain and counts.
func nothingSpec(out []types.Type) OpSpec {
	return opSpec(98, "nothing", out, nil, func(*Task) (Operator, error) { return &nothing{}, nil })
}

type nothing struct {
	timeless
	rows int
}

func (n *nothing) Process(_ int, c *types.Chunk, _ Out) error { n.rows += c.Rows(); return nil }
func (*nothing) Flush(types.EpochInfo, Out) error             { return nil }

var perfGraphs = []struct{ name, ops string }{
	{"filter", "filter (> $1 500000)"},
	{"project", "project $0; (+ $1 1)"},
	{"filter_project", "filter (> $1 900000)\nproject $0; (* $1 2)"},
	{"agg_int_key", "agg keys=0 append-only : count, sum($1), max($1)"},
	{"agg_text_key", "agg keys=2 append-only : count, max($1)"},
	{"agg_filters", "agg keys=0 append-only : count, count filter($3), min($1), max($1), avg($1), sum($1)"},
	{"agg_retractable_max", "agg keys=0 : max($1)"},
	{"agg_global", "agg append-only : count, sum($1)"},
	{"distinct", "agg keys=0 append-only :"},
}

func perfBed(t testing.TB, ops string) *testbed {
	p := &opParser{t: nil, in: [][]types.Type{perfTypes}}
	for _, l := range splitLines(ops) {
		p.line(l)
	}
	last := nothingSpec(p.in[0])
	last.In = p.in
	return newTestbed(t, &Graph{Inputs: [][]types.Type{perfTypes}, Fragments: []Fragment{{
		Edges: []Edge{{From: -1}}, Ops: append(p.ops, last),
	}}})
}

func splitLines(s string) (out []string) {
	for len(s) > 0 {
		i := 0
		for i < len(s) && s[i] != '\n' {
			i++
		}
		out = append(out, s[:i])
		s = s[min(i+1, len(s)):]
	}
	return out
}

// TestHotLoopsDoNotAllocate: in the steady state a row allocates nothing.
func TestHotLoopsDoNotAllocate(t *testing.T) {
	chunks := perfChunks(4, 1000)
	for _, g := range perfGraphs {
		if g.name == "agg_retractable_max" {
			continue // every row is a new entry of state
		}
		t.Run(g.name, func(t *testing.T) {
			b := perfBed(t, g.ops)
			e := types.Epoch(0)
			run := func() {
				for _, c := range chunks {
					if err := b.push(0, c); err != nil {
						t.Fatal(err)
					}
				}
				e++
				if err := b.flush(e); err != nil {
					t.Fatal(err)
				}
			}
			run()
			run()
			if n := testing.AllocsPerRun(5, run); n > 100 { // of 16K rows
				t.Errorf("%.0f allocations for %d rows", n, len(chunks)*types.MaxChunkRows)
			}
		})
	}
}

func TestExchangeDoesNotAllocate(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	x, gs := receivers(Hash, perfTypes, 2, done)
	chunks := perfChunks(4, 1000)
	drain := func() {
		for _, g := range gs {
			for len(g.inbox) > 0 {
				m, err := g.next()
				if err != nil {
					t.Fatal(err)
				}
				g.release(m)
			}
		}
	}
	for _, f := range []func(*types.Chunk) error{x.copy, x.share} {
		run := func() {
			for _, c := range chunks {
				if err := f(c); err != nil {
					t.Fatal(err)
				}
				drain()
			}
		}
		run()
		run()
		if n := testing.AllocsPerRun(5, run); n > 20 {
			t.Errorf("%.0f allocations for %d rows", n, len(chunks)*types.MaxChunkRows)
		}
	}
}

func BenchmarkOperators(b *testing.B) {
	for _, keys := range []int{1000, 1_000_000} {
		chunks := perfChunks(64, keys)
		for _, g := range perfGraphs {
			if keys > 1000 && g.name[:3] != "agg" && g.name != "distinct" {
				continue
			}
			name := g.name + "/1K"
			if keys > 1000 {
				name = g.name + "/1M"
			}
			b.Run(name, func(b *testing.B) {
				bed := perfBed(b, g.ops)
				rows, e := 0, types.Epoch(0)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					c := chunks[i%len(chunks)]
					if err := bed.push(0, c); err != nil {
						b.Fatal(err)
					}
					if rows += c.N; i%64 == 63 {
						if e++; bed.flush(e) != nil {
							b.Fatal("flush")
						}
					}
				}
				b.ReportMetric(float64(rows)/b.Elapsed().Seconds()/1e6, "Mrows/s")
			})
		}
	}
}

// BenchmarkJoin is fifteen bids on an auction, both append-only.
func BenchmarkJoin(b *testing.B) {
	for _, kind := range []string{"inner", "left", "full", "semi", "anti"} {
		b.Run(kind, func(b *testing.B) { benchmarkJoin(b, kind) })
	}
}

func benchmarkJoin(b *testing.B, kind string) {
	ts := parseTypes("int8,int8")
	p := &opParser{in: [][]types.Type{ts, ts}}
	p.line("join left=0 right=0 kind=" + kind)
	last := nothingSpec(p.in[0])
	bed := newTestbed(b, &Graph{Inputs: [][]types.Type{ts, ts}, Fragments: []Fragment{{
		Edges: []Edge{{From: -1, Port: 0}, {From: -2, Port: 1}}, Ops: append(p.ops, last),
	}}})
	rng := rand.New(rand.NewPCG(1, 1))
	rows, next := 0, int64(0)
	auctions, bids := types.NewChunk(ts), types.NewChunk(ts)
	for b.Loop() {
		auctions.Reset()
		bids.Reset()
		for range 256 {
			auctions.AppendRow(1, types.NewInt8(next), types.NewInt8(next*3))
			next++
		}
		for range 4096 - 256 {
			bids.AppendRow(1, types.NewInt8(next-1-rng.Int64N(min(next, 1000))), types.NewInt8(rng.Int64()))
		}
		rows += 4096
		if bed.push(0, auctions) != nil || bed.push(1, bids) != nil {
			b.Fatal("push")
		}
		if rows%(64*4096) == 0 && bed.flush(types.Epoch(rows)) != nil {
			b.Fatal("flush")
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

func BenchmarkExchange(b *testing.B) {
	chunks := perfChunks(16, 100_000)
	for _, share := range []bool{false, true} {
		name := "copy"
		if share {
			name = "share"
		}
		b.Run(name, func(b *testing.B) {
			done := make(chan struct{})
			x, gs := receivers(Hash, perfTypes, 2, done)
			for _, g := range gs {
				go func() {
					for {
						m, err := g.next()
						if err != nil {
							return
						}
						g.release(m)
					}
				}()
			}
			rows := 0
			for i := 0; b.Loop(); i++ {
				c := chunks[i%len(chunks)]
				var err error
				if share {
					err = x.share(c)
				} else {
					err = x.copy(c)
				}
				if err != nil {
					b.Fatal(err)
				}
				rows += c.N
			}
			close(done)
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}
