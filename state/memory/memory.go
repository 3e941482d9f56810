// Package memory is the state backend that keeps a job's state in memory and
// puts it into the manifest at a checkpoint: fast and without files, for small
// state only.
package memory

import (
	"context"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// JobLimit is the default bound on a job's serialised state, in bytes; a
// subtask has its share by key groups.
const JobLimit = 5 << 20

// Backend is the memory backend.
type Backend struct{ state.CanonicalFiles }

func init() { state.Register(New()) }

// New gives the backend.
func New() *Backend { return &Backend{} }

// Name is "memory".
func (*Backend) Name() string { return "memory" }

// Open prepares a resident store.
func (*Backend) Open(ctx context.Context, spec state.Spec, handles []state.Handle) (state.Store, error) {
	limit := spec.Limit
	if limit <= 0 {
		limit = JobLimit * int64(spec.Groups.Hi-spec.Groups.Lo) / int64(max(spec.NumGroups, 1))
	}
	r := &state.ResidentStore{Ctx: ctx, Spec: spec, Handles: handles}
	r.Write = func(ctx context.Context, d state.Dest, e types.Epoch, s state.Snapshot) (state.Handle, error) {
		if d.Unlimited {
			f, err := state.WriteFile(ctx, d, state.FileName(d, e), s.All(true))
			return state.Handle{Backend: "memory", Files: []state.File{f}, Bytes: f.Bytes, New: f.Bytes}, err
		}
		b, n, err := state.EncodeInline(ctx, s.All(true), limit)
		if err != nil {
			return state.Handle{}, err
		}
		if n > limit {
			return state.Handle{}, pgerr.New(pgerr.ConfigurationLimit,
				"state of job %s subtask %d is %d bytes, more than the memory backend's limit of %d", spec.Job, spec.Subtask, n, limit).
				WithHint("Use ALTER ... SET (state_backend = 'filesystem') or 'pebble'.")
		}
		return state.Handle{Backend: "memory", Inline: b, Bytes: n, New: n}, nil
	}
	return r, nil
}
