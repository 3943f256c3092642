package locks_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"pgregory.net/rapid"
)

func TestIDHasOneTo1024Bytes(t *testing.T) {
	for id, want := range map[locks.ID]string{
		"":                                    "lock ID is empty",
		"a":                                   "",
		"\x00":                                "",
		"\xff\xfe":                            "",
		locks.ID(strings.Repeat("a", 1024)):   "",
		locks.ID(strings.Repeat("a", 1025)):   "lock ID is longer than 1024 bytes",
		locks.ID(strings.Repeat("é", 513)):    "lock ID is longer than 1024 bytes",
		locks.ID(strings.Repeat("\x00", 1e5)): "lock ID is longer than 1024 bytes",
	} {
		wantSentence(t, id.Validate(), want)
	}
}

func TestOwnerHasUpTo256Bytes(t *testing.T) {
	for owner, want := range map[locks.Owner]string{
		"":                                    "", // anonymous
		"\x00":                                "",
		locks.Owner(strings.Repeat("a", 256)): "",
		locks.Owner(strings.Repeat("a", 257)): "owner is longer than 256 bytes",
	} {
		wantSentence(t, owner.Validate(), want)
	}
}

// wantSentence wants an *ArgumentError with that text, or nil if it is empty.
func wantSentence(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("error is %q, want none", err)
		}
		return
	}
	if _, ok := errors.AsType[*locks.ArgumentError](err); !ok || err.Error() != want {
		t.Errorf("error is %v, want an ArgumentError: %q", err, want)
	}
}

func TestNextIsTheLeastAllowedToken(t *testing.T) {
	clock := time.UnixMicro(1000)
	for _, c := range []struct{ last, floor, want locks.Token }{
		{0, 0, 1000},
		{999, 0, 1000},
		{1000, 0, 1001},
		{5000, 0, 5001},
		{0, 5000, 5001},
		{5000, 6000, 6001},
		{6000, 5000, 6001},
		{locks.MaxToken - 1, 0, locks.MaxToken},
	} {
		if got, err := locks.Next(c.last, clock, c.floor); got != c.want || err != nil {
			t.Errorf("Next(%d, 1000 µs, %d) is %d, %v; want %d", c.last, c.floor, got, err, c.want)
		}
	}
}

func TestNextNeverExceedsTheLargestToken(t *testing.T) {
	late := time.UnixMicro(int64(locks.MaxToken) + 1)
	for _, c := range []struct {
		last, floor locks.Token
		clock       time.Time
	}{
		{locks.MaxToken, 0, time.Time{}},
		{0, locks.MaxToken, time.Time{}},
		{0, 0, late},
	} {
		if token, err := locks.Next(c.last, c.clock, c.floor); token != 0 || !errors.Is(err, locks.ErrUnavailable) {
			t.Errorf("Next(%d, %v, %d) is %d, %v; want an unavailable engine", c.last, c.clock, c.floor, token, err)
		}
	}
	if token, err := locks.Next(0, late.Add(-time.Microsecond), 0); token != locks.MaxToken || err != nil {
		t.Errorf("at the last moment the token is %d, %v; want the largest", token, err)
	}
}

func TestNextIsAboveAllItIsGiven(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		last := locks.Token(rapid.Int64Range(0, int64(locks.MaxToken)-1).Draw(rt, "last"))
		floor := locks.Token(rapid.Int64Range(0, int64(locks.MaxToken)-1).Draw(rt, "floor"))
		clock := rapid.Int64Range(-1_000_000, int64(locks.MaxToken)).Draw(rt, "clock")
		token, err := locks.Next(last, time.UnixMicro(clock), floor)
		if err != nil {
			rt.Fatal(err)
		}
		if token <= last || token <= floor || int64(token) < clock || token > locks.MaxToken {
			rt.Fatalf("Next(%d, %d µs, %d) is %d", last, clock, floor, token)
		}
	})
}

func TestLargestTokenIsTheLastWhoseNeighbourIsExactAsADouble(t *testing.T) {
	exact := func(token locks.Token) bool { return locks.Token(float64(token)) == token }
	if !exact(locks.MaxToken) || !exact(locks.MaxToken+1) || exact(locks.MaxToken+2) {
		t.Errorf("%d is not the largest token that clients with doubles can tell from the next", locks.MaxToken)
	}
}

func TestModesHaveNames(t *testing.T) {
	for mode, want := range map[locks.Mode]string{locks.Exclusive: "exclusive", locks.Shared: "shared", locks.Free: "free", 9: "mode(9)"} {
		if mode.String() != want {
			t.Errorf("mode %d is called %q, want %q", mode, mode, want)
		}
	}
}

func TestInfoIsHeldWithAHolder(t *testing.T) {
	if (locks.Info{Mode: locks.Free, LastToken: 7}).Held() {
		t.Error("a lock without holders is held")
	}
	if !(locks.Info{Holders: []locks.Holder{{}}}).Held() {
		t.Error("a lock with a holder is not held")
	}
}
