// Package filesink is the sink into files of JSON lines or CSV, committed in
// two phases: a subtask writes a hidden staging file, which Prepare makes
// durable and Commit renames to its final name. A reader of the directory
// that leaves out hidden files sees committed rows only, each once.
//
// Every row has its multiplicity (__diff) and epoch (__epoch), so that the
// content of the sink is the sum of its rows.
package filesink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Name is the connector's name in WITH (connector = …).
const Name = "file"

const (
	diffColumn  = "__diff"
	epochColumn = "__epoch"
	staging     = ".staging-"
)

// Factory makes file sinks. Options: path, a directory that is made if need
// be; format, json or csv; of CSV also delimiter (default a comma) and header
// (default false: the first line of each file names the columns); diff
// (default true; false leaves out __diff and is for append-only input).
type Factory struct{}

var _ connector.SinkFactory = Factory{}

type config struct {
	path      string
	csv       bool
	delimiter byte
	header    bool
	diff      bool
}

func parse(s connector.SinkSpec) (config, error) {
	var c config
	o := connector.NewOptions(Name, s.Options)
	c.path = o.Text("path", "out")
	c.csv = o.Enum("format", "", "json", "csv") == "csv"
	if c.csv {
		c.delimiter = o.Delimiter(',')
		c.header = o.Bool("header", false)
	}
	c.diff = o.Bool("diff", true)
	if err := o.Err(); err != nil {
		return c, err
	}
	if !c.diff && !s.AppendOnly {
		return c, pgerr.New(pgerr.InvalidParameterValue, "option \"diff\" cannot be false: the rows of this sink can be taken back").
			WithHint("Leave the option out; the column %s then says how often each row counts.", diffColumn)
	}
	for _, col := range s.Schema {
		if col.Name == epochColumn || col.Name == diffColumn {
			return c, pgerr.New(pgerr.DuplicateColumn, "column %q of the sink's query is one that the sink adds", col.Name).
				WithHint("Give it another name with AS.")
		}
	}
	return c, nil
}

// Check implements connector.SinkFactory.
func (Factory) Check(s connector.SinkSpec) error {
	_, err := parse(s)
	return err
}

// Open implements connector.SinkFactory.
func (Factory) Open(_ context.Context, s connector.SinkSpec, env connector.Env) (connector.Sink, error) {
	c, err := parse(s)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(c.path) {
		c.path = env.FS.PathJoin(env.Dir, c.path)
	}
	k := &sink{config: c, fs: env.FS, schema: s.Schema, suffix: "-" + s.ID.String()[:8] + ".json"}
	if c.csv {
		k.suffix = strings.TrimSuffix(k.suffix, "json") + "csv"
	}
	if err := k.fs.MkdirAll(c.path, 0o755); err != nil {
		return nil, k.ioError(err, "create", "")
	}
	if err := k.syncDir(k.fs.PathDir(c.path)); err != nil {
		return nil, err
	}
	return k, nil
}

type sink struct {
	config
	fs     vfs.FS
	schema types.Schema
	suffix string // of all files of this sink
}

// AppendOnly implements connector.Sink.
func (*sink) AppendOnly() bool { return true }

// Close implements connector.Sink.
func (*sink) Close() error { return nil }

// Writer implements connector.Sink.
func (k *sink) Writer(_ context.Context, i int) (connector.Writer, error) {
	return &writer{k: k, subtask: i}, nil
}

func (k *sink) file(name string) string { return k.fs.PathJoin(k.path, name) }

func (k *sink) ioError(err error, op, name string) *pgerr.Error {
	path := k.path
	if name != "" {
		path = k.file(name)
	}
	if vfs.IsNoSpaceError(err) {
		return pgerr.Wrap(err, pgerr.DiskFull, "could not %s sink file %q: no space left on device", op, path).
			WithHint("Free some space on the sink's file system; the sink goes on where it was.")
	}
	return pgerr.Wrap(err, pgerr.IOError, "could not %s sink file %q: %v", op, path, err).
		WithHint("Check that the server may write there.")
}

func (k *sink) syncDir(dir string) error {
	d, err := k.fs.OpenDir(dir)
	if err != nil {
		return k.ioError(err, "open", "")
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return k.ioError(err, "sync", "")
	}
	return nil
}

// A token names a prepared file. Format: version 1, size and xxh3 of the file
// (uint64, big-endian), uvarint length of the staging name, it, the final
// name.
const tokenVersion = 1

type prepared struct {
	staged, final string
	size          int64
	sum           uint64
}

func (p prepared) token() connector.Token {
	b := binary.BigEndian.AppendUint64([]byte{tokenVersion}, uint64(p.size))
	b = binary.BigEndian.AppendUint64(b, p.sum)
	b = binary.AppendUvarint(b, uint64(len(p.staged)))
	return append(append(b, p.staged...), p.final...)
}

func parseToken(t connector.Token) (p prepared, err error) {
	bad := pgerr.New(pgerr.DataCorrupted, "invalid token of a file sink: %x", []byte(t)).
		WithHint("It was not written by this version of the connector.")
	if len(t) < 17 || t[0] != tokenVersion {
		return p, bad
	}
	p.size = int64(binary.BigEndian.Uint64(t[1:]))
	p.sum = binary.BigEndian.Uint64(t[9:])
	n, w := binary.Uvarint(t[17:])
	rest := t[17+max(w, 0):]
	if w <= 0 || n > uint64(len(rest)) {
		return p, bad
	}
	p.staged, p.final = string(rest[:n]), string(rest[n:])
	for _, name := range []string{p.staged, p.final} {
		if name == "" || strings.ContainsAny(name, `/\`) {
			return p, bad
		}
	}
	return p, nil
}

// Commit implements connector.Sink.
func (k *sink) Commit(ctx context.Context, tokens []connector.Token) error {
	for _, t := range tokens {
		if t == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := parseToken(t)
		if err != nil {
			return err
		}
		if err := k.commit(p); err != nil {
			return err
		}
	}
	if len(tokens) == 0 {
		return nil
	}
	return k.syncDir(k.path) // also of files that an earlier call renamed
}

// commit gives one file its final name, unless it has it.
func (k *sink) commit(p prepared) error {
	staged, err := k.stat(p.staged)
	if err != nil {
		return err
	}
	final, err := k.stat(p.final)
	if err != nil {
		return err
	}
	switch {
	case staged == nil && final == nil:
		return pgerr.New(pgerr.DataCorrupted, "sink file %q is missing: neither it nor %q is there", k.file(p.final), p.staged).
			WithHint("Put it back; without it, the committed output of the sink is not whole.")
	case staged == nil && final.Size() != p.size:
		return pgerr.New(pgerr.DataCorrupted, "sink file %q has %d bytes, but %d were committed", k.file(p.final), final.Size(), p.size).
			WithHint("Files of a sink must not be changed.")
	case staged == nil:
		return nil
	case final != nil:
		// A crash may bring the old name of a renamed file back.
		if same, err := k.has(p.final, p); err != nil || !same {
			return errors.Join(err, pgerr.New(pgerr.DuplicateObject, "sink file %q is there already, with other content", k.file(p.final)).
				WithHint("Move it away; the sink then goes on."))
		}
		if err := k.fs.Remove(k.file(p.staged)); err != nil {
			return k.ioError(err, "remove", p.staged)
		}
		return nil
	}
	if same, err := k.has(p.staged, p); err != nil {
		return err
	} else if !same {
		return pgerr.New(pgerr.DataCorrupted, "sink file %q is not as it was prepared", k.file(p.staged)).
			WithHint("Staging files of a sink must not be changed.")
	}
	if err := k.fs.Rename(k.file(p.staged), k.file(p.final)); err != nil {
		return k.ioError(err, "rename", p.staged)
	}
	return nil
}

// stat gives nil for a file that is not there.
func (k *sink) stat(name string) (vfs.FileInfo, error) {
	st, err := k.fs.Stat(k.file(name))
	if oserror.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, k.ioError(err, "read", name)
	}
	return st, nil
}

// has reports whether a file has the prepared content.
func (k *sink) has(name string, p prepared) (bool, error) {
	f, err := k.fs.Open(k.file(name))
	if err != nil {
		return false, k.ioError(err, "open", name)
	}
	defer f.Close()
	h := xxh3.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, bufferSize))
	if err != nil {
		return false, k.ioError(err, "read", name)
	}
	return n == p.size && h.Sum64() == p.sum, nil
}

// Abort implements connector.Sink.
func (k *sink) Abort(ctx context.Context, keep []connector.Token) error {
	kept := map[string]bool{}
	for _, t := range keep {
		if t == nil {
			continue
		}
		p, err := parseToken(t)
		if err != nil {
			return err
		}
		kept[p.staged] = true
	}
	names, err := k.fs.List(k.path)
	if err != nil {
		return k.ioError(err, "list", "")
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !strings.HasPrefix(name, staging) || !strings.HasSuffix(name, k.suffix) || kept[name] {
			continue
		}
		if err := k.fs.Remove(k.file(name)); err != nil {
			return k.ioError(err, "remove", name)
		}
	}
	return k.syncDir(k.path)
}

func (k *sink) stagedName(subtask int, e types.Epoch) string {
	return fmt.Sprintf("%s%03d-%012d%s", staging, subtask, e, k.suffix)
}

func (k *sink) finalName(subtask int, e types.Epoch) string {
	return fmt.Sprintf("part-%03d-%012d%s", subtask, e, k.suffix)
}
