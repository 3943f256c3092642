package report

import (
	"fmt"

	"github.com/goodjobtech/candado/bench/stats"
)

// Digits writes a number with as many decimals as matter: about three digits.
func Digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Micros writes a number of microseconds in a fitting unit.
func Micros(us float64) string {
	switch {
	case us >= 1e6:
		return few(us/1e6) + "s"
	case us >= 1e3:
		return few(us/1e3) + "ms"
	case us >= 1:
		return few(us) + "µs"
	}
	return few(us*1e3) + "ns"
}

func few(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// Spread writes median, least and greatest, each in that format.
func Spread(s stats.Summary, format string) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Min, s.Max)
}
