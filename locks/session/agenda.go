package session

// slot is the place on the agenda of a held or a parting lease.
type slot struct {
	place   int // 1 + its index; 0: it is not there
	held    *held
	parting *parting
}

// agenda is a binary heap of what is to be done, the earliest first. The instants stand in
// the heap itself: to look for each at its lease would mean to fetch that from main
// memory, time and again. The zero value is empty.
type agenda []entry

// entry is a slot, and the instant that it is on the agenda for.
type entry struct {
	at   instant
	slot *slot
}

// schedule puts a slot on the agenda for the instant, or takes it off for never.
func (b *book) schedule(s *slot, at instant) {
	switch {
	case at == never && s.place == 0:
	case at == never:
		b.agenda.remove(s)
	case s.place == 0:
		b.agenda = append(b.agenda, entry{})
		b.agenda.settle(len(b.agenda)-1, entry{at, s})
	case b.agenda[s.place-1].at != at:
		b.agenda.settle(s.place-1, entry{at, s})
	}
}

func (a *agenda) remove(s *slot) {
	i, last := s.place-1, len(*a)-1
	moved := (*a)[last]
	(*a)[last] = entry{}
	*a = (*a)[:last]
	s.place = 0
	if i < last {
		a.settle(i, moved)
	}
}

// settle puts an entry where it belongs, given that the place i is vacant.
func (a agenda) settle(i int, e entry) {
	for i > 0 && e.at < a[(i-1)/2].at {
		a.put(i, a[(i-1)/2])
		i = (i - 1) / 2
	}
	for {
		child := 2*i + 1
		if child+1 < len(a) && a[child+1].at < a[child].at {
			child++
		}
		if child >= len(a) || a[child].at >= e.at {
			break
		}
		a.put(i, a[child])
		i = child
	}
	a.put(i, e)
}

func (a agenda) put(i int, e entry) {
	a[i] = e
	e.slot.place = i + 1
}
