package sqltest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/streamdb/streamdb/internal/testserver"
)

// TestExamples runs the scripts of examples/: with psql where there is one,
// else statement by statement.
func TestExamples(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "examples", "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Log("psql is not installed: the scripts run over the simple protocol")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			s := testserver.Start(t, testserver.Options{WorkDir: root})
			if psql != "" {
				runPsql(t, psql, s.DSN(), file)
			} else {
				runSimple(t, s.DSN(), file)
			}
		})
	}
}

const exampleTimeout = time.Minute

func runPsql(t *testing.T, psql, dsn, file string) {
	ctx, cancel := context.WithTimeout(context.Background(), exampleTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, psql, "-X", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", file)
	cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=10")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	check(t, file, string(out))
}

func runSimple(t *testing.T, dsn, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), exampleTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	var out strings.Builder
	// Each statement ends a line with its semicolon.
	for sql := range strings.SplitSeq(string(text), ";\n") {
		results, err := c.PgConn().Exec(ctx, sql).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		for _, r := range results {
			for _, row := range r.Rows {
				for _, v := range row {
					out.WriteString(" " + string(v) + " |")
				}
				out.WriteString("\n")
			}
		}
	}
	check(t, file, out.String())
}

// shown are answers that a script must have shown, whatever the client's form
// of a table is.
var shown = map[string][]string{
	"step1_walls.sql":   {"ann | 1 | 30 |", "bob | 1 | 100 | 100", "Oslo | 2 | 35", "Rome | 1 | 100"},
	"step2_durable.sql": {"Apple | a customer asked", "Google | a second one"},
	"step3_saved.sql":   {"ann | 90", "bob | 130", "ann | 0", "cleo | 5"},
	"step4_proof.sql":   {},
}

func check(t *testing.T, file, out string) {
	t.Helper()
	plain := strings.Join(strings.Fields(out), " ")
	for _, want := range shown[filepath.Base(file)] {
		if !strings.Contains(plain, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}
