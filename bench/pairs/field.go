package pairs

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/goodjobtech/candado/bench/report"
	"github.com/goodjobtech/candado/bench/server"
)

// ttl is how long a lease lasts, in ms: never the end of one here.
const ttl = 600_000

// The names of the contenders.
const (
	plain      = "Redis SET+DEL"
	scripts    = "direct EVALSHA"
	embedded   = "candado embedded"
	onRedis    = "candado on Redis"
	unbatched  = "candado on Redis (no batches)"
	noopServer = "no-op redcon"
)

// The databases of the one Redis, so that nobody meets another's keys.
const (
	dbPlain = iota + 1
	dbScripts
	dbOnRedis
	dbUnbatched
)

// contender is one way to acquire and release, and the servers that do it.
type contender struct {
	name  string
	addr  string
	team  server.Team
	verbs *verbs
	db    int // of Redis; 0: none
	hello bool
}

// field is the contenders and their servers.
type field struct {
	redis      *server.Redis
	processes  []*server.Process
	contenders []*contender
	without    []string // who could not take part, and why
}

// open starts the servers. Close the field, also after an error.
func (f *field) open(ctx context.Context, env *report.Env) (err error) {
	if f.redis, err = server.StartRedis(ctx, env.Dir); err != nil {
		return err
	}
	direct, err := evalsha(ctx, f.redis)
	if err != nil {
		return err
	}
	f.contenders = []*contender{
		{name: plain, addr: f.redis.Addr, team: server.Team{Redis: f.redis}, verbs: setAndDel(), db: dbPlain, hello: true},
		{name: scripts, addr: f.redis.Addr, team: server.Team{Redis: f.redis}, verbs: direct, db: dbScripts, hello: true},
	}
	if err := f.candado(ctx, env, embedded, 0); err != nil {
		return err
	}
	if err := f.candado(ctx, env, onRedis, dbOnRedis); err != nil {
		return err
	}
	if err := f.batchless(ctx, env); err != nil {
		return err
	}
	ceiling, err := server.StartCeiling(ctx, env.Ceiling, env.Dir, "resp")
	if err != nil {
		return err
	}
	f.processes = append(f.processes, ceiling)
	noop := lockVerbs()
	noop.fenced = false // its tokens are all the same
	f.contenders = append(f.contenders, &contender{name: noopServer, addr: ceiling.Addr, team: server.Team{Service: ceiling}, verbs: noop})
	f.choose(env.Plan.Only)
	return nil
}

// candado starts one, on a database of Redis unless that is 0.
func (f *field) candado(ctx context.Context, env *report.Env, name string, db int, flags ...string) error {
	c := &contender{name: name, verbs: lockVerbs(), db: db}
	if db != 0 {
		flags = append(flags, "--upstream", fmt.Sprintf("redis://%s/%d", f.redis.Addr, db))
		c.team.Redis = f.redis
	}
	p, err := server.StartCandado(ctx, env.Candado, env.Dir, fmt.Sprintf("candado-%d", len(f.processes)), flags...)
	if err != nil {
		return err
	}
	f.processes = append(f.processes, p)
	c.addr, c.team.Service = p.Addr, p
	f.contenders = append(f.contenders, c)
	return nil
}

// batchless starts the candado that sends each request upstream by itself, if
// this candado knows how.
func (f *field) batchless(ctx context.Context, env *report.Env) error {
	const flag = "--upstream-batch"
	help, err := exec.CommandContext(ctx, env.Candado, "serve", "--help").CombinedOutput()
	if err != nil {
		return fmt.Errorf("asking candado for its flags: %w", err)
	}
	if !strings.Contains(string(help), flag) {
		f.without = append(f.without, unbatched+": this candado has no "+flag)
		return nil
	}
	return f.candado(ctx, env, unbatched, dbUnbatched, flag, "1")
}

// choose keeps the contenders that are asked for; all, if none is.
func (f *field) choose(only []string) {
	if len(only) > 0 {
		f.contenders = slices.DeleteFunc(f.contenders, func(c *contender) bool { return !slices.Contains(only, c.name) })
	}
}

// close stops what has been started; Redis last, as the others use it.
func (f *field) close() {
	for _, p := range f.processes {
		p.Stop()
	}
	if f.redis != nil {
		f.redis.Stop()
	}
}

// lockVerbs are those of candado.
func lockVerbs() *verbs {
	return &verbs{
		acquire: func(id string) command { return words("LOCK.ACQUIRE", id, "PX", strconv.Itoa(ttl)) },
		release: func(id string) command { return words("LOCK.RELEASE", id) },
		granted: func(r *reply) (int64, bool) { return r.n, r.kind == ':' },
		freed:   func(r *reply) bool { return r.kind == ':' && r.n == 1 },
		fenced:  true,
	}
}

// setAndDel are the commands of Redis that come nearest to a lock.
func setAndDel() *verbs {
	return &verbs{
		acquire: func(id string) command { return words("SET", id, "owner", "NX", "PX", strconv.Itoa(ttl)) },
		release: func(id string) command { return words("DEL", id) },
		granted: func(r *reply) (int64, bool) { return 1, r.kind == '+' && string(r.text) == "OK" },
		freed:   func(r *reply) bool { return r.kind == ':' && r.n == 1 },
	}
}
