// Package session keeps leases for as long as somebody stays: for a front end's
// connection, or for a program that runs. It sits above locks.Engine and knows
// nothing of what is below or above.
//
// A Manager renews the leases of all its sessions, many in one call, when a third
// of their TTL has passed. A session that ends releases its leases at once. A
// session whose lease has ended otherwise, or could not be renewed in time, is
// lost: its lost function is called, before the lease can have run out on the
// engine, and all else that it holds is released.
//
// manager.go is a manager's life; session.go what a session asks; entry.go the
// book of leases; renew.go keeps them and judges the lost; release.go gives them
// back; watch.go takes note of what others do to them.
//
// One mutex guards the book. Engine calls and lost functions run outside of it.
package session
