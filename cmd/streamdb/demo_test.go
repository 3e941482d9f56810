package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// runDemo runs the demo without a terminal and gives what it printed.
func runDemo(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	root := newRoot(&out)
	root.SetArgs(append([]string{"demo", "--listen", "127.0.0.1:0"}, args...))
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String()
}

var demoTotals = regexp.MustCompile(`(?m)^done: (\d+) bids, (\d+) flights`)

func totals(t *testing.T, out string) (bids, flights int) {
	t.Helper()
	m := demoTotals.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no totals:\n%s", out)
	}
	bids, _ = strconv.Atoi(m[1])
	flights, _ = strconv.Atoi(m[2])
	return bids, flights
}

// The demo shows answers that grow, makes a savepoint, says how to join in,
// and goes on where it was when it is run on the same directory again.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("the demo takes seconds; run without -short")
	}
	dir := t.TempDir()
	out := runDemo(t, "--for", "6s", "--data-dir", dir)
	for _, want := range []string{"psql -h 127.0.0.1 -p ", "savepoint demo_1 made", "top channel ", "everything is in "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	bids, flights := totals(t, out)
	if bids == 0 || flights == 0 {
		t.Errorf("nothing was read:\n%s", out)
	}
	again := runDemo(t, "--for", "6s", "--data-dir", dir)
	moreBids, moreFlights := totals(t, again)
	if moreBids <= bids || moreFlights <= flights {
		t.Errorf("%d bids and %d flights after %d and %d:\n%s", moreBids, moreFlights, bids, flights, again)
	}
	if !strings.Contains(again, "savepoint demo_2 made") {
		t.Errorf("no second savepoint:\n%s", again)
	}
}

func TestDemoRefuses(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "nonsense"} {
		root := newRoot(new(bytes.Buffer))
		root.SetArgs([]string{"demo", "--for", "1s", "--listen", listen})
		if err := root.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%s was taken", listen)
		}
	}
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, terminal: true, psql: "psql …"}
	s.draw(frame{events: 5, channels: []channelLine{{"Apple", 3, 9}}, origins: []originLine{{"ORD", "Chicago", 2, 1.5}, {"LAX", "Los Angeles", 1, 0}}})
	for _, want := range []string{"\x1b[H\x1b[J", "psql …", "5 bids", "Apple", "Chicago", "no checkpoint yet"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %q", want, out.String())
		}
	}
}

func TestBenchRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"--queries", "q99"}, {"--backend", "paper"}, {"--events", "0"}, {"--parallelism", "0"}, {"--speed", "9"}, {"extra"},
	} {
		root := newRoot(new(bytes.Buffer))
		root.SetArgs(append([]string{"bench", "nexmark"}, args...))
		if err := root.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%s was taken", fmt.Sprint(args))
		}
	}
}

func TestBenchTable(t *testing.T) {
	var out bytes.Buffer
	root := newRoot(&out)
	root.SetErr(new(bytes.Buffer))
	root.SetArgs([]string{"bench", "nexmark", "--queries", "q2", "--events", "10000"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "events/core") || !strings.Contains(out.String(), "10000") {
		t.Errorf("got %s", &out)
	}
}
