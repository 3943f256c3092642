package upstream

import (
	"fmt"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// scan takes the reply's next fields into dst (*int64 or *string), and returns
// an error if they are of other types or too few.
func (r *reply) scan(dst ...any) error {
	if len(r.fields) < len(dst) {
		return unavailable(fmt.Errorf("the script's reply has %d fields, want %d more", len(r.fields), len(dst)))
	}
	for i, d := range dst {
		ok := false
		switch d := d.(type) {
		case *int64:
			*d, ok = r.fields[i].(int64)
		case *string:
			*d, ok = r.fields[i].(string)
		}
		if !ok {
			return unavailable(fmt.Errorf("field %d of the script's reply is %T", i, r.fields[i]))
		}
	}
	r.fields = r.fields[len(dst):]
	return nil
}

func (r *reply) unexpected() error {
	return unavailable(fmt.Errorf("the script's reply has the status %d", r.status))
}

// millis spells a TTL for a script, which writes no expiry as 0.
func millis(ttl time.Duration) int64 {
	if ttl == locks.NoExpiry {
		return 0
	}
	return ttl.Milliseconds()
}

// duration reads milliseconds of a reply, in which none stands for no expiry.
func duration(ms, none int64) time.Duration {
	if ms == none {
		return locks.NoExpiry
	}
	return time.Duration(ms) * time.Millisecond
}
