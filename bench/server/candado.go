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
	binary := filepath.Join(dir, "candado")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+describe(ctx, root), "-o", binary, "./cmd/candado")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building candado: %w: %s", err, out)
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

// StartCandado runs a candado on a free port, without HTTP, and returns when it
// listens.
func StartCandado(ctx context.Context, binary, dir, name string, flags ...string) (*Process, error) {
	args := append([]string{"--listen", "127.0.0.1:0", "--http="}, flags...)
	p, err := launch(dir, name, binary, args...)
	if err != nil {
		return nil, err
	}
	listening := regexp.MustCompile(`protocol=resp addr=(\S+)`)
	err = p.await(ctx, func() bool {
		text, _ := os.ReadFile(p.log) // none yet is not ready yet
		found := listening.FindSubmatch(text)
		if found != nil {
			p.Addr = string(found[1])
		}
		return found != nil
	})
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}
