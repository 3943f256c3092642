// Package proxy is candado's RESP front end: it takes commands over Redis's
// protocol, versions 2 and 3, checks them, asks a locks.Engine, and writes the
// engine's answers as replies that redis-cli and the common client libraries
// understand.
//
// A Server owns the connections of one listener. Bytes pass three layers:
//
//	listener, guard   limits, deadlines, whole commands only (listener.go, guard.go, frame.go)
//	redcon            splits commands, collects replies
//	session, call     one connection's state, one command's life (session.go, dispatch.go)
//
// What there is to call is data, in commands.go: dispatch, arity errors,
// COMMAND and LOCK.HELP are all read from that table. errors.go holds the only
// table from an error to a reply.
package proxy
