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
	alternate  bool // variadic by its last two arguments in turn
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

// kindName gives the name of a kind in ids: of an array "_" and its elements'.
func kindName(k types.Kind) string {
	if elem, ok := k.Elem(); ok {
		return "_" + kindNames[elem]
	}
	return kindNames[k]
}

// ID names f in stored plans: "name(kinds)", with "*" after the last kind of a
// variadic function.
func (f *Func) ID() string { return f.id }

func makeID(name string, args []types.Kind, variadic bool) string {
	s := make([]string, len(args))
	for i, k := range args {
		s[i] = kindName(k)
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
func (f *Func) arg(i int) types.Kind {
	if f.alternate {
		return f.Args[i%2]
	}
	return f.Args[min(i, len(f.Args)-1)]
}

// accepts reports whether f can take n arguments.
func (f *Func) accepts(n int) bool {
	if f.alternate && n%2 != 0 {
		return false
	}
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
	datetimeFuncs(), greatestFuncs(), clockFuncs(), smallFuncs(), timeFuncs(), mathFuncs(), jsonFuncs(), bytesFuncs(), formatFuncs(), regexpFuncs(), calendarFuncs(), numberFormatFuncs(), arrayFuncs(), jsonSetFuncs())

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
	for _, n := range strings.Fields(`  regexp_matches 
		regexp_split_to_table      to_number
		       
		      
		   unnest generate_series  
		   row_to_json   
		clock_timestamp   timeofday setseed
		 nextval currval setval lastval      
		              current_setting set_config
		 `) {
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
