package exec

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Query is an ad-hoc read: a dataflow over bounded inputs, run once.
type Query struct {
	Graph   *Graph
	Info    types.EpochInfo // the epoch read, and what now() gives
	Backend state.Backend   // a resident one
	// Feed pushes the rows of an input; inputs are fed in order. Chunks are
	// borrowed. When push gives an error Feed stops and gives it back.
	Feed func(input int, push func(*types.Chunk) error) error
	// Out gets the output, in order if the graph has one, with positive
	// multiplicities. Chunks are borrowed.
	Out func(*types.Chunk) error
	// SortBytes bounds the memory for ordering, 0: no bound.
	SortBytes int64
}

// errEnough tells a feed that no more rows are wanted.
var errEnough = errors.New("no more rows are wanted")

// Run runs a query in the calling goroutine: the same operators as a job's,
// one epoch, no exchange. A row on which an expression fails fails the query.
func Run(ctx context.Context, q Query) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = pgerr.Internal("a query panicked: %v", r).WithDetail("%s", debug.Stack())
		}
	}()
	g := q.Graph
	if err := g.check(); err != nil {
		return err
	}
	last := g.Fragments[len(g.Fragments)-1].Ops
	f := newFinisher(g.Finish, last[len(last)-1].Out, q.SortBytes, q.Out)
	st, err := openQueryState(ctx, q)
	if err != nil {
		return err
	}
	if st != nil {
		defer st.Close()
	}
	l := linker{graph: g, in: func(int) bool { return true }, fail: failQuery}
	task := Task{
		Parallelism: 1, NumGroups: types.KeyGroups, Groups: types.GroupRange{Hi: types.KeyGroups},
		State: st, Now: q.Info.Now, ctx: ctx,
		Collect: func(c *types.Chunk) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return f.push(c)
		},
	}
	if err := l.link(task); err != nil {
		return err
	}
	err = feedAll(ctx, q, &l, f)
	if err == nil && !f.enough() {
		err = flushAll(q.Info, &l)
	}
	if err != nil && !(f.enough() && errors.Is(err, errEnough)) {
		return err
	}
	return f.end()
}

func openQueryState(ctx context.Context, q Query) (*state.State, error) {
	var tables []state.TableSpec
	for f := range q.Graph.Fragments {
		for _, o := range q.Graph.Fragments[f].Ops {
			tables = append(tables, o.Tables...)
		}
	}
	if len(tables) == 0 {
		return nil, nil
	}
	return state.Open(ctx, q.Backend, state.Spec{
		NumGroups: types.KeyGroups, Groups: types.GroupRange{Hi: types.KeyGroups}, Tables: tables, FS: vfs.NewMem(),
	}, nil)
}

// failQuery makes the first error row the query's error.
func failQuery(rows *ErrorRows) error {
	for i, d := range rows.Diff {
		if d > 0 {
			return rows.Errs[i]
		}
	}
	return nil
}

func feedAll(ctx context.Context, q Query, l *linker, f *finisher) error {
	for i := range q.Graph.Inputs {
		to := l.inputs(i)
		push := func(c *types.Chunk) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			for _, t := range to {
				if err := t.node.process(t.port, c); err != nil {
					return err
				}
			}
			if f.enough() {
				return errEnough
			}
			return nil
		}
		if f.enough() {
			return nil
		}
		if err := q.Feed(i, push); err != nil {
			return err
		}
	}
	return nil
}

// inputs gives the operators that read input i.
func (l *linker) inputs(i int) []target {
	var ts []target
	for f := range l.graph.Fragments {
		for _, e := range l.graph.Fragments[f].Edges {
			if e.From == -1-i {
				ts = append(ts, target{l.head[f], e.Port})
			}
		}
	}
	return ts
}

func flushAll(info types.EpochInfo, l *linker) error {
	for _, n := range l.nodes {
		if err := n.op.Flush(info, n); err != nil {
			return err
		}
	}
	return nil
}
