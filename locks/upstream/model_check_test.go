package upstream

// What must hold in every state of the model, and what must come of it.

// ask is one request of a scope.
type ask struct {
	candado int
	wait    bool
	shared  bool
	limit   int
	ttl     int8
}

// scope is a small world: its requests, and how many faults may happen.
type scope struct {
	name   string
	count  int // of the requests that are made
	asks   [slots]ask
	faults int8
	just   string // what the faults have in their names; empty: anything
	broken mutation
	least  int // states; fewer, and the search has not searched
}

// mutation is a fault of the model that the checks must find.
type mutation int

const (
	nothing mutation = iota
	ignoreHolders
	skipQueue
	neverExpire
	grantWhole
	dontConfirm
	trustTheGrant
	trustTheFound
	trustTheSilent
	forgetLast
	forgetPlace
	dontTend
	leaveAlone
	forgetCopies
	returnAtOnce
	doubtWaiters
	tellFirst
	grantUnheard
	dropUntold
	forgiveNobody
	forgiveForEver
	enterSilently
	speakFirst
	outsidersAreHasty
	outsidersNeverJudge
	outsidersPurge
	sameEntry
	mutations
)

//go:norace
func (b mutation) String() string {
	return [...]string{"nothing", "grants are made beside holders", "newcomers pass the queue", "leases never expire",
		"grants are not provisional", "grants are not confirmed", "a confirm's reply is not looked at", "what was found late is trusted", "the silent are served",
		"the last token is forgotten", "who returns stands at the end", "nobody tends", "who leaves stays in the queue",
		"copies under way are forgotten",
		"requests return beside their copies", "a request that waits is doubted",
		"candados are told before a write was taken", "who neither listens nor speaks is served", "who does not listen is not served",
		"nobody is forgiven", "who is silent is forgiven again", "who enters does not speak", "who speaks is not silent with the others", "outsiders judge soon", "outsiders never judge", "outsiders take out the silent", "who comes back has the same entry"}[b]
}

//go:norace
func (sc *scope) start() state {
	s := state{faults: sc.faults}
	for c := range s.nodes {
		s.nodes[c].hears = true
	}
	return s
}

// exclusive reports whether two requests can't hold at the same time.
//
//go:norace
func (sc *scope) exclusive(a, b int) bool { return !sc.asks[a].shared || !sc.asks[b].shared }

// unsound returns what is wrong with a state, or "".
//
//go:norace
func (m *model) unsound() string {
	if m.wrong != "" {
		return m.wrong
	}
	for r := range m.slots {
		s := &m.slots[r]
		holding := s.phase == holds && !s.lost
		switch {
		case holding && (s.token != s.answer || s.till < s.left):
			return "a client believes in a lease that is over"
		case s.phase == over && !s.doubt && !s.stray && s.copyTill == 0 && !m.dead(r) && (s.queued || s.token != 0):
			return "a request that is over is still there"
		case s.token != 0 && !s.whole && s.till > modelProvis:
			return "a lease that nobody has confirmed lasts for long"
		case s.token != 0 && s.queued:
			return "a request both holds and waits"
		}
		for other := range r {
			if o := &m.slots[other]; holding && o.phase == holds && !o.lost && m.scope.exclusive(r, other) {
				return "two clients believe that they hold"
			}
		}
	}
	return ""
}

// hopeless plays on without new faults, everything done in time, and holders
// letting go. It returns what is wrong then: a request that waits and is not
// granted, or something that is left. A candado that stands still goes on, or does
// not: then the requests of the others are granted all the same.
//
//go:norace
func (m *model) hopeless() string {
	c := model{state: m.state, scope: m.scope}
	still := false
	for i := range c.nodes {
		still = still || c.nodes[i].frozen
		c.goesOn(i)
	}
	wrong := c.playsOn()
	if wrong == "" && still {
		c = model{state: m.state, scope: m.scope}
		if wrong = c.playsOn(); wrong != "" {
			wrong += ", while a candado stands still"
		}
	}
	return wrong
}

//go:norace
func (m *model) playsOn() string {
	m.faults = 0
	var want [slots]bool
	longest := int8(0)
	for r := range m.slots {
		s := &m.slots[r]
		want[r] = m.works(r) && (s.phase == waits || s.phase == returns)
		longest = max(longest, s.till)
	}
	// Whoever has died or stands still holds for as long as its lease lasts. One that is first in the queue then holds
	// provisionally; only one of an exclusive lock does, since its candado is silent by the end of that. If nobody waits who
	// could judge, it is forgotten.
	ticks := longest + modelProvis + ageForgot/2 + 1
	for range ticks {
		for m.settles(&want) {
			if m.wrong != "" {
				return "later, " + m.wrong
			}
		}
		if want == [slots]bool{} && m.bare() {
			return ""
		}
		m.passes(true)
		if wrong := m.unsound(); wrong != "" {
			return "later, " + wrong
		}
	}
	for r := range m.slots {
		switch s := &m.slots[r]; {
		case want[r]:
			return "a request waits for ever"
		case s.queued || s.token != 0 || s.doubt && m.works(r):
			return "something is left for ever"
		}
	}
	return ""
}

// bare reports whether nothing of the requests is left, nor is to come.
//
//go:norace
func (m *model) bare() bool {
	for r := range m.slots {
		s := &m.slots[r]
		if s.queued || s.token != 0 || s.copyTill > 0 || m.works(r) && (s.doubt || s.phase != over && s.phase != idle) {
			return false
		}
	}
	return true
}

// tended reports whether a candado with requests that wait is there.
//
//go:norace
func (m *model) tended() bool { return m.room(0) || m.room(1) }

// settles does all that is due, once. It reports whether anything was.
//
//go:norace
func (m *model) settles(want *[slots]bool) (some bool) {
	for r := range m.slots {
		s := &m.slots[r]
		if s.message.kind != 0 && !m.frozen(r) {
			what := s.message
			s.message, some = news8{}, true
			m.tell(r, what)
		}
		if s.phase == holds {
			want[r], some = false, true
			m.releases(r, true)
		}
		if !m.works(r) {
			continue
		}
		switch {
		case s.doubt && s.unsure == 0:
			m.undoes(r)
		case s.phase == asking && s.unsure > 0:
			m.sends(r, false)
		case s.phase == asking:
			s.phase, s.doubt = over, true
		case s.phase == returns:
			m.sends(r, true)
		case s.phase == waits && s.news.kind != 0:
			m.acts(r)
		default:
			continue
		}
		some = true
	}
	for c := range m.nodes {
		n := &m.nodes[c]
		if n.works() && !n.hears {
			m.listens(c)
			some = true
		}
		if m.room(c) && !n.tends && m.scope.broken != dontTend {
			m.tends(c, true)
			some = true
		}
	}
	if !some && !m.tended() && m.head() >= 0 {
		before := m.state // somebody comes to the lock who does not wait there
		for c := range m.nodes {
			if m.nodes[c].works() {
				m.looks(c)
			}
		}
		some = m.state != before
	}
	return some
}
