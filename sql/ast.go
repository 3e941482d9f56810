// Package sql turns the text of statements into streamdb's own syntax tree.
//
// The front (lex.go, expr.go, query.go) owns PostgreSQL's lexing and operator
// precedence; queries pass through TiDB's parser as a small kernel language
// and come back through decode.go (docs/ARCHITECTURE.md tells why). All other
// statements are parsed here alone. Nothing of TiDB leaves this package.
//
// Positions (Pos) are 1-based character positions in the text of the whole
// query string, as PostgreSQL reports them; 0 means none.
package sql

// Node is anything with a place in the text.
type Node interface{ Position() int }

// Pos is the 1-based character position of a node.
type Pos int

// Position implements Node.
func (p Pos) Position() int { return int(p) }

// Name is a possibly qualified name, folded as PostgreSQL folds it: the last
// part is the object, before it schema and database.
type Name struct {
	Pos
	Parts []string
}

// TypeName is a type as written: name parts (a lone "int4" or schema
// qualified), modifiers, array dimensions, and the interval/time field words.
// The spellings of char, nchar and dec are one: "character" and "decimal";
// "character" and "bit" without a length have the modifier 1, and a constant
// like char 'abc', which has no length, is of type "bpchar". FLOAT(n) is
// "real" or "double precision". CanonicalType gives PostgreSQL's own names.
type TypeName struct {
	Pos
	Parts  []string // {"timestamp with time zone"} and the like are one part
	Mods   []int64
	Fields string // INTERVAL's field words, upper case, e.g. "DAY TO SECOND"
	Array  int    // number of dimensions
	SetOf  bool
}

// Expr is a scalar expression.
type Expr interface {
	Node
	expr()
}

// LiteralKind tells how a literal was written.
type LiteralKind uint8

// The kinds of literal. A string literal has unknown type until resolved.
const (
	LitNull LiteralKind = iota
	LitBool
	LitInteger // digits only; may not fit int8
	LitDecimal // with point or exponent
	LitString
	LitBits // B'…' or X'…', Text with the leading b or x
)

type (
	// Literal is a constant as written (Text holds the unescaped text).
	Literal struct {
		Pos
		Kind LiteralKind
		Text string
	}
	// Param is $n.
	Param struct {
		Pos
		Number int
	}
	// ColumnRef is a possibly qualified column: the last of Parts is the column.
	ColumnRef struct {
		Pos
		Parts []string
	}
	// Star is * or t.* in a select list, RETURNING or count(*).
	Star struct {
		Pos
		Qualifier []string
	}
	// Unary is a prefix operator: "-", "+", "NOT", or any operator symbol.
	// Schema is set for OPERATOR(schema.op).
	Unary struct {
		Pos
		Op      string
		Schema  string
		Operand Expr
	}
	// Binary is an infix operator: arithmetic, comparison ("<>" for "!="),
	// "AND", "OR", "||", "LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE",
	// "SIMILAR TO", "NOT SIMILAR TO", "IS DISTINCT FROM",
	// "IS NOT DISTINCT FROM", "AT TIME ZONE", "OVERLAPS" or any operator
	// symbol. Schema is set for OPERATOR(schema.op). Pos is the operator's.
	Binary struct {
		Pos
		Op          string
		Schema      string
		Left, Right Expr
		Escape      Expr // LIKE … ESCAPE, else nil
	}
	// IsTest is "x IS [NOT] NULL|TRUE|FALSE|UNKNOWN|DOCUMENT|NORMALIZED".
	IsTest struct {
		Pos
		Operand Expr
		Test    string // "NULL", "TRUE", "FALSE", "UNKNOWN", …
		Not     bool
	}
	// Between is "x [NOT] BETWEEN [SYMMETRIC] lo AND hi".
	Between struct {
		Pos
		Operand, Low, High Expr
		Not, Symmetric     bool
	}
	// In is "x [NOT] IN (list)" or "x [NOT] IN (query)"; exactly one of List
	// and Query is set.
	In struct {
		Pos
		Operand Expr
		List    []Expr
		Query   *Query
		Not     bool
	}
	// Quantified is "x op ANY|ALL (array or query)"; Op and Schema as in Binary.
	Quantified struct {
		Pos
		Op      string
		Schema  string
		Operand Expr
		All     bool
		Array   Expr
		Query   *Query
	}
	// Exists is EXISTS (query); NOT EXISTS is a Unary NOT above it.
	Exists struct {
		Pos
		Query *Query
	}
	// Subquery is a scalar subquery.
	Subquery struct {
		Pos
		Query *Query
	}
	// ArrayQuery is ARRAY(query).
	ArrayQuery struct {
		Pos
		Query *Query
	}
	// Array is ARRAY[…].
	Array struct {
		Pos
		Elems []Expr
	}
	// Row is ROW(…) or (a, b, …).
	Row struct {
		Pos
		Elems    []Expr
		Explicit bool
	}
	// Case is CASE [operand] WHEN … THEN … [ELSE …] END.
	Case struct {
		Pos
		Operand Expr
		Whens   []When
		Else    Expr
	}
	// When is one arm of a Case.
	When struct{ Cond, Result Expr }
	// Cast is CAST(x AS t), x::t, or a typed literal (t 'x', INTERVAL 'x').
	Cast struct {
		Pos
		Operand Expr
		Type    TypeName
	}
	// Collate is x COLLATE name.
	Collate struct {
		Pos
		Operand   Expr
		Collation Name
	}
	// Field is (x).f, or (x).* when Name is "*".
	Field struct {
		Pos
		Operand Expr
		Name    string
	}
	// Index is a[i] or a slice a[lo:hi] (Slice set; either bound may be nil).
	Index struct {
		Pos
		Operand Expr
		Low, Hi Expr
		IsSlice bool
	}
	// Call is a function call, also of special forms under their function
	// names as PostgreSQL has them (extract, substring, trim → btrim, position,
	// overlay, coalesce, nullif, greatest, least, current_date, …).
	Call struct {
		Pos
		Name        Name
		Args        []Arg
		Star        bool // count(*)
		Distinct    bool
		Variadic    bool
		OrderBy     []OrderItem
		WithinGroup bool // OrderBy is WITHIN GROUP's
		Filter      Expr
		IgnoreNulls bool
		Over        *Window
	}
	// Arg is an argument, named with => or :=.
	Arg struct {
		Name string
		Expr Expr
	}
	// GroupingSet is an element of GROUP BY: "" an expression list (Exprs),
	// "()" the empty set, "ROLLUP", "CUBE", "GROUPING SETS" with Sets.
	GroupingSet struct {
		Pos
		Kind  string
		Exprs []Expr
		Sets  []GroupingSet
	}
	// Default is the word DEFAULT in INSERT and UPDATE.
	Default struct{ Pos }
)

func (*Literal) expr()    {}
func (*Param) expr()      {}
func (*ColumnRef) expr()  {}
func (*Star) expr()       {}
func (*Unary) expr()      {}
func (*Binary) expr()     {}
func (*IsTest) expr()     {}
func (*Between) expr()    {}
func (*In) expr()         {}
func (*Quantified) expr() {}
func (*Exists) expr()     {}
func (*Subquery) expr()   {}
func (*ArrayQuery) expr() {}
func (*Array) expr()      {}
func (*Row) expr()        {}
func (*Case) expr()       {}
func (*Cast) expr()       {}
func (*Collate) expr()    {}
func (*Field) expr()      {}
func (*Index) expr()      {}
func (*Call) expr()       {}
func (*Default) expr()    {}

// OrderItem is one ORDER BY key. Nulls is "", "FIRST" or "LAST".
type OrderItem struct {
	Pos
	Expr  Expr
	Desc  bool
	Using string // ORDER BY x USING op
	Nulls string
}

// Window is OVER name, OVER (…) or a WINDOW definition.
type Window struct {
	Pos
	Name        string // the defined name (WINDOW clause) or the name of OVER name
	Base        string // existing window that the definition extends
	IsRef       bool   // OVER name, no parentheses
	PartitionBy []Expr
	OrderBy     []OrderItem
	Frame       *Frame
}

// Frame is a window frame. Bounds are "UNBOUNDED PRECEDING", "PRECEDING",
// "CURRENT ROW", "FOLLOWING", "UNBOUNDED FOLLOWING"; Exclude "", "CURRENT
// ROW", "GROUP", "TIES", "NO OTHERS".
type Frame struct {
	Mode               string // ROWS, RANGE, GROUPS
	Start, End         string
	StartExpr, EndExpr Expr
	Exclude            string
}

// Query is a SELECT, VALUES, TABLE or set operation with its WITH, ORDER BY,
// LIMIT. Body is a *Select, *Values or *SetOp.
type Query struct {
	Pos
	With     *With
	Body     Body
	OrderBy  []OrderItem
	Limit    Expr // nil: none (also LIMIT ALL)
	Offset   Expr
	WithTies bool
	Locking  string // FOR UPDATE and its kin, as written
}

// Body is what a Query is made of.
type Body interface {
	Node
	body()
}

type (
	// Select is one SELECT block.
	Select struct {
		Pos
		Distinct      bool
		DistinctOn    []Expr
		Items         []SelectItem
		From          []TableRef // comma-separated
		Where         Expr
		GroupBy       []GroupingSet
		GroupDistinct bool
		Having        Expr
		Windows       []Window
	}
	// Values is VALUES (…), (…).
	Values struct {
		Pos
		Rows [][]Expr
	}
	// SetOp is UNION, INTERSECT or EXCEPT.
	SetOp struct {
		Pos
		Op          string
		All         bool
		Left, Right *Query
	}
)

func (*Select) body() {}
func (*Values) body() {}
func (*SetOp) body()  {}

// SelectItem is an output column; Alias is "" when none was written.
type SelectItem struct {
	Pos
	Expr  Expr
	Alias string
}

// With is a WITH clause.
type With struct {
	Pos
	Recursive bool
	CTEs      []CTE
}

// CTE is one common table expression. Materialized is "", "MATERIALIZED" or
// "NOT MATERIALIZED".
type CTE struct {
	Pos
	Name         string
	Columns      []string
	Materialized string
	Query        *Query
}

// TableRef is an item of FROM.
type TableRef interface {
	Node
	tableRef()
}

type (
	// TableName is a relation by name. AsOf is FOR SYSTEM_TIME AS OF's
	// expression, else nil.
	TableName struct {
		Pos
		Name    Name
		Alias   string
		Columns []string
		Only    bool
		AsOf    Expr
	}
	// DerivedTable is a subquery in FROM.
	DerivedTable struct {
		Pos
		Query   *Query
		Lateral bool
		Alias   string
		Columns []string
	}
	// FuncTable is a function in FROM, or ROWS FROM(several). TUMBLE, HOP,
	// SESSION and CUMULATE are ordinary calls here.
	FuncTable struct {
		Pos
		Calls      []*Call
		Ordinality bool
		Lateral    bool
		Alias      string
		Columns    []string
		ColumnDefs []ColumnDef
	}
	// Join joins two items. Kind is "INNER", "LEFT", "RIGHT", "FULL", "CROSS".
	Join struct {
		Pos
		Kind        string
		Natural     bool
		Left, Right TableRef
		On          Expr
		Using       []string
		UsingAlias  string
		Alias       string // (a JOIN b) AS alias
		Columns     []string
	}
)

func (*TableName) tableRef()    {}
func (*DerivedTable) tableRef() {}
func (*FuncTable) tableRef()    {}
func (*Join) tableRef()         {}
