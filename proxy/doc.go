// Package proxy is candado's RESP front end: it takes commands over Redis's
// protocol, versions 2 and 3, checks them, asks a locks.Engine, and writes the
// engine's answers as replies that redis-cli and the common client libraries
// understand.
//
// A Server owns the connections of one listener. Bytes pass three layers:
//
//	listener, guard   limits, deadlines, whole commands only (listener.go, guard.go, frame.go)
//	redcon            accepts, runs a connection's goroutine, reads its first commands
//	session, call     one connection's state, one command's life (session.go, dispatch.go)
//
// From the second batch of commands on, a call takes them from the guard itself, which
// knows already where their arguments are: redcon would copy each of them twice.
// Consecutive commands that are one operation each go to the engine together (group.go).
// Such a group counts as one running command when the server stops.
//
// What there is to call is data, in commands.go: dispatch, arity errors,
// COMMAND and LOCK.HELP are all read from that table. errors.go holds the only
// table from an error to a reply.
package proxy
