package access

import "testing"

// BenchmarkMay is what a command costs more whose user has patterns.
func BenchmarkMay(b *testing.B) {
	u := list(b, cheap(b, "u", "p", "all", "orders:*", "invoice:*", "job-?")).User("u")
	b.ReportAllocs()
	for b.Loop() {
		if u.May(Acquire, "job-7") != nil {
			b.Fatal("he may not")
		}
	}
}

// BenchmarkKnown is a password that was verified before.
func BenchmarkKnown(b *testing.B) {
	g := NewGuard(list(b, cheap(b, "u", "p", "all", "*")), nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := attempt(g, "192.0.2.1", "u", "p"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHash is one that was not.
func BenchmarkHash(b *testing.B) {
	h := newHash("p")
	b.ReportAllocs()
	for b.Loop() {
		if !h.matches("p") {
			b.Fatal("it does not match")
		}
	}
}
