package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// notifySocket listens as a service manager does, on a socket of that name.
func notifySocket(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	return manager
}

// nextState returns the next datagram that the service manager gets.
func nextState(t *testing.T, manager *net.UnixConn) string {
	t.Helper()
	if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	state := make([]byte, 512)
	n, err := manager.Read(state)
	if err != nil {
		t.Fatalf("the service manager heard nothing: %v", err)
	}
	return string(state[:n])
}

func TestServiceManagerHearsThatCandadoIsReadyAndThatItStops(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager := notifySocket(t, socket)
	t.Setenv("NOTIFY_SOCKET", socket)
	p := startProcess(t)
	if got := nextState(t, manager); got != "READY=1" {
		t.Errorf("after the start: %q", got)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := nextState(t, manager); got != "STOPPING=1" {
		t.Errorf("after SIGTERM: %q", got)
	}
	if code := p.exitCode(t); code != exitOK {
		t.Errorf("exit %d:\n%s", code, p.logged())
	}
}

func TestOnlyRunTellsOfItself(t *testing.T) {
	var told []string
	m := &Main{Config: testConfig(t), Notify: func(state string) { told = append(told, state) }}
	if err := m.Open(); err != nil {
		t.Fatal(err)
	}
	if len(told) > 0 {
		t.Errorf("Open alone told %q", told)
	}
	stop := make(chan os.Signal, 1)
	stop <- syscall.SIGTERM
	if err := m.Run(stop); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(told, " "); got != "READY=1 STOPPING=1" {
		t.Errorf("Run told %q", got)
	}
}

func TestNotifierWithoutASocketDoesNothing(t *testing.T) {
	var log bytes.Buffer
	tell := notifier(func(string) (string, bool) { return "", false }, slog.New(slog.NewTextHandler(&log, nil)))
	tell(notifyReady)
	if log.Len() > 0 {
		t.Errorf("it logged %s", log.String())
	}
}

func TestNotifierLogsWhatItCannotSend(t *testing.T) {
	for _, socket := range []string{filepath.Join(t.TempDir(), "nobody"), "relative", "vsock:2:1"} {
		var log bytes.Buffer
		tell := notifier(func(string) (string, bool) { return socket, true }, slog.New(slog.NewTextHandler(&log, nil)))
		tell(notifyReady)
		if !strings.Contains(log.String(), "READY=1") {
			t.Errorf("socket %q: the log says %q", socket, log.String())
		}
	}
}
