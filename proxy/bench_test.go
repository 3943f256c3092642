package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/goodjobtech/candado/locks"
)

// What each command costs besides the engine: to find its end, to understand its
// options, to write its reply.

func fields(text string) [][]byte {
	var all [][]byte
	for word := range strings.FieldsSeq(text) {
		all = append(all, []byte(word))
	}
	return all
}

func BenchmarkOptions(b *testing.B) {
	const acquiring = ttlOptions | modeOptions | optOwner | optBlock | optSession
	for _, c := range []struct {
		name, text string
		allowed    option
	}{
		{"none", "", acquiring},
		{"ttl", "PX 30000", acquiring},
		{"ttl and owner", "PX 30000 OWNER 0123456789abcdef", acquiring},
		{"many", "ex 30 owner 0123456789abcdef block 5000 limit 10 session", acquiring},
		{"token", "1763860000000001", leaseOptions},
		{"scan", "MATCH lock:* COUNT 100", optMatch | optCount},
	} {
		args := fields(c.text)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parseOptions("lock.acquire", args, c.allowed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRefusedOptions(b *testing.B) {
	args := fields("PX 30000 OWNERS me")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseOptions("lock.acquire", args, ttlOptions|optOwner); err == nil {
			b.Fatal("they were taken")
		}
	}
}

func BenchmarkReply(b *testing.B) {
	for _, proto := range []int{2, 3} {
		for name, write := range map[string]func(r *reply){
			"token": func(r *reply) { r.int(1763860000000001) },
			"null":  func(r *reply) { r.null() },
			"error": func(r *reply) { r.error(errSyntax.Error()) },
			"bulk":  func(r *reply) { r.bulk("lock:000000000000001") },
			"holders": func(r *reply) {
				c := call{reply: *r}
				for range 10 {
					c.holder(locks.Holder{Lease: locks.Lease{Token: 1763860000000001, Owner: "0123456789abcdef", TTL: locks.DefaultTTL}})
				}
				*r = c.reply
			},
		} {
			b.Run(fmt.Sprintf("RESP%d/%s", proto, name), func(b *testing.B) {
				r := &reply{proto: proto}
				b.ReportAllocs()
				for b.Loop() {
					r.b = r.b[:0]
					write(r)
				}
				if len(r.b) == 0 {
					b.Fatal("nothing was written")
				}
			})
		}
	}
}

// The end of each command in a pipeline, when it has arrived as a whole, and when
// it arrives piece by piece.
func BenchmarkFramer(b *testing.B) {
	const commands = 16
	one := appendCommand(nil, fields("LOCK.ACQUIRE lock:000000000000001 PX 30000 OWNER 0123456789abcdef"))
	stream := bytes.Repeat(one, commands)
	for _, piece := range []int{len(stream), 64, 1} {
		b.Run(fmt.Sprint("by ", piece), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(stream)))
			for b.Loop() {
				f := framer{maxBytes: 1 << 20, maxArgs: 100}
				found := 0
				for from, to := 0, 0; to < len(stream); {
					to = min(to+piece, len(stream))
					for {
						n, err := f.next(stream[from:to])
						if err != nil {
							b.Fatal(err)
						}
						if n == 0 {
							break
						}
						from, found = from+n, found+1
					}
				}
				if found != commands {
					b.Fatalf("%d commands were found", found)
				}
			}
		})
	}
}

// An inline command is split.
func BenchmarkInline(b *testing.B) {
	line := []byte("LOCK.ACQUIRE lock:000000000000001 PX 30000 OWNER 0123456789abcdef\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if args, err := inlineArguments(line, 100); err != nil || len(args) == 0 {
			b.Fatal(args, err)
		}
	}
}

func BenchmarkParseInt(b *testing.B) {
	number := []byte("1763860000000001")
	b.ReportAllocs()
	for b.Loop() {
		if n, ok := parseInt(number); !ok || n != 1763860000000001 {
			b.Fatal(n)
		}
	}
}
