//go:build invariants

package exec

import (
	"fmt"

	"github.com/streamdb/streamdb/types"
)

// checkOutput verifies every chunk that an operator emits. The panic ends the
// job with the operator's name.
func checkOutput(n *node, c *types.Chunk) {
	if err := c.Check(); err != nil {
		panic(fmt.Sprintf("%s (operator %d): %v", n.name, n.id, err))
	}
	if n.out == nil {
		return
	}
	if len(c.Cols) != len(n.out) {
		panic(fmt.Sprintf("%s (operator %d): %d columns, %d declared", n.name, n.id, len(c.Cols), len(n.out)))
	}
	for i := range c.Cols {
		if c.Cols[i].Type.Kind != n.out[i].Kind {
			panic(fmt.Sprintf("%s (operator %d): column %d is of kind %d, declared %d", n.name, n.id, i, c.Cols[i].Type.Kind, n.out[i].Kind))
		}
	}
}
