package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

func TestTableDefinitions(t *testing.T) {
	c := connect(t, newEngine(t))
	c.ok("CREATE TABLE t (a int, b text DEFAULT 'x' || 'y', n numeric(6,2), PRIMARY KEY (b, a))")
	c.ok("INSERT INTO t (a) VALUES (1)")
	c.want("SELECT * FROM t", "1|xy|NULL")
	c.want("SELECT n FROM t WHERE a = 1 AND b = 'xy'", "NULL")
	c.ok("CREATE TABLE IF NOT EXISTS t (z int)")
	if want := `NOTICE 42P07 relation "t" already exists, skipping`; len(c.notices) != 1 || c.notices[0] != want {
		t.Errorf("notices %q", c.notices)
	}
	for q, code := range map[string]pgerr.Code{
		"CREATE TABLE t (a int)":                                                     pgerr.DuplicateTable,
		"CREATE TABLE u (a int, a int)":                                              pgerr.DuplicateColumn,
		"CREATE TABLE u (a nonsense)":                                                pgerr.UndefinedObject,
		"CREATE TABLE u (a int PRIMARY KEY, b int PRIMARY KEY)":                      pgerr.InvalidTableDefinition,
		"CREATE TABLE u (a int, PRIMARY KEY (b))":                                    pgerr.UndefinedColumn,
		"CREATE TABLE u (a int UNIQUE)":                                              pgerr.FeatureNotSupported,
		"CREATE TABLE u (a int CHECK (a > 0))":                                       pgerr.FeatureNotSupported,
		"CREATE TABLE u (a int DEFAULT b)":                                           pgerr.FeatureNotSupported,
		"CREATE TABLE u ()":                                                          pgerr.FeatureNotSupported,
		"CREATE TABLE nowhere.u (a int)":                                             pgerr.InvalidSchemaName,
		"CREATE TABLE streamdb.u (a int)":                                            pgerr.InsufficientPrivilege,
		"CREATE TABLE u (a int) WITH (fillfactor = 9)":                               pgerr.InvalidParameterValue,
		"CREATE TEMP TABLE u (a int)":                                                pgerr.FeatureNotSupported,
		"CREATE TABLE u AS SELECT 1":                                                 pgerr.FeatureNotSupported,
		"CREATE VIEW v AS SELECT 1":                                                  pgerr.FeatureNotSupported,
		"DROP TABLE nothing":                                                         pgerr.UndefinedTable,
		"DROP MATERIALIZED VIEW t":                                                   pgerr.WrongObjectType,
		"DROP TABLE streamdb.rejected":                                               pgerr.InsufficientPrivilege,
		"ALTER TABLE t ADD COLUMN z int":                                             pgerr.FeatureNotSupported,
		"CREATE MATERIALIZED VIEW v AS SELECT * FROM streamdb.jobs":                  pgerr.FeatureNotSupported,
		"CREATE MATERIALIZED VIEW v WITH (speed = 1) AS SELECT 1 AS x":               pgerr.InvalidParameterValue,
		"CREATE MATERIALIZED VIEW v WITH (parallelism = 999) AS SELECT 1 AS x":       pgerr.InvalidParameterValue,
		"CREATE MATERIALIZED VIEW v WITH (state_backend = 'tape') AS SELECT 1 AS x":  pgerr.InvalidParameterValue,
		"CREATE MATERIALIZED VIEW v AS SELECT 1 AS x, 2 AS x":                        pgerr.DuplicateColumn,
		"CREATE SINK s AS SELECT * FROM t WITH (connector = 'tape')":                 pgerr.InvalidParameterValue,
		"CREATE SINK s AS SELECT * FROM t WITH (connector = 'blackhole', speed = 1)": pgerr.InvalidParameterValue,
		"CREATE SOURCE s WITH (connector = 'nexmark', speed = 1)":                    pgerr.InvalidParameterValue,
	} {
		if _, _, err := c.query(q); pgerr.CodeOf(err) != code {
			t.Errorf("%s: %v, want SQLSTATE %s", q, err, code)
		}
	}
}

func TestSourcesViewsSinks(t *testing.T) {
	c := connect(t, newEngine(t))
	c.ok("CREATE SOURCE nx WITH (connector = 'nexmark', events = 5000, seed = 1)",
		"CREATE SOURCE bid WITH (connector = 'nexmark', type = 'bid', events = 5000)",
		"CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM nx.bid",
		"CREATE MATERIALIZED VIEW m WITH (state_backend = 'memory', parallelism = 3) AS SELECT n FROM n WHERE n > 0",
		"CREATE SINK q AS SELECT auction FROM bid WITH (connector = 'blackhole')")
	deadline := time.Now().Add(10 * time.Second)
	for {
		rows := c.ok("SELECT * FROM m")
		if len(rows) == 1 && rows[0] == fmt.Sprint(5000*46/50) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the view has %v", rows)
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.fails(pgerr.FeatureNotSupported, "SELECT * FROM bid")
	c.fails(pgerr.DependentObjectsExist, "DROP SOURCE nx")
	if rows := c.ok("SHOW JOBS"); len(rows) != 3 || !strings.HasPrefix(rows[0], "m|materialized view|running|") {
		t.Errorf("%q", rows)
	}
	if rows := c.ok("SHOW SINKS"); len(rows) != 1 || rows[0] != "public|q|blackhole|running" {
		t.Errorf("%q", rows)
	}
	if rows := c.ok("SHOW SOURCES"); len(rows) != 2 || !strings.HasPrefix(rows[0], "bid|nexmark|exact|") {
		t.Errorf("%q", rows)
	}
	c.wantTag("ALTER MATERIALIZED VIEW m SUSPEND", "ALTER MATERIALIZED VIEW")
	c.fails(pgerr.ObjectNotInPrerequisite, "ALTER MATERIALIZED VIEW m SUSPEND")
	c.wantTag("ALTER MATERIALIZED VIEW m RESUME", "ALTER MATERIALIZED VIEW")
	c.ok("ALTER MATERIALIZED VIEW m SET (parallelism = 2, state_backend = 'pebble')")
	if rows := c.ok("SELECT parallelism, state_backend FROM streamdb.jobs WHERE name = 'm'"); len(rows) != 1 || rows[0] != "2|pebble" {
		t.Errorf("%q", rows)
	}
	c.fails(pgerr.WrongObjectType, "ALTER SINK m SUSPEND")
	c.ok("CHECKPOINT")
	if rows := c.ok("SHOW CHECKPOINTS"); len(rows) == 0 {
		t.Error("no checkpoint is listed")
	}
	c.notices = nil
	c.wantTag("DROP SOURCE nx CASCADE", "DROP SOURCE")
	if n := strings.Join(c.notices, "\n"); !strings.Contains(n, "drop cascades to 2 other objects") {
		t.Errorf("notices %q", n)
	}
	if rows := c.ok("EXPLAIN VERBOSE SELECT count(*) FROM streamdb.errors"); len(rows) < 6 {
		t.Errorf("%q", rows)
	}
}

// TestViewWithErrors reads a view in which an expression fails on a row.
func TestViewWithErrors(t *testing.T) {
	c := connect(t, newEngine(t))
	c.ok("CREATE TABLE t (id int PRIMARY KEY, d int)", "INSERT INTO t VALUES (1, 0), (2, 2)",
		"CREATE MATERIALIZED VIEW v AS SELECT id, 10 / d AS x FROM t", "CREATE MATERIALIZED VIEW w AS SELECT count(*) FROM v")
	c.want("SELECT * FROM v", "2|5")
	if n := strings.Join(c.notices, "\n"); !strings.HasPrefix(n, "WARNING 01000 materialized view \"v\" stands without 1 row ") {
		t.Errorf("notices %q", n)
	}
	c.want("SELECT job, row, sqlstate, count FROM streamdb.errors", "v|(1,0)|22012|1")
	c.ok("SET streamdb.strict = on")
	c.fails(pgerr.ObjectNotInPrerequisite, "SELECT * FROM w")
	c.ok("UPDATE t SET d = 5 WHERE id = 1")
	c.want("SELECT * FROM w", "2")
	c.want("SELECT * FROM streamdb.errors")
}
