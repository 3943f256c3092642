//go:build unix

package secure_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goodjobtech/candado/cmd/candado/secure/certtest"
)

// silence puts a pipe in a file's place. With a writer who says nothing, reading it hangs.
func silence(t *testing.T, path string, writer bool) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if !writer {
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

// within fails the test if do takes much longer than a handshake may wait for files.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

// TestFileThatCannotBeReadToTheEndHoldsNobodyUp: as on a file system that hangs.
func TestFileThatCannotBeReadToTheEndHoldsNobodyUp(t *testing.T) {
	for name, writer := range map[string]bool{"nobody writes": false, "a writer is silent": true} {
		t.Run(name, func(t *testing.T) {
			ca, dir := certtest.New(t, "ca"), t.TempDir()
			first, second := ca.Issue(certtest.Wish{}), ca.Issue(certtest.Wish{})
			cert, key := first.Write(t, dir, "a")
			s, log := open(t, files(cert, key, ""))
			silence(t, filepath.Join(dir, "a.key"), writer)
			for range 3 {
				time.Sleep(1010 * time.Millisecond) // files are not read in virtual time
				within(t, "a handshake", func() {
					state, err := shake(t, s.Server(), &tls.Config{InsecureSkipVerify: true})
					if err != nil {
						t.Error(err)
						return
					}
					isOf(t, state.PeerCertificates[0], first)
				})
			}
			within(t, "Reload", s.Reload)
			for _, text := range []string{"takes long", "not replaced"} {
				if n := strings.Count(log.String(), text); n > 1 {
					t.Errorf("logged %d times: %s", n, text)
				}
			}
			second.Write(t, dir, "a")
			within(t, "Reload", s.Reload)
			isOf(t, shown(t, s), second)
		})
	}
}
