package exec

import (
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// values emits constant rows at the end of the job's first epoch. Its list
// holds one element once it has.
type values struct {
	timeless
	id   int
	rows []*expr.Program
	done *state.List
	errs rowErrors
}

// emitted is what the list of a values operator holds.
var emitted = []byte{1}

// NewValues makes a VALUES list with a program for each row. State: List.
func NewValues(t *Task, rows []*expr.Program) Operator {
	return &values{id: t.Op, rows: rows, done: t.List(0)}
}

// Process implements Operator; there is no input.
func (v *values) Process(int, *types.Chunk, Out) error { return nil }

// Flush implements Operator.
func (v *values) Flush(e types.EpochInfo, out Out) error {
	if len(v.done.Items()) > 0 {
		return nil
	}
	v.done.Set([][]byte{emitted})
	one := types.Chunk{N: 1} // a row without columns
	for _, p := range v.rows {
		c := types.Chunk{Cols: make([]types.Vec, len(p.Exprs())), N: 1}
		p.Now = e.Now
		v.errs.Reset()
		if err := p.Eval(&one, c.Cols, &v.errs.Errors); err != nil {
			return err
		}
		if len(v.errs.Rows) > 0 {
			if err := v.errs.report(v.id, &one, out); err != nil {
				return err
			}
			continue
		}
		if err := out.Push(&c); err != nil {
			return err
		}
	}
	return nil
}
