package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/cmd/candado/secure/certtest"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// secureServer is a redis-server that also listens with TLS, and wants to see its
// clients' certificates if "yes".
type secureServer struct {
	*redistest.Server
	ca   *certtest.Authority
	dir  string
	port string // with TLS
}

func startSecure(t *testing.T, authClients string, wish certtest.Wish, args ...string) *secureServer {
	t.Helper()
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	cert, key := ca.Issue(wish).Write(t, dir, "redis")
	port := redistest.Port(t)
	s := redistest.Start(t, append([]string{"--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
		"--tls-ca-cert-file", certtest.WriteFile(t, dir, "ca.pem", ca.PEM), "--tls-auth-clients", authClients}, args...)...)
	return &secureServer{s, ca, dir, port}
}

// URL returns the server's address as it is with TLS.
func (s *secureServer) URL(user string) string { return "rediss://" + user + "localhost:" + s.port }

// trusting returns the configuration of a client that trusts those authorities.
func trusting(ca *certtest.Authority, pairs ...tls.Certificate) func() *tls.Config {
	return func() *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool(), Certificates: pairs}
	}
}

// exercise uses each of an engine's connections: the pool's, the subscription, that of a look.
func exercise(t *testing.T, e *upstream.Engine, id locks.ID) {
	t.Helper()
	held := acquire(t, e, request(id, "holder"))
	granted := make(chan error, 1)
	go func() {
		_, err := e.Acquire(context.Background(), locks.AcquireRequest{ID: id, Owner: "waiter", TTL: time.Minute, Wait: time.Minute})
		granted <- err
	}()
	eventually(t, "it waits", func() bool { return e.Waiting(id) == 1 })
	if err := e.Look(true); err != nil {
		t.Errorf("looking: %v", err)
	}
	if _, err := e.Release(context.Background(), locks.ReleaseRequest{ID: id, Claim: locks.Claim{Token: held.Token}}); err != nil {
		t.Error(err)
	}
	if err := <-granted; err != nil {
		t.Error(err)
	}
}

// clients returns the lines of CLIENT LIST but that of the asking client itself.
func (s *secureServer) clients(t *testing.T) (lines []string) {
	t.Helper()
	text, err := raw(t, s.Addr).ClientList(context.Background()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "cmd=client|list") {
			lines = append(lines, line)
		}
	}
	return lines
}

// failed checks that an engine with that time-out says within it that the upstream is
// unavailable, and that its log says why, once.
func failed(t *testing.T, e *upstream.Engine, timeout time.Duration, log *logged, why string) {
	t.Helper()
	for range 3 {
		begin := time.Now()
		_, err := e.Acquire(context.Background(), request("a", "me"))
		if !errors.Is(err, locks.ErrUnavailable) || !strings.Contains(err.Error(), why) || time.Since(begin) > 2*timeout-100*time.Millisecond { // not twice its time
			t.Errorf("after %v: %v, want %q", time.Since(begin), err, why)
		}
	}
	if text := log.String(); strings.Count(text, "upstream unavailable") != 1 || !strings.Contains(text, why) {
		t.Errorf("the log is\n%s", text)
	}
}

func TestEveryConnectionIsSecuredAndHasTheUsersName(t *testing.T) {
	for _, strict := range []bool{false, true} {
		s := startSecure(t, "yes", certtest.Wish{}, safe...)
		s.Do("ACL SETUSER app on >secret ~candado:* &candado:* +@all")
		e := watched(t, upstream.Options{URL: s.URL("app:secret@"), Strict: strict, TLS: trusting(s.ca, s.ca.Issue(certtest.Wish{}).TLS(t))})
		exercise(t, e, "a")
		lines := s.clients(t)
		for _, line := range lines {
			if !strings.Contains(line, ":"+s.port+" ") || !strings.Contains(line, "user=app") {
				t.Errorf("strict %v: a connection is\n%s", strict, line)
			}
		}
		if len(lines) < 2 {
			t.Errorf("only %d connections", len(lines))
		}
	}
}

func TestStrictEngineRefusesAnUnsafeServerBehindTLS(t *testing.T) {
	s := startSecure(t, "no", certtest.Wish{}, "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	o := upstream.Options{URL: s.URL(""), Strict: true, TLS: trusting(s.ca)}
	if _, err := upstream.Open(o); !errors.As(err, new(*locks.UnsafeError)) {
		t.Errorf("opening: %v", err)
	}
	s.Do("CONFIG SET maxmemory-policy noeviction")
	e := watched(t, o)
	acquire(t, e, request("a", "me"))
	s.Do("CONFIG SET maxmemory-policy allkeys-lru")
	s.Do("CLIENT KILL TYPE normal") // so that there are new connections
	refused(t, e)
}

func TestServerThatCannotBeTrustedIsUnavailable(t *testing.T) {
	stranger := certtest.New(t, "stranger")
	expired := certtest.Wish{NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().Add(-time.Hour)}
	for name, test := range map[string]struct {
		wish   certtest.Wish
		trusts *certtest.Authority
		why    string
	}{
		"wrong authority": {certtest.Wish{}, stranger, "certificate signed by unknown authority"},
		"system's":        {certtest.Wish{}, nil, "certificate signed by unknown authority"},
		"wrong name":      {certtest.Wish{Hosts: []string{"redis.example"}}, nil, "certificate is valid for redis.example, not localhost"},
		"expired":         {expired, nil, "certificate has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSecure(t, "no", test.wish)
			var log logged
			// The first who looks for the system's authorities may take long to read them.
			o := upstream.Options{URL: s.URL(""), Timeout: 20 * time.Second, Log: log.logger()}
			switch {
			case test.trusts != nil:
				o.TLS = trusting(test.trusts)
			case name != "system's":
				o.TLS = trusting(s.ca)
			}
			e := openWith(t, o)
			failed(t, e, o.Timeout, &log, test.why)
			if n := e.OpenDoubts(); n > 0 {
				t.Errorf("%d acquires are in doubt that were not sent", n)
			}
		})
	}
}

func TestServerThatWantsACertificateIsUnavailableWithoutOne(t *testing.T) {
	s := startSecure(t, "yes", certtest.Wish{})
	var log logged
	failed(t, openWith(t, upstream.Options{URL: s.URL(""), TLS: trusting(s.ca), Log: log.logger()}), upstream.DefaultTimeout, &log, "TLS handshake: remote error: tls: certificate required")
}

func TestServerWithoutTLSIsUnavailable(t *testing.T) {
	s := startSecure(t, "no", certtest.Wish{})
	var log logged
	failed(t, openWith(t, upstream.Options{URL: "rediss://" + s.Addr, TLS: trusting(s.ca), Log: log.logger()}), upstream.DefaultTimeout, &log, "TLS handshake")
}

func TestSilentServerIsUnavailableInTime(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var log logged
	failed(t, openWith(t, upstream.Options{URL: "rediss://" + ln.Addr().String(), Log: log.logger()}), upstream.DefaultTimeout, &log, "")
}

func TestNewConnectionsGoByTheConfigurationOfTheMoment(t *testing.T) {
	s := startSecure(t, "yes", certtest.Wish{})
	var mu sync.Mutex
	config := trusting(certtest.New(t, "stranger"))
	e := openWith(t, upstream.Options{URL: s.URL(""), TLS: func() *tls.Config {
		mu.Lock()
		defer mu.Unlock()
		return config()
	}})
	if err := e.Ready(context.Background()); !errors.Is(err, locks.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	mu.Lock()
	config = trusting(s.ca, s.ca.Issue(certtest.Wish{}).TLS(t))
	mu.Unlock()
	eventually(t, "it is ready", func() bool { return e.Ready(context.Background()) == nil })
}

func TestRotatedPasswordIsUsedByNewConnections(t *testing.T) {
	s := redistest.Start(t)
	s.Do("ACL SETUSER app on >first ~candado:* &candado:* +@all")
	var mu sync.Mutex
	word, asked := "first", error(nil)
	var log logged
	e := openWith(t, upstream.Options{URL: "redis://app@" + s.Addr, Log: log.logger(), Password: func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return word, asked
	}})
	set := func(w string, err error) {
		mu.Lock()
		defer mu.Unlock()
		word, asked = w, err
	}
	exercise(t, e, "a")
	s.Do("ACL SETUSER app resetpass >second")
	acquire(t, e, request("b", "me")) // what is connected stays so
	s.Do("CLIENT KILL USER app")
	failed(t, e, upstream.DefaultTimeout, &log, "WRONGPASS")
	if strings.Contains(log.String(), "first") {
		t.Errorf("the log shows the password:\n%s", &log)
	}
	set("second", nil)
	eventually(t, "it is ready", func() bool { return e.Ready(context.Background()) == nil })
	exercise(t, e, "c")
	set("", errors.New("no such file"))
	s.Do("CLIENT KILL USER app")
	if err := e.Ready(context.Background()); !errors.Is(err, locks.ErrUnavailable) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a password: %v", err)
	}
}

func TestOptionsThatContradictEachOtherAreRefused(t *testing.T) {
	ca := certtest.New(t, "ca")
	for name, o := range map[string]upstream.Options{
		"TLS without rediss": {URL: "redis://localhost", TLS: trusting(ca)},
		"TLS on a socket":    {URL: "unix:///run/redis.sock", TLS: trusting(ca)},
		"two passwords":      {URL: "redis://:a@localhost", Password: func() (string, error) { return "b", nil }},
	} {
		if e, err := upstream.OpenUnwatched(o); err == nil {
			t.Errorf("%s: taken", name)
			_ = e.Close()
		}
	}
}

// A server closes connections that are idle for long. Those are not used again, though the client
// has not read their end.
func TestConnectionsThatTheServerHasClosedAreNotUsed(t *testing.T) {
	s := startSecure(t, "no", certtest.Wish{})
	for name, o := range map[string]upstream.Options{
		"plain": {URL: s.Server.URL(), Batch: 1},
		"TLS":   {URL: s.URL(""), Batch: 1, TLS: trusting(s.ca)},
	} {
		t.Run(name, func(t *testing.T) {
			e := openWith(t, o)
			for range 3 {
				for try := 0; len(s.clients(t)) < 6; try++ { // on a busy machine, requests may follow each other
					if try == 100 {
						t.Fatalf("only %d connections", len(s.clients(t)))
					}
					var wg sync.WaitGroup
					for i := range 64 {
						wg.Go(func() { acquire(t, e, request(locks.ID(fmt.Sprint(i)), "me")) })
					}
					wg.Wait()
				}
				s.Do("CLIENT KILL TYPE normal")
				acquire(t, e, request("a", "me"))
			}
		})
	}
}
