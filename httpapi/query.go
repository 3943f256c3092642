package httpapi

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// param is a query parameter, or a set of them.
type param uint16

const (
	paramTTL param = 1 << iota
	paramPersist
	paramWait
	paramOwner
	paramToken
	paramShared
	paramLimit
	paramForce
	paramMatch
	paramCursor
	paramCount
)

// maxCount bounds one page of /locks, and so the size of its body.
const maxCount = 1000

func paramNamed(name string) param {
	switch name {
	case "ttl":
		return paramTTL
	case "persist":
		return paramPersist
	case "wait":
		return paramWait
	case "owner":
		return paramOwner
	case "token":
		return paramToken
	case "shared":
		return paramShared
	case "limit":
		return paramLimit
	case "force":
		return paramForce
	case "match":
		return paramMatch
	case "cursor":
		return paramCursor
	case "count":
		return paramCount
	}
	return 0
}

// params is what the query of one request says.
type params struct {
	given param // which parameters; none: the request is bare

	ttl    time.Duration // 0: not given; NoExpiry: persist
	wait   time.Duration // 0: not at all
	owner  locks.Owner
	token  locks.Token
	limit  int
	match  string
	cursor uint64
	count  int
}

func (p params) has(which param) bool { return p.given&which != 0 }

// claim is the lease that the request names, if any.
func (p params) claim() locks.Claim { return locks.Claim{Token: p.token, Owner: p.owner} }

// parseQuery reads a query of which only the allowed parameters may be part. An
// error names the parameter that it is about.
func parseQuery(query string, allowed param, limits locks.Limits) (params, error) {
	var p params
	if query == "" {
		return p, nil
	}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue // as query builders leave behind
		}
		if err := p.add(pair, allowed); err != nil {
			return params{}, err
		}
	}
	if err := p.conflict(); err != nil {
		return params{}, err
	}
	return p, p.checkTTL(limits)
}

func (p *params) add(pair string, allowed param) error {
	rawName, rawValue, _ := strings.Cut(pair, "=")
	name, err := unescape(rawName, true)
	if err != nil {
		return badRequest("a parameter's name has a %v", err)
	}
	value, err := unescape(rawValue, true)
	if err != nil {
		return badRequest("%s has a %v", quote(name), err)
	}
	which := paramNamed(name)
	switch {
	case name == "":
		return badRequest("a parameter has no name")
	case which == 0:
		return badRequest("there is no parameter %s", quote(name))
	case which&allowed == 0:
		return badRequest("%s does not apply here", name)
	case p.has(which):
		return badRequest("%s is given twice", name)
	}
	p.given |= which
	if reason := p.set(which, value); reason != "" {
		return &locks.ArgumentError{Name: name, Reason: reason}
	}
	return nil
}

// set stores a value, or returns what is wrong with it.
func (p *params) set(which param, value string) (reason string) {
	switch which {
	case paramTTL:
		p.ttl, reason = parseTTL(value)
	case paramWait:
		p.wait, reason = parseWait(value)
	case paramOwner:
		p.owner = locks.Owner(strings.Clone(value)) // the lease keeps it, and would keep the whole request target
		reason = checkOwner(p.owner)
	case paramToken:
		p.token, reason = parseToken(value)
	case paramLimit:
		p.limit, reason = parseCount(value, math.MaxInt32)
	case paramShared, paramForce, paramPersist:
		if value != "1" {
			reason = "takes no value but 1"
		}
	case paramMatch:
		p.match = value
		if locks.CheckPattern(value) != nil {
			reason = "is longer than " + strconv.Itoa(locks.MaxPatternLen) + " bytes"
		}
	case paramCursor:
		p.cursor, reason = parseCursor(value)
	case paramCount:
		if value != "" {
			p.count, reason = parseCount(value, maxCount)
		}
	}
	return reason
}

// parseTTL takes no 0: a lease that has ended when it begins is none.
func parseTTL(value string) (time.Duration, string) {
	d, reason := parseDuration(value)
	if reason == "" && d <= 0 {
		reason = "is not above 0"
	}
	return d, reason
}

// parseWait takes 0s, which is not to wait: what is left of a client's own
// time may come to that.
func parseWait(value string) (time.Duration, string) {
	d, reason := parseDuration(value)
	if reason == "" && d < 0 {
		reason = "is below 0"
	}
	return d, reason
}

func parseDuration(value string) (time.Duration, string) {
	d, err := time.ParseDuration(value)
	switch {
	case value == "":
		return 0, "is empty"
	case (err != nil || d == 0) && isNumber(value): // ParseDuration takes a bare 0
		return 0, "needs a unit, such as 30s or 1500ms"
	case err != nil:
		return 0, "is not a duration, such as 30s or 1500ms"
	case d > 0 && d%time.Millisecond != 0:
		return 0, "is not a whole number of milliseconds"
	}
	return d, ""
}

func isNumber(value string) bool {
	_, err := strconv.ParseFloat(value, 64)
	return err == nil
}

func checkOwner(o locks.Owner) string {
	switch {
	case o == "":
		return "is empty"
	case o.Validate() != nil:
		return "is longer than " + strconv.Itoa(locks.MaxOwnerLen) + " bytes"
	}
	return ""
}

func parseToken(value string) (locks.Token, string) {
	// ParseUint, since a sign is no part of a token.
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n == 0 || n > uint64(locks.MaxToken) {
		return 0, "is not an integer from 1 to " + strconv.FormatInt(int64(locks.MaxToken), 10)
	}
	return locks.Token(n), ""
}

func parseCount(value string, most int) (int, string) {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || n == 0 || n > uint64(most) {
		return 0, "is not an integer from 1 to " + strconv.Itoa(most)
	}
	return int(n), ""
}

func parseCursor(value string) (uint64, string) {
	if value == "" {
		return 0, ""
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, "is not an integer from 0 to 18446744073709551615"
	}
	return n, ""
}

// conflict returns an error if two parameters exclude each other.
func (p *params) conflict() error {
	switch {
	case p.has(paramTTL) && p.has(paramPersist):
		return badRequest("ttl and persist exclude each other")
	case p.has(paramToken) && p.has(paramOwner):
		return badRequest("token and owner exclude each other")
	case p.has(paramShared) && p.has(paramLimit):
		return badRequest("shared and limit exclude each other; limit is shared already")
	case p.has(paramForce) && p.has(paramToken):
		return badRequest("force and token exclude each other")
	case p.has(paramForce) && p.has(paramOwner):
		return badRequest("force and owner exclude each other")
	}
	return nil
}

// checkTTL applies the operator's limits. Their errors speak of RESP's words.
func (p *params) checkTTL(limits locks.Limits) error {
	name := "ttl"
	switch {
	case p.has(paramPersist):
		p.ttl, name = locks.NoExpiry, "persist"
	case !p.has(paramTTL):
		return nil
	}
	err := limits.CheckTTL(p.ttl)
	if err == nil {
		return nil
	}
	return renamed(err, name)
}
