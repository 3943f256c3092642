package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/goodjobtech/candado/locks"
)

// mustBeDocumented fails unless the body is a refusal of the documented shape.
func mustBeDocumented(t *testing.T, body string) {
	t.Helper()
	var got struct {
		Error   string `json:"error"`
		State   *int   `json:"state"`
		Success *bool  `json:"success"`
	}
	dec := json.NewDecoder(strings.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil || got.Error == "" || got.State == nil || got.Success == nil || *got.Success {
		t.Errorf("the body of a refusal is %q (%v)", body, err)
	}
}

func TestPathIsTakenAsItIs(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	full := strings.Repeat("x", 1024)
	for target, id := range map[string]locks.ID{
		"/acquire/a":                              "a",
		"/acquire/a/b":                            "a/b",
		"/acquire/a%2Fb":                          "a/b",
		"/acquire/a%252Fb":                        "a%2Fb",
		"/acquire//":                              "/",
		"/acquire//x":                             "/x",
		"/acquire/x/":                             "x/",
		"/acquire/..":                             "..",
		"/acquire/%2e%2e":                         "..",
		"/acquire/../acquire/x":                   "../acquire/x",
		"/acquire/./x":                            "./x",
		"/acquire/%00":                            "\x00",
		"/acquire/%0d%0a":                         "\r\n",
		"/acquire/a+b%20c":                        "a+b c",
		"/acquire/%ff%FE":                         "\xff\xfe",
		"/acquire/\xff":                           "\xff",
		"/acquire/http://x":                       "http://x",
		"/acquire/%3f%23":                         "?#",
		"/acquire/a%3Fttl=1s":                     "a?ttl=1s",
		"http://candado/acquire/a//b":             "a//b",
		"HTTP://other:1/acquire/a?":               "a",
		"https://candado/acquire/..":              "..",
		"/acquire/" + full:                        locks.ID(full),
		"/acquire/" + strings.Repeat("%7e", 1024): locks.ID(strings.Repeat("~", 1024)),
	} {
		if got := dial(t, addr).ask("GET", target); got.status != 200 || got.body != held {
			t.Errorf("%.60q: got %d %s", target, got.status, got.body)
			continue
		}
		if req := f.taken().(locks.AcquireRequest); req.ID != id {
			t.Errorf("%.60q: the ID is %q, want %q", target, req.ID, id)
		}
	}
}

func TestLargestRequestFits(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	got := dial(t, addr).ask("GET", "/acquire/"+strings.Repeat("%00", 1024)+"?owner="+strings.Repeat("%00", 256),
		"Cookie: "+strings.Repeat("c", 4096))
	if got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestBadTargetIsRefused(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	for _, test := range []struct {
		target string
		status int
		says   string
	}{
		{"/acquire/", 400, "lock ID is empty"},
		{"/acquire/?ttl=1s", 400, "lock ID is empty"},
		{"/locks/", 400, "lock ID is empty"},
		{"/acquire", 404, "/acquire"},
		{"/acquirer/a", 404, "/acquirer/a"},
		{"/ACQUIRE/a", 404, "/ACQUIRE/a"},
		{"/%61cquire/a", 404, "/%61cquire/a"},
		{"//acquire/a", 404, "//acquire/a"},
		{"/", 404, "/"},
		{"http://candado", 404, "/"},
		{"http://candado?x", 404, "/"},
		{"/healthz/", 404, "/healthz/"},
		{"/" + strings.Repeat("n", 2000), 404, "n…"},
		{"ftp://candado/acquire/a", 400, "ftp"},
		{"/acquire/a#b", 400, "%23"},
		{"/acquire/%zz", 400, `bad escape \"%zz\"`},
		{"/acquire/a%", 400, `bad escape \"%\"`},
		{"/acquire/a%4", 400, `bad escape \"%4\"`},
		{"/acquire/%4\xff", 400, "bad escape \\\"%4\ufffd\\\""},
		{"/acquire/" + strings.Repeat("x", 1025), 414, "lock ID is longer than 1024 bytes"},
		{"/acquire/" + strings.Repeat("%78", 1025), 414, "lock ID is longer than 1024 bytes"},
		{"/acquire/" + strings.Repeat("x", 20000), 431, "longer than 8192 bytes (--max-header-bytes)"},
		{"/acquire/a\x01", 400, "not an HTTP request"},
	} {
		got := dial(t, addr).ask("GET", test.target)
		if got.status != test.status || !strings.Contains(got.body, test.says) {
			t.Errorf("%.60q: got %d %s, want %d %s", test.target, got.status, got.body, test.status, test.says)
		}
		mustBeDocumented(t, got.body)
		if req := f.taken(); req != nil {
			t.Errorf("%.60q: reached the engine as %+v", test.target, req)
		}
	}
}

func TestMethods(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	actions, pages := []string{"/acquire/a", "/release/a", "/heartbeat/a"}, []string{"/locks", "/locks/a", "/healthz", "/readyz"}
	for _, method := range []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "acquire"} {
		for _, target := range append(actions, pages...) {
			allow := "GET, HEAD"
			if strings.Count(target, "/") == 2 && !strings.HasPrefix(target, "/locks") {
				allow = "GET, POST"
			}
			want, allowed := 405, strings.Contains(allow, method)
			if allowed {
				want, allow = 200, ""
			}
			got := dial(t, addr).ask(method, target)
			if got.status != want || got.header.Get("Allow") != allow {
				t.Errorf("%s %s: got %d, Allow %q, want %d, %q", method, target, got.status, got.header.Get("Allow"), want, allow)
			}
			if (got.body == "") != (method == "HEAD") {
				t.Errorf("%s %s: the body is %q", method, target, got.body)
			}
			if req := f.taken(); req != nil && !allowed {
				t.Errorf("%s %s: reached the engine", method, target)
			}
		}
	}
}

func TestUnreadableRequestIsRefusedInJSON(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	const start = "POST /acquire/a HTTP/1.1\r\nHost: candado\r\n"
	for _, test := range []struct {
		name, raw string
		status    int
	}{
		{"no HTTP", "hello\r\n\r\n", 400},
		{"no Host", "GET /acquire/a HTTP/1.1\r\n\r\n", 400},
		{"two lengths", start + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400},
		{"long headers", start + "X: " + strings.Repeat("x", 20000) + "\r\n\r\n", 431},
		{"long body", start + "Content-Length: 4097\r\n\r\n", 413},
		{"long chunked body", start + "Transfer-Encoding: chunked\r\n\r\n1001\r\n" + strings.Repeat("b", 0x1001) + "\r\n0\r\n\r\n", 413},
		{"body", start + "Content-Length: 5\r\n\r\nttl=1", 400},
		{"chunked body", start + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 400},
		{"multipart body", start + "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 5\r\n\r\n--b--", 400},
		{"body of GET", "GET /acquire/a HTTP/1.1\r\nHost: candado\r\nContent-Length: 5\r\n\r\nttl=1", 400},
		{"length and chunked", start + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"chunked and length", start + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", 400},
		{"identity", start + "Transfer-Encoding: identity\r\n\r\nGET /acquire/b HTTP/1.1\r\nHost: candado\r\n\r\n", 400},
		{"two encodings", start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
		{"line feed alone", "GET /acquire/a HTTP/1.1\r\nHost: candado\nX: x\r\n\r\n", 400},
		{"line feed that hides a request", "GET /acquire/a HTTP/1.1\r\nHost: candado\r\nX: x\n\nGET /acquire/b HTTP/1.1\r\nHost: candado\r\n\r\n", 400},
		{"line feed that hides a length", start + "X: x\nContent-Length: 0\r\n\r\n", 400},
		{"line feed at the end", "GET /acquire/a HTTP/1.1\r\nHost: candado\r\n\nGET /acquire/b HTTP/1.1\r\nHost: candado\r\n\r\n", 400},
		{"folded header", start + "X: x\r\n y\r\n\r\n", 400},
		{"folded length", start + "Content-Length:\r\n\t0\r\n\r\n", 400},
		{"length and identity", start + "Content-Length: 0\r\nTransfer-Encoding: identity\r\n\r\n", 400},
	} {
		c := dial(t, addr)
		c.send(test.raw)
		got := c.receive("POST")
		if got.status != test.status {
			t.Errorf("%s: got %d %s, want %d", test.name, got.status, got.body, test.status)
		}
		if kind := got.header.Get("Content-Type"); kind != "application/json" || got.header.Get("Server") != "" {
			t.Errorf("%s: headers are %v", test.name, got.header)
		}
		mustBeDocumented(t, got.body)
		if req := f.taken(); req != nil {
			t.Errorf("%s: reached the engine", test.name)
		}
	}
}

func TestEmptyBodyIsNoBody(t *testing.T) {
	_, addr := serve(t, Options{Engine: agreeable()})
	for _, header := range []string{"Content-Length: 0", "Transfer-Encoding: chunked", "Connection: close"} {
		c := dial(t, addr)
		c.send("POST /acquire/a HTTP/1.1\r\nHost: candado\r\n" + header + "\r\n\r\n")
		if strings.HasSuffix(header, "chunked") {
			c.send("0\r\n\r\n")
		}
		if got := c.receive("POST"); got.status != 200 || got.body != held {
			t.Errorf("%s: got %d %s", header, got.status, got.body)
		}
	}
}

func TestCrossSiteRequestIsRefused(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	for _, target := range []string{"/acquire/a", "/release/a", "/heartbeat/a", "/locks", "/locks/a", "/healthz", "/readyz", "/metrics", "/nowhere"} {
		for _, header := range []string{"Sec-Fetch-Site: cross-site", "sec-fetch-site: Cross-Site ", "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site", "Origin: http://evil.example", "Origin: null"} {
			got := dial(t, addr).ask("GET", target, header)
			if got.status != 403 {
				t.Errorf("%s with %q: got %d", target, header, got.status)
			}
			mustBeDocumented(t, got.body)
		}
	}
	if req := f.taken(); req != nil {
		t.Errorf("a cross-site request reached the engine: %+v", req)
	}
	for _, site := range []string{"same-origin", "same-site", "none", ""} {
		if got := dial(t, addr).ask("GET", "/acquire/a", "Sec-Fetch-Site: "+site); got.status != 200 {
			t.Errorf("%q: got %d", site, got.status)
		}
	}
}

func TestHTTP10WithoutHostIsServed(t *testing.T) {
	f := agreeable()
	_, addr := serve(t, Options{Engine: f})
	c := dial(t, addr)
	c.send("GET /acquire/http://x HTTP/1.0\r\n\r\n")
	if got := c.receive("GET"); got.status != 200 || !got.last {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if req := f.taken().(locks.AcquireRequest); req.ID != "http://x" {
		t.Errorf("the ID is %q", req.ID)
	}
}
