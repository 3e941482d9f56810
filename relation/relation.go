// Package relation publishes relations: what a table, a source or a view
// contains at each epoch, to readers (who pin an epoch) and to jobs (who take
// its changes epoch by epoch). Nothing of an epoch is visible before the whole
// of it is.
package relation

import (
	"context"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Relation is a published relation. It is complete at every epoch in
// [since, upper): upper is the first epoch not yet published, since the
// oldest that can still be read.
type Relation interface {
	ID() types.UUID
	Schema() types.Schema
	// Key is the columns that are unique in it, nil if none are known.
	Key() []int
	Bounds() (since, upper types.Epoch)
	// Wait returns when upper > e, when ctx ends, or when the relation is
	// closed or has failed (the error says why).
	Wait(ctx context.Context, e types.Epoch) error
	// Pin holds epoch e readable until the snapshot is released; since ≤ e <
	// upper or the error is ErrNotReadable. Sources have no content: 0A000.
	Pin(e types.Epoch) (Snapshot, error)
	// Attach starts a cursor whose first delta is that of the first epoch
	// after from; from ≥ since, else ErrDetached. Now means the newest
	// published epoch. Ready (capacity 1; nil: the cursor makes its own) is
	// signalled whenever Poll may have more to say; several cursors may share
	// it.
	Attach(name string, from types.Epoch, ready chan struct{}) (Cursor, error)
}

// Snapshot is a relation's content at one epoch. It is safe for use by one
// goroutine while writers go on. It fails with 72000 once the history it
// needs was dropped for its size.
type Snapshot interface {
	Epoch() types.Epoch
	// Scan starts over all rows; columns not in need (nil: all) may come as
	// NULL. Multiplicities are positive.
	Scan(ctx context.Context, need []int) (Chunks, error)
	// Lookup gives the rows whose Key columns equal the one row of key (the
	// key's columns in order); only for relations with a Key.
	Lookup(ctx context.Context, key []types.Datum) (*types.Chunk, error)
	Release()
}

// Chunks is a stream of chunks.
type Chunks interface {
	// Next gives the next chunk, borrowed until the following call; nil at the
	// end.
	Next() (*types.Chunk, error)
	Close()
}

// Cursor is a consumer's place in a relation's changes. One goroutine.
type Cursor interface {
	// Poll gives the changes of the next epoch that has any, or none, and the
	// relation's upper as of now: all epochs below upper and not among the
	// deltas given so far are unchanged. A cursor past the history's bound
	// gets ErrDetached.
	Poll() (d *Delta, upper types.Epoch, err error)
	// Ready is the channel given to Attach, or the cursor's own.
	Ready() <-chan struct{}
	// Position is the epoch up to which everything was given.
	Position() types.Epoch
	// Skip passes over all changes up to and including epoch e.
	Skip(e types.Epoch)
	// Hold keeps history from the epoch after e on, although the cursor has
	// read further: a recovery may come back to e (set when a checkpoint
	// completes). Bounded like all history.
	Hold(e types.Epoch)
	Close()
}

// Now as Attach's position means the newest published epoch.
const Now = ^types.Epoch(0)

// Delta is the net change of one epoch. Its chunks are immutable and shared
// by all consumers.
type Delta struct {
	Info   types.EpochInfo
	Chunks []*types.Chunk
	Bytes  int64
}

// ErrDetached tells a consumer that the changes after its position are no
// longer kept: it has to attach anew (snapshot or re-read).
var ErrDetached = pgerr.New(pgerr.SnapshotTooOld, "the changes since the consumer's position are no longer kept")

// ErrStopped tells that the relation's content is not open at the moment: its
// job starts, or starts again.
var ErrStopped = pgerr.New(pgerr.SnapshotTooOld, "the relation was restarted while it was read").
	WithHint("Run the query again.")

// ErrNotReadable tells that an epoch is outside [since, upper).
var ErrNotReadable = pgerr.New(pgerr.SnapshotTooOld, "the requested epoch can not be read")
