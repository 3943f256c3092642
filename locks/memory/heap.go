package memory

// heap is a binary min-heap whose items know where they stand, so that one of
// them can be moved or taken out in O(log n). The zero value is empty.
type heap[T heapItem[T]] struct {
	items []T
}

// heapItem is what a heap holds: pointers, each in one heap at most.
type heapItem[T any] interface {
	before(T) bool
	place() *int32 // of the heap's own use: 1 + the item's index, 0 if outside
}

func (h *heap[T]) len() int { return len(h.items) }

// first returns the smallest item. The heap must not be empty.
func (h *heap[T]) first() T { return h.items[0] }

// fix puts x, whose rank may have changed, where it belongs. An x that is not in
// the heap yet is added.
func (h *heap[T]) fix(x T) {
	if *x.place() == 0 {
		h.items = append(h.items, x)
		*x.place() = int32(len(h.items))
	}
	h.down(h.up(int(*x.place()) - 1))
}

// remove takes x out, if it is in.
func (h *heap[T]) remove(x T) {
	i, last := int(*x.place())-1, len(h.items)-1
	if i < 0 {
		return
	}
	*x.place() = 0
	moved := h.items[last]
	clear(h.items[last:])
	h.items = h.items[:last]
	if i < last {
		h.put(i, moved)
		h.fix(moved)
	}
	h.shrink()
}

// shrink gives memory back once three quarters of it lie idle.
func (h *heap[T]) shrink() {
	if n := len(h.items); cap(h.items) >= smallest && n < cap(h.items)/4 {
		h.items = append(make([]T, 0, 2*n), h.items...)
	}
}

func (h *heap[T]) put(i int, x T) {
	h.items[i] = x
	*x.place() = int32(i + 1)
}

func (h *heap[T]) up(i int) int {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.items[i].before(h.items[parent]) {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	return i
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if right := child + 1; right < len(h.items) && h.items[right].before(h.items[child]) {
			child = right
		}
		if !h.items[child].before(h.items[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *heap[T]) swap(i, j int) {
	x, y := h.items[i], h.items[j]
	h.put(i, y)
	h.put(j, x)
}
