package memory_test

import (
	"testing"

	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/state/statetest"
)

func TestSuite(t *testing.T) {
	statetest.Run(t, memory.New(), statetest.Options{Limit: 100 << 20})
}
