package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// listen binds addr, for the flag of that name.
//
// Keep-alive probes find the client whose machine is gone without a word: after
// 15 s of silence and three unanswered probes its connection is closed, and
// what hangs on the connection with it.
func listen(flag, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     15 * time.Second,
		Interval: 5 * time.Second,
		Count:    3,
	}}
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, addr, err)
	}
	return l, nil
}
