package planner

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/types"
)

// Explain gives a plan as text, a line an element: the output first, what it
// reads indented below. Verbose adds the logical plan, the states with their
// identities, and the canonical form.
func Explain(p *Planned, verbose bool) []string {
	x := explainer{p: p.Plan, verbose: verbose, single: true, seen: make([]bool, len(p.Plan.Fragments))}
	for i := range p.Plan.Fragments {
		x.single = x.single && p.Plan.Fragments[i].Singleton
	}
	var lines []string
	if verbose {
		lines = append(lines, "Logical plan")
		for _, l := range p.Optimized {
			lines = append(lines, "  "+l)
		}
		lines = append(lines, "Physical plan")
		x.indent = 1
	}
	x.finish()
	x.fragment(len(p.Plan.Fragments)-1, len(p.Plan.Fragments[len(p.Plan.Fragments)-1].Ops)-1)
	lines = append(lines, x.lines...)
	if verbose {
		lines = append(lines, "Canonical form")
		for _, l := range strings.Split(p.Canonical, "\n") {
			lines = append(lines, "  "+l)
		}
	}
	return lines
}

type explainer struct {
	p       *Plan
	verbose bool
	single  bool // all is one subtask
	indent  int
	lines   []string
	seen    []bool // fragments printed
}

func (x *explainer) line(format string, args ...any) {
	x.lines = append(x.lines, strings.Repeat("  ", x.indent)+fmt.Sprintf(format, args...))
}

// finish prints what ends an ad-hoc query.
func (x *explainer) finish() {
	if x.p.Limit != nil || x.p.Offset != nil {
		s := "Limit"
		if x.p.Limit != nil {
			s += " " + text(x.p.Limit)
		}
		if x.p.Offset != nil {
			s += " offset " + text(x.p.Offset)
		}
		x.line("%s", s)
		x.indent++
	}
	if len(x.p.Order) > 0 {
		keys := make([]string, len(x.p.Order))
		for i, k := range x.p.Order {
			keys[i] = fmt.Sprintf("#%d", k.Col+1)
			if k.Col < len(x.p.Schema) {
				keys[i] = x.p.Schema[k.Col].Name
			}
			keys[i] += orderWords(k.Order)
		}
		x.line("Sort by %s", strings.Join(keys, ", "))
		x.indent++
	}
}

func orderWords(o types.OrderSpec) string {
	s := ""
	if o.Desc {
		s = " desc"
	}
	if o.NullsFirst != o.Desc {
		if o.NullsFirst {
			return s + " nulls first"
		}
		return s + " nulls last"
	}
	return s
}

// fragment prints operator k of fragment f and all below it.
func (x *explainer) fragment(f, k int) {
	frag := &x.p.Fragments[f]
	op := frag.Ops[k]
	s := x.operator(op)
	if frag.Singleton && !x.single {
		s += "  [one subtask]"
	}
	x.line("%s", s)
	x.indent++
	if x.verbose {
		for _, d := range op.States() {
			x.line("state %s: %s %s, %s", hex.EncodeToString(d.ID[:]), kindNames[d.Kind], d.Name, d.Bound)
		}
	}
	if k > 0 {
		x.fragment(f, k-1)
	} else {
		for i := range frag.Edges {
			x.edge(&frag.Edges[i])
		}
	}
	x.indent--
}

var kindNames = [...]string{1: "lines", 2: "bag", 3: "sorted", 4: "list"}

func (x *explainer) edge(e *Edge) {
	exchange := ""
	switch e.Dist {
	case Hash:
		exchange = "Exchange by hash of (" + columnNumbers(e.Cols) + ")"
	case Singleton:
		exchange = "Exchange to one subtask"
	case Any:
		if e.From >= 0 {
			exchange = "Exchange to any subtask"
		}
	}
	if exchange != "" {
		x.line("%s", exchange)
		x.indent++
		defer func() { x.indent-- }()
	}
	if e.From >= 0 {
		if ops := x.p.Fragments[e.From].Ops; x.seen[e.From] {
			x.line("%s  [shared, shown above]", x.operator(ops[len(ops)-1]))
			return
		}
		x.seen[e.From] = true
		x.fragment(e.From, len(x.p.Fragments[e.From].Ops)-1)
		return
	}
	in := &x.p.Inputs[-1-e.From]
	if in.Point != nil {
		x.line("Look up %s key (%s) columns (%s)", in.Name, text(in.Point...), columnNumbers(in.Columns))
		return
	}
	if len(in.Columns) == 0 {
		x.line("Read %s", in.Name)
		return
	}
	x.line("Read %s columns (%s)", in.Name, columnNumbers(in.Columns))
}

// columnNumbers prints column positions, from 1 as SQL's ordinals.
func columnNumbers(cols []int) string {
	s := make([]string, len(cols))
	for i, c := range cols {
		s[i] = "#" + strconv.Itoa(c+1)
	}
	return strings.Join(s, ", ")
}

func (x *explainer) operator(op Op) string {
	switch o := op.(type) {
	case *Filter:
		return "Filter " + text(o.Pred)
	case *Project:
		if len(o.Exprs) == 0 {
			return "Project to no columns"
		}
		return "Project " + text(o.Exprs...)
	case *HashAgg:
		return x.hashAgg(o)
	case *HashJoin:
		return hashJoinText(o)
	case *SetOp:
		return "SetOp " + strings.ToLower(o.Kind.String())
	case *SingleRow:
		if len(o.By) == 0 {
			return "SingleRow"
		}
		return "SingleRow by (" + columnNumbers(o.By) + ")"
	case *UnionAll:
		return "UnionAll"
	case *Values:
		return fmt.Sprintf("Values %d rows", len(o.Rows))
	case *Materialize:
		if o.Key == nil {
			return "Materialize by the whole row"
		}
		return "Materialize by key (" + columnNumbers(o.Key) + ")"
	case *SinkWrite:
		return "SinkWrite"
	case *Collect:
		return "Collect"
	}
	return "?"
}

func hashJoinText(o *HashJoin) string {
	s := "HashJoin"
	switch o.Kind {
	case LeftJoin, FullJoin:
		s += " (" + o.Kind.String() + " outer)"
	case SemiJoin, AntiJoin:
		s += " (" + o.Kind.String() + ")"
	}
	if len(o.LeftKeys) == 0 {
		s += " of every left with every right row"
	} else {
		s += " left (" + columnNumbers(o.LeftKeys) + ") = right (" + columnNumbers(o.RightKeys) + ")"
	}
	if o.Residual != nil {
		s += " where " + text(o.Residual)
	}
	return s
}

func (x *explainer) hashAgg(o *HashAgg) string {
	s := "HashAgg"
	if len(o.Keys) > 0 {
		s += " by (" + columnNumbers(o.Keys) + ")"
	}
	for i, a := range o.Aggs {
		if i > 0 {
			s += ","
		}
		arg := columnNumbers(a.Args)
		if len(a.Args) == 0 {
			arg = "*"
		}
		if a.Distinct {
			arg = "distinct " + arg
		}
		s += " " + a.Func.Name + "(" + arg + ")"
		if a.Filter >= 0 {
			s += " filter " + columnNumbers([]int{a.Filter})
		}
	}
	if o.AppendOnly {
		s += "  [append-only]"
	}
	return s
}
