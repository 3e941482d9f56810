package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// runCopy finishes a result without rows: it runs the COPY, if it is one,
// and gives the command tag.
func (c *conn) runCopy(res *Result) (tag string, err error) {
	switch {
	case res.CopyIn != nil:
		return c.copyIn(res.CopyIn)
	case res.CopyOut != nil:
		return c.copyOut(res.CopyOut)
	default:
		return res.Tag, nil
	}
}

// copyFormats gives the overall format code and that of each column.
func copyFormats(binary bool, columns int) (byte, []uint16) {
	codes := make([]uint16, columns)
	if !binary {
		return 0, codes
	}
	for i := range codes {
		codes[i] = pgproto3.BinaryFormat
	}
	return 1, codes
}

func (c *conn) copyIn(ci *CopyIn) (tag string, err error) {
	format, codes := copyFormats(ci.Binary, ci.Columns)
	if err := c.out.send(&pgproto3.CopyInResponse{OverallFormat: format, ColumnFormatCodes: codes}); err != nil {
		return "", err
	}
	if err := c.out.flush(); err != nil {
		return "", err
	}
	c.in.unwatch() // the reader below sees the client go
	c.setCopy(true)
	r := &copyReader{c: c}
	tag, err = ci.Run(c.ctx, r)
	if err == nil {
		// What comes after an end marker in the data does not count, but
		// whether the client says it is done does.
		_, err = io.Copy(io.Discard, r)
	}
	c.setCopy(false)
	c.in.watch()
	if r.broken != nil {
		return "", r.broken
	}
	return tag, err
}

// setCopy tells cancelStatement whether somebody waits for COPY data.
func (c *conn) setCopy(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copy = on
	switch {
	case !on:
		c.in.resume()
	case c.ctx.Err() != nil:
		c.in.interrupt()
	}
}

// copyReader is the data of the CopyData messages, up to CopyDone.
type copyReader struct {
	c      *conn
	rest   []byte // of the last message
	err    error  // sticky; io.EOF after CopyDone
	broken error  // err, if it ends the connection
}

// Read implements io.Reader.
func (r *copyReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && len(p) > 0 {
		if r.err == nil {
			r.next()
		}
		if r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next takes the next message.
func (r *copyReader) next() {
	m, err := r.c.receive()
	if err != nil {
		if r.err = r.c.ctx.Err(); r.err == nil || !isTimeout(err) {
			r.err, r.broken = err, err
		}
		return
	}
	switch m := m.(type) {
	case *pgproto3.CopyData:
		r.rest = m.Data
	case *pgproto3.CopyDone:
		r.err = io.EOF
	case *pgproto3.CopyFail:
		r.err = pgerr.New(pgerr.QueryCanceled, "COPY from stdin failed: %s", m.Message)
	case *pgproto3.Flush, *pgproto3.Sync: // meant for the time before the COPY
	case *pgproto3.Terminate:
		r.err = &socketError{errors.New("client terminated during COPY")}
		r.broken = r.err
	default:
		r.err = violation("unexpected message type during COPY from stdin: %T", m)
		r.broken = r.err
	}
}

func (c *conn) copyOut(co *CopyOut) (tag string, err error) {
	format, codes := copyFormats(co.Binary, co.Columns)
	if err := c.out.send(&pgproto3.CopyOutResponse{OverallFormat: format, ColumnFormatCodes: codes}); err != nil {
		return "", err
	}
	if tag, err = co.Run(c.ctx, &copyWriter{c: c, ctx: c.ctx}); err != nil {
		return "", err
	}
	return tag, c.out.send(&pgproto3.CopyDone{})
}

// copyWriter sends each Write as a CopyData message.
type copyWriter struct {
	c   *conn
	ctx context.Context
}

// Write implements io.Writer.
func (w *copyWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	o := &w.c.out
	if o.err != nil {
		return 0, o.err
	}
	o.buf = append(o.buf, 'd')
	o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(len(p)+4))
	o.buf = append(o.buf, p...)
	return len(p), o.flushIfFull()
}

// Flush implements Flusher.
func (w *copyWriter) Flush() error { return w.c.out.flush() }
