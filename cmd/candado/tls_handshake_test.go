package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goodjobtech/candado/cmd/candado/secure/certtest"
)

// hello returns a TLS record that holds a part of a client's hello of 60 KB.
func hello(first bool) []byte {
	record := make([]byte, 5+16<<10)
	copy(record, []byte{22, 3, 1, 0x40, 0})
	if first {
		copy(record[5:], []byte{1, 0, 0xea, 0x60})
	}
	return record
}

// TestHandshakeIsBounded: what a client sends before it is let in is kept in memory.
func TestHandshakeIsBounded(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	m := openMain(t, append(s.args, "--request-timeout=1h")...)
	for protocol := range good {
		conn, err := net.Dial("tcp", m.Addr(protocol))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		for i := range 3 {
			if _, err := conn.Write(hello(i == 0)); err != nil {
				break // it may have been ended
			}
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: after 48 KB of a hello the connection is still open", protocol)
		}
	}
}

// TestClientNeedNotWaitForTheHandshakesEnd: it may send much right behind its part.
func TestClientNeedNotWaitForTheHandshakesEnd(t *testing.T) {
	s := withTLS(t, certtest.Wish{})
	m := openMain(t, s.args...)
	const many = 10_000
	for protocol, request := range map[string]string{"resp": "PING\r\n", "http": "GET /healthz HTTP/1.1\r\nHost: candado\r\n\r\n"} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := s.client()
			config.MaxVersion = version
			conn := dialSecured(t, m.Addr(protocol), config)
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(conn, strings.Repeat(request, many))
				sent <- err
			}()
			in := bufio.NewReader(conn)
			for answers := 0; answers < many; {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatalf("%s, %s: %v after %d answers", protocol, tls.VersionName(version), err, answers)
				}
				if strings.HasSuffix(strings.TrimSpace(line), good[protocol]) {
					answers++
				}
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}
	}
}
