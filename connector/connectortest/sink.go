package connectortest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/types"
)

// SinkCase is one configuration of a sink under test.
type SinkCase struct {
	Factory connector.SinkFactory
	Spec    connector.SinkSpec // SinkSchema as its schema
	Env     connector.Env
	// Visible gives the committed rows as RowText with their multiplicities;
	// nil if the sink keeps none.
	Visible func(t testing.TB) map[string]int
}

// SinkSchema is the schema of the suite's rows.
func SinkSchema() types.Schema {
	var s types.Schema
	for _, c := range []struct {
		name string
		kind types.Kind
	}{
		{"b", types.Bool}, {"i4", types.Int4}, {"i8", types.Int8}, {"f", types.Float8}, {"n", types.Numeric},
		{"t \"x\"", types.Text}, {"d", types.Date}, {"ts", types.Timestamp}, {"tz", types.Timestamptz}, {"iv", types.Interval},
	} {
		s = append(s, types.Column{Name: c.name, Type: types.T(c.kind)})
	}
	return s
}

// RowText is how rows are compared: each value's text form, NULL as \N.
func RowText(values []types.Datum) string {
	s := ""
	for _, d := range values {
		if d.Null {
			s += "|\\N"
		} else {
			s += "|" + string(types.AppendText(nil, d))
		}
	}
	return s
}

// SinkRows makes a chunk of n random rows of SinkSchema, and adds them to sum.
func SinkRows(rng *rand.Rand, n int, appendOnly bool, sum map[string]int) *types.Chunk {
	texts := []string{"", "x", "a\"b", "with, comma", "line\nbreak\r\n", "tab\tand \\", "é😀\x01", "null"}
	floats := []string{"0", "-0", "1.5", "NaN", "Infinity", "-Infinity", "1e300", "0.1"}
	schema := SinkSchema()
	c := types.NewChunk(schema.Types())
	for range n {
		in := []string{
			[]string{"t", "f"}[rng.IntN(2)],
			fmt.Sprint(int32(rng.Uint32())), fmt.Sprint(int64(rng.Uint64())), floats[rng.IntN(len(floats))],
			[]string{"NaN", "0.00", "-12345678901234567890.5", fmt.Sprint(rng.IntN(100))}[rng.IntN(4)],
			texts[rng.IntN(len(texts))],
			fmt.Sprintf("2001-02-%02d", 1+rng.IntN(28)), fmt.Sprintf("1999-01-01 00:00:%02d.5", rng.IntN(60)),
			fmt.Sprintf("2020-01-01 00:00:%02d+00", rng.IntN(60)), fmt.Sprintf("%d days 01:00", rng.IntN(9)),
		}
		row := make([]types.Datum, len(schema))
		for i := range row {
			row[i] = types.NullOf(schema[i].Type)
			if rng.IntN(5) > 0 {
				row[i], _ = types.ParseText(schema[i].Type, in[i])
			}
		}
		diff := int32(1 + rng.IntN(2))
		if !appendOnly && rng.IntN(3) == 0 {
			diff = -diff
		}
		c.AppendRow(diff, row...)
		if sum[RowText(row)] += int(diff); sum[RowText(row)] == 0 {
			delete(sum, RowText(row))
		}
	}
	return c
}

// Sink runs the suite: nothing is visible before Commit, all of it after;
// Commit is idempotent, also after the sink was opened again; Abort discards
// all but what it is told to keep.
func Sink(t *testing.T, c SinkCase) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &sinkSuite{SinkCase: c, rng: rand.New(rand.NewPCG(seed, 3)), sum: map[string]int{}}
	if err := c.Factory.Check(c.Spec); err != nil {
		t.Fatal(err)
	}
	s.open(t)
	s.twoPhases(t)
	s.aborts(t)
	do(t, s.sink.Close())
}

type sinkSuite struct {
	SinkCase
	rng   *rand.Rand
	sink  connector.Sink
	sum   map[string]int // all that was committed
	epoch types.Epoch
}

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the sink, again.
func (s *sinkSuite) open(t *testing.T) {
	t.Helper()
	if s.sink != nil {
		do(t, s.sink.Close())
	}
	var err error
	s.sink, err = s.Factory.Open(context.Background(), s.Spec, s.Env)
	do(t, err)
}

func (s *sinkSuite) check(t *testing.T, what string) {
	t.Helper()
	if s.Visible == nil {
		return
	}
	got := s.Visible(t)
	if maps.Equal(got, s.sum) {
		return
	}
	for r, n := range got {
		if s.sum[r] != n {
			t.Errorf("%s: %q counts %d, want %d", what, r, n, s.sum[r])
		}
	}
	for r, n := range s.sum {
		if got[r] != n {
			t.Errorf("%s: %q counts %d, want %d", what, r, got[r], n)
		}
	}
	t.FailNow()
}

// prepare writes epochs with some writers and prepares them; sum gets the
// rows.
func (s *sinkSuite) prepare(t *testing.T, ws []connector.Writer, sum map[string]int) (tokens []connector.Token) {
	t.Helper()
	for range 1 + s.rng.IntN(3) {
		s.epoch++
		for _, w := range ws {
			do(t, w.Write(s.epoch, SinkRows(s.rng, s.rng.IntN(300), s.Spec.AppendOnly, sum)))
		}
	}
	for _, w := range ws {
		tok, err := w.Prepare(s.epoch)
		do(t, err)
		if tok != nil {
			tokens = append(tokens, tok)
		}
		tok, err = w.Prepare(s.epoch + 1)
		do(t, err)
		if tok != nil {
			t.Fatal("a token for nothing")
		}
	}
	s.epoch++
	return tokens
}

func (s *sinkSuite) writers(t *testing.T, n int) (ws []connector.Writer) {
	t.Helper()
	for i := range n {
		w, err := s.sink.Writer(context.Background(), i)
		do(t, err)
		ws = append(ws, w)
	}
	return ws
}

func (s *sinkSuite) twoPhases(t *testing.T) {
	ctx := context.Background()
	ws := s.writers(t, 3)
	var all []connector.Token
	for round := range 5 {
		next := maps.Clone(s.sum)
		tokens := s.prepare(t, ws, next)
		s.check(t, "before a commit")
		do(t, s.sink.Commit(ctx, tokens))
		s.sum = next
		s.check(t, "after a commit")
		all = append(all, tokens...)
		do(t, s.sink.Commit(ctx, all))
		s.check(t, "after a second commit")
		if round == 2 {
			for _, w := range ws {
				do(t, w.Close())
			}
			s.open(t)
			do(t, s.sink.Abort(ctx, all))
			do(t, s.sink.Commit(ctx, all))
			s.check(t, "after a commit by a sink opened anew")
			ws = s.writers(t, 2)
		}
	}
	for _, w := range ws {
		do(t, w.Close())
	}
}

func (s *sinkSuite) aborts(t *testing.T) {
	ctx := context.Background()
	ws := s.writers(t, 2)
	kept := maps.Clone(s.sum)
	keep := s.prepare(t, ws, kept)
	lost := s.prepare(t, ws, map[string]int{})
	s.epoch++
	for _, w := range ws { // neither prepared nor closed
		do(t, w.Write(s.epoch, SinkRows(s.rng, 50, s.Spec.AppendOnly, map[string]int{})))
	}
	s.open(t)
	do(t, s.sink.Abort(ctx, keep))
	s.check(t, "after an abort")
	do(t, s.sink.Commit(ctx, keep))
	s.sum = kept
	s.check(t, "after a commit of what was kept")
	if err := s.sink.Commit(ctx, lost); err == nil && len(lost) > 0 {
		t.Fatal("what was aborted could be committed")
	}
	s.check(t, "after a commit of what was aborted")
}
