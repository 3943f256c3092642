// Package session keeps leases for as long as somebody stays: for a front end's
// connection, or for a program that runs. It sits above locks.Engine and knows
// nothing of what is below or above.
//
// A Manager renews the leases of all its sessions, many in one call, when a third
// of their TTL has passed, or 10 s. A session that ends gives its leases up at once;
// those that no other session has are released. A lease belongs to every session
// that was told of it, as its owner may ask again on another connection.
//
// A session whose lease could not be renewed in time is lost, before the lease can have
// run out on the engine; and so is one whose lease was ended by force, or elsewhere: at
// once, if the manager learns of it, else at the next renewal. Then its lost function is
// called, and when that has returned all else that the session has is released.
//
// A lease is in one of three states, and a file takes it from each to the next: asked (by
// an acquire under way), held (kept for one session or more), and parting (until its
// release is answered). manager.go is a manager's life; session.go what a session asks;
// book.go the book of all that; grant.go takes in what an acquire has brought; renew.go
// keeps the leases; loss.go judges the lost; stay.go is how sessions come to leases and leave
// them; release.go gives back; agenda.go says what is next; watch.go takes note of
// what others do.
//
// One mutex guards the book. Engine calls and lost functions run outside of it.
package session
