package locks_test

import (
	"strings"
	"testing"

	"github.com/goodjobtech/candado/locks"
	"pgregory.net/rapid"
)

func TestMatchIsThatOfRedis(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "a\x00\xff", true},
		{"**", "", true},
		{"a*", "a", true},
		{"a*", "ba", false},
		{"*a*b", "xaxxb", true},
		{"*a*b", "xbxa", false},
		{"*aab", "aaaab", true},
		{"?", "", false},
		{"?", "\x00", true},
		{"?", "é", false}, // bytes, not characters
		{"??", "é", true},
		{"h[ae]llo", "hello", true},
		{"h[ae]llo", "hillo", false},
		{"h[^e]llo", "hallo", true},
		{"h[^e]llo", "hello", false},
		{"[^a]", "", false},
		{"[a-c]", "b", true},
		{"[a-c]", "d", false},
		{"[c-a]", "b", true}, // either way round
		{"[\x80-\xff]", "\xc3", true},
		{"[]", "]", false}, // the empty set
		{"[^]", "x", true},
		{`[\]]`, "]", true},
		{`[\^a]`, "^", true},
		{`[\\]`, `\`, true},
		{"[abc", "c", true}, // not closed
		{"[abc", "[abc", false},
		{"[", "[", false},
		{"[^", "a", true},
		{"[a-", "-", true},
		{"[a-]", "]", true}, // a range up to the bracket, not closed
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`\a`, "a", true},
		{`\`, `\`, true},
		{`a\`, `a\`, true},
		{"A", "a", false},
	} {
		if got := locks.Match(c.pattern, c.s); got != c.want {
			t.Errorf("Match(%q, %q) is %v, want %v", c.pattern, c.s, got, c.want)
		}
		if got := locks.Matcher(c.pattern)(c.s); got != c.want {
			t.Errorf("Matcher(%q)(%q) is %v, want %v", c.pattern, c.s, got, c.want)
		}
	}
}

// A pattern of many stars must not take exponential time: with backtracking
// into each star, this test would not end.
func TestMatchBearsManyStars(t *testing.T) {
	pattern := strings.Repeat("a*", 500) + "b"
	if id := strings.Repeat("a", locks.MaxIDLen); locks.Match(pattern, id) || locks.Matcher(pattern)(id) {
		t.Error("a string without b matches a pattern that ends in b")
	}
}

// matchNaively is Match as one would define it: a star is nothing, or one byte
// and a star.
func matchNaively(p, s string) bool {
	if p == "" {
		return s == ""
	}
	switch p[0] {
	case '*':
		return matchNaively(p[1:], s) || s != "" && matchNaively(p, s[1:])
	case '?':
		return s != "" && matchNaively(p[1:], s[1:])
	case '[':
		set, rest := setNaively(p[1:])
		return s != "" && set[s[0]] && matchNaively(rest, s[1:])
	case '\\':
		if len(p) > 1 {
			p = p[1:]
		}
	}
	return s != "" && p[0] == s[0] && matchNaively(p[1:], s[1:])
}

// setNaively returns the members of the set that p continues, and what follows it.
func setNaively(p string) (set [256]bool, rest string) {
	in, negated := true, strings.HasPrefix(p, "^")
	if negated {
		p = p[1:]
		in = false
		for c := range set {
			set[c] = true
		}
	}
	for p != "" && p[0] != ']' {
		lo, hi, n := p[0], p[0], 1
		switch {
		case p[0] == '\\' && len(p) >= 2:
			lo, hi, n = p[1], p[1], 2
		case len(p) >= 3 && p[1] == '-':
			lo, hi, n = min(p[0], p[2]), max(p[0], p[2]), 3
		}
		for c := int(lo); c <= int(hi); c++ {
			set[c] = in
		}
		p = p[n:]
	}
	return set, strings.TrimPrefix(p, "]")
}

func checkMatch(t interface{ Fatalf(string, ...any) }, pattern, s string) {
	got := locks.Match(pattern, s)
	if want := matchNaively(pattern, s); got != want {
		t.Fatalf("Match(%q, %q) is %v, want %v", pattern, s, got, want)
	}
	if same := locks.Matcher(pattern)(s); got != same {
		t.Fatalf("Matcher(%q)(%q) is %v, want %v", pattern, s, same, got)
	}
	if prefix := locks.LiteralPrefix(pattern); got && !strings.HasPrefix(s, prefix) {
		t.Fatalf("%q matches %q, and does not begin with the literal prefix %q", s, pattern, prefix)
	}
}

func TestMatchEqualsItsDefinition(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		for range 50 {
			pattern := rapid.StringOfN(rapid.SampledFrom([]rune(`ab*?[]^-\`)), 0, 10, -1).Draw(rt, "pattern")
			s := rapid.StringOfN(rapid.SampledFrom([]rune(`aabb]^-\`)), 0, 8, -1).Draw(rt, "s")
			checkMatch(rt, pattern, s)
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, pattern := range []string{"", "*", "a*b", "?", "[a-c]", "[^a-]", `\*`, `[\]`, "*a*a*", "[", `\`} {
		f.Add(pattern, "abc")
		f.Add(pattern, "a*b]")
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 24 || len(s) > 24 || strings.Count(pattern, "*") > 5 {
			if got, want := locks.Matcher(pattern)(s), locks.Match(pattern, s); got != want {
				t.Errorf("Matcher(%q)(%q) is %v, Match %v", pattern, s, got, want)
			}
			t.Skip("the definition would take too long")
		}
		checkMatch(t, pattern, s)
	})
}

func TestLiteralPrefixStopsAtTheFirstSpecialByte(t *testing.T) {
	for pattern, want := range map[string]string{
		"": "", "abc": "abc", "a*": "a", "a?b": "a", "ab[c]": "ab", `a\*b`: "a", "*a": "", "a]b*": "a]b",
	} {
		if got := locks.LiteralPrefix(pattern); got != want {
			t.Errorf("LiteralPrefix(%q) is %q, want %q", pattern, got, want)
		}
	}
}
