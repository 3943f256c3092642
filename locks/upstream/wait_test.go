package upstream

import (
	"errors"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

func openAt(t *testing.T, s *redistest.Server) *Engine {
	t.Helper()
	e, err := OpenUnwatched(Options{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// stoodBy returns an engine whose request waits for a lock that another request
// holds, and which nothing is done for but what the test does.
func stoodBy(t *testing.T, ttl time.Duration) (e *Engine, w *waiter, release func()) {
	t.Helper()
	return stoodByAt(t, redistest.Start(t), ttl)
}

// stoodByAt is stoodBy at that server.
func stoodByAt(t *testing.T, s *redistest.Server, ttl time.Duration) (e *Engine, w *waiter, release func()) {
	t.Helper()
	e = openAt(t, s)
	held, err := e.Acquire(t.Context(), locks.AcquireRequest{ID: "a", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	w = e.waiting.join(locks.AcquireRequest{ID: "a", Owner: "w", TTL: ttl, Wait: locks.Forever})
	t.Cleanup(func() { e.waiting.part(w) })
	r, err := e.ask(t.Context(), e.acquireCall(w.req, w.entry, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, w.place, err = e.acquired(w.req, r); err != nil || w.place == 0 {
		t.Fatalf("the request is at the place %d, %v", w.place, err)
	}
	return e, w, func() {
		t.Helper()
		if _, err := e.Release(t.Context(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}}); err != nil {
			t.Fatal(err)
		}
	}
}

// A short lease that was found by tending may have been granted a while ago.
func TestShortLeaseThatWasFoundLateIsConfirmed(t *testing.T) {
	e, w, release := stoodBy(t, 3*time.Second)
	release()
	<-w.news // as if the message were lost
	e.waiting.handledIn(w, 0)
	v := visit{&room{id: "a"}, []script.Entry{w.entry}}
	if _, err := e.tended(v, tendNow(t, e, v)); err != nil {
		t.Fatal(err)
	}
	found := <-w.news
	if _, err := e.Release(t.Context(), locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
		t.Fatal(err)
	}
	if live, err := e.confirm(t.Context(), w, found); live || err != nil {
		t.Errorf("a lease that is over is confirmed: %v, %v", live, err)
	}
}

// The server would grant each copy of a request that returns.
func TestRequestReturnsOnlyOnceNoCopyOfItCanCome(t *testing.T) {
	e, w, release := stoodBy(t, time.Minute)
	release()
	<-w.news
	if _, err := e.Release(t.Context(), locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
		t.Fatal(err)
	}
	w.unsure, w.unsureTill = e.clock.at(time.Now().Add(time.Minute)), time.Now().Add(time.Minute)
	if lease, ended, err := e.enter(t.Context(), w); lease.Token != 0 || ended || err != nil {
		t.Fatalf("beside a copy, the request came to %+v, %v, %v", lease, ended, err)
	}
	if i, err := e.Info(t.Context(), "a"); err != nil || i.Held() {
		t.Fatalf("beside a copy, the lock is %+v, %v", i, err)
	}
	w.unsure = e.clock.at(time.Now()) - 1
	lease, ended, err := e.enter(t.Context(), w)
	if lease.Token == 0 || !ended || err != nil {
		t.Fatalf("with no copy to come, the request came to %+v, %v, %v", lease, ended, err)
	}
}

// A candado that has nothing waiting, and looks at a lease that has expired, can't
// tell whether others could speak meanwhile.
func TestOutsiderTakesNobodyOutAfterAStandstill(t *testing.T) {
	s := redistest.StartWithClock(t)
	e, w, _ := stoodByAt(t, s, time.Minute)
	other := openAt(t, s)
	s.SetClock(3500 * time.Millisecond) // for longer than candados may be silent
	for _, v := range []visit{{&room{id: "a"}, nil}, {&room{id: "a"}, []script.Entry{w.entry}}} {
		by := other
		if len(v.asked) > 0 {
			by = e
		}
		if c := tendNow(t, by, v); c.err != nil {
			t.Fatal(c.err)
		}
		if i, err := e.Info(t.Context(), "a"); err != nil || i.Waiters != 1 {
			t.Fatalf("%d requests wait, %v; want 1", i.Waiters, err)
		}
	}
}

// After a standstill one candado may tend and release before another, whose
// subscription broke meanwhile, has come to say anything.
func TestWhoWasForgivenNeedNotListenAtOnce(t *testing.T) {
	s := redistest.StartWithClock(t)
	e, w, _ := stoodByAt(t, s, time.Minute)
	other := openAt(t, s)
	second := other.waiting.join(locks.AcquireRequest{ID: "a", TTL: time.Minute, Wait: locks.Forever})
	t.Cleanup(func() { other.waiting.part(second) })
	if _, err := other.ask(t.Context(), other.acquireCall(second.req, second.entry, 0)); err != nil {
		t.Fatal(err)
	}
	s.SetClock(3500 * time.Millisecond) // for longer than candados may be silent
	if c := tendNow(t, other, visit{&room{id: "a"}, []script.Entry{second.entry}}); c.err != nil {
		t.Fatal(c.err)
	}
	s.SetClock(3600 * time.Millisecond)
	if _, err := other.Release(t.Context(), locks.ReleaseRequest{ID: "a", Force: true}); err != nil {
		t.Fatal(err)
	}
	v := visit{&room{id: "a"}, []script.Entry{w.entry}}
	if _, err := e.tended(v, tendNow(t, e, v)); err != nil {
		t.Fatal(err)
	}
	if what := <-w.news; what.kind != newsGranted || len(second.news) > 0 {
		t.Errorf("the first is told %+v, and %d news are there for the second", what, len(second.news))
	}
}

// That nobody has spoken for a while may only mean that nobody has waited: it does
// not bring the requests of a dead candado to the lock one after the other.
func TestDeadCandadosRequestsAreNotServedInTurn(t *testing.T) {
	s := redistest.StartWithClock(t)
	dead, _, release := stoodByAt(t, s, time.Minute)
	other := openAt(t, s)
	req := locks.AcquireRequest{ID: "a", TTL: time.Minute, Wait: 10 * time.Millisecond}
	for range 20 {
		if _, err := dead.ask(t.Context(), dead.acquireCall(req, entryOf(req), 0)); err != nil {
			t.Fatal(err)
		}
	}
	for tries := 0; ; tries++ {
		s.SetClock(time.Duration(tries) * 4500 * time.Millisecond) // a lease that is not confirmed is over by then
		_, err := other.Acquire(t.Context(), req)
		if err == nil {
			return
		}
		if !errors.Is(err, locks.ErrHeld) || tries > 4 {
			t.Fatalf("after %d tries: %v", tries, err)
		}
		if tries == 0 {
			release()
		}
	}
}

// A candado's last word may be that of a request which has left since.
func TestWhoEntersIsNotTakenForSilent(t *testing.T) {
	s := redistest.StartWithClock(t)
	e, w, _ := stoodByAt(t, s, time.Minute)
	other := openAt(t, s)
	req := locks.AcquireRequest{ID: "a", TTL: time.Minute}
	enter := func() script.Entry {
		n := entryOf(req)
		if r, err := other.ask(t.Context(), other.acquireCall(req, n, 0)); err != nil || r.status != statusWaits {
			t.Fatalf("a request enters with %+v, %v", r, err)
		}
		return n
	}
	tend := func(at time.Duration) {
		s.SetClock(at)
		if c := tendNow(t, e, visit{&room{id: "a"}, []script.Entry{w.entry}}); c.err != nil {
			t.Fatal(c.err)
		}
	}
	if c := other.undo(t.Context(), []*doubt{newDoubt(req, enter(), 0)})[0]; c.err != nil {
		t.Fatal(c.err)
	}
	tend(1200 * time.Millisecond)
	tend(2400 * time.Millisecond)
	enter()
	tend(3600 * time.Millisecond)
	if i, err := e.Info(t.Context(), "a"); err != nil || i.Waiters != 2 {
		t.Errorf("%d requests wait, %v; want 2", i.Waiters, err)
	}
}

// Old news may find the request in the queue again: then another acquire would
// only be a copy too many.
func TestNewsOfALeaseThatIsOverSendNothing(t *testing.T) {
	e, w, _ := stoodBy(t, time.Minute)
	w.told = true
	if lease, ended, err := e.act(t.Context(), w, news{newsGranted, 1, e.clock.at(time.Now())}); lease.Token != 0 || ended || err != nil {
		t.Fatalf("the request came to %+v, %v, %v", lease, ended, err)
	}
	if e.waiting.rooms["a"] != nil {
		t.Error("the request entered the queue once more")
	}
	if w.told {
		t.Error("the request is not asked about any more")
	}
}

// tendNow sends one visit, and returns its call.
func tendNow(t *testing.T, e *Engine, v visit) *call {
	c := e.tendCall(v)
	e.sendAlone(t.Context(), c)
	return c
}
