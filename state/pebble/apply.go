package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/state"
)

// Spill takes changes without a checkpoint; they are applied on another
// goroutine.
func (s *store) Spill(snap state.Snapshot) error {
	s.enqueue(&change{snap: snap})
	s.spills.Add(1)
	go func() {
		defer s.spills.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.applyReady(context.Background()); err != nil {
			s.queueMu.Lock()
			s.failed = err
			s.queueMu.Unlock()
		}
	}()
	return s.takeFailure()
}

func (s *store) takeFailure() error {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	err := s.failed
	s.failed = nil
	return err
}

// Settle applies what may be applied now.
func (s *store) Settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.takeFailure(); err != nil {
		return err
	}
	return s.applyReady(context.Background())
}

func (s *store) enqueue(c *change) {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	s.queue = append(s.queue, c)
	s.pending.Add(1)
}

// head is the oldest change that must be applied next, nil if there is none
// or a checkpoint's upload is to come first.
func (s *store) head(stop *change) *change {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	for _, c := range s.queue {
		if !c.applied {
			return c
		}
		if c.hold || c == stop {
			return nil
		}
	}
	return nil
}

// prune forgets the changes that are done with.
func (s *store) prune() {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	for len(s.queue) > 0 && s.queue[0].applied && !s.queue[0].hold {
		s.queue = s.queue[1:]
	}
}

// applyReady applies changes in their order up to a checkpoint that is not
// uploaded, under mu.
func (s *store) applyReady(ctx context.Context) error { return s.applyUntil(ctx, nil) }

// applyUntil applies changes up to stop.
func (s *store) applyUntil(ctx context.Context, stop *change) error {
	if s.closed {
		return errClosed
	}
	for {
		c := s.head(stop)
		if c == nil {
			break
		}
		if err := s.ingest(ctx, c.snap.Dirty(true), nil); err != nil {
			return err
		}
		c.snap.Release()
		s.queueMu.Lock()
		c.applied = true
		s.queueMu.Unlock()
		s.pending.Add(-1)
	}
	s.prune()
	s.bytes.Store(int64(s.treeBytes()))
	return nil
}

var errClosed = errors.New("state is closed")

// ingest writes sorted entries into tables and adds these to the tree, all at
// once. It closes src.
func (s *store) ingest(ctx context.Context, src state.Entries, each func(*state.Entry)) error {
	w := &tableWriter{s: s}
	err := w.writeAll(ctx, src, each)
	if e := src.Close(); err == nil {
		err = e
	}
	if err == nil && len(w.paths) > 0 {
		err = s.db.Ingest(ctx, w.paths)
	}
	if err != nil {
		w.abort()
		return s.wrap(err, "could not write state of job %s subtask %d", s.spec.Job, s.spec.Subtask)
	}
	return nil
}

// tableWriter writes sorted entries into tables of bounded size.
type tableWriter struct {
	s     *store
	w     *sstable.Writer
	paths []string
	key   []byte
}

func (w *tableWriter) writeAll(ctx context.Context, src state.Entries, each func(*state.Entry)) error {
	var e state.Entry
	for n := 0; ; n++ {
		if n&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		err := src.Next(&e)
		if errors.Is(err, io.EOF) {
			return w.finish()
		}
		if err == nil {
			err = w.add(&e)
		}
		if err != nil {
			return err
		}
		if each != nil {
			each(&e)
		}
	}
}

func (w *tableWriter) add(e *state.Entry) error {
	if w.w == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	w.key = append(appendPrefix(w.key[:0], e.Table, e.Group, e.Key), e.Sub...)
	if e.Value == nil {
		if err := w.w.Delete(w.key); err != nil {
			return err
		}
	} else if err := w.w.Set(w.key, e.Value); err != nil {
		return err
	}
	if w.w.Raw().EstimatedSize() < fileBytes {
		return nil
	}
	return w.finish()
}

func (w *tableWriter) begin() error {
	s := w.s
	s.ingested++
	path := s.spec.FS.PathJoin(s.spec.Dir, fmt.Sprintf("new-%d.sst", s.ingested))
	f, err := s.spec.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w.paths = append(w.paths, path)
	w.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), writerOptions(s.db, s.spec.FS))
	return nil
}

func writerOptions(db *lsm.DB, fs vfs.FS) sstable.WriterOptions {
	return options(fs, nil).MakeWriterOptions(0, db.TableFormat())
}

// finish completes the table being written, and syncs it.
func (w *tableWriter) finish() error {
	if w.w == nil {
		return nil
	}
	err := w.w.Close()
	w.w = nil
	return err
}

func (w *tableWriter) abort() {
	if w.w != nil {
		w.w.Close()
	}
	for _, p := range w.paths {
		w.s.spec.FS.Remove(p) // gone already if it was ingested
	}
}
