package slt

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// stub understands: "rows a|b/c|d" (NULL, and nothing for the empty string),
// "tick" (counts up from 1), "me" (the session's number), "touch n" and
// "fail code pos message".
type stub struct{ ticks atomic.Int64 }

type stubSession struct {
	e   *stub
	pid int32
}

type stubStatement string

func (s stubStatement) SQL() string { return string(s) }

// ParamTypes and Fields make it its own Prepared.
func (s stubStatement) ParamTypes() []types.Type { return nil }
func (s stubStatement) Fields() []wire.Field {
	word, rest, _ := strings.Cut(string(s), " ")
	if word == "touch" || word == "fail" {
		return nil
	}
	first, _, _ := strings.Cut(rest, "/")
	fs := make([]wire.Field, strings.Count(first, "|")+1)
	for i := range fs {
		fs[i] = wire.Field{Name: "c", Type: types.T(types.Text)}
	}
	return fs
}

type stubRows struct{ ch *types.Chunk }

func (r *stubRows) Next(context.Context) (*types.Chunk, error) {
	ch := r.ch
	r.ch = nil
	return ch, nil
}
func (r *stubRows) Tag(n int64) string { return "SELECT " + strconv.FormatInt(n, 10) }
func (r *stubRows) Close()             {}

func (e *stub) Connect(_ context.Context, s wire.Startup) (wire.Session, error) {
	return &stubSession{e, s.PID}, nil
}

func (s *stubSession) Parameters() [][2]string { return nil }
func (s *stubSession) Parse(_ context.Context, q string) ([]wire.Statement, error) {
	return []wire.Statement{stubStatement(strings.TrimSpace(q))}, nil
}
func (s *stubSession) Prepare(_ context.Context, st wire.Statement, _ []uint32) (wire.Prepared, error) {
	return st.(stubStatement), nil
}

func (s *stubSession) Execute(_ context.Context, p wire.Prepared, _ []types.Datum) (*wire.Result, error) {
	st := p.(stubStatement)
	word, rest, _ := strings.Cut(string(st), " ")
	switch word {
	case "touch":
		return &wire.Result{Tag: "UPDATE " + rest}, nil
	case "fail":
		f := strings.SplitN(rest, " ", 3)
		pos, _ := strconv.Atoi(f[1])
		return nil, pgerr.New(pgerr.Code(f[0]), "%s", f[2]).At(pos).WithHint("try harder")
	case "tick":
		rest = strconv.FormatInt(s.e.ticks.Add(1), 10)
	case "me":
		rest = strconv.Itoa(int(s.pid))
	case "rows":
	default:
		return nil, pgerr.New(pgerr.SyntaxError, "what is %q?", st)
	}
	fields := st.Fields()
	ts := make([]types.Type, len(fields))
	for i, f := range fields {
		ts[i] = f.Type
	}
	ch := types.NewChunk(ts)
	for row := range strings.SplitSeq(rest, "/") {
		var ds []types.Datum
		for v := range strings.SplitSeq(row, "|") {
			if v == "NULL" {
				ds = append(ds, types.NullOf(ts[0]))
			} else {
				ds = append(ds, types.NewText(strings.ReplaceAll(v, "~", "\n")))
			}
		}
		ch.AppendRow(1, ds...)
	}
	if string(st) == "rows" {
		ch = nil
	}
	return &wire.Result{Fields: fields, Rows: &stubRows{ch}}, nil
}

func (s *stubSession) Sync(context.Context) error { return nil }
func (s *stubSession) Fail()                      {}
func (s *stubSession) TxStatus() byte             { return 'I' }
func (s *stubSession) Close()                     {}

// serve runs a stub server until the test ends.
func serve(t *testing.T) (dsn string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := wire.NewServer(wire.Config{Engine: &stub{}})
	go s.Serve(context.Background(), l)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	return "postgres://u@" + l.Addr().String() + "/d?sslmode=disable"
}

func TestRun(t *testing.T) {
	for _, extended := range []bool{false, true} {
		restarts := 0
		Run(t, serve(t), "testdata/all.slt", Options{
			Extended: extended,
			Vars:     map[string]string{"given": "from outside"},
			Restart: func() (string, error) {
				restarts++
				return serve(t), nil
			},
		})
		if restarts != 1 {
			t.Errorf("%d restarts", restarts)
		}
	}
}

// TestPostgres shows that a script passes on the oracle too.
func TestPostgres(t *testing.T) { RunPostgres(t, "testdata/postgres.slt", Options{}) }

// TestFailures holds what a failed record says.
func TestFailures(t *testing.T) {
	for script, want := range map[string]string{
		"statement ok\nfail 22012 0 division by zero":                    "1: error 22012: division by zero\nHINT: try harder",
		"statement count 2\ntouch 3":                                     "1: 3 rows were touched, expected 2 (UPDATE 3)",
		"\n\nstatement error 42601\ntouch 3":                             "3: it succeeded, expected error 42601",
		"statement error 42601\nfail 42703 8 no column":                  "1: expected error 42601, got error 42703: no column\nHINT: try harder (pos 8)",
		"statement error 42703 pos 9\nfail 42703 8 no column":            "1: expected the error at position 9, got it at 8: no column",
		"query error 42703 pos 8 no table\nfail 42703 8 no column":       "1: the error does not match \"no table\": no column\nHINT: try harder",
		"query II\nrows 1|2\n----\n2|1":                                  "1: unexpected rows of\n    rows 1|2\nexpected:\n    2|1\ngot:\n    1|2",
		"query I\nrows 1|2\n----":                                        "1: the query has 2 columns, the record says \"I\"",
		"query I eventually 30ms\nrows 1\n----\n2":                       "1: unexpected rows of\n    rows 1\nexpected:\n    2\ngot:\n    1",
		"query I\nrows 1\n----\n\nquery I rowsort\nrows 2/1\n----\n2\n1": "1: unexpected rows of\n    rows 1\nexpected:\n    (no rows)\ngot:\n    1",
	} {
		recs, err := parse(script)
		if err != nil {
			t.Errorf("%q: %v", script, err)
			continue
		}
		r := newRunner(serve(t), Options{}, t.Logf)
		if got := strings.Join(r.run(recs, false), "\n"); got != want {
			t.Errorf("%q\ngot:\n%s\nwant:\n%s", script, got, want)
		}
		r.close()
	}
}

func TestParseErrors(t *testing.T) {
	for script, want := range map[string]string{
		"statement maybe\nx":               "1: a statement is ok, count N or error SQLSTATE",
		"\nstatement ok\n":                 "2: no SQL follows",
		"statement ok\nrows 1\n----\n1":    "1: a statement has no rows, use query",
		"query I\nrows 1":                  "1: a query needs a line ---- and its rows",
		"query I sideways\nrows 1\n----":   "1: unknown modifier \"sideways\"",
		"statement error oops\nx":          "1: error needs a SQLSTATE, not \"oops\"",
		"onlyif mysql":                     "1: onlyif needs streamdb or postgres",
		"skipif postgres":                  "1: onlyif or skipif without a record",
		"hash-threshold 8":                 "1: unknown directive \"hash-threshold\"",
		"connection":                       "1: wrong number of words",
		"set x":                            "1: set needs a name and a value",
		"query I eventually soon\nx\n----": "1: time: invalid duration \"soon\"",
	} {
		if _, err := parse(script); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", script, err, want)
		}
	}
}

// TestRewrite fills in rows and leaves all else as it was.
func TestRewrite(t *testing.T) {
	const before = "# a comment\nquery TT rowsort\nrows 2|b/1|a\n----\nold\n\nonlyif postgres\nquery T\nrows x\n----\nkept\n\n" +
		"query T\nrows\n----\ngone\n\nstatement ok\ntouch 1\n\nquery T\nrows NULL/\n----"
	const after = "# a comment\nquery TT rowsort\nrows 2|b/1|a\n----\n1|a\n2|b\n\nonlyif postgres\nquery T\nrows x\n----\nkept\n\n" +
		"query T\nrows\n----\n\nstatement ok\ntouch 1\n\nquery T\nrows NULL/\n----\nNULL\n(empty)\n"
	recs, err := parse(before)
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(serve(t), Options{}, t.Logf)
	defer r.close()
	if fs := r.run(recs, true); len(fs) > 0 {
		t.Fatal(fs)
	}
	got := format(before, recs)
	if got != after {
		t.Errorf("got:\n%s\nwant:\n%s", got, after)
	}
	file := filepath.Join(t.TempDir(), "again.slt")
	if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, serve(t), file, Options{})
}
