package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// testConfig is the Config of those flags, on ports that are free.
func testConfig(t *testing.T, args ...string) Config {
	t.Helper()
	c, err := parse(t, nil, append([]string{"--listen=127.0.0.1:0", "--http=127.0.0.1:0"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openMain opens a service with those flags, until the end of the test.
func openMain(t *testing.T, args ...string) *Main {
	t.Helper()
	m := &Main{Config: testConfig(t, args...), Version: "test"}
	if err := m.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("closing candado: %v", err)
		}
	})
	return m
}

// slowEngine is an embedded engine whose Acquire begins, and then waits to be
// let go.
type slowEngine struct {
	locks.Engine
	began  chan struct{}
	letGo  chan struct{}
	closed atomic.Bool
}

func newSlowEngine() *slowEngine {
	return &slowEngine{
		Engine: memory.New(memory.Options{}),
		began:  make(chan struct{}),
		letGo:  make(chan struct{}),
	}
}

func (e *slowEngine) Acquire(ctx context.Context, req locks.AcquireRequest) (locks.Lease, error) {
	e.began <- struct{}{}
	<-e.letGo
	if e.closed.Load() {
		return locks.Lease{}, errors.New("the engine was closed before a command that needed it")
	}
	return e.Engine.Acquire(ctx, req)
}

func (e *slowEngine) Close() error {
	e.closed.Store(true)
	return e.Engine.Close()
}

// openSlow opens a service on a slow engine, without closing it.
func openSlow(t *testing.T, engine locks.Engine, args ...string) *Main {
	t.Helper()
	m := &Main{Config: testConfig(t, args...), Log: slog.New(slog.DiscardHandler)}
	resp, err := listen("--listen", m.Config.Listen)
	if err != nil {
		t.Fatal(err)
	}
	web, err := listen("--http", m.Config.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	m.assemble(engine, resp, web)
	m.start()
	return m
}

// dialRESP returns a connection to the RESP listener that has been served.
func dialRESP(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	fmt.Fprint(c, "PING\r\n")
	if line, err := r.ReadString('\n'); line != "+PONG\r\n" {
		t.Fatalf("PING answered %q, %v", line, err)
	}
	return c, r
}

// get returns status and body of an HTTP request.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestBothFrontEndsServeTheSameLocks(t *testing.T) {
	m := openMain(t)
	web := "http://" + m.Addr("http")
	if status, body := get(t, web+"/acquire/job"); status != 200 || body != `{"error":"","state":1,"success":true}` {
		t.Errorf("acquire: %d %s", status, body)
	}
	c, r := dialRESP(t, m.Addr("resp"))
	for command, want := range map[string]string{"LOCK.ACQUIRE job": "$-1\r\n", "LOCK.ACQUIRE other BLOCK": "-ERR"} {
		fmt.Fprint(c, command+"\r\n")
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%s answered %q, %v; want %q", command, line, err, want)
		}
	}
	status, body := get(t, web+"/metrics")
	if status != 200 {
		t.Errorf("metrics: %d", status)
	}
	for _, part := range []string{`engine="embedded"`, `version="test"`, `listener="resp"`, `listener="http"`} {
		if !strings.Contains(body, part) {
			t.Errorf("metrics do not hold %s:\n%s", part, body)
		}
	}
}

func TestRunningCommandsFinishBeforeTheEngineCloses(t *testing.T) {
	engine := newSlowEngine()
	m := openSlow(t, engine)
	c, r := dialRESP(t, m.Addr("resp"))
	fmt.Fprint(c, "LOCK.ACQUIRE a\r\n")
	<-engine.began
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + m.Addr("http") + "/acquire/b")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		answered <- resp.Status
	}()
	<-engine.began

	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	for _, protocol := range []string{"resp", "http"} {
		awaitRefusal(t, m.Addr(protocol))
	}
	select {
	case err := <-closed:
		t.Fatalf("closed before the running commands had ended: %v", err)
	default:
	}
	close(engine.letGo)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, ":") {
		t.Errorf("the running LOCK.ACQUIRE got %q, %v; want its token", line, err)
	}
	if status := <-answered; status != "200 OK" {
		t.Errorf("the running GET /acquire got %s", status)
	}
	if err := <-closed; err != nil {
		t.Errorf("closing: %v", err)
	}
	if !engine.closed.Load() {
		t.Error("the engine is still open")
	}
}

// awaitRefusal returns when addr takes no new connections.
func awaitRefusal(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			return
		}
		// A connection may be taken by the kernel, or by a server that closes it
		// unheard; it is not to be served.
		c.Close()
	}
	t.Errorf("%s still accepts", addr)
}

func TestDrainTimeoutEndsTheWaitForRunningCommands(t *testing.T) {
	engine := newSlowEngine()
	m := openSlow(t, engine, "--drain-timeout=50ms")
	c, r := dialRESP(t, m.Addr("resp"))
	fmt.Fprint(c, "LOCK.ACQUIRE a\r\n")
	<-engine.began
	if err := m.Close(); err == nil || !strings.Contains(err.Error(), "draining resp") {
		t.Errorf("closing over a running command: %v", err)
	}
	if line, err := r.ReadString('\n'); err == nil {
		t.Errorf("the connection is still open, and answered %q", line)
	}
	if !engine.closed.Load() {
		t.Error("the engine was not closed after a front end had failed to drain")
	}
	close(engine.letGo)
}

func TestErrorsOfClosingAreJoined(t *testing.T) {
	first, second, third := errors.New("first"), errors.New("second"), errors.New("third")
	engine := failingEngine{Engine: memory.New(memory.Options{}), err: third}
	m := &Main{Config: testConfig(t), Log: slog.New(slog.DiscardHandler), engine: engine,
		fronts: []front{{"resp", nil, failingServer{first}}, {"http", nil, failingServer{second}}}}
	err := m.Close()
	for _, want := range []error{first, second, third} {
		if !errors.Is(err, want) {
			t.Errorf("%v is not among the errors of closing: %v", want, err)
		}
	}
}

type failingEngine struct {
	locks.Engine
	err error
}

func (e failingEngine) Close() error { return errors.Join(e.err, e.Engine.Close()) }

type failingServer struct{ err error }

func (s failingServer) Serve(net.Listener) error       { return s.err }
func (s failingServer) Shutdown(context.Context) error { return s.err }
func (s failingServer) Connections() int               { return 0 }
func (s failingServer) Sending() int                   { return 0 }

func TestFrontEndThatFailsEndsTheService(t *testing.T) {
	broken := errors.New("broken")
	listener, err := listen("--listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	m := &Main{Config: testConfig(t), Log: slog.New(slog.DiscardHandler), engine: memory.New(memory.Options{}),
		fronts: []front{{"resp", listener, failingServer{broken}}}}
	m.start()
	if err := m.Run(nil); !errors.Is(err, broken) {
		t.Errorf("the service ended with %v, want %v", err, broken)
	}
}

func TestTakenAddressIsNamedAndNothingStaysBound(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()

	code, _, stderr := run(t, nil, "--listen", busy)
	if code != exitFailed || !strings.Contains(stderr, "--listen "+busy) {
		t.Errorf("RESP on a taken address: exit %d, %s", code, stderr)
	}
	// The HTTP address is the one that the RESP listener has just taken.
	free := freeAddr(t)
	code, _, stderr = run(t, nil, "--listen", free, "--http", free)
	if code != exitFailed || !strings.Contains(stderr, "--http "+free) {
		t.Errorf("HTTP on a taken address: exit %d, %s", code, stderr)
	}
	again, err := net.Listen("tcp", free)
	if err != nil {
		t.Fatalf("the RESP listener was left open: %v", err)
	}
	again.Close()
}

// freeAddr returns an address at which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + redistest.Port(t)
}

func TestStartIsLoggedOncePerListener(t *testing.T) {
	var log bytes.Buffer
	m := &Main{Config: testConfig(t), Version: "v9", Log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := m.Open(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"resp", "http"} {
		want := fmt.Sprintf("msg=listening protocol=%s addr=%s engine=embedded version=v9", protocol, m.Addr(protocol))
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("the log does not hold once %q:\n%s", want, &log)
		}
	}
}

func TestNoHTTPMeansNoHTTP(t *testing.T) {
	m := openMain(t, "--http=")
	if addr := m.Addr("http"); addr != "" {
		t.Errorf("HTTP is served on %s", addr)
	}
	dialRESP(t, m.Addr("resp"))
}
