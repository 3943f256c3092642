package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/goodjobtech/candado/locks"
)

// Default is the name of the user who gives a password alone.
const Default = "default"

const maxNameLen = 256

// User is somebody with a password, and what he may do. He does not change, and is
// safe for concurrent use.
type User struct {
	name       string
	rights     Right
	patterns   []string
	everything bool // whether a pattern is *
	verifier   verifier

	// proven is the proof of his password, once it was verified: whoever gives it
	// again need not wait for another hash. Nil: it was not.
	proven atomic.Pointer[proof]
}

// Name returns the user's name.
func (u *User) Name() string { return u.name }

// Has reports whether the user has the right, of whichever lock.
func (u *User) Has(right Right) bool { return u.rights&right == right }

// ReadsAll reports whether the user may read every lock.
func (u *User) ReadsAll() bool { return u.Has(Read) && u.everything }

// May returns nil if the user has the right of the lock with that ID, and otherwise a
// *DeniedError.
func (u *User) May(right Right, id locks.ID) error {
	switch {
	case !u.Has(right):
		return &DeniedError{Right: right}
	case !u.owns(id):
		return &DeniedError{Right: right, ID: true}
	}
	return nil
}

// owns reports whether a pattern matches the ID. One that is too long to be an ID is
// not looked at: a pattern with many stars would take long.
func (u *User) owns(id locks.ID) bool {
	if u.everything {
		return true
	}
	return len(id) <= locks.MaxIDLen &&
		slices.ContainsFunc(u.patterns, func(pattern string) bool { return locks.Match(pattern, string(id)) })
}

// DeniedError says which right a user lacks.
type DeniedError struct {
	Right Right
	ID    bool // he has the right, but of other locks
}

// Error returns one sentence.
func (e *DeniedError) Error() string {
	if e.ID {
		return "this user has no permission for this lock"
	}
	return fmt.Sprintf("this user has no permission for the operation %v", e.Right)
}

// checkName takes what can stand in a line of the users file, before the colon of
// HTTP's Basic, and in CLIENT LIST.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("a user needs a name")
	case len(name) > maxNameLen:
		return fmt.Errorf("a user's name is longer than %d bytes", maxNameLen)
	case name[0] == '#':
		return errors.New("a user's name begins with #")
	}
	for _, b := range []byte(name) {
		if b <= ' ' || b > '~' || b == ':' {
			return errors.New("a user's name has a character other than letters, digits and signs of ASCII, or a colon")
		}
	}
	return nil
}

// checkPattern takes what can stand in a line of the users file.
func checkPattern(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("a pattern is empty")
	case len(pattern) > locks.MaxIDLen:
		return fmt.Errorf("a pattern is longer than %d bytes", locks.MaxIDLen)
	case strings.HasPrefix(pattern, "$argon2id$"): // added to a file whose last line had no end
		return errors.New("a pattern is a hash: two users stand in one line")
	case pattern[0] == '#':
		return errors.New(`a pattern begins with # (a comment has a line of its own; a pattern for IDs that begin so is written \#)`)
	}
	for _, b := range []byte(pattern) {
		if b <= ' ' || b == 0x7f {
			return errors.New("a pattern has a blank or a control character (? stands for any)")
		}
	}
	return nil
}
