package relation

import (
	"context"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Stream is a relation of a source: it has changes but no content.
type Stream struct {
	id     types.UUID
	name   string
	schema types.Schema
	h      *history
}

// NewStream makes a stream whose first delta may be of any epoch after from.
func NewStream(id types.UUID, name string, schema types.Schema, from types.Epoch, historyBytes int64) *Stream {
	if historyBytes <= 0 {
		historyBytes = DefaultHistoryBytes
	}
	s := &Stream{id: id, name: name, schema: schema, h: newHistory(historyBytes)}
	s.h.reset(from)
	return s
}

// ID implements Relation.
func (s *Stream) ID() types.UUID { return s.id }

// Schema implements Relation.
func (s *Stream) Schema() types.Schema { return s.schema }

// Key implements Relation: a stream has none.
func (s *Stream) Key() []int { return nil }

// Bounds implements Relation.
func (s *Stream) Bounds() (since, upper types.Epoch) { return s.h.bounds() }

// Wait implements Relation.
func (s *Stream) Wait(ctx context.Context, e types.Epoch) error { return s.h.wait(ctx, e) }

// Pin implements Relation: there is nothing to read.
func (s *Stream) Pin(types.Epoch) (Snapshot, error) {
	return nil, pgerr.New(pgerr.FeatureNotSupported, "cannot read from source %q directly", s.name).
		WithHint("Create a materialized view over it and read that.")
}

// Attach implements Relation.
func (s *Stream) Attach(name string, from types.Epoch, ready chan struct{}) (Cursor, error) {
	c, err := s.h.attach(name, from, ready)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Publish appends the rows of epoch info (none: nothing came) and moves upper
// past it. The chunks belong to the stream's consumers from now on.
func (s *Stream) Publish(info types.EpochInfo, chunks []*types.Chunk, bytes int64) {
	if len(chunks) == 0 {
		s.h.publish(info.ID, nil)
		return
	}
	s.h.publish(info.ID, &Delta{Info: info, Chunks: chunks, Bytes: bytes})
}

// Lag gives the bytes that the most advanced cursor has not taken yet, and
// how many cursors there are: what decides whether to read on.
func (s *Stream) Lag() (bytes int64, cursors int) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	var front types.Epoch
	for c := range s.h.cursors {
		front = max(front, c.pos)
	}
	for _, d := range s.h.deltas {
		if d.Info.ID > front {
			bytes += d.Bytes
		}
	}
	return bytes, len(s.h.cursors)
}

// Close ends the relation.
func (s *Stream) Close() { s.h.close(errClosed(s.name)) }
