//go:build unix

package upstream

import (
	"errors"
	"syscall"
)

// noneArrived reports whether a read of the socket would have to wait.
func noneArrived(fd uintptr) bool {
	_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
}
