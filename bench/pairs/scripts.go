package pairs

// This file alone knows candado's scripts: it calls them as candado does, one
// operation at a time, but directly, which is the least that a candado on Redis
// could cost without doing several at once.

import (
	"bytes"
	"context"

	"github.com/goodjobtech/candado/bench/server"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// evalsha returns the verbs that call candado's scripts, after loading them.
func evalsha(ctx context.Context, r *server.Redis) (*verbs, error) {
	sha, err := r.LoadScript(ctx, script.Load().Batch.Source)
	if err != nil {
		return nil, err
	}
	call := func(id string, op []byte) command {
		const self = "8 bytes." // names the candado that calls
		// one key; deadline, floor, self, most, operation
		return numbered("EVALSHA", sha, "1", "candado:{"+id+"}", "0", "0", self, "10000", string(op))
	}
	acquire := script.Acquire{Entry: script.Entry{Number: script.Number([]byte(marker)), TTL: ttl}}.Append(nil)
	release := script.Release{Number: script.Number([]byte(marker))}.Append(nil)
	return &verbs{
		acquire: func(id string) command { return call(id, acquire) },
		release: func(id string) command { return call(id, release) },
		// 1, now, and what the operation came to: the token; 1 for a lease ended and none left
		granted: func(r *reply) (int64, bool) { return r.items[2], r.kind == '*' && r.n == 3 && r.items[0] == 1 },
		freed:   func(r *reply) bool { return r.kind == '*' && r.n == 3 && r.items[0] == 1 && r.items[2] == 1 },
		fenced:  true,
	}, nil
}

// marker stands where the number of the request is to be put. A release takes
// only the first bytes of it.
const marker = "\x00number\x00"

const numberInRelease = 6

// numbered makes a command that has a number in it.
func numbered(parts ...string) command {
	c := words(parts...)
	for _, size := range []int{len(marker), numberInRelease} {
		if at := bytes.Index(c.bytes, []byte(marker[:size])); at >= 0 {
			c.numbers = []span{{at, size}}
			return c
		}
	}
	panic("the command has no number")
}
