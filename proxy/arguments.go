package proxy

// This file parses the options of the LOCK commands: keywords in any order and
// any case, each at most once.

import (
	"math"
	"math/bits"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// option is a set of options, each of which is one bit.
type option uint16

const (
	optPX option = 1 << iota
	optEX
	optPersist
	optToken // a bare integer
	optOwner
	optForce
	optBlock
	optShared
	optLimit
	optSession
	optMatch
	optCount

	// At most one of each of these sets may be given.
	ttlOptions   = optPX | optEX | optPersist
	leaseOptions = optToken | optOwner | optForce
	modeOptions  = optShared | optLimit
)

// name returns how errors call a single option.
func (o option) name() string {
	names := [...]string{"PX", "EX", "PERSIST", "token", "OWNER", "FORCE", "BLOCK", "SHARED", "LIMIT", "SESSION", "MATCH", "COUNT"}
	return names[bits.TrailingZeros16(uint16(o))]
}

func (o option) hasValue() bool {
	return o&(optPX|optEX|optOwner|optBlock|optLimit|optMatch|optCount) != 0
}

// keyword returns the option that a word begins, 0 if none.
func keyword(word []byte) option {
	var upper [8]byte
	if len(word) > len(upper) {
		return 0
	}
	for i, b := range word {
		if 'a' <= b && b <= 'z' {
			b -= 'a' - 'A'
		}
		upper[i] = b
	}
	switch string(upper[:len(word)]) {
	case "PX":
		return optPX
	case "EX":
		return optEX
	case "PERSIST":
		return optPersist
	case "OWNER":
		return optOwner
	case "FORCE":
		return optForce
	case "BLOCK":
		return optBlock
	case "SHARED":
		return optShared
	case "LIMIT":
		return optLimit
	case "SESSION":
		return optSession
	case "MATCH":
		return optMatch
	case "COUNT":
		return optCount
	}
	return 0
}

// options is what the options of one command say; fields of options that were
// not given are zero.
type options struct {
	given option

	ttl   time.Duration // positive, or locks.NoExpiry
	claim locks.Claim
	block time.Duration // of BLOCK; 0 with BLOCK given is for ever
	mode  locks.Mode
	limit int
	match string
	count int
}

// parseOptions reads the options that follow a command's fixed arguments. Its
// errors are replyErrors and, for what package locks refuses, *locks.ArgumentErrors.
func parseOptions(command string, args [][]byte, allowed option) (options, error) {
	var o options
	for len(args) > 0 {
		opt := keyword(args[0]) & allowed
		if opt == 0 && allowed&optToken != 0 && numeric(args[0]) {
			opt = optToken
		}
		if opt == 0 {
			return o, errSyntax.with("unknown option '%s'", printable(args[0]))
		}
		if err := o.admit(opt); err != nil {
			return o, err
		}
		if opt.hasValue() {
			args = args[1:]
			if len(args) == 0 {
				return o, errSyntax.with("option %s needs a value", opt.name())
			}
		}
		if err := o.set(command, opt, args[0]); err != nil {
			return o, err
		}
		args = args[1:]
	}
	return o, nil
}

// numeric reports whether a word is meant as a number.
func numeric(word []byte) bool {
	return len(word) > 0 && (word[0] == '-' || word[0] == '+' || '0' <= word[0] && word[0] <= '9')
}

// admit notes that opt is given, or says what it clashes with.
func (o *options) admit(opt option) error {
	before := o.given
	o.given |= opt
	switch {
	case before&opt != 0 && opt == optToken:
		return errSyntax.with("token given twice")
	case before&opt != 0:
		return errSyntax.with("option %s given twice", opt.name())
	case opt&ttlOptions != 0 && before&ttlOptions != 0:
		return errSyntax.with("TTL option given twice")
	}
	for _, exclusive := range [...]option{leaseOptions, modeOptions} {
		if other := before & exclusive; opt&exclusive != 0 && other != 0 {
			return errSyntax.with("%s and %s exclude each other", other.name(), opt.name())
		}
	}
	return nil
}

// set takes an option's value; for an option without one, value is the keyword.
func (o *options) set(command string, opt option, value []byte) (err error) {
	switch opt {
	case optPX:
		o.ttl, err = parseTTL(command, opt, value, time.Millisecond)
	case optEX:
		o.ttl, err = parseTTL(command, opt, value, time.Second)
	case optPersist:
		o.ttl = locks.NoExpiry
	case optToken:
		o.claim.Token, err = parseToken(value)
	case optOwner:
		o.claim.Owner, err = parseOwner(value)
	case optBlock:
		o.block, err = parseBlock(value)
	case optShared:
		o.mode = locks.Shared
	case optLimit:
		o.mode = locks.Shared
		o.limit, err = parseCount(opt, value, errNotInteger)
	case optMatch:
		o.match = string(value)
		err = locks.CheckPattern(o.match)
	case optCount:
		o.count, err = parseCount(opt, value, errSyntax)
	}
	return err
}

// parseTTL returns a TTL given in units. One that is too long to be counted in
// nanoseconds is as invalid as one that is not positive; --max-ttl is far below.
func parseTTL(command string, opt option, value []byte, unit time.Duration) (time.Duration, error) {
	n, ok := parseInt(value)
	switch {
	case !ok:
		return 0, errNotInteger.with("%s '%s'", opt.name(), printable(value))
	case n <= 0 || n > math.MaxInt64/int64(unit):
		return 0, errExpire(command)
	}
	return time.Duration(n) * unit, nil
}

// parseToken returns a token. Zero is refused: it would stand for "no token".
func parseToken(value []byte) (locks.Token, error) {
	n, ok := parseInt(value)
	if !ok || n <= 0 || n > int64(locks.MaxToken) {
		return 0, errNotInteger.with("token '%s'", printable(value))
	}
	return locks.Token(n), nil
}

// parseOwner returns an owner. An explicit empty one is refused: the caller has
// lost its name, and would get an anonymous lease that anyone may end.
func parseOwner(value []byte) (locks.Owner, error) {
	if len(value) == 0 {
		return "", &locks.ArgumentError{Name: "owner", Reason: "is empty"}
	}
	owner := locks.Owner(value)
	return owner, owner.Validate()
}

func parseBlock(value []byte) (time.Duration, error) {
	n, ok := parseInt(value)
	switch {
	case !ok || n > math.MaxInt64/int64(time.Millisecond):
		return 0, errTimeout.with("BLOCK '%s'", printable(value))
	case n < 0:
		return 0, errNegativeBlock.with("BLOCK '%s'", printable(value))
	}
	return time.Duration(n) * time.Millisecond, nil
}

// parseCount returns a number from 1 to 2^31-1. Below 1, the error is tooSmall.
func parseCount(opt option, value []byte, tooSmall replyError) (int, error) {
	n, ok := parseInt(value)
	switch {
	case !ok || n > math.MaxInt32:
		return 0, errNotInteger.with("%s '%s'", opt.name(), printable(value))
	case n < 1:
		return 0, tooSmall.with("%s '%s'", opt.name(), printable(value))
	}
	return int(n), nil
}
