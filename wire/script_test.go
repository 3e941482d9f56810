package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TestScripts runs the message scripts in testdata against the server, and
// against PostgreSQL if STREAMDB_PG_DSN names one.
//
//	send [until=<message>|closed] [ready=<n>]
//	<client message> <its fields as JSON; CopyData: a Go string>
//	----
//	<server messages>
//
// Without until, n ReadyForQuery are awaited, by default one for each Query
// and Sync.
func TestScripts(t *testing.T) {
	_, addr := startServer(t, Config{})
	runScripts(t, func(t *testing.T) (net.Conn, string, string) {
		return dial(t, addr), "streamdb", "streamdb"
	})
}

func TestScriptsOnPostgres(t *testing.T) {
	dsn := os.Getenv("STREAMDB_PG_DSN")
	if dsn == "" {
		t.Skip("set STREAMDB_PG_DSN to run the message scripts against PostgreSQL")
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	runScripts(t, func(t *testing.T) (net.Conn, string, string) {
		return dial(t, net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))), cfg.User, cfg.Database
	})
}

func runScripts(t *testing.T, connect func(*testing.T) (net.Conn, string, string)) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		nc, user, db := connect(t)
		defer nc.Close()
		fe := pgproto3.NewFrontend(nc, nc)
		fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": user, "database": db}})
		if err := fe.Flush(); err != nil {
			t.Fatal(err)
		}
		receiveUntil(t, fe, nc, "ReadyForQuery", 1)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			until, n := "", 0
			d.MaybeScanArgs(t, "until", &until)
			for line := range strings.Lines(d.Input) {
				m := parseMessage(t, strings.TrimSpace(line))
				switch m.(type) {
				case *pgproto3.Query, *pgproto3.Sync:
					n++
				}
				fe.Send(m)
			}
			if err := fe.Flush(); err != nil {
				t.Fatal(err)
			}
			if until == "" {
				until = "ReadyForQuery"
			} else {
				n = 1
			}
			d.MaybeScanArgs(t, "ready", &n)
			return receiveUntil(t, fe, nc, until, n)
		})
	})
}

func parseMessage(t *testing.T, line string) pgproto3.FrontendMessage {
	name, arg, _ := strings.Cut(line, " ")
	msgs := map[string]pgproto3.FrontendMessage{
		"Query": &pgproto3.Query{}, "Parse": &pgproto3.Parse{}, "Bind": &pgproto3.Bind{}, "Describe": &pgproto3.Describe{},
		"Execute": &pgproto3.Execute{}, "Close": &pgproto3.Close{}, "Sync": &pgproto3.Sync{}, "Flush": &pgproto3.Flush{},
		"CopyData": &pgproto3.CopyData{}, "CopyDone": &pgproto3.CopyDone{}, "CopyFail": &pgproto3.CopyFail{},
		"FunctionCall": &pgproto3.FunctionCall{}, "Terminate": &pgproto3.Terminate{},
	}
	m := msgs[name]
	if m == nil {
		t.Fatalf("no message %q", name)
	}
	var err error
	switch m := m.(type) {
	case *pgproto3.CopyData:
		var s string
		s, err = strconv.Unquote(arg)
		m.Data = []byte(s)
	case *pgproto3.Query:
		m.String = arg
	default:
		if arg != "" {
			err = json.Unmarshal([]byte(arg), m)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return m
}

// receiveUntil gives the server's messages up to the n-th called until, or
// to the end of the connection if that is "closed".
func receiveUntil(t *testing.T, fe *pgproto3.Frontend, nc net.Conn, until string, n int) string {
	t.Helper()
	var b strings.Builder
	nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	for n > 0 {
		m, err := fe.Receive()
		if err != nil {
			if until != "closed" || isTimeout(err) {
				t.Fatalf("%v, after:\n%s", err, b.String())
			}
			b.WriteString("closed\n")
			break
		}
		line := formatMessage(m)
		if _, ok := m.(*pgproto3.ParameterStatus); !ok {
			b.WriteString(line + "\n")
		}
		if name, _, _ := strings.Cut(line, " "); name == until {
			n--
		}
	}
	return b.String()
}

// formatMessage is a server message as the scripts show it.
func formatMessage(m pgproto3.BackendMessage) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3.")
	switch m := m.(type) {
	case *pgproto3.RowDescription:
		for _, f := range m.Fields {
			name += fmt.Sprintf(" %s:%d:%d:%d/%d", f.Name, f.DataTypeOID, f.DataTypeSize, f.TypeModifier, f.Format)
		}
	case *pgproto3.DataRow:
		for _, v := range m.Values {
			switch {
			case v == nil:
				name += " NULL"
			case bytes.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }):
				name += fmt.Sprintf(" \\x%x", v)
			default:
				name += fmt.Sprintf(" %q", v)
			}
		}
	case *pgproto3.CommandComplete:
		name += " " + string(m.CommandTag)
	case *pgproto3.ReadyForQuery:
		name += " " + string(m.TxStatus)
	case *pgproto3.ParameterDescription:
		name += fmt.Sprintf(" %v", m.ParameterOIDs)
	case *pgproto3.ErrorResponse:
		name += fmt.Sprintf(" %s %s %s", m.Severity, m.Code, m.Message)
		if m.Position != 0 {
			name += fmt.Sprintf(" (position %d)", m.Position)
		}
	case *pgproto3.CopyInResponse:
		name += fmt.Sprintf(" %d %v", m.OverallFormat, m.ColumnFormatCodes)
	case *pgproto3.CopyOutResponse:
		name += fmt.Sprintf(" %d %v", m.OverallFormat, m.ColumnFormatCodes)
	case *pgproto3.CopyData:
		name += fmt.Sprintf(" %q", m.Data)
	}
	return name
}

// startServer runs a server over the fake engine until the test ends, and
// sees to it that it ends cleanly.
func startServer(t testing.TB, cfg Config) (*fakeEngine, string) {
	e, addr, stop := startStoppable(t, cfg)
	t.Cleanup(stop)
	return e, addr
}

func startStoppable(t testing.TB, cfg Config) (e *fakeEngine, addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e = &fakeEngine{}
	cfg.Engine = e
	s := NewServer(cfg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	return e, l.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := e.sessions.Load(); n != 0 {
			t.Errorf("%d sessions are still open", n)
		}
	}
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}
