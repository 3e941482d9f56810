package planner

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/state"
)

// The canonical form of a relation says what it contains and nothing of how
// it was written or is run: base columns as (object, column number), typed
// constants, projections inlined, filters and inner joins as one block with
// sorted conjuncts. Names, positions, aliases, parallelism and exchanges are
// not in it. States are identified by hashes of it.

// canonRel is a relation in canonical form: its text, and the text of each
// column that it gives.
type canonRel struct {
	text string
	cols map[int]string
}

// canonizer makes canonical forms; each node's once. Off, it makes none: the
// states of an ad-hoc query outlive nothing and need no identity.
type canonizer struct {
	on   bool
	m    *metadata
	memo map[node]*canonRel
	defs []string // what the short names in texts mean, in order
	have map[string]bool
}

func newCanonizer(m *metadata, on bool) *canonizer {
	return &canonizer{on: on, m: m, memo: map[node]*canonRel{}, have: map[string]bool{}}
}

// short gives a hashed name to a text, and remembers its meaning.
func (c *canonizer) short(kind, text string) string {
	h := sha256.Sum256([]byte(kind + "\x00" + text))
	name := kind + ":" + hex.EncodeToString(h[:8])
	if !c.have[name] {
		c.have[name] = true
		c.defs = append(c.defs, name+" = "+text)
	}
	return name
}

// bounded is the text of a column, by a short name if it is long: texts of
// columns computed from columns would grow exponentially.
func (c *canonizer) bounded(text string) string {
	const maxText = 512
	if len(text) <= maxText {
		return text
	}
	return c.short("column", text)
}

// block is a maximal tree of filters, inner joins and projections.
type block struct {
	leaves []node
	preds  []expr.Expr
	subst  substitution
}

func (c *canonizer) collect(n node, b *block) {
	switch n := n.(type) {
	case *filterNode:
		c.collect(n.in, b)
		b.preds = append(b.preds, n.preds...)
		return
	case *projectNode:
		if s := n.inlinable(); s != nil {
			c.collect(n.in, b)
			for id, e := range s {
				b.subst[id] = b.subst.expr(e)
			}
			return
		}
	case *equiJoinNode:
		if n.kind != InnerJoin {
			break
		}
		c.collect(n.left, b)
		c.collect(n.right, b)
		for i := range n.leftKeys {
			b.preds = append(b.preds, c.keyEquality(n, i))
		}
		b.preds = append(b.preds, n.residual...)
		return
	}
	b.leaves = append(b.leaves, n)
}

func (c *canonizer) keyEquality(n *equiJoinNode, i int) expr.Expr {
	l, r := c.m.ref(n.leftKeys[i]), c.m.ref(n.rightKeys[i])
	if n.nullSafe[i] {
		return &expr.Not{Arg: &expr.Distinct{Left: l, Right: r}}
	}
	eq, err := expr.ResolveOp("=", l, r, 0)
	if err != nil { // it was bound as "=" before
		return &expr.Distinct{Left: l, Right: r}
	}
	return eq
}

// relation gives the canonical form of what n gives.
func (c *canonizer) relation(n node) *canonRel {
	if r := c.memo[n]; r != nil || !c.on {
		return cmp.Or(r, &canonRel{})
	}
	b := &block{subst: substitution{}}
	c.collect(n, b)
	bases := make([]canonRel, len(b.leaves))
	for i, l := range b.leaves {
		bases[i] = c.leaf(l)
	}
	var best *canonRel
	for _, ordinals := range numberings(bases) {
		r := c.numbered(b, bases, ordinals, n.columns())
		if best == nil || r.text < best.text {
			best = r
		}
	}
	c.memo[n] = best
	return best
}

// numbered is the block's form with its leaves told apart by ordinals.
func (c *canonizer) numbered(b *block, bases []canonRel, ordinals []int, out []int) *canonRel {
	names := map[int]string{}
	leaves := make([]string, len(bases))
	for i, base := range bases {
		suffix := ""
		if ordinals[i] > 0 {
			suffix = "#" + strconv.Itoa(ordinals[i])
		}
		leaves[i] = base.text + suffix
		for id, col := range base.cols {
			names[id] = c.bounded(base.text + suffix + "." + col)
		}
	}
	slices.Sort(leaves)
	preds := make([]string, 0, len(b.preds))
	for _, p := range b.preds {
		preds = append(preds, exprText(b.subst.expr(p), names))
	}
	slices.Sort(preds)
	preds = slices.Compact(preds)
	r := &canonRel{text: "{" + strings.Join(leaves, ", ") + "}", cols: map[int]string{}}
	if len(preds) > 0 {
		r.text = "{" + strings.Join(leaves, ", ") + " | " + strings.Join(preds, " & ") + "}"
	}
	for _, id := range out {
		r.cols[id] = c.bounded(exprText(b.subst.expr(c.m.ref(id)), names))
	}
	return r
}

// exprText prints an expression over canonical columns. Comparisons that say
// the same are printed the same.
func exprText(e expr.Expr, names map[int]string) string {
	e = expr.Rewrite(e, func(x expr.Expr) expr.Expr {
		switch x := x.(type) {
		case *expr.Column:
			if x.Index < 0 {
				return x
			}
			return &expr.Column{Index: -1, T: x.T, Name: names[x.Index]}
		case *expr.Call:
			return orientCall(x)
		case *expr.Distinct:
			if text(x.Right) < text(x.Left) {
				return &expr.Distinct{Left: x.Right, Right: x.Left}
			}
		}
		return x
	})
	return text(e)
}

// mirrored are the comparisons that are true of (b, a) when the key is of
// (a, b).
var mirrored = map[string]string{"=": "=", "<>": "<>", ">": "<", ">=": "<="}

func orientCall(x *expr.Call) expr.Expr {
	op, ok := mirrored[x.Func.Name]
	if !ok || len(x.Args) != 2 {
		return x
	}
	if op == x.Func.Name && text(x.Args[0]) <= text(x.Args[1]) {
		return x
	}
	m, err := expr.ResolveOp(op, x.Args[1], x.Args[0], 0)
	if err != nil {
		return x
	}
	return m
}

// maxNumberings bounds how many ways to number equal leaves are compared.
const maxNumberings = 120

// numberings gives the ways to tell leaves of equal text apart: 0 for a leaf
// without a twin, else 1, 2, … in every order.
func numberings(bases []canonRel) [][]int {
	groups := map[string][]int{}
	total := 1
	for i, b := range bases {
		groups[b.text] = append(groups[b.text], i)
		if total *= len(groups[b.text]); total > maxNumberings {
			break
		}
	}
	all := [][]int{make([]int, len(bases))}
	if total > maxNumberings { // as written
		seen := map[string]int{}
		for i, b := range bases {
			seen[b.text]++
			all[0][i] = seen[b.text]
		}
		return all
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		g := groups[name]
		if len(g) == 1 {
			continue
		}
		var next [][]int
		for _, base := range all {
			permute(len(g), func(p []int) {
				n := slices.Clone(base)
				for i, leaf := range g {
					n[leaf] = p[i] + 1
				}
				next = append(next, n)
			})
		}
		all = next
	}
	return all
}

// permute calls f with each permutation of 0 … n-1, in a slice that it reuses.
func permute(n int, f func([]int)) {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	var rec func(int)
	rec = func(k int) {
		if k == n {
			f(p)
			return
		}
		for i := k; i < n; i++ {
			p[k], p[i] = p[i], p[k]
			rec(k + 1)
			p[k], p[i] = p[i], p[k]
		}
	}
	rec(0)
}

// leaf gives the canonical form of a node that ends a block. Its columns'
// texts are relative to it.
func (c *canonizer) leaf(n node) canonRel {
	r := canonRel{cols: map[int]string{}}
	if !c.on {
		return r
	}
	switch n := n.(type) {
	case *scanNode:
		r.text = n.rel.ID.String()
		for i, id := range n.ids {
			r.cols[id] = strconv.Itoa(int(n.rel.Columns[n.ords[i]].ID))
		}
	case *valuesNode:
		rows := make([]string, len(n.rows))
		for i, row := range n.rows {
			rows[i] = "(" + text(row...) + ")"
		}
		slices.Sort(rows)
		r.text = c.short("values", strings.Join(rows, ", "))
		for i, id := range n.ids {
			r.cols[id] = strconv.Itoa(i)
		}
	case *aggNode:
		in := c.relation(n.in)
		r.text = c.short("group", in.text+" by ("+strings.Join(colTexts(in, n.keys), ", ")+")")
		for _, k := range n.keys {
			r.cols[k] = "[" + in.cols[k] + "]"
		}
		for _, a := range n.aggs {
			r.cols[a.id] = "[" + aggText(a.call, in) + "]"
		}
	case *projectNode:
		in := c.relation(n.in)
		r.text = c.short("project", in.text)
		for _, it := range n.items {
			r.cols[it.id] = "[" + exprText(it.e, in.cols) + "]"
		}
	case *unionNode:
		c.unionLeaf(n, &r)
	default:
		c.joinLeaf(n, &r)
	}
	return r
}

func (c *canonizer) unionLeaf(n *unionNode, r *canonRel) {
	ins := make([]*canonRel, len(n.ins))
	rows := make([]string, len(n.ins))
	for k, in := range n.ins {
		ins[k] = c.relation(in)
		rows[k] = ins[k].text + " -> (" + strings.Join(colTexts(ins[k], n.inCols[k]), ", ") + ")"
	}
	slices.Sort(rows)
	r.text = c.short("union", strings.Join(rows, " + "))
	for i, id := range n.ids {
		r.cols[id] = strconv.Itoa(i)
	}
}

func colTexts(r *canonRel, ids []int) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = r.cols[id]
	}
	return out
}

// aggText is an accumulator: function, argument, filter.
func aggText(a expr.Aggregate, in *canonRel) string {
	s := a.Func.ID() + "("
	if a.Distinct {
		s += "distinct "
	}
	for i, x := range a.Args {
		if i > 0 {
			s += ", "
		}
		s += exprText(x, in.cols)
	}
	s += ")"
	if a.Filter != nil {
		s += " filter " + exprText(a.Filter, in.cols)
	}
	return s
}

// stateID hashes the parts of a state's identity.
func stateID(parts ...string) state.ID {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	var id state.ID
	copy(id[:], h.Sum(nil))
	return id
}

// lines identifies a grouping's lines: by one identity for each accumulator.
// Least and greatest values over append-only input are accumulators of their
// own kind.
func (c *canonizer) lines(n *aggNode, appendOnly bool) state.ID {
	in := c.relation(n.in)
	keys := strings.Join(colTexts(in, n.keys), ", ")
	parts := []string{"lines", in.text, keys}
	for _, a := range n.aggs {
		kind := "accumulator"
		if appendOnly && a.call.Func.Kind == expr.AggOrdered {
			kind = "append-only accumulator"
		}
		id := stateID(kind, in.text, keys, aggText(a.call, in))
		parts = append(parts, string(id[:]))
	}
	return stateID(parts...)
}

// sorted identifies the ordered values of an aggregate's argument.
func (c *canonizer) sorted(n *aggNode, a expr.Aggregate) state.ID {
	in := c.relation(n.in)
	order := "asc"
	switch {
	case a.Distinct:
		order = "distinct"
	case a.Func.Desc:
		order = "desc"
	}
	filter := ""
	if a.Filter != nil {
		filter = exprText(a.Filter, in.cols)
	}
	args := make([]string, len(a.Args))
	for i, x := range a.Args {
		args[i] = exprText(x, in.cols)
	}
	return stateID("sorted", in.text, strings.Join(colTexts(in, n.keys), ", "), strings.Join(args, ", "), order, filter)
}

// bag identifies rows kept by a key: an identity for each retained column.
func (c *canonizer) bag(use string, n node, keys, cols []int) state.ID {
	in := c.relation(n)
	k := strings.Join(colTexts(in, keys), ", ")
	parts := []string{"bag", use, in.text, k}
	for _, col := range colTexts(in, cols) {
		id := stateID("column", in.text, k, col)
		parts = append(parts, string(id[:]))
	}
	return stateID(parts...)
}

// list identifies the memory of a VALUES list.
func (c *canonizer) list(n *valuesNode) state.ID {
	l := c.leaf(n)
	return stateID("list", l.text)
}

// output is the canonical form of a query's output, for people and tests:
// the relation, its columns, and what the short names mean.
func (c *canonizer) output(q *boundQuery) string {
	r := c.relation(q.node)
	s := r.text + " -> (" + strings.Join(colTexts(r, q.ids()), ", ") + ")"
	defs := slices.Clone(c.defs)
	slices.Sort(defs)
	for _, d := range defs {
		s += "\n" + d
	}
	return s
}
