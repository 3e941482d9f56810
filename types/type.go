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
	Int2
	Float4  // rounded to single precision, a float64 in vectors
	Varchar // Mod is the length + 4
	Bpchar  // character(n); trailing blanks do not count in comparisons
	Bytea
	Time   // µs since midnight, up to and including 24:00
	Timetz // Micros since midnight, Months the zone in seconds west of UTC
	Uuid   // 16 bytes
	Name   // at most 63 bytes
	Oid    // 0 to 2^32-1
	Char   // "char": one byte, or none for 0
	Json   // the text as it came
	Jsonb  // canonical text, see jsonb.go
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
	PhysInt64                // Vec.I64: integers, Oid, Date, Time, Timestamp, Timestamptz
	PhysFloat64              // Vec.F64: Float4, Float8
	PhysBytes                // Vec.Span into Vec.Data: Numeric (see numeric.go) and all kinds not named here
	PhysInterval             // Vec.Iv: Interval, Timetz
)

// Phys gives the layout of k.
func (k Kind) Phys() Phys {
	switch k {
	case Bool:
		return PhysBool
	case Int4, Int8, Date, Timestamp, Timestamptz, Int2, Time, Oid:
		return PhysInt64
	case Float8, Float4:
		return PhysFloat64
	case Interval, Timetz:
		return PhysInterval
	default:
		return PhysBytes
	}
}

// ImageIsKey reports whether values that are equal in SQL always have the
// same image, which is found in their key by its kind alone. It is false where
// one SQL value has several exact forms (1.0 and 1.00, -0 and 0, '1 day' and
// '24:00:00'), and for kinds whose key only DecodeKey takes apart.
func (k Kind) ImageIsKey() bool {
	switch k {
	case Unknown, Bool, Int4, Int8, Text, Date, Timestamp, Timestamptz, Varchar, Name, Char:
		return true
	}
	return false
}

// Comparable reports whether values of k have an equality and an order: what
// GROUP BY, DISTINCT, ORDER BY and keys need. Only json and its
// arrays have none.
func (k Kind) Comparable() bool { return k&^arrayBit != Json }

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
