package engine

import (
	"bytes"
	"slices"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// maxWriteBytes bounds what one transaction may write.
const maxWriteBytes = 1 << 30

// writeBuffer is what a transaction has written and not yet committed: for
// each table the net change of each row's multiplicity, found by row key (the
// primary key, or all columns of a table without one). Savepoints are places
// in a log of the changes, kept only while there are any.
type writeBuffer struct {
	tables map[types.UUID]*tableWrites
	order  []*tableWrites
	bytes  int64
	limit  int64
	log    []logEntry
	logged bool
}

type logEntry struct {
	table *tableWrites
	write int32
	diff  int64
}

func newWriteBuffer(limit int64) *writeBuffer {
	return &writeBuffer{tables: map[types.UUID]*tableWrites{}, limit: limit}
}

// empty reports whether there is no net change.
func (b *writeBuffer) empty() bool {
	for _, t := range b.order {
		if t.live > 0 {
			return false
		}
	}
	return true
}

// table gives the share of a table, made if it is not there.
func (b *writeBuffer) table(o *catalog.Object) *tableWrites {
	t := b.tables[o.ID]
	if t == nil {
		t = newTableWrites(b, o)
		b.tables[o.ID] = t
		b.order = append(b.order, t)
	}
	return t
}

// of gives a table's share if anything of it was changed, else nil. The
// buffer may be nil.
func (b *writeBuffer) of(id types.UUID) *tableWrites {
	if b == nil {
		return nil
	}
	if t := b.tables[id]; t != nil && t.live > 0 {
		return t
	}
	return nil
}

// mark begins a savepoint.
func (b *writeBuffer) mark() int {
	b.logged = true
	return len(b.log)
}

// undo takes back what was written since the mark.
func (b *writeBuffer) undo(mark int) {
	for i := len(b.log) - 1; i >= mark; i-- {
		e := &b.log[i]
		e.table.change(e.write, -e.diff)
	}
	b.bytes -= int64(len(b.log)-mark) * logOverhead
	b.log = b.log[:mark]
}

// forgetLog ends the last savepoint.
func (b *writeBuffer) forgetLog() {
	b.bytes -= int64(len(b.log)) * logOverhead
	b.log, b.logged = nil, false
}

// Estimates of what an entry takes beside its bytes.
const (
	writeOverhead = 80
	logOverhead   = 24
)

func (b *writeBuffer) grow(n int64) error {
	b.bytes += n
	if b.bytes > b.limit {
		return pgerr.New(pgerr.OutOfMemory, "a transaction can change at most %d MB", b.limit>>20).
			WithHint("Commit in smaller pieces.")
	}
	return nil
}

// tableWrites is one table's share of a writeBuffer.
type tableWrites struct {
	buf    *writeBuffer
	id     types.UUID
	name   string
	types  []types.Type
	keyed  bool
	rowKey []int
	hash   []int32 // open addressing by key hash: number+1 of the key's first write
	keys   int     // distinct keys
	writes []write
	live   int // writes with a net change
	arena  arena
	keyBuf []byte
	imgBuf []byte
}

// write is the net change of one row image's multiplicity.
type write struct {
	key, image []byte
	hash       uint64
	diff       int64
	next       int32 // the next write of the key, -1: none
}

func newTableWrites(b *writeBuffer, o *catalog.Object) *tableWrites {
	t := &tableWrites{buf: b, id: o.ID, name: o.Name, types: o.TypeSchema().Types(), keyed: o.Key != nil, rowKey: o.Key}
	if !t.keyed {
		for i := range t.types {
			t.rowKey = append(t.rowKey, i)
		}
	}
	return t
}

// add changes the multiplicity of row r of c by diff.
func (t *tableWrites) add(c *types.Chunk, r int, diff int64) error {
	t.keyBuf = t.keyBuf[:0]
	for _, k := range t.rowKey {
		t.keyBuf = types.AppendKey(t.keyBuf, &c.Cols[k], r)
	}
	t.imgBuf = types.AppendImage(t.imgBuf[:0], c, r, nil)
	i, err := t.intern(t.keyBuf, t.imgBuf)
	if err != nil {
		return err
	}
	if t.buf.logged {
		t.buf.log = append(t.buf.log, logEntry{t, i, diff})
		if err := t.buf.grow(logOverhead); err != nil {
			return err
		}
	}
	t.change(i, diff)
	return nil
}

func (t *tableWrites) change(i int32, diff int64) {
	w := &t.writes[i]
	if w.diff != 0 {
		t.live--
	}
	if w.diff += diff; w.diff != 0 {
		t.live++
	}
}

// intern gives the write of a row, made if it is not there.
func (t *tableWrites) intern(key, image []byte) (int32, error) {
	if 2*(t.keys+1) > len(t.hash) {
		t.rehash()
	}
	h := types.HashKey(key)
	slot := t.slot(h, key)
	first := t.hash[slot] - 1
	for i := first; i >= 0; i = t.writes[i].next {
		if bytes.Equal(t.writes[i].image, image) {
			return i, nil
		}
	}
	n := int32(len(t.writes))
	w := write{hash: h, next: -1, image: t.arena.add(image)}
	if first < 0 {
		w.key = t.arena.add(key)
		t.hash[slot] = n + 1
		t.keys++
	} else {
		head := &t.writes[first]
		w.key, w.next = head.key, head.next
		head.next = n
	}
	t.writes = append(t.writes, w)
	return n, t.buf.grow(int64(len(key)+len(image)) + writeOverhead)
}

// slot gives the place of a key in the hash table.
func (t *tableWrites) slot(h uint64, key []byte) uint64 {
	mask := uint64(len(t.hash) - 1)
	p := h & mask
	for t.hash[p] != 0 {
		if w := &t.writes[t.hash[p]-1]; w.hash == h && bytes.Equal(w.key, key) {
			break
		}
		p = (p + 1) & mask
	}
	return p
}

func (t *tableWrites) rehash() {
	old := t.hash
	t.hash = make([]int32, max(64, 2*len(old)))
	mask := uint64(len(t.hash) - 1)
	for _, n := range old {
		if n == 0 {
			continue
		}
		p := t.writes[n-1].hash & mask
		for t.hash[p] != 0 {
			p = (p + 1) & mask
		}
		t.hash[p] = n
	}
}

// first gives the first write of a key, -1 if there is none.
func (t *tableWrites) first(h uint64, key []byte) int32 {
	if len(t.hash) == 0 {
		return -1
	}
	return t.hash[t.slot(h, key)] - 1
}

// touched reports whether the key has a net change; row is the number of the
// write that added a row, -1 if none did.
func (t *tableWrites) touched(h uint64, key []byte) (touched bool, row int32) {
	row = -1
	for i := t.first(h, key); i >= 0; i = t.writes[i].next {
		if d := t.writes[i].diff; d != 0 {
			touched = true
			if d > 0 {
				row = i
			}
		}
	}
	return touched, row
}

// commit gives the net changes as chunks of which each holds all of its keys'
// changes.
func (b *writeBuffer) commit() (*Commit, error) {
	c := &Commit{Bytes: b.bytes}
	for _, t := range b.order {
		if t.live == 0 {
			continue
		}
		chunks, err := t.chunks()
		if err != nil {
			return nil, err
		}
		c.Tables = append(c.Tables, TableWrite{Table: t.id, Chunks: chunks})
	}
	return c, nil
}

func (t *tableWrites) chunks() ([]*types.Chunk, error) {
	var out []*types.Chunk
	c := types.NewChunk(t.types)
	for i := range t.writes {
		if !t.isFirst(int32(i)) {
			continue
		}
		if t.keyed && c.N+2 > types.MaxChunkRows && c.N > 0 { // a key has at most an old and a new row
			out, c = append(out, c), types.NewChunk(t.types)
		}
		for k := int32(i); k >= 0; k = t.writes[k].next {
			w := &t.writes[k]
			for d := w.diff; d != 0; {
				if c.N == types.MaxChunkRows {
					out, c = append(out, c), types.NewChunk(t.types)
				}
				part := max(min(d, 1<<31-1), -1<<31+1)
				d -= part
				if err := appendImage(c, w.image, int32(part)); err != nil {
					return nil, err
				}
			}
		}
	}
	if c.N > 0 {
		out = append(out, c)
	}
	return out, nil
}

// isFirst reports whether write i is the first of its key.
func (t *tableWrites) isFirst(i int32) bool {
	w := &t.writes[i]
	return t.first(w.hash, w.key) == i
}

// appendImage adds the row of an image to a chunk that keeps multiplicities.
func appendImage(c *types.Chunk, image []byte, diff int32) error {
	if err := types.DecodeImage(image, c.Cols); err != nil {
		return err
	}
	c.Diff = append(c.Diff, diff)
	c.N++
	return nil
}

// arena keeps byte strings that never move.
type arena struct{ block []byte }

const arenaBlock = 64 << 10

func (a *arena) add(b []byte) []byte {
	if len(b) > arenaBlock/4 {
		return slices.Clone(b)
	}
	if len(a.block)+len(b) > cap(a.block) {
		a.block = make([]byte, 0, arenaBlock)
	}
	off := len(a.block)
	a.block = append(a.block, b...)
	return a.block[off:len(a.block):len(a.block)]
}
