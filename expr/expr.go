// Package expr is typed scalar expressions and aggregates: their bound form,
// PostgreSQL's resolution of functions, operators and casts, and their
// vectorised evaluation over chunks.
//
// A row on which an expression fails does not fail the chunk: it is reported
// in Errors and dropped by the caller, with its multiplicity, into the error
// collection of its operator.
package expr

import (
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Expr is a bound, typed expression over the columns of a chunk. It is an
// immutable value.
type Expr interface {
	Type() types.Type
	// Children are the direct operands, in order.
	Children() []Expr
	// WithChildren is the same node over other operands (same number).
	WithChildren(c []Expr) Expr
}

type (
	// Column is column Index of the input chunk. Name is for EXPLAIN.
	Column struct {
		Index int
		T     types.Type
		Name  string
	}
	// Const is a constant, also a typed NULL.
	Const struct{ Value types.Datum }
	// Call applies a function, operator or cast of the registry; arguments
	// have exactly the function's argument types. Pos is the place in the
	// query's text.
	Call struct {
		Func *Func
		Args []Expr
		T    types.Type
		Pos  int
	}
	// And and Or are n-ary, three-valued, and guard: an operand is evaluated
	// only on rows that earlier operands have not decided.
	And struct{ Args []Expr }
	Or  struct{ Args []Expr }
	// Not is three-valued.
	Not struct{ Arg Expr }
	// IsNull is "x IS NULL".
	IsNull struct{ Arg Expr }
	// IsTrue is "x IS TRUE" (Want true) or "x IS FALSE".
	IsTrue struct {
		Arg  Expr
		Want bool
	}
	// Distinct is "a IS DISTINCT FROM b"; operands have one type.
	Distinct struct{ Left, Right Expr }
	// Case is searched CASE; Conds are bool, Results and Else (never nil) have
	// type T. A branch is evaluated only on its rows.
	Case struct {
		Conds, Results []Expr
		Else           Expr
		T              types.Type
	}
	// Coalesce is the first non-NULL argument; later ones are evaluated only
	// where needed.
	Coalesce struct {
		Args []Expr
		T    types.Type
	}
	// InList is "x IN (constants)"; the constants have x's type, Null says
	// that a NULL was among them.
	InList struct {
		Arg    Expr
		Values []types.Datum
		Null   bool
	}
)

// Errors collects the rows of a chunk on which evaluation failed, ascending
// by row; a row appears once.
type Errors struct {
	Rows []uint16
	Errs []*pgerr.Error
}

// Reset empties the collection.
func (e *Errors) Reset() { e.Rows, e.Errs = e.Rows[:0], e.Errs[:0] }

// Aggregate is a bound aggregate call. Args have the function's argument
// types; Filter is nil or bool.
type Aggregate struct {
	Func     *AggFunc
	Args     []Expr
	Filter   Expr
	Distinct bool
	T        types.Type
	Pos      int
}
