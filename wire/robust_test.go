package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/goleak"
)

var (
	frames = flag.Int("wire.frames", 10_000, "random frames that TestRandomFrames sends")
	seed   = flag.Uint64("wire.seed", 0, "seed of TestRandomFrames, 0: a new one")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func writeFile(t *testing.T, name, text string) {
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// packet is a startup-like packet: a length and big-endian words or bytes.
func packet(parts ...any) []byte {
	b := make([]byte, 4)
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func frame(typ byte, body []byte) []byte { return append([]byte{typ}, packet(body)...) }

// greeting opens a session by hand and reads up to ReadyForQuery.
func greeting(t *testing.T, addr string) (net.Conn, *pgproto3.Frontend) {
	t.Helper()
	nc := dial(t, addr)
	if _, err := nc.Write(packet(pgproto3.ProtocolVersion30, "user\x00u\x00\x00")); err != nil {
		t.Fatal(err)
	}
	fe := pgproto3.NewFrontend(nc, nc)
	receiveUntil(t, fe, nc, "ReadyForQuery", 1)
	return nc, fe
}

func TestStartup(t *testing.T) {
	_, addr := startServer(t, Config{MaxConnections: 3})
	for _, tc := range []struct {
		name string
		send []byte
		want string // "until ReadyForQuery" unless closed
	}{
		{"3.0", packet(196608, "user\x00u\x00\x00"), "AuthenticationOk\nkey of 4\nReadyForQuery I\n"},
		{"3.1", packet(196609, "user\x00u\x00\x00"), "AuthenticationOk\nkey of 4\nReadyForQuery I\n"},
		{"3.2", packet(196610, "user\x00u\x00\x00"), "AuthenticationOk\nkey of 32\nReadyForQuery I\n"},
		{"3.9999", packet(196608+9999, "user\x00u\x00_pq_.grease\x001\x00\x00"),
			"negotiate 3.2 [_pq_.grease]\nAuthenticationOk\nkey of 32\nReadyForQuery I\n"},
		{"3.0 with option", packet(196608, "user\x00u\x00_pq_.x\x001\x00\x00"), "negotiate 3.0 [_pq_.x]\nAuthenticationOk\nkey of 4\nReadyForQuery I\n"},
		{"encryption", append(append(packet(80877103), packet(80877104)...), packet(196608, "user\x00u\x00\x00")...),
			"AuthenticationOk\nkey of 4\nReadyForQuery I\n"},
		{"2.0", packet(131072, "user\x00u\x00\x00"), "ErrorResponse FATAL 0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2\nclosed\n"},
		{"4.0", packet(262144), "ErrorResponse FATAL 0A000 unsupported frontend protocol 4.0: server supports 3.0 to 3.2\nclosed\n"},
		{"no user", packet(196608, "\x00"), "ErrorResponse FATAL 28000 no PostgreSQL user name specified in startup packet\nclosed\n"},
		{"no end", packet(196608, "user\x00u\x00"), "ErrorResponse FATAL 08P01 invalid startup packet layout: expected terminator as last byte\nclosed\n"},
		{"database", packet(196608, "user\x00u\x00database\x00nosuch\x00\x00"), "AuthenticationOk\nErrorResponse FATAL 3D000 database \"nosuch\" does not exist\nclosed\n"},
		{"replication", packet(196608, "user\x00u\x00replication\x00database\x00\x00"), "ErrorResponse FATAL 0A000 a replication connection is not supported\nclosed\n"},
		{"length 0", []byte{0, 0, 0, 0}, "ErrorResponse FATAL 08P01 invalid length of startup packet\nclosed\n"},
		{"length 10005", []byte{0, 0, 0x27, 0x15}, "ErrorResponse FATAL 08P01 invalid length of startup packet\nclosed\n"},
		{"cancel of nobody", packet(80877102, 77, 1234), "closed\n"},
		{"short cancel", packet(80877102), "closed\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nc := dial(t, addr)
			defer nc.Close()
			if _, err := nc.Write(tc.send); err != nil {
				t.Fatal(err)
			}
			if tc.name == "encryption" {
				io.ReadFull(nc, make([]byte, 2)) // NN
			}
			until := "ReadyForQuery"
			if strings.HasSuffix(tc.want, "closed\n") {
				until = "closed"
			}
			if got := startupAnswers(t, nc, until); got != tc.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tc.want)
			}
		})
	}
}

func startupAnswers(t *testing.T, nc net.Conn, until string) string {
	fe := pgproto3.NewFrontend(nc, nc)
	nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	got := ""
	for {
		m, err := fe.Receive()
		switch m := m.(type) {
		case nil:
			if isTimeout(err) {
				t.Fatal(err)
			}
			return got + "closed\n"
		case *pgproto3.ParameterStatus:
		case *pgproto3.NegotiateProtocolVersion:
			got += fmt.Sprintf("negotiate %d.%d %v\n", m.NewestMinorProtocol>>16, m.NewestMinorProtocol&0xffff, m.UnrecognizedOptions)
		case *pgproto3.BackendKeyData:
			got += fmt.Sprintf("key of %d\n", len(m.SecretKey))
		default:
			got += formatMessage(m) + "\n"
			if strings.HasPrefix(formatMessage(m), until) {
				return got
			}
		}
	}
}

func TestAuthTimeout(t *testing.T) {
	_, addr := startServer(t, Config{AuthTimeout: 30 * time.Millisecond})
	nc := dial(t, addr)
	nc.Write([]byte{0, 0})
	nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("an idle client before authentication: %v", err)
	}
}

func TestTooManyConnections(t *testing.T) {
	_, addr := startServer(t, Config{MaxConnections: 2})
	a := connectPgx(t, addr, "")
	connectPgx(t, addr, "")
	_, err := pgx.Connect(context.Background(), dsnOf(addr, ""))
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != "53300" || pe.Hint == "" {
		t.Fatal(err)
	}
	a.Close(context.Background())
	waitFor(t, func() bool {
		c, err := pgx.Connect(context.Background(), dsnOf(addr, ""))
		if err == nil {
			c.Close(context.Background())
		}
		return err == nil
	})
}

func TestViolations(t *testing.T) {
	_, addr := startServer(t, Config{MaxMessageBytes: 1 << 20})
	healthy := connectPgx(t, addr, "")
	for name, b := range map[string][]byte{
		"unknown type":           frame('z', nil),
		"length 3":               {'Q', 0, 0, 0, 3},
		"negative length":        {'Q', 0xff, 0xff, 0xff, 0xff},
		"oversize":               {'Q', 0x40, 0, 0, 0},
		"oversize with data":     append([]byte{'Q', 0, 0x20, 0, 0}, make([]byte, 1<<20)...),
		"password after session": frame('p', []byte("secret\x00")),
		"unended query":          frame('Q', []byte("select 1")),
		"unended parse":          frame('P', []byte("s")),
		"bind short":             frame('B', []byte("\x00\x00\x00")),
		"bind negative length":   frame('B', []byte("\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00")),
		"describe empty":         frame('D', nil),
		"describe X":             frame('D', []byte("X\x00")),
		"close X":                frame('C', []byte("X\x00")),
		"execute short":          frame('E', []byte("\x00")),
		"startup again":          packet(196608, "user\x00u\x00\x00"),
	} {
		nc, fe := greeting(t, addr)
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
		got := receiveUntil(t, fe, nc, "closed", 1)
		if !strings.HasPrefix(got, "ErrorResponse FATAL 08P01 ") || !strings.HasSuffix(got, "\nclosed\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if err := healthy.Ping(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestCopyViolation is a query in the middle of COPY data.
func TestCopyViolation(t *testing.T) {
	_, addr := startServer(t, Config{})
	nc, fe := greeting(t, addr)
	nc.Write(frame('Q', []byte("create temp table t (a int, b text)\x00")))
	nc.Write(frame('Q', []byte("copy t from stdin\x00")))
	receiveUntil(t, fe, nc, "CopyInResponse", 1)
	nc.Write(frame('Q', []byte("select 1\x00")))
	if got := receiveUntil(t, fe, nc, "closed", 1); !strings.HasPrefix(got, "ErrorResponse FATAL 08P01 unexpected message") {
		t.Error(got)
	}
}

// TestRandomFrames sends garbage on connections that it opens as needed; a
// healthy session must answer throughout.
func TestRandomFrames(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("replay with -wire.seed=%d", s)
	rng := rand.New(rand.NewPCG(s, 0))
	e, addr := startServer(t, Config{MaxMessageBytes: 1 << 16})
	healthy := connectPgx(t, addr, "")
	answers := 0
	for sent := 0; sent < *frames; {
		nc := dial(t, addr)
		b := packet(196608, "user\x00u\x00\x00")
		for range 1 + rng.IntN(30) {
			b = append(b, randomFrame(rng)...)
			sent++
		}
		nc.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := nc.Write(b); err == nil {
			nc.(*net.TCPConn).CloseWrite()
		}
		got, err := io.ReadAll(nc) // to the end, so that every frame had its chance
		if isTimeout(err) {
			t.Fatalf("after %d frames a connection hangs", sent)
		}
		answers += len(got)
		nc.Close()
		if rng.IntN(50) == 0 {
			var n int
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			if err := healthy.QueryRow(ctx, "select $1::int+1", sent).Scan(&n); err != nil || n != sent+1 {
				t.Fatalf("after %d frames: %d, %v", sent, n, err)
			}
			cancel()
		}
	}
	t.Logf("%d bytes of answers", answers)
	waitFor(t, func() bool { return e.sessions.Load() == 1 })
}

// randomFrame is a good message, to get somewhere, or one of good and bad
// parts, or not even that.
func randomFrame(rng *rand.Rand) []byte {
	good := []pgproto3.FrontendMessage{
		&pgproto3.Query{String: "select 1; select generate_series(1,9)"}, &pgproto3.Query{String: "begin"}, &pgproto3.Query{String: "rollback"},
		&pgproto3.Query{String: "create temp table t (a int, b text)"}, &pgproto3.Query{String: "copy t from stdin"}, &pgproto3.Query{String: "copy t to stdout"},
		&pgproto3.Parse{Query: "select $1::int+1"}, &pgproto3.Parse{Name: "s", Query: "select generate_series(1,9)"}, &pgproto3.Parse{Query: "copy t from stdin"},
		&pgproto3.Bind{Parameters: [][]byte{[]byte("1")}}, &pgproto3.Bind{PreparedStatement: "s", DestinationPortal: "p"}, &pgproto3.Bind{},
		&pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Describe{ObjectType: 'P', Name: "p"}, &pgproto3.Execute{}, &pgproto3.Execute{Portal: "p", MaxRows: 2},
		&pgproto3.Close{ObjectType: 'P', Name: "p"}, &pgproto3.CopyData{Data: []byte("1\tx\n")}, &pgproto3.CopyDone{}, &pgproto3.CopyFail{},
		&pgproto3.Sync{}, &pgproto3.Sync{}, &pgproto3.Sync{}, &pgproto3.Sync{}, &pgproto3.Flush{}, &pgproto3.FunctionCall{},
	}
	if rng.IntN(30) > 0 {
		b, _ := good[rng.IntN(len(good))].Encode(nil)
		if rng.IntN(60) == 0 {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		return b
	}
	texts := []string{"select 1\x00", "select generate_series(1,9)\x00", "\x00", "s\x00", "S\x00", "P\x00", "copy t from stdin\x00",
		"create temp table t (a int, b text)\x00", "select $1::int+1\x00", "begin\x00", "1\tx\n", "\x00\x00", "\x00\x01", "\x00\x00\x00\x04"}
	var body []byte
	for range rng.IntN(4) {
		switch rng.IntN(3) {
		case 0:
			body = append(body, byte(rng.UintN(256)))
		case 1:
			body = binary.BigEndian.AppendUint32(body, rng.Uint32())
		default:
			body = append(body, texts[rng.IntN(len(texts))]...)
		}
	}
	const known = "BCDdcEFfHPpQSX"
	b := frame(known[rng.IntN(len(known))], body)
	switch rng.IntN(50) {
	case 0:
		b[0] = byte(rng.UintN(256))
	case 1:
		binary.BigEndian.PutUint32(b[1:], rng.Uint32())
	case 2:
		b = b[:rng.IntN(len(b))]
	}
	return b
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it did not come true within 5 s")
}

func TestCancel(t *testing.T) {
	_, addr := startServer(t, Config{})
	for _, version := range []string{"3.0", "3.2"} {
		for _, sql := range []string{"select pg_sleep(60)", "copy (subscribe) to stdout", "copy t from stdin"} {
			c := connectPgx(t, addr, "&max_protocol_version="+version)
			pc := c.PgConn()
			if _, err := c.Exec(context.Background(), "create temp table t (a int, b text)"); err != nil {
				t.Fatal(err)
			}
			r, w := io.Pipe() // COPY waits for data that never comes
			done := make(chan error, 1)
			go func() {
				var err error
				switch {
				case strings.HasSuffix(sql, "stdin"):
					_, err = pc.CopyFrom(context.Background(), r, sql)
				case strings.HasPrefix(sql, "copy"):
					_, err = pc.CopyTo(context.Background(), io.Discard, sql)
				default:
					_, err = pc.Exec(context.Background(), sql).ReadAll()
				}
				done <- err
			}()
			time.Sleep(50 * time.Millisecond)
			if err := pc.CancelRequest(context.Background()); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(100*time.Millisecond, func() { w.Close() })
			var pe *pgconn.PgError
			if err := <-done; !errors.As(err, &pe) || pe.Code != "57014" || pe.Message != "canceling statement due to user request" {
				t.Errorf("%s, %s: %v", version, sql, err)
			}
			// A cancel request that comes when nothing runs is lost.
			if err := errors.Join(pc.CancelRequest(context.Background()), c.Ping(context.Background())); err != nil {
				t.Errorf("%s, %s: %v", version, sql, err)
			}
		}
	}
}

func TestWrongCancelKey(t *testing.T) {
	_, addr := startServer(t, Config{})
	c := connectPgx(t, addr, "")
	nc := dial(t, addr)
	nc.Write(packet(80877102, int(c.PgConn().PID()), 0))
	done := make(chan error, 1)
	go func() { _, err := c.Exec(context.Background(), "select pg_sleep(1)"); done <- err }()
	nc = dial(t, addr)
	nc.Write(packet(80877102, int(c.PgConn().PID()), 0))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDisconnect(t *testing.T) {
	e, addr := startServer(t, Config{})
	for i, sql := range []string{"select pg_sleep(60)", "copy (subscribe) to stdout"} {
		nc, _ := greeting(t, addr)
		nc.Write(frame('Q', []byte(sql+"\x00")))
		nc.Write(frame('Q', []byte("select 1\x00"))) // read ahead
		time.Sleep(50 * time.Millisecond)
		nc.Close()
		waitFor(t, func() bool { return e.sessions.Load() == 0 })
		if got := e.canceled.Load(); got > int32(i)+1 {
			t.Errorf("%d calls were cancelled", got)
		}
	}
	nc, _ := greeting(t, addr)
	nc.Write(frame('Q', []byte("create temp table t (a int, b text); copy t from stdin\x00")))
	time.Sleep(20 * time.Millisecond)
	nc.Close()
	waitFor(t, func() bool { return e.sessions.Load() == 0 })
}

// TestReadAhead keeps what a client sends while a statement is watched.
func TestReadAhead(t *testing.T) {
	_, addr := startServer(t, Config{})
	nc, fe := greeting(t, addr)
	nc.Write(frame('Q', []byte("select pg_sleep(1)\x00")))
	time.Sleep(2 * watchDelay)
	for range 5_000 { // more than is read ahead
		nc.Write(frame('Q', []byte("select 1 -- and a comment of some length\x00")))
	}
	receiveUntil(t, fe, nc, "ReadyForQuery", 5_001)
}

// TestSlowClient does not read what it asked for.
func TestSlowClient(t *testing.T) {
	e, addr := startServer(t, Config{WriteTimeout: 100 * time.Millisecond})
	nc, _ := greeting(t, addr)
	nc.(*net.TCPConn).SetReadBuffer(4 << 10)
	nc.Write(frame('Q', []byte("select wide(1000000000)\x00")))
	waitFor(t, func() bool { return e.sessions.Load() == 0 })
}

func TestPanic(t *testing.T) {
	_, addr := startServer(t, Config{})
	other := connectPgx(t, addr, "")
	nc, fe := greeting(t, addr)
	nc.Write(frame('Q', []byte("select panic\x00")))
	if got := receiveUntil(t, fe, nc, "closed", 1); got != "ErrorResponse FATAL XX000 internal error: as asked\nclosed\n" {
		t.Error(got)
	}
	if err := other.Ping(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestNotices(t *testing.T) {
	_, addr := startServer(t, Config{})
	cfg, err := pgx.ParseConfig(dsnOf(addr, "&application_name=before"))
	if err != nil {
		t.Fatal(err)
	}
	var notices []string
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		notices = append(notices, n.Severity+" "+n.Code+" "+n.Message)
	}
	c, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if got := c.PgConn().ParameterStatus("application_name"); got != "before" {
		t.Error(got)
	}
	if _, err := c.Exec(context.Background(), "warn careful; set application_name = 'after'"); err != nil {
		t.Fatal(err)
	}
	if got := c.PgConn().ParameterStatus("application_name"); got != "after" {
		t.Error(got)
	}
	if len(notices) != 1 || notices[0] != "WARNING 01000 careful" {
		t.Error(notices)
	}
}

func TestEncoding(t *testing.T) {
	_, addr := startServer(t, Config{})
	nc, fe := greeting(t, addr)
	const want = "ErrorResponse ERROR 22021 invalid byte sequence for encoding \"UTF8\": "
	for bad, shown := range map[string]string{"\xff": "0xff", "é\xc3x": "0xc3 0x78", "\xe2\x82": "0xe2 0x82 0x27"} {
		nc.Write(frame('Q', []byte("select '"+bad+"'::text\x00")))
		if got := receiveUntil(t, fe, nc, "ReadyForQuery", 1); !strings.HasPrefix(got, want+shown+"\n") {
			t.Error(got)
		}
	}
	fe.Send(&pgproto3.Parse{Query: "select $1::text"})
	fe.Send(&pgproto3.Bind{Parameters: [][]byte{[]byte("a\x00b")}})
	fe.Send(&pgproto3.Sync{})
	fe.Flush()
	if got := receiveUntil(t, fe, nc, "ReadyForQuery", 1); !strings.Contains(got, want+"0x00\n") {
		t.Error(got)
	}
}

func TestLimits(t *testing.T) {
	_, addr := startServer(t, Config{MaxPreparedStatements: 3, MaxPortals: 2})
	nc, fe := greeting(t, addr)
	for i := range 4 {
		fe.Send(&pgproto3.Parse{Name: fmt.Sprint("s", i), Query: "select 1"})
	}
	fe.Send(&pgproto3.Sync{})
	for i := range 3 {
		fe.Send(&pgproto3.Bind{PreparedStatement: "s0", DestinationPortal: fmt.Sprint("p", i)})
	}
	fe.Send(&pgproto3.Sync{})
	fe.Flush()
	got := receiveUntil(t, fe, nc, "ReadyForQuery", 2)
	if strings.Count(got, "ParseComplete") != 3 || strings.Count(got, "BindComplete") != 2 || strings.Count(got, "ERROR 53400") != 2 {
		t.Error(got)
	}
}

// TestShutdown ends idle, busy and half-greeted connections, and tells them.
func TestShutdown(t *testing.T) {
	_, addr, stop := startStoppable(t, Config{})
	idle, idleFE := greeting(t, addr)
	busy, busyFE := greeting(t, addr)
	busy.Write(frame('Q', []byte("select pg_sleep(60)\x00")))
	copying, copyingFE := greeting(t, addr)
	copying.Write(frame('Q', []byte("create temp table t (a int, b text); copy t from stdin\x00")))
	receiveUntil(t, copyingFE, copying, "CopyInResponse", 1)
	early := dial(t, addr)
	time.Sleep(3 * watchDelay)
	stop()
	const bye = "ErrorResponse FATAL 57P01 terminating connection due to administrator command\nclosed\n"
	for name, got := range map[string]string{
		"idle":    receiveUntil(t, idleFE, idle, "closed", 1),
		"busy":    receiveUntil(t, busyFE, busy, "closed", 1),
		"copying": receiveUntil(t, copyingFE, copying, "closed", 1),
		"early":   startupAnswers(t, early, "closed"),
	} {
		if got != bye {
			t.Errorf("%s: %q", name, got)
		}
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}

// TestServeContext ends the server through its context.
func TestServeContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := NewServer(Config{Engine: &fakeEngine{}})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	nc, fe := greeting(t, l.Addr().String())
	nc.Write(frame('Q', []byte("select pg_sleep(60)\x00")))
	time.Sleep(20 * time.Millisecond)
	cancel()
	if got := receiveUntil(t, fe, nc, "closed", 1); !strings.Contains(got, "57P01") {
		t.Error(got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
