package access

import (
	"fmt"
	"strings"
)

// Right is a set of what a user may do with the locks whose IDs are his.
type Right uint8

// The rights.
const (
	Acquire   Right = 1 << iota
	Release         // of one's own lease, or of an anonymous one
	Heartbeat       // the same
	Read            // whether a lock is held, by whom, and which are
	Force           // ending others' leases

	All = Acquire | Release | Heartbeat | Read | Force
)

// names returns what the single rights are called, beginning with the lowest bit.
func names() []string { return []string{"acquire", "release", "heartbeat", "read", "force"} }

// String returns the rights as the users file has them: "all", or their names with
// commas between.
func (r Right) String() string {
	if r == All {
		return "all"
	}
	var given []string
	for i, name := range names() {
		if r&(1<<i) != 0 {
			given = append(given, name)
		}
	}
	return strings.Join(given, ",")
}

// ParseRights reads what String returns, in any order. Its error says which of the
// words is unknown by its place, for the word may be a password that was put there by
// mistake.
func ParseRights(text string) (Right, error) {
	if text == "all" {
		return All, nil
	}
	var rights Right
	place := 0
	for word := range strings.SplitSeq(text, ",") {
		place++
		found := false
		for i, name := range names() {
			if word == name {
				rights, found = rights|1<<i, true
			}
		}
		if !found {
			return 0, fmt.Errorf("operation %d is none of %s, nor are the operations the word all", place, strings.Join(names(), ", "))
		}
	}
	return rights, nil
}
