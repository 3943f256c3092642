// Package script holds the Lua programs that the engine on Redis runs, and packs
// what they are asked. See the head of each file for keys, arguments and reply.
package script

import (
	"crypto/sha1" // names a script, as Redis does; no secret
	"embed"
	"encoding/hex"
	"fmt"
	"strings"
)

//go:embed *.lua
var sources embed.FS

// Script is a Lua program, and the name that a server's cache has for it.
type Script struct{ Source, SHA string }

// Set is all programs.
type Set struct {
	Batch Script // operations on locks, many in one run
	Info  Script // describes a lock
	Tend  Script // looks after a lock that requests wait for
	Scan  Script // lists held locks
	Ready Script // whether the server takes writes
}

// Load returns the programs.
func Load() Set {
	return Set{
		Batch: New(compose("batch")),
		Info:  New(compose("lock", "record", "leases", "queue", "info")),
		Tend:  New(compose("lock", "record", "leases", "queue", "tend")),
		Scan:  New(compose("scan")),
		Ready: New(compose("ready")),
	}
}

// New returns a program of that source.
func New(source string) Script {
	sum := sha1.Sum([]byte(source))
	return Script{Source: source, SHA: hex.EncodeToString(sum[:])}
}

// include begins a line in whose place the files that it names are put.
const include = "-- include: "

// compose joins files, and what they include. A missing one is a mistake in this
// package that every test would meet.
func compose(files ...string) string {
	var b strings.Builder
	for _, f := range files {
		text, err := sources.ReadFile(f + ".lua")
		if err != nil {
			panic(fmt.Sprintf("reading embedded script: %v", err))
		}
		for line := range strings.Lines(string(text)) {
			if names, ok := strings.CutPrefix(strings.TrimSpace(line), include); ok {
				line = compose(strings.Fields(names)...)
			}
			b.WriteString(line)
		}
	}
	return b.String()
}
