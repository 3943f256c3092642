package httpapi

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/access"
)

// The whole bodies of most replies.
const (
	bodyFree = `{"error":"","state":0,"success":true}`
	bodyHeld = `{"error":"","state":1,"success":true}`
)

// kindJSON is the Content-Type of every body but that of /metrics.
const kindJSON = "application/json"

const statusURITooLong = fasthttp.StatusRequestURITooLong

// outcome is what a request ended in. The zero value is the success of a request
// after which the lock is free.
type outcome struct {
	status int    // 0: 200
	held   bool   // the lock, after the request
	text   string // why the request was refused; empty: success
	allow  string // the methods, if it was the method that was refused
	gone   bool   // the client has left: nobody was refused anything

	challenge bool // it is to say who it is

	// Of the extended body; a zero field has no value and is left out.
	token locks.Token
	ttl   time.Duration
	owner locks.Owner

	page *page // what there is to see, in place of all that; nil: nothing
}

// page is a body of its own kind.
type page struct {
	kind string // the Content-Type
	body []byte
}

// appendTo appends the body, unless it is a page.
func (o *outcome) appendTo(b []byte) []byte {
	switch {
	case o.text != "":
		b = append(b, `{"error":`...)
		b = appendString(b, o.text)
		b = append(b, `,"state":`...)
		b = append(b, state(o.held)+'0')
		b = append(b, `,"success":false`...)
	case o.held:
		b = append(b, bodyHeld[:len(bodyHeld)-1]...)
	default:
		b = append(b, bodyFree[:len(bodyFree)-1]...)
	}
	if o.token != 0 {
		b = append(b, `,"token":`...)
		b = strconv.AppendInt(b, int64(o.token), 10)
	}
	if o.ttl != 0 {
		b = append(b, `,"ttl_ms":`...)
		b = strconv.AppendInt(b, milliseconds(o.ttl), 10)
	}
	if o.owner != "" {
		b = append(b, `,"owner":`...)
		b = appendString(b, string(o.owner))
	}
	return append(b, '}')
}

func state(held bool) uint8 {
	if held {
		return 1
	}
	return 0
}

// milliseconds returns a TTL as replies give it: -1 for no expiry.
func milliseconds(ttl time.Duration) int64 {
	if ttl == locks.NoExpiry {
		return -1
	}
	return ttl.Milliseconds()
}

// appendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD each.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // which yields U+FFFD for such a byte
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// requestError refuses a request for what HTTP made of it, before there was
// anything to ask the engine.
type requestError struct {
	status int
	text   string
	allow  string

	challenge bool
}

func (e *requestError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &requestError{status: fasthttp.StatusBadRequest, text: fmt.Sprintf(format, args...)}
}

// refusal is the table from error to reply. An error of an unknown kind is a
// fault of candado's, and its text stays inside.
func refusal(err error) outcome {
	if e, ok := errors.AsType[*requestError](err); ok {
		return outcome{status: e.status, text: e.text, allow: e.allow, challenge: e.challenge}
	}
	if e, ok := errors.AsType[*access.DeniedError](err); ok {
		return outcome{status: fasthttp.StatusForbidden, text: e.Error()}
	}
	if e, ok := errors.AsType[*locks.ArgumentError](err); ok {
		return outcome{status: fasthttp.StatusBadRequest, text: e.Error()}
	}
	if e, ok := errors.AsType[goneError](err); ok {
		return outcome{status: fasthttp.StatusBadRequest, text: e.Error(), gone: true}
	}
	switch {
	case errors.Is(err, errFree):
		return outcome{status: fasthttp.StatusConflict, text: errFree.Error()}
	case errors.Is(err, locks.ErrHeld):
		return outcome{status: fasthttp.StatusConflict, held: true, text: locks.ErrHeld.Error()}
	case errors.Is(err, locks.ErrNotOwner):
		return outcome{status: fasthttp.StatusConflict, held: true, text: locks.ErrNotOwner.Error()}
	case errors.Is(err, locks.ErrMode):
		return outcome{status: fasthttp.StatusConflict, held: true, text: locks.ErrMode.Error()}
	case errors.Is(err, locks.ErrBusy):
		return busy(err)
	case errors.Is(err, locks.ErrShutdown):
		return outcome{status: fasthttp.StatusServiceUnavailable, text: locks.ErrShutdown.Error()}
	case errors.Is(err, locks.ErrUnavailable):
		return outcome{status: fasthttp.StatusServiceUnavailable, text: locks.ErrUnavailable.Error()}
	}
	return outcome{status: fasthttp.StatusInternalServerError, text: "candado has failed at this request, the outcome is unknown"}
}

// busy refuses a request because of a quota. It says which, if that is known. Only who
// would have had to wait was refused because the lock is held; of the others' nothing is known.
func busy(err error) outcome {
	o := outcome{status: fasthttp.StatusTooManyRequests, text: locks.ErrBusy.Error()}
	if over, ok := errors.AsType[*locks.QuotaError](err); ok {
		o.text = over.Error()
		switch over.Quota {
		case locks.QuotaHTTPConnections:
			o.status = fasthttp.StatusServiceUnavailable
		case locks.QuotaLockWaiters, locks.QuotaWaiting, locks.QuotaHTTPWaiting:
			o.held = true
		}
	}
	return o
}

// errFree: the request named a lease, or asked for the end of one, and the lock
// has none.
var errFree = errors.New("the lock is free")

// renamed gives an *ArgumentError the name that the argument has in a query.
func renamed(err error, name string) error {
	if e, ok := errors.AsType[*locks.ArgumentError](err); ok {
		return &locks.ArgumentError{Name: name, Reason: e.Reason}
	}
	return err
}
