// Package catalog holds what exists: immutable versions of the set of
// objects, their names and their dependencies. A version is a value: readers
// keep the one they started with.
package catalog

import (
	"github.com/streamdb/streamdb/types"
)

// Kind is what an object is. Written to disk: never renumber.
type Kind uint8

// The kinds of object.
const (
	Table            Kind = 1
	Source           Kind = 2 // a source as declared: one reader; relations over it are SourceRelations
	SourceRelation   Kind = 3 // one stream of rows of a source; no content of its own
	MaterializedView Kind = 4
	Sink             Kind = 5
	Schema           Kind = 6
	System           Kind = 7 // a virtual relation of streamdb's own
)

// Status is where an object is in its life. Written to disk.
type Status uint8

// The statuses.
const (
	Creating  Status = 1 // written before the job starts; recovery resumes or removes it
	Ready     Status = 2
	Suspended Status = 3
)

// Column is a column with an identity that survives renames.
type Column struct {
	ID      uint32
	Name    string
	Type    types.Type
	NotNull bool
	Default string // SQL text of DEFAULT, "" for none
}

// Object is one catalog entry, immutable.
type Object struct {
	ID      types.UUID
	OID     uint32
	Kind    Kind
	Schema  string // name of its schema; for Kind Schema ""
	Name    string
	Columns []Column
	// Key is the primary key of a table (column indexes in key order), the
	// inferred unique key of a view, nil for none.
	Key    []int
	Status Status
	// Definition is the query's source text (views, sinks).
	Definition string
	// Plan is the encoded physical plan (planner.EncodePlan) of views and sinks.
	Plan []byte
	// Options are WITH's, folded names, as given.
	Options map[string]string
	// Depends are the objects that this one reads or belongs to.
	Depends []types.UUID
	// Parallelism, Backend and NumGroups are the job's settings.
	Parallelism int
	Backend     string
	NumGroups   int
	// StartTime was recorded at CREATE SOURCE for generators.
	StartTime types.Micros
	// Relation is the name of a SourceRelation within its Source.
	Relation string
	// Created is the epoch at which the object came to be.
	Created types.Epoch
}

// TypeSchema gives the columns as a schema.
func (o *Object) TypeSchema() types.Schema {
	s := make(types.Schema, len(o.Columns))
	for i, c := range o.Columns {
		s[i] = types.Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull}
	}
	return s
}

// Change is one step from a version to the next: exactly one of Put and Drop
// is set. Put replaces the object with the same ID or adds it.
type Change struct {
	Put  *Object
	Drop types.UUID
}
