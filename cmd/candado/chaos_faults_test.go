package main

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks/lockstest/history"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// historyTimeout is the candados' --upstream-timeout.
const historyTimeout = time.Second

// fleet is some candados before one Redis, each with a proxy of its own on the
// way there, and what is done to them.
type fleet struct {
	t        *testing.T
	recorder *history.Recorder
	redis    *redistest.Server
	ways     []*redistest.Proxy

	mu       sync.Mutex
	started  int // processes so far
	candados []*candado
}

// candado is a process and its number among all that ran.
type candado struct {
	*process
	number int
}

// startFleet starts n candados before a Redis whose data outlive it if durable.
func startFleet(t *testing.T, recorder *history.Recorder, n int, durable bool) *fleet {
	need(t, "redis-server")
	args := []string{}
	if durable {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no")
	}
	f := &fleet{t: t, recorder: recorder, redis: redistest.Start(t, args...), candados: make([]*candado, n)}
	for i := range n {
		f.ways = append(f.ways, redistest.NewProxy(t, f.redis.Addr))
		f.start(i)
	}
	return f
}

// start starts a candado in its place.
func (f *fleet) start(i int) {
	p := startProcess(f.t, "--upstream", f.ways[i].URL()+"/0", "--upstream-timeout", historyTimeout.String())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started++
	f.candados[i] = &candado{p, f.started}
}

func (f *fleet) at(i int) *candado {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.candados[i]
}

// dial connects a client: most by RESP, some by HTTP.
func (f *fleet) dial(client int, r *rand.Rand) (history.Conn, error) {
	c := f.at(r.IntN(len(f.ways)))
	if client%5 == 4 {
		return newHTTPConn(c.http, c.number), nil
	}
	return dialHistoryRESP(c.resp, c.number)
}

// fault is one thing that goes wrong.
type fault struct {
	name   string
	after  time.Duration // since the one before was over
	lasts  time.Duration
	victim int // the candado, where it is about one
	count  int // of what is lost
}

// calm is how long nothing goes wrong at the end of a history: then it shows what
// has not recovered.
const calm = 5 * time.Second

// plan draws what goes wrong, from the seed alone.
func plan(seed uint64, candados int, durable bool, total, pause time.Duration) (faults []fault) {
	r := rand.New(rand.NewPCG(seed, 1<<32))
	names := []string{"flush scripts", "cut", "lose replies", "lose requests", "hold replies", "mute", "freeze", "pause", "kill redis", "kill", "stop", "stall"}
	if !durable {
		names = append(names, "flush all", "flush all")
	}
	for at := time.Duration(0); ; {
		f := fault{
			name: names[r.IntN(len(names))], after: pause/2 + time.Duration(r.Int64N(int64(pause))),
			lasts: 50*time.Millisecond + time.Duration(r.Int64N(int64(pause))), victim: r.IntN(candados), count: 1 + r.IntN(4),
		}
		if r.IntN(8) == 0 && total > 10*time.Second {
			f.lasts += 3 * time.Second // longer than anybody is patient
		}
		if at += f.after + f.lasts; at > total {
			return faults
		}
		faults = append(faults, f)
	}
}

// suffer lets a fault happen, and takes it down.
func (f *fleet) suffer(what fault, durable bool) {
	way := f.ways[what.victim]
	during := func(op history.Op, begin, end func()) {
		e := history.Event{Op: op, Error: what.name}
		if what.name != "pause" && what.name != "kill redis" {
			e.Candado = f.at(what.victim).number
		}
		f.recorder.Record(e, func(*history.Event) {
			begin()
			time.Sleep(what.lasts)
			end()
		})
	}
	switch what.name {
	case "flush scripts":
		f.redis.Do("SCRIPT FLUSH") // nobody notices
	case "flush all":
		f.recorder.Record(history.Event{Op: history.OpLost, Error: what.name}, func(*history.Event) { f.redis.Do("FLUSHALL") })
	case "cut":
		during(history.OpCut, way.CutAll, func() {})
	case "lose replies":
		during(history.OpCut, func() { way.LoseReplies(what.count, nil) }, func() { way.LoseReplies(0, nil) })
	case "lose requests":
		during(history.OpCut, func() { way.LoseRequests(what.count) }, func() { way.LoseRequests(0) })
	case "hold replies":
		during(history.OpDown, func() { way.HoldReplies(what.count) }, func() { way.HoldReplies(0) })
	case "mute":
		during(history.OpMute, func() { way.Mute(true) }, func() { way.Mute(false) })
	case "freeze":
		during(history.OpDown, way.Freeze, way.Thaw)
	case "pause":
		during(history.OpDown, f.redis.Pause, f.redis.Resume)
	case "stall":
		c := f.at(what.victim)
		during(history.OpDown, func() { f.signal(c, syscall.SIGSTOP) }, func() { f.signal(c, syscall.SIGCONT) })
	case "kill redis":
		op := func() { during(history.OpDown, f.redis.Kill, f.redis.Restart) }
		if !durable {
			f.recorder.Record(history.Event{Op: history.OpLost, Error: what.name}, func(*history.Event) { op() })
			return
		}
		op()
	case "kill", "stop":
		f.replace(what)
	}
}

// replace ends a candado, at once or as it is meant to end, and starts another in
// its place.
func (f *fleet) replace(what fault) {
	c := f.at(what.victim)
	f.recorder.Record(history.Event{Op: history.OpKilled, Candado: c.number, Error: what.name}, func(*history.Event) {
		if what.name == "kill" {
			_ = c.cmd.Process.Kill()
			c.exitCode(f.t)
			return
		}
		f.stop(c)
	})
	f.start(what.victim)
}

// stop wants a candado to end by itself.
func (f *fleet) stop(c *candado) {
	f.signal(c, syscall.SIGTERM)
	if code := c.exitCode(f.t); code != 0 {
		f.t.Errorf("candado %d ends with %d:\n%s", c.number, code, c.logged())
	}
}

func (f *fleet) signal(c *candado, sig syscall.Signal) {
	if err := c.cmd.Process.Signal(sig); err != nil {
		f.t.Errorf("candado %d has ended by itself: %v\n%s", c.number, err, c.logged())
	}
}
