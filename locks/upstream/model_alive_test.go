package upstream

// What the model's server makes of who has said that he lives, and when.

// How long ago a candado was heard of, in half ticks of 1.48 s: an even number if it
// has spoken, an odd one if it was forgiven, which makes it half a second.
const (
	ageForgiven = 1 // SILENT - GRACE
	ageGap      = 2 // the last age within GAP, 1.5 s
	ageSilent   = 4 // the same, SILENT, 3 s
	ageForgot   = 7 // the same, FORGOTTEN, 5 s
)

// verdict is what a script finds about a candado.
type verdict int8

const (
	dead   verdict = iota
	unsure         // the caller can't tell whether it could speak
	silent         // it lives, and said so a while ago
	lively         // it has just said so
)

// forgiven reports whether the candado was, and has not spoken since.
//
//go:norace
func (n *node) forgiven() bool { return n.known && n.age%2 == 1 }

// forgive gives everybody time to speak, once, if nobody could.
//
//go:norace
func (m *model) forgive() {
	newest := int8(ageForgot + 1)
	for _, n := range m.nodes {
		if n.known {
			newest = min(newest, n.age)
		}
	}
	if newest <= ageGap || m.scope.broken == forgiveNobody {
		return
	}
	for c := range m.nodes {
		if n := &m.nodes[c]; n.known && n.age > ageForgiven && (!n.forgiven() || m.scope.broken == forgiveForEver) {
			n.age = ageForgiven
		}
	}
}

// lives judges a candado on behalf of the calling one.
//
//go:norace
func (m *model) lives(self, c int) verdict {
	n, caller := &m.nodes[c], &m.nodes[self]
	switch {
	case m.scope.broken == trustTheSilent, c == self, n.known && n.age <= ageGap:
		return lively
	case !caller.known:
		bound := int8(ageForgot)
		switch m.scope.broken {
		case outsidersAreHasty:
			bound = ageGap
		case outsidersNeverJudge:
			bound = ageForgot + 2
		}
		if n.known && n.age <= bound {
			return unsure
		}
		return dead
	case caller.age > ageGap:
		m.forgive()
	}
	switch {
	case n.known && n.age <= ageGap:
		return lively
	case n.known && n.age <= ageSilent:
		return silent
	}
	return dead
}

// refresh says that a candado lives.
//
//go:norace
func (m *model) refresh(self int) {
	n := &m.nodes[self]
	if m.scope.broken == speakFirst {
		n.known, n.age = true, 0
	}
	m.forgive()
	n.known, n.age, n.mute = true, 0, false
}

// goesOn ends a candado's standstill.
//
//go:norace
func (m *model) goesOn(c int) {
	m.nodes[c].frozen, m.nodes[c].wastes = false, 0
	for r := range m.slots {
		if m.scope.asks[r].candado == c {
			m.slots[r].vain = 0
		}
	}
}
