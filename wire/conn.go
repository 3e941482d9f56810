package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var (
	errShutdown = pgerr.New(pgerr.AdminShutdown, "terminating connection due to administrator command")
	errCancel   = pgerr.New(pgerr.QueryCanceled, "canceling statement due to user request")
	errLost     = pgerr.New(pgerr.ConnectionFailure, "connection to client lost")
)

// fatalError ends the connection after the client was told.
type fatalError struct{ err *pgerr.Error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// violation is a breach of the protocol, which ends the connection.
func violation(format string, args ...any) error {
	return &fatalError{pgerr.New(pgerr.ProtocolViolation, format, args...)}
}

// socketError ends the connection with nobody left to tell.
type socketError struct{ err error }

func (e *socketError) Error() string { return e.err.Error() }
func (e *socketError) Unwrap() error { return e.err }

// conn is one client's connection. Its goroutine owns everything but what mu
// guards.
type conn struct {
	srv *Server
	nc  net.Conn
	log *slog.Logger
	in  *input
	out output
	be  *pgproto3.Backend // reads messages; out writes them

	pid      int32
	key      []byte
	version  uint32 // the protocol's, as negotiated
	session  Session
	loc      *time.Location // of the session, for texts of timestamptz
	prepared map[string]*statement
	portals  map[string]*portal
	skip     bool // an extended-protocol error: ignore all until Sync

	preparedBytes int // of the texts in prepared

	base context.Context
	mu   sync.Mutex
	ctx  context.Context // of the running call
	stop context.CancelCauseFunc
	over bool // ctx is not renewed
	busy bool // a call runs
	copy bool // and waits for the client's COPY data
}

func newConn(ctx context.Context, s *Server, nc net.Conn) *conn {
	c := &conn{
		srv: s, nc: nc, base: ctx,
		log:      s.cfg.Logger.With("remote", nc.RemoteAddr().String()),
		out:      output{nc: nc, timeout: s.cfg.WriteTimeout},
		loc:      time.UTC,
		prepared: map[string]*statement{},
		portals:  map[string]*portal{},
	}
	c.in = newInput(nc, func(error) { c.cancelFor(errLost) })
	c.ctx, c.stop = context.WithCancelCause(ctx)
	return c
}

// serve runs the connection to its end. Whatever happens stays within it.
func (c *conn) serve() {
	defer c.nc.Close()
	defer func() { c.stop(nil) }()
	defer c.closeSession()
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("connection panicked", "panic", r, "stack", string(debug.Stack()))
			c.finish(&fatalError{pgerr.Internal("internal error: %v", r)})
		}
	}()
	if err := c.greet(); err != nil {
		c.finish(err)
		return
	}
	c.finish(c.loop())
}

// finish says the last word, if there is one and somebody to hear it.
func (c *conn) finish(err error) {
	var se *socketError
	switch {
	case err == nil:
	case errors.As(err, &se):
		c.log.Debug("connection lost", "error", err)
	default:
		e := pgerr.From(err)
		c.log.Info("connection ended", "code", e.Code, "error", e.Error())
		if c.out.sendError("FATAL", e) == nil && c.out.flush() == nil && e.Code == pgerr.ProtocolViolation {
			linger(c.nc)
		}
	}
}

func (c *conn) closeSession() {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("closing a session panicked", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	c.stop(errLost)
	if c.session == nil {
		return
	}
	c.closePortals()
	c.session.Close()
}

// loop answers messages until the connection ends, nil if the client said so.
func (c *conn) loop() error {
	for {
		m, err := c.receive()
		if err != nil {
			return err
		}
		switch m.(type) {
		case *pgproto3.Terminate:
			return nil
		case *pgproto3.Sync:
		default:
			if c.skip {
				continue
			}
		}
		c.begin()
		err = c.handle(m)
		c.end()
		if err != nil {
			return err
		}
	}
}

// receive reads the next message, valid until the following one. Its errors
// end the connection.
func (c *conn) receive() (pgproto3.FrontendMessage, error) {
	m, err := c.be.Receive()
	if err == nil {
		return m, nil
	}
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	switch {
	case isTimeout(c.in.err):
		if c.srv.isClosing() {
			return nil, &fatalError{errShutdown}
		}
		return nil, c.in.err // a cancelled COPY
	case c.in.err != nil:
		return nil, &socketError{c.in.err}
	case errors.As(err, &tooLong):
		return nil, &fatalError{pgerr.New(pgerr.ProtocolViolation, "invalid message length").
			WithDetail("The message has %d bytes, the limit is %d.", tooLong.ActualBodyLen, tooLong.MaxExpectedBodyLen)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, violation("invalid message format")
	default:
		return nil, violation("%v", err)
	}
}

// handle answers one message. An error that it returns ends the connection.
func (c *conn) handle(m pgproto3.FrontendMessage) error {
	switch m := m.(type) {
	case *pgproto3.Query:
		return c.query(m.String)
	case *pgproto3.Parse:
		return c.extended(c.parse(m))
	case *pgproto3.Bind:
		return c.extended(c.bind(m))
	case *pgproto3.Describe:
		return c.extended(c.describe(m))
	case *pgproto3.Execute:
		return c.extended(c.execute(m))
	case *pgproto3.Close:
		return c.extended(c.close(m))
	case *pgproto3.Flush:
		return c.out.flush()
	case *pgproto3.Sync:
		return c.sync()
	case *pgproto3.CopyData, *pgproto3.CopyDone, *pgproto3.CopyFail:
		return nil // the rest of a COPY that failed
	case *pgproto3.FunctionCall:
		if err := c.fail(pgerr.Unsupported("the function call protocol")); err != nil {
			return err
		}
		return c.out.sendReady(c.session.TxStatus())
	default:
		return violation("unexpected message %T", m)
	}
}

// extended ends a message of the extended protocol: after an error all is
// ignored until Sync.
func (c *conn) extended(err error) error {
	if err == nil {
		return nil
	}
	c.skip = true
	if err := c.fail(err); err != nil {
		return err
	}
	return c.out.flush()
}

// fail tells the client and the session of an error. An error that ends the
// connection comes back.
func (c *conn) fail(err error) error {
	var se *socketError
	var fe *fatalError
	if errors.As(err, &se) || errors.As(err, &fe) {
		return err
	}
	e := c.userError(err)
	if e == errShutdown || e == errLost {
		return &fatalError{e}
	}
	if e.Code == pgerr.InternalError {
		c.log.Error("internal error", "error", e.Error())
	}
	if err := c.out.sendError("ERROR", e); err != nil {
		return err
	}
	c.session.Fail()
	if c.session.TxStatus() == 'I' {
		c.closePortals()
	}
	return nil
}

// userError gives the form of err that clients see. What a cancelled call
// returns is told by why it was cancelled.
func (c *conn) userError(err error) *pgerr.Error {
	var e *pgerr.Error
	if !errors.As(err, &e) || e.Code == pgerr.QueryCanceled {
		if c.base.Err() != nil {
			return errShutdown
		}
		var cause *pgerr.Error
		if errors.As(context.Cause(c.ctx), &cause) && (e == nil || cause != errCancel) {
			return cause
		}
		if e == nil && errors.Is(err, context.DeadlineExceeded) {
			return pgerr.Wrap(err, pgerr.QueryCanceled, "canceling statement due to statement timeout")
		}
	}
	return pgerr.From(err)
}

// begin opens the time in which a message's calls run and can be cancelled.
func (c *conn) begin() {
	c.mu.Lock()
	if c.ctx.Err() != nil && !c.over && c.base.Err() == nil {
		c.stop(nil)
		c.ctx, c.stop = context.WithCancelCause(c.base)
	}
	c.busy = true
	c.mu.Unlock()
	c.in.watch()
}

func (c *conn) end() {
	c.in.unwatch()
	c.mu.Lock()
	c.busy = false
	c.mu.Unlock()
}

// cancelStatement cancels what runs, if something does.
func (c *conn) cancelStatement() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.busy {
		return
	}
	c.stop(errCancel)
	if c.copy {
		c.in.interrupt()
	}
}

// cancelFor cancels what runs and all that would run later.
func (c *conn) cancelFor(cause *pgerr.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.stop(cause)
}

// terminate ends the connection from outside.
func (c *conn) terminate(cause *pgerr.Error) {
	c.cancelFor(cause)
	c.in.stop()
}

// Notice implements Client.
func (c *conn) Notice(severity string, n *pgerr.Error) {
	// An error is the socket's and comes again at the next send.
	_ = c.out.send((*pgproto3.NoticeResponse)(errorResponse(severity, n)))
}

// ParameterStatus implements Client.
func (c *conn) ParameterStatus(name, value string) {
	_ = c.out.send(&pgproto3.ParameterStatus{Name: cString(name), Value: cString(value)})
}

// Deallocate implements PreparedStatements.
func (c *conn) Deallocate(name string) error {
	if c.prepared[name] == nil || name == "" {
		return pgerr.New(pgerr.InvalidStatementName, "prepared statement \"%s\" does not exist", name)
	}
	c.dropStatement(name)
	return nil
}

// DeallocateAll implements PreparedStatements.
func (c *conn) DeallocateAll() {
	clear(c.prepared)
	c.preparedBytes = 0
}

// checkUTF8 refuses what is not UTF-8. (A NUL ends a string of the protocol,
// so there is none in it.)
func checkUTF8(s string) error {
	if utf8.ValidString(s) {
		return nil
	}
	return types.CheckText([]byte(s))
}
