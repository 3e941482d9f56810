// Package nexmark is the source of the Nexmark benchmark: persons, auctions
// and bids of an auction site, in the proportions, sizes and skews of the
// public generator for Flink. Event n is a pure function of the seed, n and
// the source's start time: nothing is drawn in sequence, so that reading can
// start anywhere and makes only the columns that are wanted.
//
// Event n happens n × 100 µs after the start, at whatever rate it is read.
package nexmark

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"time"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Name is the connector's name in WITH (connector = …).
const Name = "nexmark"

// The relations, in the order in which a source without a type has them.
const (
	person = iota
	auction
	bid
	numKinds
)

const (
	defaultRate = 10_000
	maxRate     = 1_000_000_000
	split       = types.Split("0")
	// eventMicros is the event time between two events.
	eventMicros = 100
	// maxEvents keeps event times and ids far from overflow.
	maxEvents = math.MaxInt64 / 1000
	// maxScan bounds the events of one Read, however few rows they give.
	maxScan = 1 << 16
	// maxBurst is the longest time whose events a reader that was not asked
	// for long makes up for.
	maxBurst = time.Second
)

// Factory makes Nexmark sources. Options: type (person, auction or bid; all
// three as relations if absent), rate (events of all kinds per second, 0
// unthrottled, default 10000), events (in all, 0 or absent: endless), seed
// (default 1).
type Factory struct{}

var _ connector.SourceFactory = Factory{}

type config struct {
	kinds  []int // of each relation
	rate   int64
	events uint64
	seed   uint64
}

func parse(s connector.SourceSpec) (config, error) {
	o := connector.NewOptions(Name, s.Options)
	var c config
	switch o.Enum("type", "all", "person", "auction", "bid") {
	case "person":
		c.kinds = []int{person}
	case "auction":
		c.kinds = []int{auction}
	case "bid":
		c.kinds = []int{bid}
	default:
		c.kinds = []int{person, auction, bid}
	}
	c.rate = o.Int("rate", defaultRate, 0, maxRate)
	c.events = uint64(o.Int("events", 0, 0, maxEvents))
	if c.events == 0 {
		c.events = maxEvents
	}
	c.seed = uint64(o.Int("seed", 1, math.MinInt64, math.MaxInt64))
	if err := o.Err(); err != nil {
		return c, err
	}
	if len(s.Columns) > 0 {
		return c, pgerr.New(pgerr.InvalidTableDefinition, "a source with connector %q has fixed columns", Name).
			WithHint("Leave out the column list.")
	}
	return c, nil
}

func col(name string, k types.Kind) types.Column {
	return types.Column{Name: name, Type: types.T(k), NotNull: true}
}

var names = [numKinds]string{"person", "auction", "bid"}

// The columns, by the constants below.
var schemas = [numKinds]types.Schema{
	{col("id", types.Int8), col("name", types.Text), col("email_address", types.Text), col("credit_card", types.Text),
		col("city", types.Text), col("state", types.Text), col("date_time", types.Timestamp), col("extra", types.Text)},
	{col("id", types.Int8), col("item_name", types.Text), col("description", types.Text), col("initial_bid", types.Int8),
		col("reserve", types.Int8), col("date_time", types.Timestamp), col("expires", types.Timestamp),
		col("seller", types.Int8), col("category", types.Int8), col("extra", types.Text)},
	{col("auction", types.Int8), col("bidder", types.Int8), col("price", types.Int8), col("channel", types.Text),
		col("url", types.Text), col("date_time", types.Timestamp), col("extra", types.Text)},
}

const (
	personID = iota
	personName
	personEmail
	personCard
	personCity
	personState
	personTime
	personExtra
)

const (
	auctionID = iota
	auctionItem
	auctionDescription
	auctionInitial
	auctionReserve
	auctionTime
	auctionExpires
	auctionSeller
	auctionCategory
	auctionExtra
)

const (
	bidAuction = iota
	bidBidder
	bidPrice
	bidChannel
	bidURL
	bidTime
	bidExtra
)

// Relations implements connector.SourceFactory.
func (Factory) Relations(s connector.SourceSpec) ([]connector.Relation, error) {
	c, err := parse(s)
	if err != nil {
		return nil, err
	}
	if len(c.kinds) == 1 {
		return []connector.Relation{{Schema: schemas[c.kinds[0]]}}, nil
	}
	var rs []connector.Relation
	for _, k := range c.kinds {
		rs = append(rs, connector.Relation{Name: names[k], Schema: schemas[k]})
	}
	return rs, nil
}

// Open implements connector.SourceFactory.
func (Factory) Open(_ context.Context, s connector.SourceSpec, env connector.Env) (connector.Source, error) {
	c, err := parse(s)
	if err != nil {
		return nil, err
	}
	return &source{config: c, gen: newGenerator(c.seed, env.StartTime), now: env.Now}, nil
}

type source struct {
	config
	gen *generator
	now func() time.Time
}

func (*source) Replay() connector.ReplayClass                 { return connector.Exact }
func (*source) Splits(context.Context) ([]types.Split, error) { return []types.Split{split}, nil }
func (*source) Close() error                                  { return nil }
func (*source) Earliest(context.Context, types.Split) (types.Position, error) {
	return position(0), nil
}

// A position is the number of the next event, 8 bytes big-endian.
func position(n uint64) types.Position { return binary.BigEndian.AppendUint64(nil, n) }

func parsePosition(p types.Position) (uint64, error) {
	if p == nil {
		return 0, nil
	}
	if len(p) != 8 || binary.BigEndian.Uint64(p) > maxEvents {
		return 0, pgerr.New(pgerr.DataCorrupted, "invalid position of a nexmark source: %x", []byte(p)).
			WithHint("The position was not written by this connector; drop and create the source again.")
	}
	return binary.BigEndian.Uint64(p), nil
}

// Open implements connector.Source.
func (s *source) Open(_ context.Context, sp types.Split, from types.Position, need [][]int) (connector.Reader, error) {
	if sp != split {
		return nil, pgerr.Internal("nexmark source has no split %q", string(sp))
	}
	n, err := parsePosition(from)
	if err != nil {
		return nil, err
	}
	if len(need) != len(s.kinds) {
		return nil, pgerr.Internal("nexmark source has %d relations, columns are needed of %d", len(s.kinds), len(need))
	}
	r := &reader{s: s, next: n, last: s.now()}
	for i, k := range s.kinds {
		r.rels[k] = relation{chunk: i, types: schemas[k].Types()}
		if need[i] == nil {
			continue
		}
		r.rels[k].wanted = true
		r.rels[k].cols = make([]bool, len(schemas[k]))
		for _, c := range need[i] {
			if c < 0 || c >= len(schemas[k]) {
				return nil, pgerr.Internal("nexmark relation %q has no column %d", names[k], c)
			}
			r.rels[k].cols[c] = true
		}
	}
	return r, nil
}

// relation is what a reader gives of one kind of event.
type relation struct {
	wanted bool
	chunk  int    // index in the batch
	cols   []bool // which columns are needed
	types  []types.Type
	events []uint64 // scratch: the event numbers of one Read
}

type reader struct {
	s      *source
	next   uint64
	rels   [numKinds]relation
	last   time.Time // when credit was last given
	credit float64   // events that may be given now
}

func (*reader) Close() error { return nil }

// Read implements connector.Reader. Rows up to a given position have been
// given before, so the rate does not hold them back.
func (r *reader) Read(ctx context.Context, b *connector.Batch, max int, until types.Position) (types.Position, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, k := range r.s.kinds {
		b.Chunk(r.rels[k].chunk, r.rels[k].types)
	}
	end := min(r.s.events, r.next+maxScan)
	if until != nil {
		u, err := parsePosition(until)
		if err != nil {
			return nil, err
		}
		end = min(end, u)
	} else {
		end = min(end, r.next+r.allowed())
	}
	start := r.next
	if start < end {
		r.next = r.collect(b, max, end)
		r.generate(b)
	} else if start >= r.s.events {
		return position(start), io.EOF
	}
	if until == nil {
		r.credit -= float64(r.next - start)
	}
	b.Events += int64(r.next - start)
	b.Bytes += int64(r.next-start) * avgEventBytes
	return position(r.next), nil
}

// allowed gives how many events the rate lets through now.
func (r *reader) allowed() uint64 {
	if r.s.rate == 0 {
		r.credit = 0
		return maxScan
	}
	now := r.s.now()
	r.credit += math.Max(0, now.Sub(r.last).Seconds()) * float64(r.s.rate)
	r.credit = min(r.credit, math.Max(1, maxBurst.Seconds()*float64(r.s.rate)))
	r.last = now
	return uint64(math.Max(0, r.credit))
}

// collect chooses the events of one Read and sorts them by kind; it gives the
// number of the first event that is left.
func (r *reader) collect(b *connector.Batch, max int, end uint64) uint64 {
	room := [numKinds]int{}
	left := max - b.Rows()
	for k := range r.rels {
		rel := &r.rels[k]
		rel.events = rel.events[:0]
		if rel.wanted {
			room[k] = types.MaxChunkRows - b.Chunks[rel.chunk].N
		}
	}
	n := r.next
	for n < end {
		k, run := kindOf(n)
		run = min(run, end-n)
		rel := &r.rels[k]
		if !rel.wanted {
			n += run
			continue
		}
		run = min(run, uint64(min(left, room[k])))
		if run == 0 || left <= 0 || room[k] <= 0 {
			break
		}
		for i := range run {
			rel.events = append(rel.events, n+i)
		}
		n += run
		left -= int(run)
		room[k] -= int(run)
	}
	return n
}

// generate appends the chosen events' rows.
func (r *reader) generate(b *connector.Batch) {
	for k := range r.rels {
		rel := &r.rels[k]
		if !rel.wanted || len(rel.events) == 0 {
			continue
		}
		c := b.Chunks[rel.chunk]
		if c.N == 0 {
			r.fill(k, c)
			continue
		}
		// The chunk's buffers may be shared with others: add a copy.
		part := types.NewChunk(rel.types)
		r.fill(k, part)
		part.Compact(c)
	}
}

// fill makes the empty chunk c the rows of kind k. Its text columns share
// the generator's constant buffers.
func (r *reader) fill(k int, c *types.Chunk) {
	rel := &r.rels[k]
	c.Diff, c.Sel, c.N = nil, nil, len(rel.events)
	for i := range c.Cols {
		v := &c.Cols[i]
		v.Data = nil // may be a shared buffer of an earlier use
		v.Resize(rel.types[i], c.N)
		if !rel.cols[i] {
			connector.SetNulls(v, c.N)
			continue
		}
		switch k {
		case person:
			r.s.gen.person(v, i, rel.events)
		case auction:
			r.s.gen.auction(v, i, rel.events)
		case bid:
			r.s.gen.bid(v, i, rel.events)
		}
	}
}
