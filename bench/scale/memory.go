package scale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goodjobtech/candado/bench/server"
)

// resident returns how many bytes of a process are in memory.
func resident(p *server.Process) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of %s: %w", p.Name, err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("reading the memory of %s: %q", p.Name, text)
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()), err
}

// used returns the bytes that Redis has allocated, by its used_memory.
func used(ctx context.Context, r *server.Redis) (float64, error) {
	c, err := dial(ctx, r.Addr, false)
	if err != nil {
		return 0, err
	}
	defer c.close()
	text, err := c.info("memory")
	if err != nil {
		return 0, err
	}
	return number(text, "used_memory:")
}

// number returns what follows a name at the start of a line.
func number(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, name); found {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("there is no %s in %d bytes of figures", name, len(text))
}

// live returns the bytes of candado's heap that are referred to. Its heap holds
// garbage as well: so it is made to collect, by requests that leave garbage, and
// the least is taken that is seen in two collections. What is left of a second's
// garbage is within a megabyte.
func live(ctx context.Context, p *server.Process, fill int) (float64, error) {
	c, err := dial(ctx, p.Addr, false)
	if err != nil {
		return 0, err
	}
	defer c.close()
	var least, first float64
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		text, err := metrics(ctx, p)
		if err != nil {
			return 0, err
		}
		cycles, err := number(text, "go_gc_duration_seconds_count ")
		if err != nil {
			return 0, err
		}
		heap, err := number(text, "go_memstats_heap_alloc_bytes ")
		if err != nil {
			return 0, err
		}
		if least == 0 {
			least, first = heap, cycles
		}
		if least = min(least, heap); cycles >= first+2 {
			return least, nil
		}
		if fill >= 500_000 { // the metrics alone would take long to fill such a heap
			if err := c.scan(); err != nil {
				return 0, err
			}
		}
	}
	return 0, errors.New("candado's heap is not collected")
}

// scan looks at many locks, and finds none: garbage for candado.
func (c *conn) scan() error {
	c.put("LOCK.SCAN", "0", "MATCH", "none", "COUNT", "10000")
	if _, err := c.send(); err != nil {
		return err
	}
	for i := range 4 { // an array of two: a cursor, which is a bulk string, and an empty array
		line, err := c.line()
		if err != nil {
			return err
		}
		if want := []string{"*2", "$", "", "*0"}[i]; !strings.HasPrefix(string(line), want) {
			return fmt.Errorf("LOCK.SCAN answered %q, want %q", line, want)
		}
	}
	return nil
}

// metrics returns what candado tells Prometheus.
func metrics(ctx context.Context, p *server.Process) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.HTTP+"/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("/metrics answered %s", resp.Status)
	}
	return string(text), nil
}
