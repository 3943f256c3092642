package validate_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// password is what clients give the candados that are measured.
const password = "the password of clients"

// measured returns what two candados of this tree show at /metrics after they were
// used: one with a Redis, and one without, but with TLS.
func measured(t *testing.T) model.Vector {
	t.Helper()
	program := filepath.Join(t.TempDir(), "candado")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", program, "./cmd/candado").CombinedOutput(); err != nil {
		t.Fatalf("building candado: %v\n%s", err, out)
	}
	certificate, client := selfSigned(t)
	var all model.Vector
	for i, c := range []struct {
		base string
		env  []string
	}{
		{"http://", []string{"CANDADO_UPSTREAM=redis://" + startRedis(t)}},
		{"https://", certificate},
	} {
		addr := freeAddr(t)
		base := c.base + addr
		start(t, exec.Command(program), append(c.env, "CANDADO_HTTP="+addr, "CANDADO_LISTEN="+freeAddr(t),
			"CANDADO_PASSWORD="+password, "CANDADO_PUBLIC_METRICS=true"))
		await(t, "candado", func() error { _, err := get(client, base+"/readyz"); return err })
		use(t, client, base)
		text, err := get(client, base+"/metrics")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parse(t, text, fmt.Sprintf("candado-%d", i))...)
	}
	return all
}

// use has candado do something of each kind.
func use(t *testing.T, client *http.Client, base string) {
	t.Helper()
	ask := func(path, password string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+password)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	ask("/acquire/a", "not the "+password)
	ask("/release/a", password) // should it have been let in
	for _, path := range []string{"/acquire/a?owner=x", "/acquire/a?owner=y", "/acquire/a?owner=y&wait=1ms", "/heartbeat/a?owner=y", "/heartbeat/a?owner=x",
		"/release/a?owner=x", "/heartbeat/a", "/locks/a", "/locks", "/readyz", "/nowhere", "/acquire/b"} {
		ask(path, password)
	}
}

// get returns a body, and an error if the status is not 200.
func get(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// selfSigned returns the settings of a candado with a certificate of its own, and a
// client that trusts it.
func selfSigned(t *testing.T) (env []string, client *http.Client) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(10, 0, 0), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, file := range []struct {
		variable, kind string
		der            []byte
	}{{"CANDADO_TLS_CERT", "CERTIFICATE", certificate}, {"CANDADO_TLS_KEY", "PRIVATE KEY", key}} {
		path := filepath.Join(dir, file.variable)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.der}), 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, file.variable+"="+path)
	}
	trusted := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	trusted.AddCert(parsed)
	return env, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}
}

// parse reads Prometheus text, as if it had been scraped from an instance.
func parse(t *testing.T, text, instance string) model.Vector {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var all model.Vector
	for _, family := range families {
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, family)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, samples...)
	}
	all = append(all, &model.Sample{Metric: model.Metric{"__name__": "up"}, Value: 1}) // as Prometheus adds to each scrape
	for _, sample := range all {
		sample.Metric["job"], sample.Metric["instance"] = "candado", model.LabelValue(instance)
	}
	return all
}

// startRedis returns the address of a Redis that is safe for locks.
func startRedis(t *testing.T) string {
	t.Helper()
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is missing; `make test` installs it")
	}
	start(t, exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--appendonly", "yes", "--save", ""), nil)
	await(t, "Redis", func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
	return addr
}

// start starts a program, and kills it at the end of the test.
func start(t *testing.T, cmd *exec.Cmd, env []string) {
	t.Helper()
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// await tries until what is there.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	err := try()
	for deadline := time.Now().Add(patience); err != nil; err = try() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
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
