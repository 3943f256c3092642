package proxy

// This file is the list of commands. It is data: everything that depends on what
// there is to call reads it from here.

import users "github.com/goodjobtech/candado/locks/access"

func lockCommands() []command {
	return []command{
		{
			name: "lock.acquire", arity: -2, flags: []string{"write", "fast", "blocking"}, access: writes,
			right: users.Acquire,
			group: "lock", since: "1.0.0", complexity: "O(1)",
			summary: "Acquires a lock and returns the lease's token, or null if the lock was not to be had.",
			args: []argument{
				lockID(), ttlOption(), ownerOption(), optional(integer("BLOCK", "ms")),
				either("mode", word("SHARED"), integer("LIMIT", "n")), optional(word("SESSION")),
			},
			op: (*call).acquireOp, run: (*call).acquire,
		},
		{
			name: "lock.release", arity: -2, flags: []string{"write", "fast"}, access: writes,
			right: users.Release,
			group: "lock", since: "1.0.0", complexity: "O(1), with FORCE O(N) where N is the number of holders",
			summary: "Ends a lease and returns how many ended, 0 if the lock was free.",
			args:    []argument{lockID(), either("lease", integer("", "token"), text("OWNER", "owner"), word("FORCE"))},
			op:      (*call).releaseOp,
		},
		{
			name: "lock.heartbeat", arity: -2, flags: []string{"write", "fast"}, access: writes,
			right: users.Heartbeat,
			group: "lock", since: "1.0.0", complexity: "O(1)",
			summary: "Renews a lease and returns the milliseconds it now lasts, 0 if the lock is free.",
			args:    []argument{lockID(), either("lease", integer("", "token"), text("OWNER", "owner")), ttlOption()},
			op:      (*call).heartbeatOp,
		},
		{
			name: "lock.check", arity: 3, flags: []string{"readonly", "fast"}, access: reads,
			right: users.Read,
			group: "lock", since: "1.0.0", complexity: "O(1)",
			summary: "Returns 1 while the token is that of a live lease of the lock, else 0.",
			args:    []argument{lockID(), integer("", "token")},
			op:      (*call).checkOp,
		},
		{
			name: "lock.info", arity: 2, flags: []string{"readonly"}, access: reads,
			right: users.Read,
			group: "lock", since: "1.0.0", complexity: "O(N) where N is the number of holders",
			summary: "Describes a lock: its state, mode, holders, waiters and last token.",
			args:    []argument{lockID()},
			run:     (*call).lockInfo,
		},
		{
			name: "lock.scan", arity: -2, flags: []string{"readonly"},
			right: users.Read,
			group: "lock", since: "1.0.0", complexity: "O(1) for every call",
			summary: "Iterates over the IDs of held locks.",
			args: []argument{
				integer("", "cursor"),
				{name: "pattern", kind: aPattern, token: "MATCH", optional: true},
				optional(integer("COUNT", "n")),
			},
			run: (*call).scan,
		},
		{
			name: "lock.help", arity: 1, flags: []string{"loading", "stale"},
			group: "lock", since: "1.0.0", complexity: "O(1)",
			summary: "Shows the syntax of the LOCK commands.",
			run:     (*call).lockHelp,
		},
	}
}

func connectionCommands() []command {
	fast := []string{"fast", "loading", "stale"}
	open := append(fast[:3:3], "no_auth")
	return []command{
		{
			name: "ping", arity: -1, flags: []string{"fast"}, group: "connection", since: "1.0.0", complexity: "O(1)",
			summary: "Ping the server", args: []argument{optional(text("", "message"))}, run: (*call).ping,
		},
		{
			name: "echo", arity: 2, flags: fast, group: "connection", since: "1.0.0", complexity: "O(1)",
			summary: "Echo the given string", args: []argument{text("", "message")}, run: (*call).echo,
		},
		{
			name: "quit", arity: -1, flags: open, group: "connection", since: "1.0.0", complexity: "O(1)",
			summary: "Close the connection", run: (*call).quit,
		},
		{
			name: "reset", arity: 1, flags: open, group: "connection", since: "6.2.0", complexity: "O(1)",
			summary: "Reset the connection", run: (*call).reset,
		},
		{
			name: "hello", arity: -1, flags: open, group: "connection", since: "6.0.0", complexity: "O(1)",
			summary: "Handshake with the server",
			args: []argument{{name: "arguments", kind: aBlock, optional: true, args: []argument{
				integer("", "protover"),
				{name: "username_password", kind: aBlock, token: "AUTH", optional: true, args: []argument{text("", "username"), text("", "password")}},
				optional(text("SETNAME", "clientname")),
			}}},
			run: (*call).hello,
		},
		{
			name: "auth", arity: -2, flags: open, group: "connection", since: "1.0.0", complexity: "O(1)",
			summary: "Authenticate to the server", args: []argument{optional(text("", "username")), text("", "password")}, run: (*call).auth,
		},
		{
			name: "select", arity: 2, flags: fast, group: "connection", since: "1.0.0", complexity: "O(1)",
			summary: "Change the selected database, of which there is one: 0", args: []argument{integer("", "index")}, run: (*call).selectDB,
		},
		{
			name: "client", arity: -2, group: "connection", since: "2.4.0", complexity: "Depends on subcommand.",
			summary: "A container for client connection commands", subs: clientCommands(),
		},
		{
			name: "acl", arity: -2, group: "server", since: "6.0.0", complexity: "Depends on subcommand.",
			summary: "A container for Access List Control commands", subs: aclCommands(),
		},
	}
}

func clientCommands() []command {
	sub := func(name string, arity int, since, summary string, run func(*call) error, args ...argument) command {
		return command{
			name: "client|" + name, arity: arity, flags: []string{"noscript", "loading", "stale"}, group: "connection",
			since: since, complexity: "O(1)", summary: summary, args: args, run: run,
		}
	}
	onOff := choice("enabled", word("ON"), word("OFF"))
	return []command{
		sub("id", 2, "5.0.0", "Returns the client ID for the current connection", (*call).clientID),
		sub("getname", 2, "2.6.9", "Get the current connection name", (*call).clientGetName),
		sub("setname", 3, "2.6.9", "Set the current connection name", (*call).clientSetName, text("", "connection-name")),
		sub("setinfo", 4, "7.2.0", "Set the name or version of the client's library", (*call).clientSetInfo,
			choice("attr", text("LIB-NAME", "libname"), text("LIB-VER", "libver"))),
		sub("info", 2, "6.2.0", "Returns information about the current client connection.", (*call).clientInfo),
		sub("list", -2, "2.4.0", "Get the list of client connections", (*call).clientList,
			argument{
				name: "normal_master_replica_pubsub", kind: aOneOf, token: "TYPE", optional: true,
				args: []argument{word("NORMAL"), word("MASTER"), word("REPLICA"), word("PUBSUB")},
			},
			argument{name: "id", kind: aBlock, token: "ID", optional: true, args: []argument{{name: "client-id", kind: aInteger, multiple: true}}}),
		sub("no-evict", 3, "7.0.0", "Accepted, without effect: candado evicts nothing", (*call).clientSwitch, onOff),
		sub("no-touch", 3, "7.2.0", "Accepted, without effect: candado evicts nothing", (*call).clientSwitch, onOff),
		sub("reply", 3, "3.2.0", "Instruct the server whether to reply to commands", (*call).clientReply,
			choice("on_off_skip", word("ON"), word("OFF"), word("SKIP"))),
		sub("help", 2, "5.0.0", "Show helpful text about the different subcommands", (*call).containerHelp),
	}
}

func aclCommands() []command {
	sub := func(name, summary string, run func(*call) error) command {
		return command{
			name: "acl|" + name, arity: 2, flags: []string{"noscript", "loading", "stale"}, group: "server",
			since: "6.0.0", complexity: "O(1)", summary: summary, run: run,
		}
	}
	return []command{
		sub("whoami", "Return the name of the user associated to the current connection", (*call).aclWhoAmI),
		sub("help", "Show helpful text about the different subcommands", (*call).containerHelp),
	}
}

func serverCommands() []command {
	sub := func(name string, arity int, since, summary string, run func(*call) error, args ...argument) command {
		return command{
			name: name, arity: arity, flags: []string{"loading", "stale"}, group: "server",
			since: since, complexity: "O(N) where N is the number of commands or parameters", summary: summary, args: args, run: run,
		}
	}
	names := argument{name: "command-name", kind: aString, optional: true, multiple: true}
	filter := argument{name: "filterby", kind: aOneOf, token: "FILTERBY", optional: true, args: []argument{
		text("MODULE", "module-name"), text("ACLCAT", "category"), {name: "pattern", kind: aPattern, token: "PATTERN"},
	}}
	cmd := sub("command", -1, "2.8.13", "Get array of command details", (*call).commandInfo)
	cmd.subs = []command{
		sub("command|count", 2, "2.8.13", "Get total number of commands", (*call).commandCount),
		sub("command|info", -2, "2.8.13", "Get array of specific command details, or all when no argument is given.", (*call).commandInfo, names),
		sub("command|docs", -2, "7.0.0", "Get array of specific command documentation", (*call).commandDocs, names),
		sub("command|list", -2, "7.0.0", "Get an array of command names", (*call).commandList, filter),
		sub("command|help", 2, "5.0.0", "Show helpful text about the different subcommands", (*call).containerHelp),
	}
	config := command{
		name: "config", arity: -2, group: "server", since: "2.0.0", complexity: "Depends on subcommand.",
		summary: "A container for server configuration commands",
		subs: []command{
			sub("config|get", -3, "2.0.0", "Get the values of configuration parameters", (*call).configGet,
				argument{name: "parameter", kind: aString, multiple: true}),
			sub("config|help", 2, "5.0.0", "Show helpful text about the different subcommands", (*call).containerHelp),
		},
	}
	now := sub("time", 1, "2.6.0", "Return the current server time", (*call).time)
	now.flags = append(now.flags, "fast")
	return []command{
		cmd, config, now,
		sub("info", -1, "1.0.0", "Get information and statistics about the server", (*call).info,
			argument{name: "section", kind: aString, optional: true, multiple: true}),
	}
}

func lockID() argument { return argument{name: "id", kind: aKey} }

func ttlOption() argument {
	return either("ttl", integer("PX", "ms"), integer("EX", "s"), word("PERSIST"))
}

func ownerOption() argument { return optional(text("OWNER", "owner")) }

func text(token, name string) argument { return argument{name: name, kind: aString, token: token} }

func integer(token, name string) argument { return argument{name: name, kind: aInteger, token: token} }

func optional(a argument) argument {
	a.optional = true
	return a
}

// choice is one of several that must be given, either one that may be.
func choice(name string, args ...argument) argument {
	return argument{name: name, kind: aOneOf, args: args}
}

func either(name string, args ...argument) argument { return optional(choice(name, args...)) }
