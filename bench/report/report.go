// Package report holds what all sections of the benchmark share: the shape of a
// section and of its results, and how they are written for people and machines.
package report

import (
	"context"
	"time"
)

// Part is a section as the harness runs it: a package of bench has a function
// that returns its Part, and bench/run lists them.
type Part struct {
	Name string // one word, as -sections takes it, and file names begin with it

	// Expected returns about how long Run takes.
	Expected func(p Plan) time.Duration

	// Run measures. It returns an error only if there is nothing to report, or
	// ctx has ended; what went wrong in a single measurement is a fault of the
	// section. Run stops all that it started, however it ends.
	Run func(ctx context.Context, env *Env) (*Section, error)
}

// Env is what a section works with.
type Env struct {
	Root    string // candado's sources
	Dir     string // takes logs and other temporary files; the harness removes it
	Candado string // candado's binary
	Ceiling string // the binary of bench/ceiling

	Plan Plan

	// Progress shows one line to whoever waits. It is never nil.
	Progress func(line string)
}

// Plan is how much to measure. What is zero or empty is the section's to choose,
// by Quick.
type Plan struct {
	Quick  bool          `json:"quick"`     // all of it within two minutes: whether all works, and roughly how fast
	Rounds int           `json:"rounds"`    // the contenders take turns in each
	Length time.Duration `json:"length_ns"` // of one measurement
	Warmup time.Duration `json:"warmup_ns"` // before it

	Only    []string        `json:"only,omitempty"`     // contenders
	Clients []int           `json:"clients,omitempty"`  // section pairs
	Workers []int           `json:"workers,omitempty"`  // section handoff
	Holds   []time.Duration `json:"holds_ns,omitempty"` // section handoff
}

// Section is what one part of the benchmark has found.
type Section struct {
	Name  string `json:"name"`
	Title string `json:"title"`

	// Text says in Markdown what was measured and how to read it; a paragraph or
	// two. It stands before the tables.
	Text string `json:"text,omitempty"`

	Tables []Table `json:"-"`
	Plots  []Plot  `json:"-"`
	Goals  []Goal  `json:"goals,omitempty"`

	// Faults are what was wrong: wrong replies, servers that ended. If there is
	// one, the command fails once all is reported.
	Faults []string `json:"faults,omitempty"`

	// Data is every figure, for the JSON file.
	Data any `json:"data"`
}

// Table is shown in the terminal and in the report. Its texts are plain: the
// report escapes what Markdown would take for its own.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
	Note  string // stands below
}

// Plot is a picture beside the report, in a file SECTION-NAME.svg.
type Plot struct {
	Name    string
	Caption string
	SVG     []byte
}
