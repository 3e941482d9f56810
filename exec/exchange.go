package exec

import (
	"github.com/streamdb/streamdb/types"
)

const (
	// mergeRows is how full a chunk gets before it is sent on.
	mergeRows = 1024
	// mergeBytes is how many bytes of text are merged at most.
	mergeBytes = 1 << 20
	// viewRows is the share of a chunk, in rows per receiver, from which on an
	// immutable chunk is shared by selections rather than copied.
	viewRows = 64
)

// emitter is the sending side of an exchange: it deals rows to the subtasks
// of a fragment. Borrowed chunks are copied into pooled ones and merged;
// immutable ones are shared. One goroutine.
type emitter struct {
	dist      Dist
	cols      []int
	types     []types.Type
	numGroups int
	pipes     []*pipe
	pending   []*types.Chunk // by receiver; round robin uses only the first
	next      int            // receiver whose turn it is
	copies    chan *types.Chunk
	views     chan *types.Chunk
	keys      types.KeyBatch
	sel       [][]uint16 // by receiver
	owner     []uint16   // of each key group
}

func newEmitter(e Edge, ts []types.Type, numGroups int, pipes []*pipe) *emitter {
	room := (credits + 2) * len(pipes)
	x := &emitter{
		dist: e.Dist, cols: e.Cols, types: ts, numGroups: numGroups, pipes: pipes,
		pending: make([]*types.Chunk, len(pipes)),
		copies:  make(chan *types.Chunk, room),
		sel:     make([][]uint16, len(pipes)),
	}
	if len(pipes) == 1 {
		x.dist = Singleton
	}
	if x.dist == Hash {
		x.owner = make([]uint16, numGroups)
		for g := range x.owner {
			x.owner[g] = uint16(types.GroupOwner(g, numGroups, len(pipes)))
		}
		x.views = make(chan *types.Chunk, room)
	}
	return x
}

// copy deals the rows of a borrowed chunk.
func (x *emitter) copy(c *types.Chunk) error {
	if c.Rows() == 0 {
		return nil
	}
	if x.dist != Hash {
		return x.merge(0, c)
	}
	x.scatter(c)
	part := *c
	for i, s := range x.sel {
		if len(s) == 0 {
			continue
		}
		part.Sel = s
		if err := x.merge(i, &part); err != nil {
			return err
		}
	}
	return nil
}

// share deals the rows of an immutable chunk, which the receivers may keep
// reading for as long as they like.
func (x *emitter) share(c *types.Chunk) error {
	n := c.Rows()
	switch {
	case n == 0:
		return nil
	case x.dist != Hash:
		p := x.pipes[x.next]
		x.advance()
		return p.send(message{chunk: c})
	case n < viewRows*len(x.pipes):
		return x.copy(c)
	}
	x.scatter(c)
	for i, s := range x.sel {
		if len(s) == 0 {
			continue
		}
		if err := x.flushTo(i, i); err != nil { // keep the order of arrival
			return err
		}
		v := x.view()
		v.Cols, v.Diff, v.N = c.Cols, c.Diff, c.N
		v.Sel = append(v.Sel[:0], s...)
		if err := x.pipes[i].send(message{chunk: v, home: x.views}); err != nil {
			return err
		}
	}
	return nil
}

// scatter sorts the selected rows of c into sel by receiver.
func (x *emitter) scatter(c *types.Chunk) {
	x.keys.Encode(c, x.cols)
	for i := range x.sel {
		x.sel[i] = x.sel[i][:0]
	}
	for k, h := range x.keys.Hash {
		o := x.owner[types.KeyGroup(h, x.numGroups)]
		x.sel[o] = append(x.sel[o], uint16(c.Row(k)))
	}
}

// merge copies the rows of c to the pending chunk of slot i.
func (x *emitter) merge(i int, c *types.Chunk) error {
	p := x.pending[i]
	if p != nil && p.N+c.Rows() > types.MaxChunkRows {
		if err := x.flushSlot(i); err != nil {
			return err
		}
		p = nil
	}
	if p == nil {
		p = x.fresh()
		x.pending[i] = p
	}
	c.Compact(p)
	if p.N >= mergeRows || textBytes(p) >= mergeBytes {
		return x.flushSlot(i)
	}
	return nil
}

func textBytes(c *types.Chunk) int {
	n := 0
	for i := range c.Cols {
		n += len(c.Cols[i].Data)
	}
	return n
}

// flushSlot sends the pending chunk of a slot, to the slot's receiver or to
// the one whose turn it is.
func (x *emitter) flushSlot(i int) error {
	to := i
	if x.dist != Hash {
		to = x.next
		x.advance()
	}
	return x.flushTo(i, to)
}

func (x *emitter) flushTo(slot, to int) error {
	c := x.pending[slot]
	if c == nil {
		return nil
	}
	x.pending[slot] = nil
	return x.pipes[to].send(message{chunk: c, home: x.copies})
}

func (x *emitter) advance() {
	if x.next++; x.next == len(x.pipes) {
		x.next = 0
	}
}

// barrier sends what is pending, then b, to every receiver.
func (x *emitter) barrier(b *barrier) error {
	for i := range x.pending {
		if x.pending[i] == nil {
			continue
		}
		if err := x.flushSlot(i); err != nil {
			return err
		}
	}
	for _, p := range x.pipes {
		if err := p.send(message{barrier: b}); err != nil {
			return err
		}
	}
	return nil
}

// fresh gives an empty chunk, recycled if there is one.
func (x *emitter) fresh() *types.Chunk {
	select {
	case c := <-x.copies:
		c.Reset()
		return c
	default:
		return types.NewChunk(x.types)
	}
}

// view gives a chunk header whose memory, except for Sel, belongs to others.
func (x *emitter) view() *types.Chunk {
	select {
	case c := <-x.views:
		return c
	default:
		return new(types.Chunk)
	}
}
