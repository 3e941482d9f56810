// Package sqltest runs the scripts of testdata/sql: against streamdb, and
// those that are plain SQL also against PostgreSQL, so that what they expect
// is known to be right.
package sqltest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/engine"
	"github.com/streamdb/streamdb/internal/slt"
	"github.com/streamdb/streamdb/internal/testpg"
	"github.com/streamdb/streamdb/internal/testserver"
)

var (
	flagMatrix = flag.Bool("sql.matrix", false, "run each script in every cell, not in one")
	flagSeed   = flag.Uint64("sql.seed", 0, "seed that chooses the cells; 0: from the clock")
)

// What a script may say in its first lines.
const (
	onlyStreamDB = "# only: streamdb"   // it is not SQL that PostgreSQL knows
	noRestart    = "# restart: never"   // its sessions keep something
	oneSystem    = "# protocol: simple" // several statements in one string
)

// cell is one way to run a script.
type cell struct {
	backend     string
	parallelism int
	extended    bool   // protocol
	restart     string // before each query: "", "restart" or "crash"
}

func (c cell) String() string {
	return fmt.Sprintf("%s,parallelism=%d,extended=%v,restart=%s", c.backend, c.parallelism, c.extended, c.restart)
}

func cells() []cell {
	var out []cell
	for _, backend := range []string{"pebble", "filesystem", "memory"} {
		for _, parallelism := range []int{1, 3} {
			for _, restart := range []string{"", "restart", "crash"} {
				for _, extended := range []bool{false, true} {
					out = append(out, cell{backend, parallelism, extended, restart})
				}
			}
		}
	}
	return out
}

// scripts are all files, by name.
func scripts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "sql", "*.slt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	out := map[string]string{}
	for _, f := range files {
		out[strings.TrimSuffix(filepath.Base(f), ".slt")] = f
	}
	return out
}

func has(t *testing.T, file, line string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), line+"\n")
}

func TestStreamDB(t *testing.T) {
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-sql.seed)", seed)
	all := cells()
	for name, file := range scripts(t) {
		chosen := all
		if !*flagMatrix {
			h := uint64(0)
			for _, b := range []byte(name) {
				h = h*31 + uint64(b)
			}
			r := rand.New(rand.NewPCG(seed, h)) // the map's order does not matter
			chosen = []cell{all[r.IntN(len(all))]}
		}
		for _, c := range chosen {
			if has(t, file, oneSystem) {
				c.extended = false
			}
			if has(t, file, noRestart) {
				c.restart = ""
			}
			t.Run(name+"/"+c.String(), func(t *testing.T) {
				t.Parallel()
				run(t, file, c)
			})
		}
	}
}

// run executes a script in one cell.
func run(t *testing.T, file string, c cell) {
	dir := t.TempDir()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	s := testserver.Start(t, testserver.Options{WorkDir: root, Config: func(cfg *engine.Config) {
		cfg.Backend, cfg.Parallelism = c.backend, c.parallelism
	}})
	opts := slt.Options{Extended: c.extended, Restart: s.Restart, Vars: map[string]string{"dir": dir, "root": root}}
	if c.restart == "crash" {
		opts.Restart = s.Crash
	}
	if c.restart != "" && flag.Lookup("rewrite").Value.String() != "true" {
		file = withRestarts(t, file)
	}
	slt.Run(t, s.DSN(), file, opts)
}

// withRestarts is a copy of a script that restarts the server before each
// query that follows a statement: its lines' numbers are higher by the
// restarts before them.
func withRestarts(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	changed := false // since the last restart
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "statement ok"), strings.HasPrefix(line, "statement count"):
			changed = true
		case strings.HasPrefix(line, "query ") && changed && i > 1 && lines[i-1] == "" && !isCondition(lines[i-2]):
			lines[i-1] = "\nrestart"
			changed = false
		}
	}
	out := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := os.WriteFile(out, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

func isCondition(line string) bool {
	return strings.HasPrefix(line, "onlyif") || strings.HasPrefix(line, "skipif")
}

func TestPostgres(t *testing.T) {
	t.Setenv("STREAMDB_PG_DSN", testpg.Start(t)) // one server, a database for each script
	for name, file := range scripts(t) {
		if has(t, file, onlyStreamDB) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			slt.Run(t, testpg.Start(t), file, slt.Options{System: slt.Postgres, Vars: map[string]string{"dir": t.TempDir()}})
		})
	}
}
