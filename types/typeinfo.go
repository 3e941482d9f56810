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
	Int2:        {21, 2, "smallint"},
	Float4:      {700, 4, "real"},
	Varchar:     {1043, -1, "character varying"},
	Bpchar:      {1042, -1, "character"},
	Bytea:       {17, -1, "bytea"},
	Time:        {1083, 8, "time without time zone"},
	Timetz:      {1266, 12, "time with time zone"},
	Uuid:        {2950, 16, "uuid"},
	Name:        {19, 64, "name"},
	Oid:         {26, 4, "oid"},
	Char:        {18, 1, "\"char\""},
	Json:        {114, -1, "json"},
	Jsonb:       {3802, -1, "jsonb"},
}

// Valid reports whether k is one of the kinds.
func (k Kind) Valid() bool {
	if elem, ok := k.Elem(); ok {
		return arrayOIDs[elem] != 0
	}
	return k < numKinds
}

// String gives PostgreSQL's name of the kind.
func (k Kind) String() string { return T(k).String() }

// OID gives pg_type.oid.
func (t Type) OID() uint32 {
	if elem, ok := t.Kind.Elem(); ok {
		return arrayOIDs[elem]
	}
	return typeInfos[t.Kind].oid
}

// Size gives pg_type.typlen: bytes, -1 for variable, -2 for unknown.
func (t Type) Size() int16 {
	if t.Kind&arrayBit != 0 {
		return -1
	}
	return typeInfos[t.Kind].size
}

// String gives PostgreSQL's format_type, such as numeric(10,2).
func (t Type) String() string {
	if !t.Kind.Valid() {
		return "invalid"
	}
	if elem, ok := t.Kind.Elem(); ok {
		return Type{Kind: elem, Mod: t.Mod}.String() + "[]"
	}
	name := typeInfos[t.Kind].name
	if t.Mod < 0 {
		return name
	}
	switch t.Kind {
	case Numeric:
		if p, s, ok := NumericModParts(t.Mod); ok {
			return name + "(" + itoa(p) + "," + itoa(s) + ")"
		}
	case Varchar, Bpchar:
		return name + "(" + itoa(int(t.Mod)-charModBase) + ")"
	case Time, Timetz, Timestamp, Timestamptz:
		word, zone, _ := strings.Cut(name, " ")
		return word + "(" + itoa(int(t.Mod)) + ") " + zone
	case Interval:
		if p, ok := intervalPrecision(t.Mod); ok {
			return name + "(" + itoa(p) + ")"
		}
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
	for elem, array := range arrayOIDs {
		if array == oid {
			return Type{Kind: ArrayOf(elem), Mod: mod}, true
		}
	}
	return Type{}, false
}

// kindNames are the SQL names of the kinds, in lower case.
var kindNames = map[string]Kind{
	"bool": Bool, "boolean": Bool,
	"int": Int4, "int4": Int4, "integer": Int4,
	"int8": Int8, "bigint": Int8,
	"int2": Int2, "smallint": Int2,
	"float8": Float8, "double precision": Float8, "float": Float8,
	"float4": Float4, "real": Float4,
	"numeric": Numeric, "decimal": Numeric, "dec": Numeric,
	"text": Text, "date": Date,
	"varchar": Varchar, "character varying": Varchar, "national character varying": Varchar,
	"bpchar": Bpchar, "character": Bpchar, "char": Bpchar, "national character": Bpchar, "nchar": Bpchar,
	"bytea": Bytea, "uuid": Uuid, "name": Name, "oid": Oid, "\"char\"": Char, "json": Json, "jsonb": Jsonb,
	"time": Time, "time without time zone": Time,
	"timetz": Timetz, "time with time zone": Timetz,
	"timestamp": Timestamp, "timestamp without time zone": Timestamp,
	"timestamptz": Timestamptz, "timestamp with time zone": Timestamptz,
	"interval": Interval,
}

// refusedNames are PostgreSQL's types that streamdb does not have.
var refusedNames = []string{
	"aclitem", "bigserial", "bit", "bit varying", "box", "cid", "cidr", "circle", "datemultirange", "daterange", "gtsvector",
	"inet", "int2vector", "int4multirange", "int4range", "int8multirange", "int8range", "jsonpath",
	"line", "lseg", "macaddr", "macaddr8", "money", "nummultirange", "numrange", "oidvector", "path", "pg_lsn",
	"pg_snapshot", "point", "polygon", "record", "refcursor", "regclass", "regcollation", "regconfig", "regdictionary",
	"regnamespace", "regoper", "regoperator", "regproc", "regprocedure", "regrole", "regtype", "serial", "serial2", "serial4",
	"serial8", "smallserial", "tid", "tsmultirange", "tsquery", "tsrange", "tstzmultirange", "tstzrange", "tsvector",
	"txid_snapshot", "varbit", "void", "xid", "xid8", "xml",
}

// TypeByName gives the type of a SQL name in lower case (with or without
// pg_catalog.) and its modifiers. Types of PostgreSQL that streamdb does not
// have are refused with 0A000, others with 42704.
func TypeByName(name string, mods []int64) (Type, error) {
	name = strings.TrimPrefix(name, "pg_catalog.")
	if base, ok := strings.CutSuffix(name, "[]"); ok {
		if _, known := kindNames[base]; !known && slices.Contains(refusedNames, base) {
			return Type{}, pgerr.Unsupported("type %s", name)
		}
		t, err := TypeByName(base, mods)
		if err != nil {
			return Type{}, err
		}
		t.Kind = ArrayOf(t.Kind)
		return t, nil
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
	case k == Bpchar && len(mods) == 0 && name != "bpchar":
		return Type{Kind: Bpchar, Mod: 1 + charModBase}, nil
	case len(mods) == 0:
		return T(k), nil
	case k == Varchar || k == Bpchar:
		return charType(k, mods)
	case k == Timestamp || k == Timestamptz || k == Time || k == Timetz || k == Interval:
		return precisionType(k, mods)
	}
	return Type{}, pgerr.New(pgerr.SyntaxError, "type modifier is not allowed for type \"%s\"", name)
}

func refuseName(name string) error {
	if !slices.Contains(refusedNames, name) {
		return pgerr.New(pgerr.UndefinedObject, "type \"%s\" does not exist", name)
	}
	err := pgerr.Unsupported("type %s", name)
	switch name {
	case "money":
		return err.WithHint("Use numeric.")
	case "xml":
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
		return T(Float4), nil
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
