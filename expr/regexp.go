package expr

import (
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// regexpFuncs are the operators and functions on regular expressions.
func regexpFuncs() []*Func {
	const txt, i4, b = types.Text, types.Int4, types.Bool
	var fs []*Func
	for _, left := range []types.Kind{txt, types.Bpchar, types.Name} {
		op := func(name string, fold, not bool) {
			fs = append(fs, bound(name, b, bindMatch(fold, not), left, txt))
		}
		op("~", false, false)
		op("!~", false, true)
		op("~*", true, false)
		op("!~*", true, true)
	}
	add := func(name string, result types.Kind, k rowRegexp, layout regexpArgs, args ...types.Kind) {
		fs = append(fs, bound(name, result, bindRegexp(layout, k), args...))
	}
	none := regexpArgs{flags: -1, start: -1, nth: -1, option: -1, sub: -1}
	with := func(set func(*regexpArgs)) regexpArgs { a := none; set(&a); return a }
	add("regexp_like", b, regexpLike, none, txt, txt)
	add("regexp_like", b, regexpLike, with(func(a *regexpArgs) { a.flags = 2 }), txt, txt, txt)
	add("regexp_count", i4, regexpCount, none, txt, txt)
	add("regexp_count", i4, regexpCount, with(func(a *regexpArgs) { a.start = 2 }), txt, txt, i4)
	add("regexp_count", i4, regexpCount, with(func(a *regexpArgs) { a.start, a.flags = 2, 3 }), txt, txt, i4, txt)
	kinds := []types.Kind{txt, txt, i4, i4, i4, txt, i4}
	for n := 2; n <= len(kinds); n++ {
		l := none
		for i, at := range []*int{&l.start, &l.nth, &l.option, &l.flags, &l.sub} {
			if 2+i < n {
				*at = 2 + i
			}
		}
		add("regexp_instr", i4, regexpInstr, l, kinds[:n]...)
	}
	kinds = []types.Kind{txt, txt, i4, i4, txt, i4}
	for n := 2; n <= len(kinds); n++ {
		l := none
		for i, at := range []*int{&l.start, &l.nth, &l.flags, &l.sub} {
			if 2+i < n {
				*at = 2 + i
			}
		}
		add("regexp_substr", txt, regexpSubstr, l, kinds[:n]...)
	}
	add("regexp_replace", txt, regexpReplace, none, txt, txt, txt)
	add("regexp_replace", txt, regexpReplace, with(func(a *regexpArgs) { a.flags = 3 }), txt, txt, txt, txt)
	add("regexp_replace", txt, regexpReplace, with(func(a *regexpArgs) { a.start = 3 }), txt, txt, txt, i4)
	add("regexp_replace", txt, regexpReplace, with(func(a *regexpArgs) { a.start, a.nth = 3, 4 }), txt, txt, txt, i4, i4)
	add("regexp_replace", txt, regexpReplace, with(func(a *regexpArgs) { a.start, a.nth, a.flags = 3, 4, 5 }), txt, txt, txt, i4, i4, txt)
	add("substring", txt, regexpSubstring, none, txt, txt)
	similar := with(func(a *regexpArgs) { a.similar = true })
	add("substring", txt, regexpSubstring, similar, txt, txt, txt)
	return append(fs,
		fn("similar_to_escape", txt, similarEscape, txt), fn("similar_to_escape", txt, similarEscape, txt, txt))
}

// regexpArgs are the places of a function's optional arguments, -1 for none.
type regexpArgs struct {
	flags, start, nth, option, sub int
	similar                        bool // the pattern is SIMILAR TO's, an escape follows
}

// rowRegexp computes one row.
type rowRegexp func(f *frame, r int, c *regexpCall) error

// regexpCall is a call's expression and options for a row.
type regexpCall struct {
	layout regexpArgs
	p      *pattern
	flags  regexpFlags
	global bool
	text   []byte
	start  int // byte
	nth    int
	option int64
	sub    int

	lastText, lastFlags string // what p was made of
	ready               bool
}

// bindRegexp makes a kernel that keeps the expression while it is the same.
func bindRegexp(layout regexpArgs, row rowRegexp) func(*Call) (kernel, error) {
	return func(*Call) (kernel, error) {
		c := &regexpCall{layout: layout}
		return func(f *frame) {
			for _, r := range f.rows() {
				err := c.prepare(f, int(r))
				if err == nil && c.p != nil {
					err = row(f, int(r), c)
				}
				if err != nil {
					f.fail(int(r), err)
				}
			}
		}, nil
	}
}

func (c *regexpCall) prepare(f *frame, r int) error {
	flags := ""
	if c.layout.flags >= 0 {
		flags = string(f.args[c.layout.flags].Bytes(r))
	}
	text := f.args[1].Bytes(r)
	if c.layout.similar {
		b, err := similarToRegexp(nil, text, f.args[2].Bytes(r))
		if err != nil {
			return err
		}
		text = b
	}
	if err := c.options(f, r); err != nil {
		return err
	}
	if !c.ready || c.lastText != string(text) || c.lastFlags != flags {
		c.ready = false
		fl := regexpFlags{dotNL: true}
		if f.replaces() && len(flags) > 0 && flags[0] >= '0' && flags[0] <= '9' {
			return pgerr.New(pgerr.InvalidParameterValue, "invalid regular expression option: \"%s\"", flags[:1]).
				WithHint("If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.")
		}
		if err := fl.parse(flags, false); err != nil {
			return err
		}
		p, err := compilePattern(string(text), fl)
		if err != nil {
			return err
		}
		c.p, c.flags, c.lastText, c.lastFlags, c.ready = p, fl, string(text), flags, true
	}
	c.global = c.flags.global
	c.text = f.args[0].Bytes(r)
	return nil
}

func (f *frame) replaces() bool { return len(f.args) == 4 && f.args[3].Type.Kind == types.Text }

func errParameter(name string, v int64) error {
	return pgerr.New(pgerr.InvalidParameterValue, "invalid value for parameter \"%s\": %d", name, v)
}

// options reads the numbers.
func (c *regexpCall) options(f *frame, r int) error {
	c.start, c.nth, c.option, c.sub = 0, 1, 0, 0
	if i := c.layout.start; i >= 0 {
		n := f.args[i].I64[r]
		if n <= 0 {
			return errParameter("start", n)
		}
		c.start = skipChars(f.args[0].Bytes(r), n-1)
		if charCount(f.args[0].Bytes(r)) < n-1 {
			c.start = len(f.args[0].Bytes(r)) + 1
		}
	}
	if i := c.layout.nth; i >= 0 {
		n := f.args[i].I64[r]
		if n < 0 || n == 0 && c.layout.option+c.layout.sub == -2 && !f.replacing() || n == 0 && (c.layout.option >= 0 || c.layout.sub >= 0) {
			return errParameter("n", n)
		}
		c.nth = int(n)
	}
	if i := c.layout.option; i >= 0 {
		if c.option = f.args[i].I64[r]; c.option != 0 && c.option != 1 {
			return errParameter("endoption", c.option)
		}
	}
	if i := c.layout.sub; i >= 0 {
		n := f.args[i].I64[r]
		if n < 0 {
			return errParameter("subexpr", n)
		}
		c.sub = int(n)
	}
	return nil
}

// replacing reports a regexp_replace, of which n = 0 means all.
func (f *frame) replacing() bool { return f.t.Kind == types.Text && f.args[2].Type.Kind == types.Text }

// noGlobal refuses the flag g.
func (c *regexpCall) noGlobal(name string) error {
	if c.flags.global {
		return pgerr.New(pgerr.InvalidParameterValue, "%s does not support the \"global\" option", name)
	}
	return nil
}

func (p *pattern) refuse(groups bool) error {
	why := p.unclear
	if why == "" && groups {
		why = p.inside
	}
	if why != "" {
		return pgerr.Unsupported("a regular expression with %s here", why).
			WithHint("Where such a match is differs between engines; whether there is one can be asked with ~.")
	}
	return nil
}

// bindMatch is ~ and its kin. A constant expression is made ready once.
func bindMatch(fold, not bool) func(*Call) (kernel, error) {
	return func(call *Call) (kernel, error) {
		var last string
		var p *pattern
		get := func(text []byte) (*pattern, error) {
			if p == nil || last != string(text) {
				q, err := compilePattern(string(text), regexpFlags{fold: fold, dotNL: true})
				if err != nil {
					return nil, err
				}
				p, last = q, string(text)
			}
			return p, nil
		}
		if k, ok := call.Args[1].(*Const); ok && !k.Value.Null {
			if _, err := get(k.Value.B); pgerr.CodeOf(err) == pgerr.FeatureNotSupported {
				return nil, err // told when the query is bound
			}
		}
		return func(f *frame) {
			for _, r := range f.rows() {
				p, err := get(f.args[1].Bytes(int(r)))
				if err != nil {
					f.fail(int(r), err)
					continue
				}
				f.out.Bool[r] = p.test.Match(f.args[0].Bytes(int(r))) != not
			}
		}, nil
	}
}

func regexpLike(f *frame, r int, c *regexpCall) error {
	if err := c.noGlobal("regexp_like()"); err != nil {
		return err
	}
	f.out.Bool[r] = c.p.test.Match(c.text)
	return nil
}

func regexpCount(f *frame, r int, c *regexpCall) error {
	if err := c.noGlobal("regexp_count()"); err != nil {
		return err
	}
	if err := c.p.refuse(false); err != nil {
		return err
	}
	n := int64(0)
	c.eachMatch(func([]int) bool { n++; return true })
	f.out.I64[r] = n
	return nil
}

// nthMatch gives the match that is asked for, nil if there are not so many.
func (c *regexpCall) nthMatch() (match []int) {
	n := 0
	c.eachMatch(func(m []int) bool {
		if n++; n == c.nth {
			match = m
		}
		return n < c.nth
	})
	return match
}

func regexpInstr(f *frame, r int, c *regexpCall) error {
	if err := c.noGlobal("regexp_instr()"); err != nil {
		return err
	}
	if err := c.p.refuse(c.sub > 0); err != nil {
		return err
	}
	m := c.nthMatch()
	if m == nil || 2*c.sub+1 >= len(m) || m[2*c.sub] < 0 {
		f.out.I64[r] = 0
		return nil
	}
	f.out.I64[r] = charCount(c.text[:m[2*c.sub+int(c.option)]]) + 1
	return nil
}

func regexpSubstr(f *frame, r int, c *regexpCall) error {
	if err := c.noGlobal("regexp_substr()"); err != nil {
		return err
	}
	if err := c.p.refuse(c.sub > 0); err != nil {
		return err
	}
	m := c.nthMatch()
	if m == nil || 2*c.sub+1 >= len(m) || m[2*c.sub] < 0 {
		f.setNull(r)
		return nil
	}
	setText(f, r, c.text[m[2*c.sub]:m[2*c.sub+1]])
	return nil
}

// regexpSubstring is substring(text from pattern): the first group if there is
// one, else the match.
func regexpSubstring(f *frame, r int, c *regexpCall) error {
	groups := c.p.re.NumSubexp() > 0
	if err := c.p.refuse(groups); err != nil {
		return err
	}
	m := c.p.re.FindSubmatchIndex(c.text)
	at := 0
	if groups {
		at = 2
	}
	if m == nil || m[at] < 0 {
		f.setNull(r)
		return nil
	}
	setText(f, r, c.text[m[at]:m[at+1]])
	return nil
}

func regexpReplace(f *frame, r int, c *regexpCall) error {
	by := f.args[2].Bytes(r)
	if err := c.p.refuse(usesGroups(by)); err != nil {
		return err
	}
	all := c.global
	if c.layout.nth >= 0 || c.layout.start >= 0 {
		all = c.layout.nth >= 0 && c.nth == 0 || c.layout.nth < 0 && c.global
	}
	out, at, n := f.buf[:0], 0, 0
	c.eachMatch(func(m []int) bool {
		if n++; !all && n < c.nth {
			return true
		}
		out = append(out, c.text[at:m[0]]...)
		out = appendReplacement(out, by, c.text, m)
		at = m[1]
		return all && len(out) < maxText
	})
	if f.buf = out; len(out) >= maxText {
		return errTooLong
	}
	out = append(out, c.text[at:]...)
	f.buf = out
	setText(f, r, out)
	return nil
}

func usesGroups(by []byte) bool {
	for i := 0; i+1 < len(by); i++ {
		if by[i] == '\\' {
			if i++; by[i] >= '1' && by[i] <= '9' {
				return true
			}
		}
	}
	return false
}

// appendReplacement puts groups in for \1 to \9 and the match for \&.
func appendReplacement(dst, by, text []byte, m []int) []byte {
	for i := 0; i < len(by); i++ {
		if by[i] != '\\' || i+1 == len(by) {
			dst = append(dst, by[i])
			continue
		}
		i++
		var g int
		switch c := by[i]; {
		case c >= '1' && c <= '9':
			g = int(c - '0')
		case c == '&':
			g = 0
		case c == '\\':
			dst = append(dst, '\\')
			continue
		default:
			dst = append(dst, '\\', c)
			continue
		}
		if 2*g+1 < len(m) && m[2*g] >= 0 {
			dst = append(dst, text[m[2*g]:m[2*g+1]]...)
		}
	}
	return dst
}

// eachMatch calls found with each match from c.start on until it says to stop.
// ^ and \y see what is before a place; an empty match may stand right behind
// another.
func (c *regexpCall) eachMatch(found func(m []int) bool) {
	for at := c.start; at <= len(c.text); {
		m := c.from(at)
		if m == nil || !found(m) {
			return
		}
		if at = m[1]; m[0] == m[1] {
			if at >= len(c.text) {
				return
			}
			at += charLen(c.text[at:])
		}
	}
}

// from gives the first match that begins at a place or later. Go searches from
// the beginning of a text only: unless the expression looks at what is before,
// the rest of the text will do.
func (c *regexpCall) from(at int) []int {
	if at == 0 {
		return c.p.re.FindSubmatchIndex(c.text)
	}
	if c.p.looksBack {
		return c.fromWithin(at)
	}
	m := c.p.re.FindSubmatchIndex(c.text[at:])
	for i := range m {
		if m[i] >= 0 {
			m[i] += at
		}
	}
	return m
}

// fromWithin is from for expressions that look at what is before: one that
// begins with the text up to a place, which is passed over character by
// character.
func (c *regexpCall) fromWithin(at int) []int {
	re := c.p.after(utf8.RuneCount(c.text[:at]))
	if re == nil {
		return nil
	}
	m := re.FindSubmatchIndex(c.text)
	if m == nil {
		return nil
	}
	m[0] = m[2]
	m[1] = m[3]
	return append(m[:2], m[4:]...)
}

// similarEscape makes a regular expression of a pattern of SIMILAR TO.
func similarEscape(f *frame) {
	for _, r := range f.rows() {
		e := []byte(`\`)
		if len(f.args) > 1 {
			e = f.args[1].Bytes(int(r))
		}
		b, err := similarToRegexp(f.buf[:0], f.args[0].Bytes(int(r)), e)
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		f.buf = b
		setText(f, int(r), b)
	}
}

// similarToRegexp appends the regular expression of a pattern with an escape
// character, as PostgreSQL writes it.
func similarToRegexp(dst, p, e []byte) ([]byte, error) {
	if len(e) > 0 && charLen(e) != len(e) {
		return nil, pgerr.New(pgerr.InvalidEscapeSequence, "invalid escape string").
			WithHint("Escape string must be empty or one character.")
	}
	dst = append(dst, "^(?:"...)
	after, brackets, separators := false, false, 0
	for len(p) > 0 {
		n := charLen(p)
		c := p[:n]
		p = p[n:]
		switch {
		case after:
			if c[0] == '"' && !brackets {
				switch separators {
				case 0:
					dst = append(dst, "){1,1}?("...)
				case 1:
					dst = append(dst, "){1,1}(?:"...)
				default:
					return nil, pgerr.New(pgerr.InvalidUseOfEscapeCharacter, "SQL regular expression may not contain more than two escape-double-quote separators")
				}
				separators++
			} else {
				dst = append(append(dst, '\\'), c...)
			}
			after = false
		case len(e) > 0 && string(c) == string(e):
			after = true
		case brackets:
			if c[0] == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, c...)
			brackets = c[0] != ']'
		case c[0] == '[':
			dst = append(dst, '[')
			brackets = true
		case c[0] == '%':
			dst = append(dst, ".*"...)
		case c[0] == '_':
			dst = append(dst, '.')
		case c[0] == '(':
			dst = append(dst, "(?:"...)
		case c[0] == '\\' || c[0] == '.' || c[0] == '^' || c[0] == '$':
			dst = append(dst, '\\', c[0])
		default:
			dst = append(dst, c...)
		}
	}
	return append(dst, ")$"...), nil
}
