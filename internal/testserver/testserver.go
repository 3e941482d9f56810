// Package testserver starts a streamdb for a test: in the test's own process,
// or as a child process that can be killed at any moment.
package testserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/streamdb/streamdb/engine"
	_ "github.com/streamdb/streamdb/state/filesystem" // they make themselves known
	_ "github.com/streamdb/streamdb/state/memory"
	_ "github.com/streamdb/streamdb/state/pebble"
	"github.com/streamdb/streamdb/wire"
)

// stopTimeout bounds an orderly end.
const stopTimeout = 30 * time.Second

// Options say what is started. The zero value is a server on a directory of
// its own, at any free port.
type Options struct {
	Dir     string // data directory; "": a temporary one
	WorkDir string // where relative paths of connectors start
	// CheckpointInterval is as engine.Config has it.
	CheckpointInterval time.Duration
	ReadTimeout        time.Duration // likewise
	MaxConnections     int
	// Config, if not nil, may change the engine's configuration. A child
	// process does not see it.
	Config func(*engine.Config)
}

// Server is a streamdb in this process.
type Server struct {
	t    testing.TB
	opts Options
	en   *engine.Engine
	srv  *wire.Server
	addr string
	done chan error
}

// Start starts a server that ends with the test.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s := &Server{t: t, opts: opts, addr: "127.0.0.1:0"}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(s.en.Kill) })
	return s
}

func config(opts Options) engine.Config {
	level := slog.LevelError
	if os.Getenv("STREAMDB_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	cfg := engine.Config{
		Dir: opts.Dir, WorkDir: opts.WorkDir, CheckpointInterval: opts.CheckpointInterval,
		ReadTimeout: opts.ReadTimeout,
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	if opts.Config != nil {
		opts.Config(&cfg)
	}
	return cfg
}

func (s *Server) start() error {
	cfg := config(s.opts)
	en, err := engine.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		en.Kill()
		return err
	}
	s.en, s.addr, s.done = en, l.Addr().String(), make(chan error, 1)
	s.srv = wire.NewServer(wire.Config{Engine: en, Logger: cfg.Logger, MaxConnections: s.opts.MaxConnections})
	go func(srv *wire.Server, done chan<- error) { done <- srv.Serve(context.Background(), l) }(s.srv, s.done)
	return nil
}

// stop ends the sessions and then the engine, by end.
func (s *Server) stop(end func()) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.srv.Shutdown(ctx); err != nil {
		s.t.Errorf("testserver: shutdown: %v", err)
	}
	if err := <-s.done; err != nil {
		s.t.Errorf("testserver: serve: %v", err)
	}
	end()
}

// Engine is the engine that runs now.
func (s *Server) Engine() *engine.Engine { return s.en }

// Dir is the data directory.
func (s *Server) Dir() string { return s.opts.Dir }

// DSN is how to connect.
func (s *Server) DSN() string { return dsn(s.addr) }

func dsn(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err) // the address is our own listener's
	}
	return fmt.Sprintf("host=%s port=%s user=streamdb dbname=streamdb sslmode=disable", host, port)
}

// Restart closes the server in order, with a last checkpoint, and starts it
// again at the same address. Sessions end.
func (s *Server) Restart() (dsn string, err error) {
	s.stop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		err = s.en.Close(ctx)
	})
	if err != nil {
		return "", err
	}
	return s.DSN(), s.start()
}

// Crash stops the server without a last checkpoint and starts it again.
func (s *Server) Crash() (dsn string, err error) {
	s.stop(s.en.Kill)
	return s.DSN(), s.start()
}
