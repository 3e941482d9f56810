// Package connectortest holds the suites that every source and every sink
// passes. A connector's own tests call them with a few configurations.
package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/types"
)

// SourceCase is one configuration of a source under test.
type SourceCase struct {
	Factory connector.SourceFactory
	Spec    connector.SourceSpec
	Env     connector.Env
	// Rows bounds how many rows are compared, for endless sources.
	Rows int
}

// quiet is how many Reads in a row that give nothing mean that there is no
// more: a source may need several to get over a stretch without rows.
const quiet = 200

// taken is what a stretch of a split gave.
type taken struct {
	rows     [][]string // images, of each relation
	rejected []string
	end      types.Position
	ended    bool
}

// step is a place where a Read stopped.
type step struct {
	pos      types.Position
	rows     []int
	rejected int
}

// Source runs the suite: the rows do not depend on the size of reads, on
// where reading resumed, on the columns needed; until is met exactly.
func Source(t *testing.T, c SourceCase) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &sourceSuite{SourceCase: c, rng: rand.New(rand.NewPCG(seed, 2))}
	if s.Env.Now == nil {
		s.Env.Now = time.Now
	}
	if s.Rows == 0 {
		s.Rows = 20_000
	}
	rels, err := c.Factory.Relations(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	s.rels = rels
	splits, err := s.open(t).Splits(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(splits) == 0 {
		t.Fatal("no splits")
	}
	for _, sp := range splits {
		s.split = sp
		s.run(t)
	}
}

type sourceSuite struct {
	SourceCase
	rng   *rand.Rand
	rels  []connector.Relation
	split types.Split
}

func (s *sourceSuite) open(t *testing.T) connector.Source {
	t.Helper()
	src, err := s.Factory.Open(context.Background(), s.Spec, s.Env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

// all needs every column.
func (s *sourceSuite) all() [][]int {
	need := make([][]int, len(s.rels))
	for r := range need {
		need[r] = make([]int, len(s.rels[r].Schema))
		for i := range need[r] {
			need[r][i] = i
		}
	}
	return need
}

func (s *sourceSuite) run(t *testing.T) {
	earliest, err := s.open(t).Earliest(context.Background(), s.split)
	if err != nil {
		t.Fatal(err)
	}
	ref, steps := s.read(t, nil, nil, s.all(), func() int { return 1 + s.rng.IntN(500) })
	t.Logf("split %q: %d rows, %d rejected, %d steps", s.split, count(ref.rows), len(ref.rejected), len(steps))
	for _, max := range []int{1, 7, 1000, types.MaxChunkRows, 100_000} {
		until := steps[len(steps)-1]
		if max == 1 && len(steps) > 3 {
			until = steps[3] // row by row is slow
		}
		got, _ := s.read(t, earliest, until.pos, s.all(), func() int { return max })
		s.same(t, fmt.Sprintf("reads of %d rows", max), got, ref, step{rows: make([]int, len(s.rels))}, until)
	}
	last := steps[len(steps)-1]
	for range 25 {
		i := s.rng.IntN(len(steps))
		j := i + s.rng.IntN(len(steps)-i)
		got, _ := s.read(t, steps[i].pos, steps[j].pos, s.all(), func() int { return 1 + s.rng.IntN(5000) })
		s.same(t, fmt.Sprintf("resumed at step %d until %d", i, j), got, ref, steps[i], steps[j])
	}
	for range 10 {
		i := s.rng.IntN(len(steps))
		s.readNeeded(t, ref, steps[i], last)
	}
}

func count(rows [][]string) (n int) {
	for _, r := range rows {
		n += len(r)
	}
	return n
}

// read reads from a position until another, or to the end.
func (s *sourceSuite) read(t *testing.T, from, until types.Position, need [][]int, max func() int) (taken, []step) {
	t.Helper()
	ctx := context.Background()
	r, err := s.open(t).Open(ctx, s.split, from, need)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	got := taken{rows: make([][]string, len(s.rels)), end: from}
	var steps []step
	for idle := 0; idle < quiet && (until != nil || count(got.rows) < s.Rows); {
		var b connector.Batch
		pos := got.end
		for range 1 + s.rng.IntN(3) { // some times on top of what is there
			pos, err = r.Read(ctx, &b, max(), until)
			if err != nil {
				break
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("Read: %v", err)
		}
		if bytes.Equal(pos, got.end) {
			idle++
		} else {
			idle = 0
		}
		s.take(t, &got, &b, need)
		got.end = pos
		n := make([]int, len(got.rows))
		for i := range n {
			n[i] = len(got.rows[i])
		}
		steps = append(steps, step{pos: pos, rows: n, rejected: len(got.rejected)})
		if errors.Is(err, io.EOF) {
			got.ended = true
			break
		}
		if until != nil && bytes.Equal(pos, until) {
			break
		}
	}
	return got, steps
}

// take adds a batch's rows as images; the columns not needed must be NULL.
func (s *sourceSuite) take(t *testing.T, got *taken, b *connector.Batch, need [][]int) {
	t.Helper()
	for i, c := range b.Chunks {
		if c == nil || c.N == 0 {
			continue
		}
		if need[i] == nil {
			t.Fatalf("%d rows of a relation that is not needed", c.N)
		}
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		if c.N > types.MaxChunkRows {
			t.Fatalf("a chunk of %d rows", c.N)
		}
		needed := make([]bool, len(c.Cols))
		for _, j := range need[i] {
			needed[j] = true
		}
		for j := range c.Cols {
			if c.Cols[j].Type != s.rels[i].Schema[j].Type {
				t.Fatalf("column %d has type %v, not %v", j, c.Cols[j].Type, s.rels[i].Schema[j].Type)
			}
			for k := 0; k < c.N && !needed[j]; k++ {
				if !c.Cols[j].Null(k) {
					t.Fatalf("column %d was not needed and is not NULL", j)
				}
			}
		}
		for k := range c.N {
			got.rows[i] = append(got.rows[i], string(types.AppendImage(nil, c, k, nil)))
		}
	}
	for _, x := range b.Rejected {
		got.rejected = append(got.rejected, fmt.Sprintf("%s %d %q %v", x.Split, x.Offset, x.Raw, x.Err))
	}
}

// same checks that got is what ref has between two steps.
func (s *sourceSuite) same(t *testing.T, what string, got, ref taken, from, to step) {
	t.Helper()
	if !bytes.Equal(got.end, to.pos) {
		t.Fatalf("%s: ended at %x, want %x", what, got.end, to.pos)
	}
	for i := range ref.rows {
		want := ref.rows[i][from.rows[i]:to.rows[i]]
		if len(got.rows[i]) != len(want) {
			t.Fatalf("%s: relation %d has %d rows, want %d", what, i, len(got.rows[i]), len(want))
		}
		for k := range want {
			if got.rows[i][k] != want[k] {
				t.Fatalf("%s: relation %d, row %d: %q, want %q", what, i, k, got.rows[i][k], want[k])
			}
		}
	}
	want := ref.rejected[from.rejected:to.rejected]
	if fmt.Sprint(got.rejected) != fmt.Sprint(want) {
		t.Fatalf("%s: rejected %q, want %q", what, got.rejected, want)
	}
}

// readNeeded reads some columns only and compares them with the full rows.
func (s *sourceSuite) readNeeded(t *testing.T, ref taken, from, to step) {
	t.Helper()
	need := make([][]int, len(s.rels))
	for r := range need {
		if len(need) > 1 && s.rng.IntN(3) == 0 {
			continue
		}
		need[r] = []int{}
		for i := range s.rels[r].Schema {
			if s.rng.IntN(2) == 0 {
				need[r] = append(need[r], i)
			}
		}
	}
	got, _ := s.read(t, from.pos, to.pos, need, func() int { return 1 + s.rng.IntN(5000) })
	if !bytes.Equal(got.end, to.pos) {
		t.Fatalf("columns %v: ended at %x, want %x", need, got.end, to.pos)
	}
	for r := range need {
		if need[r] == nil {
			continue
		}
		want := ref.rows[r][from.rows[r]:to.rows[r]]
		if len(want) != len(got.rows[r]) {
			t.Fatalf("columns %v: relation %d has %d rows, want %d", need, r, len(got.rows[r]), len(want))
		}
		ts := s.rels[r].Schema.Types()
		for k := range want {
			if w := maskRow(t, want[k], ts, need[r]); w != got.rows[r][k] {
				t.Fatalf("columns %v: relation %d, row %d: %q, want %q", need, r, k, got.rows[r][k], w)
			}
		}
	}
}

// maskRow makes the columns that are not needed NULL in a row's image.
func maskRow(t *testing.T, image string, ts []types.Type, need []int) string {
	t.Helper()
	c := types.NewChunk(ts)
	if err := types.DecodeImage([]byte(image), c.Cols); err != nil {
		t.Fatal(err)
	}
	masked := types.NewChunk(ts)
	row := make([]types.Datum, len(ts))
	for i := range row {
		row[i] = types.NullOf(ts[i])
	}
	for _, i := range need {
		row[i] = c.Cols[i].Datum(0)
	}
	masked.AppendRow(1, row...)
	return string(types.AppendImage(nil, masked, 0, nil))
}
