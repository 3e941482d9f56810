package wire

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/streamdb/streamdb/internal/pgerr"
)

const (
	flushAt       = 64 << 10              // bytes of output that are sent without being asked
	keepOutput    = 128 << 10             // capacity of the output buffer kept after a flush
	maxAhead      = 64 << 10              // bytes read ahead while a statement runs
	watchDelay    = 20 * time.Millisecond // statements shorter than this are not watched
	lingerTimeout = 250 * time.Millisecond
	lingerBytes   = 16 << 20
)

// input reads the client's bytes for the codec, and while a statement runs
// it can watch the socket for the client's going away: bytes that come in
// the meantime are kept, up to maxAhead, after which it stops watching.
type input struct {
	nc    net.Conn
	err   error  // the socket's own error, to tell it from the codec's
	ahead []byte // read by the watcher, not yet consumed

	lost  func(error) // called by the watcher
	timer *time.Timer // starts the watcher
	done  chan struct{}

	mu      sync.Mutex // guards the read deadline
	stopped bool       // reads fail from now on
}

func newInput(nc net.Conn, lost func(error)) *input {
	in := &input{nc: nc, lost: lost, done: make(chan struct{}, 1)}
	in.timer = time.AfterFunc(time.Hour, in.readAhead)
	in.timer.Stop()
	return in
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if len(in.ahead) > 0 {
		n := copy(p, in.ahead)
		if in.ahead = in.ahead[n:]; len(in.ahead) == 0 {
			in.ahead = nil
		}
		return n, nil
	}
	if in.err == nil {
		var n int
		n, in.err = in.nc.Read(p)
		if n > 0 {
			return n, nil
		}
	}
	return 0, in.err
}

// watch has the socket watched if unwatch is not called soon. Nobody may
// Read in between.
func (in *input) watch() { in.timer.Reset(watchDelay) }

// unwatch ends the watch.
func (in *input) unwatch() {
	if in.timer.Stop() {
		return
	}
	in.interrupt()
	<-in.done
	in.resume()
}

// readAhead is the watcher.
func (in *input) readAhead() {
	defer func() { in.done <- struct{}{} }()
	for len(in.ahead) < maxAhead && in.err == nil {
		in.ahead = slices.Grow(in.ahead, 4<<10)
		n, err := in.nc.Read(in.ahead[len(in.ahead):cap(in.ahead)])
		in.ahead = in.ahead[:len(in.ahead)+n]
		if isTimeout(err) {
			return
		}
		if err != nil {
			in.err = err
			in.lost(err)
		}
	}
}

// interrupt makes a Read that waits, on whatever goroutine, return with a
// timeout; resume undoes it.
func (in *input) interrupt() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.nc.SetReadDeadline(time.Unix(1, 0))
}

func (in *input) resume() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if isTimeout(in.err) {
		in.err = nil
	}
	if !in.stopped {
		in.nc.SetReadDeadline(time.Time{})
	}
}

// stop is interrupt for good.
func (in *input) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stopped = true
	in.nc.SetReadDeadline(time.Unix(1, 0))
}

// expireIn bounds the time that reads may take, until resume.
func (in *input) expireIn(d time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.stopped {
		in.nc.SetReadDeadline(time.Now().Add(d))
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// output collects messages and sends them on flush, or before that when
// there are many bytes of them.
type output struct {
	nc      net.Conn
	timeout time.Duration
	buf     []byte
	err     error // the socket's, sticky

	complete pgproto3.CommandComplete // reused, so that sending them allocates nothing
	ready    pgproto3.ReadyForQuery
}

// send adds a message.
func (o *output) send(m pgproto3.BackendMessage) error {
	if o.err != nil {
		return o.err
	}
	buf, err := m.Encode(o.buf)
	if err != nil {
		return pgerr.Wrap(err, pgerr.ProgramLimitExceeded, "message to the client is too large: %v", err)
	}
	o.buf = buf
	return o.flushIfFull()
}

func (o *output) flushIfFull() error {
	if len(o.buf) < flushAt {
		return o.err
	}
	return o.flush()
}

// flush sends all messages.
func (o *output) flush() error {
	if o.err != nil || len(o.buf) == 0 {
		return o.err
	}
	// In pieces, so that the timeout is one of silence, not of a long message
	// on a slow line.
	for b := o.buf; len(b) > 0 && o.err == nil; {
		o.nc.SetWriteDeadline(time.Now().Add(o.timeout))
		var n int
		if n, o.err = o.nc.Write(b[:min(len(b), flushAt)]); o.err != nil {
			o.err = &socketError{o.err}
		}
		b = b[n:]
	}
	if cap(o.buf) > keepOutput {
		o.buf = nil
	} else {
		o.buf = o.buf[:0]
	}
	return o.err
}

func (o *output) sendComplete(tag string) error {
	o.complete.CommandTag = append(o.complete.CommandTag[:0], tag...)
	return o.send(&o.complete)
}

func (o *output) sendReady(txStatus byte) error {
	o.ready.TxStatus = txStatus
	if err := o.send(&o.ready); err != nil {
		return err
	}
	return o.flush()
}

// sendError adds an ErrorResponse of severity ERROR or FATAL.
func (o *output) sendError(severity string, e *pgerr.Error) error {
	return o.send(errorResponse(severity, e))
}

func errorResponse(severity string, e *pgerr.Error) *pgproto3.ErrorResponse {
	return &pgproto3.ErrorResponse{
		Severity:            severity,
		SeverityUnlocalized: severity,
		Code:                string(e.Code),
		Message:             cString(e.Message),
		Detail:              cString(e.Detail),
		Hint:                cString(e.Hint),
		Position:            int32(e.Position),
		SchemaName:          cString(e.Schema),
		TableName:           cString(e.Table),
		ConstraintName:      cString(e.Constraint),
		ColumnName:          cString(e.Column),
	}
}

// cString cuts a text at a NUL byte, which would end the field on the wire.
func cString(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			return s[:i]
		}
	}
	return s
}

// linger lets the client read the last message: closing a socket with
// unread input resets it, and the message is lost.
func linger(nc net.Conn) {
	cw, ok := nc.(interface{ CloseWrite() error })
	if !ok || cw.CloseWrite() != nil {
		return
	}
	nc.SetReadDeadline(time.Now().Add(lingerTimeout))
	buf := make([]byte, 32<<10)
	for left := lingerBytes; left > 0; {
		n, err := nc.Read(buf)
		if err != nil {
			return
		}
		left -= n
	}
}
