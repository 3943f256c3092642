package script

import "encoding/binary"

// A Number names one request, however often it is sent. The zero Number names
// none.
type Number [8]byte

// The operations of the batch, each the first byte of what is packed here.
const (
	opAcquire byte = 1 + iota
	opRelease
	opHeartbeat
	opCheck
	opConfirm
	opUndo
)

// Entry is what a request is known by in a lock's queue; see queue.lua.
type Entry struct {
	Number Number
	Back   bool // it was there before, and has lost its place
	Shared bool
	Limit  int
	TTL    int64 // ms; 0: no expiry
	Owner  string
}

// Of returns the entry as it stands in the queue if that candado put it there.
func (e Entry) Of(candado string) []byte {
	b := make([]byte, 0, 64+len(e.Owner))
	b = append(append(append(b, 'w'), e.Number[:]...), candado...)
	return e.append(b)
}

// append appends all but the number.
func (e Entry) append(b []byte) []byte {
	b = append(b, bit(e.Back, 1), bit(e.Shared, 1))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.Limit))
	return append(little(b, 6, e.TTL), e.Owner...)
}

// Acquire is an acquire; see acquire.lua.
type Acquire struct {
	Entry
	Doubted Number // zero: none
	Queue   bool   // whether the request waits
	Place   int64  // if it waits: the place that it had in the queue and lost; 0: none
}

// Append appends the packed operation to b.
func (a Acquire) Append(b []byte) []byte {
	b = append(b, opAcquire)
	b = append(append(b, a.Number[:]...), a.Doubted[:]...)
	place := int64(0)
	if a.Queue {
		place = a.Place + 1
	}
	return a.Entry.append(little(b, 7, place))
}

// Release is a release; see release.lua.
type Release struct {
	Number Number // of which six bytes are told
	Force  bool
	Untold bool
	Token  int64  // 0: not by token
	Sent   int64  // of a re-send: when the first copy was sent, µs on the server's clock; else 0
	Owner  string // empty: not by owner
}

// Append appends the packed operation to b.
func (r Release) Append(b []byte) []byte {
	b = append(b, opRelease)
	b = append(b, r.Number[:6]...)
	b = append(b, bit(r.Force, 1)|bit(r.Untold, 2))
	return append(little(little(b, 7, r.Token), 7, r.Sent), r.Owner...)
}

// Heartbeat is a heartbeat; see heartbeat.lua.
type Heartbeat struct {
	Token int64 // 0: not by token
	Keep  bool  // the lease gets the TTL that it was acquired with
	TTL   int64 // else this; ms; 0: no expiry
	Owner string
}

// Append appends the packed operation to b.
func (h Heartbeat) Append(b []byte) []byte {
	ttl := int64(0)
	if !h.Keep {
		ttl = h.TTL + 1
	}
	return append(little(little(append(b, opHeartbeat), 7, h.Token), 6, ttl), h.Owner...)
}

// Check asks whether a token is a live lease's; see check.lua.
type Check struct{ Token int64 }

// Append appends the packed operation to b.
func (c Check) Append(b []byte) []byte { return little(append(b, opCheck), 7, c.Token) }

// Confirm gives a lease that was granted from the queue its whole TTL; see
// confirm.lua.
type Confirm struct {
	Number Number
	Token  int64
}

// Append appends the packed operation to b.
func (c Confirm) Append(b []byte) []byte {
	return little(append(append(b, opConfirm), c.Number[:]...), 7, c.Token)
}

// Undo takes a request back; see undo.lua.
type Undo struct{ Entry }

// Append appends the packed operation to b.
func (u Undo) Append(b []byte) []byte {
	return u.Entry.append(append(append(b, opUndo), u.Number[:]...))
}

// little appends the low n bytes of v.
func little(b []byte, n int, v int64) []byte {
	var wide [8]byte
	binary.LittleEndian.PutUint64(wide[:], uint64(v))
	return append(b, wide[:n]...)
}

func bit(set bool, b byte) byte {
	if set {
		return b
	}
	return 0
}
