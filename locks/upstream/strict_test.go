package upstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

func TestStrictEngineSendsNothingToAnUnsafeServer(t *testing.T) {
	was, is := redistest.Start(t, safe...), redistest.Start(t, "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	p := redistest.NewProxy(t, was.Addr)
	var log logged
	e := looked(t, upstream.Options{URL: p.URL(), Strict: true, Log: log.logger()})
	lease := acquire(t, e, request("a", "me"))
	p.Retarget("127.0.0.1:1") // where nobody is: the connections are known to be lost
	if _, err := e.Check(context.Background(), "a", lease.Token); !errors.Is(err, locks.ErrUnavailable) {
		t.Errorf("check while the server is away: %v, want ErrUnavailable", err)
	}
	p.Retarget(is.Addr)
	// Nobody has looked since: the connection itself is what is refused.
	if _, err := e.Acquire(context.Background(), request("b", "me")); !errors.As(err, new(*locks.UnsafeError)) {
		t.Errorf("acquire: %v, want UnsafeError", err)
	}
	refused(t, e)
	c := raw(t, is.Addr)
	if n := c.DBSize(context.Background()).Val(); n != 0 {
		t.Errorf("the unsafe server has %d keys", n)
	}
	if n := e.OpenDoubts(); n != 0 {
		t.Errorf("%d acquires are in doubt that were not sent", n)
	}
	p.Retarget(was.Addr)
	look(t, e, true)
	if live, err := e.Check(context.Background(), "a", lease.Token); err != nil || !live {
		t.Errorf("back on the first server: live %v, %v", live, err)
	}
	log.expect(t, "upstream unsafe", "upstream refused", "safe again", "no longer refused")
}

func TestStrictEngineServesAgainByItself(t *testing.T) {
	s := redistest.Start(t, safe...)
	e := watched(t, upstream.Options{URL: s.URL(), Strict: true})
	lease := acquire(t, e, request("a", "me"))
	s.Do("CONFIG SET maxmemory-policy allkeys-lru")
	s.Do("CLIENT KILL TYPE normal") // so that it is looked at, which would otherwise take up to a minute
	refused(t, e)
	s.Do("CONFIG SET maxmemory-policy noeviction")
	eventually(t, "the engine serves again", func() bool { return e.Ready(context.Background()) == nil })
	if live, err := e.Check(context.Background(), "a", lease.Token); err != nil || !live {
		t.Errorf("live %v, %v", live, err)
	}
}

func TestStrictEngineRefusesAServerThatBecomesUnsafe(t *testing.T) {
	s := redistest.Start(t, safe...)
	e := looked(t, upstream.Options{URL: s.URL(), Strict: true})
	acquire(t, e, request("a", "me"))
	s.Do("CONFIG SET maxmemory-policy allkeys-lru")
	look(t, e, false)
	refused(t, e)
	s.Do("CONFIG SET maxmemory-policy noeviction")
	look(t, e, false)
	acquire(t, e, request("a", "me"))
}

func TestStrictEngineWaitsForAServerThatIsDown(t *testing.T) {
	s := redistest.Start(t, "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	s.Kill()
	e := watched(t, upstream.Options{URL: s.URL(), Strict: true})
	if err := e.Ready(context.Background()); !errors.Is(err, locks.ErrUnavailable) || errors.As(err, new(*locks.UnsafeError)) {
		t.Errorf("a server that is down: %v, want ErrUnavailable alone", err)
	}
	s.Restart()
	eventually(t, "it is found unsafe", func() bool { return errors.As(e.Ready(context.Background()), new(*locks.UnsafeError)) })
	refused(t, e)
}

func TestWaiterOfARefusedServerIsGrantedOnceItIsSafe(t *testing.T) {
	s := redistest.Start(t, safe...)
	e := looked(t, upstream.Options{URL: s.URL(), Strict: true})
	held := acquire(t, e, request("a", "holder"))
	granted := make(chan error, 1)
	go func() {
		_, err := e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", Owner: "waiter", TTL: time.Minute, Wait: locks.Forever})
		granted <- err
	}()
	eventually(t, "it waits", func() bool { return info(t, e, "a").Waiters == 1 })
	s.Do("CONFIG SET maxmemory-policy allkeys-lru")
	look(t, e, false)
	refused(t, e)
	s.Do("CONFIG SET maxmemory-policy noeviction")
	look(t, e, false)
	if _, err := e.Release(context.Background(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}}); err != nil {
		t.Fatal(err)
	}
	if err := <-granted; err != nil {
		t.Errorf("the request that waited: %v", err)
	}
}

func TestStrictEngineIsNotHurtByServersThatTakeTurns(t *testing.T) {
	was, is := redistest.Start(t, safe...), redistest.Start(t, "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	p := redistest.NewProxy(t, was.Addr)
	e := watched(t, upstream.Options{URL: p.URL(), Strict: true})
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				_, err := e.Acquire(context.Background(), request("a", "me"))
				if err != nil && !errors.Is(err, locks.ErrUnavailable) {
					t.Error(err)
				}
			}
		}()
	}
	for range 5 {
		p.Retarget(is.Addr)
		time.Sleep(50 * time.Millisecond) // they are served by the servers, in real time
		p.Retarget(was.Addr)
		time.Sleep(50 * time.Millisecond)
	}
	for range 4 {
		<-done
	}
	if n := raw(t, is.Addr).DBSize(context.Background()).Val(); n != 0 {
		t.Errorf("the unsafe server has %d keys", n)
	}
	eventually(t, "the engine serves again", func() bool { return e.Ready(context.Background()) == nil })
}

func TestCloseDoesNotWaitForALook(t *testing.T) {
	const timeout = 40 * time.Second
	s := redistest.Start(t, safe...)
	s.Pause()
	e := watched(t, upstream.Options{URL: s.URL(), Timeout: timeout})
	time.Sleep(50 * time.Millisecond) // it has asked by then, or Close finds it before that
	begin := time.Now()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// The first copy was torn, and the next one's connection is refused.
func TestCopyThatIsRefusedLeavesTheOutcomeUnknown(t *testing.T) {
	for name, do := range map[string]func(e locks.Engine) error{
		"acquire": func(e locks.Engine) error { _, err := e.Acquire(context.Background(), request("b", "me")); return err },
		"info":    func(e locks.Engine) error { _, err := e.Info(context.Background(), "b"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, safe...)
			p := redistest.NewProxy(t, s.Addr)
			var log logged
			e := looked(t, upstream.Options{URL: p.URL(), Strict: true, Log: log.logger()})
			acquire(t, e, request("a", "me"))
			info(t, e, "a")
			p.LoseReplies(1, func() {
				s.Do("CONFIG SET maxmemory-policy allkeys-lru")
				p.CutAll()
			})
			err := do(e)
			if !errors.Is(err, locks.ErrUnavailable) || errors.As(err, new(*locks.UnsafeError)) || strings.Contains(err.Error(), "nil") {
				t.Errorf("%v, want ErrUnavailable for its broken connection", err)
			}
			if strings.Contains(log.String(), "nil") {
				t.Errorf("the log is\n%s", log.String())
			}
			s.Do("CONFIG SET maxmemory-policy noeviction")
			look(t, e, true)
			settled(t, e)
			if info(t, e, "b").Held() {
				t.Error("the lease is left")
			}
		})
	}
}

// Another candado, which is not strict, hands over to it. A lease so short would need no
// confirmation.
func TestWaiterOfARefusedServerIsNotGranted(t *testing.T) {
	s := redistest.Start(t, safe...)
	e, other := looked(t, upstream.Options{URL: s.URL(), Strict: true}), open(t, s.URL(), 0)
	held := acquire(t, other, request("a", "holder"))
	granted := make(chan error, 1)
	go func() {
		_, err := e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", Owner: "waiter", TTL: time.Second, Wait: locks.Forever})
		granted <- err
	}()
	eventually(t, "it waits", func() bool { return e.Waiting("a") == 1 })
	s.Do("CONFIG SET maxmemory-policy allkeys-lru")
	look(t, e, false)
	if _, err := other.Release(context.Background(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}}); err != nil {
		t.Fatal(err)
	}
	if !info(t, other, "a").Held() {
		t.Error("it was not handed over")
	}
	eventually(t, "the lease runs out", func() bool { return !info(t, other, "a").Held() })
	select {
	case err := <-granted:
		t.Fatalf("a refused server has granted a lease: %v", err)
	default:
	}
	s.Do("CONFIG SET maxmemory-policy noeviction")
	look(t, e, false)
	if err := <-granted; err != nil {
		t.Errorf("the request that waited: %v", err)
	}
}
