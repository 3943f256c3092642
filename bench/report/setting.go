package report

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Setting is what a result needs to be understood later.
type Setting struct {
	Candado string    `json:"candado"`
	Redis   string    `json:"redis"`
	Go      string    `json:"go"`
	System  string    `json:"system"`
	CPU     string    `json:"cpu"`
	CPUs    int       `json:"cpus"`
	Memory  string    `json:"memory"`
	Load    string    `json:"load_average"` // of the machine, in the minute before
	Began   time.Time `json:"began"`
}

// Describe finds out about the machine and the programs.
func Describe(ctx context.Context, candado string) (s Setting, err error) {
	version, err := exec.CommandContext(ctx, candado, "version").Output()
	if err != nil {
		return s, fmt.Errorf("asking candado for its version: %w", err)
	}
	redis, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return s, fmt.Errorf("asking redis-server for its version: %w", err)
	}
	s = Setting{
		Candado: strings.TrimSpace(string(version)), Redis: redisVersion(string(redis)), Go: runtime.Version(),
		System: runtime.GOOS + "/" + runtime.GOARCH, CPU: procField("/proc/cpuinfo", "model name"), CPUs: runtime.NumCPU(),
		Memory: procField("/proc/meminfo", "MemTotal"), Load: loadAverage(), Began: time.Now().UTC(),
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.System += ", kernel " + strings.TrimSpace(string(kernel))
	}
	return s, nil
}

// redisVersion returns the word after "v=".
func redisVersion(text string) string {
	_, after, _ := strings.Cut(text, "v=")
	version, _, _ := strings.Cut(after, " ")
	return version
}

// procField returns the first value of a name in a file of Linux's /proc; empty
// elsewhere.
func procField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverage returns how busy the machine has been in the last minute; empty
// where that is not told.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg") // none elsewhere than on Linux
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}

func (s Setting) lines() []string {
	return []string{
		s.Began.Format("2006-01-02 15:04 UTC"),
		fmt.Sprintf("%s; Redis %s; %s", s.Candado, s.Redis, s.Go),
		fmt.Sprintf("%s, %d processors (%s), %s memory, load average %s before it began", s.System, s.CPUs, s.CPU, s.Memory, s.Load),
	}
}
