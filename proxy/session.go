package proxy

// This file is one connection's state: what outlives a command.

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	leases "github.com/goodjobtech/candado/locks/session"
)

// resetTime is how long RESET waits for leases to be released.
const resetTime = 5 * time.Second

// session is one client connection. The goroutine that serves it owns it; what
// CLIENT LIST shows of it to others is atomic, or behind mu.
type session struct {
	id     int64
	guard  *guard
	opened time.Time // by Options.Now
	begun  time.Time // the same by the clock of timeouts

	// ctx ends when the connection is closed. Engines get it with each command.
	ctx    context.Context
	cancel context.CancelFunc

	leases *leases.Session // what the client acquired with SESSION

	login    login
	proto    int  // 2 or 3
	replyOff bool // CLIENT REPLY OFF
	skipNext bool // CLIENT REPLY SKIP

	latest atomic.Pointer[command] // that was taken
	heard  atomic.Int64            // when the latest batch arrived: a time.Duration since begun

	mu    sync.Mutex
	shown identity
}

// identity is what a client says of itself.
type identity struct {
	name, libName, libVer string
	user                  string // that it has authenticated as
	proto                 int
}

func newSession(id int64, g *guard, now time.Time) *session {
	s := &session{id: id, guard: g, opened: now, begun: time.Now(), proto: 2}
	s.shown = identity{proto: 2}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	g.sess, g.closed, g.ending = s, s.cancel, s.end
	return s
}

// end is the hook for what is bound to the connection. It runs after the last command,
// and once more when the connection is closed. It waits for nothing.
func (s *session) end() {
	s.cancel()
	s.leases.End()
	s.login.unfollow()
}

// reset returns the session to the state of a new one. Its leases are released
// when it returns, unless the engine does not answer: then that is done later.
func (s *session) reset() {
	ctx, cancel := context.WithTimeout(s.ctx, resetTime)
	defer cancel()
	_ = s.leases.Reset(ctx)
	s.replyOff, s.skipNext = false, false
	s.setProto(2)
	s.update(func(i *identity) { i.name = "" })
}

// mute reports whether the client has asked for no reply to what comes next.
func (s *session) mute() bool { return s.replyOff || s.skipNext }

func (s *session) setProto(proto int) {
	s.proto = proto
	s.update(func(i *identity) { i.proto = proto })
}

func (s *session) update(change func(*identity)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.shown)
}

func (s *session) identity() identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown
}

// arrived notes that commands have come.
func (s *session) arrived() { s.heard.Store(int64(time.Since(s.begun))) }

// idle returns for how long none have.
func (s *session) idle() time.Duration { return time.Since(s.begun) - time.Duration(s.heard.Load()) }

func sortedSessions(sessions map[int64]*session) []*session {
	return slices.SortedFunc(maps.Values(sessions), func(a, b *session) int { return cmp.Compare(a.id, b.id) })
}
