package engine

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamdb/streamdb/wire"
)

// serveTest serves an engine on a free port and gives its URL.
func serveTest(t *testing.T, en *Engine) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := wire.NewServer(wire.Config{Engine: en})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("postgres://streamdb@%s/streamdb?sslmode=disable", l.Addr())
}

// TestPgx runs a client library through all of its ways to query.
func TestPgx(t *testing.T) {
	url := serveTest(t, newEngine(t))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		cfg, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		cfg.DefaultQueryExecMode = mode
		c, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		testPgx(ctx, t, c, fmt.Sprintf("t%d", i))
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

func testPgx(ctx context.Context, t *testing.T, c *pgx.Conn, table string) {
	t.Helper()
	exec := func(q string, args ...any) pgconn.CommandTag {
		t.Helper()
		tag, err := c.Exec(ctx, q, args...)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		return tag
	}
	exec("CREATE TABLE " + table + " (id bigint PRIMARY KEY, a text, f double precision, at timestamptz, b boolean)")
	at := time.Date(2024, 2, 29, 12, 0, 0, 123000, time.UTC)
	ins := "INSERT INTO " + table + " VALUES ($1, $2, $3, $4, $5)"
	for i := range 5 {
		if tag := exec(ins, int64(i), fmt.Sprint("a", i), 1.5*float64(i), at, i%2 == 0); tag.RowsAffected() != 1 {
			t.Fatal(tag)
		}
	}
	for range 3 { // as prepared and cached
		var a string
		var f float64
		var got time.Time
		err := c.QueryRow(ctx, "SELECT a, f, at FROM "+table+" WHERE id = $1", int64(3)).Scan(&a, &f, &got)
		if err != nil || a != "a3" || f != 4.5 || !got.Equal(at) {
			t.Fatal(a, f, got, err)
		}
		var n int64
		err = c.QueryRow(ctx, "SELECT count(*) FROM "+table+" WHERE f > $1 AND a <> $2", 1.0, "a2").Scan(&n)
		if err != nil || n != 3 {
			t.Fatal(n, err)
		}
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := tx.Begin(ctx) // SAVEPOINT
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Exec(ctx, "DELETE FROM "+table); err != nil {
		t.Fatal(err)
	}
	if err := sub.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	testPgxBulk(ctx, t, c, table, ins, at)
}

// testPgxBulk runs batches, COPY, and queries that end early.
func testPgxBulk(ctx context.Context, t *testing.T, c *pgx.Conn, table, ins string, at time.Time) {
	t.Helper()
	b := &pgx.Batch{} // one implicit transaction
	b.Queue("UPDATE "+table+" SET a = $1 WHERE id = $2", "batch", int64(1))
	b.Queue(ins, int64(2), "dup", 0.0, at, true)
	if err := c.SendBatch(ctx, b).Close(); err == nil {
		t.Fatal("a duplicate key was taken")
	}
	var a string
	if err := c.QueryRow(ctx, "SELECT a FROM "+table+" WHERE id = 1").Scan(&a); err != nil || a != "a1" {
		t.Fatal(a, err)
	}
	var rows [][]any
	for i := range 3000 {
		rows = append(rows, []any{int64(100 + i), "copied", nil, at, nil})
	}
	n, err := c.CopyFrom(ctx, pgx.Identifier{table}, []string{"id", "a", "f", "at", "b"}, pgx.CopyFromRows(rows))
	if err != nil || n != 3000 {
		t.Fatal(n, err)
	}
	got, err := c.Query(ctx, "SELECT id, f FROM "+table+" WHERE a = 'copied' ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	want := int64(100)
	for got.Next() {
		var id int64
		var f *float64
		if err := got.Scan(&id, &f); err != nil || id != want || f != nil {
			t.Fatal(id, f, err)
		}
		want++
	}
	if got.Err() != nil || want != 3100 {
		t.Fatal(want, got.Err())
	}
	// A query that is left early, and one that is cancelled.
	got, err = c.Query(ctx, "SELECT * FROM "+table)
	if err != nil || !got.Next() {
		t.Fatal(err)
	}
	got.Close()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = c.Exec(short, "SELECT max(x.id + y.id) FROM "+table+" x JOIN "+table+" y ON x.a = y.a")
	if err == nil {
		t.Error("a join of millions of rows took no time")
	}
}
