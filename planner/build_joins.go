package planner

import (
	"fmt"
	"slices"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// join builds a join. One that is not inner decides on matches by its keys
// alone; see matched for the others.
func (b *builder) join(n *equiJoinNode) *stream {
	l, r := b.node(n.left), b.node(n.right)
	if n.kind != InnerJoin && len(n.residual) > 0 {
		return b.matched(n, l, r)
	}
	op := &HashJoin{Kind: n.kind, NullSafe: n.nullSafe}
	bound := [2]string{"the left input's rows", "the right input's rows"}
	left := b.state(b.canon.bag("join", n.left, n.leftKeys, l.cols), state.KindBag, "left", bound[0])
	keeps := []StateDecl{left}
	if n.kind == InnerJoin || n.kind == LeftJoin || n.kind == FullJoin {
		keeps = append(keeps, b.state(b.canon.bag("join", n.right, n.rightKeys, r.cols), state.KindBag, "right", bound[1]))
	}
	if n.kind != InnerJoin {
		keeps = append(keeps, b.state(b.canon.matches(n), state.KindLines, "matches", b.perKey(n.leftKeys)))
	}
	s := b.hashJoin(op, l, r, n.leftKeys, n.rightKeys, n.residual)
	op.Keeps = keeps
	return s
}

func (b *builder) perKey(keys []int) string {
	if len(keys) == 0 {
		return "one line"
	}
	return fmt.Sprintf("one line per key (%s)", b.md.names(keys))
}

// hashJoin puts a join over two streams, whose fragments may have other
// readers too.
func (b *builder) hashJoin(op *HashJoin, l, r *stream, leftKeys, rightKeys []int, residual []expr.Expr) *stream {
	s := &stream{cols: l.cols, single: len(leftKeys) == 0}
	if op.Kind == InnerJoin || op.Kind == LeftJoin || op.Kind == FullJoin {
		s.cols = slices.Concat(l.cols, r.cols)
	}
	s.from = b.fragment(Fragment{
		Singleton: s.single,
		Edges:     []Edge{b.joinEdge(l, 0, leftKeys), b.joinEdge(r, 1, rightKeys)},
	})
	op.Base = b.base(s.cols)
	op.LeftKeys, op.RightKeys = l.positions(leftKeys), r.positions(rightKeys)
	op.LeftTypes, op.RightTypes = b.types(l.cols), b.types(r.cols)
	op.Residual = s.remap(joinAnd(residual))
	b.add(s, op)
	for i := range leftKeys {
		switch op.Kind {
		case InnerJoin:
			s.dist = append(s.dist, []int{leftKeys[i], rightKeys[i]})
		case FullJoin: // either may be NULL
		default:
			s.dist = append(s.dist, []int{leftKeys[i]})
		}
	}
	return s
}

func (b *builder) joinEdge(s *stream, port int, keys []int) Edge {
	switch {
	case !b.view:
		return Edge{From: s.from, Port: port, Dist: Forward}
	case len(keys) == 0:
		return Edge{From: s.from, Port: port, Dist: Singleton}
	case !s.single && s.from >= 0 && s.distributedBy(keys):
		return Edge{From: s.from, Port: port, Dist: Forward}
	}
	return Edge{From: s.from, Port: port, Dist: Hash, Cols: s.positions(keys)}
}

// matched builds a join that is not inner and where a condition beside the
// keys decides what is a match. The pairs that meet it are those of an inner
// join; a row that stands in a pair has a match, and a second join on the row
// itself (on its key, if one is known) gives those that have, or have not.
func (b *builder) matched(n *equiJoinNode, l, r *stream) *stream {
	pairs := &HashJoin{NullSafe: n.nullSafe}
	keeps := []StateDecl{
		b.state(b.canon.bag("join", n.left, n.leftKeys, l.cols), state.KindBag, "left", "the left input's rows"),
		b.state(b.canon.bag("join", n.right, n.rightKeys, r.cols), state.KindBag, "right", "the right input's rows"),
	}
	p := b.hashJoin(pairs, l, r, n.leftKeys, n.rightKeys, n.residual)
	pairs.Keeps = keeps
	if n.kind == SemiJoin || n.kind == AntiJoin {
		return b.lone(n, n.kind, false, l, p)
	}
	ins := []*stream{p, b.lone(n, AntiJoin, false, l, p)}
	if n.kind == FullJoin {
		ins = append(ins, b.lone(n, AntiJoin, true, r, p))
	}
	for _, in := range ins[1:] {
		b.extend(in, p.cols)
	}
	return b.unionAll(ins, p.cols)
}

// lone gives the rows of one side with (SemiJoin) or without (AntiJoin) a
// match among the pairs.
func (b *builder) lone(n *equiJoinNode, kind JoinKind, right bool, side, pairs *stream) *stream {
	in := n.left
	if right {
		in = n.right
	}
	key := b.md.uniqueKey(in)
	if len(key) == 0 {
		key = side.cols
	}
	op := &HashJoin{Kind: kind, NullSafe: make([]bool, len(key))}
	for i := range op.NullSafe {
		op.NullSafe[i] = true
	}
	bag, lines := b.canon.lone(n, right, key, side.cols)
	keeps := []StateDecl{
		b.state(bag, state.KindBag, "rows", "the rows of one input"),
		b.state(lines, state.KindLines, "matches", b.perKey(key)),
	}
	s := b.hashJoin(op, side, pairs, key, key, nil)
	op.Keeps = keeps
	return s
}

// extend gives a stream the columns cols, NULL where it has none of them.
func (b *builder) extend(s *stream, cols []int) {
	p := &Project{Base: b.base(cols)}
	for _, id := range cols {
		if s.position(id) < 0 {
			p.Exprs = append(p.Exprs, &expr.Const{Value: types.NullOf(b.md.typ(id))})
		} else {
			p.Exprs = append(p.Exprs, s.remap(b.md.ref(id)))
		}
	}
	b.add(s, p)
	s.cols, s.dist = cols, nil
}

func (b *builder) setOp(n *setOpNode) *stream {
	op := &SetOp{Base: b.base(n.ids), Kind: n.kind}
	ins := make([]*stream, 2)
	for k, in := range n.ins {
		ins[k] = b.node(in)
		if !slices.Equal(ins[k].cols, n.inCols[k]) {
			b.projectTo(ins[k], n.inCols[k])
		}
	}
	s := &stream{cols: n.ids, single: len(n.ids) == 0, dist: equals(n.ids)}
	s.from = b.fragment(Fragment{
		Singleton: s.single,
		Edges:     []Edge{b.joinEdge(ins[0], 0, n.inCols[0]), b.joinEdge(ins[1], 1, n.inCols[1])},
	})
	op.Keeps = []StateDecl{b.state(b.canon.setOp(n, "lines"), state.KindLines, "rows", "one line per different row")}
	if !keysAreImages(b.md, n.ids) {
		op.Keeps = append(op.Keeps, b.state(b.canon.setOp(n, "bag"), state.KindBag, "images", "the left input's different rows"))
	}
	b.add(s, op)
	return s
}

func (b *builder) singleRow(n *singleNode) *stream {
	s := b.node(n.in)
	b.exchange(s, n.by)
	op := &SingleRow{Base: b.base(s.cols), By: s.positions(n.by)}
	op.Keeps = []StateDecl{
		b.state(b.canon.single(n, "lines"), state.KindLines, "rows", b.perKey(n.by)),
		b.state(b.canon.single(n, "bag"), state.KindBag, "rows", "the input's rows"),
	}
	b.add(s, op)
	return s
}
