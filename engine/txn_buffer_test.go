package engine

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/types"
)

// fakeSnapshot is a relation's content as a list of chunks.
type fakeSnapshot struct {
	key    []int
	chunks []*types.Chunk
}

func (s *fakeSnapshot) Epoch() types.Epoch { return 1 }
func (s *fakeSnapshot) Release()           {}
func (s *fakeSnapshot) Scan(context.Context, []int) (relation.Chunks, error) {
	return &fakeScan{s.chunks}, nil
}

func (s *fakeSnapshot) Lookup(_ context.Context, key []types.Datum) (*types.Chunk, error) {
	out := types.NewChunk([]types.Type{types.T(types.Int8), types.T(types.Numeric)})
	for _, c := range s.chunks {
		for k := range c.Rows() {
			if r := c.Row(k); c.Cols[s.key[0]].I64[r] == key[0].I {
				(&types.Chunk{Cols: c.Cols, Diff: c.Diff, Sel: []uint16{uint16(r)}, N: c.N}).Compact(out)
			}
		}
	}
	return out, nil
}

type fakeScan struct{ chunks []*types.Chunk }

func (s *fakeScan) Close() {}
func (s *fakeScan) Next() (*types.Chunk, error) {
	if len(s.chunks) == 0 {
		return nil, nil
	}
	c := s.chunks[0]
	s.chunks = s.chunks[1:]
	return c, nil
}

// bufferModel is a table's content as a multiset of rows.
type bufferModel map[string]int64

func num(t testing.TB, s string) types.Datum {
	d, err := types.ParseText(types.T(types.Numeric), s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func rowString(c *types.Chunk, r int) string {
	return fmt.Sprintf("%v|%v", c.Cols[0].Datum(r), c.Cols[1].Datum(r))
}

// chunkOf makes a chunk of rows given as "k|n", with unselected rows between.
func chunkOf(t testing.TB, rnd *rand.Rand, rows bufferModel) *types.Chunk {
	c := types.NewChunk([]types.Type{types.T(types.Int8), types.T(types.Numeric)})
	var sel []uint16
	for row, n := range rows {
		var k int64
		v, _, _ := strings.Cut(row, "|")
		fmt.Sscan(v, &k)
		if rnd.IntN(2) == 0 {
			c.AppendRow(1, types.NewInt8(-1), num(t, "77"))
		}
		sel = append(sel, uint16(c.N))
		c.AppendRow(int32(n), types.NewInt8(k), num(t, row[len(v)+1:]))
	}
	c.Sel = append([]uint16{}, sel...)
	return c
}

// TestWriteBuffer writes, takes back, and reads through the buffer at random
// and compares with a plain multiset.
func TestWriteBuffer(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, keyed := range []bool{true, false} {
		for round := range 60 {
			testWriteBuffer(t, rand.New(rand.NewPCG(seed, uint64(round))), keyed)
		}
	}
}

func testWriteBuffer(t *testing.T, rnd *rand.Rand, keyed bool) {
	t.Helper()
	o := &catalog.Object{ID: types.NewUUID(), Kind: catalog.Table, Name: "t", Columns: []catalog.Column{
		{ID: 1, Name: "k", Type: types.T(types.Int8)}, {ID: 2, Name: "n", Type: types.T(types.Numeric)}}}
	if keyed {
		o.Key = []int{0}
	}
	values := []string{"1", "1.0", "2", "2.00"}
	committed := bufferModel{}
	for k := range 8 {
		committed[fmt.Sprintf("%d|%s", k, values[rnd.IntN(4)])]++
	}
	snap := &fakeSnapshot{key: []int{0}, chunks: []*types.Chunk{chunkOf(t, rnd, committed)}}
	b := newWriteBuffer(1 << 20)
	now := maps.Clone(committed)
	type mark struct {
		at      int
		content bufferModel
	}
	var marks []mark
	tw := b.table(o)
	change := func(row string, n int64) {
		if n == 0 {
			return
		}
		c := chunkOf(t, rnd, bufferModel{row: 1})
		if err := tw.add(c, c.Row(0), n); err != nil {
			t.Fatal(err)
		}
		if now[row] += n; now[row] == 0 {
			delete(now, row)
		}
	}
	for range 80 {
		rows := slices.Sorted(maps.Keys(now))
		switch op := rnd.IntN(10); {
		case op < 3 && len(rows) > 0: // delete, some copies
			row := rows[rnd.IntN(len(rows))]
			change(row, -1-rnd.Int64N(now[row]))
		case op < 7: // insert or replace
			k := rnd.IntN(12)
			if keyed {
				for _, row := range rows {
					if strings.HasPrefix(row, fmt.Sprintf("%d|", k)) {
						change(row, -1)
					}
				}
			}
			change(fmt.Sprintf("%d|%s", k, values[rnd.IntN(4)]), 1)
		case op == 7:
			marks = append(marks, mark{b.mark(), maps.Clone(now)})
		case op == 8 && len(marks) > 0:
			i := rnd.IntN(len(marks))
			b.undo(marks[i].at)
			now = maps.Clone(marks[i].content)
			marks = marks[:i+1]
		case op == 9 && len(marks) > 0:
			if marks = marks[:rnd.IntN(len(marks))]; len(marks) == 0 {
				b.forgetLog()
			}
		}
		checkOverlay(t, b, o, snap, now, keyed)
	}
	checkCommit(t, b, committed, now)
}

// checkOverlay compares what is read through the buffer.
func checkOverlay(t *testing.T, b *writeBuffer, o *catalog.Object, snap *fakeSnapshot, want bufferModel, keyed bool) {
	t.Helper()
	got := bufferModel{}
	rd := reader{snap: snap, own: b.of(o.ID)}
	err := rd.scan(context.Background(), nil, func(c *types.Chunk) error {
		if err := c.Check(); err != nil {
			return err
		}
		for k := range c.Rows() {
			got[rowString(c, c.Row(k))] += int64(c.DiffAt(c.Row(k)))
		}
		return nil
	})
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("keyed %v: scan gives %v, %v, want %v", keyed, got, err, want)
	}
	if !keyed {
		return
	}
	for k := range int64(12) {
		c, err := rd.lookup(context.Background(), []types.Datum{types.NewInt8(k)})
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for row := range want {
			if strings.HasPrefix(row, fmt.Sprintf("%d|", k)) {
				found = row
			}
		}
		if c.N == 0 && found != "" || c.N > 0 && rowString(c, 0) != found {
			t.Fatalf("look-up of %d gives %d rows, want %q", k, c.N, found)
		}
	}
}

// checkCommit applies the net changes to what was committed.
func checkCommit(t *testing.T, b *writeBuffer, committed, want bufferModel) {
	t.Helper()
	c, err := b.commit()
	if err != nil {
		t.Fatal(err)
	}
	got := maps.Clone(committed)
	for _, w := range c.Tables {
		for _, ch := range w.Chunks {
			for r := range ch.N {
				row := rowString(ch, r)
				if got[row] += int64(ch.Diff[r]); got[row] == 0 {
					delete(got, row)
				}
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Fatalf("commit gives %v, want %v", got, want)
	}
	if b.empty() != maps.Equal(committed, want) {
		t.Fatalf("empty() is %v", b.empty())
	}
}

// TestCommitChunks keeps a key's old and new row in one chunk.
func TestCommitChunks(t *testing.T) {
	o := &catalog.Object{ID: types.NewUUID(), Name: "t", Key: []int{0}, Columns: []catalog.Column{
		{ID: 1, Name: "k", Type: types.T(types.Int8)}, {ID: 2, Name: "n", Type: types.T(types.Numeric)}}}
	b := newWriteBuffer(1 << 30)
	tw := b.table(o)
	const n = 10_000
	for i := range n {
		c := types.NewChunk(tw.types)
		c.AppendRow(1, types.NewInt8(int64(i)), num(t, "1"))
		c.AppendRow(1, types.NewInt8(int64(i)), num(t, "2"))
		if err := tw.add(c, 0, -1); err != nil {
			t.Fatal(err)
		}
		if i%3 > 0 {
			if err := tw.add(c, 1, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := b.commit()
	if err != nil {
		t.Fatal(err)
	}
	in := map[int64]int{}
	rows := 0
	for i, ch := range c.Tables[0].Chunks {
		if ch.N > types.MaxChunkRows {
			t.Fatalf("a chunk of %d rows", ch.N)
		}
		rows += ch.N
		for r := range ch.N {
			k := ch.Cols[0].I64[r]
			if at, ok := in[k]; ok && at != i {
				t.Fatalf("key %d stands in chunks %d and %d", k, at, i)
			}
			in[k] = i
		}
	}
	if rows != n+n*2/3 {
		t.Errorf("%d rows", rows)
	}
}

func TestWriteBufferLimit(t *testing.T) {
	o := &catalog.Object{ID: types.NewUUID(), Name: "t", Columns: []catalog.Column{{ID: 1, Name: "a", Type: types.T(types.Text)}}}
	b := newWriteBuffer(64 << 10)
	tw := b.table(o)
	var err error
	for i := 0; i < 10_000 && err == nil; i++ {
		c := types.NewChunk(tw.types)
		c.AppendRow(1, types.NewText(fmt.Sprint("row ", i)))
		err = tw.add(c, 0, 1)
	}
	if pgerr.CodeOf(err) != pgerr.OutOfMemory {
		t.Fatal(err)
	}
}
