package upstream

import (
	"slices"
	"strconv"
	"strings"
)

// The candados' half of the model, with the clients: wait.go, tend.go and
// doubts.go without their goroutines. A call and its reply are one action,
// unless one of them is lost, which is a fault.

// action is one thing that can happen.
type action struct {
	what string // with a verb for whom
	whom int
	cost int8 // faults that it takes
	do   func(m *model)
}

func (a action) String() string { return strings.Replace(a.what, "%", strconv.Itoa(a.whom), 1) }

// present reports whether the candado has a use for news of a request.
//
//go:norace
func (s *slot) present() bool { return s.phase == asking || s.phase == waits || s.phase == returns }

// tell gives news to a request.
//
//go:norace
func (m *model) tell(r int, what news8) {
	s := &m.slots[r]
	if s.present() && s.news.kind == 0 && what.kind != 0 {
		s.news, s.told = what, true
	}
}

//go:norace
func (m *model) deliver(own [slots]news8) {
	for r, what := range own {
		m.tell(r, what)
	}
}

// entered is what a candado does with the reply to an acquire.
//
//go:norace
func (m *model) entered(r, status int, first bool) {
	s := &m.slots[r]
	switch status {
	case statusDone:
		token := s.token
		if token == 0 {
			token = m.last
		}
		m.answers(r, token)
		return
	case statusWaits:
		s.phase, s.known, s.told = waits, true, s.news.kind != 0
		if first && m.scope.broken == doubtWaiters && s.unsure > 0 {
			s.doubt = true
		}
		return
	}
	s.phase, s.doubt = over, first && s.unsure > 0
}

// answers tells the client that it holds.
//
//go:norace
func (m *model) answers(r int, token int8) {
	s, ttl := &m.slots[r], m.scope.asks[r].ttl
	switch {
	case s.lost && s.token != token && ttl <= modelProvis:
		// A short lease is not asked about: the client has it as if it had been told before the data were lost. If
		// the request entered again beside the news, nobody waits for what comes of that: it ends as a dead candado's.
		s.stray = true
	case s.token == 0 || s.token != token:
		m.fail("a client is told of a lease that is over")
	case !s.whole || ttl > modelProvis && s.till != ttl:
		m.fail("a client is told of a lease that ends before its time")
	}
	s.phase, s.answer, s.left = holds, token, max(s.till, 1)
	s.lost = s.token != token
}

// sends runs an acquire whose reply comes.
//
//go:norace
func (m *model) sends(r int, at bool) {
	first := m.slots[r].phase != returns
	m.slots[r].back = m.slots[r].back || at
	status, own := m.acquire(r, at)
	m.deliver(own)
	m.entered(r, status, first)
}

// unanswered is an acquire of which nothing is heard: it has run, or is under
// way and may run until its deadline.
//
//go:norace
func (m *model) unanswered(r int, ran bool) {
	s := &m.slots[r]
	at := s.phase == returns
	s.back, s.copied = s.back || at, true
	if ran {
		m.acquire(r, at)
	} else {
		s.copyTill, s.copyAt = modelTimeout, at
	}
	s.unsure = modelTimeout
	if at {
		s.phase, s.told = waits, s.news.kind != 0
	} else {
		s.phase = asking
	}
}

// arrives runs a copy that was under way. If another copy was answered
// meanwhile, what this one makes is nobody's, should others have held the lock in
// between: it ends with its TTL, or provisionally. No copy that knows a place is
// ever beside another.
//
//go:norace
func (m *model) arrives(r int) {
	s := &m.slots[r]
	s.copyTill = 0
	s.stray = s.stray || s.answer != 0 && !s.copyAt
	m.acquire(r, s.copyAt)
}

// acts does what a request's news ask for.
//
//go:norace
func (m *model) acts(r int) {
	s := &m.slots[r]
	what := s.news
	s.news = news8{}
	if what.kind == gone {
		m.wantsIn(r)
		return
	}
	live := what.till > 0
	if m.prompt(r, what) && m.takeOut(r, what.token) {
		m.answers(r, what.token)
		return
	}
	if (m.scope.asks[r].ttl > modelProvis || what.kind == found) && m.scope.broken != dontConfirm {
		var own [slots]news8
		live, own = m.confirm(r, what.token)
		live = live || m.scope.broken == trustTheGrant
		m.deliver(own)
	}
	if live {
		m.answers(r, what.token)
	} else {
		s.told = s.news.kind != 0 // it may be old news: tending will tell
	}
}

// wantsIn lets a request in again, unless a copy of it may still come: then it
// waits to be found missing once more.
//
//go:norace
func (m *model) wantsIn(r int) {
	s := &m.slots[r]
	if s.unsure > 0 && m.scope.broken != returnAtOnce {
		s.told = s.news.kind != 0
		return
	}
	s.phase = returns
}

// leaves gives a request up.
//
//go:norace
func (m *model) leaves(r int, ran, heard bool) {
	s := &m.slots[r]
	s.phase, s.news, s.told = over, news8{}, false
	s.doubt = !heard || s.unsure > 0 && m.scope.broken != forgetCopies
	if !ran || m.scope.broken == leaveAlone {
		return
	}
	if own := m.undo(r); heard {
		m.deliver(own)
	}
}

// undoes settles a doubt, unless a copy may still come.
//
//go:norace
func (m *model) undoes(r int) {
	s := &m.slots[r]
	m.deliver(m.undo(r))
	s.doubt = s.unsure > 0
}

// releases ends a client's lease, through its candado or another that lives.
//
//go:norace
func (m *model) releases(r int, heard bool) {
	self := m.scope.asks[r].candado
	if !m.nodes[self].works() {
		self = 1 - self
	}
	own := m.release(r, self)
	m.slots[r].phase, m.slots[r].left = over, 0
	if heard {
		m.deliver(own)
	}
}

// tends looks after the lock.
//
//go:norace
func (m *model) tends(c int, heard bool) {
	m.nodes[c].tends = true
	var asked [slots]bool
	for r := range m.slots {
		asked[r] = m.scope.asks[r].candado == c && m.slots[r].phase == waits && !m.slots[r].told
	}
	fates, own := m.look(c, asked)
	if !heard {
		return
	}
	m.deliver(own)
	for r, fate := range fates {
		switch {
		case fate < 0:
			m.tell(r, news8{kind: gone})
		case fate > 0:
			what := news8{kind: found, token: fate}
			if m.scope.broken == trustTheFound {
				what = news8{newsGranted, fate, modelProvis}
			}
			m.tell(r, what)
		}
	}
}

// looks is tending by a candado that has no request there: it knows of a lease
// that has expired.
//
//go:norace
func (m *model) looks(c int) {
	_, own := m.look(c, [slots]bool{})
	m.deliver(own)
}

// works reports whether the candado does anything.
//
//go:norace
func (n *node) works() bool { return !n.dead && !n.frozen }

// room reports whether requests of a candado wait, and are looked after.
//
//go:norace
func (m *model) room(c int) bool {
	for r := range m.slots {
		if m.scope.asks[r].candado == c && (m.slots[r].phase == waits || m.slots[r].phase == returns) {
			return m.nodes[c].works()
		}
	}
	return false
}

// dies is the end of a candado. Its clients lose their connections; those that
// hold know it.
//
//go:norace
func (m *model) dies(c int) {
	m.nodes[c].dead = true
	for r := range m.slots {
		s := &m.slots[r]
		if m.scope.asks[r].candado != c {
			continue
		}
		s.news, s.told, s.doubt, s.unsure = news8{}, false, false, 0
		if s.phase != holds {
			s.phase = over
		}
	}
}

// cut is the end of a candado's subscription, with what was on it.
//
//go:norace
func (m *model) cut(c int) {
	m.nodes[c].hears = false
	for r := range m.slots {
		if m.scope.asks[r].candado == c {
			m.slots[r].message = news8{}
		}
	}
	m.note(op{kind: opCut, node: c})
}

//go:norace
func (m *model) listens(c int) {
	m.nodes[c].hears, m.nodes[c].tends = true, false
	m.note(op{kind: opListen, node: c})
}

// idle reports whether nothing is left that is done within less than a tick.
//
//go:norace
func (m *model) idle() bool {
	for r := range m.slots {
		s := &m.slots[r]
		switch {
		case !m.works(r):
		case s.message.kind != 0, s.news.kind != 0 && s.phase == waits, s.phase == returns, s.doubt && s.unsure == 0,
			s.phase == asking && s.unsure == 0:
			return false
		}
	}
	for c := range m.nodes {
		if n := m.nodes[c]; m.room(c) && (!n.hears || !n.tends && m.scope.broken != dontTend) {
			return false
		}
	}
	return true
}

//go:norace
func (m *model) works(r int) bool { return m.nodes[m.scope.asks[r].candado].works() }

//go:norace
func (m *model) frozen(r int) bool { return m.nodes[m.scope.asks[r].candado].frozen }

// refused is a script at a server that takes no writes. It ends at its first
// write, and has done nothing: but if it has told somebody before, that stays.
//
//go:norace
func (m *model) refused(c int) {
	before := m.state
	m.looks(c)
	after := m.state
	m.state = before
	for r := range m.slots {
		m.slots[r].message = after.slots[r].message
	}
}

// standsStill is a server that does nothing for a while. Candados may give their
// subscriptions up meanwhile.
//
//go:norace
func (m *model) standsStill(cut bool) {
	m.later = true
	for c := range m.nodes {
		n := &m.nodes[c]
		n.mute = n.mute || n.forgiven() // it is forgiven once, and had no time to speak: two standstills in a row may cost a place
	}
	for range modelStill {
		m.passes(false)
	}
	for c := range m.nodes {
		if n := m.nodes[c]; cut && n.works() && n.hears {
			m.cut(c)
		}
	}
}

// passes is a tick, in which the server answered or not.
//
//go:norace
func (m *model) passes(answered bool) {
	down := func(left *int8) { *left = max(*left-1, 0) }
	for r := range m.slots {
		s := &m.slots[r]
		if s.limbo && s.rest == 1 {
			s.ends()
		}
		if s.token != 0 && s.till == 1 && m.scope.broken != neverExpire {
			n := &m.nodes[m.scope.asks[r].candado]
			if !n.works() && !m.later {
				n.wastes = max(n.wastes, s.vain)
			}
			s.vain = 0
			s.passed = s.passed || s.phase == waits || s.phase == asking
			if s.limbo = s.taking != 0 && s.rest > 1; !s.limbo {
				s.ends()
			}
		}
		if s.phase == holds && s.left == 1 {
			s.phase = over
		}
		for _, left := range []*int8{&s.till, &s.rest, &s.flag, &s.message.till, &s.news.till, &s.unsure, &s.copyTill, &s.left} {
			down(left)
		}
	}
	for c := range m.nodes {
		n := &m.nodes[c]
		if n.known {
			n.mute = n.mute || n.frozen || answered && n.age > 0 && !n.tends
			if n.age += 2; n.age > ageForgot+2 {
				n.age -= 2
			}
		}
		n.tends = false
	}
	m.note(op{kind: opTick})
	m.age()
}

// age reckons all tokens from the clock anew. Those below it keep their order.
//
//go:norace
func (m *model) age() {
	var all [2 + 5*slots]*int8
	all[0], all[1] = &m.last, &m.peak
	for r := range m.slots {
		s := &m.slots[r]
		copy(all[2+5*r:], []*int8{&s.token, &s.answer, &s.message.token, &s.news.token, &s.taking})
	}
	room := [len(all)]int8{}
	old := room[:0]
	for _, t := range all {
		if *t == 0 {
			continue
		}
		*t -= tokensOfATick
		if *t < modelClock && !slices.Contains(old, *t) {
			old = append(old, *t)
		}
	}
	slices.Sort(old)
	for _, t := range all {
		if i := slices.Index(old, *t); *t != 0 && i >= 0 {
			*t = int8(modelClock - len(old) + i)
		}
	}
}

// actions lists what can happen.
//
//go:norace
func (m *model) actions() []action {
	all := make([]action, 0, 24)
	whom := 0
	add := func(cost int8, what string, do func(m *model)) {
		if cost == 0 || cost <= m.faults && strings.Contains(what, m.scope.just) {
			all = append(all, action{what, whom, cost, do})
		}
	}
	for whom = range m.scope.count {
		m.slotActions(whom, add)
	}
	for whom = range m.nodes {
		m.nodeActions(whom, add)
	}
	late := int8(1)
	if m.idle() {
		late = 0
	}
	add(late, "a tick passes", func(m *model) { m.passes(true) })
	add(late+1, "a tick passes, and the data are lost", func(m *model) { m.passes(true); m.lose() })
	add(1, "the server stands still", func(m *model) { m.standsStill(false) })
	add(1, "the server stands still, and nobody listens any more", func(m *model) { m.standsStill(true) })
	return all
}

// nodeActions lists what can happen to a candado.
//
//go:norace
func (m *model) nodeActions(c int, add func(cost int8, what string, do func(m *model))) {
	n := m.nodes[c]
	if m.room(c) && !n.tends && m.scope.broken != dontTend {
		add(0, "candado % tends", func(m *model) { m.tends(c, true) })
		add(1, "candado % tends and hears nothing", func(m *model) { m.tends(c, false) })
	}
	if n.works() && !m.room(c) && m.head() >= 0 {
		add(0, "candado % looks at the lock", func(m *model) { m.looks(c) })
	}
	if m.scope.broken == tellFirst && n.works() {
		add(1, "candado % looks at a server that takes no writes", func(m *model) { m.refused(c) })
	}
	switch {
	case n.dead && n.hears:
		add(0, "the server sees that candado % is gone", func(m *model) { m.cut(c) })
	case n.frozen:
		add(0, "candado % goes on", func(m *model) { m.goesOn(c) })
	case n.dead:
	case n.hears:
		add(1, "candado % loses its subscription", func(m *model) { m.cut(c) })
	default:
		add(0, "candado % subscribes again", func(m *model) { m.listens(c) })
	}
	if n.works() && m.nodes[1-c].works() {
		add(1, "candado % dies", func(m *model) { m.dies(c) })
		add(1, "candado % stands still", func(m *model) { m.nodes[c].frozen = true })
	}
}

// slotActions lists what can happen to a request.
//
//go:norace
func (m *model) slotActions(r int, add func(cost int8, what string, do func(m *model))) {
	s := &m.slots[r]
	if s.copyTill > 0 {
		add(0, "request % arrives late", func(m *model) { m.arrives(r) })
	}
	if s.taking != 0 {
		add(0, "request %'s entry is taken out late", func(m *model) { token := m.slots[r].taking; m.slots[r].taking = 0; m.takeOut(r, token) })
	}
	if s.message.kind != 0 && !m.frozen(r) {
		add(0, "request % is heard of", func(m *model) { what := m.slots[r].message; m.slots[r].message = news8{}; m.tell(r, what) })
		add(1, "request % has its message lost", func(m *model) { m.slots[r].message = news8{} })
	}
	if s.phase == holds {
		add(0, "request % is released", func(m *model) { m.releases(r, true) })
		add(1, "request % is released, unheard", func(m *model) { m.releases(r, false) })
	}
	if !m.works(r) {
		return
	}
	if s.doubt {
		add(0, "request % is undone", func(m *model) { m.undoes(r) })
	}
	switch s.phase {
	case idle:
		if r > 0 && m.slots[r-1].phase == idle && m.scope.asks[r] == m.scope.asks[r-1] {
			return // of two that are alike, either may be the first
		}
		add(0, "request % is made", func(m *model) { m.sends(r, false) })
	case asking:
		if s.unsure > 0 {
			add(0, "request % is sent again", func(m *model) { m.sends(r, false) })
		}
		add(0, "request % fails", func(m *model) { s := &m.slots[r]; s.phase, s.doubt, s.news, s.told = over, true, news8{}, false })
	case returns:
		add(0, "request % returns", func(m *model) { m.sends(r, true) })
	case waits:
		if s.news.kind != 0 {
			add(0, "request % acts", func(m *model) { m.acts(r) })
		}
		if s.news.kind == found || s.news.kind == newsGranted && m.scope.asks[r].ttl > modelProvis {
			add(1, "request % acts, and its reply is lost", func(m *model) { m.actsUnheard(r, true) })
			add(1, "request % acts in vain", func(m *model) { m.actsUnheard(r, false) })
			if m.prompt(r, s.news) {
				add(1, "request % acts, and is late", func(m *model) { m.actsLate(r) })
			}
		}
		add(0, "request % leaves", func(m *model) { m.leaves(r, true, true) })
		add(1, "request % leaves, and its reply is lost", func(m *model) { m.leaves(r, true, false) })
		add(1, "request % leaves in vain", func(m *model) { m.leaves(r, false, false) })
	}
	if s.phase == idle || s.phase == returns {
		add(1, "request % is sent, and its reply is lost", func(m *model) { m.unanswered(r, true) })
		if s.copyTill == 0 {
			add(1, "request % is sent, and is late", func(m *model) { m.unanswered(r, false) })
		}
	}
}
