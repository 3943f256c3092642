package memory

import "maps"

// smallest is the size below which a table or heap is not worth shrinking.
const smallest = 64

// table is a map that gives memory back: Go's maps keep the room of their
// fullest day. The zero value is empty.
type table[K comparable, V any] struct {
	m    map[K]V
	peak int // the most entries since m was made
}

func (t *table[K, V]) len() int { return len(t.m) }

func (t *table[K, V]) get(k K) (V, bool) {
	v, ok := t.m[k]
	return v, ok
}

func (t *table[K, V]) set(k K, v V) {
	if t.m == nil {
		t.m = make(map[K]V)
	}
	t.m[k] = v
	t.peak = max(t.peak, len(t.m))
}

// remove takes k out, if it is in. A table that has shrunk to a quarter of its
// peak is copied: each copy of n entries follows 3n removals, which pay for it.
func (t *table[K, V]) remove(k K) {
	delete(t.m, k)
	if n := len(t.m); t.peak >= smallest && n <= t.peak/4 {
		small := make(map[K]V, n)
		maps.Copy(small, t.m)
		t.m, t.peak = small, n
	}
}
