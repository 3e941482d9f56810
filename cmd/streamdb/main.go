// Command streamdb is the server and its tools.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/streamdb/streamdb/internal/pgerr"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := newRoot(os.Stdout)
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		explain(os.Stderr, err)
		os.Exit(1)
	}
}

// newRoot makes the command tree. Unknown commands and flags are refused.
func newRoot(out io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "streamdb",
		Short:         "A stateful stream database that speaks PostgreSQL",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(out)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newServe(), demoCommand(), benchCommand(), newVersion())
	return root
}

// explain prints an error with what to do about it.
func explain(w io.Writer, err error) {
	var e *pgerr.Error
	if !errors.As(err, &e) {
		fmt.Fprintf(w, "streamdb: %v\nTry 'streamdb --help'.\n", err)
		return
	}
	fmt.Fprintf(w, "streamdb: %s\n", e.Message)
	if e.Cause != nil {
		fmt.Fprintf(w, "cause: %v\n", e.Cause)
	}
	if e.Detail != "" {
		fmt.Fprintf(w, "detail: %s\n", e.Detail)
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", e.Hint)
	}
}
