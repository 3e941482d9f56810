package state

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// pageImageBytes bounds the images of one page of matches.
const pageImageBytes = 4 << 20

// Matches is a page of rows found for a batch of keys, as columns. The zero
// value is ready; it is reused from page to page and from batch to batch.
type Matches struct {
	Max   int             // bound on the rows of a page, 0: 4096
	Key   []int32         // which key of the batch
	Image types.ByteBatch // the row
	Count []int64         // its multiplicity
	More  bool            // the page was full: call again with the same keys

	slots []Slot
	at    int    // key to go on with
	next  uint32 // entry of it to go on with, 0: the first
	refs  []ref  // of the page's images
	ents  []uint32
}

// Begin makes m start over with a new batch although the last one had more.
func (m *Matches) Begin() {
	m.Reset()
	m.More = false
}

// Reset empties the page.
func (m *Matches) Reset() {
	m.Key, m.Count = m.Key[:0], m.Count[:0]
	m.Image.Reset()
}

func (m *Matches) limit() int {
	if m.Max > 0 {
		return m.Max
	}
	return 4096
}

func growSlots(s []Slot, n int) []Slot {
	if cap(s) < n {
		return make([]Slot, n, n+n/4)
	}
	return s[:n]
}

// Rows is a page of a scan, as columns.
type Rows struct {
	Key   types.ByteBatch
	Image types.ByteBatch
	Count []int64
}

// Reset empties the page.
func (r *Rows) Reset() {
	r.Key.Reset()
	r.Image.Reset()
	r.Count = r.Count[:0]
}

func (r *Rows) add(key, image []byte, n int64) {
	r.Key.Add(key)
	r.Image.Add(image)
	r.Count = append(r.Count, n)
}

func countValue(v []byte) (int64, int) { return binary.Varint(v) }

// next steps an iterator and tells its end apart from an error.
func next(it Entries, e *Entry) (done bool, err error) {
	err = it.Next(e)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// drain calls fn for all entries and closes the iterator.
func drain(it Entries, fn func(*Entry) error) error {
	var e Entry
	for {
		done, err := next(it, &e)
		if err == nil && !done {
			err = fn(&e)
		}
		if err != nil {
			it.Close()
			return err
		}
		if done {
			return it.Close()
		}
	}
}

// badEntry is an entry that does not fit its table.
func badEntry(t TableSpec, e *Entry) error {
	return pgerr.New(pgerr.DataCorrupted, "state %q has a malformed entry (key group %d, %d bytes)", t.Name, e.Group, len(e.Value))
}
