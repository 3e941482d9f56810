package expr

import "github.com/streamdb/streamdb/types"

var boolType = types.T(types.Bool)

// Type implements Expr.
func (e *Column) Type() types.Type { return e.T }

// Type implements Expr.
func (e *Const) Type() types.Type { return e.Value.Type }

// Type implements Expr.
func (e *Call) Type() types.Type { return e.T }

// Type implements Expr.
func (e *And) Type() types.Type { return boolType }

// Type implements Expr.
func (e *Or) Type() types.Type { return boolType }

// Type implements Expr.
func (e *Not) Type() types.Type { return boolType }

// Type implements Expr.
func (e *IsNull) Type() types.Type { return boolType }

// Type implements Expr.
func (e *IsTrue) Type() types.Type { return boolType }

// Type implements Expr.
func (e *Distinct) Type() types.Type { return boolType }

// Type implements Expr.
func (e *Case) Type() types.Type { return e.T }

// Type implements Expr.
func (e *Coalesce) Type() types.Type { return e.T }

// Type implements Expr.
func (e *InList) Type() types.Type { return boolType }

// Children implements Expr.
func (e *Column) Children() []Expr { return nil }

// Children implements Expr.
func (e *Const) Children() []Expr { return nil }

// Children implements Expr.
func (e *Call) Children() []Expr { return e.Args }

// Children implements Expr.
func (e *And) Children() []Expr { return e.Args }

// Children implements Expr.
func (e *Or) Children() []Expr { return e.Args }

// Children implements Expr.
func (e *Not) Children() []Expr { return []Expr{e.Arg} }

// Children implements Expr.
func (e *IsNull) Children() []Expr { return []Expr{e.Arg} }

// Children implements Expr.
func (e *IsTrue) Children() []Expr { return []Expr{e.Arg} }

// Children implements Expr.
func (e *Distinct) Children() []Expr { return []Expr{e.Left, e.Right} }

// Children implements Expr: cond, result, cond, result, …, else.
func (e *Case) Children() []Expr {
	c := make([]Expr, 0, 2*len(e.Conds)+1)
	for i := range e.Conds {
		c = append(c, e.Conds[i], e.Results[i])
	}
	return append(c, e.Else)
}

// Children implements Expr.
func (e *Coalesce) Children() []Expr { return e.Args }

// Children implements Expr.
func (e *InList) Children() []Expr { return []Expr{e.Arg} }

// WithChildren implements Expr.
func (e *Column) WithChildren([]Expr) Expr { return e }

// WithChildren implements Expr.
func (e *Const) WithChildren([]Expr) Expr { return e }

// WithChildren implements Expr.
func (e *Call) WithChildren(c []Expr) Expr {
	return &Call{Func: e.Func, Args: c, T: e.T, Pos: e.Pos}
}

// WithChildren implements Expr.
func (e *And) WithChildren(c []Expr) Expr { return &And{Args: c} }

// WithChildren implements Expr.
func (e *Or) WithChildren(c []Expr) Expr { return &Or{Args: c} }

// WithChildren implements Expr.
func (e *Not) WithChildren(c []Expr) Expr { return &Not{Arg: c[0]} }

// WithChildren implements Expr.
func (e *IsNull) WithChildren(c []Expr) Expr { return &IsNull{Arg: c[0]} }

// WithChildren implements Expr.
func (e *IsTrue) WithChildren(c []Expr) Expr { return &IsTrue{Arg: c[0], Want: e.Want} }

// WithChildren implements Expr.
func (e *Distinct) WithChildren(c []Expr) Expr { return &Distinct{Left: c[0], Right: c[1]} }

// WithChildren implements Expr.
func (e *Case) WithChildren(c []Expr) Expr {
	n := &Case{T: e.T, Else: c[len(c)-1]}
	for i := 0; i+1 < len(c); i += 2 {
		n.Conds = append(n.Conds, c[i])
		n.Results = append(n.Results, c[i+1])
	}
	return n
}

// WithChildren implements Expr.
func (e *Coalesce) WithChildren(c []Expr) Expr { return &Coalesce{Args: c, T: e.T} }

// WithChildren implements Expr.
func (e *InList) WithChildren(c []Expr) Expr {
	return &InList{Arg: c[0], Values: e.Values, Null: e.Null}
}
