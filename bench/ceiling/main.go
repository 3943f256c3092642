// Command ceiling is a server that does nothing, on the same libraries as
// candado: what no service built on them can be faster than.
//
//	ceiling resp    answers LOCK.ACQUIRE and LOCK.RELEASE with 1, by redcon
//	ceiling http    answers every request with candado's JSON for a held lock, by fasthttp
//
// It listens on a free port of the loopback, says so as candado does, and ends
// at SIGTERM.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/tidwall/redcon"
	"github.com/valyala/fasthttp"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != "resp" && os.Args[1] != "http" {
		fmt.Fprintln(os.Stderr, "usage: ceiling resp|http")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "ceiling:", err)
		os.Exit(1)
	}
}

func run(protocol string) error {
	debug.SetGCPercent(400) // what it throws away is no part of a ceiling
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	if protocol == "resp" {
		go func() { failed <- redcon.Serve(ln, answer, func(redcon.Conn) bool { return true }, nil) }()
	} else {
		s := &fasthttp.Server{Handler: constant, Logger: quiet{}}
		go func() { failed <- s.Serve(ln) }()
	}
	fmt.Fprintf(os.Stderr, "msg=listening protocol=%s addr=%s\n", protocol, ln.Addr())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	select {
	case err := <-failed:
		return err
	case <-stop:
		return nil
	}
}

func answer(conn redcon.Conn, cmd redcon.Command) {
	switch string(cmd.Args[0]) {
	case "LOCK.ACQUIRE", "LOCK.RELEASE":
		conn.WriteInt(1)
	default:
		conn.WriteError("ERR unknown command")
	}
}

var body = []byte(`{"error":"","state":1,"success":true}`)

func constant(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.SetBodyRaw(body)
}

// quiet keeps connections that clients close from being logged.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
