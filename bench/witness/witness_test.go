package witness

import (
	"strings"
	"testing"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/stats"
)

const output = `acquire,redis,1,40000.00,3000,0
acquire,embedded,1,30000,3000,0
acquire,upstream,1,9999,2999,1
acquire,redis,2,80000,3000,0
acquire,embedded,2,20000,3000,0
acquire,upstream,2,99999,3000,1
`

func TestOutputIsTakenRoundByRound(t *testing.T) {
	lines := 0
	all, err := parse(strings.NewReader(output), func(string) { lines++ })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cells.Of(all, "acquire", "candado embedded", rateToRedis), (stats.Summary{Median: 0.5, Min: 0.25, Max: 0.75}); got == nil || *got != want {
		t.Errorf("the ratio is %v, want %v", got, want)
	}
	if got := cells.Of(all, "acquire", "candado on Redis", rate); got != nil {
		t.Errorf("a failed cell has the rate %v", got)
	}
	if s := section(all, 2, 3000); len(s.Faults) != 2 || lines != 6 {
		t.Errorf("the faults are %v, after %d lines of progress", s.Faults, lines)
	}
}

func TestOtherOutputIsRefused(t *testing.T) {
	for _, bad := range []string{"", "acquire,redis,1,4", "acquire,nobody,1,4,3000,0", "acquire,redis,2,4,3000,0", "acquire,redis,1,fast,3000,0"} {
		if all, err := parse(strings.NewReader(bad), func(string) {}); err == nil {
			t.Errorf("%q gives %v", bad, all)
		}
	}
}
