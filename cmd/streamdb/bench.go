package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamdb/streamdb/internal/bench"
	"github.com/streamdb/streamdb/internal/pgerr"
)

// benchCommand is "streamdb bench".
func benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure whole queries in this process",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(nexmarkCommand())
	return c
}

// nexmarkOptions are the flags of "streamdb bench nexmark".
type nexmarkOptions struct {
	queries, backends []string
	json              bool
	cpuProfile        string
	bench.Options
}

func nexmarkCommand() *cobra.Command {
	var o nexmarkOptions
	c := &cobra.Command{
		Use:   "nexmark",
		Short: "Run Nexmark queries through SQL into a sink that keeps nothing",
		Long: `Run Nexmark queries through SQL into a sink that keeps nothing.

Each query runs alone, in an engine of its own on a temporary data directory, until all events are flushed.
Events are those of all three kinds; CPU time is the whole process's, the generator included.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.queries, "queries", bench.Names(), "queries to run")
	f.Int64Var(&o.Events, "events", 10_000_000, "events of each run")
	f.StringSliceVar(&o.backends, "backend", []string{"pebble"}, "state backends: memory, filesystem, pebble")
	f.IntVar(&o.Parallelism, "parallelism", 1, "subtasks of each operator")
	f.DurationVar(&o.CheckpointInterval, "checkpoint-interval", 5*time.Second, "time between checkpoints; negative for none")
	f.Int64Var(&o.MemoryStateLimit, "memory-state-limit", 4<<30, "bytes of state allowed to the memory backend")
	f.StringVar(&o.Dir, "dir", "", "where the temporary data directories are made")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of all runs to this file")
	return c
}

func (o *nexmarkOptions) check() ([]bench.Query, error) {
	if o.Events < 1 {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "--events must be at least 1")
	}
	if o.Parallelism < 1 {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "--parallelism must be at least 1")
	}
	for _, b := range o.backends {
		switch b {
		case "memory", "filesystem", "pebble":
		default:
			return nil, pgerr.New(pgerr.InvalidParameterValue, "there is no state backend %q", b).
				WithHint("The backends are memory, filesystem and pebble.")
		}
	}
	return bench.Find(o.queries)
}

func (o *nexmarkOptions) run(ctx context.Context, out, progress io.Writer) (err error) {
	queries, err := o.check()
	if err != nil {
		return err
	}
	if o.cpuProfile != "" {
		stop, err := startCPUProfile(o.cpuProfile)
		if err != nil {
			return err
		}
		defer func() {
			if e := stop(); err == nil {
				err = e
			}
		}()
	}
	var results []bench.Result
	for _, backend := range o.backends {
		o.Backend = backend
		for _, q := range queries {
			fmt.Fprintf(progress, "%s on %s, %d events …\n", q.Name, backend, o.Events)
			r, err := bench.Nexmark(ctx, q, o.Options)
			if err != nil {
				return fmt.Errorf("%s on %s: %w", q.Name, backend, err)
			}
			results = append(results, r)
		}
	}
	if o.json {
		return bench.WriteJSON(out, results)
	}
	return bench.WriteTable(out, results)
}

func startCPUProfile(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
