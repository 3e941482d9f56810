package filesystem_test

import (
	"testing"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/filesystem"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/state/statetest"
)

func TestSuite(t *testing.T) {
	statetest.Run(t, filesystem.New(), statetest.Options{Others: []state.Backend{memory.New()}, Limit: 100 << 20})
}
