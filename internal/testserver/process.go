package testserver

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/streamdb/streamdb/engine"
	"github.com/streamdb/streamdb/wire"
)

// childEnv makes a test binary a server.
const childEnv = "STREAMDB_TESTSERVER_CHILD"

// Main is for TestMain of a package whose tests use StartProcess: a child is
// the test binary itself, so that nothing has to be built.
func Main(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, "streamdb:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child serves until SIGTERM, or until its standard input ends: so it does
// not outlive a test that dies.
func child() error {
	var opts Options
	fs := flag.NewFlagSet("child", flag.ContinueOnError)
	fs.StringVar(&opts.Dir, "dir", "", "data directory")
	fs.StringVar(&opts.WorkDir, "workdir", ".", "where relative paths start")
	fs.DurationVar(&opts.CheckpointInterval, "checkpoint-interval", 0, "")
	fs.DurationVar(&opts.ReadTimeout, "read-timeout", 0, "")
	addr := fs.String("listen", "127.0.0.1:0", "")
	if err := fs.Parse(os.Args[1:]); err != nil {
		return err
	}
	cfg := config(opts)
	en, err := engine.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		en.Kill()
		return err
	}
	fmt.Println("listening", l.Addr())
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	srv := wire.NewServer(wire.Config{Engine: en, Logger: cfg.Logger})
	if err := srv.Serve(ctx, l); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return errors.Join(srv.Shutdown(ctx), en.Close(ctx))
}

// Process is a streamdb in a child process.
type Process struct {
	t     testing.TB
	opts  Options
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
	ended chan struct{}
}

// StartProcess starts a child that ends with the test. The package's TestMain
// must call Main.
func StartProcess(t testing.TB, opts Options) *Process {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	p := &Process{t: t, opts: opts, addr: "127.0.0.1:0"}
	t.Cleanup(p.Kill)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// begin starts the child and gives what it prints.
func (p *Process) begin() (*bufio.Reader, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-dir", p.opts.Dir, "-listen", p.addr, "-checkpoint-interval", p.opts.CheckpointInterval.String(),
		"-read-timeout", p.opts.ReadTimeout.String()}
	if p.opts.WorkDir != "" {
		args = append(args, "-workdir", p.opts.WorkDir)
	}
	p.cmd = exec.Command(exe, args...)
	p.cmd.Env = append(os.Environ(), childEnv+"=1")
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return bufio.NewReader(stdout), nil
}

// Start starts the child again after Kill or Stop, at the same address, and
// waits until it listens.
func (p *Process) Start() error { return p.start(nil) }

// StartAndKill starts the child and kills it after d, in most cases in the
// middle of its recovery. It says whether the child listened before.
func (p *Process) StartAndKill(d time.Duration) (listened bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	err := p.start(timer.C)
	if err == nil {
		<-timer.C
	}
	p.Kill()
	return err == nil
}

var errGivenUp = errors.New("testserver: killed before it listened")

func (p *Process) start(giveUp <-chan time.Time) error {
	out, err := p.begin()
	if err != nil {
		return err
	}
	type ready struct {
		line string
		err  error
	}
	listening := make(chan ready, 1)
	ended := make(chan struct{})
	p.ended = ended
	go func(cmd *exec.Cmd) {
		line, err := out.ReadString('\n')
		listening <- ready{line, err}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // how it ended does not matter: we kill it
		close(ended)
	}(p.cmd)
	select {
	case r := <-listening:
		addr, ok := strings.CutPrefix(strings.TrimSpace(r.line), "listening ")
		if !ok {
			<-ended
			return fmt.Errorf("testserver: the server did not start: %s", p.cmd.ProcessState)
		}
		p.addr = addr
		return nil
	case <-giveUp:
		return errGivenUp
	case <-time.After(2 * time.Minute):
		p.Kill()
		return errors.New("testserver: the server does not listen after 2 minutes")
	}
}

// Kill ends the child by SIGKILL, if it runs, and waits for its end.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop ends the child in order.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

func (p *Process) end(sig syscall.Signal) {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		p.t.Errorf("testserver: the server does not stop on %v", sig)
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	p.stdin.Close()
	p.cmd = nil
}

// Running tells whether the child has not ended yet.
func (p *Process) Running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// DSN is how to connect.
func (p *Process) DSN() string { return dsn(p.addr) }

// Dir is the data directory.
func (p *Process) Dir() string { return p.opts.Dir }

// Connect opens a session that ends with the test.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}
