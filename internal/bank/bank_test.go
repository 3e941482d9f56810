// Package bank tests that no read is ever off: money moves between accounts
// while readers add it up over views of views.
package bank

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamdb/streamdb/internal/testserver"
)

var (
	flagFor  = flag.Duration("bank.for", 6*time.Second, "how long transfers run")
	flagSeed = flag.Uint64("bank.seed", 0, "seed; 0: from the clock")
)

const (
	accounts = 60
	branches = 5
	opening  = 1000 // balance of each account
	writers  = 4
	readers  = 3
)

var setup = []string{
	"CREATE TABLE accounts (id int PRIMARY KEY, branch int NOT NULL, balance bigint NOT NULL)",
	"CREATE TABLE ledger (writer int, seq bigint, amount bigint)",
	"CREATE MATERIALIZED VIEW per_branch WITH (parallelism = 3) AS SELECT branch, sum(balance) AS total, count(*) AS n FROM accounts GROUP BY branch",
	"CREATE MATERIALIZED VIEW grand AS SELECT sum(total) AS total, sum(n) AS n FROM per_branch",
	"CREATE MATERIALIZED VIEW mirror WITH (state_backend = 'filesystem') AS SELECT id, branch, balance FROM accounts WHERE balance <> 0",
	"CREATE MATERIALIZED VIEW mirrored WITH (parallelism = 2, state_backend = 'memory') AS SELECT branch, sum(balance) AS total FROM mirror GROUP BY branch",
	"CREATE MATERIALIZED VIEW pairs AS SELECT p.branch, p.total AS a, m.total AS b FROM per_branch p JOIN mirrored m ON p.branch = m.branch",
	"CREATE MATERIALIZED VIEW writers WITH (parallelism = 3) AS SELECT writer, max(seq) AS seq, count(*) AS n FROM ledger GROUP BY writer",
	// Jobs that must not disturb the others.
	"CREATE SOURCE mix_bids WITH (connector = 'nexmark', type = 'bid', rate = 500, seed = 7)",
	"CREATE SOURCE mix_many WITH (connector = 'nexmark', type = 'bid', rate = 0, events = 60000, seed = 8)",
	"CREATE MATERIALIZED VIEW mix_slow AS SELECT md5(repeat(url, 200)) AS m, count(*) AS n FROM mix_bids GROUP BY md5(repeat(url, 200))",
	"CREATE MATERIALIZED VIEW mix_suspended AS SELECT balance, count(*) AS n FROM accounts GROUP BY balance",
	"ALTER MATERIALIZED VIEW mix_suspended SUSPEND",
	"CREATE MATERIALIZED VIEW mix_large WITH (state_backend = 'memory') AS SELECT auction, bidder, price, url, extra, count(*) AS n FROM mix_many GROUP BY auction, bidder, price, url, extra",
}

// sums must all give the same, in one statement or in several of one
// REPEATABLE READ block.
var sums = []string{
	"SELECT sum(balance) AS total FROM accounts",
	"SELECT total FROM grand",
	"SELECT sum(total) AS total FROM per_branch",
	"SELECT sum(balance) AS total FROM mirror",
	"SELECT sum(total) AS total FROM mirrored",
	"SELECT sum(a) AS total FROM pairs",
	"SELECT sum(b) AS total FROM pairs",
}

type bank struct {
	t         *testing.T
	dsn       string
	ctx       context.Context
	reads     atomic.Int64
	commits   atomic.Int64
	conflicts atomic.Int64
	rollbacks atomic.Int64
}

func TestBank(t *testing.T) {
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-bank.seed)", seed)
	s := testserver.Start(t, testserver.Options{CheckpointInterval: 500 * time.Millisecond})
	b := &bank{t: t, dsn: s.DSN()}
	admin := b.connect()
	for _, sql := range setup {
		b.must(admin, sql)
	}
	for i := range accounts {
		b.must(admin, fmt.Sprintf("INSERT INTO accounts VALUES (%d, %d, %d)", i, i%branches, opening))
	}
	for w := range writers {
		b.must(admin, fmt.Sprintf("INSERT INTO ledger VALUES (%d, 0, 0)", w))
	}
	ctx, cancel := context.WithTimeout(context.Background(), *flagFor)
	defer cancel()
	b.ctx = ctx
	var wg sync.WaitGroup
	for w := range writers {
		r := rand.New(rand.NewPCG(seed, uint64(w)))
		wg.Go(func() { b.write(w, r) })
	}
	for i := range readers {
		r := rand.New(rand.NewPCG(seed, uint64(100+i)))
		wg.Go(func() { b.read(r) })
	}
	wg.Wait()
	t.Logf("%d commits, %d conflicts, %d rollbacks, %d reads", b.commits.Load(), b.conflicts.Load(), b.rollbacks.Load(), b.reads.Load())
	if b.commits.Load() == 0 || b.reads.Load() == 0 {
		t.Error("nothing was written or read")
	}
	b.check(admin)
	b.must(admin, "CHECKPOINT")
}

func (b *bank) connect() *pgx.Conn {
	cfg, err := pgx.ParseConfig(b.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	c, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// must runs SQL outside of the workers.
func (b *bank) must(c *pgx.Conn, sql string) {
	b.t.Helper()
	if _, err := c.Exec(context.Background(), sql); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// write moves money until the time is over. After each commit its own session
// must see it.
func (b *bank) write(w int, r *rand.Rand) {
	c := b.connect()
	for seq := int64(1); b.ctx.Err() == nil && !b.t.Failed(); {
		err := b.transfer(c, r, w, seq)
		var e *pgconn.PgError
		switch {
		case err == nil:
			b.commits.Add(1)
			var seen int64
			err := c.QueryRow(context.Background(), fmt.Sprintf("SELECT seq FROM writers WHERE writer = %d", w)).Scan(&seen)
			if err != nil || seen != seq {
				b.t.Errorf("writer %d committed %d and then reads %d (%v)", w, seq, seen, err)
				return
			}
			seq++
		case errors.Is(err, errRolledBack):
			b.rollbacks.Add(1)
		case errors.As(err, &e) && e.Code == "40001":
			b.conflicts.Add(1)
		default:
			b.t.Errorf("writer %d: %v", w, err)
			return
		}
	}
}

var errRolledBack = errors.New("rolled back on purpose")

func (b *bank) transfer(c *pgx.Conn, r *rand.Rand, w int, seq int64) (err error) {
	ctx := context.Background()
	from, to := r.IntN(accounts), r.IntN(accounts)
	amount := r.IntN(200)
	stmts := []string{
		"BEGIN",
		fmt.Sprintf("UPDATE accounts SET balance = balance - %d WHERE id = %d", amount, from),
		fmt.Sprintf("UPDATE accounts SET balance = balance + %d WHERE id = %d", amount, to),
		fmt.Sprintf("INSERT INTO ledger VALUES (%d, %d, %d)", w, seq, amount),
	}
	switch r.IntN(8) {
	case 0: // the account moves to another branch
		stmts = append(stmts, fmt.Sprintf("UPDATE accounts SET branch = %d WHERE id = %d", r.IntN(branches), to))
	case 1: // a statement that is taken back
		stmts = append(stmts, "SAVEPOINT inner_one", fmt.Sprintf("DELETE FROM accounts WHERE id = %d", from), "ROLLBACK TO SAVEPOINT inner_one")
	}
	defer func() {
		if err != nil {
			if _, rerr := c.Exec(ctx, "ROLLBACK"); rerr != nil {
				err = rerr
			}
		}
	}()
	for _, sql := range stmts {
		if _, err := c.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if r.IntN(10) == 0 {
		return errRolledBack
	}
	_, err = c.Exec(ctx, "COMMIT")
	return err
}

// read adds the money up until the time is over.
func (b *bank) read(r *rand.Rand) {
	c := b.connect()
	for b.ctx.Err() == nil && !b.t.Failed() {
		if r.IntN(2) == 0 {
			b.check(c)
		} else {
			b.checkBlock(c, r)
		}
		b.reads.Add(1)
	}
}

// check reads all sums in one statement.
func (b *bank) check(c *pgx.Conn) {
	sql := ""
	for i, s := range sums {
		if i > 0 {
			sql += " UNION ALL "
		}
		sql += s
	}
	rows, err := c.Query(context.Background(), sql)
	if err != nil {
		b.t.Errorf("%s: %v", sql, err)
		return
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		b.t.Errorf("%s: %v", sql, err)
		return
	}
	ok := len(got) == len(sums)
	for _, g := range got {
		ok = ok && g == accounts*opening
	}
	if !ok {
		b.t.Errorf("the sums %d are not all %d", got, accounts*opening)
	}
}

// checkBlock reads several sums in one block, which sees one state.
func (b *bank) checkBlock(c *pgx.Conn, r *rand.Rand) {
	ctx := context.Background()
	if _, err := c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ"); err != nil {
		b.t.Errorf("BEGIN: %v", err)
		return
	}
	for range 3 {
		sql := sums[r.IntN(len(sums))]
		var got int64
		if err := c.QueryRow(ctx, sql).Scan(&got); err != nil || got != accounts*opening {
			b.t.Errorf("%s in a block gives %d (%v), not %d", sql, got, err, accounts*opening)
			break
		}
	}
	if _, err := c.Exec(ctx, "COMMIT"); err != nil {
		b.t.Errorf("COMMIT: %v", err)
	}
}
