package deploy_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const unitFile = "candado.service"

// unit returns the settings of a section of candado.service. Of one that stands
// there twice, the last.
func unit(t *testing.T, section string) map[string]string {
	t.Helper()
	settings := map[string]string{}
	current := ""
	for line := range strings.Lines(read(t, unitFile)) {
		line = strings.TrimSpace(line)
		key, value, found := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			current = strings.Trim(line, "[]")
		case !found:
			t.Errorf("%q is no setting", line)
		case current == section:
			settings[key] = value
		}
	}
	return settings
}

func TestUnitLetsCandadoDrain(t *testing.T) {
	if stop, drain := mustSeconds(t, unit(t, "Service")["TimeoutStopSec"]), mustSeconds(t, defaultOf(t, "CANDADO_DRAIN_TIMEOUT")); stop <= drain {
		t.Errorf("systemd kills after %v, and the drain may take %v", stop, drain)
	}
}

func TestUnitStartsTheServiceWithTheSampleOfSettings(t *testing.T) {
	service := unit(t, "Service")
	for key, want := range map[string]string{
		"Type":            "notify",
		"ExecStart":       "/usr/local/bin/candado",
		"EnvironmentFile": "-/etc/candado/candado.env",
		"DynamicUser":     "yes",
	} {
		if service[key] != want {
			t.Errorf("%s=%s, want %s", key, service[key], want)
		}
	}
}

// TestUnitDoesNotRepeatAMistake runs candado with one, and looks for its exit code.
func TestUnitDoesNotRepeatAMistake(t *testing.T) {
	err := run(t, []string{"CANDADO_LISTEN=nowhere"}).Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatalf("candado took a bad address: %v", err)
	}
	if got := unit(t, "Service")["RestartPreventExitStatus"]; got != strconv.Itoa(exit.ExitCode()) {
		t.Errorf("RestartPreventExitStatus=%s, and a mistake in the settings ends with %d", got, exit.ExitCode())
	}
}

// sampleSetting is a setting of the unit that is commented out.
var sampleSetting = regexp.MustCompile(`(?m)^#([A-Z][A-Za-z]+=.*)$`)

// TestUnitShowsHowToHandOverAPassword runs candado with a file where systemd would put it.
func TestUnitShowsHowToHandOverAPassword(t *testing.T) {
	shown := map[string]string{}
	for _, m := range sampleSetting.FindAllStringSubmatch(read(t, unitFile), -1) {
		key, value, _ := strings.Cut(m[1], "=")
		shown[key] = value
	}
	name, _, _ := strings.Cut(shown["LoadCredential"], ":")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("the password\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	variable := strings.Replace(shown["Environment"], "%d", dir, 1)
	for env, serves := range map[string]bool{variable: true, "CANDADO_PASSWORD_FILE=" + filepath.Join(dir, "other"): false} {
		all := []string{env, "CANDADO_LISTEN=" + freeAddr(t), "CANDADO_HTTP=" + freeAddr(t)}
		candado := start(t, run(t, all))
		if !serves {
			if exit, ok := errors.AsType[*exec.ExitError](<-candado.exited); !ok || exit.ExitCode() != 2 {
				t.Errorf("without the file: %v\n%s", exit, candado.log.String())
			}
			continue
		}
		candado.await(t, "readiness", func() error { return ready(t, all) })
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(all[1], "CANDADO_LISTEN="))
		if out, _ := exec.Command("redis-cli", "-p", port, "LOCK.ACQUIRE", "a").CombinedOutput(); !strings.Contains(string(out), "NOAUTH") {
			t.Errorf("without a password: %s", out)
		}
		candado.stop(t)
	}
}

// TestSystemdTakesTheUnit asks systemd, where it is installed, whether it
// understands the unit, and how much the service could do beyond its task.
func TestSystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	text := strings.Replace(read(t, unitFile), "ExecStart=/usr/local/bin/candado", "ExecStart="+image.binary(), 1)
	for name, text := range map[string]string{"as it is": text, "with what is commented out": sampleSetting.ReplaceAllString(text, "$1")} {
		t.Run(name, func(t *testing.T) { systemdTakes(t, analyze, text) })
	}
}

func systemdTakes(t *testing.T, analyze, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), unitFile)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", "--man=no", file},
		{"security", "--offline=yes", "--no-pager", "--threshold=15", file}, // 1.5 of 10
	} {
		out, err := exec.Command(analyze, args...).CombinedOutput()
		switch {
		case strings.Contains(string(out), "unrecognized option"):
			t.Logf("this systemd-analyze does not know %s", args[1])
		case err != nil:
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		// verify also looks at the units around ours, so a line counts if it names ours.
		case args[0] == "verify" && strings.Contains(string(out), unitFile):
			t.Errorf("systemd-analyze verify says\n%s", out)
		}
	}
}
