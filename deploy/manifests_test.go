package deploy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// This file runs what the manifests say, without a cluster: Redis by the command and
// the configuration of its StatefulSet, candado by the environment of each set.
// That Kubernetes and Knative take the manifests is tested in the module validate.

// manifests are the files that are applied.
func manifests(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("k*/yaml/*.yaml")
	if err != nil || len(names) != 4 {
		t.Fatalf("manifests: %q, %v", names, err)
	}
	return names
}

// workload is what of a Deployment, StatefulSet or Knative Service says how its one
// container runs.
type workload struct {
	Kind string `json:"kind"`
	Data map[string]string
	Spec struct {
		Template struct {
			Spec struct {
				Containers []struct {
					Image   string   `json:"image"`
					Command []string `json:"command"`
					Env     []struct {
						Name  string `json:"name"`
						Value string `json:"value"`
					} `json:"env"`
					Ports []struct {
						Name          string `json:"name"`
						ContainerPort int    `json:"containerPort"`
					} `json:"ports"`
					Startup   probe `json:"startupProbe"`
					Readiness probe `json:"readinessProbe"`
					Liveness  probe `json:"livenessProbe"`
				} `json:"containers"`
				Volumes []struct {
					Secret struct {
						Mode os.FileMode `json:"defaultMode"`
					} `json:"secret"`
				} `json:"volumes"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

type probe struct {
	Exec struct {
		Command []string `json:"command"`
	} `json:"exec"`
	HTTPGet struct {
		Path string `json:"path"`
	} `json:"httpGet"`
	TimeoutSeconds int `json:"timeoutSeconds"`
}

// workloadIn returns the object of a kind in a manifest.
func workloadIn(t *testing.T, file, kind string) workload {
	t.Helper()
	for document := range strings.SplitSeq(read(t, file), "\n---\n") {
		var w workload
		if err := yaml.Unmarshal([]byte(document), &w); err != nil {
			t.Fatal(err)
		}
		if w.Kind == kind && (kind != "Service" || len(w.Spec.Template.Spec.Containers) > 0) {
			return w
		}
	}
	t.Fatalf("%s has no %s", file, kind)
	return workload{}
}

// candadoOf returns candado's workload in each set.
func candadoOf(t *testing.T) map[string]workload {
	t.Helper()
	return map[string]workload{
		"kubernetes": workloadIn(t, "kubernetes/yaml/candado.yaml", "Deployment"),
		"knative":    workloadIn(t, "knative/yaml/candado.yaml", "Service"),
	}
}

// env returns the environment of a workload's container.
func (w workload) env() map[string]string {
	env := map[string]string{}
	for _, e := range w.Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	return env
}

func TestManifestsNameCandadosPorts(t *testing.T) {
	for set, w := range candadoOf(t) {
		env := w.env()
		for _, port := range w.Spec.Template.Spec.Containers[0].Ports {
			variable := map[string]string{"resp": "CANDADO_LISTEN", "http": "CANDADO_HTTP", "http1": "CANDADO_HTTP"}[port.Name]
			if number := fmt.Sprint(port.ContainerPort); env[variable] != ":"+number || !slices.Contains(image.config.ports, number) {
				t.Errorf("%s: port %s is %s, %s is %q", set, port.Name, number, variable, env[variable])
			}
		}
	}
	// What is no port of the container must be out of reach.
	if got := candadoOf(t)["knative"].env()["CANDADO_LISTEN"]; got != defaultOf(t, "CANDADO_LISTEN") {
		t.Errorf("on Knative candado listens on %s", got)
	}
}

func TestManifestsHaveTheRedisOfCompose(t *testing.T) {
	want := compose(t).Services["redis"].Image
	if got := workloadIn(t, "kubernetes/yaml/redis.yaml", "StatefulSet").Spec.Template.Spec.Containers[0].Image; got != want {
		t.Errorf("the StatefulSet runs %s, compose.yaml %s", got, want)
	}
}

// secret is the mounted Secret, in a directory of the test's own.
type secret struct{ dir, password, redisPassword string }

func newSecret(t *testing.T) secret {
	t.Helper()
	s := secret{t.TempDir(), "the password of clients", `the "password" of Redis\ #%`}
	for name, text := range map[string]string{"password": s.password, "redis-password": s.redisPassword} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// mode gives the files a mode, as the mount of a Secret does.
func (s secret) mode(t *testing.T, mode os.FileMode) {
	t.Helper()
	for _, name := range []string{"password", "redis-password"} {
		if err := os.Chmod(filepath.Join(s.dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// inside returns text with the Secret's mount replaced.
func (s secret) inside(text string) string { return strings.ReplaceAll(text, "/etc/candado", s.dir) }

// redisOfManifest runs the StatefulSet's Redis, and returns its address.
func redisOfManifest(t *testing.T, s secret) string {
	t.Helper()
	const file = "kubernetes/yaml/redis.yaml"
	container := workloadIn(t, file, "StatefulSet").Spec.Template.Spec.Containers[0]
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	config := workloadIn(t, file, "ConfigMap").Data["redis.conf"] + "\nbind 127.0.0.1\nport " + port + "\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "redis.conf"), []byte(strings.Replace(config, "dir /data", "dir "+dir, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := func(command []string) *exec.Cmd {
		words := []string{}
		for _, word := range command {
			word = strings.NewReplacer("/etc/redis", dir, "redis-cli ", "redis-cli -p "+port+" ").Replace(s.inside(word))
			if words = append(words, word); word == "redis-cli" {
				words = append(words, "-p", port)
			}
		}
		return exec.Command(words[0], words[1:]...)
	}
	redis := start(t, ours(container.Command))
	pings := func(p probe) error {
		cmd := ours(p.Exec.Command)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%q: %w: %s", cmd.Args, err, out)
		}
		return err
	}
	redis.await(t, "start-up probe that passes", func() error { return pings(container.Startup) })
	for _, p := range []probe{container.Readiness, container.Liveness} {
		if err := pings(p); err != nil {
			t.Error(err)
		}
	}
	// Nobody can read the password off the list of processes.
	for _, of := range []string{"cmdline", "environ"} {
		if text := read(t, fmt.Sprintf("/proc/%d/%s", redis.cmd.Process.Pid, of)); strings.Contains(text, s.redisPassword) {
			t.Errorf("the password is in Redis's %s", of)
		}
	}
	for _, words := range [][]string{{"GET", "x"}, {"-a", s.redisPassword, "GET", "x"}, {"--user", "candado", "-a", s.redisPassword, "GET", "x"},
		{"--user", "candado", "-a", s.redisPassword, "FLUSHALL"}, {"--user", "candado", "-a", s.redisPassword, "CONFIG", "SET", "maxmemory", "1"}} {
		out, _ := exec.Command("redis-cli", append([]string{"-p", port, "--no-auth-warning"}, words...)...).CombinedOutput()
		if !regexp.MustCompile("NOAUTH|WRONGPASS|NOPERM").Match(out) {
			t.Errorf("Redis lets everybody %q: %s", words, out)
		}
	}
	return addr
}

// TestRedisDoesNotStartWithoutAPassword: the hash of nothing would let everybody in.
func TestRedisDoesNotStartWithoutAPassword(t *testing.T) {
	s := newSecret(t)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "redis-server"), []byte("#!/bin/sh\ncat\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	command := workloadIn(t, "kubernetes/yaml/redis.yaml", "StatefulSet").Spec.Template.Spec.Containers[0].Command
	for password, starts := range map[string]bool{s.redisPassword: true, "": false} {
		if err := os.WriteFile(filepath.Join(s.dir, "redis-password"), []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), command[0], command[1], s.inside(command[2]))
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); (err == nil) != starts || strings.Contains(string(out), "user candado on #") != starts {
			t.Errorf("with the password %q: %v: %s", password, err, out)
		}
	}
}

// TestManifestsRun: candado finds Redis safe and its rights enough, and the probes
// say what they are to say.
func TestManifestsRun(t *testing.T) {
	s := newSecret(t)
	redis := redisOfManifest(t, s)
	for set, w := range candadoOf(t) {
		t.Run(set, func(t *testing.T) {
			s.mode(t, w.Spec.Template.Spec.Volumes[0].Secret.Mode)
			env := slices.Clone(image.config.env)
			for name, value := range w.env() {
				env = append(env, name+"="+s.inside(strings.Replace(value, "candado-redis:6379", redis, 1)))
			}
			resp, web := freeAddr(t), freeAddr(t)
			env = append(env, "CANDADO_LISTEN="+resp, "CANDADO_HTTP="+web)
			candado := start(t, run(t, env))
			container := w.Spec.Template.Spec.Containers[0]
			for _, p := range []probe{container.Startup, container.Readiness, container.Liveness} {
				if path := p.HTTPGet.Path; path != "" {
					candado.await(t, path, func() error { return answers(web, path) })
				}
			}
			serves(t, resp, s)
			checkMetrics(t, web)
			candado.stop(t)
			if log := candado.log.String(); regexp.MustCompile("NOPERM|does not tell").MatchString(log) {
				t.Errorf("candado misses rights:\n%s", log)
			}
			// Knative lets no other group read it.
			if warned := strings.Contains(candado.log.String(), "every user of this machine"); warned != (set == "knative") {
				t.Errorf("it warns of the mode of passwords' files, %v:\n%s", warned, candado.log.String())
			}
		})
	}
}

// answers returns nil if a path answers 200.
func answers(addr, path string) error {
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return nil
}

// serves uses every command of a lock, by redis-cli.
func serves(t *testing.T, addr string, s secret) {
	t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	for _, command := range []string{"LOCK.ACQUIRE a OWNER x", "LOCK.ACQUIRE a OWNER y BLOCK 50", "LOCK.HEARTBEAT a OWNER x", "LOCK.CHECK a 1", "LOCK.INFO a", "LOCK.RELEASE a OWNER x",
		"LOCK.ACQUIRE b SHARED", "LOCK.ACQUIRE b LIMIT 2", "LOCK.INFO b", "LOCK.SCAN 0", "LOCK.RELEASE b FORCE", "LOCK.ACQUIRE c SESSION"} {
		args := append([]string{"-e", "-p", port}, strings.Fields(command)...)
		cmd := exec.Command("redis-cli", args...)
		cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+s.password)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
		}
	}
}

// checkMetrics: they are shown without a password, and say that all is well.
func checkMetrics(t *testing.T, addr string) {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if n := len(regexp.MustCompile(`(?m)^candado_upstream_unsafe\{.*\} 0$`).FindAllString(text.String(), -1)); n != 5 || !strings.Contains(text.String(), "\ncandado_upstream_errors_total 0\n") {
		t.Errorf("%s, %d reasons known to be none:\n%s", resp.Status, n, text.String())
	}
}
