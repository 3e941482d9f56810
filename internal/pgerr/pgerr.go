// Package pgerr is the one error type that reaches users: a SQLSTATE, a
// message in PostgreSQL's style, and where it helps a position, detail and
// hint. See PostgreSQL's documentation, appendix A (error codes) and section
// "Error and Notice Message Fields".
package pgerr

import (
	"errors"
	"fmt"
)

// Code is a five-character SQLSTATE.
type Code string

// The SQLSTATEs that streamdb raises, by PostgreSQL's condition names.
const (
	SuccessfulCompletion      Code = "00000"
	Warning                   Code = "01000"
	FeatureNotSupported       Code = "0A000"
	ProtocolViolation         Code = "08P01"
	ConnectionFailure         Code = "08006"
	CardinalityViolation      Code = "21000"
	StringDataRightTruncation Code = "22001"
	NumericValueOutOfRange    Code = "22003"
	InvalidDatetimeFormat     Code = "22007"
	DatetimeFieldOverflow     Code = "22008"
	DivisionByZero            Code = "22012"
	InvalidParameterValue     Code = "22023"
	InvalidArgumentForLog     Code = "2201E"
	InvalidArgumentForPower   Code = "2201F"
	InvalidRowCountInLimit    Code = "2201W"
	InvalidRowCountInOffset   Code = "2201X"
	InvalidEscapeSequence     Code = "22025"
	NonstandardUseOfEscape    Code = "22P06"
	InvalidTextRepresentation Code = "22P02"
	InvalidBinaryRepr         Code = "22P03"
	BadCopyFileFormat         Code = "22P04"
	UntranslatableCharacter   Code = "22P05"
	CharacterNotInRepertoire  Code = "22021"
	SubstringError            Code = "22011"
	NotNullViolation          Code = "23502"
	UniqueViolation           Code = "23505"
	CheckViolation            Code = "23514"
	ActiveTransaction         Code = "25001"
	NoActiveTransaction       Code = "25P01"
	InFailedTransaction       Code = "25P02"
	InvalidStatementName      Code = "26000"
	InvalidAuthorization      Code = "28000"
	InvalidPassword           Code = "28P01"
	DependentObjectsExist     Code = "2BP01"
	InvalidCursorName         Code = "34000"
	InvalidSavepoint          Code = "3B001"
	InvalidCatalogName        Code = "3D000"
	InvalidSchemaName         Code = "3F000"
	SerializationFailure      Code = "40001"
	SyntaxError               Code = "42601"
	InsufficientPrivilege     Code = "42501"
	CannotCoerce              Code = "42846"
	GroupingError             Code = "42803"
	WindowingError            Code = "42P20"
	InvalidRecursion          Code = "42P19"
	InvalidForeignKey         Code = "42830"
	InvalidName               Code = "42602"
	NameTooLong               Code = "42622"
	ReservedName              Code = "42939"
	DatatypeMismatch          Code = "42804"
	IndeterminateDatatype     Code = "42P18"
	WrongObjectType           Code = "42809"
	UndefinedColumn           Code = "42703"
	UndefinedFunction         Code = "42883"
	UndefinedTable            Code = "42P01"
	UndefinedParameter        Code = "42P02"
	UndefinedObject           Code = "42704"
	DuplicateColumn           Code = "42701"
	DuplicateCursor           Code = "42P03"
	DuplicateDatabase         Code = "42P04"
	DuplicateFunction         Code = "42723"
	DuplicatePreparedStmt     Code = "42P05"
	DuplicateSchema           Code = "42P06"
	DuplicateTable            Code = "42P07"
	DuplicateAlias            Code = "42712"
	DuplicateObject           Code = "42710"
	AmbiguousColumn           Code = "42702"
	AmbiguousFunction         Code = "42725"
	InvalidColumnReference    Code = "42P10"
	InvalidTableDefinition    Code = "42P16"
	InvalidObjectDefinition   Code = "42P17"
	InsufficientResources     Code = "53000"
	DiskFull                  Code = "53100"
	OutOfMemory               Code = "53200"
	TooManyConnections        Code = "53300"
	ConfigurationLimit        Code = "53400"
	ProgramLimitExceeded      Code = "54000"
	StatementTooComplex       Code = "54001"
	TooManyColumns            Code = "54011"
	ObjectNotInPrerequisite   Code = "55000"
	ObjectInUse               Code = "55006"
	CantChangeRuntimeParam    Code = "55P02"
	LockNotAvailable          Code = "55P03"
	QueryCanceled             Code = "57014"
	AdminShutdown             Code = "57P01"
	CannotConnectNow          Code = "57P03"
	SystemError               Code = "58000"
	IOError                   Code = "58030"
	UndefinedFile             Code = "58P01"
	SnapshotTooOld            Code = "72000"
	InternalError             Code = "XX000"
	DataCorrupted             Code = "XX001"
)

// Error is an error for a user. Position is the 1-based character (not byte)
// position in the query text as PostgreSQL reports it, 0 when there is none.
type Error struct {
	Code     Code
	Message  string
	Detail   string
	Hint     string
	Position int
	// Schema, Table, Column and Constraint name what a violation is about.
	Schema     string
	Table      string
	Column     string
	Constraint string
	Cause      error // for logs; not sent to clients
}

// Error gives the message with its SQLSTATE.
func (e *Error) Error() string {
	s := e.Message + " (SQLSTATE " + string(e.Code) + ")"
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause, if any.
func (e *Error) Unwrap() error { return e.Cause }

// New makes an error from a code and a format.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error with a cause that is kept for the log.
func Wrap(cause error, code Code, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.Cause = cause
	return e
}

// Unsupported is the refusal by name of what streamdb does not do (0A000).
func Unsupported(format string, args ...any) *Error {
	return New(FeatureNotSupported, format+" is not supported", args...)
}

// Internal is a broken invariant of streamdb's own (XX000).
func Internal(format string, args ...any) *Error { return New(InternalError, format, args...) }

// WithHint returns e with the hint set.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithDetail returns e with the detail set.
func (e *Error) WithDetail(format string, args ...any) *Error {
	e.Detail = fmt.Sprintf(format, args...)
	return e
}

// At returns e with the 1-based character position set, unless it has one.
func (e *Error) At(pos int) *Error {
	if e.Position == 0 {
		e.Position = pos
	}
	return e
}

// From gives the user's form of any error: itself if it is (or wraps) an
// Error, else XX000 with the text.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: InternalError, Message: err.Error(), Cause: err}
}

// CodeOf gives the SQLSTATE of an error, XX000 if it carries none.
func CodeOf(err error) Code {
	if err == nil {
		return SuccessfulCompletion
	}
	return From(err).Code
}
