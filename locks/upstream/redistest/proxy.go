package redistest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Proxy passes bytes between clients and a server, and loses replies when told
// to. It belongs to one test and ends with it.
type Proxy struct {
	Addr string

	ln   net.Listener
	wait sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[net.Conn]struct{}
	ask    int    // requests to lose
	lose   int    // replies to lose
	torn   int    // bytes of a lost reply that pass all the same
	lost   func() // called when a reply has been lost, before its connection ends
	hold   bool   // whether a lost reply's connection stays open, silent
	muted  bool   // whether subscriptions hear nothing
	old    []byte // is replaced in replies by
	with   []byte
	lag    time.Duration // for so long replies are held back
	frozen chan struct{} // closed when bytes pass again; nil: they pass
	closed bool
}

// NewProxy starts a proxy before the server at the address target.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: ln.Addr().String(), ln: ln, target: target, conns: map[net.Conn]struct{}{}}
	p.wait.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// URL returns the proxy's address as a redis:// URL.
func (p *Proxy) URL() string { return "redis://" + p.Addr }

// LoseReplies drops the next n replies and cuts their connections, after
// calling lost (which may be nil): the server has done what was asked, and
// its client never hears of it.
func (p *Proxy) LoseReplies(n int, lost func()) { p.set(n, lost, false) }

// LoseRequests drops the next n requests and cuts their connections: the server
// never hears of them.
func (p *Proxy) LoseRequests(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ask = n
}

// TearReply passes the first n bytes of the next reply on, and ends its
// connection. Then it calls torn.
func (p *Proxy) TearReply(n int, torn func()) {
	p.set(1, torn, false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.torn = n
}

// HoldReplies drops the next n replies and leaves their connections open, so
// that the client waits in vain.
func (p *Proxy) HoldReplies(n int) { p.set(n, nil, true) }

// Lost reports whether all replies that were to be lost have been.
func (p *Proxy) Lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lose == 0
}

func (p *Proxy) set(n int, lost func(), hold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.lost, p.hold, p.torn = n, lost, hold, 0
}

// Replace changes a text in the server's replies to another of the same length.
func (p *Proxy) Replace(old, with string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.old, p.with = []byte(old), []byte(with)
}

// replaced returns what becomes of a reply.
func (p *Proxy) replaced(reply []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.old) == 0 {
		return reply
	}
	return bytes.ReplaceAll(reply, p.old, p.with)
}

// Mute lets no message through to subscribers, or lets them through again. Their
// connections stay open.
func (p *Proxy) Mute(muted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.muted = muted
}

// Lag lets replies through only after that time; 0: at once again.
func (p *Proxy) Lag(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lag = d
}

// lags waits for as long as replies do.
func (p *Proxy) lags() {
	p.mu.Lock()
	d := p.lag
	p.mu.Unlock()
	time.Sleep(d)
}

// Freeze holds all bytes back, in both directions, with their connections open,
// as a client that was stopped or a network that was split. Thaw lets them go on.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

// Thaw ends a Freeze.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// pass waits until bytes may pass.
func (p *Proxy) pass() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// mute reports whether a subscriber's bytes are lost.
func (p *Proxy) mute(subscribed *atomic.Bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.muted && subscribed.Load()
}

// Retarget ends all connections and passes new ones to another server.
func (p *Proxy) Retarget(target string) {
	p.Divert(target)
	p.CutAll()
}

// Divert passes new connections to another server. Those that are there stay with
// theirs.
func (p *Proxy) Divert(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Connections returns how many clients are connected.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2 // each has one to the server
}

// CutAll ends all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.ln.Close()
	p.Thaw()
	p.CutAll()
	p.wait.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wait.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	if !p.register(target, client, server) {
		return
	}
	defer p.unregister(client, server)
	var subscribed atomic.Bool
	p.wait.Go(func() {
		_, _ = io.Copy(requests{server, p, &subscribed}, client)
		_ = server.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		p.lags()
		p.pass()
		if p.mute(&subscribed) {
			continue
		}
		lose, lost, hold, torn := p.take()
		if lose && torn > 0 {
			_, _ = client.Write(buf[:min(n, torn)])
		}
		switch {
		case !lose:
			if _, err := client.Write(p.replaced(buf[:n])); err != nil {
				return
			}
		case !hold:
			if lost != nil {
				lost()
			}
			return
		}
	}
}

// requests is the way to a server, on which requests may be lost.
type requests struct {
	net.Conn
	p          *Proxy
	subscribed *atomic.Bool // set once the client has asked for messages
}

func (r requests) Write(b []byte) (int, error) {
	if bytes.Contains(bytes.ToLower(b), []byte("subscribe\r\n")) {
		r.subscribed.Store(true)
	}
	r.p.pass()
	r.p.mu.Lock()
	lose := r.p.ask > 0
	if lose {
		r.p.ask--
	}
	r.p.mu.Unlock()
	if lose {
		return 0, net.ErrClosed
	}
	return r.Conn.Write(b)
}

// take says what is to become of a reply.
func (p *Proxy) take() (lose bool, lost func(), hold bool, torn int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lose == 0 {
		return false, nil, false, 0
	}
	p.lose--
	return true, p.lost, p.hold, p.torn
}

// register notes connections that lead to that target, or closes them if none
// should any more.
func (p *Proxy) register(target string, conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	late := p.closed || p.target != target // then Retarget has not cut it
	for _, c := range conns {
		if late {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return !late
}

func (p *Proxy) unregister(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// NobodyAccepts returns an address at which connecting neither succeeds nor fails: a
// listener whose backlog is full.
func NobodyAccepts(t testing.TB) (addr string) {
	t.Helper()
	fd, port := bound(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	addr = "127.0.0.1:" + port
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("this system's backlog is never full")
	return ""
}
