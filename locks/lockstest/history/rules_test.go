package history_test

import (
	"slices"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/lockstest/history"
)

// Small histories that break one rule, and the same with a reason that excuses
// them. Times are in milliseconds.

// event completes an event of the lock "a" that lasted from one moment to the other.
func event(op history.Op, call, end int, outcome history.Outcome, change ...func(*history.Event)) history.Event {
	e := history.Event{Op: op, ID: "a", Call: time.Duration(call) * time.Millisecond, Return: time.Duration(end) * time.Millisecond, Outcome: outcome}
	if op == history.OpAcquire {
		e.TTL = 10 * time.Second
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

// granted is an acquire that got a token.
func granted(call, end int, token locks.Token, change ...func(*history.Event)) history.Event {
	return event(history.OpAcquire, call, end, history.Done, append(change, func(e *history.Event) { e.Got = token })...)
}

func about(token locks.Token) func(*history.Event)   { return func(e *history.Event) { e.Token = token } }
func by(owner locks.Owner) func(*history.Event)      { return func(e *history.Event) { e.Owner = owner } }
func lasting(ttl time.Duration) func(*history.Event) { return func(e *history.Event) { e.TTL = ttl } }
func waiting(e *history.Event)                       { e.Wait = time.Minute }
func sharing(e *history.Event)                       { e.Mode = locks.Shared }
func upToOne(e *history.Event)                       { e.Mode, e.Limit = locks.Shared, 1 }
func onConn(e *history.Event)                        { e.Session, e.Conn = true, 7 }

func described(call, end, waiters int, holders ...locks.Token) history.Event {
	return event(history.OpInfo, call, end, history.Done, func(e *history.Event) { e.Waiters, e.Holders = waiters, holders })
}

func fault(op history.Op, call, end int) history.Event { return event(op, call, end, "") }

func TestRulesAndTheirExcuses(t *testing.T) {
	release := func(call, end int, token locks.Token, outcome history.Outcome) history.Event {
		return event(history.OpRelease, call, end, outcome, about(token), func(e *history.Event) { e.Ended = 1 })
	}
	queued := []history.Event{
		granted(0, 10, 1), granted(20, 900, 9, waiting), described(30, 40, 1, 1), granted(50, 800, 8, waiting), release(700, 750, 1, history.Done),
		release(810, 820, 8, history.Done),
	}
	unserved := []history.Event{granted(0, 10, 1), event(history.OpAcquire, 20, 4000, history.None, waiting), release(100, 110, 1, history.Done)}
	for _, c := range []struct {
		name    string
		rule    string // broken without the excuse
		events  []history.Event
		excuses map[string]history.Event
	}{
		{"two holders", "exclusion", []history.Event{granted(0, 10, 5), granted(20, 30, 6)}, map[string]history.Event{
			"released":                        release(15, 25, 5, history.Done),
			"perhaps released":                release(15, 16, 5, history.Unknown),
			"forced":                          event(history.OpRelease, 12, 13, history.Done, func(e *history.Event) { e.Force, e.Ended = true, 1 }),
			"the data were lost":              fault(history.OpLost, 12, 14),
			"a heartbeat made it short":       event(history.OpHeartbeat, 11, 12, history.Done, about(5), lasting(5*time.Millisecond)),
			"a heartbeat may have made it so": event(history.OpHeartbeat, 11, 12, history.Unknown, about(5), lasting(5*time.Millisecond)),
		}},
		{"shared beside exclusive", "exclusion", []history.Event{granted(0, 10, 5), granted(20, 30, 6, sharing)}, nil},
		{"a heartbeat of both", "exclusion", []history.Event{
			granted(0, 50, 5, waiting, lasting(20*time.Millisecond)), event(history.OpHeartbeat, 51, 52, history.Done, about(5), lasting(time.Second)), granted(60, 70, 6),
		}, nil},
		{"two in a lock for one", "limit", []history.Event{granted(0, 10, 5, upToOne), granted(20, 30, 6, upToOne)}, map[string]history.Event{
			"released": release(12, 25, 5, history.Done),
		}},
		{"tokens fall back", "token order", []history.Event{granted(0, 10, 7), release(11, 12, 7, history.Done), granted(20, 30, 6)}, nil},
		{"a token of two", "token twice", []history.Event{granted(0, 10, 7, by("x")), release(11, 12, 7, history.Done), granted(20, 30, 7, by("y"))}, nil},
		{"overtaken", "queue", queued, map[string]history.Event{
			"the data were lost":                             fault(history.OpLost, 300, 310),
			"somebody else may have been the one who waited": event(history.OpAcquire, 25, 35, history.Left, waiting),
		}},
		{"not served", "idle", unserved, map[string]history.Event{
			"the server was away": fault(history.OpDown, 100, 1000),
			"somebody held":       granted(115, 120, 2),
			"somebody may hold":   event(history.OpAcquire, 115, 120, history.Unknown),
		}},
		{"refused", "refused", []history.Event{event(history.OpAcquire, 0, 10, history.None)}, map[string]history.Event{
			"somebody held":  granted(0, 5, 1),
			"somebody waits": event(history.OpAcquire, 0, 5, history.Left, waiting),
		}},
		{"a live lease denied", "denied", []history.Event{granted(0, 10, 5), event(history.OpCheck, 20, 30, history.None, about(5))}, map[string]history.Event{
			"released": release(11, 25, 5, history.Done),
		}},
		{"a lease after its time", "undead", []history.Event{
			granted(0, 10, 5, lasting(10*time.Millisecond)), event(history.OpCheck, 30, 40, history.Done, about(5)),
		}, map[string]history.Event{
			"renewed":         event(history.OpHeartbeat, 11, 12, history.Done, about(5), lasting(time.Second)),
			"perhaps renewed": event(history.OpHeartbeat, 11, 12, history.Unknown, about(5), lasting(time.Second)),
		}},
		{"a session's lease after its connection", "undead", []history.Event{
			granted(0, 10, 5, onConn), event(history.OpDisconnect, 20, 21, "", func(e *history.Event) { e.Conn = 7 }),
			event(history.OpCheck, 30, 40, history.Done, about(5)),
		}, map[string]history.Event{
			"the server was away": fault(history.OpDown, 15, 25),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if found := rulesBroken(c.events); !slices.Contains(found, c.rule) {
				t.Errorf("broken: %q, want %q among them", found, c.rule)
			}
			for why, excuse := range c.excuses {
				if found := rulesBroken(append(slices.Clone(c.events), excuse)); slices.Contains(found, c.rule) {
					t.Errorf("%s: broken: %q", why, found)
				}
			}
		})
	}
}

func rulesBroken(events []history.Event) (rules []string) {
	for _, v := range history.Check(events) {
		rules = append(rules, v.Rule)
	}
	return rules
}
