package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// jail is a way to run a program of the image as a container would: in the image's
// root file system, read-only, with no more rights than any user has.
type jail struct {
	argv  []string // the beginning of a command line, which the program's follows
	lacks string   // what this machine does not let the test do
}

// The scripts get the root and the user, then the program. They replace
// themselves by it, so that a signal reaches it.
const (
	usual    = `export PATH=/usr/sbin:/usr/bin:/sbin:/bin && `
	readOnly = usual + `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && `
	asUser   = `user=$1; shift; exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$0" "$@"`
	asSelf   = `shift; exec setpriv --no-new-privs chroot "$0" "$@"`
)

// newJail returns the best that this machine allows, and says so if that is not
// all; with nothing allowed it skips the test.
func newJail(t *testing.T, i builtImage) jail {
	t.Helper()
	jails := []jail{
		{argv: []string{"unshare", "--mount", "sh", "-c", readOnly + asUser}},
		{argv: []string{"sh", "-c", usual + asUser}, lacks: "a read-only mount"},
	}
	if os.Getuid() != 0 {
		jails = []jail{{argv: []string{"unshare", "--user", "--map-root-user", "--mount", "sh", "-c", readOnly + asSelf}, lacks: "the image's own user"}}
	}
	var why error
	for _, j := range jails {
		j.argv = append(j.argv, i.root, i.config.user)
		out, err := j.command(t, i.config.env, i.config.entrypoint[0], "version").CombinedOutput()
		if err == nil {
			if j.lacks != "" {
				t.Logf("this machine does not allow all: without %s", j.lacks)
			}
			return j
		}
		why = fmt.Errorf("%w: %s", err, out)
	}
	t.Skipf("this machine does not let the test into another root: %v", why)
	return jail{}
}

// command returns a program of the image, with that environment.
func (j jail) command(t *testing.T, env []string, program ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), j.argv[0], append(slices.Clone(j.argv[1:]), program...)...)
	cmd.Env = env
	return cmd
}

// check fails the test if a process in the jail has more rights than it should.
func (j jail) check(t *testing.T, pid int) {
	t.Helper()
	want := map[string]string{"NoNewPrivs": "1"}
	if j.lacks != "the image's own user" {
		uid, _, _ := strings.Cut(image.config.user, ":")
		want["Uid"], want["CapEff"], want["CapPrm"] = uid, "0000000000000000", "0000000000000000"
	}
	status := read(t, fmt.Sprintf("/proc/%d/status", pid))
	for key, value := range want {
		if !regexp.MustCompile(`(?m)^` + key + `:\s+` + value + `\b`).MatchString(status) {
			t.Errorf("the process has not %s %s:\n%s", key, value, status)
		}
	}
	mounts := read(t, fmt.Sprintf("/proc/%d/mountinfo", pid))
	if j.lacks != "a read-only mount" && !regexp.MustCompile(`(?m)^\d+ \d+ \S+ \S+ / ro\b`).MatchString(mounts) {
		t.Errorf("its root is not read-only:\n%s", mounts)
	}
}

func TestImageRunsAsNobodyOnAReadOnlyRoot(t *testing.T) {
	j, config := newJail(t, image), image.config
	before := image.files(t)
	env := append(slices.Clone(config.env), "CANDADO_LISTEN="+freeAddr(t), "CANDADO_HTTP="+freeAddr(t))
	out, err := j.command(t, env, append(slices.Clone(config.entrypoint), "version")...).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "candado "+testVersion+" (") {
		t.Fatalf("version: %v, %q", err, out)
	}
	healthy := func() error {
		if out, err := j.command(t, env, config.healthcheck...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if healthy() == nil {
		t.Fatal("it is healthy before it was started")
	}
	candado := start(t, j.command(t, env, config.entrypoint...))
	candado.await(t, "health check that passes", healthy)
	j.check(t, candado.cmd.Process.Pid)
	candado.stop(t)
	if healthy() == nil {
		t.Error("it is healthy after it was stopped")
	}
	if after := image.files(t); !slices.Equal(before, after) {
		t.Errorf("it left %q, before there was %q", after, before)
	}
}
