package access

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// List is the users there are. It does not change, and is safe for concurrent use.
type List struct {
	users map[string]*User

	// strangers take as long to refuse whoever is not in the list as users of it: there is
	// one for each cost that users' hashes have, the cheapest first.
	strangers []verifier
}

// newList returns a list of users whose names differ.
func newList(users []*User) *List {
	l := &List{users: make(map[string]*User, len(users))}
	costs := make(map[cost]hash)
	for _, u := range users {
		l.users[u.name] = u
		if h, ok := u.verifier.(hash); ok {
			costs[h.cost] = h
		}
	}
	for _, c := range slices.SortedFunc(maps.Keys(costs), cost.compare) {
		l.strangers = append(l.strangers, costs[c].nobody())
	}
	if len(l.strangers) == 0 {
		l.strangers = []verifier{plain{}}
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

// stranger returns what a password is compared with that is given under a name which
// nobody has. That name's proof chooses among the costs: a name that always costs the
// same may be a user's or not.
func (l *List) stranger(p proof) verifier {
	return l.strangers[binary.BigEndian.Uint64(p[:])%uint64(len(l.strangers))]
}

// betrays reports whether a name that was given is the default user's password, or, as
// Bearer has both, that password up to its first colon. Only one that is kept in the clear
// beside candado can be compared that fast.
func (l *List) betrays(name, password string) bool {
	u := l.User(Default)
	if u == nil || l.User(name) != nil || len(name) > maxPassword {
		return false
	}
	p, ok := u.verifier.(plain)
	return ok && (p.matches(name) || len(password) < maxPassword && p.matches(name+":"+password))
}

var errNoUsers = errors.New("has no users")
