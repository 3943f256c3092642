package main

// This file is what a run leaves behind.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// setting is what a result needs to be understood later.
type setting struct {
	Candado string    `json:"candado"`
	Redis   string    `json:"redis"`
	Go      string    `json:"go"`
	CPUs    int       `json:"cpus"`
	Load    string    `json:"load_average"` // of the machine, in the minute before
	Began   time.Time `json:"began"`
}

func (s setting) String() string {
	return fmt.Sprintf("%s, Redis %s, %s, %d processors, load average %s", s.Candado, s.Redis, s.Go, s.CPUs, s.Load)
}

func describe(ctx context.Context, o *options, f *field) (s setting, err error) {
	version, err := exec.CommandContext(ctx, o.binary, "version").Output()
	if err != nil {
		return s, fmt.Errorf("asking candado for its version: %w", err)
	}
	redis, err := f.redis.Version(ctx)
	if err != nil {
		return s, err
	}
	return setting{
		Candado: strings.TrimSpace(string(version)), Redis: redis, Go: runtime.Version(), CPUs: runtime.NumCPU(),
		Load: loadAverage(), Began: time.Now().UTC(),
	}, nil
}

// loadAverage returns how busy the machine has been in the last minute; empty
// where that is not told.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg") // none elsewhere than on Linux
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}

// leave prints the table, and writes it and all figures to files.
func (o *options) leave(about setting, cells []*Cell) error {
	if err := os.MkdirAll(o.results, 0o755); err != nil {
		return err
	}
	base := filepath.Join(o.results, "handoff-"+about.Began.Format("20060102T150405Z"))
	data, err := json.MarshalIndent(struct {
		setting
		Plan  plan    `json:"plan"`
		Cells []*Cell `json:"cells"`
	}{about, o.plan, cells}, "", "  ")
	if err != nil {
		return err
	}
	text, err := os.Create(base + ".txt")
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(text, about) // an error comes again with the table
	err = errors.Join(
		os.WriteFile(base+".json", append(data, '\n'), 0o644),
		writeTable(io.MultiWriter(os.Stdout, text), cells),
		writeDetails(text, cells),
		text.Close(),
	)
	fmt.Printf("\nleft in %s.json and .txt\n", base)
	return err
}
