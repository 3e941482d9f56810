package planner

import (
	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Env is what a statement is planned in. It is only read.
type Env struct {
	Catalog    *catalog.Catalog
	SearchPath []string // nil: public
	// ParamTypes are the declared types of $1, $2, …; Unknown and missing ones
	// are inferred.
	ParamTypes []types.Type
	// Params are the parameters' values when the plan is to be executed, of
	// the types that preparing gave; nil while preparing.
	Params []types.Datum
	// View asks for a continuous query: no clock and no chance, no LIMIT.
	// PlanView and PlanSink set it.
	View bool
	// Explain asks for the texts in Planned that only EXPLAIN (VERBOSE) needs.
	Explain bool
	// Now is the statement's time, for constants like LIMIT's.
	Now types.Micros
	// ExtraRelations finds relations that are not in the catalog (the system's
	// own); schema is "" if the name has none. It may be nil.
	ExtraRelations func(schema, name string) *catalog.Object
}

// Planned is a plan with what its users need to know beside it.
type Planned struct {
	Plan *Plan
	// Fields are the output's columns, hidden ones left out.
	Fields []types.Column
	// ParamTypes are the types of all parameters, declared or inferred.
	ParamTypes []types.Type
	// Depends are the catalog objects read, each once, in order of mention.
	Depends []types.UUID
	// Notices are for the user, of severity NOTICE, or with pgerr.Warning of
	// severity WARNING.
	Notices []*pgerr.Error
	// Bound and Optimized are the logical plan before and after the rules, one
	// line a node; only with Env.Explain.
	Bound, Optimized []string
	// Canonical is the canonical form of the output relation, from which its
	// identity is derived; only for views and sinks, or with Env.Explain.
	Canonical string
}

// PlanQuery plans an ad-hoc query. Its plan ends in Collect.
func PlanQuery(env *Env, q *sql.Query) (*Planned, error) { return plan(env, q, endCollect, nil) }

// PlanView plans a materialized view's query; columnNames (may be nil) rename
// the first columns. The plan ends in Materialize.
func PlanView(env *Env, q *sql.Query, columnNames []string) (*Planned, error) {
	return plan(asView(env), q, endMaterialize, columnNames)
}

// PlanSink plans a sink's query. The plan ends in SinkWrite.
func PlanSink(env *Env, q *sql.Query) (*Planned, error) { return plan(asView(env), q, endSink, nil) }

func asView(env *Env) *Env {
	v := *env
	v.View = true
	return &v
}

// ending says what the last operator of a plan does.
type ending uint8

const (
	endCollect ending = iota
	endMaterialize
	endSink
)

func plan(env *Env, q *sql.Query, end ending, names []string) (*Planned, error) {
	b := newBinder(env)
	bq, err := b.bindTop(q, nil)
	if err != nil {
		return nil, err
	}
	if end == endMaterialize {
		if err := renameOutputs(bq, names); err != nil {
			return nil, err
		}
	}
	return b.finish(bq, end)
}

// finish optimises a bound query and builds its physical plan.
func (b *binder) finish(bq *boundQuery, end ending) (*Planned, error) {
	if err := b.checkParams(); err != nil {
		return nil, err
	}
	p := &Planned{ParamTypes: b.params, Depends: b.depends, Notices: b.notices}
	for _, c := range bq.out {
		p.Fields = append(p.Fields, types.Column{Name: c.name, Type: b.md.typ(c.id), NotNull: b.md.notNull(bq.node, c.id)})
	}
	if b.env.Explain {
		p.Bound = b.md.formatTree(bq.node)
	}
	if err := optimize(b.md, bq); err != nil {
		return nil, err
	}
	if b.env.Explain {
		p.Optimized = b.md.formatTree(bq.node)
	}
	if end != endCollect {
		p.Notices = append(p.Notices, b.md.warnings...)
	}
	bd := &builder{md: b.md, env: b.env, canon: newCanonizer(b.md, end != endCollect || b.env.Explain), view: end != endCollect, twins: map[state.ID]int{}}
	plan, err := bd.build(bq, end)
	if err != nil {
		return nil, err
	}
	plan.Schema = p.Fields
	p.Plan = plan
	if bd.canon.on {
		p.Canonical = bd.canon.output(bq)
	}
	return p, nil
}

// renameOutputs gives a view's columns their names, which have to differ.
func renameOutputs(bq *boundQuery, names []string) error {
	if len(names) > len(bq.out) {
		return pgerr.New(pgerr.SyntaxError, "too many column names were specified")
	}
	for i, n := range names {
		bq.out[i].name = n
	}
	seen := map[string]bool{}
	for _, c := range bq.out {
		if seen[c.name] {
			return pgerr.New(pgerr.DuplicateColumn, `column "%s" specified more than once`, c.name)
		}
		seen[c.name] = true
	}
	return nil
}

// metadata says what is known of the columns of a logical plan. A column has
// one id in the whole of it, which its expressions use as expr.Column.Index;
// only the physical plan has positions.
type metadata struct {
	cols     []columnInfo
	warnings []*pgerr.Error // found by rules
}

// columnInfo is a column of a logical plan. Object and number identify a
// column of a catalog object; other columns have none.
type columnInfo struct {
	name    string
	typ     types.Type
	notNull bool
	object  types.UUID
	number  uint32
}

func (m *metadata) add(c columnInfo) int {
	m.cols = append(m.cols, c)
	return len(m.cols) - 1
}

func (m *metadata) typ(id int) types.Type { return m.cols[id].typ }

// ref makes an expression of a column.
func (m *metadata) ref(id int) expr.Expr {
	return &expr.Column{Index: id, T: m.cols[id].typ, Name: m.cols[id].name}
}
