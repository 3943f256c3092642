package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// cheap returns a users file's line whose hash is quickly computed.
func cheap(t testing.TB, name, password, operations string, patterns ...string) string {
	t.Helper()
	h := hash{cost: cost{8, 1, 1}, salt: []byte("saltsalt"), digest: make([]byte, minDigest)}
	h.digest = h.of(password)
	u, err := newUser(name, h, operations, patterns)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %v %v %s", u.name, h, u.rights, strings.Join(patterns, " "))
}

func list(t testing.TB, lines ...string) *List {
	t.Helper()
	l, err := ReadList(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// attempt authenticates a client of that address that stays.
func attempt(g *Guard, host, name, password string) (*User, error) {
	return g.Authenticate(Attempt{
		Peer: &net.TCPAddr{IP: net.ParseIP(host), Port: 1}, Name: name, Password: password,
		Wait: func(wait func(context.Context)) { wait(context.Background()) },
	})
}

func TestLineIsReadBack(t *testing.T) {
	line, err := Line("alice", "pass word\x00\xff", "read,acquire", []string{"job:*", `\#a`})
	if err != nil {
		t.Fatal(err)
	}
	l := list(t, "# a comment", "", " \t"+line+" \r", "#", cheap(t, "bob", "b", "all", "*"))
	if l.Len() != 2 || l.User("carl") != nil {
		t.Errorf("%d users", l.Len())
	}
	alice := l.User("alice")
	if got := fmt.Sprint(alice.Name(), " ", alice.rights, " ", alice.patterns, alice.ReadsAll(), l.User("bob").ReadsAll()); got != `alice acquire,read [job:* \#a] false true` {
		t.Errorf("got %s", got)
	}
	if !alice.verifier.matches("pass word\x00\xff") || alice.verifier.matches("pass word\x00") || alice.verifier.matches("") {
		t.Error("the password does not match, or another one does")
	}
	if strings.Contains(line, "word") {
		t.Errorf("the line %s shows the password", line)
	}
}

func TestUsersMayDoWhatTheirLineSays(t *testing.T) {
	u := list(t, cheap(t, "u", "p", "acquire,read", "a*", "b?", `\#c`)).User("u")
	for _, test := range []struct {
		right Right
		id    locks.ID
		want  string
	}{
		{Acquire, "a", ""}, {Read, "b1", ""}, {Acquire, "#c", ""},
		{Acquire, "b", "this user has no permission for this lock"},
		{Acquire, "", "this user has no permission for this lock"},
		{Acquire, locks.ID("a" + strings.Repeat("x", locks.MaxIDLen)), "this user has no permission for this lock"},
		{Release, "a", "this user has no permission for the operation release"},
		{Force, "a", "this user has no permission for the operation force"},
	} {
		got := ""
		if err := u.May(test.right, test.id); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%v of %.10q: %q, want %q", test.right, test.id, got, test.want)
		}
	}
}

func TestBadLinesAreNamedAndNotShown(t *testing.T) {
	good := strings.Fields(cheap(t, "u", "p", "all", "*"))[1]
	parts := strings.Split(good, "$")
	cost := func(text string) string {
		return strings.Join([]string{"", "argon2id", "v=19", text, parts[4], parts[5]}, "$")
	}
	for _, test := range []struct{ line, want string }{
		{"u", "a user has a name, a hash, operations and patterns"},
		{"u " + good, "a user has a name, a hash, operations and patterns"},
		{"u hunter2 all *", "the hash is no argon2id hash such as candado passwd makes"},
		{good + " u all *", "the hash is no argon2id hash"},
		{"u:v " + good + " all *", "a user's name has a character"},
		{"caf\xc3\xa9 " + good + " all *", "a user's name has a character"},
		{strings.Repeat("u", 257) + " " + good + " all *", "a user's name is longer than 256 bytes"},
		{"u " + good + " all", "the user has no pattern"},
		{"u " + good + " acquire,hunter2 *", "operation 2 is none of"},
		{"u " + good + " all,read *", "operation 1 is none of"},
		{"u " + good + " , *", "operation 1 is none of"},
		{"u " + good + " all a #b", "a pattern begins with #"},
		{"u " + good + " all *v " + good + " acquire b*", "a pattern is a hash: two users stand in one line"},
		{"u " + good + " all a\x01", "a pattern has a blank or a control character"},
		{"u " + good + " all " + strings.Repeat("a", 1025), "a pattern is longer than 1024 bytes"},
		{"u " + strings.Replace(good, "argon2id", "argon2i", 1) + " all *", "the hash is no argon2id hash"},
		{"u " + strings.Replace(good, "v=19", "v=16", 1) + " all *", "the hash is of another version"},
		{"u " + cost("m=65537,t=1,p=1") + " all *", "the cost m of the hash is no number from 8 to 65536"},
		{"u " + cost("m=7,t=1,p=1") + " all *", "the cost m"},
		{"u " + cost("m=08,t=1,p=1") + " all *", "the cost m"},
		{"u " + cost("m=8,t=11,p=1") + " all *", "the cost t of the hash is no number from 1 to 10"},
		{"u " + cost("m=8,t=0,p=1") + " all *", "the cost t"},
		{"u " + cost("m=64,t=1,p=5") + " all *", "the cost p of the hash is no number from 1 to 4"},
		{"u " + cost("m=8,t=1,p=2") + " all *", "the cost m of the hash is less than 8 times its p"},
		{"u " + cost("t=1,m=8,p=1") + " all *", "the cost m"},
		{"u " + cost("m=8,t=1") + " all *", "the hash does not say what it costs"},
		{"u $argon2id$v=19$m=8,t=1,p=1$hunter2!$" + parts[5] + " all *", "the salt of the hash is not base64"},
		{"u $argon2id$v=19$m=8,t=1,p=1$c2FsdA$" + parts[5] + " all *", "the salt of the hash has 4 bytes, not 8 to 64"},
		{"u $argon2id$v=19$m=8,t=1,p=1$" + parts[4] + "$c2FsdA all *", "own part of the hash has 4 bytes, not 16 to 64"},
		{"x " + good + " all *\nx " + good + " all *", "line 4: the user x stands in line 3 already"},
		{strings.Repeat("x", 64<<10), "line 3 is longer than 65536 bytes"},
	} {
		_, err := ReadList(strings.NewReader("# users\n\n" + test.line))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%.60q: %v, want %s", test.line, err, test.want)
			continue
		}
		for _, hidden := range []string{"hunter2", parts[5]} {
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("%.60q: the error shows %s: %v", test.line, hidden, err)
			}
		}
	}
	for _, empty := range []string{"", "\n", "# nobody\n"} {
		if _, err := ReadList(strings.NewReader(empty)); err == nil || err.Error() != "has no users" {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestDefaultUser(t *testing.T) {
	for _, test := range []struct{ password, want string }{
		{"", "the password is empty"}, {strings.Repeat("p", 1025), "the password is longer than 1024 bytes"}, {"p", ""},
	} {
		l, err := (*List)(nil).WithPassword(test.password)
		if test.want != "" {
			if err == nil || err.Error() != test.want {
				t.Errorf("%.9q: %v", test.password, err)
			}
			continue
		}
		if u := l.User(Default); err != nil || u.May(All, "x") != nil || !u.ReadsAll() {
			t.Errorf("%v, %v", u, err)
		}
	}
	named := list(t, cheap(t, "u", "p", "read", "*"))
	if l, err := named.WithPassword("p"); err != nil || l.Len() != 2 || named.Len() != 1 {
		t.Errorf("with a user: %v", err)
	}
	if _, err := list(t, cheap(t, Default, "p", "read", "*")).WithPassword("p"); err == nil || err.Error() != "there is a user default already" {
		t.Errorf("with a default user: %v", err)
	}
}

func TestOnlyTheRightPasswordLetsIn(t *testing.T) {
	l, err := list(t, cheap(t, "u", "p", "read", "*"), cheap(t, "v", "q", "all", "*")).WithPassword("d")
	if err != nil {
		t.Fatal(err)
	}
	g := NewGuard(l, nil)
	for range 2 { // then they are remembered
		for i, test := range []struct{ name, password string }{
			{"u", "p"}, {"v", "q"}, {Default, "d"},
			{"u", "q"}, {"u", ""}, {"u\x00", "p"}, {"u\x00p", ""}, {"u", "p\x00"}, {"nobody", "p"}, {"", "d"}, {Default, "p"}, {"U", "p"},
		} {
			u, err := attempt(g, fmt.Sprintf("192.0.2.%d", i), test.name, test.password)
			if ok := i < 3; ok && (err != nil || u.Name() != test.name) || !ok && (!errors.Is(err, ErrWrongPass) || u != nil) {
				t.Errorf("%q %q: %v, %v", test.name, test.password, u, err)
			}
		}
	}
}

// TestGuessingIsSlow: of each address, whatever it guesses and however many guesses are
// sent at the same time; and a right guess among them is not let in the sooner.
func TestGuessingIsSlow(t *testing.T) {
	for _, name := range []string{"u", "nobody", Default} {
		synctest.Test(t, func(t *testing.T) {
			l, _ := list(t, cheap(t, "u", "p", "read", "*")).WithPassword("d")
			g := NewGuard(l, nil)
			if u, err := attempt(g, "192.0.2.9", "u", "p"); u == nil { // which is now remembered
				t.Fatal(err)
			}
			began := time.Now()
			var looked, unseen atomic.Int64
			var all sync.WaitGroup
			for i := range 200 {
				all.Go(func() {
					_, err := attempt(g, "192.0.2.1", name, fmt.Sprint("wrong", i))
					switch {
					case errors.Is(err, ErrWrongPass):
						looked.Add(1)
					case errors.Is(err, ErrTooManyFailures):
						unseen.Add(1)
					default:
						t.Errorf("%v", err)
					}
				})
			}
			all.Wait()
			if took := time.Since(began); looked.Load() < burst+4 || looked.Load() > burst+5 || took != longestTurn {
				t.Errorf("%s: %d passwords were looked at, %d not, in %v", name, looked.Load(), unseen.Load(), took)
			}
			if u, err := attempt(g, "192.0.2.2", "u", "p"); err != nil || u == nil {
				t.Errorf("another address: %v", err)
			}
			// The right password of somebody who is remembered, from the address that guesses.
			began = time.Now()
			if _, err := attempt(g, "192.0.2.1", "u", "p"); err != nil || time.Since(began) < lookEvery {
				t.Errorf("the right password was let in after %v: %v", time.Since(began), err)
			}
			time.Sleep(burst * perAttempt)
			g.attempts.mu.Lock()
			defer g.attempts.mu.Unlock()
			if !g.attempts.room(time.Now()) {
				t.Error("there is no room")
			}
		})
	}
}

// TestRightPasswordsCostNoAttempts, though many come at the same time from one address.
func TestRightPasswordsCostNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(list(t, cheap(t, "u", "p", "read", "*")), nil)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := attempt(g, "192.0.2.1", "u", "p"); err != nil {
					t.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		if n := len(g.attempts.whole); n != 0 {
			t.Errorf("%d addresses count", n)
		}
	})
}

// TestConnectionThatIsInStaysIn: on it, the address's guesses do not matter.
func TestConnectionThatIsInStaysIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(list(t, cheap(t, "u", "p", "read", "*"), cheap(t, "v", "q", "read", "*")), nil)
		again := Attempt{Peer: &net.TCPAddr{IP: net.ParseIP("192.0.2.1")}, Name: "u", Password: "p", As: "u",
			Wait: func(wait func(context.Context)) { wait(t.Context()) }}
		if _, err := g.Authenticate(again); err != nil {
			t.Fatal(err)
		}
		for i := range burst {
			if _, err := attempt(g, "192.0.2.1", "v", fmt.Sprint(i)); !errors.Is(err, ErrWrongPass) {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if u, err := g.Authenticate(again); err != nil || u.Name() != "u" || time.Since(began) != 0 {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
		again.Password = "x"
		if _, err := g.Authenticate(again); !errors.Is(err, ErrWrongPass) || time.Since(began) == 0 {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
	})
}

func TestAddressesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := attempts{whole: map[netip.Prefix]time.Time{}}
		never := func() bool { return false }
		at := func(i int) *netip.Prefix {
			p := addressOf(&net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))})
			return &p
		}
		for i := range maxAddresses {
			a.try(at(i), never)
		}
		for i := range 30 {
			a.try(at(maxAddresses+i), never)
		}
		if n := len(a.whole); n != maxAddresses+1 {
			t.Errorf("%d addresses are kept", n)
		}
		if wait, _ := a.try(at(maxAddresses+100), never); wait == 0 {
			t.Error("the addresses that find no room do not count together")
		}
		if wait, _ := a.try(at(0), never); wait != 0 {
			t.Errorf("an address that is known waits %v", wait)
		}
		time.Sleep(burst*perAttempt + sweepEvery)
		if wait, _ := a.try(at(maxAddresses+100), never); wait != 0 || len(a.whole) > 1 {
			t.Errorf("later it waits %v, %d addresses are kept", wait, len(a.whole))
		}
	})
	for _, test := range []struct{ a, b string }{
		{"2001:db8::1", "2001:db8::ffff:1"}, {"::ffff:192.0.2.1", "192.0.2.1"},
	} {
		a, b := addressOf(&net.TCPAddr{IP: net.ParseIP(test.a)}), addressOf(&net.TCPAddr{IP: net.ParseIP(test.b), Zone: "x"})
		if a != b || !a.IsValid() {
			t.Errorf("%s counts for %v, %s for %v", test.a, a, test.b, b)
		}
	}
	if p := addressOf(&net.UnixAddr{}); p.IsValid() {
		t.Errorf("a Unix socket counts for %v", p)
	}
}

// TestHashesAreBounded: who waits for his turn can leave, and waits no longer than patience.
func TestHashesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(list(t, cheap(t, "u", "p", "read", "*")), nil)
		if n := cap(g.slots); n < 1 || n > maxHashes {
			t.Errorf("%d hashes at the same time", n)
		}
		for range cap(g.slots) {
			g.slots <- struct{}{}
		}
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		began := time.Now()
		_, err := g.Authenticate(Attempt{Name: "u", Password: "p", Wait: func(wait func(context.Context)) { wait(ctx) }})
		if !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("who leaves: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if _, err := attempt(g, "192.0.2.1", "u", "p"); !errors.Is(err, locks.ErrBusy) || time.Since(began) != patience {
			t.Errorf("who stays: %v after %v", err, time.Since(began))
		}
		if n := len(g.attempts.whole); n != 0 {
			t.Errorf("%d addresses count", n)
		}
		<-g.slots
		if _, err := attempt(g, "192.0.2.1", "u", "p"); err != nil {
			t.Errorf("in his turn: %v", err)
		}
	})
}

func TestAnotherListTakesForce(t *testing.T) {
	g := NewGuard(list(t, cheap(t, "stays", "p", "read", "*"), cheap(t, "goes", "p", "read", "*"), cheap(t, "changes", "p", "read", "*")), nil)
	for _, name := range []string{"stays", "goes", "changes"} {
		if _, err := attempt(g, "192.0.2.1", name, "p"); err != nil {
			t.Fatal(err)
		}
	}
	told := map[string]int{}
	for _, name := range []string{"stays", "goes", "changes"} {
		defer g.Follow(name, func() { told[name]++ })()
	}
	g.Follow("goes", func() { told["stopped"]++ })()
	if gone := g.Replace(list(t, cheap(t, "stays", "p", "all", "*"), cheap(t, "changes", "q", "read", "*"))); gone != 1 || len(told) != 1 || told["goes"] != 1 {
		t.Errorf("%d are gone, told are %v", gone, told)
	}
	g.Follow("goes", func() { told["late"]++ })()
	if told["late"] != 1 {
		t.Errorf("told are %v", told)
	}
	if g.List().User("stays").proven.Load() == nil || g.List().User("changes").proven.Load() != nil {
		t.Error("what was verified is forgotten, or believed of another password")
	}
	for name, password := range map[string]string{"goes": "p", "changes": "p"} {
		if _, err := attempt(g, "192.0.2.1", name, password); !errors.Is(err, ErrWrongPass) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if u, err := attempt(g, "192.0.2.1", "stays", "p"); err != nil || u.May(Force, "x") != nil {
		t.Errorf("%v", err)
	}
}

// TestWhoIsRemovedWhileHisPasswordIsLookedAt is not let in.
func TestWhoIsRemovedWhileHisPasswordIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(list(t, cheap(t, "u", "p", "read", "*")), nil)
		v := &slow{g.List().User("u").verifier, make(chan struct{})}
		g.List().User("u").verifier = v
		time.AfterFunc(time.Second, func() {
			g.Replace(list(t, cheap(t, "v", "p", "read", "*")))
			close(v.gate)
		})
		if u, err := attempt(g, "192.0.2.1", "u", "p"); !errors.Is(err, ErrWrongPass) {
			t.Errorf("%v, %v", u, err)
		}
	})
}

type slow struct {
	verifier
	gate chan struct{}
}

func (s *slow) matches(password string) bool {
	<-s.gate
	return s.verifier.matches(password)
}

func TestEverythingAtTheSameTime(t *testing.T) {
	lists := []*List{list(t, cheap(t, "u", "p", "read", "*"), cheap(t, "v", "q", "all", "a*")), list(t, cheap(t, "u", "p", "all", "*"))}
	g := NewGuard(lists[0], nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				u, err := attempt(g, fmt.Sprintf("10.0.%d.%d", i, j), []string{"u", "v"}[j%2], []string{"p", "q"}[j%2])
				if err != nil && j%2 == 0 {
					t.Errorf("%v", err)
				}
				if u != nil {
					stop := g.Follow(u.Name(), func() {})
					_ = u.May(Acquire, "abc")
					stop()
				}
			}
		})
	}
	for i := range 200 {
		g.Replace(list(t, cheap(t, "u", "p", "all", "*"), cheap(t, []string{"v", "w"}[i%2], "q", "all", "*")))
	}
	all.Wait()
	if n := len(g.followers); n != 0 {
		t.Errorf("%d follow", n)
	}
}

func FuzzReadList(f *testing.F) {
	f.Add(cheap(f, "u", "p", "acquire,read", "a*") + "\n# c\n")
	f.Add("u $argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ all *")
	f.Add("\xff \x00 $ $ $\r\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ReadList(strings.NewReader(text))
		if err != nil {
			if l != nil || strings.ContainsAny(err.Error(), "\r\n\x00") || strings.Contains(err.Error(), "$") {
				t.Errorf("%q", err)
			}
			return
		}
		for name, u := range l.users {
			// What was taken is within bounds, and means the same when it is written again.
			h := u.verifier.(hash)
			if h.memory > maxMemory || h.time > maxTime || h.threads > maxThreads || h.time < 1 || h.threads < 1 || len(h.salt) < minSalt || len(h.digest) < minDigest {
				t.Errorf("the hash %v", h)
			}
			again, err := ReadList(strings.NewReader(fmt.Sprintf("%s %v %v %s", name, h, u.rights, strings.Join(u.patterns, " "))))
			if err != nil || again.User(name).rights != u.rights || again.User(name).verifier.(hash).String() != h.String() {
				t.Errorf("%v: %v", u, err)
			}
		}
	})
}

// TestStrangersCostWhatUsersDo: where hashes differ in their cost, so do those of names that
// nobody has; and each keeps its own when the file is read again.
func TestStrangersCostWhatUsersDo(t *testing.T) {
	dearer := strings.NewReplacer("m=8,", "m=16,")
	read := func() *List {
		l, err := list(t, cheap(t, "u", "p", "read", "*"), dearer.Replace(cheap(t, "v", "q", "read", "*")), cheap(t, "w", "r", "read", "*")).WithPassword("d")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	g := NewGuard(read(), nil)
	costs := func() (of [100]uint32) {
		for i := range of {
			a := &try{Attempt: Attempt{Name: fmt.Sprint("nobody", i)}, guard: g}
			of[i] = a.verifier(g.List(), nil).(hash).memory
		}
		return of
	}
	before := costs()
	if !slices.Contains(before[:], 8) || !slices.Contains(before[:], 16) {
		t.Errorf("they cost %v", before)
	}
	for range 5 {
		if g.Replace(read()); costs() != before {
			t.Error("what a name costs has changed")
		}
	}
}
