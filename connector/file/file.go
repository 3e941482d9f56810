// Package file is the source of files of JSON lines or CSV, followed as they
// grow. Only whole lines, ended by a newline, are taken. A position is the
// file's identity and a byte offset, so that replay is exact as long as the
// file only grows; one that was replaced or cut short is an error that names
// it, never other rows.
package file

import (
	"context"
	"encoding/binary"
	"path/filepath"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// Name is the connector's name in WITH (connector = …).
const Name = "file"

const split = types.Split("0")

// Factory makes file sources. Options: path (relative ones start at Env.Dir)
// and format, json or csv; of CSV also delimiter (default a comma) and header
// (default false; true: the first record names the fields, which are matched
// with the columns by name).
//
// JSON: an object a line; columns by name, case-sensitive; missing ones are
// NULL, other fields are ignored. CSV: RFC 4180, fields may hold newlines in
// quotes; an empty field without quotes is NULL.
//
// Values are read as PostgreSQL reads text input. A JSON value other than a
// string becomes its JSON text in a text column. What cannot be read is
// rejected, with its line, and reading goes on.
type Factory struct{}

var _ connector.SourceFactory = Factory{}

type config struct {
	path      string
	csv       bool
	delimiter byte
	header    bool
	columns   types.Schema
}

func parse(s connector.SourceSpec) (config, error) {
	o := connector.NewOptions(Name, s.Options)
	c := config{columns: s.Columns}
	c.path = o.Text("path", "data.jsonl")
	c.csv = o.Enum("format", "", "json", "csv") == "csv"
	if c.csv {
		c.delimiter = o.Delimiter(',')
		c.header = o.Bool("header", false)
	}
	if err := o.Err(); err != nil {
		return c, err
	}
	if len(c.columns) == 0 {
		return c, pgerr.New(pgerr.InvalidTableDefinition, "a source with connector %q needs its columns declared", Name).
			WithHint("Write CREATE SOURCE name (column type, …) WITH (…).")
	}
	return c, nil
}

// Relations implements connector.SourceFactory.
func (Factory) Relations(s connector.SourceSpec) ([]connector.Relation, error) {
	c, err := parse(s)
	if err != nil {
		return nil, err
	}
	return []connector.Relation{{Schema: c.columns}}, nil
}

// Open implements connector.SourceFactory. A file that is not there is an
// error (58P01), as is a CSV header without a declared column (42703).
func (Factory) Open(_ context.Context, s connector.SourceSpec, env connector.Env) (connector.Source, error) {
	c, err := parse(s)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(c.path) {
		c.path = env.FS.PathJoin(env.Dir, c.path)
	}
	src := &source{config: c, fs: env.FS}
	f, _, err := src.openFile()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if c.header {
		if _, _, err := src.readHeader(f); err != nil {
			return nil, err
		}
	}
	return src, nil
}

type source struct {
	config
	fs vfs.FS
}

func (*source) Replay() connector.ReplayClass                 { return connector.Exact }
func (*source) Splits(context.Context) ([]types.Split, error) { return []types.Split{split}, nil }
func (*source) Close() error                                  { return nil }

// Earliest implements connector.Source.
func (s *source) Earliest(context.Context, types.Split) (types.Position, error) {
	st, err := s.fs.Stat(s.path)
	if err != nil {
		return nil, s.ioError(err, "read")
	}
	return position{inode: inode(st)}.encode(), nil
}

// openFile opens the file and gives its inode.
func (s *source) openFile() (vfs.File, uint64, error) {
	f, err := s.fs.Open(s.path)
	if err != nil {
		return nil, 0, s.ioError(err, "open")
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, s.ioError(err, "read")
	}
	if st.IsDir() {
		f.Close()
		return nil, 0, pgerr.New(pgerr.WrongObjectType, "%q is a directory", s.path).
			WithHint("The option path must name a file.")
	}
	return f, inode(st), nil
}

func (s *source) ioError(err error, op string) *pgerr.Error {
	if oserror.IsNotExist(err) {
		return pgerr.Wrap(err, pgerr.UndefinedFile, "could not %s file %q: it does not exist", op, s.path).
			WithHint("The path is as the server sees it; relative ones start at the server's working directory.")
	}
	return pgerr.Wrap(err, pgerr.IOError, "could not %s file %q: %v", op, s.path, err).
		WithHint("Check that the server may read the file.")
}

// changed says that the file is not the one that was read before.
func (s *source) changed(format string, args ...any) *pgerr.Error {
	return pgerr.New(pgerr.IOError, "file %q has changed: "+format, append([]any{s.path}, args...)...).
		WithHint("A file source may only grow. Put the file back as it was, or drop the source and create it again.")
}

// prefixLen is how much of a file's beginning, as far as it has been read,
// belongs to its identity.
const prefixLen = 1024

// position is where a reader stands. Format: version 1, inode (0: unknown),
// offset, sum of the first min(prefixLen, offset) bytes (xxh3), big-endian.
type position struct {
	inode  uint64
	offset int64
	sum    uint64
}

const (
	positionVersion = 1
	positionLen     = 1 + 8 + 8 + 8
)

func (p position) encode() types.Position {
	b := make([]byte, 1, positionLen)
	b[0] = positionVersion
	b = binary.BigEndian.AppendUint64(b, p.inode)
	b = binary.BigEndian.AppendUint64(b, uint64(p.offset))
	return binary.BigEndian.AppendUint64(b, p.sum)
}

func decodePosition(b types.Position) (position, error) {
	if b == nil {
		return position{}, nil
	}
	if len(b) != positionLen || b[0] != positionVersion || b[9]&0x80 != 0 {
		return position{}, pgerr.New(pgerr.DataCorrupted, "invalid position of a file source: %x", []byte(b)).
			WithHint("The position was not written by this version of the connector; drop the source and create it again.")
	}
	return position{
		inode:  binary.BigEndian.Uint64(b[1:]),
		offset: int64(binary.BigEndian.Uint64(b[9:])),
		sum:    binary.BigEndian.Uint64(b[17:]),
	}, nil
}

// Open implements connector.Source.
func (s *source) Open(_ context.Context, sp types.Split, from types.Position, need [][]int) (connector.Reader, error) {
	if sp != split || len(need) != 1 {
		return nil, pgerr.Internal("file source has one split and one relation, not %q and %d", string(sp), len(need))
	}
	p, err := decodePosition(from)
	if err != nil {
		return nil, err
	}
	r := &reader{s: s, base: p.offset, wanted: need[0] != nil, needed: make([]bool, len(s.columns))}
	for _, c := range need[0] {
		if c < 0 || c >= len(s.columns) {
			return nil, pgerr.Internal("file source has no column %d", c)
		}
		r.needed[c] = true
	}
	if r.f, r.inode, err = s.openFile(); err != nil {
		return nil, err
	}
	if err := r.identify(p); err != nil {
		r.f.Close()
		return nil, err
	}
	r.rows = newRows(s.columns)
	if s.csv {
		r.csv = &csvDecoder{delimiter: s.delimiter}
	} else {
		r.json = newJSONDecoder(s.columns)
	}
	return r, nil
}

// identify checks that the open file is the one that p is a position of.
func (r *reader) identify(p position) error {
	if p.inode != 0 && r.inode != 0 && p.inode != r.inode {
		return r.s.changed("another file has taken its name since offset %d was read", p.offset)
	}
	st, err := r.f.Stat()
	if err != nil {
		return r.s.ioError(err, "read")
	}
	if st.Size() < p.offset {
		return r.s.changed("it has %d bytes, but was read up to offset %d", st.Size(), p.offset)
	}
	if err := r.readPrefix(p.offset); err != nil {
		return err
	}
	if p.offset > 0 && xxh3.Hash(r.prefix) != p.sum {
		return r.s.changed("its first %d bytes are not those that were read before", len(r.prefix))
	}
	return nil
}
