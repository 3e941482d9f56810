// Package journal is the one truth of a data directory: an append-only,
// checksummed, group-synced log of commits, DDL and cuts. Tables, the catalog
// and every job are materialisations of it, and replaying it from any cut
// gives the same epochs with the same input.
package journal

import (
	"context"

	"github.com/streamdb/streamdb/types"
)

// Kind tells what a record is. Written to disk: never renumber.
type Kind uint8

// The kinds of record.
const (
	KindCommit   Kind = 1 // one transaction: all its tables' changes
	KindDDL      Kind = 2 // a new catalog version
	KindCut      Kind = 3 // the end of an epoch
	KindTimeline Kind = 4 // a rollback: what follows continues from a savepoint's content
)

// Record is one entry. Exactly the field that Kind names is set.
type Record struct {
	LSN      types.LSN // set by Append and Read
	Kind     Kind
	Commit   *Commit
	DDL      *DDL
	Cut      *Cut
	Timeline *Timeline
}

// Commit is one transaction. It takes effect at the next Cut, or never if
// there is none.
type Commit struct {
	Tables []TableChanges
}

// TableChanges are a transaction's net changes to one table: an encoded chunk
// of signed rows (types.EncodeChunk with the table's column types of the
// catalog version in force).
type TableChanges struct {
	Table  types.UUID
	Chunks [][]byte
}

// DDL is a new version of the catalog; Delta is in the catalog's own codec.
type DDL struct {
	Version types.Version
	Delta   []byte
}

// Cut ends an epoch: all commits and DDL since the previous cut belong to it,
// and the rows of each source up to the given positions.
type Cut struct {
	Epoch     types.EpochInfo
	Positions []SourcePositions
}

// SourcePositions are how far an epoch reaches into a source. Sources that
// did not move are left out.
type SourcePositions struct {
	Source types.UUID
	Splits []types.SplitPosition
}

// Timeline begins a new history at a rollback.
type Timeline struct {
	Number    uint64
	Epoch     types.Epoch // the first epoch of the new timeline
	Savepoint types.UUID
}

// Journal is the log as its users see it.
type Journal interface {
	// Append adds records in order and returns the LSN after the last. They
	// are durable only after a Sync. One appender at a time.
	Append(ctx context.Context, rs ...*Record) (types.LSN, error)
	// Sync makes everything appended so far durable. A failed sync is fatal:
	// the journal refuses all further appends with the same error.
	Sync(ctx context.Context) error
	// Read gives records from an LSN on (which must be a record's start, or
	// the end).
	Read(from types.LSN) (Reader, error)
	// End is the LSN after the last appended record.
	End() types.LSN
	// Truncate drops whole segments that end at or before lsn.
	Truncate(ctx context.Context, lsn types.LSN) error
	Close() error
}

// Reader walks records.
type Reader interface {
	// Next gives the next record, valid until the following call, or io.EOF.
	Next() (*Record, error)
	Close() error
}
