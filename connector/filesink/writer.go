package filesink

import (
	"bytes"
	"math"
	"strconv"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// bufferSize is how much is written at once.
const bufferSize = 256 << 10

// writer writes one subtask's staging file; a new one after each Prepare.
type writer struct {
	k       *sink
	subtask int

	f      vfs.File // nil: nothing written since the last Prepare
	name   string
	size   int64
	hash   *xxh3.Hasher
	buf    []byte
	keys   [][]byte // JSON: what stands before each column's value
	failed error    // sticky: the file is not whole any more
}

// Write implements connector.Writer.
func (w *writer) Write(e types.Epoch, c *types.Chunk) error {
	if w.failed != nil || c.Rows() == 0 {
		return w.failed
	}
	if w.f == nil {
		if err := w.create(e); err != nil {
			return err
		}
	}
	for i, n := 0, c.Rows(); i < n; i++ {
		r := c.Row(i)
		diff, times := c.DiffAt(r), int32(1)
		if !w.k.diff {
			if diff < 0 {
				return pgerr.Internal("a row was taken back in an append-only sink")
			}
			times = diff
		}
		for range times {
			if w.k.csv {
				w.appendCSV(e, diff, c, r)
			} else {
				w.appendJSON(e, diff, c, r)
			}
			if len(w.buf) >= bufferSize {
				if err := w.flush(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// create begins a staging file.
func (w *writer) create(e types.Epoch) error {
	name := w.k.stagedName(w.subtask, e)
	f, err := w.k.fs.Create(w.k.file(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return w.k.ioError(err, "create", name)
	}
	w.f, w.name, w.size, w.hash, w.buf = f, name, 0, xxh3.New(), w.buf[:0]
	if w.k.csv && w.k.header {
		w.appendHeader()
	}
	if w.keys == nil && !w.k.csv {
		for _, col := range w.k.schema {
			w.keys = append(w.keys, append(appendJSONString([]byte{','}, []byte(col.Name)), ':'))
		}
	}
	return nil
}

// flush writes out the buffer.
func (w *writer) flush() error {
	_, _ = w.hash.Write(w.buf)
	w.size += int64(len(w.buf))
	_, err := w.f.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		w.failed = w.k.ioError(err, "write", w.name)
	}
	return w.failed
}

// Prepare implements connector.Writer.
func (w *writer) Prepare(e types.Epoch) (connector.Token, error) {
	if w.f == nil || w.failed != nil {
		return nil, w.failed
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	if err := w.f.Sync(); err != nil {
		w.failed = w.k.ioError(err, "sync", w.name)
		return nil, w.failed
	}
	err := w.f.Close()
	w.f = nil
	if err != nil {
		w.failed = w.k.ioError(err, "close", w.name)
		return nil, w.failed
	}
	if w.failed = w.k.syncDir(w.k.path); w.failed != nil {
		return nil, w.failed
	}
	p := prepared{staged: w.name, final: w.k.finalName(w.subtask, e), size: w.size, sum: w.hash.Sum64()}
	return p.token(), nil
}

// Close implements connector.Writer. What was not prepared is discarded.
func (w *writer) Close() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	if rerr := w.k.fs.Remove(w.k.file(w.name)); err == nil {
		err = rerr
	}
	if err != nil {
		return w.k.ioError(err, "discard", w.name)
	}
	return nil
}

func (w *writer) appendJSON(e types.Epoch, diff int32, c *types.Chunk, r int) {
	b := append(w.buf, '{')
	if w.k.diff {
		b = append(b, `"`+diffColumn+`":`...)
		b = append(strconv.AppendInt(b, int64(diff), 10), ',')
	}
	b = append(b, `"`+epochColumn+`":`...)
	b = strconv.AppendUint(b, uint64(e), 10)
	for i := range c.Cols {
		b = append(b, w.keys[i]...)
		b = appendJSONValue(b, &c.Cols[i], r)
	}
	w.buf = append(b, '}', '\n')
}

// appendJSONValue appends a value: numbers exactly, those that JSON has not
// (NaN, infinities) and all other types as strings of their text.
func appendJSONValue(b []byte, v *types.Vec, r int) []byte {
	if v.Null(r) {
		return append(b, "null"...)
	}
	switch v.Type.Kind {
	case types.Bool:
		return strconv.AppendBool(b, v.Bool[r])
	case types.Int4, types.Int8:
		return strconv.AppendInt(b, v.I64[r], 10)
	case types.Text:
		return appendJSONString(b, v.Bytes(r))
	case types.Float8:
		if f := v.F64[r]; !math.IsNaN(f) && !math.IsInf(f, 0) {
			return types.AppendText(b, v.Datum(r))
		}
	case types.Numeric:
		if types.DecodeNumeric(v.Bytes(r)).Kind == types.NumFinite {
			return types.AppendText(b, v.Datum(r))
		}
	}
	b = append(b, '"') // no text of these types needs an escape
	return append(types.AppendText(b, v.Datum(r)), '"')
}

const hexDigits = "0123456789abcdef"

func appendJSONString(b, s []byte) []byte {
	b = append(b, '"')
	start := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' { // text is valid UTF-8
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}

func (w *writer) appendHeader() {
	b := w.buf
	if w.k.diff {
		b = append(append(b, diffColumn...), w.k.delimiter)
	}
	b = append(b, epochColumn...)
	for _, col := range w.k.schema {
		b = w.appendCSVText(append(b, w.k.delimiter), []byte(col.Name))
	}
	w.buf = append(b, '\n')
}

// appendCSV appends a row as COPY writes CSV: NULL is an empty field, an
// empty text is in quotes.
func (w *writer) appendCSV(e types.Epoch, diff int32, c *types.Chunk, r int) {
	b := w.buf
	if w.k.diff {
		if diff < 0 && w.k.delimiter == '-' {
			b = append(strconv.AppendInt(append(b, '"'), int64(diff), 10), '"', w.k.delimiter)
		} else {
			b = append(strconv.AppendInt(b, int64(diff), 10), w.k.delimiter)
		}
	}
	b = strconv.AppendUint(b, uint64(e), 10)
	for i := range c.Cols {
		b = append(b, w.k.delimiter)
		switch v := &c.Cols[i]; {
		case v.Null(r):
		case v.Type.Kind == types.Text:
			b = w.appendCSVText(b, v.Bytes(r))
		default:
			at := len(b)
			if b = types.AppendText(b, v.Datum(r)); bytes.IndexByte(b[at:], w.k.delimiter) >= 0 {
				b = w.appendCSVText(b[:at], bytes.Clone(b[at:]))
			}
		}
	}
	w.buf = append(b, '\n')
}

func (w *writer) appendCSVText(b, s []byte) []byte {
	if len(s) > 0 && bytes.IndexByte(s, w.k.delimiter) < 0 && !bytes.ContainsAny(s, "\"\r\n") {
		return append(b, s...)
	}
	b = append(b, '"')
	for _, c := range s {
		if c == '"' {
			b = append(b, '"')
		}
		b = append(b, c)
	}
	return append(b, '"')
}
