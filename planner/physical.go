// Package planner turns a syntax tree into a physical plan: bind (names,
// types), logical plan, ordered named rules, physical plan. Plans are
// immutable values and know nothing of the runtime that executes them.
package planner

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Plan is a physical plan: fragments joined by edges. A fragment is a chain of
// operators that runs as one goroutine per subtask; edges between fragments
// are exchanges.
type Plan struct {
	Schema     types.Schema
	Key        []int // unique columns of the output, nil: none known
	AppendOnly bool  // no row of the output is ever taken back
	Inputs     []Input
	// Fragments are in topological order; the last one is the output.
	Fragments []Fragment
	// Order and Limit finish an ad-hoc SELECT (never set for views and sinks).
	Order  []SortKey
	Limit  expr.Expr // constant bigint, nil: none
	Offset expr.Expr
	// Hidden trailing columns of the output serve only Order.
	Hidden int
}

// Input is a relation that the plan reads.
type Input struct {
	Relation types.UUID
	Name     string // for EXPLAIN
	// Columns are the relation's columns that the plan wants; the input's
	// chunks have just these, in this order.
	Columns []int
	Types   []types.Type
	// Point, if set, says that an ad-hoc read needs only the row whose
	// relation key equals these constants (in the order of the key).
	Point []expr.Expr
}

// Dist is how rows are dealt to the subtasks of a fragment.
type Dist uint8

// The distributions.
const (
	Any       Dist = iota // any subtask: round robin by chunk
	Hash                  // by key group of the equality encoding of Cols
	Singleton             // the fragment has one subtask
	Forward               // subtask i to subtask i: already distributed as wanted
)

// Edge feeds port Port (0, 1) of a fragment's first operator. From is a
// fragment's index, or -1-i for input i.
type Edge struct {
	From int
	Port int
	Dist Dist
	Cols []int // Hash
}

// Fragment is a chain of operators: rows enter Ops[0] by the edges and leave
// the last one.
type Fragment struct {
	Singleton bool // one subtask whatever the job's parallelism
	Edges     []Edge
	Ops       []Op
}

// Op is a physical operator. ID is unique in the plan and names the operator
// in errors, EXPLAIN and metrics.
type Op interface {
	OpID() int
	// Types are the output's column types.
	Types() []types.Type
	// States are the states that the operator keeps, in its own order.
	States() []StateDecl
}

// StateDecl is a state of an operator: its identity, and what is in it in
// words for EXPLAIN and SHOW JOBS.
type StateDecl struct {
	ID    state.ID
	Kind  state.Kind
	Name  string
	Bound string // what bounds it: "one line per group (channel)", …
}

// Base holds what every Op has.
type Base struct {
	ID    int
	Out   []types.Type
	Keeps []StateDecl
}

// OpID implements Op.
func (b *Base) OpID() int { return b.ID }

// Types implements Op.
func (b *Base) Types() []types.Type { return b.Out }

// States implements Op.
func (b *Base) States() []StateDecl { return b.Keeps }

type (
	// Filter keeps rows on which Pred is true.
	Filter struct {
		Base
		Pred expr.Expr
	}
	// Project computes Exprs over its input.
	Project struct {
		Base
		Exprs []expr.Expr
	}
	// HashAgg groups by the columns Keys of its input and outputs the keys,
	// then the aggregates. No keys: one row always (also over no input). No
	// aggregates: DISTINCT. The args and filters of Aggs are plain columns of
	// the input (a Project stands before). Input need not be distributed by
	// the keys only if Keys is empty.
	// States: Lines, then a Sorted for each distinct (arg, direction) of
	// Ordered aggregates, then a Sorted for DISTINCT arguments.
	HashAgg struct {
		Base
		Keys       []int
		Aggs       []AggCall
		AppendOnly bool // the input never takes rows back
	}
	// HashJoin is an equi-join of ports 0 and 1; without keys every left row
	// meets every right one. Output: left columns, then right columns (not of
	// semi and anti joins); Residual, of inner joins only, is over these.
	// States: Bag left, Bag right (not of semi and anti joins), Lines of match
	// counts (not of inner joins).
	HashJoin struct {
		Base
		Kind                  JoinKind
		LeftKeys, RightKeys   []int
		LeftTypes, RightTypes []types.Type
		// NullSafe[i]: key i matches NULL with NULL (IS NOT DISTINCT FROM).
		NullSafe []bool
		Residual expr.Expr
	}
	// SetOp is INTERSECT or EXCEPT of ports 0 and 1. States: Lines, and if
	// equal rows may differ a Bag of the left ones.
	SetOp struct {
		Base
		Kind SetOpKind
	}
	// SingleRow passes the only row of each key in columns By (none: the only
	// row at all); several rows are an error, as of a scalar subquery. States:
	// Lines, Bag.
	SingleRow struct {
		Base
		By []int
	}
	// UnionAll passes both (all) ports through.
	UnionAll struct{ Base }
	// Values emits constant rows once, in the job's first epoch. State: a List
	// that remembers that it has. It is a fragment's first operator and has no
	// edges; it is Singleton.
	Values struct {
		Base
		Rows [][]expr.Expr
	}
	// Materialize keeps the output as a relation, by Key (nil: the whole row
	// is the key). State: Bag. Last operator of a view's plan.
	Materialize struct {
		Base
		Key []int
	}
	// SinkWrite hands rows to the job's sink. Last operator of a sink's plan.
	SinkWrite struct{ Base }
	// Collect gives rows to the caller. Last operator of an ad-hoc plan.
	Collect struct{ Base }
)

// JoinKind says which rows a join gives. Stored in plans: never renumber.
type JoinKind uint8

// The kinds of joins. A right join is a left one with its sides exchanged.
const (
	InnerJoin JoinKind = iota // pairs
	LeftJoin                  // pairs, and left rows without a match
	FullJoin                  // pairs, and rows of both sides without a match
	SemiJoin                  // left rows with a match
	AntiJoin                  // left rows without a match
)

// String gives the kind's name.
func (k JoinKind) String() string { return joinNames[k] }

var joinNames = [...]string{"inner", "left", "full", "semi", "anti"}

// SetOpKind is a set operation that compares its inputs. Stored in plans:
// never renumber.
type SetOpKind uint8

// The set operations.
const (
	Intersect SetOpKind = iota
	IntersectAll
	Except
	ExceptAll
)

// String gives the operation as SQL has it.
func (k SetOpKind) String() string { return setOpNames[k] }

var setOpNames = [...]string{"INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"}

// AggCall is an aggregate over columns: Args and Filter are input columns
// (Filter -1: none).
type AggCall struct {
	Func     *expr.AggFunc
	Args     []int
	Filter   int
	Distinct bool
	T        types.Type
}

// SortKey orders the output of an ad-hoc SELECT by column Col.
type SortKey struct {
	Col   int
	Order types.OrderSpec
}
