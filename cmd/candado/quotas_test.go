package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestQuotasAreMeasured(t *testing.T) {
	m := openMain(t, "--max-connections=7", "--max-waiting=1", "--idle-timeout=90s", "--max-header-bytes=7000")
	holder, replies := dialRESP(t, m.Addr("resp"))
	fmt.Fprint(holder, "LOCK.ACQUIRE job\r\n")
	_, _ = replies.ReadString('\n')
	waiter, _ := dialRESP(t, m.Addr("resp"))
	fmt.Fprint(waiter, "LOCK.ACQUIRE job BLOCK 0\r\n")
	web := "http://" + m.Addr("http")
	eventually(t, "it waits", func() bool {
		_, text := get(t, web+"/metrics")
		return strings.Contains(text, "\ncandado_quota_used{quota=\"waiting\"} 1\n")
	})
	if status, body := get(t, web+"/acquire/job?wait=10s"); status != 429 || body != `{"error":"too many requests wait (--max-waiting)","state":1,"success":false}` {
		t.Errorf("got %d %s", status, body)
	}
	fmt.Fprint(holder, "LOCK.ACQUIRE job BLOCK 10000\r\n")
	if line, err := replies.ReadString('\n'); line != "-BUSY too many requests wait (--max-waiting)\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
	_, text := get(t, web+"/metrics")
	for _, line := range []string{
		`candado_quota_limit{quota="resp_connections"} 7`,
		`candado_quota_limit{quota="http_connections"} 7`,
		`candado_quota_limit{quota="lock_waiters"} 10000`,
		`candado_quota_limit{quota="waiting"} 1`,
		`candado_quota_limit{quota="http_waiting"} 5000`,
		`candado_quota_limit{quota="session_leases"} 100000`,
		`candado_quota_limit{quota="command_bytes"} 65536`,
		`candado_quota_limit{quota="header_bytes"} 7000`,
		`candado_quota_limit{quota="command_arguments"} 1024`,
		`candado_quota_limit{quota="body_bytes"} 4096`,
		`candado_quota_limit{quota="ahead_bytes"} 65536`,
		`candado_quota_limit{quota="request_seconds"} 10`,
		`candado_quota_limit{quota="idle_seconds"} 90`,
		`candado_quota_limit{quota="http_idle_seconds"} 30`,
		`candado_quota_limit{quota="write_seconds"} 5`,
		`candado_quota_used{quota="resp_connections"} 2`,
		`candado_quota_used{quota="http_waiting"} 0`,
		`candado_quota_refused_total{quota="waiting"} 2`,
		`candado_quota_refused_total{quota="http_waiting"} 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	fmt.Fprint(waiter, "QUIT\r\n")
	fmt.Fprint(holder, "LOCK.RELEASE job\r\n")
	if line, err := replies.ReadString('\n'); line != ":1\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestFilesAreLeftForHTTP(t *testing.T) {
	for _, test := range []struct {
		files uint64
		http  string
		want  int
	}{
		{0, "127.0.0.1:0", 10_000},
		{1 << 63, "127.0.0.1:0", 10_000},
		{20_000, "127.0.0.1:0", 10_000},
		{1024, "127.0.0.1:0", 810},
		{1024, "", 10_000},
		{10, "127.0.0.1:0", 1},
	} {
		c := testConfig(t)
		c.HTTP = test.http
		if got := c.respConnections(test.files); got != test.want {
			t.Errorf("with %d files and HTTP at %q: %d connections, want %d", test.files, test.http, got, test.want)
		}
	}
}

// listensAt is a listener of which only the address is asked.
type listensAt struct {
	net.Listener
	addr net.TCPAddr
}

func (l listensAt) Addr() net.Addr { return &l.addr }

// saidOfFiles returns what is logged if the process may open so many files and has a
// front end at each of the addresses.
func saidOfFiles(t *testing.T, limit uint64, addrs ...net.IP) string {
	t.Helper()
	var log bytes.Buffer
	m := &Main{Config: testConfig(t), Log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, ip := range addrs {
		m.fronts = append(m.fronts, front{listener: listensAt{addr: net.TCPAddr{IP: ip}}})
	}
	m.warnOfFewFiles(limit)
	return log.String()
}

func TestTooFewFilesAreSpokenOf(t *testing.T) {
	for limit, warned := range map[uint64]bool{0: false, 1024: true, 10_000 + ownFiles - 1: true, 10_000 + ownFiles: false, 1 << 20: false} {
		log := saidOfFiles(t, limit, net.IPv4zero)
		if got := strings.Contains(log, "--max-connections"); got != warned {
			t.Errorf("at %d files, the log is %q", limit, log)
		}
	}
}

func TestTooFewFilesAreAWarningBeyondLoopback(t *testing.T) {
	inside, outside := net.IPv4(127, 0, 0, 1), net.IPv4zero
	for _, test := range []struct {
		resp, http net.IP
		level      string
	}{
		{inside, inside, "level=INFO"},
		{inside, outside, "level=WARN"},
		{outside, inside, "level=WARN"},
	} {
		if log := saidOfFiles(t, 1024, test.resp, test.http); !strings.Contains(log, test.level) {
			t.Errorf("RESP at %v and HTTP at %v: the log is %q, want %s", test.resp, test.http, log, test.level)
		}
	}
}
