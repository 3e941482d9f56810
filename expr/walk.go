package expr

import (
	"bytes"
	"slices"

	"github.com/streamdb/streamdb/types"
)

// Walk calls f on e and everything below it, parents first; f returning false
// leaves out what is below its node.
func Walk(e Expr, f func(Expr) bool) {
	if !f(e) {
		return
	}
	for _, c := range e.Children() {
		Walk(c, f)
	}
}

// Columns gives the indexes of the columns that e reads, ascending, each once.
func Columns(e Expr) []int {
	var cols []int
	Walk(e, func(n Expr) bool {
		if c, ok := n.(*Column); ok {
			cols = append(cols, c.Index)
		}
		return true
	})
	slices.Sort(cols)
	return slices.Compact(cols)
}

// Rewrite rebuilds e from its leaves up, replacing every node by f's answer.
func Rewrite(e Expr, f func(Expr) Expr) Expr {
	old := e.Children()
	var kids []Expr
	for i, c := range old {
		n := Rewrite(c, f)
		if n != c && kids == nil {
			kids = slices.Clone(old)
		}
		if kids != nil {
			kids[i] = n
		}
	}
	if kids != nil {
		e = e.WithChildren(kids)
	}
	return f(e)
}

// Remap is e with every column index i replaced by f(i).
func Remap(e Expr, f func(int) int) Expr {
	return Rewrite(e, func(n Expr) Expr {
		c, ok := n.(*Column)
		if !ok {
			return n
		}
		i := f(c.Index)
		if i == c.Index {
			return n
		}
		return &Column{Index: i, T: c.T, Name: c.Name}
	})
}

// Equal reports whether a and b are the same expression, names of columns and
// positions aside.
func Equal(a, b Expr) bool {
	return bytes.Equal(AppendExpr(nil, a), AppendExpr(nil, b))
}

// MaxVolatility gives the most volatile class among e's functions.
func MaxVolatility(e Expr) Volatility {
	v := Immutable
	Walk(e, func(n Expr) bool {
		if c, ok := n.(*Call); ok {
			v = max(v, c.Func.Volatility)
		}
		return true
	})
	return v
}

// Fold evaluates the parts of e that are immutable and have no columns. A part
// whose evaluation fails stays, so that the error is raised only on rows that
// reach it. AND, OR and CASE lose operands that constants decide.
func Fold(e Expr) Expr { return Rewrite(e, foldNode) }

func foldNode(e Expr) Expr {
	switch n := e.(type) {
	case *Column, *Const:
		return e
	case *And:
		return foldLogic(n.Args, false, e)
	case *Or:
		return foldLogic(n.Args, true, e)
	case *Case:
		return foldCase(n)
	case *Coalesce:
		if c, ok := n.Args[0].(*Const); ok && !c.Value.Null {
			return c
		}
	case *Call:
		if n.Func.Volatility != Immutable {
			return e
		}
		if n.Func.Strict && anyNull(n.Args) {
			return &Const{Value: types.NullOf(n.T)}
		}
	}
	for _, c := range e.Children() {
		if _, ok := c.(*Const); !ok {
			return e
		}
	}
	d, err := EvalConst(e)
	if err != nil {
		return e
	}
	return &Const{Value: d}
}

// anyNull reports a NULL constant among args, with nothing beside it that
// could fail or must run.
func anyNull(args []Expr) bool {
	null := false
	for _, a := range args {
		switch c := a.(type) {
		case *Const:
			null = null || c.Value.Null
		case *Column:
		default:
			return false
		}
	}
	return null
}

// foldLogic folds AND (absorbing false) and OR (absorbing true). Only an
// operand before which nothing can fail may decide alone.
func foldLogic(args []Expr, absorbing bool, e Expr) Expr {
	keep := make([]Expr, 0, len(args))
	for _, a := range args {
		c, ok := a.(*Const)
		switch {
		case !ok || c.Value.Null:
			keep = append(keep, a)
		case (c.Value.I != 0) == absorbing:
			if len(keep) == 0 || !mayFail(keep) {
				return a
			}
			return withArgs(absorbing, append(keep, a))
		}
	}
	switch {
	case len(keep) == len(args):
		return e
	case len(keep) == 0:
		return &Const{Value: types.NewBool(!absorbing)}
	case len(keep) == 1:
		return keep[0]
	}
	return withArgs(absorbing, keep)
}

func withArgs(or bool, args []Expr) Expr {
	if or {
		return &Or{Args: args}
	}
	return &And{Args: args}
}

func mayFail(es []Expr) bool {
	fails := false
	for _, e := range es {
		Walk(e, func(n Expr) bool {
			if c, ok := n.(*Call); ok && !c.Func.total {
				fails = true
			}
			return !fails
		})
	}
	return fails
}

func foldCase(n *Case) Expr {
	out := &Case{T: n.T, Else: n.Else}
	for i, c := range n.Conds {
		k, ok := c.(*Const)
		if !ok {
			out.Conds = append(out.Conds, c)
			out.Results = append(out.Results, n.Results[i])
			continue
		}
		if !k.Value.Null && k.Value.I != 0 {
			out.Else = n.Results[i]
			break
		}
	}
	if len(out.Conds) == 0 {
		return out.Else
	}
	if len(out.Conds) == len(n.Conds) {
		return n
	}
	return out
}
