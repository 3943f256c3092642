package upstream

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// This file judges what a server says of itself: whether locks are safe in it. It
// asks nobody; watch.go does.

const (
	// clockMost is how far the server's clock may be from ours.
	clockMost = time.Minute

	// oldest is the first version of Redis that can run the scripts: they read the
	// clock and then write, which needs their effects to be replicated, not themselves.
	oldest = 5
)

// Reason is one way in which a server can be unsafe for locks.
type Reason int

// The reasons. There are no others.
const (
	Eviction    Reason = iota // it deletes keys when its memory is used up
	Replica                   // it is a replica
	Persistence               // it saves nothing
	Clock                     // its clock is far from ours
	Version                   // it is too old for the scripts
	reasons
)

// String returns the reason as logs and metrics name it.
func (r Reason) String() string {
	return [reasons]string{"eviction", "replica", "persistence", "clock", "version"}[r]
}

// Reasons returns all reasons.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// State is what is known of a server in respect of one Reason.
type State int

// The states.
const (
	Unknown State = iota - 1 // not looked at yet, or it does not say
	Safe
	Unsafe
)

// Finding is how a server stands in respect of one Reason. The texts are empty
// unless it is Unsafe.
type Finding struct {
	State  State
	Found  string // what was found, such as "maxmemory-policy is allkeys-lru"
	Risk   string // what may happen to locks because of it
	Remedy string // what to set instead

	kind string // what makes it another finding than the one before; numbers that always change do not
}

// findings are how a server stands, by Reason.
type findings [reasons]Finding

// unknown is what is known of a server that nobody has looked at.
func unknown() (f findings) {
	for i := range f {
		f[i].State = Unknown
	}
	return f
}

// facts are what a server says of itself.
type facts struct {
	info   map[string]string // fields of INFO
	config map[string]string // parameters, as far as INFO does not tell them
	timed  bool              // whether it said its time
	ahead  time.Duration     // by how much its clock is ahead of ours
	unsure time.Duration     // by how much that may be wrong
	denied error             // why something could not be read; nil: all could
}

// parameters are what CONFIG is asked about, and the field of INFO that tells the
// same.
func parameters() [3]struct{ name, field string } {
	return [...]struct{ name, field string }{
		{"maxmemory-policy", "maxmemory_policy"},
		{"appendonly", "aof_enabled"},
		{"save", ""},
	}
}

// setting returns a parameter by either of its sources; empty: not known.
func (f facts) setting(field, name string) string {
	if v := f.info[field]; v != "" {
		return v
	}
	return f.config[name]
}

// logsWrites reports whether the server is known to keep a log of all writes.
func (f facts) logsWrites() bool {
	log := f.setting("aof_enabled", "appendonly")
	return log == "1" || log == "yes"
}

// judge returns how the server stands.
func judge(f facts) findings {
	return findings{
		Eviction:    judgeEviction(f),
		Replica:     judgeReplica(f),
		Persistence: judgePersistence(f),
		Clock:       judgeClock(f),
		Version:     judgeVersion(f),
	}
}

func judgeEviction(f facts) Finding {
	switch policy := f.setting("maxmemory_policy", "maxmemory-policy"); policy {
	case "":
		return Finding{State: Unknown}
	case "noeviction":
		return Finding{}
	default:
		return Finding{
			State:  Unsafe,
			kind:   policy,
			Found:  "maxmemory-policy is " + policy,
			Risk:   "when its memory is used up it deletes locks that are held, and others acquire them",
			Remedy: "set maxmemory-policy noeviction",
		}
	}
}

func judgeReplica(f facts) Finding {
	switch f.info["role"] {
	case "":
		return Finding{State: Unknown}
	case "master":
		return Finding{}
	}
	replica := Finding{
		State:  Unsafe,
		kind:   "read-only",
		Found:  "it is a read-only replica",
		Risk:   "it takes no writes, so every request is UNAVAILABLE",
		Remedy: "name the primary as the upstream",
	}
	if f.info["slave_read_only"] == "0" {
		replica.kind, replica.Found = "writable", "it is a writable replica"
		replica.Risk = "its primary knows nothing of the locks that it grants, and they are lost when it is brought in step again"
	}
	return replica
}

func judgePersistence(f facts) Finding {
	save, told := f.config["save"] // INFO does not tell whether snapshots are made
	switch {
	case f.logsWrites(), save != "":
		return Finding{}
	case !told, f.setting("aof_enabled", "appendonly") == "":
		return Finding{State: Unknown}
	}
	return Finding{
		State:  Unsafe,
		Found:  "it saves nothing (appendonly no, and no save)",
		Risk:   "when it restarts all locks are free, and others acquire those that are held",
		Remedy: "set appendonly yes",
	}
}

func judgeClock(f facts) Finding {
	switch off := f.ahead.Abs(); {
	case !f.timed:
		return Finding{State: Unknown}
	case off-f.unsure <= clockMost:
		return Finding{}
	default:
		far := Finding{
			State:  Unsafe,
			kind:   "ahead",
			Found:  fmt.Sprintf("its clock is %v ahead of candado's", off.Round(time.Second)),
			Risk:   "when it is set right, leases last longer by as much, and tokens may fall back if its data is lost with that",
			Remedy: "keep both clocks right by NTP",
		}
		if f.ahead < 0 {
			far.kind, far.Found = "behind", fmt.Sprintf("its clock is %v behind candado's", off.Round(time.Second))
			far.Risk = "when it is set right, leases end early by as much, and others acquire what is still held"
		}
		return far
	}
}

func judgeVersion(f facts) Finding {
	version := f.info["redis_version"]
	first, _, _ := strings.Cut(version, ".")
	switch major, err := strconv.Atoi(first); {
	case err != nil:
		return Finding{State: Unknown}
	case major >= oldest:
		return Finding{}
	}
	return Finding{
		State:  Unsafe,
		kind:   version,
		Found:  "it is Redis " + version,
		Risk:   "it can't run candado's scripts, so every request is UNAVAILABLE",
		Remedy: fmt.Sprintf("run Redis %d or later", oldest),
	}
}

// refusal says that requests are not sent, and why. It is an errUnsent: the server
// knows nothing of them.
type refusal struct{ unsafe *locks.UnsafeError }

func (r *refusal) Error() string        { return r.unsafe.Error() }
func (r *refusal) Unwrap() error        { return r.unsafe }
func (r *refusal) Is(target error) bool { return target == errUnsent }

// refusal returns why a strict engine does not serve on such a server; nil: it
// does. What is not known is no reason.
func (f findings) refusal() *refusal {
	var why []string
	for _, finding := range f {
		if finding.State == Unsafe {
			why = append(why, fmt.Sprintf("%s (%s)", finding.Found, finding.Remedy))
		}
	}
	if why == nil {
		return nil
	}
	return &refusal{&locks.UnsafeError{Reason: strings.Join(why, "; ")}}
}

// named returns the reasons that are in that state, as a list.
func (f findings) named(s State) string {
	var names []string
	for i, finding := range f {
		if finding.State == s {
			names = append(names, Reason(i).String())
		}
	}
	return strings.Join(names, ",")
}
