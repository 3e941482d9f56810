package relation

import (
	"context"
	"sync"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Grace is how many epochs of history stay although nobody holds them, as
// long as they are small, so that a read over several relations finds an
// epoch that all of them still have.
const Grace = 64

// graceBytes bounds what Grace may keep.
const graceBytes = 4 << 20

// history is a relation's published changes: the deltas of the epochs in
// (since, upper), and who still needs them. It is bounded by bytes: past the
// bound the oldest go, and with them the cursors and pins that stood there.
type history struct {
	mu       sync.Mutex
	deltas   []*Delta    // ascending by epoch
	since    types.Epoch // the content at since and later can be derived
	upper    types.Epoch // first epoch not published
	bytes    int64
	maxBytes int64
	cursors  map[*cursor]struct{}
	pins     map[types.Epoch]int
	changed  chan struct{} // closed and replaced when upper moves or err is set
	err      error         // set for ever: the relation is gone
	readErr  error         // readers get it until it is taken back; cursors just see no progress
}

func newHistory(maxBytes int64) *history {
	return &history{
		maxBytes: maxBytes,
		cursors:  map[*cursor]struct{}{},
		pins:     map[types.Epoch]int{},
		changed:  make(chan struct{}),
	}
}

// reset makes epoch e the one and only readable one and detaches all cursors
// that stand before it.
func (h *history) reset(e types.Epoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deltas, h.bytes = nil, 0
	h.since, h.upper = e, e+1
	h.wake()
}

func (h *history) bounds() (since, upper types.Epoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since, h.upper
}

// publish appends a delta (nil: nothing changed) and moves upper past e.
func (h *history) publish(e types.Epoch, d *Delta) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e < h.upper {
		return // decreed before: an epoch without changes
	}
	if d != nil {
		h.deltas = append(h.deltas, d)
		h.bytes += d.Bytes
	}
	h.upper = e + 1
	h.trim()
	h.wake()
}

// wake tells waiters and cursors. Call with mu held.
func (h *history) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
	for c := range h.cursors {
		c.signal()
	}
}

// close ends the relation: waiters and cursors get err.
func (h *history) close(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.readErr = err, err
	h.wake()
}

// fail makes readers and waiters get err, nil: no longer.
func (h *history) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.readErr = err
		h.wake()
	}
}

// trim drops deltas that nobody needs, then the oldest past the bound. Call
// with mu held.
func (h *history) trim() {
	low := h.upper - 1
	for c := range h.cursors {
		low = min(low, c.pos, c.hold)
	}
	for e := range h.pins {
		low = min(low, e)
	}
	if keep := h.upper - min(h.upper, Grace); low > keep && h.bytes <= graceBytes {
		low = keep
	}
	n := 0
	for n < len(h.deltas) && (h.deltas[n].Info.ID <= low || h.bytes > h.maxBytes) {
		low = max(low, h.deltas[n].Info.ID)
		h.bytes -= h.deltas[n].Bytes
		h.deltas[n] = nil
		n++
	}
	h.deltas = h.deltas[n:]
	if low < h.upper {
		h.since = max(h.since, low)
	}
}

// wait returns when upper > e.
func (h *history) wait(ctx context.Context, e types.Epoch) error {
	for {
		h.mu.Lock()
		ch, ok, err := h.changed, h.upper > e, h.readErr
		h.mu.Unlock()
		switch {
		case err != nil:
			return err
		case ok:
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (h *history) pin(e types.Epoch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readErr != nil {
		return h.readErr
	}
	if e < h.since || e >= h.upper {
		return ErrNotReadable
	}
	h.pins[e]++
	return nil
}

func (h *history) unpin(e types.Epoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pins[e]--; h.pins[e] == 0 {
		delete(h.pins, e)
	}
}

// between gives the deltas of epochs in (from, to]; false if some of them
// have been dropped.
func (h *history) between(from, to types.Epoch) ([]*Delta, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from < h.since {
		return nil, false
	}
	var ds []*Delta
	for _, d := range h.deltas {
		if d.Info.ID > from && d.Info.ID <= to {
			ds = append(ds, d)
		}
	}
	return ds, true
}

func (h *history) attach(name string, from types.Epoch, ready chan struct{}) (*cursor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, h.err
	}
	if from == Now && h.upper > 0 {
		from = h.upper - 1
	}
	if from < h.since || from == Now {
		return nil, ErrDetached
	}
	if ready == nil {
		ready = make(chan struct{}, 1)
	}
	c := &cursor{h: h, name: name, pos: from, hold: noHold, ready: ready}
	c.signal()
	h.cursors[c] = struct{}{}
	return c, nil
}

// noHold is a cursor's hold before the first call of Hold.
const noHold = ^types.Epoch(0)

// cursor implements Cursor.
type cursor struct {
	h     *history
	name  string
	pos   types.Epoch // everything up to pos has been given
	hold  types.Epoch
	ready chan struct{}
}

func (c *cursor) Poll() (*Delta, types.Epoch, error) {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.pos < h.since && c.pos+1 < h.upper {
		return nil, 0, ErrDetached
	}
	for _, d := range h.deltas {
		if d.Info.ID > c.pos {
			c.pos = d.Info.ID
			return d, h.upper, nil
		}
	}
	if h.err != nil { // after all that there was
		return nil, 0, h.err
	}
	if h.upper > 0 {
		c.pos = max(c.pos, h.upper-1)
	}
	return nil, h.upper, nil
}

func (c *cursor) signal() {
	select {
	case c.ready <- struct{}{}:
	default: // already signalled
	}
}

func (c *cursor) Position() types.Epoch {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return c.pos
}

func (c *cursor) Skip(e types.Epoch) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.pos = max(c.pos, e)
}

func (c *cursor) Ready() <-chan struct{} { return c.ready }

func (c *cursor) Hold(e types.Epoch) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.hold == noHold || e > c.hold {
		c.hold = e
	}
}

func (c *cursor) Close() {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	delete(c.h.cursors, c)
}

// errClosed is what a relation's users get after it was dropped.
func errClosed(name string) error {
	return pgerr.New(pgerr.UndefinedTable, "relation %q was dropped", name)
}
