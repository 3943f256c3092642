package memory

// heap is a binary min-heap of things by the instants that they are entered
// for. They know where they stand, so that one of them can be moved or taken out
// in O(log n). The instants stand in the heap itself: things are not looked at
// to compare them, for among many each would have to come from main memory. The
// zero value is empty.
type heap[T heapItem] struct {
	entries []due[T]
}

// due is a thing in a heap, and what it is entered for.
type due[T any] struct {
	at instant
	x  T
}

// heapItem is what a heap holds: pointers, each in one heap at most.
type heapItem interface {
	place() *int32 // of the heap's own use: 1 + the entry's index, 0 if outside
}

func (h *heap[T]) len() int { return len(h.entries) }

// first returns who has the earliest instant. The heap must not be empty.
func (h *heap[T]) first() due[T] { return h.entries[0] }

// at returns what x is entered for; never if it is not in the heap.
func (h *heap[T]) at(x T) instant {
	if *x.place() == 0 {
		return never
	}
	return h.entries[*x.place()-1].at
}

// set enters x for an instant, in place of the one it was entered for before.
func (h *heap[T]) set(x T, at instant) {
	if *x.place() == 0 {
		h.entries = append(h.entries, due[T]{})
		*x.place() = int32(len(h.entries))
	}
	h.move(int(*x.place())-1, due[T]{at, x})
}

// remove takes x out, if it is in.
func (h *heap[T]) remove(x T) {
	i, last := int(*x.place())-1, len(h.entries)-1
	if i < 0 {
		return
	}
	*x.place() = 0
	moved := h.entries[last]
	clear(h.entries[last:])
	h.entries = h.entries[:last]
	if i < last {
		h.move(i, moved)
	}
	h.shrink()
}

// shrink gives memory back once three quarters of it lie idle.
func (h *heap[T]) shrink() {
	if n := len(h.entries); cap(h.entries) >= smallest && n < cap(h.entries)/4 {
		h.entries = append(make([]due[T], 0, 2*n), h.entries...)
	}
}

// move puts an entry where it belongs, given that the place i is vacant.
func (h *heap[T]) move(i int, e due[T]) {
	i = h.up(i, e.at)
	h.put(h.down(i, e.at), e)
}

func (h *heap[T]) put(i int, e due[T]) {
	h.entries[i] = e
	*e.x.place() = int32(i + 1)
}

// up moves the vacancy at i up to where an entry for the instant may stand.
func (h *heap[T]) up(i int, at instant) int {
	for i > 0 {
		parent := (i - 1) / 2
		if at >= h.entries[parent].at {
			break
		}
		h.put(i, h.entries[parent])
		i = parent
	}
	return i
}

// down does the same downwards.
func (h *heap[T]) down(i int, at instant) int {
	for {
		child := 2*i + 1
		if child >= len(h.entries) {
			return i
		}
		if right := child + 1; right < len(h.entries) && h.entries[right].at < h.entries[child].at {
			child = right
		}
		if h.entries[child].at >= at {
			return i
		}
		h.put(i, h.entries[child])
		i = child
	}
}
