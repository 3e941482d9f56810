package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// pools are the values of each type. They are few, so that rows meet in joins
// and groups; floats among them add up without rounding.
var pools = map[sqlType][]string{
	boolean:     {"true", "false"},
	int4:        {"0", "1", "2", "3", "5", "7", "-1", "-4", "10"},
	int8:        {"0", "1", "2", "3", "4", "-2", "100", "5000000000"},
	float8:      {"0", "1", "0.5", "-2.25", "3", "100.75", "8"},
	numeric:     {"0", "1", "1.0", "1.00", "2.50", "-3.75", "10.125", "0.1", "7"},
	text:        {"", "a", "ab", "abc", "b", "B", "Zebra", "x%y", "a_b", "ünïcödé", "日本", " 7 ", "12", "true"},
	date:        {"2000-01-01", "2024-02-29", "2024-03-01", "1999-12-31", "2001-09-09", "1970-01-01"},
	timestamp:   {"2000-01-01 00:00:00", "2024-02-29 12:34:56.789", "1999-12-31 23:59:59.999999", "2001-09-09 01:46:40", "1970-01-01 00:00:01.5"},
	timestamptz: {"2000-01-01 00:00:00+00", "2024-02-29 12:34:56.789+05:30", "2001-09-09 01:46:40-08", "1970-01-01 00:00:01.5+00"},
	interval:    {"0", "1 day", "24:00:00", "1 mon", "30 days", "-01:30:00", "1 year 2 mons 3 days 04:05:06.789", "00:00:01"},
}

// edges are values that like to go wrong; they are rare.
var edges = map[sqlType][]string{
	boolean:     {"true"},
	int4:        {"2147483647", "-2147483648"},
	int8:        {"9223372036854775807", "-9223372036854775808", "2147483648"},
	float8:      {"NaN", "Infinity", "-Infinity", "-0"},
	numeric:     {"NaN", "12345678901234567890.123", "-0.000000000001", "1e20"},
	text:        {"\t", "'quoted'", "NULL", "ÄÖ", "a b c d e f g h i j k l m n o p q r s t u v w x y z"},
	date:        {"infinity", "-infinity", "0044-03-15 BC", "9999-12-31"},
	timestamp:   {"infinity", "-infinity", "0044-03-15 10:00:00 BC"},
	timestamptz: {"infinity", "-infinity"},
	interval:    {"-1 mons +2 days -03:00:00", "1 microsecond"},
}

// quoted is a random literal of type t.
func quoted(r *rand.Rand, t sqlType, from []string) string {
	v := from[r.IntN(len(from))]
	switch t {
	case int4:
		return "(" + v + ")"
	case boolean:
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", "''") + "'::" + string(t)
}

// column is a column of a table or view.
type column struct {
	name     string
	typ      sqlType
	declared string // in CREATE TABLE
	notNull  bool
	level    level
	plain    bool
	pool     []string // of a table's column
}

// table is a base table.
type table struct {
	name string
	cols []column
	key  bool // the first column is the primary key
}

func (t *table) create() string {
	var cols []string
	for i, c := range t.cols {
		def := c.name + " " + c.declared
		switch {
		case i == 0 && t.key:
			def += " PRIMARY KEY"
		case c.notNull:
			def += " NOT NULL"
		}
		cols = append(cols, def)
	}
	return "CREATE TABLE " + t.name + " (" + strings.Join(cols, ", ") + ")"
}

// newTable makes a table with columns of most types. Names are made of the
// type, so that columns of two tables meet in USING.
func newTable(r *rand.Rand, n int) *table {
	t := &table{name: fmt.Sprintf("t%d", n), key: r.IntN(2) == 0}
	if t.key {
		t.cols = append(t.cols, column{name: "id", typ: int4, declared: "int4", notNull: true, plain: true})
	}
	for _, i := range r.Perm(len(allTypes))[:4+r.IntN(5)] {
		typ := allTypes[i]
		c := column{name: "c_" + string(typ), typ: typ, declared: string(typ), notNull: r.IntN(8) == 0, plain: true}
		if typ == numeric && r.IntN(3) == 0 {
			c.declared = "numeric(12,3)"
		}
		pool := pools[typ]
		for range 3 + r.IntN(4) {
			c.pool = append(c.pool, pool[r.IntN(len(pool))])
		}
		t.cols = append(t.cols, c)
	}
	if r.IntN(2) == 0 {
		c := column{name: "k", typ: int4, declared: "int4", plain: true, pool: pools[int4][:4]}
		t.cols = append(t.cols, c)
	}
	return t
}

// datum is a literal for column c.
func (c *column) datum(r *rand.Rand) string {
	switch {
	case !c.notNull && r.IntN(6) == 0:
		return "NULL"
	case c.pool == nil: // a key
		return fmt.Sprint(r.IntN(60))
	case r.IntN(80) == 0 && c.declared == string(c.typ):
		return quoted(r, c.typ, edges[c.typ])
	}
	return quoted(r, c.typ, c.pool)
}

func (t *table) leaves(r *rand.Rand) func(sqlType) *expr {
	return func(typ sqlType) *expr { return pickColumn(r, t.cols, "", typ) }
}

// pickColumn gives a column of the type, nil if there is none.
func pickColumn(r *rand.Rand, cols []column, prefix string, typ sqlType) *expr {
	var fit []column
	for _, c := range cols {
		if c.typ == typ && c.level != rough {
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	c := fit[r.IntN(len(fit))]
	return &expr{typ: typ, format: prefix + c.name, level: c.level, column: true, plain: c.plain}
}

// statement is one statement of DML. An INSERT's rows are apart, so that they
// can be dropped one by one.
type statement struct {
	text string
	rows []string
	use  string
}

func (s *statement) String() string {
	if len(s.rows) == 0 {
		return s.text
	}
	return s.text + " VALUES " + strings.Join(s.rows, ", ")
}

func newInsert(r *rand.Rand, t *table, n int) *statement {
	s := &statement{text: "INSERT INTO " + t.name, use: "insert"}
	for range n {
		vals := make([]string, len(t.cols))
		for i := range t.cols {
			vals[i] = t.cols[i].datum(r)
		}
		s.rows = append(s.rows, "("+strings.Join(vals, ", ")+")")
	}
	return s
}

// few is a condition that holds for a part of the rows.
func (m *maker) few() *expr {
	e := m.value(boolean, 1)
	if k := m.leaf(int4); k != nil && m.r.IntN(3) > 0 {
		e = node(boolean, "", "%s AND %s = %s", e, k, m.literal(int4))
	}
	return e
}

func newStatement(r *rand.Rand, t *table) *statement {
	m := &maker{r: r, leaf: t.leaves(r), noFail: true}
	switch r.IntN(10) {
	case 0, 1, 2, 3:
		return newInsert(r, t, 1+r.IntN(6))
	case 4, 5:
		return &statement{text: fmt.Sprintf("DELETE FROM %s WHERE %s", t.name, m.few()), use: "delete"}
	case 6:
		if !t.key {
			return &statement{text: fmt.Sprintf("INSERT INTO %s SELECT * FROM %s WHERE %s", t.name, t.name, m.few()), use: "insert select"}
		}
	}
	var sets []string
	from := 0
	if t.key {
		from = 1
	}
	for _, i := range r.Perm(len(t.cols) - from)[:1+r.IntN(2)] {
		c := &t.cols[i+from]
		value := c.datum(r)
		if r.IntN(2) == 0 && c.declared == string(c.typ) && !c.notNull && c.typ != float8 {
			value = m.value(c.typ, 1).String()
		}
		sets = append(sets, c.name+" = "+value)
	}
	return &statement{text: fmt.Sprintf("UPDATE %s SET %s WHERE %s", t.name, strings.Join(sets, ", "), m.value(boolean, 1)), use: "update"}
}
