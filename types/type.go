// Package types is the vocabulary of the data path: SQL types, column
// vectors, chunks of signed rows, the two row encodings, key groups, and the
// identifiers of time (epochs) and of place (positions) that all other
// packages share. It does no I/O and knows no SQL syntax.
package types

// Kind names a SQL type without its modifiers. Values are written to disk:
// never renumber.
type Kind uint8

// The kinds. Unknown is the type of an untyped literal or NULL before it is
// resolved; no column ever has it.
const (
	Unknown Kind = iota
	Bool
	Int4
	Int8
	Float8
	Numeric
	Text
	Date        // days since 2000-01-01, int64 in vectors
	Timestamp   // µs since 2000-01-01 00:00, no zone
	Timestamptz // µs since 2000-01-01 00:00 UTC
	Interval    // months, days, µs
	numKinds
)

// Type is a SQL type. It is comparable. Mod is PostgreSQL's atttypmod, -1
// for none.
type Type struct {
	Kind Kind
	Mod  int32
}

// T makes a type without a modifier.
func T(k Kind) Type { return Type{Kind: k, Mod: -1} }

// Phys is how values of a kind lie in a vector.
type Phys uint8

// The physical layouts.
const (
	PhysBool     Phys = iota // Vec.Bool
	PhysInt64                // Vec.I64: Int4, Int8, Date, Timestamp, Timestamptz
	PhysFloat64              // Vec.F64
	PhysBytes                // Vec.Span into Vec.Data: Text, Numeric (see numeric.go), Unknown
	PhysInterval             // Vec.Iv
)

// Phys gives the layout of k.
func (k Kind) Phys() Phys {
	switch k {
	case Bool:
		return PhysBool
	case Int4, Int8, Date, Timestamp, Timestamptz:
		return PhysInt64
	case Float8:
		return PhysFloat64
	case Interval:
		return PhysInterval
	default:
		return PhysBytes
	}
}

// ImageIsKey reports whether values that are equal in SQL always have the
// same image. It is false where one SQL value has several exact forms
// (1.0 and 1.00, -0 and 0, '1 day' and '24:00:00').
func (k Kind) ImageIsKey() bool { return k != Numeric && k != Float8 && k != Interval }

// Column is a named, typed column of a relation's schema.
type Column struct {
	Name    string
	Type    Type
	NotNull bool
}

// Schema is the ordered columns of a relation. It is immutable.
type Schema []Column

// Types gives the column types in order.
func (s Schema) Types() []Type {
	ts := make([]Type, len(s))
	for i, c := range s {
		ts[i] = c.Type
	}
	return ts
}

// Index gives the position of the column called name, or -1.
func (s Schema) Index(name string) int {
	for i, c := range s {
		if c.Name == name {
			return i
		}
	}
	return -1
}
