package planner

import (
	"slices"

	"github.com/streamdb/streamdb/expr"
)

// findPoints turns filtered scans whose filter fixes the whole key of the
// relation by constants into look-ups. The filter stays: it costs nothing on
// one row.
func (b *builder) findPoints(n node) node {
	return rewrite(n, func(n node) node {
		f, ok := n.(*filterNode)
		if !ok {
			return n
		}
		s, ok := f.in.(*scanNode)
		if !ok || s.rel.Key == nil {
			return n
		}
		var key []int
		for _, k := range s.rel.Key {
			at := slices.Index(s.ords, k)
			if at < 0 {
				return n
			}
			key = append(key, s.ids[at])
		}
		point := b.md.keyConstants(key, f.preds)
		if point == nil {
			return n
		}
		return &filterNode{in: &scanNode{rel: s.rel, ords: s.ords, ids: s.ids, point: point}, preds: f.preds}
	})
}

// keyConstants gives the constant that preds fix each of the columns to, nil
// if one is free.
func (m *metadata) keyConstants(key []int, preds []expr.Expr) []expr.Expr {
	point := make([]expr.Expr, len(key))
	for i, id := range key {
		for _, p := range preds {
			if point[i] = m.constantFor(id, p); point[i] != nil {
				break
			}
		}
		if point[i] == nil {
			return nil
		}
	}
	return point
}

// constantFor gives the constant, as the column's type, that p says column id
// equals.
func (m *metadata) constantFor(id int, p expr.Expr) expr.Expr {
	l, r, nullSafe, ok := equality(p)
	if !ok || nullSafe {
		return nil
	}
	c, ok := r.(*expr.Const)
	if columnID(l) != id || !ok {
		if c, ok = l.(*expr.Const); columnID(r) != id || !ok {
			return nil
		}
	}
	if c.Value.Null || c.Type().Kind == m.typ(id).Kind {
		if c.Value.Null {
			return nil
		}
		return c
	}
	cast, err := expr.Cast(c, m.typ(id), expr.Implicit, 0)
	if err != nil {
		return nil
	}
	if k, ok := expr.Fold(cast).(*expr.Const); ok && !k.Value.Null {
		return k
	}
	return nil
}
