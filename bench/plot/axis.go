package plot

import "math"

// tick is a mark on an axis.
type tick struct {
	value float64
	name  string
}

// axis maps values to pixels from the bottom up.
type axis struct {
	from, to float64
	log      bool
}

// yAxis returns an axis that all points of the series fit on: from zero, or in
// whole decades if it is logarithmic.
func yAxis(series []Series, log bool) axis {
	least, most := math.Inf(1), math.Inf(-1)
	for _, s := range series {
		for _, p := range s.Points {
			for _, v := range []float64{p.Y, p.Low, p.High} {
				if !shown(v, log) {
					continue
				}
				least, most = min(least, v), max(most, v)
			}
		}
	}
	switch {
	case math.IsInf(most, -1):
		return axis{from: max(0, boolean(log)), to: 10, log: log} // nothing to show
	case log:
		from, to := math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, math.Ceil(math.Log10(most)))
		if from == to {
			to *= 10
		}
		return axis{from: from, to: to, log: true}
	case most <= 0:
		return axis{to: 1}
	}
	step := niceStep(most)
	return axis{to: math.Ceil(most/step) * step}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// shown reports whether a value has a place on an axis.
func shown(v float64, log bool) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!log || v > 0)
}

func (a axis) at(v float64) float64 {
	share := (v - a.from) / (a.to - a.from)
	if a.log {
		share = math.Log(v/a.from) / math.Log(a.to/a.from)
	}
	share = min(max(share, 0), 1)
	return float64(height-low) - share*float64(height-low-top)
}

func (a axis) ticks(format func(float64) string) []tick {
	var ts []tick
	if a.log {
		for v := a.from; v <= a.to*1.0001; v *= 10 {
			ts = append(ts, tick{v, format(v)})
		}
		return ts
	}
	step := niceStep(a.to)
	for i := 0; float64(i)*step <= a.to*1.0001; i++ {
		v := float64(i) * step
		ts = append(ts, tick{v, format(v)})
	}
	return ts
}

// niceStep returns 1, 2 or 5 times a power of ten, so that there are four to ten
// steps up to most.
func niceStep(most float64) float64 {
	base := math.Pow(10, math.Floor(math.Log10(most)))
	switch r := most / base; {
	case r <= 2:
		return base / 5
	case r <= 5:
		return base / 2
	}
	return base
}
