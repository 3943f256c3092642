package deploy_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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

// TestSystemdTakesTheUnit asks systemd, where it is installed, whether it
// understands the unit, and how much the service could do beyond its task.
func TestSystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	file := filepath.Join(t.TempDir(), unitFile)
	text := strings.Replace(read(t, unitFile), "ExecStart=/usr/local/bin/candado", "ExecStart="+image.binary(), 1)
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
