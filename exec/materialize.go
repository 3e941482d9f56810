package exec

import (
	"sync"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/types"
)

// materialize keeps its input as a partition of the job's relation. The job
// publishes an epoch once all partitions have flushed it.
type materialize struct {
	timeless
	part *relation.Partition
}

// NewMaterialize makes the end of a view. State: Bag.
func NewMaterialize(t *Task) (Operator, error) {
	if t.Output == nil {
		return nil, pgerr.Internal("a view's job without its relation")
	}
	return &materialize{part: t.Output.OpenPartition(t.Index, t.Bag(0), t.Groups)}, nil
}

// Process implements Operator.
func (m *materialize) Process(_ int, c *types.Chunk, _ Out) error { return m.part.Apply(c) }

// Flush implements Operator.
func (m *materialize) Flush(e types.EpochInfo, _ Out) error { return m.part.Flush(e) }

// Locker guards the subtask's state against the relation's readers.
func (m *materialize) Locker() sync.Locker { return m.part.Locker() }
