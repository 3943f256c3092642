package stats

import (
	"math"
	"slices"
)

// Summary is a figure over all rounds.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Summarize returns the summary of some values; ok is false if there are none.
// NaN stands for a round that has no value, and is passed over. The median of
// an even number of values is the mean of the two in the middle.
func Summarize(values []float64) (s Summary, ok bool) {
	sorted := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(sorted) == 0 {
		return Summary{}, false
	}
	slices.Sort(sorted)
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return Summary{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}, true
}

// Ratio returns a/b, and NaN, no value, where b is zero.
func Ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}
