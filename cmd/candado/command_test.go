package main

import (
	"bytes"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// run executes candado's command line in this process.
func run(t *testing.T, vars map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	p := program{lookupEnv: environment(vars), stdin: strings.NewReader(""), stdout: &out, stderr: &err, signals: make(chan os.Signal, 2)}
	code = p.run(args)
	return code, out.String(), err.String()
}

func TestHelpIsAsGolden(t *testing.T) {
	for name, args := range map[string][]string{
		"help.golden":             {"help"},
		"help-serve.golden":       {"help", "serve"},
		"help-healthcheck.golden": {"healthcheck", "--help"},
		"help-passwd.golden":      {"help", "passwd"},
	} {
		code, got, stderr := run(t, nil, args...)
		if code != exitOK || stderr != "" {
			t.Errorf("%q: exit %d, stderr %q", args, code, stderr)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%q prints\n%s\nbut %s (rewritten by -update) has\n%s", args, got, file, want)
		}
	}
}

func TestHelpIsTheSameHoweverAsked(t *testing.T) {
	_, want, _ := run(t, nil, "help")
	for _, args := range [][]string{{"--help"}, {"-h"}} {
		if code, got, _ := run(t, nil, args...); code != exitOK || got != want {
			t.Errorf("%q: exit %d, and prints\n%s", args, code, got)
		}
	}
}

func TestVersionIsPrinted(t *testing.T) {
	code, stdout, _ := run(t, nil, "version")
	if code != exitOK || !strings.HasPrefix(stdout, "candado ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exit %d, stdout %q", code, stdout)
	}
	for recorded, want := range map[string]string{"": "devel", "(devel)": "devel", "v1.2.3": "v1.2.3"} {
		if got := recordedVersion(&debug.BuildInfo{Main: debug.Module{Version: recorded}}); got != want {
			t.Errorf("recorded %q is version %q, want %q", recorded, got, want)
		}
	}
}

func TestHealthcheckFollowsReadyz(t *testing.T) {
	status := http.StatusOK
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/readyz" {
			t.Errorf("asked %s %s", r.Method, r.URL.Path)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("because"))
	}))
	defer web.Close()
	addr := web.Listener.Addr().String()

	if code, _, stderr := run(t, nil, "healthcheck", "--http", addr); code != exitOK || stderr != "" {
		t.Errorf("ready: exit %d, %s", code, stderr)
	}
	everywhere := "0.0.0.0:" + addr[strings.LastIndex(addr, ":")+1:]
	if code, _, stderr := run(t, map[string]string{"CANDADO_HTTP": everywhere}, "healthcheck"); code != exitOK {
		t.Errorf("ready, listening on %s: exit %d, %s", everywhere, code, stderr)
	}
	for _, status = range []int{http.StatusServiceUnavailable, http.StatusFound, http.StatusNotFound} {
		code, _, stderr := run(t, nil, "healthcheck", "--http", addr)
		if code != exitFailed || !strings.Contains(stderr, "because") || !strings.Contains(stderr, addr) {
			t.Errorf("answer %d: exit %d, %s", status, code, stderr)
		}
	}
	web.Close()
	if code, _, stderr := run(t, nil, "healthcheck", "--http", addr); code != exitFailed || !strings.Contains(stderr, addr) {
		t.Errorf("nobody there: exit %d, %s", code, stderr)
	}
	if code, _, stderr := run(t, nil, "healthcheck", "--http="); code != exitFailed || !strings.Contains(stderr, "--http") {
		t.Errorf("no HTTP: exit %d, %s", code, stderr)
	}
}

func TestHealthcheckAsksWildcardsOnTheLoopback(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0:80": "127.0.0.1:80", ":80": "127.0.0.1:80", "[::]:80": "[::1]:80",
		"10.0.0.1:80": "10.0.0.1:80", "localhost:80": "localhost:80", "[::1]:80": "[::1]:80",
	} {
		if got := dialable(addr); got != want {
			t.Errorf("%s is asked at %s, want %s", addr, got, want)
		}
	}
}
