package types

import (
	"slices"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// typeInfo is what pg_type says of a kind.
type typeInfo struct {
	oid  uint32
	size int16  // typlen: -1 variable, -2 C string
	name string // format_type's name
}

var typeInfos = [numKinds]typeInfo{
	Unknown:     {705, -2, "unknown"},
	Bool:        {16, 1, "boolean"},
	Int4:        {23, 4, "integer"},
	Int8:        {20, 8, "bigint"},
	Float8:      {701, 8, "double precision"},
	Numeric:     {1700, -1, "numeric"},
	Text:        {25, -1, "text"},
	Date:        {1082, 4, "date"},
	Timestamp:   {1114, 8, "timestamp without time zone"},
	Timestamptz: {1184, 8, "timestamp with time zone"},
	Interval:    {1186, 16, "interval"},
}

// Valid reports whether k is one of the kinds.
func (k Kind) Valid() bool { return k < numKinds }

// String gives PostgreSQL's name of the kind.
func (k Kind) String() string { return T(k).String() }

// OID gives pg_type.oid.
func (t Type) OID() uint32 { return typeInfos[t.Kind].oid }

// Size gives pg_type.typlen: bytes, -1 for variable, -2 for unknown.
func (t Type) Size() int16 { return typeInfos[t.Kind].size }

// String gives PostgreSQL's format_type, such as numeric(10,2).
func (t Type) String() string {
	if !t.Kind.Valid() {
		return "invalid"
	}
	name := typeInfos[t.Kind].name
	if p, s, ok := NumericModParts(t.Mod); ok && t.Kind == Numeric {
		return name + "(" + itoa(p) + "," + itoa(s) + ")"
	}
	return name
}

// TypeByOID gives the type with pg_type.oid and atttypmod (-1 for none).
func TypeByOID(oid uint32, mod int32) (Type, bool) {
	for k := range typeInfos {
		if typeInfos[k].oid == oid {
			return Type{Kind: Kind(k), Mod: mod}, true
		}
	}
	return Type{}, false
}

// kindNames are the SQL names of the kinds, in lower case.
var kindNames = map[string]Kind{
	"bool": Bool, "boolean": Bool,
	"int": Int4, "int4": Int4, "integer": Int4,
	"int8": Int8, "bigint": Int8,
	"float8": Float8, "double precision": Float8, "float": Float8,
	"numeric": Numeric, "decimal": Numeric, "dec": Numeric,
	"text": Text, "date": Date,
	"timestamp": Timestamp, "timestamp without time zone": Timestamp,
	"timestamptz": Timestamptz, "timestamp with time zone": Timestamptz,
	"interval": Interval,
}

// refusedNames are PostgreSQL's types that streamdb does not have.
var refusedNames = []string{
	"\"char\"", "aclitem", "bigserial", "bit", "bit varying", "box", "bpchar", "bytea", "char", "character",
	"character varying", "cid", "cidr", "circle", "datemultirange", "daterange", "float4", "gtsvector", "inet",
	"int2", "int2vector", "int4multirange", "int4range", "int8multirange", "int8range", "json", "jsonb", "jsonpath",
	"line", "lseg", "macaddr", "macaddr8", "money", "name", "national character", "national character varying",
	"nchar", "nummultirange", "numrange", "oid", "oidvector", "path", "pg_lsn", "pg_snapshot", "point", "polygon",
	"real", "record", "refcursor", "regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper",
	"regoperator", "regproc", "regprocedure", "regrole", "regtype", "serial", "serial2", "serial4", "serial8",
	"smallint", "smallserial", "tid", "time", "time with time zone", "time without time zone", "timetz", "tsmultirange",
	"tsquery", "tsrange", "tstzmultirange", "tstzrange", "tsvector", "txid_snapshot", "uuid", "varbit", "varchar",
	"void", "xid", "xid8", "xml",
}

// TypeByName gives the type of a SQL name in lower case (with or without
// pg_catalog.) and its modifiers. Types of PostgreSQL that streamdb does not
// have are refused with 0A000, others with 42704.
func TypeByName(name string, mods []int64) (Type, error) {
	name = strings.TrimPrefix(name, "pg_catalog.")
	if base, ok := strings.CutSuffix(name, "[]"); ok {
		if _, known := kindNames[base]; known || slices.Contains(refusedNames, base) {
			return Type{}, pgerr.Unsupported("type %s", name)
		}
		name = base
	}
	k, ok := kindNames[name]
	if !ok {
		return Type{}, refuseName(name)
	}
	switch {
	case name == "float" && len(mods) > 0:
		return floatType(mods)
	case k == Numeric:
		return numericType(mods)
	case len(mods) == 0:
		return T(k), nil
	case k == Timestamp || k == Timestamptz || k == Interval:
		return Type{}, pgerr.Unsupported("a precision of type %s", T(k)).
			WithHint("Leave the precision out: values keep microseconds.")
	}
	return Type{}, pgerr.New(pgerr.SyntaxError, "type modifier is not allowed for type \"%s\"", name)
}

func refuseName(name string) error {
	if !slices.Contains(refusedNames, name) {
		return pgerr.New(pgerr.UndefinedObject, "type \"%s\" does not exist", name)
	}
	err := pgerr.Unsupported("type %s", name)
	switch name {
	case "varchar", "character varying", "char", "character", "bpchar", "name", "nchar",
		"national character", "national character varying", "\"char\"":
		return err.WithHint("Use text.")
	case "int2", "smallint":
		return err.WithHint("Use integer.")
	case "float4", "real":
		return err.WithHint("Use double precision.")
	case "money":
		return err.WithHint("Use numeric.")
	case "json", "jsonb", "uuid", "xml":
		return err.WithHint("Use text.")
	case "serial", "serial2", "serial4", "serial8", "smallserial", "bigserial":
		return err.WithHint("Use bigint and give the values.")
	}
	return err
}

func floatType(mods []int64) (Type, error) {
	switch p := mods[0]; {
	case len(mods) > 1:
		return Type{}, pgerr.New(pgerr.SyntaxError, "invalid type modifier")
	case p < 1:
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "precision for type float must be at least 1 bit")
	case p > 53:
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "precision for type float must be less than 54 bits")
	case p <= 24:
		return Type{}, pgerr.Unsupported("type float(%d)", p).WithHint("Use double precision.")
	}
	return T(Float8), nil
}

func numericType(mods []int64) (Type, error) {
	var scale int64
	switch len(mods) {
	case 0:
		return T(Numeric), nil
	case 1:
	case 2:
		scale = mods[1]
	default:
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "invalid NUMERIC type modifier")
	}
	if mods[0] < 1 || mods[0] > 1000 {
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "NUMERIC precision %d must be between 1 and 1000", mods[0])
	}
	if scale < -1000 || scale > 1000 {
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "NUMERIC scale %d must be between -1000 and 1000", scale)
	}
	return Type{Kind: Numeric, Mod: NumericMod(int(mods[0]), int(scale))}, nil
}
