package state

import (
	"bytes"
	"encoding/binary"

	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/types"
)

// Sorted maps a key to entries (order key, image) with multiplicity, in
// order. The entries of a key are a treap whose priorities are hashes of the
// entries: depth stays logarithmic whatever order they come in, for one huge
// key and for many small ones, and the shape depends on the content alone.
// Each node carries the start of its order key, which settles most comparisons.
type Sorted struct {
	multi
	stack []uint32
	enc   []byte
	one   types.KeyBatch
}

func newSorted(t table) *Sorted {
	o := &Sorted{multi: multi{table: t}}
	o.initMulti(40)
	o.load, o.forget = o.loaded, o.unloadGroup
	return o
}

// orderPrefix packs the start of an order key such that order of prefixes is
// order of keys, as far as they differ: two bits for the marker byte of the
// encoding (0…2), the rest for what follows it.
func orderPrefix(ord []byte) uint64 {
	if len(ord) == 0 {
		return 0
	}
	if ord[0] > 2 {
		return 3 << 62
	}
	var b [8]byte
	copy(b[:], ord[1:])
	return uint64(ord[0])<<62 | binary.BigEndian.Uint64(b[:])>>2
}

// splitSub gives the order key and the image of a sub-key.
func splitSub(sub []byte) (ord, image []byte) {
	n, h := binary.Uvarint(sub)
	return sub[h : h+int(n)], sub[h+int(n):]
}

// Add changes the multiplicity of entry i (order key, image) under key i by
// diff[i] (nil: +1), as Bag.Add does.
func (o *Sorted) Add(k, ord *types.KeyBatch, images *types.ByteBatch, diff []int32) error {
	slots, err := o.resolveOwn(k, Create)
	if err != nil {
		return err
	}
	for i, s := range slots {
		d := int64(1)
		if diff != nil {
			d = int64(diff[i])
		}
		if d != 0 {
			o.add(s, ord.Key(i), images.Bytes(i), d)
		}
	}
	return nil
}

// place is where a link to a node is kept: in a node's child field, or in the
// row of line (node 0).
type place struct {
	node  uint32
	field uint32
}

func (o *Sorted) follow(row []byte, p place) uint32 {
	if p.node == 0 {
		return u32(row[rowFirst:])
	}
	return u32(o.ents.read(p.node)[p.field:])
}

func (o *Sorted) setLink(row []byte, p place, to uint32) {
	if p.node == 0 {
		setU32(row[rowFirst:], to)
		return
	}
	setU32(o.ents.edit(p.node)[p.field:], to)
}

// compare orders (prefix, ord, image) against a node.
func (o *Sorted) compare(prefix uint64, ord, image, node []byte) int {
	if p := binary.LittleEndian.Uint64(node[entOrder:]); prefix != p {
		if prefix < p {
			return -1
		}
		return 1
	}
	nord, nimage := splitSub(o.slab.get(ref(u32(node[entRef:]))))
	if c := bytes.Compare(ord, nord); c != 0 {
		return c
	}
	return bytes.Compare(image, nimage)
}

func child(c int) uint32 {
	if c < 0 {
		return entNext
	}
	return entPrev
}

func (o *Sorted) add(s Slot, ord, image []byte, d int64) {
	line := o.group(s)
	row := line[o.rowOff:]
	prefix := orderPrefix(ord)
	p := place{}
	for {
		e := o.follow(row, p)
		if e == 0 {
			break
		}
		c := o.compare(prefix, ord, image, o.ents.read(e))
		if c == 0 {
			if o.bump(e, d) == 0 {
				o.remove(row, p, e)
				if u32(row[rowCount:]) == 0 {
					o.kill(s, line)
				}
			}
			return
		}
		p = place{e, child(c)}
	}
	o.enc = append(binary.AppendUvarint(o.enc[:0], uint64(len(ord))), ord...)
	e, cell := o.entry(uint32(s), o.slab.put(o.enc, image), 0, d)
	o.insert(row, e, cell, prefix, ord, image)
}

func priority(ord, image []byte) uint32 { return uint32(xxh3.HashSeed(ord, xxh3.Hash(image))) }

// insert puts a new node where its priority belongs, splitting the subtree
// that was there.
func (o *Sorted) insert(row []byte, e uint32, cell []byte, prefix uint64, ord, image []byte) {
	prio := priority(ord, image)
	binary.LittleEndian.PutUint64(cell[entOrder:], prefix)
	setU32(cell[entPrio:], prio)
	setU32(row[rowCount:], u32(row[rowCount:])+1)
	p := place{}
	x := o.follow(row, p)
	for x != 0 && u32(o.ents.read(x)[entPrio:]) >= prio {
		p = place{x, child(o.compare(prefix, ord, image, o.ents.read(x)))}
		x = o.follow(row, p)
	}
	o.setLink(row, p, e)
	less, more := place{e, entNext}, place{e, entPrev}
	for x != 0 {
		if o.compare(prefix, ord, image, o.ents.read(x)) > 0 {
			o.setLink(row, less, x)
			less = place{x, entPrev}
			x = o.follow(row, less)
		} else {
			o.setLink(row, more, x)
			more = place{x, entNext}
			x = o.follow(row, more)
		}
	}
	o.setLink(row, less, 0)
	o.setLink(row, more, 0)
}

// remove takes node e, linked from p, out: its subtrees are merged.
func (o *Sorted) remove(row []byte, p place, e uint32) {
	l, r := u32(o.ents.read(e)[entNext:]), u32(o.ents.read(e)[entPrev:])
	for l != 0 && r != 0 {
		if u32(o.ents.read(l)[entPrio:]) >= u32(o.ents.read(r)[entPrio:]) {
			o.setLink(row, p, l)
			p = place{l, entPrev}
			l = o.follow(row, p)
		} else {
			o.setLink(row, p, r)
			p = place{r, entNext}
			r = o.follow(row, p)
		}
	}
	o.setLink(row, p, l|r)
	setU32(row[rowCount:], u32(row[rowCount:])-1)
	o.bury(e)
}

// First appends to out, for each key, the image of its least entry (desc:
// greatest) by order key, then image, among those with a positive
// multiplicity; found[i] is false and the image empty if key i has none.
func (o *Sorted) First(k *types.KeyBatch, desc bool, out *types.ByteBatch, found []bool) error {
	slots, err := o.resolveOwn(k, Find)
	if err != nil {
		return err
	}
	near, far := uint32(entNext), uint32(entPrev)
	if desc {
		near, far = far, near
	}
	for i, s := range slots {
		found[i] = false
		if s != NoSlot {
			o.stack = o.stack[:0]
			o.descend(u32(o.heads.read(uint32(s))[o.rowOff:]), near)
		}
		for s != NoSlot && len(o.stack) > 0 {
			n := o.step(near, far)
			if countOf(n) > 0 {
				_, image := splitSub(o.slab.get(ref(u32(n[entRef:]))))
				out.Add(image)
				found[i] = true
				break
			}
		}
		if !found[i] {
			out.Add(nil)
		}
	}
	return nil
}

// descend puts e and its chain of near children on the stack.
func (o *Sorted) descend(e, near uint32) {
	for ; e != 0; e = u32(o.ents.read(e)[near:]) {
		o.stack = append(o.stack, e)
	}
}

// step gives the next node in order.
func (o *Sorted) step(near, far uint32) []byte {
	n := o.ents.read(o.stack[len(o.stack)-1])
	o.stack = o.stack[:len(o.stack)-1]
	o.descend(u32(n[far:]), near)
	return n
}

// Seek appends to m up to n entries of a key with positive multiplicities, in
// order, from the first whose order key is not less than from. Their m.Key is
// 0.
func (o *Sorted) Seek(key, from []byte, n int, m *Matches) error {
	o.one.Reset()
	o.one.Add(key)
	slots, err := o.resolveOwn(&o.one, Find)
	if err != nil || slots[0] == NoSlot {
		return err
	}
	prefix := orderPrefix(from)
	o.stack = o.stack[:0]
	for e := u32(o.heads.read(uint32(slots[0]))[o.rowOff:]); e != 0; {
		node := o.ents.read(e)
		if o.compare(prefix, from, nil, node) <= 0 {
			o.stack = append(o.stack, e)
			e = u32(node[entNext:])
		} else {
			e = u32(node[entPrev:])
		}
	}
	for n > 0 && len(o.stack) > 0 {
		node := o.step(entNext, entPrev)
		if c := countOf(node); c > 0 {
			_, image := splitSub(o.slab.get(ref(u32(node[entRef:]))))
			m.Key = append(m.Key, 0)
			m.Image.Add(image)
			m.Count = append(m.Count, c)
			n--
		}
	}
	return nil
}

// loaded enters an entry from the tier or a handle.
func (o *Sorted) loaded(e *Entry) error {
	n, h := binary.Uvarint(e.Sub)
	if h <= 0 || n > uint64(len(e.Sub)-h) {
		return badEntry(o.spec, e)
	}
	c, d, err := o.loadedCount(e)
	if err != nil {
		return err
	}
	ord, image := splitSub(e.Sub)
	i, cell := o.loadedEntry(c, o.slab.put(e.Sub, nil), 0, d)
	o.insert(o.heads.edit(c)[o.rowOff:], i, cell, orderPrefix(ord), ord, image)
	return nil
}

// unloadGroup gives up the entries of a line that is being evicted.
func (o *Sorted) unloadGroup(c uint32) {
	o.stack = o.stack[:0]
	if e := u32(o.heads.read(c)[o.rowOff:]); e != 0 {
		o.stack = append(o.stack, e)
	}
	for len(o.stack) > 0 {
		e := o.stack[len(o.stack)-1]
		o.stack = o.stack[:len(o.stack)-1]
		n := o.ents.read(e)
		for _, x := range [2]uint32{u32(n[entNext:]), u32(n[entPrev:])} {
			if x != 0 {
				o.stack = append(o.stack, x)
			}
		}
		o.unload(e)
	}
}
