package proxy

// This file holds the handlers of COMMAND, which describe the command table in
// Redis's shape: redis-cli makes its hints of them.

import (
	"slices"
	"strings"

	"github.com/goodjobtech/candado/locks"
)

func (c *call) commandCount() error {
	c.int(int64(len(c.srv.commands.all)))
	return nil
}

// commandInfo also answers COMMAND alone.
func (c *call) commandInfo() error {
	if len(c.args) == 0 {
		c.array(len(c.srv.commands.all))
		for _, cmd := range c.srv.commands.all {
			c.describeCommand(cmd)
		}
		return nil
	}
	c.array(len(c.args))
	for _, name := range c.args {
		if cmd := c.srv.commands.named(name); cmd != nil {
			c.describeCommand(cmd)
		} else {
			c.null()
		}
	}
	return nil
}

func (c *call) describeCommand(cmd *command) {
	c.array(10)
	c.bulk(cmd.name)
	c.int(int64(cmd.arity))
	c.simples(cmd.flags)
	position := int64(0)
	if cmd.access != noKey {
		position = 1
	}
	c.int(position) // first key
	c.int(position) // last key
	c.int(position) // step
	c.simples(cmd.categories())
	c.set(0) // tips
	c.keySpecs(cmd)
	if len(cmd.subs) == 0 {
		c.set(0) // Redis's RESP3 has a set here, though an array where there are some
		return
	}
	c.array(len(cmd.subs))
	for i := range cmd.subs {
		c.describeCommand(&cmd.subs[i])
	}
}

func (c *call) keySpecs(cmd *command) {
	if cmd.access == noKey {
		c.set(0)
		return
	}
	use := "access"
	if cmd.access == writes {
		use = "update"
	}
	c.set(1)
	c.mapping(3)
	c.bulk("flags")
	c.simples([]string{string(cmd.access), use})
	c.bulk("begin_search")
	c.typed("index", 1)
	c.bulk("index")
	c.int(1)
	c.bulk("find_keys")
	c.typed("range", 3)
	c.bulk("lastkey")
	c.int(0)
	c.bulk("keystep")
	c.int(1)
	c.bulk("limit")
	c.int(0)
}

// typed begins a key specification's part: its type, and a map of n pairs.
func (c *call) typed(kind string, n int) {
	c.mapping(2)
	c.bulk("type")
	c.bulk(kind)
	c.bulk("spec")
	c.mapping(n)
}

func (c *call) commandDocs() error {
	found := c.srv.commands.all
	if len(c.args) > 0 {
		found = nil
		for _, name := range c.args {
			if cmd := c.srv.commands.named(name); cmd != nil {
				found = append(found, cmd)
			}
		}
	}
	c.mapping(len(found))
	for _, cmd := range found {
		c.documentCommand(cmd)
	}
	return nil
}

func (c *call) documentCommand(cmd *command) {
	fields := 4 + count(len(cmd.args) > 0, len(cmd.subs) > 0)
	c.bulk(cmd.name)
	c.mapping(fields)
	c.bulk("summary")
	c.bulk(cmd.summary)
	c.bulk("since")
	c.bulk(cmd.since)
	c.bulk("group")
	c.bulk(cmd.group)
	c.bulk("complexity")
	c.bulk(cmd.complexity)
	if len(cmd.args) > 0 {
		c.bulk("arguments")
		c.documentArguments(cmd.args)
	}
	if len(cmd.subs) > 0 {
		c.bulk("subcommands")
		c.mapping(len(cmd.subs))
		for i := range cmd.subs {
			c.documentCommand(&cmd.subs[i])
		}
	}
}

func (c *call) documentArguments(args []argument) {
	c.array(len(args))
	for _, a := range args {
		flags := a.flags()
		c.mapping(2 + count(a.kind == aKey, a.token != "", len(flags) > 0, len(a.args) > 0))
		c.bulk("name")
		c.bulk(a.name)
		c.bulk("type")
		c.bulk(string(a.kind))
		if a.kind == aKey {
			c.bulk("key_spec_index")
			c.int(0)
		}
		if a.token != "" {
			c.bulk("token")
			c.bulk(a.token)
		}
		if len(flags) > 0 {
			c.bulk("flags")
			c.simples(flags)
		}
		if len(a.args) > 0 {
			c.bulk("arguments")
			c.documentArguments(a.args)
		}
	}
}

func (a argument) flags() (flags []string) {
	if a.optional {
		flags = append(flags, "optional")
	}
	if a.multiple {
		flags = append(flags, "multiple")
	}
	return flags
}

// count returns how many of the conditions hold.
func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

func (c *call) commandList() error {
	matches, err := commandFilter(c.args)
	if err != nil {
		return err
	}
	var names []string
	var add func(cmd *command)
	add = func(cmd *command) {
		if matches(cmd) {
			names = append(names, cmd.name)
		}
		if len(c.args) > 0 { // without a filter, Redis lists no subcommands
			for i := range cmd.subs {
				add(&cmd.subs[i])
			}
		}
	}
	for _, cmd := range c.srv.commands.all {
		add(cmd)
	}
	c.array(len(names))
	for _, name := range names {
		c.bulk(name)
	}
	return nil
}

// commandFilter parses the arguments of COMMAND LIST.
func commandFilter(args [][]byte) (func(*command) bool, error) {
	if len(args) == 0 {
		return func(*command) bool { return true }, nil
	}
	if len(args) != 3 || !is(args[0], "FILTERBY") {
		return nil, errSyntax
	}
	value := string(args[2])
	switch strings.ToUpper(string(args[1])) {
	case "MODULE":
		return func(*command) bool { return false }, nil
	case "ACLCAT":
		return func(cmd *command) bool { return slices.Contains(cmd.categories(), "@"+strings.ToLower(value)) }, nil
	case "PATTERN":
		return func(cmd *command) bool { return locks.Match(strings.ToLower(value), cmd.name) }, nil
	}
	return nil, errSyntax
}

// containerHelp answers CLIENT HELP and its like.
func (c *call) containerHelp() error {
	container, _, _ := strings.Cut(c.cmd.name, "|")
	cmd := c.srv.commands.find([]byte(container))
	lines := []string{strings.ToUpper(container) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}
	for i := range cmd.subs {
		_, line, _ := strings.Cut(cmd.subs[i].syntax(), " ")
		lines = append(lines, line, "    "+strings.TrimSuffix(cmd.subs[i].summary, ".")+".")
	}
	c.lines(lines)
	return nil
}
