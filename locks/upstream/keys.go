package upstream

import (
	"fmt"
	"strings"

	"github.com/goodjobtech/candado/locks"
)

// keys maps lock IDs to the keys of their records, ‹prefix›{‹id›}, and back.
// What stands between the braces is the hash tag, so all keys of a lock share
// it; two bytes are escaped, so that it is the whole ID and never empty.
type keys struct{ prefix string }

var (
	escapeID   = strings.NewReplacer("%", "%25", "}", "%7D")
	unescapeID = strings.NewReplacer("%25", "%", "%7D", "}")
	escapeGlob = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
)

// newKeys refuses a prefix that would move the hash tag.
func newKeys(prefix string) (keys, error) {
	if strings.ContainsAny(prefix, "{}") {
		return keys{}, fmt.Errorf("prefix %q has a brace", prefix)
	}
	return keys{prefix}, nil
}

func (k keys) record(id locks.ID) string {
	return string(k.appendRecord(nil, id))
}

// appendRecord appends the key of a lock's record to b.
func (k keys) appendRecord(b []byte, id locks.ID) []byte {
	b = append(append(b, k.prefix...), '{')
	for i := range len(id) {
		switch c := id[i]; c {
		case '%':
			b = append(b, "%25"...)
		case '}':
			b = append(b, "%7D"...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '}')
}

// channel is where a candado hears what becomes of its requests. The script
// queue.lua makes the same name.
func (k keys) channel(self string) string { return k.prefix + "news:" + self }

// queueKey is what the key of a lock's queue has after that of the record.
const queueKey = ":q2"

// none is a key that never exists.
func (k keys) none() string { return k.prefix + ":w" }

// id returns the ID whose record a key is.
func (k keys) id(record string) locks.ID {
	inner := strings.TrimSuffix(strings.TrimPrefix(record, k.prefix+"{"), "}")
	return locks.ID(unescapeID.Replace(inner))
}

// pattern returns a glob that covers the records of all IDs that match.
func (k keys) pattern(match string) string {
	return escapeGlob.Replace(k.prefix+"{"+escapeID.Replace(locks.LiteralPrefix(match))) + "*"
}
