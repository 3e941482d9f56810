//go:build !invariants

package exec

import "github.com/streamdb/streamdb/types"

func checkOutput(*node, *types.Chunk) {}
