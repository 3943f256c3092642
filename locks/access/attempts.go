package access

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	burst       = 10              // attempts that an address has at first
	perAttempt  = time.Second     // after which it has one more
	longestTurn = 5 * time.Second // that somebody waits for one
	lookEvery   = 200 * time.Millisecond

	maxAddresses = 10_000
	sweepEvery   = time.Second
)

// ErrTooManyFailures: too many wrong passwords came from the client's address. Nothing
// was looked at.
var ErrTooManyFailures = errors.New("too many wrong passwords came from this address, try again later")

// attempts says how often each address may guess. An attempt is taken before a
// password is looked at, so that guesses which are sent at the same time all count, and
// given back if the password was right.
type attempts struct {
	mu    sync.Mutex
	whole map[netip.Prefix]time.Time // when an address will have all its attempts; none: it has
	swept time.Time
}

// addressOf returns whom attempts from there count for: an IPv6 network by its /64,
// which one client may have for itself. Addresses that find no room count for the zero
// Prefix together.
func addressOf(peer net.Addr) netip.Prefix {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	prefix, _ := addr.Prefix(bits) // without an address, the zero Prefix
	return prefix
}

// try takes an attempt from the address if it has one, and otherwise returns in what
// time it will have. None is taken if known reports that there is no need; known is asked
// only when there is one, or else asking would be a guess that costs nothing. The
// address becomes the one that it counts for.
func (a *attempts) try(address *netip.Prefix, known func() bool) (wait time.Duration, passed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	whole, counting := a.whole[*address]
	if !counting && !a.room(now) {
		*address = netip.Prefix{}
		whole = a.whole[*address]
	}
	if whole.Before(now) {
		whole = now
	}
	whole = whole.Add(perAttempt)
	if wait = whole.Sub(now) - burst*perAttempt; wait > 0 {
		return wait, false
	}
	if known() {
		return 0, true
	}
	a.whole[*address] = whole
	return 0, false
}

// await does as try, and waits until the address has an attempt. It returns
// ErrTooManyFailures if that takes too long, and the cause of the end of ctx. Who waits
// looks often: others may give an attempt back long before a new one is due.
func (a *attempts) await(ctx context.Context, address *netip.Prefix, known func() bool) (passed bool, err error) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	end := time.NewTimer(longestTurn)
	defer end.Stop()
	for {
		select {
		case <-look.C:
		case <-end.C:
			return false, ErrTooManyFailures
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		if wait, passed := a.try(address, known); wait == 0 {
			return passed, nil
		}
	}
}

// room makes room for an address that is new, and reports whether there is some.
func (a *attempts) room(now time.Time) bool {
	if len(a.whole) < maxAddresses {
		return true
	}
	if now.Sub(a.swept) < sweepEvery {
		return false
	}
	a.swept = now
	for address, whole := range a.whole {
		if !whole.After(now) {
			delete(a.whole, address)
		}
	}
	return len(a.whole) < maxAddresses
}

// put gives an attempt back.
func (a *attempts) put(address netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	whole := a.whole[address].Add(-perAttempt)
	if whole.After(time.Now()) {
		a.whole[address] = whole
		return
	}
	delete(a.whole, address)
}
