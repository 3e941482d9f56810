package planner

import (
	"strings"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// Limits on what one statement may make the binder do.
const (
	maxRelations = 4096 // relations, after WITH queries have been put in place
	maxParams    = 65535
)

// binder turns a syntax tree into a logical plan: names into columns, types
// into functions.
type binder struct {
	env       *Env
	md        *metadata
	params    []types.Type
	open      map[*expr.Const]int // parameters of yet unknown type, by number
	literals  map[*expr.Const]int // places of untyped literals
	ctes      *cte                // those in sight
	outer     *outerQuery         // around the query that is bound, nil: none
	lateral   *scope              // of FROM, to the left of what is bound
	relations int
	depends   []types.UUID
	notices   []*pgerr.Error
}

// cte is a WITH query in sight, with those that it sees itself.
type cte struct {
	def   *sql.CTE
	outer *cte
	query *outerQuery // around it
}

func newBinder(env *Env) *binder {
	b := &binder{env: env, md: &metadata{}, open: map[*expr.Const]int{}, literals: map[*expr.Const]int{}}
	b.params = append(b.params, env.ParamTypes...)
	return b
}

func (b *binder) notice(format string, args ...any) {
	b.notices = append(b.notices, pgerr.New(pgerr.SuccessfulCompletion, format, args...))
}

func (b *binder) searchPath() []string {
	if b.env.SearchPath == nil {
		return []string{catalog.PublicSchema}
	}
	return b.env.SearchPath
}

// resolve finds a relation and notes that the statement reads it.
func (b *binder) resolve(name sql.Name) (*catalog.Object, error) {
	o, err := b.env.Catalog.Resolve(b.searchPath(), name.Parts)
	if err != nil && b.env.ExtraRelations != nil && pgerr.CodeOf(err) == pgerr.UndefinedTable {
		schema, rel, _ := catalog.SplitName(name.Parts)
		if x := b.env.ExtraRelations(schema, rel); x != nil {
			o, err = x, nil
		}
	}
	if err != nil {
		return nil, pgerr.From(err).At(name.Position())
	}
	b.depend(o)
	return o, nil
}

func (b *binder) depend(o *catalog.Object) {
	for _, id := range b.depends {
		if id == o.ID {
			return
		}
	}
	b.depends = append(b.depends, o.ID)
}

// param binds $n: a value when executing, a NULL of its type when preparing,
// of unknown type until the context tells it.
func (b *binder) param(p *sql.Param) (expr.Expr, error) {
	n := p.Number
	if n < 1 || n > maxParams || b.env.Params != nil && n > len(b.env.Params) {
		return nil, pgerr.New(pgerr.UndefinedParameter, "there is no parameter $%d", n).At(p.Position())
	}
	if b.env.View {
		return nil, pgerr.New(pgerr.UndefinedParameter, "there is no parameter $%d", n).At(p.Position()).
			WithHint("A continuous query cannot have parameters.")
	}
	for len(b.params) < n {
		b.params = append(b.params, types.Type{})
	}
	t := b.params[n-1]
	if b.env.Params != nil {
		v := &expr.Const{Value: b.env.Params[n-1]}
		if t.Kind == types.Unknown {
			b.params[n-1] = v.Type()
			return v, nil
		}
		return expr.Cast(v, t, expr.Explicit, p.Position())
	}
	if t.Kind != types.Unknown {
		return &expr.Const{Value: types.NullOf(t)}, nil
	}
	c := &expr.Const{Value: types.NullOf(types.T(types.Unknown))}
	b.open[c] = n
	return c, nil
}

// isOpen reports whether e is a parameter of yet unknown type.
func (b *binder) isOpen(e expr.Expr) bool {
	c, ok := e.(*expr.Const)
	if !ok {
		return false
	}
	_, open := b.open[c]
	return open
}

// settle tells an operand's type, which the context gave, to the parameter
// that the operand may be.
func (b *binder) settle(operand expr.Expr, t types.Type) {
	c, ok := operand.(*expr.Const)
	if !ok || t.Kind == types.Unknown {
		return
	}
	if n, ok := b.open[c]; ok {
		delete(b.open, c)
		b.params[n-1] = types.T(t.Kind)
	}
}

// settleCall settles operands from the operands of what they were bound to.
func (b *binder) settleCall(operands []expr.Expr, call expr.Expr) {
	if len(b.open) == 0 {
		return
	}
	kids := call.Children()
	if c, ok := call.(*expr.Case); ok && len(c.Conds) == 1 && len(operands) == 2 { // NULLIF
		kids = c.Conds[0].Children()
	}
	for i, o := range operands {
		if len(kids) == len(operands) {
			b.settle(o, kids[i].Type())
		} else {
			b.settle(o, call.Type())
		}
	}
}

// checkParams refuses parameters whose type nothing told.
func (b *binder) checkParams() error {
	for i, t := range b.params {
		if t.Kind == types.Unknown && b.env.Params == nil {
			return pgerr.New(pgerr.IndeterminateDatatype, "could not determine data type of parameter $%d", i+1)
		}
	}
	return nil
}

// cast casts and settles.
func (b *binder) cast(e expr.Expr, t types.Type, ctx expr.CastContext, pos int) (expr.Expr, error) {
	b.settle(e, t)
	x, err := expr.Cast(e, t, ctx, pos)
	return x, b.atLiteral(err, e)
}

// atLiteral moves the error of a literal that its type does not take to the
// literal's place.
func (b *binder) atLiteral(err error, operands ...expr.Expr) error {
	if err == nil || !strings.HasPrefix(string(pgerr.CodeOf(err)), "22") {
		return err
	}
	for _, o := range operands {
		if c, ok := o.(*expr.Const); ok && b.literals[c] > 0 {
			e := *pgerr.From(err)
			e.Position = b.literals[c]
			return &e
		}
	}
	return err
}

// sameTypes verifies that args have a common type. The error is at the first
// that does not fit those before it, as PostgreSQL has it.
func sameTypes(args []expr.Expr, context string, pos func(i int) int) error {
	for i := 1; i < len(args); i++ {
		if _, err := expr.CommonType(args[:i+1], context, pos(i)); err != nil {
			return err
		}
	}
	return nil
}

// boolean makes e the argument of a clause or operator that wants a boolean.
func (b *binder) boolean(e expr.Expr, what string, pos int) (expr.Expr, error) {
	switch k := e.Type().Kind; k {
	case types.Bool:
		return e, nil
	case types.Unknown:
		return b.cast(e, boolType, expr.Implicit, pos)
	default:
		return nil, pgerr.New(pgerr.DatatypeMismatch, "argument of %s must be type boolean, not type %s", what, e.Type()).At(pos)
	}
}

// known makes an output column of e: an untyped literal becomes text.
func (b *binder) known(e expr.Expr, pos int) (expr.Expr, error) {
	if e.Type().Kind != types.Unknown {
		return e, nil
	}
	return b.cast(e, types.T(types.Text), expr.Implicit, pos)
}

// typeOf resolves a type's name.
func typeOf(t sql.TypeName) (types.Type, error) {
	if t.SetOf || t.Array > 0 {
		return types.Type{}, pgerr.Unsupported("type %s[]", strings.Join(t.Parts, ".")).At(t.Position())
	}
	ty, err := types.TypeByName(strings.Join(t.Parts, "."), t.Mods)
	if err != nil {
		return types.Type{}, pgerr.From(err).At(t.Position())
	}
	return ty, nil
}

// ResolveType gives the type that a type's name means.
func ResolveType(t sql.TypeName) (types.Type, error) {
	if t.Fields != "" {
		return types.Type{}, pgerr.Unsupported("type interval %s", strings.ToLower(t.Fields)).
			WithHint("Use interval.").At(t.Position())
	}
	return typeOf(t)
}

// unsupported is the refusal of a construct at its place.
func unsupported(n sql.Node, format string, args ...any) error {
	return pgerr.Unsupported(format, args...).At(n.Position())
}
