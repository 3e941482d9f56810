package pebble_test

import (
	"testing"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/filesystem"
	"github.com/streamdb/streamdb/state/memory"
	"github.com/streamdb/streamdb/state/pebble"
	"github.com/streamdb/streamdb/state/statetest"
)

func others() []state.Backend { return []state.Backend{memory.New(), filesystem.New()} }

func TestSuite(t *testing.T) {
	statetest.Run(t, pebble.New(), statetest.Options{Others: others(), Limit: 100 << 20})
}

// TestSuiteEvicting runs with so little memory that every epoch evicts.
func TestSuiteEvicting(t *testing.T) {
	st := statetest.Run(t, pebble.New(), statetest.Options{Others: others(), Limit: 100 << 20, Cache: 20 << 10})
	t.Logf("%+v", st)
	if st.Loaded == 0 || st.Evicted == 0 || st.Spills == 0 {
		t.Fatalf("the run did not evict, spill and load: %+v", st)
	}
}
