package state

import (
	"encoding/binary"
	"math/bits"
)

// ref names a byte string in a slab: the page's number and the cell's place
// in units of 16 bytes. 0 is none.
type ref uint32

const (
	slabUnit    = 16
	slabBits    = 10 // log2(pageBytes/slabUnit)
	slabLargest = 4096
	slabClasses = 16 + 4*4 // 16…256 by 16, then four steps a doubling up to 4096
)

// slab keeps byte strings of any length, each behind its uvarint length in a
// cell of its size class; what exceeds the largest class has a page alone.
// Pages belong to one class.
type slab struct {
	pages
	classes [slabClasses]slabClass
	class   []uint8 // by page; slabClasses: a string alone
	spare   []uint32
	live    int64 // bytes of cells in use
}

type slabClass struct {
	free []ref
	page uint32 // being filled
	next uint32 // first unused byte of it
	end  uint32 // its length
}

func newSlab(clk *clock) *slab {
	s := &slab{pages: pages{clk: clk}}
	s.tab = append(s.tab, page{}) // ref 0 is none
	s.class = append(s.class, 0)
	return s
}

// classOf gives the class for n bytes (n ≤ slabLargest).
func classOf(n int) int {
	if n <= 256 {
		return (n+15)>>4 - 1
	}
	e := bits.Len(uint(n-1)) - 9 // 0 for 257…512
	step := 64 << e              // a quarter of the doubling
	return 16 + 4*e + (n-(256<<e)+step-1)/step - 1
}

// classBytes is the size of the cells of class c.
func classBytes(c int) int {
	if c < 16 {
		return (c + 1) << 4
	}
	e := (c - 16) >> 2
	return 256<<e + ((c-16)&3+1)*(64<<e)
}

func uvarintLen(n int) int { return (bits.Len(uint(n)|1) + 6) / 7 }

// put stores a copy of a and b, concatenated.
func (s *slab) put(a, b []byte) ref {
	n := len(a) + len(b)
	r, cell := s.alloc(n + uvarintLen(n))
	h := binary.PutUvarint(cell, uint64(n))
	copy(cell[h:], a)
	copy(cell[h+len(a):], b)
	return r
}

// get gives the string at r, read only.
func (s *slab) get(r ref) []byte {
	d := s.tab[r>>slabBits].data[(r&(1<<slabBits-1))*slabUnit:]
	if d[0] < 0x80 {
		return d[1 : 1+d[0] : 1+d[0]]
	}
	n, h := binary.Uvarint(d)
	return d[h : h+int(n) : h+int(n)]
}

// approach reads the strings' cells, so that their cache misses overlap. The
// result only keeps the reads from being optimised away.
func (s *slab) approach(rs []ref) (acc byte) {
	for _, r := range rs {
		acc |= s.tab[r>>slabBits].data[(r&(1<<slabBits-1))*slabUnit]
	}
	return acc
}

// fits reports whether n bytes would lie in a cell of the size that r has.
func (s *slab) fits(r ref, n int) bool {
	c := s.class[r>>slabBits]
	n += uvarintLen(n)
	return c != slabClasses && n <= slabLargest && classOf(n) == int(c)
}

// set overwrites the string at r, where b fits.
func (s *slab) set(r ref, b []byte) {
	d := s.write(uint32(r >> slabBits))[(r&(1<<slabBits-1))*slabUnit:]
	h := binary.PutUvarint(d, uint64(len(b)))
	copy(d[h:], b)
}

func (s *slab) alloc(n int) (ref, []byte) {
	if n > slabLargest {
		return s.allocAlone(n)
	}
	c := classOf(n)
	k, size := &s.classes[c], uint32(classBytes(c))
	s.live += int64(size)
	if f := len(k.free); f > 0 {
		r := k.free[f-1]
		k.free = k.free[:f-1]
		off := uint32(r&(1<<slabBits-1)) * slabUnit
		return r, s.write(uint32(r >> slabBits))[off : off+size]
	}
	if k.next+size > k.end {
		s.extend(k, c, size)
	}
	off := k.next
	k.next += size
	return ref(k.page<<slabBits | off/slabUnit), s.write(k.page)[off : off+size]
}

// extend makes room for a cell: the first page of a class grows from small.
func (s *slab) extend(k *slabClass, c int, size uint32) {
	switch {
	case k.page == 0:
		k.end = min(pageBytes, 4*size)
	case k.end < pageBytes:
		k.end = min(pageBytes, 2*k.end)
		if k.next+size <= k.end {
			s.grow(k.page, int(k.end))
			return
		}
		fallthrough
	default:
		k.end = pageBytes
	}
	k.page, k.next = s.newPage(int(k.end), uint8(c)), 0
}

func (s *slab) newPage(n int, class uint8) uint32 {
	if f := len(s.spare); f > 0 {
		p := s.spare[f-1]
		s.spare = s.spare[:f-1]
		s.tab[p] = page{data: make([]byte, n), gen: s.clk.gen}
		s.bytes += int64(n)
		s.class[p] = class
		return p
	}
	s.class = append(s.class, class)
	return s.add(n)
}

func (s *slab) allocAlone(n int) (ref, []byte) {
	p := s.newPage((n+1023)&^1023, slabClasses)
	s.live += int64(len(s.tab[p].data))
	return ref(p << slabBits), s.tab[p].data
}

// release takes the cell of r back.
func (s *slab) release(r ref) {
	p := uint32(r >> slabBits)
	c := s.class[p]
	if c == slabClasses {
		s.live -= int64(len(s.tab[p].data))
		s.drop(p)
		s.spare = append(s.spare, p)
		return
	}
	s.live -= int64(classBytes(int(c)))
	s.classes[c].free = append(s.classes[c].free, r)
}

// freeze gives a reader's view.
func (s *slab) freeze() *slab {
	if s == nil {
		return nil
	}
	return &slab{pages: pages{tab: append(make([]page, 0, len(s.tab)), s.tab...)}}
}
