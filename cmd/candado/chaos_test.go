package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks/lockstest/history"
)

// Proof by history: clients of two candados before one Redis, while all that can
// fail does. Whatever they were answered has to be what one lock service
// that keeps the contract may answer.

// round is one history.
type round struct {
	seed    uint64
	durable bool // the data outlive Redis
	lasts   time.Duration
	pause   time.Duration // between two faults, about
	clients int
}

func TestHistoriesUnderFaults(t *testing.T) {
	t.Parallel()
	for _, r := range []round{
		{seed: 44, durable: true, lasts: 11 * time.Second, pause: 400 * time.Millisecond, clients: 10},
		{seed: 58, durable: false, lasts: 11 * time.Second, pause: 400 * time.Millisecond, clients: 10},
	} {
		t.Run(fmt.Sprintf("durable %v", r.durable), func(t *testing.T) {
			t.Parallel()
			r.play(t)
		})
	}
}

// TestChaos plays histories, of which each third is of data that get lost, for as
// long as CHAOS says, from the seed SEED on. `make chaos` runs it.
func TestChaos(t *testing.T) {
	total, err := time.ParseDuration(os.Getenv("CHAOS"))
	if err != nil {
		t.Skip("CHAOS does not say for how long")
	}
	seed, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64N(1 << 32)
	}
	for until := time.Now().Add(total); time.Now().Before(until); seed++ {
		r := round{seed: seed, durable: seed%3 != 0, lasts: 17 * time.Second, pause: 600 * time.Millisecond, clients: 8 + 8*int(seed%3)}
		if !t.Run(fmt.Sprintf("SEED=%d", seed), r.play) {
			t.Fatalf("once more: make chaos SEED=%d CHAOS=1s", seed)
		}
	}
}

func (r round) play(t *testing.T) {
	recorder := history.NewRecorder()
	f := startFleet(t, recorder, 2, r.durable)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		history.Load{
			Dial: f.dial, Recorder: recorder, Seed: r.seed, Clients: r.clients, For: r.lasts,
			TTLs: []time.Duration{300 * time.Millisecond, 4 * time.Second, 5 * time.Second},
			Wait: 3 * time.Second, Hold: 80 * time.Millisecond, Look: 25 * time.Millisecond, Fierce: r.seed%2 == 0,
		}.Run(t.Context())
	}()
	for _, what := range plan(r.seed, len(f.ways), r.durable, r.lasts-calm, r.pause) {
		time.Sleep(what.after)
		f.suffer(what, r.durable)
	}
	<-ended
	f.quiet()
	events := recorder.Events()
	began := time.Now()
	rules := history.Real(historyTimeout)
	unsure := false
	rules.Log = func(format string, args ...any) {
		t.Logf(format, args...)
		unsure = true
	}
	violations := rules.Check(events)
	took := time.Since(began)
	for _, e := range events {
		if strings.Contains(e.Error, "unexpected reply") {
			t.Errorf("%v", e)
		}
	}
	if r.tell(t, violations); t.Failed() || unsure {
		r.keep(t, events, violations)
	}
	t.Logf("seed %d, checked in %v: %s", r.seed, took.Round(time.Millisecond), summary(events))
}

// tell reports the first violations.
func (r round) tell(t *testing.T, violations []history.Violation) {
	for i, v := range violations {
		if i == 5 {
			t.Errorf("and %d more", len(violations)-i)
			return
		}
		t.Errorf("seed %d: %v", r.seed, v)
	}
}

// keep writes down the history, and porcupine's pictures.
func (r round) keep(t *testing.T, events []history.Event, violations []history.Violation) {
	dir := t.ArtifactDir()
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" { // else it ends with the test
		var err error
		if dir, err = os.MkdirTemp("", fmt.Sprintf("candado-history-%d-", r.seed)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.MarshalIndent(events, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"history.json": text}
	for _, v := range violations {
		if v.HTML != nil {
			files[string(v.ID)+".html"] = v.HTML
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the history of seed %d is in %s", r.seed, dir)
}

// summary counts what happened.
func summary(events []history.Event) string {
	counts := map[string]int{}
	for _, e := range events {
		name := string(e.Op)
		if e.Fault() {
			name = e.Error
		}
		counts[name+" "+string(e.Outcome)]++
	}
	return fmt.Sprintf("%d events: %v", len(events), counts)
}

// quiet wants nothing to be left when the clients have gone: no waiters, no
// connections; and, once the last leases are over, no keys that last.
func (f *fleet) quiet() {
	ids := history.Load{}.IDs()
	for i := range f.ways {
		c := f.at(i)
		conn, err := dialHistoryRESP(c.resp, c.number)
		if err != nil {
			f.t.Fatal(err)
		}
		eventually(f.t, "nobody waits any more", func() bool {
			waiters := 0
			for _, id := range ids {
				info, err := conn.Info(context.Background(), id)
				if err != nil {
					return false
				}
				waiters += info.Waiters
			}
			return waiters == 0
		})
		eventually(f.t, "no connection is left but this one", func() bool {
			reply, err := conn.command(context.Background(), 0, "INFO", "clients")
			return err == nil && strings.Contains(reply.(string), "connected_clients:1\r\n")
		})
		if i == 0 {
			for _, id := range ids {
				if _, err := conn.number(context.Background(), "LOCK.RELEASE", string(id), "FORCE"); err != nil {
					f.t.Error(err)
				}
			}
		}
		_ = conn.Close()
	}
	for i := range f.ways {
		f.stop(f.at(i))
	}
	f.onlyRecords()
}

// onlyRecords wants no keys to be left but the records of free locks, which last
// for the retention.
func (f *fleet) onlyRecords() {
	client := redis.NewClient(&redis.Options{Addr: f.redis.Addr, MaxRetries: -1})
	defer client.Close()
	ctx := context.Background()
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, key := range keys {
		left := client.PTTL(ctx, key).Val()
		if !strings.HasSuffix(key, "}") || left <= 0 || left > time.Minute {
			f.t.Errorf("the key %q is left, for %v", key, left)
		}
	}
}
