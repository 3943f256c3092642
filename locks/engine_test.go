package locks_test

import (
	"testing"

	"github.com/goodjobtech/candado/locks"
)

func TestClaimMatchesItsLeaseOnly(t *testing.T) {
	for _, c := range []struct {
		claim locks.Claim
		token locks.Token
		owner locks.Owner
		want  bool
	}{
		{locks.Claim{Token: 7}, 7, "me", true},
		{locks.Claim{Token: 7}, 7, "", true},
		{locks.Claim{Token: 7}, 8, "me", false},
		{locks.Claim{Token: 7}, 77, "", false},
		{locks.Claim{Owner: "me"}, 7, "me", true},
		{locks.Claim{Owner: "me"}, 7, "you", false},
		{locks.Claim{Owner: "me"}, 7, "mee", false},
		{locks.Claim{Owner: "me"}, 7, "", false},
		{locks.Claim{}, 7, "", true},
		{locks.Claim{}, 7, "me", false},
	} {
		if got := c.claim.Matches(c.token, c.owner); got != c.want {
			t.Errorf("%+v matches token %d of %q: %v, want %v", c.claim, c.token, c.owner, got, c.want)
		}
	}
}

func TestClaimIsBareIfItNamesNothing(t *testing.T) {
	for claim, want := range map[locks.Claim]bool{{}: true, {Token: 1}: false, {Owner: "me"}: false} {
		if claim.Bare() != want {
			t.Errorf("%+v is bare: %v, want %v", claim, claim.Bare(), want)
		}
	}
}
