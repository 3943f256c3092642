package scale

import (
	"strconv"

	"github.com/goodjobtech/candado/bench/cells"
	"github.com/goodjobtech/candado/bench/report"
)

const text = `The cost of an operation ought not to depend on how much else there is. Each table has ten times as much in each row as in the one above. A wrong reply makes the cell
FAILED. **plain Redis** does with ` + "`SET … NX PX`, `DEL` and `PEXPIRE`" + ` what a lock without tokens, owners and queue needs, on keys of the same names with values of 43 bytes.

- **Held locks**: exclusive ones with IDs of 20 bytes, in a server of its own for each row; all take turns. Some thousands of them, taken at random, are renewed, released and
  acquired again, on 16 connections with pipelines of 16: times are those between two replies. What is rarely touched is in no processor's cache, so some growth is to be expected of any server.
- **Connections**: all but 10 are idle. Those acquire and release, one command at a time: times are those between two replies of all.
- **Waiters**: each on a connection of its own, for one lock, which goes from hand to hand; the time is from before a release is sent until the next holder has its token.
- **Session leases**: on at most 100 connections, by pipelines of 16. They are kept for longer than their TTL, which is short, and then are all to be live. Candado
  renews them each third of that; the share of a processor is worked out for the default TTL of 30 s. In the end the connections are closed at once.`

// section makes the results of the topics.
func section(p plan, topics []topic) *report.Section {
	s := &report.Section{
		Name: "scale", Title: "Flatness at scale", Text: text,
	}
	if p.Limited != "" {
		s.Text += "\n\n" + p.Limited
	}
	var all []*cells.Cell
	for _, t := range topics {
		s.Goals = append(s.Goals, t.goals(p)...)
		s.Tables = append(s.Tables, t.tables()...)
		s.Plots = append(s.Plots, t.pictures()...)
		s.Faults = append(s.Faults, cells.Faults(t.cells)...)
		all = append(all, t.cells...)
	}
	s.Data = struct {
		Plan  plan          `json:"plan"`
		Cells []*cells.Cell `json:"cells"`
	}{p, all}
	return s
}

// goals are those of the bytes that a held lock takes, where there are most.
func (t *topic) goals(p plan) []report.Goal {
	if t.what != heldLocks {
		return nil
	}
	n := strconv.Itoa(p.Held[len(p.Held)-1])
	goal := func(contender, short string, most float64) report.Goal {
		return report.Goal{
			Workload: "memory of a held lock, " + short + ", " + n + " held", Against: "packed string with PX, same key names",
			Measured: cells.Of(t.cells, n+" "+heldLocks, contender, bytesToPlain), Goal: most, Stretch: 1, AtMost: true,
		}
	}
	return []report.Goal{goal(onRedis, "on Redis", 1.15), goal(embedded, "embedded", 1.3)}
}
