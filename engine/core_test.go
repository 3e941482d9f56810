package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/sql"
	_ "github.com/streamdb/streamdb/state/filesystem"
	_ "github.com/streamdb/streamdb/state/memory"
	_ "github.com/streamdb/streamdb/state/pebble"
	"github.com/streamdb/streamdb/types"
)

// core is an engine driven without sessions.
type core struct {
	t   *testing.T
	dir string
	fs  vfs.FS // nil: the operating system's
	cfg func(*Config)
	en  *Engine
	// opened is the epoch at which en was opened: what was acknowledged before
	// is in every read, as it is in a new session's.
	opened types.Epoch
}

func newCore(t *testing.T) *core {
	c := &core{t: t, dir: t.TempDir()}
	c.open()
	t.Cleanup(func() { c.en.Kill() })
	return c
}

func (c *core) open() {
	c.t.Helper()
	var lg *slog.Logger
	if testing.Verbose() {
		lg = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	cfg := Config{Dir: c.dir, FS: c.fs, CheckpointInterval: -1, Logger: lg, WorkDir: c.dir}
	if c.cfg != nil {
		c.cfg(&cfg)
	}
	en, err := Open(context.Background(), cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.en, c.opened = en, en.closed.Load().ID
}

// crash ends the engine without a checkpoint and opens it again.
func (c *core) crash() {
	c.t.Helper()
	c.en.Kill()
	c.open()
}

func (c *core) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *core) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *core) put(o *catalog.Object) types.UUID {
	c.t.Helper()
	if o.ID.IsZero() {
		o.ID = types.NewUUID()
	}
	o.Status, o.NumGroups = catalog.Ready, types.KeyGroups
	if o.Parallelism == 0 {
		o.Parallelism = 1
	}
	_, err := c.en.DDL(c.ctx(), func(*catalog.Catalog) ([]catalog.Change, error) {
		return []catalog.Change{{Put: o}}, nil
	})
	c.must(err)
	return o.ID
}

func cols(spec string) (out []catalog.Column) {
	for i, f := range strings.Split(spec, ",") {
		p := strings.Fields(f)
		t, err := types.TypeByName(p[1], nil)
		if err != nil {
			panic(err)
		}
		out = append(out, catalog.Column{ID: uint32(i + 1), Name: p[0], Type: t})
	}
	return out
}

func (c *core) table(name, columns string, key ...int) types.UUID {
	c.t.Helper()
	return c.put(&catalog.Object{Kind: catalog.Table, Schema: "public", Name: name, Columns: cols(columns), Key: key})
}

func (c *core) view(name, query string, o catalog.Object) types.UUID {
	c.t.Helper()
	id := c.create(catalog.MaterializedView, name, query, o)
	c.must(c.en.WaitReady(c.ctx(), id))
	return id
}

func (c *core) create(kind catalog.Kind, name, query string, o catalog.Object) types.UUID {
	c.t.Helper()
	q, err := sql.ParseQuery(query)
	c.must(err)
	env := &planner.Env{Catalog: c.en.Catalog()}
	var p *planner.Planned
	if kind == catalog.Sink {
		p, err = planner.PlanSink(env, q)
	} else {
		p, err = planner.PlanView(env, q, nil)
	}
	c.must(err)
	o.Kind, o.Schema, o.Name, o.Definition = kind, "public", name, query
	for i, f := range p.Fields {
		o.Columns = append(o.Columns, catalog.Column{ID: uint32(i + 1), Name: f.Name, Type: f.Type})
	}
	o.Key, o.Plan, o.Depends = p.Plan.Key, planner.EncodePlan(p.Plan), p.Depends
	if o.Backend == "" {
		o.Backend = "filesystem"
	}
	return c.put(&o)
}

// write commits rows given as "+1 a" style texts, in the table's columns.
func (c *core) write(id types.UUID, rows ...string) types.Epoch {
	c.t.Helper()
	e, err := c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{{Table: id, Chunks: []*types.Chunk{c.chunk(id, rows...)}}}})
	c.must(err)
	return e
}

func (c *core) chunk(id types.UUID, rows ...string) *types.Chunk {
	o := c.en.Catalog().ByID(id)
	ch := types.NewChunk(o.TypeSchema().Types())
	for _, r := range rows {
		diff := int32(1)
		if r[0] == '-' {
			diff = -1
		}
		var row []types.Datum
		for i, f := range strings.Fields(r[1:]) {
			if f == "NULL" {
				row = append(row, types.NullOf(o.Columns[i].Type))
				continue
			}
			d, err := types.ParseText(o.Columns[i].Type, f)
			c.must(err)
			row = append(row, d)
		}
		ch.AppendRow(diff, row...)
	}
	return ch
}

// rows reads a relation at an epoch not below low, as sorted texts.
func (c *core) rows(id types.UUID, low types.Epoch) string {
	c.t.Helper()
	for {
		s, err := c.tryRows(id, low)
		if errors.Is(err, relation.ErrStopped) { // its job starts again: so would a session
			continue
		}
		c.must(err)
		return s
	}
}

func (c *core) tryRows(id types.UUID, low types.Epoch) (string, error) {
	p, err := c.en.Pin(c.ctx(), []types.UUID{id}, max(low, c.opened))
	if err != nil {
		return "", err
	}
	defer p.Release()
	it, err := p.Snaps[id].Scan(c.ctx(), nil)
	if err != nil {
		return "", err
	}
	defer it.Close()
	var out []string
	for {
		ch, err := it.Next()
		if err != nil {
			return "", err
		}
		if ch == nil {
			sort.Strings(out)
			return strings.Join(out, "; "), nil
		}
		for k := range ch.Rows() {
			r := ch.Row(k)
			var b []byte
			for i := range ch.Cols {
				if i > 0 {
					b = append(b, ' ')
				}
				if ch.Cols[i].Null(r) {
					b = append(b, "NULL"...)
				} else {
					b = ch.Cols[i].AppendText(b, r)
				}
			}
			for range ch.DiffAt(r) {
				out = append(out, string(b))
			}
		}
	}
}

func (c *core) want(id types.UUID, low types.Epoch, want string) {
	c.t.Helper()
	if got := c.rows(id, low); got != want {
		c.t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestCoreViewFollowsTable(t *testing.T) {
	c := newCore(t)
	tab := c.table("t", "id int8,g text,v int8", 0)
	c.write(tab, "+1 a 10", "+2 b 20")
	v := c.view("v", "SELECT g, count(*) AS n, sum(v) AS s FROM t GROUP BY g", catalog.Object{})
	w := c.view("w", "SELECT count(*) AS n FROM v WHERE n > 1", catalog.Object{Backend: "pebble", Parallelism: 2})
	c.want(v, 0, "a 1 10; b 1 20")
	e := c.write(tab, "+3 a 5", "-2 b 20")
	c.want(tab, e, "1 a 10; 3 a 5")
	c.want(v, e, "a 2 15")
	c.want(w, e, "1")
}

func TestCoreRecovers(t *testing.T) {
	for _, backend := range []string{"filesystem", "pebble", "memory"} {
		for _, ckpt := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", backend, ckpt), func(t *testing.T) {
				c := newCore(t)
				tab := c.table("t", "id int8,g text,v int8", 0)
				v := c.view("v", "SELECT g, count(*) AS n, max(v) AS m FROM t GROUP BY g", catalog.Object{Backend: backend, Parallelism: 2})
				w := c.view("w", "SELECT DISTINCT n FROM v", catalog.Object{Backend: backend})
				c.write(tab, "+1 a 10", "+2 b 20")
				if ckpt {
					_, err := c.en.Checkpoint(c.ctx())
					c.must(err)
				}
				e := c.write(tab, "-1 a 10", "+1 a 11", "+3 a 4")
				c.want(v, e, "a 2 11; b 1 20")
				c.crash()
				c.want(tab, e, "1 a 11; 2 b 20; 3 a 4")
				c.want(v, e, "a 2 11; b 1 20")
				c.want(w, e, "1; 2")
				e = c.write(tab, "-3 a 4")
				c.want(v, e, "a 1 11; b 1 20")
				c.crash()
				c.want(v, e, "a 1 11; b 1 20")
			})
		}
	}
}

func TestCoreConflicts(t *testing.T) {
	c := newCore(t)
	tab := c.table("t", "id int8,v int8", 0)
	c.write(tab, "+1 10")
	_, err := c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{{Table: tab, Chunks: []*types.Chunk{c.chunk(tab, "+1 11")}}}})
	if err == nil || !strings.Contains(err.Error(), "23505") {
		t.Fatalf("duplicate key: %v", err)
	}
	_, err = c.en.Commit(c.ctx(), &Commit{Tables: []TableWrite{{Table: tab, Chunks: []*types.Chunk{c.chunk(tab, "-1 9", "+1 11")}}}})
	if err == nil || !strings.Contains(err.Error(), "40001") {
		t.Fatalf("conflict: %v", err)
	}
}

func (c *core) nexmark(events int) types.UUID {
	c.t.Helper()
	src := c.put(&catalog.Object{Kind: catalog.Source, Schema: "public", Name: "bid",
		Options: map[string]string{"connector": "nexmark", "type": "bid", "rate": "0", "events": fmt.Sprint(events)}})
	return c.put(&catalog.Object{Kind: catalog.SourceRelation, Schema: "public", Name: "bid", Depends: []types.UUID{src},
		Columns: cols("auction int8,bidder int8,price int8,channel text,url text,date_time timestamp,extra text")})
}

func TestCoreSource(t *testing.T) {
	c := newCore(t)
	c.nexmark(100000)
	v := c.view("v", "SELECT count(*) AS n, count(DISTINCT bidder) AS b FROM bid", catalog.Object{})
	deadline := time.Now().Add(10 * time.Second)
	for !strings.HasPrefix(c.rows(v, 0), "92000 ") {
		if time.Now().After(deadline) {
			t.Fatalf("not all bids: %s; jobs %+v", c.rows(v, 0), c.en.Jobs())
		}
		time.Sleep(10 * time.Millisecond)
	}
	want := c.rows(v, 0)
	late := c.view("late", "SELECT count(*) AS n, count(DISTINCT bidder) AS b FROM bid", catalog.Object{Parallelism: 3})
	c.want(late, 0, want)
	_, err := c.en.Checkpoint(c.ctx())
	c.must(err)
	c.crash()
	c.want(v, 0, want)
	c.want(late, 0, want)
}

func TestCoreSuspendAlter(t *testing.T) {
	c := newCore(t)
	tab := c.table("t", "id int8,g text", 0)
	c.nexmark(50000)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
	s := c.view("s", "SELECT auction, count(*) AS n FROM bid GROUP BY auction", catalog.Object{})
	e := c.write(tab, "+1 a", "+2 b")
	c.must(c.en.Alter(c.ctx(), v, 3, "pebble"))
	c.want(v, e, "a 1; b 1")
	e = c.write(tab, "+3 a")
	c.want(v, e, "a 2; b 1")
	c.must(c.en.Suspend(c.ctx(), v))
	c.must(c.en.Suspend(c.ctx(), s))
	e = c.write(tab, "+4 a")
	c.crash()
	c.must(c.en.Resume(c.ctx(), v))
	c.must(c.en.Resume(c.ctx(), s))
	c.want(v, e, "a 3; b 1")
	again := c.view("again", "SELECT auction, count(*) AS n FROM bid GROUP BY auction", catalog.Object{})
	if a, b := c.rows(s, 0), c.rows(again, 0); a != b {
		t.Fatalf("resumed view differs: %d bytes, %d bytes", len(a), len(b))
	}
}

func TestCoreSavepoint(t *testing.T) {
	c := newCore(t)
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
	c.write(tab, "+1 a", "+2 b")
	c.must(c.en.CreateSavepoint(c.ctx(), "s1"))
	e := c.write(tab, "+3 a", "-2 b")
	c.want(v, e, "a 2")
	for _, o := range []RollbackOptions{{}, {Parallelism: 3, Backend: "pebble"}, {Parallelism: 8, Backend: "memory"}} {
		_, err := c.en.RollbackTo(c.ctx(), "s1", o)
		c.must(err)
		c.want(tab, e, "1 a; 2 b")
		c.want(v, e, "a 1; b 1")
		e = c.write(tab, "+4 c")
		c.want(v, e, "a 1; b 1; c 1")
		c.crash()
		c.want(v, e, "a 1; b 1; c 1")
	}
}
