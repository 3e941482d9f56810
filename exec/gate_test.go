package exec

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/streamdb/streamdb/types"
)

func intChunk(vals ...int64) *types.Chunk {
	c := types.NewChunk(parseTypes("int8"))
	for _, v := range vals {
		c.AppendRow(1, types.NewInt8(v))
	}
	return c
}

// openGate makes a gate of n inputs.
func openGate(n int, done chan struct{}) (*gate, []*pipe) {
	g := newGate(done)
	var ps []*pipe
	for range n {
		ps = append(ps, g.add(0))
	}
	g.open(ps)
	return g, ps
}

// TestGateHoldsBack: no row behind a barrier passes before the barrier has
// come on all inputs, also over several epochs, and none is lost.
func TestGateHoldsBack(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	g, in := openGate(2, done)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	b1, b2 := &barrier{info: types.EpochInfo{ID: 1}}, &barrier{info: types.EpochInfo{ID: 2}}
	// Input 0 runs ahead by two epochs; input 1 is held back.
	must(in[0].send(message{chunk: intChunk(10)}))
	must(in[0].send(message{barrier: b1}))
	must(in[0].send(message{chunk: intChunk(20)}))
	must(in[0].send(message{barrier: b2}))
	must(in[0].send(message{chunk: intChunk(30)}))
	got := make(chan int64, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m, err := g.next()
			if err != nil {
				return
			}
			if m.barrier != nil {
				got <- -int64(m.barrier.info.ID)
				continue
			}
			v := m.chunk.Cols[0].I64[0]
			g.release(m)
			if got <- v; v == 31 {
				return
			}
		}
	})
	take := func(want ...int64) {
		t.Helper()
		for _, w := range want {
			if v := <-got; v != w {
				t.Fatalf("got %d, want %d", v, w)
			}
		}
		select {
		case v := <-got:
			t.Fatalf("%d passed the gate", v)
		default:
		}
	}
	take(10)
	must(in[1].send(message{chunk: intChunk(11)}))
	take(11)
	must(in[1].send(message{barrier: b1}))
	take(-1, 20)
	must(in[1].send(message{chunk: intChunk(21)}))
	take(21)
	must(in[1].send(message{barrier: b2}))
	take(-2, 30)
	must(in[1].send(message{chunk: intChunk(31)}))
	take(31)
	wg.Wait()
}

// TestGateRandom: senders at their own pace; each epoch's rows are between its
// barriers.
func TestGateRandom(t *testing.T) {
	seed := newSeed(t)
	const epochs, inputs = 50, 5
	done := make(chan struct{})
	g, in := openGate(inputs, done)
	var wg sync.WaitGroup
	for i, p := range in {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for e := range int64(epochs) {
				for range rng.IntN(12) {
					if p.send(message{chunk: intChunk(e)}) != nil {
						return
					}
				}
				if p.send(message{barrier: &barrier{info: types.EpochInfo{ID: types.Epoch(e + 1)}}}) != nil {
					return
				}
			}
		})
	}
	for e := int64(0); e < epochs; {
		m, err := g.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.barrier != nil {
			if e++; int64(m.barrier.info.ID) != e {
				t.Fatalf("barrier %d at epoch %d", m.barrier.info.ID, e)
			}
			continue
		}
		if v := m.chunk.Cols[0].I64[0]; v != e {
			t.Fatalf("a row of epoch %d in epoch %d", v, e)
		}
		g.release(m)
	}
	wg.Wait()
	close(done)
}

// receivers makes an emitter to n gates.
func receivers(dist Dist, ts []types.Type, n int, done chan struct{}) (*emitter, []*gate) {
	var gs []*gate
	var to []*pipe
	for range n {
		g, ps := openGate(1, done)
		gs, to = append(gs, g), append(to, ps[0])
	}
	return newEmitter(Edge{Dist: dist, Cols: []int{0}}, ts, types.KeyGroups, to), gs
}

// TestExchange: every row arrives once, at the owner of its key group, before
// the barrier, whether it was copied or shared; and no chunk changes while its
// receiver has it.
func TestExchange(t *testing.T) {
	seed := newSeed(t)
	for _, dist := range []Dist{Any, Hash} {
		for _, n := range []int{1, 2, 7} {
			t.Run(fmt.Sprint(dist, n), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, uint64(n)))
				done := make(chan struct{})
				x, gs := receivers(dist, intText, n, done)
				var mu sync.Mutex
				got := signed{}
				var wg sync.WaitGroup
				for i, g := range gs {
					wg.Go(func() {
						mine := signed{}
						for {
							m, err := g.next()
							if err != nil {
								t.Error(err)
								return
							}
							if m.barrier != nil {
								break
							}
							first := signedOf(m.chunk)
							checkOwner(t, dist, m.chunk, i, n)
							if again := signedOf(m.chunk); again.String() != first.String() {
								t.Error("a chunk changed under its receiver")
							}
							for r, d := range first {
								mine.add(r, d)
							}
							g.release(m)
						}
						mu.Lock()
						defer mu.Unlock()
						for r, d := range mine {
							got.add(r, d)
						}
					})
				}
				want := signed{}
				f := &feed{rng: rng}
				for range 60 {
					c := f.chunk(1 + rng.IntN(800))
					if rng.IntN(2) == 0 {
						c.Sel = []uint16{}
						for r := range c.N {
							if rng.IntN(2) == 0 {
								c.Sel = append(c.Sel, uint16(r))
							}
						}
					}
					want.addChunk(c)
					var err error
					if rng.IntN(2) == 0 {
						err = x.share(c)
					} else {
						err = x.copy(c)
						for i := range c.Cols[0].I64 { // it was only borrowed
							c.Cols[0].I64[i] = -1
						}
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if err := x.barrier(&barrier{}); err != nil {
					t.Fatal(err)
				}
				wg.Wait()
				close(done)
				if got.String() != want.String() {
					t.Fatalf("%s\nwant\n%s", got, want)
				}
			})
		}
	}
}

func checkOwner(t *testing.T, dist Dist, c *types.Chunk, i, n int) {
	if dist != Hash {
		return
	}
	var k types.KeyBatch
	k.Encode(c, []int{0})
	if slices.ContainsFunc(k.Hash, func(h uint64) bool {
		return types.GroupOwner(types.KeyGroup(h, types.KeyGroups), types.KeyGroups, n) != i
	}) {
		t.Error("a row at a subtask that does not own its key group")
	}
}

// TestExchangeBounded: a receiver that does not read stops its sender.
func TestExchangeBounded(t *testing.T) {
	done := make(chan struct{})
	x, _ := receivers(Any, parseTypes("int8"), 2, done)
	stopped := make(chan error)
	sent := 0
	go func() {
		for {
			if err := x.share(intChunk(1)); err != nil {
				stopped <- err
				return
			}
			sent++
		}
	}()
	close(done)
	if err := <-stopped; err != errStopped {
		t.Fatal(err)
	}
	if sent > 2*credits {
		t.Fatalf("%d chunks on the way", sent)
	}
}
