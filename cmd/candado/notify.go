package main

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
)

// What candado tells the service manager, in the words of systemd's sd_notify(3).
const (
	notifyReady    = "READY=1"    // every listener is open
	notifyStopping = "STOPPING=1" // the drain has begun
)

// notifier returns a function that sends a state to the service manager that has
// started candado: a datagram to the socket that NOTIFY_SOCKET names. Where none
// is named, the function does nothing. A state that can't be sent is only logged:
// whether it serves is more than who knows of it.
func notifier(lookupEnv func(string) (string, bool), log *slog.Logger) func(state string) {
	socket, _ := lookupEnv("NOTIFY_SOCKET")
	if socket == "" {
		return func(string) {}
	}
	return func(state string) {
		if err := send(socket, state); err != nil {
			log.Warn("the service manager was not told", "state", state, "error", err.Error())
		}
	}
}

// send sends one datagram to a Unix socket. A name that begins with @ is one of
// Linux's abstract names, for package net as for systemd.
func send(socket, state string) error {
	if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") {
		return fmt.Errorf("NOTIFY_SOCKET %q is neither a path nor an abstract name", socket)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
