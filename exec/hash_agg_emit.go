package exec

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// emitLines is how many groups are emitted at once: two rows each.
const emitLines = types.MaxChunkRows / 2

// aggEmitter makes the output of touched groups. Rows stand for what a group
// was (multiplicity -1), followed by what it is (+1).
type aggEmitter struct {
	a     *hashAgg
	rows  [][]byte // lines, by output row
	blobs [][]byte
	pair  []bool // the next row is the same group's
	out   types.Chunk
	sel   []uint16
	diff  []int32
	errs  expr.Errors
	bad   []*pgerr.Error // by output row, nil: none
	fails ErrorRows
	keys  types.KeyBatch // of refresh
	live  []state.Slot
	found []bool
	cols  []int // of the key in the output
	part  blobParts
}

func (e *aggEmitter) init(a *hashAgg) {
	e.a = a
	var ts []types.Type
	for i, k := range a.spec.Keys {
		ts = append(ts, a.spec.In[k])
		e.cols = append(e.cols, i)
	}
	if e.cols == nil {
		e.cols = []int{}
	}
	for _, c := range a.spec.Aggs {
		ts = append(ts, c.T)
	}
	e.out = *types.NewChunk(ts)
	e.fails.Op = a.id
	e.part.init(a.parts)
}

func rowCount(line []byte) int64 { return int64(binary.LittleEndian.Uint64(line)) }

// batch emits touched groups lo to hi.
func (e *aggEmitter) batch(lo, hi int, out Out) error {
	if e.a.fetches {
		if err := e.a.refresh(lo, hi); err != nil {
			return err
		}
	}
	if err := e.gather(lo, hi); err != nil {
		return err
	}
	if len(e.rows) == 0 {
		return nil
	}
	if err := e.results(); err != nil {
		return err
	}
	return e.send(out)
}

// gather finds the groups of a batch that may show a difference, and takes
// away those without rows.
func (e *aggEmitter) gather(lo, hi int) error {
	a := e.a
	e.rows, e.blobs, e.pair, e.diff = e.rows[:0], e.blobs[:0], e.pair[:0], e.diff[:0]
	for i := range e.cols {
		e.out.Cols[i].Reset(e.out.Cols[i].Type)
	}
	for i := lo; i < hi; i++ {
		s, old, oldBlob, was := a.lines.TouchedAt(i)
		cur, blob := a.lines.Line(s), a.lines.Blob(s)
		n := rowCount(cur)
		if n < 0 {
			return a.errNegative()
		}
		is := n > 0 || len(a.spec.Keys) == 0
		if was && is && (len(a.calls) == 0 && !a.keyImage || bytes.Equal(old, cur) && bytes.Equal(oldBlob, blob)) {
			continue
		}
		key := a.lines.Key(s)
		if was {
			if err := e.row(old, oldBlob, key, is, -1); err != nil {
				return err
			}
		}
		if is {
			if err := e.row(cur, blob, key, false, 1); err != nil {
				return err
			}
		} else {
			a.lines.Delete(s)
		}
	}
	return nil
}

// row adds an output row with its key columns.
func (e *aggEmitter) row(line, blob, key []byte, pair bool, diff int32) error {
	e.rows = append(e.rows, line)
	e.blobs = append(e.blobs, blob)
	e.pair = append(e.pair, pair)
	e.diff = append(e.diff, diff)
	cols := e.out.Cols[:len(e.cols)]
	if !e.a.keyImage {
		return decodeKey(cols, key)
	}
	e.part.split(blob)
	if err := types.DecodeImage(e.part.get(0), cols); err != nil {
		return pgerr.Wrap(err, pgerr.DataCorrupted, "the key of a group in state can not be read")
	}
	return nil
}

// results computes the aggregates' columns.
func (e *aggEmitter) results() error {
	n := len(e.rows)
	if cap(e.bad) < n {
		e.bad = make([]*pgerr.Error, types.MaxChunkRows)
	}
	e.bad = e.bad[:n]
	clear(e.bad)
	for i := range e.a.calls {
		c, v := &e.a.calls[i], &e.out.Cols[len(e.cols)+i]
		e.errs.Reset()
		switch c.form {
		case formFixed:
			c.fixed.Result(e.rows, c.off, v, &e.errs)
			for k, r := range e.errs.Rows {
				e.note(int(r), e.errs.Errs[k])
			}
			v.Type = c.T
		case formInline:
			v.Resize(c.T, n)
			for k, row := range e.rows {
				f := row[c.off : c.off+inlineWidth]
				if v.I64[k] = int64(binary.LittleEndian.Uint64(f[8:])); f[0] == 0 {
					v.SetNull(k)
				}
			}
		case formVar:
			v.Resize(c.T, n)
			for k := range e.rows {
				e.part.split(e.blobs[k])
				if err := c.vari.Result(e.part.get(c.part), v, k); err != nil {
					e.note(k, err)
				}
			}
		default:
			if err := e.ordered(c, len(e.cols)+i); err != nil {
				return err
			}
		}
	}
	return nil
}

// note keeps the first error of an output row.
func (e *aggEmitter) note(k int, err *pgerr.Error) {
	if e.bad[k] == nil {
		e.bad[k] = err
	}
}

// ordered makes column i of the output, a min or max kept in blobs.
func (e *aggEmitter) ordered(c *aggState, i int) error {
	v := &e.out.Cols[i]
	v.Reset(c.T)
	for k := range e.rows {
		e.part.split(e.blobs[k])
		image := e.part.get(c.part)
		if c.form == formKept && len(image) > 0 {
			_, image = splitKept(image)
		}
		if len(image) == 0 {
			v.AppendNull()
			continue
		}
		if err := types.DecodeImage(image, e.out.Cols[i:i+1]); err != nil {
			return pgerr.Wrap(err, pgerr.DataCorrupted, "a value in the state of an aggregate can not be read")
		}
	}
	return nil
}

// send emits what differs.
func (e *aggEmitter) send(out Out) error {
	n := len(e.rows)
	e.sel = e.sel[:0]
	e.fails.Images.Reset()
	e.fails.Diff, e.fails.Errs = e.fails.Diff[:0], e.fails.Errs[:0]
	e.out.Diff, e.out.N = e.diff, n
	for k := 0; k < n; k++ {
		if e.pair[k] && e.same(k, k+1) {
			k++
			continue
		}
		if e.bad[k] == nil {
			e.sel = append(e.sel, uint16(k))
			continue
		}
		e.fails.Diff = append(e.fails.Diff, e.diff[k])
		e.fails.Errs = append(e.fails.Errs, e.bad[k])
		off := len(e.fails.Images.Data)
		e.fails.Images.Data = types.AppendImage(e.fails.Images.Data, &e.out, k, e.cols)
		e.fails.Images.Span = append(e.fails.Images.Span, types.Span{Off: uint32(off), Len: uint32(len(e.fails.Images.Data) - off)})
	}
	if len(e.fails.Diff) > 0 {
		if err := out.Fail(&e.fails); err != nil {
			return err
		}
	}
	if len(e.sel) == 0 {
		return nil
	}
	e.out.Sel = e.sel
	if len(e.sel) == n {
		e.out.Sel = nil
	}
	return out.Push(&e.out)
}

// same reports whether output rows j and k have the same image, or the same
// error.
func (e *aggEmitter) same(j, k int) bool {
	if e.bad[j] != nil || e.bad[k] != nil {
		return e.bad[j] != nil && e.bad[k] != nil && *e.bad[j] == *e.bad[k]
	}
	from := len(e.cols)
	if e.a.keyImage {
		from = 0
	}
	for i := from; i < len(e.out.Cols); i++ {
		if !sameImage(&e.out.Cols[i], j, k) {
			return false
		}
	}
	return true
}

// sameImage reports whether rows j and k of v are exactly the same value.
func sameImage(v *types.Vec, j, k int) bool {
	if v.Null(j) || v.Null(k) {
		return v.Null(j) == v.Null(k)
	}
	switch v.Type.Kind.Phys() {
	case types.PhysBool:
		return v.Bool[j] == v.Bool[k]
	case types.PhysInt64:
		return v.I64[j] == v.I64[k]
	case types.PhysFloat64:
		a, b := v.F64[j], v.F64[k]
		return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
	case types.PhysInterval:
		return v.Iv[j] == v.Iv[k]
	default:
		return bytes.Equal(v.Bytes(j), v.Bytes(k))
	}
}

// decodeKey appends the values of an equality encoding to cols, whose kinds
// all have Kind.ImageIsKey.
func decodeKey(cols []types.Vec, key []byte) error {
	for i := range cols {
		v := &cols[i]
		if len(key) == 0 {
			return errKey
		}
		if key[0] != keyValue {
			v.AppendNull()
			key = key[1:]
			continue
		}
		key = key[1:]
		n := keyWidth(v.Type.Kind, key)
		if n < 0 || n > len(key) {
			return errKey
		}
		at := v.Len()
		switch v.Type.Kind {
		case types.Bool:
			v.Bool = append(v.Bool, key[0] != 0)
		case types.Int4, types.Date:
			v.I64 = append(v.I64, int64(int32(binary.BigEndian.Uint32(key)^1<<31)))
		case types.Int8, types.Timestamp, types.Timestamptz:
			v.I64 = append(v.I64, int64(binary.BigEndian.Uint64(key)^1<<63))
		default:
			v.Span = append(v.Span, types.Span{Off: uint32(len(v.Data)), Len: uint32(n - 1)})
			v.Data = append(v.Data, key[:n-1]...)
		}
		if v.Nulls != nil && len(v.Nulls) <= at>>6 {
			v.Nulls = append(v.Nulls, 0)
		}
		key = key[n:]
	}
	return nil
}

// keyValue is the marker of a value that is not NULL in an equality encoding.
const keyValue = 1

var errKey = pgerr.New(pgerr.DataCorrupted, "the key of a group in state can not be read")

// keyWidth gives the bytes of a value after its marker, -1 if it has no end.
func keyWidth(k types.Kind, key []byte) int {
	switch k {
	case types.Bool:
		return 1
	case types.Int4, types.Date:
		return 4
	case types.Int8, types.Timestamp, types.Timestamptz:
		return 8
	default:
		if n := bytes.IndexByte(key, 0); n >= 0 {
			return n + 1
		}
		return -1
	}
}
