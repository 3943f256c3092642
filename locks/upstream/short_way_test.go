package upstream

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks/upstream/redistest"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// The short way through a release says again what the rest of the script does. So
// random histories of a lock are played twice, with it and without, each in a
// database of its own, on a server whose clock stands still: after each step, replies,
// messages and all that is kept must be the same.

// twins plays each step in both databases.
type twins struct {
	t      *testing.T
	server *redistest.Server
	admin  *redis.Client
	subs   *redis.PubSub
	both   [2]*redis.Client
	batch  [2]script.Script // with the short way, and without
	tend   script.Script
	now    time.Time

	// One history's:
	random  *rand.Rand
	short   bool // no TTL is above 4 s
	ill     bool // the server is full, or takes no writes
	serial  int
	entries []script.Entry // of those who came, in turn
	places  map[script.Number]int64
	tokens  []int64
	holder  string // the number of the latest lease's request
	ends    []script.Release
}

var (
	twinIDs    = []string{"a", "", "%7D}{", "\x00\xff\r\n*?["}
	twinOwners = []string{"", "", "me", "you", "\x00", "w}\r\n\xff", strings.Repeat("o", 256)}
	twinTTLs   = []int64{1, 1000, 2000, 3000, 3999, 4000, 4001, 30_000, 30_001, 1<<33 + 5000, 0}
	twinPauses = []time.Duration{0, time.Microsecond, 999 * time.Microsecond, 700 * time.Millisecond, 1600 * time.Millisecond, 3999 * time.Millisecond,
		4 * time.Second, 4100 * time.Millisecond, 31 * time.Second, 61 * time.Second}
)

const wellServer = "CONFIG SET maxmemory 0 min-replicas-to-write 0"

const shortWay = "if exclusive and queued and sent == 0 and"

func newTwins(t *testing.T) *twins {
	s := redistest.StartWithClock(t)
	w := &twins{t: t, server: s, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), tend: script.Load().Tend}
	connect := func(db int) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, Protocol: 2, DB: db})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	w.admin, w.both = connect(0), [2]*redis.Client{connect(1), connect(2)}
	w.subs = w.admin.Subscribe(t.Context(), "end")
	t.Cleanup(func() { _ = w.subs.Close() })
	w.heard()
	w.batch[0] = script.Load().Batch
	source := strings.Replace(w.batch[0].Source, shortWay, "if false and", 1)
	if source == w.batch[0].Source {
		t.Fatal("the short way does not begin as it did")
	}
	w.batch[1] = script.New(source)
	return w
}

func (w *twins) heard() any {
	w.t.Helper()
	m, err := w.subs.ReceiveTimeout(w.t.Context(), 10*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// listens lets a candado hear messages, or not.
func (w *twins) listens(name string, listens bool) {
	w.t.Helper()
	if listens {
		_ = w.subs.Subscribe(w.t.Context(), keys{}.channel(name))
	} else {
		_ = w.subs.Unsubscribe(w.t.Context(), keys{}.channel(name))
	}
	w.heard()
}

// messages returns what was said since the last look.
func (w *twins) messages() (all []string) {
	w.admin.Publish(w.t.Context(), "end", "")
	for {
		m, ok := w.heard().(*redis.Message)
		if ok && m.Channel == "end" {
			return all
		}
		if ok {
			all = append(all, fmt.Sprintf("%s: %q", m.Channel, m.Payload))
		}
	}
}

// each does the same in both databases, and returns what came of it and what is kept then.
func (w *twins) each(key string, do func(n int, c *redis.Client) any) (saw [2]string) {
	for n, c := range w.both {
		v := do(n, c)
		p := c.Pipeline()
		record := p.Get(w.t.Context(), key)
		cmds := []redis.Cmder{record, p.ZRangeWithScores(w.t.Context(), key+queueKey, 0, -1), p.HGetAll(w.t.Context(), key+":h"),
			p.ZRangeWithScores(w.t.Context(), key+":e", 0, -1), p.ZRangeWithScores(w.t.Context(), key+":a", 0, -1)}
		for _, k := range []string{"", queueKey, ":h", ":e", ":a"} {
			cmds = append(cmds, p.PTTL(w.t.Context(), key+k))
		}
		_, _ = p.Exec(w.t.Context())
		var kept []string
		for _, cmd := range cmds {
			switch cmd := cmd.(type) {
			case *redis.StringCmd:
				kept = append(kept, fmt.Sprintf("%q", cmd.Val()))
			case *redis.ZSliceCmd:
				for _, z := range cmd.Val() {
					kept = append(kept, fmt.Sprintf("\n  %.1f %q", z.Score, z.Member))
				}
			case *redis.MapStringStringCmd:
				kept = append(kept, fmt.Sprintf("%q", cmd.Val()))
			case *redis.DurationCmd:
				kept = append(kept, cmd.Val().String())
			}
			if err := cmd.Err(); err != nil && err != redis.Nil {
				w.t.Fatal(err)
			}
		}
		if raw := record.Val(); len(raw) >= 43 {
			if token := little([]byte(raw[1:8])); !slices.Contains(w.tokens, token) {
				w.tokens = append(w.tokens, token)
			}
			w.holder = raw[27:35]
		}
		saw[n] = fmt.Sprintf("%#v %q %s", v, w.messages(), strings.Join(kept, " "))
	}
	return saw
}

// replies returns a script's reply; of errors, only what does not name the script.
func replies(v any, err error) any {
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), " script:")
		return text
	}
	all, _ := v.([]any)
	for _, one := range all {
		if fields, ok := one.([]any); ok && len(fields) == 3 && fields[0] == int64(statusError) {
			fields[2], _, _ = strings.Cut(fields[2].(string), " script:")
		}
	}
	return v
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func (w *twins) odds(n int) bool { return w.random.IntN(n) == 0 }

// number returns a new number.
func (w *twins) number() (n script.Number) {
	w.serial++
	copy(n[:], fmt.Sprintf("%06d", w.serial))
	return n
}

// holding returns which entry's request made the latest lease, or -1.
func (w *twins) holding() int {
	return slices.IndexFunc(w.entries, func(e script.Entry) bool { return string(e.Number[:]) == w.holder })
}

// op returns an operation and says what it is.
func (w *twins) op() (op interface{ Append([]byte) []byte }, what string) {
	r := w.random
	token := func() int64 {
		if len(w.tokens) == 0 || w.odds(12) {
			return 0
		}
		return w.tokens[max(0, len(w.tokens)-1-r.IntN(5)/4)]
	}
	entry := func() script.Entry { // of somebody who came, if anybody did
		if len(w.entries) == 0 {
			return script.Entry{Number: w.number()}
		}
		return w.entries[max(0, len(w.entries)-1-int(3*r.ExpFloat64()))]
	}
	switch n := r.IntN(20); {
	case n < 9:
		e := script.Entry{Number: w.number(), Owner: pick(r, twinOwners), TTL: pick(r, twinTTLs)}
		if w.short {
			e.TTL = pick(r, twinTTLs[:6])
		}
		if w.odds(16) {
			e.Shared, e.Limit = true, r.IntN(3)
		}
		a := script.Acquire{Entry: e, Queue: !w.odds(8)}
		if w.odds(6) {
			a.Entry = entry() // a copy, or one who comes back
			if a.Queue && w.odds(2) {
				a.Back, a.Place = true, w.places[a.Number]
			}
		}
		if w.odds(20) {
			a.Doubted = entry().Number
		}
		w.entries = append(w.entries, a.Entry)
		op = a
	case n < 16:
		rel := script.Release{Number: w.number(), Token: token()}
		if w.odds(3) {
			rel.Token, rel.Owner = 0, pick(r, twinOwners)
			if i := w.holding(); i >= 0 && !w.odds(4) {
				rel.Owner = w.entries[i].Owner
			}
		}
		switch r.IntN(12) {
		case 0:
			rel.Force = true
		case 1:
			rel.Untold = true
		case 2, 3:
			if len(w.ends) > 0 {
				rel = w.ends[len(w.ends)-1]
			}
		}
		if w.odds(12) {
			rel.Sent = w.now.UnixMicro() - r.Int64N(3_000_000)
		}
		w.ends = append(w.ends, rel)
		op = rel
	case n < 17:
		op = script.Heartbeat{Token: token(), Keep: w.odds(2), TTL: pick(r, twinTTLs), Owner: pick(r, twinOwners)}
	case n < 18:
		op = script.Confirm{Number: entry().Number, Token: token()}
	case n < 19:
		op = script.Undo{Entry: entry()}
	default:
		op = script.Check{Token: token()}
	}
	return op, fmt.Sprintf("%T %+v", op, op)
}

// step does something in both, and returns what it was and what differs.
func (w *twins) step(key string) (what, wrong string) {
	r, ctx := w.random, w.t.Context()
	name := nodeName(0)
	if w.odds(5) {
		name = nodeName(1 + r.IntN(2))
	}
	var do func(n int, c *redis.Client) any
	switch n := r.IntN(40); {
	case n < 27:
		args, floor := []any{0, 0, name, 10}, any(0)
		if w.odds(200) {
			floor = int64(1)<<53 - 3
		} else if w.odds(10) {
			floor = w.now.Add(time.Second).UnixMicro()
		}
		args[1] = floor
		var ids []string
		for range 1 + r.IntN(8)/6 {
			op, is := w.op()
			args, ids, what = append(args, op.Append(nil)), append(ids, key), what+fmt.Sprintf("%s of %s, floor %v; ", is, name, floor)
		}
		do = func(n int, c *redis.Client) any {
			v, err := c.EvalSha(ctx, w.batch[n].SHA, ids, args...).Result()
			if n == 0 {
				w.note(v)
			}
			return replies(v, err)
		}
	case n < 30:
		var asked []any
		for _, e := range w.entries[max(0, len(w.entries)-4):] {
			asked = append(asked, e.Of(name))
		}
		what = "tend by " + name
		do = func(_ int, c *redis.Client) any {
			return replies(c.EvalSha(ctx, w.tend.SHA, []string{key}, append([]any{0, 0, name}, asked...)...).Result())
		}
	case n < 33 && len(w.entries) > 0:
		e := w.entries[max(0, len(w.entries)-1-int(3*r.ExpFloat64()))]
		if i := w.holding(); i >= 0 && !w.odds(4) {
			e, name = w.entries[i], nodeName(0)
		}
		member := string(e.Of(name))
		if w.odds(8) {
			member = "o" + e.Owner
		}
		what = fmt.Sprintf("%q is taken out", member)
		do = func(_ int, c *redis.Client) any { return c.ZRem(ctx, key+queueKey, member).Val() }
	case n < 37:
		d := pick(r, twinPauses)
		if r.IntN(3) > 0 {
			d = time.Millisecond
		}
		w.pass(d)
		return "pause of " + d.String(), ""
	case n == 37 && w.odds(3):
		k := pick(r, []string{"", queueKey})
		what = "loss of " + k
		do = func(_ int, c *redis.Client) any { return c.Del(ctx, key+k).Val() }
	case n < 38:
		listens := !w.odds(3)
		w.listens(name, listens)
		return fmt.Sprintf("%s listens: %v", name, listens), ""
	case n < 39 && !w.ill:
		w.ill, what = true, pick(r, []string{"maxmemory", "min-replicas-to-write"})
		w.server.Do("CONFIG SET " + what + " 1")
		return what + " is 1", ""
	default:
		w.ill = false
		w.server.Do(wellServer)
		return "the server is well", ""
	}
	if saw := w.each(key, do); saw[0] != saw[1] {
		wrong = fmt.Sprintf("the short way:\n%s\nthe long one:\n%s", saw[0], saw[1])
	}
	w.pass(time.Duration(r.IntN(200)) * time.Microsecond)
	return what, wrong
}

// note takes note of the places that were given.
func (w *twins) note(v any) {
	all, _ := v.([]any)
	for _, one := range all {
		if f, ok := one.([]any); ok && len(f) > 3 && f[0] == int64(statusWaits) {
			w.places[w.entries[len(w.entries)-1].Number], _ = f[3].(int64)
		}
	}
}

func (w *twins) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.server.FreezeClock(w.now)
}

// play plays so many histories, the same each time. It returns what differed.
func (w *twins) play(histories int) (steps int, wrong string) {
	w.server.Do(wellServer)
	for _, s := range []script.Script{w.batch[0], w.batch[1], w.tend} {
		if err := w.admin.ScriptLoad(w.t.Context(), s.Source).Err(); err != nil {
			w.t.Fatal(err)
		}
	}
	for seed := range uint64(histories) {
		w.random, w.short = rand.New(rand.NewPCG(seed, 1)), seed%3 == 0
		w.serial, w.entries, w.places, w.tokens, w.holder, w.ends, w.ill = 0, nil, map[script.Number]int64{}, nil, "", nil, false
		w.server.Do(wellServer)
		w.server.Do("FLUSHALL")
		for c := range 3 {
			w.listens(nodeName(c), false)
		}
		w.pass(time.Minute)
		key := "{" + pick(w.random, twinIDs) + "}"
		var so []string
		for range 40 {
			what, wrong := w.step(key)
			steps++
			if so = append(so, what); wrong != "" {
				return steps, fmt.Sprintf("history %d: %s\nafter\n  %s", seed, wrong, strings.Join(so, "\n  "))
			}
		}
	}
	return steps, ""
}

func TestShortWayDoesWhatTheLongOneDoes(t *testing.T) {
	w, histories := newTwins(t), 250
	if os.Getenv("CANDADO_EXPLORE") == "deep" {
		histories = 5000
	}
	steps, wrong := w.play(histories)
	if t.Logf("%d steps were the same", steps); wrong != "" {
		t.Fatal(wrong)
	}
	// A comparison that sees no difference would prove nothing.
	right := w.batch[0].Source
	for what, wrong := range map[string][2]string{
		"leases of 4 s are taken for longer ones": {"if span > 4000 then\n", "if span >= 4000 then\n"},
		"short leases end as long ones do":        {"till = now + span * 1000\n", "\n"},
		"leases without expiry are short":         {"span > 0 and token <=", "token <="},
		"shared requests are exclusive":           {"and mode == 0 and", "and"},
		"who waited is told another end":          {"{till, 1, number, token, till}}", "{till, 1, number, token, till + 1}}"},
		"entries stay":                            {"redis.call('ZREM', queue, entry)\n        end", "end"},
		"where owners waited stays":               {"if who ~= '' and tonumber(", "if false and tonumber("},
		"where owners wait again goes":            {"redis.call('ZSCORE', queue, 'o' .. who) or 0) == place - 8000000000000000 then", "0) == 0 then"},
		"the holder's own entry is the next":      {"or place > pending)", "or place >= pending)"},
		"no floor":                                {"local token = math.max(last + 1, now, floor + 1)\n    if candado", "local token = math.max(last + 1, now)\n    if candado"},
		"a copy is no copy":                       {shortWay, "if exclusive and queued and"},
		"a copy of the last release":              {"and from ~= ended and flags", "and flags"},
		"a full server":                           {"if redis.pcall('SET', key, packed, 'PX', text(span + RETENTION)).err then", "if redis.call('SET', key, packed, 'PX', text(span + RETENTION)).err then"},
	} {
		if strings.Count(right, wrong[0]) != 1 {
			t.Fatalf("the short way does not hold what should be wrong in it: %s", what)
		}
		w.batch[0] = script.New(strings.Replace(right, wrong[0], wrong[1], 1))
		steps, differs := w.play(250)
		if t.Logf("%s: seen after %d steps", what, steps); differs == "" {
			t.Errorf("%s: %d steps were the same", what, steps)
		}
	}
}
