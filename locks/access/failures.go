package access

// This file speaks of failed logins in the log: of a few addresses in detail, and of the
// others how many failures they had. Strangers decide how many there are and under which
// names, and a log may block.

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// maxFailureLines is of how many origins there is a line in each failurePause.
	maxFailureLines = 16
	failurePause    = 10 * time.Second

	maxLineNames = 4  // in a line
	maxLineName  = 64 // bytes of each
)

// What stands among names, and is none: names with such signs are quoted.
const (
	moreNames   = "…"
	aPassword   = "(a password)" // that somebody gave for his name
	unknownAddr = "unknown"
)

// origin is whom failures are put down to: as attempts are, and by listener.
type origin struct {
	address  netip.Prefix
	listener string
}

// tally is how many logins failed.
type tally struct {
	failures  int
	throttled int // of these, how many were not looked at
}

func (t *tally) add(throttled bool) {
	t.failures++
	if throttled {
		t.throttled++
	}
}

// failureLine is what an origin has done since its last line.
type failureLine struct {
	origin
	addr  string // the first that it was, as an IPv6 network has many
	users []string
	tally
}

// failureLog logs failures from a goroutine of its own, which runs while there are some. So
// there is a line at once for the first one, and at the end of the pause for what has come
// meanwhile.
type failureLog struct {
	log *slog.Logger // nil: nothing is logged

	mu      sync.Mutex
	lines   []*failureLine
	more    tally // of origins beyond those
	writing bool
}

// note logs, later, that the attempt has failed. It waits for nothing.
func (l *failureLog) note(a Attempt, list *List, throttled bool) {
	if l.log == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if line := l.line(a); line != nil {
		line.add(throttled)
		line.name(a, list)
	} else {
		l.more.add(throttled)
	}
	if !l.writing {
		l.writing = true
		go l.write()
	}
}

// line returns the line of the attempt's origin; nil if there are too many.
func (l *failureLog) line(a Attempt) *failureLine {
	from := origin{addressOf(a.Peer), a.Listener}
	if i := slices.IndexFunc(l.lines, func(line *failureLine) bool { return line.origin == from }); i >= 0 {
		return l.lines[i]
	}
	if len(l.lines) >= maxFailureLines {
		return nil
	}
	line := &failureLine{origin: from, addr: shown(a.Peer)}
	l.lines = append(l.lines, line)
	return line
}

// name adds the name of the attempt to the line, unless that has it or has too many.
func (f *failureLine) name(a Attempt, list *List) {
	if len(f.users) > maxLineNames { // moreNames stands there
		return
	}
	name := shownName(a.Name)
	if !slices.Contains(f.users, name) && list.betrays(a.Name, a.Password) {
		name = aPassword
	}
	switch {
	case slices.Contains(f.users, name):
	case len(f.users) == maxLineNames:
		f.users = append(f.users, moreNames)
	default:
		f.users = append(f.users, name)
	}
}

// write logs until nothing came for a pause. That begins when the lines before are written:
// a log that was blocked does not get the next ones at once.
func (l *failureLog) write() {
	for lines, more := l.take(true); len(lines) > 0; lines, more = l.take(true) {
		l.print(lines, more)
		time.Sleep(failurePause)
	}
}

// take returns what is to be logged. If there is nothing for the goroutine that writes, it
// ends: that of what comes later is a new one.
func (l *failureLog) take(writer bool) (lines []*failureLine, more tally) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, more = l.lines, l.more
	l.lines, l.more = nil, tally{}
	if writer {
		l.writing = len(lines) > 0
	}
	return lines, more
}

func (l *failureLog) print(lines []*failureLine, more tally) {
	for _, f := range lines {
		l.log.Warn("logins failed", "addr", f.addr, "listener", f.listener, "users", f.users, "failures", f.failures, "throttled", f.throttled)
	}
	if more.failures > 0 {
		l.log.Warn("logins failed from more addresses", "failures", more.failures, "throttled", more.throttled)
	}
}

// flush logs what there is now.
func (l *failureLog) flush() { l.print(l.take(false)) }

// shown returns an address without its port: that changes with each guess.
func shown(peer net.Addr) string {
	if tcp, ok := peer.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().String()
	}
	if peer == nil {
		return unknownAddr
	}
	return peer.String()
}

// shownName returns what a log may show of a name that a stranger has chosen: not too much,
// and in quotes unless a user could have that name.
func shownName(name string) string {
	if len(name) > maxLineName {
		end := maxLineName
		for end > maxLineName-utf8.UTFMax && !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end] + moreNames
	}
	if checkName(name) != nil {
		return strconv.Quote(name)
	}
	return strings.Clone(name) // it must not keep a whole command in memory
}
