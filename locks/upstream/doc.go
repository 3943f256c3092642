// Package upstream is the engine that keeps locks in a Redis server, or one
// that speaks its protocol and runs its Lua scripts (version 5 or later).
//
// Every operation is one atomic step of a script, and takes one round trip, which
// it shares with others that come at the same time; the server's clock is
// the only one that decides. Any number of engines may share one server and
// one prefix: each may serve any request. The scripts are the .lua files in
// the package script, each with its keys, arguments and replies on top;
// DESIGN.md in package locks has the key layout, what a re-sent command does,
// and what each failure leaves behind.
package upstream
