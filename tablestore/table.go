// Package tablestore keeps the tables. A table is a materialisation of the
// journal: the commits of an epoch are checked one after the other, staged,
// and applied together when the epoch closes. It has no log of its own; its
// content is a published relation over managed state, so that it is read,
// checkpointed and moved exactly as a view is.
//
// All calls come from the goroutine that closes epochs; readers use the
// Relation.
package tablestore

import (
	"context"
	"sync/atomic"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// stateName identifies the one state of a table within its store.
const stateName = "table"

// Table is one table's content and what is staged for the open epoch.
type Table struct {
	namespace, name string
	schema          types.Schema
	key             []int
	rowKey          []int
	rel             *relation.Materialized
	st              *state.State
	part            *relation.Partition

	staged   []*types.Chunk
	overlay  overlay // of the first overlaid of staged
	overlaid int
	dirty    atomic.Bool // changed since the last Freeze
	last     []state.Handle
}

// Options are how a table's state is kept.
type Options struct {
	Backend      state.Backend
	Spec         state.Spec // Tables, Groups and Subtask are filled in by Open
	HistoryBytes int64
	Namespace    string // the table's schema, for errors
}

// StateID is the identity of a table's state.
func StateID(table types.UUID) state.ID { return state.ID(table) }

// Open makes a table with the content that the handles hold (none: empty).
func Open(ctx context.Context, id types.UUID, name string, schema types.Schema, key []int, o Options, handles []state.Handle) (*Table, error) {
	spec := o.Spec
	spec.Job, spec.Subtask = id, 0
	if spec.NumGroups == 0 {
		spec.NumGroups = types.KeyGroups
	}
	spec.Groups = types.GroupRange{Lo: 0, Hi: spec.NumGroups}
	spec.Tables = []state.TableSpec{{ID: StateID(id), Name: stateName, Kind: state.KindBag}}
	st, err := state.Open(ctx, o.Backend, spec, handles)
	if err != nil {
		return nil, err
	}
	t := &Table{namespace: o.Namespace, name: name, schema: schema, key: key, st: st, last: handles}
	t.rowKey = key
	if key == nil {
		for i := range schema {
			t.rowKey = append(t.rowKey, i)
		}
	}
	t.rel = relation.NewMaterialized(id, schema, key, spec.NumGroups, o.HistoryBytes)
	t.overlay.reset()
	return t, nil
}

// Begin makes the content that of epoch e, the first readable one.
func (t *Table) Begin(e types.Epoch) {
	t.rel.Reset(e)
	t.part = t.rel.OpenPartition(0, t.st.Bag(0), types.GroupRange{Lo: 0, Hi: types.KeyGroups})
}

// Relation is what readers and jobs see.
func (t *Table) Relation() *relation.Materialized { return t.rel }

// Check tells whether a transaction's net changes fit what is committed and
// staged before it: every row taken away must be there (40001, someone was
// faster), every key added must be free (23505). Nothing changes.
func (t *Table) Check(chunks []*types.Chunk) error {
	for ; t.overlaid < len(t.staged); t.overlaid++ { // only now: most epochs have one commit to a table
		t.overlay.add(t, t.staged[t.overlaid])
	}
	for _, c := range chunks {
		if err := t.check(c); err != nil {
			return err
		}
	}
	return nil
}

// Stage adds checked changes to the open epoch. The chunks belong to the
// table from now on.
func (t *Table) Stage(chunks []*types.Chunk) {
	t.staged = append(t.staged, chunks...)
}

// Unstage forgets what was staged: the epoch could not be closed.
func (t *Table) Unstage() {
	t.staged, t.overlaid = nil, 0
	t.overlay.reset()
}

// Flush ends the epoch: what was staged becomes its content.
func (t *Table) Flush(info types.EpochInfo) error {
	if len(t.staged) == 0 {
		t.rel.Advance(info.ID)
		return nil
	}
	for _, c := range t.staged {
		if err := t.part.Apply(c); err != nil {
			return err
		}
	}
	if err := t.part.Flush(info); err != nil {
		return err
	}
	l := t.part.Locker()
	l.Lock()
	err := t.st.EndEpoch()
	l.Unlock()
	if err != nil {
		return err
	}
	t.rel.Publish(info)
	t.Unstage()
	t.dirty.Store(true)
	return nil
}

// Freeze takes the content for a checkpoint. Nil: nothing has changed since
// the handles that Handles gives.
func (t *Table) Freeze(e types.Epoch) (state.Frozen, error) {
	if !t.dirty.Load() {
		return nil, nil
	}
	l := t.part.Locker()
	l.Lock()
	defer l.Unlock()
	f, err := t.st.Freeze(e)
	if err == nil {
		t.dirty.Store(false)
	}
	return f, err
}

// Touch makes the next Freeze take the content again: an upload failed.
func (t *Table) Touch() { t.dirty.Store(true) }

// Handles are the newest uploaded content; SetHandles notes a newer one. Both
// belong to the checkpoint under way, of which there is one at a time.
func (t *Table) Handles() []state.Handle { return t.last }

// SetHandles notes where the newest uploaded content lies.
func (t *Table) SetHandles(hs []state.Handle) { t.last = hs }

// Bytes is the size of the state.
func (t *Table) Bytes() int64 { return t.st.Bytes() }

// Close ends the table.
func (t *Table) Close() error {
	t.rel.Close()
	return t.st.Close()
}

// errConflict says that a row that the transaction changes is no longer as it
// was read.
func (t *Table) errConflict() error {
	return pgerr.New(pgerr.SerializationFailure, "could not serialize access due to concurrent update").
		WithDetail("A row of table %q was changed by another transaction.", t.name).
		WithHint("Run the transaction again.")
}

// errDuplicate is PostgreSQL's unique violation for a row's key.
func (t *Table) errDuplicate(c *types.Chunk, row int) error {
	var cols, vals []byte
	for i, k := range t.key {
		if i > 0 {
			cols, vals = append(cols, ", "...), append(vals, ", "...)
		}
		cols = append(cols, t.schema[k].Name...)
		vals = c.Cols[k].AppendText(vals, row)
	}
	e := pgerr.New(pgerr.UniqueViolation, "duplicate key value violates unique constraint %q", t.name+"_pkey").
		WithDetail("Key (%s)=(%s) already exists.", cols, vals)
	e.Schema, e.Table, e.Constraint = t.namespace, t.name, t.name+"_pkey"
	return e
}
