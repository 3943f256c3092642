package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/goodjobtech/candado/cmd/candado/secure"
	"github.com/goodjobtech/candado/locks/access"
)

// This file makes the list of users of what the settings say, at the start and again
// at each SIGHUP, and keeps candado from listening where everybody could come in.

// secret is a text that shows in no log and no message.
type secret string

// String returns stars.
func (secret) String() string { return "***" }

// GoString returns stars.
func (secret) GoString() string { return "***" }

// MarshalText returns stars.
func (secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

const (
	maxSecretFile = 64 << 10
	secretTime    = 5 * time.Second // for a pipe to be read
	othersRead    = fs.FileMode(0o004)
)

// authenticates reports whether a client has to prove who it is: by a password, or a certificate.
func (c Config) authenticates() bool {
	return c.Password != "" || c.PasswordFile != "" || c.UsersFile != "" || c.TLS.ClientCA != ""
}

// users reads who may do what; nil if there are no names and passwords. A file that
// others may read is only logged: where it is mounted, one can't always say who may.
func (c Config) users(log *slog.Logger) (list *access.List, err error) {
	if c.UsersFile != "" {
		if list, err = usersFile(c.UsersFile, log); err != nil {
			return nil, fmt.Errorf("--users-file %s: %w", c.UsersFile, err)
		}
	}
	flag, password := "--password", string(c.Password)
	if c.PasswordFile != "" {
		flag = "--password-file " + c.PasswordFile
		if password, err = passwordFile(c.PasswordFile, log); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
	}
	if c.Password == "" && c.PasswordFile == "" {
		return list, nil
	}
	if list, err = list.WithPassword(password); err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return list, nil
}

func usersFile(path string, log *slog.Logger) (*access.List, error) {
	f, err := openSecret(path, log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := access.ReadList(f)
	return list, bare(err)
}

// passwordFile returns the first line of a file.
func passwordFile(path string, log *slog.Logger) (string, error) {
	f, err := openSecret(path, log)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return firstLine(f)
}

// openSecret opens a file. Its error says why it can't be, without its path. A named
// pipe that nobody writes to is empty, and one that somebody holds open fails in the
// end: else the start could not be stopped, and no SIGHUP would be heard any more.
func openSecret(path string, log *slog.Logger) (*os.File, error) {
	f, err := secure.OpenFile(path, secretTime)
	if err != nil {
		return nil, bare(err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode()&othersRead != 0 {
		log.Warn("every user of this machine may read a file with passwords", "file", path, "mode", info.Mode().String())
	}
	return f, nil
}

func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// firstLine returns the first line, without its end.
func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxSecretFile)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", bare(err)
	}
	return withoutEnd(line), nil
}

// withoutEnd returns a line without its end.
func withoutEnd(line string) string {
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
}

// checkExposure returns a usageError if a listener can be reached from other machines,
// and nobody has to prove who he is there. web may be nil.
func (c Config) checkExposure(resp, web net.Listener) error {
	if c.Insecure || c.authenticates() {
		return nil
	}
	flags := []string{"--listen", "--http"}
	for i, l := range []net.Listener{resp, web} {
		if l != nil && !onLoopback(l.Addr()) {
			return usageError{fmt.Errorf("%s would let everybody in who reaches %v: set CANDADO_PASSWORD (or --password, --password-file, --users-file, --tls-client-ca), or --insecure if that is meant",
				flags[i], l.Addr())}
		}
	}
	return nil
}

// onLoopback reports whether only this machine can reach the address. A name that was
// given is an address by now; the wildcard is none of the loopback.
func onLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// reloadOn reads the files again whenever hangups brings a signal, until stop is called.
// It does so in a goroutine of its own: reading may hang, and the end of the service is
// not to wait for it.
func (m *Main) reloadOn(hangups <-chan os.Signal) (stop func()) {
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-hangups:
				m.reload()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

// reload puts in force what the files have now: certificates, users and passwords. What
// can't be read stays as it was.
func (m *Main) reload() {
	m.certs.reload()
	if m.guard == nil {
		m.Log.Info("there are no users to read again, and no password")
		return
	}
	list, err := m.Config.users(m.Log)
	m.meters.UsersRead(err == nil)
	if err != nil {
		m.Log.Error("users and passwords were not read again, those before stay in force", "error", err.Error())
		return
	}
	gone := m.guard.Replace(list)
	m.Log.Info("users and passwords were read again", "users", list.Len(), "ended", gone)
}
