// Package wire is the server side of the PostgreSQL protocol 3.0 and 3.2: it
// frames, authenticates, keeps prepared statements and portals, formats
// values, and asks a Session for everything else.
package wire

import (
	"context"
	"io"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Engine makes sessions for connections.
type Engine interface {
	// Connect opens a session after authentication. Errors are sent as FATAL
	// (3D000 unknown database, 28000 unknown user, 53300, 57P03).
	Connect(ctx context.Context, s Startup) (Session, error)
}

// Startup is what the client's startup packet and the connection say.
type Startup struct {
	User, Database string
	Params         map[string]string // other startup parameters (application_name, client_encoding, options …)
	RemoteAddr     string
	PID            int32 // the backend's number as BackendKeyData tells it
	Client         Client
}

// Client is the way back to the connection, valid for the session's life and
// safe only from within calls of the Session made by the connection.
type Client interface {
	// Notice sends a NoticeResponse with severity NOTICE, WARNING or INFO.
	Notice(severity string, n *pgerr.Error)
	// ParameterStatus reports a changed setting.
	ParameterStatus(name, value string)
}

// Session is one connection's conversation with the engine. Calls come from
// one goroutine at a time. A cancel request or a closed connection cancels
// the context of the running call; the error is then 57014.
type Session interface {
	// Parameters are the ParameterStatus pairs to report at start, in order.
	Parameters() [][2]string
	// Parse splits and parses a query string; an empty one gives none.
	Parse(ctx context.Context, query string) ([]Statement, error)
	// Prepare analyses a statement: its parameter types (paramOIDs as given in
	// Parse, 0 unspecified) and result columns.
	Prepare(ctx context.Context, s Statement, paramOIDs []uint32) (Prepared, error)
	// Execute starts a prepared statement with its parameters. A result with
	// rows must be closed before the next Execute unless it is a portal's.
	Execute(ctx context.Context, p Prepared, params []types.Datum) (*Result, error)
	// Sync ends the implicit transaction, if one is open: before the
	// CommandComplete of the last statement of a simple query, and at each
	// Sync of the extended protocol. An error means that it was not committed.
	Sync(ctx context.Context) error
	// Fail is called after any error was sent: an open transaction block
	// becomes failed, an implicit transaction is rolled back.
	Fail()
	// TxStatus is 'I' idle, 'T' in a block, 'E' in a failed block.
	TxStatus() byte
	// Close ends the session and rolls back what is open.
	Close()
}

// Statement is one parsed statement, opaque to wire.
type Statement interface {
	// SQL is the statement's own text.
	SQL() string
}

// Prepared is an analysed statement, opaque but for its shape.
type Prepared interface {
	// ParamTypes are the types of $1, $2, ….
	ParamTypes() []types.Type
	// Fields are the result columns, nil if the statement returns no rows.
	Fields() []Field
}

// Field is a result column.
type Field struct {
	Name     string
	TableOID uint32
	Column   int16
	Type     types.Type
}

// Result is what Execute gives. Exactly one of the following holds: Rows is
// set (a row-returning statement), CopyIn or CopyOut is set, or none is and
// Tag is final.
type Result struct {
	Fields  []Field
	Rows    Rows
	Tag     string // command tag; for Rows ask Rows.Tag after the end
	CopyIn  *CopyIn
	CopyOut *CopyOut
}

// Rows is a stream of result chunks. A row with Diff n stands n times.
type Rows interface {
	// Next gives the next chunk, borrowed until the following call, or nil at
	// the end.
	Next(ctx context.Context) (*types.Chunk, error)
	// Tag is the command tag after the end, or after Close if a portal is
	// executed again then; n is the number of rows sent.
	Tag(n int64) string
	// Close is called exactly once, at the end or before it.
	Close()
}

// CopyIn is COPY … FROM STDIN: wire streams CopyData into Run's reader; a
// CopyFail surfaces as the reader's error (57014).
type CopyIn struct {
	Binary  bool
	Columns int
	Run     func(ctx context.Context, r io.Reader) (tag string, err error)
}

// CopyOut is COPY … TO STDOUT: each Write is sent as one CopyData message;
// Flush on the writer (it implements Flusher) sends what is buffered, which
// endless streams call when they have nothing more to say for now.
type CopyOut struct {
	Binary  bool
	Columns int
	Run     func(ctx context.Context, w io.Writer) (tag string, err error)
}

// Flusher is implemented by the writer that CopyOut.Run gets.
type Flusher interface{ Flush() error }

// PreparedStatements is implemented by the Client too: the statements that
// the extended protocol prepared, for DEALLOCATE and DISCARD.
type PreparedStatements interface {
	// Deallocate forgets a named statement; 26000 if there is none.
	Deallocate(name string) error
	DeallocateAll()
}

// Localizer may be implemented by a Session: the time zone in which texts of
// timestamptz are read and written, asked before each statement. Without it
// that is UTC.
type Localizer interface{ Location() *time.Location }
