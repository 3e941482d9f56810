package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// screen shows frames: redrawn in place on a terminal, else a line each.
type screen struct {
	out      io.Writer
	terminal bool
	psql     string // the line to join with
	prev     frame
	last     frame
	drawn    bool
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return s
}

func (s *screen) interval() time.Duration {
	if s.terminal {
		return 250 * time.Millisecond
	}
	return time.Second
}

// draw shows a frame.
func (s *screen) draw(f frame) {
	rate := 0.0
	if d := f.at.Sub(s.prev.at).Seconds(); s.drawn && d > 0 {
		rate = float64(f.events-s.prev.events) / d
	}
	switch {
	case s.terminal:
		s.redraw(f, rate)
	default:
		s.line(f, rate)
	}
	s.prev, s.last, s.drawn = f, f, true
}

// redraw writes the whole screen at once, so that it does not flicker.
func (s *screen) redraw(f frame, rate float64) {
	var b strings.Builder
	b.WriteString("\x1b[H\x1b[J")
	row := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	row("\x1b[1mstreamdb demo\x1b[0m   answers that keep up with their streams; Ctrl-C ends it")
	row("join in:  \x1b[1m%s\x1b[0m", s.psql)
	row("")
	row("%d bids, %.0f a second   %d flights   %s   %s", f.events, rate, f.flights, f.lastCheckpoint(), s.savepoint(f))
	row("")
	row("%-34s %s", "SELECT * FROM per_channel", "SELECT * FROM by_origin  -- flights JOIN airports")
	row("\x1b[2m%-12s %9s %11s %5s %-22s %7s %6s\x1b[0m", "channel", "n", "highest", "iata", "city", "flights", "delay")
	for i := range max(len(f.channels), len(f.origins)) {
		left, right := "", ""
		if i < len(f.channels) {
			c := f.channels[i]
			left = fmt.Sprintf("%-12s %9d %11d", c.name, c.n, c.highest)
		}
		if i < len(f.origins) {
			o := f.origins[i]
			right = fmt.Sprintf("%5s %-22s %7d %6.1f", o.iata, o.city, o.flights, o.delay)
		}
		row("%-34s %s", left, right)
	}
	row("")
	row("SELECT count(*) FROM bidders      %d", f.bidders)
	row("SELECT n FROM busy                %d   -- a view over per_channel: channels with more than 1000 bids", f.busy)
	io.WriteString(s.out, b.String())
}

func (s *screen) savepoint(f frame) string {
	if f.savepoint == "" {
		return ""
	}
	return "savepoint " + f.savepoint + " made"
}

// line writes a frame as one line.
func (s *screen) line(f frame, rate float64) {
	if !s.drawn {
		fmt.Fprintf(s.out, "join in: %s\n", s.psql)
	}
	if f.savepoint != s.prev.savepoint {
		fmt.Fprintf(s.out, "savepoint %s made; back to it: ROLLBACK TO SAVEPOINT %s\n", f.savepoint, f.savepoint)
	}
	top := "none yet"
	if len(f.channels) > 0 {
		top = fmt.Sprintf("%s %d", f.channels[0].name, f.channels[0].n)
	}
	from := "none yet"
	if len(f.origins) > 0 {
		o := f.origins[0]
		from = fmt.Sprintf("%s %d (delay %.1f)", o.iata, o.flights, o.delay)
	}
	fmt.Fprintf(s.out, "bids %d (%.0f/s)  top channel %s  bidders %d  busy %d  flights %d, most from %s  %s\n",
		f.events, rate, top, f.bidders, f.busy, f.flights, from, f.lastCheckpoint())
}

// lastCheckpoint tells of the newest checkpoint since the start.
func (f *frame) lastCheckpoint() string {
	if f.checkpoint == 0 {
		return "no checkpoint yet"
	}
	return fmt.Sprintf("checkpoint %d took %.0f ms", f.checkpoint, f.checkpointMillis)
}

// end says good-bye; dir is the data directory that stays, "" for none.
func (s *screen) end(dir string) {
	fmt.Fprintf(s.out, "done: %d bids, %d flights, %s\n", s.last.events, s.last.flights, s.last.lastCheckpoint())
	if dir != "" {
		fmt.Fprintf(s.out, "everything is in %s: go on with demo --data-dir %s\n", dir, dir)
	}
}
