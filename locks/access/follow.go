package access

// follower wants to know when a user is gone.
type follower struct {
	name string
	gone func()
}

// Follow has gone called, once, when a user leaves the list: from the goroutine that
// replaces it, or at once if he is not in the list in force. It must not block. Stop
// ends that; gone may still be running when it returns.
func (g *Guard) Follow(name string, gone func()) (stop func()) {
	f := &follower{name, gone}
	if !g.enter(f) {
		gone()
		return func() {}
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.followers, f)
	}
}

// enter looks at the list under the mutex, under which it is replaced: who is removed
// now is either missed here, or found among the followers there.
func (g *Guard) enter(f *follower) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.List().User(f.name) == nil {
		return false
	}
	g.followers[f] = struct{}{}
	return true
}

// Replace puts another list in force, and tells those who follow users that are not in
// it. It returns how many those were. A user whose password has not changed stays
// verified. Two calls at the same time are not allowed.
func (g *Guard) Replace(list *List) (gone int) {
	before := g.List()
	for name, u := range list.users {
		if old := before.User(name); old != nil && old.verifier.same(u.verifier) {
			u.proven.Store(old.proven.Load())
		}
	}
	left := g.swap(list)
	for _, f := range left {
		f.gone()
	}
	return len(left)
}

// swap puts the list in force, and returns those whose user is gone.
func (g *Guard) swap(list *List) (left []*follower) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list.Store(list)
	for f := range g.followers {
		if list.User(f.name) == nil {
			delete(g.followers, f)
			left = append(left, f)
		}
	}
	return left
}
