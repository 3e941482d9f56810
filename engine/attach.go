package engine

import (
	"context"
	"errors"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/checkpoint"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/types"
)

// attach is the only way in: it opens the dataflow with what the job holds
// (part; nil: nothing), feeds it the difference from there to an epoch c, and
// leaves cursors that go on after c.
func (j *job) attach(part *checkpoint.Part) error {
	defer j.letGo() // cursors of its own stand by then
	if err := j.resolve(); err != nil {
		return err
	}
	if err := j.openSink(part); err != nil {
		return err
	}
	if part != nil {
		done, err := j.attachAt(part)
		if done || err != nil {
			return err
		}
		if !j.onlyStreams() || part.Positions == nil {
			if j.rel == nil {
				return pgerr.New(pgerr.ObjectNotInPrerequisite, "sink %q can not go on where it stopped: the changes since epoch %d are no longer kept", j.name, part.Epoch).
					WithHint("Drop the sink and create it again, with a new target.")
			}
			part = nil // rebuilt from the inputs as they are
		}
	}
	c, snaps, err := j.attachNow()
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range snaps {
			if s != nil {
				s.Release()
			}
		}
	}()
	if j.rel != nil {
		j.rel.Heal()
		if part != nil {
			j.rel.Reset(part.Epoch)
		} else {
			j.rel.Start(c.ID)
		}
	}
	j.isAttached()
	if err := j.startExec(part); err != nil {
		return err
	}
	if err := j.backfill(c, snaps, part); err != nil {
		return err
	}
	j.dirty = true
	j.resetEpochs(0)
	return j.sendBarrier(c, nil)
}

// attachAt goes on from the part's own epoch, if all inputs still have their
// changes since then.
func (j *job) attachAt(part *checkpoint.Part) (bool, error) {
	for i, in := range j.inputs {
		cur, err := j.cursor(i, part.Epoch)
		if errors.Is(err, relation.ErrDetached) {
			j.dropCursors()
			return false, nil
		}
		if err != nil {
			return false, err
		}
		in.cur = cur
	}
	if j.rel != nil {
		j.rel.Heal()
		if _, upper := j.rel.Bounds(); upper != part.Epoch+1 {
			j.rel.Reset(part.Epoch)
		}
	}
	j.resetEpochs(part.Epoch)
	j.isAttached()
	return true, j.startExec(part)
}

func (j *job) resetEpochs(e types.Epoch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flushed, j.decree, j.barrier = e, e, e
}

func (j *job) dropCursors() {
	for _, in := range j.inputs {
		if in.cur != nil {
			in.cur.Close()
			in.cur = nil
		}
	}
}

// resolve finds the relations that the plan reads.
func (j *job) resolve() error {
	j.inputs = nil
	cat := j.en.cat.Load()
	for _, spec := range j.plan.Inputs {
		rel, err := j.en.Relation(spec.Relation)
		if err != nil {
			return err
		}
		in := &jobInput{spec: spec, rel: rel}
		if o := cat.ByID(spec.Relation); o != nil && o.Kind == catalog.SourceRelation {
			if in.stream, err = j.en.streamRef(o); err != nil {
				return err
			}
		}
		j.inputs = append(j.inputs, in)
	}
	return nil
}

// streamRef finds the hub and number of a source's relation.
func (en *Engine) streamRef(o *catalog.Object) (*streamRef, error) {
	en.mu.RLock()
	defer en.mu.RUnlock()
	for _, h := range en.sources {
		for i, id := range h.ids {
			if id == o.ID {
				return &streamRef{hub: h, num: i}, nil
			}
		}
	}
	return nil, pgerr.New(pgerr.UndefinedTable, "source relation %q is gone", o.Name)
}

func (j *job) onlyStreams() bool {
	for _, in := range j.inputs {
		if in.stream == nil {
			return false
		}
	}
	return true
}

// cursor attaches to input i at an epoch. For a source it also makes sure
// that the columns wanted are read from there on.
func (j *job) cursor(i int, from types.Epoch) (cur relation.Cursor, err error) {
	in := j.inputs[i]
	if in.stream == nil {
		return in.rel.Attach(j.name, from, j.ready)
	}
	err = j.en.between(j.ctx, func() error {
		cur, err = in.rel.Attach(j.name, from, j.ready)
		if err == nil {
			in.stream.hub.require(in.stream.num, in.spec.Columns)
		}
		return err
	})
	return cur, err
}

// attachNow places a cursor on every input and chooses the epoch c, the
// newest at which all of them can be read; snapshots (nil for sources) hold
// the inputs at c.
func (j *job) attachNow() (c types.EpochInfo, snaps []relation.Snapshot, err error) {
	at := types.Epoch(0)
	for i, in := range j.inputs {
		if in.cur, err = j.firstCursor(i); err != nil {
			return c, nil, err
		}
		at = max(at, in.cur.Position())
	}
	if len(j.inputs) == 0 {
		at = j.en.closed.Load().ID
	}
	j.isAttached() // its cursors hold all that comes; an input may need the replay to get on
	snaps = make([]relation.Snapshot, len(j.inputs))
	for i, in := range j.inputs {
		if err := in.rel.Wait(j.ctx, at); err != nil {
			return c, snaps, err
		}
		if in.stream == nil {
			if snaps[i], err = in.rel.Pin(at); err != nil {
				return c, snaps, err
			}
		}
		in.cur.Skip(at)
	}
	return types.EpochInfo{ID: at, Now: j.en.closed.Load().Now}, snaps, nil
}

// firstCursor attaches to input i at its newest epoch. A view that is being
// built, stands still or has failed is waited for; meanwhile whoever waits for
// this job to stand at its inputs is let go: it has no place to keep yet.
func (j *job) firstCursor(i int) (relation.Cursor, error) {
	rel := j.inputs[i].rel
	for {
		cur, err := j.cursor(i, relation.Now)
		if err == nil {
			if err = rel.Wait(j.ctx, cur.Position()); err == nil {
				return cur, nil
			}
			cur.Close()
		} else if !errors.Is(err, relation.ErrDetached) {
			return nil, err
		}
		j.isAttached()
		select {
		case <-time.After(inputRetry):
		case <-j.ctx.Done():
			return nil, context.Cause(j.ctx)
		}
	}
}

// inputRetry is the time between two looks at an input that is not readable.
const inputRetry = 5 * time.Millisecond

// waitReadable waits until a relation has a first content.
func waitReadable(ctx context.Context, r relation.Relation) error {
	for {
		since, upper := r.Bounds()
		if upper > since {
			return nil
		}
		if err := r.Wait(ctx, max(since, upper)); err != nil {
			return err
		}
	}
}

// backfill pushes what lies before c: the snapshots' rows, and the sources'
// rows from the part's positions (no part: from the beginning).
func (j *job) backfill(c types.EpochInfo, snaps []relation.Snapshot, part *checkpoint.Part) error {
	for i, in := range j.inputs {
		var err error
		if in.stream != nil {
			err = j.backfillStream(i, c.ID, part)
		} else {
			err = j.backfillSnapshot(i, snaps[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *job) backfillSnapshot(i int, s relation.Snapshot) error {
	chunks, err := s.Scan(j.ctx, j.inputs[i].spec.Columns)
	if err != nil {
		return err
	}
	defer chunks.Close()
	for {
		c, err := chunks.Next()
		if err != nil || c == nil {
			return err
		}
		j.progress(int64(c.Rows()))
		if err := j.push(i, c); err != nil {
			return err
		}
	}
}

func (j *job) backfillStream(i int, c types.Epoch, part *checkpoint.Part) error {
	ref := j.inputs[i].stream
	var until, from []types.SplitPosition
	err := j.en.between(j.ctx, func() error {
		until = ref.hub.positionsAt(c)
		return nil
	})
	if err != nil {
		return err
	}
	if part != nil {
		for _, p := range part.Positions {
			if p.Source == ref.hub.obj.ID {
				from = p.Splits
			}
		}
	}
	needs := make([][]int, len(ref.hub.streams))
	needs[ref.num] = j.inputs[i].spec.Columns
	if needs[ref.num] == nil {
		needs[ref.num] = []int{}
	}
	return ref.hub.readRange(j.ctx, from, until, needs, func(b sourceBatch) error {
		chunk := b.batch.Chunks[ref.num]
		if chunk == nil || chunk.N == 0 {
			return nil
		}
		j.progress(int64(chunk.N))
		return j.push(i, chunk)
	})
}

func (j *job) progress(n int64) {
	j.mu.Lock()
	j.status.Progress += n
	j.mu.Unlock()
}
