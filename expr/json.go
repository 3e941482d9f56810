package expr

import (
	"bytes"
	"math"
	"strconv"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// jsonFuncs are the operators and functions on json and jsonb.
func jsonFuncs() []*Func {
	const txt, i4, b = types.Text, types.Int4, types.Bool
	var fs []*Func
	for _, k := range []types.Kind{types.Json, types.Jsonb} {
		p := kindNames[k]
		for _, name := range []string{"->", p + "_object_field"} {
			fs = append(fs, fn(name, k, jsonField(false), k, txt))
		}
		for _, name := range []string{"->>", p + "_object_field_text"} {
			fs = append(fs, fn(name, txt, jsonField(true), k, txt))
		}
		for _, name := range []string{"->", p + "_array_element"} {
			fs = append(fs, fn(name, k, jsonElement(false), k, i4))
		}
		for _, name := range []string{"->>", p + "_array_element_text"} {
			fs = append(fs, fn(name, txt, jsonElement(true), k, i4))
		}
		path, pathText := fn(p+"_extract_path", k, jsonPath(false), k, txt), fn(p+"_extract_path_text", txt, jsonPath(true), k, txt)
		path.Variadic, pathText.Variadic = true, true
		array, object := fn(p+"_build_array", k, buildArray(k), k), fn(p+"_build_object", k, buildObject(k), txt, k)
		array.Strict, array.Variadic, object.Strict, object.Variadic = false, true, false, true
		object.alternate = true
		fs = append(fs, path, pathText, array, object,
			fn(p+"_array_length", i4, unary(texts, ints, jsonLength), k),
			safe(p+"_typeof", txt, unary(texts, texts, func(j []byte) ([]byte, error) { return []byte(jsonKindName(types.JSONKindOf(j), false)), nil }), k))
		for _, from := range allKinds {
			f := fn("to_"+p, k, toJSON(from, k), from)
			fs = append(fs, f)
		}
	}
	const jb = types.Jsonb
	two := func(name string, op func(a, b *types.JSON) (*types.JSON, error)) *Func {
		return fn(name, jb, binaryOp(texts, texts, texts, func(x, y []byte) ([]byte, error) {
			a, b, err := parsePair(x, y)
			if err != nil {
				return nil, err
			}
			r, err := op(&a, &b)
			if err != nil {
				return nil, err
			}
			return r.Append(nil), nil
		}), jb, jb)
	}
	contains := func(x, y []byte) (bool, error) {
		a, b, err := parsePair(x, y)
		return err == nil && jsonContains(&a, &b, true), err
	}
	return append(fs,
		two("||", concatJSON),
		safe("@>", b, binaryOp(texts, texts, bools, contains), jb, jb), safe("<@", b, binaryOp(texts, texts, bools, swapped(contains)), jb, jb),
		safe("?", b, binaryOp(texts, texts, bools, jsonHas), jb, txt),
		fn("-", jb, binaryOp(texts, texts, texts, deleteKey), jb, txt), fn("-", jb, binaryOp(texts, ints, texts, deleteIndex), jb, i4),
		fn("jsonb_strip_nulls", jb, rewriteJSON(func(v *types.JSON) []byte { stripNulls(v); return v.Append(nil) }), jb),
		fn("json_scalar_text", txt, func(f *frame) {
			for _, r := range f.rows() {
				f.emitJSON(int(r), f.args[0].Bytes(int(r)), true, true)
			}
		}, types.Json),
		fn("json_strip_nulls", types.Json, unary(texts, texts, func(j []byte) ([]byte, error) { return types.StripJSONNulls(nil, j) }), types.Json),
		fn("jsonb_pretty", txt, rewriteJSON(func(v *types.JSON) []byte { return v.AppendPretty(nil, 0) }), jb))
}

func parsePair(x, y []byte) (a, b types.JSON, err error) {
	if a, err = types.ParseJSON(x); err == nil {
		b, err = types.ParseJSON(y)
	}
	return a, b, err
}

func rewriteJSON(f func(*types.JSON) []byte) kernel {
	return unary(texts, texts, func(j []byte) ([]byte, error) {
		v, err := types.ParseJSON(j)
		if err != nil {
			return nil, err
		}
		return f(&v), nil
	})
}

// emitJSON makes a part of a JSON text row r of the result, as JSON or as text.
func (f *frame) emitJSON(r int, part []byte, ok, text bool) {
	start := len(f.out.Data)
	if ok && !text {
		f.out.Data = append(f.out.Data, part...)
	} else if ok {
		var err error
		if f.out.Data, ok, err = types.JSONText(f.out.Data, part); err != nil {
			f.out.Data = f.out.Data[:start]
			f.fail(r, err)
			return
		}
	}
	if !ok {
		f.setNull(r)
		return
	}
	f.end(r, start)
}

func jsonField(text bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			part, ok := types.JSONField(f.args[0].Bytes(int(r)), f.args[1].Bytes(int(r)))
			f.emitJSON(int(r), part, ok, text)
		}
	}
}

func jsonElement(text bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			part, ok := f.args[0].Bytes(int(r)), false
			if i := f.args[1].I64[r]; f.args[0].Type.Kind == types.Jsonb && types.JSONKindOf(part) < types.JSONArray {
				ok = i == 0 || i == -1 // jsonb takes a scalar for an array of one
			} else {
				part, ok = types.JSONElement(part, i)
			}
			f.emitJSON(int(r), part, ok, text)
		}
	}
}

func jsonPath(text bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			part, ok := f.args[0].Bytes(int(r)), true
			for _, a := range f.args[1:] {
				if part, ok = jsonStep(part, a.Bytes(int(r))); !ok {
					break
				}
			}
			f.emitJSON(int(r), part, ok, text)
		}
	}
}

// jsonStep goes from a value to its field or, by its number, element.
func jsonStep(j, step []byte) ([]byte, bool) {
	switch types.JSONKindOf(j) {
	case types.JSONObject:
		return types.JSONField(j, step)
	case types.JSONArray:
		i, ok := pathIndex(step)
		if !ok {
			return nil, false
		}
		return types.JSONElement(j, i)
	}
	return nil, false
}

// pathIndex reads a path's element as C's strtoint does.
func pathIndex(b []byte) (int64, bool) {
	for len(b) > 0 && (b[0] == ' ' || b[0] >= '\t' && b[0] <= '\r') {
		b = b[1:]
	}
	i, err := strconv.ParseInt(string(b), 10, 32)
	return i, err == nil
}

func jsonLength(j []byte) (int64, error) {
	switch types.JSONKindOf(j) {
	case types.JSONArray:
		return int64(types.JSONLength(j)), nil
	case types.JSONObject:
		return 0, pgerr.New(pgerr.InvalidParameterValue, "cannot get array length of a non-array")
	}
	return 0, pgerr.New(pgerr.InvalidParameterValue, "cannot get array length of a scalar")
}

// toJSON makes values of a kind JSON.
func toJSON(from, to types.Kind) kernel {
	return func(f *frame) {
		v := f.args[0]
		for _, r := range f.rows() {
			start := len(f.out.Data)
			if to == types.Jsonb && (from == types.Json || from == types.Float4 || from == types.Float8) {
				f.buf = appendJSON(f.buf[:0], v, int(r))
				j, err := types.NormalizeJSONB(f.out.Data, f.buf)
				if err != nil {
					f.fail(int(r), err)
					continue
				}
				f.out.Data = j
			} else {
				f.buf = appendJSON(f.buf[:0], v, int(r))
				f.out.Data = append(f.out.Data, f.buf...)
			}
			f.end(int(r), start)
		}
	}
}

// appendJSON appends a value, not NULL, as to_json shows it.
func appendJSON(dst []byte, v *types.Vec, r int) []byte {
	switch v.Type.Kind {
	case types.Json, types.Jsonb, types.Int2, types.Int4, types.Int8:
		return v.AppendText(dst, r)
	case types.Bool:
		return strconv.AppendBool(dst, v.Bool[r])
	case types.Float4, types.Float8:
		if x := v.F64[r]; !math.IsNaN(x) && !math.IsInf(x, 0) {
			return v.AppendText(dst, r)
		}
	case types.Numeric:
		if types.DecodeNumeric(v.Bytes(r)).Kind == types.NumFinite {
			return v.AppendText(dst, r)
		}
	case types.Timestamp, types.Timestamptz:
		t := v.AppendText(nil, r)
		if i := bytes.IndexByte(t, ' '); i > 0 {
			t[i] = 'T'
		}
		if v.Type.Kind == types.Timestamptz && types.TimestampFinite(v.I64[r]) {
			i := bytes.LastIndexByte(t, '+') + 3
			t = append(t[:i:i], append([]byte(":00"), t[i:]...)...)
		}
		return types.AppendJSONString(dst, t)
	}
	return types.AppendJSONString(dst, v.AppendText(nil, r))
}

func resolveToJSON(name string, args []Expr, pos int) (Expr, error) {
	if len(args) == 1 && args[0].Type().Kind == types.Unknown {
		return nil, pgerr.New(pgerr.DatatypeMismatch, "could not determine polymorphic type because input has type unknown").At(pos)
	}
	kinds := kindsOf(args)
	f, ok := LookupFunc(makeID(name, kinds, false))
	if !ok {
		return nil, errNoFunction(name, signature(kinds)).At(pos)
	}
	return bindCall(f, args, pos)
}

// resolveBuild makes json_build_array, json_build_object and their jsonb kin,
// which take anything, into calls over JSON; the keys are text.
func resolveBuild(name string, args []Expr, pos int) (Expr, error) {
	kind, to := types.Json, "to_json"
	if name[4] == 'b' {
		kind, to = types.Jsonb, "to_jsonb"
	}
	object := name[len(name)-1] == 't'
	if len(args) == 0 {
		empty := "[]"
		if object {
			empty = "{}"
		}
		return &Const{Value: types.Datum{Type: types.T(kind), B: []byte(empty)}}, nil
	}
	if object && len(args)%2 != 0 {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "argument list must have even number of elements").
			WithHint("The arguments of %s() must consist of alternating keys and values.", name).At(pos)
	}
	out := make([]Expr, len(args))
	for i, a := range args {
		var err error
		if a.Type().Kind == types.Unknown {
			if a, err = Cast(a, types.T(types.Text), Implicit, pos); err != nil {
				return nil, err
			}
		}
		switch k := a.Type().Kind; {
		case !object || i%2 == 1:
			out[i], err = resolveToJSON(to, []Expr{a}, pos)
		case k == types.Json || k == types.Jsonb:
			err = pgerr.New(pgerr.InvalidParameterValue, "key value must be scalar, not array, composite, or json").At(pos)
		case k == types.Timestamp || k == types.Timestamptz:
			if out[i], err = resolveToJSON("to_json", []Expr{a}, pos); err == nil {
				out[i], err = ResolveFunc("json_scalar_text", []Expr{out[i]}, pos)
			}
		case k == types.Bpchar:
			out[i], err = ResolveFunc("bpcharout", []Expr{a}, pos)
		default:
			out[i], err = Cast(a, types.T(types.Text), Explicit, pos)
		}
		if err != nil {
			return nil, err
		}
	}
	ids := []types.Kind{kind}
	if object {
		ids = []types.Kind{types.Text, kind}
	}
	f, ok := LookupFunc(makeID(name, ids, true))
	if !ok {
		return nil, pgerr.Internal("no function %s", name)
	}
	return &Call{Func: f, Args: out, T: types.T(kind), Pos: pos}, nil
}

func (f *frame) jsonArg(dst []byte, i, r int) []byte {
	if f.args[i].Null(r) {
		return append(dst, "null"...)
	}
	return append(dst, f.args[i].Bytes(r)...)
}

func buildArray(types.Kind) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			start := len(f.out.Data)
			f.out.Data = append(f.out.Data, '[')
			for i := range f.args {
				if i > 0 {
					f.out.Data = append(f.out.Data, ", "...)
				}
				f.out.Data = f.jsonArg(f.out.Data, i, int(r))
			}
			f.out.Data = append(f.out.Data, ']')
			f.end(int(r), start)
		}
	}
}

func buildObject(k types.Kind) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			b, ok := append(f.buf[:0], '{'), true
			for i := 0; i < len(f.args) && ok; i += 2 {
				if ok = !f.args[i].Null(int(r)); !ok {
					msg := "argument %d cannot be null"
					if k == types.Jsonb {
						msg = "argument %d: key must not be null"
					}
					f.fail(int(r), pgerr.New(pgerr.InvalidParameterValue, msg, i+1))
					break
				}
				if i > 0 {
					b = append(b, ", "...)
				}
				b = append(types.AppendJSONString(b, f.args[i].Bytes(int(r))), " : "...)
				b = f.jsonArg(b, i+1, int(r))
			}
			if b = append(b, '}'); !ok {
				continue
			}
			f.buf = b
			if k == types.Jsonb {
				var err error
				if b, err = types.NormalizeJSONB(nil, b); err != nil {
					f.fail(int(r), err)
					continue
				}
			}
			setText(f, int(r), b)
		}
	}
}

func equalJSON(a, b *types.JSON) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case types.JSONBool:
		return a.Bool == b.Bool
	case types.JSONString:
		return bytes.Equal(a.Text, b.Text)
	case types.JSONNumber:
		return bytes.Equal(a.Text, b.Text) || types.CompareJSONB(a.Text, b.Text) == 0
	}
	return true
}

// jsonContains is @>. At the top an array also contains a scalar.
func jsonContains(a, b *types.JSON, top bool) bool {
	switch {
	case top && a.Kind == types.JSONArray && b.Kind < types.JSONArray:
		b = &types.JSON{Kind: types.JSONArray, Items: []types.JSON{*b}}
	case a.Kind != b.Kind:
		return false
	case a.Kind < types.JSONArray:
		return equalJSON(a, b)
	}
	for i := range b.Items {
		want := &b.Items[i]
		if a.Kind == types.JSONObject {
			at, ok := a.Field(b.Keys[i])
			if !ok || !jsonContains(&a.Items[at], want, false) {
				return false
			}
			continue
		}
		found := false
		for j := range a.Items {
			if found = jsonContains(&a.Items[j], want, false); found {
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// jsonHas is ?: a key of an object, or a string of an array or alone.
func jsonHas(j, key []byte) (bool, error) {
	v, err := types.ParseJSON(j)
	if err != nil {
		return false, err
	}
	return hasKey(&v, key), nil
}

func hasKey(v *types.JSON, key []byte) bool {
	switch v.Kind {
	case types.JSONObject:
		_, ok := v.Field(string(key))
		return ok
	case types.JSONArray:
		for i := range v.Items {
			if e := &v.Items[i]; e.Kind == types.JSONString && bytes.Equal(e.Text, key) {
				return true
			}
		}
		return false
	}
	return v.Kind == types.JSONString && bytes.Equal(v.Text, key)
}

func concatJSON(a, b *types.JSON) (*types.JSON, error) {
	if a.Kind == types.JSONObject && b.Kind == types.JSONObject {
		r := &types.JSON{Kind: types.JSONObject}
		i, j := 0, 0
		for i < len(a.Keys) || j < len(b.Keys) {
			switch {
			case j == len(b.Keys) || i < len(a.Keys) && keyLess(a.Keys[i], b.Keys[j]):
				r.Keys, r.Items = append(r.Keys, a.Keys[i]), append(r.Items, a.Items[i])
				i++
			default:
				if i < len(a.Keys) && a.Keys[i] == b.Keys[j] {
					i++
				}
				r.Keys, r.Items = append(r.Keys, b.Keys[j]), append(r.Items, b.Items[j])
				j++
			}
		}
		return r, nil
	}
	items := func(v *types.JSON) []types.JSON {
		if v.Kind == types.JSONArray {
			return v.Items
		}
		return []types.JSON{*v}
	}
	return &types.JSON{Kind: types.JSONArray, Items: append(append([]types.JSON{}, items(a)...), items(b)...)}, nil
}

func keyLess(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

var errDeleteScalar = pgerr.New(pgerr.InvalidParameterValue, "cannot delete from scalar")

func deleteKey(j, key []byte) ([]byte, error) {
	v, err := types.ParseJSON(j)
	if err != nil {
		return nil, err
	}
	if v.Kind < types.JSONArray {
		return nil, errDeleteScalar
	}
	dropKey(&v, key)
	return v.Append(nil), nil
}

func dropKey(v *types.JSON, key []byte) {
	n := 0
	for i := range v.Items {
		if v.Kind == types.JSONObject {
			if v.Keys[i] == string(key) {
				continue
			}
			v.Keys[n] = v.Keys[i]
		} else if e := &v.Items[i]; e.Kind == types.JSONString && bytes.Equal(e.Text, key) {
			continue
		}
		v.Items[n] = v.Items[i]
		n++
	}
	v.Items = v.Items[:n]
	v.Keys = v.Keys[:min(n, len(v.Keys))]
}

func deleteIndex(j []byte, i int64) ([]byte, error) {
	v, err := types.ParseJSON(j)
	switch {
	case err != nil:
		return nil, err
	case v.Kind == types.JSONObject:
		return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot delete from object using integer index")
	case v.Kind < types.JSONArray:
		return nil, errDeleteScalar
	}
	if i < 0 {
		i += int64(len(v.Items))
	}
	if i >= 0 && i < int64(len(v.Items)) {
		v.Items = append(v.Items[:i], v.Items[i+1:]...)
	}
	return v.Append(nil), nil
}

func stripNulls(v *types.JSON) {
	n := 0
	for i := range v.Items {
		if v.Kind == types.JSONObject {
			if v.Items[i].Kind == types.JSONNull {
				continue
			}
			v.Keys[n] = v.Keys[i]
		}
		stripNulls(&v.Items[i])
		v.Items[n] = v.Items[i]
		n++
	}
	v.Items = v.Items[:n]
	v.Keys = v.Keys[:min(n, len(v.Keys))]
}
