package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goodjobtech/candado/locks"
)

const (
	// maxHashes bounds how many hashes are computed at the same time, and with it how
	// much memory they take: at their dearest, 64 MiB each.
	maxHashes = 4

	// patience is how long an authentication may take, waiting included.
	patience = 10 * time.Second
)

// ErrWrongPass: there is no user with that name and password.
var ErrWrongPass = errors.New("the name or the password is wrong")

// Guard authenticates clients. Make one with NewGuard. All but Replace is safe for
// concurrent use.
type Guard struct {
	list     atomic.Pointer[List]
	key      []byte        // of proofs
	slots    chan struct{} // has an element for each hash that is being computed
	attempts attempts
	failures failureLog

	mu        sync.Mutex
	followers map[*follower]struct{}
}

// proof stands for a name and a password in memory. It says nothing of either without
// the guard's key.
type proof [sha256.Size]byte

// Attempt is what a client says to be let in.
type Attempt struct {
	Peer           net.Addr // where it comes from
	Listener       string   // where it came to: "resp" or "http"
	Name, Password string

	// As is who the client's connection has authenticated as before, with no failure
	// since; empty: nobody. His password, given again, is let in though the address has
	// no attempts left.
	As string

	// Wait is called if the client has to wait. It must call wait, with a context that
	// ends when the client is gone, and return when that has.
	Wait func(wait func(context.Context))
}

// NewGuard returns a guard that lets the users of the list in, and nobody else. It logs
// from where that fails, and under which names: up to 16 lines each 10 s, one for an
// address (an IPv6 network of /64) and listener. Should log be nil, it logs nothing.
func NewGuard(list *List, log *slog.Logger) *Guard {
	g := &Guard{
		key:       make([]byte, sha256.Size),
		slots:     make(chan struct{}, min(max(runtime.GOMAXPROCS(0)/2, 1), maxHashes)),
		attempts:  attempts{whole: make(map[netip.Prefix]time.Time)},
		failures:  failureLog{log: log},
		followers: make(map[*follower]struct{}),
	}
	_, _ = rand.Read(g.key) // it never fails
	g.list.Store(list)
	return g
}

// List returns the list in force. A front end that asks it for the user of a name at
// each command gives him the rights that he has now.
func (g *Guard) List() *List { return g.list.Load() }

// Authenticate returns the user with that name and password. One that was verified
// before takes a few microseconds. Else it may wait, for up to 10 s, until few enough
// hashes are computed, and, after wrong passwords, for the address's turn. Errors:
// ErrWrongPass; ErrTooManyFailures and locks.ErrBusy if nothing was looked at, since it
// would take too long; the cause of the end of the context that Wait gives.
func (g *Guard) Authenticate(a Attempt) (*User, error) {
	u, err := g.authenticate(a)
	switch {
	case errors.Is(err, ErrWrongPass):
		g.failures.note(a, g.List(), false)
	case errors.Is(err, ErrTooManyFailures):
		g.failures.note(a, g.List(), true)
	}
	return u, err
}

// Flush logs the failures that are still to be logged: for the end of the process.
func (g *Guard) Flush() { g.failures.flush() }

func (g *Guard) authenticate(a Attempt) (u *User, err error) {
	t := try{Attempt: a, guard: g, address: addressOf(a.Peer), proof: g.prove(a.Name, a.Password)}
	if a.As != "" && a.As == a.Name && t.known() {
		return t.user, nil
	}
	wait, passed := g.attempts.try(&t.address, t.known)
	switch {
	case passed:
		return t.user, nil
	case wait == 0 && !t.dear():
		return t.look(context.Background())
	}
	err = locks.ErrBusy // should Wait not wait
	a.Wait(func(ctx context.Context) {
		ctx, cancel := context.WithTimeoutCause(ctx, patience, locks.ErrBusy)
		defer cancel()
		if wait > 0 {
			if passed, err = g.attempts.await(ctx, &t.address, t.known); passed || err != nil {
				u = t.user
				return
			}
		}
		u, err = t.look(ctx)
	})
	return u, err
}

// try is an attempt on its way.
type try struct {
	Attempt
	guard   *Guard
	address netip.Prefix // for which it counts
	proof   proof
	user    *User // once he is known
}

// known reports whether the password was verified before.
func (t *try) known() bool {
	t.user = t.guard.verified(t.guard.List(), t.Name, t.proof)
	return t.user != nil
}

func (t *try) dear() bool {
	list := t.guard.List()
	return t.verifier(list, list.User(t.Name)).dear()
}

// verifier returns what the password is compared with; u is the user of that name in the
// list, or nil.
func (t *try) verifier(list *List, u *User) verifier {
	if u == nil {
		return list.stranger(t.guard.prove(t.Name, ""))
	}
	return u.verifier
}

// look looks at the password, for which an attempt was taken, and gives that back unless
// the password was wrong.
func (t *try) look(ctx context.Context) (*User, error) {
	u, err := t.check(ctx)
	if !errors.Is(err, ErrWrongPass) {
		t.guard.attempts.put(t.address)
	}
	return u, err
}

// check compares the password with that of the list in force. If another list comes into
// force meanwhile, it looks again: who was removed is not let in.
func (t *try) check(ctx context.Context) (*User, error) {
	for {
		list := t.guard.List()
		u := list.User(t.Name)
		right, err := t.compare(ctx, t.verifier(list, u))
		if err != nil {
			return nil, err
		}
		if right = right && u != nil; right {
			p := t.proof // of its own: it must not keep the password in memory
			u.proven.Store(&p)
		}
		switch {
		case t.guard.List() != list:
		case right:
			return u, nil
		default:
			return nil, ErrWrongPass
		}
	}
}

// compare has the verifier look at the password, in its turn if that is dear. Somebody
// else may have verified it by then.
func (t *try) compare(ctx context.Context, v verifier) (right bool, err error) {
	if v.dear() {
		select {
		case t.guard.slots <- struct{}{}:
			defer func() { <-t.guard.slots }()
		case <-ctx.Done():
		}
		// The select takes any case that is ready: no hash for a client that has left.
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
	}
	return t.known() || v.matches(t.Password), nil
}

// verified returns the user of that name if that is the proof of his password, and it
// was verified before.
func (g *Guard) verified(list *List, name string, p proof) *User {
	u := list.User(name)
	if u == nil {
		return nil
	}
	if known := u.proven.Load(); known == nil || !hmac.Equal(known[:], p[:]) {
		return nil
	}
	return u
}

// prove returns what stands for a name and a password. A name with a NUL is nobody's.
func (g *Guard) prove(name, password string) (p proof) {
	mac := hmac.New(sha256.New, g.key)
	mac.Write([]byte(name))
	mac.Write([]byte{0})
	mac.Write([]byte(password))
	mac.Sum(p[:0])
	return p
}
