package scale

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
)

// The figures beside held locks. Times are those between two replies, at 16
// connections with pipelines of 16.
const (
	acquireNew   cells.Figure = "acquire_new_us" // on the way to that many
	acquire      cells.Figure = "acquire_us"     // of a lock that was held just before
	release      cells.Figure = "release_us"
	heartbeat    cells.Figure = "heartbeat_us"
	bytesEach    cells.Figure = "bytes_each" // of live heap, of used_memory
	rss          cells.Figure = "rss_bytes_each"
	bytesToPlain cells.Figure = "bytes_to_plain"
)

// tooFew is how many bytes a growth must have to be told from others.
const tooFew = 1 << 20

// ttl is how long leases last, in ms: not to end here, so longer than all takes.
const ttl = "3600000"

// packed is a value as long as candado's record of an anonymous lease in Redis.
var packed = strings.Repeat("v", 43)

// verbs is how a contender does what is measured.
type verbs struct {
	acquire, release, heartbeat func(number int) []string
	granted, released, renewed  judge
}

func verbsOf(contender string) verbs {
	if contender == plain {
		key := func(number int) string { return "candado:{" + id(number) + "}" } // as candado calls it
		return verbs{
			acquire:   func(n int) []string { return []string{"SET", key(n), packed, "NX", "PX", ttl} },
			release:   func(n int) []string { return []string{"DEL", key(n)} },
			heartbeat: func(n int) []string { return []string{"PEXPIRE", key(n), ttl} },
			granted:   is("+OK"), released: is(":1"), renewed: is(":1"),
		}
	}
	return verbs{
		acquire:   func(n int) []string { return []string{"LOCK.ACQUIRE", id(n), "PX", ttl} },
		release:   func(n int) []string { return []string{"LOCK.RELEASE", id(n)} },
		heartbeat: func(n int) []string { return []string{"LOCK.HEARTBEAT", id(n)} },
		granted:   isToken, released: is(":1"), renewed: is(":" + ttl),
	}
}

// holding is a contender with that many held locks. They are taken in the first
// round, and stay, so that all decades can take turns.
type holding struct {
	env       *report.Env
	contender string
	n         int
	length    time.Duration

	team  *team // nil before
	conns crowd
}

func (h *holding) close() {
	h.conns.close()
	h.team.stop()
}

func (h *holding) measure(ctx context.Context, round int) (cells.Round, error) {
	f := cells.Figures{}
	if round == 1 {
		if err := h.fill(ctx, f); err != nil {
			return cells.Round{}, fmt.Errorf("holding %d locks: %w", h.n, err)
		}
	}
	if h.conns == nil {
		return cells.Round{}, errors.New("the locks are not held")
	}
	return cells.Round{Figures: f}, h.operate(f)
}

// fill takes the locks, and sees what they cost.
func (h *holding) fill(ctx context.Context, f cells.Figures) (err error) {
	if h.team, err = start(ctx, h.env, h.contender); err != nil {
		return err
	}
	conns, err := gather(ctx, h.team.addr, senders, false)
	if err != nil {
		return err
	}
	h.conns = conns
	before, err := h.memory(ctx)
	if err != nil {
		return err
	}
	v := verbsOf(h.contender)
	took, err := h.conns.spread(numbers(0, h.n), v.acquire, v.granted)
	if err != nil {
		return err
	}
	f.Set(acquireNew, micros(took)/float64(h.n))
	after, err := h.memory(ctx)
	if err != nil {
		return err
	}
	for name := range before {
		if grown := after[name] - before[name]; grown >= tooFew {
			f.Set(name, grown/float64(h.n))
		}
	}
	return nil
}

// memory returns what the keeper of the locks takes.
func (h *holding) memory(ctx context.Context) (cells.Figures, error) {
	keeper, f := h.team.front(), cells.Figures{}
	var all float64
	var err error
	if h.team.Redis != nil {
		keeper = h.team.Redis.Process
		all, err = used(ctx, h.team.Redis)
	} else {
		all, err = live(ctx, h.team.Service)
	}
	if err != nil {
		return nil, err
	}
	f[bytesEach] = all
	f[rss], err = resident(keeper)
	return f, err
}

// operate renews, releases and takes again some of the locks, until there is
// enough to tell how long each takes.
func (h *holding) operate(f cells.Figures) error {
	before, err := h.team.Usage()
	if err != nil {
		return err
	}
	v := verbsOf(h.contender)
	var spent [3]time.Duration
	operations := 0
	for spent[0]+spent[1]+spent[2] < h.length {
		chosen := some(h.n, 8000)
		for i, step := range []struct {
			command func(int) []string
			right   judge
		}{{v.heartbeat, v.renewed}, {v.release, v.released}, {v.acquire, v.granted}} {
			took, err := h.conns.spread(chosen, step.command, step.right)
			if err != nil {
				return fmt.Errorf("%s: %w", step.command(0)[0], err)
			}
			spent[i] += took
		}
		operations += len(chosen)
	}
	for i, name := range []cells.Figure{heartbeat, release, acquire} {
		f.Set(name, micros(spent[i])/float64(operations))
	}
	return h.team.processors(f, before, float64(3*operations))
}

// held returns the turns of the part about held locks, and what stops its
// servers.
func held(env *report.Env, p plan) (turns []cells.Turn, stop func()) {
	var all []*holding
	for _, n := range p.Held {
		for _, contender := range []string{embedded, onRedis, plain} {
			h := &holding{env: env, contender: contender, n: n, length: p.Length}
			all = append(all, h)
			turns = append(turns, turn(contender, heldLocks, n, h.measure))
		}
	}
	return turns, func() {
		for _, h := range all {
			h.close()
		}
	}
}

func turn(contender, what string, n int, measure func(ctx context.Context, round int) (cells.Round, error)) cells.Turn {
	return cells.Turn{
		Contender: contender, Load: strconv.Itoa(n) + " " + what,
		Params: map[string]float64{"n": float64(n)}, Measure: measure,
	}
}
