// Package checkpoint keeps what a data directory recovers from: manifests
// (one a checkpoint), savepoints, and the files of state that they name, which
// go when the last of them that names them is gone.
package checkpoint

import (
	"github.com/streamdb/streamdb/journal"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Manifest is a checkpoint: everything as of the end of one epoch. A
// checkpoint is complete when its manifest is durable, not before.
type Manifest struct {
	Number    uint64 // ascending; newest is recovered from
	Timeline  uint64
	Epoch     types.EpochInfo
	LSN       types.LSN // of the journal after the epoch's cut
	Catalog   []byte    // catalog.Append
	Tables    []Table
	Positions []journal.SourcePositions // all sources, as of the epoch
	Parts     []Part
}

// Table is a table's content.
type Table struct {
	ID     types.UUID
	States []state.Handle
}

// Part is a job's newest snapshot. Its epoch is the manifest's, or an older
// one for a job that is slow, suspended or over its limit: then Positions are
// how far it had read the sources, by which it catches up.
type Part struct {
	Job       types.UUID
	Epoch     types.Epoch
	States    []state.Handle
	Tokens    [][]byte // prepared sink output, to be committed
	Errors    []byte
	Positions []journal.SourcePositions
}

// handles are all handles of the manifest.
func (m *Manifest) handles() []state.Handle {
	var hs []state.Handle
	for _, t := range m.Tables {
		hs = append(hs, t.States...)
	}
	for _, p := range m.Parts {
		hs = append(hs, p.States...)
	}
	return hs
}

// tableHandles are those of the tables alone.
func (m *Manifest) tableHandles() []state.Handle {
	var hs []state.Handle
	for _, t := range m.Tables {
		hs = append(hs, t.States...)
	}
	return hs
}

// Files are the names of all files of state that the manifest needs, relative
// to the root.
func (m *Manifest) Files() []string {
	var out []string
	for _, h := range m.handles() {
		for _, f := range h.Files {
			out = append(out, f.Name)
		}
	}
	return out
}

// Bytes is the size of all state that the manifest names.
func (m *Manifest) Bytes() int64 {
	var n int64
	for _, h := range m.handles() {
		n += h.Bytes
	}
	return n
}
