package relation

import (
	"context"
	"slices"
	"sync"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// DefaultHistoryBytes bounds a relation's history.
const DefaultHistoryBytes = 256 << 20

// Materialized is a relation with content: a table or a materialized view.
// Its rows lie in the state of the subtasks that maintain it, one Partition
// each; readers take a partition's lock for one key group at a time and undo
// what came after their epoch with the history.
type Materialized struct {
	id      types.UUID
	schema  types.Schema
	types   []types.Type
	key     []int // unique columns, nil for none
	rowKey  []int // the columns that key the bags: key, or all
	h       *history
	mu      sync.RWMutex
	parts   []*Partition // by key group range; empty while its job is stopped
	numGrps int
}

// NewMaterialized makes a relation that is not yet readable. Key is its
// unique columns, nil if none are known.
func NewMaterialized(id types.UUID, schema types.Schema, key []int, numGroups int, historyBytes int64) *Materialized {
	m := &Materialized{id: id, schema: schema, types: schema.Types(), key: key, rowKey: key, numGrps: numGroups}
	if m.rowKey == nil {
		m.rowKey = make([]int, len(schema))
		for i := range m.rowKey {
			m.rowKey[i] = i
		}
	}
	if historyBytes <= 0 {
		historyBytes = DefaultHistoryBytes
	}
	m.h = newHistory(historyBytes)
	return m
}

// ID, Schema, Key, Bounds and Wait implement Relation.
func (m *Materialized) ID() types.UUID { return m.id }

// Schema implements Relation.
func (m *Materialized) Schema() types.Schema { return m.schema }

// Key implements Relation.
func (m *Materialized) Key() []int { return m.key }

// Bounds implements Relation.
func (m *Materialized) Bounds() (since, upper types.Epoch) { return m.h.bounds() }

// Wait implements Relation.
func (m *Materialized) Wait(ctx context.Context, e types.Epoch) error { return m.h.wait(ctx, e) }

// Attach implements Relation.
func (m *Materialized) Attach(name string, from types.Epoch, ready chan struct{}) (Cursor, error) {
	c, err := m.h.attach(name, from, ready)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Reset makes e the only readable epoch: the content that the partitions were
// restored with is that of e.
func (m *Materialized) Reset(e types.Epoch) { m.h.reset(e) }

// Start makes the relation unreadable before the end of epoch e, at which its
// first content will be published.
func (m *Materialized) Start(e types.Epoch) {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	m.h.deltas, m.h.bytes = nil, 0
	m.h.since, m.h.upper = e, e
}

// Advance moves upper past e by decree: nothing changed up to and including e.
func (m *Materialized) Advance(e types.Epoch) { m.h.publish(e, nil) }

// Fail makes readers and waiters get err until Heal; consumers see no progress.
func (m *Materialized) Fail(err error) { m.h.fail(err) }

// Heal takes Fail back.
func (m *Materialized) Heal() { m.h.fail(nil) }

// Close ends the relation for good.
func (m *Materialized) Close() {
	m.h.close(errClosed(m.id.String()))
	m.CloseParts()
}

// CloseParts takes the content away: the job has stopped. Snapshots fail.
func (m *Materialized) CloseParts() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.parts {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
	}
	m.parts = nil
}

// OpenPartition adds the content of subtask i, which owns groups and keeps it
// in bag, keyed by the equality encoding of the relation's key.
func (m *Materialized) OpenPartition(i int, bag *state.Bag, groups types.GroupRange) *Partition {
	_, upper := m.h.bounds()
	p := &Partition{m: m, index: i, bag: bag, groups: groups}
	if upper > 0 {
		p.applied = upper - 1
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts = append(m.parts, p)
	slices.SortFunc(m.parts, func(a, b *Partition) int { return a.groups.Lo - b.groups.Lo })
	return p
}

// Publish makes epoch info visible: all partitions have flushed it.
func (m *Materialized) Publish(info types.EpochInfo) {
	m.mu.RLock()
	parts := m.parts
	m.mu.RUnlock()
	d := &Delta{Info: info}
	for _, p := range parts {
		chunks, bytes := p.pendingOf(info.ID)
		d.Chunks = append(d.Chunks, chunks...)
		d.Bytes += bytes
	}
	if len(d.Chunks) == 0 {
		d = nil
	}
	m.h.publish(info.ID, d)
	for _, p := range parts {
		p.forget(info.ID)
	}
}

// Partition is one subtask's share of a Materialized. Apply and Flush belong
// to the subtask's goroutine.
type Partition struct {
	m      *Materialized
	index  int
	groups types.GroupRange
	sum    consolidator // owner goroutine only

	mu      sync.Mutex // guards the bag against readers, and what follows
	bag     *state.Bag
	applied types.Epoch // the bag's content is that of this epoch
	pending []partDelta // flushed, not yet published
	closed  bool
}

type partDelta struct {
	epoch  types.Epoch
	chunks []*types.Chunk
	bytes  int64
}

// Locker guards the bag; its owner holds it around anything that moves state
// other than Flush (ending an epoch, freezing, eviction).
func (p *Partition) Locker() sync.Locker { return &p.mu }

// Apply takes changes of the current epoch.
func (p *Partition) Apply(c *types.Chunk) error {
	p.sum.add(c)
	return nil
}

// Flush applies the epoch's net changes; readers see them after Publish.
// A row taken away more often than it was there breaks an invariant: XX000.
func (p *Partition) Flush(info types.EpochInfo) error {
	defer p.sum.reset()
	chunks, bytes, err := p.sum.chunks(p.m.types)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys types.KeyBatch
	var images types.ByteBatch
	for _, c := range chunks {
		keys.Encode(c, p.m.rowKey)
		images.Reset()
		images.EncodeImages(c, nil)
		if err := p.bag.Add(&keys, &images, c.Diff); err != nil {
			return err
		}
	}
	if n := p.bag.Negative(); n != 0 {
		return pgerr.Internal("%d rows of relation %s were taken away more often than they were there at epoch %d", n, p.m.id, info.ID)
	}
	p.applied = info.ID
	if len(chunks) > 0 {
		p.pending = append(p.pending, partDelta{epoch: info.ID, chunks: chunks, bytes: bytes})
	}
	return nil
}

func (p *Partition) pendingOf(e types.Epoch) ([]*types.Chunk, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.pending {
		if d.epoch == e {
			return d.chunks, d.bytes
		}
	}
	return nil, 0
}

func (p *Partition) forget(e types.Epoch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.pending) && p.pending[n].epoch <= e {
		n++
	}
	p.pending = p.pending[n:]
}
