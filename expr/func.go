package expr

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Volatility says when a function's value may change.
type Volatility uint8

// The classes, in order of freedom.
const (
	Immutable Volatility = iota // never, for the same arguments
	Stable                      // not within a statement (now())
	Volatile                    // from call to call (random())
)

// Func is an entry of the registry: a function, an operator or a cast.
// Entries are never changed after the package is initialised.
type Func struct {
	Name       string       // in lower case; an operator's symbol; a cast's target
	Args       []types.Kind // the last one repeats if Variadic
	Result     types.Kind
	Volatility Volatility
	Strict     bool // NULL if an argument is; the kernel sees no NULLs
	Variadic   bool
	cast       bool
	total      bool   // never fails
	as         string // id of the function that this overload, of other types, is computed by
	refused    string // known, but not supported: what to say
	hint       string // and what to do instead
	id         string
	kernel     kernel
	// bind, if set, makes the kernel of one call; it may look at constant
	// arguments.
	bind func(c *Call) (kernel, error)
}

// kindNames are the short names in ids. They are written to disk: never
// change.
var kindNames = map[types.Kind]string{
	types.Unknown: "unknown", types.Bool: "bool", types.Int4: "int4", types.Int8: "int8",
	types.Float8: "float8", types.Numeric: "numeric", types.Text: "text", types.Date: "date",
	types.Timestamp: "timestamp", types.Timestamptz: "timestamptz", types.Interval: "interval",
	types.Int2: "int2", types.Float4: "float4", types.Varchar: "varchar", types.Bpchar: "bpchar", types.Bytea: "bytea",
	types.Time: "time", types.Timetz: "timetz", types.Uuid: "uuid", types.Name: "name", types.Oid: "oid",
	types.Char: "char", types.Json: "json", types.Jsonb: "jsonb",
}

// ID names f in stored plans: "name(kinds)", with "*" after the last kind of a
// variadic function.
func (f *Func) ID() string { return f.id }

func makeID(name string, args []types.Kind, variadic bool) string {
	s := make([]string, len(args))
	for i, k := range args {
		s[i] = kindNames[k]
	}
	id := name + "(" + strings.Join(s, ",")
	if variadic {
		id += "*"
	}
	return id + ")"
}

// isOp reports whether f is an operator.
func (f *Func) isOp() bool { return isOpName(f.Name) }

func isOpName(s string) bool { return s != "" && strings.IndexByte("+-*/<>=~!@#%^&|`?", s[0]) >= 0 }

// arg gives the kind of argument i.
func (f *Func) arg(i int) types.Kind { return f.Args[min(i, len(f.Args)-1)] }

// accepts reports whether f can take n arguments.
func (f *Func) accepts(n int) bool {
	return n == len(f.Args) || f.Variadic && n > len(f.Args)
}

// catalogue is all functions, by id and by name.
type catalogue struct {
	byID   map[string]*Func
	byName map[string][]*Func
	casts  map[[2]types.Kind]castEntry
}

var registry = newCatalogue(
	arithmeticFuncs(), compareFuncs(), floatFuncs(), numericFuncs(), textFuncs(), rewriteFuncs(), likeFuncs(),
	datetimeFuncs(), greatestFuncs(), clockFuncs(), smallFuncs(), timeFuncs(), mathFuncs())

func newCatalogue(families ...[]*Func) *catalogue {
	c := &catalogue{byID: map[string]*Func{}, byName: map[string][]*Func{}, casts: castTable()}
	for _, fam := range families {
		for _, f := range fam {
			f.id = makeID(f.Name, f.Args, f.Variadic)
			if f.as == "" { // no plan has the others
				c.byID[f.id] = f
			}
			c.byName[f.Name] = append(c.byName[f.Name], f)
		}
	}
	for _, f := range modFunctions() {
		c.byID[f.id] = f
	}
	for _, ce := range c.casts {
		ce.f.id = "cast:" + makeID(ce.f.Name, ce.f.Args, false)
		c.byID[ce.f.id] = ce.f
	}
	return c
}

// LookupFunc finds a function by its id.
func LookupFunc(id string) (*Func, bool) {
	f, ok := registry.byID[id]
	return f, ok
}

// knownRefused are PostgreSQL functions that are recognised in order to refuse
// them by name, rather than to call them unknown.
var knownRefused = map[string]bool{}

func init() {
	for _, n := range strings.Fields(`regexp_replace regexp_match regexp_matches regexp_split_to_array
		regexp_split_to_table regexp_count regexp_instr regexp_like regexp_substr format to_date to_number
		make_date make_time make_timestamp make_timestamptz make_interval age justify_days justify_interval
		timezone encode decode sha256 quote_ident quote_literal quote_nullable
		array_length array_to_string string_to_array unnest generate_series cardinality json_build_object
		jsonb_build_object to_json to_jsonb row_to_json json_extract_path jsonb_extract_path date_bin
		clock_timestamp statement_timestamp transaction_timestamp timeofday setseed
		gen_random_uuid nextval currval setval lastval width_bucket gcd lcm factorial scale min_scale
		trim_scale normalize sin cos tan asin acos atan atan2 degrees radians pi unistr similar_escape current_setting set_config
		localtime current_time`) {
		knownRefused[n] = true
	}
}

func errNoFunction(name string, sig string) *pgerr.Error {
	if knownRefused[name] {
		return pgerr.Unsupported("function %s", name)
	}
	return pgerr.New(pgerr.UndefinedFunction, "function %s%s does not exist", name, sig).
		WithHint("No function matches the given name and argument types. You might need to add explicit type casts.")
}
