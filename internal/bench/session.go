package bench

import (
	"context"
	"fmt"

	"github.com/streamdb/streamdb/engine"
	"github.com/streamdb/streamdb/wire"
)

// run executes statements one after another in a session of its own, as a
// client without a connection.
func run(ctx context.Context, en *engine.Engine, statements ...string) error {
	s, err := en.Connect(ctx, wire.Startup{User: "streamdb", Database: "streamdb", RemoteAddr: "bench"})
	if err != nil {
		return err
	}
	defer s.Close()
	for _, text := range statements {
		parsed, err := s.Parse(ctx, text)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		for _, st := range parsed {
			p, err := s.Prepare(ctx, st, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", st.SQL(), err)
			}
			res, err := s.Execute(ctx, p, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", st.SQL(), err)
			}
			if res.Rows != nil {
				res.Rows.Close()
			}
		}
		if err := s.Sync(ctx); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}
