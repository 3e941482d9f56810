package exec

import (
	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// sinkWrite hands rows to a sink's writer, which prepares them at checkpoints.
type sinkWrite struct {
	timeless
	w connector.Writer
	// next is the first epoch that the rows to come can belong to; which one
	// it is, only the barrier tells.
	next types.Epoch
}

// NewSinkWrite makes the end of a sink's job.
func NewSinkWrite(t *Task) (Operator, error) {
	if t.Sink == nil {
		return nil, pgerr.Internal("a sink's job without its sink")
	}
	w, err := t.Sink.Writer(t.ctx, t.Index)
	if err != nil {
		return nil, err
	}
	return &sinkWrite{w: w, next: t.From + 1}, nil
}

// Process implements Operator.
func (s *sinkWrite) Process(_ int, c *types.Chunk, _ Out) error { return s.w.Write(s.next, c) }

// Flush implements Operator.
func (s *sinkWrite) Flush(e types.EpochInfo, _ Out) error {
	s.next = e.ID + 1
	return nil
}

// Prepare makes what was written durable and names it.
func (s *sinkWrite) Prepare(e types.Epoch) (connector.Token, error) { return s.w.Prepare(e) }

// Close closes the writer.
func (s *sinkWrite) Close() error { return s.w.Close() }
