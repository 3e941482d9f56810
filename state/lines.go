package state

import (
	"encoding/binary"

	"github.com/streamdb/streamdb/types"
)

// Lines maps a key to a row of fixed width and an optional blob. Rows are
// changed in place. Slices that it gives are valid until the next Mutable,
// Resolve or EndEpoch, rows of MutableRows until the next Resolve.
type Lines struct{ table }

func newLines(t table) *Lines {
	l := &Lines{t}
	l.init(t.spec.Width)
	l.load = l.loaded
	return l
}

// Resolve gives the slots of k's keys (len(slots) ≥ k.Len()); equal keys get
// equal slots. Under Create an absent key gets a zeroed line, which counts as
// touched.
func (l *Lines) Resolve(k *types.KeyBatch, m Mode, slots []Slot) error {
	return l.resolve(k, m, slots)
}

// Line gives a row, read only.
func (l *Lines) Line(s Slot) []byte { return l.heads.read(uint32(s))[l.rowOff:][:l.width:l.width] }

// Mutable gives a row for changing it. Its first call in an epoch keeps the
// row and the blob as they were, for TouchedAt.
func (l *Lines) Mutable(s Slot) []byte { return l.touch(s)[l.rowOff:][:l.width:l.width] }

// MutableRows sets rows[i] to the Mutable row of slots[i].
func (l *Lines) MutableRows(slots []Slot, rows [][]byte) {
	rows = rows[:len(slots)]
	h, off, end := &l.heads, l.rowOff, l.rowOff+uint32(l.width)
	tick, live, mask := l.clk.tick, l.clk.live, uint32(1)<<h.shift-1
	for i, s := range slots {
		pg := &h.tab[uint32(s)>>h.shift]
		if pg.gen <= live {
			h.unshare(pg)
		}
		o := (uint32(s) & mask) * h.stride
		line := pg.data[o : o+h.stride]
		if binary.LittleEndian.Uint32(line) != tick {
			l.firstTouch(s, line)
		}
		rows[i] = line[off:end:end]
	}
}

// Key gives a line's key.
func (l *Lines) Key(s Slot) []byte { return l.keyOf(l.heads.read(uint32(s))) }

// Blob gives a line's variable part, nil if it has none.
func (l *Lines) Blob(s Slot) []byte { return l.blob(l.heads.read(uint32(s))) }

func (l *Lines) blob(line []byte) []byte {
	if r := ref(binary.LittleEndian.Uint32(line[lineBlob:])); r != 0 {
		return l.slab.get(r)
	}
	return nil
}

// SetBlob replaces the variable part by a copy of b, which must not be the
// blob of a line itself; empty takes it away. The line must have been made
// Mutable in this epoch.
func (l *Lines) SetBlob(s Slot, b []byte) {
	line := l.heads.edit(uint32(s))
	r := ref(binary.LittleEndian.Uint32(line[lineBlob:]))
	if r != 0 && len(b) > 0 && line[lineFlags]&flagFresh != 0 && l.slab.fits(r, len(b)) {
		l.slab.set(r, b)
		return
	}
	l.looseBlob(line)
	if len(b) > 0 {
		binary.LittleEndian.PutUint32(line[lineBlob:], uint32(l.slab.put(b, nil)))
		line[lineFlags] |= flagFresh
	}
}

// Delete takes a key away. Its slot stays readable until EndEpoch.
func (l *Lines) Delete(s Slot) {
	if line := l.touch(s); line[lineFlags]&flagLive != 0 {
		l.kill(s, line)
	}
}

// Touched counts the lines that were created, made Mutable or deleted in this
// epoch.
func (l *Lines) Touched() int { return l.touched.n }

// TouchedAt gives touched line i, and whether it existed when the epoch began
// and what it held; old and oldBlob are nil if it did not.
func (l *Lines) TouchedAt(i int) (s Slot, old []byte, oldBlob []byte, existed bool) {
	r := l.touched.at(i)
	s = Slot(binary.LittleEndian.Uint32(r))
	if r[touchedFlags]&flagLive == 0 {
		return s, nil, nil, false
	}
	if b := ref(binary.LittleEndian.Uint32(r[touchedBlob:])); b != 0 {
		oldBlob = l.slab.get(b)
	}
	return s, r[touchedRow : touchedRow+l.width : touchedRow+l.width], oldBlob, true
}

// Live reports whether a line has a value: it is false after Delete.
func (l *Lines) Live(s Slot) bool { return l.heads.read(uint32(s))[lineFlags]&flagLive != 0 }

// Len counts the keys.
func (l *Lines) Len() int { return int(l.count) }

// Scan visits all lines, in no order. Fn must not change the table; what it
// is given is valid until it returns.
func (l *Lines) Scan(fn func(key, line, blob []byte) error) error {
	for c := uint32(1); c < l.heads.next; c++ {
		line := l.heads.read(c)
		if line[lineFlags]&flagLive == 0 {
			continue
		}
		if err := fn(l.keyOf(line), line[l.rowOff:int(l.rowOff)+l.width], l.blob(line)); err != nil {
			return err
		}
	}
	if l.complete {
		return nil
	}
	it, err := l.store.Scan(l.number, l.owned, nil)
	if err != nil {
		return err
	}
	return drain(it, func(e *Entry) error {
		if l.find(types.HashKey(e.Key), e.Key) != 0 {
			return nil
		}
		if len(e.Value) < l.width {
			return badEntry(l.spec, e)
		}
		return fn(e.Key, e.Value[:l.width], e.Value[l.width:])
	})
}

// loaded enters an entry from the tier or a handle.
func (l *Lines) loaded(e *Entry) error {
	if len(e.Value) < l.width {
		return badEntry(l.spec, e)
	}
	_, line := l.enter(types.HashKey(e.Key), e.Key)
	line[lineFlags] = flagLive
	copy(line[l.rowOff:], e.Value[:l.width])
	if b := e.Value[l.width:]; len(b) > 0 {
		binary.LittleEndian.PutUint32(line[lineBlob:], uint32(l.slab.put(b, nil)))
	}
	return nil
}
