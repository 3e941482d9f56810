package pebble

import (
	"bytes"
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// FuzzKey: keys survive, and order as (table, group, key, sub) do.
func FuzzKey(f *testing.F) {
	f.Add(uint16(1), uint16(2), []byte("a\x00\x01"), []byte("s\x00\x01"), []byte("a"), []byte("\x01"))
	f.Fuzz(func(t *testing.T, table, group uint16, key, sub, key2, sub2 []byte) {
		enc := func(k, s []byte) []byte { return append(appendPrefix(nil, int(table), group, k), s...) }
		a, b := enc(key, sub), enc(key2, sub2)
		gt, gg, gk, gs, ok := splitKey(a, nil)
		if !ok || gt != int(table) || gg != group || !bytes.Equal(gk, key) || !bytes.Equal(gs, sub) {
			t.Fatalf("%x gives %v %d %d %x %x", a, ok, gt, gg, gk, gs)
		}
		want := bytes.Compare(key, key2)
		if want == 0 {
			want = bytes.Compare(sub, sub2)
		}
		if bytes.Compare(a, b) != want {
			t.Fatalf("%x against %x", a, b)
		}
	})
}

// FuzzDescription: no handle makes restoring crash.
func FuzzDescription(f *testing.F) {
	d := description{
		files:  []treeFile{{name: "000004.sst", file: 1}, {name: "OPTIONS-000003", content: []byte("x")}},
		counts: []state.Count{{Keys: 1, Entries: 2}}, lists: []byte("lists"),
	}
	f.Add(appendDescription(nil, &d))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := state.Handle{
			Backend: "pebble", Format: descVersion, NumGroups: 16, Groups: types.GroupRange{Hi: 16},
			Tables: make([]state.TableSpec, 1), Files: make([]state.File, 1), Inline: b,
		}
		h.Tables[0].Kind = state.KindList
		if it, err := New().Read(context.Background(), vfs.NewMem(), "root", h, h.Groups); err == nil {
			it.Next(&state.Entry{})
			it.Close()
		}
	})
}
