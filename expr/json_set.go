package expr

import (
	"math"
	"slices"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// jsonSetFuncs are jsonb_set, jsonb_insert and the deletion of a path.
func jsonSetFuncs() []*Func {
	const jb, b = types.Jsonb, types.Bool
	path := types.ArrayOf(types.Text)
	return []*Func{
		fn("jsonb_set", jb, changePath(pathSet), jb, path, jb), fn("jsonb_set", jb, changePath(pathSet), jb, path, jb, b),
		fn("jsonb_insert", jb, changePath(pathInsert), jb, path, jb), fn("jsonb_insert", jb, changePath(pathInsert), jb, path, jb, b),
		fn("#-", jb, changePath(pathDelete), jb, path),
	}
}

type pathOp uint8

const (
	pathSet pathOp = iota
	pathInsert
	pathDelete
)

// pathChange is a change at a path. Flag says, of a set, to create what is not
// there, and of an insertion, to put it behind.
type pathChange struct {
	op    pathOp
	flag  bool
	path  []types.Datum
	value types.JSON
}

func changePath(op pathOp) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			b, err := f.changed(op, int(r))
			if err != nil {
				f.fail(int(r), err)
				continue
			}
			setText(f, int(r), b)
		}
	}
}

func (f *frame) changed(op pathOp, r int) ([]byte, error) {
	v, err := types.ParseJSON(f.args[0].Bytes(r))
	if err != nil {
		return nil, err
	}
	path := arrays.get(f.args[1], r)
	c := pathChange{op: op, path: path.Items, flag: op == pathSet}
	if op != pathDelete {
		if c.value, err = types.ParseJSON(f.args[2].Bytes(r)); err != nil {
			return nil, err
		}
	}
	if len(f.args) > 3 {
		c.flag = f.args[3].Bool[r]
	}
	switch {
	case len(path.Dims) > 1:
		return nil, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
	case v.Kind < types.JSONArray && op == pathDelete:
		return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot delete path in scalar")
	case v.Kind < types.JSONArray:
		return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot set path in scalar")
	case len(c.path) == 0, len(v.Items) == 0 && (op == pathDelete || op == pathSet && !c.flag):
		return f.args[0].Bytes(r), nil
	}
	if err := c.apply(&v, 0); err != nil {
		return nil, err
	}
	return v.Append(nil), nil
}

func (c *pathChange) apply(v *types.JSON, level int) error {
	if v.Kind < types.JSONArray {
		return nil
	}
	step := c.path[level]
	if step.Null {
		return pgerr.New(pgerr.NullValueNotAllowed, "path element at position %d is null", level+1)
	}
	last := level+1 == len(c.path)
	if v.Kind == types.JSONObject {
		i, ok := v.Field(string(step.B))
		switch {
		case !last && ok:
			return c.apply(&v.Items[i], level+1)
		case !last:
		case ok && c.op == pathDelete:
			v.Keys, v.Items = slices.Delete(v.Keys, i, i+1), slices.Delete(v.Items, i, i+1)
		case ok && c.op == pathInsert:
			return pgerr.New(pgerr.InvalidParameterValue, "cannot replace existing key").
				WithHint("Try using the function jsonb_set to replace key value.")
		case ok:
			v.Items[i] = c.value
		case c.op == pathInsert || c.op == pathSet && c.flag:
			v.Keys, v.Items = slices.Insert(v.Keys, i, string(step.B)), slices.Insert(v.Items, i, c.value)
		}
		return nil
	}
	i, ok := pathIndex(step.B)
	if !ok {
		return pgerr.New(pgerr.InvalidTextRepresentation, "path element at position %d is not an integer: \"%s\"", level+1, step.B)
	}
	return c.applyAt(v, i, level, last)
}

func (c *pathChange) applyAt(v *types.JSON, i int64, level int, last bool) error {
	n := int64(len(v.Items))
	before := false // before the first element
	if i < 0 {
		if before = -i > n; before {
			i = math.MinInt32
		} else {
			i += n
		}
	}
	i = min(i, n)
	switch {
	case !last && i >= 0 && i < n:
		return c.apply(&v.Items[i], level+1)
	case !last:
	case c.op == pathDelete:
		if i >= 0 && i < n {
			v.Items = slices.Delete(v.Items, int(i), int(i)+1)
		}
	case c.op == pathInsert:
		at := max(i, 0)
		if c.flag && !before && i < n {
			at++
		}
		v.Items = slices.Insert(v.Items, int(at), c.value)
	case i >= 0 && i < n:
		v.Items[i] = c.value
	case c.flag:
		v.Items = slices.Insert(v.Items, int(max(i, 0)), c.value)
	}
	return nil
}
