package exec

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/types"
)

// testID gives the i-th state id of a test.
func testID(i int) state.ID { return state.ID{0: byte(i + 1), 15: 0xe5} }

var kindByName = map[string]types.Kind{
	"bool": types.Bool, "int4": types.Int4, "int8": types.Int8, "float8": types.Float8,
	"numeric": types.Numeric, "text": types.Text,
}

func parseTypes(s string) (ts []types.Type) {
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		k, ok := kindByName[w]
		if !ok {
			panic("unknown type " + w)
		}
		ts = append(ts, types.T(k))
	}
	return ts
}

// parseExpr reads a prefix expression over columns: $0, 5, 'x', true, null:T,
// (op a b), (and …), (or …), (not a), (isnull a), (case c r else).
func parseExpr(s string, ts []types.Type) expr.Expr {
	p := &exprParser{in: s, ts: ts}
	e := p.expr()
	if p.space(); p.in != "" {
		panic("left over: " + p.in)
	}
	return e
}

type exprParser struct {
	in string
	ts []types.Type
}

func (p *exprParser) space() { p.in = strings.TrimLeft(p.in, " ") }

func (p *exprParser) word() string {
	p.space()
	n := strings.IndexAny(p.in, " ()")
	if n < 0 {
		n = len(p.in)
	}
	w := p.in[:n]
	p.in = p.in[n:]
	return w
}

func (p *exprParser) expr() expr.Expr {
	p.space()
	if !strings.HasPrefix(p.in, "(") {
		return p.atom(p.word())
	}
	p.in = p.in[1:]
	name := p.word()
	var args []expr.Expr
	for p.space(); !strings.HasPrefix(p.in, ")"); p.space() {
		args = append(args, p.expr())
	}
	p.in = p.in[1:]
	switch name {
	case "and":
		return &expr.And{Args: args}
	case "or":
		return &expr.Or{Args: args}
	case "not":
		return &expr.Not{Arg: args[0]}
	case "isnull":
		return &expr.IsNull{Arg: args[0]}
	case "case":
		return &expr.Case{Conds: args[:1], Results: args[1:2], Else: args[2], T: args[1].Type()}
	}
	e, err := expr.ResolveOp(name, args[0], args[1], 0)
	if err != nil {
		panic(err)
	}
	return e
}

func (p *exprParser) atom(w string) expr.Expr {
	switch {
	case w[0] == '$':
		i, _ := strconv.Atoi(w[1:])
		return &expr.Column{Index: i, T: p.ts[i]}
	case w[0] == '\'':
		return &expr.Const{Value: types.NewText(strings.Trim(w, "'"))}
	case w == "true" || w == "false":
		return &expr.Const{Value: types.NewBool(w == "true")}
	case strings.HasPrefix(w, "null:"):
		return &expr.Const{Value: types.NullOf(types.T(kindByName[w[5:]]))}
	}
	i, err := strconv.ParseInt(w, 10, 64)
	if err != nil {
		panic(err)
	}
	return &expr.Const{Value: types.NewInt8(i)}
}

func mustCompile(es ...expr.Expr) *expr.Program {
	p, err := expr.Compile(es)
	if err != nil {
		panic(err)
	}
	return p
}

// signed is a multiset of signed rows by their text.
type signed map[string]int64

func (s signed) add(row string, n int64) {
	if s[row] += n; s[row] == 0 {
		delete(s, row)
	}
}

func (s signed) addChunk(c *types.Chunk) {
	for k := range c.Rows() {
		r := c.Row(k)
		s.add(rowText(c, r), int64(c.DiffAt(r)))
	}
}

func (s signed) String() string {
	lines := make([]string, 0, len(s))
	for r, n := range s {
		lines = append(lines, fmt.Sprintf("%+d %s\n", n, r))
	}
	sort.Slice(lines, func(i, j int) bool {
		a, b := lines[i][strings.IndexByte(lines[i], ' '):], lines[j][strings.IndexByte(lines[j], ' '):]
		if a != b {
			return a < b
		}
		return lines[i] < lines[j]
	})
	return strings.Join(lines, "")
}

func rowText(c *types.Chunk, r int) string {
	var b []byte
	for i := range c.Cols {
		if i > 0 {
			b = append(b, ' ')
		}
		if c.Cols[i].Null(r) {
			b = append(b, "NULL"...)
			continue
		}
		b = c.Cols[i].AppendText(b, r)
	}
	return string(b)
}

// row is an input row of a test.
type row struct {
	port int
	diff int64
	vals []types.Datum
}

// parseRow reads "[port:] [+n|-n] v v …"; NULL is NULL.
func parseRow(line string, in [][]types.Type) row {
	f := strings.Fields(line)
	r := row{diff: 1}
	if n := len(f[0]); f[0][n-1] == ':' {
		r.port, _ = strconv.Atoi(f[0][:n-1])
		f = f[1:]
	}
	if c := f[0][0]; (c == '+' || c == '-') && len(f) > len(in[r.port]) {
		r.diff, _ = strconv.ParseInt(f[0], 10, 64)
		f = f[1:]
	}
	for i, t := range in[r.port] {
		if f[i] == "NULL" {
			r.vals = append(r.vals, types.NullOf(t))
			continue
		}
		d, err := types.ParseText(t, f[i])
		if err != nil {
			panic(err)
		}
		r.vals = append(r.vals, d)
	}
	return r
}

// mixer varies what must not matter: chunk sizes, selections, garbage in rows
// that are not selected and in the slots of NULLs, weights split and merged.
type mixer struct {
	rng        *rand.Rand
	appendOnly bool
}

func (m *mixer) split(rows []row) (out []row) {
	for _, r := range rows {
		for r.diff != 0 {
			n := r.diff
			switch m.rng.IntN(4) {
			case 0:
				if n > 1 || n < -1 {
					n = n / 2
				}
			case 1:
				if !m.appendOnly {
					n += int64(m.rng.IntN(5) - 2)
				}
			}
			if n == 0 {
				continue
			}
			part := r
			part.diff = n
			out = append(out, part)
			r.diff -= n
		}
	}
	m.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// chunks builds chunks of one port's rows.
func (m *mixer) chunks(rows []row, ts []types.Type) (out []*types.Chunk) {
	for len(rows) > 0 {
		n := min(len(rows), 1+m.rng.IntN(7))
		c := types.NewChunk(ts)
		selected, plain := m.rng.IntN(2) == 0, true
		var sel []uint16
		for _, r := range rows[:n] {
			for selected && m.rng.IntN(3) == 0 { // a row that is not there
				c.AppendRow(int32(1+m.rng.IntN(3)), rows[m.rng.IntN(len(rows))].vals...)
			}
			sel = append(sel, uint16(c.N))
			c.AppendRow(int32(r.diff), r.vals...)
			plain = plain && r.diff == 1
		}
		if selected {
			c.Sel = sel
		}
		if plain && m.rng.IntN(2) == 0 {
			c.Diff = nil
		}
		m.garbage(c)
		if err := c.Check(); err != nil {
			panic(err)
		}
		out = append(out, c)
		rows = rows[n:]
	}
	return out
}

func (m *mixer) garbage(c *types.Chunk) {
	for i := range c.Cols {
		v := &c.Cols[i]
		for r := range c.N {
			if v.Null(r) && v.Type.Kind.Phys() == types.PhysInt64 {
				v.I64[r] = m.rng.Int64()
			}
		}
		if v.Nulls == nil && m.rng.IntN(3) == 0 {
			v.Nulls = types.MakeBitmap(nil, c.N)
		}
	}
}

// testbed is operators in one goroutine over resident state, driven epoch by
// epoch: what a subtask is, without gates.
type testbed struct {
	graph *Graph
	link  linker
	state *state.State
	out   signed // of the epoch
	errs  signed
	kept  signed // since the start
	rows  int    // emitted in the epoch
}

func newTestbed(t testing.TB, g *Graph) *testbed {
	t.Helper()
	b := &testbed{graph: g, kept: signed{}}
	var tables []state.TableSpec
	for f := range g.Fragments {
		for _, o := range g.Fragments[f].Ops {
			tables = append(tables, o.Tables...)
		}
	}
	var err error
	b.state, err = state.Open(context.Background(), memory.New(), state.Spec{
		NumGroups: types.KeyGroups, Groups: types.GroupRange{Hi: types.KeyGroups}, Tables: tables, FS: vfs.NewMem(), Dir: "scratch",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.link = linker{graph: g, in: func(int) bool { return true }, fail: b.fail}
	task := Task{
		Parallelism: 1, NumGroups: types.KeyGroups, Groups: types.GroupRange{Hi: types.KeyGroups}, State: b.state,
		Collect: func(c *types.Chunk) error {
			if err := c.Check(); err != nil {
				return err
			}
			b.rows += c.Rows()
			b.out.addChunk(c)
			return nil
		},
	}
	if err := b.link.link(task); err != nil {
		t.Fatal(err)
	}
	b.begin()
	return b
}

func (b *testbed) begin() { b.out, b.errs, b.rows = signed{}, signed{}, 0 }

func (b *testbed) fail(r *ErrorRows) error {
	for i, d := range r.Diff {
		b.errs.add(fmt.Sprintf("error %d %s %s", r.Op, r.Errs[i].Code, r.Errs[i].Message), int64(d))
	}
	return nil
}

func (b *testbed) push(input int, c *types.Chunk) error {
	for _, t := range b.link.inputs(input) {
		if err := t.node.process(t.port, c); err != nil {
			return err
		}
	}
	return nil
}

// flush ends the epoch and checks that nothing was taken back that was not
// given.
func (b *testbed) flush(e types.Epoch) error {
	if err := flushAll(types.EpochInfo{ID: e}, &b.link); err != nil {
		return err
	}
	for r, n := range b.out {
		if b.kept.add(r, n); b.kept[r] < 0 {
			return fmt.Errorf("row %q was taken back %d times more than it was given", r, -b.kept[r])
		}
	}
	return b.state.EndEpoch()
}

// opSpec wraps an operator constructor.
func opSpec(id int, name string, out []types.Type, tables []state.TableSpec, mk func(*Task) (Operator, error)) OpSpec {
	return OpSpec{ID: id, Name: name, Out: out, Tables: tables, New: mk}
}

func collectSpec(out []types.Type) OpSpec { return opSpec(99, "collect", out, nil, NewCollect) }

func sameErr(err error, code pgerr.Code) bool { return err != nil && pgerr.CodeOf(err) == code }

func concatTypes(a ...[]types.Type) []types.Type { return slices.Concat(a...) }

// freshCopy gives a chunk that shares nothing.
func freshCopy(c *types.Chunk, ts []types.Type) *types.Chunk {
	d := types.NewChunk(ts)
	c.Compact(d)
	return d
}
