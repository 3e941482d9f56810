package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteJSON writes results as a JSON array, an element a line.
func WriteJSON(w io.Writer, rs []Result) error {
	for i, r := range rs {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		sep := ",\n "
		if i == 0 {
			sep = "["
		}
		if _, err := fmt.Fprintf(w, "%s%s", sep, b); err != nil {
			return err
		}
	}
	end := "]\n"
	if len(rs) == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(w, end)
	return err
}

// WriteTable writes results as a table for people.
func WriteTable(w io.Writer, rs []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "query\tbackend\tp\tevents\twall s\tcpu s\tevents/s\tevents/core\tstate MB\tckpts\tckpt ms\tpause p50 ms\tp99 ms\t")
	for _, r := range rs {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.2f\t%.2f\t%s\t%s\t%.1f\t%d\t%.0f\t%.3f\t%.3f\t\n",
			r.Query, r.Backend, r.Parallelism, r.Events, r.WallSeconds, r.CPUSeconds,
			millions(r.EventsPerSecond), millions(r.EventsPerCore), float64(r.StateBytes)/(1<<20),
			r.Checkpoints, r.CheckpointMS, r.PauseMSP50, r.PauseMSP99)
	}
	return t.Flush()
}

func millions(v float64) string { return fmt.Sprintf("%.2fM", v/1e6) }
