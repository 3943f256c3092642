package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/cmd/candado/secure/certtest"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// secured are the flags of a service with TLS, and how to connect to it.
type secured struct {
	ca   *certtest.Authority
	dir  string
	args []string
}

func withTLS(t *testing.T, wish certtest.Wish) secured {
	t.Helper()
	s := secured{ca: certtest.New(t, "ca"), dir: t.TempDir()}
	cert, key := s.ca.Issue(wish).Write(t, s.dir, "candado")
	s.args = []string{"--tls-cert", cert, "--tls-key", key}
	return s
}

// mutual returns the same, where clients have to show certificates.
func (s secured) mutual(t *testing.T) secured {
	s.args = append(s.args, "--tls-client-ca", certtest.WriteFile(t, s.dir, "ca.pem", s.ca.PEM))
	return s
}

func (s secured) client(pairs ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost", Certificates: pairs}
}

// dialSecured returns a connection with TLS, before its handshake.
func dialSecured(t *testing.T, addr string, config *tls.Config) *tls.Conn {
	t.Helper()
	socket, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	_ = socket.SetDeadline(time.Now().Add(patience))
	return tls.Client(socket, config)
}

// ask sends one request and returns the first line of what comes back.
func ask(conn net.Conn, protocol string) (string, error) {
	request := "PING\r\n"
	if protocol == "http" {
		request = "GET /healthz HTTP/1.1\r\nHost: candado\r\n\r\n"
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

var good = map[string]string{"resp": "+PONG", "http": "HTTP/1.1 200 OK"}

func TestBothListenersSpeakTLS(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	m := openMain(t, s.args...)
	for protocol, want := range good {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := s.client()
			config.MaxVersion = version
			if got, err := ask(dialSecured(t, m.Addr(protocol), config), protocol); got != want {
				t.Errorf("%s, %s: %q, %v", protocol, tls.VersionName(version), got, err)
			}
		}
		if err := dialSecured(t, m.Addr(protocol), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake(); err == nil {
			t.Errorf("%s: TLS 1.1 is spoken", protocol)
		}
		plain, err := net.Dial("tcp", m.Addr(protocol))
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		_ = plain.SetDeadline(time.Now().Add(patience))
		if got, err := ask(plain, protocol); got != map[string]string{"resp": "-ERR this port speaks TLS only", "http": "HTTP/1.1 400 Bad Request"}[protocol] {
			t.Errorf("%s without TLS: %q, %v", protocol, got, err)
		}
	}
}

func TestClientWithoutACertificateIsToldWhy(t *testing.T) {
	s := withTLS(t, certtest.Wish{}).mutual(t)
	m := openMain(t, s.args...)
	stranger := certtest.New(t, "ca").Issue(certtest.Wish{}).TLS(t)
	for protocol, want := range good {
		if got, err := ask(dialSecured(t, m.Addr(protocol), s.client(s.ca.Issue(certtest.Wish{}).TLS(t))), protocol); got != want {
			t.Errorf("%s: %q, %v", protocol, got, err)
		}
		for why, config := range map[string]*tls.Config{
			"certificate required": s.client(),
			"certificate":          {RootCAs: s.ca.Pool(), ServerName: "localhost", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }},
		} {
			conn := dialSecured(t, m.Addr(protocol), config)
			if err := conn.Handshake(); err != nil {
				t.Errorf("%s: %v", protocol, err)
			}
			// Nothing is sent: the reason can't get lost behind it.
			if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want %q", protocol, err, why)
			}
		}
	}
}

func TestReplacedCertificateIsShownToNewConnections(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	m := openMain(t, s.args...)
	conn := dialSecured(t, m.Addr("resp"), s.client())
	if got, err := ask(conn, "resp"); got != "+PONG" {
		t.Fatalf("%q, %v", got, err)
	}
	next := s.ca.Issue(certtest.Wish{})
	next.Write(t, s.dir, "candado")
	m.certs.reload()
	for protocol := range good {
		c := dialSecured(t, m.Addr(protocol), s.client())
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.ConnectionState().PeerCertificates[0].Raw, next.TLS(t).Certificate[0]) {
			t.Errorf("%s shows the former certificate", protocol)
		}
	}
	if got, err := ask(conn, "resp"); got != "+PONG" {
		t.Errorf("the former connection: %q, %v", got, err)
	}
}

// ways are how a client leaves.
func ways() map[string]func(conn net.Conn) {
	socket := func(conn net.Conn) *net.TCPConn {
		if c, ok := conn.(*tls.Conn); ok {
			conn = c.NetConn()
		}
		return conn.(*net.TCPConn)
	}
	return map[string]func(net.Conn){
		"closes":                    func(c net.Conn) { _ = c.Close() },
		"closes without a word":     func(c net.Conn) { _ = socket(c).Close() },
		"closes its half":           func(c net.Conn) { _ = c.(interface{ CloseWrite() error }).CloseWrite() },
		"closes half of its socket": func(c net.Conn) { _ = socket(c).CloseWrite() },
		"resets":                    func(c net.Conn) { _ = socket(c).SetLinger(0); _ = socket(c).Close() },
	}
}

func TestWaitingClientThatLeavesIsNoticed(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	waits := map[string]string{"resp": "LOCK.ACQUIRE job BLOCK 0\r\n", "http": "GET /acquire/job?wait=1h HTTP/1.1\r\nHost: a\r\n\r\n"}
	more := map[string]string{"resp": "PING\r\n", "http": "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"}
	for _, args := range [][]string{nil, s.args} {
		m := openMain(t, args...)
		ctx := context.Background()
		if _, err := m.engine.Acquire(ctx, locks.AcquireRequest{ID: "job", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		waiting := func(want int) {
			t.Helper()
			eventually(t, fmt.Sprintf("%d wait", want), func() bool {
				info, err := m.engine.Info(ctx, "job")
				return err == nil && info.Waiters == want
			})
		}
		for protocol, wait := range waits {
			for _, pending := range []int{0, 1, 60_000} { // the last: more than is read ahead
				for name, leave := range ways() {
					t.Run(fmt.Sprintf("%s, TLS %v, %s, %d pending", protocol, args != nil, name, pending), func(t *testing.T) {
						socket, err := net.Dial("tcp", m.Addr(protocol))
						if err != nil {
							t.Fatal(err)
						}
						conn := socket
						if args != nil {
							conn = tls.Client(socket, s.client())
						}
						defer socket.Close()
						if _, err := io.WriteString(conn, wait); err != nil {
							t.Fatal(err)
						}
						waiting(1)
						_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // candado stops reading
						_, _ = io.WriteString(conn, strings.Repeat(more[protocol], pending))
						leave(conn)
						waiting(0)
					})
				}
			}
		}
	}
}

func TestShutdownTellsWaitingClientsThroughTLS(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	m := &Main{Config: testConfig(t, s.args...)}
	if err := m.Open(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := m.engine.Acquire(ctx, locks.AcquireRequest{ID: "job", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	resp, web, idle := dialSecured(t, m.Addr("resp"), s.client()), dialSecured(t, m.Addr("http"), s.client()), dialSecured(t, m.Addr("resp"), s.client())
	if got, err := ask(idle, "resp"); got != "+PONG" {
		t.Fatalf("%q, %v", got, err)
	}
	silent, err := net.Dial("tcp", m.Addr("http"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	fmt.Fprint(resp, "LOCK.ACQUIRE job BLOCK 0\r\n")
	fmt.Fprint(web, "GET /acquire/job?wait=1h HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "both wait", func() bool {
		info, err := m.engine.Info(ctx, "job")
		return err == nil && info.Waiters == 2
	})
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		conn net.Conn
		want string
	}{{resp, "-SHUTDOWN "}, {web, "HTTP/1.1 503 "}, {idle, ""}} {
		// To its proper end: TLS's goodbye came before that of the socket.
		if text, err := io.ReadAll(c.conn); err != nil || !strings.HasPrefix(string(text), c.want) || c.want == "" && len(text) > 0 {
			t.Errorf("got %q, %v; want %q", text, err, c.want)
		}
	}
}

func TestHealthcheckThroughTLS(t *testing.T) {
	serverOnly := certtest.Wish{Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	expired := certtest.Wish{NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().Add(-time.Hour)}
	for name, test := range map[string]struct {
		s    secured
		code int
		says string
	}{
		"TLS":                          {withTLS(t, certtest.Wish{}), exitOK, ""},
		"expired":                      {withTLS(t, expired), exitOK, ""},
		"mutual":                       {withTLS(t, certtest.Wish{}).mutual(t), exitOK, ""},
		"mutual, of servers only":      {withTLS(t, serverOnly).mutual(t), exitFailed, "bad certificate"},
		"mutual, under another's name": {withTLS(t, certtest.Wish{Hosts: []string{"locks.example"}}).mutual(t), exitOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			m := &Main{Config: testConfig(t, test.s.args...), Log: slog.New(slog.NewTextHandler(&log, nil))}
			if err := m.Open(); err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			vars := map[string]string{"CANDADO_TLS_CERT": test.s.args[1], "CANDADO_TLS_KEY": test.s.args[3]}
			code, stdout, stderr := run(t, vars, "healthcheck", "--http", m.Addr("http"))
			if code != test.code || !strings.Contains(stderr, test.says) {
				t.Errorf("exit %d: %s%s", code, stdout, stderr)
			}
			if advised := strings.Contains(log.String(), "healthcheck can't pass"); advised != (test.code != exitOK) {
				t.Errorf("the log is\n%s", &log)
			}
			if code, _, _ := run(t, nil, "healthcheck", "--http", m.Addr("http")); code != exitFailed {
				t.Errorf("without TLS: exit %d", code)
			}
		})
	}
}

func TestStartSaysWhetherListenersSpeakTLS(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	for want, args := range map[string][]string{"off": nil, "on": s.args, "mutual": s.mutual(t).args} {
		var log bytes.Buffer
		m := &Main{Config: testConfig(t, args...), Log: slog.New(slog.NewTextHandler(&log, nil))}
		if err := m.Open(); err != nil {
			t.Fatal(err)
		}
		_ = m.Close()
		if n := strings.Count(log.String(), "tls="+want); n != 2 {
			t.Errorf("the log does not say twice tls=%s:\n%s", want, &log)
		}
	}
}

func TestCertificatesEndIsMeasured(t *testing.T) {
	ends := time.Now().Add(100 * 24 * time.Hour).Truncate(time.Second)
	s := withTLS(t, certtest.Wish{NotAfter: ends})
	m := openMain(t, s.args...)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.client(), DisableKeepAlives: true}, Timeout: patience}
	reply, err := client.Get("https://" + m.Addr("http") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, _ := io.ReadAll(reply.Body)
	want := fmt.Sprintf("candado_tls_certificate_expiry_timestamp_seconds{certificate=\"listeners\"} %g\n", float64(ends.Unix()))
	if !strings.Contains(string(body), want) {
		t.Errorf("the metrics lack %s:\n%s", want, body)
	}
}

func TestFilesOfTLSThatCannotBeUsedEndWithExit2(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	cert, key := s.args[1], s.args[3]
	other, _ := s.ca.Issue(certtest.Wish{}).Write(t, s.dir, "other")
	none := filepath.Join(s.dir, "none")
	empty := certtest.WriteFile(t, s.dir, "empty")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--tls-cert", cert}, "--tls-cert needs --tls-key"},
		{[]string{"--tls-key", key}, "--tls-key needs --tls-cert"},
		{[]string{"--tls-client-ca", cert}, "--tls-client-ca needs --tls-cert and --tls-key"},
		{[]string{"--tls-cert", none, "--tls-key", key}, "--tls-cert: open " + none + ": no such file or directory"},
		{[]string{"--tls-cert", other, "--tls-key", key}, "--tls-cert " + other + " with --tls-key " + key + ": private key does not match public key"},
		{append(s.args[:4:4], "--tls-client-ca", empty), "--tls-client-ca " + empty + ": there is no certificate in it"},
		{[]string{"--upstream-ca", cert}, "--upstream-ca needs an --upstream with rediss://"},
		{[]string{"--upstream-ca", cert, "--upstream", "redis://h"}, "--upstream-ca needs an --upstream with rediss://"},
		{[]string{"--upstream-ca", cert, "--upstream", "rediss://h?skip_verify=true"}, "--upstream-ca is of no use with skip_verify in --upstream"},
		{[]string{"--upstream-ca", none, "--upstream", "rediss://h"}, "--upstream-ca: open " + none + ": no such file or directory"},
		{[]string{"--upstream-cert", cert, "--upstream-key", key, "--upstream", "redis://h"}, "--upstream-cert needs an --upstream with rediss://"},
		{[]string{"--upstream-cert", cert, "--upstream", "rediss://h"}, "--upstream-cert needs --upstream-key"},
		{[]string{"--upstream-key", key, "--upstream", "rediss://h"}, "--upstream-key needs --upstream-cert"},
		{[]string{"--upstream-password-file", key}, "--upstream-password-file needs --upstream"},
		{[]string{"--upstream-password-file", key, "--upstream", "redis://u:p@h"}, "--upstream-password-file and --upstream both have a password"},
		{[]string{"--upstream-password-file", none, "--upstream", "redis://h"}, "--upstream-password-file: open " + none + ": no such file or directory"},
		{[]string{"--upstream-password-file", empty, "--upstream", "redis://h"}, "--upstream-password-file: " + empty + ": must not be empty"},
		{[]string{"--upstream-password-file", cert, "--upstream", "redis://h"}, "--upstream-password-file: " + cert + ": it has more than one line"},
	} {
		code, _, stderr := run(t, nil, append([]string{"--listen=127.0.0.1:0", "--http="}, test.args...)...)
		if want := "candado: " + test.want + "\n"; code != exitUsage || stderr != want {
			t.Errorf("%q: exit %d, %swant %s", test.args, code, stderr, want)
		}
	}
	if code, _, stderr := run(t, map[string]string{"CANDADO_TLS_CERT": cert}); code != exitUsage || !strings.Contains(stderr, "--tls-cert (from CANDADO_TLS_CERT) needs --tls-key") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestUpstreamIsReachedThroughTLSByARotatedPasswordAndCertificate(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	cert, key := s.args[1], s.args[3]
	caFile := certtest.WriteFile(t, s.dir, "ca.pem", s.ca.PEM)
	port := redistest.Port(t)
	server := redistest.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", caFile)
	server.Do("ACL SETUSER app on >first ~candado:* &candado:* +@all")
	word := certtest.WriteFile(t, s.dir, "password", []byte("first\n"))
	stranger := certtest.New(t, "stranger")
	strange, strangeKey := stranger.Issue(certtest.Wish{}).Write(t, s.dir, "client")
	m := openMain(t, "--upstream", "rediss://app@localhost:"+port, "--upstream-ca", caFile,
		"--upstream-cert", strange, "--upstream-key", strangeKey, "--upstream-password-file", word)
	ready := func() bool { return m.engine.Ready(context.Background()) == nil }
	if ready() {
		t.Fatal("a stranger's certificate is taken")
	}
	s.ca.Issue(certtest.Wish{}).Write(t, s.dir, "client")
	eventually(t, "the new certificate is shown", ready)
	server.Do("ACL SETUSER app resetpass >second")
	server.Do("CLIENT KILL USER app")
	if ready() {
		t.Error("the old password is taken")
	}
	certtest.WriteFile(t, s.dir, "password", []byte("second\r\n"))
	eventually(t, "the new password is said", ready)
	_ = os.Remove(word)
	server.Do("CLIENT KILL USER app")
	eventually(t, "the last password that could be read is said", ready)
}
