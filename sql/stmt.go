package sql

// Stmt is one statement of a query string.
type Stmt interface {
	Node
	stmt()
}

// ObjectKind names what a DROP, ALTER or SHOW is about.
type ObjectKind string

// The kinds of object.
const (
	KindTable            ObjectKind = "TABLE"
	KindSource           ObjectKind = "SOURCE"
	KindSink             ObjectKind = "SINK"
	KindMaterializedView ObjectKind = "MATERIALIZED VIEW"
	KindView             ObjectKind = "VIEW"
	KindSchema           ObjectKind = "SCHEMA"
	KindIndex            ObjectKind = "INDEX"
	KindSavepoint        ObjectKind = "SAVEPOINT"
)

// Option is one entry of WITH (name = value). Value is a literal, a name
// (as string literal) or a signed number; a lone name has a nil Value.
type Option struct {
	Pos
	Name  string
	Value *Literal
}

// ColumnDef is a column of CREATE TABLE or CREATE SOURCE.
type ColumnDef struct {
	Pos
	Name       string
	Type       TypeName
	NotNull    bool
	PrimaryKey bool
	Unique     bool
	Default    Expr
	Check      Expr
	Other      string // a constraint that only its name is kept of (REFERENCES, GENERATED, COLLATE …)
}

// TableConstraint is a PRIMARY KEY, UNIQUE, CHECK or other table constraint.
type TableConstraint struct {
	Pos
	Name    string
	Kind    string // "PRIMARY KEY", "UNIQUE", "CHECK", "FOREIGN KEY", …
	Columns []string
	Check   Expr
}

type (
	// QueryStmt is a SELECT, VALUES, TABLE or WITH … query.
	QueryStmt struct {
		Pos
		Query *Query
	}
	// Explain is EXPLAIN [(options)] statement. Options are folded to lower case.
	Explain struct {
		Pos
		Options []Option
		Stmt    Stmt
	}
	// CreateTable is CREATE [TEMP] TABLE [IF NOT EXISTS] …; As is CREATE TABLE AS's query.
	CreateTable struct {
		Pos
		Name        Name
		IfNotExists bool
		Temporary   bool
		Columns     []ColumnDef
		Constraints []TableConstraint
		With        []Option
		As          *Query
	}
	// CreateSource is CREATE SOURCE name [(columns)] WITH (…).
	CreateSource struct {
		Pos
		Name        Name
		IfNotExists bool
		Columns     []ColumnDef
		With        []Option
	}
	// CreateView is CREATE [OR REPLACE] [MATERIALIZED] VIEW. Text is the
	// query's source text, which is the stored definition.
	CreateView struct {
		Pos
		Name         Name
		Materialized bool
		OrReplace    bool
		IfNotExists  bool
		Columns      []string
		With         []Option
		Query        *Query
		Text         string
	}
	// CreateSink is CREATE SINK name AS query | FROM relation WITH (…); FROM
	// is given as the query SELECT * FROM relation.
	CreateSink struct {
		Pos
		Name        Name
		IfNotExists bool
		With        []Option
		Query       *Query
		Text        string
	}
	// Drop is DROP kind [IF EXISTS] names [CASCADE | RESTRICT]. DROP
	// SAVEPOINT has Kind KindSavepoint.
	Drop struct {
		Pos
		Kind     ObjectKind
		IfExists bool
		Names    []Name
		Cascade  bool
	}
	// AlterObject is ALTER MATERIALIZED VIEW|SINK|… name SUSPEND | RESUME |
	// SET (…). Action is "SUSPEND", "RESUME", "SET" or the words as written
	// (refused by the engine by name).
	AlterObject struct {
		Pos
		Kind   ObjectKind
		Name   Name
		Action string
		With   []Option
	}
	// Insert is INSERT INTO. Source is nil for DEFAULT VALUES. Default
	// appears as an expression in the rows of a Values body.
	Insert struct {
		Pos
		With       *With
		Table      Name
		Alias      string
		Columns    []string
		ColumnPos  []Pos
		Source     *Query
		OnConflict *OnConflict
		Returning  []SelectItem
	}
	// OnConflict is ON CONFLICT [(columns)] DO NOTHING | UPDATE SET ….
	OnConflict struct {
		Pos
		Columns    []string
		Constraint string
		DoUpdate   bool
		Set        []Assignment
		Where      Expr
	}
	// Assignment is column = expr in UPDATE; several Columns for (a, b) = ….
	Assignment struct {
		Pos
		Columns []string
		Value   Expr
	}
	// Update is UPDATE … SET … [FROM …] [WHERE …].
	Update struct {
		Pos
		With      *With
		Table     Name
		Alias     string
		Set       []Assignment
		From      []TableRef
		Where     Expr
		Returning []SelectItem
	}
	// Delete is DELETE FROM … [USING …] [WHERE …].
	Delete struct {
		Pos
		With      *With
		Table     Name
		Alias     string
		Using     []TableRef
		Where     Expr
		Returning []SelectItem
	}
	// Truncate is TRUNCATE [TABLE] names.
	Truncate struct {
		Pos
		Names []Name
	}
	// Copy is COPY table|(query)|(SUBSCRIBE …) FROM|TO target. Exactly one of
	// Table, Query and Subscribe is set. Target is STDIN, STDOUT or a file.
	Copy struct {
		Pos
		Table     *Name
		Columns   []string
		Query     *Query
		Subscribe *Subscribe
		From      bool
		Target    string
		Program   bool
		Options   []Option
		Where     Expr
	}
	// Subscribe is SUBSCRIBE [TO] relation|(query) [WITH (…)].
	Subscribe struct {
		Pos
		Relation *Name
		Query    *Query
		With     []Option
	}
	// Transaction is BEGIN, START TRANSACTION, COMMIT, END, ROLLBACK, ABORT,
	// by Kind "BEGIN", "COMMIT", "ROLLBACK". Modes are upper case, as
	// "ISOLATION LEVEL SERIALIZABLE", "READ ONLY", "DEFERRABLE".
	Transaction struct {
		Pos
		Kind  string
		Modes []string
		Chain bool
	}
	// Savepoint is SAVEPOINT name, or CREATE SAVEPOINT name (Stream set,
	// always the stream savepoint) with options.
	Savepoint struct {
		Pos
		Name   string
		Stream bool
		With   []Option
	}
	// ReleaseSavepoint is RELEASE [SAVEPOINT] name.
	ReleaseSavepoint struct {
		Pos
		Name string
	}
	// RollbackTo is ROLLBACK [WORK] TO [SAVEPOINT] name [CASCADE] [WITH (…)].
	RollbackTo struct {
		Pos
		Name    string
		Cascade bool
		With    []Option
	}
	// Checkpoint is CHECKPOINT.
	Checkpoint struct{ Pos }
	// Set is SET [SESSION|LOCAL] name = values | TO DEFAULT, SET TIME ZONE,
	// SET [SESSION CHARACTERISTICS AS] TRANSACTION modes (Name "transaction";
	// Session set for SESSION CHARACTERISTICS).
	Set struct {
		Pos
		Name    string
		Local   bool
		Session bool
		Values  []string
		Default bool
	}
	// Reset is RESET name | ALL (Name "all").
	Reset struct {
		Pos
		Name string
	}
	// Show is SHOW parameter or SHOW SAVEPOINTS | CHECKPOINTS | JOBS |
	// TABLES | SOURCES | SINKS | MATERIALIZED VIEWS; What is the folded words.
	Show struct {
		Pos
		What string
	}
	// Prepare is PREPARE name [(types)] AS statement.
	Prepare struct {
		Pos
		Name  string
		Types []TypeName
		Stmt  Stmt
		Text  string
	}
	// Execute is EXECUTE name [(args)].
	Execute struct {
		Pos
		Name string
		Args []Expr
	}
	// Deallocate is DEALLOCATE [PREPARE] name | ALL (Name "").
	Deallocate struct {
		Pos
		Name string
	}
	// Discard is DISCARD what.
	Discard struct {
		Pos
		What string
	}
	// Unsupported is a statement that PostgreSQL has and streamdb knows only
	// by name; running it is 0A000 with this name.
	Unsupported struct {
		Pos
		What string
	}
)

func (*QueryStmt) stmt()        {}
func (*Explain) stmt()          {}
func (*CreateTable) stmt()      {}
func (*CreateSource) stmt()     {}
func (*CreateView) stmt()       {}
func (*CreateSink) stmt()       {}
func (*Drop) stmt()             {}
func (*AlterObject) stmt()      {}
func (*Insert) stmt()           {}
func (*Update) stmt()           {}
func (*Delete) stmt()           {}
func (*Truncate) stmt()         {}
func (*Copy) stmt()             {}
func (*Subscribe) stmt()        {}
func (*Transaction) stmt()      {}
func (*Savepoint) stmt()        {}
func (*ReleaseSavepoint) stmt() {}
func (*RollbackTo) stmt()       {}
func (*Checkpoint) stmt()       {}
func (*Set) stmt()              {}
func (*Reset) stmt()            {}
func (*Show) stmt()             {}
func (*Prepare) stmt()          {}
func (*Execute) stmt()          {}
func (*Deallocate) stmt()       {}
func (*Discard) stmt()          {}
func (*Unsupported) stmt()      {}

// Text is a statement with the slice of the source it was read from.
type Text struct {
	Stmt Stmt
	SQL  string
}
