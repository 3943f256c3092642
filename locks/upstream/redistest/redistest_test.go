package redistest

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestPortOfAServerThatIsAwayIsGivenToNobody: it could not come back there.
func TestPortOfAServerThatIsAwayIsGivenToNobody(t *testing.T) {
	s := Start(t)
	s.Kill()
	if _, err := net.Dial("tcp", s.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting while it is away: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port, err := net.ResolveTCPAddr("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	from := net.Dialer{LocalAddr: port} // as the system might choose for a client
	if c, err := from.Dial("tcp", ln.Addr().String()); err == nil {
		defer c.Close()
		t.Error("a client has its port")
	}
	s.Restart()
}
