package exec

import (
	"math"
	"testing"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// TestJoinBounds: a key with many rows is met in bounded pages, and products
// of multiplicities are split or refused, never wrapped.
func TestJoinBounds(t *testing.T) {
	ts := parseTypes("int8")
	g := parseGraph(t, "join left=0 right=0", [][]types.Type{ts, ts})
	b := newTestbed(t, g)
	const many = 10_000
	two := parseTypes("int8,int8")
	wide := newTestbed(t, parseGraph(t, "join left=0 right=0", [][]types.Type{two, two}))
	c := types.NewChunk(two)
	for i := range int64(many) {
		if c.AppendRow(1, types.NewInt8(1), types.NewInt8(i)); c.N == types.MaxChunkRows || i == many-1 {
			if err := wide.push(0, c); err != nil {
				t.Fatal(err)
			}
			c.Reset()
		}
	}
	c.AppendRow(1, types.NewInt8(1), types.NewInt8(-1))
	c.AppendRow(2, types.NewInt8(1), types.NewInt8(-2))
	if err := wide.push(1, c); err != nil {
		t.Fatal(err)
	}
	if wide.rows != 2*many || len(wide.out) != 2*many {
		t.Fatalf("%d pairs, %d different", wide.rows, len(wide.out))
	}

	one := func(d int32) *types.Chunk {
		c := types.NewChunk(ts)
		c.AppendRow(d, types.NewInt8(7))
		return c
	}
	if err := b.push(0, one(math.MaxInt32)); err != nil {
		t.Fatal(err)
	}
	if err := b.push(1, one(-3)); err != nil {
		t.Fatal(err)
	}
	if n := b.out["7 7"]; n != -3*math.MaxInt32 {
		t.Fatalf("%d pairs", n)
	}
	for range 1 << 12 { // about 2^43 rows
		if err := b.state.Bag(0).Add(keyOf(7), imageOf(7), []int32{math.MaxInt32}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := product(math.MaxInt64/2, 3); !sameErr(err, pgerr.NumericValueOutOfRange) {
		t.Fatalf("got %v", err)
	}
	if p, err := product(math.MinInt32, math.MaxInt32); err != nil || p != math.MinInt32*math.MaxInt32 {
		t.Fatalf("%d, %v", p, err)
	}
	if err := b.push(1, one(1)); err != nil {
		t.Fatal(err)
	}
	if n := b.out["7 7"]; n != -3*math.MaxInt32+math.MaxInt32+(1<<12)*math.MaxInt32 {
		t.Fatalf("%d pairs", n)
	}
}

func keyOf(i int64) *types.KeyBatch {
	var k types.KeyBatch
	k.Add(types.AppendKeyDatum(nil, types.NewInt8(i)))
	return &k
}

func imageOf(i int64) *types.ByteBatch {
	var b types.ByteBatch
	b.Add(types.AppendImageDatum(nil, types.NewInt8(i)))
	return &b
}
