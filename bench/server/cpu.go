package server

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of /proc/PID/stat: USER_HZ, 100 a second on every Linux that
// Go runs on.
const tick = 10 * time.Millisecond

// CPU returns the processor time that the process has consumed, in steps of
// 10 ms, from Linux's /proc.
func (p *Process) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("reading the processor time of %s: %w", p.Name, err)
	}
	return parseStat(string(text))
}

// parseStat returns utime plus stime, the 14th and 15th field of proc(5). The
// second, the program's name in parentheses, may hold anything.
func parseStat(text string) (time.Duration, error) {
	const utime, stime = 14 - 3, 15 - 3 // among those after the name
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= stime {
		return 0, fmt.Errorf("/proc/PID/stat has %d fields after the name", len(fields))
	}
	var total time.Duration
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}

// OwnCPU returns the processor time that the calling process has consumed.
func OwnCPU() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("reading the processor time of the generator: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// Team is the servers that work for one contender.
type Team struct {
	Service *Process // candado, or what stands in its place; nil: clients speak to Redis
	Redis   *Redis   // nil: it needs none
}

// Usage is the processor time that a team and the generator have consumed.
type Usage struct{ Service, Redis, Generator time.Duration }

// Usage reads what the team and the calling process have consumed so far.
func (t Team) Usage() (u Usage, err error) {
	if t.Service != nil {
		if u.Service, err = t.Service.CPU(); err != nil {
			return u, err
		}
	}
	if t.Redis != nil {
		if u.Redis, err = t.Redis.CPU(); err != nil {
			return u, err
		}
	}
	u.Generator, err = OwnCPU()
	return u, err
}

// Since returns what was consumed since before.
func (u Usage) Since(before Usage) Usage {
	return Usage{u.Service - before.Service, u.Redis - before.Redis, u.Generator - before.Generator}
}
