package exec

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// wiring makes the subtasks of a job and connects them.
type wiring struct {
	job         *Job
	graph       *Graph
	parallelism int

	thread []int // of each fragment
	roots  []int // of each thread
	// first is the number of a thread's first subtask.
	first []int
	// pipes[f][e][to] are the pipes into subtask to of fragment f by edge e,
	// by sender.
	pipes [][][][]*pipe
}

func (w *wiring) build(ctx context.Context) error {
	w.thread, w.roots = w.graph.threads(w.parallelism, false)
	for t := range w.roots {
		w.first = append(w.first, len(w.job.subtasks))
		for range w.count(t) {
			w.job.subtasks = append(w.job.subtasks, &subtask{job: w.job, number: len(w.job.subtasks)})
		}
	}
	w.gates()
	if err := w.open(ctx); err != nil {
		return err
	}
	w.inputs()
	for _, s := range w.job.subtasks {
		s.noteWake()
	}
	return nil
}

// count gives the number of subtasks of a thread.
func (w *wiring) count(t int) int { return w.graph.subtasks(w.roots[t], w.parallelism) }

// subtask gives subtask i of the thread that runs fragment f.
func (w *wiring) subtask(f, i int) *subtask { return w.job.subtasks[w.first[w.thread[f]]+i] }

// senders gives the number of subtasks that send to each receiver of e.
func (w *wiring) senders(e Edge) int {
	if e.From < 0 || e.Dist == Forward {
		return 1
	}
	return w.graph.subtasks(e.From, w.parallelism)
}

// gates makes each subtask's gate, with an input per edge and sender; a
// thread without edges gets one input for barriers.
func (w *wiring) gates() {
	w.pipes = make([][][][]*pipe, len(w.graph.Fragments))
	for t, f := range w.roots {
		edges := w.graph.Fragments[f].Edges
		w.pipes[f] = make([][][]*pipe, len(edges))
		var control []*pipe
		for i := range w.count(t) {
			s := w.subtask(f, i)
			s.gate = newGate(w.job.done)
			var all []*pipe
			for e, edge := range edges {
				var from []*pipe
				for range w.senders(edge) {
					from = append(from, s.gate.add(edge.Port))
				}
				w.pipes[f][e] = append(w.pipes[f][e], from)
				all = append(all, from...)
			}
			if len(edges) == 0 {
				p := s.gate.add(0)
				control = append(control, p)
				all = append(all, p)
			}
			s.gate.open(all)
		}
		if len(edges) == 0 {
			w.job.control = append(w.job.control, newEmitter(Edge{Dist: Any}, nil, w.job.cfg.NumGroups, control))
		}
	}
}

// exit makes the emitter of sender i for edge e of fragment f.
func (w *wiring) exit(f, e, i int, ts []types.Type) *emitter {
	edge := w.graph.Fragments[f].Edges[e]
	var to []*pipe
	if edge.Dist == Forward && edge.From >= 0 {
		to = []*pipe{w.pipes[f][e][i][0]}
	} else {
		for _, from := range w.pipes[f][e] {
			to = append(to, from[i])
		}
	}
	x := newEmitter(edge, ts, w.job.cfg.NumGroups, to)
	x.next = i % len(to) // senders start their rounds at different receivers
	return x
}

// inputs makes the driver's emitters.
func (w *wiring) inputs() {
	w.job.inputs = make([][]*emitter, len(w.graph.Inputs))
	for f := range w.graph.Fragments {
		for e, edge := range w.graph.Fragments[f].Edges {
			if edge.From < 0 {
				in := -1 - edge.From
				w.job.inputs[in] = append(w.job.inputs[in], w.exit(f, e, 0, w.graph.Inputs[in]))
			}
		}
	}
}

// open makes the operators of all subtasks over their restored state, side by
// side.
func (w *wiring) open(ctx context.Context) error {
	errs := make([]error, len(w.job.subtasks))
	stateful := 0
	for t := range w.roots {
		if len(w.tables(t)) > 0 {
			stateful += w.count(t)
		}
	}
	var wg sync.WaitGroup
	for t := range w.roots {
		for i := range w.count(t) {
			wg.Go(func() {
				n := w.first[t] + i
				if errs[n] = w.openState(ctx, t, i, stateful); errs[n] == nil {
					errs[n] = w.operators(ctx, t, i)
				}
			})
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// tables lists the states of a thread's operators.
func (w *wiring) tables(t int) []state.TableSpec {
	var ts []state.TableSpec
	for f := range w.graph.Fragments {
		if w.thread[f] != t {
			continue
		}
		for _, o := range w.graph.Fragments[f].Ops {
			ts = append(ts, o.Tables...)
		}
	}
	return ts
}

func (w *wiring) groups(t, i int) types.GroupRange {
	return types.RangeOf(i, w.job.cfg.NumGroups, w.count(t))
}

// openState opens subtask i of thread t over the handles that have something
// of its tables. Stateful is the number of subtasks that share the job's
// memory.
func (w *wiring) openState(ctx context.Context, t, i, stateful int) error {
	tables := w.tables(t)
	if len(tables) == 0 {
		return nil
	}
	cfg := &w.job.cfg
	s := w.job.subtasks[w.first[t]+i]
	var handles []state.Handle
	if cfg.Restore != nil {
		for _, h := range cfg.Restore.States {
			if h.NumGroups != cfg.NumGroups {
				return pgerr.Internal("job %s has %d key groups, its checkpoint %d", cfg.Name, cfg.NumGroups, h.NumGroups)
			}
			if slices.ContainsFunc(h.Tables, func(x state.TableSpec) bool {
				return slices.ContainsFunc(tables, func(y state.TableSpec) bool { return x.ID == y.ID })
			}) {
				handles = append(handles, h)
			}
		}
	}
	st, err := state.Open(ctx, cfg.Backend, state.Spec{
		Job: cfg.ID, Subtask: s.number, NumGroups: cfg.NumGroups, Groups: w.groups(t, i), Tables: tables,
		FS: cfg.FS, Dir: cfg.FS.PathJoin(cfg.Dir, fmt.Sprintf("s%03d", s.number)), Root: cfg.Root,
		Limit:      cfg.MemoryLimit, // the job's sum is checked by the checkpoint
		CacheBytes: cfg.CacheBytes / int64(stateful),
	}, handles)
	if err != nil {
		return err
	}
	s.state = st
	s.stats.stateBytes.Store(st.Bytes())
	return nil
}

// operators makes and links the operators of subtask i of thread t.
func (w *wiring) operators(ctx context.Context, t, i int) error {
	s := w.job.subtasks[w.first[t]+i]
	cfg := &w.job.cfg
	task := Task{
		Index: i, Parallelism: w.count(t), NumGroups: cfg.NumGroups, Groups: w.groups(t, i),
		From: w.job.last, State: s.state, Output: cfg.Output, Sink: cfg.Sink, Collect: cfg.Collect, ctx: ctx,
	}
	l := linker{graph: w.graph, in: func(f int) bool { return w.thread[f] == t }, fail: s.fail}
	if err := l.link(task); err != nil {
		s.nodes = l.nodes // to be closed
		return err
	}
	s.nodes = l.nodes
	for f := range w.graph.Fragments {
		for e, edge := range w.graph.Fragments[f].Edges {
			if w.thread[f] == t || edge.From < 0 || w.thread[edge.From] != t {
				continue
			}
			last := l.last[edge.From]
			x := w.exit(f, e, i, last.out)
			last.exits = append(last.exits, x)
			s.outs = append(s.outs, x)
		}
	}
	for _, n := range s.nodes {
		if p, ok := n.op.(preparer); ok {
			s.writer = p
		}
		if sh, ok := n.op.(shared); ok {
			s.lock = sh.Locker()
		}
	}
	return nil
}

// linker makes the operators of one goroutine and connects them by direct
// calls.
type linker struct {
	graph *Graph
	in    func(f int) bool // whether fragment f is part of it
	fail  func(*ErrorRows) error
	nodes []*node
	head  map[int]*node // by fragment
	last  map[int]*node
}

func (l *linker) link(task Task) error {
	l.head, l.last = map[int]*node{}, map[int]*node{}
	first := 0
	for f := range l.graph.Fragments {
		if !l.in(f) {
			continue
		}
		fr := &l.graph.Fragments[f]
		for k := range fr.Ops {
			o := &fr.Ops[k]
			t := task
			t.Op, t.first = o.ID, first
			first += len(o.Tables)
			op, err := o.New(&t)
			if err != nil {
				return err
			}
			n := &node{op: op, id: o.ID, name: o.Name, out: o.Out, fail: l.fail}
			if k == 0 {
				l.head[f] = n
			} else {
				l.last[f].next = append(l.last[f].next, target{node: n})
			}
			l.last[f] = n
			l.nodes = append(l.nodes, n)
		}
		for _, e := range fr.Edges {
			if e.From >= 0 && l.in(e.From) {
				l.last[e.From].next = append(l.last[e.From].next, target{l.head[f], e.Port})
			}
		}
	}
	return nil
}
