package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/streamdb/streamdb/types"
)

// copyOut writes rows in a COPY format.
type copyOut struct {
	f     *copyFormat
	names []string
	w     io.Writer
	buf   []byte
	val   []byte
	rows  int64
}

// binarySignature begins a binary COPY; flags and extension length follow.
const binarySignature = "PGCOPY\n\xff\r\n\x00"

// runner gives what runs the COPY of a query's rows.
func (o *copyOut) runner(rows *queryRows) func(context.Context, io.Writer) (string, error) {
	return func(ctx context.Context, w io.Writer) (string, error) {
		defer rows.Close()
		if err := o.begin(w); err != nil {
			return "", err
		}
		for {
			c, err := rows.Next(ctx)
			if err != nil {
				return "", err
			}
			if c == nil {
				break
			}
			for k := range c.Rows() {
				r := c.Row(k)
				for range c.DiffAt(r) {
					if err := o.row(nil, c, r); err != nil {
						return "", err
					}
				}
			}
		}
		if err := o.end(); err != nil {
			return "", err
		}
		return fmt.Sprintf("COPY %d", o.rows), nil
	}
}

// begin writes what comes before the rows.
func (o *copyOut) begin(w io.Writer) error {
	o.w = w
	switch {
	case o.f.binary:
		o.buf = append(append(o.buf[:0], binarySignature...), 0, 0, 0, 0, 0, 0, 0, 0)
	case o.f.header:
		o.buf = o.buf[:0]
		for i, n := range o.names {
			if i > 0 {
				o.buf = append(o.buf, o.f.delim)
			}
			o.val = append(o.val[:0], n...)
			o.field(n, false)
		}
		o.buf = append(o.buf, '\n')
	default:
		return nil
	}
	_, err := w.Write(o.buf)
	return err
}

// end writes what comes after the rows.
func (o *copyOut) end() error {
	if !o.f.binary {
		return nil
	}
	_, err := o.w.Write([]byte{0xff, 0xff})
	return err
}

// row writes the numbers of prefix and row r of c (nil: NULLs up to the
// number of names) as one message.
func (o *copyOut) row(prefix []int64, c *types.Chunk, r int) error {
	o.rows++
	o.buf = o.buf[:0]
	n := len(o.names)
	if o.f.binary {
		o.buf = binary.BigEndian.AppendUint16(o.buf, uint16(n))
	}
	for i := range n {
		if i > 0 && !o.f.binary {
			o.buf = append(o.buf, o.f.delim)
		}
		d := types.Datum{Null: true}
		switch {
		case i < len(prefix):
			d = types.NewInt8(prefix[i])
		case c != nil:
			d = c.Cols[i-len(prefix)].Datum(r)
		}
		if o.f.binary {
			o.binaryField(d)
			continue
		}
		if d.Null {
			o.buf = append(o.buf, o.f.null...)
			continue
		}
		o.val = types.AppendText(o.val[:0], d)
		o.field(o.names[i], n == 1)
	}
	if !o.f.binary {
		o.buf = append(o.buf, '\n')
	}
	_, err := o.w.Write(o.buf)
	return err
}

func (o *copyOut) binaryField(d types.Datum) {
	if d.Null {
		o.buf = append(o.buf, 0xff, 0xff, 0xff, 0xff)
		return
	}
	at := len(o.buf)
	o.buf = append(o.buf, 0, 0, 0, 0)
	o.buf = types.AppendBinary(o.buf, d)
	binary.BigEndian.PutUint32(o.buf[at:], uint32(len(o.buf)-at-4))
}

// field writes the value in o.val of a column; only says that it is the
// row's only one.
func (o *copyOut) field(name string, only bool) {
	if !o.f.csv {
		o.textField()
		return
	}
	f := o.f
	quote := f.forceQuote[name] || f.forceQuote["*"] || string(o.val) == f.null || only && string(o.val) == `\.`
	for _, b := range o.val {
		quote = quote || b == f.delim || b == f.quote || b == '\n' || b == '\r'
	}
	if !quote {
		o.buf = append(o.buf, o.val...)
		return
	}
	o.buf = append(o.buf, f.quote)
	for _, b := range o.val {
		if b == f.quote || b == f.escape {
			o.buf = append(o.buf, f.escape)
		}
		o.buf = append(o.buf, b)
	}
	o.buf = append(o.buf, f.quote)
}

// textEscapes are the characters that text escapes, and by what letter.
const (
	textEscaped = "\b\f\n\r\t\v\\"
	textLetters = "bfnrtv\\"
)

func (o *copyOut) textField() {
	for _, b := range o.val {
		if i := strings.IndexByte(textEscaped, b); i >= 0 {
			o.buf = append(o.buf, '\\', textLetters[i])
			continue
		}
		if b == o.f.delim {
			o.buf = append(o.buf, '\\')
		}
		o.buf = append(o.buf, b)
	}
}
