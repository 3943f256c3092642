package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

func TestStrictCandadoDoesNotStartOnAnUnsafeUpstream(t *testing.T) {
	store := startRedis(t) // which saves nothing
	args := []string{"--listen=127.0.0.1:0", "--http=", "--upstream=redis://:hunter2@" + store.addr}
	store.do(t, "CONFIG", "SET", "requirepass", "hunter2")
	for _, test := range []struct {
		vars map[string]string
		args []string
	}{
		{nil, []string{"--strict-upstream"}},
		{map[string]string{"CANDADO_STRICT_UPSTREAM": "1"}, nil},
	} {
		code, _, stderr := run(t, test.vars, append(args, test.args...)...)
		for _, part := range []string{"candado: --strict-upstream: the upstream is unsafe: it saves nothing", "(set appendonly yes)\n"} {
			if code != exitFailed || !strings.Contains(stderr, part) || strings.Contains(stderr, "hunter2") {
				t.Errorf("exit %d, want %d and %q:\n%s", code, exitFailed, part, stderr)
			}
		}
	}
}

func TestUnsafeUpstreamIsMeasuredAndLogged(t *testing.T) {
	store := startRedis(t)
	p := startProcess(t, "--upstream", "redis://"+store.addr)
	eventually(t, "it is measured", func() bool {
		_, body := get(t, "http://"+p.http+"/metrics")
		return strings.Contains(body, `candado_upstream_unsafe{reason="persistence"} 1`) &&
			strings.Contains(body, `candado_upstream_unsafe{reason="eviction"} 0`)
	})
	if status, body := get(t, "http://"+p.http+"/readyz"); status != 200 || body != `{"error":"","state":0,"success":true}` {
		t.Errorf("/readyz: %d %s", status, body)
	}
	p.terminate(t)
	p.exitCode(t) // then all that it logged is read
	if n := strings.Count(p.logged(), `"reason":"persistence"`); n != 1 {
		t.Errorf("it is logged %d times:\n%s", n, p.logged())
	}
}

func TestStrictCandadoRefusesAnUpstreamThatBecameUnsafe(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes")
	p := startProcess(t, "--upstream", s.URL(), "--strict-upstream")
	c, r := dialRESP(t, p.resp)
	ask := func(want string) {
		t.Helper()
		fmt.Fprint(c, "LOCK.ACQUIRE job OWNER me\r\n")
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("acquire answered %q, %v; want %q", line, err, want)
		}
	}
	ask(":")
	s.Do("CONFIG SET maxmemory-policy allkeys-lru")
	s.Do("CLIENT KILL TYPE normal") // for it to be connected to again
	ask("-UNAVAILABLE ")
	status, body := get(t, "http://"+p.http+"/readyz")
	const why = `{"error":"the upstream is unsafe: maxmemory-policy is allkeys-lru (set maxmemory-policy noeviction)","state":0,"success":false}`
	if status != 503 || body != why {
		t.Errorf("/readyz: %d %s, want 503 %s", status, body, why)
	}
	s.Do("CONFIG SET maxmemory-policy noeviction")
	eventually(t, "candado is ready again", func() bool {
		status, _ := get(t, "http://"+p.http+"/readyz")
		return status == 200
	})
	ask(":")
}

// TestLostSessionLeasesAreMeasured: one that is ended by force through another candado,
// as nobody tells the first one of that; and with it what else its connection had.
func TestLostSessionLeasesAreMeasured(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes")
	p, other := startProcess(t, "--upstream", s.URL()), startProcess(t, "--upstream", s.URL())
	measures := func(lines ...string) {
		t.Helper()
		eventually(t, strings.Join(lines, ", "), func() bool {
			_, body := get(t, "http://"+p.http+"/metrics")
			for _, line := range lines {
				if !strings.Contains(body, "\n"+line+"\n") {
					return false
				}
			}
			return true
		})
	}
	c, r := dialRESP(t, p.resp)
	for _, id := range []string{"job", "a", "b"} {
		fmt.Fprintf(c, "LOCK.ACQUIRE %s PX 1000 SESSION\r\n", id)
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, ":") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	measures("candado_session_leases 3", "candado_session_leases_lost_total 0", "candado_upstream_up 1")
	if status, body := get(t, "http://"+other.http+"/release/job?force=1"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	measures("candado_session_leases 0", "candado_session_leases_lost_total 3")
	s.Kill()
	if status, body := get(t, "http://"+p.http+"/readyz"); status != 503 {
		t.Errorf("/readyz: %d %s", status, body)
	}
	measures("candado_upstream_up 0")
}
