package state

import (
	"bytes"

	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/types"
)

// Bag maps a key to a multiset of row images. The rows of a key are a chain;
// those of a large group are also in an index of rows, so that a retraction
// costs the same in every group.
type Bag struct {
	multi
	index index    // rows of groups above smallGroup, by key and image
	ahead []uint32 // scratch of approach
}

// smallGroup is the number of rows up to which a group is searched along its
// chain.
const smallGroup = 8

func newBag(t table) *Bag {
	b := &Bag{multi: multi{table: t}, index: newIndex()}
	b.initMulti(24)
	b.load, b.forget = b.loaded, b.unloadGroup
	return b
}

// rowHash is the hash of a row within the bag. Its low byte is the row's tag.
func rowHash(keyHash uint64, image []byte) uint64 { return xxh3.HashSeed(image, keyHash) }

// Add changes the multiplicity of row i under key i by diff[i] (nil: +1). At 0
// a row is gone. Below 0 it stays, so that a retraction may come before what
// it retracts.
func (b *Bag) Add(k *types.KeyBatch, rows *types.ByteBatch, diff []int32) error {
	slots, err := b.resolveOwn(k, Create)
	if err != nil {
		return err
	}
	b.approach(slots)
	for i, s := range slots {
		d := int64(1)
		if diff != nil {
			d = int64(diff[i])
		}
		if d != 0 {
			b.add(s, k.Hash[i], rows.Bytes(i), d)
		}
	}
	return nil
}

func (b *Bag) add(s Slot, keyHash uint64, image []byte, d int64) {
	line := b.group(s)
	row := line[b.rowOff:]
	h := rowHash(keyHash, image)
	e := b.lookup(line, h, image)
	if e == 0 {
		b.insert(s, line, keyHash, h, image, d)
		return
	}
	if b.bump(e, d) != 0 {
		return
	}
	b.unlink(row, e)
	if line[lineFlags]&flagIndexed != 0 {
		b.index.remove(fragment(h), e)
	}
	b.bury(e)
	if u32(row[rowCount:]) == 0 {
		line[lineFlags] &^= flagIndexed
		b.kill(s, line)
	}
}

// lookup gives the entry of a row in a group, or 0.
func (b *Bag) lookup(line []byte, h uint64, image []byte) uint32 {
	row := line[b.rowOff:]
	if line[lineFlags]&flagIndexed == 0 {
		for e := u32(row[rowFirst:]); e != 0; {
			cell := b.ents.read(e)
			if cell[1] == byte(h) && bytes.Equal(b.slab.get(ref(u32(cell[entRef:]))), image) {
				return e
			}
			e = u32(cell[entNext:])
		}
		return 0
	}
	f := fragment(h)
	slots := b.index.seg(f).slots
	m := uint32(len(slots) - 1)
	for i := f & m; slots[i] != 0; i = (i + 1) & m {
		if uint32(slots[i]>>32) != f {
			continue
		}
		e := uint32(slots[i])
		cell := b.ents.read(e)
		if cell[1] == byte(h) && bytes.Equal(b.keyOf(b.heads.read(u32(cell[entLine:]))), b.keyOf(line)) &&
			bytes.Equal(b.slab.get(ref(u32(cell[entRef:]))), image) {
			return e
		}
	}
	return 0
}

func (b *Bag) insert(s Slot, line []byte, keyHash, h uint64, image []byte, d int64) {
	e, cell := b.entry(uint32(s), b.slab.put(image, nil), byte(h), d)
	b.link(line, e, cell, keyHash, h)
}

// link puts an entry into its group.
func (b *Bag) link(line []byte, e uint32, cell []byte, keyHash, h uint64) {
	row := line[b.rowOff:]
	first := u32(row[rowFirst:])
	setU32(cell[entNext:], first)
	if first != 0 {
		setU32(b.ents.edit(first)[entPrev:], e)
	}
	setU32(row[rowFirst:], e)
	n := u32(row[rowCount:]) + 1
	setU32(row[rowCount:], n)
	switch {
	case line[lineFlags]&flagIndexed != 0:
		b.index.insert(fragment(h), e)
	case n > smallGroup:
		line[lineFlags] |= flagIndexed
		for ; e != 0; e = u32(b.ents.read(e)[entNext:]) {
			b.index.insert(fragment(rowHash(keyHash, b.image(e))), e)
		}
	}
}

func (b *Bag) image(e uint32) []byte { return b.slab.get(ref(u32(b.ents.read(e)[entRef:]))) }

func (b *Bag) used() int64 { return b.multi.used() + b.index.used() }

// unlink takes an entry out of its group's chain.
func (b *Bag) unlink(row []byte, e uint32) {
	cell := b.ents.read(e)
	next, prev := u32(cell[entNext:]), u32(cell[entPrev:])
	if prev != 0 {
		setU32(b.ents.edit(prev)[entNext:], next)
	} else {
		setU32(row[rowFirst:], next)
	}
	if next != 0 {
		setU32(b.ents.edit(next)[entPrev:], prev)
	}
	setU32(row[rowCount:], u32(row[rowCount:])-1)
}

// Match fills m with the next page of rows of k's keys, in the keys' order;
// m.More tells that there are more: call it again with the same arguments,
// the bag unchanged.
func (b *Bag) Match(k *types.KeyBatch, m *Matches) error {
	m.Reset()
	if !m.More {
		m.slots = growSlots(m.slots, k.Len())
		if err := b.resolve(k, Find, m.slots); err != nil {
			return err
		}
		b.approach(m.slots)
		m.at, m.next = 0, 0
	}
	m.More = false
	b.gather(k.Len(), m)
	// The images after the chains, and read before they are copied, so that
	// cache misses overlap.
	b.miss.touch = b.slab.approach(m.refs)
	for i, r := range m.refs {
		image := b.slab.get(r)
		m.Image.Add(image)
		if len(m.Image.Data) >= pageImageBytes && i+1 < len(m.refs) {
			m.at, m.next, m.More = int(m.Key[i+1]), m.ents[i+1], true
			m.Key, m.Count = m.Key[:i+1], m.Count[:i+1]
			break
		}
	}
	return nil
}

// gather walks the chains of n keys from where m stands until its page is
// full.
func (b *Bag) gather(n int, m *Matches) {
	limit := m.limit()
	m.refs, m.ents = m.refs[:0], m.ents[:0]
	for ; m.at < n; m.at++ {
		e := m.next
		if e == 0 {
			if m.slots[m.at] == NoSlot {
				continue
			}
			e = u32(b.heads.read(uint32(m.slots[m.at]))[b.rowOff+rowFirst:])
		}
		for e != 0 {
			if len(m.Key) >= limit {
				m.next, m.More = e, true
				return
			}
			cell := b.ents.read(e)
			m.Key = append(m.Key, int32(m.at))
			m.Count = append(m.Count, countOf(cell))
			m.refs, m.ents = append(m.refs, ref(u32(cell[entRef:]))), append(m.ents, e)
			e = u32(cell[entNext:])
		}
		m.next = 0
	}
}

// approach walks the chains of lines in step, up to smallGroup rows each, so
// that the cache misses of different chains overlap.
func (b *Bag) approach(slots []Slot) {
	b.ahead = b.ahead[:0]
	for _, s := range slots {
		if s != NoSlot {
			if e := u32(b.heads.read(uint32(s))[b.rowOff+rowFirst:]); e != 0 {
				b.ahead = append(b.ahead, e)
			}
		}
	}
	for round := 0; round < smallGroup && len(b.ahead) > 0; round++ {
		left := b.ahead[:0]
		for _, e := range b.ahead {
			if e = u32(b.ents.read(e)[entNext:]); e != 0 {
				left = append(left, e)
			}
		}
		b.ahead = left
	}
}

// loaded enters an entry from the tier or a handle.
func (b *Bag) loaded(e *Entry) error {
	c, d, err := b.loadedCount(e)
	if err != nil {
		return err
	}
	kh := types.HashKey(e.Key)
	h := rowHash(kh, e.Sub)
	i, cell := b.loadedEntry(c, b.slab.put(e.Sub, nil), byte(h), d)
	b.link(b.heads.edit(c), i, cell, kh, h)
	return nil
}

// unloadGroup gives up the entries of a line that is being evicted.
func (b *Bag) unloadGroup(c uint32) {
	line := b.heads.read(c)
	indexed := line[lineFlags]&flagIndexed != 0
	kh := uint64(0)
	if indexed {
		kh = types.HashKey(b.keyOf(line))
	}
	for e := u32(line[b.rowOff+rowFirst:]); e != 0; {
		next := u32(b.ents.read(e)[entNext:])
		if indexed {
			b.index.remove(fragment(rowHash(kh, b.image(e))), e)
		}
		b.unload(e)
		e = next
	}
}

// Cursor is a place in a scan of a key group; the zero value is its start.
// Close it when a scan is given up before its end.
type Cursor struct {
	dir, slot int    // in the index
	ent       uint32 // next entry of the group there
	cold      Entries
}

// Close ends the scan.
func (c *Cursor) Close() error {
	if c.cold == nil {
		return nil
	}
	err := c.cold.Close()
	c.cold = nil
	return err
}

// ScanGroup appends up to max rows of a key group to m, from a cursor on, in
// no order; more tells that it is to be called again. The bag must not change
// between the calls.
func (b *Bag) ScanGroup(group int, from *Cursor, max int, m *Rows) (more bool, err error) {
	room := max
	if from.cold == nil {
		if b.scanResident(group, from, &room, m) {
			return true, nil
		}
		if b.complete {
			return false, nil
		}
		if from.cold, err = b.store.Scan(b.number, types.GroupRange{Lo: group, Hi: group + 1}, nil); err != nil {
			return false, err
		}
	}
	for e := new(Entry); room > 0; {
		if done, err := next(from.cold, e); done || err != nil {
			if e := from.Close(); err == nil {
				err = e
			}
			return false, err
		}
		if b.heads.stride != 0 && b.find(types.HashKey(e.Key), e.Key) != 0 {
			continue
		}
		d, n := countValue(e.Value)
		if n != len(e.Value) {
			from.Close()
			return false, badEntry(b.spec, e)
		}
		m.add(e.Key, e.Sub, d)
		room--
	}
	return true, nil
}

// scanResident appends what is in memory; true: the page is full.
func (b *Bag) scanResident(group int, from *Cursor, room *int, m *Rows) bool {
	lo := uint64(group) << 32 / uint64(b.groups)
	hi := uint64(group+1) << 32 / uint64(b.groups)
	ix := &b.idx
	first, last := int(lo>>(32-ix.depth)), int((hi-1)>>(32-ix.depth))
	if from.dir < first {
		from.dir = first
	}
	for from.dir <= last {
		sg := &ix.dir[from.dir]
		for ; from.slot < len(sg.slots); from.slot++ {
			v := sg.slots[from.slot]
			if v == 0 || v>>32 < lo || v>>32 >= hi {
				continue
			}
			line := b.heads.read(uint32(v))
			e := from.ent
			if e == 0 {
				e = u32(line[b.rowOff+rowFirst:])
			}
			for e != 0 {
				if *room == 0 {
					from.ent = e
					return true
				}
				cell := b.ents.read(e)
				m.add(b.keyOf(line), b.slab.get(ref(u32(cell[entRef:]))), countOf(cell))
				*room--
				e = u32(cell[entNext:])
			}
			from.ent = 0
		}
		span := 1 << (ix.depth - uint(ix.meta[sg.id].depth))
		from.dir = from.dir&^(span-1) + span
		from.slot = 0
	}
	return false
}
