package sim

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/testserver"
)

// TestRecoveryReadsOnlyWhatIsNew proves by counters that after SIGKILL no job
// and no source reads what stands before the last checkpoint's positions.
func TestRecoveryReadsOnlyWhatIsNew(t *testing.T) {
	const (
		rows, lines, events = 64_000, 20_000, 100_000
		newRows, newLines   = 10, 7
	)
	dir := t.TempDir()
	fd, err := newFeed(filepath.Join(dir, "lines.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer fd.f.Close()
	r := rand.New(rand.NewPCG(1, 1))
	if err := fd.append(r, lines); err != nil {
		t.Fatal(err)
	}
	s := &sim{t: t, feed: fd, p: testserver.StartProcess(t, testserver.Options{CheckpointInterval: -time.Second})}
	c := testserver.Connect(t, s.p.DSN())
	for _, sql := range []string{
		"CREATE TABLE t (k int, a bigint)",
		"INSERT INTO t VALUES " + strings.TrimSuffix(strings.Repeat("(1, 2), (2, 3), (3, 5), (4, 6), ", 250), ", "),
		"INSERT INTO t SELECT k + 4, a FROM t", "INSERT INTO t SELECT k + 8, a FROM t", "INSERT INTO t SELECT k + 16, a FROM t",
		"INSERT INTO t SELECT k + 32, a FROM t", "INSERT INTO t SELECT k + 64, a FROM t", "INSERT INTO t SELECT k + 128, a FROM t",
		fmt.Sprintf("CREATE SOURCE lines (n bigint, k text, v bigint) WITH (connector = 'file', path = '%s', format = 'json')", filepath.Join(dir, "lines.jsonl")),
		fmt.Sprintf("CREATE SOURCE bids WITH (connector = 'nexmark', type = 'bid', rate = 0, events = %d, seed = 3)", events),
		"CREATE MATERIALIZED VIEW by_k WITH (parallelism = 3, state_backend = 'pebble') AS SELECT k, count(*) AS n, sum(a) AS s FROM t GROUP BY k",
		"CREATE MATERIALIZED VIEW by_key WITH (state_backend = 'filesystem') AS SELECT k, count(*) AS n, sum(v) AS s FROM lines GROUP BY k",
		"CREATE MATERIALIZED VIEW bidders WITH (state_backend = 'pebble') AS SELECT DISTINCT bidder FROM bids",
		"CREATE MATERIALIZED VIEW n_bidders WITH (state_backend = 'filesystem') AS SELECT count(*) AS n FROM bidders",
		"CREATE MATERIALIZED VIEW n_bids WITH (state_backend = 'pebble') AS SELECT count(*) AS n FROM bids",
	} {
		s.must(c, sql)
	}
	s.eventually(c, 0, "SELECT k, n, s FROM by_key", fd.sums)
	s.eventually(c, 0, "SELECT n FROM n_bids", func() []string { return []string{fmt.Sprint(events * 46 / 50)} })
	s.must(c, "CHECKPOINT")
	s.must(c, "INSERT INTO t VALUES "+strings.TrimSuffix(strings.Repeat("(1, 1), ", newRows), ", "))
	if err := fd.append(r, newLines); err != nil {
		t.Fatal(err)
	}
	s.eventually(c, 0, "SELECT k, n, s FROM by_key", fd.sums)
	bidders := s.query(c, "SELECT n FROM n_bidders")
	s.p.Kill()
	if err := s.p.Start(); err != nil {
		t.Fatal(err)
	}
	c = testserver.Connect(t, s.p.DSN())
	s.eventually(c, 1, "SELECT k, n, s FROM by_key", fd.sums)
	s.eventually(c, 1, "SELECT n FROM n_bidders", func() []string { return bidders })
	s.eventually(c, 1, "SELECT sum(n) FROM by_k", func() []string { return []string{fmt.Sprint(rows + newRows)} })
	most := map[string]int{"by_k": newRows, "by_key": newLines, "bidders": 0, "n_bidders": 0, "n_bids": 0, "lines": newLines, "bids": 0}
	counted := append(s.query(c, "SELECT name, rows_in FROM streamdb.jobs"), s.query(c, "SELECT name, events FROM streamdb.sources")...)
	for _, row := range counted {
		name, n, _ := strings.Cut(row, "|")
		i, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		if i > most[name] {
			t.Errorf("%s read %d rows after the recovery, expected at most %d", name, i, most[name])
		}
		if i == 0 && (name == "by_k" || name == "lines") {
			t.Errorf("%s has read nothing: the counters do not count", name)
		}
		delete(most, name)
	}
	if len(most) > 0 {
		t.Errorf("there are no counters of %v", most)
	}
}
