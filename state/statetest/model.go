// Package statetest is the suite that every state backend passes: random
// operations against a plain model, with checkpoints, crashes, and restores
// at other parallelisms and on other backends.
package statetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/streamdb/streamdb/types"
)

// width is the fixed part of the suite's lines.
const width = 20

// model is what the states of all subtasks should hold together.
type model struct {
	lines  map[string]line
	bag    map[string]map[string]int64 // key, image
	sorted map[string]map[entry]int64
	split  []string // list items, in any order
	union  []string
}

type line struct{ row, blob string }

type entry struct{ ord, image string }

func newModel() *model {
	return &model{lines: map[string]line{}, bag: map[string]map[string]int64{}, sorted: map[string]map[entry]int64{}}
}

func cloneNested[K comparable](m map[string]map[K]int64) map[string]map[K]int64 {
	out := make(map[string]map[K]int64, len(m))
	for k, v := range m {
		out[k] = maps.Clone(v)
	}
	return out
}

func (m *model) clone() *model {
	return &model{
		lines: maps.Clone(m.lines), bag: cloneNested(m.bag), sorted: cloneNested(m.sorted),
		split: slices.Clone(m.split), union: slices.Clone(m.union),
	}
}

func bump[K comparable](m map[string]map[K]int64, key string, k K, d int64) {
	g := m[key]
	if g == nil {
		g = map[K]int64{}
		m[key] = g
	}
	if g[k] += d; g[k] == 0 {
		delete(g, k)
		if len(g) == 0 {
			delete(m, key)
		}
	}
}

// first is the answer that Sorted.First should give.
func first(g map[entry]int64, desc bool) (string, bool) {
	var es []entry
	for e, n := range g {
		if n > 0 {
			es = append(es, e)
		}
	}
	if len(es) == 0 {
		return "", false
	}
	sortEntries(es)
	if desc {
		return es[len(es)-1].image, true
	}
	return es[0].image, true
}

func sortEntries(es []entry) {
	sort.Slice(es, func(i, j int) bool {
		if es[i].ord != es[j].ord {
			return es[i].ord < es[j].ord
		}
		return es[i].image < es[j].image
	})
}

// keys is the suite's pool: short, with zeros, with common prefixes, long.
func keyPool(r *rand.Rand, n int) [][]byte {
	seen := map[string]bool{}
	var out [][]byte
	for len(out) < n {
		var k []byte
		switch r.IntN(4) {
		case 0:
			k = types.AppendKeyDatum(nil, types.NewInt8(r.Int64N(int64(4*n))))
		case 1:
			k = types.AppendKeyDatum(nil, types.NewText(fmt.Sprint("user-", r.IntN(4*n))))
		case 2:
			k = bytes.Repeat([]byte{byte(r.IntN(3))}, 1+r.IntN(30))
		default:
			k = make([]byte, r.IntN(400))
			for i := range k {
				k[i] = byte(r.IntN(2))
			}
		}
		if !seen[string(k)] {
			seen[string(k)] = true
			out = append(out, k)
		}
	}
	return out
}

func randomBytes(r *rand.Rand, max int) []byte {
	b := make([]byte, r.IntN(max+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
