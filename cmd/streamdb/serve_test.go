package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// run runs a command line and gives its output.
func run(ctx context.Context, out io.Writer, args ...string) error {
	root := newRoot(out)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"serve", "--data-dir"},
		{"serve --data-dir x --speed 9", "unknown flag: --speed"},
		{"serve --data-dir x extra", "unknown command"},
		{"fly", "unknown command"},
		{"serve --data-dir x --parallelism 0", "--parallelism"},
		{"serve --data-dir x --state-backend disk", "unknown state backend"},
		{"serve --data-dir x --listen 0.0.0.0:4577", "not a loopback address"},
		{"serve --data-dir x --listen nonsense", "--listen"},
		{"serve --data-dir x --log-level loud", "--log-level"},
		{"serve --data-dir x --checkpoint-interval 0s", "--checkpoint-interval"},
	} {
		err := run(t.Context(), io.Discard, strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
			continue
		}
		var b bytes.Buffer
		if explain(&b, err); !strings.Contains(b.String(), "streamdb: ") {
			t.Errorf("%s: %q", c.args, b.String())
		}
	}
}

func TestVersion(t *testing.T) {
	var b bytes.Buffer
	if err := run(t.Context(), &b, "version", "--json"); err != nil {
		t.Fatal(err)
	}
	var v versionInfo
	if err := json.Unmarshal(b.Bytes(), &v); err != nil || v.Go == "" || v.Version == "" {
		t.Fatal(b.String(), err)
	}
}

// TestServe starts a server, writes, stops it, and finds it all again. A
// second server on the same directory is refused meanwhile.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	start := func() (url string, stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- run(ctx, w, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--log-level", "error")
			w.Close()
		}()
		line, err := bufio.NewReader(r).ReadString('\n')
		if err != nil {
			t.Fatal(<-done)
		}
		go io.Copy(io.Discard, r)
		addr := strings.TrimSpace(strings.TrimPrefix(line, "streamdb listens on "))
		return "postgres://postgres@" + addr + "/postgres?sslmode=disable", func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the server does not stop")
			}
		}
	}
	query := func(url, q string) (n int64) {
		c, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		rows, err := c.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
		return n
	}
	url, stop := start()
	query(url, "CREATE TABLE t (n bigint)")
	query(url, "CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM t")
	query(url, "INSERT INTO t VALUES (1), (2)")
	err := run(t.Context(), io.Discard, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "in use by another server") {
		t.Errorf("a second server: %v", err)
	}
	stop()
	url, stop = start()
	if n := query(url, "SELECT * FROM v"); n != 2 {
		t.Errorf("%d rows after a restart", n)
	}
	stop()
}
