package state

import (
	"context"
	"io"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// ResidentStore is the Store of a backend that keeps all state in the
// structures' memory: it restores from handles and uploads snapshots.
type ResidentStore struct {
	Ctx     context.Context // of Open; Scan is called only then
	Spec    Spec
	Handles []Handle
	// Write uploads a snapshot; it need not release it.
	Write func(ctx context.Context, d Dest, e types.Epoch, s Snapshot) (Handle, error)
}

// Resident is true.
func (*ResidentStore) Resident() bool { return true }

// Load is never called: there are no misses.
func (*ResidentStore) Load(int, *SortedKeys) (Entries, error) {
	return nil, pgerr.Internal("load from a resident store")
}

// Scan iterates a table's entries in the handles.
func (r *ResidentStore) Scan(table int, _ types.GroupRange, _ []byte) (Entries, error) {
	return Restore(r.Ctx, r.Spec, r.Handles, table)
}

// Freeze keeps the snapshot for Upload.
func (r *ResidentStore) Freeze(e types.Epoch, s Snapshot) (Frozen, error) {
	return &residentFrozen{r, e, s}, nil
}

// Bytes is 0: nothing lies below the structures.
func (*ResidentStore) Bytes() int64 { return 0 }

// Close does nothing.
func (*ResidentStore) Close() error { return nil }

type residentFrozen struct {
	r *ResidentStore
	e types.Epoch
	s Snapshot
}

func (f *residentFrozen) Upload(ctx context.Context, d Dest) (Handle, error) {
	defer f.s.Release()
	h, err := f.r.Write(ctx, d, f.e, f.s)
	if err != nil {
		return Handle{}, err
	}
	h.Epoch, h.Groups, h.NumGroups, h.Tables = f.e, f.r.Spec.Groups, f.r.Spec.NumGroups, f.r.Spec.Tables
	h.Format = canonicalVersion
	return h, nil
}

func (f *residentFrozen) Discard() { f.s.Release() }

// EncodeInline gives entries in the canonical format, and what their size is;
// the bytes are nil if that exceeds limit (0: none). It closes src.
func EncodeInline(ctx context.Context, src Entries, limit int64) ([]byte, int64, error) {
	w := &limitedBuffer{limit: limit}
	n, err := copyEntries(ctx, w, src)
	return w.buf, n, err
}

// limitedBuffer forgets its content once it exceeds the limit, and goes on
// accepting writes so that their sum is known.
type limitedBuffer struct {
	buf   []byte
	n     int64
	limit int64
}

var _ io.Writer = (*limitedBuffer)(nil)

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.n += int64(len(p))
	if b.limit > 0 && b.n > b.limit {
		b.buf = nil
	} else {
		b.buf = append(b.buf, p...)
	}
	return len(p), nil
}
