package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamdb/streamdb/engine"
	"github.com/streamdb/streamdb/internal/pgerr"

	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// shutdownTimeout bounds the last checkpoint and the ends of connections.
const shutdownTimeout = 30 * time.Second

// serveOptions are serve's flags.
type serveOptions struct {
	dir         string
	listen      string
	parallelism int
	backend     string
	tables      string
	interval    time.Duration
	connections int
	level       string
}

func newServe() *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return serve(c, &o) },
	}
	f := c.Flags()
	f.StringVar(&o.dir, "data-dir", "", "directory of the data, made if it is not there (required)")
	f.StringVar(&o.listen, "listen", "127.0.0.1:4577", "loopback address and port to listen on; port 0: any free one")
	f.IntVar(&o.parallelism, "parallelism", 1, "subtasks of new views and sinks")
	f.StringVar(&o.backend, "state-backend", "pebble", "state backend of new views and sinks: memory, filesystem or pebble")
	f.StringVar(&o.tables, "table-backend", "pebble", "state backend of new tables")
	f.DurationVar(&o.interval, "checkpoint-interval", 10*time.Second, "time between checkpoints; negative: only by CHECKPOINT")
	f.IntVar(&o.connections, "max-connections", 100, "sessions at a time")
	f.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	return c
}

// config checks the flags.
func (o *serveOptions) config() (engine.Config, error) {
	cfg := engine.Config{Dir: o.dir, Parallelism: o.parallelism, Backend: o.backend, TableBackend: o.tables, CheckpointInterval: o.interval}
	if o.dir == "" {
		return cfg, pgerr.New(pgerr.InvalidParameterValue, "serve needs --data-dir").WithHint("For example: streamdb serve --data-dir ./data")
	}
	if o.parallelism < 1 || o.parallelism > types.KeyGroups {
		return cfg, pgerr.New(pgerr.InvalidParameterValue, "invalid value for --parallelism: %d", o.parallelism).
			WithHint("It must be from 1 to %d.", types.KeyGroups)
	}
	if o.interval == 0 {
		return cfg, pgerr.New(pgerr.InvalidParameterValue, "invalid value for --checkpoint-interval: 0")
	}
	if o.connections < 1 {
		return cfg, pgerr.New(pgerr.InvalidParameterValue, "invalid value for --max-connections: %d", o.connections)
	}
	for _, b := range []string{o.backend, o.tables} {
		if err := engine.CheckBackend(b); err != nil {
			return cfg, err
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return cfg, pgerr.New(pgerr.InvalidParameterValue, "invalid value for --log-level: %q", o.level).
			WithHint("It must be debug, info, warn or error.")
	}
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return cfg, nil
}

// listener opens the address, which has to be this machine's own: there are
// no passwords yet.
func (o *serveOptions) listener(ctx context.Context) (net.Listener, error) {
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return nil, pgerr.Wrap(err, pgerr.InvalidParameterValue, "invalid value for --listen: %q", o.listen).
			WithHint("Write an address and a port, as 127.0.0.1:4577.")
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, pgerr.Wrap(err, pgerr.InvalidParameterValue, "invalid value for --listen: %q", o.listen)
	}
	for _, ip := range ips {
		if !ip.IP.IsLoopback() {
			return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot listen on %q: it is not a loopback address", o.listen).
				WithHint("There is no authentication yet, so only this machine may connect. Use 127.0.0.1, and a tunnel from elsewhere.")
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return nil, pgerr.Wrap(err, pgerr.ObjectInUse, "could not listen on %q", o.listen).
			WithHint("Is another server running there? Choose another port with --listen.")
	}
	return l, nil
}

// serve runs the server until it is told to stop.
func serve(c *cobra.Command, o *serveOptions) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	ctx := c.Context()
	l, err := o.listener(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	en, err := engine.Open(ctx, cfg)
	if err != nil {
		return err
	}
	srv := wire.NewServer(wire.Config{Engine: en, Logger: cfg.Logger, MaxConnections: o.connections})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.WithoutCancel(ctx), l) }()
	addr := l.Addr().(*net.TCPAddr)
	fmt.Fprintf(c.OutOrStdout(), "streamdb listens on %s\npsql -h %s -p %d -U streamdb streamdb\n", addr, addr.IP, addr.Port)
	select {
	case err = <-served:
	case <-ctx.Done():
		cfg.Logger.Info("shutting down")
	}
	end, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return errors.Join(err, ignoreDeadline(srv.Shutdown(end)), en.Close(end))
}

// ignoreDeadline drops the error of connections that had to be cut off.
func ignoreDeadline(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
