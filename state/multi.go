package state

import (
	"encoding/binary"
	"slices"

	"github.com/streamdb/streamdb/types"
)

// multi is what Bag and Sorted have in common: entries with multiplicities
// that hang on the lines of a table. An entry is
//
//	0  multiplicity<<16 | tag<<8 | flags, i64
//	8  ref   u32 of its sub-key: the image, or order key and image
//	12 line  u32 of its key
//	16 next, or left child  u32
//	20 prev, or right child u32
//	24 priority u32, 32 order prefix u64 (Sorted only)
//
// A line's row is the first entry (or the root) and the number of entries.
type multi struct {
	table
	ents     cells
	gone     []tomb // entries removed since the last freeze that the tier knows
	settled  []tomb // taken by a freeze; their refs wait to be released
	rows     int64  // entries, also those not resident
	negative int64  // resident entries with a multiplicity below zero
	slots    []Slot
}

// tomb is a removed entry: its line and its sub-key's ref.
type tomb struct {
	line uint32
	sub  ref
}

const (
	entRef   = 8
	entLine  = 12
	entNext  = 16
	entPrev  = 20
	entPrio  = 24
	entOrder = 32

	rowFirst  = 0
	rowCount  = 4
	multiRow  = 8
	countBits = 16
)

func (b *multi) initMulti(stride int) {
	b.init(multiRow)
	b.ents = newCells(b.clk, stride, !b.store.Resident())
}

func u32(b []byte) uint32       { return binary.LittleEndian.Uint32(b) }
func setU32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

// countOf gives an entry's multiplicity.
func countOf(e []byte) int64 { return int64(binary.LittleEndian.Uint64(e)) >> countBits }

// group gives the row of a key's line for changing what hangs on it.
func (b *multi) group(c Slot) []byte {
	line := b.heads.edit(uint32(c))
	b.dirtied(uint32(c), line)
	if line[lineFlags]&flagDead != 0 { // emptied earlier in this batch
		line[lineFlags] = line[lineFlags]&^flagDead | flagLive
		b.count++
	}
	return line
}

// entry makes an entry of line c that belongs nowhere yet.
func (b *multi) entry(c uint32, sub ref, tag byte, d int64) (uint32, []byte) {
	e, cell := b.ents.alloc()
	flags := uint64(flagLive | flagNew)
	binary.LittleEndian.PutUint64(cell, uint64(d)<<countBits|uint64(tag)<<8|flags)
	setU32(cell[entRef:], uint32(sub))
	setU32(cell[entLine:], c)
	if b.ents.track {
		b.ents.mark(e)
	}
	b.rows++
	if d < 0 {
		b.negative++
	}
	return e, cell
}

// bump adds d to an entry's multiplicity and gives the new one; at 0 the
// caller removes the entry.
func (b *multi) bump(e uint32, d int64) int64 {
	cell := b.ents.edit(e)
	old := countOf(cell)
	v := binary.LittleEndian.Uint64(cell) + uint64(d)<<countBits
	if b.ents.track && !b.ents.isDirty(e) {
		v &^= flagNew
		b.ents.mark(e)
	}
	binary.LittleEndian.PutUint64(cell, v)
	switch {
	case old < 0 && old+d >= 0:
		b.negative--
	case old >= 0 && old+d < 0:
		b.negative++
	}
	return old + d
}

// bury gives up an entry that its group no longer names and whose
// multiplicity is 0 (bump has marked it, so flagNew is right).
func (b *multi) bury(e uint32) {
	cell := b.ents.edit(e)
	sub := ref(u32(cell[entRef:]))
	if b.ents.track && cell[0]&flagNew == 0 {
		b.gone = append(b.gone, tomb{u32(cell[entLine:]), sub})
	} else {
		b.slab.release(sub)
	}
	b.discard(e, cell)
	b.rows--
}

// discard takes an entry's cell back.
func (b *multi) discard(e uint32, cell []byte) {
	clear(cell)
	b.ents.release(e)
}

// unload gives up a clean entry that is being evicted.
func (b *multi) unload(e uint32) {
	cell := b.ents.edit(e)
	if countOf(cell) < 0 {
		b.negative--
	}
	b.slab.release(ref(u32(cell[entRef:])))
	b.discard(e, cell)
}

// Negative counts the entries whose multiplicity is below zero. At an epoch's
// end it is 0, or input was retracted that had never come.
func (b *multi) Negative() int64 { return b.negative }

// Len counts distinct entries of all keys.
func (b *multi) Len() int64 { return b.rows }

// Keys counts the keys that have entries.
func (b *multi) Keys() int64 { return b.count }

func (b *multi) endEpoch(applied bool) {
	b.table.endEpoch(applied)
	n := min(len(b.settled), 1<<16) // bounded work an epoch
	for _, t := range b.settled[len(b.settled)-n:] {
		b.slab.release(t.sub)
	}
	k := len(b.settled) - n
	b.settled = b.settled[:k:k] // a snapshot may share the rest
}

func (b *multi) used() int64 { return b.table.used() + b.ents.used() }

// resolveOwn is resolve into the table's own slots.
func (b *multi) resolveOwn(k *types.KeyBatch, m Mode) ([]Slot, error) {
	b.slots = slices.Grow(b.slots[:0], k.Len())[:k.Len()]
	return b.slots, b.resolve(k, m, b.slots)
}

// loadedCount gives a loaded entry's line, made if need be, and multiplicity.
func (b *multi) loadedCount(e *Entry) (uint32, int64, error) {
	d, n := binary.Varint(e.Value)
	if n != len(e.Value) || d == 0 {
		return 0, 0, badEntry(b.spec, e)
	}
	hash := types.HashKey(e.Key)
	c := uint32(0)
	if b.heads.stride != 0 {
		c = b.find(hash, e.Key)
	}
	if c == 0 {
		var line []byte
		c, line = b.enter(hash, e.Key)
		line[lineFlags] = flagLive
	}
	return c, d, nil
}

// loadedEntry makes the entry of a loaded one: clean, known to the tier.
func (b *multi) loadedEntry(c uint32, sub ref, tag byte, d int64) (uint32, []byte) {
	e, cell := b.ents.alloc()
	binary.LittleEndian.PutUint64(cell, uint64(d)<<countBits|uint64(tag)<<8|flagLive)
	setU32(cell[entRef:], uint32(sub))
	setU32(cell[entLine:], c)
	if d < 0 {
		b.negative++
	}
	return e, cell
}
