package pairs

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// command is one request in RESP.
type command struct {
	bytes   []byte
	numbers []span // where numbers stand that have to be new each time
}

// span is a part of a command, of at most eight bytes.
type span struct{ at, size int }

// words makes a command.
func words(parts ...string) command {
	b := append([]byte("*"), strconv.Itoa(len(parts))...)
	b = append(b, "\r\n"...)
	for _, p := range parts {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(p)), 10)
		b = append(b, "\r\n"...)
		b = append(b, p...)
		b = append(b, "\r\n"...)
	}
	return command{bytes: b}
}

// verbs is how a contender takes a lock and gives it back.
type verbs struct {
	acquire, release func(id string) command

	// granted returns the token if the reply says that the lock was acquired; 1 if
	// the contender has none. freed reports whether it was released.
	granted func(r *reply) (token int64, ok bool)
	freed   func(r *reply) bool

	fenced bool // the tokens of a lock strictly increase
}

// batch is what is sent in one write.
type batch struct {
	command
	size int // commands
}

// dialogue acquires and releases one lock after the other, over and over. All
// that it sends is made beforehand, but for the numbers.
type dialogue struct {
	verbs   *verbs
	batches []batch
	next    int

	place  int // among the replies to all batches: acquire, release, acquire …
	tokens []int64

	reply   reply
	numbers *rand.PCG
}

// newDialogue makes a dialogue about these locks, which sends so many commands
// at a time: one, or an even number that the locks can be divided by.
func newDialogue(v *verbs, ids []string, pipeline int) *dialogue {
	d := &dialogue{verbs: v, tokens: make([]int64, len(ids)), numbers: rand.NewPCG(rand.Uint64(), rand.Uint64())}
	b := batch{}
	for _, id := range ids {
		for _, c := range []command{v.acquire(id), v.release(id)} {
			for _, n := range c.numbers {
				b.numbers = append(b.numbers, span{len(b.bytes) + n.at, n.size})
			}
			b.bytes = append(b.bytes, c.bytes...)
			if b.size++; b.size == pipeline {
				d.batches = append(d.batches, b)
				b = batch{}
			}
		}
	}
	if b.size > 0 {
		panic(fmt.Sprintf("%d locks are not whole batches of %d commands", len(ids), pipeline))
	}
	return d
}

func (d *dialogue) Next() ([]byte, int) {
	b := &d.batches[d.next]
	if d.next++; d.next == len(d.batches) {
		d.next = 0
	}
	var number [8]byte
	for _, n := range b.numbers {
		binary.LittleEndian.PutUint64(number[:], d.numbers.Uint64())
		copy(b.bytes[n.at:n.at+n.size], number[:])
	}
	return b.bytes, b.size
}

func (d *dialogue) AtRest() bool { return d.place%2 == 0 }

func (d *dialogue) Judge(b []byte) (int, error) {
	n, err := d.reply.parse(b)
	if n == 0 || err != nil {
		return 0, err
	}
	lock, releasing := d.place/2, d.place%2 == 1
	if d.place++; d.place == 2*len(d.tokens) {
		d.place = 0
	}
	if releasing {
		if !d.verbs.freed(&d.reply) {
			return 0, fmt.Errorf("the reply to a release of a held lock was %v", &d.reply)
		}
		return n, nil
	}
	token, ok := d.verbs.granted(&d.reply)
	if !ok || token <= 0 {
		return 0, fmt.Errorf("the reply to an acquire of a free lock was %v", &d.reply)
	}
	if d.verbs.fenced && token <= d.tokens[lock] {
		return 0, fmt.Errorf("token %d was granted after %d", token, d.tokens[lock])
	}
	d.tokens[lock] = token
	return n, nil
}
