package upstream

import (
	"context"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

const (
	maxDoubts  = 65536
	doubtLife  = 30 * time.Second
	minBackoff = 20 * time.Millisecond
	maxBackoff = 500 * time.Millisecond
)

// number names one acquire or release, however often it is sent.
type number = script.Number

// newNumber draws a number. Zero, which stands for none, is as likely as any
// other: one in 2^64.
func newNumber() (n number) {
	binary.LittleEndian.PutUint64(n[:], rand.Uint64())
	return n
}

// A doubt is an acquire that may have been executed although its caller got no
// answer.
type doubt struct {
	id       locks.ID
	owner    locks.Owner
	mode     locks.Mode
	entry    script.Entry
	deadline int64 // server's µs after which no copy of the request runs
	since    time.Time
}

func newDoubt(req locks.AcquireRequest, entry script.Entry, deadline int64) *doubt {
	return &doubt{id: req.ID, owner: req.Owner, mode: req.Mode, entry: entry, deadline: deadline, since: time.Now()}
}

// contender is what tells whether a request asks again for what a doubt asked.
type contender struct {
	id    locks.ID
	owner locks.Owner
	mode  locks.Mode
}

func (d *doubt) contender() contender { return contender{d.id, d.owner, d.mode} }

// doubts undoes unanswered acquires as soon as the server answers again. Safe
// for concurrent use.
type doubts struct {
	mu    sync.Mutex
	open  map[number]*doubt
	owned map[contender]*doubt // of the open ones, each owner's latest
	wake  chan struct{}        // has one element if there may be work

	cancel context.CancelFunc
	done   chan struct{}
	undo   func(context.Context, []*doubt) []*call
}

func newDoubts() *doubts {
	return &doubts{
		open:  map[number]*doubt{},
		owned: map[contender]*doubt{},
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
}

// of returns the number of the open doubt that the request's owner has about
// the lock; zero if there is no such doubt. The doubt stays open: an
// undo that runs before the request ends a lease that nobody knows of, and one
// that runs after it finds another number there.
func (s *doubts) of(req locks.AcquireRequest) number {
	if req.Owner == "" {
		return number{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.owned[contender{req.ID, req.Owner, req.Mode}]; d != nil {
		return d.entry.Number
	}
	return number{}
}

// add opens a doubt. Beyond maxDoubts it is dropped: the TTL ends its lease.
func (s *doubts) add(d *doubt) {
	s.mu.Lock()
	if len(s.open) < maxDoubts {
		s.open[d.entry.Number] = d
		if d.owner != "" {
			s.owned[d.contender()] = d
		}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// remove closes a doubt.
func (s *doubts) remove(d *doubt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, d.entry.Number)
	if s.owned[d.contender()] == d {
		delete(s.owned, d.contender())
	}
}

// all returns the open doubts, oldest first.
func (s *doubts) all() []*doubt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.open), func(a, b *doubt) int { return a.since.Compare(b.since) })
}

// start runs the goroutine that undoes.
func (s *doubts) start(undo func(context.Context, []*doubt) []*call) {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.undo = undo
	go func() {
		defer close(s.done)
		s.run(ctx)
	}()
}

// stop ends the goroutine. What is open stays open.
func (s *doubts) stop() {
	s.cancel()
	<-s.done
}

func (s *doubts) run(ctx context.Context) {
	backoff := minBackoff
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		for s.settle(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, maxBackoff)
		}
		backoff = minBackoff
	}
}

// settle undoes what is open, oldest first, until the server fails to answer. It
// reports whether doubts are left.
func (s *doubts) settle(ctx context.Context) bool {
	left := false
	for group := range slices.Chunk(s.all(), together) {
		for i, c := range s.undo(ctx, group) {
			switch d := group[i]; {
			case c.err != nil && !answers(c.err):
				return true
			case c.err == nil && c.reply.now > d.deadline, time.Since(d.since) > doubtLife:
				// The second: the server's clock was set back, so that its deadlines say
				// nothing, or the key holds something else for good.
				s.remove(d)
			default:
				left = true // a copy may still come
			}
		}
	}
	return left
}
