package upstream

import (
	"strings"
	"testing"

	"github.com/goodjobtech/candado/locks"
)

func TestKeysLeadBackToTheirIDs(t *testing.T) {
	k := keys{"candado:"}
	for _, id := range []locks.ID{"a", "}", "%", "%7D", "a%}{b", "\x00\xff", locks.ID(strings.Repeat("}%", 512))} {
		record := k.record(id)
		if want := "candado:{" + escapeID.Replace(string(id)) + "}"; record != want {
			t.Errorf("the key of %q is %q, want %q", id, record, want)
		}
		if got := k.id(record); got != id {
			t.Errorf("%q came back as %q", id, got)
		}
	}
}
