package deploy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sample returns the settings of candado.env, which all are comments there.
func sample(t *testing.T) []setting {
	t.Helper()
	var all []setting
	previous := ""
	for line := range strings.Lines(read(t, "candado.env")) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			t.Errorf("%q is set: what is installed unchanged is to change nothing", line)
		}
		if name, value, found := strings.Cut(strings.TrimPrefix(line, "#"), "="); found && someSetting.FindString(name) == name {
			all = append(all, setting{variable: name, help: strings.TrimPrefix(previous, "# "), deflt: value})
		}
		previous = line
	}
	return all
}

func TestSampleOfSettingsIsWhatHelpSays(t *testing.T) {
	want := settings(t)
	for i := range want {
		want[i].flag = ""
	}
	got := sample(t)
	for _, s := range want {
		if !slices.Contains(got, s) {
			t.Errorf("candado.env lacks, or has otherwise:\n# %s\n#%s=%s", s.help, s.variable, s.deflt)
		}
	}
	for _, s := range got {
		if !slices.Contains(want, s) {
			t.Errorf("candado has no such setting:\n# %s\n#%s=%s", s.help, s.variable, s.deflt)
		}
	}
	if len(got) != len(want) {
		t.Errorf("candado.env has %d settings, candado %d", len(got), len(want))
	}
}

// TestSampleOfSettingsIsTaken starts candado with every line of it in force.
func TestSampleOfSettingsIsTaken(t *testing.T) {
	var env []string
	for _, s := range sample(t) {
		if slices.Contains([]string{"CANDADO_PASSWORD", "CANDADO_PASSWORD_FILE", "CANDADO_USERS_FILE"}, s.variable) {
			continue // which are not to be set and empty
		}
		env = append(env, s.variable+"="+s.deflt)
	}
	env = append(env, "CANDADO_LISTEN="+freeAddr(t), "CANDADO_HTTP="+freeAddr(t))
	candado := start(t, run(t, env))
	candado.await(t, "health check that passes", func() error { return ready(t, env) })
	candado.stop(t)
}

// TestEverySettingThatIsNamedExists looks at every file here that names one.
func TestEverySettingThatIsNamedExists(t *testing.T) {
	var variables, flags []string
	for _, s := range settings(t) {
		variables, flags = append(variables, s.variable), append(flags, s.flag)
	}
	// Not where candado is the name of a Secret or of a user of Redis.
	flagOfCandado := regexp.MustCompile(`(generic |user )?candado(?: serve)? --([a-z-]+)`)
	for _, file := range append(manifests(t), "Dockerfile", "README.md", "candado.env", "candado.service", "compose.yaml") {
		text := read(t, file)
		for _, name := range someSetting.FindAllString(text, -1) {
			if !slices.Contains(variables, name) {
				t.Errorf("%s names %s, which candado does not have", file, name)
			}
		}
		for _, m := range flagOfCandado.FindAllStringSubmatch(text, -1) {
			if m[1] == "" && !slices.Contains(flags, m[2]) {
				t.Errorf("%s names --%s, which candado does not have", file, m[2])
			}
		}
	}
}

// TestPasswordIsSpokenOf: who deploys candado must not have to find out that it needs one.
func TestPasswordIsSpokenOf(t *testing.T) {
	for _, file := range []string{"Dockerfile", "README.md", "candado.env", "compose.yaml"} {
		text := read(t, file)
		if strings.Contains(strings.ToLower(text), "no password yet") {
			t.Errorf("%s says that there is no password yet", file)
		}
		for _, name := range []string{"CANDADO_PASSWORD", "CANDADO_INSECURE"} {
			if !strings.Contains(text, name) {
				t.Errorf("%s does not speak of %s", file, name)
			}
		}
	}
}
