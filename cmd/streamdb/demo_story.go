package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/streamdb/streamdb/examples/data"
)

// flightsPerSecond is how fast the file of flights grows during the demo.
const flightsPerSecond = 1000

// story is what the demo creates and shows.
type story struct {
	conn    *pgx.Conn
	rate    int
	flights string // path of the file that grows
}

// statements create everything but the airports.
func (st *story) statements() []string {
	quoted := "'" + strings.ReplaceAll(st.flights, "'", "''") + "'"
	return []string{
		fmt.Sprintf("CREATE SOURCE bid WITH (connector = 'nexmark', type = 'bid', rate = %d)", st.rate),
		"CREATE SOURCE flights (date text, delay int, distance int, origin text, destination text)" +
			" WITH (connector = 'file', path = " + quoted + ", format = 'json')",
		"CREATE MATERIALIZED VIEW per_channel AS SELECT channel, count(*) AS n, max(price) AS highest FROM bid GROUP BY channel",
		"CREATE MATERIALIZED VIEW bidders AS SELECT DISTINCT bidder FROM bid",
		"CREATE MATERIALIZED VIEW busy AS SELECT count(*) AS n FROM per_channel WHERE n > 1000",
		"CREATE MATERIALIZED VIEW by_origin AS SELECT a.iata, a.city, count(*) AS flights, avg(f.delay) AS delay" +
			" FROM flights f JOIN airports a ON a.iata = f.origin GROUP BY a.iata, a.city",
	}
}

const createAirports = "CREATE TABLE airports (iata text PRIMARY KEY, name text, city text, state text, country text," +
	" latitude float8, longitude float8)"

// setUp creates what the demo shows, unless an earlier run on the same data
// directory has: then the answers go on from there.
func (st *story) setUp(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(st.flights), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(st.flights, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	var there int
	if err := st.conn.QueryRow(ctx, "SELECT count(*) FROM streamdb.sources WHERE name = 'flights'").Scan(&there); err != nil {
		return err
	}
	if there > 0 {
		return nil
	}
	if _, err := st.conn.Exec(ctx, createAirports); err != nil {
		return err
	}
	_, err = st.conn.PgConn().CopyFrom(ctx, bytes.NewReader(data.Airports), "COPY airports FROM STDIN WITH (FORMAT csv, HEADER true)")
	if err != nil {
		return fmt.Errorf("loading the airports: %w", err)
	}
	for _, s := range st.statements() {
		if _, err := st.conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// appendFlights writes the flights that the file does not have yet, at the
// demo's pace.
func appendFlights(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	rest := data.Flights[min(int(at), len(data.Flights)):]
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(rest) > 0 {
		n := 0
		for range flightsPerSecond / 10 {
			i := bytes.IndexByte(rest[n:], '\n')
			if i < 0 {
				n = len(rest)
				break
			}
			n += i + 1
		}
		if _, err := f.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// frame is what is shown at one moment.
type frame struct {
	events, flights  int64 // in the answers, earlier runs included
	bidders, busy    int64
	channels         []channelLine
	origins          []originLine
	checkpoint       int64
	checkpointMillis float64
	savepoint        string
	at               time.Time
}

type channelLine struct {
	name       string
	n, highest int64
}

type originLine struct {
	iata, city string
	flights    int64
	delay      float64
}

// follow shows a frame every interval, and makes a savepoint on the way.
func (st *story) follow(ctx context.Context, s *screen, length time.Duration) error {
	savepointAt := 5 * time.Second
	if length > 0 {
		savepointAt = min(savepointAt, length/2)
	}
	start, savepoint := time.Now(), ""
	tick := time.NewTicker(s.interval())
	defer tick.Stop()
	for {
		f, err := st.frame(ctx)
		if err != nil {
			return err
		}
		if savepoint == "" && time.Since(start) >= savepointAt {
			if savepoint, err = st.savepoint(ctx); err != nil {
				return err
			}
		}
		f.savepoint = savepoint
		s.draw(f)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// savepoint makes a stream savepoint under a name that is not taken.
func (st *story) savepoint(ctx context.Context) (string, error) {
	var n int
	if err := st.conn.QueryRow(ctx, "SELECT count(*) FROM streamdb.savepoints").Scan(&n); err != nil {
		return "", err
	}
	name := fmt.Sprintf("demo_%d", n+1)
	_, err := st.conn.Exec(ctx, "CREATE SAVEPOINT "+name)
	return name, err
}

// frame reads all answers at one epoch: they agree with each other.
func (st *story) frame(ctx context.Context) (f frame, err error) {
	tx, err := st.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return f, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	f.at = time.Now()
	one := func(sql string, to ...any) {
		if err == nil {
			if err = tx.QueryRow(ctx, sql).Scan(to...); errors.Is(err, pgx.ErrNoRows) {
				err = nil // nothing yet
			}
		}
	}
	one("SELECT count(*) FROM bidders", &f.bidders)
	one("SELECT n FROM busy", &f.busy)
	one("SELECT coalesce(sum(n), 0)::bigint FROM per_channel", &f.events)
	one("SELECT coalesce(sum(flights), 0)::bigint FROM by_origin", &f.flights)
	one("SELECT number, duration_ms FROM streamdb.checkpoints WHERE error IS NULL ORDER BY number DESC LIMIT 1", &f.checkpoint, &f.checkpointMillis)
	if err != nil {
		return f, err
	}
	rows, err := tx.Query(ctx, "SELECT channel, n, highest FROM per_channel ORDER BY n DESC, channel LIMIT 6")
	if err != nil {
		return f, err
	}
	f.channels, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (l channelLine, err error) {
		return l, r.Scan(&l.name, &l.n, &l.highest)
	})
	if err != nil {
		return f, err
	}
	rows, err = tx.Query(ctx, "SELECT iata, city, flights, delay::float8 FROM by_origin ORDER BY flights DESC, iata LIMIT 6")
	if err != nil {
		return f, err
	}
	f.origins, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (l originLine, err error) {
		return l, r.Scan(&l.iata, &l.city, &l.flights, &l.delay)
	})
	return f, err
}
