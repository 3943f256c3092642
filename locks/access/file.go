package access

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	maxLine = 64 << 10 // bytes of a line
	maxFile = 16 << 20 // bytes of a users file
)

// ReadList reads a users file. Each line is a user, or empty, or a comment that begins
// with #:
//
//	name  hash  operations  pattern  pattern …
//
// with blanks between. The hash is one that Line makes, the operations are as
// ParseRights takes them, and the patterns are those of locks.Match: the user may do
// the operations with locks whose ID one of them matches.
//
// Its errors say which line is wrong and why, and show nothing of hashes, nor of what
// may be a password in a wrong place. A file without users is an error.
func ReadList(r io.Reader) (*List, error) {
	limited := &io.LimitedReader{R: r, N: maxFile + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	var users []*User
	first := make(map[string]int) // in which line a name stands
	n := 0
	for lines.Scan() {
		n++
		text := strings.Trim(lines.Text(), " \t\r")
		if text == "" || text[0] == '#' {
			continue
		}
		u, err := parseUser(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if before := first[u.name]; before != 0 {
			return nil, fmt.Errorf("line %d: the user %s stands in line %d already", n, u.name, before)
		}
		first[u.name] = n
		users = append(users, u)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d is longer than %d bytes", n+1, maxLine)
	case err != nil:
		return nil, fmt.Errorf("behind line %d: %w", n, err)
	case limited.N <= 0:
		return nil, fmt.Errorf("is longer than %d bytes", maxFile)
	case len(users) == 0:
		return nil, errNoUsers
	}
	return newList(users), nil
}

func parseUser(line string) (*User, error) {
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(fields) < 3 {
		return nil, errors.New("a user has a name, a hash, operations and patterns")
	}
	if err := checkName(fields[0]); err != nil {
		return nil, err
	}
	h, err := parseHash(fields[1])
	if err != nil {
		return nil, err
	}
	return newUser(fields[0], h, fields[2], fields[3:])
}

func newUser(name string, v verifier, operations string, patterns []string) (*User, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	rights, err := ParseRights(operations)
	if err != nil {
		return nil, err
	}
	if len(patterns) == 0 {
		return nil, errors.New("the user has no pattern (* stands for all locks)")
	}
	for _, pattern := range patterns {
		if err := checkPattern(pattern); err != nil {
			return nil, err
		}
	}
	return &User{name: name, rights: rights, patterns: patterns, everything: slices.Contains(patterns, "*"), verifier: v}, nil
}

// Line returns a line of the users file, without its end, for a user with that
// password. It takes as long as a hash. The errors are those of ReadList, and that the
// password is empty or longer than 1024 bytes; none shows it.
func Line(name, password, operations string, patterns []string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	u, err := newUser(name, nil, operations, patterns)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %v %v %s", u.name, newHash(password), u.rights, strings.Join(u.patterns, " ")), nil
}
