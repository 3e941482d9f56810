package relation

import (
	"context"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Pin implements Relation.
func (m *Materialized) Pin(e types.Epoch) (Snapshot, error) {
	if err := m.h.pin(e); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.complete() {
		m.h.unpin(e)
		return nil, ErrStopped
	}
	return &snapshot{m: m, e: e, parts: m.parts}, nil
}

// complete reports whether all key groups are open. Call with mu held.
func (m *Materialized) complete() bool {
	n := 0
	for _, p := range m.parts {
		n += p.groups.Hi - p.groups.Lo
	}
	return n == m.numGrps
}

// snapshot reads partition by partition, key group by key group: the content
// of a group as it is now, less the changes after e.
type snapshot struct {
	m        *Materialized
	e        types.Epoch
	parts    []*Partition
	released bool
}

func (s *snapshot) Epoch() types.Epoch { return s.e }

func (s *snapshot) Release() {
	if !s.released {
		s.released = true
		s.m.h.unpin(s.e)
	}
}

// Scan implements Snapshot.
func (s *snapshot) Scan(ctx context.Context, need []int) (Chunks, error) {
	return &scan{s: s, ctx: ctx, group: -1, part: -1}, nil
}

// scan walks the key groups. One key group is read under its partition's
// lock in one go.
type scan struct {
	s     *snapshot
	ctx   context.Context
	part  int
	group int // the next group to read within the part
	undo  undo
	rows  state.Rows
	queue []*types.Chunk // decoded, not yet given
	sum   consolidator
}

func (sc *scan) Close() {}

func (sc *scan) Next() (*types.Chunk, error) {
	for len(sc.queue) == 0 {
		if err := sc.ctx.Err(); err != nil {
			return nil, context.Cause(sc.ctx)
		}
		if sc.part < 0 || sc.group >= sc.s.parts[sc.part].groups.Hi {
			if sc.part++; sc.part >= len(sc.s.parts) {
				return nil, nil
			}
			sc.group = sc.s.parts[sc.part].groups.Lo
			sc.undo = undo{upto: sc.s.e}
			continue // the range may be empty
		}
		if err := sc.readGroup(sc.s.parts[sc.part], sc.group); err != nil {
			return nil, err
		}
		sc.group++
	}
	c := sc.queue[0]
	sc.queue = sc.queue[1:]
	return c, nil
}

// readGroup queues the rows of one key group as of the snapshot's epoch.
func (sc *scan) readGroup(p *Partition, group int) error {
	sc.rows.Reset()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrStopped
	}
	var cur state.Cursor
	for {
		more, err := p.bag.ScanGroup(group, &cur, types.MaxChunkRows, &sc.rows)
		if err != nil {
			p.mu.Unlock()
			return err
		}
		if !more {
			break
		}
	}
	applied, pending := p.applied, p.pending
	p.mu.Unlock()
	if err := sc.undo.load(p, applied, pending); err != nil {
		return err
	}
	sc.sum.reset()
	after := sc.undo.groups[group]
	if len(after) == 0 { // the common case: no need to sum
		return sc.decode()
	}
	for i := range sc.rows.Count {
		sc.sum.addImage(sc.rows.Image.Bytes(i), sc.rows.Count[i])
	}
	for _, c := range after {
		sc.sum.addImage(c.image, -c.diff)
	}
	chunks, _, err := sc.sum.chunks(p.m.types)
	sc.queue = chunks
	return err
}

// decode queues the rows as they were read.
func (sc *scan) decode() error {
	var c *types.Chunk
	sc.queue = nil
	for i, n := range sc.rows.Count {
		for n != 0 {
			if c == nil || c.N == types.MaxChunkRows {
				c = types.NewChunk(sc.s.m.types)
				sc.queue = append(sc.queue, c)
			}
			if err := types.DecodeImage(sc.rows.Image.Bytes(i), c.Cols); err != nil {
				return err
			}
			d := clampDiff(n)
			c.Diff = append(c.Diff, d)
			c.N++
			n -= int64(d)
		}
	}
	return nil
}

// undo is the changes after a snapshot's epoch to one partition, by key
// group, loaded as far as the partition has been seen to have moved.
type undo struct {
	upto   types.Epoch
	only   []byte // nil, or the one key that is of interest
	groups map[int][]change
}

type change struct {
	key   []byte
	image []byte
	diff  int64
}

// load makes u hold the changes to p's groups in (…, applied].
func (u *undo) load(p *Partition, applied types.Epoch, pending []partDelta) error {
	if applied <= u.upto {
		return nil
	}
	ds, ok := p.m.h.between(u.upto, applied)
	if !ok {
		return pgerr.New(pgerr.SnapshotTooOld, "snapshot too old").
			WithDetail("The history of relation %s outgrew its bound while it was read.", p.m.id).
			WithHint("Read less at a time, or raise history_bytes.")
	}
	for _, d := range ds {
		u.add(p, d.Chunks)
		u.upto = d.Info.ID
	}
	for _, d := range pending {
		if d.epoch > u.upto && d.epoch <= applied {
			u.add(p, d.chunks)
		}
	}
	u.upto = applied
	return nil
}

func (u *undo) add(p *Partition, chunks []*types.Chunk) {
	if u.groups == nil {
		u.groups = map[int][]change{}
	}
	var keys types.KeyBatch
	for _, c := range chunks {
		keys.Encode(c, p.m.rowKey)
		for i := range keys.Len() {
			if u.only != nil && string(keys.Key(i)) != string(u.only) {
				continue
			}
			g := types.KeyGroup(keys.Hash[i], p.m.numGrps)
			if g < p.groups.Lo || g >= p.groups.Hi {
				continue
			}
			r := c.Row(i)
			u.groups[g] = append(u.groups[g], change{
				key:   append([]byte(nil), keys.Key(i)...),
				image: types.AppendImage(nil, c, r, nil),
				diff:  int64(c.DiffAt(r)),
			})
		}
	}
}

// Lookup implements Snapshot.
func (s *snapshot) Lookup(ctx context.Context, key []types.Datum) (*types.Chunk, error) {
	if s.m.key == nil {
		return nil, pgerr.Internal("look-up in relation %s, which has no key", s.m.id)
	}
	var enc []byte
	for _, d := range key {
		enc = types.AppendKeyDatum(enc, d)
	}
	var k types.KeyBatch
	k.Add(enc)
	g := types.KeyGroup(k.Hash[0], s.m.numGrps)
	for _, p := range s.parts {
		if g >= p.groups.Lo && g < p.groups.Hi {
			return s.lookup(p, &k, g)
		}
	}
	return nil, pgerr.Internal("no partition of relation %s owns key group %d", s.m.id, g)
}

func (s *snapshot) lookup(p *Partition, k *types.KeyBatch, g int) (*types.Chunk, error) {
	var sum consolidator
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrStopped
	}
	var m state.Matches
	for more := true; more; more = m.More {
		if err := p.bag.Match(k, &m); err != nil {
			p.mu.Unlock()
			return nil, err
		}
		for i := range m.Count {
			sum.addImage(m.Image.Bytes(i), m.Count[i])
		}
	}
	applied, pending := p.applied, p.pending
	p.mu.Unlock()
	u := undo{upto: s.e, only: k.Key(0)}
	if err := u.load(p, applied, pending); err != nil {
		return nil, err
	}
	for _, c := range u.groups[g] {
		sum.addImage(c.image, -c.diff)
	}
	chunks, _, err := sum.chunks(s.m.types)
	if err != nil || len(chunks) == 0 {
		return types.NewChunk(s.m.types), err
	}
	return chunks[0], nil
}
