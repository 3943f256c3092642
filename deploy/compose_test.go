package deploy_test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// composeFile is what of Compose's schema compose.yaml uses. A key that is not
// here fails the tests: a misspelt one would else be a setting that is not made.
type composeFile struct {
	Name     string                    `json:"name"`
	Services map[string]composeService `json:"services"`
	Volumes  map[string]*struct{}      `json:"volumes"`
}

type composeService struct {
	Image string `json:"image"`
	Build *struct {
		Context    string            `json:"context"`
		Dockerfile string            `json:"dockerfile"`
		Args       map[string]string `json:"args"`
	} `json:"build"`
	Command     []string          `json:"command"`
	Environment map[string]string `json:"environment"`
	Ports       []string          `json:"ports"`
	Volumes     []string          `json:"volumes"`
	DependsOn   map[string]struct {
		Condition string `json:"condition"`
	} `json:"depends_on"`
	Healthcheck *struct {
		Test        []string `json:"test"`
		Interval    string   `json:"interval"`
		Timeout     string   `json:"timeout"`
		Retries     int      `json:"retries"`
		StartPeriod string   `json:"start_period"`
	} `json:"healthcheck"`
	Restart         string   `json:"restart"`
	StopGracePeriod string   `json:"stop_grace_period"`
	MemLimit        string   `json:"mem_limit"`
	PidsLimit       int      `json:"pids_limit"`
	User            string   `json:"user"`
	ReadOnly        bool     `json:"read_only"`
	CapDrop         []string `json:"cap_drop"`
	SecurityOpt     []string `json:"security_opt"`
}

func compose(t *testing.T) composeFile {
	t.Helper()
	var c composeFile
	if err := yaml.UnmarshalStrict([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 2 {
		t.Fatalf("%d services, want candado and redis", len(c.Services))
	}
	return c
}

func TestMisspeltKeyInComposeFails(t *testing.T) {
	text := strings.Replace(read(t, "compose.yaml"), "cap_drop:", "capdrop:", 1)
	if err := yaml.UnmarshalStrict([]byte(text), &composeFile{}); err == nil {
		t.Error("capdrop passes for a key")
	}
}

func TestComposeServicesHaveNoRights(t *testing.T) {
	for name, s := range compose(t).Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: read_only %v, cap_drop %q, security_opt %q", name, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
		user := s.User
		if s.Build != nil && user == "" {
			user = image.config.user
		}
		if uid, _, _ := strings.Cut(user, ":"); uid == "" || uid == "0" || uid == "root" {
			t.Errorf("%s runs as %q", name, user)
		}
		if s.MemLimit == "" || s.PidsLimit == 0 || s.Restart != "unless-stopped" {
			t.Errorf("%s: mem_limit %q, pids_limit %d, restart %q", name, s.MemLimit, s.PidsLimit, s.Restart)
		}
	}
}

func TestComposePublishesOnLoopbackWhatTheImageExposes(t *testing.T) {
	var inside []string
	for name, s := range compose(t).Services {
		for _, published := range s.Ports {
			parts := strings.Split(published, ":")
			if len(parts) != 3 || parts[0] != "127.0.0.1" || parts[1] != parts[2] || name != "candado" {
				t.Errorf("%s publishes %s", name, published)
				continue
			}
			inside = append(inside, parts[2])
		}
	}
	if !slices.Equal(inside, image.config.ports) {
		t.Errorf("compose.yaml publishes %q, the image exposes %q", inside, image.config.ports)
	}
}

func TestComposeLetsCandadoDrain(t *testing.T) {
	c := compose(t).Services["candado"]
	drain := defaultOf(t, "CANDADO_DRAIN_TIMEOUT")
	if set, ok := c.Environment["CANDADO_DRAIN_TIMEOUT"]; ok {
		drain = set
	}
	if stop, drain := mustSeconds(t, c.StopGracePeriod), mustSeconds(t, drain); stop <= drain {
		t.Errorf("candado is killed after %v, and its drain may take %v", stop, drain)
	}
}

func TestComposeBuildsTheImage(t *testing.T) {
	c := compose(t)
	b := c.Services["candado"].Build
	if b == nil || filepath.Clean(b.Context) != top || b.Dockerfile != "deploy/Dockerfile" {
		t.Errorf("it builds %+v", b)
	}
	if c.Services["candado"].DependsOn["redis"].Condition != "service_healthy" {
		t.Error("candado does not wait for Redis")
	}
	volume, _, _ := strings.Cut(c.Services["redis"].Volumes[0], ":")
	if _, ok := c.Volumes[volume]; !ok {
		t.Errorf("there is no volume %s", volume)
	}
}

// TestComposeMemoryFits: Go's limit is below the container's, as much as in the manifests,
// and holds what candado's quotas let in; Redis may fork with all its memory changing
// meanwhile.
func TestComposeMemoryFits(t *testing.T) {
	services := compose(t).Services
	candado, redis := services["candado"], services["redis"]
	if soft, hard := memory(t, candado.Environment["GOMEMLIMIT"]), memory(t, candado.MemLimit); soft < crowded || 4*soft > 3*hard {
		t.Errorf("GOMEMLIMIT %d, mem_limit %d", soft, hard)
	}
	i := slices.Index(redis.Command, "--maxmemory")
	if i < 0 {
		t.Fatal("Redis has no maxmemory")
	}
	if most, hard := memory(t, redis.Command[i+1]), memory(t, redis.MemLimit); 2*most > hard {
		t.Errorf("maxmemory %d, mem_limit %d", most, hard)
	}
}

// crowded is in how much memory candado on Redis holds 10 000 requests that wait and as many
// idle connections, its quotas by default. TestCrowd shows it.
const crowded = 384 << 20

// memory returns a number of bytes that is written in megabytes.
func memory(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimRight(strings.ToLower(text), "mib"))
	if err != nil {
		t.Fatalf("%q is no number of megabytes", text)
	}
	return n << 20
}

// TestComposeCommandsWork runs candado and Redis as compose.yaml says, without
// containers: Redis's command and its health check, and candado's environment.
func TestComposeCommandsWork(t *testing.T) {
	services := compose(t).Services
	candado, redis := services["candado"], services["redis"]
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is missing; `make test` installs it")
	}
	upstream := freeAddr(t)
	_, port, err := net.SplitHostPort(upstream)
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(redis.Command[1:]), "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir())
	store := start(t, exec.Command(redis.Command[0], args...))
	probe := slices.Clone(redis.Healthcheck.Test)
	if probe[0] != "CMD" || probe[1] != "redis-cli" {
		t.Fatalf("Redis's health check is %q", probe)
	}
	ask := func(words ...string) (string, error) {
		out, err := exec.Command("redis-cli", append([]string{"-p", port}, words...)...).CombinedOutput()
		return string(out), err
	}
	store.await(t, "answer of Redis", func() error {
		out, err := ask(probe[2:]...)
		if err == nil && out != "PONG\n" {
			err = fmt.Errorf("it answered %q", out)
		}
		return err
	})
	for name, want := range map[string]string{"maxmemory-policy": "noeviction", "appendonly": "yes", "maxmemory": "201326592"} {
		if out, err := ask("CONFIG", "GET", name); err != nil || out != name+"\n"+want+"\n" {
			t.Errorf("CONFIG GET %s: %q, %v; want %s", name, out, err, want)
		}
	}

	env := slices.Clone(image.config.env)
	for name, value := range candado.Environment {
		if value == "" {
			continue // it is what it is where Compose runs, here nothing
		}
		env = append(env, name+"="+strings.Replace(value, "redis:6379", upstream, 1))
	}
	env = append(env, "CANDADO_LISTEN="+freeAddr(t), "CANDADO_HTTP="+freeAddr(t))
	server := start(t, run(t, env))
	server.await(t, "health check that passes", func() error { return ready(t, env) })
	if err := store.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	server.await(t, "health check that fails without Redis", func() error {
		if ready(t, env) == nil {
			return fmt.Errorf("it still passes")
		}
		return nil
	})
	server.stop(t)
}

// TestComposeItselfTakesTheFile asks Compose, where it is installed.
func TestComposeItselfTakesTheFile(t *testing.T) {
	if exec.Command("docker", "compose", "version").Run() != nil {
		t.Skip("docker compose is not installed")
	}
	if out, err := exec.Command("docker", "compose", "--file", "compose.yaml", "config", "--quiet").CombinedOutput(); err != nil {
		t.Errorf("docker compose config: %v\n%s", err, out)
	}
}
