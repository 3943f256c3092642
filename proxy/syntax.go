package proxy

// This file writes a command's syntax as people read it, from its argument tree.

import "strings"

// word is a keyword that stands for itself.
func word(token string) argument {
	return argument{name: strings.ToLower(token), kind: aToken, token: token}
}

// syntax returns a line such as "LOCK.CHECK id token".
func (c *command) syntax() string {
	parts := []string{strings.ToUpper(strings.ReplaceAll(c.name, "|", " "))}
	for _, a := range c.args {
		parts = append(parts, a.syntax())
	}
	return strings.Join(parts, " ")
}

func (a argument) syntax() string {
	s := a.bare()
	if a.multiple {
		s += " [" + s + " ...]"
	}
	if a.kind == aOneOf && !a.optional && a.token == "" {
		s = "<" + s + ">"
	}
	if a.token != "" && a.kind != aToken {
		s = a.token + " " + s
	}
	if a.optional {
		s = "[" + s + "]"
	}
	return s
}

func (a argument) bare() string {
	switch a.kind {
	case aToken:
		return a.token
	case aOneOf:
		return joined(a.args, " | ")
	case aBlock:
		return joined(a.args, " ")
	}
	return a.name
}

func joined(args []argument, sep string) string {
	parts := make([]string, len(args))
	for i, a := range args {
		parts[i] = a.syntax()
	}
	return strings.Join(parts, sep)
}
