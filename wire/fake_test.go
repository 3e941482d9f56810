package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// fakeEngine answers the handful of statements that the tests send, as
// PostgreSQL would. Each session has tables of its own, like temporary ones.
type fakeEngine struct {
	sessions atomic.Int32 // open now
	canceled atomic.Int32 // calls that ended because their context did
}

func (e *fakeEngine) Connect(_ context.Context, s Startup) (Session, error) {
	if s.Database == "nosuch" {
		return nil, pgerr.New(pgerr.InvalidCatalogName, "database \"nosuch\" does not exist")
	}
	e.sessions.Add(1)
	return &fakeSession{e: e, startup: s, tables: map[string][]fakeRow{}}, nil
}

type fakeRow struct{ a, b types.Datum }

type fakeSession struct {
	e        *fakeEngine
	startup  Startup
	tables   map[string][]fakeRow
	saved    map[string][]fakeRow // as at the start of the transaction
	block    bool
	failed   bool
	implicit bool
}

func (s *fakeSession) Parameters() [][2]string {
	return [][2]string{
		{"server_version", "15.0 (fake)"}, {"server_encoding", "UTF8"}, {"client_encoding", "UTF8"},
		{"DateStyle", "ISO, MDY"}, {"IntervalStyle", "postgres"}, {"TimeZone", "UTC"},
		{"integer_datetimes", "on"}, {"standard_conforming_strings", "on"},
		{"application_name", s.startup.Params["application_name"]},
	}
}

type fakeStatement struct {
	sql string
	pos int // characters before it
}

func (f fakeStatement) SQL() string { return f.sql }

func (s *fakeSession) Parse(_ context.Context, query string) ([]Statement, error) {
	var out []Statement
	pos := 0
	for part := range strings.SplitSeq(query, ";") {
		text := regexp.MustCompile(`--[^\n]*|/\*.*?\*/`).ReplaceAllString(part, "")
		lead := len(part) - len(strings.TrimLeft(part, " \n\t"))
		if text = strings.TrimSpace(text); text != "" {
			if strings.HasPrefix(text, "SELEC ") {
				return nil, pgerr.New(pgerr.SyntaxError, "syntax error at or near \"SELEC\"").At(pos + lead + 1)
			}
			out = append(out, fakeStatement{sql: text, pos: pos + lead})
		}
		pos += len(part) + 1
	}
	return out, nil
}

type fakePrepared struct {
	fakeStatement
	match  *fakeForm
	args   []string
	params []types.Type
	fields []Field
}

func (p *fakePrepared) ParamTypes() []types.Type { return p.params }
func (p *fakePrepared) Fields() []Field          { return p.fields }

// fakeForm is a statement that the fake understands.
type fakeForm struct {
	re      *regexp.Regexp
	prepare func(p *fakePrepared) error
	run     func(s *fakeSession, ctx context.Context, p *fakePrepared, params []types.Datum) (*Result, error)
	exit    bool // ends a failed block
}

func form(re string, f fakeForm) *fakeForm {
	f.re = regexp.MustCompile(`(?is)^` + re + `$`)
	return &f
}

func column(name string, k types.Kind) Field { return Field{Name: name, Type: types.T(k)} }

func fieldsOf(fs ...Field) func(*fakePrepared) error {
	return func(p *fakePrepared) error { p.fields = fs; return nil }
}

func ints(tag string, name string, vs ...int64) *Result {
	rows := make([][]types.Datum, len(vs))
	for i, v := range vs {
		rows[i] = []types.Datum{types.NewInt4(int32(v))}
	}
	return result(tag, []Field{column(name, types.Int4)}, rows)
}

func result(tag string, fields []Field, rows [][]types.Datum) *Result {
	return &Result{Fields: fields, Rows: &fakeRows{tag: tag, fields: fields, rows: rows}}
}

// fakeRows gives chunks of at most three rows, with a selection.
type fakeRows struct {
	tag    string
	fields []Field
	rows   [][]types.Datum
	chunk  types.Chunk
	closed bool
}

func (r *fakeRows) Next(ctx context.Context) (*types.Chunk, error) {
	if r.closed {
		panic("Next after Close")
	}
	if err := ctx.Err(); err != nil || len(r.rows) == 0 {
		return nil, err
	}
	n := min(3, len(r.rows))
	r.chunk = types.Chunk{Cols: make([]types.Vec, len(r.fields)), N: n}
	for i, f := range r.fields {
		r.chunk.Cols[i].Type = f.Type
		for _, row := range r.rows[:n] {
			r.chunk.Cols[i].Append(row[i])
		}
	}
	for i := range n {
		r.chunk.Sel = append(r.chunk.Sel, uint16(i))
	}
	r.rows = r.rows[n:]
	return &r.chunk, nil
}

func (r *fakeRows) Tag(n int64) string {
	if r.tag == "INSERT" {
		return fmt.Sprintf("INSERT 0 %d", n)
	}
	return fmt.Sprintf("%s %d", r.tag, n)
}

func (r *fakeRows) Close() {
	if r.closed {
		panic("rows closed twice")
	}
	r.closed = true
}

var typeNames = map[string]types.Kind{
	"bool": types.Bool, "int": types.Int4, "int4": types.Int4, "int8": types.Int8, "float8": types.Float8,
	"numeric": types.Numeric, "text": types.Text, "date": types.Date, "timestamp": types.Timestamp,
	"timestamptz": types.Timestamptz, "interval": types.Interval,
}

var fakeForms []*fakeForm

func init() {
	intParam := func(p *fakePrepared) error {
		p.params = []types.Type{types.T(types.Int4)}
		p.fields = []Field{column("?column?", types.Int4)}
		return nil
	}
	tag := func(t string, f func(s *fakeSession, p *fakePrepared)) func(*fakeSession, context.Context, *fakePrepared, []types.Datum) (*Result, error) {
		return func(s *fakeSession, _ context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
			f(s, p)
			return &Result{Tag: t}, nil
		}
	}
	ab := []Field{column("a", types.Int4), column("b", types.Text)}
	num := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	fakeForms = []*fakeForm{
		form(`begin`, fakeForm{run: tag("BEGIN", func(s *fakeSession, _ *fakePrepared) { s.block = true })}),
		form(`commit`, fakeForm{exit: true, run: func(s *fakeSession, _ context.Context, _ *fakePrepared, _ []types.Datum) (*Result, error) {
			failed := s.failed
			s.end(!failed)
			if failed {
				return &Result{Tag: "ROLLBACK"}, nil
			}
			return &Result{Tag: "COMMIT"}, nil
		}}),
		form(`rollback`, fakeForm{exit: true, run: tag("ROLLBACK", func(s *fakeSession, _ *fakePrepared) { s.end(false) })}),
		form(`select (?:'(\d+)' ?::int ?\+ ?1|(\d+)(?:::int ?\+ ?1))`, fakeForm{prepare: fieldsOf(column("?column?", types.Int4)),
			run: func(_ *fakeSession, _ context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
				return ints("SELECT", "?column?", num(p.args[0]+p.args[1])+1), nil
			}}),
		form(`select (\d+)`, fakeForm{prepare: fieldsOf(column("?column?", types.Int4)),
			run: func(_ *fakeSession, _ context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
				return ints("SELECT", "?column?", num(p.args[0])), nil
			}}),
		form(`select \$1::int4? ?\+ ?1`, fakeForm{prepare: intParam,
			run: func(_ *fakeSession, _ context.Context, _ *fakePrepared, d []types.Datum) (*Result, error) {
				if d[0].Null {
					return result("SELECT", []Field{column("?column?", types.Int4)}, [][]types.Datum{{d[0]}}), nil
				}
				return ints("SELECT", "?column?", d[0].I+1), nil
			}}),
		form(`select (\$1|null|'.*')::(\w+)`, fakeForm{
			prepare: func(p *fakePrepared) error {
				k, ok := typeNames[p.args[1]]
				if !ok {
					return pgerr.New(pgerr.UndefinedObject, "type \"%s\" does not exist", p.args[1])
				}
				if p.args[0] == "$1" {
					p.params = []types.Type{types.T(k)}
				}
				if p.args[1] == "int" {
					p.args[1] = "int4"
				}
				p.fields = []Field{column(p.args[1], k)}
				return nil
			},
			run: func(_ *fakeSession, _ context.Context, p *fakePrepared, d []types.Datum) (*Result, error) {
				t := p.fields[0].Type
				v := types.NullOf(t)
				if len(d) > 0 {
					v = d[0]
				} else if lit := p.args[0]; lit[0] == '\'' {
					var err error
					if v, err = types.ParseText(t, strings.Trim(lit, "'")); err != nil {
						return nil, err
					}
				}
				return result("SELECT", p.fields, [][]types.Datum{{v}}), nil
			}}),
		form(`select generate_series\(1, ?(\d+)\)`, fakeForm{prepare: fieldsOf(column("generate_series", types.Int4)),
			run: func(_ *fakeSession, _ context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
				vs := make([]int64, num(p.args[0]))
				for i := range vs {
					vs[i] = int64(i) + 1
				}
				return ints("SELECT", "generate_series", vs...), nil
			}}),
		form(`select 1/0`, fakeForm{prepare: func(*fakePrepared) error { return pgerr.New(pgerr.DivisionByZero, "division by zero") }}),
		form(`select nosuch`, fakeForm{prepare: func(p *fakePrepared) error {
			return pgerr.New(pgerr.UndefinedColumn, "column \"nosuch\" does not exist").At(p.pos + 8)
		}}),
		form(`select pg_sleep\((\d+)\)`, fakeForm{prepare: fieldsOf(column("pg_sleep", types.Text)),
			run: func(s *fakeSession, ctx context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
				select {
				case <-ctx.Done():
					s.e.canceled.Add(1)
					return nil, ctx.Err()
				case <-time.After(time.Duration(num(p.args[0])) * time.Second):
					return result("SELECT", p.fields, [][]types.Datum{{types.NewText("")}}), nil
				}
			}}),
		form(`select panic`, fakeForm{run: func(*fakeSession, context.Context, *fakePrepared, []types.Datum) (*Result, error) {
			panic("as asked")
		}}),
		form(`select wide\((\d+)\)`, fakeForm{prepare: func(p *fakePrepared) error { p.fields = wideFields(); return nil },
			run: func(_ *fakeSession, _ context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
				return &Result{Fields: p.fields, Rows: &wideRows{chunk: wideChunk(), left: int(num(p.args[0]))}}, nil
			}}),
		form(`set application_name = '(.*)'`, fakeForm{run: tag("SET", func(s *fakeSession, p *fakePrepared) {
			s.startup.Client.ParameterStatus("application_name", p.args[0])
		})}),
		form(`warn (.*)`, fakeForm{run: tag("WARN", func(s *fakeSession, p *fakePrepared) {
			s.startup.Client.Notice("WARNING", pgerr.New(pgerr.Warning, "%s", p.args[0]))
		})}),
		form(`deallocate all`, fakeForm{run: tag("DEALLOCATE ALL", func(s *fakeSession, _ *fakePrepared) {
			s.startup.Client.(PreparedStatements).DeallocateAll()
		})}),
		form(`create temp table (\w+) ?\(a int, b text\)`, fakeForm{run: tag("CREATE TABLE", func(s *fakeSession, p *fakePrepared) {
			s.tables[p.args[0]] = nil
		})}),
		form(`insert into (\w+) values ?\((\d+|\$1), ?('.*'|\$2)\)`, fakeForm{
			prepare: func(p *fakePrepared) error {
				if p.args[1] == "$1" {
					p.params = []types.Type{types.T(types.Int4), types.T(types.Text)}
				}
				return nil
			},
			run: func(s *fakeSession, _ context.Context, p *fakePrepared, d []types.Datum) (*Result, error) {
				row := fakeRow{types.NewInt4(int32(num(p.args[1]))), types.NewText(strings.Trim(p.args[2], "'"))}
				if len(d) > 0 {
					row = fakeRow{d[0], d[1]}
				}
				s.tables[p.args[0]] = append(s.tables[p.args[0]], row)
				return &Result{Tag: "INSERT 0 1"}, nil
			}}),
		form(`select a, b from (\w+)(?: order by a)?`, fakeForm{prepare: fieldsOf(ab...),
			run: func(s *fakeSession, _ context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
				var rows [][]types.Datum
				for _, r := range s.tables[p.args[0]] {
					rows = append(rows, []types.Datum{r.a, r.b})
				}
				return result("SELECT", ab, rows), nil
			}}),
		form(`copy (\w+) ?(?:\( ?a, b ?\))? from stdin ?(?:with )?(binary)?`, fakeForm{run: (*fakeSession).copyIn}),
		form(`copy (\w+) to stdout`, fakeForm{run: (*fakeSession).copyOut}),
		form(`copy \(subscribe\) to stdout`, fakeForm{run: (*fakeSession).subscribe}),
	}
}

func (s *fakeSession) Prepare(_ context.Context, st Statement, _ []uint32) (Prepared, error) {
	f := st.(fakeStatement)
	p := &fakePrepared{fakeStatement: f}
	sql := strings.Join(strings.Fields(strings.ReplaceAll(f.sql, `"`, "")), " ")
	for _, m := range fakeForms {
		if g := m.re.FindStringSubmatch(sql); g != nil {
			p.match, p.args = m, g[1:]
			if s.failed && !m.exit {
				return nil, errAborted
			}
			if m.prepare != nil {
				return p, m.prepare(p)
			}
			return p, nil
		}
	}
	return nil, pgerr.Unsupported("%q in the fake engine", f.sql)
}

func (s *fakeSession) Execute(ctx context.Context, p Prepared, params []types.Datum) (*Result, error) {
	f := p.(*fakePrepared)
	if s.failed && !f.match.exit {
		return nil, errAborted
	}
	if !s.block && !s.implicit {
		s.implicit = true
		s.saved = maps.Clone(s.tables)
	}
	return f.match.run(s, ctx, f, params)
}

// end ends the transaction.
func (s *fakeSession) end(commit bool) {
	if !commit && s.saved != nil {
		s.tables = s.saved
	}
	s.saved, s.block, s.failed, s.implicit = nil, false, false, false
}

func (s *fakeSession) Sync(context.Context) error {
	if !s.block {
		s.end(true)
	}
	return nil
}

func (s *fakeSession) Fail() {
	if s.block {
		s.failed = true
		return
	}
	s.end(false)
}

func (s *fakeSession) TxStatus() byte {
	switch {
	case s.failed:
		return 'E'
	case s.block:
		return 'T'
	default:
		return 'I'
	}
}

func (s *fakeSession) Close() { s.e.sessions.Add(-1) }

func (s *fakeSession) copyIn(_ context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
	table, bin := p.args[0], p.args[1] != ""
	if _, ok := s.tables[table]; !ok {
		return nil, pgerr.New(pgerr.UndefinedTable, "relation \"%s\" does not exist", table)
	}
	return &Result{CopyIn: &CopyIn{Binary: bin, Columns: 2, Run: func(_ context.Context, r io.Reader) (string, error) {
		read := readTextRow
		br := bufio.NewReader(r)
		if bin {
			read = readBinaryRow
			if _, err := io.ReadFull(br, make([]byte, 19)); err != nil {
				return "", err
			}
		}
		for n := 0; ; n++ {
			row, err := read(br)
			if errors.Is(err, io.EOF) {
				return fmt.Sprintf("COPY %d", n), nil
			}
			if err != nil {
				return "", err
			}
			s.tables[table] = append(s.tables[table], row)
		}
	}}}, nil
}

func readTextRow(r *bufio.Reader) (fakeRow, error) {
	line, err := r.ReadString('\n')
	if err != nil && line == "" {
		return fakeRow{}, err
	}
	a, b, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
	if !ok {
		return fakeRow{}, pgerr.New(pgerr.BadCopyFileFormat, "missing data for column \"b\"")
	}
	d, err := types.ParseText(types.T(types.Int4), a)
	return fakeRow{d, types.NewText(b)}, err
}

func readBinaryRow(r *bufio.Reader) (fakeRow, error) {
	var n int16
	if err := binary.Read(r, binary.BigEndian, &n); err != nil || n < 0 {
		return fakeRow{}, errors.Join(err, io.EOF)
	}
	var vs [2]types.Datum
	for i, k := range []types.Kind{types.Int4, types.Text} {
		var l int32
		if err := binary.Read(r, binary.BigEndian, &l); err != nil {
			return fakeRow{}, err
		}
		b := make([]byte, l)
		if _, err := io.ReadFull(r, b); err != nil {
			return fakeRow{}, err
		}
		var err error
		if vs[i], err = types.ParseBinary(types.T(k), b); err != nil {
			return fakeRow{}, err
		}
	}
	return fakeRow{vs[0], vs[1]}, nil
}

func (s *fakeSession) copyOut(_ context.Context, p *fakePrepared, _ []types.Datum) (*Result, error) {
	rows := slices.Clone(s.tables[p.args[0]])
	return &Result{CopyOut: &CopyOut{Columns: 2, Run: func(_ context.Context, w io.Writer) (string, error) {
		var b bytes.Buffer
		for _, r := range rows {
			b.Reset()
			fmt.Fprintf(&b, "%d\t%s\n", r.a.I, r.b.B)
			if _, err := w.Write(b.Bytes()); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("COPY %d", len(rows)), nil
	}}}, nil
}

// subscribe never ends by itself.
func (s *fakeSession) subscribe(context.Context, *fakePrepared, []types.Datum) (*Result, error) {
	return &Result{CopyOut: &CopyOut{Columns: 1, Run: func(ctx context.Context, w io.Writer) (string, error) {
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "%d\n", i); err != nil {
				return "", err
			}
			if err := w.(Flusher).Flush(); err != nil {
				return "", err
			}
			select {
			case <-ctx.Done():
				s.e.canceled.Add(1)
				return "", ctx.Err()
			case <-time.After(5 * time.Millisecond):
			}
		}
	}}}, nil
}

func wideFields() []Field {
	return []Field{
		column("id", types.Int8), column("n", types.Int4), column("price", types.Float8), column("ok", types.Bool),
		column("at", types.Timestamp), column("day", types.Date), column("name", types.Text), column("note", types.Text),
	}
}

// wideChunk is 1,024 rows of eight columns, some NULL.
func wideChunk() *types.Chunk {
	fs := wideFields()
	ts := make([]types.Type, len(fs))
	for i, f := range fs {
		ts[i] = f.Type
	}
	ch := types.NewChunk(ts)
	for i := range 1024 {
		row := []types.Datum{
			types.NewInt8(int64(i) * 1_000_003), types.NewInt4(int32(i)), types.NewFloat8(float64(i) * 0.25), types.NewBool(i%2 == 0),
			{Type: ts[4], I: int64(i) * 123_456_789}, {Type: ts[5], I: int64(i)}, types.NewText("name of row " + strconv.Itoa(i)), types.NewText("a note"),
		}
		if i%7 == 0 {
			row[7] = types.NullOf(ts[7])
		}
		ch.AppendRow(1, row...)
	}
	return ch
}

// wideRows gives the same chunk again and again.
type wideRows struct {
	chunk *types.Chunk
	left  int // rows
}

func (r *wideRows) Next(ctx context.Context) (*types.Chunk, error) {
	if err := ctx.Err(); err != nil || r.left <= 0 {
		return nil, err
	}
	r.left -= r.chunk.N
	return r.chunk, nil
}
func (r *wideRows) Tag(n int64) string { return fmt.Sprintf("SELECT %d", n) }
func (r *wideRows) Close()             {}
