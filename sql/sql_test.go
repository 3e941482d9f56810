package sql

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// dump writes a tree without positions and empty fields, one node as
// Name{Field: value …}.
func dump(v any) string {
	var b strings.Builder
	dumpValue(&b, reflect.ValueOf(v))
	return b.String()
}

func dumpValue(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		dumpValue(b, v.Elem())
	case reflect.Slice:
		b.WriteString("[")
		for i := 0; i < v.Len(); i++ {
			if i > 0 {
				b.WriteString(" ")
			}
			dumpValue(b, v.Index(i))
		}
		b.WriteString("]")
	case reflect.Struct:
		b.WriteString(v.Type().Name() + "{")
		sep := ""
		for i := 0; i < v.NumField(); i++ {
			f := v.Field(i)
			if v.Type().Field(i).Type == reflect.TypeFor[Pos]() || f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 ||
				v.Type().Field(i).Name == "ColumnPos" {
				continue
			}
			b.WriteString(sep + v.Type().Field(i).Name + ":")
			dumpValue(b, f)
			sep = " "
		}
		b.WriteString("}")
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	default:
		fmt.Fprint(b, v.Interface())
	}
}

// outline dumps a statement with queries and expressions as text.
func outline(s Stmt) string {
	if q, ok := s.(*QueryStmt); ok {
		return FormatQuery(q.Query)
	}
	v := reflect.ValueOf(s).Elem()
	var b strings.Builder
	b.WriteString(v.Type().Name())
	for i := 0; i < v.NumField(); i++ {
		f, field := v.Field(i), v.Type().Field(i)
		if field.Type == reflect.TypeFor[Pos]() || f.IsZero() || field.Name == "ColumnPos" {
			continue
		}
		fmt.Fprintf(&b, "\n  %s: ", field.Name)
		switch x := f.Interface().(type) {
		case *Query:
			b.WriteString(FormatQuery(x))
		case Stmt:
			b.WriteString(strings.ReplaceAll(outline(x), "\n", "\n  "))
		case Expr:
			b.WriteString(FormatExpr(x))
		case Name:
			b.WriteString(x.String())
		default:
			dumpValue(&b, f)
		}
	}
	return b.String()
}

func describe(err error) string {
	e := pgerr.From(err)
	s := fmt.Sprintf("error %s: %s", e.Code, e.Message)
	if e.Position > 0 {
		s += fmt.Sprintf(" (at %d)", e.Position)
	}
	if e.Hint != "" {
		s += "\nhint: " + e.Hint
	}
	return s
}

// TestGolden reads testdata/*.txt. Commands: parse gives the outline of each
// statement, expr an expression with all its parentheses and its name as a
// column, tree its tree.
func TestGolden(t *testing.T) {
	for _, file := range []string{"query", "expr", "ddl", "dml", "session", "error", "lex"} {
		datadriven.RunTest(t, "testdata/"+file+".txt", func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			switch d.Cmd {
			case "parse":
				texts, err := Parse(d.Input)
				if err != nil {
					return describe(err) + "\n"
				}
				for _, s := range texts {
					fmt.Fprintln(&out, outline(s.Stmt))
				}
			case "errors", "expr", "tree", "names":
				for _, line := range strings.Split(d.Input, "\n") {
					fmt.Fprintln(&out, goldenLine(d.Cmd, line))
				}
			default:
				t.Fatalf("unknown command %s", d.Cmd)
			}
			return out.String()
		})
	}
}

func goldenLine(cmd, line string) string {
	if cmd == "errors" {
		if _, err := Parse(line); err != nil {
			return describe(err)
		}
		return "accepted"
	}
	e, err := ParseExpr(line)
	switch {
	case err != nil:
		return describe(err)
	case cmd == "tree":
		return dump(e)
	case cmd == "names":
		return OutputName(e)
	}
	f := formatter{full: true}
	f.expr(e)
	return f.String()
}

// TestRoundTrip formats every statement of the corpus and reads it back.
func TestRoundTrip(t *testing.T) {
	for _, src := range corpus(t) {
		texts, err := Parse(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		q, ok := texts[0].Stmt.(*QueryStmt)
		if !ok {
			continue
		}
		text := FormatQuery(q.Query)
		again, err := ParseQuery(text)
		if err != nil {
			t.Errorf("%s\n formatted %s: %v", src, text, err)
			continue
		}
		if a, b := dump(q.Query), dump(again); a != b {
			t.Errorf("%s\n formatted %s\n gives %s\n not   %s", src, text, b, a)
		}
	}
}

func TestSplit(t *testing.T) {
	texts, err := Parse(";; SELECT 1; -- x\n CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; COMMIT ;/* y */")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range texts {
		got = append(got, s.SQL)
	}
	want := []string{"SELECT 1", "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END", "COMMIT"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
	for _, empty := range []string{"", "  ", ";", "-- x", "/* a /* b */ */"} {
		if texts, err := Parse(empty); err != nil || len(texts) != 0 {
			t.Errorf("%q gives %v, %v", empty, texts, err)
		}
	}
}

func TestPositions(t *testing.T) {
	texts, err := Parse("SELECT 'é' || a, f(b) FROM t WHERE c IS NULL")
	if err != nil {
		t.Fatal(err)
	}
	s := texts[0].Stmt.(*QueryStmt).Query.Body.(*Select)
	b := s.Items[0].Expr.(*Binary)
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"operator", b.Position(), 12}, {"left", b.Left.Position(), 8}, {"column", b.Right.Position(), 15},
		{"call", s.Items[1].Expr.Position(), 18}, {"argument", s.Items[1].Expr.(*Call).Args[0].Expr.Position(), 20},
		{"table", s.From[0].Position(), 28}, {"test", s.Where.Position(), 38},
	} {
		if c.got != c.want {
			t.Errorf("%s at %d, want %d", c.name, c.got, c.want)
		}
	}
}

// TestDeep gives statements nested 10,000 deep, which must be refused fast.
func TestDeep(t *testing.T) {
	const n = 10000
	for _, c := range []struct{ open, mid, end string }{
		{"SELECT ", "(", ""}, {"SELECT ", "NOT ", "a"}, {"SELECT ", "- ", "a"}, {"SELECT ", "f(", ""},
		{"SELECT ", "(SELECT ", ""}, {"SELECT * FROM ", "(", ""}, {"SELECT ", "ARRAY[", ""}, {"SELECT ", "CASE WHEN ", ""},
		{"", "(", "SELECT 1"}, {"SELECT * FROM ", "(SELECT * FROM ", ""}, {"SELECT ", "a[", ""}, {"SELECT ", "1 + (", ""},
		{"SELECT ", "@ ", "a"}, {"SELECT 1 FROM a ", "JOIN b ", ""}, {"SELECT 1 GROUP BY ", "GROUPING SETS (", ""},
		{"", "WITH a AS (", ""}, {"SELECT ", "x IN (", ""}, {"SELECT 1 WHERE ", "EXISTS (SELECT 1 WHERE ", ""},
	} {
		start := time.Now()
		_, err := Parse(c.open + strings.Repeat(c.mid, n) + c.end)
		if pgerr.CodeOf(err) != pgerr.StatementTooComplex {
			t.Errorf("%s%s…: %v", c.open, c.mid, err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("%s%s… took %v", c.open, c.mid, d)
		}
	}
	if _, err := Parse("SELECT " + strings.Repeat("(", 900) + "1" + strings.Repeat(")", 900)); err != nil {
		t.Errorf("900 levels: %v", err)
	}
}

// height gives the height of a tree of Binary nodes.
func height(e Expr) int {
	if b, ok := e.(*Binary); ok {
		return 1 + max(height(b.Left), height(b.Right))
	}
	return 0
}

func TestLongChains(t *testing.T) {
	const n = 10000
	for _, c := range []struct {
		op     string
		height int
	}{{" AND ", 14}, {" OR ", 14}, {" + ", n}, {" || ", n}, {" - ", n}} {
		src := strings.Repeat("a"+c.op, n) + "a"
		start := time.Now()
		e, err := ParseExpr(src)
		d := time.Since(start)
		if err != nil {
			t.Errorf("%s: %v", c.op, err)
			continue
		}
		t.Logf("%d terms with %q: %v", n, c.op, d)
		if h := height(e); h != c.height || d > time.Second {
			t.Errorf("%s: height %d in %v", c.op, h, d)
		}
		if FormatExpr(e) != src {
			t.Errorf("%s: does not read back", c.op)
		}
	}
	for _, src := range []string{
		"SELECT 1" + strings.Repeat(" UNION ALL SELECT 1", n),
		"SELECT 1 FROM a" + strings.Repeat(" JOIN b ON true", n),
		"SELECT 1 FROM a" + strings.Repeat(", b", n),
		"SELECT a" + strings.Repeat("::int", n),
		"SELECT a" + strings.Repeat("[1]", n),
		"SELECT a IN (1" + strings.Repeat(", 1", n) + ")",
		"INSERT INTO t VALUES (1, 'x')" + strings.Repeat(", (1, 'x')", n),
		"SELECT CASE" + strings.Repeat(" WHEN a THEN b", n) + " END",
	} {
		start := time.Now()
		if _, err := Parse(src); err != nil {
			t.Errorf("%s…: %v", src[:40], err)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("%s… took %v", src[:40], d)
		} else {
			t.Logf("%s…: %v", src[:40], d)
		}
	}
	for _, src := range []string{strings.Repeat("1+", 100000) + "1", strings.Repeat("a ISNULL = ", 50000) + "b", "a" + strings.Repeat("::int", 30000)} {
		if _, err := ParseExpr(src); err == nil {
			t.Errorf("%s… accepted", src[:20])
		}
	}
}

func TestTooLong(t *testing.T) {
	if _, err := Parse("SELECT '" + strings.Repeat("x", maxSource) + "'"); pgerr.CodeOf(err) != pgerr.ProgramLimitExceeded {
		t.Errorf("got %v", err)
	}
}

// TestConcurrent parses on many goroutines: TiDB's parsers are pooled.
func TestConcurrent(t *testing.T) {
	statements := corpus(t)
	want := make([]string, len(statements))
	for i, s := range statements {
		texts, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		want[i] = outline(texts[0].Stmt)
	}
	var wg sync.WaitGroup
	for g := 0; g < 8; g++ {
		wg.Go(func() {
			for k := range statements {
				i := (k*7 + g*31) % len(statements)
				texts, err := Parse(statements[i])
				if err != nil || outline(texts[0].Stmt) != want[i] {
					t.Errorf("%s: %v", statements[i], err)
				}
			}
		})
	}
	wg.Wait()
}

func TestQuoteIdent(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "_x1": "_x1", "A": `"A"`, "a b": `"a b"`, `a"b`: `"a""b"`, "select": `"select"`, "1a": `"1a"`,
		"value": "value", "left": `"left"`, "int": `"int"`, "é": `"é"`, "a$": `"a$"`,
	} {
		if got := QuoteIdent(in); got != want {
			t.Errorf("%s gives %s, want %s", in, got, want)
		}
	}
}

// FuzzParse looks for panics, errors without SQLSTATE, internal errors, and
// texts that do not read back.
func FuzzParse(f *testing.F) {
	for _, s := range corpus(f) {
		f.Add(s)
	}
	for _, s := range []string{"SELECT U&'\\d83d\\de00'", "SELECT 'a", "SELECT \"", "$$", "\x00", "\xff", "SELECT E'\\xff'", "((((", "SELECT 1 /*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		texts, err := Parse(src)
		if err != nil {
			var e *pgerr.Error
			if !errors.As(err, &e) || len(e.Code) != 5 || e.Code == pgerr.InternalError {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		for _, s := range texts {
			q, ok := s.Stmt.(*QueryStmt)
			if !ok {
				continue
			}
			text := FormatQuery(q.Query)
			again, err := ParseQuery(text)
			if err != nil {
				t.Fatalf("%q formatted %q: %v", src, text, err)
			}
			if a, b := dump(q.Query), dump(again); a != b {
				t.Fatalf("%q formatted %q gives\n%s\nnot\n%s", src, text, b, a)
			}
		}
	})
}
