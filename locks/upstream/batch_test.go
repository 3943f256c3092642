package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// scriptsRun returns how many scripts the server has run for clients.
func scriptsRun(t *testing.T, s *redistest.Server) (n int) {
	t.Helper()
	stats := raw(t, s.Addr).InfoMap(context.Background(), "commandstats").Item("Commandstats", "cmdstat_evalsha")
	if _, err := fmt.Sscanf(stats, "calls=%d", &n); err != nil {
		t.Fatalf("%q: %v", stats, err)
	}
	return n
}

// each runs f n times at the same time, and returns when all have returned.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// thawOnceGathered lets bytes pass again once requests are under way, and no more of them come.
func thawOnceGathered(p *redistest.Proxy, e locks.Engine) {
	go func() {
		defer p.Thaw()
		before, still := 0, 0
		for end := time.Now().Add(soon); still < 200 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			flights, _, _, queued, _ := e.(*upstream.Engine).InTheAir() // the second flight may have taken all
			if still++; flights == 0 || queued != before {
				before, still = queued, 0
			}
		}
	}()
}

func TestRequestsGatherWhileOthersAreUnderWay(t *testing.T) {
	const requests = 100
	s, p, e, _ := behindProxy(t, 40*time.Second)
	before := scriptsRun(t, s)
	p.Freeze()
	thawOnceGathered(p, e)
	each(requests, func(i int) {
		if _, err := e.Acquire(context.Background(), request(locks.ID(fmt.Sprint(i)), "")); err != nil {
			t.Error(err)
		}
	})
	// Two went at once, one each; what had gathered behind them fits in one.
	if n := scriptsRun(t, s) - before; n > 8 {
		t.Errorf("%d requests took %d scripts", requests, n)
	}
}

func TestWithBatchesOffEachRequestIsAScript(t *testing.T) {
	s := redistest.Start(t)
	e := openWith(t, upstream.Options{URL: s.URL(), Batch: 1})
	acquire(t, e, request("warm-up", ""))
	before := scriptsRun(t, s)
	ops := make([]locks.Op, 20)
	for i := range ops {
		ops[i] = locks.Op{Acquire: request(locks.ID(fmt.Sprint(i)), "")}
	}
	e.Do(context.Background(), ops)
	for i := range ops {
		if ops[i].Err != nil {
			t.Error(ops[i].Err)
		}
	}
	if n := scriptsRun(t, s) - before; n != len(ops) {
		t.Errorf("%d requests took %d scripts", len(ops), n)
	}
}

func TestOperationOfABatchFailsAlone(t *testing.T) {
	s := redistest.Start(t)
	e, ctx := open(t, s.URL(), 0), context.Background()
	acquire(t, e, request("held", "other"))
	acquire(t, e, shared("shared", "me"))
	s.Do("RPUSH candado:{foreign} x")
	s.Do("SET candado:{torn}:h x") // of the wrong type
	ops := []locks.Op{
		{Acquire: request("a", "me")},
		{Acquire: request("foreign", "me")},
		{Acquire: request("held", "me")},
		{Acquire: request("shared", "me")},
		{Acquire: shared("torn", "me")},
		{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: "held", Claim: locks.Claim{Owner: "me"}}},
		{Kind: locks.OpCheck, Check: locks.CheckRequest{ID: "foreign", Token: 1}},
		{Acquire: request("b", "me")},
		{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: "a", Claim: locks.Claim{Owner: "me"}}},
	}
	e.Do(ctx, ops)
	for i, want := range []error{
		nil, locks.ErrUnavailable, locks.ErrHeld, locks.ErrMode, nil, locks.ErrNotOwner, locks.ErrUnavailable, nil, nil,
	} {
		if !errors.Is(ops[i].Err, want) {
			t.Errorf("operation %d: %v, want %v", i, ops[i].Err, want)
		}
	}
	if text := fmt.Sprint(ops[1].Err); !strings.Contains(text, "candado:{foreign}") {
		t.Errorf("the error %q does not name the key", text)
	}
	if info(t, e, "a").Held() || !info(t, e, "b").Held() {
		t.Error("the others were not done")
	}
}

// pipeline is operations whose outcome shows whether one of them was done twice:
// on b and e one each, on the other locks several.
func pipeline(t *testing.T, e locks.Engine) []locks.Op {
	acquire(t, e, request("e", ""))
	release := func(id locks.ID, owner locks.Owner) locks.Op {
		return locks.Op{Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: id, Claim: locks.Claim{Owner: owner}}}
	}
	return []locks.Op{
		{Acquire: request("a", "")}, release("a", ""), {Acquire: request("a", "me")},
		{Acquire: shared("s", "")}, {Acquire: shared("s", "")}, release("s", ""), {Acquire: shared("s", "me")},
		{Acquire: request("b", "")}, {Acquire: request("c", "me")},
		{Kind: locks.OpHeartbeat, Heartbeat: locks.HeartbeatRequest{ID: "c", Claim: locks.Claim{Owner: "me"}, TTL: time.Hour}},
		{Acquire: request("d", "")}, release("d", ""), release("e", ""),
	}
}

// Of operations that follow each other on one lock no copy can be sent. Else each is
// done, and once.
func TestBatchThatWasTornIsDoneOnceOrUnknown(t *testing.T) {
	for _, bytes := range []int{1, 5, 30, 50, 80, 120, 160, 200, 250} {
		t.Run(fmt.Sprint(bytes), func(t *testing.T) {
			_, p, e, direct := behindProxy(t, 0)
			torn := false
			ops := pipeline(t, direct)
			p.TearReply(bytes, func() { torn = true })
			e.Do(context.Background(), ops)
			if !torn {
				t.Fatal("the reply was whole")
			}
			for i := range ops {
				op := &ops[i]
				switch id := op.Acquire.ID + op.Release.ID + op.Heartbeat.ID; {
				case id != "b" && id != "e":
					if !errors.Is(op.Err, locks.ErrUnavailable) {
						t.Errorf("operation %d: %v", i, op.Err)
					}
				case op.Err != nil || op.Kind == locks.OpRelease && op.Released.Ended != 1:
					t.Errorf("operation %d: %+v, %v", i, op.Released, op.Err)
				case op.Kind == locks.OpAcquire && info(t, direct, id).LastToken != op.Lease.Token:
					t.Errorf("%q was granted again", id)
				}
			}
			settled(t, e)
			for id, holders := range map[locks.ID]int{"a": 0, "s": 0, "b": 1, "d": 0, "e": 0} {
				if i := info(t, direct, id); len(i.Holders) != holders {
					t.Errorf("%q has %d holders, want %d", id, len(i.Holders), holders)
				}
			}
		})
	}
}

func TestBatchWithoutAnAnswerIsUnknownAndUndone(t *testing.T) {
	_, p, e, direct := behindProxy(t, 0)
	ops := pipeline(t, direct)
	p.LoseReplies(1000, nil)
	e.Do(context.Background(), ops)
	p.LoseReplies(0, nil)
	for i := range ops {
		if !errors.Is(ops[i].Err, locks.ErrUnavailable) {
			t.Errorf("operation %d: %v", i, ops[i].Err)
		}
	}
	settled(t, e)
	for _, id := range []locks.ID{"a", "s", "b", "d", "e"} { // c was renewed: somebody may know of it
		if i := info(t, direct, id); i.Held() {
			t.Errorf("what nobody was told of is held: %+v", i)
		}
	}
}

func TestStalledUpstreamFailsAllThatGatherInTime(t *testing.T) {
	const requests, timeout = 500, 500 * time.Millisecond
	_, p, e, direct := behindProxy(t, timeout)
	p.Freeze()
	begin := time.Now()
	each(requests, func(i int) {
		_, err := e.Acquire(context.Background(), request(locks.ID(fmt.Sprint(i)), ""))
		if took := time.Since(begin); !errors.Is(err, locks.ErrUnavailable) || took > 20*timeout { // and not after each other
			t.Errorf("after %v: %v", took, err)
		}
	})
	p.Thaw()
	settled(t, e)
	for i := range requests {
		if info(t, direct, locks.ID(fmt.Sprint(i))).Held() {
			t.Errorf("%d is held", i)
		}
	}
}

func TestWhoHasLittleTimeDoesNotWaitForOthers(t *testing.T) {
	_, p, e, _ := behindProxy(t, time.Minute)
	p.Freeze()
	defer p.Thaw()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range 10 {
		go func() { _, _ = e.Acquire(ctx, request(locks.ID(fmt.Sprint(i)), "")) }()
	}
	short, end := context.WithTimeout(ctx, 100*time.Millisecond)
	defer end()
	begin := time.Now()
	_, err := e.Acquire(short, request("a", ""))
	if took := time.Since(begin); !errors.Is(err, locks.ErrUnavailable) || took > 20*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

func TestNothingIsSentForAClientThatLeft(t *testing.T) {
	const clients, batch = 50, 8
	_, p, _, direct := behindProxy(t, 0)
	e := openWith(t, upstream.Options{URL: p.URL(), Timeout: 3 * time.Second, Batch: batch})
	if _, err := e.Check(context.Background(), "warm-up", 1); err != nil {
		t.Fatal(err)
	}
	p.Freeze()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(200*time.Millisecond, func() {
		cancel()
		p.Thaw()
	})
	var mu sync.Mutex
	done := map[locks.ID]bool{}
	each(clients, func(i int) {
		id := locks.ID(fmt.Sprint(i))
		_, err := e.Acquire(ctx, request(id, ""))
		mu.Lock()
		defer mu.Unlock()
		done[id] = err == nil
	})
	granted := 0
	for id, ok := range done {
		if held := info(t, direct, id).Held(); held != ok {
			t.Errorf("%q is held: %v; its client was told %v", id, held, ok)
		}
		if ok {
			granted++
		}
	}
	if granted > 1+batch { // which were on the way
		t.Errorf("%d requests were sent for clients that had left", granted)
	}
}

func TestWhatGathersIsBounded(t *testing.T) {
	const clients, together = 300, 256
	_, p, e, _ := behindProxy(t, time.Minute)
	p.Freeze() // until somebody is refused
	var mu sync.Mutex
	busy := 0
	each(clients, func(i int) {
		ops := make([]locks.Op, together)
		for n := range ops {
			ops[n] = locks.Op{Kind: locks.OpCheck, Check: locks.CheckRequest{ID: "a", Token: 1}}
		}
		e.Do(context.Background(), ops)
		mu.Lock()
		defer mu.Unlock()
		if errors.Is(ops[0].Err, locks.ErrBusy) {
			busy++
			p.Thaw()
		}
	})
	if busy == 0 || busy > clients-1<<16/together {
		t.Errorf("%d of %d were refused", busy, clients)
	}
}

// A copy was refused as late, and the next was torn.
func TestLateBatchThatWasTornIsDoneOnceOrUnknown(t *testing.T) {
	s := redistest.StartWithClock(t)
	p, e, direct := before(t, s, 0)
	ops := []locks.Op{
		{Acquire: request("a", "")}, {Kind: locks.OpRelease, Release: locks.ReleaseRequest{ID: "a"}}, {Acquire: request("b", "")},
	}
	s.SetClock(time.Hour)
	p.TearReply(1000, func() { p.TearReply(1, nil) }) // the first is whole
	e.Do(context.Background(), ops)
	for i, want := range []error{locks.ErrUnavailable, locks.ErrUnavailable, nil} {
		if !errors.Is(ops[i].Err, want) {
			t.Errorf("operation %d: %v, want %v", i, ops[i].Err, want)
		}
	}
	settled(t, e)
	if info(t, direct, "a").Held() || !info(t, direct, "b").Held() {
		t.Error("a was acquired again after its release, or b was not")
	}
}

func TestSilentConnectionHoldsUpOnlyWhatIsOnIt(t *testing.T) {
	_, p, e, _ := behindProxy(t, 6*time.Second)
	p.HoldReplies(1)
	lost := make(chan error, 1)
	go func() {
		_, err := e.Check(context.Background(), "lost", 1)
		lost <- err
	}()
	eventually(t, "the reply is lost", func() bool { return p.Lost() })
	each(5, func(int) {
		for range 10 {
			if _, err := e.Check(context.Background(), "a", 1); err != nil {
				t.Error(err)
			}
		}
	})
	if len(lost) > 0 {
		t.Error("the others had to wait for what is on it")
	}
	if err := <-lost; !errors.Is(err, locks.ErrUnavailable) {
		t.Errorf("what was on it: %v", err)
	}
}

func TestDeadlinesThatDifferDoNotSplitBatches(t *testing.T) {
	const requests = 100
	s, p, e, _ := behindProxy(t, 80*time.Second)
	before := scriptsRun(t, s)
	p.Freeze()
	thawOnceGathered(p, e)
	each(requests, func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(30+i%2*30)*time.Second)
		defer cancel()
		if _, err := e.Check(ctx, "a", 1); err != nil {
			t.Error(err)
		}
	})
	if n := scriptsRun(t, s) - before; n > 8 {
		t.Errorf("%d requests took %d scripts", requests, n)
	}
}

func TestDialThatHangsEndsWithTheRequestsTime(t *testing.T) {
	e := openWith(t, upstream.Options{URL: "redis://" + redistest.NobodyAccepts(t), Timeout: time.Minute})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := e.Check(ctx, "a", 1); !errors.Is(err, locks.ErrUnavailable) || time.Since(begin) > 20*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}

// The front ends' next clients find those who left gone, however many they were.
func TestCrowdLeavesAStalledUpstream(t *testing.T) {
	const waiters, each = 5000, 500
	_, p, e, direct := behindProxy(t, 10*time.Second)
	acquire(t, direct, request("a", "x"))
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	var wg sync.WaitGroup
	for n := each; n <= waiters; n += each {
		for range each {
			wg.Go(func() {
				req := request("a", "")
				req.Wait = locks.Forever
				if _, err := e.Acquire(ctx, req); !errors.Is(err, locks.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		eventually(t, "they wait", func() bool { return info(t, direct, "a").Waiters == n })
	}
	p.Freeze()
	begin := time.Now()
	leave()
	wg.Wait()
	if took := time.Since(begin); took > 20*time.Second { // and not 5000 times half a second, or a part of that
		t.Errorf("leaving took %v", took)
	}
	p.Thaw()
	settled(t, e)
	if n := info(t, direct, "a").Waiters; n != 0 {
		t.Errorf("%d still wait", n)
	}
}

// Clients with any time left, of which some leave, ask a server whose connections hang, break
// and come back. In the end the batcher counts nothing that is not there: what it counted too
// often would be missing for ever.
func TestNothingIsLeftInTheAir(t *testing.T) {
	for name, batch := range map[string]int{"batches": 0, "each alone": 1} {
		t.Run(name, func(t *testing.T) {
			const timeout = 400 * time.Millisecond
			s := redistest.Start(t)
			p := redistest.NewProxy(t, s.Addr)
			e := openWith(t, upstream.Options{URL: p.URL(), Timeout: timeout, Batch: batch})
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for i := range 60 {
				wg.Go(func() {
					chance := rand.New(rand.NewPCG(1, uint64(i)))
					for {
						select {
						case <-stop:
							return
						default:
						}
						left := time.Duration(1+chance.IntN(600)) * time.Millisecond
						ctx, cancel := context.WithTimeout(context.Background(), left)
						if chance.IntN(4) == 0 {
							time.AfterFunc(left/2, cancel)
						}
						switch chance.IntN(3) {
						case 0:
							_, _ = e.Acquire(ctx, request("a", ""))
						case 1:
							_, _ = e.Release(ctx, locks.ReleaseRequest{ID: "a"})
						default:
							ops := make([]locks.Op, 1+chance.IntN(40))
							for n := range ops {
								ops[n] = locks.Op{Kind: locks.OpCheck, Check: locks.CheckRequest{ID: "b", Token: 1}}
							}
							e.Do(ctx, ops)
						}
						cancel()
					}
				})
			}
			chance := rand.New(rand.NewPCG(2, 2))
			for range 12 {
				switch chance.IntN(4) {
				case 0:
					p.Freeze()
					time.Sleep(timeout) // flights are under way, in real time
					p.Thaw()
				case 1:
					p.CutAll()
				case 2:
					p.HoldReplies(10)
				default:
					s.Pause()
					time.Sleep(timeout / 2)
					s.Resume()
				}
				time.Sleep(time.Duration(chance.IntN(200)) * time.Millisecond)
			}
			p.HoldReplies(0)
			close(stop)
			wg.Wait()
			settled(t, e)
			eventually(t, "nothing is in the air", func() bool {
				flights, flying, slow, queued, units := e.InTheAir()
				return flights+flying+slow+queued+units == 0
			})
			eventually(t, "it serves", func() bool {
				_, err := e.Check(context.Background(), "a", 1)
				return err == nil
			})
		})
	}
}
