package proxy

// This file finds where a command ends in a stream of bytes, and refuses a
// command as soon as what it announces is out of bounds. It does no I/O.

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"github.com/goodjobtech/candado/locks"
)

// protocolError is a mistake after which the rest of the stream can't be
// understood: it is told to the client, and the connection is closed.
type protocolError string

func (e protocolError) Error() string { return "ERR Protocol error: " + string(e) }

// overError is a protocolError of a client that sends more than a quota allows, or
// more slowly.
type overError struct {
	protocolError
	quota locks.Quota
}

// Redis's own words.
const (
	errMultibulkLength  protocolError = "invalid multibulk length"
	errBulkLength       protocolError = "invalid bulk length"
	errMultibulkTooLong protocolError = "too big mbulk count string"
	errBulkTooLong      protocolError = "too big bulk count string"
	errQuotes           protocolError = "unbalanced quotes in request"
)

// What a client sends first that takes this port for one with TLS, and candado's word on it.
const (
	tlsHandshake               = 0x16
	errTLS       protocolError = "this port does not speak TLS"
)

const (
	maxHeader = 24 // bytes of "*<count>\r\n" or "$<length>\r\n": far above what any valid number needs

	// Above these, Redis calls a length invalid; between candado's limits and
	// these, a length makes sense but is more than candado takes.
	redisMaxCount = 1 << 20
	redisMaxBulk  = 512 << 20
)

// framer finds the end of a command whose bytes arrive piece by piece. It goes
// on where it stopped, so small pieces cost no more than a whole. After it has
// returned n > 0 it is ready for the next command.
type framer struct {
	maxBytes int // of a whole command
	maxArgs  int
	stranger bool // the client has not authenticated, and may send little

	pos     int    // the command's bytes up to here are understood
	scanned int    // there is no line end before this
	left    int    // arguments still to come
	found   []span // those that have; of the latest command when it is whole
}

// span is where an argument stands in its command.
type span struct{ from, to int }

// next looks at buf, which begins where the command begins and holds all that
// has arrived of it. It returns the command's length once it is all there, 0 if
// more bytes are needed, and a protocolError if no more bytes can make it a
// command. After 0, call it again with the same bytes and more.
func (f *framer) next(buf []byte) (n int, err error) {
	switch {
	case len(buf) == 0:
		return 0, nil
	case buf[0] == '*':
		n, err = f.multibulk(buf)
	default:
		n, err = f.inline(buf)
	}
	if err == nil && n == 0 && len(buf) > f.maxBytes {
		err = f.tooLarge()
	}
	if n > 0 || err != nil {
		f.pos, f.scanned, f.left = 0, 0, 0
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

func tooMany(maxArgs int) error {
	return overError{protocolError(fmt.Sprintf("more than %d arguments", maxArgs)), locks.QuotaCommandArguments}
}

func (f *framer) tooLarge() error {
	return overError{protocolError(fmt.Sprintf("command larger than %d bytes (%s)", f.maxBytes, locks.QuotaCommandBytes.Flag())), locks.QuotaCommandBytes}
}

func (f *framer) inline(buf []byte) (int, error) {
	if buf[0] == tlsHandshake {
		return 0, errTLS // rather than to wait for the end of a line
	}
	end := f.lineEnd(buf, len(buf))
	if end > f.maxBytes || end == 0 && len(buf) > f.maxBytes {
		return 0, overError{"too big inline request", locks.QuotaCommandBytes} // in Redis's words
	}
	return end, nil
}

func (f *framer) multibulk(buf []byte) (int, error) {
	if f.pos == 0 {
		if done, err := f.count(buf); !done || err != nil {
			return 0, err
		}
	}
	for f.left > 0 {
		done, err := f.argument(buf)
		if !done || err != nil {
			return 0, err
		}
		f.left--
	}
	return f.pos, nil
}

// count reads the line that says how many arguments there are.
func (f *framer) count(buf []byte) (done bool, err error) {
	line, done, err := f.header(buf, errMultibulkLength, errMultibulkTooLong)
	if !done || err != nil {
		return false, err
	}
	count, ok := parseInt(line)
	switch {
	case ok && f.stranger && count > maxStrangerArgs && count <= math.MaxInt32:
		return false, errStrangerCount
	case !ok || count > redisMaxCount:
		return false, errMultibulkLength
	case count > int64(f.maxArgs):
		return false, tooMany(f.maxArgs)
	}
	f.left = int(max(count, 0)) // none: Redis ignores such a command
	if f.found = f.found[:0]; cap(f.found) > keptArgs {
		f.found = nil
	}
	return true, nil
}

// argument steps over one "$<length>\r\n<bytes>\r\n". Its length line is read
// again if its bytes have not all arrived: that is a fixed amount of work for
// each piece.
func (f *framer) argument(buf []byte) (done bool, err error) {
	if f.pos == len(buf) {
		return false, nil
	}
	if c := buf[f.pos]; c != '$' {
		return false, protocolError(fmt.Sprintf("expected '$', got '%s'", printable([]byte{c})))
	}
	start, scanned := f.pos, f.scanned
	line, done, err := f.header(buf, errBulkLength, errBulkTooLong)
	if !done || err != nil {
		return false, err
	}
	size, ok := parseInt(line)
	if !ok || size < 0 || size > redisMaxBulk {
		return false, errBulkLength
	}
	if f.stranger && size > maxStrangerBulk {
		return false, errStrangerBulk
	}
	end := f.pos + int(size) + len("\r\n")
	switch {
	case end > f.maxBytes:
		return false, f.tooLarge()
	case end > len(buf):
		f.pos, f.scanned = start, scanned
		return false, nil
	case buf[end-2] != '\r' || buf[end-1] != '\n':
		return false, errBulkLength
	}
	f.found = append(f.found, span{f.pos, end - len("\r\n")})
	f.pos, f.scanned = end, end
	return true, nil
}

// header returns what stands between the first byte and the line end of the
// line at f.pos, and moves f.pos behind it.
func (f *framer) header(buf []byte, invalid, tooLong error) (line []byte, done bool, err error) {
	end := f.lineEnd(buf, f.pos+maxHeader)
	switch {
	case end == 0 && len(buf)-f.pos >= maxHeader:
		return nil, false, tooLong
	case end == 0:
		return nil, false, nil
	case buf[end-2] != '\r':
		return nil, false, invalid
	}
	line = buf[f.pos+1 : end-2 : end-2]
	f.pos, f.scanned = end, end
	return line, true, nil
}

// lineEnd returns the index behind the first line end at or after f.scanned and
// before limit, 0 if there is none yet.
func (f *framer) lineEnd(buf []byte, limit int) int {
	limit = min(limit, len(buf))
	// Most length lines are as short as "$12\r\n": a look is cheaper than a search.
	for i, near := f.scanned, min(f.scanned+6, limit); i < near; i++ {
		if buf[i] == '\n' {
			return i + 1
		}
	}
	i := bytes.IndexByte(buf[min(f.scanned, limit):limit], '\n')
	if i < 0 {
		f.scanned = limit
		return 0
	}
	return f.scanned + i + 1
}

// inlineArguments splits an inline command of bounded length.
func inlineArguments(line []byte, maxArgs int) ([][]byte, error) {
	args, err := splitInline(line)
	if err == nil && len(args) > maxArgs {
		err = tooMany(maxArgs)
	}
	if err != nil {
		return nil, err
	}
	return args, nil
}

// parseInt reads an integer as strictly as Redis does: no sign but '-', no
// leading zero, no space, within 64 bits.
func parseInt(b []byte) (int64, bool) {
	if n, ok := parseShort(b); ok {
		return n, true
	}
	digits := bytes.TrimPrefix(b, []byte("-"))
	switch {
	case len(digits) == 0 || len(digits) > 19:
		return 0, false
	case digits[0] == '0':
		return 0, len(b) == 1
	case digits[0] < '0' || digits[0] > '9':
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

// parseShort reads what most integers are: up to 18 digits of which the first is none of
// '-' and '0'.
func parseShort(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 || b[0] == '0' {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}
