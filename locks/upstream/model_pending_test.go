package upstream

import "slices"

// What the model knows of leases that were granted from the queue and have their
// entries there still.

// ends ends a lease.
//
//go:norace
func (s *slot) ends() {
	s.token, s.till, s.whole, s.rest, s.flag, s.limbo = 0, 0, false, 0, 0, false
}

// renews gives a lease its whole TTL, by a script.
//
//go:norace
func (s *slot) renews(ttl int8) {
	s.till, s.whole, s.rest, s.flag = ttl, true, 0, 0
}

// begins is the beginning of a script: who looks ends what nobody has heard of.
//
//go:norace
func (m *model) begins() {
	for r := range m.slots {
		if m.slots[r].limbo {
			m.slots[r].ends()
		}
	}
}

// hasQueue reports whether there is a queue, be it without waiters.
//
//go:norace
func (m *model) hasQueue() bool {
	return m.head() >= 0 || m.nodes[0].known || m.nodes[1].known
}

// pending reports whether the record says that a holder's entry may be in the
// queue.
//
//go:norace
func (m *model) pending() bool {
	return slices.ContainsFunc(m.slots[:], func(s slot) bool { return s.flag > 0 })
}

// takeOut is the command that takes a request's first entry out of the queue, sent
// for a lease. It reports whether the entry was there.
//
//go:norace
func (m *model) takeOut(r int, token int8) (live bool) {
	s := &m.slots[r]
	if live = !s.again && (s.queued || s.rest > 0); live && (s.queued || s.token != token) {
		m.fail("an entry is taken out that is there for something else")
	}
	switch {
	case live && s.queued:
		s.queued = false
	case live:
		s.till, s.whole, s.rest, s.limbo, s.passed = s.rest, true, 0, false, false
	}
	m.note(op{kind: opTakeOut, slot: r, status: flag(live)})
	return live
}

// actsLate is acts for a confirm by the command that takes the entry out, which is
// not executed yet. It has no deadline.
//
//go:norace
func (m *model) actsLate(r int) {
	s := &m.slots[r]
	s.taking, s.news, s.told = s.news.token, news8{}, false
}

// prompt reports whether a request confirms its grant by that command.
//
//go:norace
func (m *model) prompt(r int, what news8) bool {
	s, ask := &m.slots[r], m.scope.asks[r]
	return what.kind == newsGranted && what.till == modelProvis && ask.ttl > modelProvis && !ask.shared && m.scope.broken != dontConfirm &&
		!s.back && !s.copied
}

// actsUnheard is acts for a confirm of which nothing is heard.
//
//go:norace
func (m *model) actsUnheard(r int, ran bool) {
	s := &m.slots[r]
	switch {
	case ran && m.prompt(r, s.news):
		m.takeOut(r, s.news.token)
	case ran:
		m.confirm(r, s.news.token)
	}
	s.news, s.told = news8{}, false
}
