// Package redistest starts real Redis servers for tests, makes them fail, and
// stands between them and their clients. It is for tests only.
package redistest

import (
	"bufio"
	_ "embed"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// Server is a redis-server process on a free loopback port. It belongs to one
// test and ends with it.
type Server struct {
	Addr string // host:port

	t      testing.TB
	args   []string
	env    []string
	files  []*os.File // that the process has from 3 on
	clock  *os.File   // what SetClock writes; nil without WithClock
	cmd    *exec.Cmd
	exited chan struct{} // closed once cmd has ended
}

// Start runs redis-server, with nothing persisted, and waits until it answers.
// args are further options, such as "--appendonly", "yes".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return (&Server{t: t}).start(args)
}

// StartWithClock is Start for a server whose clock the test can step.
func StartWithClock(t testing.TB, args ...string) *Server {
	t.Helper()
	library, err := clockLibrary()
	if err != nil {
		t.Fatal(err)
	}
	offset, err := os.Create(filepath.Join(t.TempDir(), "offset"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = offset.Close() })
	if _, err := offset.Write(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, clock: offset, env: []string{"LD_PRELOAD=/proc/self/fd/3", "CANDADO_TEST_CLOCK=" + offset.Name()}, files: []*os.File{library}}
	return s.start(args)
}

// clockLibrary returns the clock that is preloaded, a file without a name: it is compiled once,
// for a busy machine takes its time for that.
var clockLibrary = sync.OnceValues(func() (*os.File, error) {
	dir, err := os.MkdirTemp("", "candado-clock")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling the clock needs a C compiler (make test installs it): %w\n%s", err, out)
	}
	return os.Open(library)
})

func (s *Server) start(args []string) *Server {
	t := s.t
	t.Helper()
	t.Cleanup(s.Kill)
	for range 5 { // somebody may listen there all the same
		port := Port(t)
		s.Addr = "127.0.0.1:" + port
		s.args = append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "",
			"--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0", "--loglevel", "warning"}, args...)
		s.Launch()
		err := s.await()
		if err == nil {
			return s
		}
		t.Log(err)
		s.Kill()
	}
	t.Fatal("redis-server could not be started on a free port")
	return nil
}

// Port returns a loopback port on which the test can have a server listen, now and after
// a time without one: until its end, no connection and no other listener that takes any
// port is given that one. Nobody listens there, so connecting is refused.
func Port(t testing.TB) string {
	t.Helper()
	_, port := bound(t)
	return port
}

// bound returns a socket at a loopback port, which is closed with the test.
func bound(t testing.TB) (fd int, port string) {
	t.Helper()
	syscall.ForkLock.RLock() // so that no process that is started has it, too
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	// A server that says so, too, may listen where others are only bound.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, strconv.Itoa(name.(*syscall.SockaddrInet4).Port)
}

// HostPort returns the two parts of the server's address.
func (s *Server) HostPort() (host, port string) {
	host, port, _ = net.SplitHostPort(s.Addr)
	return host, port
}

// URL returns the server's address as a redis:// URL.
func (s *Server) URL() string { return "redis://" + s.Addr }

// Restart runs the server again after Kill, on the same port, and waits until
// it answers and has loaded its data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Launch()
	if err := s.await(); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until the server answers.
func (s *Server) await() error {
	timeout := time.After(20 * time.Second)
	for {
		line, err := s.try("PING")
		select {
		case <-s.exited:
			return fmt.Errorf("redis-server on %s ended by itself", s.Addr)
		case <-timeout:
			return fmt.Errorf("redis-server on %s does not answer: %q, %v", s.Addr, line, err)
		case <-time.After(5 * time.Millisecond):
			if err == nil && strings.HasPrefix(line, "+PONG") {
				return nil
			}
		}
	}
}

// Launch runs the server again after Kill and does not wait for it.
func (s *Server) Launch() {
	s.t.Helper()
	cmd, exited := exec.Command("redis-server", s.args...), make(chan struct{})
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), s.env...), s.files
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, // should the test die without its clean-up
		Setpgid:   true,            // for Kill
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("redis-server is needed (make test installs it): %v", err)
	}
	s.cmd, s.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // it is killed
		close(exited)
	}()
}

// Kill ends the server at once, as a power cut would, together with the children
// by which it saves: they would go on writing to its directory.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	group := -s.cmd.Process.Pid
	select {
	case <-s.exited: // by itself; its number may be another's by now
		s.cmd = nil
		return
	default:
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-s.exited
	for range 200 { // nobody here hears of the children's end
		if syscall.Kill(group, 0) != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.cmd = nil
}

// Pause stops the process; it keeps its connections and answers nothing.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// SetClock makes the server's clock differ from the real one by offset, from
// now on and at once.
func (s *Server) SetClock(offset time.Duration) {
	s.t.Helper()
	s.writeClock(0, offset.Microseconds())
	s.writeClock(8, 0)
}

// FreezeClock makes the server's clock show that time, and stand still.
func (s *Server) FreezeClock(at time.Time) {
	s.t.Helper()
	s.writeClock(8, at.UnixMicro())
}

func (s *Server) writeClock(at, micros int64) {
	s.t.Helper()
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(micros))
	if _, err := s.clock.WriteAt(b[:], at); err != nil {
		s.t.Fatal(err)
	}
}

// Do sends one inline command and returns the first line of the reply, such as
// "+OK". An error reply fails the test.
func (s *Server) Do(command string) string {
	s.t.Helper()
	line, err := s.try(command)
	if err != nil || strings.HasPrefix(line, "-") {
		s.t.Fatalf("%s: %s %v", command, line, err)
	}
	return line
}

func (s *Server) try(command string) (string, error) {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}
