// Package secure has what candado needs for TLS: certificates that follow the
// files they stand in, and a listener whose connections are secured.
//
// source.go keeps certificates, read.go reads them, listener.go has the listener.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often files are looked at, at most.
	lookEvery = time.Second

	// A certificate expires soon when less than a quarter of its time is left, but
	// not earlier than this before its end. So one of a day that is renewed each
	// night is no cause for alarm.
	soon = 14 * 24 * time.Hour

	// patience is how long a connection waits for a look at the files, and reloadTime
	// how long Reload does. A file system may hang; the look goes on without them.
	patience   = 100 * time.Millisecond
	reloadTime = 5 * time.Second
)

// File is a file in PEM, and the setting that names it, for messages.
type File struct{ Setting, Path string }

// Files are the files of one side of TLS. Each may have an empty path, but Cert
// and Key have to be there together. They may be one file.
type Files struct {
	Cert File // what this side shows: its certificate, and those that lead to its issuer
	Key  File // of that certificate; without a passphrase
	CA   File // whom the other side's certificate has to come from
}

// Source has the certificates of files. When one of these is replaced, its
// certificates are, within a second of the next connection. Files that can't be
// used change nothing. Its methods are safe for concurrent use.
type Source struct {
	files  Files
	log    *slog.Logger
	opened time.Time

	inForce atomic.Pointer[set]
	next    atomic.Int64 // when the files may be looked at again: a time.Duration since opened

	read func(Files) (*set, error)
	slow atomic.Bool // whether it was logged that a look takes long, since the last good one

	mu     sync.Mutex // held during a look
	wrong  string     // what is wrong with the files as they are now
	warned expiry     // of what is in force
}

// expiry is how near its end a certificate is.
type expiry int

const (
	far expiry = iota
	near
	over
)

// Open reads the files. Its error names the setting and the file at fault. A
// certificate that has expired, or will soon, is only logged.
func Open(files Files, log *slog.Logger) (*Source, error) {
	first, err := read(files)
	if err != nil {
		return nil, err
	}
	s := &Source{files: files, log: log, opened: time.Now(), read: read}
	s.inForce.Store(first)
	s.next.Store(int64(lookEvery))
	s.warn(first)
	return s, nil
}

// Server returns the configuration of a listener, which needs Cert and Key. Each
// handshake goes by the files as they are then. With a CA, clients have to show a
// certificate that it issued, each time they connect: no session is resumed, so
// that one who is not to come in any more can't by what he was given earlier.
func (s *Source) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current().server, nil
		},
	}
}

// Client returns the configuration of one connection to a server, by the files
// as they are now. It is the caller's. The server's name is not in it. Without a
// CA, the system's are trusted.
func (s *Source) Client() *tls.Config { return s.current().client.Clone() }

// Expiry returns when the first of the certificates in Cert expires; the zero
// time if there are none.
func (s *Source) Expiry() time.Time { return s.current().ends }

// Admits returns why a listener would not let in who shows Cert as a client, or nil.
func (s *Source) Admits() error {
	c := s.current().server
	if c.ClientCAs == nil {
		return nil
	}
	chain := c.Certificates[0]
	others := x509.NewCertPool()
	for _, der := range chain.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			others.AddCert(cert)
		}
	}
	_, err := chain.Leaf.Verify(x509.VerifyOptions{Roots: c.ClientCAs, Intermediates: others, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// Reload reads the files now, whether they look changed or not. It returns when they
// are read, or after five seconds.
func (s *Source) Reload() {
	s.next.Store(int64(time.Since(s.opened) + lookEvery))
	s.await(reloadTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.look(true)
	})
}

// current looks at the files if it is time to, and returns what is in force.
// One connection looks; those that come meanwhile don't wait for it, since a file
// system may take its time. While a look hangs no other begins: each would keep a thread.
func (s *Source) current() *set {
	now := time.Since(s.opened)
	if next := s.next.Load(); int64(now) >= next && s.next.CompareAndSwap(next, int64(now+lookEvery)) {
		s.await(patience, func() {
			if s.mu.TryLock() {
				defer s.mu.Unlock()
				s.look(false)
			}
		})
	}
	return s.inForce.Load()
}

// await calls look and waits for it, but no longer than that. What it finds later is
// in force from then on.
func (s *Source) await(longest time.Duration, look func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		look()
	}()
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		if !s.slow.Swap(true) {
			s.log.Warn("reading certificates takes long, the former ones stay in force meanwhile", "file", s.files.any().Path)
		}
	}
}

// look takes the files in, if they have changed or that is not known. Files that
// can't be used are tried again at each look, and logged once. s.mu is held.
func (s *Source) look(changed bool) {
	if !changed && s.wrong == "" && same(s.inForce.Load().stamps, stamp(s.files)) {
		s.slow.Store(false)
		s.warn(s.inForce.Load())
		return
	}
	fresh, err := s.read(s.files)
	if err != nil {
		if s.wrong != err.Error() {
			s.wrong = err.Error()
			s.log.Warn("certificates not replaced, the former ones stay in force", "error", s.wrong)
		}
		s.warn(s.inForce.Load())
		return
	}
	s.wrong, s.warned = "", far
	s.slow.Store(false)
	s.inForce.Store(fresh)
	attrs := []any{"file", s.files.any().Path}
	if !fresh.ends.IsZero() {
		attrs = append(attrs, "expires", fresh.ends)
	}
	s.log.Info("certificates replaced", attrs...)
	s.warn(fresh)
}

// warn logs that certificates expire soon, and that they have expired.
func (s *Source) warn(c *set) {
	now := s.warned
	switch left := time.Until(c.ends); {
	case c.ends.IsZero():
	case left <= 0:
		now = over
	case left < min(soon, c.lasts/4):
		now = near
	}
	if now == s.warned {
		return
	}
	s.warned = now
	text := map[expiry]string{near: "certificate expires soon", over: "certificate has expired"}[now]
	s.log.Warn(text, "setting", s.files.Cert.Setting, "file", s.files.Cert.Path, "expires", c.ends)
}

// any returns one of the files that there are.
func (f Files) any() File {
	if f.Cert.Path != "" {
		return f.Cert
	}
	return f.CA
}

// stamp returns what tells that a file is another one than before: nil for each
// that can't be found. It follows links.
func stamp(f Files) (stamps [3]os.FileInfo) {
	for i, file := range []File{f.Cert, f.Key, f.CA} {
		if file.Path != "" {
			stamps[i], _ = os.Stat(file.Path) // reading it says what is wrong
		}
	}
	return stamps
}

func same(a, b [3]os.FileInfo) bool {
	for i := range a {
		switch x, y := a[i], b[i]; {
		case x == nil && y == nil:
		case x == nil || y == nil,
			!os.SameFile(x, y), !x.ModTime().Equal(y.ModTime()), x.Size() != y.Size():
			return false
		}
	}
	return true
}
