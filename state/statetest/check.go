package statetest

import (
	"sort"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// check compares everything that the states hold with the model. It runs at
// any moment, also within an epoch.
func (x *run) check() {
	x.checkLines()
	x.checkBag()
	x.checkSorted()
}

func (x *run) checkLines() {
	n, seen := 0, map[string]bool{}
	for _, s := range x.subs {
		n += s.Lines(tabLines).Len()
		x.must(s.Lines(tabLines).Scan(func(key, row, blob []byte) error {
			if w, ok := x.now.lines[string(key)]; !ok || seen[string(key)] || w.row != string(row) || w.blob != string(blob) {
				x.t.Fatalf("epoch %d: scan gives key %q (known %v, again %v) with %x, should be %x", x.epoch, key, ok, seen[string(key)], row, w.row)
			}
			seen[string(key)] = true
			return nil
		}))
	}
	if n != len(x.now.lines) || len(seen) != n {
		x.t.Fatalf("epoch %d: Len is %d, scan gives %d lines, should be %d", x.epoch, n, len(seen), len(x.now.lines))
	}
}

func (x *run) checkBag() {
	rows, negative := int64(0), int64(0)
	got := map[string]map[string]int64{}
	for _, s := range x.subs {
		rows += s.Bag(tabBag).Len()
		for g := 0; g < numGroups; g++ {
			var c state.Cursor
			var page state.Rows
			for more := true; more; {
				var err error
				page.Reset()
				max := 1 + x.r.IntN(50)
				more, err = s.Bag(tabBag).ScanGroup(g, &c, max, &page)
				x.must(err)
				if len(page.Count) > max {
					x.t.Fatal("page too large")
				}
				for i, n := range page.Count {
					bump(got, string(page.Key.Bytes(i)), string(page.Image.Bytes(i)), n)
				}
			}
		}
	}
	want := int64(0)
	for k, g := range x.now.bag {
		want += int64(len(g))
		for im, n := range g {
			if n < 0 {
				negative++
			}
			if got[k][im] != n {
				x.t.Fatalf("epoch %d: bag %q %q has %d, should be %d", x.epoch, k, im, got[k][im], n)
			}
		}
		if len(got[k]) != len(g) {
			x.t.Fatalf("epoch %d: bag %q has %d rows, should be %d", x.epoch, k, len(got[k]), len(g))
		}
	}
	if rows != want || len(got) != len(x.now.bag) {
		x.t.Fatalf("epoch %d: bag Len is %d in %d groups, should be %d in %d", x.epoch, rows, len(got), want, len(x.now.bag))
	}
	x.matchAll()
	have := int64(0)
	for _, s := range x.subs {
		have += s.Bag(tabBag).Negative()
	}
	if have != negative {
		x.t.Fatalf("epoch %d: %d negative rows, should be %d", x.epoch, have, negative)
	}
}

// matchAll looks all keys up, in small pages.
func (x *run) matchAll() {
	for i, k := range x.allKeys() {
		m := state.Matches{Max: 1 + x.r.IntN(20)}
		got := map[string]map[string]int64{}
		for more := true; more; more = m.More {
			x.must(x.subs[i].Bag(tabBag).Match(&k, &m))
			for j, n := range m.Count {
				bump(got, string(k.Key(int(m.Key[j]))), string(m.Image.Bytes(j)), n)
			}
		}
		for j := 0; j < k.Len(); j++ {
			key := string(k.Key(j))
			for im, n := range x.now.bag[key] {
				if got[key][im] != n {
					x.t.Fatalf("epoch %d: match %q %q gives %d, should be %d", x.epoch, key, im, got[key][im], n)
				}
			}
			if len(got[key]) != len(x.now.bag[key]) {
				x.t.Fatalf("epoch %d: match %q gives %d rows", x.epoch, key, len(got[key]))
			}
		}
	}
}

func (x *run) allKeys() []types.KeyBatch {
	out := make([]types.KeyBatch, len(x.subs))
	for _, k := range x.keys {
		out[x.owner(k)].Add(k)
	}
	return out
}

func (x *run) checkSorted() {
	rows, want := int64(0), int64(0)
	for _, g := range x.now.sorted {
		want += int64(len(g))
	}
	for i, k := range x.allKeys() {
		o := x.subs[i].Sorted(tabSorted)
		rows += o.Len()
		for _, desc := range []bool{false, true} {
			var out types.ByteBatch
			found := make([]bool, k.Len())
			x.must(o.First(&k, desc, &out, found))
			for j := range found {
				im, ok := first(x.now.sorted[string(k.Key(j))], desc)
				if ok != found[j] || im != string(out.Bytes(j)) {
					x.t.Fatalf("epoch %d: first of %q is %v %q, should be %v %q", x.epoch, k.Key(j), found[j], out.Bytes(j), ok, im)
				}
			}
		}
		for j := 0; j < k.Len(); j++ {
			x.checkSeek(o, k.Key(j))
		}
	}
	if rows != want {
		x.t.Fatalf("epoch %d: sorted Len is %d, should be %d", x.epoch, rows, want)
	}
}

func (x *run) checkSeek(o *state.Sorted, key []byte) {
	g := x.now.sorted[string(key)]
	var es []entry
	for e, n := range g {
		if n > 0 {
			es = append(es, e)
		}
	}
	sortEntries(es)
	from, n := types.AppendKeyDatum(nil, types.NewInt8(x.r.Int64N(1000))), x.r.IntN(10)
	at := sort.Search(len(es), func(i int) bool { return es[i].ord >= string(from) })
	es = es[at:min(len(es), at+n)]
	var m state.Matches
	x.must(o.Seek(key, from, n, &m))
	if len(m.Key) != len(es) {
		x.t.Fatalf("epoch %d: seek gives %d entries, should be %d", x.epoch, len(m.Key), len(es))
	}
	for i, e := range es {
		if string(m.Image.Bytes(i)) != e.image || m.Count[i] != g[e] {
			x.t.Fatalf("epoch %d: seek gives %q, should be %q", x.epoch, m.Image.Bytes(i), e.image)
		}
	}
}
