package expr

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// category is PostgreSQL's typcategory.
type category uint8

const (
	catUnknown category = iota
	catBool
	catNumeric
	catString
	catDate
	catSpan
	catUser
	catInternal
	catArray
)

func categoryOf(k types.Kind) category {
	if _, ok := k.Elem(); ok {
		return catArray
	}
	switch k {
	case types.Bool:
		return catBool
	case types.Int4, types.Int8, types.Float8, types.Numeric, types.Int2, types.Float4, types.Oid:
		return catNumeric
	case types.Text, types.Varchar, types.Bpchar, types.Name:
		return catString
	case types.Date, types.Timestamp, types.Timestamptz, types.Time, types.Timetz:
		return catDate
	case types.Interval:
		return catSpan
	case types.Bytea, types.Uuid, types.Json, types.Jsonb:
		return catUser
	case types.Char:
		return catInternal
	}
	return catUnknown
}

// preferred reports whether k is its category's preferred type.
func preferred(k types.Kind) bool {
	switch k {
	case types.Bool, types.Float8, types.Text, types.Timestamptz, types.Interval, types.Oid:
		return true
	}
	return false
}

func kindsOf(args []Expr) []types.Kind {
	ks := make([]types.Kind, len(args))
	for i, a := range args {
		ks[i] = a.Type().Kind
	}
	return ks
}

// canCoerce reports whether from becomes to without being asked to.
func canCoerce(from, to types.Kind) bool {
	if from == to || from == types.Unknown {
		return true
	}
	c, ok := registry.casts[[2]types.Kind{from, to}]
	return ok && c.ctx == Implicit
}

// ResolveFunc binds a call by PostgreSQL's rules for overloads and implicit
// casts. COALESCE, NULLIF, GREATEST and LEAST are called by these names in
// lower case. pos is the position of the name in the query's text.
func ResolveFunc(name string, args []Expr, pos int) (Expr, error) {
	if special, ok := specialForms[name]; ok {
		return special(args, pos)
	}
	kinds := kindsOf(args)
	cands := applicable(registry.byName[name], kinds)
	f := exact(cands, kinds)
	if f == nil && len(args) == 1 {
		if e, ok, err := functionalCast(name, args[0], pos); ok || err != nil {
			return e, err
		}
	}
	if f == nil && len(cands) > 0 {
		if f = pick(cands, kinds); f == nil || name == "trunc" && len(kinds) == 1 && kinds[0] == types.Unknown {
			// Of trunc PostgreSQL also has one for macaddr.
			if polymorphic(cands) {
				return nil, pgerr.New(pgerr.DatatypeMismatch, "could not determine polymorphic type because input has type unknown").At(pos)
			}
			return nil, errNotUnique(displayName(name), kinds).At(pos)
		}
	}
	if f == nil {
		return nil, errNoFunction(displayName(name), signature(kinds)).At(pos)
	}
	return bindCall(f, args, pos)
}

// polymorphic reports whether all candidates take arrays: PostgreSQL has one
// function for them.
func polymorphic(cands []*Func) bool {
	for _, f := range cands {
		if categoryOf(f.Args[0]) != catArray && categoryOf(f.Args[len(f.Args)-1]) != catArray {
			return false
		}
	}
	return true
}

// displayName is the name that PostgreSQL's messages have for what its
// grammar calls by a qualified name.
func displayName(name string) string {
	if name == "extract" {
		return "pg_catalog.extract"
	}
	return name
}

func errNotUnique(name string, kinds []types.Kind) *pgerr.Error {
	return pgerr.New(pgerr.AmbiguousFunction, "function %s%s is not unique", name, signature(kinds)).
		WithHint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

func signature(kinds []types.Kind) string {
	s := make([]string, len(kinds))
	for i, k := range kinds {
		s[i] = k.String()
	}
	return "(" + strings.Join(s, ", ") + ")"
}

// bindCall casts the arguments to what f takes.
func bindCall(f *Func, args []Expr, pos int) (Expr, error) {
	if f.refused != "" {
		e := pgerr.Unsupported("%s", f.refused).At(pos)
		e.Hint = f.hint
		return nil, e
	}
	if f.as != "" {
		f = registry.byID[f.as]
	}
	cast := make([]Expr, len(args))
	for i, a := range args {
		var err error
		if cast[i], err = Cast(a, types.T(f.arg(i)), Implicit, pos); err != nil {
			return nil, err
		}
	}
	c := &Call{Func: f, Args: cast, T: types.T(f.Result), Pos: pos}
	if f.bind != nil {
		if _, err := f.bind(c); err != nil {
			return nil, pgerr.From(err).At(pos)
		}
	}
	return c, nil
}

// functionalCast is a cast written as a call: text(x). PostgreSQL takes it for
// a cast where the pathway is a function, not one through text.
func functionalCast(name string, arg Expr, pos int) (Expr, bool, error) {
	for k, n := range kindNames {
		if n != name || k == types.Unknown {
			continue
		}
		from := arg.Type().Kind
		ce, ok := registry.casts[[2]types.Kind{from, k}]
		if from != types.Unknown && from != k && (!ok || ce.viaText) {
			return nil, false, nil
		}
		e, err := Cast(arg, types.T(k), Explicit, pos)
		return e, true, err
	}
	return nil, false, nil
}

// applicable are the candidates whose arguments the given kinds can become.
func applicable(fs []*Func, kinds []types.Kind) []*Func {
	var out []*Func
next:
	for _, f := range fs {
		if !f.accepts(len(kinds)) {
			continue
		}
		for i, k := range kinds {
			if !canCoerce(k, f.arg(i)) {
				continue next
			}
		}
		out = append(out, f)
	}
	return out
}

func exact(cands []*Func, kinds []types.Kind) *Func {
next:
	for _, f := range cands {
		for i, k := range kinds {
			if f.arg(i) != k {
				continue next
			}
		}
		return f
	}
	return nil
}

// pick chooses among applicable candidates as PostgreSQL's
// func_select_candidate; nil if no one is best.
func pick(cands []*Func, kinds []types.Kind) *Func {
	if len(cands) == 1 {
		return cands[0]
	}
	unknowns := 0
	for _, k := range kinds {
		if k == types.Unknown {
			unknowns++
		}
	}
	cands = best(cands, kinds, func(in, want types.Kind) bool { return in == want })
	if len(cands) == 1 {
		return cands[0]
	}
	cands = best(cands, kinds, func(in, want types.Kind) bool {
		return in == want || categoryOf(in) == categoryOf(want) && preferred(want)
	})
	if len(cands) == 1 {
		return cands[0]
	}
	if unknowns == 0 {
		return nil
	}
	if byCat, ok := byCategory(cands, kinds); ok {
		if cands = byCat; len(cands) == 1 {
			return cands[0]
		}
	}
	return lastGasp(cands, kinds, unknowns)
}

// best keeps the candidates with the most matches on known arguments.
func best(cands []*Func, kinds []types.Kind, match func(in, want types.Kind) bool) []*Func {
	top, out := 0, []*Func(nil)
	for _, f := range cands {
		n := 0
		for i, k := range kinds {
			if k != types.Unknown && match(k, f.arg(i)) {
				n++
			}
		}
		switch {
		case n > top || out == nil:
			top, out = n, []*Func{f}
		case n == top:
			out = append(out, f)
		}
	}
	return out
}

// byCategory chooses a category for each unknown argument (string if any
// candidate takes one, else the one that all agree on) and keeps the
// candidates that fit; ok is false if there is no such category.
func byCategory(cands []*Func, kinds []types.Kind) (out []*Func, ok bool) {
	cat := make([]category, len(kinds))
	pref := make([]bool, len(kinds))
	for i, k := range kinds {
		if k != types.Unknown {
			continue
		}
		conflict := false
		for _, f := range cands {
			c, p := categoryOf(f.arg(i)), preferred(f.arg(i))
			switch {
			case cat[i] == catUnknown:
				cat[i], pref[i] = c, p
			case c == cat[i]:
				pref[i] = pref[i] || p
			case c == catString:
				cat[i], pref[i], conflict = c, p, false
			case cat[i] != catString:
				conflict = true
			}
		}
		if conflict {
			return nil, false
		}
	}
next:
	for _, f := range cands {
		for i, k := range kinds {
			if k != types.Unknown {
				continue
			}
			if categoryOf(f.arg(i)) != cat[i] || pref[i] && !preferred(f.arg(i)) {
				continue next
			}
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return cands, true
	}
	return out, true
}

// lastGasp assumes that unknown arguments are of the one type that all known
// ones have.
func lastGasp(cands []*Func, kinds []types.Kind, unknowns int) *Func {
	known := types.Unknown
	for _, k := range kinds {
		switch {
		case k == types.Unknown:
		case known == types.Unknown:
			known = k
		case known != k:
			return nil
		}
	}
	if known == types.Unknown || unknowns == len(kinds) {
		return nil
	}
	var found *Func
next:
	for _, f := range cands {
		for i := range kinds {
			if !canCoerce(known, f.arg(i)) {
				continue next
			}
		}
		if found != nil {
			return nil
		}
		found = f
	}
	return found
}

// ResolveOp binds an operator by its symbol ("~~" for LIKE, "!~~" NOT LIKE,
// "~~*" and "!~~*" for ILIKE); left is nil for a prefix operator. pos is the
// operator's position.
func ResolveOp(op string, left, right Expr, pos int) (Expr, error) {
	if op == "!=" {
		op = "<>"
	}
	args := []Expr{right}
	if left != nil {
		args = []Expr{left, right}
	}
	kinds := kindsOf(args)
	if left != nil && op == "||" {
		if e, ok, err := concatAny(left, right, pos); ok || err != nil {
			return e, err
		}
	}
	cands := applicable(registry.byName[op], kinds)
	f := exactOp(cands, kinds)
	if f == nil && len(cands) > 0 {
		if f = pick(cands, kinds); f == nil {
			return nil, pgerr.New(pgerr.AmbiguousFunction, "operator is not unique: %s", opSignature(op, kinds)).
				WithHint("Could not choose a best candidate operator. You might need to add explicit type casts.").At(pos)
		}
	}
	if f == nil {
		return nil, errNoOperator(op, kinds).At(pos)
	}
	return bindCall(f, args, pos)
}

// exactOp takes an unknown operand for one of the other's type first.
func exactOp(cands []*Func, kinds []types.Kind) *Func {
	if len(kinds) == 2 && kinds[0] != kinds[1] {
		switch {
		case kinds[0] == types.Unknown:
			return exact(cands, []types.Kind{kinds[1], kinds[1]})
		case kinds[1] == types.Unknown:
			return exact(cands, []types.Kind{kinds[0], kinds[0]})
		}
	}
	return exact(cands, kinds)
}

func opSignature(op string, kinds []types.Kind) string {
	if len(kinds) == 1 {
		return op + " " + kinds[0].String()
	}
	return kinds[0].String() + " " + op + " " + kinds[1].String()
}

func errNoOperator(op string, kinds []types.Kind) *pgerr.Error {
	e := pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s", opSignature(op, kinds))
	if len(kinds) == 1 {
		return e.WithHint("No operator matches the given name and argument type. You might need to add an explicit type cast.")
	}
	return e.WithHint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

// concatAny is text || anything and anything || text: the other operand goes
// through its cast to text.
func concatAny(left, right Expr, pos int) (Expr, bool, error) {
	l, r := left.Type().Kind, right.Type().Kind
	if l == types.Unknown && categoryOf(r) == catString || r == types.Unknown && categoryOf(l) == catString {
		e, err := joinTexts(left, right, pos)
		return e, true, err
	}
	isText := func(k types.Kind) bool { return categoryOf(k) == catString || k == types.Unknown }
	if categoryOf(l) == catArray || categoryOf(r) == catArray {
		return nil, false, nil
	}
	if l != r && (l == types.Char || r == types.Char) {
		if l == types.Unknown || r == types.Unknown || categoryOf(l) == catString || categoryOf(r) == catString {
			return nil, false, pgerr.New(pgerr.AmbiguousFunction, "operator is not unique: %s", opSignature("||", []types.Kind{l, r})).
				WithHint("Could not choose a best candidate operator. You might need to add explicit type casts.").At(pos)
		}
		isText = func(k types.Kind) bool { return k == types.Char }
	}
	own := func(k types.Kind) bool { return k == types.Jsonb || k == types.Bytea } // have || themselves
	if isText(l) == isText(r) || l == types.Unknown && own(r) || own(l) && r == types.Unknown {
		return nil, false, nil
	}
	var err error
	if isText(l) {
		if l == types.Char {
			if left, err = Cast(left, types.T(types.Text), Implicit, pos); err != nil {
				return nil, false, err
			}
		}
		right, err = Cast(right, types.T(types.Text), Explicit, pos)
	} else {
		if r == types.Char {
			if right, err = Cast(right, types.T(types.Text), Implicit, pos); err != nil {
				return nil, false, err
			}
		}
		left, err = Cast(left, types.T(types.Text), Explicit, pos)
	}
	if err != nil {
		return nil, false, err
	}
	e, err := ResolveOp("||", left, right, pos)
	return e, true, err
}

// joinTexts is text || text of any strings.
func joinTexts(left, right Expr, pos int) (Expr, error) {
	l, err := Cast(left, types.T(types.Text), Implicit, pos)
	if err != nil {
		return nil, err
	}
	r, err := Cast(right, types.T(types.Text), Implicit, pos)
	if err != nil {
		return nil, err
	}
	return bindCall(registry.byID["||(text,text)"], []Expr{l, r}, pos)
}

// CommonType is PostgreSQL's select_common_type: the one type that values
// brought together in a context ("CASE", "COALESCE", "UNION", "IN", …) get.
// All unknown gives text.
func CommonType(exprs []Expr, context string, pos int) (types.Type, error) {
	first := exprs[0].Type()
	same, p := true, first.Kind
	for _, e := range exprs[1:] {
		t := e.Type()
		same = same && t == first
		k := t.Kind
		switch {
		case k == types.Unknown || k == p:
		case p == types.Unknown:
			p = k
		case categoryOf(k) != categoryOf(p):
			return types.Type{}, pgerr.New(pgerr.DatatypeMismatch, "%s types %s and %s cannot be matched", context, p, k).At(pos)
		case !preferred(p) && canCoerce(p, k) && !canCoerce(k, p):
			p = k
		}
	}
	switch {
	case p == types.Unknown:
		return types.T(types.Text), nil
	case same:
		return first, nil
	}
	return types.T(p), nil
}

// castAll brings args to their common type.
func castAll(args []Expr, context string, pos int) ([]Expr, types.Type, error) {
	t, err := CommonType(args, context, pos)
	if err != nil {
		return nil, t, err
	}
	out := make([]Expr, len(args))
	for i, a := range args {
		if out[i], err = Cast(a, t, Implicit, pos); err != nil {
			return nil, t, err
		}
	}
	return out, t, nil
}

// specialForms look like functions and are not.
var specialForms map[string]func([]Expr, int) (Expr, error)

func init() {
	specialForms = map[string]func([]Expr, int) (Expr, error){
		"coalesce":  resolveCoalesce,
		"nullif":    resolveNullIf,
		"greatest":  func(a []Expr, pos int) (Expr, error) { return resolveExtreme("greatest", a, pos) },
		"least":     func(a []Expr, pos int) (Expr, error) { return resolveExtreme("least", a, pos) },
		"concat":    func(a []Expr, pos int) (Expr, error) { return resolveConcat("concat", a, pos) },
		"concat_ws": func(a []Expr, pos int) (Expr, error) { return resolveConcat("concat_ws", a, pos) },
	}
	for _, name := range []string{"json_build_array", "json_build_object", "jsonb_build_array", "jsonb_build_object"} {
		specialForms[name] = func(a []Expr, pos int) (Expr, error) { return resolveBuild(name, a, pos) }
	}
	specialForms["format"] = resolveFormat
	specialForms["quote_literal"] = func(a []Expr, pos int) (Expr, error) { return resolveQuote("quote_literal", a, pos) }
	specialForms["quote_nullable"] = func(a []Expr, pos int) (Expr, error) { return resolveQuote("quote_nullable", a, pos) }
	specialForms["num_nulls"] = func(a []Expr, pos int) (Expr, error) { return resolveCountNulls(a, true, pos) }
	specialForms["num_nonnulls"] = func(a []Expr, pos int) (Expr, error) { return resolveCountNulls(a, false, pos) }
	for _, name := range []string{"to_json", "to_jsonb"} {
		specialForms[name] = func(a []Expr, pos int) (Expr, error) { return resolveToJSON(name, a, pos) }
	}
}

func errNoArgs(name string, pos int) error {
	return pgerr.New(pgerr.SyntaxError, "%s needs at least one argument", name).At(pos)
}

func resolveCoalesce(args []Expr, pos int) (Expr, error) {
	if len(args) == 0 {
		return nil, errNoArgs("COALESCE", pos)
	}
	args, t, err := castAll(args, "COALESCE", pos)
	if err != nil {
		return nil, err
	}
	return &Coalesce{Args: args, T: t}, nil
}

// resolveNullIf makes NULLIF(a, b) into CASE WHEN a = b THEN NULL ELSE a END;
// evaluation computes a once.
func resolveNullIf(args []Expr, pos int) (Expr, error) {
	if len(args) != 2 {
		return nil, pgerr.New(pgerr.SyntaxError, "NULLIF takes two arguments").At(pos)
	}
	eq, err := ResolveOp("=", args[0], args[1], pos)
	if err != nil {
		return nil, err
	}
	value := eq.Children()[0]
	if k := args[0].Type().Kind; k == types.Int4 && value.Type().Kind == types.Int8 {
		value = args[0] // PostgreSQL compares int4 with int8 as they are
	}
	t := value.Type()
	null := &Const{Value: types.NullOf(t)}
	return &Case{Conds: []Expr{eq}, Results: []Expr{null}, Else: value, T: t}, nil
}

func resolveExtreme(name string, args []Expr, pos int) (Expr, error) {
	context := strings.ToUpper(name)
	if len(args) == 0 {
		return nil, errNoArgs(context, pos)
	}
	args, t, err := castAll(args, context, pos)
	if err != nil {
		return nil, err
	}
	f, ok := LookupFunc(makeID(name, []types.Kind{t.Kind}, true))
	if !ok {
		return nil, pgerr.Unsupported("%s of type %s", context, t).At(pos)
	}
	return &Call{Func: f, Args: args, T: t, Pos: pos}, nil
}

// resolveConcat makes concat and concat_ws, which take anything, into calls
// over text: each argument as its output function prints it.
func resolveConcat(name string, args []Expr, pos int) (Expr, error) {
	if len(args) == 0 || name == "concat_ws" && len(args) < 2 {
		return nil, errNoFunction(name, signature(kindsOf(args))).At(pos)
	}
	if k := args[0].Type().Kind; name == "concat_ws" && !canCoerce(k, types.Text) {
		return nil, errNoFunction(name, signature(kindsOf(args))).At(pos)
	}
	out, err := textArgs(args, pos)
	if err != nil {
		return nil, err
	}
	kinds := []types.Kind{types.Text}
	if name == "concat_ws" {
		kinds = []types.Kind{types.Text, types.Text}
	}
	f, ok := LookupFunc(makeID(name, kinds, true))
	if !ok {
		return nil, pgerr.Internal("no function %s", name)
	}
	return &Call{Func: f, Args: out, T: types.T(types.Text), Pos: pos}, nil
}
