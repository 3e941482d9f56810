package pebble

import (
	"bytes"
	"io"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// Load iterates the entries of keys, in their order.
func (s *store) Load(table int, keys *state.SortedKeys) (state.Entries, error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil, s.wrap(err, "could not read state %q", s.spec.Tables[table].Name)
	}
	return &loader{s: s, it: it, table: table, keys: keys}, nil
}

// loader looks keys up one after the other; the tree's iterator profits from
// their order.
type loader struct {
	s      *store
	it     *lsm.Iterator
	table  int
	keys   *state.SortedKeys
	at     int
	within bool // the iterator stands in keys[at]
	prefix []byte
}

func (l *loader) Next(e *state.Entry) error {
	for l.at < len(l.keys.Keys) {
		key, group := l.keys.Keys[l.at], l.keys.Groups[l.at]
		var ok bool
		if l.within {
			ok = l.it.Next()
		} else {
			l.prefix = appendPrefix(l.prefix[:0], l.table, group, key)
			ok = l.it.SeekPrefixGE(l.prefix)
		}
		if !ok || !bytes.HasPrefix(l.it.Key(), l.prefix) {
			if err := l.it.Error(); err != nil {
				return l.s.wrap(err, "could not read state %q", l.s.spec.Tables[l.table].Name)
			}
			l.at++
			l.within = false
			continue
		}
		v, err := l.it.ValueAndErr()
		if err != nil {
			return l.s.wrap(err, "could not read state %q", l.s.spec.Tables[l.table].Name)
		}
		*e = state.Entry{Table: l.table, Group: group, Key: key, Sub: l.it.Key()[len(l.prefix):], Value: v}
		l.within = true
		if l.s.spec.Tables[l.table].Kind == state.KindLines { // there is but one
			l.at++
			l.within = false
		}
		return nil
	}
	return io.EOF
}

func (l *loader) Close() error {
	return l.s.wrap(l.it.Close(), "could not read state %q", l.s.spec.Tables[l.table].Name)
}

// Scan iterates a table's entries within key groups.
func (s *store) Scan(table int, r types.GroupRange, from []byte) (state.Entries, error) {
	lower := appendHead(nil, table, r.Lo)
	if from != nil {
		lower = appendPrefix(nil, table, uint16(r.Lo), from)
	}
	return scan(s.db, lower, groupEnd(table, r.Hi), func(err error) error {
		return s.wrap(err, "could not read state %q", s.spec.Tables[table].Name)
	})
}

// groupEnd is the least key above all of a table's key groups below hi.
func groupEnd(table, hi int) []byte {
	if hi >= 1<<16 {
		return appendHead(nil, table+1, 0)
	}
	return appendHead(nil, table, hi)
}

func scan(db *lsm.DB, lower, upper []byte, wrap func(error) error) (state.Entries, error) {
	it, err := db.NewIter(&lsm.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, wrap(err)
	}
	return &scanner{it: it, wrap: wrap}, nil
}

type scanner struct {
	it    *lsm.Iterator
	wrap  func(error) error
	begun bool
	key   []byte
}

func (s *scanner) Next(e *state.Entry) error {
	ok := false
	if s.begun {
		ok = s.it.Next()
	} else {
		ok, s.begun = s.it.First(), true
	}
	if !ok {
		if err := s.it.Error(); err != nil {
			return s.wrap(err)
		}
		return io.EOF
	}
	v, err := s.it.ValueAndErr()
	if err != nil {
		return s.wrap(err)
	}
	e.Table, e.Group, e.Key, e.Sub, ok = splitKey(s.it.Key(), s.key)
	if !ok {
		return pgerr.New(pgerr.DataCorrupted, "state has a malformed key of %d bytes", len(s.it.Key()))
	}
	s.key, e.Value = e.Key, v
	return nil
}

func (s *scanner) Close() error { return s.wrap(s.it.Close()) }
