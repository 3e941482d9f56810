package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamdb/streamdb/internal/testserver"
)

var (
	flagKills = flag.Int("sim.kills", 4, "how often the server is killed under load")
	flagSeed  = flag.Uint64("sim.seed", 0, "seed; 0: from the clock")
)

func TestMain(m *testing.M) { testserver.Main(m) }

const writers = 3

// sim is a server under load, and what must be in it.
type sim struct {
	t       *testing.T
	p       *testserver.Process
	seed    uint64
	ledgers []*ledger
	feed    *feed
	out     string // the sinks' directory
	acked   atomic.Int64
	admin   atomic.Int64
}

func setup(dir string) []string {
	return []string{
		"CREATE TABLE entries (writer int, seq bigint, amount bigint, PRIMARY KEY (writer, seq))",
		"CREATE TABLE keys (k text PRIMARY KEY, class int)",
		"INSERT INTO keys VALUES ('k0', 0), ('k1', 1), ('k2', 0), ('k3', 1), ('k4', 0)",
		fmt.Sprintf("CREATE SOURCE lines (n bigint, k text, v bigint) WITH (connector = 'file', path = '%s', format = 'json')", filepath.Join(dir, "lines.jsonl")),
		"CREATE SOURCE bids WITH (connector = 'nexmark', type = 'bid', rate = 4000, seed = 3)",
		"CREATE MATERIALIZED VIEW by_writer WITH (parallelism = 3) AS SELECT writer, count(*) AS n, sum(amount) AS s, max(seq) AS m FROM entries GROUP BY writer",
		"CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n, sum(s) AS s FROM by_writer",
		"CREATE MATERIALIZED VIEW amounts WITH (state_backend = 'filesystem') AS SELECT DISTINCT amount % 10 AS a FROM entries",
		"CREATE MATERIALIZED VIEW by_key WITH (parallelism = 2) AS SELECT k, count(*) AS n, sum(v) AS s FROM lines GROUP BY k",
		"CREATE MATERIALIZED VIEW by_class WITH (state_backend = 'filesystem') AS SELECT class, count(*) AS n, sum(v) AS s FROM lines JOIN keys ON lines.k = keys.k GROUP BY class",
		"CREATE MATERIALIZED VIEW per_channel WITH (parallelism = 3) AS SELECT channel, count(*) AS n, max(price) AS p, min(price) AS q, sum(price) AS s FROM bids GROUP BY channel",
		"CREATE MATERIALIZED VIEW few WITH (state_backend = 'memory') AS SELECT channel, count(*) AS n FROM bids GROUP BY channel",
		fmt.Sprintf("CREATE SINK out_keys AS SELECT k, count(*) AS n, sum(v) AS s FROM lines GROUP BY k WITH (connector = 'file', path = '%s', format = 'json')", filepath.Join(dir, "out", "keys")),
		fmt.Sprintf("CREATE SINK out_entries AS SELECT writer, seq, amount FROM entries WITH (connector = 'file', path = '%s', format = 'json')", filepath.Join(dir, "out", "entries")),
		// Jobs that must not disturb the others.
		"CREATE SOURCE mix_many WITH (connector = 'nexmark', type = 'bid', rate = 0, events = 60000, seed = 8)",
		"CREATE MATERIALIZED VIEW mix_suspended AS SELECT amount, count(*) AS n FROM entries GROUP BY amount",
		"ALTER MATERIALIZED VIEW mix_suspended SUSPEND",
		"CREATE MATERIALIZED VIEW mix_large WITH (state_backend = 'memory') AS SELECT auction, bidder, price, url, extra, count(*) AS n FROM mix_many GROUP BY auction, bidder, price, url, extra",
	}
}

// recomputed are views and the same asked of what they stand on. Both sides
// are read in one statement, so at one epoch.
var recomputed = [][3]string{
	{"by_writer", "writer, n, s, m", "SELECT writer, count(*) AS n, sum(amount) AS s, max(seq) AS m FROM entries GROUP BY writer"},
	{"total", "n, s", "SELECT sum(n) AS n, sum(s) AS s FROM (SELECT count(*) AS n, sum(amount) AS s FROM entries GROUP BY writer) AS w"},
	{"amounts", "a", "SELECT DISTINCT amount % 10 AS a FROM entries"},
	{"per_channel", "channel, n, p, q, s", "SELECT channel, n, p, q, s FROM fresh_channels"},
	{"few", "channel, n", "SELECT channel, n FROM fresh_channels"},
}

const freshChannels = "CREATE MATERIALIZED VIEW fresh_channels AS SELECT channel, count(*) AS n, max(price) AS p, min(price) AS q, sum(price) AS s FROM bids GROUP BY channel"

func TestKill(t *testing.T) {
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-sim.seed)", seed)
	dir := t.TempDir()
	fd, err := newFeed(filepath.Join(dir, "lines.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer fd.f.Close()
	s := &sim{t: t, seed: seed, feed: fd, out: filepath.Join(dir, "out")}
	s.p = testserver.StartProcess(t, testserver.Options{CheckpointInterval: 300 * time.Millisecond, ReadTimeout: 60 * time.Second})
	for w := range writers {
		s.ledgers = append(s.ledgers, &ledger{writer: w, rows: map[int64]int64{}})
	}
	c := testserver.Connect(t, s.p.DSN())
	for _, sql := range setup(dir) {
		s.must(c, sql)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for k := range *flagKills {
		s.load(r, uint64(k))
		for range r.IntN(3) {
			after := time.Duration(r.IntN(500)) * time.Millisecond
			t.Logf("kill %d: again after %v (recovered: %v)", k, after, s.p.StartAndKill(after))
		}
		if err := s.p.Start(); err != nil {
			t.Fatalf("kill %d: %v", k, err)
		}
		s.verify(k)
		if t.Failed() {
			return
		}
	}
	s.settle()
	t.Logf("%d transactions acknowledged, %d other statements, %d lines", s.acked.Load(), s.admin.Load(), len(fd.lines))
}

func (s *sim) must(c *pgx.Conn, sql string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// load lets everything run for a random time and kills the server.
func (s *sim) load(r *rand.Rand, round uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range writers {
		wr := rand.New(rand.NewPCG(s.seed, 1000*(round+1)+uint64(w)))
		wg.Go(func() { s.write(ctx, s.ledgers[w], wr) })
	}
	ar := rand.New(rand.NewPCG(s.seed, 1000*(round+1)+100))
	wg.Go(func() { s.administer(ctx, ar) })
	fr := rand.New(rand.NewPCG(s.seed, 1000*(round+1)+200))
	wg.Go(func() { s.grow(ctx, fr) })
	time.Sleep(time.Duration(300+r.IntN(2500)) * time.Millisecond)
	if !s.p.Running() {
		s.t.Error("the server ended by itself")
	}
	s.p.Kill()
	cancel()
	wg.Wait()
}

// grow appends to the file.
func (s *sim) grow(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		if err := s.feed.append(r, 1+r.IntN(200)); err != nil {
			s.t.Error(err)
			return
		}
		time.Sleep(time.Duration(1+r.IntN(20)) * time.Millisecond)
	}
}

// write runs transactions until the connection breaks; the last one is then
// in doubt.
func (s *sim) write(ctx context.Context, l *ledger, r *rand.Rand) {
	c, err := pgx.Connect(ctx, s.p.DSN())
	if err != nil {
		return // killed before
	}
	defer c.Close(context.Background())
	for ctx.Err() == nil {
		stmts, after := l.transaction(r)
		err := s.commit(ctx, c, stmts)
		var e *pgconn.PgError
		switch {
		case err == nil:
			l.rows = after
			s.acked.Add(1)
		case errors.As(err, &e) && !c.IsClosed() && e.Code == "40001":
			if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
				return
			}
		case errors.As(err, &e) && !strings.HasPrefix(e.Code, "57"):
			s.t.Errorf("writer %d: %v at %q", l.writer, err, stmts)
			return
		default:
			l.doubt = after
			return
		}
	}
}

func (s *sim) commit(ctx context.Context, c *pgx.Conn, stmts []string) error {
	for _, sql := range stmts {
		if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

// administer makes checkpoints, savepoints, views and sinks, and drops them.
func (s *sim) administer(ctx context.Context, r *rand.Rand) {
	c, err := pgx.Connect(ctx, s.p.DSN())
	if err != nil {
		return
	}
	defer c.Close(context.Background())
	for n := 0; ctx.Err() == nil; n++ {
		id := r.IntN(1 << 30)
		var stmts []string
		switch r.IntN(6) {
		case 0, 1:
			stmts = []string{"CHECKPOINT"}
		case 2:
			stmts = []string{fmt.Sprintf("SAVEPOINT s%d", id), fmt.Sprintf("DROP SAVEPOINT s%d", id)}
		case 3:
			stmts = []string{fmt.Sprintf("CREATE MATERIALIZED VIEW tmp%d AS SELECT amount, count(*) AS n FROM entries GROUP BY amount", id), fmt.Sprintf("DROP MATERIALIZED VIEW tmp%d", id)}
		case 4:
			stmts = []string{fmt.Sprintf("CREATE MATERIALIZED VIEW tmp%d AS SELECT bidder, max(price) AS p FROM bids GROUP BY bidder", id), fmt.Sprintf("DROP MATERIALIZED VIEW tmp%d", id)}
		case 5:
			stmts = []string{fmt.Sprintf("ALTER MATERIALIZED VIEW by_class SET (parallelism = %d)", 1+r.IntN(3))}
		}
		for _, sql := range stmts {
			_, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
			var e *pgconn.PgError
			if errors.As(err, &e) && !c.IsClosed() {
				// A savepoint is refused while a view is still catching up.
				if e.Code != "55000" && !strings.HasPrefix(e.Code, "57") {
					s.t.Errorf("%s: %v", sql, err)
				}
			} else if err != nil {
				return
			}
			s.admin.Add(1)
			time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
		}
	}
}

// verify checks everything after a recovery.
func (s *sim) verify(kill int) {
	c := testserver.Connect(s.t, s.p.DSN())
	defer c.Close(context.Background())
	s.verifyLedgers(c, kill)
	s.must(c, "DROP MATERIALIZED VIEW IF EXISTS fresh_channels")
	s.must(c, freshChannels)
	for _, v := range recomputed {
		s.same(c, kill, v[0], v[1], v[2])
	}
	s.must(c, "DROP MATERIALIZED VIEW fresh_channels")
	s.eventually(c, kill, "SELECT k, n, s FROM by_key", s.feed.sums)
	s.eventually(c, kill, "SELECT class, n, s FROM by_class", s.classes)
	s.verifySink(kill)
}

// verifyLedgers checks that each acknowledged row is there once, and that a
// transaction in doubt is there whole or not at all.
func (s *sim) verifyLedgers(c *pgx.Conn, kill int) {
	for _, l := range s.ledgers {
		rows := s.query(c, fmt.Sprintf("SELECT seq, amount FROM entries WHERE writer = %d", l.writer))
		switch {
		case slices.Equal(rows, texts(l.rows)):
		case l.doubt != nil && slices.Equal(rows, texts(l.doubt)):
			l.rows = l.doubt
		default:
			s.t.Errorf("kill %d: writer %d: %s", kill, l.writer, firstDifference(rows, texts(l.rows)))
		}
		l.doubt = nil
	}
}

func texts(m map[int64]int64) []string {
	out := make([]string, 0, len(m))
	for k, v := range m {
		out = append(out, fmt.Sprintf("%d|%d", k, v))
	}
	slices.Sort(out)
	return out
}

// query gives sorted rows, values set apart by bars.
func (s *sim) query(c *pgx.Conn, sql string) []string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	rows, err := c.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	var out []string
	for _, row := range rows[0].Rows {
		values := make([]string, len(row))
		for i, v := range row {
			values[i] = string(v)
		}
		out = append(out, strings.Join(values, "|"))
	}
	slices.Sort(out)
	return out
}

// same reads a view and its recomputation at one epoch.
func (s *sim) same(c *pgx.Conn, kill int, view, columns, query string) {
	s.t.Helper()
	var left, right []string
	sql := fmt.Sprintf("SELECT 'view' AS side, %s FROM %s UNION ALL SELECT 'query' AS side, %[1]s FROM (%[3]s) AS q", columns, view, query)
	for _, row := range s.query(c, sql) {
		if v, ok := strings.CutPrefix(row, "view|"); ok {
			left = append(left, v)
		} else {
			right = append(right, strings.TrimPrefix(row, "query|"))
		}
	}
	if !slices.Equal(left, right) {
		s.t.Errorf("kill %d: view %s: %s", kill, view, firstDifference(left, right))
	}
}

// eventually waits until a view over the file has caught up with it.
func (s *sim) eventually(c *pgx.Conn, kill int, sql string, want func() []string) {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := s.query(c, sql)
		if slices.Equal(got, want()) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("kill %d: %s: %s", kill, sql, firstDifference(got, want()))
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// classes is view by_class, from the file.
func (s *sim) classes() []string {
	var n, sum [2]int64
	for _, row := range s.feed.sums() {
		var k string
		var count, total int64
		if _, err := fmt.Sscanf(strings.ReplaceAll(row, "|", " "), "%s %d %d", &k, &count, &total); err != nil {
			s.t.Fatal(err)
		}
		if i := slices.Index([]string{"k0", "k1", "k2", "k3", "k4"}, k); i >= 0 {
			n[i%2] += count
			sum[i%2] += total
		}
	}
	return []string{fmt.Sprintf("0|%d|%d", n[0], sum[0]), fmt.Sprintf("1|%d|%d", n[1], sum[1])}
}

// verifySink checks what a reader of the sink's directory sees at any time:
// each key at most once.
func (s *sim) verifySink(kill int) {
	rows, err := sinkRows(filepath.Join(s.out, "keys"), "k")
	if err != nil {
		s.t.Fatal(err)
	}
	for k, n := range rows {
		if n != 1 {
			s.t.Errorf("kill %d: the sink's committed rows have key %s %d times", kill, k, n)
		}
	}
}

// settle stops the load and compares the sinks with a clean run's output.
func (s *sim) settle() {
	c := testserver.Connect(s.t, s.p.DSN())
	s.eventually(c, -1, "SELECT k, n, s FROM by_key", s.feed.sums)
	s.must(c, "CHECKPOINT")
	var entries []string
	for _, l := range s.ledgers {
		for seq, amount := range l.rows {
			entries = append(entries, fmt.Sprintf("%d|%d|%d", l.writer, seq, amount))
		}
	}
	slices.Sort(entries)
	s.sinkIs("keys", s.feed.sums(), "k", "n", "s")
	s.sinkIs("entries", entries, "writer", "seq", "amount")
}

func (s *sim) sinkIs(name string, want []string, columns ...string) {
	s.t.Helper()
	var got []string
	deadline := time.Now().Add(20 * time.Second)
	for {
		rows, err := sinkRows(filepath.Join(s.out, name), columns...)
		if err != nil {
			s.t.Fatal(err)
		}
		got = got[:0]
		for k, n := range rows {
			for range n {
				got = append(got, k)
			}
			if n < 0 {
				got = append(got, fmt.Sprintf("%s times %d", k, n))
			}
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("sink %s: %s", name, firstDifference(got, want))
			return
		}
		time.Sleep(100 * time.Millisecond) // the last commit may still be on its way
	}
}

func firstDifference(got, want []string) string {
	missing, extra := []string{}, []string{}
	for _, w := range want {
		if !slices.Contains(got, w) {
			missing = append(missing, w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			extra = append(extra, g)
		}
	}
	return fmt.Sprintf("%d rows, expected %d; missing %q; too many %q", len(got), len(want), missing[:min(5, len(missing))], extra[:min(5, len(extra))])
}
