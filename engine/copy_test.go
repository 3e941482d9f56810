package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
)

// formatOf reads COPY's options from a statement.
func formatOf(t testing.TB, options string) (*copyFormat, error) {
	t.Helper()
	st, err := sql.Parse("COPY t FROM STDIN " + options)
	if err != nil {
		t.Fatal(err)
	}
	return copyOptions(st[0].Stmt.(*sql.Copy))
}

func TestCopyParser(t *testing.T) {
	for _, c := range []struct{ options, data, want string }{
		{"", "a\tb\n\\N\t\n", "[a b] [NULL ]"},
		{"", "a\tb\r\nc\td", "[a b] [c d]"},
		{"", "\\\\N\t\\t\\x41\\101\\q\n", "[\\N \tAAq]"},
		{"", "a\\\nb\tc\n", "[a\nb c]"},
		{"", "a\n\\.\nrest", "[a]"},
		{"", "\n", "[]"},
		{"(DELIMITER '|', NULL 'nil')", "a|nil|n\\il\n", "[a NULL nil]"},
		{"(FORMAT csv)", "a,\"b,\"\"c\nd\",\n,\"\"\n", "[a b,\"c\nd NULL] [NULL ]"},
		{"(FORMAT csv)", "x\"y\"z,1\r\n\\.\n", "[xyz 1]"},
		{"(FORMAT csv, QUOTE '''', ESCAPE '\\', DELIMITER ';')", "'a\\'b;';c\n", "[a'b; c]"},
		{"CSV", "", ""},
	} {
		f, err := formatOf(t, c.options)
		if err != nil {
			t.Fatalf("%s: %v", c.options, err)
		}
		for _, r := range []io.Reader{strings.NewReader(c.data), iotest.OneByteReader(strings.NewReader(c.data))} {
			got, err := readAllRows(newCopyParser(f, r))
			if err != nil || got != c.want {
				t.Errorf("%s %q: got %q, %v, want %q", c.options, c.data, got, err, c.want)
			}
		}
	}
	f, _ := formatOf(t, "CSV")
	if _, err := readAllRows(newCopyParser(f, strings.NewReader("a,\"b\n"))); pgerr.CodeOf(err) != pgerr.BadCopyFileFormat {
		t.Errorf("an open quote: %v", err)
	}
	f, _ = formatOf(t, "BINARY")
	for _, bad := range []string{"", "PGCOPY", binarySignature + strings.Repeat("\x00", 8) + "\x00\x01\x7f\xff\xff\xff"} {
		if _, err := readAllRows(newCopyParser(f, strings.NewReader(bad))); pgerr.CodeOf(err) != pgerr.BadCopyFileFormat {
			t.Errorf("binary %q: %v", bad, err)
		}
	}
}

func readAllRows(p *copyParser) (string, error) {
	var out []string
	for {
		fields, err := p.next()
		if errors.Is(err, io.EOF) {
			return strings.Join(out, " "), nil
		}
		if err != nil {
			return "", err
		}
		var s []string
		for _, f := range fields {
			if f.null {
				s = append(s, "NULL")
			} else {
				s = append(s, string(f.data))
			}
		}
		out = append(out, fmt.Sprint(s))
	}
}

func TestCopyOptions(t *testing.T) {
	for options, code := range map[string]pgerr.Code{
		"(FORMAT xml)": pgerr.InvalidParameterValue, "(DELIMITER 'ab')": pgerr.FeatureNotSupported,
		"(DELIMITER 'a')": pgerr.InvalidParameterValue, "(QUOTE '\"')": pgerr.SyntaxError,
		"(FORMAT binary, NULL 'x')": pgerr.SyntaxError, "(FORMAT csv, DELIMITER '\"')": pgerr.InvalidParameterValue,
		"(FORMAT csv, FORMAT csv)": pgerr.SyntaxError, "(speed 3)": pgerr.SyntaxError,
		"(ENCODING 'latin1')": pgerr.FeatureNotSupported, "(FREEZE)": pgerr.FeatureNotSupported,
		"(FORMAT csv, HEADER match, NULL 'a,b')": pgerr.InvalidParameterValue,
	} {
		if _, err := formatOf(t, options); pgerr.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", options, err, code)
		}
	}
}

// TestCopyRoundTrip writes random rows in each format and reads them back.
func TestCopyRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const alphabet = "ab\t\n\r\\\",|N.x0'é"
	letters := []rune(alphabet)
	for _, options := range []string{"", "(DELIMITER '|')", "(FORMAT csv)", "(FORMAT csv, QUOTE '|', ESCAPE '\\', NULL 'ab')", "(FORMAT binary)"} {
		f, err := formatOf(t, options)
		if err != nil {
			t.Fatal(err)
		}
		c := types.NewChunk([]types.Type{types.T(types.Text), types.T(types.Int8)})
		var want []string
		for range 300 {
			s := make([]rune, rnd.IntN(5))
			for i := range s {
				s[i] = letters[rnd.IntN(len(letters))]
			}
			d := types.NewText(string(s))
			d.Null = rnd.IntN(6) == 0
			n := types.NewInt8(rnd.Int64())
			c.AppendRow(1, d, n)
			want = append(want, fmt.Sprintf("%v %q %d", d.Null, d.B[:len(d.B)*btoi(!d.Null)], n.I))
		}
		var b bytes.Buffer
		out := &copyOut{f: f, names: []string{"a", "n"}}
		if err := out.begin(&b); err != nil {
			t.Fatal(err)
		}
		for r := range c.N {
			if err := out.row(nil, c, r); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.end(); err != nil {
			t.Fatal(err)
		}
		p := newCopyParser(f, &b)
		for i := range want {
			fs, err := p.next()
			if err != nil || len(fs) != 2 {
				t.Fatalf("%s row %d: %v, %v, want %s", options, i, fs, err, want[i])
			}
			n, err := types.ParseText(types.T(types.Int8), string(fs[1].data))
			if f.binary {
				n, err = types.ParseBinary(types.T(types.Int8), fs[1].data)
			}
			if got := fmt.Sprintf("%v %q %d", fs[0].null, fs[0].data[:len(fs[0].data)*btoi(!fs[0].null)], n.I); err != nil || got != want[i] {
				t.Fatalf("%s row %d: %s, %v, want %s", options, i, got, err, want[i])
			}
		}
		if _, err := p.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %v at the end", options, err)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
