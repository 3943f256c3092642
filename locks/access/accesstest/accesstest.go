// Package accesstest makes lists of users for tests.
package accesstest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/goodjobtech/candado/locks/access"
)

// List makes a list of lines as a users file has them, but with passwords where that has
// hashes. The hashes cost as little as they may.
func List(t testing.TB, lines ...string) *access.List {
	t.Helper()
	var file strings.Builder
	for _, line := range lines {
		f := strings.Fields(line)
		salt := []byte("a grain of salt")
		digest := argon2.IDKey([]byte(f[1]), salt, 1, 8, 1, 16)
		b64 := base64.RawStdEncoding.EncodeToString
		fmt.Fprintf(&file, "%s $argon2id$v=%d$m=8,t=1,p=1$%s$%s %s\n", f[0], argon2.Version, b64(salt), b64(digest), strings.Join(f[2:], " "))
	}
	l, err := access.ReadList(strings.NewReader(file.String()))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Guard makes a guard of such a list.
func Guard(t testing.TB, lines ...string) *access.Guard {
	t.Helper()
	return access.NewGuard(List(t, lines...), nil)
}
