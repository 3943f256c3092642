package quota_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/quota"
)

// bubble runs a test of an engine at which so many may wait, and whose lock "job" is held.
func bubble(t *testing.T, most int, test func(t *testing.T, w *quota.Waiting)) {
	synctest.Test(t, func(t *testing.T) {
		w := quota.NewWaiting(memory.New(memory.Options{}), locks.QuotaHTTPWaiting, most)
		defer func() {
			_ = w.Close()
			synctest.Wait()
			if n := w.Waiting(); n != 0 {
				t.Errorf("%d wait in the end", n)
			}
		}()
		grant(t, w, locks.AcquireRequest{ID: "job", Owner: "holder"})
		test(t, w)
	})
}

func grant(t *testing.T, e locks.Engine, req locks.AcquireRequest) locks.Lease {
	t.Helper()
	req.TTL = time.Hour
	lease, err := e.Acquire(t.Context(), req)
	if err != nil {
		t.Errorf("%+v: %v", req, err)
	}
	return lease
}

// wait begins to acquire, and returns where its error comes when it ends.
func wait(ctx context.Context, e locks.Engine, id locks.ID, owner locks.Owner) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := e.Acquire(ctx, locks.AcquireRequest{ID: id, Owner: owner, TTL: time.Hour, Wait: locks.Forever})
		done <- err
	}()
	synctest.Wait()
	return done
}

func mustBe(t *testing.T, got <-chan error, want error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-got:
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	default:
		t.Errorf("it waits, want %v", want)
	}
}

func mustWait(t *testing.T, w *quota.Waiting, n int, calls ...<-chan error) {
	t.Helper()
	synctest.Wait()
	for i, c := range calls {
		if len(c) > 0 {
			t.Errorf("call %d got %v", i, <-c)
		}
	}
	if got := w.Waiting(); got != n {
		t.Errorf("%d wait, want %d", got, n)
	}
}

func TestWhoHasNoRoomIsRefusedByName(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *quota.Waiting) {
		first, second := wait(t.Context(), w, "job", "a"), wait(t.Context(), w, "job", "")
		third := wait(t.Context(), w, "job", "")
		mustBe(t, third, locks.ErrBusy)
		_, err := w.Acquire(t.Context(), locks.AcquireRequest{ID: "job", TTL: time.Hour, Wait: time.Second})
		if over, ok := errors.AsType[*locks.QuotaError](err); !ok || over.Quota != locks.QuotaHTTPWaiting || err.Error() != "too many HTTP requests wait (--max-http-waiting)" {
			t.Errorf("got %v", err)
		}
		mustWait(t, w, 2, first, second)
	})
}

func TestWhoNeedNotWaitNeedsNoRoom(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *quota.Waiting) {
		first := wait(t.Context(), w, "job", "a")
		grant(t, w, locks.AcquireRequest{ID: "free", Wait: locks.Forever})
		grant(t, w, locks.AcquireRequest{ID: "job", Owner: "holder", Wait: locks.Forever}) // has it already
		_, err := w.Acquire(t.Context(), locks.AcquireRequest{ID: "job", Owner: "holder", Mode: locks.Shared, TTL: time.Hour, Wait: locks.Forever})
		if !errors.Is(err, locks.ErrMode) {
			t.Errorf("got %v", err)
		}
		if _, err := w.Acquire(t.Context(), locks.AcquireRequest{ID: "job", TTL: time.Hour}); !errors.Is(err, locks.ErrHeld) {
			t.Errorf("one that does not wait got %v", err)
		}
		mustWait(t, w, 1, first)
	})
}

func TestOwnerThatAsksAgainHasItsOwnRoom(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *quota.Waiting) {
		first := wait(t.Context(), w, "job", "a")
		for range 3 {
			second := wait(t.Context(), w, "job", "a")
			mustBe(t, first, locks.ErrHeld)
			mustWait(t, w, 1, second)
			first = second
		}
		mustBe(t, wait(t.Context(), w, "other", "a"), nil) // which is free
		mustBe(t, wait(t.Context(), w, "other", "b"), locks.ErrBusy)
		mustBe(t, wait(t.Context(), w, "job", "b"), locks.ErrBusy)
		if _, err := w.Release(t.Context(), locks.ReleaseRequest{ID: "job", Force: true}); err != nil {
			t.Fatal(err)
		}
		mustBe(t, first, nil)
		mustWait(t, w, 0)
		mustWait(t, w, 1, wait(t.Context(), w, "job", "b"))
	})
}

func TestWhoLeavesMakesRoom(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *quota.Waiting) {
		ctx, leave := context.WithCancel(t.Context())
		first := wait(ctx, w, "job", "a")
		leave()
		mustBe(t, first, locks.ErrUnavailable)
		second := make(chan error, 1)
		go func() {
			_, err := w.Acquire(t.Context(), locks.AcquireRequest{ID: "job", Owner: "a", TTL: time.Hour, Wait: time.Minute})
			second <- err
		}()
		mustWait(t, w, 1, second)
		time.Sleep(time.Minute)
		mustBe(t, second, locks.ErrHeld)
		mustWait(t, w, 1, wait(t.Context(), w, "job", "c"))
	})
}

// Requests that are refused take no room from one that comes just then.
func TestWhoIsRefusedIsNotCounted(t *testing.T) {
	const most, crowd, times = 2, 8, 2000
	w := quota.NewWaiting(memory.New(memory.Options{}), locks.QuotaWaiting, most)
	defer w.Close()
	grant(t, w, locks.AcquireRequest{ID: "job", Owner: "holder"})
	ctx, leave := context.WithCancel(t.Context())
	var waiting, knocking sync.WaitGroup
	for range most {
		waiting.Go(func() {
			_, _ = w.Acquire(ctx, locks.AcquireRequest{ID: "job", TTL: time.Hour, Wait: locks.Forever})
		})
	}
	for w.Waiting() < most {
		runtime.Gosched()
	}
	for range crowd {
		knocking.Go(func() {
			for range times {
				_, err := w.Acquire(t.Context(), locks.AcquireRequest{ID: "job", TTL: time.Hour, Wait: time.Hour})
				if _, ok := errors.AsType[*locks.QuotaError](err); !ok {
					t.Errorf("got %v", err)
				}
				if n := w.Waiting(); n > most {
					t.Errorf("%d are counted, more than %d", n, most)
					return
				}
			}
		})
	}
	knocking.Wait()
	leave()
	waiting.Wait()
	if n := w.Waiting(); n != 0 {
		t.Errorf("%d wait in the end", n)
	}
}
