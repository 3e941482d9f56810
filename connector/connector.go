// Package connector is the edge of the system: sources that are read by split
// and position, and sinks that prepare at a barrier and commit after the
// manifest. One folder each; connectortest holds the suite that each passes.
package connector

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// ReplayClass says what a source can promise after a crash.
type ReplayClass uint8

// The replay classes.
const (
	Exact   ReplayClass = iota // re-reading from a position gives the same rows
	Spooled                    // goes through the journal first
	Lossy                      // declared; what was not taken is gone
)

// String names the class as SHOW SOURCES does.
func (r ReplayClass) String() string { return [...]string{"exact", "spooled", "lossy"}[r] }

// Env is what a connector may use of the outside world.
type Env struct {
	FS  vfs.FS
	Now func() time.Time
	// StartTime was recorded when the source was created: generators derive
	// their clock from it, so that replay gives the same rows.
	StartTime types.Micros
	// Dir is where relative paths start.
	Dir string
}

// SourceSpec is a source as declared: the options of WITH (folded names,
// string values) and the declared columns of one relation. A source with
// several relations (CREATE SOURCE nx … without type) has one SourceSpec for
// all and a Relation for each.
type SourceSpec struct {
	Options map[string]string
	Columns types.Schema
}

// Relation is one stream of rows that a source gives.
type Relation struct {
	Name   string // within the source; "" if there is only one
	Schema types.Schema
}

// SourceFactory checks options and opens sources of one connector.
type SourceFactory interface {
	// Relations validates the spec and tells what the source gives. Unknown or
	// malformed options are errors (22023 naming the option, with a hint).
	Relations(s SourceSpec) ([]Relation, error)
	Open(ctx context.Context, s SourceSpec, env Env) (Source, error)
}

// Source is an opened source.
type Source interface {
	Replay() ReplayClass
	// Splits lists the parts to read. It may grow over time.
	Splits(ctx context.Context) ([]types.Split, error)
	// Earliest is the first position still readable.
	Earliest(ctx context.Context, s types.Split) (types.Position, error)
	// Open starts reading a split. need[r] names the columns wanted of
	// relation r (nil: the relation is not wanted); the others come as NULL.
	// The rows are the same whatever is needed.
	Open(ctx context.Context, s types.Split, from types.Position, need [][]int) (Reader, error)
	Close() error
}

// Reader reads a split in order.
type Reader interface {
	// Read appends rows to b until it has about max rows, or it reaches the
	// position until (nil: no limit; rows never go past it), or nothing more
	// is there for now. It returns the position after what it read; one equal
	// to the previous means "nothing now". Positions returned are places
	// where reading can resume and an epoch can end. Read does not wait for
	// data beyond a few ms. io.EOF: the split has ended for good.
	Read(ctx context.Context, b *Batch, max int, until types.Position) (types.Position, error)
	Close() error
}

// Batch receives rows: one chunk per relation of the source, and what could
// not be decoded.
type Batch struct {
	Chunks   []*types.Chunk
	Rejected []Rejected
	// Events counts records read, whether or not a column of them was wanted.
	Events int64
	Bytes  int64
}

// Rejected is a record that could not be decoded; reading goes on after it.
type Rejected struct {
	Split  types.Split
	Offset int64
	Raw    []byte
	Err    *pgerr.Error
}

// SinkSpec is a sink as declared and the schema of the rows it gets.
type SinkSpec struct {
	ID      types.UUID
	Options map[string]string
	Schema  types.Schema
	Key     []int // the rows' unique key, nil if none is known
	// AppendOnly says that no row will ever be taken back.
	AppendOnly bool
}

// SinkFactory checks options and opens sinks of one connector.
type SinkFactory interface {
	Check(s SinkSpec) error
	Open(ctx context.Context, s SinkSpec, env Env) (Sink, error)
}

// Sink is an opened sink. A job has one Writer per subtask.
type Sink interface {
	// AppendOnly reports that what was committed can not be taken back, so a
	// rollback needs an explicit word.
	AppendOnly() bool
	// Writer opens subtask i's writer.
	Writer(ctx context.Context, i int) (Writer, error)
	// Commit makes prepared output visible. It is idempotent by token, also
	// after a restart, and is called only after the manifest that names the
	// tokens is durable.
	Commit(ctx context.Context, tokens []Token) error
	// Abort discards prepared or half-written output of this sink that is not
	// among the tokens of the recovered manifest (keep).
	Abort(ctx context.Context, keep []Token) error
	Close() error
}

// Token names prepared output: opaque bytes of the connector, kept in the
// checkpoint's part. It contains only paths relative to the sink's target.
type Token []byte

// Writer takes one subtask's signed rows.
type Writer interface {
	// Write takes an epoch's rows; c is borrowed.
	Write(e types.Epoch, c *types.Chunk) error
	// Prepare makes everything written so far durable but invisible and names
	// it. Nil: nothing was written since the last Prepare.
	Prepare(e types.Epoch) (Token, error)
	Close() error
}
