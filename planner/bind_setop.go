package planner

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// setOps are the set operations that compare their inputs.
var setOps = map[string]SetOpKind{"INTERSECT": Intersect, "EXCEPT": Except}

// bindSetOp binds UNION, INTERSECT and EXCEPT [ALL]. UNION is UNION ALL made
// distinct.
func (b *binder) bindSetOp(s *sql.SetOp) (*boundQuery, error) {
	left, err := b.bindQuery(s.Left, nil, false)
	if err != nil {
		return nil, err
	}
	right, err := b.bindQuery(s.Right, nil, false)
	if err != nil {
		return nil, err
	}
	if len(left.out) != len(right.out) {
		return nil, pgerr.New(pgerr.SyntaxError, "each %s query must have the same number of columns", s.Op).At(outputPos(s.Right, 0))
	}
	bq := &boundQuery{}
	ts := make([]types.Type, len(left.out))
	ids := make([]int, len(left.out))
	for i := range left.out {
		pair := []expr.Expr{b.operandOf(left, i), b.operandOf(right, i)}
		if ts[i], err = expr.CommonType(pair, s.Op, outputPos(s.Right, i)); err != nil {
			return nil, err
		}
		ids[i] = b.md.add(columnInfo{name: left.out[i].name, typ: ts[i]})
		bq.out = append(bq.out, outCol{name: left.out[i].name, id: ids[i]})
	}
	if left, err = b.typed(left, s.Left, ts); err != nil {
		return nil, err
	}
	if right, err = b.typed(right, s.Right, ts); err != nil {
		return nil, err
	}
	var ins [2]node
	var inCols [2][]int
	for k, in := range []*boundQuery{left, right} {
		if ins[k], inCols[k], err = b.castOutputs(in, ts, expr.Implicit, s.Position()); err != nil {
			return nil, err
		}
	}
	kind, compares := setOps[s.Op]
	switch {
	case compares && len(ids) == 0:
		return nil, unsupported(s, "%s of rows without columns", s.Op)
	case compares:
		if s.All {
			kind++
		}
		bq.node = &setOpNode{kind: kind, ins: ins, inCols: inCols, ids: ids}
		return bq, nil
	case s.Op != "UNION":
		return nil, unsupported(s, "%s", s.Op)
	}
	bq.node = &unionNode{ins: ins[:], inCols: inCols[:], ids: ids}
	if !s.All {
		b.distinct(bq)
	}
	return bq, nil
}

// operandOf is output column i of a query, for the choice of a type: an
// untyped literal takes the other side's.
func (b *binder) operandOf(q *boundQuery, i int) expr.Expr {
	if q.out[i].unknown {
		return nullConst(types.T(types.Unknown))
	}
	return b.md.ref(q.out[i].id)
}

// typed binds a query anew if it has untyped literals that are not to be text.
func (b *binder) typed(bq *boundQuery, q *sql.Query, ts []types.Type) (*boundQuery, error) {
	for i, c := range bq.out {
		if c.unknown && ts[i].Kind != types.Text {
			return b.bindQuery(q, ts, false)
		}
	}
	return bq, nil
}
