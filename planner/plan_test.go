package planner

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// fixture is a catalog under construction, with identities that are the same
// in every run.
type fixture struct {
	t   testing.TB
	cat *catalog.Catalog
	n   byte
}

func newFixture(t testing.TB) *fixture { return &fixture{t: t, cat: catalog.Empty()} }

func (f *fixture) env() *Env { return &Env{Catalog: f.cat, Explain: true} }

func (f *fixture) put(o *catalog.Object) {
	f.n++
	o.ID = types.UUID{15: f.n}
	o.Schema, o.Status = catalog.PublicSchema, catalog.Ready
	c, err := f.cat.Apply([]catalog.Change{{Put: o}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.cat = c
}

// define runs CREATE TABLE, CREATE SOURCE and CREATE MATERIALIZED VIEW as far
// as the catalog is concerned.
func (f *fixture) define(src string) error {
	stmts, err := sql.Parse(src)
	if err != nil {
		return err
	}
	for _, s := range stmts {
		switch s := s.Stmt.(type) {
		case *sql.CreateTable:
			o := &catalog.Object{Kind: catalog.Table, Name: s.Name.Parts[0], Columns: f.columns(s.Columns)}
			for i, c := range s.Columns {
				if c.PrimaryKey {
					o.Key = []int{i}
				}
			}
			for _, c := range s.Constraints {
				for _, name := range c.Columns {
					o.Key = append(o.Key, o.Column(name))
				}
			}
			f.put(o)
		case *sql.CreateSource:
			f.put(&catalog.Object{Kind: catalog.SourceRelation, Name: s.Name.Parts[0], Columns: f.columns(s.Columns)})
		case *sql.CreateView:
			p, err := PlanView(f.env(), s.Query, s.Columns)
			if err != nil {
				return err
			}
			o := &catalog.Object{Kind: catalog.MaterializedView, Name: s.Name.Parts[0], Plan: EncodePlan(p.Plan), Key: p.Plan.Key, Depends: p.Depends}
			for i, c := range p.Fields {
				o.Columns = append(o.Columns, catalog.Column{ID: uint32(i + 1), Name: c.Name, Type: c.Type})
			}
			f.put(o)
		}
	}
	return nil
}

func (f *fixture) columns(defs []sql.ColumnDef) []catalog.Column {
	var cols []catalog.Column
	for i, d := range defs {
		t, err := ResolveType(d.Type)
		if err != nil {
			f.t.Fatal(err)
		}
		c := catalog.Column{ID: uint32(i + 1), Name: d.Name, Type: t, NotNull: d.NotNull || d.PrimaryKey}
		if d.Default != nil {
			c.Default = sql.FormatExpr(d.Default)
		}
		cols = append(cols, c)
	}
	return cols
}

const fixtureDDL = `
CREATE TABLE t (a int PRIMARY KEY, b int, c text, d numeric, e boolean);
CREATE TABLE u (x bigint PRIMARY KEY, y int, c text, ts timestamp);
CREATE TABLE w (k1 int, k2 text, v double precision DEFAULT 1.5, PRIMARY KEY (k1, k2));
CREATE SOURCE bid (auction bigint, bidder bigint, price bigint, channel text, date_time timestamp);
CREATE MATERIALIZED VIEW per_channel AS SELECT channel, count(*) AS n, max(price) FROM bid GROUP BY channel;
CREATE MATERIALIZED VIEW cheap AS SELECT auction, price FROM bid WHERE price < 100;
`

func fixtureT(t testing.TB) *fixture {
	f := newFixture(t)
	if err := f.define(fixtureDDL); err != nil {
		t.Fatal(err)
	}
	return f
}

func errorText(err error) string {
	e := pgerr.From(err)
	s := fmt.Sprintf("ERROR %s at %d: %s\n", e.Code, e.Position, e.Message)
	if e.Detail != "" {
		s += "DETAIL: " + e.Detail + "\n"
	}
	if e.Hint != "" {
		s += "HINT: " + e.Hint + "\n"
	}
	return s
}

func TestPlans(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		f := fixtureT(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "define" {
				if err := f.define(d.Input); err != nil {
					return errorText(err)
				}
				return "ok\n"
			}
			if d.Cmd == "stored" {
				return stored(t, d.Input)
			}
			out, err := f.run(d.Cmd, d.Input)
			if err != nil {
				return errorText(err)
			}
			return out
		})
	})
}

// run answers a command of the test files.
func (f *fixture) run(cmd, src string) (string, error) {
	stmts, err := sql.Parse(src)
	if err != nil {
		return "", err
	}
	if len(stmts) != 1 {
		return "", fmt.Errorf("%d statements", len(stmts))
	}
	switch s := stmts[0].Stmt.(type) {
	case *sql.Insert:
		p, err := PlanInsert(f.env(), s)
		if err != nil {
			return "", err
		}
		return f.show(cmd, p.Source) + returningText(p.Returning, p.Fields), nil
	case *sql.Update:
		p, err := PlanUpdate(f.env(), s)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("set %s\nwhere %v\nkey %v\n", text(p.Set...), p.Pred, p.Key) + returningText(p.Returning, p.Fields), nil
	case *sql.Delete:
		p, err := PlanDelete(f.env(), s)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("where %v\nkey %v\n", p.Pred, p.Key) + returningText(p.Returning, p.Fields), nil
	case *sql.QueryStmt:
		p, err := f.query(cmd, s.Query)
		if err != nil {
			return "", err
		}
		return f.show(cmd, p), nil
	}
	return "", fmt.Errorf("not a statement to plan: %s", src)
}

func (f *fixture) query(cmd string, q *sql.Query) (*Planned, error) {
	switch cmd {
	case "query", "fields":
		return PlanQuery(f.env(), q)
	case "sink":
		return PlanSink(f.env(), q)
	}
	return PlanView(f.env(), q, nil)
}

func (f *fixture) show(cmd string, p *Planned) string {
	f.roundTrip(p.Plan)
	var b strings.Builder
	for _, n := range p.Notices {
		severity := "NOTICE"
		if n.Code == pgerr.Warning {
			severity = "WARNING"
		}
		fmt.Fprintf(&b, "%s: %s\n", severity, n.Message)
	}
	switch cmd {
	case "fields":
		for _, c := range p.Fields {
			fmt.Fprintf(&b, "%s %s\n", c.Name, c.Type)
		}
		for i, t := range p.ParamTypes {
			fmt.Fprintf(&b, "$%d %s\n", i+1, t)
		}
	case "logical":
		fmt.Fprintf(&b, "bound:\n  %s\noptimized:\n  %s\n", strings.Join(p.Bound, "\n  "), strings.Join(p.Optimized, "\n  "))
	case "canonical":
		fmt.Fprintf(&b, "%s\nkey %v append-only %v\n", p.Canonical, p.Plan.Key, p.Plan.AppendOnly)
	case "verbose":
		b.WriteString(strings.Join(Explain(p, true), "\n") + "\n")
	default:
		b.WriteString(strings.Join(Explain(p, false), "\n") + "\n")
	}
	return b.String()
}

func returningText(es []expr.Expr, fields []types.Column) string {
	if fields == nil {
		return ""
	}
	s := "returning"
	for i, c := range fields {
		s += fmt.Sprintf(" %s:%s=%v", c.Name, c.Type, es[i])
	}
	return s + "\n"
}

// roundTrip verifies that a plan survives its stored form.
func (f *fixture) roundTrip(p *Plan) {
	b := EncodePlan(p)
	q, err := DecodePlan(b)
	if err != nil {
		f.t.Fatalf("decoding: %v\n%s", err, strings.Join(Explain(&Planned{Plan: p}, false), "\n"))
	}
	if !bytes.Equal(EncodePlan(q), b) {
		f.t.Fatal("a plan changed in its stored form")
	}
}

// stored explains a plan of which the stored form is given.
func stored(t *testing.T, text string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	p, err := DecodePlan(b)
	if err != nil {
		return errorText(err)
	}
	return strings.Join(Explain(&Planned{Plan: p}, false), "\n") + "\n"
}
