package main

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

func TestGarbageIsBounded(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 200, 1 << 20: 200, 32 << 20: 200, 48 << 20: 130, 64 << 20: 100, 1 << 30: 100, 1 << 50: 100,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d bytes alive: %d, want %d", live, got, want)
		}
		if garbage := live / 100 * uint64(gcPercent(live)); garbage > max(live, mostGarbage) {
			t.Errorf("beside %d bytes that live, %d of garbage are allowed", live, garbage)
		}
	}
}

func TestEachCollectionSetsTheNext(t *testing.T) {
	var live, set atomic.Int64
	c := &collector{
		live: func() uint64 { return uint64(live.Load()) },
		set:  func(percent int) int { set.Store(int64(percent)); return 0 },
	}
	c.adapt()
	for _, step := range []struct{ live, want int64 }{{0, 200}, {1 << 30, 100}, {1 << 20, 200}} {
		live.Store(step.live)
		for end := time.Now().Add(10 * time.Second); set.Load() != step.want; runtime.GC() {
			if time.Now().After(end) {
				t.Fatalf("with %d bytes alive GOGC is %d, want %d", step.live, set.Load(), step.want)
			}
		}
	}
}

func TestOperatorsGOGCStays(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	collectLess(func(name string) (string, bool) { return "77", name == "GOGC" })
	runtime.GC()
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("GOGC became %d", got)
	}
	if liveHeap() == 0 {
		t.Error("nothing is known of what lives")
	}
}
