package hangup

import (
	"encoding/binary"
	"syscall"
)

// tcpEstablished is the state of a connection that neither end has closed
// (include/net/tcp_states.h of Linux).
const tcpEstablished = 1

// closing reports whether the other end has closed the connection or its half of
// it, as the kernel knows, also behind bytes that nobody has read. An end that
// is itself behind bytes which had no room is not known.
func (r *Reader) closing() bool {
	raw, _, ok := r.socket()
	if !ok {
		return false
	}
	closing := false
	_ = raw.Control(func(fd uintptr) {
		// The first byte of struct tcp_info is the state; more than four bytes are not asked for.
		info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		closing = err == nil && firstByte(info) != tcpEstablished
	})
	return closing
}

// firstByte returns what stands first in memory, whatever the byte order.
func firstByte(n int) byte {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(n))
	return b[0]
}
