package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/catalog"
)

// output sums the signed rows that a file sink has committed.
func (c *core) output(dir string) map[string]int {
	c.t.Helper()
	root := c.fs.PathJoin(c.dir, dir)
	names, err := c.fs.List(root)
	c.must(err)
	sum := map[string]int{}
	for _, n := range names {
		if strings.HasPrefix(n, ".") {
			continue
		}
		f, err := c.fs.Open(c.fs.PathJoin(root, n))
		c.must(err)
		for sc := bufio.NewScanner(f); sc.Scan(); {
			var r struct {
				G    string `json:"g"`
				N    int    `json:"n"`
				Diff int    `json:"__diff"`
			}
			c.must(json.Unmarshal(sc.Bytes(), &r))
			k := fmt.Sprintf("%s %d", r.G, r.N)
			if sum[k] += r.Diff; sum[k] == 0 {
				delete(sum, k)
			}
		}
		c.must(f.Close())
	}
	return sum
}

// A file sink's committed output is that of a clean run, whatever crashes,
// failed checkpoints, suspensions and moves come between.
func TestSinkExactlyOnce(t *testing.T) {
	for seed := range uint64(25) {
		c := newMemCore(t, nil)
		rng := rand.New(rand.NewPCG(seed, 3))
		tab := c.table("t", "id int8,g text", 0)
		sink := c.create(catalog.Sink, "out", "SELECT g, count(*) AS n FROM t GROUP BY g", catalog.Object{
			Backend: "pebble", Parallelism: 1 + int(seed%3), Options: map[string]string{"connector": "file", "path": "out", "format": "json"}})
		c.must(c.en.WaitReady(c.ctx(), sink))
		groups := map[string]int{}
		for i := range 40 {
			switch rng.IntN(8) {
			case 0:
				en := c.en
				go func() { _, _ = en.Checkpoint(context.Background()) }()
				time.Sleep(time.Duration(rng.IntN(1500)) * time.Microsecond)
				c.lose()
			case 1:
				c.checkpoint()
			case 2:
				c.must(c.en.WaitReady(c.ctx(), sink))
				c.must(c.en.Alter(c.ctx(), sink, 1+rng.IntN(4), []string{"", "memory", "filesystem"}[rng.IntN(3)]))
			case 3:
				c.must(c.en.WaitReady(c.ctx(), sink))
				c.must(c.en.Suspend(c.ctx(), sink))
				c.must(c.en.Resume(c.ctx(), sink))
			default:
				g := string(rune('a' + rng.IntN(4)))
				groups[g]++
				c.write(tab, fmt.Sprintf("+%d %s", i, g))
			}
		}
		c.lose()
		c.must(c.en.WaitReady(c.ctx(), sink))
		want := map[string]int{}
		for g, n := range groups {
			want[fmt.Sprintf("%s %d", g, n)] = 1
		}
		e := c.en.closed.Load().ID
		c.await("the sink has taken all", func() bool { return c.info(sink).Epoch >= e })
		c.checkpoint()
		if got := c.output("out"); !maps.Equal(got, want) {
			t.Fatalf("seed %d: committed %v, want %v; %+v", seed, got, want, c.info(sink))
		}
		c.en.Kill()
	}
}
