package engine

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/planner"
	"github.com/streamdb/streamdb/types"
)

// systemRelation is a relation of schema streamdb whose rows are computed
// when it is read. They are those of the moment, not of an epoch.
type systemRelation struct {
	obj  *catalog.Object
	rows func(en *Engine, b *rowBuilder) error
}

// systemRelations by name. The order gives their identities.
var systemRelations = func() map[string]*systemRelation {
	text, int8, when := types.Text, types.Int8, types.Timestamptz
	m := map[string]*systemRelation{}
	add := func(name string, rows func(*Engine, *rowBuilder) error, cols ...catalog.Column) {
		o := &catalog.Object{Kind: catalog.System, Schema: catalog.StreamDB, Name: name, Columns: cols, Status: catalog.Ready}
		o.ID = types.UUID{0: 0x73, 1: 0x64, 6: 0x40, 8: 0x80, 14: 1, 15: byte(len(m) + 1)}
		for i := range cols {
			cols[i].ID = uint32(i + 1)
		}
		m[name] = &systemRelation{obj: o, rows: rows}
	}
	add("errors", (*Engine).errorRows, col("job", text), col("operator", int8), col("row", text),
		col("sqlstate", text), col("message", text), col("count", int8))
	add("jobs", (*Engine).jobRows, col("name", text), col("kind", text), col("state", text), col("epoch", int8),
		col("lag", int8), col("parallelism", int8), col("state_backend", text), col("rows_in", int8), col("rows_processed", int8),
		col("state_bytes", int8), col("progress", int8), col("error", text), col("checkpoint_error", text))
	add("checkpoints", (*Engine).checkpointRows, col("number", int8), col("epoch", int8), col("started", when),
		col("duration_ms", types.Float8), col("bytes", int8), col("total_bytes", int8), col("jobs", int8),
		col("late_jobs", int8), col("error", text))
	add("savepoints", (*Engine).savepointRows, col("name", text), col("epoch", int8), col("created", when),
		col("bytes", int8), col("objects", int8), col("timeline", int8), col("automatic", types.Bool))
	add("sources", (*Engine).sourceRows, col("name", text), col("connector", text), col("replay", text),
		col("events", int8), col("bytes", int8), col("error", text))
	return m
}()

var systemByID = func() map[types.UUID]*systemRelation {
	m := map[types.UUID]*systemRelation{}
	for _, r := range systemRelations {
		m[r.obj.ID] = r
	}
	return m
}()

func col(name string, k types.Kind) catalog.Column {
	return catalog.Column{Name: name, Type: types.T(k)}
}

// systemObject finds a system relation for the planner.
func systemObject(schema, name string) *catalog.Object {
	if r := systemRelations[name]; r != nil && schema == catalog.StreamDB {
		return r.obj
	}
	return nil
}

func isSystem(id types.UUID) bool { return systemByID[id] != nil }

// systemChunks computes a system relation's rows.
func (en *Engine) systemChunks(id types.UUID) ([]*types.Chunk, error) {
	r := systemByID[id]
	b := newRowBuilder(r.obj.TypeSchema().Types())
	if err := r.rows(en, b); err != nil {
		return nil, err
	}
	return b.chunks, nil
}

// rowBuilder gathers rows.
type rowBuilder struct {
	types  []types.Type
	chunks []*types.Chunk
}

func newRowBuilder(ts []types.Type) *rowBuilder { return &rowBuilder{types: ts} }

// add adds a row.
func (b *rowBuilder) add(row ...types.Datum) {
	n := len(b.chunks)
	if n == 0 || b.chunks[n-1].N == types.MaxChunkRows {
		b.chunks = append(b.chunks, types.NewChunk(b.types))
		n++
	}
	b.chunks[n-1].AppendRow(1, row...)
}

// addText adds a row of texts.
func (b *rowBuilder) addText(row ...string) {
	ds := make([]types.Datum, len(row))
	for i, s := range row {
		ds[i] = types.NewText(s)
	}
	b.add(ds...)
}

// orNull is a text, NULL if it is empty.
func orNull(s string) types.Datum {
	if s == "" {
		return types.NullOf(types.T(types.Text))
	}
	return types.NewText(s)
}

func int8Of[T ~int | ~int64 | ~uint64](n T) types.Datum { return types.NewInt8(int64(n)) }

func instant(m types.Micros) types.Datum {
	return types.Datum{Type: types.T(types.Timestamptz), I: int64(m)}
}

func (en *Engine) jobRows(b *rowBuilder) error {
	for _, j := range en.Jobs() {
		b.add(types.NewText(j.Name), types.NewText(j.Kind), types.NewText(j.State), int8Of(j.Epoch), int8Of(j.Lag),
			int8Of(j.Parallelism), types.NewText(j.Backend), int8Of(j.RowsIn), int8Of(j.Processed), int8Of(j.StateBytes),
			int8Of(j.Progress), orNull(j.Err), orNull(j.LastCheckpointErr))
	}
	return nil
}

func (en *Engine) checkpointRows(b *rowBuilder) error {
	for _, c := range en.Checkpoints() {
		b.add(int8Of(c.Number), int8Of(c.Epoch), instant(types.Micros(c.Started.UnixMicro()-pg2000)),
			types.NewFloat8(float64(c.Duration)/float64(time.Millisecond)), int8Of(c.Bytes), int8Of(c.Total),
			int8Of(c.Jobs), int8Of(c.Late), orNull(c.Err))
	}
	return nil
}

func (en *Engine) savepointRows(b *rowBuilder) error {
	list, err := en.Savepoints()
	if err != nil {
		return err
	}
	for _, sp := range list {
		b.add(types.NewText(sp.Name), int8Of(sp.Epoch), instant(sp.Created), int8Of(sp.Bytes),
			int8Of(sp.Objects), int8Of(sp.Timeline), types.NewBool(sp.Auto))
	}
	return nil
}

func (en *Engine) sourceRows(b *rowBuilder) error {
	for _, s := range en.SourceInfos() {
		b.add(types.NewText(s.Name), types.NewText(s.Connector), types.NewText(s.Replay), int8Of(s.Events),
			int8Of(s.Bytes), orNull(s.Err))
	}
	return nil
}

// errorRows are streamdb.errors: the rows that views and sinks lack because
// an expression fails on them. Beyond a bound they are only counted, in a row
// without image.
func (en *Engine) errorRows(b *rowBuilder) error {
	for _, j := range en.jobList() {
		ex := j.exec.Load()
		if ex == nil {
			continue
		}
		named, total := ex.Errors()
		name := types.NewText(j.obj.Load().Title())
		for _, e := range named {
			total -= e.Count
			b.add(name, int8Of(e.Op), types.NewText(imageText(e.Image, inputTypes(j.plan, e.Op))),
				types.NewText(string(e.Err.Code)), types.NewText(e.Err.Message), int8Of(e.Count))
		}
		if total > 0 {
			text := types.NullOf(types.T(types.Text))
			b.add(name, types.NullOf(types.T(types.Int8)), text, text, types.NewText("further rows"), int8Of(total))
		}
	}
	return nil
}

func (en *Engine) jobList() []*job {
	en.mu.RLock()
	defer en.mu.RUnlock()
	jobs := make([]*job, 0, len(en.jobs))
	for _, j := range en.jobs {
		jobs = append(jobs, j)
	}
	return jobs
}

// standingErrors gives how many rows a view lacks because an expression
// failed on them, in it or in a view below it, and the first view that does.
func (en *Engine) standingErrors(id types.UUID) (n int64, name string) {
	o := en.Catalog().ByID(id)
	if o == nil || o.Kind != catalog.MaterializedView {
		return 0, ""
	}
	if en.HasErrors(id) {
		if j, err := en.job(id); err == nil {
			if ex := j.exec.Load(); ex != nil {
				if _, n = ex.Errors(); n > 0 {
					return n, o.Name
				}
			}
		}
	}
	for _, d := range o.Depends {
		if n, name = en.standingErrors(d); n > 0 {
			return n, name
		}
	}
	return 0, ""
}

// inputTypes gives the columns of an operator's error rows.
func inputTypes(p *planner.Plan, op int) []types.Type {
	for f := range p.Fragments {
		frag := &p.Fragments[f]
		for k, o := range frag.Ops {
			if o.OpID() != op {
				continue
			}
			switch o := o.(type) {
			case *planner.HashAgg:
				return o.Types()[:len(o.Keys)]
			case *planner.HashJoin:
				return o.Types()
			case *planner.Values:
				return nil
			}
			if k > 0 {
				return frag.Ops[k-1].Types()
			}
			if len(frag.Edges) == 0 {
				return nil
			}
			from := frag.Edges[0].From
			if from < 0 {
				return p.Inputs[-1-from].Types
			}
			ops := p.Fragments[from].Ops
			return ops[len(ops)-1].Types()
		}
	}
	return nil
}

// imageText prints a row image as PostgreSQL prints a record.
func imageText(image []byte, ts []types.Type) string {
	c := types.NewChunk(ts)
	if err := types.DecodeImage(image, c.Cols); err != nil {
		return `\x` + hex.EncodeToString(image)
	}
	parts := make([]string, len(ts))
	for i := range ts {
		if c.Cols[i].Null(0) {
			continue
		}
		s := string(c.Cols[i].AppendText(nil, 0))
		if s == "" || strings.ContainsAny(s, "(),\"\\ \t\n") {
			s = `"` + strings.NewReplacer(`"`, `""`, `\`, `\\`).Replace(s) + `"`
		}
		parts[i] = s
	}
	return fmt.Sprintf("(%s)", strings.Join(parts, ","))
}
