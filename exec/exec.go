// Package exec runs dataflows: operators with keyed state, gates that align
// barriers, subtasks, exchanges, and the job that holds them. It knows plans
// only through exec/build.
package exec

import (
	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Operator turns changes into changes. It is used by one goroutine, knows no
// channels and no barriers, and after Flush nothing of it lives outside state.
type Operator interface {
	// Process takes a chunk of input port in; c is borrowed.
	Process(in int, c *types.Chunk, out Out) error
	// Watermark says that port in has seen event time t.
	Watermark(in int, t types.Micros, out Out) error
	// Flush ends the epoch: what is owed for it is emitted now.
	Flush(e types.EpochInfo, out Out) error
	// Wake is the next instant at which it has something to do without input.
	Wake() (types.Micros, bool)
}

// Out takes an operator's output. Push and Fail may block on credit; the
// chunk is borrowed until they return. An error ends the subtask.
type Out interface {
	Push(c *types.Chunk) error
	Fail(rows *ErrorRows) error
}

// ErrorRows are signed rows on which an operator's expression failed: the
// second collection beside the data. When the row goes, its error goes.
type ErrorRows struct {
	Op     int // operator id
	Images types.ByteBatch
	Diff   []int32
	Errs   []*pgerr.Error
}

// Part is a job's checkpoint: everything needed to go on from an epoch.
type Part struct {
	Job    types.UUID
	Epoch  types.Epoch
	States []state.Handle // of all subtasks; each names its tables by id
	Tokens []connector.Token
	// Errors are the standing error rows (encoded ErrorRows).
	Errors []byte
}

// Checkpoint asks a job to snapshot at a barrier.
type Checkpoint struct {
	Dest state.Dest
	// Done is called once, from any goroutine, with the finished part or why
	// there is none. The job goes on in either case.
	Done func(*Part, error)
}
