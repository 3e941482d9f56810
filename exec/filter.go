package exec

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/types"
)

// filter keeps rows on which a predicate is true, by a selection: no row is
// copied.
type filter struct {
	timeless
	id   int
	pred *expr.Program
	sel  []uint16
	errs rowErrors
	out  types.Chunk
}

// NewFilter makes a filter. The program is its own.
func NewFilter(t *Task, pred *expr.Program) Operator {
	return &filter{id: t.Op, pred: pred, sel: make([]uint16, 0, types.MaxChunkRows)}
}

// Process implements Operator.
func (f *filter) Process(_ int, c *types.Chunk, out Out) error {
	f.errs.Reset()
	sel, err := f.pred.Filter(c, f.sel, &f.errs.Errors)
	if err != nil {
		return err
	}
	f.sel = sel
	if len(f.errs.Rows) > 0 {
		sel = f.errs.without(sel, c.N)
		if err := f.errs.report(f.id, c, out); err != nil {
			return err
		}
	}
	if len(sel) == 0 {
		return nil
	}
	f.out = types.Chunk{Cols: c.Cols, Diff: c.Diff, Sel: sel, N: c.N}
	return out.Push(&f.out)
}

// Flush implements Operator.
func (f *filter) Flush(types.EpochInfo, Out) error { return nil }
