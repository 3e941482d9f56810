package state

import (
	"context"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// State is one subtask's managed state: structures over a backend's store.
// One goroutine owns it.
type State struct {
	spec   Spec
	store  Store
	clk    clock
	tables []structure // nil for lists
	lists  []*List     // nil for the others
	live   []*snapshot
	stats  Stats
}

// Stats counts what a State did since Open.
type Stats struct {
	Loaded  int64 // entries loaded on misses
	Evicted int64 // lines evicted
	Spills  int64 // times that changes were spilled
}

// Stats gives the counters.
func (s *State) Stats() Stats {
	st := s.stats
	for _, t := range s.tables {
		if t != nil {
			st.Loaded += t.base().loads
			st.Evicted += t.base().evictions
		}
	}
	return st
}

// structure is what State needs of Lines, Bag and Sorted.
type structure interface {
	base() *table
	endEpoch(applied bool)
	used() int64
	freeze() frozen
	counted(Count)
}

// Count is the size of a table in keys and, for Bag and Sorted, entries.
type Count struct{ Keys, Entries int64 }

// Spiller is a Store with a tier below the structures' memory.
type Spiller interface {
	Store
	// Spill takes changes without a checkpoint, to make lines clean.
	Spill(s Snapshot) error
	// Pending is the number of freezes and spills that Load and Scan do not
	// show yet. Their lines stay in memory until it is 0. Any goroutine.
	Pending() int
	// Settle applies what is pending.
	Settle() error
	// Counts gives the sizes of the tables as of Open.
	Counts() []Count
	// CacheBytes bounds the structures' memory.
	CacheBytes() int64
}

// Open opens the state of a subtask over a backend and restores it from
// handles, which may be of any backend and parallelism and hold any tables:
// tables are matched by id, entries by key group. Lists are dealt out from
// the handles of all subtasks of the job, so pass them all.
func Open(ctx context.Context, b Backend, spec Spec, handles []Handle) (*State, error) {
	if spec.NumGroups == 0 {
		spec.NumGroups = types.KeyGroups
		if spec.Groups == (types.GroupRange{}) {
			spec.Groups.Hi = spec.NumGroups
		}
	}
	store, err := b.Open(ctx, spec, handles)
	if err != nil {
		return nil, err
	}
	s := &State{spec: spec, store: store, clk: clock{gen: 1, tick: 1}}
	if err := s.restore(ctx, handles); err != nil {
		store.Close()
		return nil, err
	}
	return s, nil
}

func (s *State) restore(ctx context.Context, handles []Handle) error {
	sp, tiered := s.store.(Spiller)
	if tiered == s.store.Resident() {
		return pgerr.Internal("a store is resident or has a tier")
	}
	s.tables = make([]structure, len(s.spec.Tables))
	s.lists = make([]*List, len(s.spec.Tables))
	for i, ts := range s.spec.Tables {
		t := table{
			number: i, spec: ts, clk: &s.clk, store: s.store,
			groups: s.spec.NumGroups, owned: s.spec.Groups, complete: true,
		}
		switch ts.Kind {
		case KindLines:
			s.tables[i] = newLines(t)
		case KindBag:
			s.tables[i] = newBag(t)
		case KindSorted:
			s.tables[i] = newSorted(t)
		case KindList:
			if err := s.restoreList(ctx, i, handles); err != nil {
				return err
			}
			continue
		default:
			return pgerr.Internal("state %q is of unknown kind %d", ts.Name, ts.Kind)
		}
		base := s.tables[i].base()
		if tiered {
			n := sp.Counts()[i]
			base.complete = n.Keys == 0
			s.tables[i].counted(n)
			continue
		}
		it, err := s.store.Scan(i, s.spec.Groups, nil)
		if err != nil {
			return err
		}
		n := Count{}
		err = drain(it, func(e *Entry) error {
			n.Entries++
			return base.load(e)
		})
		if err != nil {
			return err
		}
		n.Keys = int64(base.idx.n)
		s.tables[i].counted(n)
	}
	return nil
}

func (s *State) restoreList(ctx context.Context, i int, handles []Handle) error {
	l := &List{spec: s.spec.Tables[i]}
	s.lists[i] = l
	it, err := Restore(ctx, s.spec, handles, i)
	if err != nil {
		return err
	}
	var all []listItem
	err = drain(it, func(e *Entry) error {
		all = append(all, listItem{e.Group, append([]byte{}, e.Value...)})
		return nil
	})
	l.items = deal(l.spec.Redist, all, &s.spec)
	return err
}

// Lines gives table i of the spec, which is of KindLines.
func (s *State) Lines(i int) *Lines { return s.tables[i].(*Lines) }

// Bag gives table i of the spec, which is of KindBag.
func (s *State) Bag(i int) *Bag { return s.tables[i].(*Bag) }

// Sorted gives table i of the spec, which is of KindSorted.
func (s *State) Sorted(i int) *Sorted { return s.tables[i].(*Sorted) }

// List gives table i of the spec, which is of KindList.
func (s *State) List(i int) *List { return s.lists[i] }

// EndEpoch forgets the epoch's pre-images, takes deleted keys out of memory,
// and keeps memory within the store's bound: clean lines are evicted; if too
// little is clean, changes are spilled first. All slots become invalid.
func (s *State) EndEpoch() error {
	s.refresh()
	sp, tiered := s.store.(Spiller)
	applied := !tiered || sp.Pending() == 0
	for _, t := range s.tables {
		if t != nil {
			t.endEpoch(applied)
		}
	}
	s.clk.tick++
	if tiered {
		return s.shrink(sp)
	}
	return nil
}

// refresh finds which snapshots are still being read.
func (s *State) refresh() {
	kept := s.live[:0]
	s.clk.live = 0
	for _, sn := range s.live {
		if !sn.released.Load() {
			kept = append(kept, sn)
			s.clk.live = sn.gen
		}
	}
	clear(s.live[len(kept):])
	s.live = kept
}

func (s *State) used() int64 {
	n := int64(0)
	for _, t := range s.tables {
		if t != nil {
			n += t.used()
		}
	}
	return n
}

// shrink brings memory below the bound. While a freeze is not applied
// nothing can go, so memory may reach one and a half times the bound; then it
// waits for it.
func (s *State) shrink(sp Spiller) error {
	limit := sp.CacheBytes()
	if s.used() <= limit {
		return nil
	}
	if sp.Pending() > 0 {
		if s.used() < limit+limit/2 {
			return nil
		}
		if err := sp.Settle(); err != nil {
			return err
		}
		if s.refresh(); sp.Pending() > 0 {
			return nil // a checkpoint whose upload has not begun
		}
	}
	goal := limit - limit/8
	for round := 0; round < 2 && s.used() > goal; round++ {
		s.evict(goal)
	}
	if s.used() <= limit {
		return nil
	}
	s.stats.Spills++
	return sp.Spill(s.freeze())
}

// evict takes from each table its share of what is above goal.
func (s *State) evict(goal int64) {
	used := s.used()
	over := used - goal
	for _, t := range s.tables {
		if t != nil {
			share := int64(float64(t.used()) / float64(used) * float64(over))
			t.base().evict(share, t.used)
		}
	}
}

func (s *State) freeze() *snapshot {
	s.refresh()
	sn := &snapshot{gen: s.clk.gen, groups: s.spec.NumGroups, own: s.spec.Groups, tables: make([]frozen, len(s.tables))}
	for i, t := range s.tables {
		if t != nil {
			sn.tables[i] = t.freeze()
		} else {
			sn.tables[i] = frozen{items: s.lists[i].items}
		}
		sn.tables[i].spec = s.spec.Tables[i]
	}
	s.live = append(s.live, sn)
	s.clk.live = sn.gen
	s.clk.gen++
	return sn
}

// Freeze takes a checkpoint's content: page tables are copied, pages only
// when the owner writes them again while the upload is reading. Call it after
// the flush of epoch e, before or after EndEpoch.
func (s *State) Freeze(e types.Epoch) (Frozen, error) {
	sn := s.freeze()
	f, err := s.store.Freeze(e, sn)
	if err != nil {
		sn.Release()
	}
	return f, err
}

// Bytes is the size of the state: of what is in memory, or if that is more,
// of the tier below.
func (s *State) Bytes() int64 { return max(s.used(), s.store.Bytes()) }

// Close gives up the state and its scratch files. Uploads must have ended.
func (s *State) Close() error { return s.store.Close() }

func (t *table) base() *table { return t }

func (t *table) counted(n Count) { t.count = n.Keys }

func (b *multi) counted(n Count) { b.count, b.rows = n.Keys, n.Entries }

func (t *table) freeze() frozen {
	if len(t.reap) == 0 {
		t.reap, t.tombs = t.tombs, t.reap
	} else {
		t.reap = append(t.reap, t.tombs...)
		t.tombs = t.tombs[:0]
	}
	return frozen{heads: t.heads.freeze(), slab: t.slab.freeze(), rowOff: t.rowOff, count: Count{Keys: t.count}}
}

func (b *multi) freeze() frozen {
	f := b.table.freeze()
	f.ents, f.tombs, f.count.Entries = b.ents.freeze(), b.gone, b.rows
	if len(b.settled) == 0 {
		b.settled = b.gone // read by both, written by neither
	} else {
		b.settled = append(b.settled, b.gone...)
	}
	b.gone = nil
	return f
}
