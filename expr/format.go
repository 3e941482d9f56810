package expr

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// formatFuncs are format, the quoting of literals, and the counting of NULLs.
func formatFuncs() []*Func {
	const txt = types.Text
	format := fn("format", txt, formatText, txt)
	nullable := safe("quote_nullable", txt, func(f *frame) {
		for _, r := range f.rows() {
			if f.args[0].Null(int(r)) {
				setText(f, int(r), []byte("NULL"))
				continue
			}
			setText(f, int(r), appendLiteral(nil, f.args[0].Bytes(int(r))))
		}
	}, txt)
	nulls, others := safe("num_nulls", types.Int4, countNulls(true), types.Bool), safe("num_nonnulls", types.Int4, countNulls(false), types.Bool)
	for _, f := range []*Func{format, nulls, others} {
		f.Strict, f.Variadic = false, true
	}
	nullable.Strict = false
	return []*Func{format, nullable, nulls, others,
		safe("quote_literal", txt, unary(texts, texts, sure(func(s []byte) []byte { return appendLiteral(nil, s) })), txt)}
}

// textArgs brings arguments of any type to text, as output functions print
// them.
func textArgs(args []Expr, pos int) ([]Expr, error) {
	out := make([]Expr, len(args))
	for i, a := range args {
		var err error
		if a.Type().Kind == types.Bool {
			out[i], err = ResolveFunc("boolout", []Expr{a}, pos)
		} else {
			out[i], err = Cast(a, types.T(types.Text), Explicit, pos)
			if out[i] != nil && a.Type().Kind == types.Bpchar {
				out[i], err = ResolveFunc("bpcharout", []Expr{a}, pos)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func resolveFormat(args []Expr, pos int) (Expr, error) {
	if len(args) == 0 || !canCoerce(args[0].Type().Kind, types.Text) {
		return nil, errNoFunction("format", signature(kindsOf(args))).At(pos)
	}
	out, err := textArgs(args, pos)
	if err != nil {
		return nil, err
	}
	f, _ := LookupFunc("format(text*)")
	return &Call{Func: f, Args: out, T: types.T(types.Text), Pos: pos}, nil
}

func resolveQuote(name string, args []Expr, pos int) (Expr, error) {
	if len(args) != 1 {
		return nil, errNoFunction(name, signature(kindsOf(args))).At(pos)
	}
	a, err := Cast(args[0], types.T(types.Text), Explicit, pos)
	if err != nil {
		return nil, err
	}
	f, _ := LookupFunc(name + "(text)")
	return &Call{Func: f, Args: []Expr{a}, T: types.T(types.Text), Pos: pos}, nil
}

// resolveCountNulls counts over IS NULL of each argument.
func resolveCountNulls(args []Expr, nulls bool, pos int) (Expr, error) {
	name := "num_nonnulls"
	if nulls {
		name = "num_nulls"
	}
	if len(args) == 0 {
		return nil, errNoFunction(name, "()").At(pos)
	}
	out := make([]Expr, len(args))
	for i, a := range args {
		out[i] = &IsNull{Arg: a}
	}
	f, _ := LookupFunc(name + "(bool*)")
	return &Call{Func: f, Args: out, T: types.T(types.Int4), Pos: pos}, nil
}

func countNulls(nulls bool) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			n := int64(0)
			for _, a := range f.args {
				if a.Bool[r] == nulls {
					n++
				}
			}
			f.out.I64[r] = n
		}
	}
}

// appendLiteral quotes a literal, with E if it has backslashes.
func appendLiteral(dst, s []byte) []byte {
	if bytes.IndexByte(s, '\\') >= 0 {
		dst = append(dst, 'E')
	}
	dst = append(dst, '\'')
	for _, c := range s {
		if c == '\'' || c == '\\' {
			dst = append(dst, c)
		}
		dst = append(dst, c)
	}
	return append(dst, '\'')
}

// reservedWords are PostgreSQL's keywords that an identifier must be quoted
// to be: all but the unreserved ones.
var reservedWords = strings.Fields(`all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
	boolean both case cast char character check coalesce collate collation column concurrently constraint create cross current_catalog
	current_date current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc
	distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping having
	ilike in initially inner inout int integer intersect interval into is isnull join lateral leading least left like limit
	localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric offset on only or order out
	outer overlaps overlay placing position precision primary real references returning right row select session_user setof
	similar smallint some substring symmetric table tablesample then time timestamp to trailing treat trim true union unique user
	using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest
	xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable`)

// appendIdent quotes an identifier if it needs to be.
func appendIdent(dst, s []byte) []byte {
	safe := len(s) > 0 && (s[0] >= 'a' && s[0] <= 'z' || s[0] == '_')
	for _, c := range s {
		safe = safe && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_')
	}
	if safe && !slices.Contains(reservedWords, string(s)) {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' {
			dst = append(dst, c)
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// formatSpec is a specifier of format: %[position$][-][width]type.
type formatSpec struct {
	arg, width int // 0: none
	widthArg   int // -1: none, 0: the next
	left       bool
	kind       byte
}

var errFormatEnd = pgerr.New(pgerr.InvalidParameterValue, "unterminated format() type specifier").
	WithHint("For a single \"%%\" use \"%%%%\".")

// parse reads what stands behind a percent sign, and gives the rest.
func (s *formatSpec) parse(f []byte) ([]byte, error) {
	*s = formatSpec{widthArg: -1}
	n, rest, err := formatNumber(f)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 && rest[0] == '$' && n >= 0 {
		if n == 0 {
			return nil, pgerr.New(pgerr.InvalidParameterValue, "format specifies argument 0, but arguments are numbered from 1")
		}
		s.arg, f = n, rest[1:]
	} else if n > 0 || n == 0 && len(f) != len(rest) {
		s.width, f = n, rest
		return s.finish(f)
	}
	for len(f) > 0 && f[0] == '-' {
		s.left, f = true, f[1:]
	}
	if len(f) > 0 && f[0] == '*' {
		f = f[1:]
		n, rest, err := formatNumber(f)
		switch {
		case err != nil:
			return nil, err
		case n < 0:
			s.widthArg = 0
		case len(rest) == 0:
			return nil, errFormatEnd
		case rest[0] != '$':
			return nil, pgerr.New(pgerr.InvalidParameterValue, "width argument position must be ended by \"$\"")
		case n == 0:
			return nil, pgerr.New(pgerr.InvalidParameterValue, "format specifies argument 0, but arguments are numbered from 1")
		default:
			s.widthArg, f = n, rest[1:]
		}
		return s.finish(f)
	}
	if n, rest, err = formatNumber(f); err != nil {
		return nil, err
	}
	if n >= 0 {
		s.width = n
	}
	return s.finish(rest)
}

func (s *formatSpec) finish(f []byte) ([]byte, error) {
	if len(f) == 0 {
		return nil, errFormatEnd
	}
	switch s.kind = f[0]; s.kind {
	case 's', 'I', 'L':
		return f[1:], nil
	}
	return nil, pgerr.New(pgerr.InvalidParameterValue, "unrecognized format() type specifier \"%s\"", f[:charLen(f)]).
		WithHint("For a single \"%%\" use \"%%%%\".")
}

// formatNumber reads digits, -1 if there are none.
func formatNumber(f []byte) (int, []byte, error) {
	i := 0
	for i < len(f) && f[i] >= '0' && f[i] <= '9' {
		i++
	}
	if i == 0 {
		return -1, f, nil
	}
	n, err := strconv.ParseInt(string(f[:i]), 10, 32)
	if err != nil {
		return 0, nil, pgerr.New(pgerr.NumericValueOutOfRange, "number is out of range")
	}
	return int(n), f[i:], nil
}

func formatText(f *frame) {
	for _, r := range f.rows() {
		if f.args[0].Null(int(r)) {
			f.setNull(int(r))
			continue
		}
		b, err := f.appendFormat(f.buf[:0], int(r))
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		f.buf = b
		setText(f, int(r), b)
	}
}

func (f *frame) appendFormat(dst []byte, r int) ([]byte, error) {
	p, arg := f.args[0].Bytes(r), 0
	take := func(n int) (int, error) {
		if n == 0 {
			n = arg + 1
		}
		if arg = n; n >= len(f.args) {
			return 0, pgerr.New(pgerr.InvalidParameterValue, "too few arguments for format()")
		}
		return n, nil
	}
	for len(p) > 0 {
		if p[0] != '%' {
			dst, p = append(dst, p[0]), p[1:]
			continue
		}
		if p = p[1:]; len(p) == 0 {
			return nil, errFormatEnd
		}
		if p[0] == '%' {
			dst, p = append(dst, '%'), p[1:]
			continue
		}
		var s formatSpec
		var err error
		if p, err = s.parse(p); err != nil {
			return nil, err
		}
		if s.widthArg >= 0 {
			at, err := take(s.widthArg)
			if err != nil {
				return nil, err
			}
			if !f.args[at].Null(r) {
				d, err := types.ParseText(types.T(types.Int4), string(f.args[at].Bytes(r)))
				if err != nil {
					return nil, err
				}
				s.width = int(d.I)
			}
			if s.width < 0 {
				s.left, s.width = true, -s.width
			}
		}
		at, err := take(s.arg)
		if err != nil {
			return nil, err
		}
		if dst, err = s.append(dst, f.args[at], r); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func (s *formatSpec) append(dst []byte, v *types.Vec, r int) ([]byte, error) {
	var b []byte
	null := v.Null(r)
	switch {
	case null && s.kind == 'I':
		return nil, pgerr.New(pgerr.NullValueNotAllowed, "null values cannot be formatted as an SQL identifier")
	case null && s.kind == 'L':
		b = []byte("NULL")
	case null:
	case s.kind == 'I':
		b = appendIdent(nil, v.Bytes(r))
	case s.kind == 'L':
		b = appendLiteral(nil, v.Bytes(r))
	default:
		b = v.Bytes(r)
	}
	if s.width > maxText {
		return nil, errTooLong
	}
	blanks := max(s.width-int(charCount(b)), 0)
	if s.left {
		return append(append(dst, b...), bytes.Repeat([]byte(" "), blanks)...), nil
	}
	return append(append(dst, bytes.Repeat([]byte(" "), blanks)...), b...), nil
}
