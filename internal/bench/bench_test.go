package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/streamdb/streamdb/connector/blackhole"
	"github.com/streamdb/streamdb/internal/pgerr"
)

func TestFind(t *testing.T) {
	qs, err := Find([]string{"q17", " Q0"})
	if err != nil || len(qs) != 2 || qs[0].Name != "q17" || qs[1].Name != "q0" {
		t.Fatalf("got %v, %v", qs, err)
	}
	if _, err := Find([]string{"q99"}); pgerr.CodeOf(err) != pgerr.InvalidParameterValue {
		t.Fatalf("got %v", err)
	}
}

// Every query runs on every backend to its end, and says so in the form that
// scripts read.
func TestNexmark(t *testing.T) {
	for i, q := range queries {
		backend := []string{"memory", "filesystem", "pebble"}[i%3]
		t.Run(q.Name+"/"+backend, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			o := Options{Events: 50_000, Backend: backend, Parallelism: 1 + i%2, CheckpointInterval: 20 * time.Millisecond,
				MemoryStateLimit: 1 << 30, Dir: t.TempDir()}
			before := blackhole.Total()
			r, err := Nexmark(ctx, q, o)
			if err != nil {
				t.Fatal(err)
			}
			checkRows(t, q.Name, blackhole.Total()-before, o)
			if r.Query != q.Name || r.Events != o.Events || r.WallSeconds <= 0 || r.CPUSeconds <= 0 {
				t.Errorf("got %+v", r)
			}
			if stateful := q.Name == "q3" || q.Name == "q17" || q.Name == "distinct"; stateful && r.StateBytes == 0 {
				t.Errorf("no state: %+v", r)
			}
			checkJSON(t, r)
		})
	}
}

// checkRows compares what the sink was given with what is known of the
// stream: 46 of 50 events are bids.
func checkRows(t *testing.T, query string, rows int64, o Options) {
	t.Helper()
	switch bids := o.Events / 50 * 46; query {
	case "q0", "q1":
		if rows != bids {
			t.Errorf("the sink got %d rows, there are %d bids", rows, bids)
		}
	default:
		if rows == 0 || rows > 2*bids {
			t.Errorf("the sink got %d rows of %d bids", rows, bids)
		}
	}
}

func checkJSON(t *testing.T, r Result) {
	t.Helper()
	var buf bytes.Buffer
	if err := WriteJSON(&buf, []Result{r, r}); err != nil {
		t.Fatal(err)
	}
	var ms []map[string]any
	if err := json.Unmarshal(buf.Bytes(), &ms); err != nil || len(ms) != 2 {
		t.Fatalf("%v: %s", err, buf.Bytes())
	}
	m := ms[1]
	want := []string{"query", "backend", "parallelism", "events", "wall_seconds", "cpu_seconds", "events_per_second",
		"events_per_core", "state_bytes", "checkpoints", "checkpoint_ms", "pause_ms_p50", "pause_ms_p99"}
	for k := range m {
		if !slices.Contains(want, k) {
			t.Errorf("field %q is not agreed on", k)
		}
	}
	for _, k := range want {
		if _, ok := m[k]; !ok {
			t.Errorf("field %q is missing", k)
		}
	}
}
