package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v2 "github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
)

func dsnOf(addr, params string) string {
	return "postgres://streamdb@" + addr + "/streamdb?sslmode=disable" + params
}

func connectPgx(t testing.TB, addr, params string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, dsnOf(addr, params))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

var pgxModes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

func TestPgxModes(t *testing.T) {
	_, addr := startServer(t, Config{})
	for _, mode := range pgxModes {
		t.Run(mode.String(), func(t *testing.T) { testPgxMode(t, addr, mode) })
	}
}

func testPgxMode(t *testing.T, addr string, mode pgx.QueryExecMode) {
	ctx := context.Background()
	c := connectPgx(t, addr, "")
	for i := range 3 { // the second time is from the statement cache
		var n int
		if mode != pgx.QueryExecModeSimpleProtocol {
			if err := c.QueryRow(ctx, "select $1::int+1", mode, i).Scan(&n); err != nil || n != i+1 {
				t.Fatal(n, err)
			}
		}
		if err := c.QueryRow(ctx, "select generate_series(1, 7)", mode).Scan(&n); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		rows, err := c.Query(ctx, "select generate_series(1, 7)", mode)
		if err != nil {
			t.Fatal(err)
		}
		if ns, err := pgx.CollectRows(rows, pgx.RowTo[int]); err != nil || !slices.Equal(ns, []int{1, 2, 3, 4, 5, 6, 7}) {
			t.Fatal(ns, err)
		}
	}
	if err := c.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	_, err := c.Exec(ctx, "select nosuch", mode)
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != "42703" || pe.Position != 8 || pe.Severity != "ERROR" || pe.SeverityUnlocalized != "ERROR" {
		t.Fatalf("%v", err)
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "select 1", mode); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestValues sends each type back and forth in both formats.
func TestValues(t *testing.T) {
	_, addr := startServer(t, Config{})
	ctx := context.Background()
	c := connectPgx(t, addr, "")
	at := time.Date(2024, 2, 29, 12, 34, 56, 789_000, time.UTC)
	for typ, want := range map[string]any{
		"bool": true, "int4": int32(-42), "int8": int64(1) << 60, "float8": 1.5e-300, "text": "naïve 'quoted' \U0001F600",
		"date": at.Truncate(24 * time.Hour), "timestamp": at, "timestamptz": at,
	} {
		for _, mode := range pgxModes[:4] {
			for _, format := range []int16{pgx.TextFormatCode, pgx.BinaryFormatCode} {
				var got any
				rows, err := c.Query(ctx, "select $1::"+typ, mode, pgx.QueryResultFormats{format}, want)
				if err == nil {
					if rows.Next() {
						var vs []any
						vs, err = rows.Values()
						got = vs[0]
					}
					rows.Close()
					err = errors.Join(err, rows.Err())
				}
				if g, ok := got.(time.Time); ok {
					got = g.UTC()
				}
				if err != nil || got != want {
					t.Errorf("%s in %v, format %d: %v (%T), %v; want %v (%T)", typ, mode, format, got, got, err, want, want)
				}
			}
		}
	}
	for _, mode := range pgxModes[:4] {
		var n, null pgtype.Numeric
		var iv pgtype.Interval
		in := pgtype.Interval{Months: 14, Days: 3, Microseconds: 4_000_005, Valid: true}
		err := errors.Join(c.QueryRow(ctx, "select $1::numeric", mode, "-12345678901234567890.0100").Scan(&n),
			c.QueryRow(ctx, "select $1::numeric", mode, nil).Scan(&null),
			c.QueryRow(ctx, "select $1::interval", mode, in).Scan(&iv))
		text, _ := n.Value()
		if err != nil || text != "-12345678901234567890.0100" || null.Valid || iv != in {
			t.Errorf("%v: %v %v %v, %v", mode, text, null, iv, err)
		}
	}
}

func TestPgxBatchAndCopy(t *testing.T) {
	_, addr := startServer(t, Config{})
	ctx := context.Background()
	c := connectPgx(t, addr, "")
	if _, err := c.Exec(ctx, "create temp table z (a int, b text)"); err != nil {
		t.Fatal(err)
	}
	b := &pgx.Batch{}
	b.Queue("insert into z values ($1, $2)", 1, "one")
	b.Queue("insert into z values ($1, $2)", 2, "two")
	b.Queue("select a, b from z")
	if err := c.SendBatch(ctx, b).Close(); err != nil {
		t.Fatal(err)
	}
	rows := make([][]any, 10_000)
	for i := range rows {
		rows[i] = []any{int32(i), strings.Repeat("x", i%100)}
	}
	n, err := c.CopyFrom(ctx, pgx.Identifier{"z"}, []string{"a", "b"}, pgx.CopyFromRows(rows))
	if err != nil || n != 10_000 {
		t.Fatal(n, err)
	}
	var out strings.Builder
	tag, err := c.PgConn().CopyTo(ctx, &out, "copy z to stdout")
	if err != nil || tag.RowsAffected() != 10_002 || strings.Count(out.String(), "\n") != 10_002 {
		t.Fatal(tag, err)
	}
}

func TestSqlx(t *testing.T) {
	_, addr := startServer(t, Config{})
	db, err := sqlx.Connect("pgx", dsnOf(addr, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	db.MustExec("create temp table z (a int, b text)")
	tx := db.MustBegin()
	if _, err := tx.NamedExec("insert into z values (:a, :b)", map[string]any{"a": 1, "b": "one"}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var got []struct {
		A int
		B string
	}
	if err := db.Select(&got, "select a, b from z"); err != nil || len(got) != 1 || got[0].B != "one" {
		t.Fatal(got, err)
	}
}

// TestTools runs psql and pgbench, where there are.
func TestTools(t *testing.T) {
	_, addr := startServer(t, Config{})
	host, port, _ := net.SplitHostPort(addr)
	run := func(t *testing.T, name string, args ...string) string {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("%s is not installed; it comes with PostgreSQL's client package", name)
		}
		args = append([]string{"-h", host, "-p", port, "-U", "streamdb"}, args...)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	t.Run("psql", func(t *testing.T) {
		got := run(t, "psql", "-X", "-At", "-d", "streamdb", "-c", "create temp table z (a int, b text)",
			"-c", "insert into z values (1, 'one')", "-c", "copy z to stdout", "-c", "select a, b from z; select 2", "-c", "select null::int")
		if want := "CREATE TABLE\nINSERT 0 1\n1\tone\n1|one\n2\n\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	script := filepath.Join(t.TempDir(), "s.sql")
	writeFile(t, script, "\\set x random(1, 100)\nbegin;\nselect :x::int + 1;\ncommit;\n")
	for _, mode := range []string{"simple", "extended", "prepared"} {
		t.Run("pgbench "+mode, func(t *testing.T) {
			out := run(t, "pgbench", "-n", "-M", mode, "-f", script, "-c", "4", "-t", "50", "streamdb")
			if !strings.Contains(out, "200/200") {
				t.Error(out)
			}
		})
	}
}

// TestOtherCodec talks through an independent implementation of the
// protocol's client side.
func TestOtherCodec(t *testing.T) {
	_, addr := startServer(t, Config{})
	nc := dial(t, addr)
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	fe := v2.NewFrontend(v2.NewChunkReader(nc), nc)
	send := func(ms ...v2.FrontendMessage) {
		for _, m := range ms {
			if err := fe.Send(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	until := func(ready int) (got []string) {
		for ready > 0 {
			m, err := fe.Receive()
			if err != nil {
				t.Fatal(err, got)
			}
			s := strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3.")
			switch m := m.(type) {
			case *v2.ParameterStatus:
				continue
			case *v2.DataRow:
				s += fmt.Sprintf("%q", m.Values)
			case *v2.CommandComplete:
				s += " " + string(m.CommandTag)
			case *v2.ErrorResponse:
				s += " " + m.Code
			case *v2.ReadyForQuery:
				s += string(m.TxStatus)
				ready--
			}
			got = append(got, s)
		}
		return got
	}
	expect := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	send(&v2.StartupMessage{ProtocolVersion: v2.ProtocolVersionNumber, Parameters: map[string]string{"user": "streamdb"}})
	expect(until(1), "AuthenticationOk", "BackendKeyData", "ReadyForQueryI")
	send(&v2.Query{String: "select 1; select generate_series(1,2)"})
	expect(until(1), "RowDescription", `DataRow["1"]`, "CommandComplete SELECT 1", "RowDescription",
		`DataRow["1"]`, `DataRow["2"]`, "CommandComplete SELECT 2", "ReadyForQueryI")
	send(&v2.Parse{Name: "s", Query: "select $1::int+1"}, &v2.Describe{ObjectType: 'S', Name: "s"},
		&v2.Bind{PreparedStatement: "s", ParameterFormatCodes: []int16{1}, Parameters: [][]byte{{0, 0, 0, 9}}},
		&v2.Execute{}, &v2.Close{ObjectType: 'S', Name: "s"}, &v2.Sync{}, &v2.Bind{PreparedStatement: "s"}, &v2.Sync{})
	expect(until(2), "ParseComplete", "ParameterDescription", "RowDescription", "BindComplete", `DataRow["10"]`,
		"CommandComplete SELECT 1", "CloseComplete", "ReadyForQueryI", "ErrorResponse 26000", "ReadyForQueryI")
	send(&v2.Query{String: "create temp table z (a int, b text)"}, &v2.Query{String: "copy z from stdin"},
		&v2.CopyData{Data: []byte("1\tx\n")}, &v2.CopyDone{}, &v2.Query{String: "copy z to stdout"}, &v2.FunctionCall{Function: 1}, &v2.Terminate{})
	expect(until(4), "CommandComplete CREATE TABLE", "ReadyForQueryI", "CopyInResponse", "CommandComplete COPY 1", "ReadyForQueryI",
		"CopyOutResponse", "CopyData", "CopyDone", "CommandComplete COPY 1", "ReadyForQueryI", "ErrorResponse 0A000", "ReadyForQueryI")
}
