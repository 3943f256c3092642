package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// The common clients, with the settings that they have by themselves, take a
// lock through its whole life, before each engine.

func TestCommonClientsNeedNoSettings(t *testing.T) {
	need(t, "redis-server")
	for _, engine := range []string{"embedded", "upstream"} {
		t.Run(engine, func(t *testing.T) {
			var args []string
			if engine == "upstream" {
				args = []string{"--upstream", "redis://" + startRedis(t).addr}
			}
			addr := openMain(t, args...).Addr("resp")
			for _, client := range []struct {
				name string
				life func(t *testing.T, addr, id string) []any
			}{
				{"go-redis RESP2", goRedis(2)},
				{"go-redis RESP3", goRedis(0)},
				{"ioredis RESP2", node("ioredis.mjs", "2")},
				{"ioredis RESP3", node("ioredis.mjs", "default")},
				{"node-redis RESP2", node("node-redis.mjs", "2")},
				{"node-redis RESP3", node("node-redis.mjs", "default")},
				{"redis-py", python},
				{"redis-cli RESP2", redisCLI()},
				{"redis-cli RESP3", redisCLI("-3")},
			} {
				t.Run(client.name, func(t *testing.T) {
					id := strings.ReplaceAll(client.name, " ", "-")
					checkLife(t, client.life(t, addr, id))
				})
			}
			t.Run("redis-cli hints", func(t *testing.T) { redisCLIHints(t, addr) })
			t.Run("redis-benchmark", func(t *testing.T) { redisBenchmark(t, addr) })
		})
	}
}

// checkLife checks the replies to: acquire, acquire again, heartbeat for a
// minute, check, release, check, release again.
func checkLife(t *testing.T, replies []any) {
	t.Helper()
	if len(replies) != 7 {
		t.Fatalf("%d replies, want 7: %v", len(replies), replies)
	}
	token, err := strconv.ParseInt(fmt.Sprint(replies[0]), 10, 64)
	if err != nil || token < 1 {
		t.Errorf("the first acquire got %v, want a token", replies[0])
	}
	// What redis-cli prints of a null is an empty line.
	if got := replies[1]; got != nil && got != "" {
		t.Errorf("the second acquire got %v, want null", got)
	}
	ttl, err := strconv.Atoi(fmt.Sprint(replies[2]))
	if err != nil || ttl < 50_000 || ttl > 60_000 {
		t.Errorf("the heartbeat got %v, want about 60000", replies[2])
	}
	for i, want := range []string{"1", "1", "0", "0"} {
		if got := fmt.Sprint(replies[3+i]); got != want {
			t.Errorf("reply %d of check, release, check, release is %s, want %s", i+1, got, want)
		}
	}
}

// goRedis uses go-redis; protocol 0 is its default.
func goRedis(protocol int) func(*testing.T, string, string) []any {
	return func(t *testing.T, addr, id string) []any {
		client := redis.NewClient(&redis.Options{Addr: addr, Protocol: protocol})
		defer client.Close()
		call := func(args ...any) any {
			reply, err := client.Do(context.Background(), args...).Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				t.Errorf("%v: %v", args, err)
			}
			return reply
		}
		token := call("LOCK.ACQUIRE", id)
		return []any{
			token,
			call("LOCK.ACQUIRE", id),
			call("LOCK.HEARTBEAT", id, token, "PX", 60_000),
			call("LOCK.CHECK", id, token),
			call("LOCK.RELEASE", id, token),
			call("LOCK.CHECK", id, token),
			call("LOCK.RELEASE", id),
		}
	}
}

// node runs one of the scripts in testdata/clients.
func node(script, protocol string) func(*testing.T, string, string) []any {
	return func(t *testing.T, addr, id string) []any {
		path := need(t, "node")
		dir := filepath.Join("testdata", "clients")
		if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
			t.Fatalf("the Node clients are missing (%v); `make test` installs them", err)
		}
		return scripted(t, path, filepath.Join(dir, script), addr, id, protocol)
	}
}

// python runs the script with the system's Python, for which redis-py is
// packaged.
func python(t *testing.T, addr, id string) []any {
	const path = "/usr/bin/python3"
	if err := exec.Command(path, "-c", "import redis").Run(); err != nil {
		t.Fatalf("redis-py is missing for %s (%v); `make test` installs it", path, err)
	}
	return scripted(t, path, filepath.Join("testdata", "clients", "redis-py.py"), addr, id)
}

// scripted runs a script and returns the replies that it prints.
func scripted(t *testing.T, program, script, addr string, args ...string) []any {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	out := output(t, program, append([]string{script, host, port}, args...)...)
	var replies []any
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&replies); err != nil {
		t.Fatalf("%s printed %q: %v", script, out, err)
	}
	return replies
}

// output runs a program that must end well, and returns what it prints.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", program, args, err, out, &stderr)
	}
	return string(out)
}

// redisCLI runs redis-cli once per command.
func redisCLI(options ...string) func(*testing.T, string, string) []any {
	return func(t *testing.T, addr, id string) []any {
		path := need(t, "redis-cli")
		_, port, _ := net.SplitHostPort(addr)
		call := func(args ...string) string {
			out := output(t, path, append(append([]string{"-p", port}, options...), args...)...)
			return strings.TrimSuffix(out, "\n")
		}
		token := call("LOCK.ACQUIRE", id)
		return []any{
			token,
			call("LOCK.ACQUIRE", id),
			call("LOCK.HEARTBEAT", id, token, "PX", "60000"),
			call("LOCK.CHECK", id, token),
			call("LOCK.RELEASE", id, token),
			call("LOCK.CHECK", id, token),
			call("LOCK.RELEASE", id),
		}
	}
}

// redisCLIHints types a command's name on a terminal and wants to see, without
// pressing enter, the arguments that redis-cli learns by COMMAND DOCS.
func redisCLIHints(t *testing.T, addr string) {
	script, cli := need(t, "script"), need(t, "redis-cli")
	_, port, _ := net.SplitHostPort(addr)
	home := t.TempDir() // for the history, and against the user's own preferences
	cmd := exec.Command(script, "-qec", "stty cols 200 rows 50; exec "+cli+" -p "+port, "/dev/null")
	cmd.Env = append(os.Environ(), "TERM=xterm", "HOME="+home, "REDISCLI_HISTFILE=/dev/null")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var screen screen
	cmd.Stdout, cmd.Stderr = &screen, &screen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	screen.await(t, port+"> ")
	for _, typed := range []struct{ keys, seen string }{
		{"LOCK.ACQUIRE ", "[OWNER owner]"},
		{"job\r", "(integer) 1"},
		{"LOCK.RELEASE ", "FORCE"},
		{"job\r", "(integer) 1"},
	} {
		screen.clear()
		_, _ = io.WriteString(stdin, typed.keys) // what fails shows on the screen
		screen.await(t, typed.seen)
	}
	_, _ = io.WriteString(stdin, "quit\r")
	select {
	case <-ended:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Errorf("redis-cli does not quit:\n%q", screen.String())
	}
	stdin.Close()
}

// screen is what a terminal shows.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Reset()
}

func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(s.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the screen does not show %q but\n%q", text, s.String())
		}
	}
}

// redisBenchmark wants results without a complaint: what goes wrong is told in
// the output, whatever the exit code.
func redisBenchmark(t *testing.T, addr string) {
	path := need(t, "redis-benchmark")
	_, port, _ := net.SplitHostPort(addr)
	for _, args := range [][]string{
		{"-t", "ping"},
		{"-3", "-t", "ping"},
		{"-P", "8", "-r", "1000000", "LOCK.ACQUIRE", "bench:__rand_int__"},
		{"-3", "-r", "1000000", "LOCK.ACQUIRE", "bench3:__rand_int__"},
		{"-r", "1000000", "LOCK.HEARTBEAT", "bench:__rand_int__"},
		{"-r", "1000000", "LOCK.RELEASE", "bench:__rand_int__"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		out, err := exec.CommandContext(ctx, path, append([]string{"-p", port, "-n", "400", "-c", "4"}, args...)...).CombinedOutput()
		cancel()
		text := string(out)
		if err != nil || !strings.Contains(text, "throughput summary") || strings.Contains(text, "rror") || strings.Contains(text, "WARNING") {
			t.Errorf("redis-benchmark %q: %v\n%s", args, err, text)
		}
	}
}
