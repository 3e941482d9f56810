package state

import (
	"bytes"
	"cmp"
	"context"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// TableReader is a Backend that can read some tables of a handle without the
// others. Read is enough for the rest.
type TableReader interface {
	ReadTables(ctx context.Context, fs vfs.FS, root string, h Handle, r types.GroupRange, want func(table int) bool) (Entries, error)
}

// ReadHandles iterates the entries of handles of one job, of any backends,
// within key groups r, merged and sorted. Entry.Table is an index into the
// first handle's Tables; tables that it lacks are left out. List items stand
// at the first key group of the subtask that saved them.
func ReadHandles(ctx context.Context, fs vfs.FS, root string, hs []Handle, r types.GroupRange) (Entries, error) {
	if len(hs) == 0 {
		return &merge{}, nil
	}
	number := func(id ID) int { return tableOf(hs[0].Tables, id) }
	if sameOrder(hs) {
		return mergeHandles(ctx, fs, root, hs, r, number)
	}
	return Concat(len(hs[0].Tables), func(t int) (Entries, error) {
		return mergeHandles(ctx, fs, root, hs, r, func(id ID) int {
			if number(id) == t {
				return t
			}
			return -1
		})
	}), nil
}

// sameOrder reports whether all handles have their tables in one order.
func sameOrder(hs []Handle) bool {
	for _, h := range hs[1:] {
		last := -1
		for i := range h.Tables {
			n := tableOf(hs[0].Tables, h.Tables[i].ID)
			if n >= 0 && n < last {
				return false
			}
			last = max(n, last)
		}
	}
	return true
}

// concat is n iterators one after the other, opened when their turn comes.
type concat struct {
	n, at int
	cur   Entries
	open  func(i int) (Entries, error)
}

// Concat iterates n iterators one after the other; each is opened when its
// turn comes.
func Concat(n int, open func(i int) (Entries, error)) Entries { return &concat{n: n, open: open} }

func (c *concat) Next(e *Entry) error {
	for {
		if c.cur == nil {
			if c.at == c.n {
				return io.EOF
			}
			it, err := c.open(c.at)
			if err != nil {
				return err
			}
			c.cur = it
			c.at++
		}
		if done, err := next(c.cur, e); !done {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
}

func (c *concat) Close() error {
	if c.cur == nil {
		return nil
	}
	err := c.cur.Close()
	c.cur = nil
	return err
}

// Restore iterates what handles hold for table i of a spec, sorted: of keyed
// tables the entries of the spec's key groups, of lists all items.
func Restore(ctx context.Context, spec Spec, handles []Handle, i int) (Entries, error) {
	for _, h := range handles {
		if h.NumGroups != spec.NumGroups {
			return nil, pgerr.New(pgerr.DataCorrupted, "a state handle has %d key groups, its job %d", h.NumGroups, spec.NumGroups)
		}
	}
	r := spec.Groups
	if spec.Tables[i].Kind == KindList {
		r = types.GroupRange{Lo: 0, Hi: 1 << 16}
	}
	return mergeHandles(ctx, spec.FS, spec.Root, handles, r, func(id ID) int {
		if id == spec.Tables[i].ID {
			return i
		}
		return -1
	})
}

func tableOf(ts []TableSpec, id ID) int {
	for i := range ts {
		if ts[i].ID == id {
			return i
		}
	}
	return -1
}

func mergeHandles(ctx context.Context, fs vfs.FS, root string, hs []Handle, r types.GroupRange, table func(ID) int) (Entries, error) {
	m := &merge{}
	for _, h := range hs {
		if h.NumGroups != hs[0].NumGroups {
			m.Close()
			return nil, pgerr.New(pgerr.DataCorrupted, "state handles have %d and %d key groups", hs[0].NumGroups, h.NumGroups)
		}
		number, any := make([]int, len(h.Tables)), false
		for i := range h.Tables {
			number[i] = table(h.Tables[i].ID)
			any = any || number[i] >= 0
		}
		if !any || h.Groups.Hi <= r.Lo || r.Hi <= h.Groups.Lo {
			continue
		}
		b, err := Lookup(h.Backend)
		if err != nil {
			m.Close()
			return nil, err
		}
		var it Entries
		if tr, ok := b.(TableReader); ok {
			it, err = tr.ReadTables(ctx, fs, root, h, r, func(i int) bool { return number[i] >= 0 })
		} else {
			it, err = b.Read(ctx, fs, root, h, r)
		}
		if err != nil {
			m.Close()
			return nil, err
		}
		m.in = append(m.in, &mergeInput{it: it, number: number})
	}
	return m, nil
}

// merge is a k-way merge of sorted iterators.
type merge struct {
	in   []*mergeInput
	last *mergeInput // whose entry was given
}

type mergeInput struct {
	it     Entries
	number []int // table numbers out of the handle's
	e      Entry
	begun  bool
	done   bool
}

// step moves to the next entry of a wanted table.
func (i *mergeInput) step() error {
	i.begun = true
	for {
		done, err := next(i.it, &i.e)
		if done || err != nil {
			i.done = true
			return err
		}
		if i.e.Table >= len(i.number) {
			return pgerr.New(pgerr.DataCorrupted, "state entry of unknown table %d", i.e.Table)
		}
		if n := i.number[i.e.Table]; n >= 0 {
			i.e.Table = n
			return nil
		}
	}
}

func (m *merge) Next(e *Entry) error {
	var best *mergeInput
	for _, i := range m.in {
		if !i.begun || i == m.last {
			if i.done {
				continue
			}
			if err := i.step(); err != nil {
				return err
			}
		}
		if !i.done && (best == nil || compareEntries(&i.e, &best.e) < 0) {
			best = i
		}
	}
	m.last = best
	if best == nil {
		return io.EOF
	}
	*e = best.e
	return nil
}

func (m *merge) Close() error {
	var first error
	for _, i := range m.in {
		if err := i.it.Close(); err != nil && first == nil {
			first = err
		}
	}
	m.in = nil
	return first
}

func compareEntries(a, b *Entry) int {
	if c := cmp.Compare(a.Table, b.Table); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Group, b.Group); c != 0 {
		return c
	}
	if c := bytes.Compare(a.Key, b.Key); c != 0 {
		return c
	}
	return bytes.Compare(a.Sub, b.Sub)
}
