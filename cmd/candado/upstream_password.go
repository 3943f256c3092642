package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

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

// upstreamSecret is a password that may change. While its file can't be read, the former
// one goes on. Safe for concurrent use.
type upstreamSecret struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	word  string
	wrong string // what is wrong with the file, as it was logged
}

func (p *upstreamSecret) read() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	word, err := readPassword(p.path)
	switch {
	case err == nil:
		p.word, p.wrong = word, ""
	case err.Error() != p.wrong:
		p.wrong = err.Error()
		p.log.Warn("upstream's password not read again, the former one stays in force", "setting", "--upstream-password-file", "error", p.wrong)
	}
	return p.word, nil
}

// readPassword returns what the file holds, without the end of its line.
func readPassword(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err // it names the file
	}
	word := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	switch {
	case word == "":
		return "", fmt.Errorf("%s: %w", path, errEmpty)
	case strings.ContainsAny(word, "\r\n"):
		return "", fmt.Errorf("%s: %w", path, errors.New("it has more than one line"))
	}
	return word, nil
}
