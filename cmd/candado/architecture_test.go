package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/goodjobtech/candado/"

// TestDependenciesPointTheRightWay keeps the domain at the centre: front ends
// and engines know package locks and not each other, only this command joins
// them, and each library has one package that may import it.
func TestDependenciesPointTheRightWay(t *testing.T) {
	mayImport := map[string][]string{
		"cmd/candado":        {"proxy", "httpapi", "httpapi/metrics", "locks", "locks/access", "locks/memory", "locks/quota", "locks/upstream", "cmd/candado/secure"},
		"proxy":              {"locks", "locks/access", "locks/hangup", "locks/session"},
		"httpapi":            {"locks", "locks/access", "locks/hangup", "httpapi/metrics"},
		"httpapi/metrics":    {"locks"},
		"locks":              {},
		"locks/access":       {"locks"},
		"locks/hangup":       {"locks"},
		"locks/memory":       {"locks"},
		"locks/quota":        {"locks"},
		"locks/session":      {"locks"},
		"locks/upstream":     {"locks", "locks/upstream/script"},
		"cmd/candado/secure": {},
	}
	owners := map[string][]string{ // of a library, by the beginning of its path
		"github.com/tidwall/redcon":                  {"proxy"},
		"github.com/valyala/fasthttp":                {"httpapi"},
		"github.com/redis/go-redis":                  {"locks/upstream"},
		"github.com/spf13/cobra":                     {"cmd/candado"},
		"github.com/spf13/pflag":                     {"cmd/candado"},
		"github.com/prometheus/client_golang":        {"httpapi/metrics"},
		"github.com/prometheus/common":               {"httpapi/metrics"},
		"github.com/prometheus/client_model":         {"httpapi/metrics"},
		"golang.org/x/crypto":                        {"locks/access"},
		"golang.org/x/term":                          {"cmd/candado"},
		"github.com/goodjobtech/candado/locks/upstr": {"cmd/candado"},
	}
	for name, allowed := range mayImport {
		for _, path := range list(t, `{{join .Imports "\n"}}`, module+name) {
			inside, ours := strings.CutPrefix(path, module)
			switch {
			case ours && !slices.Contains(allowed, inside):
				t.Errorf("%s imports %s", name, inside)
			case !ours && !standard(path) && owner(owners, path) == nil:
				t.Errorf("%s imports %s, which has no owner in this test", name, path)
			case !ours && !standard(path) && !slices.Contains(owner(owners, path), name):
				t.Errorf("%s imports %s, which belongs to %v", name, path, owner(owners, path))
			}
		}
	}
	for _, path := range list(t, `{{join .Deps "\n"}}`, module+"locks") {
		if !standard(path) {
			t.Errorf("locks depends on %s", path)
		}
	}
}

// TestNoPackageIsOutsideTheArrows finds what TestDependenciesPointTheRightWay
// would not look at.
func TestNoPackageIsOutsideTheArrows(t *testing.T) {
	for _, path := range list(t, `{{join .Deps "\n"}}`, module+"cmd/candado") {
		inside, ours := strings.CutPrefix(path, module)
		known := []string{"cmd/candado/secure", "proxy", "httpapi", "httpapi/metrics", "locks", "locks/access", "locks/hangup", "locks/memory", "locks/quota", "locks/session", "locks/upstream", "locks/upstream/script"}
		if ours && !slices.Contains(known, inside) {
			t.Errorf("the binary holds the package %s, which no arrow allows", inside)
		}
	}
}

func list(t *testing.T, format, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", format, pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", pkg, err, out)
	}
	return strings.Fields(string(out))
}

// standard reports whether a package is of the standard library: the first part
// of its path is no host name.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func owner(owners map[string][]string, path string) []string {
	for library, who := range owners {
		if strings.HasPrefix(path, library) {
			return who
		}
	}
	return nil
}
