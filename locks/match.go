package locks

// Match reports whether s matches the glob pattern as Redis's SCAN … MATCH
// does: `*` any bytes, `?` one byte, `[abc]`, `[^abc]` and `[a-z]` one of a
// set, and `\` takes the next byte literally. A set that is not closed extends
// to the pattern's end. It runs in time proportional to the product of the
// lengths at worst, also for hostile patterns: it keeps one place to go back to, the
// latest star, which suffices because an earlier one can't match more
// than the latest already may.
func Match(pattern, s string) bool {
	p, i := 0, 0
	star, resume := -1, 0 // where the latest star stands; where in s it ends for now
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, resume = p, i
			p++
			continue
		}
		if n, ok := matchOne(pattern[p:], s[i]); ok {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		resume++
		p, i = star+1, resume
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// element is a part of a pattern: a star, or else a set of bytes.
type element struct {
	star bool
	set  [4]uint64
}

func (e *element) has(c byte) bool { return e.set[c>>6]&(1<<(c&63)) != 0 }

// Matcher returns what reports of a string whether it matches the pattern, as Match does.
// It is for many strings: the sets of a hostile pattern are long, and only read here.
func Matcher(pattern string) func(s string) bool {
	var elements []element
	for pattern != "" {
		e, n := element{star: pattern[0] == '*'}, 1
		for c := 0; c < 256 && !e.star; c++ {
			ok := false
			if n, ok = matchOne(pattern, byte(c)); ok {
				e.set[c>>6] |= 1 << (c & 63)
			}
		}
		elements = append(elements, e)
		pattern = pattern[n:]
	}
	return func(s string) bool { return matchElements(elements, s) }
}

// matchElements does as Match does.
func matchElements(elements []element, s string) bool {
	p, i := 0, 0
	star, resume := -1, 0
	for i < len(s) {
		switch {
		case p < len(elements) && elements[p].star:
			star, resume = p, i
			p++
		case p < len(elements) && elements[p].has(s[i]):
			p++
			i++
		case star < 0:
			return false
		default:
			resume++
			p, i = star+1, resume
		}
	}
	for p < len(elements) && elements[p].star {
		p++
	}
	return p == len(elements)
}

// matchOne reports whether the pattern's first element, which is not a star,
// matches c, and how many bytes of the pattern it takes.
func matchOne(pattern string, c byte) (n int, ok bool) {
	switch {
	case pattern == "":
		return 0, false
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '[':
		return matchSet(pattern, c)
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	}
	return 1, pattern[0] == c
}

// matchSet matches c against the set that pattern begins with.
func matchSet(pattern string, c byte) (n int, ok bool) {
	i := 1
	negated := i < len(pattern) && pattern[i] == '^'
	if negated {
		i++
	}
	for ; i < len(pattern) && pattern[i] != ']'; i++ {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			i++
			ok = ok || pattern[i] == c
		case i+2 < len(pattern) && pattern[i+1] == '-':
			lo, hi := pattern[i], pattern[i+2]
			ok = ok || min(lo, hi) <= c && c <= max(lo, hi)
			i += 2
		default:
			ok = ok || pattern[i] == c
		}
	}
	if i < len(pattern) {
		i++ // the closing bracket
	}
	return i, ok != negated
}

// CheckPattern returns nil, or an *ArgumentError if a client's pattern is too long.
func CheckPattern(pattern string) error {
	if pattern == "" {
		return nil
	}
	return validateLen("match", len(pattern), MaxPatternLen)
}

// LiteralPrefix returns the longest prefix of the pattern that every match
// begins with.
func LiteralPrefix(pattern string) string {
	for i := range len(pattern) {
		switch pattern[i] {
		case '*', '?', '[', '\\':
			return pattern[:i]
		}
	}
	return pattern
}
