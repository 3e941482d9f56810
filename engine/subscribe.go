package engine

import (
	"context"
	"errors"
	"io"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// copySubscribe starts COPY (SUBSCRIBE TO relation) TO STDOUT: the content at
// one epoch, then each epoch's changes, whole epochs in order, for ever.
// Columns are epoch, diff and the relation's. With progress a row with diff 0
// and no values says that all up to its epoch was given.
func (s *session) copySubscribe(_ context.Context, n *sql.Subscribe, f *copyFormat) (*wire.Result, error) {
	if n.Query != nil {
		return nil, pgerr.Unsupported("SUBSCRIBE to a query").
			WithHint("Make a materialized view of it and subscribe to that.").At(n.Position())
	}
	if s.tx.explicit {
		return nil, pgerr.New(pgerr.ActiveTransaction, "SUBSCRIBE cannot run inside a transaction block").At(n.Position())
	}
	o, err := s.en.Catalog().Resolve(s.settings.searchPath(), n.Relation.Parts)
	if err != nil {
		return nil, pgerr.From(err).At(n.Relation.Position())
	}
	if o.Kind != catalog.Table && o.Kind != catalog.MaterializedView {
		return nil, pgerr.Unsupported("SUBSCRIBE to %s", o.Describe()).
			WithHint("Subscribe to a table or a materialized view.").At(n.Relation.Position())
	}
	sub := &subscription{s: s, id: o.ID, name: o.Name, snapshot: true, out: copyOut{f: f, names: []string{"epoch", "diff"}}}
	for _, c := range o.Columns {
		sub.out.names = append(sub.out.names, c.Name)
	}
	for _, w := range n.With {
		switch w.Name {
		case "snapshot":
			sub.snapshot, err = optionBool(w, true)
		case "progress":
			sub.progress, err = optionBool(w, true)
		default:
			err = errOption(w, "SUBSCRIBE", "snapshot, progress")
		}
		if err != nil {
			return nil, err
		}
	}
	return &wire.Result{CopyOut: &wire.CopyOut{Binary: f.binary, Columns: len(sub.out.names), Run: sub.run}}, nil
}

// subscription is a running SUBSCRIBE.
type subscription struct {
	s        *session
	id       types.UUID
	name     string
	snapshot bool
	progress bool
	out      copyOut
	told     types.Epoch // the last epoch that progress was told of
	rewound  types.Epoch // that of the last rollback that was told
	cur      relation.Cursor
	rolled   <-chan struct{} // closed when a rollback takes the cursor's relation away
}

// run streams until the client or the relation goes.
func (u *subscription) run(ctx context.Context, w io.Writer) (string, error) {
	release := u.s.en.subscribe(u.id)
	defer release()
	defer func() {
		if u.cur != nil {
			u.cur.Close()
		}
	}()
	if err := u.out.begin(w); err != nil {
		return "", err
	}
	if err := u.start(ctx); err != nil {
		return "", err
	}
	for {
		err := u.follow(ctx, w)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if errors.Is(err, relation.ErrDetached) {
			return "", pgerr.New(pgerr.ConfigurationLimit, "the subscriber of \"%s\" is too slow: the changes that it has not read are no longer kept", u.name).
				WithHint("Subscribe again, and read faster.")
		}
		if again, rerr := u.rewind(ctx); rerr != nil {
			return "", rerr
		} else if !again {
			return "", err
		}
	}
}

// start sends the content and attaches where it ends.
func (u *subscription) start(ctx context.Context) error {
	u.rolled = u.s.en.timelineChanged()
	pins, err := u.s.en.Pin(ctx, []types.UUID{u.id}, u.s.low)
	if err != nil {
		return err
	}
	defer pins.Release()
	u.s.low = max(u.s.low, pins.Epoch)
	r, err := u.s.en.Relation(u.id)
	if err != nil {
		return err
	}
	if u.cur, err = r.Attach("subscriber", pins.Epoch, nil); err != nil {
		return err
	}
	if u.snapshot {
		rd := reader{snap: pins.Snaps[u.id]}
		if err := rd.scan(ctx, nil, func(c *types.Chunk) error { return u.send(pins.Epoch, c) }); err != nil {
			return err
		}
	}
	return u.tell(pins.Epoch)
}

// send writes an epoch's rows.
func (u *subscription) send(e types.Epoch, c *types.Chunk) error {
	for k := range c.Rows() {
		r := c.Row(k)
		if err := u.out.row([]int64{int64(e), int64(c.DiffAt(r))}, c, r); err != nil {
			return err
		}
	}
	return nil
}

// tell says, with progress, that all up to epoch e was given.
func (u *subscription) tell(e types.Epoch) error {
	if !u.progress || e <= u.told {
		return nil
	}
	u.told = e
	return u.out.row([]int64{int64(e), 0}, nil, 0)
}

// errRolledBack ends following: the relation was replaced by a rollback.
var errRolledBack = pgerr.New(pgerr.SerializationFailure, "the database was rolled back and the relation is no longer there")

// follow sends the changes as they come.
func (u *subscription) follow(ctx context.Context, w io.Writer) error {
	for {
		upper, err := u.catchUp()
		if err != nil {
			return err
		}
		if upper > 0 {
			if err := u.tell(upper - 1); err != nil {
				return err
			}
		}
		if f, ok := w.(wire.Flusher); ok {
			if err := f.Flush(); err != nil {
				return err
			}
		}
		select {
		case <-u.cur.Ready():
		case <-u.rolled:
			if _, err := u.catchUp(); err != nil { // the difference is from the last content
				return err
			}
			return errRolledBack
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// catchUp sends all changes that there are.
func (u *subscription) catchUp() (upper types.Epoch, err error) {
	for {
		d, upper, err := u.cur.Poll()
		if err != nil || d == nil {
			return upper, err
		}
		for _, c := range d.Chunks {
			if err := u.send(d.Info.ID, c); err != nil {
				return upper, err
			}
		}
		if err := u.tell(d.Info.ID); err != nil {
			return upper, err
		}
	}
}

// rewind goes on after a rollback of the database: what was sent becomes,
// with the difference, what holds now. False: there was none.
func (u *subscription) rewind(ctx context.Context) (bool, error) {
	chunks, e, ok, err := u.s.en.rollbackDiff(ctx, u.id)
	if err != nil || !ok || e <= u.rewound {
		return false, err
	}
	u.rewound = e
	u.rolled = u.s.en.timelineChanged()
	u.cur.Close()
	u.cur = nil
	r, err := u.s.en.Relation(u.id)
	if err != nil {
		return false, err
	}
	if u.cur, err = r.Attach("subscriber", e, nil); err != nil {
		return false, err
	}
	for _, c := range chunks {
		if err := u.send(e, c); err != nil {
			return false, err
		}
	}
	return true, u.tell(e)
}
