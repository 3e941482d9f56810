package exec

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/types"
)

// project computes expressions over its input. Plain columns are shared, and
// what a filter before it has dropped is not computed.
type project struct {
	timeless
	id    int
	exprs *expr.Program
	errs  rowErrors
	out   types.Chunk
}

// NewProject makes a projection. The program is its own.
func NewProject(t *Task, exprs *expr.Program) Operator {
	return &project{id: t.Op, exprs: exprs, out: types.Chunk{Cols: make([]types.Vec, len(exprs.Exprs()))}}
}

// Process implements Operator.
func (p *project) Process(_ int, c *types.Chunk, out Out) error {
	p.errs.Reset()
	if err := p.exprs.Eval(c, p.out.Cols, &p.errs.Errors); err != nil {
		return err
	}
	p.out.Diff, p.out.Sel, p.out.N = c.Diff, c.Sel, c.N
	if len(p.errs.Rows) > 0 {
		p.out.Sel = p.errs.without(c.Sel, c.N)
		if err := p.errs.report(p.id, c, out); err != nil {
			return err
		}
	}
	if p.out.Rows() == 0 {
		return nil
	}
	return out.Push(&p.out)
}

// Flush implements Operator.
func (p *project) Flush(types.EpochInfo, Out) error { return nil }
