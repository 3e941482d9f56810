package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// client is a connection as the wire makes one, without the wire.
type client struct {
	t       *testing.T
	s       wire.Session
	notices []string
	status  map[string]string
}

func (c *client) Notice(severity string, n *pgerr.Error) {
	c.notices = append(c.notices, severity+" "+string(n.Code)+" "+n.Message)
}

func (c *client) ParameterStatus(name, value string) { c.status[name] = value }

func newEngine(t *testing.T) *Engine {
	t.Helper()
	en, err := Open(context.Background(), Config{Dir: t.TempDir(), CheckpointInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(en.Kill)
	return en
}

func connect(t *testing.T, en *Engine) *client {
	t.Helper()
	c := &client{t: t, status: map[string]string{}}
	s, err := en.Connect(context.Background(), wire.Startup{User: "streamdb", Database: "streamdb", Client: c})
	if err != nil {
		t.Fatal(err)
	}
	c.s = s
	t.Cleanup(s.Close)
	return c
}

// query runs a simple query as wire does; rows are texts, columns joined by |.
func (c *client) query(q string) (rows []string, tag string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	defer func() {
		if err != nil {
			c.s.Fail()
		}
	}()
	stmts, err := c.s.Parse(ctx, q)
	if err != nil {
		return nil, "", err
	}
	for _, st := range stmts {
		p, err := c.s.Prepare(ctx, st, nil)
		if err != nil {
			return nil, "", err
		}
		if rows, tag, err = c.execute(ctx, p, nil); err != nil {
			return nil, "", err
		}
	}
	return rows, tag, c.s.Sync(ctx)
}

func (c *client) execute(ctx context.Context, p wire.Prepared, params []types.Datum) (rows []string, tag string, err error) {
	res, err := c.s.Execute(ctx, p, params)
	switch {
	case err != nil:
		return nil, "", err
	case res.CopyOut != nil:
		var b bytes.Buffer
		tag, err = res.CopyOut.Run(ctx, &b)
		return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"), tag, err
	case res.Rows == nil:
		return nil, res.Tag, nil
	}
	defer res.Rows.Close()
	for {
		ch, err := res.Rows.Next(ctx)
		if err != nil {
			return nil, "", err
		}
		if ch == nil {
			return rows, res.Rows.Tag(int64(len(rows))), nil
		}
		for k := range ch.Rows() {
			r := ch.Row(k)
			var f []string
			for i := range ch.Cols {
				f = append(f, ch.Cols[i].Datum(r).String())
			}
			for range ch.DiffAt(r) {
				rows = append(rows, strings.Join(f, "|"))
			}
		}
	}
}

// ok runs queries that must succeed and gives the last one's rows.
func (c *client) ok(qs ...string) []string {
	c.t.Helper()
	var rows []string
	for _, q := range qs {
		var err error
		if rows, _, err = c.query(q); err != nil {
			c.t.Fatalf("%s: %v (%s)", q, err, pgerr.From(err).Detail)
		}
	}
	return rows
}

// want checks a query's rows, in any order.
func (c *client) want(q string, want ...string) {
	c.t.Helper()
	got := c.ok(q)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Fatalf("%s\ngot  %q\nwant %q", q, got, want)
	}
}

// fails checks a query's SQLSTATE.
func (c *client) fails(code pgerr.Code, q string) *pgerr.Error {
	c.t.Helper()
	_, tag, err := c.query(q)
	if pgerr.CodeOf(err) != code {
		c.t.Fatalf("%s: %v (tag %q), want SQLSTATE %s", q, err, tag, code)
	}
	return pgerr.From(err)
}

func (c *client) wantTag(q, want string) {
	c.t.Helper()
	if _, tag, err := c.query(q); err != nil || tag != want {
		c.t.Fatalf("%s: tag %q, error %v, want %q", q, tag, err, want)
	}
}

func (c *client) wantStatus(want byte) {
	c.t.Helper()
	if got := c.s.TxStatus(); got != want {
		c.t.Fatalf("transaction status %c, want %c", got, want)
	}
}

func TestWrites(t *testing.T) {
	c := connect(t, newEngine(t))
	c.wantTag("CREATE TABLE t (id bigint PRIMARY KEY, a text DEFAULT 'd', n int NOT NULL)", "CREATE TABLE")
	c.wantTag("INSERT INTO t VALUES (1, 'x', 1), (2, DEFAULT, 2)", "INSERT 0 2")
	c.want("INSERT INTO t (n, id) SELECT n + 10, id + 10 FROM t RETURNING id, a", "11|d", "12|d")
	c.want("SELECT * FROM t", "1|x|1", "2|d|2", "11|d|11", "12|d|12")
	c.want("SELECT a, n FROM t WHERE id = 11", "d|11")
	c.want("SELECT a FROM t WHERE id = 99")
	c.wantTag("UPDATE t SET id = id + 1 WHERE id < 10", "UPDATE 2") // keys pass each other
	c.want("SELECT id FROM t", "2", "3", "11", "12")
	c.want("UPDATE t SET n = -n, a = NULL WHERE id = 2 RETURNING *", "2|NULL|-1")
	c.wantTag("UPDATE t SET n = 1 WHERE id = 77", "UPDATE 0")
	c.want("DELETE FROM t WHERE n > 10 RETURNING id", "11", "12")
	e := c.fails(pgerr.NotNullViolation, "INSERT INTO t VALUES (5, 'q', NULL)")
	if e.Detail != "Failing row contains (5, q, null)." || e.Column != "n" {
		t.Errorf("%q %q", e.Detail, e.Column)
	}
	c.fails(pgerr.UniqueViolation, "INSERT INTO t VALUES (2, 'q', 1)")
	c.fails(pgerr.UniqueViolation, "INSERT INTO t VALUES (7, 'q', 1), (7, 'q', 1)")
	c.fails(pgerr.UniqueViolation, "UPDATE t SET id = 3")
	c.fails(pgerr.DivisionByZero, "UPDATE t SET n = 1 / (n + 1)")
	c.want("SELECT * FROM t", "2|NULL|-1", "3|d|2")
	c.wantTag("TRUNCATE t", "TRUNCATE TABLE")
	c.want("SELECT count(*) FROM t", "0")
	c.ok("CREATE MATERIALIZED VIEW v AS SELECT id FROM t")
	c.fails(pgerr.WrongObjectType, "TRUNCATE v")
	c.fails(pgerr.WrongObjectType, "INSERT INTO v VALUES (1)")
	c.fails(pgerr.InsufficientPrivilege, "INSERT INTO streamdb.rejected (raw) VALUES ('x')")
}

func TestKeylessTable(t *testing.T) {
	c := connect(t, newEngine(t))
	c.ok("CREATE TABLE t (a int, b numeric)", "INSERT INTO t VALUES (1, 1.0), (1, 1.0), (1, 1.00)", "BEGIN",
		"INSERT INTO t VALUES (1, 1.0), (2, NULL)")
	c.want("SELECT * FROM t", "1|1.0", "1|1.0", "1|1.0", "1|1.00", "2|NULL")
	c.wantTag("DELETE FROM t WHERE a = 1", "DELETE 4")
	c.want("SELECT * FROM t", "2|NULL")
	c.ok("ROLLBACK")
	c.want("SELECT * FROM t", "1|1.0", "1|1.0", "1|1.00")
}

func TestBlocks(t *testing.T) {
	en := newEngine(t)
	c, d := connect(t, en), connect(t, en)
	c.ok("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1), (2, 2)",
		"CREATE MATERIALIZED VIEW v AS SELECT sum(n) AS s FROM t")
	c.ok("BEGIN")
	c.wantStatus('T')
	c.ok("UPDATE t SET n = 10 WHERE id = 1", "SAVEPOINT a", "DELETE FROM t WHERE id = 2", "SAVEPOINT a", "INSERT INTO t VALUES (3, 3)")
	c.want("SELECT * FROM t", "1|10", "3|3")
	c.want("SELECT n FROM t WHERE id = 1", "10")
	c.want("SELECT n FROM t WHERE id = 2")
	c.want("SELECT * FROM v", "3") // published only
	d.want("SELECT * FROM t", "1|1", "2|2")
	c.fails(pgerr.UniqueViolation, "INSERT INTO t VALUES (1, 0)")
	c.wantStatus('E')
	c.fails(pgerr.InFailedTransaction, "SELECT 1")
	c.ok("ROLLBACK TO a")
	c.wantStatus('T')
	c.want("SELECT * FROM t", "1|10")
	c.ok("RELEASE a", "ROLLBACK TO a")
	c.want("SELECT * FROM t", "1|10", "2|2")
	c.wantTag("COMMIT", "COMMIT")
	c.wantStatus('I')
	c.want("SELECT * FROM v", "12")
	d.want("SELECT * FROM v", "12")

	c.ok("BEGIN")
	c.fails(pgerr.InvalidSavepoint, "ROLLBACK TO nowhere")
	c.wantTag("COMMIT", "ROLLBACK")
	c.ok("BEGIN", "UPDATE t SET n = 0")
	d.ok("UPDATE t SET n = n + 1 WHERE id = 1")
	c.fails(pgerr.SerializationFailure, "COMMIT")
	c.wantStatus('I')
	d.want("SELECT n FROM t WHERE id = 1", "11")
}

// TestOpenCursor writes to a table while a cursor over it is open: the cursor
// gives what was there when it was opened.
func TestOpenCursor(t *testing.T) {
	c := connect(t, newEngine(t))
	ctx := context.Background()
	c.ok("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1), (2, 2)", "BEGIN", "INSERT INTO t VALUES (3, 3)", "SAVEPOINT a")
	st, err := c.s.Parse(ctx, "SELECT id, n FROM t")
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.s.Prepare(ctx, st[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	open := func() *wire.Result {
		res, err := c.s.Execute(ctx, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	sum := func(res *wire.Result) (n int64) {
		for {
			ch, err := res.Rows.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if ch == nil {
				res.Rows.Close()
				return n
			}
			for k := range ch.Rows() {
				n += ch.Cols[1].I64[ch.Row(k)]
			}
		}
	}
	first, second := open(), open()
	if _, err := second.Rows.Next(ctx); err != nil {
		t.Fatal(err)
	}
	c.ok("UPDATE t SET n = 100", "INSERT INTO t VALUES (4, 100)")
	third := open()
	c.ok("ROLLBACK TO a")
	if n := sum(first); n != 6 {
		t.Errorf("the first cursor's sum is %d", n)
	}
	second.Rows.Close()
	if n := sum(third); n != 400 {
		t.Errorf("the third cursor's sum is %d", n)
	}
	c.ok("COMMIT")
	c.want("SELECT sum(n) FROM t", "6")
}

func TestIsolation(t *testing.T) {
	en := newEngine(t)
	c, d := connect(t, en), connect(t, en)
	c.ok("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)",
		"BEGIN ISOLATION LEVEL REPEATABLE READ")
	c.want("SELECT * FROM t", "1")
	d.ok("INSERT INTO t VALUES (2)", "INSERT INTO u VALUES (2)")
	c.want("SELECT * FROM t", "1")
	c.want("SELECT * FROM u")
	c.ok("INSERT INTO u VALUES (3)")
	c.want("SELECT * FROM u", "3")
	c.fails(pgerr.ActiveTransaction, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
	c.ok("ROLLBACK", "BEGIN")
	c.want("SELECT * FROM t", "1", "2")
	d.ok("DELETE FROM t")
	c.want("SELECT * FROM t")
	c.ok("COMMIT", "BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT * FROM t")
	c.fails(pgerr.FeatureNotSupported, "DELETE FROM t")
	c.ok("ROLLBACK", "START TRANSACTION READ ONLY")
	c.fails(pgerr.ReadOnlyTransaction, "DELETE FROM t")
	c.ok("ROLLBACK")
}

func TestImplicitTransactions(t *testing.T) {
	c := connect(t, newEngine(t))
	c.ok("CREATE TABLE t (id int PRIMARY KEY)")
	c.fails(pgerr.UniqueViolation, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)")
	c.want("SELECT * FROM t")
	c.ok("INSERT INTO t VALUES (1); CREATE TABLE u (a int); INSERT INTO u VALUES (1)")
	c.want("SELECT * FROM t", "1")
	c.fails(pgerr.UniqueViolation, "INSERT INTO t VALUES (2); CREATE TABLE w (a int); INSERT INTO t VALUES (2)")
	c.want("SELECT * FROM t", "1", "2") // DDL commits what came before it
	c.ok("INSERT INTO t VALUES (5); BEGIN; INSERT INTO t VALUES (6)")
	c.wantStatus('T')
	c.ok("ROLLBACK")
	c.want("SELECT * FROM t", "1", "2")
	c.fails(pgerr.ActiveTransaction, "SELECT 1; SAVEPOINT s")
	c.fails(pgerr.ActiveTransaction, "BEGIN; CREATE TABLE z (a int)")
	c.ok("ROLLBACK")
}

func TestStreamSavepoints(t *testing.T) {
	en := newEngine(t)
	c, d := connect(t, en), connect(t, en)
	c.ok("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)", "CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM t")
	c.wantTag("SAVEPOINT s", "SAVEPOINT")
	c.fails(pgerr.DuplicateObject, "CREATE SAVEPOINT s")
	c.ok("INSERT INTO t VALUES (2)")
	d.ok("BEGIN", "INSERT INTO t VALUES (3)")
	c.wantTag("ROLLBACK TO SAVEPOINT s", "ROLLBACK")
	if n := strings.Join(c.notices, "\n"); !strings.Contains(n, "was saved as savepoint") {
		t.Errorf("notices %q", n)
	}
	d.fails(pgerr.SerializationFailure, "SELECT 1")
	d.wantTag("COMMIT", "ROLLBACK")
	d.want("SELECT * FROM t", "1")
	d.want("SELECT * FROM v", "1")
	c.wantTag("RELEASE SAVEPOINT s", "RELEASE")
	c.fails(pgerr.InvalidSavepoint, "DROP SAVEPOINT s")
	c.fails(pgerr.InvalidParameterValue, "ROLLBACK TO SAVEPOINT s WITH (speed = 9)")
}

func TestPreparedStatements(t *testing.T) {
	c := connect(t, newEngine(t))
	ctx := context.Background()
	c.ok("CREATE TABLE t (id bigint PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'x'), (2, 'y')")
	prep := func(q string, oids ...uint32) wire.Prepared {
		t.Helper()
		st, err := c.s.Parse(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.s.Prepare(ctx, st[0], oids)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	run := func(p wire.Prepared, want string, params ...types.Datum) {
		t.Helper()
		rows, tag, err := c.execute(ctx, p, params)
		if err == nil {
			err = c.s.Sync(ctx)
		}
		if got := strings.Join(append(rows, tag), ","); err != nil || got != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	point := prep("SELECT a FROM t WHERE id = $1")
	if point.(*prepared).point == nil || point.ParamTypes()[0].Kind != types.Int8 {
		t.Fatal("not a point read")
	}
	run(point, "x,SELECT 1", types.NewInt8(1))
	run(point, "SELECT 0", types.NewInt8(9))
	run(point, "SELECT 0", types.NullOf(types.T(types.Int8)))
	run(prep("SELECT a FROM t WHERE id = $1", 23), "y,SELECT 1", types.NewInt4(2))
	plan := prep("SELECT id FROM t WHERE a = $1 AND id > $2")
	run(plan, "2,SELECT 1", types.NewText("y"), types.NewInt8(0))
	ins := prep("INSERT INTO t VALUES ($1, $2)")
	run(ins, "INSERT 0 1", types.NewInt8(3), types.NewText("z"))
	all := prep("SELECT * FROM t WHERE id = 3")
	run(all, "3|z,SELECT 1")
	c.ok("DROP TABLE t", "CREATE TABLE t (id bigint PRIMARY KEY, a text, b int)", "INSERT INTO t VALUES (1, 'n', 0)")
	run(point, "n,SELECT 1", types.NewInt8(1)) // found again by name
	if _, _, err := c.execute(ctx, all, nil); pgerr.CodeOf(err) != pgerr.FeatureNotSupported {
		t.Fatalf("a changed result type: %v", err)
	}
	c.s.Fail()
	c.ok("PREPARE p (int) AS SELECT a FROM t WHERE id = $1")
	c.want("EXECUTE p(1)", "n")
	c.want("EXECUTE p('1')", "n")
	c.fails(pgerr.SyntaxError, "EXECUTE p")
	c.fails(pgerr.DuplicatePreparedStmt, "PREPARE p AS SELECT 1")
	c.ok("DEALLOCATE p")
	c.fails(pgerr.InvalidStatementName, "EXECUTE p(1)")
}

func TestCopyStatements(t *testing.T) {
	c := connect(t, newEngine(t))
	c.ok("CREATE TABLE t (id int PRIMARY KEY, a text, n numeric DEFAULT 5)")
	in := func(q, data string) (string, error) {
		t.Helper()
		ctx := context.Background()
		st, err := c.s.Parse(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.s.Prepare(ctx, st[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.s.Execute(ctx, p, nil)
		var tag string
		if err == nil {
			tag, err = res.CopyIn.Run(ctx, io.LimitReader(strings.NewReader(data), int64(len(data))))
		}
		if err == nil {
			err = c.s.Sync(ctx)
		}
		if err != nil {
			c.s.Fail()
		}
		return tag, err
	}
	if tag, err := in("COPY t FROM STDIN", "1\ta\\tb\t\\N\n2\t\\N\t1.50\n\\.\n"); tag != "COPY 2" || err != nil {
		t.Fatal(tag, err)
	}
	if tag, err := in("COPY t (a, id) FROM STDIN WITH (FORMAT csv, HEADER match)", "a,id\n\"x,\"\"y\",3\n,4\n"); tag != "COPY 2" || err != nil {
		t.Fatal(tag, err)
	}
	if tag, err := in("COPY t (id) FROM STDIN WHERE id > 50", "50\n51\n"); tag != "COPY 1" || err != nil {
		t.Fatal(tag, err)
	}
	c.want("SELECT * FROM t", "1|a\tb|NULL", "2|NULL|1.50", `3|x,"y|5`, "4|NULL|5", "51|NULL|5")
	for _, bad := range []struct{ data, code, detail string }{
		{"8\n", "22P04", "line 1"}, {"8\ta\t1\n9\tb\t2\t3\n", "22P04", "line 2"},
		{"8\ta\t1\nx\tb\t2\n", "22P02", "line 2, column id: \"x\""}, {"\\N\ta\t1\n", "23502", "lines 1 to 1"},
		{"8\ta\t1\n8\ta\t1\n", "23505", "lines 1 to 2"},
	} {
		_, err := in("COPY t FROM STDIN", bad.data)
		if e := pgerr.From(err); e == nil || string(e.Code) != bad.code || !strings.Contains(e.Detail, bad.detail) {
			t.Errorf("%q: %v %+v", bad.data, err, e)
		}
	}
	c.want("COPY (SELECT id, a FROM t WHERE id < 4) TO STDOUT (FORMAT csv, FORCE_QUOTE (a))", "1,\"a\tb\"", "2,", `3,"x,""y"`)
	c.want("COPY t (a) TO STDOUT", `a\tb`, `\N`, `x,"y`, `\N`, `\N`)
}

// TestSubscribe follows a view; the sum of what it is sent is the content.
func TestSubscribe(t *testing.T) {
	en := newEngine(t)
	c, d := connect(t, en), connect(t, en)
	c.ok("CREATE TABLE t (id int PRIMARY KEY, g int)", "INSERT INTO t VALUES (1, 1), (2, 1)",
		"CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g", "SAVEPOINT s")
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		st, _ := d.s.Parse(ctx, "COPY (SUBSCRIBE TO v WITH (progress = true)) TO STDOUT")
		p, _ := d.s.Prepare(ctx, st[0], nil)
		res, err := d.s.Execute(ctx, p, nil)
		if err == nil {
			_, err = res.CopyOut.Run(ctx, w)
		}
		w.Close()
		done <- err
	}()
	sum := map[string]int{}
	waitFor := func(want string) {
		t.Helper()
		deadline := time.AfterFunc(10*time.Second, cancel)
		defer deadline.Stop()
		for {
			var line []byte
			for b := make([]byte, 1); ; {
				if _, err := r.Read(b); err != nil {
					t.Fatalf("%v, sum %v, want %s", err, sum, want)
				}
				if b[0] == '\n' {
					break
				}
				line = append(line, b[0])
			}
			f := strings.SplitN(string(line), "\t", 3)
			var diff int
			fmt.Sscan(f[1], &diff)
			if sum[f[2]] += diff; sum[f[2]] == 0 {
				delete(sum, f[2])
			}
			if f[1] == "0" && fmt.Sprint(sum) == want { // an epoch is complete
				return
			}
		}
	}
	waitFor("map[1\t2:1]")
	c.ok("INSERT INTO t VALUES (3, 2); UPDATE t SET g = 2 WHERE id = 1")
	waitFor("map[1\t1:1 2\t2:1]")
	c.ok("ROLLBACK TO SAVEPOINT s")
	waitFor("map[1\t2:1]")
	c.ok("DELETE FROM t")
	waitFor("map[]")
	cancel()
	go io.Copy(io.Discard, r)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("subscription ended with %v", err)
	}
}

func TestStatementTimeout(t *testing.T) {
	c := connect(t, newEngine(t))
	c.ok("CREATE TABLE t (id int, g int)", "INSERT INTO t VALUES (0, 0)")
	for n := 1; n < 4096; n *= 2 {
		c.ok(fmt.Sprintf("INSERT INTO t SELECT id + %d, g FROM t", n))
	}
	c.ok("SET statement_timeout = '20ms'")
	_, _, err := c.query("SELECT max(a.id + b.id) FROM t a JOIN t b ON a.g = b.g")
	if e := pgerr.From(err); e == nil || e.Code != pgerr.QueryCanceled || !strings.Contains(e.Message, "statement timeout") {
		t.Fatal(err)
	}
	c.ok("RESET statement_timeout", "SELECT 1")
}

// TestBank moves money between accounts while readers add it up, in tables
// and in views of views: no sum is ever off, and what a session commits is in
// its next read.
func TestBank(t *testing.T) {
	en := newEngine(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const accounts, total = 20, 2000
	c := connect(t, en)
	c.ok("CREATE TABLE acc (id int PRIMARY KEY, n int)", "CREATE TABLE log (w int PRIMARY KEY, k int)")
	for i := range accounts {
		c.ok(fmt.Sprintf("INSERT INTO acc VALUES (%d, %d)", i, total/accounts))
	}
	c.ok("CREATE MATERIALIZED VIEW parity AS SELECT id % 2 AS p, sum(n) AS n FROM acc GROUP BY id % 2",
		"CREATE MATERIALIZED VIEW bank AS SELECT sum(n) AS n FROM parity")
	var wg sync.WaitGroup
	stop := time.Now().Add(1500 * time.Millisecond)
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(seed, uint64(w)))
			m := connect(t, en)
			m.t = t
			if _, _, err := m.query(fmt.Sprintf("INSERT INTO log VALUES (%d, 0)", w)); err != nil {
				t.Error(err)
				return
			}
			for k := 1; time.Now().Before(stop); {
				a, b := rnd.IntN(accounts), rnd.IntN(accounts)
				qs := []string{"BEGIN", fmt.Sprintf("UPDATE acc SET n = n - 1 WHERE id = %d", a),
					fmt.Sprintf("UPDATE acc SET n = n + 1 WHERE id = %d", b), fmt.Sprintf("UPDATE log SET k = %d WHERE w = %d", k, w), "COMMIT"}
				var err error
				for _, q := range qs {
					if _, _, err = m.query(q); err != nil {
						break
					}
				}
				if err != nil {
					if pgerr.CodeOf(err) != pgerr.SerializationFailure {
						t.Errorf("transfer: %v", err)
						return
					}
					m.query("ROLLBACK")
					continue
				}
				rows, _, err := m.query(fmt.Sprintf("SELECT k FROM log WHERE w = %d", w))
				if err != nil || len(rows) != 1 || rows[0] != fmt.Sprint(k) {
					t.Errorf("own commit %d not read: %v %v", k, rows, err)
				}
				k++
				// A lone statement that contends runs again by itself.
				if _, _, err := m.query("UPDATE acc SET n = n WHERE id = 0"); err != nil {
					t.Errorf("lone update: %v", err)
				}
			}
		}()
	}
	reads := 0
	for time.Now().Before(stop) {
		for _, q := range []string{"SELECT n FROM bank", "SELECT sum(n) FROM parity", "SELECT sum(n) FROM acc"} {
			if rows := c.ok(q); len(rows) != 1 || rows[0] != fmt.Sprint(total) {
				t.Fatalf("%s gives %v", q, rows)
			}
			reads++
		}
	}
	wg.Wait()
	t.Logf("%d reads, log %v", reads, c.ok("SELECT * FROM log"))
}

// TestReadWhileMoved reads a view while it is moved to other parallelisms and
// backends: no reader fails.
func TestReadWhileMoved(t *testing.T) {
	en := newEngine(t)
	c, d := connect(t, en), connect(t, en)
	c.ok("CREATE TABLE t (id int PRIMARY KEY, g int)", "INSERT INTO t VALUES (1, 1), (2, 1), (3, 2)",
		"CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g")
	done := make(chan error, 1)
	go func() {
		for i := range 12 {
			q := fmt.Sprintf("ALTER MATERIALIZED VIEW v SET (parallelism = %d, state_backend = '%s')", 1+i%4, []string{"memory", "pebble", "filesystem"}[i%3])
			if _, _, err := d.query(q); err != nil {
				done <- fmt.Errorf("%s: %w", q, err)
				return
			}
		}
		done <- nil
	}()
	for {
		c.want("SELECT * FROM v", "1|2", "2|1")
		c.want("SELECT n FROM v WHERE g = 1", "2")
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}
