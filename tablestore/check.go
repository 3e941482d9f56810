package tablestore

import (
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// overlay is what the open epoch has staged so far, net: for a key (or, in a
// table without one, a row) the change of each image's multiplicity.
type overlay struct {
	rows map[string]map[string]int64 // row key → image → change
}

func (o *overlay) reset() { o.rows = nil }

func (o *overlay) add(t *Table, c *types.Chunk) {
	if o.rows == nil {
		o.rows = make(map[string]map[string]int64, c.Rows())
	}
	var keys types.KeyBatch
	keys.Encode(c, t.rowKey)
	var image []byte
	for i := range keys.Len() {
		r := c.Row(i)
		image = types.AppendImage(image[:0], c, r, nil)
		m := o.rows[string(keys.Key(i))]
		if m == nil {
			m = make(map[string]int64, 1)
			o.rows[string(keys.Key(i))] = m
		}
		if m[string(image)] += int64(c.DiffAt(r)); m[string(image)] == 0 {
			delete(m, string(image))
		}
	}
}

// plan is the chunk's changes by row key.
type plan struct {
	row   int // a physical row with that key, for messages
	diffs map[string]int64
}

// check verifies one chunk against state and overlay. The chunk is a whole
// transaction's share or a part of it with keys of its own.
func (t *Table) check(c *types.Chunk) error {
	if t.key == nil && allInserts(c) {
		return nil // a bag takes everything
	}
	var keys types.KeyBatch
	keys.Encode(c, t.rowKey)
	plans := make(map[string]*plan, keys.Len())
	var order []string
	for i := range keys.Len() {
		r := c.Row(i)
		k := string(keys.Key(i))
		p := plans[k]
		if p == nil {
			p = &plan{row: r, diffs: map[string]int64{}}
			plans[k] = p
			order = append(order, k)
		}
		p.diffs[string(types.AppendImage(nil, c, r, nil))] += int64(c.DiffAt(r))
	}
	have, err := t.committed(order)
	if err != nil {
		return err
	}
	for i, k := range order {
		if err := t.fits(c, plans[k], have[i], t.overlay.rows[k]); err != nil {
			return err
		}
	}
	return nil
}

// fits checks one key: afterwards no image may be missing, and of a primary
// key there may be one row.
func (t *Table) fits(c *types.Chunk, p *plan, have, staged map[string]int64) error {
	for image, n := range p.diffs {
		if n < 0 && have[image]+staged[image]+n < 0 {
			return t.errConflict()
		}
	}
	if t.key == nil {
		return nil
	}
	var total int64
	for _, m := range []map[string]int64{have, staged, p.diffs} {
		for _, n := range m {
			total += n
		}
	}
	if total > 1 {
		return t.errDuplicate(c, p.row)
	}
	return nil
}

// committed gives the stored rows of each key.
func (t *Table) committed(order []string) ([]map[string]int64, error) {
	var keys types.KeyBatch
	for _, k := range order {
		keys.Add([]byte(k))
	}
	have := make([]map[string]int64, len(order))
	l := t.part.Locker()
	l.Lock()
	defer l.Unlock()
	var m state.Matches
	for more := true; more; more = m.More {
		if err := t.st.Bag(0).Match(&keys, &m); err != nil {
			return nil, err
		}
		for i, n := range m.Count {
			k := m.Key[i]
			if have[k] == nil {
				have[k] = make(map[string]int64, 1)
			}
			have[k][string(m.Image.Bytes(i))] += n
		}
	}
	return have, nil
}

func allInserts(c *types.Chunk) bool {
	for i, n := 0, c.Rows(); i < n; i++ {
		if c.DiffAt(c.Row(i)) < 0 {
			return false
		}
	}
	return true
}
