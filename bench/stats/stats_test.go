package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestEveryValueLiesInItsBucket(t *testing.T) {
	check := func(v uint64) {
		i := bucket(v)
		low, width := bounds(i)
		if v < low || v-low >= width {
			t.Errorf("%d is in bucket %d, which begins at %d and is %d wide", v, i, low, width)
		}
		if width > 1 && width > low/perOctave {
			t.Errorf("bucket %d begins at %d and is %d wide", i, low, width)
		}
	}
	for v := range uint64(5000) {
		check(v)
	}
	for shift := range 63 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1} {
			check(v)
		}
	}
	check(math.MaxInt64)
}

func TestBucketsFollowOneAnother(t *testing.T) {
	var next uint64
	for i := range bucket(math.MaxInt64) {
		low, width := bounds(i)
		if low != next {
			t.Fatalf("bucket %d begins at %d, want %d", i, low, next)
		}
		next = low + width
	}
}

func TestQuantilesAreThoseOfTheSortedValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 100, 10_001} {
		var h Histogram
		values := make([]time.Duration, n)
		for i := range values {
			values[i] = time.Duration(math.Exp(r.Float64() * 25))
			h.Record(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 1} {
			want := values[max(int(math.Ceil(q*float64(n))), 1)-1]
			got := h.Quantile(q)
			if off := math.Abs(float64(got-want)) / float64(want); off > 0.016 {
				t.Errorf("of %d values, quantile %v is %v, want %v", n, q, got, want)
			}
		}
		if h.Max() != values[n-1] || h.Count() != uint64(n) {
			t.Errorf("of %d values: max %v, count %d; want %v", n, h.Max(), h.Count(), values[n-1])
		}
	}
}

func TestEmptyHistogramHasZeroes(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 || h.Count() != 0 {
		t.Errorf("got %v, %v, %d", h.Quantile(0.5), h.Max(), h.Count())
	}
}

func TestMergedHistogramIsThatOfAllValues(t *testing.T) {
	var a, b, all Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		all.Record(d)
		if i%3 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	a.Merge(&b)
	if a != all {
		t.Error("merging two halves gives another histogram than recording both")
	}
}

func TestNegativeDurationCountsAsZero(t *testing.T) {
	var h Histogram
	h.Record(-time.Second)
	h.Record(time.Second)
	if h.Count() != 2 || h.Quantile(0.5) != 0 || h.Max() != time.Second {
		t.Errorf("count %d, median %v, max %v", h.Count(), h.Quantile(0.5), h.Max())
	}
}

func TestSummaries(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		values []float64
		want   Summary
		ok     bool
	}{
		{nil, Summary{}, false},
		{[]float64{nan}, Summary{}, false},
		{[]float64{4}, Summary{4, 4, 4}, true},
		{[]float64{9, 1, 2}, Summary{2, 1, 9}, true},
		{[]float64{9, 1, 2, 4}, Summary{3, 1, 9}, true},
		{[]float64{nan, 9, nan, 1, 2}, Summary{2, 1, 9}, true},
	} {
		before := slices.Clone(c.values)
		got, ok := Summarize(c.values)
		if got != c.want || ok != c.ok {
			t.Errorf("%v: got %v, %v; want %v, %v", c.values, got, ok, c.want, c.ok)
		}
		for i := range before {
			if c.values[i] != before[i] && !math.IsNaN(before[i]) {
				t.Errorf("%v was changed to %v", before, c.values)
			}
		}
	}
}

func TestRatioToNothingIsNoValue(t *testing.T) {
	if got := Ratio(3, 2); got != 1.5 {
		t.Errorf("3/2 is %v", got)
	}
	if got := Ratio(3, 0); !math.IsNaN(got) {
		t.Errorf("3/0 is %v", got)
	}
}
