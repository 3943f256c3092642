package locks_test

import (
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
)

func TestZeroLimitsMeanTheDefaults(t *testing.T) {
	want := locks.Limits{DefaultTTL: 30 * time.Second, MaxTTL: 24 * time.Hour}
	if got := (locks.Limits{}).WithDefaults(); got != want {
		t.Errorf("the defaults are %+v, want %+v", got, want)
	}
}

func TestSetLimitsAreKept(t *testing.T) {
	set := locks.Limits{DefaultTTL: time.Second, MaxTTL: time.Minute, AllowPersist: true}
	if got := set.WithDefaults(); got != set {
		t.Errorf("limits %+v became %+v", set, got)
	}
}

func TestTTLKeepsToTheLimits(t *testing.T) {
	strict := locks.Limits{}.WithDefaults()
	lax := locks.Limits{MaxTTL: time.Minute, AllowPersist: true}.WithDefaults()
	for _, c := range []struct {
		limits locks.Limits
		ttl    time.Duration
		want   string
	}{
		{strict, time.Millisecond, ""},
		{strict, 24 * time.Hour, ""},
		{strict, 24*time.Hour + time.Millisecond, "TTL is above the limit of 86400000 ms (--max-ttl)"},
		{strict, 0, "TTL is below 1ms"},
		{strict, time.Millisecond - 1, "TTL is below 1ms"},
		{strict, -time.Second, "TTL is below 1ms"},
		{strict, locks.NoExpiry, "PERSIST is not allowed here (--allow-persist)"},
		{lax, locks.NoExpiry, ""},
		{lax, time.Minute, ""},
		{lax, time.Minute + 1, "TTL is above the limit of 60000 ms (--max-ttl)"},
	} {
		wantSentence(t, c.limits.CheckTTL(c.ttl), c.want)
	}
}
