package web

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goodjobtech/candado/bench/load"
	"github.com/goodjobtech/candado/bench/server"
)

// measure measures a server that answers as candado would, but for one reply.
func measure(t *testing.T, lie func(w http.ResponseWriter) bool) (*load.Result, error) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 20 && lie(w) {
			return
		}
		body := free
		if strings.HasPrefix(r.URL.Path, "/acquire/web-") {
			body = held
		} else if !strings.HasPrefix(r.URL.Path, "/release/web-") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	addr := s.Listener.Addr().(*net.TCPAddr).String()
	return load.Load{
		Addr: addr, Clients: 3, Length: 60 * time.Millisecond, Usage: server.Team{}.Usage,
		Dialogue: func(int) load.Dialogue { return newDialogue(addr, []string{"web-1", "web-2"}, [2]string{held, free}) },
	}.Run(t.Context())
}

func TestHonestServerIsCounted(t *testing.T) {
	r, err := measure(t, func(http.ResponseWriter) bool { return false })
	if err != nil || r.Operations == 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestLyingServerFails(t *testing.T) {
	for name, lie := range map[string]func(w http.ResponseWriter){
		"Status":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusConflict) },
		"Body":      func(w http.ResponseWriter) { _, _ = w.Write([]byte(strings.Replace(held, "true", "fals", 1))) },
		"EmptyBody": func(http.ResponseWriter) {},
		"Closed":    func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := measure(t, func(w http.ResponseWriter) bool { lie(w); return true }); err == nil {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestResponsesAreReadHoweverTheyArrive(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\nServer: x\r\ncOntent-length: 5\r\n\r\n12345"
	for cut := range len(text) {
		if n, _, err := parse([]byte(text[:cut])); n != 0 || err != nil {
			t.Errorf("%q is %d bytes long, %v", text[:cut], n, err)
		}
	}
	if n, body, err := parse([]byte(text + "HTTP/1.1")); n != len(text) || string(body) != "12345" || err != nil {
		t.Errorf("got %d, %q, %v", n, body, err)
	}
	for _, bad := range []string{"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"} {
		if n, _, err := parse([]byte(bad)); err == nil {
			t.Errorf("%q is %d bytes long", bad, n)
		}
	}
}
