// Package locks is candado's domain: what a lock, a lease and a token are, the
// errors that operations on them end in, and the Engine interface that the
// engines implement and the front ends call.
//
// A lock is a name. It has one exclusive holder, some shared holders, or none.
// A Lease is one successful acquisition; its Token proves the hold to candado
// and fences the holder's writes elsewhere: a resource that remembers the
// highest token it has seen, and refuses lower ones, can't be written by a
// holder whose lease is over.
//
// Two engines implement Engine: package memory keeps everything in the
// process, package upstream keeps everything in a Redis server. Both answer
// the same requests with the same replies; package lockstest is the suite that
// holds them to it. DESIGN.md, beside this file, describes the state machine,
// the key layout and what happens at each failure.
//
// This package depends on the standard library only.
package locks
