package expr

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/streamdb/streamdb/types"
)

// The stored form of expressions. A node is a tag byte and what is told below,
// then its children; numbers are uvarints. It is part of stored plans and the
// base of canonical ids: tags are never renumbered or reused, and a change of
// meaning takes a new tag.
const (
	tagColumn   = 1  // index, type
	tagConst    = 2  // datum
	tagCall     = 3  // id of the function, type, number of arguments
	tagAnd      = 4  // number of arguments
	tagOr       = 5  // number of arguments
	tagNot      = 6  //
	tagIsNull   = 7  //
	tagIsTrue   = 8  //
	tagIsFalse  = 9  //
	tagDistinct = 10 //
	tagCase     = 11 // type, number of children (conds and results, else last)
	tagCoalesce = 12 // type, number of arguments
	tagIn       = 13 // number of values, 1 if NULL is among them, datums
)

// maxDepth bounds the nesting of what DecodeExpr takes.
const maxDepth = 20000

var errCodec = errors.New("malformed expression")

// AppendExpr appends the stored form of e, without names of columns and
// positions.
func AppendExpr(dst []byte, e Expr) []byte {
	switch e := e.(type) {
	case *Column:
		dst = binary.AppendUvarint(append(dst, tagColumn), uint64(e.Index))
		return appendType(dst, e.T)
	case *Const:
		return appendDatum(append(dst, tagConst), e.Value)
	case *Call:
		dst = binary.AppendUvarint(append(dst, tagCall), uint64(len(e.Func.id)))
		dst = appendType(append(dst, e.Func.id...), e.T)
		dst = binary.AppendUvarint(dst, uint64(len(e.Args)))
	case *And:
		dst = binary.AppendUvarint(append(dst, tagAnd), uint64(len(e.Args)))
	case *Or:
		dst = binary.AppendUvarint(append(dst, tagOr), uint64(len(e.Args)))
	case *Not:
		dst = append(dst, tagNot)
	case *IsNull:
		dst = append(dst, tagIsNull)
	case *IsTrue:
		if e.Want {
			dst = append(dst, tagIsTrue)
		} else {
			dst = append(dst, tagIsFalse)
		}
	case *Distinct:
		dst = append(dst, tagDistinct)
	case *Case:
		dst = appendType(append(dst, tagCase), e.T)
		dst = binary.AppendUvarint(dst, uint64(2*len(e.Conds)+1))
	case *Coalesce:
		dst = appendType(append(dst, tagCoalesce), e.T)
		dst = binary.AppendUvarint(dst, uint64(len(e.Args)))
	case *InList:
		dst = binary.AppendUvarint(append(dst, tagIn), uint64(len(e.Values)))
		if e.Null {
			dst = append(dst, 1)
		} else {
			dst = append(dst, 0)
		}
		for _, d := range e.Values {
			dst = appendDatum(dst, d)
		}
	}
	for _, c := range e.Children() {
		dst = AppendExpr(dst, c)
	}
	return dst
}

func appendType(dst []byte, t types.Type) []byte {
	return binary.AppendVarint(append(dst, byte(t.Kind)), int64(t.Mod))
}

func appendDatum(dst []byte, d types.Datum) []byte {
	dst = appendType(dst, d.Type)
	if d.Null {
		return append(dst, 1)
	}
	dst = append(dst, 0)
	switch d.Type.Kind.Phys() {
	case types.PhysBool, types.PhysInt64:
		return binary.AppendVarint(dst, d.I)
	case types.PhysFloat64:
		f := d.F
		if f != f {
			f = math.NaN()
		}
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
	case types.PhysInterval:
		dst = binary.AppendVarint(dst, int64(d.Iv.Months))
		dst = binary.AppendVarint(dst, int64(d.Iv.Days))
		return binary.AppendVarint(dst, d.Iv.Micros)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.B)))
	return append(dst, d.B...)
}

// DecodeExpr takes an expression off b; rest is what follows it. It shares
// nothing with b. Unknown functions and malformed bytes are errors.
func DecodeExpr(b []byte) (e Expr, rest []byte, err error) {
	d := decoder{b: b}
	e = d.expr(0)
	if d.bad {
		if d.unknown != "" {
			return nil, b, errors.New("unknown function " + d.unknown)
		}
		return nil, b, errCodec
	}
	return e, d.b, nil
}

// decoder reads from b. Once bad, it gives zeros.
type decoder struct {
	b       []byte
	bad     bool
	unknown string
}

func (d *decoder) fail() Expr {
	d.bad, d.b = true, nil
	return nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	u, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return u
}

func (d *decoder) varint() int64 {
	i, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return i
}

func (d *decoder) int32() int32 {
	i := d.varint()
	if i != int64(int32(i)) {
		d.fail()
	}
	return int32(i)
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

func (d *decoder) typ() types.Type {
	t := types.Type{Kind: types.Kind(d.byte()), Mod: d.int32()}
	if !t.Kind.Valid() {
		d.fail()
	}
	return t
}

func (d *decoder) datum() types.Datum {
	v := types.Datum{Type: d.typ()}
	switch d.byte() {
	case 0:
	case 1:
		v.Null = true
		return v
	default:
		d.fail()
	}
	switch k := v.Type.Kind; k.Phys() {
	case types.PhysBool, types.PhysInt64:
		v.I = d.varint()
		if k == types.Bool && v.I&^1 != 0 || (k == types.Int4 || k == types.Date) && v.I != int64(int32(v.I)) ||
			k == types.Int2 && v.I != int64(int16(v.I)) || k == types.Oid && v.I != int64(uint32(v.I)) {
			d.fail()
		}
	case types.PhysFloat64:
		if b := d.take(8); b != nil {
			v.F = math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
	case types.PhysInterval:
		v.Iv.Months, v.Iv.Days, v.Iv.Micros = d.int32(), d.int32(), d.varint()
	default:
		v.B = append([]byte{}, d.take(d.uvarint())...)
		if !types.ValidBytes(k, v.B) {
			d.fail()
		}
	}
	return v
}

// list reads a number of children and them.
func (d *decoder) list(depth int) []Expr {
	n := d.uvarint()
	if n > uint64(len(d.b)) { // a child takes a byte at least
		d.fail()
		return nil
	}
	return d.exprs(int(n), depth)
}

func (d *decoder) exprs(n, depth int) []Expr {
	var es []Expr
	for range n {
		e := d.expr(depth + 1)
		if d.bad {
			return nil
		}
		es = append(es, e)
	}
	return es
}

func (d *decoder) expr(depth int) Expr {
	if depth > maxDepth {
		return d.fail()
	}
	switch tag := d.byte(); tag {
	case tagColumn:
		i := d.uvarint()
		if i > math.MaxInt32 {
			return d.fail()
		}
		return &Column{Index: int(i), T: d.typ()}
	case tagConst:
		return &Const{Value: d.datum()}
	case tagCall:
		return d.call(depth)
	case tagAnd, tagOr:
		args := d.list(depth)
		if len(args) == 0 || !allBool(args) {
			return d.fail()
		}
		return withArgs(tag == tagOr, args)
	case tagCase:
		return d.caseExpr(depth)
	case tagCoalesce:
		e := &Coalesce{T: d.typ(), Args: d.list(depth)}
		if len(e.Args) == 0 || !allKind(e.Args, e.T.Kind) {
			return d.fail()
		}
		return e
	case tagIn:
		return d.in(depth)
	default:
		return d.fixed(tag, depth)
	}
}

// fixed reads the nodes with a fixed number of children and nothing else.
func (d *decoder) fixed(tag byte, depth int) Expr {
	n := 1
	if tag == tagDistinct {
		n = 2
	}
	if tag < tagNot || tag > tagDistinct {
		return d.fail()
	}
	c := d.exprs(n, depth)
	if d.bad || tag != tagIsNull && tag != tagDistinct && !allBool(c) {
		return d.fail()
	}
	switch tag {
	case tagNot:
		return &Not{Arg: c[0]}
	case tagIsNull:
		return &IsNull{Arg: c[0]}
	case tagIsTrue, tagIsFalse:
		return &IsTrue{Arg: c[0], Want: tag == tagIsTrue}
	}
	if c[0].Type().Kind != c[1].Type().Kind {
		return d.fail()
	}
	return &Distinct{Left: c[0], Right: c[1]}
}

func (d *decoder) call(depth int) Expr {
	id := string(d.take(d.uvarint()))
	c := &Call{T: d.typ(), Args: d.list(depth)}
	if d.bad {
		return nil
	}
	f, ok := LookupFunc(id)
	if !ok {
		d.unknown = id
		return d.fail()
	}
	if c.Func = f; !f.accepts(len(c.Args)) || f.Result != c.T.Kind || f.refused != "" {
		return d.fail()
	}
	for i, a := range c.Args {
		if a.Type().Kind != f.arg(i) {
			return d.fail()
		}
	}
	return c
}

func (d *decoder) caseExpr(depth int) Expr {
	t := d.typ()
	kids := d.list(depth)
	if len(kids)&1 == 0 {
		return d.fail()
	}
	e := (&Case{T: t}).WithChildren(kids).(*Case)
	if !allBool(e.Conds) || !allKind(e.Results, t.Kind) || e.Else.Type().Kind != t.Kind {
		return d.fail()
	}
	return e
}

func (d *decoder) in(depth int) Expr {
	n, null := d.uvarint(), d.byte()
	if n > uint64(len(d.b)) || null > 1 {
		return d.fail()
	}
	e := &InList{Null: null == 1}
	for i := uint64(0); i < n && !d.bad; i++ {
		e.Values = append(e.Values, d.datum())
	}
	if e.Arg = d.expr(depth + 1); d.bad {
		return nil
	}
	for _, v := range e.Values {
		if v.Null || v.Type.Kind != e.Arg.Type().Kind {
			return d.fail()
		}
	}
	return e
}

func allBool(es []Expr) bool { return allKind(es, types.Bool) }

func allKind(es []Expr, k types.Kind) bool {
	for _, e := range es {
		if e.Type().Kind != k {
			return false
		}
	}
	return true
}
