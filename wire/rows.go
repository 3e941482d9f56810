package wire

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// sendRows sends a portal's next rows, at most limit (0: all) of them. It
// reports the end only when it had to look for it: like PostgreSQL, a portal
// whose last row was the limit's last is suspended.
func (c *conn) sendRows(p *portal, limit int64) (sent int64, done bool, err error) {
	if p.done { // executed again after its end
		return 0, true, nil
	}
	c.locate()
	enc := rowEncoder{columns: len(p.result.Fields), formats: p.formats, loc: c.loc}
	for limit == 0 || sent < limit {
		if p.chunk == nil {
			if err := c.ctx.Err(); err != nil {
				return sent, false, err
			}
			if p.chunk, err = p.result.Rows.Next(c.ctx); err != nil {
				return sent, false, err
			}
			if p.chunk == nil {
				return sent, true, nil
			}
			if len(p.chunk.Cols) < enc.columns {
				return sent, false, pgerr.Internal("a result chunk has %d columns, its description %d", len(p.chunk.Cols), enc.columns)
			}
			p.row, p.copies = 0, 0
		}
		n, err := c.sendChunk(p, &enc, limit-sent)
		sent += n
		if err != nil {
			return sent, false, err
		}
	}
	return sent, false, nil
}

// sendChunk sends rows of the portal's chunk, until its end or, if limit is
// positive, limit rows.
func (c *conn) sendChunk(p *portal, enc *rowEncoder, limit int64) (sent int64, err error) {
	for rows := p.chunk.Rows(); p.row < rows; p.row++ {
		r := p.chunk.Row(p.row)
		if p.copies == 0 {
			if p.copies = p.chunk.DiffAt(r); p.copies <= 0 {
				return sent, pgerr.Internal("a result row stands %d times", p.copies)
			}
		}
		for ; p.copies > 0; p.copies-- {
			if limit > 0 && sent == limit {
				return sent, nil
			}
			c.out.buf = enc.append(c.out.buf, p.chunk, r)
			sent++
			if len(c.out.buf) >= flushAt {
				if err := c.out.flush(); err != nil {
					return sent, err
				}
			}
		}
	}
	p.chunk = nil
	return sent, nil
}

// rowEncoder writes rows as DataRow messages.
type rowEncoder struct {
	columns int
	formats []int16
	loc     *time.Location
}

// append adds row r of ch as a DataRow.
func (e *rowEncoder) append(dst []byte, ch *types.Chunk, r int) []byte {
	start := len(dst)
	dst = append(dst, 'D', 0, 0, 0, 0, byte(e.columns>>8), byte(e.columns))
	for i := range e.columns {
		v := &ch.Cols[i]
		if v.Null(r) {
			dst = append(dst, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		if formatOf(e.formats, i) == pgproto3.BinaryFormat {
			dst = types.AppendBinary(dst, v.Datum(r))
		} else {
			dst = v.AppendTextIn(dst, r, e.loc)
		}
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}

// locate asks the session for its time zone, which any statement may change.
func (c *conn) locate() {
	if l, ok := c.session.(Localizer); ok {
		c.loc = l.Location()
	}
}
