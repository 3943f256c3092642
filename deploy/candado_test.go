// Package deploy_test checks what this directory holds against the program that
// it deploys: each test builds on the candado of the tree around it.
package deploy_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	top         = ".." // of the tree
	testVersion = "v0-test"
	patience    = 20 * time.Second // how long a test waits for what must happen
)

// image is what TestMain makes of the Dockerfile: its root file system, without
// any container tool.
var image builtImage

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "candado-deploy")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if image, err = buildImage(dir); err != nil {
		fmt.Fprintln(os.Stderr, "building what the Dockerfile says:", err)
		return 1
	}
	return m.Run()
}

// setting is one of the program's, as `candado help` explains it.
type setting struct {
	flag, variable, help, deflt string
}

var (
	settingLine = regexp.MustCompile(`^  --(\S+) ?(\S*) +(CANDADO_\S+)$`)
	defaultNote = regexp.MustCompile(`^(.*) Default: (.*)$`)
	someSetting = regexp.MustCompile(`CANDADO_[A-Z][A-Z_]*[A-Z]`)
)

// settings returns the program's settings, in its order.
func settings(t *testing.T) []setting {
	t.Helper()
	out, err := exec.Command(image.binary(), "help").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	var all []setting
	for i, line := range lines {
		m := settingLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		s := setting{flag: m[1], variable: m[3], help: strings.TrimSpace(lines[i+1])}
		if note := defaultNote.FindStringSubmatch(s.help); note != nil {
			s.help, s.deflt = note[1], note[2]
		} else if m[2] == "" {
			s.deflt = "false" // a switch
		}
		all = append(all, s)
	}
	if len(all) < 10 {
		t.Fatalf("candado help explains %d settings:\n%s", len(all), out)
	}
	return all
}

// defaultOf returns the default of a variable.
func defaultOf(t *testing.T, variable string) string {
	t.Helper()
	for _, s := range settings(t) {
		if s.variable == variable {
			return s.deflt
		}
	}
	t.Fatalf("candado has no setting %s", variable)
	return ""
}

// read returns a file of this directory.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mustSeconds reads a duration, also one that is a number of seconds.
func mustSeconds(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// freeAddr returns an address of the loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// running is a program that a test has started.
type running struct {
	cmd    *exec.Cmd
	exited chan error
	log    bytes.Buffer // to be read when it has exited
}

// start starts cmd. What is left of it is killed at the end of the test.
func start(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{cmd: cmd, exited: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &r.log, &r.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		r.exited <- cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended already
		<-done
	})
	return r
}

// await tries until what succeeds, or the program has ended.
func (r *running) await(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		select {
		case end := <-r.exited:
			t.Fatalf("it ended (%v) before %s:\n%s", end, what, r.log.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s: %v", what, err)
		}
	}
}

// stop sends SIGTERM, and fails the test if the exit code that follows is not 0.
func (r *running) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.exited:
		if err != nil {
			t.Errorf("after SIGTERM: %v\n%s", err, r.log.String())
		}
	case <-time.After(patience):
		t.Fatal("SIGTERM has not ended it")
	}
}

// run runs the program of the tree with an environment of these variables alone.
func run(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), image.binary(), args...)
	cmd.Env = env
	return cmd
}

// ready returns nil when the candado of that environment answers its health check.
func ready(t *testing.T, env []string) error {
	t.Helper()
	if out, err := run(t, env, "healthcheck").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// binary returns the path of the built program.
func (i builtImage) binary() string {
	return filepath.Join(i.root, i.config.entrypoint[0])
}
