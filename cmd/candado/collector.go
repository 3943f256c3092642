package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// This file says how much garbage may pile up before it is collected.
//
// Go collects when there is as much of it as of what lives (GOGC=100). With an upstream and
// few locks little lives, and each command leaves some garbage. Measured on 2 shared cores at
// 50 connections with 16 commands each: GOGC=200 takes 0.90 of the processor time for a
// command, and GOGC=400 no less than that; resident were 51, 76 and 95 MB. The embedded engine
// leaves next to none: with 1 k as with 0.8 M held locks no difference was seen (19, 23
// and 31 MB; 184, 184 and 217 MB). So twice as much garbage is allowed as lives, but no more
// than mostGarbage, or, as Go has it, than lives.

const (
	mostGarbage = 64 << 20 // bytes

	leastPercent = 100
	mostPercent  = 200
)

// gcPercent returns how much garbage is allowed, as GOGC says it, beside so many bytes that
// live.
func gcPercent(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	percent := int(min(max(mostGarbage*100/live, leastPercent), mostPercent))
	return percent - percent%10 // each change stops the process for a moment
}

// collector sets GOGC anew after each collection.
type collector struct {
	live    func() uint64
	set     func(percent int) (before int)
	current int
}

// collectLess lets more garbage pile up from now on, unless the operator has set GOGC.
// GOMEMLIMIT holds in any case: near it, Go collects as often as it takes.
func collectLess(lookupEnv func(string) (string, bool)) {
	if _, set := lookupEnv("GOGC"); set {
		return
	}
	c := &collector{live: liveHeap, set: debug.SetGCPercent}
	c.adapt()
}

// adapt is called again after the next collection, by what that finds dead.
func (c *collector) adapt() {
	if percent := gcPercent(c.live()); percent != c.current {
		c.current = percent
		c.set(percent)
	}
	runtime.AddCleanup(new([16]byte), (*collector).adapt, c)
}

// liveHeap returns how many bytes the latest collection found alive.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
