package server

import (
	"maps"
	"testing"
	"time"
)

func TestProcessorTimeIsReadAfterTheName(t *testing.T) {
	const stat = "4321 (odd) name 1 2) S 1 4321 4321 0 -1 4194560 900 0 1 0 250 17 3 4 20 0 9 0 12345 1 2 3\n"
	if got, err := parseStat(stat); err != nil || got != 2670*time.Millisecond {
		t.Errorf("got %v, %v; want 2.67s", got, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2 3", "1 (x) S 1 4321 4321 0 -1 4194560 900 0 1 0 a 17 3"} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func TestCallsAreCountedByName(t *testing.T) {
	const before = "# Commandstats\r\ncmdstat_get:calls=5,usec=9,usec_per_call=1.80,rejected_calls=0,failed_calls=0\r\ncmdstat_info:calls=7,usec=9\r\n"
	const after = before + "cmdstat_evalsha:calls=3,usec=9\r\ncmdstat_client|setinfo:calls=2,usec=1\r\ncmdstat_set:calls=4,usec=1\r\n"
	first, err := parseCalls(before)
	if err != nil {
		t.Fatal(err)
	}
	last, err := parseCalls(after)
	if err != nil {
		t.Fatal(err)
	}
	made := last.Since(first)
	if want := (Calls{"evalsha": 3, "client|setinfo": 2, "set": 4}); !maps.Equal(made, want) {
		t.Errorf("got %v, want %v", made, want)
	}
	if made.Total() != 9 || made.Scripts() != 3 {
		t.Errorf("total %d, scripts %d; want 9, 3", made.Total(), made.Scripts())
	}
	if got, err := parseCalls("cmdstat_get:calls=x,usec=9\r\n"); err == nil {
		t.Errorf("a broken line gives %v", got)
	}
}
