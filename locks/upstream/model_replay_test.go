package upstream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks/upstream/redistest"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// What ties the model to the scripts: random paths of the model are played to a
// real server, script by script, and what is seen there has to be the same.

// op is a script that was run, or what else changed at the server, with what the
// model says of it.
type op struct {
	kind   opKind
	slot   int
	node   int
	at     bool
	stale  bool // the token that is claimed is not a live lease's
	status int
	asked  [slots]bool
	fates  [slots]int8
	own    [slots]news8
	sent   [slots]bool
	after  state
}

type opKind int

const (
	opAcquire opKind = iota
	opUndo
	opConfirm
	opRelease
	opTend
	opTakeOut
	opLose
	opCut
	opListen
	opTick
)

const (
	realTick  = 1480 * time.Millisecond
	realMeans = 100 * time.Microsecond // between one script and the next
)

// stage is a real server on which paths are played.
type stage struct {
	t       *testing.T
	server  *redistest.Server
	client  *redis.Client
	subs    [candados]*redis.PubSub
	scripts script.Set
	scope   *scope
	now     time.Time
	serial  int
	deaf    [candados]bool

	places [slots]int64
	back   [slots]bool    // the request's entry is that of one who came back
	tokens [slots][]int64 // of each request's leases
	peak   int64
}

const stageKey = "candado:{a}"

func nodeName(c int) string   { return fmt.Sprintf("candado-%08d", c) }
func slotNumber(r int) string { return fmt.Sprintf("request%d", r) }

func newStage(t *testing.T) *stage {
	s := redistest.StartWithClock(t)
	st := &stage{
		t: t, server: s, scripts: script.Load(), now: time.Now().Truncate(time.Millisecond),
		client: redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, Protocol: 2}),
	}
	t.Cleanup(func() { _ = st.client.Close() })
	for c := range st.subs {
		st.subs[c] = st.client.Subscribe(t.Context(), keys{"candado:"}.channel(nodeName(c)))
		t.Cleanup(func() { _ = st.subs[c].Close() })
		st.subscribed(c, "subscribe")
	}
	return st
}

// heard returns the next thing that a candado hears, or why there is none.
func (st *stage) heard(c int) any {
	m, err := st.subs[c].ReceiveTimeout(st.t.Context(), 10*time.Second)
	if err != nil {
		return err
	}
	return m
}

// unforeseen takes in what candados have still to hear, and returns what that is.
func (st *stage) unforeseen() (wrong string) {
	for c, deaf := range st.deaf {
		if deaf {
			continue
		}
		st.client.Publish(st.t.Context(), keys{"candado:"}.channel(nodeName(c)), "end")
		for {
			m, ok := st.heard(c).(*redis.Message)
			if !ok {
				st.t.Fatalf("candado %d hears nothing", c)
			}
			if m.Payload == "end" {
				break
			}
			wrong = fmt.Sprintf("candado %d is told what the model does not say: %q", c, m.Payload)
		}
	}
	return wrong
}

// begin empties the stage for a path.
func (st *stage) begin(sc *scope) {
	_ = st.unforeseen() // of a path that was broken off
	st.server.Do("FLUSHALL")
	st.scope, st.places, st.back, st.tokens = sc, [slots]int64{}, [slots]bool{}, [slots][]int64{}
	for c, deaf := range st.deaf {
		if deaf {
			st.listen(c)
		}
	}
	st.pass(realTick)
}

func (st *stage) listen(c int) {
	_ = st.subs[c].Subscribe(st.t.Context(), keys{"candado:"}.channel(nodeName(c)))
	st.subscribed(c, "subscribe")
	st.deaf[c] = false
}

func (st *stage) cut(c int) {
	_ = st.subs[c].Unsubscribe(st.t.Context(), keys{"candado:"}.channel(nodeName(c)))
	st.subscribed(c, "unsubscribe")
	st.deaf[c] = true
}

// subscribed waits until the server has done what a subscriber asked for.
func (st *stage) subscribed(c int, kind string) {
	st.t.Helper()
	heard := st.heard(c)
	if s, ok := heard.(*redis.Subscription); !ok || s.Kind != kind {
		st.t.Fatalf("candado %d hears %v, want %s", c, heard, kind)
	}
}

func (st *stage) pass(d time.Duration) {
	st.now = st.now.Add(d)
	st.server.FreezeClock(st.now)
}

// run runs a script on behalf of a candado, and returns its reply without status
// and time, and what it says of that candado's requests.
func (st *stage) run(s script.Script, c int, args ...any) (status int64, fields []any, own [slots]bool) {
	st.t.Helper()
	all := append([]any{0, 0, nodeName(c)}, args...)
	v, err := st.client.Eval(st.t.Context(), s.Source, []string{stageKey}, all...).Slice()
	if err != nil || len(v) < 2 {
		st.t.Fatalf("script: %v, %v", v, err)
	}
	return st.read(v)
}

// do runs one operation on behalf of a candado, and returns what run does.
func (st *stage) do(c int, op interface{ Append([]byte) []byte }) (status int64, fields []any, own [slots]bool) {
	st.t.Helper()
	args := []any{0, 0, nodeName(c), 10, op.Append(nil)}
	v, err := st.client.Eval(st.t.Context(), st.scripts.Batch.Source, []string{stageKey}, args...).Slice()
	if err != nil || len(v) != 3 {
		st.t.Fatalf("batch: %v, %v", v, err)
	}
	switch v := v[2].(type) {
	case []any:
		if v[0].(int64) == statusError {
			st.t.Fatalf("batch: %v", v)
		}
		return st.read(v)
	default:
		return min(v.(int64), statusDone), nil, own
	}
}

func (st *stage) read(v []any) (status int64, fields []any, own [slots]bool) {
	status, fields = v[0].(int64), v[2:]
	if n := len(fields); n > 0 {
		if news, ok := fields[n-1].([]any); ok {
			fields = fields[:n-1]
			for i := 1; i+3 < len(news); i += 4 {
				own[slotOf(news[i+1].(string))] = true
			}
		}
	}
	return status, fields, own
}

// slotOf returns the slot of a request's number, or -1.
func slotOf(number string) int {
	for r := range slots {
		if slotNumber(r) == number {
			return r
		}
	}
	return -1
}

// play does at the server what an op did in the model, and returns what differs.
func (st *stage) play(o op) string {
	self := st.scope.asks[o.slot].candado
	var status int64
	var fields []any
	var own [slots]bool
	switch o.kind {
	case opAcquire:
		st.back[o.slot] = st.back[o.slot] || o.at
		status, fields, own = st.do(self, st.acquireOp(o))
		if len(fields) > 1 && status == statusWaits {
			st.places[o.slot] = fields[1].(int64)
		}
	case opUndo:
		_, _, own = st.do(self, script.Undo{Entry: st.entry(o.slot)})
	case opConfirm:
		status, _, own = st.do(self, script.Confirm{Number: script.Number([]byte(slotNumber(o.slot))), Token: st.claim(o)})
	case opRelease:
		st.serial++
		_, _, own = st.do(o.node, script.Release{Number: script.Number(fmt.Appendf(nil, "%06d--", st.serial)), Token: st.claim(o)})
	case opTend:
		var args []any
		for r, asked := range o.asked {
			if asked {
				args = append(args, st.entry(r).Of(nodeName(o.node)))
			}
		}
		_, fields, own = st.run(st.scripts.Tend, o.node, args...)
		if wrong := st.fates(o, fields); wrong != "" {
			return wrong
		}
	case opTakeOut:
		e := st.entry(o.slot)
		e.Back = false
		status = st.client.ZRem(st.t.Context(), stageKey+queueKey, e.Of(nodeName(self))).Val()
	case opLose:
		st.server.Do("FLUSHALL")
	case opCut:
		st.cut(o.node)
	case opListen:
		st.listen(o.node)
	case opTick:
		st.pass(realTick)
	}
	defer st.pass(realMeans)
	if status != int64(o.status) {
		return fmt.Sprintf("the status is %d, the model's %d", status, o.status)
	}
	for r := range slots {
		if own[r] != (o.own[r].kind != 0) {
			return fmt.Sprintf("the reply has news of request %d: %v, the model says %v", r, own[r], !own[r])
		}
	}
	if wrong := st.differs(o.after); wrong != "" {
		return wrong
	}
	for r := range slots {
		if !o.sent[r] {
			continue
		}
		heard := st.heard(st.scope.asks[r].candado)
		if m, ok := heard.(*redis.Message); !ok || len(m.Payload) != 23 || m.Payload[1:9] != slotNumber(r) {
			return fmt.Sprintf("the message about request %d is %v", r, heard)
		}
	}
	return ""
}

// entry returns what a request is known by.
func (st *stage) entry(r int) script.Entry {
	ask := st.scope.asks[r]
	return script.Entry{
		Number: script.Number([]byte(slotNumber(r))), Shared: ask.shared, Limit: int(ask.limit),
		TTL: (time.Duration(ask.ttl) * realTick).Milliseconds(), Back: st.back[r],
	}
}

func (st *stage) acquireOp(o op) script.Acquire {
	a := script.Acquire{Entry: st.entry(o.slot), Queue: st.scope.asks[o.slot].wait || o.at}
	if o.at {
		a.Place = st.places[o.slot]
	}
	return a
}

// claim returns the token by which an op claims a lease.
func (st *stage) claim(o op) int64 {
	known := st.tokens[o.slot]
	switch {
	case !o.stale:
		return known[len(known)-1]
	case o.after.slots[o.slot].token == 0 && len(known) > 0:
		return known[len(known)-1] // it was a lease's once
	case len(known) > 1:
		return known[len(known)-2]
	}
	return 1
}

func (st *stage) fates(o op, fields []any) string {
	for r, asked := range o.asked {
		if !asked {
			continue
		}
		fate := fields[0].(int64)
		fields = fields[1:]
		if (fate > 0) != (o.fates[r] > 0) || (fate < 0) != (o.fates[r] < 0) {
			return fmt.Sprintf("the fate of request %d is %d, the model's %d", r, fate, o.fates[r])
		}
	}
	return ""
}

// playPaths plays the ways to random states, half of them such as are seldom met, and goes on from there at random.
// It returns how many steps were the same, and what differed then.
func (st *stage) playPaths(worlds []world, paths int, broken mutation) (steps int, wrong string) {
	random := rand.New(rand.NewPCG(1, 2)) // the same paths each time
	for path := range paths {
		w := worlds[path%len(worlds)]
		sc := w.scope
		sc.broken = broken
		st.begin(&sc)
		m := model{state: sc.start(), scope: &sc}
		var names []string
		to := random.IntN(len(w.states))
		if seldom := w.seldom[path%4/2]; path%2 == 0 && len(seldom) > 0 {
			to = seldom[random.IntN(len(seldom))]
		}
		way := way(w.states, to)
		for i := range len(way) + 10 {
			actions := m.actions()
			which := random.IntN(len(actions))
			if i < len(way) {
				which = way[i] % len(actions) // a broken model may have other actions here
			}
			a := actions[which]
			var trace []op
			m.trace, m.faults = &trace, m.faults-a.cost
			a.do(&m)
			names = append(names, a.String())
			for _, o := range trace {
				steps++
				if wrong = st.play(o); wrong != "" {
					return steps, fmt.Sprintf("path %d: %s, after\n  %s", path, wrong, strings.Join(names, "\n  "))
				}
			}
		}
		if wrong = st.unforeseen(); wrong != "" {
			return steps, fmt.Sprintf("path %d: %s, after\n  %s", path, wrong, strings.Join(names, "\n  "))
		}
	}
	return steps, ""
}

func TestScriptsDoWhatTheModelDoes(t *testing.T) {
	st, worlds := newStage(t), worlds()
	steps, wrong := st.playPaths(worlds, 320, nothing)
	if t.Logf("%d steps were the same", steps); wrong != "" {
		t.Fatal(wrong)
	}
	if steps < 5000 {
		t.Errorf("only %d steps were played", steps)
	}
	// A comparison that sees no difference would prove nothing.
	for _, broken := range []mutation{ignoreHolders, neverExpire, grantWhole, dropUntold, forgiveNobody, forgiveForEver, outsidersAreHasty} {
		if steps, wrong := st.playPaths(worlds, 640, broken); wrong == "" {
			t.Errorf("%v: %d steps were the same", broken, steps)
		}
	}
	right := st.scripts
	for what, wrong := range map[string][2]string{
		"who releases hands over to the last": {"local head = redis.call('ZRANGEBYSCORE', queue, 0, '(5000000000000000',", "local head = redis.call('ZREVRANGEBYSCORE', queue, '(5000000000000000', 0,"},
		"who enters does not speak":           {"entry, spoke, 'c' .. self, size, 'z') == 0", "entry, size, 'z') == 0"},
		"entries stay when their leases end":  {"if w and w.place <= pending and take_out", "if w and w.place < pending and take_out"},
	} {
		source := strings.ReplaceAll(right.Batch.Source, wrong[0], wrong[1])
		if st.scripts.Batch = script.New(source); source == right.Batch.Source {
			t.Fatalf("the scripts do not hold what should be wrong in them: %s", what)
		}
		if steps, differs := st.playPaths(worlds, 640, nothing); differs == "" {
			t.Errorf("%s: %d steps were the same", what, steps)
		}
	}
}

// world is a scope with all its states.
type world struct {
	scope  scope
	states []met
	seldom [2][]int // those in which a request has lost its place, and those in which somebody was forgiven: they are few
}

func worlds() (all []world) {
	for _, sc := range scopes() {
		w, transitions := world{scope: sc}, 0
		few := 40_000 // of the nearest: the rest takes long to meet
		w.states = w.scope.meet(func(*model) bool { few--; return few > 0 }, &transitions)
		for i, met := range w.states {
			if slices.ContainsFunc(met.state.slots[:], func(s slot) bool { return s.phase == returns }) {
				w.seldom[0] = append(w.seldom[0], i)
			}
			if n := met.state.nodes; n[0].forgiven() || n[1].forgiven() {
				w.seldom[1] = append(w.seldom[1], i)
			}
		}
		all = append(all, w)
	}
	return all
}
