package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var (
	shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	link       = regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	pathOfOurs = regexp.MustCompile(`\bdeploy/[a-zA-Z0-9_./-]*[a-zA-Z0-9]`)
	kubectl    = regexp.MustCompile("kubectl [^`)&|\n]*")
	// What a kubectl command is about: by its kind and name, with or without a slash.
	object = regexp.MustCompile(`\b(deployment|statefulset|service|ksvc|secret|secret generic)[ /](candado[a-z-]*)`)
)

func TestReadmeLeadsToWhatIsThere(t *testing.T) {
	text := read(t, "README.md")
	anchors := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		anchors["#"+strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")] = true
	}
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		if m[1] == "" && !anchors[m[2]] {
			t.Errorf("there is no heading %s", m[2])
		}
		if _, err := os.Stat(m[1]); m[1] != "" && err != nil {
			t.Error(err)
		}
	}
	for _, file := range append(manifests(t), "README.md", "kubernetes/kustomization.yaml", "kubernetes-tls/kustomization.yaml", "knative/kustomization.yaml", "prometheus/rules.yaml") {
		for _, path := range pathOfOurs.FindAllString(read(t, file), -1) {
			if _, err := os.Stat(filepath.Join(top, path)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// names returns the names of the manifests' objects, by kind as kubectl calls it.
func names(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{"secret": {"candado": true}}
	for _, file := range manifests(t) {
		for document := range strings.SplitSeq(read(t, file), "\n---\n") {
			var o struct {
				APIVersion, Kind string
				Metadata         struct{ Name string }
			}
			if err := yaml.Unmarshal([]byte(document), &o); err != nil {
				t.Fatal(err)
			}
			kind := strings.ToLower(o.Kind)
			if kind == "service" && o.APIVersion != "v1" {
				kind = "ksvc"
			}
			if all[kind] == nil {
				all[kind] = map[string]bool{}
			}
			all[kind][o.Metadata.Name] = true
		}
	}
	return all
}

// TestCommandsAreAboutWhatIsApplied looks at each kubectl command that is shown.
func TestCommandsAreAboutWhatIsApplied(t *testing.T) {
	known := names(t)
	commands, objects := 0, 0
	for _, file := range append(manifests(t), "README.md", "kubernetes/kustomization.yaml", "kubernetes-tls/kustomization.yaml", "knative/kustomization.yaml") {
		for _, command := range kubectl.FindAllString(read(t, file), -1) {
			commands++
			for _, m := range object.FindAllStringSubmatch(command, -1) {
				objects++
				if kind := strings.TrimSuffix(m[1], " generic"); !known[kind][m[2]] {
					t.Errorf("%s: %q is about a %s %s, which is not there", file, command, kind, m[2])
				}
			}
			for _, flag := range []string{" -f ", " -k "} {
				_, path, found := strings.Cut(command, flag)
				if !found {
					continue
				}
				path = pathOfOurs.FindString(path)
				kustomized, err := os.Stat(filepath.Join(top, path, "kustomization.yaml"))
				if found := err == nil && !kustomized.IsDir(); found != (flag == " -k ") {
					t.Errorf("%s: %q, and a kustomization there: %v", file, command, found)
				}
			}
		}
	}
	if commands < 15 || objects < 8 {
		t.Errorf("found %d commands about %d objects", commands, objects)
	}
}

// TestKubectlTakesWhatIsShown asks kubectl, where it is installed, as far as it goes
// without a cluster.
func TestKubectlTakesWhatIsShown(t *testing.T) {
	program, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not installed")
	}
	offline := func(command string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir = top
		cmd.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull)
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		return string(out)
	}
	if out := offline(program + " kustomize deploy/kubernetes-tls"); strings.Count(out, "scheme: HTTPS") != 3 {
		t.Errorf("with TLS, kustomize makes\n%s", out)
	}
	for _, set := range []string{"kubernetes", "knative"} {
		out := offline(program + " kustomize deploy/" + set)
		applied := 0
		for _, file := range manifests(t) {
			if strings.HasPrefix(file, set) {
				applied += strings.Count("\n"+read(t, file), "\nkind: ")
			}
		}
		if n := strings.Count("\n"+out, "\nkind: "); n != applied {
			t.Errorf("%s: kustomize makes %d objects of %d", set, n, applied)
		}
	}
	for _, block := range shellBlock.FindAllStringSubmatch(read(t, "README.md"), -1) {
		create := regexp.MustCompile(`(?s)kubectl create secret .*?[^\\]\n`).FindString(block[1])
		if create == "" {
			continue
		}
		if _, err := exec.LookPath("openssl"); err != nil {
			t.Skip("openssl is not installed")
		}
		var made struct {
			Kind string
			Data map[string][]byte
		}
		out := offline(strings.TrimSuffix(create, "\n") + " --dry-run=client -o yaml")
		if err := yaml.Unmarshal([]byte(out), &made); err != nil || made.Kind != "Secret" || len(made.Data["password"]) != 64 || len(made.Data["redis-password"]) != 64 {
			t.Errorf("%s makes (%v)\n%s", create, err, out)
		}
	}
}
