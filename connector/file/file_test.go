package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/connector/connectortest"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var ctx = context.Background()

// cols makes a schema of "name type, …".
func cols(t testing.TB, decl string) types.Schema {
	t.Helper()
	var s types.Schema
	for _, d := range strings.Split(decl, ", ") {
		name, typ, _ := strings.Cut(d, " ")
		typ, notNull := strings.CutSuffix(typ, " not null")
		ty, err := types.TypeByName(typ, nil)
		if err != nil {
			t.Fatal(err)
		}
		s = append(s, types.Column{Name: name, Type: ty, NotNull: notNull})
	}
	return s
}

const everyType = "b bool, i4 int4, i8 int8, f float8, n numeric, t text, d date, ts timestamp, tz timestamptz, iv interval"

func spec(s types.Schema, opts ...string) connector.SourceSpec {
	m := map[string]string{"path": "f", "format": "json"}
	for i := 0; i < len(opts); i += 2 {
		m[opts[i]] = opts[i+1]
	}
	return connector.SourceSpec{Options: m, Columns: s}
}

// memFile makes an in-memory file that can be appended to.
type memFile struct {
	fs *vfs.MemFS
	n  int64
}

func newFile(t testing.TB, content string) *memFile {
	f := &memFile{fs: vfs.NewMem()}
	f.append(t, content)
	return f
}

func (m *memFile) append(t testing.TB, s string) {
	t.Helper()
	f, err := m.fs.OpenReadWrite("f", vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.WriteAt([]byte(s), m.n)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	m.n += int64(len(s))
}

func (m *memFile) env() connector.Env { return connector.Env{FS: m.fs, Now: time.Now} }

// openReader opens a reader of all columns.
func openReader(t testing.TB, env connector.Env, s connector.SourceSpec, from types.Position) connector.Reader {
	t.Helper()
	src, err := Factory{}.Open(ctx, s, env)
	if err != nil {
		t.Fatal(err)
	}
	need := []int{}
	for i := range s.Columns {
		need = append(need, i)
	}
	r, err := src.Open(ctx, split, from, [][]int{need})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// drain reads all that is there, a line a row, then what was rejected.
func drain(t testing.TB, r connector.Reader) (string, types.Position) {
	t.Helper()
	var out, bad strings.Builder
	var last types.Position
	for {
		var b connector.Batch
		pos, err := r.Read(ctx, &b, 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c := b.Chunks[0]; c != nil {
			if err := c.Check(); err != nil {
				t.Fatal(err)
			}
			for i := range c.N {
				for j := range c.Cols {
					if j > 0 {
						out.WriteByte('|')
					}
					if c.Cols[j].Null(i) {
						out.WriteString("∅")
					} else {
						out.Write(types.AppendText(nil, c.Cols[j].Datum(i)))
					}
				}
				out.WriteByte('\n')
			}
		}
		for _, x := range b.Rejected {
			fmt.Fprintf(&bad, "! %d %s %q\n", x.Offset, x.Err.Code, x.Raw[:min(len(x.Raw), 60)])
		}
		if bytes.Equal(pos, last) {
			return out.String() + bad.String(), pos
		}
		last = pos
	}
}

func wantText(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestJSON(t *testing.T) {
	lines := []struct{ in, want string }{
		{`{"b":true,"i4":1,"i8":-9007199254740993,"f":1.5,"n":12345678901234567890.10,"t":"x","d":"2001-01-02","ts":"2001-01-02 03:04:05.6","tz":"2001-01-02 03:04:05+02","iv":"1 day 02:00"}`,
			"t|1|-9007199254740993|1.5|12345678901234567890.10|x|2001-01-02|2001-01-02 03:04:05.6|2001-01-02 01:04:05+00|1 day 02:00:00"},
		{`{"t":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"}`, "∅|∅|∅|∅|∅|a\"\\/\b\f\n\r\té😀é|∅|∅|∅|∅"},
		{` { "i4" : "42" , "x" : [1,{"y":[]},"\u0000",null] , "b" : "yes", "f":"NaN","n":"1e3" } `, "t|42|∅|NaN|1000|∅|∅|∅|∅|∅"},
		{`{"t":{"a": [1, 2]}}`, `∅|∅|∅|∅|∅|{"a": [1, 2]}|∅|∅|∅|∅`},
		{`{"t":1.50,"i4":null,"f":-0,"n":-0.00}`, `∅|∅|∅|-0|0.00|1.50|∅|∅|∅|∅`},
		{`{"t":true,"T":"other case","t":"last wins"}`, `∅|∅|∅|∅|∅|last wins|∅|∅|∅|∅`},
		{`{"t":"x","t":null}`, `∅|∅|∅|∅|∅|∅|∅|∅|∅|∅`},
		{`{"\u0074":"escaped key"}`, `∅|∅|∅|∅|∅|escaped key|∅|∅|∅|∅`},
		{`{}`, `∅|∅|∅|∅|∅|∅|∅|∅|∅|∅`},
	}
	var in, want strings.Builder
	for _, l := range lines {
		in.WriteString(l.in + "\n\r\n")
		want.WriteString(l.want + "\n")
	}
	got, _ := drain(t, openReader(t, newFile(t, in.String()).env(), spec(cols(t, everyType)), nil))
	wantText(t, got, want.String())
}

func TestJSONRejected(t *testing.T) {
	for in, code := range map[string]pgerr.Code{
		`{"i4":1`: pgerr.InvalidTextRepresentation, `[1]`: pgerr.InvalidTextRepresentation, `null`: pgerr.InvalidTextRepresentation,
		`{"i4":1}x`: pgerr.InvalidTextRepresentation, `{"i4":01}`: pgerr.InvalidTextRepresentation, `{"i4":1,}`: pgerr.InvalidTextRepresentation,
		`{i4:1}`: pgerr.InvalidTextRepresentation, `{"i4" 1}`: pgerr.InvalidTextRepresentation, `{"i4":}`: pgerr.InvalidTextRepresentation,
		`{"i4":1.5}`: pgerr.InvalidTextRepresentation, `{"i4":2147483648}`: pgerr.NumericValueOutOfRange,
		`{"i8":9223372036854775808}`: pgerr.NumericValueOutOfRange, `{"f":1e999}`: pgerr.NumericValueOutOfRange,
		`{"b":1}`: pgerr.InvalidTextRepresentation, `{"d":20010101}`: pgerr.InvalidTextRepresentation,
		`{"d":"soon"}`: pgerr.InvalidDatetimeFormat, `{"d":"2001-02-30"}`: pgerr.DatetimeFieldOverflow,
		`{"i4":[1]}`: pgerr.InvalidTextRepresentation, `{"i4":true}`: pgerr.InvalidTextRepresentation,
		`{"t":"\u0000"}`: pgerr.UntranslatableCharacter, `{"t":"\ud800"}`: pgerr.InvalidTextRepresentation,
		`{"t":"\x"}`: pgerr.InvalidTextRepresentation, `{"t":"\u12"}`: pgerr.InvalidTextRepresentation, `{"t":"a`: pgerr.InvalidTextRepresentation,
		"{\"t\":\"\xff\"}": pgerr.CharacterNotInRepertoire, "{\"t\":\"a\tb\"}": pgerr.InvalidTextRepresentation, `{"t":"\`: pgerr.InvalidTextRepresentation,
		`{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`: pgerr.StatementTooComplex,
		`{"x":-}`: pgerr.InvalidTextRepresentation, `{"x":1.}`: pgerr.InvalidTextRepresentation, `{"x":1e}`: pgerr.InvalidTextRepresentation, `{"x":nul}`: pgerr.InvalidTextRepresentation,
	} {
		f := newFile(t, `{"i4":1}`+"\n"+in+"\n"+`{"i4":2}`+"\n")
		got, _ := drain(t, openReader(t, f.env(), spec(cols(t, everyType)), nil))
		rest := strings.Repeat("|∅", 8)
		wantText(t, got, fmt.Sprintf("∅|1%s\n∅|2%s\n! 9 %s %q\n", rest, rest, code, in[:min(len(in), 60)]))
	}
	s := cols(t, "i int4")
	s[0].NotNull = true
	got, _ := drain(t, openReader(t, newFile(t, "{}\n{\"i\":1}\n").env(), spec(s), nil))
	wantText(t, got, "1\n! 0 23502 \"{}\"\n")
}

func TestCSV(t *testing.T) {
	c := cols(t, "a int4, b text, c float8")
	for _, x := range []struct{ opts, in, want string }{
		{"", "1,x,2.5\n2,,\n3,\"\",\n", "1|x|2.5\n2|∅|∅\n3||∅\n"},
		{"", "1,\"two\nlines, \"\"quoted\"\"\",3\r\n\r\n\n4,a\"b,5\n", "1|two\nlines, \"quoted\"|3\n4|a\"b|5\n"},
		{"", "1,x\n1,x,2,3\nz,x,1\n1,\"x\"y,2\n7,ok,8\n", "7|ok|8\n! 0 22P04 \"1,x\"\n! 4 22P04 \"1,x,2,3\"\n! 12 22P02 \"z,x,1\"\n! 18 22P04 \"1,\\\"x\\\"y,2\"\n"},
		{"delimiter=;", "1;x,y;2\n", "1|x,y|2\n"},
		{"delimiter=\t", "1\t\"x\ty\"\t\n", "1|x\ty|∅\n"},
		{"header=true", "c,extra,b,a\n1.5,e,x,2\n", "2|x|1.5\n"},
		{"header=true", "\ufeffa,b,c\r\n2,x,1\r\n", "2|x|1\n"},
	} {
		var opts []string
		if k, v, ok := strings.Cut(x.opts, "="); ok {
			opts = []string{k, v}
		}
		got, _ := drain(t, openReader(t, newFile(t, x.in).env(), spec(c, append(opts, "format", "csv")...), nil))
		wantText(t, got, x.want)
	}
	_, err := Factory{}.Open(ctx, spec(c, "format", "csv", "header", "true"), newFile(t, "a,c\n").env())
	if pgerr.CodeOf(err) != pgerr.UndefinedColumn || !strings.Contains(err.Error(), `"b"`) {
		t.Fatal(err)
	}
}

// TestFollow appends a file byte by byte in pieces and reads in between.
func TestFollow(t *testing.T) {
	for _, format := range []string{"json", "csv"} {
		f := newFile(t, "")
		s := spec(cols(t, "a int4, b text"), "format", format)
		if format == "csv" {
			s.Options["header"] = "true"
		}
		r := openReader(t, f.env(), s, nil)
		all := "b,a\n"
		if format == "json" {
			all = ""
		}
		want := ""
		for i := range 300 {
			if text := strings.Repeat("é,", i%7); format == "json" {
				all += fmt.Sprintf("{\"a\":%d,\"b\":\"%s\"}\n", i, text)
				want += fmt.Sprintf("%d|%s\n", i, text)
			} else {
				all += fmt.Sprintf("\"%s\n\",%d\n", text, i)
				want += fmt.Sprintf("%d|%s\n\n", i, text)
			}
		}
		got := ""
		for i := 0; i < len(all); {
			n := min(1+rand.IntN(40), len(all)-i)
			f.append(t, all[i:i+n])
			i += n
			s, _ := drain(t, r)
			got += s
		}
		wantText(t, got, want)
	}
}

func TestTooLong(t *testing.T) {
	f := newFile(t, "{\"a\":1}\n"+strings.Repeat("x", maxRecord-100))
	s := spec(cols(t, "a int4"))
	r := openReader(t, f.env(), s, nil)
	got, _ := drain(t, r)
	wantText(t, got, "1\n")
	f.append(t, strings.Repeat("x", 3*maxRecord))
	got, pos := drain(t, r)
	wantText(t, got, "")
	f.append(t, "xx\n{\"a\":2}\n")
	want := fmt.Sprintf("2\n! 8 54000 %q\n", strings.Repeat("x", 60))
	got, _ = drain(t, r)
	wantText(t, got, want)
	got, _ = drain(t, openReader(t, f.env(), s, pos)) // in the middle of it
	wantText(t, got, want)
	if r.(*reader).prefix[7] != '\n' || cap(r.(*reader).buf) > 8*blockSize {
		t.Fatalf("prefix %q, buffer of %d", r.(*reader).prefix[:10], cap(r.(*reader).buf))
	}
	// A quote that is never closed.
	f = newFile(t, "1,\"x\n2,y\n"+strings.Repeat("3,z\n", maxRecord/4))
	got, _ = drain(t, openReader(t, f.env(), spec(cols(t, "a int4, b text"), "format", "csv"), nil))
	if !strings.HasPrefix(got, "2|y\n3|z\n") || !strings.HasSuffix(got, "3|z\n! 0 54000 \"1,\\\"x\"\n") {
		t.Fatalf("%q … %q", got[:20], got[len(got)-200:])
	}
}

func TestChangedFile(t *testing.T) {
	content := strings.Repeat(`{"a":1}`+"\n", 1000)
	s := spec(cols(t, "a int4"))
	for what, change := range map[string]func(m *memFile){
		"shorter":         func(m *memFile) { m.fs = newFile(t, content[:8]).fs },
		"other beginning": func(m *memFile) { m.fs = newFile(t, strings.Replace(content, "1", "2", 1)).fs },
	} {
		f := newFile(t, content)
		_, pos := drain(t, openReader(t, f.env(), s, nil))
		change(f)
		src, err := Factory{}.Open(ctx, s, f.env())
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.Open(ctx, split, pos, [][]int{{0}})
		wantChanged(t, what, err)
	}
	// On a real disk, under a running reader.
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := connector.Env{FS: vfs.Default, Dir: dir}
	write(content)
	r := openReader(t, env, s, nil)
	_, pos := drain(t, r)
	write(content[:80])
	_, err := r.Read(ctx, &connector.Batch{}, 10, nil)
	wantChanged(t, "truncated", err)
	write(content)
	r = openReader(t, env, s, pos)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	write(content)
	_, err = r.Read(ctx, &connector.Batch{}, 10, nil)
	wantChanged(t, "replaced", err)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = Factory{}.Open(ctx, s, env)
	if pgerr.CodeOf(err) != pgerr.UndefinedFile || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
	_, err = r.Read(ctx, &connector.Batch{}, 10, nil)
	if pgerr.CodeOf(err) != pgerr.UndefinedFile {
		t.Fatal(err)
	}
}

func wantChanged(t testing.TB, what string, err error) {
	t.Helper()
	var e *pgerr.Error
	if !errors.As(err, &e) || e.Code != pgerr.IOError || !strings.Contains(e.Message, "f\" has changed") || e.Hint == "" {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestPositionIsFrozen(t *testing.T) {
	p := position{inode: 0x1122334455667788, offset: 0x0102030405060708, sum: 0x99aabbccddeeff00}
	if got := fmt.Sprintf("%x", []byte(p.encode())); got != "011122334455667788010203040506070899aabbccddeeff00" {
		t.Fatal(got)
	}
	if again, err := decodePosition(p.encode()); err != nil || again != p {
		t.Fatal(again, err)
	}
	for _, bad := range []string{"", "x", strings.Repeat("\x01", 26), strings.Repeat("\xff", 25), "\x02" + strings.Repeat("\x00", 24)} {
		if _, err := decodePosition(types.Position(bad)); pgerr.CodeOf(err) != pgerr.DataCorrupted {
			t.Fatalf("%x: %v", bad, err)
		}
	}
}

func TestOptions(t *testing.T) {
	c := cols(t, "a int4")
	for _, x := range []struct {
		s    connector.SourceSpec
		code pgerr.Code
		want string
	}{
		{connector.SourceSpec{Columns: c, Options: map[string]string{"format": "json"}}, pgerr.InvalidParameterValue, `"path"`},
		{connector.SourceSpec{Columns: c, Options: map[string]string{"path": "f"}}, pgerr.InvalidParameterValue, `"format"`},
		{spec(c, "format", "xml"), pgerr.InvalidParameterValue, `"xml"`},
		{spec(c, "format", "csv", "delimiter", ",,"), pgerr.InvalidParameterValue, `"delimiter"`},
		{spec(c, "format", "csv", "header", "maybe"), pgerr.InvalidParameterValue, `"header"`},
		{spec(c, "header", "true"), pgerr.InvalidParameterValue, `"header"`},
		{spec(nil), pgerr.InvalidTableDefinition, "columns"},
	} {
		_, err := Factory{}.Relations(x.s)
		if pgerr.CodeOf(err) != x.code || !strings.Contains(err.Error(), x.want) || pgerr.From(err).Hint == "" {
			t.Errorf("%v: %v", x.s.Options, err)
		}
	}
}

func TestSuite(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var json, csv strings.Builder
	csv.WriteString("t,i4,b,i8,f,n,d,ts,tz,iv\n")
	for i := range 5000 {
		switch rng.IntN(40) {
		case 0:
			json.WriteString("bad\n")
			csv.WriteString("bad\n")
		case 1:
			json.WriteString("\n")
			csv.WriteString("\n")
		default:
			fmt.Fprintf(&json, `{"i4":%d,"t":"%s","n":%d.%d,"b":%v,"d":"2001-01-%02d"`+"}\n", i, strings.Repeat("añ", rng.IntN(30)), i, i%100, i%2 == 0, 1+i%31)
			fmt.Fprintf(&csv, "\"%s\n\",%d,%v,,,%d.%d,2001-01-%02d,,,\n", strings.Repeat("b\"\"", rng.IntN(30)), i, i%2 == 0, i, i%7, 1+i%31)
		}
	}
	for format, content := range map[string]string{"json": json.String(), "csv": csv.String()} {
		t.Run(format, func(t *testing.T) {
			s := spec(cols(t, everyType), "format", format)
			if format == "csv" {
				s.Options["header"] = "true"
			}
			connectortest.Source(t, connectortest.SourceCase{Factory: Factory{}, Spec: s, Env: newFile(t, content).env()})
		})
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"i4":1,"t":"\u00e9"}`, `{"x":[{}],"n":1e5}`, `{"d":"2001-01-01"}`, `{"t":{"a":1}}`} {
		f.Add([]byte(s))
	}
	schema := cols(f, everyType)
	f.Fuzz(func(t *testing.T, line []byte) {
		d, rows := newJSONDecoder(schema), newRows(schema)
		rows.begin(types.NewChunk(rows.types), 8)
		err1 := d.decode(line, rows)
		one := types.AppendImage(nil, rows.chunk, 0, nil)
		rows.n++
		err2 := d.decode(line, rows) // with the keys expected
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, then %v", err1, err2)
		}
		if err1 == nil && !bytes.Equal(one, types.AppendImage(nil, rows.chunk, 1, nil)) {
			t.Fatal("read twice, a line gives two rows")
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("1,\"x\"\"\n\",2\n"), uint16(4))
	schema := cols(f, "a int4, b text, c text")
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		d, rows := csvDecoder{delimiter: ',', fields: identity(3)}, newRows(schema)
		rows.begin(types.NewChunk(rows.types), 8)
		n, err1 := d.record(b, rows)
		if n > 0 && b[n-1] != '\n' {
			t.Fatalf("a record ends at %d of %q", n, b)
		}
		if int(cut) < n { // it is not whole in less, and the same in more
			if m, _ := d.record(b[:cut], rows); m != 0 {
				t.Fatalf("%q is whole at %d, its first %d bytes at %d", b, n, cut, m)
			}
		}
		if n > 0 {
			m, err2 := d.record(append(bytes.Clone(b), "x\n"...), rows)
			if m != n || (err1 == nil) != (err2 == nil) {
				t.Fatalf("%d %v, with more behind it %d %v", n, err1, m, err2)
			}
		}
	})
}

// flights makes lines like those of the flights example.
func flights(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `{"date":"2001/01/%02d %02d:%02d","delay":%d,"distance":%d,"origin":"%c%cW","destination":"LAS"}`+"\n",
			1+i%31, i%24, i%60, i%200-30, 100+i%2000, 'A'+i%26, 'A'+i%17)
	}
	return s.String()
}

func BenchmarkJSON(b *testing.B) {
	for _, c := range []struct{ name, cols string }{
		{"flights", "date text, delay int4, distance int4, origin text, destination text"},
		{"timestamp", "date timestamp, delay int4, distance numeric"},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := newFile(b, flights(20_000))
			s := spec(cols(b, c.cols))
			r := openReader(b, f.env(), s, nil)
			rows := 0
			var batch connector.Batch
			b.ReportAllocs()
			b.SetBytes(f.n / 20_000 * types.MaxChunkRows)
			for b.Loop() {
				if _, err := r.Read(ctx, &batch, types.MaxChunkRows, nil); err != nil {
					b.Fatal(err)
				}
				n := batch.Chunks[0].N
				if n == 0 {
					r = openReader(b, f.env(), s, nil)
				}
				rows += n
				batch.Chunks[0].Reset()
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds()/1e6, "Mlines/s")
		})
	}
}
