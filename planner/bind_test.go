package planner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

func parseQuery(t testing.TB, src string) *sql.Query {
	t.Helper()
	q, err := sql.ParseQuery(src)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestParams prepares a query, then plans it with values.
func TestParams(t *testing.T) {
	f := fixtureT(t)
	q := parseQuery(t, "SELECT c, $2 FROM t WHERE a = $1 LIMIT $3")
	p, err := PlanQuery(f.env(), q)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.ParamTypes); got != "[integer text bigint]" {
		t.Errorf("parameters are %s", got)
	}
	env := f.env()
	env.ParamTypes = p.ParamTypes
	env.Params = []types.Datum{types.NewInt4(7), types.NewText("x"), types.NewInt8(3)}
	if p, err = PlanQuery(env, q); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(Explain(p, false), "\n"); !strings.Contains(got, "Look up t key (7)") || !strings.Contains(got, "Limit '3'") {
		t.Errorf("planned with values:\n%s", got)
	}
	env.Params = env.Params[:2]
	if _, err = PlanQuery(env, q); pgerr.CodeOf(err) != pgerr.UndefinedParameter {
		t.Errorf("a missing parameter gives %v", err)
	}
	env = f.env()
	env.ParamTypes = []types.Type{types.T(types.Int8)}
	if p, err = PlanQuery(env, parseQuery(t, "SELECT $1 + 1")); err != nil || p.Fields[0].Type.Kind != types.Int8 {
		t.Errorf("a declared type is not used: %v", err)
	}
}

func TestTableExprs(t *testing.T) {
	f := fixtureT(t)
	o, err := f.cat.Resolve([]string{"public"}, []string{"w"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := sql.ParseExpr("k1 > 0 AND v < 2")
	if err != nil {
		t.Fatal(err)
	}
	xs, err := BindTableExprs(f.env(), o, "check constraints", e)
	if err != nil || text(xs...) != "((k1 > 0) AND (v < '2'::double precision))" {
		t.Errorf("%s, %v", text(xs...), err)
	}
	e, _ = sql.ParseExpr("count(*) > 0")
	if _, err = BindTableExprs(f.env(), o, "check constraints", e); err == nil ||
		pgerr.From(err).Message != "aggregate functions are not allowed in check constraints" {
		t.Errorf("an aggregate gives %v", err)
	}
	if d, err := BindDefault(f.env(), o, 2); err != nil || text(d) != "'1.5'::double precision" {
		t.Errorf("the default is %v, %v", d, err)
	}
}

func TestSystemRelations(t *testing.T) {
	f := fixtureT(t)
	env := f.env()
	env.ExtraRelations = func(schema, name string) *catalog.Object {
		if schema == "streamdb" && name == "errors" {
			return &catalog.Object{ID: types.UUID{1}, Kind: catalog.System, Schema: schema, Name: name,
				Columns: []catalog.Column{{ID: 1, Name: "message", Type: types.T(types.Text)}}}
		}
		return nil
	}
	q := parseQuery(t, "SELECT message FROM streamdb.errors")
	if _, err := PlanQuery(env, q); err != nil {
		t.Error(err)
	}
	if _, err := PlanView(env, q, nil); pgerr.CodeOf(err) != pgerr.FeatureNotSupported {
		t.Errorf("a view over a system relation gives %v", err)
	}
}

func TestViewColumnNames(t *testing.T) {
	f := fixtureT(t)
	q := parseQuery(t, "SELECT a, b FROM t")
	if p, err := PlanView(f.env(), q, []string{"x"}); err != nil || p.Fields[0].Name != "x" || p.Fields[1].Name != "b" {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := PlanView(f.env(), q, []string{"x", "y", "z"}); pgerr.CodeOf(err) != pgerr.SyntaxError {
		t.Errorf("too many names give %v", err)
	}
}

// TestSize: large queries are planned in reasonable time, or refused.
func TestSize(t *testing.T) {
	f := fixtureT(t)
	nested := "SELECT a FROM t"
	for range 40 {
		nested = "SELECT a + a AS a FROM (" + nested + ") s"
	}
	ctes := "WITH c0 AS (SELECT a FROM t)"
	for i := range 30 {
		ctes += fmt.Sprintf(", c%d AS (SELECT x.a FROM c%d x JOIN c%d y ON x.a = y.a)", i+1, i, i)
	}
	joins := "SELECT t0.a FROM t t0"
	for i := range 60 {
		joins += fmt.Sprintf(" JOIN t t%d ON t%d.a = t%d.a", i+1, i, i+1)
	}
	for _, test := range []struct {
		src  string
		code pgerr.Code
	}{
		{nested, pgerr.SuccessfulCompletion},
		{ctes + " SELECT a FROM c30", pgerr.StatementTooComplex},
		{joins, pgerr.SuccessfulCompletion},
		{"SELECT count(*) FROM t GROUP BY b + 1 HAVING " + strings.Repeat("b + 1 > 0 AND ", 3000) + "true", pgerr.SuccessfulCompletion},
		{"SELECT 1" + strings.Repeat(" + a", 5000) + " FROM t GROUP BY a", pgerr.SuccessfulCompletion},
	} {
		q, err := sql.ParseQuery(test.src)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = PlanView(f.env(), q, nil)
		if pgerr.CodeOf(err) != test.code {
			t.Errorf("%.60s… gives %v", test.src, err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%.60s… takes %v", test.src, d)
		}
	}
}
