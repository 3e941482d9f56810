package exec

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the randomised tests, 0: random")

// newSeed gives a seed and prints it.
func newSeed(t testing.TB) uint64 {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	return s
}

// opParser reads the operators of a test, one a line:
//
//	filter E
//	project E; E; …
//	agg keys=0,1 append-only: count, sum($1), max($1) distinct, count($0) filter($2)
//	join left=0 right=0 null-safe residual=E
//	join left=0 right=0 kind=left|full|semi|anti
//	set intersect|intersect-all|except|except-all
//	single by=0
//	union
//	values E, E; E, E
type opParser struct {
	t      *testing.T
	in     [][]types.Type // of the next operator
	ops    []OpSpec
	tables int
}

func (p *opParser) states(kinds ...state.Kind) (ts []state.TableSpec) {
	for _, k := range kinds {
		ts = append(ts, state.TableSpec{ID: testID(p.tables), Name: fmt.Sprint("t", p.tables), Kind: k})
		p.tables++
	}
	return ts
}

func (p *opParser) add(name string, out []types.Type, tables []state.TableSpec, mk func(*Task) (Operator, error)) {
	p.ops = append(p.ops, opSpec(len(p.ops), name, out, tables, mk))
	p.ops[len(p.ops)-1].In = p.in
	p.in = [][]types.Type{out}
}

func (p *opParser) line(s string) {
	name, rest, _ := strings.Cut(s, " ")
	switch name {
	case "filter":
		e := parseExpr(rest, p.in[0])
		p.add(name, p.in[0], nil, func(t *Task) (Operator, error) { return NewFilter(t, mustCompile(e)), nil })
	case "project":
		es := p.exprs(rest, ";")
		p.add(name, typesOf(es), nil, func(t *Task) (Operator, error) { return NewProject(t, mustCompile(es...)), nil })
	case "union":
		p.add(name, p.in[0], nil, func(*Task) (Operator, error) { return NewUnion(), nil })
	case "values":
		var rows [][]expr.Expr
		for _, r := range strings.Split(rest, ";") {
			rows = append(rows, p.exprs(r, ","))
		}
		p.add(name, typesOf(rows[0]), p.states(state.KindList), func(t *Task) (Operator, error) {
			var ps []*expr.Program
			for _, r := range rows {
				ps = append(ps, mustCompile(r...))
			}
			return NewValues(t, ps), nil
		})
	case "agg":
		p.agg(rest)
	case "join":
		p.join(rest)
	case "set":
		p.setOp(rest)
	case "single":
		p.single(rest)
	default:
		p.t.Fatalf("unknown operator %q", name)
	}
}

func (p *opParser) exprs(s, sep string) (es []expr.Expr) {
	var in []types.Type
	if len(p.in) > 0 {
		in = p.in[0]
	}
	for _, e := range strings.Split(s, sep) {
		es = append(es, parseExpr(e, in))
	}
	return es
}

func typesOf(es []expr.Expr) (ts []types.Type) {
	for _, e := range es {
		ts = append(ts, e.Type())
	}
	return ts
}

func ints(s string) (out []int) {
	out = []int{}
	for _, w := range strings.Split(s, ",") {
		if i, err := strconv.Atoi(w); err == nil {
			out = append(out, i)
		}
	}
	return out
}

func (p *opParser) agg(s string) {
	head, calls, _ := strings.Cut(s, ":")
	spec := HashAggSpec{In: p.in[0], AppendOnly: strings.Contains(head, "append-only")}
	var out []types.Type
	for _, w := range strings.Fields(head) {
		if k, ok := strings.CutPrefix(w, "keys="); ok {
			spec.Keys = ints(k)
		}
	}
	for _, k := range spec.Keys {
		out = append(out, spec.In[k])
	}
	for _, c := range strings.Split(calls, ",") {
		if c = strings.TrimSpace(c); c != "" {
			spec.Aggs = append(spec.Aggs, p.call(c))
			out = append(out, spec.Aggs[len(spec.Aggs)-1].T)
		}
	}
	p.aggOp(spec, out)
}

func (p *opParser) aggOp(spec HashAggSpec, out []types.Type) {
	tables := p.states(state.KindLines)
	tables[0].Width = spec.Width()
	for range spec.States() {
		tables = append(tables, p.states(state.KindSorted)...)
	}
	p.add("hash_agg", out, tables, func(t *Task) (Operator, error) { return NewHashAgg(t, spec), nil })
}

// call reads "sum($1) distinct filter($2)".
func (p *opParser) call(s string) AggCall {
	f := strings.Fields(s)
	name, arg, has := strings.Cut(strings.TrimSuffix(f[0], ")"), "($")
	var args []expr.Expr
	c := AggCall{Arg: -1, Filter: -1}
	if has {
		c.Arg, _ = strconv.Atoi(arg)
		args = append(args, &expr.Column{Index: c.Arg, T: p.in[0][c.Arg]})
	}
	var err error
	c.Func, _, c.T, err = expr.ResolveAggregate(name, args, !has, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, w := range f[1:] {
		if w == "distinct" {
			c.Distinct = true
		} else {
			c.Filter, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(w, "filter($"), ")"))
		}
	}
	return c
}

func (p *opParser) join(s string) {
	spec := HashJoinSpec{Types: [2][]types.Type{p.in[0], p.in[1]}}
	out := concatTypes(p.in[0], p.in[1])
	opts, residual, has := strings.Cut(s, "residual=")
	for _, w := range strings.Fields(opts) {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "left":
			spec.Keys[0] = ints(v)
		case "right":
			spec.Keys[1] = ints(v)
		case "kind":
			spec.Kind = joinKinds[v]
		case "null-safe":
			spec.NullSafe = make([]bool, len(spec.Keys[0]))
			for i := range spec.NullSafe {
				spec.NullSafe[i] = true
			}
		}
	}
	if spec.Kind == SemiJoin || spec.Kind == AntiJoin {
		out = p.in[0]
	}
	tables := p.states(spec.Kind.States()...)
	if spec.Kind != InnerJoin {
		tables[len(tables)-1].Width = JoinLineWidth
	}
	p.add("hash_join", out, tables, func(t *Task) (Operator, error) {
		spec := spec
		if has {
			spec.Residual = mustCompile(parseExpr(residual, out))
		}
		return NewHashJoin(t, spec), nil
	})
}

var joinKinds = map[string]JoinKind{"left": LeftJoin, "full": FullJoin, "semi": SemiJoin, "anti": AntiJoin}

var setKinds = map[string]SetOpKind{"intersect": Intersect, "intersect-all": IntersectAll, "except": Except, "except-all": ExceptAll}

func (p *opParser) setOp(name string) {
	ts, kind := p.in[0], setKinds[name]
	tables := p.states(SetOpStates(ts)...)
	tables[0].Width = SetOpLineWidth
	p.add("set_op", ts, tables, func(t *Task) (Operator, error) { return NewSetOp(t, kind, ts), nil })
}

func (p *opParser) single(s string) {
	ts, by := p.in[0], ints(strings.TrimPrefix(s, "by="))
	tables := p.states(state.KindLines, state.KindBag)
	tables[0].Width = SingleRowLineWidth
	p.add("single_row", ts, tables, func(t *Task) (Operator, error) { return NewSingleRow(t, ts, by), nil })
}

// parseGraph reads a chain of operators over inputs, each on a port of its
// own.
func parseGraph(t *testing.T, text string, inputs [][]types.Type) *Graph {
	p := &opParser{t: t, in: inputs}
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		p.line(l)
	}
	p.ops = append(p.ops, collectSpec(p.in[0]))
	p.ops[len(p.ops)-1].In = p.in
	f := Fragment{Ops: p.ops}
	for i := range inputs {
		f.Edges = append(f.Edges, Edge{From: -1 - i, Port: i})
	}
	return &Graph{Inputs: inputs, Fragments: []Fragment{f}}
}

// TestOperators runs the scripts. Each epoch runs in several variants that
// must not differ: chunk sizes, selections, garbage, weights split and merged.
//
//	graph in=(T T) in=(T T)    starts anew
//	epoch                      changes in, changelog out
func TestOperators(t *testing.T) {
	const variants = 6
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		rng := rand.New(rand.NewPCG(newSeed(t), 1))
		var inputs [][]types.Type
		var beds []*testbed
		var mix mixer
		var epoch types.Epoch
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "graph":
				inputs, beds, epoch = nil, nil, 0
				for _, a := range d.CmdArgs {
					if a.Key == "in" {
						inputs = append(inputs, parseTypes(strings.Join(a.Vals, ",")))
					}
				}
				mix = mixer{rng: rng, appendOnly: strings.Contains(d.Input, "append-only")}
				for range variants {
					beds = append(beds, newTestbed(t, parseGraph(t, d.Input, inputs)))
				}
				return ""
			case "epoch":
				epoch++
				return runEpoch(t, beds, mix, inputs, d.Input, epoch)
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func runEpoch(t *testing.T, beds []*testbed, mix mixer, inputs [][]types.Type, script string, epoch types.Epoch) string {
	ports := make([][]row, len(inputs))
	for _, l := range strings.Split(strings.TrimSpace(script), "\n") {
		if l != "" {
			r := parseRow(l, inputs)
			ports[r.port] = append(ports[r.port], r)
		}
	}
	var first string
	for i, b := range beds {
		b.begin()
		type item struct {
			port int
			c    *types.Chunk
		}
		var items []item
		for p, rows := range ports {
			for _, c := range mix.chunks(mix.split(rows), inputs[p]) {
				items = append(items, item{p, c})
			}
		}
		mix.rng.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		for _, it := range items {
			before := freshCopy(it.c, inputs[it.port])
			if err := b.push(it.port, it.c); err != nil {
				return "failed: " + err.Error()
			}
			after := freshCopy(it.c, inputs[it.port])
			if signedOf(before).String() != signedOf(after).String() {
				t.Fatal("an operator changed its input")
			}
		}
		if err := b.flush(epoch); err != nil {
			return "failed: " + err.Error()
		}
		got := b.out.String() + b.errs.String()
		if i == 0 {
			first = got
		} else if got != first {
			t.Fatalf("%s: variants differ in epoch %d:\n%s\nand\n%s", script, epoch, first, got)
		}
	}
	return first
}

func signedOf(c *types.Chunk) signed {
	s := signed{}
	s.addChunk(c)
	return s
}
