// Package filesystem is the state backend that keeps a job's state in memory
// and writes all of it to one file at each checkpoint.
package filesystem

import (
	"context"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Backend is the filesystem backend.
type Backend struct{ state.CanonicalFiles }

func init() { state.Register(New()) }

// New gives the backend.
func New() *Backend { return &Backend{} }

// Name is "filesystem".
func (*Backend) Name() string { return "filesystem" }

// Open prepares a resident store.
func (*Backend) Open(ctx context.Context, spec state.Spec, handles []state.Handle) (state.Store, error) {
	return &state.ResidentStore{Ctx: ctx, Spec: spec, Handles: handles, Write: write}, nil
}

func write(ctx context.Context, d state.Dest, e types.Epoch, s state.Snapshot) (state.Handle, error) {
	f, err := state.WriteFile(ctx, d, state.FileName(d, e), s.All(true))
	return state.Handle{Backend: "filesystem", Files: []state.File{f}, Bytes: f.Bytes, New: f.Bytes}, err
}
