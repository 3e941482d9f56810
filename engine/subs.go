package engine

import (
	"context"
	"maps"
	"sync"

	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/types"
)

// subscriberBook knows which relations are subscribed to, so that a rollback
// can tell subscribers the difference between what they were sent and what
// holds now.
type subscriberBook struct {
	mu      sync.Mutex
	active  map[types.UUID]int
	diffs   map[types.UUID]*rollbackDiff
	changed chan struct{} // closed and replaced at each rollback
}

// rollbackDiff is the difference that a rollback made to one relation.
type rollbackDiff struct {
	epoch  types.Epoch
	before *relation.Sum // content before, nil once the difference is taken
	done   chan struct{}
	chunks []*types.Chunk
	err    error
}

// subscribe notes a subscriber of a relation until release.
func (en *Engine) subscribe(id types.UUID) (release func()) {
	b := &en.subs
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.active == nil {
		b.active = map[types.UUID]int{}
	}
	b.active[id]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.active[id]--; b.active[id] <= 0 {
			delete(b.active, id)
			delete(b.diffs, id)
		}
	}
}

// timelineChanged gives a channel that is closed at the next rollback.
func (en *Engine) timelineChanged() <-chan struct{} {
	b := &en.subs
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// rollbackDiff gives, to a subscriber whose cursor has ended, the difference
// that the newest rollback made to the relation and the epoch at which it
// holds; ok is false if the relation did not outlive it or there was none.
func (en *Engine) rollbackDiff(ctx context.Context, id types.UUID) (chunks []*types.Chunk, e types.Epoch, ok bool, err error) {
	en.subs.mu.Lock()
	d := en.subs.diffs[id]
	en.subs.mu.Unlock()
	if d == nil {
		return nil, 0, false, nil
	}
	select {
	case <-d.done:
		return d.chunks, d.epoch, d.err == nil, d.err
	case <-ctx.Done():
		return nil, 0, false, context.Cause(ctx)
	}
}

// saveForSubscribers keeps the content of what is subscribed to. Epoch loop,
// before a rollback.
func (en *Engine) saveForSubscribers() {
	b := &en.subs
	b.mu.Lock()
	ids := maps.Clone(b.active)
	b.mu.Unlock()
	diffs := map[types.UUID]*rollbackDiff{}
	for id := range ids {
		r, err := en.Relation(id)
		if err != nil {
			continue
		}
		d := &rollbackDiff{done: make(chan struct{})}
		_, upper := r.Bounds()
		if upper == 0 {
			continue
		}
		s, err := r.Pin(upper - 1)
		if err != nil {
			continue // suspended or failed: nothing was being sent
		}
		d.before, err = relation.SumOf(en.ctx, s)
		s.Release()
		if err != nil {
			en.log.Error("a subscriber will not get the difference of a rollback", "err", err)
			continue
		}
		diffs[id] = d
	}
	b.mu.Lock()
	b.diffs = diffs
	b.mu.Unlock()
}

// diffForSubscribers computes the differences once the new content can be
// read, and tells subscribers that there was a rollback.
func (en *Engine) diffForSubscribers(e types.Epoch) {
	b := &en.subs
	b.mu.Lock()
	diffs := maps.Clone(b.diffs)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	b.mu.Unlock()
	for id, d := range diffs {
		d.epoch = e
		r, err := en.Relation(id)
		if err != nil {
			b.mu.Lock()
			delete(b.diffs, id)
			b.mu.Unlock()
			close(d.done)
			continue
		}
		hold, err := r.Attach("rollback", e, nil)
		if err != nil {
			d.err = err
			close(d.done)
			continue
		}
		en.wg.Add(1)
		go func() {
			defer en.wg.Done()
			defer hold.Close()
			defer close(d.done)
			d.err = en.fillDiff(r, d)
		}()
	}
}

func (en *Engine) fillDiff(r relation.Relation, d *rollbackDiff) error {
	p, err := en.Pin(en.ctx, []types.UUID{r.ID()}, d.epoch)
	if err != nil {
		return err
	}
	defer p.Release()
	d.epoch = p.Epoch
	d.chunks, err = d.before.Difference(en.ctx, p.Snaps[r.ID()])
	d.before = nil
	return err
}
