package all

import (
	"strings"
	"testing"

	"github.com/streamdb/streamdb/internal/pgerr"
)

func TestLookup(t *testing.T) {
	for _, name := range []string{"nexmark", "file"} {
		if _, err := Source(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"blackhole", "file"} {
		if _, err := Sink(name); err != nil {
			t.Error(err)
		}
	}
	_, err1 := Source("kafka")
	_, err2 := Sink("")
	for _, err := range []error{err1, err2} {
		if pgerr.CodeOf(err) != pgerr.InvalidParameterValue || !strings.Contains(pgerr.From(err).Hint, "'file'") {
			t.Error(err)
		}
	}
}
