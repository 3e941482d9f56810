package state

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/streamdb/streamdb/types"
)

// Slot names a line from a Resolve until the next one of the same table, or
// EndEpoch.
type Slot uint32

// NoSlot is the slot of an absent key.
const NoSlot Slot = 0

// Mode says what Resolve does with absent keys.
type Mode uint8

// The modes.
const (
	Find   Mode = iota // absent keys get NoSlot
	Create             // absent keys get a zeroed line, which counts as touched
)

// A line: header, key, row. The header is
//
//	0 stamp   u32  tick of the epoch that touched the line last
//	4 flags   u8
//	5 keyLen  u8   of a key inside the line; longKey: bytes 12…16 are its ref
//	8 blob    u32  ref, 0: none
//	12 key
//
// The place for the key is 12 or 20 bytes, chosen by the table's first key.
const (
	lineFlags  = 4
	lineKeyLen = 5
	lineBlob   = 8
	lineKey    = 12
	longKey    = 255
)

// Flags of a line, an entry or a node.
const (
	flagLive    = 1 << iota // the key has a value
	flagDead                // known to have none: deleted, or a miss remembered
	flagNew                 // the tier has never seen it
	flagFresh               // blob allocated in this epoch, so no pre-image shares it
	flagIndexed             // Bag: the group's rows are in the row index
)

// table is what Lines, Bag and Sorted have in common: the index and the lines
// of their keys, the epoch's touched lines, and the traffic with the store.
type table struct {
	number int // in Spec.Tables
	spec   TableSpec
	clk    *clock
	store  Store
	groups int // key groups of the job
	owned  types.GroupRange
	width  int // of a row
	idx    index
	heads  cells
	rowOff uint32
	slab   *slab

	touched log    // this epoch's lines with their pre-images
	loose   []ref  // blobs replaced in this epoch: pre-images still show them
	dying   []Slot // deleted in this epoch
	tombs   []Slot // deleted since the last freeze, and the tier must hear of it
	reap    []Slot // dead lines that a freeze has taken
	count   int64  // live keys, also those not resident

	// complete: no key lies only in the tier, so a miss needs no load.
	complete bool
	seen     []uint64 // lines used since the last eviction pass, if evictable
	hand     uint32
	miss     misses

	loads, evictions int64 // for Stats

	load   func(*Entry) error // enters one loaded entry
	forget func(c uint32)     // gives up what hangs on a line being evicted
}

// log is the epoch's touched lines: slot, flags, blob and row as they were,
// in fixed-size records.
type log struct {
	pages  [][]byte
	stride int
	shift  uint
	n      int
}

const (
	touchedFlags = 4
	touchedBlob  = 8
	touchedRow   = 12
)

func (g *log) add() []byte {
	i := g.n >> g.shift
	if i == len(g.pages) {
		g.pages = append(g.pages, make([]byte, g.stride<<g.shift))
	}
	r := g.at(g.n)
	g.n++
	return r
}

func (g *log) at(i int) []byte {
	off := (i & (1<<g.shift - 1)) * g.stride
	return g.pages[i>>g.shift][off : off+g.stride]
}

// reset empties the log, and lets go of memory that a large epoch took.
func (g *log) reset() {
	if keep := 2 * (g.n>>g.shift + 1); len(g.pages) > keep {
		clear(g.pages[keep:])
		g.pages = g.pages[:keep]
	}
	g.n = 0
}

func (t *table) init(width int) {
	t.width = width
	t.idx = newIndex()
	t.touched.stride = touchedRow + width
	for t.touched.shift = 4; t.touched.stride<<(t.touched.shift+1) <= pageBytes; t.touched.shift++ {
	}
	t.slab = newSlab(t.clk)
}

// layout fixes the place for keys by the first key's length.
func (t *table) layout(keyLen int) {
	t.rowOff = 24
	if keyLen > 12 {
		t.rowOff = 32
	}
	t.heads = newCells(t.clk, (int(t.rowOff)+t.width+7)&^7, !t.store.Resident())
}

func (t *table) keyOf(line []byte) []byte {
	n := line[lineKeyLen]
	if n == longKey {
		return t.slab.get(ref(binary.LittleEndian.Uint32(line[lineKey:])))
	}
	return line[lineKey : lineKey+n : lineKey+n]
}

func (t *table) hasKey(line, key []byte) bool {
	n := len(key)
	if int(line[lineKeyLen]) == n {
		in := line[lineKey:]
		if n >= 8 && n <= 16 {
			return binary.LittleEndian.Uint64(in) == binary.LittleEndian.Uint64(key) &&
				binary.LittleEndian.Uint64(in[n-8:]) == binary.LittleEndian.Uint64(key[n-8:])
		}
		if n != longKey {
			return bytes.Equal(in[:n], key)
		}
	}
	return line[lineKeyLen] == longKey && bytes.Equal(t.keyOf(line), key)
}

// find gives the cell of a key's line, 0 if it is not resident.
func (t *table) find(hash uint64, key []byte) uint32 {
	f := fragment(hash)
	slots := t.idx.seg(f).slots
	m := uint32(len(slots) - 1)
	for i := f & m; ; i = (i + 1) & m {
		e := slots[i]
		if e == 0 {
			return 0
		}
		if uint32(e>>32) == f && t.hasKey(t.heads.read(uint32(e)), key) {
			return uint32(e)
		}
	}
}

// resolve gives the cells of a batch of keys, loading what is not resident.
// In the first pass all index slots are fetched at once, in the second all
// lines, so that cache misses overlap.
func (t *table) resolve(k *types.KeyBatch, m Mode, out []Slot) error {
	n := k.Len()
	out = out[:n]
	if t.heads.stride == 0 {
		if n == 0 {
			return nil
		}
		t.layout(len(k.Key(0)))
	}
	for i, h := range k.Hash[:n] {
		f := fragment(h)
		slots := t.idx.seg(f).slots
		e := slots[f&uint32(len(slots)-1)]
		if uint32(e>>32) != f {
			e = 0
		}
		out[i] = Slot(e)
	}
	var acc byte
	for _, c := range out {
		if c != 0 {
			off := (uint32(c) & (1<<t.heads.shift - 1)) * t.heads.stride
			acc |= t.heads.tab[uint32(c)>>t.heads.shift].data[off]
		}
	}
	t.miss.touch = acc
	missing := false
	for i, c := range out {
		key := k.Key(i)
		if c == 0 || !t.hasKey(t.heads.read(uint32(c)), key) {
			c = Slot(t.find(k.Hash[i], key))
			out[i] = c
		}
		if c == 0 {
			if t.complete && m == Create {
				out[i] = t.create(k.Hash[i], key)
			} else {
				missing = true
			}
			continue
		}
		if t.seen != nil {
			t.seen[c>>6] |= 1 << (c & 63)
		}
		if t.heads.read(uint32(c))[lineFlags]&flagLive == 0 {
			out[i] = t.absent(c, m)
		}
	}
	if missing && !t.complete {
		return t.fetch(k, m, out)
	}
	return nil
}

// absent gives the answer for a line that is known to have no value.
func (t *table) absent(c Slot, m Mode) Slot {
	if m == Find {
		return NoSlot
	}
	line := t.touch(c)
	t.looseBlob(line)
	clear(line[t.rowOff:])
	line[lineFlags] = line[lineFlags]&^flagDead | flagLive
	t.count++
	return c
}

// create makes a touched, zeroed line for a key that has none.
func (t *table) create(hash uint64, key []byte) Slot {
	c, line := t.enter(hash, key)
	line[lineFlags] = flagLive | flagNew
	binary.LittleEndian.PutUint32(line, t.clk.tick)
	r := t.touched.add()
	binary.LittleEndian.PutUint32(r, c)
	r[touchedFlags] = 0
	binary.LittleEndian.PutUint32(r[touchedBlob:], 0)
	if t.heads.track {
		t.heads.mark(c)
	}
	t.count++
	return Slot(c)
}

// enter makes a line for a key, neither live nor dead nor dirty.
func (t *table) enter(hash uint64, key []byte) (uint32, []byte) {
	if t.heads.stride == 0 {
		t.layout(len(key))
	}
	c, line := t.heads.alloc()
	if len(key) <= int(t.rowOff)-lineKey {
		line[lineKeyLen] = byte(len(key))
		copy(line[lineKey:], key)
	} else {
		line[lineKeyLen] = longKey
		binary.LittleEndian.PutUint32(line[lineKey:], uint32(t.slab.put(key, nil)))
	}
	t.idx.insert(fragment(hash), c)
	if t.heads.track {
		for len(t.seen) < len(t.heads.dirty) {
			t.seen = append(t.seen, 0)
		}
		t.seen[c>>6] |= 1 << (c & 63)
	}
	return c, line
}

// touch gives a line for writing; the first time in an epoch its pre-image is
// kept.
func (t *table) touch(c Slot) []byte {
	line := t.heads.edit(uint32(c))
	if binary.LittleEndian.Uint32(line) != t.clk.tick {
		t.firstTouch(c, line)
	}
	return line
}

func (t *table) firstTouch(c Slot, line []byte) {
	binary.LittleEndian.PutUint32(line, t.clk.tick)
	line[lineFlags] &^= flagFresh
	r := t.touched.add()
	binary.LittleEndian.PutUint32(r, uint32(c))
	r[touchedFlags] = line[lineFlags]
	copy(r[touchedBlob:], line[lineBlob:lineBlob+4])
	copy(r[touchedRow:], line[t.rowOff:])
	if t.heads.track && !t.heads.mark(uint32(c)) {
		line[lineFlags] &^= flagNew
	}
}

// dirtied notes that what hangs on line c changed, for tables whose lines
// have no pre-images (Bag, Sorted).
func (t *table) dirtied(c uint32, line []byte) {
	if t.heads.track && !t.heads.mark(c) {
		line[lineFlags] &^= flagNew
	}
}

// looseBlob takes the blob off a touched line.
func (t *table) looseBlob(line []byte) {
	r := ref(binary.LittleEndian.Uint32(line[lineBlob:]))
	if r == 0 {
		return
	}
	if line[lineFlags]&flagFresh != 0 {
		t.slab.release(r)
	} else {
		t.loose = append(t.loose, r)
	}
	binary.LittleEndian.PutUint32(line[lineBlob:], 0)
}

// kill makes a line dead; it goes at the epoch's end, or once the tier knows.
func (t *table) kill(c Slot, line []byte) {
	line[lineFlags] = line[lineFlags]&^flagLive | flagDead
	t.dying = append(t.dying, c)
	t.count--
}

// drop takes a line out of memory.
func (t *table) drop(c uint32) {
	line := t.heads.edit(c)
	key := t.keyOf(line)
	t.idx.remove(fragment(types.HashKey(key)), c)
	if line[lineKeyLen] == longKey {
		t.slab.release(ref(binary.LittleEndian.Uint32(line[lineKey:])))
	}
	if r := ref(binary.LittleEndian.Uint32(line[lineBlob:])); r != 0 {
		t.slab.release(r)
	}
	clear(line[:lineKey])
	t.heads.release(c)
}

// endEpoch forgets the epoch's pre-images and takes away what died. applied
// tells that the tier has all that was frozen.
func (t *table) endEpoch(applied bool) {
	t.touched.reset()
	for _, r := range t.loose {
		t.slab.release(r)
	}
	t.loose = t.loose[:0]
	for _, c := range t.dying {
		f := t.heads.read(uint32(c))[lineFlags]
		switch {
		case f&flagDead == 0: // revived, or gone already
		case !t.heads.track || f&flagNew != 0:
			t.drop(uint32(c))
		default:
			t.tombs = append(t.tombs, c)
		}
	}
	t.dying = t.dying[:0]
	if !applied {
		return
	}
	n := min(len(t.reap), 1<<16) // bounded work an epoch
	for _, c := range t.reap[len(t.reap)-n:] {
		if t.heads.read(uint32(c))[lineFlags]&flagDead != 0 && !t.heads.isDirty(uint32(c)) && t.complete {
			t.drop(uint32(c))
		}
	}
	t.reap = t.reap[:len(t.reap)-n]
}

// misses are the keys of a batch that are not resident.
type misses struct {
	at    []int32 // their places in the batch, sorted by (group, key)
	keys  SortedKeys
	touch byte // keeps the prefetching loop from being optimised away
}

// fetch loads the keys of a batch that are not resident, and gives their
// lines. What the tier does not have becomes a dead line, so that the next
// look-up needs no load.
func (t *table) fetch(k *types.KeyBatch, m Mode, out []Slot) error {
	ms := &t.miss
	ms.at = ms.at[:0]
	for i, c := range out {
		if c == NoSlot && t.find(k.Hash[i], k.Key(i)) == 0 {
			ms.at = append(ms.at, int32(i))
		}
	}
	slices.SortFunc(ms.at, func(a, b int32) int {
		if c := types.KeyGroup(k.Hash[a], t.groups) - types.KeyGroup(k.Hash[b], t.groups); c != 0 {
			return c
		}
		return bytes.Compare(k.Key(int(a)), k.Key(int(b)))
	})
	ms.at = slices.CompactFunc(ms.at, func(a, b int32) bool { return bytes.Equal(k.Key(int(a)), k.Key(int(b))) })
	ms.keys.Groups, ms.keys.Keys = ms.keys.Groups[:0], ms.keys.Keys[:0]
	for _, i := range ms.at {
		ms.keys.Groups = append(ms.keys.Groups, uint16(types.KeyGroup(k.Hash[i], t.groups)))
		ms.keys.Keys = append(ms.keys.Keys, k.Key(int(i)))
	}
	if err := t.loadKeys(); err != nil {
		return err
	}
	for _, i := range ms.at {
		if t.find(k.Hash[i], k.Key(int(i))) == 0 {
			_, line := t.enter(k.Hash[i], k.Key(int(i)))
			line[lineFlags] = flagDead
		}
	}
	for i, c := range out {
		if c != NoSlot {
			continue
		}
		c = Slot(t.find(k.Hash[i], k.Key(i)))
		if t.heads.read(uint32(c))[lineFlags]&flagLive == 0 {
			c = t.absent(c, m)
		}
		out[i] = c
	}
	return nil
}

func (t *table) loadKeys() error {
	if len(t.miss.at) == 0 {
		return nil
	}
	it, err := t.store.Load(t.number, &t.miss.keys)
	if err != nil {
		return err
	}
	return drain(it, func(e *Entry) error {
		t.loads++
		return t.load(e)
	})
}

// used is the memory that eviction can win back.
func (t *table) used() int64 { return t.heads.used() + t.slab.live + t.idx.used() }

// evict drops clean lines that were not used lately until about want bytes
// are won, going round once at most and giving used lines a second chance.
func (t *table) evict(want int64, used func() int64) {
	goal := used() - want
	for n := t.heads.next; n > 1 && used() > goal; n-- {
		t.hand++
		if t.hand >= t.heads.next {
			t.hand = 1
		}
		c := t.hand
		line := t.heads.read(c)
		if line[lineFlags]&(flagLive|flagDead) == 0 || t.heads.isDirty(c) {
			continue
		}
		if bit := uint64(1) << (c & 63); t.seen[c>>6]&bit != 0 {
			t.seen[c>>6] &^= bit
			continue
		}
		if line[lineFlags]&flagLive != 0 {
			t.complete = false
		}
		if t.forget != nil {
			t.forget(c)
		}
		t.drop(c)
		t.evictions++
	}
}
