package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/streamdb/streamdb/engine"
	"github.com/streamdb/streamdb/wire"
)

// demoStopTimeout bounds the orderly end of the demo.
const demoStopTimeout = 15 * time.Second

// demoOptions are the flags of "streamdb demo".
type demoOptions struct {
	length  time.Duration
	dataDir string
	listen  string
	rate    int
}

// demoCommand is "streamdb demo".
func demoCommand() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show live answers over built-in streams, with a server to join",
		Long: `Start a server, feed it an auction site's events and real flight records, and show the answers of
continuous queries as they change. Join with psql on the line that is shown. Ctrl-C ends it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), newScreen(c.OutOrStdout()))
		},
	}
	f := c.Flags()
	f.DurationVar(&o.length, "for", 0, "how long to run; 0: until Ctrl-C")
	f.StringVar(&o.dataDir, "data-dir", "", "data directory to use and to keep; default: a temporary one")
	f.StringVar(&o.listen, "listen", "127.0.0.1:4577", "address for psql; another port is taken if this one is in use")
	f.IntVar(&o.rate, "rate", 50_000, "auction events per second")
	return c
}

func (o *demoOptions) run(ctx context.Context, s *screen) (err error) {
	dir := o.dataDir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "streamdb-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	srv, err := startDemoServer(ctx, dir, o.listen)
	if err != nil {
		return err
	}
	err = o.show(ctx, srv, s, dir)
	if e := srv.stop(); err == nil {
		err = e
	}
	if err == nil {
		s.end(o.dataDir)
	}
	return err
}

// show runs the demo on a started server until its time is up or ctx ends.
func (o *demoOptions) show(ctx context.Context, srv *demoServer, s *screen, dir string) error {
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	s.psql = srv.psql()
	conn, err := pgx.Connect(ctx, srv.dsn())
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	st := &story{conn: conn, rate: o.rate, flights: filepath.Join(dir, "demo", "flights.jsonl")}
	if err := st.setUp(ctx); err != nil {
		return unlessEnded(ctx, err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := appendFlights(ctx, st.flights); err != nil {
			stop(err)
		}
	}()
	err = unlessEnded(ctx, st.follow(ctx, s, o.length))
	stop(nil)
	<-done
	return err
}

// unlessEnded is nil if err only says that the demo was to end.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// demoServer is a server in this process.
type demoServer struct {
	en   *engine.Engine
	srv  *wire.Server
	addr *net.TCPAddr
	done chan error
}

func startDemoServer(ctx context.Context, dir, listen string) (*demoServer, error) {
	en, err := engine.Open(ctx, engine.Config{Dir: dir, CheckpointInterval: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	l, err := listenDemo(ctx, listen)
	if err != nil {
		en.Kill()
		return nil, err
	}
	d := &demoServer{en: en, srv: wire.NewServer(wire.Config{Engine: en}), addr: l.Addr().(*net.TCPAddr), done: make(chan error, 1)}
	go func() { d.done <- d.srv.Serve(context.WithoutCancel(ctx), l) }()
	return d, nil
}

// listenDemo listens where it is told, or at any port if that one is in use.
func listenDemo(ctx context.Context, addr string) (net.Listener, error) {
	l, err := (&serveOptions{listen: addr}).listener(ctx)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return (&serveOptions{listen: net.JoinHostPort(host, "0")}).listener(ctx)
}

func (d *demoServer) dsn() string {
	return fmt.Sprintf("host=%s port=%d user=streamdb dbname=streamdb sslmode=disable", d.addr.IP, d.addr.Port)
}

func (d *demoServer) psql() string {
	return fmt.Sprintf("psql -h %s -p %d -U streamdb streamdb", d.addr.IP, d.addr.Port)
}

// stop ends the sessions, makes a last checkpoint and closes the engine.
func (d *demoServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), demoStopTimeout)
	defer cancel()
	err := d.srv.Shutdown(ctx)
	if e := <-d.done; err == nil {
		err = e
	}
	if e := d.en.Close(ctx); err == nil {
		err = e
	}
	return err
}
