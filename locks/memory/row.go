package memory

// row is a queue of things by the instants that they are entered for, which never
// decrease from one to the next. Where that is given, it does in O(1) what a heap does
// in O(log n), and touches no other thing. The zero value is empty.
type row[T any] struct {
	entries []due[T] // from the index gone on
	gone    int
}

func (r *row[T]) len() int { return len(r.entries) - r.gone }

// first returns who has the earliest instant. The row must not be empty.
func (r *row[T]) first() due[T] { return r.entries[r.gone] }

// takes reports whether something may be entered for the instant.
func (r *row[T]) takes(at instant) bool {
	return r.len() == 0 || at >= r.entries[len(r.entries)-1].at
}

// push enters x for an instant that the row takes.
func (r *row[T]) push(x T, at instant) {
	if n := len(r.entries); n == cap(r.entries) && r.gone > n/2 { // as much is moved as was taken out
		r.move(r.entries[:0])
	}
	r.entries = append(r.entries, due[T]{at, x})
}

// pop takes the first out. The row must not be empty.
func (r *row[T]) pop() T {
	x := r.first().x
	clear(r.entries[r.gone : r.gone+1])
	r.gone++
	if n := r.len(); cap(r.entries) >= smallest && n < cap(r.entries)/4 {
		r.move(make([]due[T], 0, 2*n))
	}
	return x
}

// move moves what is left into room for it.
func (r *row[T]) move(room []due[T]) {
	left := append(room, r.entries[r.gone:]...)
	clear(r.entries[len(left):]) // what lies behind it in the same room
	r.entries, r.gone = left, 0
}
