package exec

import (
	"context"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Graph is a dataflow that can be run: what exec/build makes of a plan. It is
// immutable and may be run any number of times, also at once.
type Graph struct {
	Inputs    [][]types.Type // column types of each input
	Fragments []Fragment     // in topological order; the last one is the output
	Finish    Finish         // of ad-hoc reads
}

// Fragment is a chain of operators that runs in one goroutine per subtask.
type Fragment struct {
	Singleton bool // one subtask whatever the parallelism
	Edges     []Edge
	Ops       []OpSpec
}

// Dist is how an edge deals rows to the subtasks of a fragment.
type Dist uint8

// The distributions.
const (
	Any       Dist = iota // any subtask: round robin by chunk
	Hash                  // by key group of the equality encoding of Cols
	Singleton             // the fragment has one subtask
	Forward               // subtask i to subtask i
)

// Edge feeds port Port of a fragment's first operator. From is a fragment, or
// -1-i for input i.
type Edge struct {
	From int
	Port int
	Dist Dist
	Cols []int
}

// OpSpec makes an operator for each subtask.
type OpSpec struct {
	ID     int
	Name   string // "hash_agg"
	In     [][]types.Type
	Out    []types.Type
	Tables []state.TableSpec
	New    func(t *Task) (Operator, error)
}

// Task is what an operator learns of the subtask that it is made for.
type Task struct {
	Op          int
	Index       int // among the fragment's subtasks
	Parallelism int // of the fragment
	NumGroups   int
	Groups      types.GroupRange
	From        types.Epoch  // the state is that of this epoch
	Now         types.Micros // of ad-hoc reads: what now() gives
	State       *state.State
	Output      *relation.Materialized
	Sink        connector.Sink
	Collect     func(*types.Chunk) error

	ctx   context.Context
	first int // number of the operator's first table in State
}

// Lines gives the operator's i-th state.
func (t *Task) Lines(i int) *state.Lines { return t.State.Lines(t.first + i) }

// Bag gives the operator's i-th state.
func (t *Task) Bag(i int) *state.Bag { return t.State.Bag(t.first + i) }

// Sorted gives the operator's i-th state.
func (t *Task) Sorted(i int) *state.Sorted { return t.State.Sorted(t.first + i) }

// List gives the operator's i-th state.
func (t *Task) List(i int) *state.List { return t.State.List(t.first + i) }

// subtasks gives the number of subtasks of fragment f at parallelism p.
func (g *Graph) subtasks(f, p int) int {
	if g.Fragments[f].Singleton {
		return 1
	}
	return p
}

// threads assigns the fragments to threads (goroutines, one per subtask): a
// fragment joins the thread of its only source if each subtask of it gets
// rows from the same subtask of the source alone; no exchange is needed
// there. With all set everything is one thread.
func (g *Graph) threads(p int, all bool) (of []int, roots []int) {
	of = make([]int, len(g.Fragments))
	for f := range g.Fragments {
		t := -1
		if all && f > 0 {
			t = 0
		} else if !all {
			t = g.fusesWith(f, p, of, roots)
		}
		if t < 0 {
			t = len(roots)
			roots = append(roots, f)
		}
		of[f] = t
	}
	return of, roots
}

// fusesWith gives the thread that fragment f can join, -1 if none.
func (g *Graph) fusesWith(f, p int, of, roots []int) int {
	t := -1
	n := g.subtasks(f, p)
	for _, e := range g.Fragments[f].Edges {
		if e.From < 0 {
			return -1
		}
		if t >= 0 && of[e.From] != t {
			return -1
		}
		t = of[e.From]
		if g.subtasks(roots[t], p) != n || n > 1 && e.Dist != Forward {
			return -1
		}
	}
	return t
}

// check verifies what running relies on.
func (g *Graph) check() error {
	if len(g.Fragments) == 0 {
		return pgerr.Internal("dataflow without fragments")
	}
	for f := range g.Fragments {
		fr := &g.Fragments[f]
		if len(fr.Ops) == 0 {
			return pgerr.Internal("fragment %d has no operators", f)
		}
		for _, e := range fr.Edges {
			if e.From >= f || e.From < -len(g.Inputs) {
				return pgerr.Internal("fragment %d has an edge from %d", f, e.From)
			}
			if e.Port < 0 || e.Port >= len(fr.Ops[0].In) {
				return pgerr.Internal("fragment %d has an edge to port %d", f, e.Port)
			}
		}
	}
	return nil
}
