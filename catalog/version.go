package catalog

import (
	"maps"
	"slices"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// FirstOID is the first object identifier given to a user's object, as in
// PostgreSQL.
const FirstOID = 16384

// The schemas that always exist. They are no objects of the catalog.
const (
	PublicSchema = "public"
	PgCatalog    = "pg_catalog"
	Information  = "information_schema"
	StreamDB     = "streamdb"
)

// Builtin reports whether a schema always exists; of these only public takes
// users' objects.
func Builtin(schema string) bool {
	switch schema {
	case PublicSchema, PgCatalog, Information, StreamDB:
		return true
	}
	return false
}

// space is a namespace: relations, sources and schemas do not collide in the
// index, so that a source of one relation and that relation share a name.
type space uint8

const (
	relations space = iota
	sources
	schemas
)

func (k Kind) space() space {
	switch k {
	case Source:
		return sources
	case Schema:
		return schemas
	}
	return relations
}

type nameKey struct {
	space        space
	schema, name string
}

func keyOf(o *Object) nameKey { return nameKey{o.Kind.space(), o.Schema, o.Name} }

// Catalog is one immutable version of what exists. It is safe for use by
// many goroutines. Applying changes copies the index, not the objects.
//
// A Source with several relations comes with a Schema of its own name that
// holds its SourceRelations; a Source of one relation has a SourceRelation of
// its own schema and name. SourceRelations and that Schema name the Source in
// Depends and go with it.
type Catalog struct {
	version types.Version
	nextOID uint32
	byID    map[types.UUID]*Object
	byOID   map[uint32]*Object
	byName  map[nameKey]*Object
}

// Empty is version 0: nothing but the built-in schemas.
func Empty() *Catalog {
	return &Catalog{
		nextOID: FirstOID,
		byID:    map[types.UUID]*Object{},
		byOID:   map[uint32]*Object{},
		byName:  map[nameKey]*Object{},
	}
}

// Version gives the number of this version.
func (c *Catalog) Version() types.Version { return c.version }

// After is the same content as the version after other, with object
// identifiers that neither has used: a rollback's catalog follows the one that
// it replaces.
func (c *Catalog) After(other *Catalog) *Catalog {
	n := *c
	n.version = max(c.version, other.version) + 1
	n.nextOID = max(c.nextOID, other.nextOID)
	return &n
}

// Len gives the number of objects.
func (c *Catalog) Len() int { return len(c.byID) }

// ByID gives the object with an identifier, nil if there is none.
func (c *Catalog) ByID(id types.UUID) *Object { return c.byID[id] }

// ByOID gives the object with an OID, nil if there is none.
func (c *Catalog) ByOID(oid uint32) *Object { return c.byOID[oid] }

// Objects gives the objects of the kinds (none: of all), by schema, name and
// kind.
func (c *Catalog) Objects(kinds ...Kind) []*Object {
	var out []*Object
	for _, o := range c.byID {
		if len(kinds) == 0 || slices.Contains(kinds, o.Kind) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, compareObjects)
	return out
}

func compareObjects(a, b *Object) int {
	if d := strings.Compare(a.Schema, b.Schema); d != 0 {
		return d
	}
	if d := strings.Compare(a.Name, b.Name); d != 0 {
		return d
	}
	return int(a.Kind) - int(b.Kind)
}

// Apply gives the next version. It fails, and changes nothing, where a name
// is taken (42P07, 42P06), a schema or a dependency is missing, or something
// dropped is still depended on. An object put without an OID gets the next
// one; the same changes on the same version always give the same OIDs.
func (c *Catalog) Apply(changes []Change) (*Catalog, error) {
	n := &Catalog{
		version: c.version + 1,
		nextOID: c.nextOID,
		byID:    maps.Clone(c.byID),
		byOID:   maps.Clone(c.byOID),
		byName:  maps.Clone(c.byName),
	}
	for i := range changes {
		var err error
		if o := changes[i].Put; o != nil {
			err = n.put(o)
		} else {
			err = n.drop(changes[i].Drop)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := n.check(changes); err != nil {
		return nil, err
	}
	return n, nil
}

func (c *Catalog) put(o *Object) error {
	if o.ID.IsZero() || o.Name == "" {
		return pgerr.Internal("catalog object %q has no identity", o.Name)
	}
	old := c.byID[o.ID]
	if other := c.byName[keyOf(o)]; other != nil && other.ID != o.ID {
		return errExists(other)
	}
	if o.OID == 0 {
		copied := *o
		o = &copied
		if old != nil {
			o.OID = old.OID
		} else {
			o.OID = c.nextOID
		}
	}
	if other := c.byOID[o.OID]; other != nil && other.ID != o.ID {
		return pgerr.Internal("OID %d is in use by %q", o.OID, other.Name)
	}
	if old != nil {
		delete(c.byName, keyOf(old))
		delete(c.byOID, old.OID)
	}
	c.nextOID = max(c.nextOID, o.OID+1)
	c.byID[o.ID], c.byOID[o.OID], c.byName[keyOf(o)] = o, o, o
	return nil
}

func (c *Catalog) drop(id types.UUID) error {
	o := c.byID[id]
	if o == nil {
		return pgerr.Internal("no catalog object %s to drop", id)
	}
	delete(c.byID, id)
	delete(c.byOID, o.OID)
	delete(c.byName, keyOf(o))
	return nil
}

// check verifies what changes may have broken: schemas and dependencies.
func (c *Catalog) check(changes []Change) error {
	dropped := false
	for i := range changes {
		if o := changes[i].Put; o != nil {
			if err := c.checkObject(o); err != nil {
				return err
			}
		} else {
			dropped = true
		}
	}
	if !dropped {
		return nil
	}
	for _, o := range c.byID {
		if err := c.checkObject(o); err != nil {
			return err
		}
	}
	return nil
}

func (c *Catalog) checkObject(o *Object) error {
	if c.byID[o.ID] == nil { // put and dropped by the same changes
		return nil
	}
	if o.Kind != Schema && !c.HasSchema(o.Schema) {
		return errNoSchema(o.Schema)
	}
	for _, d := range o.Depends {
		if c.byID[d] == nil {
			return pgerr.Internal("%s depends on an object that does not exist (%s)", o.Describe(), d)
		}
	}
	return nil
}

// HasSchema reports whether a schema exists.
func (c *Catalog) HasSchema(name string) bool {
	return Builtin(name) || c.byName[nameKey{schemas, "", name}] != nil
}

// Resolve finds the relation that a name of one to three parts means; a lone
// name is looked for along searchPath. 42P01 if there is none. A source that
// is no relation itself is found too, after the relations.
func (c *Catalog) Resolve(searchPath []string, parts []string) (*Object, error) {
	o, err := c.lookup(searchPath, parts, relations, sources)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, pgerr.New(pgerr.UndefinedTable, `relation "%s" does not exist`, strings.Join(parts, "."))
	}
	return o, nil
}

// lookup finds a name in the first of the spaces that has it, schema by
// schema; nil if none has.
func (c *Catalog) lookup(searchPath, parts []string, spaces ...space) (*Object, error) {
	schema, name, err := SplitName(parts)
	if err != nil {
		return nil, err
	}
	path := searchPath
	if schema != "" {
		path = []string{schema}
	}
	for _, s := range path {
		for _, sp := range spaces {
			if o := c.byName[nameKey{sp, s, name}]; o != nil {
				return o, nil
			}
		}
	}
	return nil, nil
}

// SplitName takes a name of one to three parts apart; schema is "" if it was
// not given. The database of a name in three parts has to be streamdb's own.
func SplitName(parts []string) (schema, name string, err error) {
	switch len(parts) {
	case 1:
		return "", parts[0], nil
	case 2:
		return parts[0], parts[1], nil
	case 3:
		if parts[0] == "streamdb" || parts[0] == "postgres" {
			return parts[1], parts[2], nil
		}
		return "", "", pgerr.New(pgerr.FeatureNotSupported,
			`cross-database references are not implemented: "%s"`, strings.Join(parts, "."))
	}
	return "", "", pgerr.New(pgerr.SyntaxError,
		"improper qualified name (too many dotted names): %s", strings.Join(parts, "."))
}

// CheckFree verifies that a user may create a relation or source called name
// in schema: the schema exists (3F000) and is not reserved (42501), the name
// is not taken (42P07).
func (c *Catalog) CheckFree(schema, name string) error {
	if Builtin(schema) && schema != PublicSchema {
		return pgerr.New(pgerr.InsufficientPrivilege, `permission denied to create "%s.%s"`, schema, name).
			WithDetail("The schema %q is reserved for streamdb.", schema)
	}
	if !c.HasSchema(schema) {
		return errNoSchema(schema)
	}
	for _, sp := range []space{relations, sources} {
		if o := c.byName[nameKey{sp, schema, name}]; o != nil {
			return errExists(o)
		}
	}
	return nil
}

// CheckFreeSchema verifies that a schema called name may be created.
func (c *Catalog) CheckFreeSchema(name string) error {
	if strings.HasPrefix(name, "pg_") {
		return pgerr.New(pgerr.ReservedName, `unacceptable schema name "%s"`, name).
			WithDetail(`The prefix "pg_" is reserved for system schemas.`)
	}
	if c.HasSchema(name) {
		return pgerr.New(pgerr.DuplicateSchema, `schema "%s" already exists`, name)
	}
	return nil
}

// Dependents gives what depends on an object, directly or not, in an order in
// which they can be dropped: each before all that it depends on.
func (c *Catalog) Dependents(id types.UUID) []*Object {
	users := c.users()
	seen := map[types.UUID]bool{id: true}
	var out []*Object
	var visit func(types.UUID)
	visit = func(of types.UUID) {
		for _, o := range users[of] {
			if !seen[o.ID] {
				seen[o.ID] = true
				visit(o.ID)
				out = append(out, o)
			}
		}
	}
	visit(id)
	return out
}

// users maps each object to those that name it in Depends, and schemas to
// what lies in them, oldest first.
func (c *Catalog) users() map[types.UUID][]*Object {
	users := map[types.UUID][]*Object{}
	for _, o := range c.byID {
		for _, d := range o.Depends {
			users[d] = append(users[d], o)
		}
		if s := c.byName[nameKey{schemas, "", o.Schema}]; s != nil && !slices.Contains(o.Depends, s.ID) {
			users[s.ID] = append(users[s.ID], o)
		}
	}
	for _, l := range users {
		slices.SortFunc(l, func(a, b *Object) int { return int(a.OID) - int(b.OID) })
	}
	return users
}

func errNoSchema(name string) error {
	return pgerr.New(pgerr.InvalidSchemaName, `schema "%s" does not exist`, name)
}

func errExists(o *Object) error {
	if o.Kind == Schema {
		return pgerr.New(pgerr.DuplicateSchema, `schema "%s" already exists`, o.Name)
	}
	return pgerr.New(pgerr.DuplicateTable, `relation "%s" already exists`, o.Name)
}

// String gives the kind in lower case, as messages name it.
func (k Kind) String() string {
	switch k {
	case Table:
		return "table"
	case Source:
		return "source"
	case SourceRelation:
		return "source relation"
	case MaterializedView:
		return "materialized view"
	case Sink:
		return "sink"
	case Schema:
		return "schema"
	case System:
		return "system view"
	}
	return "object"
}

// Title is the name as messages give it: with its schema unless it is public.
func (o *Object) Title() string {
	if o.Schema == "" || o.Schema == PublicSchema {
		return o.Name
	}
	return o.Schema + "." + o.Name
}

// Describe is the kind and the name, as "materialized view v".
func (o *Object) Describe() string { return o.Kind.String() + " " + o.Title() }

// Column gives the index of the column called name, or -1.
func (o *Object) Column(name string) int {
	return slices.IndexFunc(o.Columns, func(c Column) bool { return c.Name == name })
}
