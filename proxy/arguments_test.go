package proxy

import (
	"errors"
	"math/bits"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// FuzzOptions: parsing never panics; what it accepts has no duplicates and no
// two options that exclude each other, is within bounds, and means the same when
// written down again in another order.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{
		"", "PX 1", "px 1 owner a limit 3", "EX 9223372036 SHARED", "PERSIST FORCE", "12", "OWNER OWNER 7", "BLOCK 0 SESSION", "MATCH * COUNT 5",
		"PX 1 EX 1", "SHARED LIMIT 1", "1 FORCE", "COUNT 0", "LIMIT 2147483648", "PX", "-0", "9007199254740992",
	} {
		f.Add(s, uint16(0xffff))
	}
	f.Fuzz(func(t *testing.T, line string, mask uint16) {
		allowed := option(mask) & (optCount<<1 - 1)
		o, err := parseOptions("lock.test", words(line), allowed)
		if err != nil {
			if reply, expected := errorReply(err); !expected || !strings.HasPrefix(reply, "ERR ") || strings.ContainsAny(reply, "\r\n") {
				t.Fatalf("%q: reply %q", line, reply)
			}
			return
		}
		if extra := o.given &^ allowed; extra != 0 {
			t.Fatalf("%q: accepted %s", line, extra.name())
		}
		for _, set := range []option{ttlOptions, leaseOptions, modeOptions} {
			if bits.OnesCount16(uint16(o.given&set)) > 1 {
				t.Fatalf("%q: accepted two of %b", line, set)
			}
		}
		if n := len(words(line)); n != bits.OnesCount16(uint16(o.given))+bits.OnesCount16(uint16(o.given&(optPX|optEX|optOwner|optBlock|optLimit|optMatch|optCount))) {
			t.Fatalf("%q: %d words, %b accepted", line, n, o.given)
		}
		if o.claim.Token < 0 || o.claim.Token > locks.MaxToken || o.limit < 0 || o.count < 0 || o.block < 0 || o.ttl < locks.NoExpiry {
			t.Fatalf("%q: out of bounds: %+v", line, o)
		}
		again, err := parseOptions("lock.test", o.words(), allowed)
		if err != nil || again != o {
			t.Fatalf("%q: %+v, written down again %q: %+v, %v", line, o, o.words(), again, err)
		}
	})
}

func words(line string) (args [][]byte) {
	for word := range strings.SplitSeq(line, " ") {
		if line != "" {
			args = append(args, []byte(word))
		}
	}
	return args
}

// words writes options down, the last first.
func (o options) words() (args [][]byte) {
	value := map[option]string{
		optPX: strconv.FormatInt(int64(o.ttl/time.Millisecond), 10), optEX: strconv.FormatInt(int64(o.ttl/time.Second), 10),
		optOwner: string(o.claim.Owner), optBlock: strconv.FormatInt(int64(o.block/time.Millisecond), 10), optLimit: strconv.FormatInt(int64(o.limit), 10),
		optMatch: o.match, optCount: strconv.FormatInt(int64(o.count), 10),
	}
	for opt := optCount; opt > 0; opt >>= 1 {
		switch {
		case o.given&opt == 0:
		case opt == optToken:
			args = append(args, []byte(strconv.FormatInt(int64(o.claim.Token), 10)))
		case opt.hasValue():
			args = append(args, []byte(strings.ToLower(opt.name())), []byte(value[opt]))
		default:
			args = append(args, []byte(opt.name()))
		}
	}
	return args
}

func TestEachErrorOfTheDomainHasItsReply(t *testing.T) {
	for err, want := range map[error]string{
		locks.ErrHeld:        "",
		locks.ErrNotOwner:    "NOTOWNER the lock is held by others",
		locks.ErrMode:        "ERR the owner holds the lock in another mode",
		locks.ErrBusy:        "BUSY a quota is reached, nothing was done",
		locks.ErrUnavailable: "UNAVAILABLE the upstream is unavailable, the outcome is unknown",
		locks.ErrShutdown:    "SHUTDOWN candado is shutting down, nothing was done",
		&locks.ArgumentError{Name: "owner", Reason: "is empty"}: "ERR owner is empty",
	} {
		for _, e := range []error{err, errors.Join(errOdd, err)} {
			if got, expected := errorReply(e); got != want || !expected {
				t.Errorf("%v: got %q, %v", e, got, expected)
			}
		}
	}
	if got, expected := errorReply(errOdd); got != "ERR internal error" || expected {
		t.Errorf("an unknown error: got %q, %v", got, expected)
	}
}
