package exec

import "github.com/streamdb/streamdb/types"

// union passes all its ports through.
type union struct{ timeless }

// NewUnion makes a UNION ALL.
func NewUnion() Operator { return union{} }

// Process implements Operator.
func (union) Process(_ int, c *types.Chunk, out Out) error { return out.Push(c) }

// Flush implements Operator.
func (union) Flush(types.EpochInfo, Out) error { return nil }
