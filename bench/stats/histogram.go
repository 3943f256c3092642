// Package stats condenses measurements: a histogram of durations, and summaries
// of a figure over rounds.
package stats

import (
	"math"
	"math/bits"
	"time"
)

const (
	precision = 5 // bits: a bucket is at most 1/32 of its value wide
	perOctave = 1 << precision
	buckets   = (64 - precision) * perOctave
)

// Histogram counts durations in buckets whose width grows with the value, so
// that it takes the same memory whatever it is told. Its zero value is ready.
// It is not safe for concurrent use: give each goroutine its own, and Merge.
type Histogram struct {
	counts [buckets]uint64
	n      uint64
	max    time.Duration
}

// Record counts one duration. One below zero is counted as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

// Merge counts all that other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, c := range other.counts {
		h.counts[i] += c
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Max returns the longest duration, exactly; 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that a share q (from 0 to 1) of those recorded
// do not exceed, to within 1.6 %; 0 if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := min(max(uint64(math.Ceil(q*float64(h.n))), 1), h.n)
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			low, width := bounds(i)
			return min(time.Duration(low+width/2), h.max)
		}
	}
	return h.max
}

// bucket returns the index of a value's bucket: below perOctave the value
// itself, above it the exponent and the precision bits that follow the first.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-precision-1, 0)
	return shift*perOctave + int(v>>shift)
}

// bounds returns the least value in a bucket, and how many there are.
func bounds(i int) (low, width uint64) {
	shift := max(i/perOctave-1, 0)
	return uint64(i-shift*perOctave) << shift, 1 << shift
}
