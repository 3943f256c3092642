package pairs

// This file alone knows candado's scripts: it calls them as candado does, but
// directly, which is the least that a candado on Redis could cost.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goodjobtech/candado/bench/server"
)

// evalsha returns the verbs that call candado's scripts, after loading them.
func evalsha(ctx context.Context, root string, r *server.Redis) (*verbs, error) {
	acquire, err := loadScript(ctx, root, r, "record", "acquire", "leases", "queue", "acquire_any")
	if err != nil {
		return nil, err
	}
	release, err := loadScript(ctx, root, r, "record", "release", "leases", "queue", "release_any")
	if err != nil {
		return nil, err
	}
	const self = "8 bytes." // names the candado that calls
	return &verbs{
		acquire: func(id string) command {
			// deadline, floor, self, request, doubted, mode, limit, ttl, owner, place, most
			return numbered("EVALSHA", acquire, "1", "candado:{"+id+"}", "0", "0", self, number, "", "0", "0", ttl, "", "", "10000")
		},
		release: func(id string) command {
			// deadline, floor, self, request, token, owner, force, sent, untold
			return numbered("EVALSHA", release, "1", "candado:{"+id+"}", "0", "0", self, number, "", "", "0", "0", "0")
		},
		// status, now, token; status, now, leases ended, holders left
		granted: func(r *reply) (int64, bool) { return r.items[2], r.kind == '*' && r.n == 3 && r.items[0] == 1 },
		freed: func(r *reply) bool {
			return r.kind == '*' && r.n == 4 && r.items[0] == 1 && r.items[2] == 1 && r.items[3] == 0
		},
		fenced: true,
	}, nil
}

// number stands where the number of the request is to be put.
const number = "\x00number\x00"

func numbered(parts ...string) command {
	c := words(parts...)
	c.numbers = []int{strings.Index(string(c.bytes), number)}
	return c
}

func loadScript(ctx context.Context, root string, r *server.Redis, files ...string) (sha string, err error) {
	var source strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(root, "locks", "upstream", "script", f+".lua"))
		if err != nil {
			return "", fmt.Errorf("reading candado's scripts: %w", err)
		}
		source.Write(text)
	}
	return r.LoadScript(ctx, source.String())
}
