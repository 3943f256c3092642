package access

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What a hash may cost and be: whoever writes a line of the users file can't take the
// machine down with it.
const (
	maxMemory  = 64 << 10 // KiB
	maxTime    = 10       // passes
	maxThreads = 4

	minSalt, maxSalt     = 8, 64  // bytes
	minDigest, maxDigest = 16, 64 // bytes
)

// What the hashes cost that are made here, as OWASP advises for argon2id.
const (
	newMemory  = 19 << 10
	newTime    = 2
	newThreads = 1
	newSalt    = 16
	newDigest  = 32
)

// maxPassword bounds a password that is set: one that no carrier could bring back
// would lock its user out.
const maxPassword = 1024

var (
	errNoPassword   = errors.New("the password is empty")
	errLongPassword = fmt.Errorf("the password is longer than %d bytes", maxPassword)
)

func checkPassword(password string) error {
	switch {
	case password == "":
		return errNoPassword
	case len(password) > maxPassword:
		return errLongPassword
	}
	return nil
}

// verifier knows a password without keeping it.
type verifier interface {
	// matches reports whether that is the password. Neither its time nor its outcome
	// says anything else.
	matches(password string) bool

	// dear reports whether matches takes long, and much memory.
	dear() bool

	// same reports whether the other one surely has the same password.
	same(other verifier) bool
}

// plain is the SHA-256 of a password which is kept beside candado in the clear anyhow.
type plain [sha256.Size]byte

func (p plain) matches(password string) bool {
	sum := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], p[:]) == 1
}

func (plain) dear() bool { return false }

func (p plain) same(other verifier) bool {
	o, ok := other.(plain)
	return ok && subtle.ConstantTimeCompare(o[:], p[:]) == 1
}

// hash is an argon2id hash (RFC 9106).
type hash struct {
	cost
	salt, digest []byte
}

// cost is what a hash takes.
type cost struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

func (c cost) compare(d cost) int {
	return cmp.Or(cmp.Compare(c.memory, d.memory), cmp.Compare(c.time, d.time), cmp.Compare(c.threads, d.threads))
}

func newHash(password string) hash {
	h := hash{cost: cost{newMemory, newTime, newThreads}, salt: make([]byte, newSalt), digest: make([]byte, newDigest)}
	_, _ = rand.Read(h.salt) // it never fails
	h.digest = h.of(password)
	return h
}

func (h hash) of(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.digest)))
}

func (h hash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.of(password), h.digest) == 1
}

func (hash) dear() bool { return true }

func (h hash) same(other verifier) bool {
	o, ok := other.(hash)
	return ok && h.String() == o.String()
}

// nobody returns a hash that costs as much and that no password has: its digest is random.
func (h hash) nobody() hash {
	h.digest = make([]byte, len(h.digest))
	_, _ = rand.Read(h.digest) // it never fails
	return h
}

// String returns the hash in its usual form, $argon2id$v=19$m=…,t=…,p=…$salt$digest.
func (h hash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.digest))
}

// parseHash reads what String returns. Its errors show nothing of the text, which may
// be a password that was put there by mistake.
func parseHash(text string) (h hash, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return h, errors.New("the hash is no argon2id hash such as candado passwd makes")
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, fmt.Errorf("the hash is of another version of argon2id than %d", argon2.Version)
	}
	if err := h.parseCost(parts[3]); err != nil {
		return h, err
	}
	if h.salt, err = decode(parts[4], minSalt, maxSalt); err != nil {
		return h, fmt.Errorf("the salt of the hash %w", err)
	}
	if h.digest, err = decode(parts[5], minDigest, maxDigest); err != nil {
		return h, fmt.Errorf("the hash's own part of the hash %w", err)
	}
	return h, nil
}

func (h *hash) parseCost(text string) error {
	costs := []struct {
		name        string
		least, most uint64
		set         func(uint64)
	}{
		{"m", 8, maxMemory, func(n uint64) { h.memory = uint32(n) }},
		{"t", 1, maxTime, func(n uint64) { h.time = uint32(n) }},
		{"p", 1, maxThreads, func(n uint64) { h.threads = uint8(n) }},
	}
	words := strings.Split(text, ",")
	if len(words) != len(costs) {
		return errors.New("the hash does not say what it costs, as m=…,t=…,p=…")
	}
	for i, c := range costs {
		digits, ok := strings.CutPrefix(words[i], c.name+"=")
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n < c.least || n > c.most || strconv.FormatUint(n, 10) != digits {
			return fmt.Errorf("the cost %s of the hash is no number from %d to %d", c.name, c.least, c.most)
		}
		c.set(n)
	}
	if h.memory < 8*uint32(h.threads) {
		return errors.New("the cost m of the hash is less than 8 times its p")
	}
	return nil
}

func decode(text string, least, most int) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil || strings.ContainsAny(text, "\r\n"): // which the decoder skips
		return nil, errors.New("is not base64 without padding")
	case len(b) < least || len(b) > most:
		return nil, fmt.Errorf("has %d bytes, not %d to %d", len(b), least, most)
	}
	return b, nil
}
