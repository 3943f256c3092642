package upstream

import (
	"crypto/sha1" // names a script, as Redis does; no secret
	"embed"
	"encoding/hex"
	"fmt"
	"strings"
)

//go:embed script/*.lua
var sources embed.FS

// A script is a Lua program and the name that the server's cache has for it.
type script struct{ source, sha string }

// scripts are the programs that the engine runs, each made of the files that
// its composition names. See the head of each file for keys, arguments, reply.
type scripts struct {
	acquire, release, heartbeat, check, info, undo, confirm, tend, scan, ready script
}

func loadScripts() scripts {
	return scripts{
		acquire:   compose("record", "acquire", "leases", "queue", "acquire_any"),
		release:   compose("record", "release", "leases", "queue", "release_any"),
		heartbeat: compose("record", "heartbeat", "leases", "queue", "heartbeat_any"),
		check:     compose("record", "leases", "check"),
		info:      compose("record", "leases", "queue", "info"),
		undo:      compose("record", "leases", "queue", "undo"),
		confirm:   compose("record", "confirm", "leases", "queue", "confirm_any"),
		tend:      compose("record", "leases", "queue", "tend"),
		scan:      compose("scan"),
		ready:     compose("ready"),
	}
}

// compose joins files of the folder script. A missing one is a mistake in this
// package that every test would meet.
func compose(files ...string) script {
	var b strings.Builder
	for _, f := range files {
		text, err := sources.ReadFile("script/" + f + ".lua")
		if err != nil {
			panic(fmt.Sprintf("reading embedded script: %v", err))
		}
		b.Write(text)
	}
	return newScript(b.String())
}

func newScript(source string) script {
	sum := sha1.Sum([]byte(source))
	return script{source: source, sha: hex.EncodeToString(sum[:])}
}
