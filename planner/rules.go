package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/types"
)

// rule is a named step of optimisation over a whole query.
type rule struct {
	name  string
	apply func(m *metadata, q *boundQuery) error
}

// rules in the order in which they are applied. Each expects the form that
// those before it leave.
var rules = []rule{
	{"fold_constants", foldConstants},
	{"unnest", unnest},
	{"merge_blocks", mergeBlocks},
	{"push_filters", pushFilters},
	{"order_joins", orderJoins},
	{"prune_columns", pruneColumns},
	{"merge_projects", mergeProjects},
}

func optimize(m *metadata, q *boundQuery) error {
	for _, r := range rules {
		if err := r.apply(m, q); err != nil {
			return err
		}
	}
	return nil
}

// foldConstants evaluates what is constant, and drops conjuncts that are true.
func foldConstants(_ *metadata, q *boundQuery) error {
	q.node = rewrite(q.node, func(n node) node {
		switch n := n.(type) {
		case *filterNode:
			preds := foldPreds(n.preds)
			if len(preds) == 0 {
				return n.in
			}
			return &filterNode{in: n.in, preds: preds}
		case *joinNode:
			return &joinNode{ins: n.ins, on: foldPreds(n.on), pos: n.pos}
		case *pairJoinNode:
			j := *n
			j.on = foldPreds(n.on)
			return &j
		case *projectNode:
			items := slices.Clone(n.items)
			for i := range items {
				items[i].e = expr.Fold(items[i].e)
			}
			return &projectNode{in: n.in, items: items}
		case *valuesNode:
			rows := make([][]expr.Expr, len(n.rows))
			for i, r := range n.rows {
				rows[i] = make([]expr.Expr, len(r))
				for j, e := range r {
					rows[i][j] = expr.Fold(e)
				}
			}
			return &valuesNode{ids: n.ids, rows: rows}
		}
		return n
	})
	return nil
}

func foldPreds(preds []expr.Expr) []expr.Expr {
	var out []expr.Expr
	for _, p := range preds {
		for _, c := range factorOr(splitAnd(nil, expr.Fold(p))) {
			if k, ok := c.(*expr.Const); ok && !k.Value.Null && k.Value.I != 0 {
				continue
			}
			out = append(out, c)
		}
	}
	return out
}

// factorOr takes the conjuncts that stand in every branch of an OR out of it:
// what joins relations is often written so.
func factorOr(preds []expr.Expr) []expr.Expr {
	var out []expr.Expr
	for _, p := range preds {
		or, ok := p.(*expr.Or)
		if !ok {
			out = append(out, p)
			continue
		}
		branches := make([][]expr.Expr, len(or.Args))
		for i, a := range or.Args {
			branches[i] = splitAnd(nil, a)
		}
		common, rest := commonConjuncts(branches)
		out = append(out, common...)
		if rest != nil {
			out = append(out, rest)
		} else if len(common) == 0 {
			out = append(out, p)
		}
	}
	return out
}

// maxFactored bounds the conjuncts of an OR's first branch that are looked for
// in the others.
const maxFactored = 16

// commonConjuncts splits off what all branches have. The rest is nil if there
// is nothing in common, or if a branch has nothing else.
func commonConjuncts(branches [][]expr.Expr) (common []expr.Expr, rest expr.Expr) {
	for _, c := range branches[0][:min(len(branches[0]), maxFactored)] {
		everywhere := !mayFail(c)
		for _, b := range branches[1:] {
			everywhere = everywhere && slices.ContainsFunc(b[:min(len(b), maxFactored)], func(d expr.Expr) bool { return expr.Equal(c, d) })
		}
		if everywhere {
			common = append(common, c)
		}
	}
	if len(common) == 0 {
		return nil, nil
	}
	or := &expr.Or{}
	for _, b := range branches {
		left := slices.DeleteFunc(slices.Clone(b), func(d expr.Expr) bool {
			return slices.ContainsFunc(common, func(c expr.Expr) bool { return expr.Equal(c, d) })
		})
		if len(left) == 0 {
			return common, nil
		}
		or.Args = append(or.Args, joinAnd(left))
	}
	return common, or
}

// mayFail reports whether the value of e can be an error. FALSE after e folds
// away with it exactly if it cannot.
func mayFail(e expr.Expr) bool {
	_, decided := expr.Fold(&expr.And{Args: []expr.Expr{e, &expr.Const{Value: types.NewBool(false)}}}).(*expr.Const)
	return !decided
}

// substitution replaces columns by the expressions that compute them.
type substitution map[int]expr.Expr

func (s substitution) expr(e expr.Expr) expr.Expr {
	if len(s) == 0 {
		return e
	}
	return expr.Rewrite(e, func(x expr.Expr) expr.Expr {
		if c, ok := x.(*expr.Column); ok {
			if r, ok := s[c.Index]; ok {
				return r
			}
		}
		return x
	})
}

func (s substitution) exprs(es []expr.Expr) []expr.Expr {
	out := make([]expr.Expr, len(es))
	for i, e := range es {
		out[i] = s.expr(e)
	}
	return out
}

// maxInlined bounds the nodes of an expression that is put in the places of
// its column: nested projections would grow it exponentially.
const maxInlined = 128

func tooLarge(e expr.Expr) bool {
	n := 0
	expr.Walk(e, func(expr.Expr) bool { n++; return n <= maxInlined })
	return n > maxInlined
}

// inlinable gives what p computes, nil where it has to stay: values that
// differ from call to call are computed once, and large expressions too.
func (p *projectNode) inlinable() substitution {
	s := substitution{}
	for _, it := range p.items {
		if tooLarge(it.e) || expr.MaxVolatility(it.e) == expr.Volatile {
			return nil
		}
		if !it.passes() {
			s[it.id] = it.e
		}
	}
	return s
}

// mergeBlocks brings each block of filters, inner joins and projections into
// the form project(join(…)) or project(filter(…)) over what is no such block:
// derived tables and WITH queries dissolve in the query around them.
func mergeBlocks(m *metadata, q *boundQuery) error {
	q.node = rewrite(q.node, func(n node) node { return mergeNode(m, n) })
	return nil
}

// mergeNode merges a node with its inputs, which are merged already.
func mergeNode(m *metadata, n node) node {
	switch n := n.(type) {
	case *filterNode:
		return mergeFilter(n)
	case *joinNode:
		return mergeJoin(m, n)
	case *projectNode:
		return mergeProject(n)
	}
	return n
}

func mergeFilter(n *filterNode) node {
	switch in := n.in.(type) {
	case *filterNode:
		return &filterNode{in: in.in, preds: slices.Concat(in.preds, n.preds)}
	case *joinNode:
		return &joinNode{ins: in.ins, on: slices.Concat(in.on, n.preds), pos: in.pos}
	case *projectNode:
		s := in.inlinable()
		if s == nil {
			return n
		}
		return &projectNode{in: mergeFilter(&filterNode{in: in.in, preds: s.exprs(n.preds)}), items: in.items}
	}
	return n
}

func mergeProject(n *projectNode) node {
	in, ok := n.in.(*projectNode)
	if !ok {
		return n
	}
	s := in.inlinable()
	if s == nil {
		return n
	}
	items := make([]item, len(n.items))
	for i, it := range n.items {
		items[i] = item{id: it.id, e: s.expr(it.e)}
	}
	return mergeProject(&projectNode{in: in.in, items: items})
}

// mergeJoin pulls the inputs' own joins, filters and projections up.
func mergeJoin(m *metadata, n *joinNode) node {
	out := &joinNode{}
	s := substitution{}
	top := &projectNode{}
	for i, in := range n.ins {
		computed := false
		if p, ok := in.(*projectNode); ok {
			if ps := p.inlinable(); ps != nil {
				for id, e := range ps {
					s[id] = e
				}
				top.items = append(top.items, p.items...)
				in, computed = p.in, true
			}
		}
		if !computed {
			for _, id := range in.columns() {
				top.items = append(top.items, item{id: id, e: m.ref(id)})
			}
		}
		switch in := in.(type) {
		case *joinNode:
			out.ins, out.on, out.pos = append(out.ins, in.ins...), append(out.on, in.on...), append(out.pos, in.pos...)
		case *filterNode:
			out.ins, out.on, out.pos = append(out.ins, in.in), append(out.on, in.preds...), append(out.pos, n.pos[i])
		default:
			out.ins, out.pos = append(out.ins, in), append(out.pos, n.pos[i])
		}
	}
	for _, p := range n.on {
		out.on = append(out.on, s.expr(p))
	}
	top.in = out
	return top
}

// mergeProjects merges projections that stand on one another, and removes
// those that change nothing.
func mergeProjects(_ *metadata, q *boundQuery) error {
	q.node = rewrite(q.node, func(n node) node {
		p, ok := n.(*projectNode)
		if !ok {
			return n
		}
		p, ok = mergeProject(p).(*projectNode)
		if ok && slices.Equal(p.columns(), p.in.columns()) && !slices.ContainsFunc(p.items, func(it item) bool { return !it.passes() }) {
			return p.in
		}
		return p
	})
	return nil
}
