package secure_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/cmd/candado/secure"
	"github.com/goodjobtech/candado/cmd/candado/secure/certtest"
)

func files(cert, key, ca string) secure.Files {
	return secure.Files{Cert: secure.File{Setting: "--tls-cert", Path: cert}, Key: secure.File{Setting: "--tls-key", Path: key},
		CA: secure.File{Setting: "--tls-client-ca", Path: ca}}
}

// open returns a source of those files, and its log.
func open(t *testing.T, f secure.Files) (*secure.Source, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	s, err := secure.Open(f, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

// shake makes a handshake and returns what the client has seen, or why the server
// or the client ended it.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := secure.Listener(ln, server).Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		_, err = conn.Write([]byte("x")) // after which the client has got its tickets
		done <- err
	}()
	socket, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c := tls.Client(socket, client)
	_, err = io.ReadFull(c, make([]byte, 1))
	_ = socket.Close()
	return c.ConnectionState(), errors.Join(err, <-done)
}

// shown returns the certificate that the server shows.
func shown(t *testing.T, s *secure.Source) *x509.Certificate {
	t.Helper()
	state, err := shake(t, s.Server(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0]
}

func isOf(t *testing.T, got *x509.Certificate, want certtest.Pair) {
	t.Helper()
	if !bytes.Equal(got.Raw, want.TLS(t).Certificate[0]) {
		t.Error("the server shows another certificate")
	}
}

func TestReplacedFilesAreTakenInWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, dir := certtest.New(t, "ca"), t.TempDir()
		first, second := ca.Issue(certtest.Wish{}), ca.Issue(certtest.Wish{})
		cert, key := first.Write(t, dir, "a")
		s, log := open(t, files(cert, key, ""))
		isOf(t, shown(t, s), first)
		second.Write(t, dir, "a")
		isOf(t, shown(t, s), first) // looked at a moment ago
		time.Sleep(time.Second)
		isOf(t, shown(t, s), second)
		if n := strings.Count(log.String(), "certificates replaced"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log)
		}
		first.Write(t, dir, "a")
		s.Reload()
		isOf(t, shown(t, s), first)
	})
}

func TestUnchangedFilesAreNotReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, dir := certtest.New(t, "ca"), t.TempDir()
		cert, key := ca.Issue(certtest.Wish{}).Write(t, dir, "a")
		s, log := open(t, files(cert, key, ""))
		for range 5 {
			time.Sleep(time.Minute)
			shown(t, s)
		}
		if log.Len() > 0 {
			t.Errorf("logged:\n%s", log)
		}
	})
}

func TestBadReplacementLeavesTheFormerInForceAndIsLoggedOnce(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string, other certtest.Pair){
		"key of another": func(t *testing.T, dir string, other certtest.Pair) { certtest.WriteFile(t, dir, "a.key", other.Key) },
		"half a certificate": func(t *testing.T, dir string, other certtest.Pair) {
			certtest.WriteFile(t, dir, "a.pem", other.Cert[:len(other.Cert)/2])
		},
		"empty": func(t *testing.T, dir string, other certtest.Pair) { certtest.WriteFile(t, dir, "a.key") },
		"gone":  func(t *testing.T, dir string, other certtest.Pair) { _ = os.Remove(filepath.Join(dir, "a.pem")) },
		"authority gone bad": func(t *testing.T, dir string, other certtest.Pair) {
			certtest.WriteFile(t, dir, "ca.pem", []byte("nothing"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, dir := certtest.New(t, "ca"), t.TempDir()
				pair, other := ca.Issue(certtest.Wish{}), ca.Issue(certtest.Wish{})
				cert, key := pair.Write(t, dir, "a")
				s, log := open(t, files(cert, key, certtest.WriteFile(t, dir, "ca.pem", ca.PEM)))
				client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{other.TLS(t)}}
				spoil(t, dir, other)
				for range 3 {
					time.Sleep(time.Second)
					state, err := shake(t, s.Server(), client)
					if err != nil {
						t.Fatal(err)
					}
					isOf(t, state.PeerCertificates[0], pair)
				}
				if n := strings.Count(log.String(), "certificates not replaced"); n != 1 || strings.Count(log.String(), "\n") != 1 {
					t.Errorf("logged:\n%s", log)
				}
				other.Write(t, dir, "a")
				certtest.WriteFile(t, dir, "ca.pem", ca.PEM)
				time.Sleep(time.Second)
				state, err := shake(t, s.Server(), client)
				if err != nil {
					t.Fatal(err)
				}
				isOf(t, state.PeerCertificates[0], other)
			})
		})
	}
}

// As Kubernetes replaces what it mounts: the files are links through a link, which
// is replaced.
func TestReplacedLinkToADirectoryIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, dir := certtest.New(t, "ca"), t.TempDir()
		link := func(to, at string) {
			if err := os.Symlink(to, filepath.Join(dir, "new")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, at)); err != nil {
				t.Fatal(err)
			}
		}
		pairs := map[string]certtest.Pair{"..1": ca.Issue(certtest.Wish{}), "..2": ca.Issue(certtest.Wish{})}
		for name, pair := range pairs {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			pair.Write(t, filepath.Join(dir, name), "tls")
		}
		link("..1", "..data")
		link("..data/tls.pem", "tls.crt")
		link("..data/tls.key", "tls.key")
		s, _ := open(t, files(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), ""))
		isOf(t, shown(t, s), pairs["..1"])
		link("..2", "..data")
		time.Sleep(time.Second)
		isOf(t, shown(t, s), pairs["..2"])
	})
}

func TestCertificateNearItsEndIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		ca, dir := certtest.New(t, "ca"), t.TempDir()
		ends := time.Now().Add(90 * day)
		cert, key := ca.Issue(certtest.Wish{NotAfter: ends}).Write(t, dir, "a")
		s, log := open(t, files(cert, key, ""))
		if got := s.Expiry(); got.Unix() != ends.Unix() {
			t.Errorf("it expires %v, want %v", got, ends)
		}
		for _, step := range []struct {
			until       time.Duration // before the end
			near, ended int
		}{{15 * day, 0, 0}, {13 * day, 1, 0}, {time.Hour, 1, 0}, {-time.Hour, 1, 1}, {-2 * day, 1, 1}} {
			time.Sleep(time.Until(ends.Add(-step.until)))
			shown(t, s)
			near, ended := strings.Count(log.String(), "expires soon"), strings.Count(log.String(), "has expired")
			if near != step.near || ended != step.ended {
				t.Errorf("%v before the end, the log is\n%s", step.until, log)
			}
		}
		// One of a day is renewed each night.
		ca.Issue(certtest.Wish{NotBefore: time.Now(), NotAfter: time.Now().Add(day)}).Write(t, dir, "a")
		log.Reset()
		s.Reload()
		for range 17 {
			time.Sleep(time.Hour)
			shown(t, s)
		}
		if strings.Contains(log.String(), "soon") {
			t.Errorf("with seven hours left, the log is\n%s", log)
		}
		time.Sleep(2 * time.Hour)
		shown(t, s)
		if !strings.Contains(log.String(), "soon") {
			t.Errorf("with five hours left, the log is\n%s", log)
		}
	})
}

func TestFilesThatCannotBeUsedAreNamed(t *testing.T) {
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	cert, key := ca.Issue(certtest.Wish{}).Write(t, dir, "a")
	otherCert, _ := ca.Issue(certtest.Wish{}).Write(t, dir, "b")
	locked := certtest.WriteFile(t, dir, "locked.key", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	text := certtest.WriteFile(t, dir, "text", []byte("hello"))
	odd := certtest.WriteFile(t, dir, "odd", ca.PEM, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	for want, f := range map[string]secure.Files{
		"--tls-cert: open " + dir + "/none":                                files(dir+"/none", key, ""),
		"--tls-key: open " + dir + "/none":                                 files(cert, dir+"/none", ""),
		"--tls-cert " + text + " with --tls-key " + key:                    files(text, key, ""),
		"--tls-cert " + cert + " with --tls-key " + text:                   files(cert, text, ""),
		"--tls-cert " + otherCert + " with --tls-key " + key + ": private": files(otherCert, key, ""),
		"--tls-key " + locked + ": the key has a passphrase":               files(cert, locked, ""),
		"--tls-client-ca: open " + dir + "/none":                           files(cert, key, dir+"/none"),
		"--tls-client-ca " + text + ": there is no certificate in it":      files(cert, key, text),
		"--tls-client-ca " + odd + ": x509":                                files(cert, key, odd),
		"--tls-cert: read " + dir:                                          files(dir, key, ""),
	} {
		if _, err := secure.Open(f, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
	both := certtest.WriteFile(t, dir, "both", read(t, key), read(t, cert))
	open(t, files(both, both, ""))
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestClientNeedsACertificateOfTheAuthority(t *testing.T) {
	ca, stranger, dir := certtest.New(t, "ca"), certtest.New(t, "ca"), t.TempDir()
	cert, key := ca.Issue(certtest.Wish{}).Write(t, dir, "a")
	s, _ := open(t, files(cert, key, certtest.WriteFile(t, dir, "ca.pem", ca.PEM)))
	for name, test := range map[string]struct {
		shows []tls.Certificate
		ok    bool
	}{
		"none":            {nil, false},
		"a good one":      {[]tls.Certificate{ca.Issue(certtest.Wish{}).TLS(t)}, true},
		"of another":      {[]tls.Certificate{stranger.Issue(certtest.Wish{}).TLS(t)}, false},
		"expired":         {[]tls.Certificate{ca.Issue(certtest.Wish{NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().Add(-time.Hour)}).TLS(t)}, false},
		"of servers only": {[]tls.Certificate{ca.Issue(certtest.Wish{Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}).TLS(t)}, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			_, err := shake(t, s.Server(), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: test.shows, MaxVersion: version})
			if (err == nil) != test.ok {
				t.Errorf("%s, %s: %v", name, tls.VersionName(version), err)
			}
		}
	}
}

// A client that was let in once is not let in by its session after its authority has
// been taken out.
func TestSessionDoesNotOutliveItsAuthority(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca, former, dir := certtest.New(t, "ca"), certtest.New(t, "former"), t.TempDir()
		cert, key := ca.Issue(certtest.Wish{}).Write(t, dir, "a")
		s, _ := open(t, files(cert, key, certtest.WriteFile(t, dir, "ca.pem", ca.PEM, former.PEM)))
		server := s.Server()
		client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MaxVersion: version,
			Certificates: []tls.Certificate{former.Issue(certtest.Wish{}).TLS(t)}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		for range 2 {
			if state, err := shake(t, server, client); err != nil || state.DidResume {
				t.Errorf("while it is known: %v, resumed %v", err, state.DidResume)
			}
		}
		certtest.WriteFile(t, dir, "ca.pem", ca.PEM)
		s.Reload()
		if _, err := shake(t, server, client); err == nil {
			t.Errorf("%s: it is let in", tls.VersionName(version))
		}
	}
}

// Without certificates of clients, a session may be resumed: that saves work.
func TestSessionIsResumedAcrossAReplacement(t *testing.T) {
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	cert, key := ca.Issue(certtest.Wish{}).Write(t, dir, "a")
	s, _ := open(t, files(cert, key, ""))
	server := s.Server()
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for i := range 3 {
		state, err := shake(t, server, client)
		if err != nil || state.DidResume != (i > 0) {
			t.Errorf("connection %d: %v, resumed %v", i, err, state.DidResume)
		}
		s.Reload()
	}
}

func TestOldVersionsAreRefused(t *testing.T) {
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	cert, key := ca.Issue(certtest.Wish{}).Write(t, dir, "a")
	s, _ := open(t, files(cert, key, ""))
	_, err := shake(t, s.Server(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestHealthcheckIsAdmittedWithACertificateForClientsToo(t *testing.T) {
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	caFile := certtest.WriteFile(t, dir, "ca.pem", ca.PEM)
	cert, key := ca.Issue(certtest.Wish{}).Write(t, dir, "both")
	s, _ := open(t, files(cert, key, caFile))
	if err := s.Admits(); err != nil {
		t.Error(err)
	}
	cert, key = ca.Issue(certtest.Wish{Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}).Write(t, dir, "server")
	s, _ = open(t, files(cert, key, caFile))
	if err := s.Admits(); err == nil {
		t.Error("a server's certificate is taken for a client's")
	}
}
