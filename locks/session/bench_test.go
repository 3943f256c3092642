package session

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/memory"
)

// What keeping leases costs beside an engine that costs almost nothing.

// keeping returns a session with n leases.
func keeping(b *testing.B, n int) (*Manager, *Session) {
	e := memory.New(memory.Options{})
	m := New(e, Options{MaxLeases: 200_000})
	b.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			b.Error(err)
		}
		_ = e.Close()
	})
	s := m.Open(func(reason error) { b.Error("lost: ", reason) })
	hold(b, s, n)
	return m, s
}

func hold(b *testing.B, s *Session, n int) {
	for i := range n {
		if _, err := s.Acquire(context.Background(), locks.AcquireRequest{ID: locks.ID(fmt.Sprintf("lock:%015d", i)), TTL: time.Hour}); err != nil {
			b.Fatal(err)
		}
	}
}

// One more lease comes and goes beside many.
func BenchmarkAcquireRelease(b *testing.B) {
	for _, n := range []int{0, 1_000, 100_000} {
		b.Run(fmt.Sprint("beside ", n), func(b *testing.B) {
			_, s := keeping(b, n)
			ids := make([]locks.ID, 1_000) // so that none is at hand
			for i := range ids {
				ids[i] = locks.ID(fmt.Sprint("other ", i))
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				comeAndGo(b, s, ids[i%len(ids)])
				i++
			}
		})
	}
}

// A release that is none of a session's: what all releases of others pay.
func BenchmarkForeignRelease(b *testing.B) {
	m, _ := keeping(b, 1_000)
	s, ctx := m.Open(func(error) {}), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.engine.Acquire(ctx, locks.AcquireRequest{ID: "a", TTL: time.Hour}); err != nil {
			b.Fatal(err)
		}
		if released, err := s.Release(ctx, locks.ReleaseRequest{ID: "a"}); err != nil || released.Ended != 1 {
			b.Fatal(released, err)
		}
	}
}

// All leases are renewed once in each iteration, by calls of chunk.
func BenchmarkRenew(b *testing.B) {
	for _, n := range []int{chunk, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, s := keeping(b, n)
			all := s.stay.leases
			b.ReportAllocs()
			for b.Loop() {
				for from := 0; from < n; from += chunk {
					some := append([]*held(nil), all[from:min(from+chunk, n)]...) // renew takes it over
					m.renew(some)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/lease")
		})
	}
}

// All leases come due at the same time: until they are renewed.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{chunk, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, s := keeping(b, n)
			all := s.stay.leases
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				m.mu.Lock()
				for _, h := range all {
					h.due = m.now()
					m.book.schedule(&h.slot, h.due)
				}
				m.mu.Unlock()
				b.StartTimer()
				m.tick()
				for calls := 1; calls > 0; {
					time.Sleep(100 * time.Microsecond)
					m.mu.Lock()
					calls = m.calls
					m.mu.Unlock()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/lease")
		})
	}
}

// A connection with many leases closes: until they are released.
func BenchmarkResetOfMany(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, s := keeping(b, 0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				hold(b, s, n)
				b.StartTimer()
				if err := s.Reset(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/lease")
		})
	}
}

// What another session sees while a connection with many leases closes: how long one acquire and
// release takes it at the most, and in the middle.
func BenchmarkBesideAReset(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, s := keeping(b, 0)
			other, ctx := m.Open(nil), context.Background()
			var took []time.Duration
			longest := time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				hold(b, s, n)
				b.StartTimer()
				done := make(chan error)
				go func() { done <- s.Reset(ctx) }()
				for over := false; !over; {
					select {
					case err := <-done:
						if over = true; err != nil {
							b.Fatal(err)
						}
					default:
						began := time.Now()
						comeAndGo(b, other, "a")
						took = append(took, time.Since(began))
					}
				}
				slices.Sort(took)
				longest += took[len(took)-1]
				b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "ns/median")
				took = took[:0]
			}
			b.ReportMetric(float64(longest.Nanoseconds())/float64(b.N), "ns/longest")
		})
	}
}

// comeAndGo acquires and releases.
func comeAndGo(b *testing.B, s *Session, id locks.ID) {
	lease, err := s.Acquire(context.Background(), locks.AcquireRequest{ID: id, TTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	if released, err := s.Release(context.Background(), locks.ReleaseRequest{ID: id, Claim: locks.Claim{Token: lease.Token}}); err != nil || released.Ended != 1 {
		b.Fatal(released, err)
	}
}
