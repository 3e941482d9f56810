package filesink

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/connector/connectortest"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var ctx = context.Background()

func spec(opts ...string) connector.SinkSpec {
	m := map[string]string{"path": "out", "format": "json"}
	for i := 0; i < len(opts); i += 2 {
		m[opts[i]] = opts[i+1]
	}
	return connector.SinkSpec{ID: types.UUID{0xab, 0xcd}, Options: m, Schema: connectortest.SinkSchema()}
}

// readAll sums the committed rows of all files as another program would.
func readAll(t testing.TB, fs vfs.FS, s connector.SinkSpec) map[string]int {
	t.Helper()
	sum := map[string]int{}
	names, err := fs.List("out")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		f, err := fs.Open("out/" + name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if s.Options["format"] == "csv" {
			addCSV(t, b, s, sum)
		} else {
			addJSON(t, b, s, sum)
		}
	}
	for r, n := range sum {
		if n == 0 {
			delete(sum, r)
		}
	}
	return sum
}

func addJSON(t testing.TB, b []byte, s connector.SinkSpec, sum map[string]int) {
	t.Helper()
	for _, line := range bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) {
		m := map[string]any{}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		diff := 1
		if x, ok := m["__diff"]; ok {
			diff, _ = strconv.Atoi(fmt.Sprint(x))
		} else if s.Options["diff"] != "false" {
			t.Fatalf("no __diff in %q", line)
		}
		if m["__epoch"] == nil {
			t.Fatalf("no __epoch in %q", line)
		}
		row := make([]types.Datum, len(s.Schema))
		for i, c := range s.Schema {
			row[i] = types.NullOf(c.Type)
			if v := m[c.Name]; v != nil {
				var err error
				if row[i], err = types.ParseText(c.Type, fmt.Sprint(v)); err != nil {
					t.Fatal(err)
				}
			}
		}
		sum[connectortest.RowText(row)] += diff
	}
}

// addCSV cannot tell an empty text from NULL, as encoding/csv gives no
// quotes; the test's rows count both as NULL then.
func addCSV(t testing.TB, b []byte, s connector.SinkSpec, sum map[string]int) {
	t.Helper()
	// encoding/csv makes \r\n in quotes \n.
	r := csv.NewReader(bytes.NewReader(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\x02\n"))))
	if s.Options["delimiter"] != "" {
		r.Comma = rune(s.Options["delimiter"][0])
	}
	records, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if s.Options["header"] == "true" {
		if records[0][0] != "__diff" || records[0][1] != "__epoch" || records[0][7] != "t \"x\"" {
			t.Fatalf("header %q", records[0])
		}
		records = records[1:]
	}
	for _, rec := range records {
		diff, err := strconv.Atoi(rec[0])
		if err != nil {
			t.Fatal(err)
		}
		row := make([]types.Datum, len(s.Schema))
		for i, c := range s.Schema {
			row[i] = types.NullOf(c.Type)
			if v := strings.ReplaceAll(rec[i+2], "\x02\n", "\r\n"); v != "" {
				if row[i], err = types.ParseText(c.Type, v); err != nil {
					t.Fatal(err)
				}
			}
		}
		sum[connectortest.RowText(row)] += diff
	}
}

func TestSuite(t *testing.T) {
	for name, s := range map[string]connector.SinkSpec{
		"json":         spec(),
		"json no diff": spec("diff", "false"),
	} {
		t.Run(name, func(t *testing.T) {
			s.AppendOnly = s.Options["diff"] == "false"
			fs := vfs.NewMem()
			connectortest.Sink(t, connectortest.SinkCase{
				Factory: Factory{}, Spec: s, Env: connector.Env{FS: fs},
				Visible: func(t testing.TB) map[string]int { return readAll(t, fs, s) },
			})
		})
	}
}

func TestCSV(t *testing.T) {
	for _, s := range []connector.SinkSpec{
		spec("format", "csv"), spec("format", "csv", "header", "true", "delimiter", "-"),
	} {
		fs := vfs.NewMem()
		k, err := Factory{}.Open(ctx, s, connector.Env{FS: fs})
		do(t, err)
		w, err := k.Writer(ctx, 0)
		do(t, err)
		want := map[string]int{}
		do(t, w.Write(1, connectortest.SinkRows(rand.New(rand.NewPCG(1, 1)), 1000, false, want)))
		tok, err := w.Prepare(1)
		do(t, err)
		do(t, k.Commit(ctx, []connector.Token{tok}))
		asNull := map[string]int{}
		for r, n := range want {
			fields := strings.Split(r, "|")
			if fields[6] == "" {
				fields[6] = `\N`
			}
			asNull[strings.Join(fields, "|")] += n
		}
		maps.DeleteFunc(asNull, func(_ string, n int) bool { return n == 0 })
		if got := readAll(t, fs, s); !maps.Equal(got, asNull) {
			t.Fatalf("got %d rows, want %d", len(got), len(asNull))
		}
	}
}

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestExact shows the bytes of a file.
func TestExact(t *testing.T) {
	fs := vfs.NewMem()
	s := spec()
	s.Schema = types.Schema{{Name: "k", Type: types.T(types.Text)}, {Name: "n", Type: types.T(types.Numeric)}}
	k, err := Factory{}.Open(ctx, s, connector.Env{FS: fs})
	do(t, err)
	w, err := k.Writer(ctx, 7)
	do(t, err)
	c := types.NewChunk(s.Schema.Types())
	n, _ := types.ParseText(types.T(types.Numeric), "1.50")
	c.AppendRow(2, types.NewText("a\"\n"), n)
	c.AppendRow(-1, types.NewText(""), types.NullOf(types.T(types.Numeric)))
	do(t, w.Write(41, c))
	tok, err := w.Prepare(42)
	do(t, err)
	do(t, k.Commit(ctx, []connector.Token{tok}))
	names, err := fs.List("out")
	do(t, err)
	if fmt.Sprint(names) != "[part-007-000000000042-abcd0000.json]" {
		t.Fatal(names)
	}
	f, err := fs.Open("out/" + names[0])
	do(t, err)
	b, err := io.ReadAll(f)
	do(t, err)
	const want = `{"__diff":2,"__epoch":41,"k":"a\"\n","n":1.50}` + "\n" + `{"__diff":-1,"__epoch":41,"k":"","n":null}` + "\n"
	if string(b) != want {
		t.Fatalf("got %s", b)
	}
	do(t, fs.Remove("out/"+names[0]))
	err = k.Commit(ctx, []connector.Token{tok})
	if pgerr.CodeOf(err) != pgerr.DataCorrupted || !strings.Contains(err.Error(), names[0]) {
		t.Fatal(err)
	}
	for _, bad := range []connector.Token{{}, {1}, tok[:20], connector.Token(strings.Replace(string(tok), "part", "/etc", 1))} {
		if err := k.Commit(ctx, []connector.Token{bad}); pgerr.CodeOf(err) != pgerr.DataCorrupted {
			t.Fatalf("token %q: %v", bad, err)
		}
	}
}

func TestTokenIsFrozen(t *testing.T) {
	p := prepared{staged: "s", final: "ff", size: 0x0102, sum: 0x1122334455667788}
	if got := fmt.Sprintf("%x", []byte(p.token())); got != "0100000000000001021122334455667788"+"01"+"73"+"6666" {
		t.Fatal(got)
	}
	if again, err := parseToken(p.token()); err != nil || again != p {
		t.Fatal(again, err)
	}
}

func TestOptions(t *testing.T) {
	dup := spec()
	dup.Schema = types.Schema{{Name: "__epoch", Type: types.T(types.Int8)}}
	for _, x := range []struct {
		s    connector.SinkSpec
		code pgerr.Code
	}{
		{spec("format", "xml"), pgerr.InvalidParameterValue},
		{spec("path", ""), pgerr.InvalidParameterValue},
		{spec("diff", "false"), pgerr.InvalidParameterValue},
		{spec("mode", "append"), pgerr.InvalidParameterValue},
		{dup, pgerr.DuplicateColumn},
	} {
		if err := (Factory{}).Check(x.s); pgerr.CodeOf(err) != x.code || pgerr.From(err).Hint == "" {
			t.Errorf("%v: %v", x.s.Options, err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	inj := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	})
	k, err := Factory{}.Open(ctx, spec(), connector.Env{FS: errorfs.Wrap(vfs.NewMem(), inj)})
	do(t, err)
	w, err := k.Writer(ctx, 0)
	do(t, err)
	do(t, w.Write(1, connectortest.SinkRows(rand.New(rand.NewPCG(1, 1)), 10, false, map[string]int{})))
	for range 2 {
		if _, err := w.Prepare(1); pgerr.CodeOf(err) != pgerr.DiskFull {
			t.Fatal(err)
		}
	}
	do(t, w.Close())
}

var errCrashed = errors.New("crashed")

// TestCrash crashes at every file operation of a run of checkpoints, with
// none, some or all of what was not synced on the disk. A recovered sink
// aborts and commits by the last manifest, and then shows exactly the rows of
// it; then it goes on.
func TestCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for at := 1; ; at++ {
		mem := vfs.NewCrashableMem()
		var clone *vfs.MemFS
		ops := 0
		inj := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if clone != nil {
				return errCrashed
			}
			if ops++; ops == at {
				clone = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
				return errCrashed
			}
			return nil
		})
		m := &manifest{rows: map[string]int{}}
		err := run(rng, errorfs.Wrap(mem, inj), m, 4)
		if err == nil {
			t.Logf("%d operations", at-1)
			return
		}
		if !errors.Is(err, errCrashed) {
			t.Fatalf("operation %d: %v", at, err)
		}
		for range 2 { // also after a second recovery
			do(t, run(rng, clone, m, 0))
			if got := readAll(t, clone, spec()); !maps.Equal(got, m.rows) {
				t.Fatalf("crash at operation %d: %d rows, want %d", at, len(got), len(m.rows))
			}
			clone = clone.CrashClone(vfs.CrashCloneCfg{})
		}
		do(t, run(rng, clone, m, 2))
		if got := readAll(t, clone, spec()); !maps.Equal(got, m.rows) {
			t.Fatalf("crash at operation %d, after two more checkpoints: %d rows, want %d", at, len(got), len(m.rows))
		}
	}
}

// manifest stands for the durable checkpoint.
type manifest struct {
	epoch  types.Epoch
	tokens []connector.Token
	rows   map[string]int
}

// run recovers a sink and does some checkpoints.
func run(rng *rand.Rand, fs vfs.FS, m *manifest, checkpoints int) error {
	k, err := Factory{}.Open(ctx, spec(), connector.Env{FS: fs})
	if err != nil {
		return err
	}
	if err := k.Abort(ctx, m.tokens); err != nil {
		return err
	}
	if err := k.Commit(ctx, m.tokens); err != nil {
		return err
	}
	var ws []connector.Writer
	for i := range 2 {
		w, err := k.Writer(ctx, i)
		if err != nil {
			return err
		}
		ws = append(ws, w)
	}
	for range checkpoints {
		next := manifest{epoch: m.epoch + 2, rows: maps.Clone(m.rows)}
		for e := m.epoch + 1; e <= next.epoch; e++ {
			for _, w := range ws {
				if err := w.Write(e, connectortest.SinkRows(rng, rng.IntN(40), false, next.rows)); err != nil {
					return err
				}
			}
		}
		for _, w := range ws {
			tok, err := w.Prepare(next.epoch)
			if err != nil {
				return err
			}
			if tok != nil {
				next.tokens = append(next.tokens, tok)
			}
		}
		*m = next
		if err := k.Commit(ctx, m.tokens); err != nil {
			return err
		}
	}
	return k.Close()
}

func BenchmarkWrite(b *testing.B) {
	for _, format := range []string{"json", "csv"} {
		b.Run(format, func(b *testing.B) {
			k, err := Factory{}.Open(ctx, spec("format", format, "path", b.TempDir()), connector.Env{FS: vfs.Default})
			do(b, err)
			w, err := k.Writer(ctx, 0)
			do(b, err)
			c := connectortest.SinkRows(rand.New(rand.NewPCG(1, 1)), 4096, false, map[string]int{})
			rows := 0
			b.ReportAllocs()
			for b.Loop() {
				do(b, w.Write(1, c))
				rows += c.N
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds()/1e6, "Mrows/s")
			do(b, w.Close())
		})
	}
}
