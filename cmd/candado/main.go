// Command candado is a distributed lock service that speaks RESP and HTTP.
//
// This package joins the others: it reads flags and environment (settings.go,
// config.go), offers the commands (command.go, help.go), runs the service
// (service.go) and stops it on a signal. What a lock is, it leaves to the
// packages that it joins.
package main

import (
	"fmt"
	"io"
	"os"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the service or the command failed
	exitUsage  = 2 // a bad flag, variable or command; nothing was started
)

func main() {
	p := program{
		lookupEnv: os.LookupEnv,
		stdin:     os.Stdin,
		stdout:    os.Stdout,
		stderr:    os.Stderr,
		signals:   make(chan os.Signal, 2),
	}
	os.Exit(p.run(os.Args[1:]))
}

// program is one run of candado: what the process would otherwise take from
// global state.
type program struct {
	lookupEnv      func(string) (string, bool)
	stdin          io.Reader
	stdout, stderr io.Writer

	// signals brings the wish to stop. Buffered for two: the second one, sent
	// while the service drains, ends it at once.
	signals chan os.Signal
}

// run executes the command that args name and returns the exit code. A failure
// is told in one line on stderr.
func (p program) run(args []string) int {
	root := p.rootCommand()
	root.SetArgs(append([]string{}, args...)) // never nil: cobra would take os.Args
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(p.stderr, "candado: %s\n", oneLine(redact(err.Error())))
	return exitCode(err)
}
