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
						s.SetClock(ttl - 10*time.Second)
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
	e, w, _ := stoodBy(t, time.Minute)
	now := e.clock.at(time.Now())
	what := news{newsGranted, 1, now + provisional.Microseconds()}
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
	e, err := open(Options{URL: p.URL(), Timeout: 20 * time.Second})
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
		lease, _ := e.Acquire(context.Background(), locks.AcquireRequest{ID: "a", TTL: 2 * time.Second, Wait: locks.Forever})
		granted <- lease
	}()
	for e.Waiting("a") == 0 {
		time.Sleep(time.Millisecond)
	}
	p.Lag(3 * time.Second)
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

// A lock that two pass to and fro is hardly ever tended: what owners leave behind in the
// queue has to go all the same.
func TestOwnersLeaveNoPlacesInAQueueThatIsNeverTended(t *testing.T) {
	e, err := open(Options{URL: redistest.Start(t).URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	held, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	most := int64(0)
	for i := range 5000 {
		req := locks.AcquireRequest{ID: "a", Owner: locks.Owner("owner " + strconv.Itoa(i)), TTL: 30 * time.Second, Wait: locks.Forever}
		w := e.waiting.join(req)
		if r, err := e.ask(t.Context(), e.acquireCall(req, w.entry, 0)); err != nil || r.status != statusWaits {
			t.Fatalf("request %d: %+v, %v", i, r, err)
		}
		if _, err := e.Release(t.Context(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}}); err != nil {
			t.Fatal(err)
		}
		if held, _, err = e.act(t.Context(), w, <-w.news); err != nil || held.Token == 0 {
			t.Fatalf("request %d came to %+v, %v", i, held, err)
		}
		e.waiting.part(w)
		if i%100 == 0 {
			most = max(most, e.client.ZCard(t.Context(), e.keys.record("a")+queueKey).Val())
		}
	}
	if most > 1500 {
		t.Errorf("the queue of two had up to %d members", most)
	}
}

// It finds its own first entry in the queue only if the data went back in time. That is nobody who
// takes its place.
func TestWhoComesBackDoesNotReplaceItself(t *testing.T) {
	e, w, _ := stoodBy(t, time.Minute)
	if _, ended, err := e.enter(t.Context(), w); ended || err != nil {
		t.Fatalf("coming back: %v, %v", ended, err)
	}
	select {
	case what := <-w.news:
		t.Errorf("the request is told %+v", what)
	default:
	}
	if n := e.client.ZCount(t.Context(), e.keys.record("a")+queueKey, "0", "(5000000000000000").Val(); n != 1 {
		t.Errorf("it has %d entries", n)
	}
	if i, err := e.Info(t.Context(), "a"); err != nil || i.Waiters != 1 {
		t.Errorf("%d requests wait, %v", i.Waiters, err)
	}
}
