package exec

import (
	"math"
	"math/bits"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// HashJoinSpec is what a hash join does.
type HashJoinSpec struct {
	Kind     JoinKind
	Keys     [2][]int // left, right; none: every left row meets every right one
	NullSafe []bool   // key i matches NULL with NULL; nil: none does
	Types    [2][]types.Type
	// Residual is over left then right columns, nil: none. Only inner joins
	// have one.
	Residual *expr.Program
}

// hashJoin is an inner equi-join. Each side's rows are kept in a bag; a change
// on one side meets the rows of the other as they are then, so each pair is
// emitted once, with the product of the multiplicities, as it arises.
type hashJoin struct {
	timeless
	spec   HashJoinSpec
	id     int
	bags   [2]*state.Bag
	strict [2][]int // key columns on which NULL never matches
	keys   types.KeyBatch
	images types.ByteBatch
	match  state.Matches
	in     types.Chunk // the input's rows that can match
	sel    []uint16
	diff   []int32
	made   [2]pairs // by the side that changes
	errs   rowErrors
	passed types.Chunk
	pass   []uint16
}

// pairs is output under construction. The changed side's columns are gathered
// from the input and share its bytes, the other side's are decoded into
// memory of their own; hence one for each direction.
type pairs struct {
	chunk types.Chunk
	rows  []uint16 // of the changed side
}

// NewHashJoin makes a join. States: Bag left, Bag right (not of semi and anti
// joins), Lines of width JoinLineWidth (not of inner joins).
func NewHashJoin(t *Task, spec HashJoinSpec) Operator {
	if spec.Kind != InnerJoin {
		return newOuterJoin(t, spec)
	}
	j := &hashJoin{}
	j.init(t, spec, [2]*state.Bag{t.Bag(0), t.Bag(1)})
	return j
}

func (j *hashJoin) init(t *Task, spec HashJoinSpec, bags [2]*state.Bag) {
	j.spec, j.id, j.bags = spec, t.Op, bags
	j.match.Max = types.MaxChunkRows
	j.sel = make([]uint16, 0, types.MaxChunkRows) // never nil, which selects all
	for side := range j.strict {
		for i, c := range spec.Keys[side] {
			if spec.NullSafe == nil || !spec.NullSafe[i] {
				j.strict[side] = append(j.strict[side], c)
			}
		}
		ts := append(append([]types.Type(nil), spec.Types[0]...), spec.Types[1]...)
		j.made[side].chunk = *types.NewChunk(ts)
	}
}

// Process implements Operator.
func (j *hashJoin) Process(side int, c *types.Chunk, out Out) error {
	j.in = *c
	j.in.Sel = j.matchable(side, c)
	if j.in.Rows() == 0 {
		return nil
	}
	j.keys.Encode(&j.in, j.spec.Keys[side])
	j.images.EncodeImages(&j.in, nil)
	if err := j.bags[side].Add(&j.keys, &j.images, j.diffs()); err != nil {
		return err
	}
	return j.matches(side, out)
}

// matches emits the pairs of j.in, whose keys are j.keys, with the other side.
func (j *hashJoin) matches(side int, out Out) error {
	for j.match.Begin(); ; {
		if err := j.bags[1-side].Match(&j.keys, &j.match); err != nil {
			return err
		}
		if err := j.emit(side, out); err != nil {
			return err
		}
		if !j.match.More {
			return nil
		}
	}
}

// matchable selects the rows without a NULL that matches nothing.
func (j *hashJoin) matchable(side int, c *types.Chunk) []uint16 {
	sel := c.Sel
	for _, col := range j.strict[side] {
		nulls := c.Cols[col].Nulls
		if nulls == nil || !nulls.Any() {
			continue
		}
		if sel == nil {
			sel = allRows[:c.N]
		}
		kept := j.sel[:0] // may be sel itself: what is written has been read
		for _, r := range sel {
			if !nulls.Get(int(r)) {
				kept = append(kept, r)
			}
		}
		j.sel, sel = kept, kept
	}
	return sel
}

// diffs gives the multiplicities of j.in's selected rows, nil if all are +1.
func (j *hashJoin) diffs() []int32 {
	if j.in.Diff == nil {
		return nil
	}
	j.diff = j.diff[:0]
	for k, n := 0, j.in.Rows(); k < n; k++ {
		j.diff = append(j.diff, j.in.Diff[j.in.Row(k)])
	}
	return j.diff
}

// other gives the columns of p that are decoded.
func (j *hashJoin) other(side int, p *pairs) []types.Vec {
	left := len(j.spec.Types[0])
	if side == 0 {
		return p.chunk.Cols[left:]
	}
	return p.chunk.Cols[:left]
}

// emit sends the pairs of one page of matches.
func (j *hashJoin) emit(side int, out Out) error {
	p := &j.made[side]
	cols := j.other(side, p)
	j.reset(p, cols)
	for i, k := range j.match.Key {
		row := j.in.Row(int(k))
		w, err := product(int64(j.in.DiffAt(row)), j.match.Count[i])
		if err != nil {
			return err
		}
		for w != 0 { // a product beyond int32 stands in several rows
			if len(p.rows) == types.MaxChunkRows {
				if err := j.send(side, p, out); err != nil {
					return err
				}
				j.reset(p, cols)
			}
			if err := types.DecodeImage(j.match.Image.Bytes(i), cols); err != nil {
				return pgerr.Wrap(err, pgerr.DataCorrupted, "a row in the state of a join can not be read")
			}
			part := clampDiff(w)
			w -= int64(part)
			p.rows = append(p.rows, uint16(row))
			p.chunk.Diff = append(p.chunk.Diff, part)
		}
	}
	return j.send(side, p, out)
}

func (j *hashJoin) reset(p *pairs, cols []types.Vec) {
	p.rows, p.chunk.Diff = p.rows[:0], p.chunk.Diff[:0]
	for i := range cols {
		cols[i].Reset(cols[i].Type)
	}
}

// send completes the pairs with the changed side's columns, and emits those
// that pass the residual.
func (j *hashJoin) send(side int, p *pairs, out Out) error {
	if len(p.rows) == 0 {
		return nil
	}
	own := p.chunk.Cols[:len(j.spec.Types[0])]
	if side == 1 {
		own = p.chunk.Cols[len(j.spec.Types[0]):]
	}
	for i := range own {
		j.in.Cols[i].Gather(&own[i], p.rows)
	}
	p.chunk.N = len(p.rows)
	if j.spec.Residual == nil {
		return out.Push(&p.chunk)
	}
	j.errs.Reset()
	sel, err := j.spec.Residual.Filter(&p.chunk, j.pass, &j.errs.Errors)
	if err != nil {
		return err
	}
	j.pass = sel
	if len(j.errs.Rows) > 0 {
		sel = j.errs.without(sel, p.chunk.N)
		if err := j.errs.report(j.id, &p.chunk, out); err != nil {
			return err
		}
	}
	if len(sel) == 0 {
		return nil
	}
	j.passed = p.chunk
	j.passed.Sel = sel
	return out.Push(&j.passed)
}

// Flush implements Operator.
func (j *hashJoin) Flush(types.EpochInfo, Out) error { return nil }

// product multiplies multiplicities.
func product(a, b int64) (int64, error) {
	neg := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, errMultiplicity()
	}
	if neg {
		return -int64(lo), nil
	}
	return int64(lo), nil
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// errMultiplicity says that a row stands more than 2^63 times.
func errMultiplicity() *pgerr.Error {
	return pgerr.New(pgerr.NumericValueOutOfRange, "a row's multiplicity is out of range")
}

// allRows is the selection of all rows.
var allRows = func() (s [types.MaxChunkRows]uint16) {
	for i := range s {
		s[i] = uint16(i)
	}
	return s
}()

// clampDiff gives as much of d as a chunk's multiplicity can hold.
func clampDiff(d int64) int32 { return int32(max(min(d, math.MaxInt32), math.MinInt32)) }
