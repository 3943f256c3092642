package upstream

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// What becomes of a pending lease that nobody looks at for long: its entry alone says
// that nobody has heard of it, so the queue must not expire before that was seen.
func TestPendingLeaseThatNobodyHeardOfIsOverHoweverLateSomebodyLooks(t *testing.T) {
	later := func(t *testing.T, e *Engine) {
		req := locks.AcquireRequest{ID: "a", TTL: time.Minute}
		c := e.acquireCall(req, entryOf(req), 0)
		if r, err := e.ask(t.Context(), c); err != nil || r.status != statusWaits {
			t.Errorf("a request behind: %+v, %v", r, err)
		}
		u := new(call)
		e.askUndo(u, "a", c.entry)
		if _, err := e.ask(t.Context(), u); err != nil {
			t.Error(err)
		}
	}
	tends := func(t *testing.T, e *Engine) {
		req := locks.AcquireRequest{ID: "a", TTL: time.Minute}
		c := tendNow(t, e, visit{&room{id: "a"}, []script.Entry{entryOf(req)}})
		if c.err != nil {
			t.Error(c.err)
		}
	}
	for name, meanwhile := range map[string]func(t *testing.T, e *Engine, s *redistest.Server){
		"nothing":                  func(*testing.T, *Engine, *redistest.Server) {},
		"somebody comes and goes":  func(t *testing.T, e *Engine, s *redistest.Server) { s.SetClock(1400 * time.Millisecond); later(t, e) },
		"somebody comes after 2 s": func(t *testing.T, e *Engine, s *redistest.Server) { s.SetClock(2 * time.Second); later(t, e) },
		"somebody tends":           func(t *testing.T, e *Engine, s *redistest.Server) { s.SetClock(time.Second); tends(t, e) },
	} {
		for _, ttl := range []time.Duration{30 * time.Second, 2 * time.Minute, 24 * time.Hour} {
			for _, own := range []bool{true, false} {
				for _, heard := range []bool{true, false} {
					t.Run(name+" "+ttl.String()+" "+strconv.FormatBool(own)+" "+strconv.FormatBool(heard), func(t *testing.T) {
						t.Parallel()
						s := redistest.StartWithClock(t)
						e, w, release := stoodByAt(t, s, ttl)
						other := openAt(t, s)
						if own {
							release()
						} else {
							e.listen(t.Context())
							if _, err := other.Release(t.Context(), locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
								t.Fatal(err)
							}
						}
						what := <-w.news
						if heard && e.client.ZRem(t.Context(), e.keys.record("a")+queueKey, w.entry.Of(e.waiting.self)).Val() != 1 {
							t.Fatal("the entry is not there")
						}
						meanwhile(t, other, s)
						s.SetClock(ttl - 500*time.Millisecond)
						if live, err := other.Check(t.Context(), "a", locks.Token(what.token)); err != nil || live != heard {
							t.Errorf("the lease lives: %v, %v; want %v", live, err, heard)
						}
					})
				}
			}
		}
	}
}

// A reply that was long on its way, or was read late by a process that stood still,
// says what time it was, not what time it is.
func TestGrantThatIsReadLateIsNotTakenForPrompt(t *testing.T) {
	e, w, release := stoodBy(t, time.Minute)
	release()
	what := <-w.news
	now := e.clock.at(time.Now())
	if e.clock.seen(now, time.Now()); !e.prompt(w, what) {
		t.Error("a grant that is heard of at once is not prompt")
	}
	if e.clock.seen(now, time.Now().Add(-2*promptly)); e.prompt(w, what) {
		t.Error("a grant that may be old is prompt")
	}
}

func TestShortLeaseIsNotGivenOutAfterItsEnd(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	e, err := open(Options{URL: p.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	held, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	granted := make(chan locks.Lease, 1)
	go func() {
		lease, _ := e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", TTL: 500 * time.Millisecond, Wait: locks.Forever})
		granted <- lease
	}()
	for e.Waiting("a") == 0 {
		time.Sleep(time.Millisecond)
	}
	p.Lag(time.Second)
	if _, err := e.Release(t.Context(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}}); err != nil {
		t.Fatal(err)
	}
	p.Lag(0)
	lease := <-granted
	live, err := openAt(t, s).Check(t.Context(), "a", lease.Token)
	if err != nil || !live {
		t.Errorf("the lease that the client is told of lives: %v, %v", live, err)
	}
}
