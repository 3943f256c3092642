package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// safe are the options of a server that is safe.
var safe = []string{"--appendonly", "yes", "--maxmemory-policy", "noeviction"}

// logged is a log that many may write.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// expect checks which lines of the log speak of safety, each by some words of it, and
// in order.
func (l *logged) expect(t *testing.T, want ...string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, "upstream unavailable") && !strings.Contains(line, "answers again") {
			lines = append(lines, line)
		}
	}
	ok := len(lines) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.Contains(lines[i], want[i])
	}
	if !ok {
		t.Errorf("the log is\n%s\nwant lines with %q", strings.Join(lines, ""), want)
	}
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// watched returns an engine that looks at its server by itself.
func watched(t *testing.T, o upstream.Options) *upstream.Engine {
	t.Helper()
	e, err := upstream.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// looked returns an engine that has looked at its server once, and does not by
// itself.
func looked(t *testing.T, o upstream.Options) *upstream.Engine {
	t.Helper()
	e := openWith(t, o)
	look(t, e, true)
	return e
}

func look(t *testing.T, e *upstream.Engine, fresh bool) {
	t.Helper()
	if err := e.Look(fresh); err != nil {
		t.Fatal(err)
	}
}

// states checks how the server stands, in the order of the reasons: - safe, ! unsafe,
// ? unknown.
func states(t *testing.T, e *upstream.Engine, want string) {
	t.Helper()
	var got strings.Builder
	for _, r := range upstream.Reasons() {
		got.WriteByte("?-!"[e.Finding(r).State+1])
	}
	if got.String() != want {
		t.Errorf("the server is %s, want %s, in %v", &got, want, upstream.Reasons())
	}
}

// refused checks that every operation says that the server is unsafe.
func refused(t *testing.T, e locks.Engine) {
	t.Helper()
	for name, do := range operations(e, "a") {
		if err := do(); !errors.Is(err, locks.ErrUnavailable) || !errors.As(err, new(*locks.UnsafeError)) {
			t.Errorf("%s: %v, want UnsafeError", name, err)
		}
	}
}

func TestSafeServerIsFoundSafe(t *testing.T) {
	for _, args := range [][]string{safe, {"--save", "3600 1 300 100"}, {"--maxmemory", "1gb", "--appendonly", "yes"}} {
		var log logged
		e := watched(t, upstream.Options{URL: redistest.Start(t, args...).URL(), Strict: true, Log: log.logger()})
		states(t, e, "-----")
		acquire(t, e, request("a", "me"))
		log.expect(t)
	}
}

func TestNothingIsKnownOfAServerThatWasNotReached(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Kill()
	e := watched(t, upstream.Options{URL: s.URL(), Strict: true})
	states(t, e, "?????")
	s.Restart()
	eventually(t, "the engine serves", func() bool { return e.Ready(context.Background()) == nil })
	states(t, e, "-----")
}

// TestIdleEngineNoticesThatItsServerIsGone: nobody asks it for anything.
func TestIdleEngineNoticesThatItsServerIsGone(t *testing.T) {
	for _, strict := range []bool{false, true} {
		s := redistest.Start(t, safe...)
		s.Kill()
		var log logged
		e := watched(t, upstream.Options{URL: s.URL(), Strict: strict, Log: log.logger()})
		eventually(t, "it is found away", func() bool { return !e.Answers() })
		s.Restart()
		eventually(t, "it is found back", e.Answers)
		if text := log.String(); strings.Count(text, "upstream unavailable") != 1 || strings.Count(text, "answers again") != 1 {
			t.Errorf("the log does not say so once:\n%s", text)
		}
	}
}

// TestIdleEngineSaysThatItsPasswordIsWrong: and not that it got no sense out of a reply.
func TestIdleEngineSaysThatItsPasswordIsWrong(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Do("CONFIG SET requirepass right")
	for _, strict := range []bool{false, true} {
		var log logged
		e := watched(t, upstream.Options{URL: "redis://:wrong@" + s.Addr, Strict: strict, Log: log.logger()})
		eventually(t, "it is found away", func() bool { return !e.Answers() })
		if !strings.Contains(log.String(), "WRONGPASS") {
			t.Errorf("the log does not say why:\n%s", log.String())
		}
	}
}

// TestServerThatRefusesWritesStaysAway: it tells of itself, and answers no request.
func TestServerThatRefusesWritesStaysAway(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Do("REPLICAOF 127.0.0.1 1")
	var log logged
	e := watched(t, upstream.Options{URL: s.URL(), Log: log.logger()})
	eventually(t, "it is found away", func() bool { return !e.Answers() && e.Finding(upstream.Replica).State == upstream.Unsafe })
	s.Do("REPLICAOF NO ONE")
	eventually(t, "it is found back", func() bool { return e.Answers() && e.Finding(upstream.Replica).State == upstream.Safe })
	if text := log.String(); strings.Count(text, "upstream unavailable") != 1 || strings.Count(text, "answers again") != 1 {
		t.Errorf("the log does not say so once:\n%s", text)
	}
}

// oldServer returns the URL of a server that says that it is Redis 4.
func oldServer(t *testing.T) string {
	s := redistest.Start(t, safe...)
	p := redistest.NewProxy(t, s.Addr)
	_, version, _ := strings.Cut(raw(t, s.Addr).Info(t.Context(), "server").Val(), "redis_version:")
	p.Replace("redis_version:"+version[:1], "redis_version:4")
	return p.URL()
}

func TestUnsafeServerIsNamed(t *testing.T) {
	clock := func(offset time.Duration) func(t *testing.T) string {
		return func(t *testing.T) string {
			s := redistest.StartWithClock(t, safe...)
			s.SetClock(offset)
			return s.URL()
		}
	}
	server := func(args ...string) func(t *testing.T) string {
		return func(t *testing.T) string { return redistest.Start(t, args...).URL() }
	}
	replica := func(args ...string) func(t *testing.T) string {
		return func(t *testing.T) string {
			host, port := redistest.Start(t, safe...).HostPort()
			return redistest.Start(t, append([]string{"--replicaof", host + " " + port}, append(safe, args...)...)...).URL()
		}
	}
	for _, test := range []struct {
		name          string
		start         func(t *testing.T) string
		states        string
		found, remedy string
	}{
		{"eviction", server("--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"), "!----", "maxmemory-policy is allkeys-lru", "set maxmemory-policy noeviction"},
		{"eviction of what expires", server("--maxmemory-policy", "volatile-ttl", "--appendonly", "yes"), "!----", "maxmemory-policy is volatile-ttl", "set maxmemory-policy noeviction"},
		{"replica", replica(), "-!---", "it is a read-only replica", "name the primary"},
		{"writable replica", replica("--replica-read-only", "no"), "-!---", "it is a writable replica", "name the primary"},
		{"no persistence", server("--appendonly", "no", "--save", ""), "--!--", "it saves nothing", "set appendonly yes"},
		{"clock ahead", clock(2 * time.Minute), "---!-", "its clock is 2m0s ahead of candado's", "NTP"},
		{"clock behind", clock(-2 * time.Hour), "---!-", "its clock is 2h0m0s behind candado's", "NTP"},
		{"clock a little ahead", clock(50 * time.Second), "-----", "", ""},
		{"clock a little behind", clock(-50 * time.Second), "-----", "", ""},
		{"old version", oldServer, "----!", "it is Redis 4.", "run Redis 5 or later"},
		{"several", server("--maxmemory-policy", "allkeys-lfu"), "!-!--", "it saves nothing", "set appendonly yes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := test.start(t)
			var log logged
			e := looked(t, upstream.Options{URL: url, Log: log.logger()})
			look(t, e, true)
			look(t, e, false)
			states(t, e, test.states)
			var lines []string
			for i, r := range upstream.Reasons() {
				if test.states[i] == '!' {
					lines = append(lines, `level=WARN msg="upstream unsafe" upstream=`+strings.TrimPrefix(url, "redis://")+" reason="+r.String())
				}
			}
			log.expect(t, lines...)
			strict, err := upstream.Open(upstream.Options{URL: url, Strict: true})
			if err == nil {
				_ = strict.Close()
			}
			if test.found == "" {
				if err != nil {
					t.Errorf("a strict engine refuses a safe server: %v", err)
				}
				return
			}
			for _, words := range []string{test.found, test.remedy} {
				if !strings.Contains(log.String(), words) {
					t.Errorf("the log does not say %q:\n%s", words, &log)
				}
				if !errors.As(err, new(*locks.UnsafeError)) || !strings.Contains(err.Error(), words) {
					t.Errorf("a strict engine opens with %v, want an UnsafeError with %q", err, words)
				}
			}
		})
	}
}

func TestUnsafeServerServesUnlessStrict(t *testing.T) {
	s := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	e := looked(t, upstream.Options{URL: s.URL()})
	states(t, e, "!-!--")
	acquire(t, e, request("a", "me"))
	if err := e.Ready(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestWhatAServerDoesNotTellIsUnknownAndNoReason(t *testing.T) {
	for _, test := range []struct{ name, rights, states, denied string }{
		{"no CONFIG", "+@all -config", "--?--", "config"},
		{"no INFO", "+@all -info", "-?!-?", "info"},
		{"neither", "+@all -config -info", "???-?", "info"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			s.Do("ACL SETUSER candado on >secret ~* &* " + test.rights)
			var log logged
			o := upstream.Options{URL: "redis://candado:secret@" + s.Addr, Log: log.logger()}
			e := looked(t, o)
			states(t, e, test.states)
			denials := raw(t, s.Addr).ACLLog(t.Context(), 128).Val()
			look(t, e, false)
			states(t, e, test.states)
			again := raw(t, s.Addr).ACLLog(t.Context(), 128).Val()
			if len(denials) == 0 || len(again) != len(denials) || again[0].Count != denials[0].Count {
				t.Errorf("the server logs %+v, and after another look %+v", denials, again)
			}
			if !strings.Contains(log.String(), "NOPERM") || strings.Count(log.String(), "does not tell") != 1 {
				t.Errorf("the log does not say once what is not known, and why:\n%s", &log)
			}
			s.Do("CONFIG SET appendonly yes")
			o.Strict = true
			acquire(t, watched(t, o), request("a", "me"))
			s.Do("ACL SETUSER candado +@all")
			look(t, e, true)
			states(t, e, "-----")
		})
	}
}

func TestRenamedCommandIsUnknown(t *testing.T) {
	s := redistest.Start(t, "--rename-command", "CONFIG", "hidden")
	e := watched(t, upstream.Options{URL: s.URL(), Strict: true})
	states(t, e, "--?--")
	acquire(t, e, request("a", "me"))
}

func TestServerThatLogsItsWritesIsNotAskedForItsConfiguration(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Do("ACL SETUSER candado on >secret ~* &* +@all -config")
	e := looked(t, upstream.Options{URL: "redis://candado:secret@" + s.Addr})
	states(t, e, "-----")
	if denials := raw(t, s.Addr).ACLLog(t.Context(), 1).Val(); len(denials) != 0 {
		t.Errorf("the server logs %+v", denials[0])
	}
}

func TestEachChangeIsLoggedOnce(t *testing.T) {
	s := redistest.StartWithClock(t, safe...)
	var log logged
	e := looked(t, upstream.Options{URL: s.URL(), Log: log.logger()})
	want := []string{}
	for _, step := range []struct{ do, line string }{
		{"CONFIG SET maxmemory-policy allkeys-lru", "maxmemory-policy is allkeys-lru"},
		{"CONFIG SET maxmemory-policy allkeys-random", "maxmemory-policy is allkeys-random"},
		{"CONFIG SET appendonly no", "it saves nothing"},
		{"CONFIG SET maxmemory-policy noeviction", `level=INFO msg="upstream safe again"`},
		{"REPLICAOF 127.0.0.1 1", "read-only replica"},
		{"CONFIG SET replica-read-only no", "writable replica"},
		{"REPLICAOF NO ONE", "reason=replica"},
		{"CONFIG SET appendonly yes", "reason=persistence"},
	} {
		s.Do(step.do)
		want = append(want, step.line)
		for i := range 3 {
			look(t, e, i == 1)
		}
		log.expect(t, want...)
	}
	for _, step := range []struct {
		clock time.Duration
		line  string
	}{{time.Hour, "ahead"}, {2 * time.Hour, ""}, {-time.Hour, "behind"}, {0, "safe again"}} {
		s.SetClock(step.clock)
		look(t, e, false)
		if step.line != "" {
			want = append(want, step.line)
		}
		log.expect(t, want...)
	}
	states(t, e, "-----")
}

func TestServerBehindANewConnectionIsLookedAt(t *testing.T) {
	was, is := redistest.Start(t, safe...), redistest.Start(t, "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	p := redistest.NewProxy(t, was.Addr)
	var log logged
	e := watched(t, upstream.Options{URL: p.URL(), Log: log.logger()})
	eventually(t, "the server is looked at", func() bool { return e.Finding(upstream.Eviction).State == upstream.Safe })
	p.Retarget(is.Addr)
	acquire(t, e, request("a", "me"))
	eventually(t, "the other server is found unsafe", func() bool { return e.Finding(upstream.Eviction).State == upstream.Unsafe })
	p.Retarget(was.Addr)
	acquire(t, e, request("a", "me"))
	eventually(t, "the first one is found safe", func() bool { return e.Finding(upstream.Eviction).State == upstream.Safe })
	_ = e.Close()
	log.expect(t, "level=WARN", "level=INFO")
}
