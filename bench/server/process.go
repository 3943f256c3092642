// Package server runs the servers that are measured, candado and Redis, as
// processes on free loopback ports, and reads what they have consumed.
package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// patience is how long a server may take to answer, and to stop when asked to.
const patience = 10 * time.Second

// Process is a server that runs. Stop it.
type Process struct {
	Name string
	Addr string // host:port, where it speaks RESP
	HTTP string // host:port, where it speaks HTTP; empty: nowhere

	cmd    *exec.Cmd
	log    string // the file that takes what it writes
	exited chan struct{}
}

// launch starts a program whose output goes to a file in dir. The caller has to
// find out when it is ready, and its address.
func launch(dir, name, program string, args ...string) (*Process, error) {
	p := &Process{Name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	// A group of its own: Ctrl-C is for the benchmark, which then stops its
	// servers one by one.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is of no interest, Exited tells that it did
		close(p.exited)
	}()
	return p, nil
}

// await repeats ready until it is true.
func (p *Process) await(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !ready() {
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended at its start: %s", p.Name, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s", p.Name, ctx.Err(), p.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited reports whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Stop asks the process to end, and kills it if it does not. It returns when the
// process has ended.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	select {
	case <-p.exited:
		return
	case <-time.After(patience):
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// tail returns the end of what the process wrote.
func (p *Process) tail() string {
	const most = 2000
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(len(text)-most, 0):])
}
