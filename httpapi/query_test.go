package httpapi

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
)

func TestParametersReachTheEngine(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f, Limits: locks.Limits{DefaultTTL: 10 * time.Second, AllowPersist: true}})
	c := dial(t, addr)
	for target, want := range map[string]any{
		"/acquire/a":                        locks.AcquireRequest{ID: "a", TTL: 10 * time.Second},
		"/acquire/a?ttl=1h30m":              locks.AcquireRequest{ID: "a", TTL: 90 * time.Minute},
		"/acquire/a?ttl=1500ms":             locks.AcquireRequest{ID: "a", TTL: 1500 * time.Millisecond},
		"/acquire/a?ttl=0.5s":               locks.AcquireRequest{ID: "a", TTL: 500 * time.Millisecond},
		"/acquire/a?t%74l=1%73":             locks.AcquireRequest{ID: "a", TTL: time.Second},
		"/acquire/a?ttl=24h":                locks.AcquireRequest{ID: "a", TTL: 24 * time.Hour},
		"/acquire/a?persist=1":              locks.AcquireRequest{ID: "a", TTL: locks.NoExpiry},
		"/acquire/a?shared=1":               locks.AcquireRequest{ID: "a", TTL: 10 * time.Second, Mode: locks.Shared},
		"/acquire/a?limit=3":                locks.AcquireRequest{ID: "a", TTL: 10 * time.Second, Mode: locks.Shared, Limit: 3},
		"/acquire/a?&limit=3&&":             locks.AcquireRequest{ID: "a", TTL: 10 * time.Second, Mode: locks.Shared, Limit: 3},
		"/acquire/a?owner=a+b%2Bc%2526":     locks.AcquireRequest{ID: "a", TTL: 10 * time.Second, Owner: "a b+c%26"},
		"/acquire/a?owner=x=y?z/":           locks.AcquireRequest{ID: "a", TTL: 10 * time.Second, Owner: "x=y?z/"},
		"/acquire/a?wait=1m30s":             locks.AcquireRequest{ID: "a", TTL: 10 * time.Second, Wait: 90 * time.Second},
		"/acquire/a?wait=0s":                locks.AcquireRequest{ID: "a", TTL: 10 * time.Second},
		"/acquire/a?wait=1s&limit=3&ttl=5s": locks.AcquireRequest{ID: "a", TTL: 5 * time.Second, Wait: time.Second, Mode: locks.Shared, Limit: 3},
		"/release/a":                        locks.ReleaseRequest{ID: "a"},
		"/release/a?token=12":               locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: 12}},
		"/release/a?owner=me":               locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Owner: "me"}},
		"/release/a?force=1":                locks.ReleaseRequest{ID: "a", Force: true},
		"/release/a?token=9007199254740991": locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: locks.MaxToken}},
		"/heartbeat/a":                      locks.HeartbeatRequest{ID: "a"},
		"/heartbeat/a?ttl=5s&token=12":      locks.HeartbeatRequest{ID: "a", TTL: 5 * time.Second, Claim: locks.Claim{Token: 12}},
		"/heartbeat/a?persist=1&owner=me":   locks.HeartbeatRequest{ID: "a", TTL: locks.NoExpiry, Claim: locks.Claim{Owner: "me"}},
		"/locks/a":                          locks.ID("a"),
		"/locks":                            locks.ScanRequest{},
		"/locks?match=&cursor=&count=":      locks.ScanRequest{},
		"/locks?match=a*%26&cursor=18446744073709551615&count=5": locks.ScanRequest{Match: "a*&", Cursor: 1<<64 - 1, Count: 5},
	} {
		if got := c.ask("GET", target); got.status != 200 {
			t.Errorf("%s: got %d %s", target, got.status, got.body)
		}
		if got := f.taken(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the engine was asked %#v, want %#v", target, got, want)
		}
	}
}

func TestBadParameterIsNamed(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	c := dial(t, addr)
	for _, test := range []struct{ target, says string }{
		{"/acquire/a?ttl=30", "ttl needs a unit"},
		{"/acquire/a?ttl=1.5", "ttl needs a unit"},
		{"/acquire/a?ttl=0", "ttl needs a unit"},
		{"/acquire/a?ttl", "ttl is empty"},
		{"/acquire/a?ttl=", "ttl is empty"},
		{"/acquire/a?ttl=soon", "ttl is not a duration"},
		{"/acquire/a?ttl=+1s", "ttl is not a duration"},
		{"/acquire/a?ttl=9999999999h", "ttl is not a duration"},
		{"/acquire/a?ttl=0s", "ttl is not above 0"},
		{"/acquire/a?ttl=-1s", "ttl is not above 0"},
		{"/acquire/a?ttl=-1ns", "ttl is not above 0"},
		{"/acquire/a?ttl=1.5ms", "ttl is not a whole number of milliseconds"},
		{"/acquire/a?ttl=999us", "ttl is not a whole number of milliseconds"},
		{"/acquire/a?ttl=24h1ms", "ttl is above the limit"},
		{"/acquire/a?persist=1", "persist is not allowed here"},
		{"/heartbeat/a?persist=1", "persist is not allowed here"},
		{"/heartbeat/a?ttl=25h", "ttl is above the limit"},
		{"/acquire/a?persist=true", "persist takes no value but 1"},
		{"/acquire/a?shared", "shared takes no value but 1"},
		{"/acquire/a?shared=0", "shared takes no value but 1"},
		{"/release/a?force=yes", "force takes no value but 1"},
		{"/acquire/a?wait", "wait is empty"},
		{"/acquire/a?wait=", "wait is empty"},
		{"/acquire/a?wait=30", "wait needs a unit"},
		{"/acquire/a?wait=0", "wait needs a unit"},
		{"/acquire/a?wait=x", "wait is not a duration"},
		{"/acquire/a?wait=+1s", "wait is not a duration"},
		{"/acquire/a?wait=9999999999h", "wait is not a duration"},
		{"/acquire/a?wait=-1s", "wait is below 0"},
		{"/acquire/a?wait=-1ns", "wait is below 0"},
		{"/acquire/a?wait=1.5ms", "wait is not a whole number of milliseconds"},
		{"/acquire/a?wait=1s&wait=2s", "wait is given twice"},
		{"/release/a?wait=1s", "wait does not apply here"},
		{"/heartbeat/a?wait=1s", "wait does not apply here"},
		{"/acquire/a?owner=", "owner is empty"},
		{"/release/a?owner", "owner is empty"},
		{"/acquire/a?owner=" + strings.Repeat("o", 257), "owner is longer than 256 bytes"},
		{"/release/a?token=", "token is not an integer from 1 to 9007199254740991"},
		{"/release/a?token=0", "token is not"},
		{"/release/a?token=-1", "token is not"},
		{"/release/a?token=%2B1", "token is not"},
		{"/release/a?token=1.0", "token is not"},
		{"/release/a?token=9007199254740992", "token is not"},
		{"/acquire/a?limit=0", "limit is not an integer from 1"},
		{"/acquire/a?limit=x", "limit is not"},
		{"/acquire/a?limit=2147483648", "limit is not"},
		{"/locks?match=" + strings.Repeat("a", 2049), "match is longer than 2048 bytes"},
		{"/locks?count=0", "count is not an integer from 1 to 1000"},
		{"/locks?count=10001", "count is not"},
		{"/locks?cursor=-1", "cursor is not an integer"},
		{"/locks?cursor=18446744073709551616", "cursor is not"},
		{"/acquire/a?ttl=1s&ttl=1s", "ttl is given twice"},
		{"/acquire/a?ttl=1s&persist=1", "ttl and persist exclude each other"},
		{"/heartbeat/a?ttl=1s&persist=1", "ttl and persist exclude each other"},
		{"/release/a?token=1&owner=me", "token and owner exclude each other"},
		{"/heartbeat/a?token=1&owner=me", "token and owner exclude each other"},
		{"/release/a?force=1&owner=me", "force and owner exclude each other"},
		{"/release/a?force=1&token=1", "force and token exclude each other"},
		{"/acquire/a?tll=1s", `no parameter \"tll\"`},
		{"/acquire/a?TTL=1s", `no parameter \"TTL\"`},
		{"/acquire/a?%ff=1s", "no parameter \\\"\ufffd\\\""},
		{"/acquire/a?" + strings.Repeat("n", 1000), "nnn…"},
		{"/acquire/a?token=1", "token does not apply here"},
		{"/acquire/a?force=1", "force does not apply here"},
		{"/release/a?ttl=1s", "ttl does not apply here"},
		{"/release/a?shared=1", "shared does not apply here"},
		{"/heartbeat/a?shared=1", "shared does not apply here"},
		{"/locks/a?owner=me", "owner does not apply here"},
		{"/locks?owner=me", "owner does not apply here"},
		{"/healthz?ttl=1s", "ttl does not apply here"},
		{"/readyz?x", `no parameter \"x\"`},
		{"/acquire/a?limit=3&shared=1", "shared and limit exclude each other"},
		{"/acquire/a?=1", "a parameter has no name"},
		{"/acquire/a?owner=%zz", `\"owner\" has a bad escape \"%zz\"`},
		{"/acquire/a?%=1", `name has a bad escape \"%\"`},
	} {
		got := c.ask("GET", test.target)
		if got.status != 400 || !strings.Contains(got.body, test.says) {
			t.Errorf("%.60s: got %d %s, want %s", test.target, got.status, got.body, test.says)
		}
		mustBeDocumented(t, got.body)
		if req := f.taken(); req != nil {
			t.Errorf("%.60s: reached the engine", test.target)
		}
	}
}
