// Package sim kills streamdb at random moments under load and checks, after
// each recovery, that what was acknowledged is there exactly once, that every
// view is what a recomputation gives, and that the file sink's committed rows
// add up to the answer.
package sim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Everything that is written to the server is also known here, outside of its
// process.

// entry is a row of table entries.
type entry struct {
	seq, amount int64
}

// ledger is one writer's rows: those that are acknowledged, and what they may
// be if the last transaction, whose answer did not come, was committed.
type ledger struct {
	writer int
	rows   map[int64]int64 // seq → amount
	doubt  map[int64]int64 // nil: nothing is in doubt
	seq    int64
}

func copyRows(m map[int64]int64) map[int64]int64 {
	c := make(map[int64]int64, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// transaction makes random changes, and the rows that are there after them.
func (l *ledger) transaction(r *rand.Rand) (stmts []string, after map[int64]int64) {
	after = copyRows(l.rows)
	n := 1
	if r.IntN(2) == 0 {
		n = 2 + r.IntN(4)
	}
	for range n {
		seqs := make([]int64, 0, len(after))
		for s := range after {
			seqs = append(seqs, s)
		}
		slices.Sort(seqs)
		switch k := r.IntN(10); {
		case k < 2 && len(seqs) > 0:
			s := seqs[r.IntN(len(seqs))]
			delete(after, s)
			stmts = append(stmts, fmt.Sprintf("DELETE FROM entries WHERE writer = %d AND seq = %d", l.writer, s))
		case k < 4 && len(seqs) > 0:
			s := seqs[r.IntN(len(seqs))]
			after[s] += 7
			stmts = append(stmts, fmt.Sprintf("UPDATE entries SET amount = amount + 7 WHERE writer = %d AND seq = %d", l.writer, s))
		default:
			var rows []string
			for range 1 + r.IntN(3) {
				l.seq++
				e := entry{l.seq, int64(r.IntN(1000) - 200)}
				after[e.seq] = e.amount
				rows = append(rows, fmt.Sprintf("(%d, %d, %d)", l.writer, e.seq, e.amount))
			}
			stmts = append(stmts, "INSERT INTO entries VALUES "+strings.Join(rows, ", "))
		}
	}
	if len(stmts) > 1 {
		stmts = append(append([]string{"BEGIN"}, stmts...), "COMMIT")
	}
	return stmts, after
}

// line is a line of the growing file.
type line struct {
	N int64  `json:"n"`
	K string `json:"k"`
	V int64  `json:"v"`
}

// feed appends to the growing file, at times in pieces, and knows its lines.
type feed struct {
	mu    sync.Mutex
	f     *os.File
	lines []line
}

func newFeed(path string) (*feed, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return &feed{f: f}, err
}

// append writes n lines. A piece of a line stands at the end between two
// writes.
func (fd *feed) append(r *rand.Rand, n int) error {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	var b strings.Builder
	for range n {
		l := line{int64(len(fd.lines)), fmt.Sprintf("k%d", r.IntN(20)), int64(r.IntN(100))}
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		b.Write(text)
		b.WriteByte('\n')
		fd.lines = append(fd.lines, l)
	}
	text := b.String()
	cut := r.IntN(len(text))
	if _, err := fd.f.WriteString(text[:cut]); err != nil {
		return err
	}
	_, err := fd.f.WriteString(text[cut:])
	return err
}

// sums are the lines' counts and sums by key, as "key|count|sum".
func (fd *feed) sums() []string {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	type acc struct{ n, sum int64 }
	m := map[string]*acc{}
	for _, l := range fd.lines {
		if m[l.K] == nil {
			m[l.K] = &acc{}
		}
		m[l.K].n++
		m[l.K].sum += l.V
	}
	var out []string
	for k, a := range m {
		out = append(out, fmt.Sprintf("%s|%d|%d", k, a.n, a.sum))
	}
	slices.Sort(out)
	return out
}

// sinkRows adds up the committed rows of a file sink: "a|b" with its
// multiplicity; those of none are left out.
func sinkRows(dir string, columns ...string) (map[string]int, error) {
	sum := map[string]int{}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") || f.IsDir() {
			continue // not committed
		}
		if err := addFile(sum, filepath.Join(dir, f.Name()), columns); err != nil {
			return nil, err
		}
	}
	for k, n := range sum {
		if n == 0 {
			delete(sum, k)
		}
	}
	return sum, nil
}

func addFile(sum map[string]int, path string, columns []string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		d := json.NewDecoder(strings.NewReader(s.Text()))
		d.UseNumber()
		var row map[string]any
		if err := d.Decode(&row); err != nil {
			return fmt.Errorf("%s: %w: %s", path, err, s.Text())
		}
		diff := 1
		if n, ok := row["__diff"].(json.Number); ok {
			i, err := n.Int64()
			if err != nil {
				return err
			}
			diff = int(i)
		}
		values := make([]string, len(columns))
		for i, c := range columns {
			values[i] = fmt.Sprint(row[c])
		}
		sum[strings.Join(values, "|")] += diff
	}
	return s.Err()
}
