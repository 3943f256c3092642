package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Build builds candado from the checkout at root into dir, as `make build` does,
// and returns the binary's path.
func Build(ctx context.Context, root, dir string) (string, error) {
	return build(ctx, root, filepath.Join(dir, "candado"), "./cmd/candado", "-X main.version="+describe(ctx, root))
}

// BuildCeiling builds the server that does nothing.
func BuildCeiling(ctx context.Context, root, dir string) (string, error) {
	return build(ctx, filepath.Join(root, "bench"), filepath.Join(dir, "ceiling"), "./ceiling", "")
}

func build(ctx context.Context, module, binary, program, ldflags string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w "+ldflags, "-o", binary, program)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w: %s", program, err, out)
	}
	return binary, nil
}

// describe returns the version of a checkout.
func describe(ctx context.Context, root string) string {
	cmd := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "devel" // not a checkout, but its sources
	}
	return strings.TrimSpace(string(out))
}

// StartCandado runs a candado on free ports, and returns when it listens.
func StartCandado(ctx context.Context, binary, dir, name string, flags ...string) (*Process, error) {
	p, err := launch(dir, name, binary, append([]string{"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}, flags...)...)
	if err != nil {
		return nil, err
	}
	if err := p.awaitPorts(ctx, map[string]*string{"resp": &p.Addr, "http": &p.HTTP}); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// StartCeiling runs the server that does nothing, which speaks that protocol,
// resp or http, on a free port.
func StartCeiling(ctx context.Context, binary, dir, protocol string) (*Process, error) {
	p, err := launch(dir, "ceiling-"+protocol, binary, protocol)
	if err != nil {
		return nil, err
	}
	addr := &p.Addr
	if protocol == "http" {
		addr = &p.HTTP
	}
	if err := p.awaitPorts(ctx, map[string]*string{protocol: addr}); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// listening is how candado says where it listens.
var listening = regexp.MustCompile(`protocol=(\S+) addr=(\S+)`)

// awaitPorts sets the address of each protocol when the process has logged it.
func (p *Process) awaitPorts(ctx context.Context, addrs map[string]*string) error {
	return p.await(ctx, func() bool {
		text, _ := os.ReadFile(p.log) // none yet is not ready yet
		for _, found := range listening.FindAllSubmatch(text, -1) {
			if addr := addrs[string(found[1])]; addr != nil {
				*addr = string(found[2])
			}
		}
		for _, addr := range addrs {
			if *addr == "" {
				return false
			}
		}
		return true
	})
}
