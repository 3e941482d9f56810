package state

// index finds cells by hash: an extendible hash table. Its directory is
// indexed by the hash's top bits, so keys of one key group (also top bits)
// lie together; each segment is a small open-addressing table that splits
// alone when it is full, so no insertion waits for a rehash of everything.
type index struct {
	dir   []segment // 1<<depth, neighbours may share one segment
	depth uint
	meta  []segmentMeta
	n     int
	slots int // of all segments
}

// segment's slots hold fragment<<32 | cell, 0 for an empty slot, with linear
// probing from the fragment's low bits.
type segment struct {
	slots []uint64
	id    uint32 // in meta
}

type segmentMeta struct {
	used  int32
	depth uint8 // top bits that all its fragments share
}

const (
	segmentMin = 16
	segmentMax = 4096 // 32 KB: splitting takes some 20 µs
)

// fragment is the part of a hash that the index keeps.
func fragment(hash uint64) uint32 { return uint32(hash >> 32) }

func newIndex() index {
	return index{dir: []segment{{slots: make([]uint64, segmentMin)}}, meta: []segmentMeta{{}}, slots: segmentMin}
}

func (x *index) seg(f uint32) *segment { return &x.dir[f>>(32-x.depth)] }

// insert enters a cell that is not there.
func (x *index) insert(f uint32, cell uint32) {
	sg := x.seg(f)
	for int(x.meta[sg.id].used+1)*4 > len(sg.slots)*3 {
		x.extend(f)
		sg = x.seg(f)
	}
	x.meta[sg.id].used++
	x.n++
	insertSlot(sg.slots, uint64(f)<<32|uint64(cell))
}

func insertSlot(slots []uint64, e uint64) {
	m := uint32(len(slots) - 1)
	i := uint32(e>>32) & m
	for slots[i] != 0 {
		i = (i + 1) & m
	}
	slots[i] = e
}

// extend doubles the segment of f, or splits it if it has its full size.
func (x *index) extend(f uint32) {
	sg := *x.seg(f)
	if len(sg.slots) < segmentMax || x.meta[sg.id].depth >= 24 {
		bigger := make([]uint64, 2*len(sg.slots))
		x.slots += len(sg.slots)
		for _, e := range sg.slots {
			if e != 0 {
				insertSlot(bigger, e)
			}
		}
		x.assign(f, x.meta[sg.id].depth, segment{bigger, sg.id})
		return
	}
	d := x.meta[sg.id].depth
	if uint(d) == x.depth {
		dir := make([]segment, 2*len(x.dir))
		for i, s := range x.dir {
			dir[2*i], dir[2*i+1] = s, s
		}
		x.dir, x.depth = dir, x.depth+1
	}
	x.meta = append(x.meta, segmentMeta{depth: d + 1})
	x.slots += segmentMax
	lo := segment{make([]uint64, segmentMax), sg.id}
	hi := segment{make([]uint64, segmentMax), uint32(len(x.meta) - 1)}
	x.meta[lo.id] = segmentMeta{depth: d + 1}
	bit := uint32(1) << (31 - d)
	for _, e := range sg.slots {
		if e == 0 {
			continue
		}
		s := lo
		if uint32(e>>32)&bit != 0 {
			s = hi
		}
		insertSlot(s.slots, e)
		x.meta[s.id].used++
	}
	x.assign(f&^bit, d+1, lo)
	x.assign(f|bit, d+1, hi)
}

// assign puts s at all directory entries that share d top bits with f.
func (x *index) assign(f uint32, d uint8, s segment) {
	span := 1 << (x.depth - uint(d))
	first := int(f>>(32-x.depth)) &^ (span - 1)
	for i := first; i < first+span; i++ {
		x.dir[i] = s
	}
}

// remove takes out a cell, closing the gap in its probe sequence.
func (x *index) remove(f uint32, cell uint32) {
	sg := x.seg(f)
	slots, m := sg.slots, uint32(len(sg.slots)-1)
	i := f & m
	for slots[i] != uint64(f)<<32|uint64(cell) {
		if slots[i] == 0 {
			return
		}
		i = (i + 1) & m
	}
	for j := i; ; {
		j = (j + 1) & m
		e := slots[j]
		if e == 0 {
			break
		}
		if home := uint32(e>>32) & m; (j-home)&m >= (j-i)&m {
			slots[i], i = e, j
		}
	}
	slots[i] = 0
	x.meta[sg.id].used--
	x.n--
}

func (x *index) used() int64 { return int64(x.n) * 16 }
