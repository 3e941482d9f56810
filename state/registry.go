package state

import (
	"slices"
	"strings"
	"sync"

	"github.com/streamdb/streamdb/internal/pgerr"
)

var registry = struct {
	sync.RWMutex
	byName map[string]Backend
}{byName: map[string]Backend{}}

// Register makes a backend known by its name; a later one of the same name
// replaces it.
func Register(b Backend) {
	registry.Lock()
	defer registry.Unlock()
	registry.byName[b.Name()] = b
}

// Lookup gives the backend called name, or 22023.
func Lookup(name string) (Backend, error) {
	registry.RLock()
	defer registry.RUnlock()
	if b, ok := registry.byName[name]; ok {
		return b, nil
	}
	var known []string
	for n := range registry.byName {
		if n != canonicalName {
			known = append(known, "'"+n+"'")
		}
	}
	slices.Sort(known)
	return nil, pgerr.New(pgerr.InvalidParameterValue, "unknown state backend %q", name).
		WithHint("Known state backends: %s.", strings.Join(known, ", "))
}
