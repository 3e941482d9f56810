package expr

import (
	"bytes"
	"strconv"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// arrayKinds are the kinds of arrays.
var arrayKinds = func() (ks []types.Kind) {
	for _, k := range allKinds {
		ks = append(ks, types.ArrayOf(k))
	}
	return ks
}()

// arrays reads and writes the values of a vector of an array kind.
var arrays = access[types.Array]{
	func(v *types.Vec, r int) types.Array { return types.DecodeArray(v.Type.Kind, v.Bytes(r)) },
	func(f *frame, r int, a types.Array) { f.buf = a.Append(f.buf[:0]); setText(f, r, f.buf) },
}

// arrayFuncs are the operators and functions on arrays of each kind.
func arrayFuncs() []*Func {
	const txt, i4, b = types.Text, types.Int4, types.Bool
	var fs []*Func
	loose := func(name string, result types.Kind, k kernel, args ...types.Kind) {
		f := fn(name, result, k, args...)
		f.Strict = false
		fs = append(fs, f)
	}
	for _, e := range allKinds {
		a := types.ArrayOf(e)
		for _, name := range []string{"||", "array_cat"} {
			loose(name, a, arrayCat, a, a)
		}
		for _, name := range []string{"||", "array_append"} {
			loose(name, a, arrayPush(e, false), a, e)
		}
		for _, name := range []string{"||", "array_prepend"} {
			loose(name, a, arrayPush(e, true), e, a)
		}
		make := fn("array", a, makeArray(e), e)
		make.Strict, make.Variadic = false, true
		fs = append(fs, make,
			fn("array_get", e, arrayGet, a, i4),
			fn("array_length", i4, arrayBound(func(x *types.Array, d int) int { return x.Dims[d] }), a, i4),
			fn("array_lower", i4, arrayBound(func(x *types.Array, d int) int { return x.Lower[d] }), a, i4),
			fn("array_upper", i4, arrayBound(func(x *types.Array, d int) int { return x.Lower[d] + x.Dims[d] - 1 }), a, i4),
			safe("array_ndims", i4, arrayShape(false), a), safe("array_dims", txt, arrayShape(true), a),
			safe("cardinality", i4, unary(arrays, ints, func(x types.Array) (int64, error) { return int64(len(x.Items)), nil }), a),
			fn("trim_array", a, trimArray, a, i4))
		loose("array_to_string", txt, arrayToString, a, txt)
		loose("array_to_string", txt, arrayToString, a, txt, txt)
		if e == types.Json {
			continue
		}
		for _, c := range comparisons {
			fs = append(fs, safe(c.op, b, c.rowwise, a, a))
		}
		for _, name := range []string{"greatest", "least"} {
			f := safe(name, a, extreme(name == "greatest"), a)
			f.Strict, f.Variadic = false, true
			fs = append(fs, f)
		}
		loose("array_position", i4, arrayPosition, a, e)
		loose("array_position", i4, arrayPosition, a, e, i4)
		loose("array_positions", types.ArrayOf(i4), arrayPositions, a, e)
		loose("array_remove", a, arrayReplace, a, e)
		loose("array_replace", a, arrayReplace, a, e, e)
		fs = append(fs, safe("@>", b, arraysMeet(func(x, y *types.Array) bool { return holdsAll(x, y) }), a, a),
			safe("<@", b, arraysMeet(func(x, y *types.Array) bool { return holdsAll(y, x) }), a, a),
			safe("&&", b, arraysMeet(holdsAny), a, a))
	}
	return append(fs, textArrayFuncs()...)
}

// ResolveArray binds ARRAY[…] over elements, at least one.
func ResolveArray(elems []Expr, pos int) (Expr, error) {
	args, t, err := castAll(elems, "ARRAY", pos)
	if err != nil {
		return nil, err
	}
	f, ok := LookupFunc(makeID("array", []types.Kind{t.Kind}, true))
	if !ok {
		return nil, pgerr.Unsupported("an array of %s", t).At(pos)
	}
	return &Call{Func: f, Args: args, T: types.Type{Kind: f.Result, Mod: -1}, Pos: pos}, nil
}

// ResolveSubscript binds array[index] of an array of one dimension.
func ResolveSubscript(array, index Expr, pos int) (Expr, error) {
	if _, ok := array.Type().Kind.Elem(); !ok {
		return nil, pgerr.New(pgerr.DatatypeMismatch, "cannot subscript type %s because it does not support subscripting", array.Type()).At(pos)
	}
	i, err := Cast(index, types.T(types.Int4), Assignment, pos)
	if err != nil {
		return nil, err
	}
	f, _ := LookupFunc(makeID("array_get", []types.Kind{array.Type().Kind, types.Int4}, false))
	return bindCall(f, []Expr{array, i}, pos)
}

func makeArray(e types.Kind) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			items := make([]types.Datum, len(f.args))
			for i, v := range f.args {
				items[i] = v.Datum(int(r))
				items[i].Type = types.T(e)
			}
			arrays.set(f, int(r), types.NewArray(e, items))
		}
	}
}

func arrayGet(f *frame) {
	for _, r := range f.rows() {
		a := arrays.get(f.args[0], int(r))
		i := f.args[1].I64[r]
		if len(a.Dims) != 1 || i < int64(a.Lower[0]) || i >= int64(a.Lower[0]+a.Dims[0]) || a.Items[i-int64(a.Lower[0])].Null {
			f.setNull(int(r))
			continue
		}
		setDatum(&f.out, int(r), a.Items[i-int64(a.Lower[0])])
	}
}

func arrayBound(get func(a *types.Array, dim int) int) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			a, d := arrays.get(f.args[0], int(r)), f.args[1].I64[r]
			if d < 1 || d > int64(len(a.Dims)) {
				f.setNull(int(r))
				continue
			}
			f.out.I64[r] = int64(get(&a, int(d-1)))
		}
	}
}

// arrayShape is array_ndims, or array_dims as text.
func arrayShape(text bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			a := arrays.get(f.args[0], int(r))
			switch {
			case len(a.Dims) == 0:
				f.setNull(int(r))
			case !text:
				f.out.I64[r] = int64(len(a.Dims))
			default:
				b := f.buf[:0]
				for i, n := range a.Dims {
					b = strconv.AppendInt(append(b, '['), int64(a.Lower[i]), 10)
					b = strconv.AppendInt(append(b, ':'), int64(a.Lower[i]+n-1), 10)
					b = append(b, ']')
				}
				f.buf = b
				setText(f, int(r), b)
			}
		}
	}
}

var errArrayDims = pgerr.New(pgerr.ArraySubscriptError, "cannot concatenate incompatible arrays")

func arrayCat(f *frame) {
	for _, r := range f.rows() {
		x, y := f.args[0], f.args[1]
		switch {
		case x.Null(int(r)) && y.Null(int(r)):
			f.setNull(int(r))
			continue
		case x.Null(int(r)):
			setText(f, int(r), y.Bytes(int(r)))
			continue
		case y.Null(int(r)):
			setText(f, int(r), x.Bytes(int(r)))
			continue
		}
		a, b := arrays.get(x, int(r)), arrays.get(y, int(r))
		c, err := concatArrays(a, b)
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		arrays.set(f, int(r), c)
	}
}

func concatArrays(a, b types.Array) (types.Array, error) {
	switch {
	case len(b.Dims) == 0:
		return a, nil
	case len(a.Dims) == 0:
		return b, nil
	}
	out := types.Array{Elem: a.Elem, Items: append(append([]types.Datum{}, a.Items...), b.Items...)}
	same := func(x, y []int) bool {
		for i := range x {
			if x[i] != y[i] {
				return false
			}
		}
		return len(x) == len(y)
	}
	switch {
	case len(a.Dims) == len(b.Dims) && same(a.Dims[1:], b.Dims[1:]) && same(a.Lower[1:], b.Lower[1:]):
		out.Dims, out.Lower = append([]int{a.Dims[0] + b.Dims[0]}, a.Dims[1:]...), a.Lower
	case len(a.Dims) == len(b.Dims)-1 && same(a.Dims, b.Dims[1:]) && same(a.Lower, b.Lower[1:]):
		out.Dims, out.Lower = append([]int{b.Dims[0] + 1}, b.Dims[1:]...), b.Lower
	case len(a.Dims)-1 == len(b.Dims) && same(a.Dims[1:], b.Dims) && same(a.Lower[1:], b.Lower):
		out.Dims, out.Lower = append([]int{a.Dims[0] + 1}, a.Dims[1:]...), a.Lower
	default:
		return out, errArrayDims
	}
	return out, nil
}

// arrayPush appends an element, or puts it before the others.
func arrayPush(e types.Kind, first bool) kernel {
	return func(f *frame) {
		av, ev := f.args[0], f.args[1]
		if first {
			av, ev = ev, av
		}
		for _, r := range f.rows() {
			a := types.Array{Elem: e}
			if !av.Null(int(r)) {
				a = arrays.get(av, int(r))
			}
			d := ev.Datum(int(r))
			d.Type = types.T(e)
			switch {
			case len(a.Dims) == 0:
				a = types.NewArray(e, []types.Datum{d})
			case len(a.Dims) > 1:
				f.fail(int(r), pgerr.New("22000", "argument must be empty or one-dimensional array"))
				continue
			case first:
				a.Items, a.Dims[0] = append([]types.Datum{d}, a.Items...), a.Dims[0]+1
			default:
				a.Items, a.Dims[0] = append(a.Items, d), a.Dims[0]+1
			}
			arrays.set(f, int(r), a)
		}
	}
}

func trimArray(f *frame) {
	for _, r := range f.rows() {
		a, n := arrays.get(f.args[0], int(r)), f.args[1].I64[r]
		have := 0
		if len(a.Dims) > 0 {
			have = a.Dims[0]
		}
		if n < 0 || n > int64(have) {
			f.fail(int(r), pgerr.New(pgerr.ArraySubscriptError, "number of elements to trim must be between 0 and %d", have))
			continue
		}
		if have > 0 {
			per := len(a.Items) / have
			a.Items, a.Dims[0] = a.Items[:len(a.Items)-per*int(n)], have-int(n)
			for i := range a.Lower {
				a.Lower[i] = 1
			}
			if a.Dims[0] == 0 {
				a.Dims, a.Lower = nil, nil
			}
		}
		arrays.set(f, int(r), a)
	}
}

func arrayToString(f *frame) {
	for _, r := range f.rows() {
		if f.args[0].Null(int(r)) || f.args[1].Null(int(r)) {
			f.setNull(int(r))
			continue
		}
		a, sep := arrays.get(f.args[0], int(r)), f.args[1].Bytes(int(r))
		b, first := f.buf[:0], true
		for _, d := range a.Items {
			var s []byte
			if !d.Null {
				s = types.AppendText(nil, d)
			} else if len(f.args) > 2 && !f.args[2].Null(int(r)) {
				s = f.args[2].Bytes(int(r))
			} else {
				continue
			}
			if !first {
				b = append(b, sep...)
			}
			first = false
			b = append(b, s...)
		}
		f.buf = b
		setText(f, int(r), b)
	}
}

// sameItem is IS NOT DISTINCT FROM.
func sameItem(a, b types.Datum) bool { return types.CompareDatum(a, b) == 0 }

var errSearchDims = pgerr.New(pgerr.FeatureNotSupported, "searching for elements in multidimensional arrays is not supported")

func arrayPosition(f *frame) {
	for _, r := range f.rows() {
		if f.args[0].Null(int(r)) {
			f.setNull(int(r))
			continue
		}
		a, want := arrays.get(f.args[0], int(r)), f.args[1].Datum(int(r))
		if len(a.Dims) > 1 {
			f.fail(int(r), errSearchDims)
			continue
		}
		from := int64(-1 << 31)
		if len(f.args) > 2 && len(a.Items) > 0 {
			if f.args[2].Null(int(r)) {
				f.fail(int(r), pgerr.New(pgerr.NullValueNotAllowed, "initial position must not be null"))
				continue
			}
			from = f.args[2].I64[r]
		}
		found := false
		for i, d := range a.Items {
			if at := int64(a.Lower[0] + i); at >= from && sameItem(d, want) {
				f.out.I64[r], found = at, true
				break
			}
		}
		if !found {
			f.setNull(int(r))
		}
	}
}

func arrayPositions(f *frame) {
	for _, r := range f.rows() {
		if f.args[0].Null(int(r)) {
			f.setNull(int(r))
			continue
		}
		a, want := arrays.get(f.args[0], int(r)), f.args[1].Datum(int(r))
		if len(a.Dims) > 1 {
			f.fail(int(r), errSearchDims)
			continue
		}
		var at []types.Datum
		for i, d := range a.Items {
			if sameItem(d, want) {
				at = append(at, types.NewInt4(int32(a.Lower[0]+i)))
			}
		}
		arrays.set(f, int(r), types.NewArray(types.Int4, at))
	}
}

// arrayReplace is array_replace, or with two arguments array_remove.
func arrayReplace(f *frame) {
	for _, r := range f.rows() {
		if f.args[0].Null(int(r)) {
			f.setNull(int(r))
			continue
		}
		a, old := arrays.get(f.args[0], int(r)), f.args[1].Datum(int(r))
		if len(f.args) == 2 && len(a.Dims) > 1 {
			f.fail(int(r), pgerr.New(pgerr.FeatureNotSupported, "removing elements from multidimensional arrays is not supported"))
			continue
		}
		items := make([]types.Datum, 0, len(a.Items))
		for _, d := range a.Items {
			switch {
			case !sameItem(d, old):
				items = append(items, d)
			case len(f.args) > 2:
				by := f.args[2].Datum(int(r))
				by.Type = d.Type
				items = append(items, by)
			}
		}
		if len(items) != len(a.Items) {
			if len(items) == 0 {
				a.Dims, a.Lower = nil, nil
			} else {
				a.Dims[0] = len(items)
			}
		}
		a.Items = items
		arrays.set(f, int(r), a)
	}
}

func arraysMeet(test func(a, b *types.Array) bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			a, b := arrays.get(f.args[0], int(r)), arrays.get(f.args[1], int(r))
			f.out.Bool[r] = test(&a, &b)
		}
	}
}

// holds reports whether a has an element that equals d, which NULL never does.
func holds(a *types.Array, d types.Datum) bool {
	for _, x := range a.Items {
		if !x.Null && !d.Null && sameItem(x, d) {
			return true
		}
	}
	return false
}

func holdsAll(a, b *types.Array) bool {
	for _, d := range b.Items {
		if !holds(a, d) {
			return false
		}
	}
	return true
}

func holdsAny(a, b *types.Array) bool {
	for _, d := range b.Items {
		if holds(a, d) {
			return true
		}
	}
	return false
}

// textArrayFuncs are the functions with text[]: paths into JSON, and text cut
// up.
func textArrayFuncs() []*Func {
	const txt, jb, b = types.Text, types.Jsonb, types.Bool
	ta := types.ArrayOf(txt)
	var fs []*Func
	for _, k := range []types.Kind{types.Json, jb} {
		fs = append(fs, fn("#>", k, jsonArrayPath(false), k, ta), fn("#>>", txt, jsonArrayPath(true), k, ta))
	}
	has := func(all bool) kernel {
		return func(f *frame) {
			for _, r := range f.rows() {
				v, err := types.ParseJSON(f.args[0].Bytes(int(r)))
				if err != nil {
					f.fail(int(r), err)
					continue
				}
				f.out.Bool[r] = all
				for _, d := range arrays.get(f.args[1], int(r)).Items {
					if !d.Null && hasKey(&v, d.B) != all {
						f.out.Bool[r] = !all
						break
					}
				}
			}
		}
	}
	none := regexpArgs{flags: -1, start: -1, nth: -1, option: -1, sub: -1}
	flags := none
	flags.flags = 2
	split := func(name string, args ...types.Kind) *Func {
		f := fn(name, ta, stringToArray, args...)
		f.Strict = false
		return f
	}
	return append(fs,
		fn("?|", b, has(false), jb, ta), fn("?&", b, has(true), jb, ta),
		fn("-", jb, deleteKeys, jb, ta),
		split("string_to_array", txt, txt), split("string_to_array", txt, txt, txt),
		bound("regexp_match", ta, bindRegexp(none, regexpMatch), txt, txt), bound("regexp_match", ta, bindRegexp(flags, regexpMatch), txt, txt, txt),
		bound("regexp_split_to_array", ta, bindRegexp(none, regexpSplit), txt, txt),
		bound("regexp_split_to_array", ta, bindRegexp(flags, regexpSplit), txt, txt, txt))
}

func jsonArrayPath(text bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			part, ok := bytes.TrimSpace(f.args[0].Bytes(int(r))), true
			for _, d := range arrays.get(f.args[1], int(r)).Items {
				if d.Null {
					ok = false
				}
				if ok {
					part, ok = jsonStep(part, d.B)
				}
			}
			f.emitJSON(int(r), part, ok, text)
		}
	}
}

func deleteKeys(f *frame) {
	for _, r := range f.rows() {
		v, err := types.ParseJSON(f.args[0].Bytes(int(r)))
		if err == nil && v.Kind < types.JSONArray {
			err = errDeleteScalar
		}
		keys := arrays.get(f.args[1], int(r))
		if len(keys.Dims) > 1 {
			err = pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
		}
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		for _, d := range keys.Items {
			if !d.Null {
				dropKey(&v, d.B)
			}
		}
		f.buf = v.Append(f.buf[:0])
		setText(f, int(r), f.buf)
	}
}

// stringToArray cuts text at a separator; NULL cuts it into characters.
func stringToArray(f *frame) {
	for _, r := range f.rows() {
		if f.args[0].Null(int(r)) {
			f.setNull(int(r))
			continue
		}
		s := f.args[0].Bytes(int(r))
		var parts [][]byte
		switch {
		case len(s) == 0:
		case f.args[1].Null(int(r)):
			for rest := s; len(rest) > 0; {
				n := charLen(rest)
				parts, rest = append(parts, rest[:n]), rest[n:]
			}
		case len(f.args[1].Bytes(int(r))) == 0:
			parts = [][]byte{s}
		default:
			parts = bytes.Split(s, f.args[1].Bytes(int(r)))
		}
		items := make([]types.Datum, len(parts))
		for i, p := range parts {
			null := len(f.args) > 2 && !f.args[2].Null(int(r)) && bytes.Equal(p, f.args[2].Bytes(int(r)))
			items[i] = types.Datum{Type: types.T(types.Text), Null: null, B: p}
		}
		arrays.set(f, int(r), types.NewArray(types.Text, items))
	}
}

func regexpMatch(f *frame, r int, c *regexpCall) error {
	if c.flags.global {
		return pgerr.New(pgerr.InvalidParameterValue, "regexp_match() does not support the \"global\" option").
			WithHint("Use the regexp_matches function instead.")
	}
	if err := c.p.refuse(c.p.re.NumSubexp() > 0); err != nil {
		return err
	}
	m := c.p.re.FindSubmatchIndex(c.text)
	if m == nil {
		f.setNull(r)
		return nil
	}
	if len(m) > 2 {
		m = m[2:]
	}
	var items []types.Datum
	for i := 0; i < len(m); i += 2 {
		d := types.NullOf(types.T(types.Text))
		if m[i] >= 0 {
			d = types.Datum{Type: d.Type, B: c.text[m[i]:m[i+1]]}
		}
		items = append(items, d)
	}
	arrays.set(f, r, types.NewArray(types.Text, items))
	return nil
}

// regexpSplit cuts text where an expression matches; empty matches at its ends
// or right behind another do not count.
func regexpSplit(f *frame, r int, c *regexpCall) error {
	if err := c.noGlobal("regexp_split_to_array()"); err != nil {
		return err
	}
	if err := c.p.refuse(false); err != nil {
		return err
	}
	var items []types.Datum
	at := 0
	c.eachMatch(func(m []int) bool {
		if m[0] == m[1] && (m[0] == at || m[0] == len(c.text)) {
			return true
		}
		items = append(items, types.Datum{Type: types.T(types.Text), B: c.text[at:m[0]]})
		at = m[1]
		return true
	})
	items = append(items, types.Datum{Type: types.T(types.Text), B: c.text[at:]})
	arrays.set(f, r, types.NewArray(types.Text, items))
	return nil
}
