// Package all knows every connector by name.
package all

import (
	"sort"
	"strings"

	"github.com/streamdb/streamdb/connector"
	"github.com/streamdb/streamdb/connector/blackhole"
	"github.com/streamdb/streamdb/connector/file"
	"github.com/streamdb/streamdb/connector/filesink"
	"github.com/streamdb/streamdb/connector/nexmark"
	"github.com/streamdb/streamdb/internal/pgerr"
)

var sources = map[string]connector.SourceFactory{
	file.Name:    file.Factory{},
	nexmark.Name: nexmark.Factory{},
}

var sinks = map[string]connector.SinkFactory{
	blackhole.Name: blackhole.Factory{},
	filesink.Name:  filesink.Factory{},
}

// Source gives the source connector of a name; 22023 if there is none.
func Source(name string) (connector.SourceFactory, error) {
	if f, ok := sources[name]; ok {
		return f, nil
	}
	return nil, unknown("source", name, sources)
}

// Sink gives the sink connector of a name; 22023 if there is none.
func Sink(name string) (connector.SinkFactory, error) {
	if f, ok := sinks[name]; ok {
		return f, nil
	}
	return nil, unknown("sink", name, sinks)
}

func unknown[F any](what, name string, known map[string]F) error {
	var names []string
	for n := range known {
		names = append(names, "'"+n+"'")
	}
	sort.Strings(names)
	err := pgerr.New(pgerr.InvalidParameterValue, "there is no %s connector %q", what, name)
	if name == "" {
		err = pgerr.New(pgerr.InvalidParameterValue, "a %s needs the option \"connector\"", what)
	}
	return err.WithHint("Write WITH (connector = …) with one of %s.", strings.Join(names, ", "))
}
