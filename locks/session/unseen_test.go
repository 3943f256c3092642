package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
	"github.com/goodjobtech/candado/locks/session"
)

// Releases that begin while no session has, or asks for, their lock.

// The lease is granted after the release was sent, and the release is taken after that.
func TestReleaseThatBeganBeforeTheAcquireEndsItOnPurpose(t *testing.T) {
	releases := map[string]func(f *fixture) error{
		"single": func(f *fixture) error {
			_, err := f.manager.Engine().Release(f.Context(), locks.ReleaseRequest{ID: "job"})
			return err
		},
		"of a session": func(f *fixture) error {
			_, err := f.open().Release(f.Context(), locks.ReleaseRequest{ID: "job"})
			return err
		},
		"in a group": func(f *fixture) error {
			ops := []locks.Op{
				{Kind: locks.OpAcquire, Acquire: locks.AcquireRequest{ID: "other", TTL: time.Hour}},
				{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: "job"}},
				{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: "other"}},
			}
			f.open().Do(f.Context(), ops)
			return errors.Join(ops[0].Err, ops[1].Err, ops[2].Err)
		},
		"with others": func(f *fixture) error {
			results := f.manager.Engine().ReleaseAll(f.Context(), []locks.ReleaseRequest{{ID: "other"}, {ID: "job"}})
			return errors.Join(results[0].Err, results[1].Err)
		},
	}
	for name, release := range releases {
		for _, answered := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, answered %v", name, answered), func(t *testing.T) {
				inVirtualTime(t, session.Options{}, func(f *fixture) {
					granted := false
					f.engine.onRelease = func(ctx context.Context, req locks.ReleaseRequest) error {
						if req.ID != "job" || granted {
							return nil
						}
						granted = true
						f.acquire(f.open(), locks.AcquireRequest{ID: "job"})
						if answered {
							return nil
						}
						_, err := f.engine.Engine.Release(ctx, req)
						time.Sleep(15 * time.Second) // a renewal finds the lease over
						return errors.Join(err, down())
					}
					f.engine.onParting = func(ctx context.Context, reqs []locks.ReleaseRequest) error {
						if len(reqs) > 1 && reqs[0].ID == "other" {
							return f.engine.onRelease(ctx, reqs[1])
						}
						return nil
					}
					if err := release(f); (err == nil) != answered {
						t.Error(err)
					}
					if !granted {
						t.Fatal("the release was not met")
					}
					f.engine.onRelease, f.engine.onParting = nil, nil
					time.Sleep(time.Minute)
					f.wantLost(0)
					f.wantLeases(0)
					f.wantHeld(0)
				})
			})
		}
	}
}

// A heartbeat that was sent before the lease was granted may shorten it.
func TestHeartbeatThatBeganBeforeTheAcquireCounts(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		f.engine.onHeartbeat = func(context.Context, locks.HeartbeatRequest) error {
			f.engine.onHeartbeat = nil
			f.acquire(f.open(), locks.AcquireRequest{ID: "job"})
			return nil
		}
		ops := []locks.Op{
			{Kind: locks.OpHeartbeat, Heartbeat: locks.HeartbeatRequest{ID: "job", TTL: 2 * time.Second}},
			{Kind: locks.OpCheck, Check: locks.CheckRequest{ID: "job", Token: 1}},
		}
		f.manager.Engine().Do(f.Context(), ops)
		if ops[0].Err != nil || ops[0].Lease.Token == 0 {
			t.Fatalf("got %+v", ops[0])
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if ttl := f.ttl("job"); ttl != 30*time.Second {
			t.Errorf("the lease lasts %v: it was not renewed at once", ttl)
		}
		time.Sleep(time.Minute)
		f.wantLost(0)
	})
}

func TestPanickingReleaseIsForgottenOrDoubted(t *testing.T) {
	inVirtualTime(t, session.Options{}, func(f *fixture) {
		s := f.open()
		ask := func() (panicked bool) {
			defer func() { panicked = recover() != nil }()
			f.engine.onRelease = func(context.Context, locks.ReleaseRequest) error { panic("a bug") }
			defer func() { f.engine.onRelease = nil }()
			s.Do(f.Context(), []locks.Op{
				{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: "job"}},
				{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: "free"}},
			})
			return false
		}
		if !ask() {
			t.Fatal("no panic")
		}
		f.acquire(s, locks.AcquireRequest{ID: "job"})
		renewals := len(f.engine.calls())
		if !ask() {
			t.Fatal("no panic")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := len(f.engine.calls()); n != renewals+1 {
			t.Errorf("%d renewals at once, want one: the release may have ended the lease", n-renewals)
		}
		f.wantLeases(1)
		f.wantLost(0)
	})
}

// However releases and acquires meet, in the end nothing of them is left in the book.
func TestReleasesAndAcquiresMeetInEveryWay(t *testing.T) {
	e := memory.New(memory.Options{})
	defer e.Close()
	m := session.New(e, session.Options{})
	var workers sync.WaitGroup
	for worker := range uint64(8) {
		workers.Go(func() {
			rnd, s := rand.New(rand.NewPCG(worker, 7)), m.Open(func(error) {})
			for n := range 2000 {
				if n%100 == 0 { // a session may be lost: it hears of a lease after its release
					s.End()
					s = m.Open(func(error) {})
				}
				id := locks.ID(fmt.Sprint(rnd.IntN(3)))
				switch rnd.IntN(4) {
				case 0:
					_, _ = s.Acquire(t.Context(), locks.AcquireRequest{ID: id, TTL: time.Minute})
				case 1:
					_, _ = m.Engine().Release(t.Context(), locks.ReleaseRequest{ID: id})
				case 2:
					s.Do(t.Context(), []locks.Op{
						{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: id}},
						{Kind: locks.OpAcquire, Acquire: locks.AcquireRequest{ID: id, TTL: time.Minute}},
						{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: id}},
					})
				case 3:
					_, _ = s.Release(t.Context(), locks.ReleaseRequest{ID: id})
				}
			}
		})
	}
	workers.Wait()
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if counted, unseen, kept := m.Watch(); counted != 0 || unseen != 0 || kept != 0 {
		t.Errorf("%d things are counted, %d releases are under way, of %d releases the book knows", counted, unseen, kept)
	}
}
