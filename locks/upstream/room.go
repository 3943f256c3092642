package upstream

import (
	"container/heap"
	"slices"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// room is where the requests for one lock wait. It is guarded by waiting.mu.
type room struct {
	id      locks.ID
	waiters []*waiter // by place
	next    int       // whose turn it is to be asked about
	check   time.Time // when to tend for those who wait
	expiry  time.Time // when to tend since a lease expires, whoever waits; zero: no need
	busy    bool      // it is being tended
	index   int       // in the agenda; -1: outside
}

// due returns when to tend next; zero: there is nobody to tend for.
func (r *room) due() time.Time {
	switch {
	case len(r.waiters) == 0, !r.expiry.IsZero() && r.expiry.Before(r.check):
		return r.expiry
	}
	return r.check
}

func byPlace(w *waiter, place int64) int {
	switch {
	case w.place < place:
		return -1
	case w.place > place:
		return 1
	}
	return 0
}

func (r *room) insert(w *waiter) {
	i, _ := slices.BinarySearchFunc(r.waiters, w.place+1, byPlace)
	r.waiters = slices.Insert(r.waiters, i, w)
}

// remove takes a request out, if it is in.
func (r *room) remove(w *waiter) {
	i, _ := slices.BinarySearchFunc(r.waiters, w.place, byPlace)
	for ; i < len(r.waiters) && r.waiters[i].place == w.place; i++ {
		if r.waiters[i] == w {
			r.waiters = slices.Delete(r.waiters, i, i+1)
			return
		}
	}
}

// Redis answers about so many of a lock's requests at once: the first in the
// queue, which are those that may have been granted something, and as many of
// the others by turns.
const window = 64

// ask returns the requests to ask the server about.
func (r *room) ask() (ask []script.Entry) {
	add := func(some []*waiter) {
		for _, w := range some {
			if !w.told {
				ask = append(ask, w.entry)
			}
		}
	}
	first := min(window, len(r.waiters))
	add(r.waiters[:first])
	others := r.waiters[first:]
	if r.next >= len(others) {
		r.next = 0
	}
	last := min(r.next+window, len(others))
	add(others[r.next:last])
	r.next = last
	return ask
}

// plan enters a room in the agenda as it is due, or closes it. It must follow each
// change of a room. A room that is being tended is planned afterwards. s.mu is held.
func (s *waiting) plan(r *room) {
	switch {
	case r.busy:
		return
	case r.due().IsZero():
		if r.index >= 0 {
			heap.Remove(&s.agenda, r.index)
		}
		delete(s.rooms, r.id)
		return
	case r.index >= 0:
		heap.Fix(&s.agenda, r.index)
	default:
		heap.Push(&s.agenda, r)
	}
	if r.index == 0 {
		select {
		case s.sooner <- struct{}{}:
		default:
		}
	}
}

// agenda is rooms by when they are due, for container/heap.
type agenda []*room

// Len implements heap.Interface.
func (a agenda) Len() int { return len(a) }

// Less implements heap.Interface.
func (a agenda) Less(i, j int) bool { return a[i].due().Before(a[j].due()) }

// Swap implements heap.Interface.
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

// Push implements heap.Interface.
func (a *agenda) Push(x any) {
	r := x.(*room)
	r.index = len(*a)
	*a = append(*a, r)
}

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	r := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	r.index = -1
	return r
}
