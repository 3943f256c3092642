package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// What becomes of requests that wait when messages, connections, candados and
// servers get lost.

// tendEvery is how often a candado tends the locks that its requests wait for.
const tendEvery = time.Second

// provisional is how long a lease lasts that a request was granted which waited, until its
// candado has said that it heard of that.
const provisional = 4 * time.Second

// ending is what a waiting acquire came to.
type ending struct {
	lease locks.Lease
	err   error
	at    time.Time
}

// waits starts a request that waits, and returns once it is in the queue or has
// ended.
func waits(t testing.TB, e locks.Engine, req locks.AcquireRequest) <-chan ending {
	t.Helper()
	return waitsUnder(t, context.Background(), e, req)
}

func waitsUnder(t testing.TB, ctx context.Context, e locks.Engine, req locks.AcquireRequest) <-chan ending {
	t.Helper()
	if req.Wait == 0 {
		req.Wait = locks.Forever
	}
	knew := e.(*upstream.Engine).Waiting(req.ID)
	result := make(chan ending, 1)
	go func() {
		lease, err := e.Acquire(ctx, req)
		result <- ending{lease, err, time.Now()}
	}()
	eventually(t, "the request waits", func() bool {
		return len(result) > 0 || e.(*upstream.Engine).Waiting(req.ID) > knew
	})
	return result
}

// granted wants a lease within d.
func granted(t testing.TB, d time.Duration, result <-chan ending) locks.Lease {
	t.Helper()
	select {
	case o := <-result:
		if o.err != nil {
			t.Fatalf("the request that waited ended with %v", o.err)
		}
		return o.lease
	case <-time.After(d):
		t.Fatalf("the request that waits is not granted within %v", d)
	}
	return locks.Lease{}
}

// fails wants the request that waits to end with err within d.
func fails(t testing.TB, d time.Duration, result <-chan ending, want error) {
	t.Helper()
	select {
	case o := <-result:
		if !errors.Is(o.err, want) {
			t.Fatalf("the request that waited ended with %v, %v; want %v", o.lease, o.err, want)
		}
	case <-time.After(d):
		t.Fatalf("the request that waits does not end within %v", d)
	}
}

// stillWaits wants that nothing has been said yet.
func stillWaits(t testing.TB, result <-chan ending) {
	t.Helper()
	select {
	case o := <-result:
		t.Fatalf("the request ended with %v, %v; it ought to wait", o.lease, o.err)
	default:
	}
}

func releaseToken(t testing.TB, e locks.Engine, id locks.ID, token locks.Token) {
	t.Helper()
	if _, err := e.Release(context.Background(), locks.ReleaseRequest{ID: id, Claim: locks.Claim{Token: token}}); err != nil {
		t.Fatalf("releasing %q: %v", id, err)
	}
}

func TestLostGrantIsFoundWithinASecondOrSo(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	deaf, other := open(t, p.URL(), 0), open(t, s.URL(), 0)
	held := acquire(t, other, request("a", ""))
	w := waits(t, deaf, request("a", "w"))
	p.Mute(true)
	releaseToken(t, other, "a", held.Token)
	lease := granted(t, provisional-100*time.Millisecond, w) // not for another lease, once that was over
	if info := info(t, other, "a"); len(info.Holders) != 1 || info.Holders[0].Token != lease.Token || info.Holders[0].TTL < 50*time.Second {
		t.Errorf("the holders are %+v, want token %d for a minute", info.Holders, lease.Token)
	}
}

func TestSubscriptionThatWasCutIsMadeAgain(t *testing.T) {
	s := redistest.Start(t)
	a, b := open(t, s.URL(), 0), open(t, s.URL(), 0)
	for i := range 8 {
		held := acquire(t, b, request("a", ""))
		w := waits(t, a, request("a", ""))
		if err := raw(t, s.Addr).ClientKillByFilter(context.Background(), "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		releaseToken(t, b, "a", held.Token)
		lease := granted(t, soon, w)
		if lease.Token <= held.Token {
			t.Fatalf("round %d: token %d follows %d", i, lease.Token, held.Token)
		}
		releaseToken(t, a, "a", lease.Token)
	}
}

func TestLostReplyOfTheReleaseIsNoLostGrant(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	e := open(t, p.URL(), 0)
	held := acquire(t, e, request("a", ""))
	w := waits(t, e, request("a", ""))
	p.LoseReplies(1, nil) // with it goes what it said of the candado's own request
	releaseToken(t, e, "a", held.Token)
	granted(t, soon, w)
}

func TestWaitersQueueAgainAfterTheDataWasLost(t *testing.T) {
	for name, lose := range map[string]func(*redistest.Server){
		"emptied":         func(s *redistest.Server) { s.Do("FLUSHALL") },
		"restarted empty": func(s *redistest.Server) { s.Kill(); s.Restart() },
		"queue lost":      func(s *redistest.Server) { s.Do("DEL candado:{a}:q2") },
		"record lost":     func(s *redistest.Server) { s.Do("DEL candado:{a}") },
		"life lost":       func(s *redistest.Server) { s.Do("ZREMRANGEBYSCORE candado:{a}:q2 -2500000000000000 (0") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			engines := []locks.Engine{open(t, s.URL(), 0), open(t, s.URL(), 0)}
			held := acquire(t, engines[0], request("a", ""))
			var all []<-chan ending
			for i := range 6 {
				all = append(all, waits(t, engines[i%2], request("a", "")))
			}
			lose(s)
			_, _ = engines[0].Release(context.Background(), locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Token: held.Token}})
			// Those who come first after a loss can be granted before those whose candado has not noticed it yet; the rest are
			// in their old order again.
			var order []int
			var last locks.Token
			for range all {
				i, lease := anyGranted(t, all)
				if lease.Token <= last {
					t.Fatalf("token %d follows %d", lease.Token, last)
				}
				last = lease.Token
				order = append(order, i)
				if len(order) == 1 {
					eventually(t, "the others wait again", func() bool { return info(t, engines[0], "a").Waiters == 5 })
				}
				releaseToken(t, engines[0], "a", lease.Token)
			}
			for i := 2; i < len(order); i++ {
				if order[i] < order[i-1] {
					t.Fatalf("the order of the grants is %v", order)
				}
			}
		})
	}
}

// anyGranted returns which of the requests that wait is granted first. A lock
// that nobody lost is released for them.
func anyGranted(t *testing.T, all []<-chan ending) (int, locks.Lease) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for i, w := range all {
			select {
			case o := <-w:
				if o.err != nil {
					t.Fatal(o.err)
				}
				return i, o.lease
			default:
			}
		}
	}
	t.Fatal("nobody is granted the lock")
	return 0, locks.Lease{}
}

func TestWaitersOutlastAServerThatIsAway(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	e := open(t, s.URL(), 0)
	held := acquire(t, e, request("a", ""))
	w := waits(t, e, request("a", ""))
	s.Kill()
	if _, err := e.Acquire(context.Background(), request("b", "")); !errors.Is(err, locks.ErrUnavailable) {
		t.Fatalf("an acquire while the server is away: %v", err)
	}
	s.Restart()
	stillWaits(t, w)
	releaseToken(t, e, "a", held.Token)
	granted(t, soon, w)
}

func TestWaitersOutlastAServerThatStandsStill(t *testing.T) {
	s := redistest.Start(t)
	e, other := open(t, s.URL(), time.Second), open(t, s.URL(), time.Second)
	held := acquire(t, e, request("a", ""))
	first := waits(t, e, request("a", ""))
	second := waits(t, other, request("a", ""))
	s.Pause()
	time.Sleep(3500 * time.Millisecond) // for longer than candados may be silent
	s.Resume()
	eventually(t, "the server answers", func() bool { return e.Ready(context.Background()) == nil })
	eventually(t, "both wait", func() bool { return info(t, e, "a").Waiters == 2 })
	stillWaits(t, first)
	stillWaits(t, second)
	releaseToken(t, e, "a", held.Token)
	lease := granted(t, soon, first)
	stillWaits(t, second)
	releaseToken(t, e, "a", lease.Token)
	granted(t, soon, second)
}

func TestWaitThatEndsWhileTheServerIsAwayIsUnavailable(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), time.Second)
	acquire(t, e, request("a", ""))
	req := request("a", "")
	req.Wait = 3 * time.Second // by then the server is away
	w := waits(t, e, req)
	s.Pause()
	fails(t, soon, w, locks.ErrUnavailable)
	s.Resume()
	eventually(t, "nobody waits", func() bool { i, err := e.Info(context.Background(), "a"); return err == nil && i.Waiters == 0 })
	settled(t, e)
}

func TestWaitThatEndsWithoutALeaseLeavesNothing(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 0)
	held := acquire(t, e, request("a", ""))
	req := request("a", "")
	req.Wait = 50 * time.Millisecond
	fails(t, soon, waits(t, e, req), locks.ErrHeld)
	releaseToken(t, e, "a", held.Token)
	onlyRecords(t, s)
}

// onlyRecords wants that no key is left but records, each with an expiry.
func onlyRecords(t testing.TB, s *redistest.Server) {
	t.Helper()
	c := raw(t, s.Addr)
	for _, k := range c.Keys(context.Background(), "*").Val() {
		if !strings.HasSuffix(k, "}") {
			t.Errorf("the key %s is left", k)
		}
		if ttl := c.PTTL(context.Background(), k).Val(); ttl <= 0 {
			t.Errorf("the key %s lasts for %v", k, ttl)
		}
	}
}

func TestEveryKeyOfAQueueExpires(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 0)
	acquire(t, e, request("a", ""))
	ctx, cancel := context.WithCancel(context.Background())
	var all []<-chan ending
	acquire(t, e, locks.AcquireRequest{ID: "forever", TTL: locks.NoExpiry})
	for _, id := range []locks.ID{"a", "forever"} {
		for i := range 3 {
			all = append(all, waitsUnder(t, ctx, e, request(id, locks.Owner(fmt.Sprint(i)))))
		}
	}
	if _, err := e.Heartbeat(ctx, locks.HeartbeatRequest{ID: "a", TTL: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	c := raw(t, s.Addr)
	for _, k := range c.Keys(ctx, "*").Val() {
		ttl := c.PTTL(ctx, k).Val()
		if ttl <= 0 && k != "candado:{forever}" || ttl > 2*time.Minute {
			t.Errorf("the key %s lasts for %v", k, ttl)
		}
	}
	cancel()
	for _, w := range all {
		<-w
	}
	if _, err := e.Release(context.Background(), locks.ReleaseRequest{ID: "forever"}); err != nil {
		t.Fatal(err)
	}
	onlyRecords(t, s)
}

// A candado that is cut off, as one that was stopped or whose host died, keeps
// its subscription: the server has not noticed yet.
func TestSilentCandadoBlocksNobodyForLong(t *testing.T) {
	const silence = 3100 * time.Millisecond // for longer than candados may be silent
	for name, c := range map[string]struct {
		silent time.Duration // before the release
		step   time.Duration // of the server's clock
		most   time.Duration // that the request behind waits after the release
	}{
		// One of its requests may be served, and not two. A clock that is set in the midst of a script, of which the beginning
		// finds the queue and the rest the new time, makes it one.
		"granted":           {0, 0, 2*provisional - tendEvery/2},
		"clock set forward": {0, time.Hour, 2*provisional - tendEvery/2},
		// Known to be dead, it is served nothing: the next tending drops it, in a second.
		"at the head":    {silence, 0, provisional - tendEvery/2},
		"clock set back": {silence + tendEvery, -time.Hour, provisional - tendEvery/2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartWithClock(t)
			p := redistest.NewProxy(t, s.Addr)
			cut, alive := open(t, p.URL(), 0), open(t, s.URL(), 0)
			held := acquire(t, alive, locks.AcquireRequest{ID: "a", TTL: 12 * time.Hour})
			for range 3 {
				waits(t, cut, request("a", ""))
			}
			behind := waits(t, alive, request("a", ""))
			p.Freeze()
			s.SetClock(c.step)
			time.Sleep(c.silent)
			since := time.Now()
			releaseToken(t, alive, "a", held.Token)
			granted(t, soon, behind)
			if took := time.Since(since); took > c.most {
				t.Errorf("the request behind waited for %v", took)
			}
		})
	}
}

func TestClosedCandadoLeavesItsQueues(t *testing.T) {
	s := redistest.Start(t)
	e, other := open(t, s.URL(), 0), open(t, s.URL(), 0)
	acquire(t, other, request("a", ""))
	var all []<-chan ending
	for range 5 {
		all = append(all, waits(t, e, request("a", "")))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		fails(t, soon, w, locks.ErrShutdown)
	}
	if n := info(t, other, "a").Waiters; n != 0 {
		t.Errorf("%d requests wait, want 0", n)
	}
}

func TestGrantThatRacesWithLeavingIsPassedOn(t *testing.T) {
	s := redistest.Start(t)
	e, other := open(t, s.URL(), 0), open(t, s.URL(), 0)
	for i := range 60 {
		id := locks.ID(fmt.Sprint(i))
		held := acquire(t, other, request(id, ""))
		ctx, cancel := context.WithCancel(context.Background())
		leaves := waitsUnder(t, ctx, e, request(id, ""))
		stays := waits(t, other, request(id, ""))
		var both sync.WaitGroup
		both.Go(cancel)
		both.Go(func() { releaseToken(t, other, id, held.Token) })
		both.Wait()
		if o := <-leaves; o.err == nil {
			releaseToken(t, e, id, o.lease.Token)
		}
		granted(t, soon, stays)
	}
}

func TestReleaseTellsOneAndSendsOneMessage(t *testing.T) {
	s := redistest.Start(t)
	e, other := open(t, s.URL(), 0), open(t, s.URL(), 0)
	held := acquire(t, other, request("a", ""))
	var all []<-chan ending
	for range 10 {
		all = append(all, waits(t, e, request("a", "")))
	}
	before := calls(t, s, "publish")
	for i, w := range all {
		releaseToken(t, other, "a", held.Token)
		held = granted(t, soon, w)
		if sent := calls(t, s, "publish") - before; sent != i+1 {
			t.Fatalf("%d messages for %d grants", sent, i+1)
		}
	}
	// A candado tells itself.
	own := waits(t, other, request("a", ""))
	releaseToken(t, other, "a", held.Token)
	granted(t, soon, own)
	if sent := calls(t, s, "publish") - before; sent != len(all) {
		t.Errorf("%d messages for %d grants to others", sent, len(all))
	}
}

// calls returns how often the server has run a command.
func calls(t testing.TB, s *redistest.Server, command string) int {
	t.Helper()
	text := raw(t, s.Addr).Info(context.Background(), "commandstats").Val()
	_, line, found := strings.Cut(text, "cmdstat_"+command+":calls=")
	if !found {
		return 0
	}
	var n int
	if _, err := fmt.Sscanf(line, "%d,", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestUserWithoutChannelsWaitsByTending(t *testing.T) {
	s := redistest.Start(t)
	c := raw(t, s.Addr)
	if err := c.Do(context.Background(), "ACL", "SETUSER", "candado", "on", ">secret", "~*", "+@all", "resetchannels").Err(); err != nil {
		t.Fatal(err)
	}
	e := openWith(t, upstream.Options{URL: "redis://candado:secret@" + s.Addr})
	other := openWith(t, upstream.Options{URL: "redis://candado:secret@" + s.Addr})
	held := acquire(t, other, request("a", ""))
	first, second := waits(t, e, request("a", "")), waits(t, other, request("a", ""))
	releaseToken(t, other, "a", held.Token)
	// Nobody could tell the first; each keeps its place while its candado asks.
	for range 2 {
		select {
		case o := <-first:
			releaseToken(t, e, "a", o.lease.Token)
		case o := <-second:
			releaseToken(t, other, "a", o.lease.Token)
		case <-time.After(soon):
			t.Fatal("nobody is granted the lock")
		}
	}
}

func TestWaitingGoesOnWithoutScripts(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, s.URL(), 0)
	held := acquire(t, e, request("a", ""))
	w := waits(t, e, request("a", ""))
	s.Do("SCRIPT FLUSH")
	releaseToken(t, e, "a", held.Token)
	s.Do("SCRIPT FLUSH")
	granted(t, soon, w)
}

func TestManyWaitersAreServedInOrder(t *testing.T) {
	const n = 1000
	s := redistest.Start(t)
	engines := []locks.Engine{open(t, s.URL(), 10*time.Second), open(t, s.URL(), 10*time.Second)}
	held := acquire(t, engines[0], request("a", ""))
	type turn struct {
		place int
		token locks.Token
		err   error
	}
	turns := make(chan turn, n)
	c := raw(t, s.Addr)
	for i := range n {
		go func() {
			req := request("a", "")
			req.Wait = locks.Forever
			lease, err := engines[i%2].Acquire(context.Background(), req)
			turns <- turn{i, lease.Token, err}
		}()
		for c.ZCount(context.Background(), "candado:{a}:q2", "0", "(5000000000000000").Val() != int64(i+1) {
			runtime.Gosched()
		}
	}
	last := held.Token
	for i := range n {
		releaseToken(t, engines[i/3%2], "a", last)
		got := <-turns
		if got.err != nil || got.place != i || got.token <= last {
			t.Fatalf("grant %d went to %d, with token %d after %d, %v", i, got.place, got.token, last, got.err)
		}
		last = got.token
	}
	releaseToken(t, engines[0], "a", last)
	onlyRecords(t, s)
}
