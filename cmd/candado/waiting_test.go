package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// What settings and front ends have to do with waiting.

func TestMaxWaitersBoundsTheQueueOfEachEngine(t *testing.T) {
	need(t, "redis-server")
	for name, args := range map[string][]string{
		"embedded": {"--max-waiters=1"},
		"upstream": {"--max-waiters=1", "--upstream=redis://" + redistest.Start(t).Addr},
	} {
		t.Run(name, func(t *testing.T) {
			m := openMain(t, args...)
			holder, replies := dialRESP(t, m.Addr("resp"))
			waiter, granted := dialRESP(t, m.Addr("resp"))
			ask := func(command, want string) {
				t.Helper()
				fmt.Fprint(holder, command+"\r\n")
				if line, err := replies.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
					t.Errorf("%s: got %q, %v; want %q", command, line, err, want)
				}
			}
			ask("LOCK.ACQUIRE job", ":")
			fmt.Fprint(waiter, "LOCK.ACQUIRE job BLOCK 0\r\n")
			eventually(t, "the request waits", func() bool {
				_, body := get(t, "http://"+m.Addr("http")+"/locks/job")
				return strings.Contains(body, `"waiters":1`)
			})
			ask("LOCK.ACQUIRE job BLOCK 0", "-BUSY ")
			ask("LOCK.ACQUIRE other BLOCK 0", ":")
			ask("LOCK.RELEASE job", ":1")
			if line, err := granted.ReadString('\n'); err != nil || !strings.HasPrefix(line, ":") {
				t.Errorf("who waited got %q, %v", line, err)
			}
		})
	}
}
