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
// garbage as well: so it is made to collect twice, by requests that leave
// garbage, and the least is taken that is seen. What becomes garbage while it
// collects is not found: so none is made then, when the second collection is near.
func live(ctx context.Context, p *server.Process) (float64, error) {
	c, err := dial(ctx, p.Addr, false)
	if err != nil {
		return 0, err
	}
	defer c.close()
	h, err := readHeap(ctx, p)
	if err != nil {
		return 0, err
	}
	least, until, after := h.allocated, h.cycles+2, 0
	for began := time.Now(); time.Since(began) < patience; {
		if h, err = readHeap(ctx, p); err != nil {
			return 0, err
		}
		least = min(least, h.allocated)
		near := h.cycles == until-1 && h.allocated > 0.8*h.goal
		switch {
		case h.cycles >= until:
			if after++; after > 10 {
				return least, nil
			}
			time.Sleep(20 * time.Millisecond) // it sweeps
		case h.goal > 100e6 || h.goal > 20e6 && !near:
			err = c.scan() // the metrics alone leave too little
		}
		if err == nil && near {
			err = idle(ctx, p)
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("candado's heap is not collected")
}

// idle returns when a process that nobody asks anything has nothing to do: when it
// does not collect.
func idle(ctx context.Context, p *server.Process) error {
	for began := time.Now(); time.Since(began) < patience; {
		before, err := p.CPU()
		if err != nil {
			return err
		}
		time.Sleep(30 * time.Millisecond)
		after, err := p.CPU()
		if err != nil || after == before {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return errors.New("candado does not come to rest")
}

// heap is the state of a Go heap.
type heap struct {
	cycles, allocated float64
	goal              float64 // at about which size it collects next
}

func readHeap(ctx context.Context, p *server.Process) (h heap, err error) {
	text, err := metrics(ctx, p)
	if err != nil {
		return h, err
	}
	for name, to := range map[string]*float64{
		"go_gc_duration_seconds_count ": &h.cycles,
		"go_memstats_heap_alloc_bytes ": &h.allocated,
		"go_memstats_next_gc_bytes ":    &h.goal,
	} {
		if *to, err = number(text, name); err != nil {
			return h, err
		}
	}
	return h, nil
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
