package types

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// Epoch numbers the moments at which all relations agree. Epochs are global,
// start at 1 and never decrease, also over crashes and rollbacks. Epoch 0 is
// before everything.
type Epoch uint64

// LSN is a place in the journal: the byte offset of a record since the first
// journal of the data directory.
type LSN uint64

// Version numbers the immutable versions of the catalog.
type Version uint64

// Micros is an instant in µs since 2000-01-01 00:00 UTC, as timestamptz.
type Micros int64

// UUID identifies an object for ever, over renames, exports and machines.
type UUID [16]byte

// NewUUID makes a random (version 4) identifier.
func NewUUID() UUID {
	var u UUID
	if _, err := rand.Read(u[:]); err != nil {
		panic(fmt.Sprintf("no randomness from the operating system: %v", err))
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// String gives the usual 8-4-4-4-12 form.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// IsZero reports whether u was never set.
func (u UUID) IsZero() bool { return u == UUID{} }

// EpochInfo is what a barrier carries: the epoch that it ends, the wall time
// recorded for it, and the catalog version in force.
type EpochInfo struct {
	ID      Epoch
	Now     Micros
	Catalog Version
}

// Split names one independently read part of a source (a file, a partition).
type Split string

// Position is how far a split has been read: opaque bytes of its connector,
// ordered only by the connector. Nil is the beginning.
type Position []byte

// SplitPosition is a position with its split.
type SplitPosition struct {
	Split Split
	Pos   Position
}
