package state

import "bytes"

// List is operator state: a list of byte strings that belongs to no key. It
// is saved whole, and dealt out by its Redistribution when a job starts with
// another parallelism.
type List struct {
	spec  TableSpec
	items [][]byte
}

// Set replaces the items by copies.
func (l *List) Set(items [][]byte) {
	fresh := make([][]byte, len(items)) // a snapshot may hold the old ones
	for i, b := range items {
		fresh[i] = append([]byte{}, b...)
	}
	l.items = fresh
}

// Items gives the items; they must not be changed.
func (l *List) Items() [][]byte { return l.items }

// deal gives this subtask's share of all items of a job's subtasks, in their
// order. Split needs no parallelism: item i of n stands at a key group, and
// belongs to the subtask that owns the group.
func deal(r Redistribution, all []listItem, spec *Spec) [][]byte {
	var out [][]byte
	for i, it := range all {
		switch r {
		case Split:
			if g := (2*i + 1) * spec.NumGroups / (2 * len(all)); g < spec.Groups.Lo || g >= spec.Groups.Hi {
				continue
			}
		case Broadcast:
			if it.group != all[0].group {
				continue
			}
		}
		out = append(out, bytes.Clone(it.value))
	}
	return out
}

// listItem is an item as saved; its group is the first of the subtask's.
type listItem struct {
	group uint16
	value []byte
}
