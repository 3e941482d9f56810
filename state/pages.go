package state

import "math/bits"

// pageBytes is the size of a full page. Small pages keep the copy after a
// freeze short (a few µs), large ones the page table small.
const pageBytes = 16 << 10

// clock is what all pages of a State share. Freeze ends a generation: pages
// written in it or before then belong to the snapshot too, and are copied
// before the owner writes them again as long as a snapshot is live.
type clock struct {
	gen  uint32 // generation being written
	live uint32 // newest generation that a live snapshot can see, 0: none
	tick uint32 // epoch counter; stamps of touched lines
}

// page is a piece of memory without pointers. Its generation tells who may
// see it: with gen ≤ clock.live a snapshot shares data.
type page struct {
	data []byte
	gen  uint32
}

// pages is a table of pages, written by one goroutine.
type pages struct {
	tab   []page
	clk   *clock
	bytes int64 // of all pages
}

// write gives page i for writing, copied first if a snapshot shares it.
func (p *pages) write(i uint32) []byte {
	pg := &p.tab[i]
	if pg.gen <= p.clk.live {
		p.unshare(pg)
	}
	return pg.data
}

func (p *pages) unshare(pg *page) {
	pg.data = append(make([]byte, 0, len(pg.data)), pg.data...)
	pg.gen = p.clk.gen
}

// add appends a page of n zero bytes and gives its number.
func (p *pages) add(n int) uint32 {
	p.tab = append(p.tab, page{data: make([]byte, n), gen: p.clk.gen})
	p.bytes += int64(n)
	return uint32(len(p.tab) - 1)
}

// grow makes page i n bytes long, keeping its content.
func (p *pages) grow(i uint32, n int) {
	pg := &p.tab[i]
	d := make([]byte, n)
	copy(d, pg.data)
	p.bytes += int64(n - len(pg.data))
	pg.data, pg.gen = d, p.clk.gen
}

// drop gives up the memory of page i.
func (p *pages) drop(i uint32) {
	p.bytes -= int64(len(p.tab[i].data))
	p.tab[i].data = nil
}

// cells are fixed-size records in pages, named by number. Cell 0 is never
// given out, so that 0 can mean none.
type cells struct {
	pages
	stride uint32
	shift  uint   // log2 of the cells of a page
	next   uint32 // cells ever used
	free   []uint32
	dirty  []uint64 // set of cells changed since the last freeze, if tracked
	track  bool
}

func newCells(clk *clock, stride int, track bool) cells {
	per := max(pageBytes/stride, 1)
	return cells{pages: pages{clk: clk}, stride: uint32(stride), shift: uint(bits.Len(uint(per)) - 1), next: 1, track: track}
}

// read gives cell c, not to be written.
func (a *cells) read(c uint32) []byte {
	off := (c & (1<<a.shift - 1)) * a.stride
	return a.tab[c>>a.shift].data[off : off+a.stride : off+a.stride]
}

// edit gives cell c for writing.
func (a *cells) edit(c uint32) []byte {
	off := (c & (1<<a.shift - 1)) * a.stride
	return a.write(c >> a.shift)[off : off+a.stride : off+a.stride]
}

// alloc gives a zeroed cell.
func (a *cells) alloc() (uint32, []byte) {
	if n := len(a.free); n > 0 {
		c := a.free[n-1]
		a.free = a.free[:n-1]
		b := a.edit(c)
		clear(b)
		return c, b
	}
	c := a.next
	a.next++
	i, per := c>>a.shift, uint32(1)<<a.shift
	switch {
	case int(i) == len(a.tab):
		n := per
		if i == 0 { // small tables stay small
			n = min(per, 8)
		}
		a.add(int(n * a.stride))
	case i == 0 && int(c*a.stride) == len(a.tab[0].data):
		a.grow(0, int(min(per, 2*c)*a.stride))
	}
	if a.track && int(c>>6) >= len(a.dirty) {
		a.dirty = append(a.dirty, make([]uint64, max(1, len(a.dirty)/4))...)
	}
	return c, a.edit(c)
}

// release takes cell c back. The caller has marked it as no longer in use.
func (a *cells) release(c uint32) { a.free = append(a.free, c) }

// mark enters c among the dirty cells and tells whether it was there before.
func (a *cells) mark(c uint32) bool {
	w, bit := &a.dirty[c>>6], uint64(1)<<(c&63)
	was := *w&bit != 0
	*w |= bit
	return was
}

// isDirty reports whether c changed since the last freeze.
func (a *cells) isDirty(c uint32) bool {
	return a.track && a.dirty[c>>6]&(1<<(c&63)) != 0
}

// used is the bytes of cells in use.
func (a *cells) used() int64 { return int64(a.next-1-uint32(len(a.free))) * int64(a.stride) }

// freeze gives a reader's view of the cells and starts a new dirty set.
func (a *cells) freeze() cells {
	v := *a
	v.clk, v.free = nil, nil
	v.tab = append(make([]page, 0, len(a.tab)), a.tab...)
	if a.track {
		a.dirty = make([]uint64, len(a.dirty))
	}
	return v
}
