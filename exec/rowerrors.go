package exec

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/types"
)

// timeless is an operator that does nothing at an instant or with event time.
type timeless struct{}

// Watermark implements Operator.
func (timeless) Watermark(int, types.Micros, Out) error { return nil }

// Wake implements Operator.
func (timeless) Wake() (types.Micros, bool) { return 0, false }

// rowErrors collects the rows of a chunk on which an expression fails.
type rowErrors struct {
	expr.Errors
	out ErrorRows
	sel []uint16
}

// report passes the failed rows of c on, with their multiplicities.
func (x *rowErrors) report(op int, c *types.Chunk, out Out) error {
	x.out.Op = op
	x.out.Images.Reset()
	x.out.Diff, x.out.Errs = x.out.Diff[:0], x.Errs
	part := *c
	part.Sel = x.Rows
	x.out.Images.EncodeImages(&part, nil)
	for _, r := range x.Rows {
		x.out.Diff = append(x.out.Diff, c.DiffAt(int(r)))
	}
	return out.Fail(&x.out)
}

// without gives the rows of sel (nil: all n) that did not fail, until the next
// call.
func (x *rowErrors) without(sel []uint16, n int) []uint16 {
	if x.sel == nil { // nil would select all
		x.sel = make([]uint16, 0, types.MaxChunkRows)
	}
	x.sel = x.sel[:0]
	bad := x.Rows
	keep := func(r uint16) {
		for len(bad) > 0 && bad[0] < r {
			bad = bad[1:]
		}
		if len(bad) == 0 || bad[0] != r {
			x.sel = append(x.sel, r)
		}
	}
	if sel == nil {
		for r := range n {
			keep(uint16(r))
		}
		return x.sel
	}
	for _, r := range sel {
		keep(r)
	}
	return x.sel
}
