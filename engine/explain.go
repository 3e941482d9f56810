package engine

import (
	"fmt"
	"strings"

	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// executeExplain runs EXPLAIN [VERBOSE]: it tells how a statement would run
// and runs nothing.
func (s *session) executeExplain(n *sql.Explain) (*wire.Result, error) {
	verbose, err := explainOptions(n.Options)
	if err != nil {
		return nil, err
	}
	lines, err := s.explain(n.Stmt, verbose)
	if err != nil {
		return nil, err
	}
	return explainResult(lines), nil
}

func explainOptions(opts []sql.Option) (verbose bool, err error) {
	for _, o := range opts {
		on, err := optionBool(o, true)
		if err != nil && o.Name != "format" {
			return false, err
		}
		switch o.Name {
		case "verbose":
			verbose = on
		case "analyze":
			if on {
				return false, pgerr.Unsupported("EXPLAIN ANALYZE").WithHint("SHOW JOBS tells what running queries do.").At(o.Position())
			}
		case "costs", "buffers", "timing", "summary", "settings", "wal": // there are none to show
		case "format":
			if o.Value == nil || !strings.EqualFold(o.Value.Text, "text") {
				return false, pgerr.Unsupported("a format of EXPLAIN other than text").At(o.Position())
			}
		default:
			return false, pgerr.New(pgerr.SyntaxError, "unrecognized EXPLAIN option \"%s\"", o.Name).At(o.Position())
		}
	}
	return verbose, nil
}

func (s *session) explain(n sql.Stmt, verbose bool) ([]string, error) {
	env := s.env(nil, nil)
	env.Explain = verbose
	switch n := n.(type) {
	case *sql.QueryStmt:
		return explained(verbose)(planner.PlanQuery(env, s.fillFunctions(n.Query)))
	case *sql.CreateView:
		return explained(verbose)(planner.PlanView(env, n.Query, n.Columns))
	case *sql.CreateSink:
		return explained(verbose)(planner.PlanSink(env, n.Query))
	case *sql.Insert:
		p, err := planner.PlanInsert(env, n)
		if err != nil {
			return nil, err
		}
		lines, err := explained(verbose)(p.Source, nil)
		return indent("Insert into "+p.Table.Title(), lines), err
	case *sql.Update:
		p, err := planner.PlanUpdate(env, n)
		if err != nil {
			return nil, err
		}
		return explainTarget("Update", p.Table.Title(), p.Pred, p.Key != nil), nil
	case *sql.Delete:
		p, err := planner.PlanDelete(env, n)
		if err != nil {
			return nil, err
		}
		return explainTarget("Delete from", p.Table.Title(), p.Pred, p.Key != nil), nil
	case *sql.Execute:
		named, err := s.named(n.Name)
		if err != nil {
			return nil, err
		}
		params, err := s.arguments(n.Args, named.prepared.params)
		if err != nil {
			return nil, err
		}
		if named.prepared.query == nil {
			return nil, pgerr.Unsupported("EXPLAIN EXECUTE of a statement that writes").At(n.Position())
		}
		env = s.env(named.prepared.params, params)
		env.Explain = verbose
		return explained(verbose)(planner.PlanQuery(env, named.prepared.query))
	}
	return nil, pgerr.Unsupported("EXPLAIN of this statement").At(n.Position())
}

// explained makes lines of what planning gave.
func explained(verbose bool) func(p *planner.Planned, err error) ([]string, error) {
	return func(p *planner.Planned, err error) ([]string, error) {
		if err != nil {
			return nil, err
		}
		return planner.Explain(p, verbose), nil
	}
}

func explainTarget(what, table string, pred expr.Expr, byKey bool) []string {
	how := "Read " + table
	if byKey {
		how = "Look up " + table + " by its key"
	}
	lines := []string{how}
	if pred != nil {
		lines = indent(fmt.Sprintf("Filter %v", pred), lines)
	}
	return indent(what+" "+table, lines)
}

func indent(head string, lines []string) []string {
	out := []string{head}
	for _, l := range lines {
		out = append(out, "  "+l)
	}
	return out
}

// optionBool reads an option as a boolean; def is for one without a value.
func optionBool(o sql.Option, def bool) (bool, error) {
	if o.Value == nil {
		return def, nil
	}
	b, err := types.ParseText(types.T(types.Bool), o.Value.Text)
	if err != nil {
		return false, pgerr.New(pgerr.SyntaxError, "%s requires a Boolean value", o.Name).At(o.Position())
	}
	return b.I != 0, nil
}
