package blackhole

import (
	"context"
	"testing"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

func TestCounts(t *testing.T) {
	ctx := context.Background()
	before := Total()
	s, err := Factory{}.Open(ctx, connector.SinkSpec{Options: map[string]string{"connector": "blackhole"}}, connector.Env{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Writer(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.Write(1, &types.Chunk{N: 10, Sel: []uint16{1, 2}}); err != nil {
			t.Fatal(err)
		}
	}
	if tok, err := w.Prepare(1); tok != nil || err != nil {
		t.Fatal(tok, err)
	}
	if n := s.(*Sink).Rows(); n != 6 || Total()-before != 6 {
		t.Fatal(n, Total()-before)
	}
	if err := (Factory{}).Check(connector.SinkSpec{Options: map[string]string{"x": "1"}}); pgerr.CodeOf(err) != pgerr.InvalidParameterValue {
		t.Fatal(err)
	}
}
