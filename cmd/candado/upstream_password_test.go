//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestPasswordFileThatHangsHoldsNoConnectionUp: connections to the upstream have its
// time-out, and those who wait for a lock have no more.
func TestPasswordFileThatHangsHoldsNoConnectionUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	put := func(word string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(word+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	var log bytes.Buffer
	read, err := upstreamPassword(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	silent, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if word, err := read(); word != "first" || err != nil {
				t.Errorf("read %q, %v", word, err)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("connections wait for the file")
	}
	if n := strings.Count(log.String(), "password not read again"); n != 1 || strings.Contains(log.String(), "first") {
		t.Errorf("logged:\n%s", &log)
	}
	put("second")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if word, _ := read(); word == "second" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the file's password is not taken in")
		}
	}
}
