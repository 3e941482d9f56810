package wire

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// TestRowsAllocateNothing holds the encoder to its promise, in both formats.
func TestRowsAllocateNothing(t *testing.T) {
	ch := wideChunk()
	for _, formats := range [][]int16{nil, {pgproto3.BinaryFormat}} {
		enc := rowEncoder{columns: len(ch.Cols), formats: formats, loc: time.UTC}
		buf := make([]byte, 0, 1<<20)
		allocs := testing.AllocsPerRun(5, func() {
			buf = buf[:0]
			for r := range ch.N {
				buf = enc.append(buf, ch, r)
			}
		})
		if allocs != 0 {
			t.Errorf("formats %v: %v allocations for %d rows", formats, allocs, ch.N)
		}
	}
}

// sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// TestMultiplicity sends a row as many times as it stands, over portals that
// stop in the middle of it.
func TestMultiplicity(t *testing.T) {
	ch := types.NewChunk([]types.Type{types.T(types.Int4)})
	ch.AppendRow(3, types.NewInt4(7))
	ch.AppendRow(-1, types.NewInt4(8))
	ch.AppendRow(2, types.NewInt4(9))
	ch.Sel = []uint16{0, 2}
	rows := &wideRows{chunk: ch, left: 1}
	c := &conn{out: output{nc: sink{}}, ctx: context.Background(), loc: time.UTC, session: &fakeSession{}}
	p := &portal{result: &Result{Fields: []Field{column("a", types.Int4)}, Rows: rows}}
	for i, want := range []struct {
		n    int64
		done bool
	}{{2, false}, {2, false}, {1, true}} {
		n, done, err := c.sendRows(p, 2)
		if n != want.n || done != want.done || err != nil {
			t.Errorf("call %d: %d, %v, %v", i, n, done, err)
		}
	}
	ch.Sel = []uint16{1}
	if _, _, err := c.sendRows(&portal{result: &Result{Fields: p.result.Fields, Rows: &wideRows{chunk: ch, left: 1}}}, 0); pgerr.CodeOf(err) != pgerr.InternalError {
		t.Errorf("a negative row: %v", err)
	}
}

func BenchmarkRows(b *testing.B) {
	ch := wideChunk()
	for name, formats := range map[string][]int16{"text": nil, "binary": {pgproto3.BinaryFormat}} {
		b.Run(name, func(b *testing.B) {
			enc := rowEncoder{columns: len(ch.Cols), formats: formats, loc: time.UTC}
			var buf []byte
			var size int
			b.ReportAllocs()
			for b.Loop() {
				buf = buf[:0]
				for r := range ch.N {
					buf = enc.append(buf, ch, r)
				}
				size = len(buf)
			}
			b.SetBytes(int64(size))
			b.ReportMetric(float64(b.N)*float64(ch.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkWideResult is rows through a socket to a client that only reads.
func BenchmarkWideResult(b *testing.B) {
	_, addr := startServer(b, Config{})
	c := connectPgx(b, addr, "")
	b.ReportAllocs()
	var n int64
	for b.Loop() {
		rr := c.PgConn().ExecParams(context.Background(), "select wide(102400)", nil, nil, nil, nil)
		for rr.NextRow() {
			n++
		}
		if _, err := rr.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkPointRead is one prepared read by one client after another.
func BenchmarkPointRead(b *testing.B) {
	_, addr := startServer(b, Config{})
	nc := dial(b, addr)
	nc.Write(packet(196608, "user\x00u\x00\x00"))
	fe := pgproto3.NewFrontend(nc, nc)
	await := func() {
		for {
			m, err := fe.Receive()
			if err != nil {
				b.Fatal(err)
			}
			if _, ok := m.(*pgproto3.ReadyForQuery); ok {
				return
			}
		}
	}
	await()
	fe.Send(&pgproto3.Parse{Name: "s", Query: "select $1::int+1"})
	fe.Send(&pgproto3.Sync{})
	fe.Flush()
	await()
	bind := &pgproto3.Bind{PreparedStatement: "s", ParameterFormatCodes: []int16{1}, Parameters: [][]byte{{0, 0, 0, 1}}, ResultFormatCodes: []int16{1}}
	b.ReportAllocs()
	for b.Loop() {
		fe.Send(bind)
		fe.Send(&pgproto3.Execute{})
		fe.Send(&pgproto3.Sync{})
		fe.Flush()
		await()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
}
