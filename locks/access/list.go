package access

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// List is the users there are. It does not change, and is safe for concurrent use.
type List struct {
	users map[string]*User

	// stranger takes as long to refuse whoever is not in the list as a user of it.
	stranger verifier
}

// newList returns a list of users whose names differ.
func newList(users []*User) *List {
	l := &List{users: make(map[string]*User, len(users)), stranger: plain{}}
	for _, u := range users {
		l.users[u.name] = u
		// Where users' hashes differ in their cost, a stranger's is that of one of them.
		if h, ok := u.verifier.(hash); ok && !l.stranger.dear() {
			l.stranger = h.nobody()
		}
	}
	return l
}

// WithPassword returns the list with the default user added: one that has this
// password and may do everything. The list may be nil. It is an error if there is
// a default user already, or the password is empty or longer than 1024 bytes.
func (l *List) WithPassword(password string) (*List, error) {
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	users := []*User{{name: Default, rights: All, patterns: []string{"*"}, everything: true, verifier: plain(sha256.Sum256([]byte(password)))}}
	if l != nil {
		if l.User(Default) != nil {
			return nil, fmt.Errorf("there is a user %s already", Default)
		}
		for _, u := range l.users {
			users = append(users, u)
		}
	}
	return newList(users), nil
}

// User returns the user of that name, or nil.
func (l *List) User(name string) *User { return l.users[name] }

// Len returns how many users there are.
func (l *List) Len() int { return len(l.users) }

// verifierOf returns what a password given under that name is compared with.
func (l *List) verifierOf(u *User) verifier {
	if u == nil {
		return l.stranger
	}
	return u.verifier
}

var errNoUsers = errors.New("has no users")
