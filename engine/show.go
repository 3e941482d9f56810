package engine

import (
	"strings"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// listing is a SHOW of objects.
type listing struct {
	columns []string
	kind    catalog.Kind
	row     func(s *session, o *catalog.Object) []string
}

// listings by SHOW's words.
var listings = map[string]listing{
	"tables": {[]string{"schema", "name", "columns", "key"}, catalog.Table, func(_ *session, o *catalog.Object) []string {
		return []string{o.Schema, o.Name, columnList(o), keyList(o)}
	}},
	"sinks": {[]string{"schema", "name", "connector", "state"}, catalog.Sink, func(s *session, o *catalog.Object) []string {
		return []string{o.Schema, o.Name, o.Options["connector"], s.jobState(o.ID)}
	}},
	"materialized views": {[]string{"schema", "name", "state", "columns", "definition"}, catalog.MaterializedView, func(s *session, o *catalog.Object) []string {
		return []string{o.Schema, o.Name, s.jobState(o.ID), columnList(o), o.Definition}
	}},
}

// systemListings are those that show a system relation.
var systemListings = map[string]string{"jobs": "jobs", "checkpoints": "checkpoints", "savepoints": "savepoints", "sources": "sources"}

func columnList(o *catalog.Object) string {
	parts := make([]string, len(o.Columns))
	for i, c := range o.Columns {
		parts[i] = c.Name + " " + c.Type.String()
	}
	return strings.Join(parts, ", ")
}

func keyList(o *catalog.Object) string {
	parts := make([]string, len(o.Key))
	for i, k := range o.Key {
		parts[i] = o.Columns[k].Name
	}
	return strings.Join(parts, ", ")
}

func (s *session) jobState(id types.UUID) string {
	j, err := s.en.job(id)
	if err != nil {
		return ""
	}
	return j.Status().State
}

// showFields tells the shape of a SHOW.
func (s *session) showFields(n *sql.Show) ([]wire.Field, error) {
	name := strings.ToLower(n.What)
	if l, ok := listings[name]; ok {
		return textFields(l.columns...), nil
	}
	if rel, ok := systemListings[name]; ok {
		return fieldsOf(systemRelations[rel].obj.TypeSchema()), nil
	}
	if name == "all" {
		return textFields("name", "setting"), nil
	}
	if name == "views" {
		return nil, pgerr.Unsupported("SHOW VIEWS").WithHint("There are only materialized views: SHOW MATERIALIZED VIEWS.").At(n.Position())
	}
	if _, ok := s.setting(name); !ok {
		return nil, errUnknownSetting(n.What)
	}
	title := name
	if d := settingDefs[name]; d != nil {
		title = d.name
	}
	return textFields(title), nil
}

// show runs SHOW.
func (s *session) show(n *sql.Show) (*wire.Result, error) {
	fields, err := s.showFields(n)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(n.What)
	rows := &chunkRows{tag: fixedTag("SHOW")}
	res := &wire.Result{Fields: fields, Rows: rows}
	if rel, ok := systemListings[name]; ok {
		rows.chunks, err = s.en.systemChunks(systemRelations[rel].obj.ID)
		return res, err
	}
	ts := make([]types.Type, len(fields))
	for i, f := range fields {
		ts[i] = f.Type
	}
	b := newRowBuilder(ts)
	switch l, ok := listings[name]; {
	case ok:
		for _, o := range s.en.Catalog().Objects(l.kind) {
			b.addText(l.row(s, o)...)
		}
	case name == "all":
		for _, d := range sortedSettings() {
			v, _ := s.setting(strings.ToLower(d.name))
			b.addText(d.name, v)
		}
	default:
		v, _ := s.setting(name)
		b.addText(v)
	}
	rows.chunks = b.chunks
	return res, nil
}

// EXPLAIN tells no number of rows.
func explainResult(lines []string) *wire.Result {
	b := newRowBuilder([]types.Type{types.T(types.Text)})
	for _, l := range lines {
		b.addText(l)
	}
	return &wire.Result{Fields: textFields("QUERY PLAN"), Rows: &chunkRows{chunks: b.chunks, tag: fixedTag("EXPLAIN")}}
}
