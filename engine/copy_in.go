package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/expr"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// copyRows is how many rows COPY … FROM puts into the transaction at a time.
const copyRows = 1024

// copyFrom starts COPY table FROM STDIN.
func (s *session) copyFrom(_ context.Context, n *sql.Copy, f *copyFormat) (*wire.Result, error) {
	o, err := s.en.Catalog().Resolve(s.settings.searchPath(), n.Table.Parts)
	if err != nil {
		return nil, pgerr.From(err).At(n.Table.Position())
	}
	if o.Kind != catalog.Table {
		return nil, pgerr.New(pgerr.WrongObjectType, "cannot copy to %s \"%s\"", o.Kind, o.Name).At(n.Table.Position())
	}
	in := &copyIn{s: s, f: f, table: o}
	if in.cols, err = copyColumns(o, n.Columns); err != nil {
		return nil, err
	}
	if in.w, err = s.startWrite("COPY", o, nil, nil); err != nil {
		return nil, err
	}
	if err := in.bindDefaults(); err != nil {
		return nil, err
	}
	if n.Where != nil {
		es, err := planner.BindTableExprs(s.env(nil, nil), o, "COPY FROM WHERE conditions", n.Where)
		if err != nil {
			return nil, err
		}
		if es[0].Type().Kind != types.Bool {
			return nil, pgerr.New(pgerr.DatatypeMismatch, "argument of WHERE must be type boolean, not type %s", es[0].Type()).At(n.Where.Position())
		}
		if in.where, err = expr.Compile(es); err != nil {
			return nil, err
		}
	}
	return &wire.Result{CopyIn: &wire.CopyIn{Binary: f.binary, Columns: len(in.cols), Run: in.run}}, nil
}

// copyIn is a running COPY … FROM.
type copyIn struct {
	s        *session
	f        *copyFormat
	table    *catalog.Object
	cols     []int // the table's columns, in the order of the input's
	defaults *expr.Program
	missing  []int // columns that get their default
	where    *expr.Program
	w        *written
	ins      *inserter
	chunk    *types.Chunk
	first    int64 // line of the chunk's first row
	sel      []uint16
}

// bindDefaults readies the values of columns that the input does not have.
func (in *copyIn) bindDefaults() error {
	var es []expr.Expr
	for i := range in.table.Columns {
		if slices.Contains(in.cols, i) {
			continue
		}
		e, err := planner.BindDefault(in.s.env(nil, nil), in.table, i)
		if err != nil {
			return err
		}
		in.missing, es = append(in.missing, i), append(es, e)
	}
	var err error
	if len(es) > 0 {
		in.defaults, err = expr.Compile(es)
	}
	return err
}

// run reads the data to its end.
func (in *copyIn) run(ctx context.Context, r io.Reader) (string, error) {
	tx := in.s.tx
	if tx == nil || tx.writes != in.w.writes.buf {
		return "", pgerr.Internal("COPY runs outside its transaction")
	}
	var err error
	if in.ins, err = in.s.newInserter(ctx, in.w); err != nil {
		return "", err
	}
	defer in.ins.close()
	p := newCopyParser(in.f, r)
	in.chunk = types.NewChunk(in.w.writes.types)
	header := in.f.header
	for {
		fields, err := p.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if pgerr.CodeOf(err) == pgerr.BadCopyFileFormat {
				err = copyError(err, in.table.Name, p.line, "", string(p.raw))
			}
			return "", err
		}
		if header {
			header = false
			if err := in.checkHeader(fields); err != nil {
				return "", copyError(err, in.table.Name, p.line, "", string(p.raw))
			}
			continue
		}
		if err := in.row(p, fields); err != nil {
			return "", err
		}
		if in.chunk.N == copyRows {
			if err := ctx.Err(); err != nil {
				return "", context.Cause(ctx)
			}
			if err := in.flush(p.line); err != nil {
				return "", err
			}
		}
	}
	if err := in.flush(p.line); err != nil {
		return "", err
	}
	return fmt.Sprintf("COPY %d", in.w.rows), nil
}

func (in *copyIn) checkHeader(fields []copyField) error {
	if !in.f.match {
		return nil
	}
	if len(fields) != len(in.cols) {
		return pgerr.New(pgerr.BadCopyFileFormat, "wrong number of fields in header line: got %d, expected %d", len(fields), len(in.cols))
	}
	for i, f := range fields {
		if want := in.table.Columns[in.cols[i]].Name; f.null || string(f.data) != want {
			return pgerr.New(pgerr.BadCopyFileFormat, "column name mismatch in header line field %d: got \"%s\", expected \"%s\"", i+1, f.data, want)
		}
	}
	return nil
}

// row adds a row of the input to the chunk.
func (in *copyIn) row(p *copyParser, fields []copyField) error {
	if len(fields) == 1 && len(in.cols) == 0 && len(fields[0].data) == 0 {
		fields = nil
	}
	raw := ""
	if !in.f.binary {
		raw = string(p.raw)
	}
	switch {
	case in.f.binary && len(fields) != len(in.cols):
		return copyError(pgerr.New(pgerr.BadCopyFileFormat, "row field count is %d, expected %d", len(fields), len(in.cols)), in.table.Name, p.line, "", "")
	case len(fields) > len(in.cols):
		return copyError(pgerr.New(pgerr.BadCopyFileFormat, "extra data after last expected column"), in.table.Name, p.line, "", raw)
	case len(fields) < len(in.cols):
		missing := in.table.Columns[in.cols[len(fields)]].Name
		return copyError(pgerr.New(pgerr.BadCopyFileFormat, "missing data for column \"%s\"", missing), in.table.Name, p.line, "", raw)
	}
	if in.chunk.N == 0 {
		in.first = p.line
	}
	for i, f := range fields {
		c := &in.table.Columns[in.cols[i]]
		d, err := in.value(p, i, f, c)
		if err != nil {
			value := ""
			if !in.f.binary {
				value = string(f.data)
			}
			return copyError(err, in.table.Name, p.line, c.Name, value)
		}
		in.chunk.Cols[in.cols[i]].Append(d)
	}
	in.chunk.N++
	return nil
}

// value reads one field.
func (in *copyIn) value(p *copyParser, i int, f copyField, c *catalog.Column) (types.Datum, error) {
	null := f.null
	if in.f.csv {
		if null && (in.f.forceNotNull[c.Name] || in.f.forceNotNull["*"]) {
			null = false
		}
		if !null && p.quoted[i] && (in.f.forceNull[c.Name] || in.f.forceNull["*"]) && string(f.data) == in.f.null {
			null = true
		}
	}
	switch {
	case null:
		return types.NullOf(c.Type), nil
	case in.f.binary:
		return types.ParseBinary(c.Type, slices.Clone(f.data))
	}
	return types.ParseText(c.Type, string(f.data))
}

// flush puts the chunk into the transaction.
func (in *copyIn) flush(line int64) error {
	c := in.chunk
	if c.N == 0 {
		return nil
	}
	if in.defaults != nil {
		in.defaults.Now = in.s.tx.now
		// The columns that are missing are not read by their defaults.
		cols, err := in.w.eval(in.defaults, &types.Chunk{N: c.N})
		if err != nil {
			return err
		}
		for k, i := range in.missing {
			c.Cols[i].AppendVec(&cols[k], nil, c.N)
		}
	}
	if in.where != nil {
		var errs expr.Errors
		in.where.Now = in.s.tx.now
		sel, err := in.where.Filter(c, in.sel, &errs)
		if err == nil && len(errs.Errs) > 0 {
			err = copyError(errs.Errs[0], in.table.Name, in.first+int64(errs.Rows[0]), "", "")
		}
		if err != nil {
			return err
		}
		in.sel, c.Sel = sel, sel
	}
	if c.Rows() > 0 {
		if err := in.ins.insert(c); err != nil {
			if code := pgerr.CodeOf(err); code == pgerr.NotNullViolation || code == pgerr.UniqueViolation {
				e := *pgerr.From(err)
				e.Detail += fmt.Sprintf("\nCOPY %s, lines %d to %d", in.table.Name, in.first, line)
				return &e
			}
			return err
		}
	}
	in.chunk = types.NewChunk(in.w.writes.types)
	return nil
}
