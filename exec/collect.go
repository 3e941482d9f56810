package exec

import (
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// collect gives rows to a function of the caller's.
type collect struct {
	timeless
	fn func(*types.Chunk) error
}

// NewCollect makes the end of an ad-hoc dataflow.
func NewCollect(t *Task) (Operator, error) {
	if t.Collect == nil {
		return nil, pgerr.Internal("nobody takes the rows of the dataflow")
	}
	return &collect{fn: t.Collect}, nil
}

// Process implements Operator.
func (o *collect) Process(_ int, c *types.Chunk, _ Out) error { return o.fn(c) }

// Flush implements Operator.
func (o *collect) Flush(types.EpochInfo, Out) error { return nil }
