package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/types"
)

// largest gives the largest file below dir whose path contains part.
func largest(t *testing.T, dir, part string) string {
	t.Helper()
	var best string
	var size int64
	err := filepath.Walk(dir, func(p string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() && strings.Contains(p, part) && i.Size() > size {
			best, size = p, i.Size()
		}
		return err
	})
	if err != nil || best == "" {
		t.Fatalf("no file below %s: %v", dir, err)
	}
	return best
}

// A view whose file of state is gone or damaged fails alone, and can be built
// again; the tables and the other views are served.
func TestViewFileGone(t *testing.T) {
	for _, damage := range []string{"gone", "flipped"} {
		for _, backend := range []string{"filesystem", "pebble"} {
			t.Run(damage+"/"+backend, func(t *testing.T) {
				c := newCore(t)
				tab := c.table("t", "id int8,g text", 0)
				v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: backend})
				w := c.view("w", "SELECT count(*) AS n FROM t", catalog.Object{Backend: backend})
				c.write(tab, "+1 a", "+2 b")
				_, err := c.en.Checkpoint(c.ctx())
				c.must(err)
				e := c.write(tab, "+3 a")
				c.en.Kill()
				for _, f := range stateFiles(t, c.dir, v) {
					if damage == "gone" {
						c.must(os.Remove(f))
						continue
					}
					b, err := os.ReadFile(f)
					c.must(err)
					b[len(b)/2] ^= 0x40
					c.must(os.WriteFile(f, b, 0o600))
				}
				c.open()
				c.want(tab, e, "1 a; 2 b; 3 a")
				c.want(w, e, "3")
				c.await("the view has failed by name", func() bool {
					for _, j := range c.en.Jobs() {
						if j.Name == "v" {
							return j.State == "failed" && strings.Contains(j.Err, v.String())
						}
					}
					return false
				})
				c.must(c.en.Resume(c.ctx(), v))
				c.want(v, e, "a 2; b 1")
				c.must(c.en.CreateSavepoint(c.ctx(), "s"))
			})
		}
	}
}

func stateFiles(t *testing.T, dir string, id types.UUID) []string {
	t.Helper()
	fs, err := filepath.Glob(filepath.Join(dir, "checkpoints", "state", id.String(), "*"))
	if err != nil || len(fs) == 0 {
		t.Fatalf("no files of state: %v", err)
	}
	return fs
}

// A savepoint that is not whole is not rolled back to: the file is named, and
// nothing has changed, also after a restart.
func TestRollbackToDamagedSavepoint(t *testing.T) {
	for _, damage := range []string{"gone", "flipped"} {
		t.Run(damage, func(t *testing.T) {
			c := newCore(t)
			tab := c.table("t", "id int8,g text", 0)
			v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{})
			c.write(tab, "+1 a", "+2 b")
			c.must(c.en.CreateSavepoint(c.ctx(), "s"))
			e := c.write(tab, "+3 a")
			f := largest(t, filepath.Join(c.dir, "savepoints"), "state-")
			b, err := os.ReadFile(f)
			c.must(err)
			if damage == "gone" {
				c.must(os.Remove(f))
			} else {
				bad := bytes.Clone(b)
				bad[len(bad)/2] ^= 1
				c.must(os.WriteFile(f, bad, 0o600))
			}
			_, err = c.en.RollbackTo(c.ctx(), "s", RollbackOptions{})
			if err == nil || !strings.Contains(err.Error(), filepath.Base(f)) {
				t.Fatalf("the file is not named: %v", err)
			}
			c.want(v, e, "a 2; b 1")
			c.crash()
			c.want(v, e, "a 2; b 1")
			c.must(os.WriteFile(f, b, 0o600))
			_, err = c.en.RollbackTo(c.ctx(), "s", RollbackOptions{})
			c.must(err)
			c.want(v, e, "a 1; b 1")
		})
	}
}

// The memory backend's limit is the job's, however its state is spread.
func TestMemoryLimitIsTheJobs(t *testing.T) {
	c := newCore(t)
	c.en.cfg.MemoryStateLimit = 64 << 10
	tab := c.table("t", "id int8,g text", 0)
	v := c.view("v", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{Backend: "memory", Parallelism: 8})
	fill := func(from, n int) {
		rows := make([]string, n)
		for i := range rows { // one long key: all of the state in one subtask
			rows[i] = "+" + strings.Join([]string{strconv.Itoa(from + i), strings.Repeat("k", 100) + strconv.Itoa((from+i)/1000)}, " ")
		}
		c.write(tab, rows...)
	}
	state := func() string {
		_, err := c.en.Checkpoint(c.ctx())
		c.must(err)
		for _, j := range c.en.Jobs() {
			if j.ID == v {
				return j.LastCheckpointErr
			}
		}
		return "no job"
	}
	fill(0, 1000)
	if err := state(); err != "" {
		t.Fatalf("below the limit: %s", err)
	}
	rows := make([]string, 1000)
	for i := range rows {
		rows[i] = "+" + strconv.Itoa(5000+i) + " " + strings.Repeat("x", 100) + strconv.Itoa(i)
	}
	c.write(tab, rows...)
	if err := state(); !strings.Contains(err, "more than the memory backend's limit") {
		t.Fatalf("above the limit: %q", err)
	}
}
