package planner

import (
	"slices"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/state"
)

// joinLeaf is the canonical form of joins that are not inner, of set
// operations and of single rows.
func (c *canonizer) joinLeaf(n node, r *canonRel) {
	switch n := n.(type) {
	case *equiJoinNode:
		left, right, names := c.sides(n)
		r.text = c.short(n.kind.String()+"join", left.text+", "+right.text+" | "+strings.Join(c.conditions(n, names), " & "))
		for _, id := range n.columns() {
			r.cols[id] = "[" + names[id] + "]"
		}
	case *setOpNode:
		rows := make([]string, 2)
		for k, in := range n.ins {
			rel := c.relation(in)
			rows[k] = rel.text + " -> (" + strings.Join(colTexts(rel, n.inCols[k]), ", ") + ")"
		}
		if n.kind == Intersect || n.kind == IntersectAll && keysAreImages(c.m, n.ids) {
			slices.Sort(rows)
		}
		r.text = c.short("setop", n.kind.String()+" "+strings.Join(rows, ", "))
		for i, id := range n.ids {
			r.cols[id] = strconv.Itoa(i)
		}
	case *singleNode:
		in := c.relation(n.in)
		r.text = c.short("single", in.text+" by ("+strings.Join(colTexts(in, n.by), ", ")+")")
		for _, id := range n.columns() {
			r.cols[id] = "[" + in.cols[id] + "]"
		}
	}
}

func keysAreImages(m *metadata, ids []int) bool {
	return !slices.ContainsFunc(ids, func(id int) bool { return !m.typ(id).Kind.ImageIsKey() })
}

// sides gives the forms of a join's inputs, and names for their columns.
func (c *canonizer) sides(n *equiJoinNode) (left, right *canonRel, names map[int]string) {
	left, right = c.relation(n.left), c.relation(n.right)
	names = map[int]string{}
	for _, id := range n.left.columns() {
		names[id] = "left." + left.cols[id]
	}
	for _, id := range n.right.columns() {
		names[id] = "right." + right.cols[id]
	}
	return left, right, names
}

// conditions are the texts of what a join's rows have to meet.
func (c *canonizer) conditions(n *equiJoinNode, names map[int]string) []string {
	var preds []string
	for i := range n.leftKeys {
		preds = append(preds, exprText(c.keyEquality(n, i), names))
	}
	for _, p := range n.residual {
		preds = append(preds, exprText(p, names))
	}
	slices.Sort(preds)
	return slices.Compact(preds)
}

// matches identifies the lines that count the matches of a join's keys.
func (c *canonizer) matches(n *equiJoinNode) state.ID {
	if !c.on {
		return stateID("matches")
	}
	left, right, names := c.sides(n)
	return stateID("matches", n.kind.String(), left.text, right.text, strings.Join(c.conditions(n, names), " & "))
}

// lone identifies what tells a join's left rows (right: its right ones) with
// a match from the others, where a condition beside the keys decides: the rows
// themselves by key, and the lines.
func (c *canonizer) lone(n *equiJoinNode, right bool, key, cols []int) (bag, lines state.ID) {
	side := n.left
	if right {
		side = n.right
	}
	bag = c.bag("lone", side, key, cols)
	all := c.matches(n)
	return bag, stateID("lone", string(bag[:]), string(all[:]), strconv.FormatBool(right))
}

// setOp identifies the states of a set operation; single those of a single
// row.
func (c *canonizer) setOp(n *setOpNode, part string) state.ID {
	l := c.leaf(n)
	return stateID("setop", part, l.text)
}

func (c *canonizer) single(n *singleNode, part string) state.ID {
	l := c.leaf(n)
	parts := []string{"single", part, l.text}
	for _, id := range n.columns() {
		parts = append(parts, l.cols[id])
	}
	return stateID(parts...)
}
