package upstream

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// How a state was met first.
type met struct {
	state state
	from  int32 // index of the state before
	which int16 // of its actions
}

// finding is what a search came to.
type finding struct {
	states, transitions int
	wrong               string // "": nothing
	path                []string
}

// explore meets every state that can be reached, nearest first, and stops at the
// first that is wrong.
//
//go:norace
func (sc *scope) explore() (f finding) {
	all := sc.meet(func(next *model) bool {
		if f.wrong = next.unsound(); f.wrong == "" {
			f.wrong = next.hopeless()
		}
		return f.wrong == ""
	}, &f.transitions)
	f.states = len(all)
	if f.wrong != "" {
		f.path = sc.path(all)
	}
	return f
}

// meet returns every state that can be reached, nearest first, until one does
// not please. It counts the transitions.
//
//go:norace
func (sc *scope) meet(pleases func(*model) bool, transitions *int) []met {
	all := []met{{state: sc.start()}}
	seen := map[state]struct{}{all[0].state: {}}
	for i := 0; i < len(all); i++ {
		m := model{state: all[i].state, scope: sc}
		for which, a := range m.actions() {
			*transitions++
			next := model{state: m.state, scope: sc}
			next.faults -= a.cost
			a.do(&next)
			_, known := seen[next.state]
			if known && next.wrong == "" {
				continue
			}
			seen[next.state] = struct{}{}
			all = append(all, met{next.state, int32(i), int16(which)})
			if !pleases(&next) {
				return all
			}
		}
	}
	return all
}

// path names the actions that led to the last state met.
//
//go:norace
func (sc *scope) path(all []met) (names []string) {
	m := model{state: sc.start(), scope: sc}
	for _, which := range way(all, len(all)-1) {
		a := m.actions()[which]
		names = append(names, a.String())
		m.faults -= a.cost
		a.do(&m)
	}
	return names
}

// way returns which actions lead to a state.
//
//go:norace
func way(all []met, to int) (which []int) {
	for ; to > 0; to = int(all[to].from) {
		which = append(which, int(all[to].which))
	}
	slices.Reverse(which)
	return which
}

// scopes are the worlds that are met whole.
func scopes() []scope {
	first := ask{candado: 0, wait: true, ttl: modelLease}
	second := ask{candado: 1, wait: true, ttl: modelLease}
	short := ask{candado: 0, wait: true, ttl: modelShort}
	return []scope{
		{name: "two and more faults", count: 2, asks: [slots]ask{first, second}, faults: 2, least: 60_000},
		{name: "one comes and two wait", count: 3, asks: [slots]ask{{candado: 0, ttl: modelLease}, short, second}, faults: 1, least: 90_000},
		{name: "shared", count: 3, asks: [slots]ask{
			{candado: 0, wait: true, shared: true, limit: 1, ttl: modelLease}, second, {candado: 0, shared: true, ttl: modelShort},
		}, faults: 1, least: 90_000},
		{name: "two of one candado wait, and one of another", count: 4, asks: [slots]ask{
			{candado: 1, ttl: modelLease}, second, first, first,
		}, faults: 1, just: "dies", least: 105_000},
		{name: "three wait", count: 3, asks: [slots]ask{first, first, second}, faults: 1, least: 105_000},
	}
}

func TestEveryReachableStateOfTheProtocol(t *testing.T) {
	for _, sc := range scopes() {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			if os.Getenv("CANDADO_EXPLORE") == "deep" {
				sc.faults++ // ten times as many states
			}
			f := sc.explore()
			t.Logf("%d states, %d transitions, %d faults", f.states, f.transitions, sc.faults)
			if f.wrong != "" {
				t.Fatalf("%s, after\n  %s", f.wrong, strings.Join(f.path, "\n  "))
			}
			if f.states < sc.least {
				t.Errorf("only %d states were met, want %d", f.states, sc.least)
			}
		})
	}
}

// Checks that find nothing in a broken protocol would prove nothing.
func TestChecksFindABrokenProtocol(t *testing.T) {
	world := map[mutation]int{ // in which each is found soonest; those that are not here: the first
		trustTheFound: 1, skipQueue: 1, forgiveNobody: 1, speakFirst: 1, tellFirst: 1, outsidersPurge: 1, forgiveForEver: 3, enterSilently: 3, forgetPlace: 4,
	}
	for broken := nothing + 1; broken < mutations; broken++ {
		t.Run(broken.String(), func(t *testing.T) {
			t.Parallel()
			sc := scopes()[world[broken]]
			sc.broken = broken
			if broken == sameEntry {
				sc.faults, sc.just = sc.faults+1, ", and" // a command that is late, and a loss of data
			}
			f := sc.explore()
			if f.wrong == "" {
				t.Fatal("all states are in order")
			}
			t.Logf("after %d states: %s, after %s", f.states, f.wrong, strings.Join(f.path, "; "))
		})
	}
}
