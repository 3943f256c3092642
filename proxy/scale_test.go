package proxy

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// counting counts the calls that renew, and the leases that they renew.
type counting struct {
	*faulty
	calls, leases atomic.Int64
}

func (e *counting) Renew(ctx context.Context, reqs []locks.HeartbeatRequest) []locks.Renewed {
	e.calls.Add(1)
	e.leases.Add(int64(len(reqs)))
	return e.faulty.Renew(ctx, reqs)
}

// Many session leases, on one connection or on as many, live for as long as the
// connections, and few calls renew them.
func TestTenThousandSessionLeases(t *testing.T) {
	const leases = 10_000
	for name, perConnection := range map[string]int{"on one connection": leases, "on a connection each": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := &counting{faulty: newFaulty()}
				defer func() { _ = engine.Close() }()
				virtual(t, Options{Engine: engine}, func(_ *Server, dial func() *client) {
					var clients []*client
					for i := 0; i < leases; i += perConnection {
						c := dial()
						clients = append(clients, c)
						go c.send(manyAcquires(i, perConnection))
						for range perConnection {
							if reply := c.reply(); !isToken(reply) {
								t.Fatalf("got %q", reply)
							}
						}
					}
					time.Sleep(3 * time.Minute)
					if n := engine.held(); n != leases {
						t.Errorf("after three minutes %d locks are held", n)
					}
					const renewals = 180 / 10 // each lease's, with its TTL of 30 s
					if n := engine.leases.Load(); n < leases*(renewals-1) || n > leases*renewals*5/4 {
						t.Errorf("%d leases were renewed", n)
					}
					if n := engine.calls.Load(); n > 40*renewals*5/4 { // of 256 leases at most
						t.Errorf("%d calls renewed them", n)
					}
					for _, c := range clients {
						_ = c.conn.Close()
					}
					time.Sleep(time.Second)
					if n := engine.held(); n != 0 {
						t.Errorf("%d locks are held", n)
					}
				})
			})
		})
	}
}

func manyAcquires(from, n int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		b.WriteString(encode("LOCK.ACQUIRE", fmt.Sprint("lock/", i), "SESSION"))
	}
	return b.String()
}
