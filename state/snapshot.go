package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/streamdb/streamdb/types"
)

// snapshot is the content of a State as of a freeze: page tables, not pages.
// The owner copies a page before its next write, so readers need no lock.
type snapshot struct {
	gen      uint32
	groups   int
	own      types.GroupRange
	tables   []frozen
	released atomic.Bool
}

// frozen is one table of a snapshot.
type frozen struct {
	spec   TableSpec
	items  [][]byte // KindList
	heads  cells
	slab   *slab
	ents   cells // KindBag, KindSorted
	tombs  []tomb
	rowOff uint32
	count  Count
}

func (s *snapshot) Dirty(sorted bool) Entries { return &walk{s: s, dirty: true, sorted: sorted, t: -1} }
func (s *snapshot) All(sorted bool) Entries   { return &walk{s: s, lists: true, sorted: sorted, t: -1} }
func (s *snapshot) Lists() Entries            { return &walk{s: s, lists: true, only: true, t: -1} }
func (s *snapshot) Release()                  { s.released.Store(true) }

func (s *snapshot) Counts() []Count {
	out := make([]Count, len(s.tables))
	for i := range s.tables {
		out[i] = s.tables[i].count
	}
	return out
}

func (f *frozen) keyOf(line []byte) []byte {
	n := line[lineKeyLen]
	if n == longKey {
		return f.slab.get(ref(u32(line[lineKey:])))
	}
	return line[lineKey : lineKey+n]
}

// walkWindow bounds the keys sorted at once: larger tables are walked in
// several passes, each taking some key groups.
const walkWindow = 2 << 20

// walk iterates a snapshot: table by table, window by window, key by key.
type walk struct {
	s                  *snapshot
	dirty, lists, only bool
	sorted             bool
	t                  int
	windows            []types.GroupRange // still to come in table t
	heads              []headRef
	at                 int
	changes            []change // dirty entries of multi tables, by line
	subs               []subRef
	sub                int
	item               int
	key                []byte
	group              uint16
	value              []byte
	index              [8]byte
	stack              []uint32
}

// headRef is a line with the start of its sort key: group and 14 bytes.
type headRef struct {
	a, b uint64
	cell uint32
}

// change is a changed entry, or the ref of a removed one's sub-key.
type change struct {
	line uint32
	ent  uint32
	gone ref
}

type subRef struct {
	sub   []byte
	count int64 // 0: gone
}

func (w *walk) Close() error {
	w.t = len(w.s.tables)
	w.heads, w.subs, w.changes, w.windows = nil, nil, nil, nil
	w.item = 0
	return nil
}

func (w *walk) Next(e *Entry) error {
	for {
		switch {
		case w.sub < len(w.subs):
			w.emitSub(e)
			return nil
		case w.at < len(w.heads):
			if w.nextHead(e) {
				return nil
			}
		case w.t >= 0 && w.t < len(w.s.tables) && w.lists && w.item < len(w.s.tables[w.t].items):
			w.emitItem(e)
			return nil
		case len(w.windows) > 0:
			w.fill()
		case w.t+1 < len(w.s.tables):
			w.t++
			w.begin()
		default:
			return io.EOF
		}
	}
}

func (w *walk) emitItem(e *Entry) {
	binary.BigEndian.PutUint64(w.index[:], uint64(w.item))
	*e = Entry{Table: w.t, Group: uint16(w.s.own.Lo), Key: w.index[:], Value: w.s.tables[w.t].items[w.item]}
	if e.Value == nil {
		e.Value = []byte{}
	}
	w.item++
}

func (w *walk) emitSub(e *Entry) {
	x := w.subs[w.sub]
	w.sub++
	*e = Entry{Table: w.t, Group: w.group, Key: w.key, Sub: x.sub}
	if x.count != 0 {
		w.value = binary.AppendVarint(w.value[:0], x.count)
		e.Value = w.value
	}
}

// begin plans the walk of table t.
func (w *walk) begin() {
	f := &w.s.tables[w.t]
	w.item, w.heads, w.at = 0, w.heads[:0], 0
	if f.spec.Kind == KindList || w.only {
		return
	}
	w.changes = w.changes[:0]
	if w.dirty && f.spec.Kind != KindLines {
		w.gatherChanges(f)
	}
	if f.heads.next <= walkWindow {
		w.windows = append(w.windows, types.GroupRange{Lo: 0, Hi: w.s.groups})
		return
	}
	sizes := make([]int, w.s.groups)
	w.lines(f, func(_ uint32, line []byte) { sizes[types.KeyGroup(types.HashKey(f.keyOf(line)), w.s.groups)]++ })
	for lo, n, g := 0, 0, 0; g < len(sizes); g++ {
		n += sizes[g]
		if g+1 == len(sizes) || n+sizes[g+1] > walkWindow {
			w.windows = append(w.windows, types.GroupRange{Lo: lo, Hi: g + 1})
			lo, n = g+1, 0
		}
	}
}

// lines visits the lines that the walk wants.
func (w *walk) lines(f *frozen, fn func(c uint32, line []byte)) {
	want := byte(flagLive)
	if w.dirty {
		want |= flagDead
		eachBit(f.heads.dirty, func(c uint32) {
			if line := f.heads.read(c); line[lineFlags]&want != 0 {
				fn(c, line)
			}
		})
		return
	}
	for c := uint32(1); c < f.heads.next; c++ {
		if line := f.heads.read(c); line[lineFlags]&want != 0 {
			fn(c, line)
		}
	}
}

func eachBit(set []uint64, fn func(c uint32)) {
	for i, x := range set {
		for ; x != 0; x &= x - 1 {
			fn(uint32(i<<6 + bits.TrailingZeros64(x)))
		}
	}
}

// fill gathers and sorts the lines of the next window.
func (w *walk) fill() {
	f, r := &w.s.tables[w.t], w.windows[0]
	w.windows = w.windows[1:]
	w.heads, w.at = w.heads[:0], 0
	w.lines(f, func(c uint32, line []byte) {
		key := f.keyOf(line)
		g := types.KeyGroup(types.HashKey(key), w.s.groups)
		if g < r.Lo || g >= r.Hi {
			return
		}
		var p [16]byte
		binary.BigEndian.PutUint16(p[:], uint16(g))
		copy(p[2:], key)
		w.heads = append(w.heads, headRef{binary.BigEndian.Uint64(p[:]), binary.BigEndian.Uint64(p[8:]), c})
	})
	if !w.sorted {
		return
	}
	slices.SortFunc(w.heads, func(x, y headRef) int {
		if x.a != y.a {
			return cmp.Compare(x.a, y.a)
		}
		if x.b != y.b {
			return cmp.Compare(x.b, y.b)
		}
		return bytes.Compare(f.keyOf(f.heads.read(x.cell)), f.keyOf(f.heads.read(y.cell)))
	})
}

// nextHead steps to the next line; true: it is an entry by itself.
func (w *walk) nextHead(e *Entry) bool {
	f, h := &w.s.tables[w.t], w.heads[w.at]
	w.at++
	line := f.heads.read(h.cell)
	w.key, w.group = f.keyOf(line), uint16(h.a>>48)
	if f.spec.Kind != KindLines {
		w.gatherSubs(f, h.cell, line)
		return false
	}
	*e = Entry{Table: w.t, Group: w.group, Key: w.key}
	if line[lineFlags]&flagLive == 0 {
		return true
	}
	e.Value = line[f.rowOff : int(f.rowOff)+f.spec.Width]
	if b := ref(u32(line[lineBlob:])); b != 0 {
		w.value = append(append(w.value[:0], e.Value...), f.slab.get(b)...)
		e.Value = w.value
	}
	if e.Value == nil {
		e.Value = []byte{}
	}
	return true
}

func (w *walk) gatherChanges(f *frozen) {
	eachBit(f.ents.dirty, func(c uint32) {
		if e := f.ents.read(c); e[0]&flagLive != 0 {
			w.changes = append(w.changes, change{line: u32(e[entLine:]), ent: c})
		}
	})
	for _, t := range f.tombs {
		w.changes = append(w.changes, change{line: t.line, gone: t.sub})
	}
	slices.SortFunc(w.changes, func(x, y change) int { return cmp.Compare(x.line, y.line) })
}

// gatherSubs collects the entries of a line, sorted by sub-key.
func (w *walk) gatherSubs(f *frozen, c uint32, line []byte) {
	w.subs, w.sub = w.subs[:0], 0
	take := func(e uint32) []byte {
		n := f.ents.read(e)
		w.subs = append(w.subs, subRef{f.slab.get(ref(u32(n[entRef:]))), countOf(n)})
		return n
	}
	switch first := u32(line[f.rowOff:]); {
	case w.dirty:
		i, _ := slices.BinarySearchFunc(w.changes, c, func(x change, c uint32) int { return cmp.Compare(x.line, c) })
		for ; i < len(w.changes) && w.changes[i].line == c; i++ {
			if x := w.changes[i]; x.ent != 0 {
				take(x.ent)
			} else {
				w.subs = append(w.subs, subRef{f.slab.get(x.gone), 0})
			}
		}
	case f.spec.Kind == KindBag:
		for e := first; e != 0; {
			e = u32(take(e)[entNext:])
		}
	default:
		w.stack = w.stack[:0]
		for e := first; e != 0 || len(w.stack) > 0; {
			if e == 0 {
				e = w.stack[len(w.stack)-1]
				w.stack = w.stack[:len(w.stack)-1]
			}
			n := take(e)
			if r := u32(n[entPrev:]); r != 0 {
				w.stack = append(w.stack, r)
			}
			e = u32(n[entNext:])
		}
	}
	// Live before gone: an entry removed and added again is live.
	slices.SortFunc(w.subs, func(x, y subRef) int {
		if c := bytes.Compare(x.sub, y.sub); c != 0 {
			return c
		}
		return cmp.Compare(isGone(x), isGone(y))
	})
	w.subs = slices.CompactFunc(w.subs, func(x, y subRef) bool { return bytes.Equal(x.sub, y.sub) })
}

func isGone(x subRef) int {
	if x.count == 0 {
		return 1
	}
	return 0
}
