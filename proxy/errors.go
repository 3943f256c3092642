package proxy

// This file holds the texts of error replies, in Redis's words where Redis has
// them, and the one table from an error to a reply.

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goodjobtech/candado/locks"
)

// replyError is an error reply as it stands on the wire: its code, a space, one
// sentence.
type replyError string

func (e replyError) Error() string { return string(e) }

const (
	errSyntax        replyError = "ERR syntax error"
	errNotInteger    replyError = "ERR value is not an integer or out of range"
	errProtoVersion  replyError = "ERR Protocol version is not an integer or out of range"
	errNoProto       replyError = "NOPROTO unsupported protocol version"
	errDBIndex       replyError = "ERR DB index is out of range"
	errNoPassword    replyError = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	errWrongPass     replyError = "WRONGPASS invalid username-password pair or user is disabled."
	errLongName      replyError = "ERR Client names and library names cannot be longer than 256 bytes."
	errClientName    replyError = "ERR Client names cannot contain spaces, newlines or special characters."
	errClientID      replyError = "ERR Invalid client ID"
	errCursor        replyError = "ERR invalid cursor"
	errUnexpected    replyError = "ERR internal error"
	errTimeout       replyError = "ERR timeout is not an integer or out of range"
	errNegativeBlock replyError = "ERR timeout is negative"

	// errGone ends a command whose client has left: nobody reads the reply.
	errGone replyError = ""

	// errLeft is that of a command to which null is no answer, for a client that has closed
	// its half of the connection only.
	errLeft replyError = "ERR the connection, or the client's half of it, was closed while the command waited"

	msgMaxClients = "ERR max number of clients reached" // exactly as in Redis: clients know it by that
)

// with names the culprit behind Redis's words.
func (e replyError) with(format string, args ...any) replyError {
	return e + ", " + replyError(fmt.Sprintf(format, args...))
}

// replies says what the errors of package locks look like to a client. An empty
// reply stands for null: the lock was not to be had, which is an answer.
func replies() []struct {
	err   error
	reply string
} {
	return []struct {
		err   error
		reply string
	}{
		{locks.ErrHeld, ""},
		{locks.ErrNotOwner, "NOTOWNER the lock is held by others"},
		{locks.ErrMode, "ERR the owner holds the lock in another mode"},
		{locks.ErrBusy, "BUSY a quota is reached, nothing was done"},
		{locks.ErrUnavailable, "UNAVAILABLE the upstream is unavailable, the outcome is unknown"},
		{locks.ErrShutdown, "SHUTDOWN candado is shutting down, nothing was done"},
	}
}

// errorReply returns the error line for what a handler ended in, "" for null,
// and whether it was to be expected.
func errorReply(err error) (line string, expected bool) {
	if e, ok := errors.AsType[replyError](err); ok {
		return string(e), true
	}
	if e, ok := errors.AsType[*locks.ArgumentError](err); ok {
		return "ERR " + printable([]byte(e.Error())), true
	}
	if e, ok := errors.AsType[*locks.QuotaError](err); ok {
		return "BUSY " + e.Error(), true
	}
	for _, r := range replies() {
		if errors.Is(err, r.err) {
			return r.reply, true
		}
	}
	return string(errUnexpected), false
}

// errorCode returns the first word of an error line.
func errorCode(line string) string {
	code, _, _ := strings.Cut(line, " ")
	return code
}

func errArity(command string) replyError {
	return replyError("ERR wrong number of arguments for '" + command + "' command")
}

func errExpire(command string) replyError {
	return replyError("ERR invalid expire time in '" + command + "' command")
}

func errUnknownSubcommand(container string, given []byte) replyError {
	return replyError(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", printable(given), strings.ToUpper(container)))
}

// errUnknownCommand repeats the beginning of the arguments, as Redis does.
func errUnknownCommand(args [][]byte) replyError {
	var b strings.Builder
	for _, arg := range args[1:] {
		left := echoed - b.Len()
		if left <= 0 {
			break
		}
		fmt.Fprintf(&b, "'%s' ", printable(arg[:min(len(arg), left)]))
	}
	return replyError(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", printable(args[0]), b.String()))
}

// echoed is how many bytes of what a client sent an error repeats, as in Redis.
const echoed = 128

// printable returns what an error may repeat of a client's bytes: up to a NUL
// and 128 bytes, on one line.
func printable(b []byte) string {
	b, _, _ = bytes.Cut(b[:min(len(b), echoed)], []byte{0})
	b = bytes.ReplaceAll(b, []byte{'\r'}, []byte{' '})
	return string(bytes.ReplaceAll(b, []byte{'\n'}, []byte{' '}))
}
