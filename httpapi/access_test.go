package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/access"
	"github.com/goodjobtech/candado/locks/access/accesstest"
	"github.com/goodjobtech/candado/locks/memory"
)

func basic(text string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

const sesame = "default sesame all *"

func guarded(t *testing.T, o Options) *client {
	t.Helper()
	if o.Engine == nil {
		o.Engine = memory.New(memory.Options{})
	}
	p := newPipes()
	s := New(o)
	done := make(chan error, 1)
	go func() { done <- s.Serve(p) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-done); err != nil {
			t.Error(err)
		}
	})
	return p.dial(t)
}

func TestRequestsNeedCredentials(t *testing.T) {
	const wrong = `{"error":"the name or the password is wrong","state":0,"success":false}`
	l := accesstest.List(t, sesame, "bob buil:der acquire,heartbeat,read a*")
	for _, test := range []struct {
		headers []string
		status  int
		body    string
	}{
		{nil, 401, `{"error":"authentication is required","state":0,"success":false}`},
		{[]string{basic("default:sesame")}, 200, bodyHeld},
		{[]string{basic(":sesame")}, 200, bodyHeld},
		{[]string{basic("bob:buil:der")}, 200, bodyHeld},
		{[]string{"authorization: bAsIc  " + strings.Fields(basic("bob:buil:der"))[2]}, 200, bodyHeld},
		{[]string{"Authorization: Bearer sesame"}, 200, bodyHeld},
		{[]string{"Authorization: bearer   sesame  "}, 200, bodyHeld},
		{[]string{"Authorization: Bearer bob:buil:der"}, 200, bodyHeld},
		{[]string{"Authorization: Bearer :sesame"}, 200, bodyHeld},
		{[]string{"Authorization: Bearer default:sesame"}, 200, bodyHeld},
		{[]string{basic("default:Sesame")}, 401, wrong},
		{[]string{basic("bob:sesame")}, 401, wrong},
		{[]string{basic("bob:")}, 401, wrong},
		{[]string{basic("nobody:sesame")}, 401, wrong},
		{[]string{basic("default:sesame\x00")}, 401, wrong},
		{[]string{"Authorization: Bearer buil:der"}, 401, wrong},
		{[]string{"Authorization: Bearer sesame sesame"}, 401, wrong},
		{[]string{"Authorization:"}, 401, ""},
		{[]string{"Authorization: sesame"}, 401, `{"error":"the Authorization header is neither Basic nor Bearer","state":0,"success":false}`},
		{[]string{"Authorization: Digest username=default"}, 401, ""},
		{[]string{"Authorization: Basicx " + strings.Fields(basic(":sesame"))[2]}, 401, ""},
		{[]string{"Authorization: Bearer"}, 400, `{"error":"the Authorization header has no password","state":0,"success":false}`},
		{[]string{"Authorization: Basic"}, 400, `{"error":"the Authorization header has no name and password in base64","state":0,"success":false}`},
		{[]string{"Authorization: Basic sesame"}, 400, ""},
		{[]string{"Authorization: Basic ===="}, 400, ""},
		{[]string{basic("sesame")}, 400, ""},
		{[]string{basic("default:sesame") + ", " + strings.TrimPrefix(basic("default:sesame"), "Authorization: ")}, 400, ""},
		{[]string{basic("default:sesame"), basic("default:sesame")}, 400, `{"error":"there are several Authorization headers","state":0,"success":false}`},
		{[]string{basic("default:sesame"), "authorization: Bearer x"}, 400, ""},
	} {
		got := guarded(t, Options{Access: access.NewGuard(l, nil)}).ask("GET", "/acquire/a", test.headers...)
		if got.status != test.status || test.body != "" && got.body != test.body {
			t.Errorf("%q: %d %s, want %d %s", test.headers, got.status, got.body, test.status, test.body)
		}
		if got.status != 200 {
			mustBeDocumented(t, got.body)
		}
		if challenges := got.header.Values("WWW-Authenticate"); (len(challenges) == 2) != (test.status == 401) {
			t.Errorf("%q: WWW-Authenticate %q", test.headers, challenges)
		}
	}
}

func TestRequestsNeedRights(t *testing.T) {
	engine := memory.New(memory.Options{})
	c := guarded(t, Options{Engine: engine, Metrics: metrics.New(metrics.Build{}), Access: accesstest.Guard(t, sesame, "bob b acquire,heartbeat,read a*", "ruth r release,force *")})
	as := func(user string) string { return basic(user + ":" + user[:1]) }
	for _, id := range []locks.ID{"a1", "b1"} {
		if _, err := engine.Acquire(t.Context(), locks.AcquireRequest{ID: id, Owner: "x", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	const notThis = `{"error":"this user has no permission for this lock","state":0,"success":false}`
	lacks := func(operation string) string {
		return `{"error":"this user has no permission for the operation ` + operation + `","state":0,"success":false}`
	}
	for _, test := range []struct {
		user, target string
		status       int
		body         string
	}{
		{"bob", "/acquire/b2", 403, notThis},
		{"bob", "/acquire/b2?wait=1m", 403, notThis},
		{"bob", "/acquire/a2", 200, bodyHeld},
		{"bob", "/acquire/%61%33", 200, bodyHeld},
		{"bob", "/release/a2", 403, lacks("release")},
		{"bob", "/release/a2?force=1", 403, lacks("force")},
		{"bob", "/heartbeat/b1", 403, notThis},
		{"bob", "/locks/b1", 403, notThis},
		{"bob", "/locks?count=1000", 200, ""},
		{"ruth", "/locks", 403, lacks("read")},
		{"ruth", "/metrics", 403, lacks("read")},
		{"ruth", "/acquire/c", 403, lacks("acquire")},
		{"ruth", "/release/a2", 200, bodyFree},
		{"ruth", "/release/b1?force=1", 200, `{"error":"","state":0,"success":true}`},
	} {
		got := c.ask("GET", test.target, as(test.user))
		if got.status != test.status || test.body != "" && got.body != test.body {
			t.Errorf("%s %s: %d %s, want %d %s", test.user, test.target, got.status, got.body, test.status, test.body)
		}
		if test.target == "/locks?count=1000" && (!strings.Contains(got.body, `"a1"`) || strings.Contains(got.body, `"b1"`)) {
			t.Errorf("bob sees %s", got.body)
		}
	}
	if got := c.ask("GET", "/metrics", as("bob")); got.status != 200 {
		t.Errorf("/metrics: %d", got.status)
	}
}

func TestPagesForEverybody(t *testing.T) {
	engine := agreeable()
	engine.ready = &locks.UnsafeError{Reason: "its clock is wrong"}
	for _, test := range []struct {
		public bool
		target string
		header string
		status int
		part   string
	}{
		{false, "/healthz", "", 200, bodyFree},
		{false, "/healthz", "Authorization: nonsense", 200, bodyFree},
		{false, "/readyz", "", 503, `"the engine does not answer"`},
		{false, "/readyz", "Authorization: Bearer sesame", 503, "its clock is wrong"},
		{false, "/readyz", "Authorization: Bearer wrong", 401, ""},
		{false, "/metrics", "", 401, ""},
		{false, "/metrics", "Authorization: Bearer sesame", 200, "candado_auth_failures_total{protocol=\"http\"} 0"},
		{true, "/metrics", "", 200, "go_goroutines"},
		{true, "/metrics", "Authorization: Bearer wrong", 200, "go_goroutines"},
		{true, "/locks", "", 401, ""},
	} {
		m := metrics.New(metrics.Build{})
		m.Access("http")
		c := guarded(t, Options{Engine: engine, Metrics: m, PublicMetrics: test.public, Access: accesstest.Guard(t, sesame)})
		headers := []string{"X-Nothing: x"}
		if test.header != "" {
			headers = append(headers, test.header)
		}
		if got := c.ask("GET", test.target, headers...); got.status != test.status || !strings.Contains(got.body, test.part) {
			t.Errorf("%s %q: %d %.200s, want %d %s", test.target, test.header, got.status, got.body, test.status, test.part)
		}
	}
}

// TestGuessingIsRefused: and who is in on a connection of his own is not shut out by it.
func TestGuessingIsRefused(t *testing.T) {
	m := metrics.New(metrics.Build{})
	p := newPipes()
	virtually(t, Options{Engine: agreeable(), Metrics: m, Access: accesstest.Guard(t, sesame)}, p, func(t *testing.T, _ *Server) {
		in := p.dial(t)
		if got := in.ask("GET", "/acquire/a", basic("default:sesame")); got.status != 200 {
			t.Fatalf("got %d", got.status)
		}
		for i := range 10 {
			if got := p.dial(t).ask("GET", "/acquire/a", basic(fmt.Sprintf("default:%d", i))); got.status != 401 || !got.last {
				t.Errorf("guess %d: %d, last %v", i, got.status, got.last)
			}
		}
		began := time.Now()
		if got := in.ask("GET", "/acquire/a", basic("default:sesame")); got.status != 200 || time.Since(began) != 0 {
			t.Errorf("who is in: %d after %v", got.status, time.Since(began))
		}
		statuses := make(chan int)
		for i := range 20 {
			c := p.dial(t)
			go func() { statuses <- c.ask("GET", "/acquire/a", basic(fmt.Sprintf("default:x%d", i))).status }()
		}
		count := map[int]int{}
		for range 20 {
			count[<-statuses]++
		}
		if count[401]+count[429] != 20 || count[429] < 14 {
			t.Errorf("replies: %v", count)
		}
		if got := in.ask("GET", "/acquire/a", basic("default:guess")); got.status != 401 && got.status != 429 || !got.last {
			t.Errorf("a guess of who is in: %d, last %v", got.status, got.last)
		}
	})
	var text bytes.Buffer
	if err := m.WriteText(&text); err != nil || !strings.Contains(text.String(), `candado_auth_throttled_total{protocol="http"}`) {
		t.Errorf("%v\n%s", err, text.String())
	}
}

func TestLongPollOfARemovedUserEnds(t *testing.T) {
	engine := memory.New(memory.Options{})
	guard := accesstest.Guard(t, sesame, "bob b all *")
	c := guarded(t, Options{Engine: engine, Access: guard})
	if _, err := engine.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	c.send("GET /acquire/a?wait=10m HTTP/1.1\r\nHost: candado\r\n" + basic("bob:b") + "\r\n\r\n")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if info, err := engine.Info(t.Context(), "a"); err == nil && info.Waiters == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not wait")
		}
	}
	guard.Replace(accesstest.List(t, sesame))
	if got := c.receive("GET"); got.status != 401 || got.body != `{"error":"this user was removed while the request waited","state":0,"success":false}` {
		t.Errorf("%d %s", got.status, got.body)
	}
	if info, err := engine.Info(t.Context(), "a"); err != nil || info.Waiters != 0 {
		t.Errorf("%d wait, %v", info.Waiters, err)
	}
	if got := c.ask("GET", "/locks/a", basic("bob:b")); got.status != 401 {
		t.Errorf("afterwards: %d", got.status)
	}
}

// FuzzAuthorization: no header but one with the password lets anybody in.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"Basic ZGVmYXVsdDpzZXNhbWU=", "Bearer sesame", "Basic", "bearer :sesame", "Basic OnNlc2FtZQ==", "Digest x", "Basic \x00", " Bearer sesame"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		name, password, err := credentials(header)
		if err != nil {
			if e, ok := errors.AsType[*requestError](err); !ok || e.status != 400 && e.status != 401 {
				t.Errorf("%q: %v", header, err)
			}
			return
		}
		scheme, rest, _ := strings.Cut(header, " ")
		rest = strings.Trim(rest, " ")
		if strings.EqualFold(scheme, "basic") {
			decoded, err := base64.StdEncoding.DecodeString(rest)
			if err != nil {
				t.Errorf("%q is taken", header)
			}
			rest = string(decoded)
		}
		if rest != password && rest != name+":"+password && rest != ":"+password || name == "" {
			t.Errorf("%q is %q and %q", header, name, password)
		}
	})
}

// TestNoLogShowsCredentials: also not that for debugging, of requests that can't be read, nor
// what is said of failed logins.
func TestNoLogShowsCredentials(t *testing.T) {
	for _, head := range []string{
		"Authorization: Bearer \x00hunter2", "Authorization: Basic hunter2\x7f", "Authorization Bearer hunter2: x", "Authorization : Bearer hunter2",
		"Authorization: Bearer hunter2\r\nContent-Length: hunter2", "Authorization: Bearer hunter2\r\nTransfer-Encoding: hunter2",
		"Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer hunter2", "Authorization: Bearer hunter2", "Authorization: Bearer bob:hunter2",
	} {
		var log bytes.Buffer
		p := newPipes()
		o := Options{Engine: agreeable(), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		o.Access = access.NewGuard(accesstest.List(t, sesame), o.Log)
		virtually(t, o, p, func(t *testing.T, _ *Server) {
			c := p.dial(t)
			c.send("POST /acquire/a HTTP/1.1\r\nHost: candado\r\n" + head + "\r\n\r\n")
			if a := c.receive("POST"); a.status != 400 && a.status != 401 || strings.Contains(fmt.Sprint(a), "hunter2") {
				t.Errorf("%q: %v", head, a)
			}
			time.Sleep(time.Minute) // all is logged
		})
		if strings.Contains(log.String(), "hunter2") {
			t.Errorf("%q: the log shows %s", head, log.String())
		}
	}
}
