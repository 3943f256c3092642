package proxy

// This file speaks of lost session leases in the log: some lines in detail, and of the
// others how many they were. Thousands may be lost in the same moment, and a log may
// block.

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// maxLossLines is how many losses are logged one by one in each lossPause.
	maxLossLines = 16
	lossPause    = time.Second
)

// loss is a connection that was closed because a lease of its session was lost.
type loss struct {
	client int64
	addr   net.Addr
	reason error
	soFar  uint64 // such connections, this one included
}

// lossLog logs losses from a goroutine of its own, which runs while there are some.
type lossLog struct {
	log  *slog.Logger
	stop <-chan struct{} // closed when there is no time for pauses any more

	mu      sync.Mutex
	lines   []loss
	more    int // losses beyond those lines
	writing bool
}

// note logs a loss, later. It waits for nothing.
func (l *lossLog) note(one loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < maxLossLines {
		l.lines = append(l.lines, one)
	} else {
		l.more++
	}
	if !l.writing {
		l.writing = true
		go l.write()
	}
}

func (l *lossLog) write() {
	pause := time.NewTicker(lossPause)
	defer pause.Stop()
	for lines, more := l.take(); len(lines) > 0; lines, more = l.take() {
		for _, one := range lines {
			l.log.Warn("closed a connection that lost a session lease",
				"client", one.client, "addr", one.addr.String(), "reason", one.reason, "connections_so_far", one.soFar)
		}
		if more > 0 {
			l.log.Warn("closed more connections that lost a session lease", "connections", more)
		}
		select {
		case <-pause.C:
		case <-l.stop:
		}
	}
}

// take returns what is to be logged. If there is nothing, its goroutine ends: that of
// what comes later is a new one.
func (l *lossLog) take() (lines []loss, more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, more = l.lines, l.more
	l.lines, l.more = nil, 0
	l.writing = len(lines) > 0
	return lines, more
}
