package hangup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks/hangup"
)

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	return far.(*net.TCPConn), near.(*net.TCPConn)
}

func write(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v; they are those that were sent: %v", n, err, bytes.Equal(got, want))
	}
}

func TestClientThatStaysIsThere(t *testing.T) {
	client, server := pair(t)
	r := hangup.NewReader(server, 1<<20)
	sent := bytes.Repeat([]byte("some bytes "), 5000)
	for range 3 { // one watch after another
		stop := r.Watch(func() { t.Error("the client is said to be gone") })
		write(t, client, sent)
		if stop() {
			t.Fatal("stop says that the client is gone")
		}
		write(t, client, []byte("and more"))
		read(t, r, append(bytes.Clone(sent), "and more"...))
	}
	_ = client.Close()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the end reads as %d, %v", n, err)
	}
}

func TestWhatAClientSentBeforeItLeftIsKept(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn) error{
		"closes":          (*net.TCPConn).Close,
		"closes its half": (*net.TCPConn).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			r := hangup.NewReader(server, 1<<20)
			gone := make(chan bool, 2)
			stop := r.Watch(func() { gone <- true })
			write(t, client, []byte("last words"))
			if err := leave(client); err != nil {
				t.Fatal(err)
			}
			<-gone
			if !stop() {
				t.Error("stop says that the client is there")
			}
			again := r.Watch(func() { gone <- true })
			<-gone
			if !again() {
				t.Error("the next watch says that the client is there")
			}
			read(t, r, []byte("last words"))
			for range 2 {
				if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("the end reads as %d, %v", n, err)
				}
			}
		})
	}
}

func TestClientThatResetsIsGone(t *testing.T) {
	client, server := pair(t)
	r := hangup.NewReader(server, 1<<20)
	gone := make(chan bool, 1)
	stop := r.Watch(func() { gone <- true })
	_ = client.SetLinger(0)
	_ = client.Close()
	<-gone
	if !stop() || r.Overrun() {
		t.Error("stop says that the client is there, or has sent too much")
	}
}

func TestConnectionClosedUnderTheWatchIsGone(t *testing.T) {
	_, server := pair(t)
	r := hangup.NewReader(server, 1<<20)
	gone := make(chan bool, 1)
	stop := r.Watch(func() { gone <- true })
	_ = server.Close()
	<-gone
	if !stop() {
		t.Error("stop says that the client is there")
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading returns %v", err)
	}
}

func TestClientThatSendsTooMuchForLongIsGone(t *testing.T) {
	for wait, want := range map[time.Duration]bool{200 * time.Millisecond: false, 300 * time.Millisecond: true} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			r := hangup.NewReader(near, 1000)
			gone := false
			stop := r.Watch(func() { gone = true })
			sent := bytes.Repeat([]byte("0123456789"), 150)
			written := make(chan error, 1)
			go func() {
				_, err := far.Write(sent)
				written <- err
			}()
			time.Sleep(wait)
			if got := stop(); got != want || gone != want || r.Overrun() != want {
				t.Errorf("after %v: gone %v, told so %v, overrun %v; want %v", wait, got, gone, r.Overrun(), want)
			}
			read(t, r, sent) // it had to wait, and nothing is lost
			if err := <-written; err != nil {
				t.Error(err)
			}
			_ = far.Close()
		})
	}
}

// deaf is a connection whose Read tells nothing, as if its goroutine had not
// been scheduled yet.
type deaf struct{ *net.TCPConn }

func (d deaf) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestClientThatLeftJustBeforeTheStopIsGone(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closes":          func(c *net.TCPConn) { _ = c.Close() },
		"closes its half": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"resets":          func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			r := hangup.NewReader(deaf{server}, 1<<20)
			if r.Watch(func() {})() {
				t.Fatal("stop says that the client is gone")
			}
			write(t, client, []byte("last words"))
			leave(client)
			for end := time.Now().Add(10 * time.Second); !r.Watch(func() {})(); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the client is not found gone")
				}
			}
			if name != "resets" { // which throws away what was on its way
				read(t, r, []byte("last words"))
			}
		})
	}
}

func TestWatchLeavesNoDeadlineBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		r := hangup.NewReader(near, 1000)
		_ = near.SetReadDeadline(time.Now().Add(time.Second))
		stop := r.Watch(func() { t.Error("the client is said to be gone") })
		time.Sleep(time.Hour)
		if stop() {
			t.Error("stop says that the client is gone")
		}
		go func() {
			time.Sleep(time.Hour)
			_, _ = far.Write([]byte("late"))
		}()
		read(t, r, []byte("late"))
	})
}

// A client that has sent more than is read ahead, and leaves, is gone at the next
// look, or at the stop.
func TestClientThatLeavesBehindAFullBufferIsGone(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closes":          func(c *net.TCPConn) { _ = c.Close() },
		"closes its half": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"resets":          func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		for _, stops := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", stopped ", stops), func(t *testing.T) {
				client, server := pair(t)
				r := hangup.NewReader(server, 1000)
				gone := make(chan bool, 1)
				began := time.Now()
				stop := r.Watch(func() { gone <- true })
				write(t, client, make([]byte, 5000))
				leave(client)
				late := time.Since(began) > 200*time.Millisecond // the machine had better things to do
				if !stops {
					select {
					case <-gone:
					case <-time.After(10 * time.Second):
						t.Error("the client is not found gone")
					}
				}
				for end := time.Now().Add(10 * time.Second); !stop(); stop = r.Watch(func() {}) {
					if time.Now().After(end) {
						t.Fatal("stop says that the client is there")
					}
				}
				if r.Overrun() && !late {
					t.Error("the client is said to have sent too much")
				}
			})
		}
	}
}
