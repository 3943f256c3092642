package proxy

// This file says what a command is, and finds one.

import (
	"slices"
	"strings"

	"github.com/goodjobtech/candado/locks"
	users "github.com/goodjobtech/candado/locks/access"
)

// command describes one command, or one subcommand of a container.
type command struct {
	name       string // lower case; "container|sub" for a subcommand
	arity      int    // arguments with the name; negative: at least so many
	flags      []string
	access     access // how it uses its first argument, a lock's ID
	right      users.Right
	open       bool // also to clients that have not authenticated: it has the flag no_auth
	group      string
	since      string
	summary    string
	complexity string
	args       []argument
	subs       []command

	// run is nil for a container that does nothing without a subcommand, and for
	// what is done by op alone.
	run func(*call) error

	// op, if it is set, says what the command asks of the engine: an operation that
	// may be done together with those of other commands. If it returns errAlone, run
	// is called.
	op func(*call, *locks.Op) error
}

// access says how a command uses the ID that is its first argument.
type access string

const (
	noKey  access = ""
	reads  access = "RO"
	writes access = "RW"
)

// argument is a node of a command's argument tree, as in COMMAND DOCS.
type argument struct {
	name     string
	kind     argKind
	token    string // the keyword before it
	optional bool
	multiple bool
	args     []argument // of oneOf and block
}

type argKind string

const (
	aKey     argKind = "key"
	aString  argKind = "string"
	aInteger argKind = "integer"
	aPattern argKind = "pattern"
	aToken   argKind = "pure-token"
	aOneOf   argKind = "oneof"
	aBlock   argKind = "block"
)

// accepts reports whether the command takes n arguments, its name included.
func (c *command) accepts(n int) bool {
	if c.arity < 0 {
		return n >= -c.arity
	}
	return n == c.arity
}

// sub returns the subcommand of that name in any case, or nil.
func (c *command) sub(name []byte) *command {
	for i := range c.subs {
		_, sub, _ := strings.Cut(c.subs[i].name, "|")
		if strings.EqualFold(sub, string(name)) {
			return &c.subs[i]
		}
	}
	return nil
}

// hidden reports whether it is none, but a word which means that the client speaks HTTP.
func (c *command) hidden() bool { return c.run == nil && c.op == nil && len(c.subs) == 0 }

// title returns the name for the log; empty for nil.
func (c *command) title() string {
	if c == nil {
		return ""
	}
	return c.name
}

// categories returns what COMMAND INFO and FILTERBY ACLCAT say.
func (c *command) categories() []string {
	speed := "@slow"
	if slices.Contains(c.flags, "fast") {
		speed = "@fast"
	}
	return []string{speed, "@" + c.group}
}

// commandTable holds the commands in the order of their definition, and finds
// them by name.
type commandTable struct {
	all      []*command
	byLength [maxCommandName + 1][]*command // few have names of the same length
}

const maxCommandName = 32

func newCommandTable() commandTable {
	var t commandTable
	for _, group := range [][]command{lockCommands(), connectionCommands(), serverCommands()} {
		for i := range group {
			group[i].open = slices.Contains(group[i].flags, "no_auth")
			t.all = append(t.all, &group[i])
			t.enter(&group[i])
		}
	}
	for _, word := range []string{"post", "host:"} {
		t.enter(&command{name: word})
	}
	return t
}

func (t *commandTable) enter(cmd *command) {
	n := len(cmd.name)
	t.byLength[n] = append(t.byLength[n], cmd)
}

// find returns the command of that name in any case, or nil.
func (t *commandTable) find(name []byte) *command {
	var lower [maxCommandName]byte
	if len(name) > len(lower) {
		return nil
	}
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	for _, cmd := range t.byLength[len(name)] {
		if cmd.name == string(lower[:len(name)]) {
			return cmd
		}
	}
	return nil
}

// named returns the command or subcommand ("client|id") of that name, or nil if
// there is none to speak of.
func (t *commandTable) named(name []byte) *command {
	container, sub, isSub := strings.Cut(string(name), "|")
	cmd := t.find([]byte(container))
	if cmd == nil || cmd.hidden() {
		return nil
	}
	if isSub {
		return cmd.sub([]byte(sub))
	}
	return cmd
}
