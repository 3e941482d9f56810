package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/wire"
)

// executeCopy starts COPY.
func (s *session) executeCopy(ctx context.Context, n *sql.Copy) (*wire.Result, error) {
	if n.Program || n.Target != "STDIN" && n.Target != "STDOUT" {
		return nil, pgerr.Unsupported("COPY with a file or program of the server").
			WithHint("Use STDIN or STDOUT; psql's \\copy reads and writes the client's files. CREATE SOURCE follows files of the server.").At(n.Position())
	}
	f, err := copyOptions(n)
	if err != nil {
		return nil, err
	}
	switch {
	case n.From:
		return s.copyFrom(ctx, n, f)
	case n.Subscribe != nil:
		return s.copySubscribe(ctx, n.Subscribe, f)
	}
	return s.copyTo(ctx, n, f)
}

// copyFormat is how COPY reads and writes rows.
type copyFormat struct {
	csv, binary   bool
	delim         byte
	null          string
	header        bool
	match         bool // the header must name the columns
	quote, escape byte
	forceQuote    map[string]bool // by column; "*" for all
	forceNotNull  map[string]bool
	forceNull     map[string]bool
}

// copyOptions reads COPY's options as PostgreSQL does.
func copyOptions(n *sql.Copy) (*copyFormat, error) {
	f := &copyFormat{delim: '\t', null: `\N`, quote: '"'}
	given := map[string]sql.Option{}
	for _, o := range n.Options {
		if _, twice := given[o.Name]; twice {
			return nil, pgerr.New(pgerr.SyntaxError, "conflicting or redundant options").At(o.Position())
		}
		given[o.Name] = o
	}
	if o, ok := given["format"]; ok {
		switch v := optionText(o); v {
		case "text":
		case "csv":
			f.csv, f.delim, f.null = true, ',', ""
		case "binary":
			f.binary = true
		default:
			return nil, pgerr.New(pgerr.InvalidParameterValue, "COPY format \"%s\" not recognized", v).At(o.Position())
		}
	}
	for _, o := range n.Options {
		if err := f.option(o); err != nil {
			return nil, err
		}
	}
	if f.escape == 0 {
		f.escape = f.quote
	}
	return f, f.check(given)
}

func (f *copyFormat) option(o sql.Option) (err error) {
	v := optionText(o)
	char := func(dst *byte) error {
		if len(v) != 1 {
			return pgerr.New(pgerr.FeatureNotSupported, "COPY %s must be a single one-byte character", o.Name).At(o.Position())
		}
		*dst = v[0]
		return nil
	}
	switch o.Name {
	case "format":
	case "delimiter":
		err = char(&f.delim)
	case "quote":
		err = char(&f.quote)
	case "escape":
		err = char(&f.escape)
	case "null":
		f.null = v
	case "header":
		if f.match = v == "match"; f.match {
			f.header = true
			return nil
		}
		f.header, err = optionBool(o, true)
	case "freeze":
		var on bool
		if on, err = optionBool(o, true); on {
			err = pgerr.Unsupported("COPY FREEZE").At(o.Position())
		}
	case "encoding":
		_, err = onlyUTF8(&settingDef{name: "encoding"}, v)
	case "force_quote":
		f.forceQuote = nameSet(v)
	case "force_not_null":
		f.forceNotNull = nameSet(v)
	case "force_null":
		f.forceNull = nameSet(v)
	default:
		err = pgerr.New(pgerr.SyntaxError, "option \"%s\" not recognized", o.Name).At(o.Position())
	}
	return err
}

func nameSet(list string) map[string]bool {
	m := map[string]bool{}
	for _, n := range strings.Split(list, ",") {
		m[n] = true
	}
	return m
}

// check refuses combinations that make no sense.
func (f *copyFormat) check(given map[string]sql.Option) error {
	refuse := func(names []string, where string) error {
		for _, n := range names {
			if o, ok := given[n]; ok {
				return pgerr.New(pgerr.SyntaxError, "COPY %s %s", strings.ReplaceAll(n, "_", " "), where).At(o.Position())
			}
		}
		return nil
	}
	csvOnly := []string{"quote", "escape", "force_quote", "force_not_null", "force_null"}
	switch {
	case f.binary:
		return refuse(append(csvOnly, "delimiter", "null", "header"), "cannot be specified in BINARY mode")
	case !f.csv:
		if err := refuse(csvOnly, "available only in CSV mode"); err != nil {
			return err
		}
	}
	bad := f.delim == '\n' || f.delim == '\r' || f.delim == 0
	if !f.csv {
		bad = bad || strings.IndexByte(`\.abcdefghijklmnopqrstuvwxyz0123456789`, f.delim) >= 0
	}
	switch {
	case bad:
		return pgerr.New(pgerr.InvalidParameterValue, "COPY delimiter cannot be \"%s\"", string(f.delim))
	case f.csv && f.delim == f.quote:
		return pgerr.New(pgerr.InvalidParameterValue, "COPY delimiter and quote must be different")
	case strings.ContainsAny(f.null, "\r\n"):
		return pgerr.New(pgerr.InvalidParameterValue, "COPY null representation cannot use newline or carriage return")
	case strings.IndexByte(f.null, f.delim) >= 0:
		return pgerr.New(pgerr.InvalidParameterValue, "COPY delimiter must not appear in the NULL specification")
	}
	return nil
}

// copyColumns gives the columns that a COPY of a table names.
func copyColumns(o *catalog.Object, names []string) ([]int, error) {
	var cols []int
	if names == nil {
		for i := range o.Columns {
			cols = append(cols, i)
		}
		return cols, nil
	}
	seen := map[string]bool{}
	for _, n := range names {
		i := o.Column(n)
		switch {
		case i < 0:
			return nil, pgerr.New(pgerr.UndefinedColumn, "column \"%s\" of relation \"%s\" does not exist", n, o.Name)
		case seen[n]:
			return nil, pgerr.New(pgerr.DuplicateColumn, "column \"%s\" specified more than once", n)
		}
		seen[n] = true
		cols = append(cols, i)
	}
	return cols, nil
}

// copyTo starts COPY … TO STDOUT.
func (s *session) copyTo(ctx context.Context, n *sql.Copy, f *copyFormat) (*wire.Result, error) {
	q := n.Query
	if n.Table != nil {
		sel := &sql.Select{Pos: n.Pos, From: []sql.TableRef{&sql.TableName{Pos: n.Table.Pos, Name: *n.Table}}}
		for _, c := range n.Columns {
			sel.Items = append(sel.Items, sql.SelectItem{Pos: n.Pos, Expr: &sql.ColumnRef{Pos: n.Pos, Parts: []string{c}}})
		}
		if n.Columns == nil {
			sel.Items = []sql.SelectItem{{Pos: n.Pos, Expr: &sql.Star{Pos: n.Pos}}}
		}
		q = &sql.Query{Pos: n.Pos, Body: sel}
	}
	planned, err := planner.PlanQuery(s.env(nil, nil), s.fillFunctions(q))
	if err != nil {
		return nil, err
	}
	plan, err := newQueryPlan(planned)
	if err != nil {
		return nil, err
	}
	s.notices(planned.Notices)
	rows, err := s.startQuery(ctx, plan)
	if err != nil {
		return nil, err
	}
	out := &copyOut{f: f}
	for _, c := range planned.Fields {
		out.names = append(out.names, c.Name)
	}
	return &wire.Result{CopyOut: &wire.CopyOut{Binary: f.binary, Columns: len(planned.Fields), Run: out.runner(rows)}}, nil
}

// copyError says where in the input of a COPY something is wrong.
func copyError(err error, table string, line int64, column, value string) error {
	e := *pgerr.From(err) // may be shared
	where := fmt.Sprintf("COPY %s, line %d", table, line)
	if column != "" {
		where += ", column " + column
	}
	const shown = 100
	if value != "" {
		if len(value) > shown {
			value = strings.ToValidUTF8(value[:shown], "") + "..."
		}
		where += ": \"" + value + "\""
	}
	if e.Detail != "" {
		where = e.Detail + "\n" + where
	}
	e.Detail = where
	return &e
}
