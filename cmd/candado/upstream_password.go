package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/goodjobtech/candado/cmd/candado/secure"
)

var errSlowFile = errors.New("reading it takes long")

// upstreamPassword returns how the password in a file is read anew; nil without
// a file. A file that can't be read now is an error.
func upstreamPassword(path string, log *slog.Logger) (func() (string, error), error) {
	if path == "" {
		return nil, nil
	}
	word, err := readPassword(path)
	if err != nil {
		return nil, err
	}
	p := &upstreamSecret{path: path, log: log, word: word}
	return p.read, nil
}

// passwordPatience is how long a connection waits for the file: its server has a
// time-out to answer in, and the file system may hang.
const passwordPatience = 100 * time.Millisecond

// upstreamSecret is a password that may change. While its file can't be read, the former
// one goes on. Safe for concurrent use.
type upstreamSecret struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	word    string
	wrong   string        // what is wrong with the file, as it was logged
	reading chan struct{} // closed when the file is read; nil while nobody reads it
}

// read returns the password that the file has now. It is read by one at a time, since
// each that hangs keeps a thread.
func (p *upstreamSecret) read() (string, error) {
	done := p.begin()
	timer := time.NewTimer(passwordPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	return p.latest(done), nil
}

// latest returns the password in force, and notes that the file takes long if it is still
// read, unless something is known to be wrong with it.
func (p *upstreamSecret) latest(done chan struct{}) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading == done && p.wrong == "" {
		p.refuse(errSlowFile)
	}
	return p.word
}

// begin has the file read, if nobody reads it.
func (p *upstreamSecret) begin() (done chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading != nil {
		return p.reading
	}
	read := make(chan struct{})
	p.reading = read
	go func() {
		p.note(readPassword(p.path))
		p.mu.Lock()
		defer p.mu.Unlock()
		p.reading = nil
		close(read)
	}()
	return read
}

// note takes in what reading came to.
func (p *upstreamSecret) note(word string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.refuse(err)
		return
	}
	p.word, p.wrong = word, ""
}

// refuse logs why the former password stays. p.mu is held.
func (p *upstreamSecret) refuse(err error) {
	if err.Error() != p.wrong {
		p.wrong = err.Error()
		p.log.Warn("upstream's password not read again, the former one stays in force", "setting", "--upstream-password-file", "error", p.wrong)
	}
}

// readPassword returns what the file holds, without the end of its line.
func readPassword(path string) (string, error) {
	text, err := secure.ReadFile(path)
	if err != nil {
		return "", err // it names the file
	}
	word := withoutEnd(string(text))
	switch {
	case word == "":
		return "", fmt.Errorf("%s: %w", path, errEmpty)
	case strings.ContainsAny(word, "\r\n"):
		return "", fmt.Errorf("%s: %w", path, errors.New("it has more than one line"))
	}
	return word, nil
}
