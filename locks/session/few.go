package session

import "iter"

// few finds things by their keys. Mostly there is one, or none: that takes no more room, and
// only if there are more they make a map. The zero value is empty.
type few[K comparable, V any] struct {
	key  K
	one  *V // nil if there is none, or if all are in more
	more map[K]*V
}

func (f *few[K, V]) empty() bool { return f.one == nil && len(f.more) == 0 }

// get returns what has the key, or nil.
func (f *few[K, V]) get(key K) *V {
	if f.one != nil && f.key == key {
		return f.one
	}
	return f.more[key]
}

// put enters what was not there.
func (f *few[K, V]) put(key K, v *V) {
	if f.one == nil {
		f.key, f.one = key, v
		return
	}
	if f.more == nil {
		f.more = make(map[K]*V)
	}
	f.more[key] = v
}

func (f *few[K, V]) drop(key K) {
	if f.one != nil && f.key == key {
		var none K
		f.key, f.one = none, nil
		return
	}
	if delete(f.more, key); len(f.more) == 0 {
		f.more = nil
	}
}

// all returns the things, in no order. Any of them may be dropped meanwhile, and what was is
// not come to.
func (f *few[K, V]) all() iter.Seq[*V] {
	return func(yield func(*V) bool) {
		if f.one != nil && !yield(f.one) {
			return
		}
		for _, v := range f.more {
			if !yield(v) {
				return
			}
		}
	}
}
