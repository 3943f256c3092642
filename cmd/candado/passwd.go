package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/goodjobtech/candado/locks/access"
)

// passwdCommand is `candado passwd`, which makes a line of the users file.
func (p program) passwdCommand() *cobra.Command {
	var operations, patterns string
	cmd := &cobra.Command{
		Use:   "passwd name",
		Short: "Make a line of the users file, with the password that stdin brings",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 { // which are not shown: the second may be the password
				return usageError{errors.New("candado passwd takes one argument, the user's name, and the password from stdin")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return p.passwd(args[0], operations, strings.Fields(patterns))
		},
	}
	cmd.Flags().StringVar(&operations, "operations", "all", "What the user may do: acquire, release, heartbeat, read, force, with commas between; or all.")
	cmd.Flags().StringVar(&patterns, "patterns", "*", "The locks with which: patterns of their IDs, with blanks between.")
	return cmd
}

func (p program) passwd(name, operations string, patterns []string) error {
	if _, err := access.Line(name, "x", operations, patterns); err != nil {
		return usageError{err} // before the password is asked for
	}
	password, err := p.readPassword()
	if err != nil {
		return err
	}
	line, err := access.Line(name, password, operations, patterns)
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintln(p.stdout, line)
	return err
}

// readPassword reads a password twice from a terminal, without showing it, or the first
// line of what else stdin is.
func (p program) readPassword() (string, error) {
	f, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return firstLine(p.stdin)
	}
	first, err := p.prompt(f, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := p.prompt(f, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

// prompt reads a line from a terminal without showing it. A signal that ends candado
// meanwhile leaves the terminal as it was.
func (p program) prompt(f *os.File, text string) (string, error) {
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	signal.Notify(p.signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(p.signals)
	defer fmt.Fprintln(p.stderr)
	fmt.Fprint(p.stderr, text)
	type result struct {
		line []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		read <- result{line, err}
	}()
	select {
	case r := <-read:
		return string(r.line), r.err
	case s := <-p.signals:
		return "", errors.Join(fmt.Errorf("signal %v ended it", s), term.Restore(fd, before))
	}
}
