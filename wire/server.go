package wire

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// Config is what a server needs to know. Zero values stand for the defaults.
type Config struct {
	Engine Engine       // required
	Logger *slog.Logger // nil: nothing is logged

	MaxConnections        int           // sessions at a time; default 100
	MaxPreparedStatements int           // named and unnamed, a session; default 10,000
	MaxPortals            int           // open portals, a session; default 1,000
	AuthTimeout           time.Duration // from accept to the session; default 10 s
	WriteTimeout          time.Duration // a client that takes no byte for so long is cut off; default 2 min
	MaxMessageBytes       int           // of one message's body; default 64 MiB
	MaxPreAuthBytes       int           // of one message before the session; default 10,000
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.MaxConnections, 100)
	orDefault(&c.MaxPreparedStatements, 10_000)
	orDefault(&c.MaxPortals, 1_000)
	orDefault(&c.AuthTimeout, 10*time.Second)
	orDefault(&c.WriteTimeout, 2*time.Minute)
	orDefault(&c.MaxMessageBytes, 64<<20)
	orDefault(&c.MaxPreAuthBytes, 10_000)
	return c
}

func orDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Server accepts connections and speaks the protocol on them.
type Server struct {
	cfg Config
	wg  sync.WaitGroup // connection goroutines

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{} // every open socket
	sessions  map[int32]*conn    // authenticated, by PID
	lastPID   int32
}

// NewServer makes a server. It panics if there is no engine.
func NewServer(cfg Config) *Server {
	if cfg.Engine == nil {
		panic("wire: a server without an engine")
	}
	return &Server{
		cfg:       cfg.withDefaults(),
		listeners: map[net.Listener]struct{}{},
		conns:     map[*conn]struct{}{},
		sessions:  map[int32]*conn{},
	}
}

// Serve accepts connections on l until Shutdown is called or ctx ends, which
// also ends the connections; it closes l. Sessions get contexts derived from
// ctx. The error is nil after an orderly end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer context.AfterFunc(ctx, s.close)()

	var backoff time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			backoff = 0
			s.start(ctx, nc)
			continue
		}
		if s.isClosing() {
			return nil
		}
		// Out of file descriptors, or the peer was gone already: others may
		// still be served, so wait and go on.
		var ne net.Error
		if errors.Is(err, net.ErrClosed) || !errors.As(err, &ne) {
			return err
		}
		backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
		s.cfg.Logger.Warn("accept failed", "error", err, "retry_in", backoff)
		time.Sleep(backoff)
	}
}

// Shutdown stops listening, tells every client 57P01, cancels what runs and
// waits for the connections to end. If ctx ends first their sockets are
// closed and ctx's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.nc.Close()
	}
	s.mu.Unlock()
	return ctx.Err()
}

// close begins the shutdown and does not wait.
func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.terminate(errShutdown)
	}
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// start runs a connection on its own goroutine, unless so many sockets are
// open that even refusing politely costs too much.
func (s *Server) start(ctx context.Context, nc net.Conn) {
	c := newConn(ctx, s, nc)
	s.mu.Lock()
	// Twice the sessions, so that cancel requests and refusals with a reason
	// get through to a full server.
	if s.closing || len(s.conns) >= 2*s.cfg.MaxConnections+16 {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		defer s.forget(c)
		c.serve()
	}()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.pid != 0 {
		delete(s.sessions, c.pid)
	}
}

// admit gives a connection its number and its secret, of keyLen bytes, and a
// place among the sessions.
func (s *Server) admit(c *conn, keyLen int) error {
	key := make([]byte, keyLen)
	if _, err := rand.Read(key); err != nil {
		return pgerr.Wrap(err, pgerr.SystemError, "no randomness from the operating system")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return errShutdown
	}
	if len(s.sessions) >= s.cfg.MaxConnections {
		return pgerr.New(pgerr.TooManyConnections, "sorry, too many clients already").
			WithHint("The server takes %d connections at a time; close some, or raise the limit.", s.cfg.MaxConnections)
	}
	for {
		s.lastPID++
		if s.lastPID <= 0 {
			s.lastPID = 1
		}
		if s.sessions[s.lastPID] == nil {
			break
		}
	}
	c.pid, c.key = s.lastPID, key
	s.sessions[c.pid] = c
	return nil
}

// cancel passes a cancel request to the session that pid names, if key is
// its secret; else nothing happens, as the protocol wants it.
func (s *Server) cancel(pid int32, key []byte) {
	s.mu.Lock()
	c := s.sessions[pid]
	s.mu.Unlock()
	if c != nil && subtle.ConstantTimeCompare(c.key, key) == 1 {
		c.cancelStatement()
	}
}
