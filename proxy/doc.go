// Package proxy is candado's RESP front end: it takes commands over Redis's
// protocol, versions 2 and 3, checks them, asks a locks.Engine, and writes the
// engine's answers as replies that redis-cli and the common client libraries
// understand.
//
// A Server owns the connections of its listeners. Bytes pass two layers:
//
//	guard           limits, deadlines, whole commands only (listener.go, guard.go, frame.go)
//	session, call   one connection's state, one command's life (session.go, dispatch.go)
//
// Replies are written in redcon's encoding. Its server is not used: beside the guard, it
// would keep 12 KiB of buffers for each connection, and copy each command twice.
// Consecutive commands that are one operation each go to the engine together (group.go).
// Such a group counts as one running command when the server stops.
//
// What there is to call is data, in commands.go: dispatch, arity errors,
// COMMAND and LOCK.HELP are all read from that table. errors.go holds the only
// table from an error to a reply.
package proxy
