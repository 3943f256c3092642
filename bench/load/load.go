// Package load is the load generator: connections that each send what they have
// ready and judge every reply, one goroutine for each. Nothing is allocated
// while it measures.
package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goodjobtech/candado/bench/server"
	"github.com/goodjobtech/candado/bench/stats"
)

// Dialogue is what one connection says. It is used by one goroutine at a time.
type Dialogue interface {
	// Next returns what is to be sent next, and the number of replies to it. The
	// bytes are the dialogue's, until Next is called again.
	Next() (request []byte, replies int)

	// Judge judges the reply at the start of the bytes. It returns how long it is;
	// 0 if its end has not arrived; an error if it is not what it must be.
	Judge(reply []byte) (int, error)

	// AtRest reports whether nothing is left held: whether it may stop here.
	AtRest() bool
}

// Load is one measurement to be made.
type Load struct {
	Addr           string
	Clients        int
	Warmup, Length time.Duration

	// Greeting is sent on each new connection, and has to be answered by Welcome.
	// Empty: nothing is.
	Greeting, Welcome string

	Dialogue func(client int) Dialogue

	// Usage reads what servers and generator have consumed.
	Usage func() (server.Usage, error)
}

// Result is what a measurement has brought.
type Result struct {
	Length     time.Duration
	Operations int64           // each is one reply
	Latency    stats.Histogram // from before a request is sent until its last reply is judged, if that was in the time measured
	Used       server.Usage
}

// grace is how long a reply may take that has not arrived when the measurement
// ends.
const grace = 10 * time.Second

// The phases of a measurement.
const (
	warming int32 = iota
	measuring
	stopping
)

// Run measures. It returns an error if a single reply was not what it must be,
// or did not come.
func (l Load) Run(ctx context.Context) (*Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var phase atomic.Int32
	seen := make(chan struct{}, 1)
	clients, err := l.connect(ctx, &phase, seen)
	closeAll := sync.OnceFunc(func() {
		for _, c := range clients {
			_ = c.conn.Close() // all was said, or it failed
		}
	})
	defer closeAll()
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, closeAll)()

	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() {
			if err := c.run(); err != nil {
				cancel(err) // the first is the cause; the others follow from it
			}
		})
	}
	r, err := l.watch(ctx, &phase, seen)
	running.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, err
	}
	for _, c := range clients {
		r.Operations += c.operations
		r.Latency.Merge(&c.latency)
	}
	return r, nil
}

// watch lets the clients warm up, measures, and tells them to stop. It measures
// for longer where nothing was seen so far.
func (l Load) watch(ctx context.Context, phase *atomic.Int32, seen <-chan struct{}) (*Result, error) {
	defer phase.Store(stopping)
	if !sleep(ctx, l.Warmup) {
		return nil, context.Cause(ctx)
	}
	before, err := l.Usage()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	phase.Store(measuring)
	slept := sleep(ctx, l.Length)
	select {
	case <-seen:
	case <-ctx.Done(): // the latest when the clients have waited for too long
	}
	phase.Store(stopping)
	r := &Result{Length: time.Since(began)}
	if !slept {
		return nil, context.Cause(ctx)
	}
	after, err := l.Usage()
	r.Used = after.Since(before)
	return r, err
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// client is one connection. Its counts are its goroutine's until that has ended.
type client struct {
	conn     net.Conn
	dialogue Dialogue
	phase    *atomic.Int32
	seen     chan<- struct{} // takes one when the first latency was recorded
	buf      []byte
	from, to int // what of buf has arrived and was not judged

	operations int64
	latency    stats.Histogram
}

// connect opens all connections. It returns those that are open also with an
// error.
func (l Load) connect(ctx context.Context, phase *atomic.Int32, seen chan<- struct{}) ([]*client, error) {
	var dialer net.Dialer
	clients := make([]*client, 0, l.Clients)
	for i := range l.Clients {
		conn, err := dialer.DialContext(ctx, "tcp", l.Addr)
		if err != nil {
			return clients, fmt.Errorf("connecting client %d: %w", i+1, err)
		}
		c := &client{conn: conn, phase: phase, seen: seen, buf: make([]byte, 8<<10)}
		clients = append(clients, c)
		if err := conn.SetDeadline(time.Now().Add(grace)); err != nil {
			return clients, err
		}
		if err := c.greet(l.Greeting, l.Welcome); err != nil {
			return clients, fmt.Errorf("greeting the server: %w", err)
		}
		c.dialogue = l.Dialogue(i)
	}
	for _, c := range clients {
		if err := c.conn.SetDeadline(time.Now().Add(l.Warmup + l.Length + grace)); err != nil {
			return clients, err
		}
	}
	return clients, nil
}

func (c *client) greet(greeting, welcome string) error {
	if greeting == "" {
		return nil
	}
	if _, err := io.WriteString(c.conn, greeting); err != nil {
		return err
	}
	got := make([]byte, len(welcome))
	if _, err := io.ReadFull(c.conn, got); err != nil {
		return err
	}
	if string(got) != welcome {
		return fmt.Errorf("got %q, want %q", got, welcome)
	}
	return nil
}

// run sends and judges until it is told to stop, or something is wrong.
func (c *client) run() error {
	for c.phase.Load() != stopping || !c.dialogue.AtRest() {
		request, replies := c.dialogue.Next()
		began := time.Now()
		if _, err := c.conn.Write(request); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		for range replies {
			if err := c.reply(); err != nil {
				return err
			}
			if c.phase.Load() == measuring {
				c.operations++
			}
		}
		took := time.Since(began)
		if c.phase.Load() == measuring {
			c.record(took)
		}
	}
	if c.from != c.to {
		return fmt.Errorf("more came than was asked for: %q", c.buf[c.from:c.to])
	}
	return nil
}

// record takes the time of what was sent in one write.
func (c *client) record(took time.Duration) {
	c.latency.Record(took)
	if c.latency.Count() == 1 {
		select {
		case c.seen <- struct{}{}:
		default: // another client was first
		}
	}
}

// reply takes one reply.
func (c *client) reply() error {
	for {
		if c.from < c.to {
			n, err := c.dialogue.Judge(c.buf[c.from:c.to])
			if err != nil {
				return err
			}
			if n > 0 {
				c.from += n
				return nil
			}
		}
		if c.from > 0 {
			c.to = copy(c.buf, c.buf[c.from:c.to])
			c.from = 0
		}
		if c.to == len(c.buf) {
			return fmt.Errorf("a reply is longer than %d bytes", len(c.buf))
		}
		n, err := c.conn.Read(c.buf[c.to:])
		c.to += n
		if n == 0 && err != nil {
			return fmt.Errorf("awaiting a reply: %w", err)
		}
	}
}
