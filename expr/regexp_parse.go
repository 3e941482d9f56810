package expr

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// PostgreSQL's regular expressions ("advanced", after Henry Spencer) are
// rewritten for Go's regexp, which is linear in the text. What Go has not
// (back-references, look-around) is refused by name. Letters have case as in
// the C locale: only ASCII ones.
//
// Where a match is in the text, and not only whether there is one, matters:
// PostgreSQL takes the earliest, and of these the longest if the expression is
// greedy as a whole, else the shortest. That is what Go gives for an expression
// with greedy quantifiers only, under Longest, and for one with non-greedy
// quantifiers only and no alternatives; others are refused there.

// regexpFlags are what flags and embedded options set.
type regexpFlags struct {
	fold     bool // i
	global   bool // g
	literal  bool // q
	expanded bool // x
	dotNL    bool // a dot and [^a] match a newline
	lineEnds bool // ^ and $ match at lines
}

func errRegexp(what string) *pgerr.Error {
	return pgerr.New(pgerr.InvalidRegularExpression, "invalid regular expression: %s", what)
}

// parseFlags reads the flags of a function, or embedded options.
func (fl *regexpFlags) parse(s string, embedded bool) error {
	for _, c := range s {
		switch c {
		case 'i':
			fl.fold = true
		case 'c':
			fl.fold = false
		case 'g':
			if embedded {
				return errRegexp("invalid embedded option")
			}
			fl.global = true
		case 'n', 'm':
			fl.dotNL, fl.lineEnds = false, true
		case 'p':
			fl.dotNL, fl.lineEnds = false, false
		case 's':
			fl.dotNL, fl.lineEnds = true, false
		case 'w':
			fl.dotNL, fl.lineEnds = true, true
		case 'x':
			fl.expanded = true
		case 't':
			fl.expanded = false
		case 'q':
			fl.literal = true
		case 'e':
		case 'b':
			return pgerr.Unsupported("a basic regular expression (flag b)")
		default:
			if embedded {
				return errRegexp("invalid embedded option")
			}
			return pgerr.New(pgerr.InvalidParameterValue, "invalid regular expression option: \"%c\"", c)
		}
	}
	return nil
}

// pattern is an expression made ready.
type pattern struct {
	re      *regexp.Regexp // for where
	test    *regexp.Regexp // for whether
	unclear string         // why where is not told, empty if it is
	inside  string         // why the places of groups are not told

	looksBack bool   // there is ^, \A or \y
	source    string // in Go's syntax, without its flags
	flags     string
	skip      *regexp.Regexp // see after
	skipped   int
}

// after gives the expression for matches behind n characters: n characters,
// any others, then a group that is the match. It keeps the last one. Go bounds
// repetitions, so far places are reached by nested ones.
func (p *pattern) after(n int) *regexp.Regexp {
	if p.skip != nil && p.skipped == n {
		return p.skip
	}
	lead := "(?s:.)"
	text := ""
	for rest := n; rest > 0; rest -= min(rest, 1000) {
		text += lead + "{" + strconv.Itoa(min(rest, 1000)) + "}"
	}
	re, err := regexp.Compile("^" + text + "(?s:.)*?" + p.flags + "(" + p.source + ")")
	if err != nil {
		return nil
	}
	p.skip, p.skipped = re, n
	return re
}

// maxRegexp bounds the text of an expression.
const maxRegexp = 1 << 16

// compilePattern makes an expression ready.
func compilePattern(text string, fl regexpFlags) (*pattern, error) {
	if len(text) > maxRegexp {
		return nil, pgerr.New(pgerr.ProgramLimitExceeded, "regular expression is too large")
	}
	p := regexpParser{s: text, fl: fl}
	if err := p.directors(); err != nil {
		return nil, err
	}
	if p.fl.literal {
		for _, c := range p.s {
			p.char(c)
		}
	} else if err := p.alternatives(0); err != nil {
		return nil, err
	}
	prefix := ""
	if p.fl.dotNL {
		prefix += "s"
	}
	if p.fl.lineEnds {
		prefix += "m"
	}
	if prefix != "" {
		prefix = "(?" + prefix + ")"
	}
	source := p.out.String()
	re, err := regexp.Compile(prefix + source)
	if err != nil {
		return nil, pgerr.Wrap(err, pgerr.FeatureNotSupported, "this regular expression is not supported").
			WithHint("It may be too large: repetitions multiply.")
	}
	out := &pattern{test: re, re: re, looksBack: p.looksBack, source: source, flags: prefix}
	switch {
	case p.lazy && (p.greedy || p.branches):
		out.unclear = "mixed greedy and non-greedy quantifiers, or alternatives beside non-greedy ones,"
	case !p.lazy:
		longest := *re // RE2 shares the program; only the choice among matches differs
		out.re = &longest
		out.re.Longest()
		if p.branches && p.groups > 0 {
			out.inside = "alternatives beside groups whose places are asked for"
		}
	}
	return out, nil
}

// regexpParser rewrites an expression.
type regexpParser struct {
	s         string // what is left
	fl        regexpFlags
	out       strings.Builder
	greedy    bool
	lazy      bool
	branches  bool
	groups    int
	looksBack bool
}

// directors reads ***: and ***= and embedded options.
func (p *regexpParser) directors() error {
	switch {
	case strings.HasPrefix(p.s, "***:"):
		p.s = p.s[4:]
	case strings.HasPrefix(p.s, "***="):
		p.fl.literal = true
		p.s = p.s[4:]
		return nil
	case strings.HasPrefix(p.s, "***"):
		return errRegexp("invalid regexp (reg version 0.8)")
	}
	if p.fl.literal || !strings.HasPrefix(p.s, "(?") || len(p.s) < 3 || p.s[2] < 'a' || p.s[2] > 'z' {
		return nil
	}
	end := strings.IndexByte(p.s, ')')
	if end < 0 {
		return errRegexp("invalid embedded option")
	}
	opts := p.s[2:end]
	p.s = p.s[end+1:]
	return p.fl.parse(opts, true)
}

// maxRegexpDepth bounds the nesting of groups.
const maxRegexpDepth = 500

// alternatives reads branches up to the end or a closing parenthesis.
func (p *regexpParser) alternatives(depth int) error {
	if depth > maxRegexpDepth {
		return pgerr.New(pgerr.InvalidRegularExpression, "regular expression is too complex")
	}
	for {
		if err := p.branch(depth); err != nil {
			return err
		}
		if !strings.HasPrefix(p.s, "|") {
			return nil
		}
		p.branches = true
		p.s = p.s[1:]
		p.out.WriteByte('|')
	}
}

func (p *regexpParser) branch(depth int) error {
	for p.s != "" {
		if p.fl.expanded && p.skipBlank() {
			continue
		}
		switch p.s[0] {
		case '|':
			return nil
		case ')':
			if depth > 0 {
				return nil
			}
			return errRegexp("parentheses () not balanced")
		}
		quantifiable, err := p.atom(depth)
		if err != nil {
			return err
		}
		for p.fl.expanded && p.skipBlank() {
		}
		if err := p.quantifier(quantifiable); err != nil {
			return err
		}
	}
	return nil
}

// skipBlank passes over white space or a comment of the expanded syntax.
func (p *regexpParser) skipBlank() bool {
	if p.s == "" {
		return false
	}
	switch c := p.s[0]; {
	case c == ' ' || c >= '\t' && c <= '\r':
		p.s = p.s[1:]
		return true
	case c == '#':
		if i := strings.IndexByte(p.s, '\n'); i >= 0 {
			p.s = p.s[i:]
		} else {
			p.s = ""
		}
		return true
	}
	return false
}

// atom reads what may be quantified, or a constraint.
func (p *regexpParser) atom(depth int) (quantifiable bool, err error) {
	c, n := utf8.DecodeRuneInString(p.s)
	switch c {
	case '(':
		return p.group(depth)
	case '[':
		return p.bracket()
	case '\\':
		return p.escape()
	case '*', '+', '?':
		return false, errRegexp("quantifier operand invalid")
	case '{':
		if len(p.s) > 1 && p.s[1] >= '0' && p.s[1] <= '9' {
			return false, errRegexp("quantifier operand invalid")
		}
	case '^':
		p.s = p.s[1:]
		p.looksBack = true
		p.out.WriteString("^")
		return false, nil
	case '$':
		p.s = p.s[1:]
		p.out.WriteString("$")
		return false, nil
	case '.':
		p.s = p.s[1:]
		p.out.WriteString(".")
		return true, nil
	}
	p.s = p.s[n:]
	p.char(c)
	return true, nil
}

// char writes one character.
func (p *regexpParser) char(c rune) {
	if c > utf8.MaxRune || c >= 0xd800 && c < 0xe000 {
		p.out.WriteString(`[^\x00-\x{10ffff}]`) // no text has it
		return
	}
	l := c | 0x20
	if p.fl.fold && c < 0x80 && l >= 'a' && l <= 'z' {
		fmt.Fprintf(&p.out, "[%c%c]", l-0x20, l)
		return
	}
	p.out.WriteString(regexp.QuoteMeta(string(c)))
}

func (p *regexpParser) group(depth int) (bool, error) {
	switch {
	case strings.HasPrefix(p.s, "(?#"):
		i := strings.IndexByte(p.s, ')')
		if i < 0 {
			return false, errRegexp("parentheses () not balanced")
		}
		p.s = p.s[i+1:]
		return false, nil
	case strings.HasPrefix(p.s, "(?:"):
		p.s = p.s[3:]
		p.out.WriteString("(?:")
	case strings.HasPrefix(p.s, "(?=") || strings.HasPrefix(p.s, "(?!") || strings.HasPrefix(p.s, "(?<"):
		return false, pgerr.Unsupported("look-around in a regular expression (%s)", p.s[:3]).
			WithHint("Match the parts in two steps, or with several conditions.")
	case strings.HasPrefix(p.s, "(?"):
		return false, errRegexp("quantifier operand invalid")
	default:
		p.s = p.s[1:]
		p.groups++
		p.out.WriteByte('(')
	}
	if err := p.alternatives(depth + 1); err != nil {
		return false, err
	}
	if p.s == "" {
		return false, errRegexp("parentheses () not balanced")
	}
	p.s = p.s[1:]
	p.out.WriteByte(')')
	return true, nil
}

// maxRepetition is PostgreSQL's bound of {m,n}.
const maxRepetition = 255

// quantifier reads *, +, ?, {m}, {m,}, {m,n} and their non-greedy forms.
func (p *regexpParser) quantifier(quantifiable bool) error {
	if p.s == "" {
		return nil
	}
	from, fixed := p.s, false
	switch c := p.s[0]; {
	case c == '*' || c == '+' || c == '?':
		p.s = p.s[1:]
	case c == '{' && len(p.s) > 1 && p.s[1] >= '0' && p.s[1] <= '9':
		var err error
		if fixed, err = p.bounds(); err != nil {
			return err
		}
	default:
		return nil
	}
	if !quantifiable {
		return errRegexp("quantifier operand invalid")
	}
	p.out.WriteString(from[:len(from)-len(p.s)])
	switch {
	case strings.HasPrefix(p.s, "?"):
		p.s = p.s[1:]
		p.out.WriteByte('?')
		p.lazy = p.lazy || !fixed
	case !fixed:
		p.greedy = true
	}
	if p.s != "" && (strings.IndexByte("*+?", p.s[0]) >= 0 || p.s[0] == '{' && len(p.s) > 1 && p.s[1] >= '0' && p.s[1] <= '9') {
		return errRegexp("quantifier operand invalid")
	}
	return nil
}

func (p *regexpParser) bounds() (fixed bool, err error) {
	number := func() (int, bool) {
		n, i := 0, 0
		for i < len(p.s) && p.s[i] >= '0' && p.s[i] <= '9' {
			if n = n*10 + int(p.s[i]-'0'); n > maxRepetition {
				err = errRegexp("invalid repetition count(s)")
			}
			i++
		}
		p.s = p.s[i:]
		return n, i > 0
	}
	p.s = p.s[1:]
	m, _ := number()
	fixed = true
	if strings.HasPrefix(p.s, ",") {
		p.s = p.s[1:]
		n, ok := number()
		if fixed = ok && n == m; ok && n < m && err == nil {
			err = errRegexp("invalid repetition count(s)")
		}
	}
	switch {
	case err != nil:
		return false, err
	case p.s == "":
		return false, errRegexp("braces {} not balanced")
	case p.s[0] != '}':
		return false, errRegexp("invalid repetition count(s)")
	}
	p.s = p.s[1:]
	return fixed, nil
}

// classEscapes are the shorthands for classes, in the C locale.
var classEscapes = map[byte]string{'d': `0-9`, 's': `\t\n\v\f\r `, 'w': `0-9A-Za-z_`}

// escape reads what a backslash begins.
func (p *regexpParser) escape() (bool, error) {
	if len(p.s) < 2 {
		return false, errRegexp("invalid escape \\ sequence")
	}
	switch c := p.s[1]; c {
	case 'd', 's', 'w', 'D', 'S', 'W':
		p.s = p.s[2:]
		not := ""
		if c < 'a' {
			not = "^"
		}
		p.out.WriteString("[" + not + classEscapes[c|0x20] + "]")
		return true, nil
	case 'A', 'Z', 'y', 'Y':
		p.s = p.s[2:]
		p.looksBack = p.looksBack || c != 'Z'
		p.out.WriteString(map[byte]string{'A': `\A`, 'Z': `\z`, 'y': `\b`, 'Y': `\B`}[c])
		return false, nil
	case 'm', 'M', '<', '>':
		return false, pgerr.Unsupported("the escape \\%c of a regular expression", c).WithHint("Use \\y, a beginning or end of a word.")
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if int(c-'0') > p.groups {
			return false, errRegexp("invalid backreference number")
		}
		return false, pgerr.Unsupported("a back-reference in a regular expression (\\%c)", c)
	}
	r, err := p.charEscape()
	if err != nil {
		return false, err
	}
	p.char(r)
	return true, nil
}

// charEscape reads an escape that stands for one character.
func (p *regexpParser) charEscape() (rune, error) {
	c, n := utf8.DecodeRuneInString(p.s[1:])
	p.s = p.s[1+n:]
	hex := func(least, most int) (rune, error) {
		v, i := int64(0), 0
		for i < most && i < len(p.s) {
			d := strings.IndexByte("0123456789abcdef", lowerByte(p.s[i]))
			if d < 0 {
				break
			}
			v = v<<4 | int64(d)
			i++
		}
		p.s = p.s[i:]
		if i < least || v > 0x7ffffffe {
			return 0, errRegexp("invalid escape \\ sequence")
		}
		return rune(v), nil
	}
	switch c {
	case 'a':
		return '\a', nil
	case 'b':
		return '\b', nil
	case 'B':
		return '\\', nil
	case 'e':
		return 27, nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'v':
		return '\v', nil
	case 'c':
		if p.s == "" {
			return 0, errRegexp("invalid escape \\ sequence")
		}
		r := rune(p.s[0] & 0x1f)
		p.s = p.s[1:]
		return r, nil
	case 'u':
		return hex(4, 4)
	case 'U':
		return hex(8, 8)
	case 'x':
		return hex(1, 8)
	case '0':
		return 0, nil
	}
	if c < 0x80 && (c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z') {
		return 0, errRegexp("invalid escape \\ sequence")
	}
	return c, nil
}

// posixClasses are the classes of the C locale.
var posixClasses = map[string]string{"alpha": "A-Za-z", "digit": "0-9", "alnum": "0-9A-Za-z", "upper": "A-Z", "lower": "a-z",
	"space": `\t\n\v\f\r `, "blank": `\t `, "punct": "!-/:-@\\[-`{-~", "print": " -~", "graph": "!-~", "cntrl": `\x00-\x1f\x7f`,
	"xdigit": "0-9A-Fa-f", "word": "0-9A-Za-z_", "ascii": `\x00-\x7f`}

// bracket reads a bracket expression.
func (p *regexpParser) bracket() (bool, error) {
	for _, w := range []string{"[[:<:]]", "[[:>:]]"} {
		if strings.HasPrefix(p.s, w) {
			return false, pgerr.Unsupported("%s in a regular expression", w).WithHint("Use \\y, a beginning or end of a word.")
		}
	}
	p.s = p.s[1:]
	var set strings.Builder
	not := strings.HasPrefix(p.s, "^")
	if not {
		p.s = p.s[1:]
	}
	for first := true; ; first = false {
		if p.s == "" {
			return false, errRegexp("brackets [] not balanced")
		}
		if p.s[0] == ']' && !first {
			p.s = p.s[1:]
			break
		}
		if err := p.bracketItem(&set, first); err != nil {
			return false, err
		}
	}
	if not && !p.fl.dotNL {
		set.WriteString(`\n`)
	}
	p.out.WriteByte('[')
	if not {
		p.out.WriteByte('^')
	}
	p.out.WriteString(set.String() + "]")
	return true, nil
}

func (p *regexpParser) bracketItem(set *strings.Builder, first bool) error {
	if strings.HasPrefix(p.s, "[:") {
		end := strings.Index(p.s, ":]")
		if end < 0 {
			return errRegexp("brackets [] not balanced")
		}
		name := p.s[2:end]
		class, ok := posixClasses[name]
		if !ok {
			return errRegexp("invalid character class")
		}
		if p.fl.fold && (name == "upper" || name == "lower") {
			class = posixClasses["alpha"]
		}
		p.s = p.s[end+2:]
		set.WriteString(class)
		return p.noRange()
	}
	if len(p.s) > 1 && p.s[0] == '\\' {
		if class, ok := classEscapes[p.s[1]]; ok {
			p.s = p.s[2:]
			set.WriteString(class)
			return p.noRange()
		}
		if c := p.s[1]; c == 'D' || c == 'S' || c == 'W' {
			return pgerr.Unsupported("\\%c within brackets of a regular expression", c)
		}
	}
	if p.s[0] == '-' && !first && !strings.HasPrefix(p.s, "-]") {
		return errRegexp("invalid character range")
	}
	lo, err := p.bracketChar()
	if err != nil {
		return err
	}
	hi := lo
	if len(p.s) > 1 && p.s[0] == '-' && p.s[1] != ']' {
		p.s = p.s[1:]
		if hi, err = p.bracketChar(); err != nil {
			return err
		}
		if hi < lo {
			return errRegexp("invalid character range")
		}
	}
	addRange(set, lo, hi)
	if p.fl.fold {
		for _, c := range [2][3]rune{{'a', 'z', -0x20}, {'A', 'Z', 0x20}} {
			if a, b := max(lo, c[0]), min(hi, c[1]); a <= b {
				addRange(set, a+c[2], b+c[2])
			}
		}
	}
	return nil
}

// noRange refuses a range that begins with a class.
func (p *regexpParser) noRange() error {
	if len(p.s) > 1 && p.s[0] == '-' && p.s[1] != ']' {
		return errRegexp("invalid character range")
	}
	return nil
}

func addRange(set *strings.Builder, lo, hi rune) {
	fmt.Fprintf(set, `\x{%x}`, lo)
	if hi > lo {
		fmt.Fprintf(set, `-\x{%x}`, hi)
	}
}

func (p *regexpParser) bracketChar() (rune, error) {
	switch {
	case p.s == "":
		return 0, errRegexp("brackets [] not balanced")
	case p.s[0] == '\\' && len(p.s) > 1:
		return p.charEscape()
	case strings.HasPrefix(p.s, "[.") || strings.HasPrefix(p.s, "[="):
		c, n := utf8.DecodeRuneInString(p.s[2:])
		if len(p.s) < 4+n || p.s[2+n] != p.s[1] || p.s[3+n] != ']' {
			return 0, errRegexp("invalid collating element")
		}
		p.s = p.s[4+n:]
		return c, nil
	}
	c, n := utf8.DecodeRuneInString(p.s)
	p.s = p.s[n:]
	return c, nil
}
