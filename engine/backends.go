package engine

import (
	"github.com/streamdb/streamdb/state"
	// The state backends that come with streamdb register themselves.
	_ "github.com/streamdb/streamdb/state/filesystem"
	_ "github.com/streamdb/streamdb/state/memory"
	_ "github.com/streamdb/streamdb/state/pebble"
)

// CheckBackend refuses the name of a backend that there is not (22023).
func CheckBackend(name string) error {
	_, err := state.Lookup(name)
	return err
}
