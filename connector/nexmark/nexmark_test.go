package nexmark

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/connector/connectortest"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var ctx = context.Background()

const start = types.Micros(800_000_000_000_000)

func open(t testing.TB, opts map[string]string, now func() time.Time) connector.Source {
	t.Helper()
	if now == nil {
		now = time.Now
	}
	s, err := Factory{}.Open(ctx, connector.SourceSpec{Options: opts}, connector.Env{StartTime: start, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	for _, opts := range []map[string]string{
		{"rate": "0", "events": "20000"},
		{"rate": "0", "events": "7003", "type": "bid", "seed": "-5"},
		{"rate": "0", "type": "auction"},
		{"rate": "0", "events": "100000", "type": "person"},
		{"rate": "100000000", "events": "5000"},
	} {
		t.Run(fmt.Sprint(opts), func(t *testing.T) {
			connectortest.Source(t, connectortest.SourceCase{
				Factory: Factory{},
				Spec:    connector.SourceSpec{Options: opts},
				Env:     connector.Env{StartTime: start},
				Rows:    6000,
			})
		})
	}
}

// readAll reads events of a source with all columns.
func readAll(t testing.TB, opts map[string]string) []*types.Chunk {
	t.Helper()
	s := open(t, opts, nil)
	rels, err := Factory{}.Relations(connector.SourceSpec{Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	need := make([][]int, len(rels))
	var all []*types.Chunk
	for i, r := range rels {
		for c := range r.Schema {
			need[i] = append(need[i], c)
		}
		all = append(all, types.NewChunk(r.Schema.Types()))
	}
	r, err := s.Open(ctx, split, nil, need)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var b connector.Batch
		_, err := r.Read(ctx, &b, 4096, nil)
		for i, c := range b.Chunks {
			if c != nil {
				c.Compact(all[i])
			}
		}
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestProportionsAndSkew(t *testing.T) {
	const events = 100_000
	all := readAll(t, map[string]string{"rate": "0", "events": fmt.Sprint(events)})
	if p, a, b := all[person].N, all[auction].N, all[bid].N; p != events/50 || a != events/50*3 || b != events/50*46 {
		t.Fatalf("%d persons, %d auctions, %d bids", p, a, b)
	}
	for kind, want := range map[int]float64{person: personBytes, auction: auctionBytes, bid: bidBytes} {
		// Channel and URL of a bid came later than its size in the public
		// generator, and do not count.
		size := 0
		for i, v := range all[kind].Cols {
			for r := range all[kind].N {
				switch {
				case v.Type.Kind == types.Text && !(kind == bid && (i == bidChannel || i == bidURL)):
					size += int(v.Span[r].Len)
				case v.Type.Kind != types.Text:
					size += 8
				}
			}
		}
		if mean := float64(size) / float64(all[kind].N); mean < 0.94*want || mean > 1.06*want {
			t.Errorf("mean size of a %s is %.1f bytes, want %v", names[kind], mean, want)
		}
	}
	bids := all[bid]
	hotA, hotB, hotC := 0, 0, 0
	for i := range bids.N {
		n := uint64(bids.Cols[bidTime].I64[i]-int64(start)) / eventMicros
		if uint64(bids.Cols[bidAuction].I64[i]-firstAuction) == lastAuction(n)/100*100 {
			hotA++
		}
		if uint64(bids.Cols[bidBidder].I64[i]-firstPerson) == lastPerson(n)/100*100+1 {
			hotB++
		}
		if !strings.HasPrefix(string(bids.Cols[bidChannel].Bytes(i)), "channel-") {
			hotC++
		}
		if p := bids.Cols[bidPrice].I64[i]; p < 100 || p > 100_000_000 {
			t.Fatalf("price %d", p)
		}
		if a := bids.Cols[bidAuction].I64[i]; a < firstAuction || uint64(a) > firstAuction+lastAuction(n)+lead {
			t.Fatalf("event %d bids on auction %d", n, a)
		}
	}
	for what, c := range map[string]struct{ got, want float64 }{
		"hot auctions": {float64(hotA) / float64(bids.N), 0.5},
		"hot bidders":  {float64(hotB) / float64(bids.N), 0.75},
		"hot channels": {float64(hotC) / float64(bids.N), 0.5},
	} {
		if c.got < c.want-0.02 || c.got > c.want+0.02 {
			t.Errorf("%s: %.3f, want %.2f", what, c.got, c.want)
		}
	}
	for i := range all[auction].N {
		if id := all[auction].Cols[auctionID].I64[i]; id != int64(firstAuction+i) {
			t.Fatalf("auction %d has id %d", i, id)
		}
	}
	for i := range all[person].N {
		if id := all[person].Cols[personID].I64[i]; id != int64(firstPerson+i) {
			t.Fatalf("person %d has id %d", i, id)
		}
	}
}

// TestFrozen keeps the rows as they are: checkpoints hold positions only, so
// a source must give the same rows in every later version.
func TestFrozen(t *testing.T) {
	h := xxh3.New()
	for _, c := range readAll(t, map[string]string{"rate": "0", "events": "10000"}) {
		for i := range c.N {
			_, _ = h.Write(types.AppendImage(nil, c, i, nil))
		}
	}
	const want = 0x3a6cd375cd055505
	if got := h.Sum64(); got != want {
		t.Fatalf("the hash of the first 10000 events is %#x, want %#x", got, uint64(want))
	}
}

func TestSameRowsAtAnyRateAndType(t *testing.T) {
	all := readAll(t, map[string]string{"rate": "0", "events": "5000"})
	for k, name := range names {
		one := readAll(t, map[string]string{"rate": "0", "events": "5000", "type": name})[0]
		if one.N != all[k].N {
			t.Fatalf("%s: %d rows alone, %d among others", name, one.N, all[k].N)
		}
		for i := range one.N {
			if string(types.AppendImage(nil, one, i, nil)) != string(types.AppendImage(nil, all[k], i, nil)) {
				t.Fatalf("%s: row %d differs", name, i)
			}
		}
	}
}

func TestRate(t *testing.T) {
	now := time.Unix(1000, 0)
	s := open(t, map[string]string{"rate": "5000"}, func() time.Time { return now })
	r, err := s.Open(ctx, split, nil, [][]int{nil, nil, {}})
	if err != nil {
		t.Fatal(err)
	}
	events := func(until types.Position) int64 {
		var b connector.Batch
		for {
			before := b.Events
			if _, err := r.Read(ctx, &b, 1<<20, until); err != nil {
				t.Fatal(err)
			}
			if b.Events == before {
				return b.Events
			}
			for _, c := range b.Chunks {
				if c != nil {
					c.Reset()
				}
			}
		}
	}
	if n := events(nil); n != 0 {
		t.Fatalf("%d events at once", n)
	}
	now = now.Add(100 * time.Millisecond)
	if n := events(nil); n != 500 {
		t.Fatalf("%d events in 100 ms", n)
	}
	if n := events(position(20_000)); n != 19_500 {
		t.Fatalf("%d events of a replay", n)
	}
	now = now.Add(time.Hour)
	if n := events(nil); n != 5000 {
		t.Fatalf("%d events after an hour's rest", n)
	}
	for range 1000 {
		now = now.Add(100 * time.Microsecond)
		if n := events(nil); n > 1 {
			t.Fatalf("%d events in 100 µs", n)
		}
	}
}

func TestPositionIsFrozen(t *testing.T) {
	if got := fmt.Sprintf("%x", []byte(position(0x123456))); got != "0000000000123456" {
		t.Fatal(got)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		opts map[string]string
		want string
	}{
		{map[string]string{"rate": "-1"}, `"rate"`},
		{map[string]string{"rate": "fast"}, `"rate"`},
		{map[string]string{"type": "seller"}, `"type"`},
		{map[string]string{"events": "-7"}, `"events"`},
		{map[string]string{"seed": "x"}, `"seed"`},
		{map[string]string{"sede": "1"}, `"sede"`},
	} {
		_, err := Factory{}.Relations(connector.SourceSpec{Options: c.opts})
		if pgerr.CodeOf(err) != pgerr.InvalidParameterValue || !strings.Contains(err.Error(), c.want) || pgerr.From(err).Hint == "" {
			t.Errorf("%v: %v", c.opts, err)
		}
	}
	_, err := Factory{}.Relations(connector.SourceSpec{Columns: schemas[bid]})
	if pgerr.CodeOf(err) != pgerr.InvalidTableDefinition {
		t.Errorf("declared columns: %v", err)
	}
	s := open(t, nil, nil)
	if _, err := s.Open(ctx, split, types.Position("abc"), make([][]int, 3)); pgerr.CodeOf(err) != pgerr.DataCorrupted {
		t.Errorf("bad position: %v", err)
	}
}

func BenchmarkBid(b *testing.B) {
	for _, c := range []struct {
		name  string
		need  []int
		fresh bool // a new chunk for each Read
	}{
		{"none", []int{}, false},
		{"ints", []int{bidAuction, bidBidder, bidPrice, bidTime}, false},
		{"q0", []int{bidAuction, bidBidder, bidPrice, bidTime, bidExtra}, false},
		{"all", []int{0, 1, 2, 3, 4, 5, 6}, false},
		{"all fresh", []int{0, 1, 2, 3, 4, 5, 6}, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := open(b, map[string]string{"rate": "0", "type": "bid"}, nil)
			r, err := s.Open(ctx, split, nil, [][]int{c.need})
			if err != nil {
				b.Fatal(err)
			}
			var batch connector.Batch
			rows := 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Read(ctx, &batch, 4096, nil); err != nil {
					b.Fatal(err)
				}
				rows += batch.Chunks[0].N
				if c.fresh {
					batch.Chunks = nil
				} else {
					batch.Chunks[0].Reset()
				}
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}
