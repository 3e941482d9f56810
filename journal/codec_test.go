package journal

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamdb/streamdb/types"
)

func genBytes(t *rapid.T, label string) []byte {
	return append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, label)...)
}

func genUUID(t *rapid.T) (u types.UUID) {
	copy(u[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
	return u
}

func genRecord(t *rapid.T) *Record {
	switch k := Kind(rapid.IntRange(1, 4).Draw(t, "kind")); k {
	case KindCommit:
		c := &Commit{Tables: []TableChanges{}}
		for range rapid.IntRange(0, 3).Draw(t, "tables") {
			tc := TableChanges{Table: genUUID(t)}
			for range rapid.IntRange(0, 3).Draw(t, "chunks") {
				tc.Chunks = append(tc.Chunks, genBytes(t, "chunk"))
			}
			c.Tables = append(c.Tables, tc)
		}
		return &Record{Kind: k, Commit: c}
	case KindDDL:
		return &Record{Kind: k, DDL: &DDL{Version: types.Version(rapid.Uint64().Draw(t, "version")), Delta: genBytes(t, "delta")}}
	case KindCut:
		c := &Cut{Epoch: types.EpochInfo{
			ID:      types.Epoch(rapid.Uint64().Draw(t, "epoch")),
			Now:     types.Micros(rapid.Int64().Draw(t, "now")),
			Catalog: types.Version(rapid.Uint64().Draw(t, "catalog")),
		}, Positions: []SourcePositions{}}
		for range rapid.IntRange(0, 3).Draw(t, "sources") {
			p := SourcePositions{Source: genUUID(t)}
			for range rapid.IntRange(0, 3).Draw(t, "splits") {
				s := types.SplitPosition{Split: types.Split(genBytes(t, "split"))}
				if rapid.Bool().Draw(t, "has position") {
					s.Pos = genBytes(t, "position")
				}
				p.Splits = append(p.Splits, s)
			}
			c.Positions = append(c.Positions, p)
		}
		return &Record{Kind: k, Cut: c}
	default:
		return &Record{Kind: k, Timeline: &Timeline{
			Number:    rapid.Uint64().Draw(t, "number"),
			Epoch:     types.Epoch(rapid.Uint64().Draw(t, "epoch")),
			Savepoint: genUUID(t),
		}}
	}
}

func TestBodyRoundTrip(t *testing.T) {
	var d decoder // used again, as a reader does
	rapid.Check(t, func(t *rapid.T) {
		want := genRecord(t)
		body, err := appendBody(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.decode(want.Kind, body)
		if err != nil {
			t.Fatal(err)
		}
		if !sameRecord(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		for n := range body {
			if _, err := d.decode(want.Kind, body[:n]); err == nil {
				t.Fatalf("a body cut to %d of %d bytes was decoded", n, len(body))
			}
		}
	})
}

// sameRecord compares records but for their LSN, by their exact bytes and,
// where those could hide a difference, by value.
func sameRecord(a, b *Record) bool {
	x, err1 := appendBody(nil, a)
	y, err2 := appendBody(nil, b)
	if err1 != nil || err2 != nil || a.Kind != b.Kind || !bytes.Equal(x, y) {
		return false
	}
	return a.Kind != KindDDL && a.Kind != KindTimeline ||
		reflect.DeepEqual(a.DDL, b.DDL) && reflect.DeepEqual(a.Timeline, b.Timeline)
}

func FuzzBody(f *testing.F) {
	for _, r := range testRecords() {
		body, err := appendBody(nil, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(r.Kind), body)
	}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		var d decoder
		r, err := d.decode(Kind(kind), body)
		if err != nil {
			return
		}
		again, err := appendBody(nil, r)
		if err != nil || !bytes.Equal(again, body) {
			t.Fatalf("%x decodes to what encodes to %x (%v)", body, again, err)
		}
	})
}

// testRecords has every kind with every field set; the golden file has them.
func testRecords() []*Record {
	id := func(b byte) (u types.UUID) {
		for i := range u {
			u[i] = b
		}
		return u
	}
	return []*Record{
		{Kind: KindDDL, DDL: &DDL{Version: 7, Delta: []byte("a new catalog version")}},
		{Kind: KindCommit, Commit: &Commit{Tables: []TableChanges{
			{Table: id(1), Chunks: [][]byte{[]byte("first chunk"), []byte("second chunk")}},
			{Table: id(2), Chunks: [][]byte{{}}},
		}}},
		{Kind: KindCut, Cut: &Cut{
			Epoch: types.EpochInfo{ID: 300, Now: -123456789, Catalog: 7},
			Positions: []SourcePositions{
				{Source: id(3), Splits: []types.SplitPosition{{Split: "0", Pos: types.Position("abc")}, {Split: "1"}}},
				{Source: id(4), Splits: []types.SplitPosition{{Split: "", Pos: types.Position{}}}},
			},
		}},
		{Kind: KindTimeline, Timeline: &Timeline{Number: 2, Epoch: 301, Savepoint: id(5)}},
	}
}
