package engine

import (
	"context"
	"errors"
	"math"
	"strconv"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/relation"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// pointRead is a SELECT of plain columns of the row with a given key: it is
// answered by one look-up, without a plan. What it does not recognise goes
// the general way, with the same answer.
type pointRead struct {
	relation types.UUID
	key      []pointValue // in the order of the relation's key
	columns  []int
	fields   []wire.Field
	params   []types.Type
}

// pointValue is a constant, or a parameter (from 1).
type pointValue struct {
	param int
	value types.Datum
}

// pointRead recognises a point read; nil if q is none.
func (s *session) pointRead(q *sql.Query, declared []types.Type) *pointRead {
	sel, ok := q.Body.(*sql.Select)
	if !ok || q.With != nil || q.OrderBy != nil || q.Limit != nil || q.Offset != nil || q.Locking != "" ||
		sel.Distinct || sel.DistinctOn != nil || sel.GroupBy != nil || sel.Having != nil || sel.Windows != nil ||
		len(sel.From) != 1 || sel.Where == nil {
		return nil
	}
	t, ok := sel.From[0].(*sql.TableName)
	if !ok || t.AsOf != nil || t.Columns != nil || t.Only {
		return nil
	}
	o, err := s.en.Catalog().Resolve(s.settings.searchPath(), t.Name.Parts)
	if err != nil || o.Key == nil || o.Kind != catalog.Table && o.Kind != catalog.MaterializedView {
		return nil
	}
	b := pointBinder{o: o, name: t.Alias, params: append([]types.Type(nil), declared...)}
	if b.name == "" {
		b.name = o.Name
	}
	p := &pointRead{relation: o.ID, key: make([]pointValue, len(o.Key))}
	b.set = make([]bool, len(o.Key))
	if !b.items(sel.Items, p) || !b.where(sel.Where, p) {
		return nil
	}
	for _, ok := range b.set {
		if !ok {
			return nil
		}
	}
	for _, t := range b.params {
		if t.Kind == types.Unknown {
			return nil
		}
	}
	p.params = b.params
	return p
}

// pointBinder resolves the names of a point read.
type pointBinder struct {
	o      *catalog.Object
	name   string
	params []types.Type
	set    []bool // by place in the key
}

func (b *pointBinder) column(e sql.Expr) int {
	c, ok := e.(*sql.ColumnRef)
	if !ok || len(c.Parts) > 2 || len(c.Parts) == 2 && c.Parts[0] != b.name {
		return -1
	}
	return b.o.Column(c.Parts[len(c.Parts)-1])
}

func (b *pointBinder) items(items []sql.SelectItem, p *pointRead) bool {
	add := func(i int, name string) {
		p.columns = append(p.columns, i)
		p.fields = append(p.fields, wire.Field{Name: name, Type: b.o.Columns[i].Type})
	}
	for _, it := range items {
		if star, ok := it.Expr.(*sql.Star); ok {
			if len(star.Qualifier) > 1 || len(star.Qualifier) == 1 && star.Qualifier[0] != b.name {
				return false
			}
			for i, c := range b.o.Columns {
				add(i, c.Name)
			}
			continue
		}
		i := b.column(it.Expr)
		if i < 0 {
			return false
		}
		name := it.Alias
		if name == "" {
			name = b.o.Columns[i].Name
		}
		add(i, name)
	}
	return len(p.fields) > 0
}

// where takes a conjunction of key column = constant, each column once.
func (b *pointBinder) where(e sql.Expr, p *pointRead) bool {
	x, ok := e.(*sql.Binary)
	if !ok || x.Schema != "" {
		return false
	}
	switch x.Op {
	case "AND":
		return b.where(x.Left, p) && b.where(x.Right, p)
	case "=":
	default:
		return false
	}
	col, value := b.column(x.Left), x.Right
	if col < 0 {
		col, value = b.column(x.Right), x.Left
	}
	for place, k := range b.o.Key {
		if k == col && !b.set[place] {
			b.set[place] = true
			return b.value(value, b.o.Columns[col].Type.Kind, &p.key[place])
		}
	}
	return false
}

// value takes a literal or parameter that compares with a column of kind k
// without a cast of the column.
func (b *pointBinder) value(e sql.Expr, k types.Kind, v *pointValue) bool {
	if k != types.Int8 && k != types.Int4 && k != types.Text {
		return false
	}
	switch e := e.(type) {
	case *sql.Param:
		for len(b.params) < e.Number && e.Number <= math.MaxUint16 {
			b.params = append(b.params, types.Type{})
		}
		if e.Number < 1 || e.Number > len(b.params) {
			return false
		}
		t := &b.params[e.Number-1]
		if t.Kind == types.Unknown {
			*t = types.T(k)
		}
		v.param, v.value = e.Number, types.NullOf(types.T(k))
		return t.Kind == k || t.Kind == types.Int4 && k == types.Int8
	case *sql.Literal:
		v.value = types.Datum{Type: types.T(k)}
		if k == types.Text {
			v.value.B = []byte(e.Text)
			return e.Kind == sql.LitString
		}
		bits := 64
		if k == types.Int4 {
			bits = 32
		}
		var err error
		v.value.I, err = strconv.ParseInt(e.Text, 10, bits)
		return e.Kind == sql.LitInteger && err == nil
	}
	return false
}

// executePoint answers a point read.
func (s *session) executePoint(ctx context.Context, p *prepared, params []types.Datum) (*wire.Result, error) {
	pt := p.point
	rows := &chunkRows{tag: selectTag}
	res := &wire.Result{Fields: p.fields, Rows: rows}
	key := make([]types.Datum, len(pt.key))
	null := false
	for i, v := range pt.key {
		key[i] = v.value
		if v.param > 0 {
			d := params[v.param-1]
			d.Type = v.value.Type // an integer may stand for a bigint
			key[i] = d
		}
		null = null || key[i].Null
	}
	ids := []types.UUID{pt.relation}
	if err := s.warnOfErrors(ids); err != nil {
		return nil, err
	}
	if null {
		return res, nil
	}
	c, err := s.lookup(ctx, ids, key)
	for errors.Is(err, relation.ErrStopped) && ctx.Err() == nil && s.tx.pins == nil {
		c, err = s.lookup(ctx, ids, key) // moved to another parallelism or backend meanwhile
	}
	if err != nil || c.N == 0 {
		return res, err
	}
	n := narrow{cols: pt.columns}
	rows.chunks = []*types.Chunk{n.of(c)}
	return res, nil
}

// lookup gives the row of a relation with a key, none or one.
func (s *session) lookup(ctx context.Context, ids []types.UUID, key []types.Datum) (*types.Chunk, error) {
	pins, err := s.pin(ctx, ids)
	if err != nil {
		return nil, err
	}
	defer pins.release()
	rd := reader{snap: pins.Snaps[ids[0]], own: s.tx.writes.of(ids[0])}
	return rd.lookup(ctx, key)
}
