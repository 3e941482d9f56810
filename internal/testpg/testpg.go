// Package testpg gives tests a PostgreSQL to compare with: the server that
// STREAMDB_PG_DSN names, or else a throwaway one from installed binaries.
package testpg

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const howTo = "install PostgreSQL 15 (initdb and postgres in PATH or /usr/lib/postgresql), or set STREAMDB_PG_DSN to a superuser's connection string"

var databases atomic.Int64

// Start gives the connection string of an empty database: collation C, UTF-8,
// UTC. It goes with the test. Without PostgreSQL the test is skipped, or with
// STREAMDB_REQUIRE_PG=1 fails.
func Start(t testing.TB) (dsn string) {
	t.Helper()
	admin := os.Getenv("STREAMDB_PG_DSN")
	if admin == "" {
		bin := binaries()
		if bin == "" {
			if os.Getenv("STREAMDB_REQUIRE_PG") == "1" {
				t.Fatal("STREAMDB_REQUIRE_PG=1, but there is no PostgreSQL: " + howTo)
			}
			t.Skip("no PostgreSQL to compare with: " + howTo)
		}
		admin = start(t, bin)
	}
	return createDatabase(t, admin)
}

// createDatabase makes a database that goes with the test.
func createDatabase(t testing.TB, admin string) string {
	t.Helper()
	name := fmt.Sprintf("streamdb_test_%d_%d", os.Getpid(), databases.Add(1))
	exec := func(sql string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		c, err := pgx.Connect(ctx, admin)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		_, err = c.Exec(ctx, sql)
		return err
	}
	if err := exec("CREATE DATABASE " + name + " TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	cfg, err := pgx.ParseConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("host='%s' port=%d user='%s' password='%s' dbname='%s' TimeZone=UTC IntervalStyle=postgres DateStyle=ISO",
		cfg.Host, cfg.Port, cfg.User, cfg.Password, name)
}

// binaries is the folder of the newest installation, "" if there is none.
func binaries() string {
	if p, err := exec.LookPath("initdb"); err == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(p), "postgres")); err == nil {
			return filepath.Dir(p)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well-formed
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[0])
}

func version(initdb string) int {
	v, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	if err != nil {
		return 0
	}
	return v
}

// start runs a server on a directory of its own, at a Unix socket there, until
// the test ends.
func start(t testing.TB, bin string) (dsn string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "streamdb-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "--auth=trust",
		"--locale=C", "--encoding=UTF8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	serve(t, dir, attr, filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "timezone=UTC",
		"-c", "log_timezone=UTC", "-c", "autovacuum=off", "-c", "log_min_messages=fatal", "-c", "jit=off")
	dsn = "host=" + dir + " user=postgres dbname=postgres"
	deadline := time.Now().Add(30 * time.Second)
	for {
		c, err := pgx.Connect(context.Background(), dsn)
		if err == nil {
			c.Close(context.Background())
			return dsn
		}
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// serve runs PostgreSQL under a shell that ends it when its standard input
// does: so it does not outlive a test that dies.
func serve(t testing.TB, dir string, attr *syscall.SysProcAttr, command ...string) {
	const script = `"$@" </dev/null & p=$!; read -r line; kill -INT $p; wait $p`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, command...)...)
	cmd.Dir, cmd.SysProcAttr = dir, attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // the shell passes on how PostgreSQL ended by a signal
		if t.Failed() && log.Len() > 0 {
			t.Logf("PostgreSQL's log:\n%s", log.String())
		}
	})
}

// unprivileged gives dir to the user postgres and says how to run as that
// user, if we are root; PostgreSQL refuses to run as root.
func unprivileged(t testing.TB, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("PostgreSQL does not run as root, and there is no user postgres: %v", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		t.Fatalf("user postgres has the ids %q and %q", u.Uid, u.Gid)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
