package upstream

// A model of the protocol by which requests wait on Redis, small enough that all
// its states can be met. This file is the server's half: what the scripts do to
// one lock. model_candado_test.go is the candados' half with the clients,
// model_check_test.go says what must hold, model_explore_test.go meets all
// states, and model_replay_test.go plays paths of the model to the real scripts.
//
// Time goes in ticks of almost a second and a half: who speaks once in each is
// within GAP. Every request is made once. Times are what remains, and tokens are
// reckoned from the clock, so that the states are finitely many. That tending takes the requests of the dead out in steps needs more of them
// than there are here, and so does serving that stops at MOST.
//
// Each search is one goroutine's own, of millions of steps. The race detector, which would take
// two thirds of their time, is told to leave the model alone (go:norace).

const (
	slots         = 4 // requests
	candados      = 2
	modelLease    = 4 // ticks of a TTL that needs to be confirmed
	modelShort    = 2 // ticks of one that does not; not less than the time-out, or its client may be answered after its end
	modelProvis   = 3 // PROVISIONAL, in ticks, rounded up
	modelUnheard  = 2 // UNHEARD
	modelStill    = 2 // for how long a server stands still: with a tick of silence before, less than FORGOTTEN
	modelTimeout  = 2 // the engine's time-out, rounded up
	modelClock    = 100
	tokensOfATick = 8 // more than are minted in one
)

// slot is one request, wherever something is known of it.
type slot struct {
	// On the server:
	queued bool
	place  int8 // in the order of all places that there were; 0: none
	first  int8 // the place that it had before it lost any
	token  int8 // of its live lease; 0: it has none
	till   int8 // what remains of the lease
	whole  bool // whether the lease was given its whole TTL
	rest   int8 // what remains of the whole TTL, while the request's entry is in the queue and nobody is known to have heard of the lease
	flag   int8 // for so long the record says that the entry may be there
	limbo  bool // the entry ought to be out by now, and nobody has looked
	again  bool // the entry is that of one who came back
	vain   int8 // 1: the lease was made from the queue while its candado did nothing; 2: and was forgiven that

	// On the way:
	message  news8 // published, and not yet heard
	copyTill int8  // a copy of its acquire is under way, and may run for so long; 0: none is
	copyAt   bool  // that copy knows the place

	// At its candado and its client:
	phase  phase
	known  bool // the candado knows the place
	news   news8
	told   bool
	unsure int8 // for so long a copy that got no answer may run
	back   bool // it has asked for its place again
	copied bool // a copy of it got no answer
	taking int8 // the lease for which a command that takes the entry out is under way; 0: none is
	doubt  bool // the candado is to take the request back
	answer int8 // the token that the client was told of
	left   int8 // what remains of that lease, as the client reckons
	lost   bool // its lease was lost with the data
	passed bool // it lost its place without its doing, and is not back yet
	stray  bool // a copy of it ran after its client was answered
}

// phase is how far a request has come.
type phase int8

const (
	idle    phase = iota
	asking        // sent, and not answered
	waits         // in the queue, for all that its candado knows
	returns       // to be let in again
	holds
	over
)

// news8 is what a request is told.
type news8 struct {
	kind  int8 // newsGranted, found or gone
	token int8
	till  int8
}

const (
	found = 8 // a grant that was found by tending: when it ends is not known
	gone  = 9 // newsGone; 0 is nothing here
)

// node is one candado.
type node struct {
	dead   bool
	frozen bool // it does nothing for a while
	hears  bool // it has a subscription, as the server sees it
	known  bool // it is among those who have said that they live
	age    int8 // since it said so
	mute   bool // it did not say so when it could have
	wastes int8 // it does nothing, and such a lease of its requests has run out: the highest vain of them
	tends  bool // it has tended in this tick
}

// state is everything, and comparable.
type state struct {
	slots  [slots]slot
	nodes  [candados]node
	last   int8 // the record's last token
	latest int8 // 1 + the slot that was granted last
	peak   int8 // the highest token ever
	later  bool // somebody's last word counted later than it was said: the server stood still, or a copy was late
	faults int8 // that may still happen
}

// model is a state and what is being done to it.
type model struct {
	state
	scope *scope
	trace *[]op       // nil: nobody wants to know
	sent  [slots]bool // what the script that runs has published
	doubt bool        // the script that runs could not tell whether the first lives
	wrong string      // what was seen to be wrong on the way
}

//go:norace
func (m *model) fail(what string) {
	if m.wrong == "" {
		m.wrong = what
	}
}

// note ends a script: it records that it was run; see model_replay_test.go.
//
//go:norace
func (m *model) note(o op) {
	if r := m.head(); r >= 0 && o.kind <= opTend && !m.doubt && m.admits(r) {
		m.fail("a lock is left free although a request waits")
	}
	m.doubt = false
	if m.trace != nil {
		o.sent, o.after = m.sent, m.state
		m.sent = [slots]bool{}
		*m.trace = append(*m.trace, o)
	}
}

// holders returns how many leases live, and whether they are shared.
//
//go:norace
func (m *model) holders() (n int, shared bool) {
	for i := range m.slots {
		if m.slots[i].token != 0 {
			n, shared = n+1, m.scope.asks[i].shared
		}
	}
	return n, shared
}

//go:norace
func (m *model) admits(r int) bool {
	n, shared := m.holders()
	ask := m.scope.asks[r]
	if m.scope.broken == ignoreHolders && n > 0 {
		return true
	}
	return n == 0 || shared && ask.shared && (ask.limit == 0 || n < ask.limit)
}

// head returns who stands first in the queue, or -1.
//
//go:norace
func (m *model) head() int {
	first := -1
	for i := range m.slots {
		if m.slots[i].queued && (first < 0 || m.slots[i].place < m.slots[first].place) {
			first = i
		}
	}
	return first
}

// grant makes the lease of a request.
//
//go:norace
func (m *model) grant(r int, till int8, whole bool) {
	token := max(m.last+1, modelClock)
	if m.scope.broken == forgetLast {
		token = modelClock
	}
	if token <= m.peak {
		m.fail("a token does not increase")
	}
	if n, shared := m.holders(); n > 0 && (!shared || !m.scope.asks[r].shared) {
		m.fail("an exclusive lease lives beside another")
	} else if limit := m.scope.asks[r].limit; limit > 0 && n >= limit {
		m.fail("a limit is passed")
	}
	for i := range m.slots {
		s := &m.slots[i]
		if i != r && s.first != 0 && (m.slots[r].first == 0 || s.first < m.slots[r].first) && s.token == 0 && !s.passed &&
			(s.phase == waits || s.phase == asking && s.queued) && !m.dead(i) {
			m.fail("a request was granted before one that came earlier")
		}
	}
	s := &m.slots[r]
	s.token, s.till, s.whole, s.passed = token, till, whole, false
	s.lost = s.lost && (s.phase == holds || s.news.kind != 0 || s.message.kind != 0) // what was lost does not come back
	m.last, m.latest, m.peak = token, int8(r)+1, max(m.peak, token)
}

//go:norace
func (m *model) dead(r int) bool { return m.nodes[m.scope.asks[r].candado].dead }

// drops takes a request out of the queue that is not to be granted. Nobody who
// speaks when he can loses his place so, however long the server stood still; but
// an outsider, who can't know of that, takes nobody into account who was silent for
// longer than FORGOTTEN.
//
//go:norace
func (m *model) drops(self, r int) {
	s, n := &m.slots[r], &m.nodes[m.scope.asks[r].candado]
	if judge := m.nodes[self].known; s.present() && !n.dead && !n.mute && (judge || n.age <= ageForgot) {
		m.fail("a request lost its place although its candado spoke whenever it could")
	}
	s.queued, s.passed = false, true
}

// serve grants what can be granted to those who wait. What the calling candado
// is to be told of its own requests is returned.
//
//go:norace
func (m *model) serve(self int) (own [slots]news8) {
	if n, shared := m.holders(); n > 0 && !shared && m.pending() {
		return own
	}
	for r := m.head(); r >= 0; r = m.head() {
		if n, shared := m.holders(); n > 0 && !shared && m.scope.broken != ignoreHolders {
			return own
		}
		s, c := &m.slots[r], m.scope.asks[r].candado
		n := &m.nodes[c]
		lives := m.lives(self, c)
		if m.doubt = lives == unsure; m.doubt || lives > unsure && !m.admits(r) {
			return own
		}
		told := c == self || n.hears
		if lives == dead || !told && (lives == silent && m.scope.broken != grantUnheard || m.scope.broken == dropUntold) {
			m.drops(self, r)
			continue
		}
		// A dead candado's request holds provisionally, no longer: 4 s. It comes to
		// that only if the candado listens, as the server sees it, or has just been
		// heard of or forgiven.
		if c != self && (!n.known || n.age > ageSilent || !told && n.age > ageGap) {
			m.fail("a candado that is silent was granted a lease")
		}
		// One that does nothing is granted the lock for one lease's provisional time after its last word, and for one more after
		// it was forgiven; several shared ones count as one. Its other requests are dropped.
		if n.wastes == 2 || n.wastes == 1 && !n.forgiven() {
			m.fail("a candado that does nothing holds again and again")
		}
		s.queued = false
		ttl := m.scope.asks[r].ttl
		till := min(ttl, modelProvis)
		if !told {
			till = min(ttl, modelUnheard)
		}
		if m.scope.broken == grantWhole {
			till = ttl
		}
		m.grant(r, till, ttl <= modelProvis)
		if ttl > modelProvis && !m.scope.asks[r].shared {
			s.rest, s.flag = ttl, till
		}
		switch {
		case n.works():
		case n.forgiven():
			s.vain = 2
		default:
			s.vain = 1
		}
		what := news8{newsGranted, s.token, till}
		switch {
		case c == self:
			own[r] = what
		case told:
			s.message, m.sent[r] = what, true
		}
		if !m.scope.asks[r].shared && m.scope.broken != ignoreHolders {
			return own
		}
	}
	m.quiet()
	return own
}

// quiet forgets who lives, once the queue is empty.
//
//go:norace
func (m *model) quiet() {
	if m.head() < 0 {
		for c := range m.nodes {
			m.nodes[c].known, m.nodes[c].age, m.nodes[c].mute = false, 0, false
		}
	}
}

// catchUp is serve at the beginning of a script. Beside an exclusive lease there
// is nothing to serve.
//
//go:norace
func (m *model) catchUp(self int) (own [slots]news8) {
	if n, shared := m.holders(); n > 0 && !shared {
		return own
	}
	return m.serve(self)
}

// merge adds what a script has to say of its caller's requests.
func merge(own *[slots]news8, more [slots]news8) {
	for r, n := range more {
		if n.kind != 0 {
			own[r] = n
		}
	}
}

// acquire is the script of that name, run for a request. At says that the
// request is let in again. It returns the reply's status.
//
//go:norace
func (m *model) acquire(r int, at bool) (status int, own [slots]news8) {
	self, ask, s := m.scope.asks[r].candado, m.scope.asks[r], &m.slots[r]
	defer func() { m.note(op{kind: opAcquire, slot: r, at: at, status: status, own: own}) }()
	m.begins()
	n, shared := m.holders()
	again := !at && m.latest == int8(r)+1 // granted before
	switch {
	case n > 0 && !shared && s.token != 0:
		s.renews(ask.ttl)
		return statusDone, own
	case n > 0 && !shared && !ask.wait:
		return statusNone, own
	case n == 0 && !ask.shared && !m.hasQueue():
		if again {
			return statusDone, own
		}
		m.grant(r, ask.ttl, true)
		return statusDone, own
	}
	own = m.catchUp(self)
	switch {
	case s.token != 0:
		s.renews(ask.ttl)
		return statusDone, own
	case again:
		return statusDone, own
	case !ask.wait && (m.head() >= 0 && m.scope.broken != skipQueue || !m.admits(r)):
		return statusNone, own
	case s.queued:
		m.refresh(self)
		m.later = m.later || !m.nodes[self].works()
		return statusWaits, own
	case ask.wait && (m.head() >= 0 || !m.admits(r)):
		if !at || m.scope.broken == forgetPlace {
			s.place = m.behind()
		}
		if !at {
			s.first = s.place
		}
		s.queued, s.passed, s.again = true, false, at && m.scope.broken != sameEntry
		if m.scope.broken != enterSilently || !m.nodes[self].known {
			m.refresh(self)
		}
		m.nodes[self].mute = false
		m.later = m.later || !m.nodes[self].works() // by a copy
		if at {
			merge(&own, m.serve(self))
		}
		return statusWaits, own
	}
	m.grant(r, ask.ttl, true)
	return statusDone, own
}

// behind returns a place behind all others.
//
//go:norace
func (m *model) behind() int8 {
	most := int8(0)
	for i := range m.slots {
		most = max(most, m.slots[i].place)
	}
	return most + 1
}

// undo takes a request back.
//
//go:norace
func (m *model) undo(r int) (own [slots]news8) {
	self, s := m.scope.asks[r].candado, &m.slots[r]
	m.begins()
	s.queued = false
	s.ends()
	own = m.serve(self)
	m.note(op{kind: opUndo, slot: r, own: own})
	return own
}

// confirm gives a lease its whole TTL, and reports whether it lives.
//
//go:norace
func (m *model) confirm(r int, token int8) (live bool, own [slots]news8) {
	m.begins()
	s := &m.slots[r]
	stale := s.token == 0 || s.token != token
	own = m.catchUp(m.scope.asks[r].candado)
	if live = !stale; live {
		s.renews(m.scope.asks[r].ttl)
	}
	m.note(op{kind: opConfirm, slot: r, stale: stale, status: flag(live), own: own})
	return live, own
}

// release ends a request's lease, if it is still the one that the client knows.
//
//go:norace
func (m *model) release(r, self int) (own [slots]news8) {
	m.begins()
	s := &m.slots[r]
	stale := s.token == 0 || s.token != s.answer
	own = m.catchUp(self)
	if !stale {
		s.ends()
		merge(&own, m.serve(self))
	}
	m.note(op{kind: opRelease, slot: r, node: self, stale: stale, own: own})
	return own
}

// look is the script tend. It returns each asked request's fate.
//
//go:norace
func (m *model) look(self int, asked [slots]bool) (fates [slots]int8, own [slots]news8) {
	m.begins()
	if m.hasQueue() && asked != [slots]bool{} {
		m.refresh(self)
	}
	own = m.serve(self)
	if (asked != [slots]bool{} || m.scope.broken == outsidersPurge) && m.dropDead(self) {
		merge(&own, m.serve(self))
	}
	for r := range m.slots {
		switch s := m.slots[r]; {
		case !asked[r], s.queued:
		case s.token != 0:
			fates[r] = s.token
		default:
			fates[r] = -1
		}
	}
	m.note(op{kind: opTend, node: self, asked: asked, own: own, fates: fates})
	return fates, own
}

// dropDead takes the requests of silent candados out of the queue.
//
//go:norace
func (m *model) dropDead(self int) (some bool) {
	if !m.hasQueue() || m.scope.broken == trustTheSilent {
		return false
	}
	for c := range m.nodes {
		if n := &m.nodes[c]; n.known && n.age > ageSilent {
			n.known, n.age, some = false, 0, true // it stays mute
		}
	}
	for r := range m.slots {
		if s := &m.slots[r]; some && s.queued && !m.nodes[m.scope.asks[r].candado].known {
			m.drops(self, r)
		}
	}
	return some
}

// lose is what is left of the server when its data are gone.
//
//go:norace
func (m *model) lose() {
	for r := range m.slots {
		s := &m.slots[r]
		s.passed = s.passed || s.queued || s.token != 0 && s.phase != holds
		s.lost = s.lost || s.token != 0
		s.queued = false
		s.ends()
	}
	for c := range m.nodes {
		m.nodes[c].known, m.nodes[c].age, m.nodes[c].mute = false, 0, false
	}
	m.last, m.latest = 0, 0
	m.note(op{kind: opLose})
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
