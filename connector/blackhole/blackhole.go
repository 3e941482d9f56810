// Package blackhole is the sink that counts rows and keeps none, for
// benchmarks.
package blackhole

import (
	"context"
	"sync/atomic"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/types"
)

// Name is the connector's name in WITH (connector = …).
const Name = "blackhole"

// Factory makes blackhole sinks. They have no options.
type Factory struct{}

var _ connector.SinkFactory = Factory{}

// total counts the rows of all sinks of the process.
var total atomic.Int64

// Total gives the rows (not multiplicities) that all blackhole sinks of the
// process have been given.
func Total() int64 { return total.Load() }

// Check implements connector.SinkFactory.
func (Factory) Check(s connector.SinkSpec) error {
	return connector.NewOptions(Name, s.Options).Err()
}

// Open implements connector.SinkFactory; the sink is a *Sink.
func (f Factory) Open(_ context.Context, s connector.SinkSpec, _ connector.Env) (connector.Sink, error) {
	if err := f.Check(s); err != nil {
		return nil, err
	}
	return &Sink{}, nil
}

// Sink is an opened blackhole.
type Sink struct{ rows atomic.Int64 }

// Rows gives the rows that this sink has been given.
func (s *Sink) Rows() int64 { return s.rows.Load() }

// AppendOnly implements connector.Sink: there is nothing to take back.
func (*Sink) AppendOnly() bool { return false }

// Writer implements connector.Sink.
func (s *Sink) Writer(context.Context, int) (connector.Writer, error) { return writer{s}, nil }

// Commit implements connector.Sink.
func (*Sink) Commit(context.Context, []connector.Token) error { return nil }

// Abort implements connector.Sink.
func (*Sink) Abort(context.Context, []connector.Token) error { return nil }

// Close implements connector.Sink.
func (*Sink) Close() error { return nil }

type writer struct{ s *Sink }

// Write implements connector.Writer.
func (w writer) Write(_ types.Epoch, c *types.Chunk) error {
	n := int64(c.Rows())
	w.s.rows.Add(n)
	total.Add(n)
	return nil
}

// Prepare implements connector.Writer: there is never anything to commit.
func (writer) Prepare(types.Epoch) (connector.Token, error) { return nil, nil }

// Close implements connector.Writer.
func (writer) Close() error { return nil }
