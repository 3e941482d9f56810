package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// orderJoins makes of each join of many a left-deep tree of joins of two: in
// the order written, except that a relation waits until an equality connects
// it. Where none does, rows of one relation (or all) meet those of the rest: a
// relation of one row comes first then.
func orderJoins(m *metadata, q *boundQuery) error {
	var failed error
	q.node = rewrite(q.node, func(n node) node {
		if failed != nil {
			return n
		}
		if p, ok := n.(*pairJoinNode); ok {
			var tree node
			if tree, failed = m.splitCondition(p); failed != nil {
				return n
			}
			return tree
		}
		j, ok := n.(*joinNode)
		if !ok {
			return n
		}
		o := joinOrder{m: m, left: j.ins[0], rest: slices.Clone(j.ins[1:]), pos: slices.Clone(j.pos[1:]), preds: slices.Clone(j.on)}
		tree, err := o.run()
		if err != nil {
			failed = err
			return n
		}
		return tree
	})
	return failed
}

// equality takes "l = r" and "l IS NOT DISTINCT FROM r" apart.
func equality(e expr.Expr) (l, r expr.Expr, nullSafe, ok bool) {
	switch e := e.(type) {
	case *expr.Call:
		if e.Func.Name == "=" && len(e.Args) == 2 {
			return e.Args[0], e.Args[1], false, true
		}
	case *expr.Not:
		if d, ok := e.Arg.(*expr.Distinct); ok {
			return d.Left, d.Right, true, true
		}
	}
	return nil, nil, false, false
}

type joinOrder struct {
	m     *metadata
	left  node
	rest  []node
	pos   []int
	preds []expr.Expr
}

func (o *joinOrder) run() (node, error) {
	for len(o.rest) > 0 {
		next := slices.IndexFunc(o.rest, func(n node) bool { return o.connected(n) })
		if next < 0 {
			if next = slices.IndexFunc(o.rest, o.m.atMostOne); next < 0 {
				if next = 0; !o.m.atMostOne(o.left) {
					o.m.warnCross(o.pos[0])
				}
			}
		}
		right := o.rest[next]
		o.rest = slices.Delete(o.rest, next, next+1)
		o.pos = slices.Delete(o.pos, next, next+1)
		if err := o.join(right); err != nil {
			return nil, err
		}
	}
	if len(o.preds) > 0 { // of no column, or of one input only
		return &filterNode{in: o.left, preds: o.preds}, nil
	}
	return o.left, nil
}

func (o *joinOrder) connected(right node) bool {
	ls, rs := newIDSet(o.left.columns()...), newIDSet(right.columns()...)
	return slices.ContainsFunc(o.preds, func(p expr.Expr) bool {
		_, _, _, ok := sides(p, ls, rs)
		return ok
	})
}

// sides gives an equality's operands as those of the left and the right
// relation, if it connects them.
func sides(p expr.Expr, ls, rs idSet) (l, r expr.Expr, nullSafe, ok bool) {
	l, r, nullSafe, ok = equality(p)
	if !ok {
		return nil, nil, false, false
	}
	lc, rc := expr.Columns(l), expr.Columns(r)
	if len(lc) == 0 || len(rc) == 0 {
		return nil, nil, false, false
	}
	switch {
	case ls.hasAll(lc) && rs.hasAll(rc):
		return l, r, nullSafe, true
	case ls.hasAll(rc) && rs.hasAll(lc):
		return r, l, nullSafe, true
	}
	return nil, nil, false, false
}

// join joins the tree so far with right on all equalities between the two;
// the other conjuncts that their columns suffice for are its residual.
func (o *joinOrder) join(right node) error {
	ls, rs := newIDSet(o.left.columns()...), newIDSet(right.columns()...)
	both := newIDSet(slices.Concat(o.left.columns(), right.columns())...)
	j := &equiJoinNode{}
	lp, rp := newKeyProject(o.m, o.left), newKeyProject(o.m, right)
	var rest []expr.Expr
	for _, p := range o.preds {
		if l, r, nullSafe, ok := sides(p, ls, rs); ok {
			l, r, err := sameType(l, r)
			if err != nil {
				return err
			}
			j.leftKeys = append(j.leftKeys, lp.column(l))
			j.rightKeys = append(j.rightKeys, rp.column(r))
			j.nullSafe = append(j.nullSafe, nullSafe)
			continue
		}
		if cols := expr.Columns(p); len(cols) > 0 && both.hasAll(cols) {
			j.residual = append(j.residual, p)
		} else {
			rest = append(rest, p)
		}
	}
	o.preds = rest
	j.left, j.right = lp.node(), rp.node()
	o.left = j
	return nil
}

// sameType casts two operands of an equality to one kind, so that equal
// values have equal encodings.
func sameType(l, r expr.Expr) (expr.Expr, expr.Expr, error) {
	if l.Type().Kind == r.Type().Kind {
		return l, r, nil
	}
	t, err := expr.CommonType([]expr.Expr{l, r}, "JOIN", 0)
	if err != nil {
		return nil, nil, err
	}
	t = types.T(t.Kind)
	if l, err = expr.Cast(l, t, expr.Implicit, 0); err != nil {
		return nil, nil, err
	}
	r, err = expr.Cast(r, t, expr.Implicit, 0)
	return l, r, err
}

// keyProject computes join keys that are no plain columns below a join.
type keyProject struct {
	m     *metadata
	in    node
	items []item
}

func newKeyProject(m *metadata, in node) *keyProject { return &keyProject{m: m, in: in} }

func (k *keyProject) column(e expr.Expr) int {
	if c, ok := e.(*expr.Column); ok {
		return c.Index
	}
	for _, it := range k.items {
		if expr.Equal(it.e, e) {
			return it.id
		}
	}
	id := k.m.add(columnInfo{name: "key", typ: e.Type()})
	k.items = append(k.items, item{id: id, e: e})
	return id
}

func (k *keyProject) node() node {
	if len(k.items) == 0 {
		return k.in
	}
	p := &projectNode{in: k.in}
	for _, id := range k.in.columns() {
		p.items = append(p.items, item{id: id, e: k.m.ref(id)})
	}
	p.items = append(p.items, k.items...)
	return mergeProject(p)
}

// warnCross tells that two relations are joined without an equality.
func (m *metadata) warnCross(pos int) {
	m.warnings = append(m.warnings, pgerr.New(pgerr.Warning, "relations are joined without an equality of columns").
		WithDetail("Every row of one meets every row of the other, in one subtask, and each change costs as many rows as the other has.").
		WithHint("Join each relation to the others by at least one equality of columns, as in a.x = b.x.").At(pos))
}

// splitCondition makes keys of the equalities in a join's condition.
func (m *metadata) splitCondition(n *pairJoinNode) (node, error) {
	o := joinOrder{m: m, left: n.left, preds: n.on}
	if err := o.join(n.right); err != nil {
		return nil, err
	}
	j := o.left.(*equiJoinNode)
	j.kind = n.kind
	j.residual = append(j.residual, o.preds...) // of no column
	if len(j.leftKeys) == 0 && !m.atMostOne(n.left) && !m.atMostOne(n.right) {
		m.warnCross(n.pos)
	}
	return j, nil
}
