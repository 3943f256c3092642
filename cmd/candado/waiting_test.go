package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// What settings, processes and other programs have to do with waiting.

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

// curl starts a curl that acquires, and returns what it prints when it has
// ended. What is left of it is killed at the end of the test.
func curl(t *testing.T, url string) (cmd *exec.Cmd, printed func() string) {
	t.Helper()
	var out bytes.Buffer
	cmd = exec.Command(need(t, "curl"), "--silent", "--show-error", "--write-out", " %{http_code}", url)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its output tells
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended already
		<-ended
	})
	return cmd, func() string {
		<-ended
		return out.String()
	}
}

func TestKilledCurlNeverHoldsTheLock(t *testing.T) {
	p := startProcess(t)
	web := "http://" + p.http
	page := func(part string) func() bool {
		return func() bool {
			_, body := get(t, web+"/locks/job")
			return strings.Contains(body, part)
		}
	}
	if status, body := get(t, web+"/acquire/job"); status != 200 {
		t.Fatalf("acquire: %d %s", status, body)
	}
	killed, _ := curl(t, web+"/acquire/job?wait=10m&owner=killed")
	eventually(t, "curl waits", page(`"waiters":1`))
	_, printed := curl(t, web+"/acquire/job?wait=10m&owner=patient")
	eventually(t, "two curls wait", page(`"waiters":2`))
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the killed curl has left the queue", page(`"waiters":1`))
	if status, body := get(t, web+"/release/job"); status != 200 || body != `{"error":"","state":1,"success":true}` {
		t.Errorf("release: %d %s", status, body)
	}
	if got := printed(); !strings.HasPrefix(got, `{"error":"","state":1,"success":true,"token":`) || !strings.HasSuffix(got, `"owner":"patient"} 200`) {
		t.Errorf("the other curl printed %s", got)
	}
}

func TestWaitingCurlIsToldOfTheShutdown(t *testing.T) {
	p := startProcess(t)
	web := "http://" + p.http
	if status, body := get(t, web+"/acquire/job"); status != 200 {
		t.Fatalf("acquire: %d %s", status, body)
	}
	_, printed := curl(t, web+"/acquire/job?wait=10m")
	eventually(t, "curl waits", func() bool {
		_, body := get(t, web+"/locks/job")
		return strings.Contains(body, `"waiters":1`)
	})
	p.terminate(t)
	if got, want := printed(), `{"error":"candado is shutting down, nothing was done","state":0,"success":false} 503`; got != want {
		t.Errorf("curl printed %s, want %s", got, want)
	}
	if code := p.exitCode(t); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.logged())
	}
}

func TestStoppingTakesNoLongerThoughTheUpstreamHangs(t *testing.T) {
	need(t, "redis-server")
	s := redistest.Start(t)
	const drain = 9 * time.Second // of which all of closeTime is kept for the engine
	p := startProcess(t, "--upstream=redis://"+s.Addr, "--drain-timeout="+drain.String())
	holder, held := dialRESP(t, p.resp)
	fmt.Fprint(holder, "LOCK.ACQUIRE job SESSION\r\n")
	if line, err := held.ReadString('\n'); err != nil || !strings.HasPrefix(line, ":") {
		t.Fatalf("acquire: %q, %v", line, err)
	}
	waiter, told := dialRESP(t, p.resp)
	fmt.Fprint(waiter, "LOCK.ACQUIRE job BLOCK 0\r\n")
	eventually(t, "the request waits", func() bool {
		_, body := get(t, "http://"+p.http+"/locks/job")
		return strings.Contains(body, `"waiters":1`)
	})
	s.Pause()
	defer s.Resume()
	began := time.Now()
	p.terminate(t)
	if line, err := told.ReadString('\n'); err != nil || !strings.HasPrefix(line, "-SHUTDOWN ") {
		t.Errorf("who waited got %q, %v", line, err)
	}
	p.exitCode(t) // that of a lease which could not be released
	if took := time.Since(began); took > drain {
		t.Errorf("stopping took %v, with a drain time-out of %v", took, drain)
	}
}
