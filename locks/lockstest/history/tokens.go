package history

// This file holds the rules about tokens.

// twice: two requests get the same token only if one owner asked both times, in
// the same mode.
func (b *book) twice() {
	for _, l := range b.leases {
		for _, a := range l.acquires[1:] {
			if l.owner == "" || a.Owner != l.owner || a.Mode != l.mode {
				b.report("token twice", l.acquires, "token %d is of two leases", l.token)
				break
			}
		}
	}
}

// order: tokens increase in the order of the grants. That order is known of two
// leases if one was known before the other was asked for; or if they exclude each
// other, and one surely lived before the other did.
func (b *book) order() {
	for i, l := range b.leases {
		for _, other := range b.leases[:i] {
			for _, pair := range [][2]*lease{{l, other}, {other, l}} {
				x, y := pair[0], pair[1]
				if x.token > y.token && (x.first.Return < y.minted || x.before(y)) {
					b.report("token order", []*Event{x.first, y.first}, "token %d is older than %d", x.token, y.token)
				}
			}
		}
	}
}

func (l *lease) before(other *lease) bool {
	return l.conflicts(other) && l.sure.from < l.sure.to && other.sure.from < other.sure.to && l.sure.to <= other.sure.from
}
