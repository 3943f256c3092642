package secure

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	// fileBytes bounds a file: the certificates that a system trusts take a quarter of it.
	fileBytes = 1 << 20

	// pipeTime is how long what is no file but a pipe may take to say all.
	pipeTime = time.Second
)

var (
	errLarge  = errors.New("it has more than 1 MiB")
	errSilent = errors.New("it is a pipe, and its writer does not come to an end")
)

// OpenFile opens a file to be read. A pipe that nobody writes to is empty, and one whose
// writer does not come to an end fails after patience, with os.ErrDeadlineExceeded: who
// opens a pipe as a file waits for ever.
func OpenFile(path string, patience time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	_ = f.SetReadDeadline(time.Now().Add(patience)) // fails on what is a file, which needs none
	return f, nil
}

// ReadFile returns what a file holds. One that is a pipe is not waited for. Its errors
// name no content.
func ReadFile(path string) ([]byte, error) {
	f, err := OpenFile(path, pipeTime)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileBytes+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &os.PathError{Op: "read", Path: path, Err: errSilent}
	case err != nil:
		return nil, err
	case len(text) > fileBytes:
		return nil, &os.PathError{Op: "read", Path: path, Err: errLarge}
	}
	return text, nil
}
