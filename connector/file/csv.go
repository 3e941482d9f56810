package file

import (
	"bytes"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// maxHeader bounds the header record of a CSV file.
const maxHeader = 1 << 20

// csvDecoder reads records of RFC 4180: fields between delimiters, bare or in
// quotes, where two quotes stand for one. A record ends with a newline that
// is not in quotes, with or without a carriage return before it.
type csvDecoder struct {
	delimiter byte
	fields    []int // the column of each field, -1: none
	scratch   []byte
}

func identity(n int) []int {
	f := make([]int, n)
	for i := range f {
		f[i] = i
	}
	return f
}

// field takes one field off b from i on. end is where its delimiter or
// newline stands, or -1 if it is not whole in b. value is valid until the
// next call.
func (d *csvDecoder) field(b []byte, i int) (value []byte, quoted bool, end int, err error) {
	if i < len(b) && b[i] == '"' {
		value, end, err = d.quoted(b, i+1)
		return value, true, end, err
	}
	for end = i; end < len(b) && b[end] != d.delimiter && b[end] != '\n'; end++ {
	}
	if end == len(b) {
		return nil, false, -1, nil
	}
	value = b[i:end]
	if b[end] == '\n' && len(value) > 0 && value[len(value)-1] == '\r' {
		value = value[:len(value)-1]
	}
	return value, false, end, nil
}

// quoted takes a field off b from behind its opening quote on.
func (d *csvDecoder) quoted(b []byte, i int) (value []byte, end int, err error) {
	d.scratch = d.scratch[:0]
	for {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 || i+n+1 == len(b) {
			return nil, -1, nil
		}
		piece := b[i : i+n]
		i += n + 1
		if b[i] == '"' { // two quotes: one, and the field goes on
			d.scratch = append(append(d.scratch, piece...), '"')
			i++
			continue
		}
		if len(d.scratch) > 0 {
			d.scratch = append(d.scratch, piece...)
			piece = d.scratch
		}
		if b[i] == '\r' {
			if i+1 == len(b) {
				return nil, -1, nil
			}
			if b[i+1] == '\n' {
				i++
			}
		}
		if b[i] != d.delimiter && b[i] != '\n' {
			return nil, i, errCSV("unexpected character after a closing quote")
		}
		return piece, i, nil
	}
}

func errCSV(format string, args ...any) *pgerr.Error {
	return pgerr.New(pgerr.BadCopyFileFormat, format, args...)
}

// record decodes the record at the start of b and gives its length, 0 if it
// is not whole.
func (d *csvDecoder) record(b []byte, rows *rows) (int, error) {
	if len(b) > 0 && b[0] == '\n' {
		return 1, errBlank
	}
	if len(b) > 1 && b[0] == '\r' && b[1] == '\n' {
		return 2, errBlank
	}
	rows.beginRow()
	var bad error // the first error; the rest is only scanned
	for i, n := 0, 0; ; i, n = i+1, n+1 {
		value, quoted, end, err := d.field(b, i)
		if err != nil { // where fields end is not known any more
			nl := bytes.IndexByte(b[end:], '\n')
			if nl < 0 {
				return 0, nil
			}
			return end + nl + 1, err
		}
		if end < 0 {
			return 0, nil
		}
		if bad == nil {
			bad = d.value(rows, n, value, quoted)
		}
		i = end
		if b[end] != '\n' {
			continue
		}
		if bad == nil && n+1 < len(d.fields) {
			bad = errCSV("the record has %d fields, not %d", n+1, len(d.fields))
		}
		if bad == nil {
			bad = rows.endRow()
		}
		return end + 1, bad
	}
}

// value gives field n to its column.
func (d *csvDecoder) value(rows *rows, n int, value []byte, quoted bool) error {
	if n >= len(d.fields) {
		return errCSV("the record has more than %d fields", len(d.fields))
	}
	col := d.fields[n]
	switch {
	case col < 0:
		return nil
	case len(value) == 0 && !quoted:
		rows.null(col)
		return nil
	}
	return rows.parse(col, value)
}

// readHeader reads the header of a CSV file and gives the column of each
// field and where the records begin; no fields if it is not whole yet.
func (s *source) readHeader(f vfs.File) (fields []int, end int64, err error) {
	buf := make([]byte, maxHeader)
	n, _ := f.ReadAt(buf, 0) // an error shows as a header that is not whole
	buf = buf[:n]
	d := csvDecoder{delimiter: s.delimiter}
	cols := map[string]int{}
	for i, c := range s.columns {
		cols[c.Name] = i
	}
	seen := map[string]bool{}
	var names []string
	for i := 0; ; i++ {
		value, _, at, err := d.field(buf, i)
		if err != nil {
			return nil, 0, s.badHeader("%s", pgerr.From(err).Message)
		}
		if at < 0 {
			if n == maxHeader {
				return nil, 0, s.badHeader("it exceeds %d bytes", maxHeader)
			}
			return nil, 0, nil
		}
		name := string(value)
		if len(names) == 0 {
			name = strings.TrimPrefix(name, "\ufeff")
		}
		if seen[name] {
			return nil, 0, s.badHeader("it names the field %q twice", name)
		}
		seen[name] = true
		names = append(names, name)
		col, ok := cols[name]
		if !ok {
			col = -1
		}
		fields = append(fields, col)
		if i = at; buf[at] == '\n' {
			end = int64(at) + 1
			break
		}
	}
	for _, c := range s.columns {
		if !seen[c.Name] {
			return nil, 0, pgerr.New(pgerr.UndefinedColumn, "the header of file %q has no field %q", s.path, c.Name).
				WithHint("Its fields are: %s.", strings.Join(names, ", "))
		}
	}
	return fields, end, nil
}

func (s *source) badHeader(format string, args ...any) *pgerr.Error {
	return pgerr.New(pgerr.BadCopyFileFormat, "the header of file %q cannot be read: "+format, append([]any{s.path}, args...)...).
		WithHint("Set header = false if the file has none, or name its delimiter.")
}
