package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// binary is the candado that TestMain builds.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "candado")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "candado")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=v0-test", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building candado: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// TestBinaryStaysSmall finds the library that looks up methods by name: then
// the linker keeps every exported method of all the others.
func TestBinaryStaysSmall(t *testing.T) {
	const most = 16 << 20
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("the binary has %d bytes, more than %d", info.Size(), most)
	}
}

// process is a candado that runs on ports of its own.
type process struct {
	cmd        *exec.Cmd
	resp, http string
	exited     chan error

	mu  sync.Mutex
	log bytes.Buffer
}

// startProcess starts the binary and waits until it listens. What is left of it
// is killed at the end of the test.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{exited: make(chan error, 1)}
	p.cmd = exec.Command(binary, append([]string{"--listen=127.0.0.1:0", "--http=127.0.0.1:0", "--log-format=json"}, args...)...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.log, s.Text())
			p.mu.Unlock()
			lines <- s.Text()
		}
		p.exited <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended already
		for range lines {
		}
	})
	p.awaitAddresses(t, lines)
	go func() {
		for range lines {
		}
	}()
	return p
}

func (p *process) awaitAddresses(t *testing.T, lines <-chan string) {
	t.Helper()
	for deadline := time.After(patience); p.resp == "" || p.http == ""; {
		select {
		case line, more := <-lines:
			if !more {
				t.Fatalf("candado ended before it listened:\n%s", p.logged())
			}
			var entry struct{ Protocol, Addr, Engine, Version string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("the log line %q is no JSON: %v", line, err)
			}
			switch entry.Protocol {
			case "resp":
				p.resp = entry.Addr
			case "http":
				p.http = entry.Addr
			}
		case <-deadline:
			t.Fatalf("candado does not listen:\n%s", p.logged())
		}
	}
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// exitCode waits for the end of the process.
func (p *process) exitCode(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("candado has not ended:\n%s", p.logged())
		return -1
	}
}

func TestSignalEndsTheProcessWithExit0(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			p := startProcess(t)
			_, r := dialRESP(t, p.resp)
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if code := p.exitCode(t); code != 0 {
				t.Errorf("exit %d:\n%s", code, p.logged())
			}
			if line, err := r.ReadString('\n'); err == nil {
				t.Errorf("the idle connection got %q, want its end", line)
			}
			for _, part := range []string{`"msg":"stopping"`, `"msg":"stopped"`, `"version":"v0-test"`} {
				if !strings.Contains(p.logged(), part) {
					t.Errorf("the log does not hold %s:\n%s", part, p.logged())
				}
			}
		})
	}
}

func TestRunningCommandGetsItsReplyAfterSIGTERM(t *testing.T) {
	store := startRedis(t)
	p := startProcess(t, "--upstream", "redis://"+store.addr+"/0", "--upstream-timeout=20s", "--drain-timeout=20s")
	c, r := dialRESP(t, p.resp)
	store.pauseWrites(t)
	fmt.Fprint(c, "LOCK.ACQUIRE job\r\n")
	p.awaitRunning(t, "lock.acquire")
	p.terminate(t)
	store.resume(t)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, ":") {
		t.Errorf("the running LOCK.ACQUIRE got %q, %v; want its token", line, err)
	}
	if code := p.exitCode(t); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.logged())
	}
}

func TestSecondSignalEndsTheProcessAtOnceWithExit1(t *testing.T) {
	store := startRedis(t)
	p := startProcess(t, "--upstream", "redis://"+store.addr+"/0", "--upstream-timeout=10m", "--drain-timeout=10m")
	c, _ := dialRESP(t, p.resp)
	store.pauseWrites(t)
	fmt.Fprint(c, "LOCK.ACQUIRE job\r\n")
	p.awaitRunning(t, "lock.acquire")
	p.terminate(t)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.exitCode(t); code != exitFailed {
		t.Errorf("exit %d:\n%s", code, p.logged())
	}
}

// terminate sends SIGTERM and returns when candado has taken notice.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "candado notices SIGTERM", func() bool { return strings.Contains(p.logged(), `"msg":"stopping"`) })
}

func TestHealthcheckOfARunningProcess(t *testing.T) {
	p := startProcess(t)
	if out, err := exec.Command(binary, "healthcheck", "--http", p.http).CombinedOutput(); err != nil {
		t.Errorf("healthcheck: %v\n%s", err, out)
	}
}

func TestUpstreamThatIsDownIsNotReadyButServes(t *testing.T) {
	p := startProcess(t, "--upstream", "redis://u:hunter2@"+freeAddr(t)+"/0", "--upstream-timeout=200ms", "--log-level=debug")
	out, err := exec.Command(binary, "healthcheck", "--http", p.http).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "503") {
		t.Errorf("healthcheck: %v\n%s", err, out)
	}
	c, r := dialRESP(t, p.resp)
	fmt.Fprint(c, "LOCK.ACQUIRE job\r\n")
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "-UNAVAILABLE ") {
		t.Errorf("acquire answered %q, %v", line, err)
	}
	if strings.Contains(p.logged(), "hunter2") {
		t.Errorf("the log shows the upstream's password:\n%s", p.logged())
	}
}

// eventually waits until what comes true.
func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen that %s", what)
		}
	}
}

// redisServer is a Redis of this test alone.
type redisServer struct {
	addr   string
	client *redis.Client
}

// startRedis starts a redis-server that keeps nothing, until the end of the
// test. Missing, it fails the test: `make test` installs it.
func startRedis(t *testing.T) redisServer {
	t.Helper()
	need(t, "redis-server")
	s := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	return redisServer{addr: s.Addr, client: client}
}

// awaitRunning returns when candado has begun a command.
func (p *process) awaitRunning(t *testing.T, command string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: p.resp, MaxRetries: -1})
	defer client.Close()
	eventually(t, command+" runs", func() bool {
		list, err := client.ClientList(t.Context()).Result()
		if err != nil {
			t.Fatalf("CLIENT LIST: %v", err)
		}
		return strings.Contains(list, " cmd="+command+" ")
	})
}

// pauseWrites makes Redis keep every write, scripts among them, waiting.
func (s redisServer) pauseWrites(t *testing.T) {
	t.Helper()
	s.do(t, "CLIENT", "PAUSE", 600_000, "WRITE")
}

func (s redisServer) resume(t *testing.T) {
	t.Helper()
	s.do(t, "CLIENT", "UNPAUSE")
}

func (s redisServer) do(t *testing.T, args ...any) {
	t.Helper()
	if err := s.client.Do(context.Background(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// need returns the path of a program that the test can't do without.
func need(t *testing.T, program string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("not in -short: it starts other programs")
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is missing; `make test` installs it", program)
	}
	return path
}
