// Package slt runs sqllogictest-style scripts over the wire, so that one file
// of SQL and expected rows tests both streamdb and, as its oracle,
// PostgreSQL. See Run for the language.
package slt

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/cockroachdb/datadriven" // defines -rewrite, which both share
	"github.com/jackc/pgx/v5/pgconn"
)

// The systems that skipif and onlyif name.
const (
	StreamDB = "streamdb"
	Postgres = "postgres"
)

// Options say how a script runs. The zero value is right for most.
type Options struct {
	System string // StreamDB (the default) or Postgres

	// Restart serves the restart directive: it restarts the server under test
	// and gives its address, which may be a new one. Without it such scripts
	// are skipped from there on.
	Restart func() (dsn string, err error)

	Vars     map[string]string // what ${name} in SQL stands for
	Extended bool              // the extended protocol instead of the simple one
	Timeout  time.Duration     // of a statement; default 60 s
}

// Run executes the script in file against the server at dsn and reports each
// difference as an error of t. With -rewrite it writes what the server
// answers into the file instead.
//
// A script is records and directives, set apart by empty lines; a line that
// starts with # is a comment.
//
//	statement ok                            the lines below are SQL that succeeds
//	statement count 3                       … and touches 3 rows
//	statement error 42703 [pos 8] [regexp]  … and fails: SQLSTATE, position in characters, and what message, detail and hint contain
//	query IT [rowsort|valuesort|nosort] [eventually 5s]
//	SELECT …                                as many letters as columns (any letter: they are for the reader)
//	----
//	1|x                                     a row a line, as psql -A prints it, but NULL as NULL,
//	2|(empty)                               the empty string as (empty), a line break as \n
//	query error 22012 [pos 8] [regexp]      like statement error
//	skipif postgres, onlyif streamdb        concern the next record or directive
//	connection NAME                         the records below are this session's; the first is called default
//	restart                                 the server, and with it all sessions
//	set NAME VALUE                          ${NAME} in the SQL below
//	echo TEXT                               goes to the test's log
//	halt                                    ends the script
//
// rowsort and valuesort sort rows or single values, expected and actual, by
// bytes; eventually repeats the query until the rows are as expected or the
// time is over.
func Run(t *testing.T, dsn, file string, opts Options) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	records, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s:%v", file, err)
	}
	rewrite := flag.Lookup("rewrite").Value.String() == "true"
	r := newRunner(dsn, opts, t.Logf)
	defer r.close()
	for _, f := range r.run(records, rewrite) {
		t.Errorf("%s:%s", file, f)
	}
	if rewrite {
		if err := os.WriteFile(file, []byte(format(string(text), records)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// RunPostgres executes the script in file against the PostgreSQL that
// STREAMDB_PG_DSN names, in a database of its own, and skips the test if
// there is none.
func RunPostgres(t *testing.T, file string, opts Options) {
	t.Helper()
	dsn := os.Getenv("STREAMDB_PG_DSN")
	if dsn == "" {
		t.Skip("set STREAMDB_PG_DSN to run the scripts against PostgreSQL")
	}
	ctx := context.Background()
	admin, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	db := fmt.Sprintf("slt_%d_%d", os.Getpid(), time.Now().UnixNano())
	exec := func(sql string) {
		if _, err := admin.Exec(ctx, sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("CREATE DATABASE " + db + " TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8'")
	defer exec("DROP DATABASE " + db + " WITH (FORCE)")
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	opts.System = Postgres
	Run(t, fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s TimeZone=UTC", cfg.Host, cfg.Port, cfg.User, cfg.Password, db), file, opts)
}

// runner executes records.
type runner struct {
	dsn     string
	opts    Options
	logf    func(format string, args ...any)
	conns   map[string]*pgconn.PgConn
	current string
	vars    map[string]string
}

func newRunner(dsn string, opts Options, logf func(string, ...any)) *runner {
	if opts.System == "" {
		opts.System = StreamDB
	}
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute
	}
	vars := map[string]string{}
	for k, v := range opts.Vars {
		vars[k] = v
	}
	return &runner{dsn: dsn, opts: opts, logf: logf, conns: map[string]*pgconn.PgConn{}, current: "default", vars: vars}
}

// run executes the records and gives what went wrong, each with its line.
func (r *runner) run(records []*record, rewrite bool) (failures []string) {
	for _, rec := range records {
		if rec.only != "" && rec.only != r.opts.System || rec.skip == r.opts.System {
			continue
		}
		if rec.kind == kindHalt {
			break
		}
		if rec.kind == kindRestart && r.opts.Restart == nil {
			r.logf("line %d: no way to restart the server here: the rest is skipped", rec.line)
			break
		}
		if err := r.record(rec, rewrite); err != nil {
			failures = append(failures, fmt.Sprintf("%d: %v", rec.line, err))
		}
	}
	return failures
}

func (r *runner) record(rec *record, rewrite bool) error {
	switch rec.kind {
	case kindConnection:
		r.current = rec.arg
		return nil
	case kindEcho:
		r.logf("%s", r.expand(rec.arg))
		return nil
	case kindSet:
		name, value, _ := strings.Cut(rec.arg, " ")
		r.vars[name] = r.expand(strings.TrimSpace(value))
		return nil
	case kindRestart:
		r.close()
		dsn, err := r.opts.Restart()
		r.dsn = dsn
		return err
	case kindStatement:
		return r.statement(rec)
	default:
		return r.query(rec, rewrite)
	}
}

var variable = regexp.MustCompile(`\$\{(\w+)\}`)

// expand puts variables in; what is none stays.
func (r *runner) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(m string) string {
		if v, ok := r.vars[m[2:len(m)-1]]; ok {
			return v
		}
		return m
	})
}

func (r *runner) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for name, c := range r.conns {
		c.Close(ctx)
		delete(r.conns, name)
	}
}

// exec runs SQL on the current session and gives its last result, in text.
func (r *runner) exec(sql string) (*result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.opts.Timeout)
	defer cancel()
	c := r.conns[r.current]
	if c == nil || c.IsClosed() {
		var err error
		if c, err = pgconn.Connect(ctx, r.dsn); err != nil {
			return nil, err
		}
		r.conns[r.current] = c
	}
	sql = r.expand(sql)
	if r.opts.Extended {
		return read(c.ExecParams(ctx, sql, nil, nil, nil, nil))
	}
	last := &result{}
	all := c.Exec(ctx, sql)
	for all.NextResult() {
		res, err := read(all.ResultReader())
		if err != nil {
			break // Close gives it too
		}
		last = res
	}
	return last, all.Close()
}

// result is what a statement gave, in text.
type result struct {
	columns int
	rows    [][][]byte
	tag     pgconn.CommandTag
}

func read(rr *pgconn.ResultReader) (*result, error) {
	res := &result{}
	for rr.NextRow() {
		row := make([][]byte, len(rr.Values()))
		for i, v := range rr.Values() {
			row[i] = bytes.Clone(v)
		}
		res.rows = append(res.rows, row)
	}
	res.columns = len(rr.FieldDescriptions()) // also when there are no rows
	var err error
	res.tag, err = rr.Close()
	return res, err
}

func (r *runner) statement(rec *record) error {
	res, err := r.exec(rec.sql)
	if rec.fails != nil {
		return rec.fails.check(err)
	}
	if err != nil {
		return describe(err)
	}
	if n := res.tag.RowsAffected(); rec.count >= 0 && n != rec.count {
		return fmt.Errorf("%d rows were touched, expected %d (%s)", n, rec.count, res.tag)
	}
	return nil
}

func (r *runner) query(rec *record, rewrite bool) error {
	if rec.fails != nil {
		_, err := r.exec(rec.sql)
		return rec.fails.check(err)
	}
	deadline := time.Now().Add(rec.eventually)
	for {
		got, err := r.rows(rec)
		if err == nil && !slices.Equal(got, rec.sorted(rec.expected)) {
			err = fmt.Errorf("unexpected rows of\n%s\nexpected:\n%s\ngot:\n%s", indent(rec.sql), indentRows(rec.sorted(rec.expected)), indentRows(got))
		}
		if err == nil {
			return nil
		}
		if time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if rewrite && got != nil {
			rec.expected = got
			return nil
		}
		return err
	}
}

// rows runs the query and gives its rows as the script writes them, sorted
// as it wants; nil with an error.
func (r *runner) rows(rec *record) ([]string, error) {
	res, err := r.exec(rec.sql)
	if err != nil {
		return nil, describe(err)
	}
	if n := res.columns; n != len(rec.types) {
		return nil, fmt.Errorf("the query has %d columns, the record says %q", n, rec.types)
	}
	rows := make([]string, 0, len(res.rows))
	for _, values := range res.rows {
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = formatValue(v)
		}
		if rec.sort == "valuesort" {
			rows = append(rows, texts...)
		} else {
			rows = append(rows, strings.Join(texts, "|"))
		}
	}
	return rec.sorted(rows), nil
}

func formatValue(v []byte) string {
	switch {
	case v == nil:
		return "NULL"
	case len(v) == 0:
		return "(empty)"
	default:
		return strings.ReplaceAll(string(v), "\n", `\n`)
	}
}

// describe is an error as a failed test shows it.
func describe(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	s := fmt.Sprintf("error %s: %s", e.Code, message(e))
	if e.Position != 0 {
		s += fmt.Sprintf(" (pos %d)", e.Position)
	}
	return errors.New(s)
}

// message is what the regexp of an expected error is held against.
func message(e *pgconn.PgError) string {
	s := e.Message
	if e.Detail != "" {
		s += "\nDETAIL: " + e.Detail
	}
	if e.Hint != "" {
		s += "\nHINT: " + e.Hint
	}
	return s
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

func indentRows(rows []string) string {
	if len(rows) == 0 {
		return "    (no rows)"
	}
	return indent(strings.Join(rows, "\n"))
}
