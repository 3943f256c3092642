package deploy_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// standIn is a Go image without Go: a shell and certificate authorities. The
// machine's own Go, modules and cache are mounted into it, so that nothing is
// loaded and little compiled.
const standIn = `FROM scratch
COPY . /
ENV PATH=/usr/local/go/bin:/bin HOME=/tmp GOPATH=/go GOMODCACHE=/modules GOCACHE=/cache GOPROXY=off GOFLAGS= GOTOOLCHAIN=local
`

// buildah runs buildah on a storage of the test's own.
type buildah struct{ program, storage string }

func (b buildah) run(t *testing.T, args ...string) string {
	t.Helper()
	global := []string{"--root", filepath.Join(b.storage, "root"), "--runroot", filepath.Join(b.storage, "run"), "--storage-driver", "vfs"}
	cmd := exec.CommandContext(t.Context(), b.program, append(global, args...)...)
	// TMPDIR: there buildah keeps its cache mounts.
	cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot", "TMPDIR="+b.storage)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("buildah %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// makeStandIn builds the stand-in for the Go image.
func (b buildah) makeStandIn(t *testing.T) (name string) {
	t.Helper()
	dir := t.TempDir()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{shell: "/bin/sh"}
	// A shell that is static has no libraries, and ldd fails.
	libraries, _ := exec.Command("ldd", shell).Output()
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			files[word] = word
		}
	}
	files[authorities] = authorities
	for from, to := range files {
		if err := copyFile(from, filepath.Join(dir, to), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(file, []byte(standIn), 0o644); err != nil {
		t.Fatal(err)
	}
	b.run(t, "bud", "--quiet", "--tag", "localhost/go", "--file", file, dir)
	return "localhost/go"
}

// goEnv returns a directory that Go uses.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestBuildahBuildsTheSameImage builds the Dockerfile where buildah is installed,
// without a network, and compares it with what the other tests made of it.
func TestBuildahBuildsTheSameImage(t *testing.T) {
	program, err := exec.LookPath("buildah")
	switch {
	case err != nil:
		t.Skip("buildah is not installed: the Dockerfile was read by these tests alone")
	case os.Getuid() != 0:
		t.Skip("buildah is only run as root here")
	}
	if _, err := os.Stat(authorities); err != nil {
		t.Skip("this machine has no certificate authorities to put into the image")
	}
	b := buildah{program, t.TempDir()}
	b.run(t, "bud", "--quiet", "--pull-never", "--format", "docker", "--tag", "localhost/candado", "--file", "Dockerfile",
		"--build-arg", "GO_IMAGE="+b.makeStandIn(t), "--build-arg", "VERSION="+testVersion, "--build-arg", "REVISION=0123456",
		"--volume", goEnv(t, "GOROOT")+":/usr/local/go:ro",
		"--volume", goEnv(t, "GOMODCACHE")+":/modules",
		"--volume", goEnv(t, "GOCACHE")+":/cache", top)

	b.compareConfig(t, "localhost/candado")
	container := b.run(t, "from", "--pull-never", "localhost/candado")
	built := builtImage{root: b.run(t, "mount", container), config: image.config}
	for _, name := range image.files(t) {
		want, err := os.ReadFile(filepath.Join(image.root, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(built.root, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the same commands made outside (%v)", name, err)
		}
	}
	for _, name := range built.files(t) {
		if !slices.Contains(image.files(t), name) {
			t.Errorf("the image holds %s as well", name)
		}
	}
	b.reportSize(t, built, "localhost/candado")
}

// compareConfig compares the image's configuration with what was read in the
// Dockerfile.
func (b buildah) compareConfig(t *testing.T, name string) {
	t.Helper()
	var inspected struct {
		Docker struct {
			Config struct {
				User         string
				Env          []string
				Entrypoint   []string
				ExposedPorts map[string]struct{}
				Labels       map[string]string
				Healthcheck  struct{ Test []string }
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(b.run(t, "inspect", "--type", "image", name)), &inspected); err != nil {
		t.Fatal(err)
	}
	got, want := inspected.Docker.Config, image.config
	if got.User != want.user || !slices.Equal(got.Entrypoint, want.entrypoint) {
		t.Errorf("user %q, entry point %q", got.User, got.Entrypoint)
	}
	if probe := append([]string{"CMD"}, want.healthcheck...); !slices.Equal(got.Healthcheck.Test, probe) {
		t.Errorf("health check %q, want %q", got.Healthcheck.Test, probe)
	}
	for _, port := range want.ports {
		if _, ok := got.ExposedPorts[port+"/tcp"]; !ok || len(got.ExposedPorts) != len(want.ports) {
			t.Errorf("ports %v, want %v", got.ExposedPorts, want.ports)
		}
	}
	for _, v := range want.env {
		if !slices.Contains(got.Env, v) {
			t.Errorf("the environment %q lacks %s", got.Env, v)
		}
	}
	for key, value := range want.labels {
		if got.Labels[key] != value {
			t.Errorf("label %s is %q, want %q", key, got.Labels[key], value)
		}
	}
}

// reportSize logs how large the image is, on disk and as it is transferred.
func (b buildah) reportSize(t *testing.T, built builtImage, name string) {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "image")
	b.run(t, "push", "--quiet", name, "oci:"+archive)
	size := func(dir string) (bytes int64) {
		err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if err == nil {
				bytes += info.Size()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	const mega = 1e6
	unpacked, packed := float64(size(built.root))/mega, float64(size(archive))/mega
	t.Logf("the image has %.1f MB, %.1f MB compressed", unpacked, packed)
	said := regexp.MustCompile(`in ([0-9.]+) MB; ([0-9.]+) MB to transfer`).FindStringSubmatch(read(t, "README.md"))
	if said == nil {
		t.Fatal("the README does not say how large the image is")
	}
	for i, mb := range []float64{unpacked, packed} {
		if claim, err := strconv.ParseFloat(said[i+1], 64); err != nil || mb > 1.1*claim || mb < claim/1.1 {
			t.Errorf("the README says %s MB (%v), it has %.1f MB", said[i+1], err, mb)
		}
	}
	if unpacked > 20 {
		t.Errorf("the image has %.1f MB: what has come in?", unpacked)
	}
}
