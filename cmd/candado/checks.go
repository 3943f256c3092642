package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The checks of settings.go: each reads one kind of value. Their errors are the
// rest of a sentence that begins with the setting's name.

var errEmpty = errors.New("must not be empty")

// optional lets an empty text pass a check.
func optional(check func(string) (string, error)) func(string) (string, error) {
	return func(text string) (string, error) {
		if text == "" {
			return "", nil
		}
		return check(text)
	}
}

// anyText takes all: the path of a file is judged by what is there.
func anyText(text string) (string, error) { return text, nil }

// address takes host:port; the host may be empty (all interfaces), the port 0
// (any that is free).
func address(text string) (string, error) {
	if text == "" {
		return "", errEmpty
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%q is not host:port", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q has a port that is not a number from 0 to 65535", text)
	}
	return text, nil
}

// password takes any text but none: who meant to set one and has none must hear of it. Nor
// does it take the end of a line, which came along from a file and which no client sends.
func password(text string) (secret, error) {
	switch {
	case text == "":
		return "", errEmpty
	case strings.HasSuffix(text, "\n"), strings.HasSuffix(text, "\r"):
		return "", errors.New("ends with the end of a line, which would be part of it")
	}
	return secret(text), nil
}

// path takes any text but none, for the same reason.
func path(text string) (string, error) {
	if text == "" {
		return "", errEmpty
	}
	return text, nil
}

// upstreamURL takes a URL that the upstream engine may know. Its errors show
// nothing of the URL but what stands before "://": a password could be anywhere
// behind, and even net/url's errors would quote it.
func upstreamURL(text string) (string, error) {
	scheme, _, found := strings.Cut(text, "://")
	if !found {
		return "", errors.New("is not a URL such as redis://host:port/db")
	}
	if !slices.Contains([]string{"redis", "rediss", "unix"}, scheme) {
		return "", fmt.Errorf("has the scheme %q; it must be redis, rediss or unix", scheme)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, strings.Contains(u.Path+u.RawQuery+u.Fragment, "@"):
		// The second: a password with a slash in it, so that half of it would
		// pass for a path.
		return "", errors.New("is not a valid URL (special characters in user and password are written as %XX)")
	case scheme == "unix" && u.Path == "":
		return "", errors.New("names no socket; write unix:///path/to/socket")
	case scheme != "unix" && u.Host == "":
		return "", errors.New("names no host")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", errors.New("has a port that is not a number from 1 to 65535")
		}
	}
	db := strings.TrimPrefix(u.Path, "/")
	if scheme == "unix" {
		db = ""
	}
	if u.Query().Has("db") {
		db = u.Query().Get("db")
	}
	if _, err := strconv.ParseUint(db, 10, 16); db != "" && err != nil {
		return "", errors.New("has a database that is not a number, such as the 0 of redis://host:port/0")
	}
	return text, nil
}

// prefix takes what may begin every key of the upstream: no braces (they would
// choose another hash tag than the lock's), nothing that is special in a
// pattern (scanning by prefix would find others' keys).
func prefix(text string) (string, error) {
	const most = 64
	switch {
	case text == "":
		return "", errEmpty
	case len(text) > most:
		return "", fmt.Errorf("is longer than %d bytes", most)
	}
	for _, r := range text {
		switch {
		case r < ' ' || r == 0x7f:
			return "", fmt.Errorf("%q has a control character", text)
		case strings.ContainsRune(`{}*?[]^\`, r):
			return "", fmt.Errorf("%q has the character %q, which Redis takes as special", text, r)
		}
	}
	return text, nil
}

// duration takes a positive number of whole milliseconds, with a unit.
func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case text == "":
		return 0, errEmpty
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration with a unit, such as 30s or 1500ms", text)
	case d <= 0:
		return 0, fmt.Errorf("%q is not above zero", text)
	case d%time.Millisecond != 0:
		return 0, fmt.Errorf("%q is not in whole milliseconds", text)
	}
	return d, nil
}

func positive(text string) (int, error) {
	n, err := strconv.Atoi(text)
	switch {
	case text == "":
		return 0, errEmpty
	case err != nil || n < 1:
		return 0, fmt.Errorf("%q is not a number of at least 1", text)
	}
	return n, nil
}

// number takes a whole number within those bounds.
func number(least, most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		switch {
		case text == "":
			return 0, errEmpty
		case err != nil || n < least || n > most:
			return 0, fmt.Errorf("%q is not a number from %d to %d", text, least, most)
		}
		return n, nil
	}
}

// orNone lets 0 pass a check of durations.
func orNone(check func(string) (time.Duration, error)) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		if d, err := time.ParseDuration(text); err == nil && d == 0 {
			return 0, nil
		}
		return check(text)
	}
}

func boolean(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is not true or false (1 or 0)", text)
}

func oneOf(names ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(names, text) {
			return "", fmt.Errorf("%q is none of %s", text, strings.Join(names, ", "))
		}
		return text, nil
	}
}
