package expr

import (
	"sort"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Program evaluates expressions over chunks. It owns its scratch vectors, so
// it belongs to one goroutine.
type Program struct {
	// Now is what now() and its kin give; the caller sets it before Eval.
	Now types.Micros

	exprs   []Expr
	roots   []node
	columns []Column // those that are read, to check chunks against
	chunk   *types.Chunk
	n       int
	gen     uint64 // counts Evals: tells cached vectors of this one
	errs    *Errors
	failed  types.Bitmap
	anyFail bool
	shared  map[string]*sharedNode
}

// node computes one expression for the rows in sel (nil: all rows). The vector
// has p.n physical rows, readable at any row that sel has; it is valid until
// the node's next eval.
type node interface {
	eval(p *Program, sel []uint16) *types.Vec
}

// identity is the selection of all rows.
var identity = func() (s [types.MaxChunkRows]uint16) {
	for i := range s {
		s[i] = uint16(i)
	}
	return s
}()

// maxShared bounds how large an expression may be for its common
// sub-expressions to be looked for.
const maxShared = 512

// Compile makes a program of es.
func Compile(es []Expr) (*Program, error) {
	p := &Program{exprs: es, shared: map[string]*sharedNode{}}
	size := 0
	seen := map[int]bool{}
	for _, e := range es {
		Walk(e, func(n Expr) bool {
			size++
			if c, ok := n.(*Column); ok && !seen[c.Index] {
				seen[c.Index] = true
				p.columns = append(p.columns, *c)
			}
			return true
		})
	}
	if size > maxShared {
		p.shared = nil
	}
	for _, e := range es {
		n, err := p.compile(e, false)
		if err != nil {
			return nil, err
		}
		p.roots = append(p.roots, n)
	}
	return p, nil
}

// Exprs gives what the program was compiled from.
func (p *Program) Exprs() []Expr { return p.exprs }

// compile makes the node of e. Guarded says that e may be evaluated on fewer
// rows than the chunk has selected: such a node's result is not shared, but
// it may use an unguarded one that comes before it.
func (p *Program) compile(e Expr, guarded bool) (node, error) {
	switch e := e.(type) {
	case *Column:
		return &columnNode{index: e.Index}, nil
	case *Const:
		return newConstNode(e.Value), nil
	}
	if p.shared == nil {
		return p.compileNode(e, guarded)
	}
	key := string(AppendExpr(nil, e))
	if s, ok := p.shared[key]; ok {
		return s, nil
	}
	n, err := p.compileNode(e, guarded)
	if err != nil || guarded || MaxVolatility(e) == Volatile {
		return n, err
	}
	s := &sharedNode{inner: n}
	p.shared[key] = s
	return s, nil
}

func (p *Program) compileNode(e Expr, guarded bool) (node, error) {
	switch e := e.(type) {
	case *Call:
		return p.compileCall(e, guarded)
	case *And:
		args, err := p.compileGuarded(e.Args, guarded)
		return &logicNode{args: args, decides: false}, err
	case *Or:
		args, err := p.compileGuarded(e.Args, guarded)
		return &logicNode{args: args, decides: true}, err
	case *Not:
		a, err := p.compile(e.Arg, guarded)
		return &notNode{arg: a}, err
	case *IsNull:
		a, err := p.compile(e.Arg, guarded)
		return &isNullNode{arg: a}, err
	case *IsTrue:
		a, err := p.compile(e.Arg, guarded)
		return &isTrueNode{arg: a, want: e.Want}, err
	case *Distinct:
		args, err := p.compileAll([]Expr{e.Left, e.Right}, guarded)
		return &distinctNode{args: args}, err
	case *Case:
		return p.compileCase(e, guarded)
	case *Coalesce:
		args, err := p.compileGuarded(e.Args, guarded)
		return &coalesceNode{t: e.T, args: args}, err
	case *InList:
		a, err := p.compile(e.Arg, guarded)
		return newInNode(a, e), err
	}
	return nil, pgerr.Internal("no evaluation of %T", e)
}

func (p *Program) compileAll(es []Expr, guarded bool) ([]node, error) {
	ns := make([]node, len(es))
	for i, e := range es {
		var err error
		if ns[i], err = p.compile(e, guarded); err != nil {
			return nil, err
		}
	}
	return ns, nil
}

// compileGuarded compiles operands of which each guards the next ones.
func (p *Program) compileGuarded(es []Expr, guarded bool) ([]node, error) {
	ns := make([]node, len(es))
	for i, e := range es {
		var err error
		if ns[i], err = p.compile(e, guarded || i > 0); err != nil {
			return nil, err
		}
	}
	return ns, nil
}

func (p *Program) compileCase(e *Case, guarded bool) (node, error) {
	n := &caseNode{t: e.T}
	for i := range e.Conds {
		c, err := p.compile(e.Conds[i], guarded || i > 0)
		if err != nil {
			return nil, err
		}
		r, err := p.compile(e.Results[i], true)
		if err != nil {
			return nil, err
		}
		n.conds, n.results = append(n.conds, c), append(n.results, r)
	}
	var err error
	n.otherwise, err = p.compile(e.Else, true)
	return n, err
}

func (p *Program) compileCall(e *Call, guarded bool) (node, error) {
	args, err := p.compileAll(e.Args, guarded)
	if err != nil {
		return nil, err
	}
	k := e.Func.kernel
	if e.Func.bind != nil {
		if k, err = e.Func.bind(e); err != nil {
			return nil, err
		}
	}
	if k == nil {
		return nil, pgerr.Unsupported("function %s", e.Func.Name)
	}
	n := &callNode{args: args, strict: e.Func.Strict, kernel: k}
	n.f = frame{p: p, t: e.T, args: make([]*types.Vec, len(args)), consts: make([]*types.Datum, len(args))}
	for i, a := range e.Args {
		if c, ok := a.(*Const); ok {
			n.f.consts[i] = &c.Value
		}
	}
	return n, nil
}

// begin readies p for a chunk.
func (p *Program) begin(c *types.Chunk, errs *Errors) error {
	if c.N > types.MaxChunkRows {
		return pgerr.Internal("chunk of %d rows", c.N)
	}
	for i := range p.columns {
		col := &p.columns[i]
		if col.Index < 0 || col.Index >= len(c.Cols) || c.Cols[col.Index].Type.Kind != col.T.Kind {
			return pgerr.Internal("expression reads column %d as %s, which the chunk does not have", col.Index, col.T)
		}
	}
	p.chunk, p.n, p.errs = c, c.N, errs
	p.gen++
	p.anyFail = len(errs.Rows) > 0
	p.failed = types.MakeBitmap(p.failed, c.N)
	for _, r := range errs.Rows {
		p.failed.Set(int(r))
	}
	return nil
}

// finish puts the errors in order.
func (p *Program) finish() {
	p.chunk = nil
	if p.anyFail && !sort.IsSorted(p.errs) {
		sort.Sort(p.errs)
	}
	p.errs = nil
}

// fail reports row r, once.
func (p *Program) fail(r int, err *pgerr.Error) {
	p.anyFail = true
	if !p.failed.Get(r) {
		p.failed.Set(r)
		p.errs.Rows = append(p.errs.Rows, uint16(r))
		p.errs.Errs = append(p.errs.Errs, err)
	}
}

// Len, Less and Swap order the collection by row.
func (e *Errors) Len() int           { return len(e.Rows) }
func (e *Errors) Less(i, j int) bool { return e.Rows[i] < e.Rows[j] }
func (e *Errors) Swap(i, j int) {
	e.Rows[i], e.Rows[j] = e.Rows[j], e.Rows[i]
	e.Errs[i], e.Errs[j] = e.Errs[j], e.Errs[i]
}

// Eval computes the program's expressions for the selected rows of c. Each
// out[i] has c.N physical rows of which the selected ones hold values, may
// share memory with c and with other outputs, and is valid until the next
// Eval or Filter, or c's end. A row that fails is added to errs (with rows
// already there it is in order; the shared Error values must not be changed)
// and its output is undefined. The error returned is for a chunk that does
// not fit the program.
func (p *Program) Eval(c *types.Chunk, out []types.Vec, errs *Errors) error {
	if err := p.begin(c, errs); err != nil {
		return err
	}
	for i, n := range p.roots {
		out[i] = *n.eval(p, c.Sel)
		out[i].Type = p.exprs[i].Type()
	}
	p.finish()
	return nil
}

// Filter gives the selected rows of c for which the program's one bool
// expression is true, in sel's memory. Operands of a top-level AND are
// evaluated only on rows for which the earlier ones are true.
func (p *Program) Filter(c *types.Chunk, sel []uint16, errs *Errors) ([]uint16, error) {
	if len(p.roots) != 1 || p.exprs[0].Type().Kind != types.Bool {
		return nil, pgerr.Internal("filter is not one boolean expression")
	}
	if err := p.begin(c, errs); err != nil {
		return nil, err
	}
	if cap(sel) < c.N {
		sel = make([]uint16, c.N)
	}
	sel = sel[:0]
	conjuncts := []node(nil)
	root := p.roots[0]
	if s, ok := root.(*sharedNode); ok {
		root = s.inner
	}
	if a, ok := root.(*logicNode); ok && !a.decides {
		conjuncts = a.args
	}
	if conjuncts == nil {
		sel = p.dropFailed(selectTrue(p.roots[0].eval(p, c.Sel), c.Sel, c.N, sel))
		p.finish()
		return sel, nil
	}
	in := c.Sel
	for _, n := range conjuncts {
		sel = p.dropFailed(selectTrue(n.eval(p, in), in, c.N, sel))
		if in = sel; len(sel) == 0 {
			break
		}
	}
	p.finish()
	return sel, nil
}

// dropFailed leaves out of sel the rows that failed: they went on as NULL,
// and may have come out as true.
func (p *Program) dropFailed(sel []uint16) []uint16 {
	if !p.anyFail {
		return sel
	}
	out := sel[:0]
	for _, r := range sel {
		if !p.failed.Get(int(r)) {
			out = append(out, r)
		}
	}
	return out
}

// selectTrue gives the rows of in (nil: all n) where v is true, in out's
// memory, which may be in's.
func selectTrue(v *types.Vec, in []uint16, n int, out []uint16) []uint16 {
	if in == nil {
		in = identity[:n]
	}
	out = out[:cap(out)]
	k := 0
	if v.Nulls == nil {
		for _, r := range in {
			out[k] = r
			if v.Bool[r] {
				k++
			}
		}
		return out[:k]
	}
	for _, r := range in {
		out[k] = r
		if v.Bool[r] && !v.Nulls.Get(int(r)) {
			k++
		}
	}
	return out[:k]
}

// EvalConst computes an expression that has no columns and needs no clock.
func EvalConst(e Expr) (types.Datum, error) {
	if c, ok := e.(*Const); ok {
		return c.Value, nil
	}
	if v := MaxVolatility(e); v != Immutable {
		return types.Datum{}, pgerr.Unsupported("a function that depends on the time or on chance here")
	}
	return EvalConstAt(e, 0)
}

// EvalConstAt computes an expression that has no columns, at a time.
func EvalConstAt(e Expr, now types.Micros) (types.Datum, error) {
	if c, ok := e.(*Const); ok {
		return c.Value, nil
	}
	p, err := Compile([]Expr{e})
	if err != nil {
		return types.Datum{}, err
	}
	if len(p.columns) > 0 {
		return types.Datum{}, pgerr.Internal("a constant with column %s", p.columns[0].Name)
	}
	p.Now = now
	var errs Errors
	var out [1]types.Vec
	if err := p.Eval(&types.Chunk{N: 1}, out[:], &errs); err != nil {
		return types.Datum{}, err
	}
	if len(errs.Errs) > 0 {
		own := *errs.Errs[0] // callers add positions
		return types.Datum{}, &own
	}
	d := out[0].Datum(0)
	d.Type = e.Type()
	return d, nil
}
