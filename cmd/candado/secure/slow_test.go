package secure

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/cmd/candado/secure/certtest"
)

// TestHungFileSystemHoldsUpNobodyForLong: nor does each connection leave a thread there.
func TestHungFileSystemHoldsUpNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, dir := certtest.New(t, "ca"), t.TempDir()
		cert, key := ca.Issue(certtest.Wish{}).Write(t, dir, "a")
		var log bytes.Buffer
		s, err := Open(Files{Cert: File{"--tls-cert", cert}, Key: File{"--tls-key", key}}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		var looks atomic.Int32
		hangs := make(chan struct{})
		s.read = func(f Files) (*set, error) {
			looks.Add(1)
			<-hangs
			return read(f)
		}
		former := s.current()
		ca.Issue(certtest.Wish{}).Write(t, dir, "a")
		for i, most := range []time.Duration{patience, 0, 0} {
			time.Sleep(lookEvery)
			began := time.Now()
			s.current()
			if took := time.Since(began); took != most {
				t.Errorf("connection %d waited %v, want %v", i, took, most)
			}
		}
		if s.current() != former || looks.Load() != 1 || strings.Count(log.String(), "takes long") != 1 {
			t.Errorf("%d looks; the log is\n%s", looks.Load(), log.String())
		}
		close(hangs)
		synctest.Wait()
		if s.current() == former || !strings.Contains(log.String(), "certificates replaced") {
			t.Errorf("what was found late is not in force; the log is\n%s", log.String())
		}
	})
}

func TestReloadGivesUpOnAHungFileSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		s := &Source{opened: time.Now(), log: slog.New(slog.DiscardHandler), read: func(Files) (*set, error) {
			<-hangs
			return new(set), nil
		}}
		s.Reload()
		if took := time.Since(s.opened); took != reloadTime {
			t.Errorf("it took %v", took)
		}
		close(hangs)
	})
}
