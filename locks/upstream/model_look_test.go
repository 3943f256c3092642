package upstream

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// How the real server is compared with the model: what is in its keys.

// differs looks behind the scripts, and returns what is not as in the model.
func (st *stage) differs(want state) string {
	ctx := st.t.Context()
	leases := st.leases(ctx)
	var fresh []int64
	for r := range slots {
		s, l := want.slots[r], leases[r]
		if left := (l.left + realTick - 1) / realTick; (l.token != 0) != (s.token != 0 && !s.limbo) || l.token != 0 && left != time.Duration(s.till) {
			return fmt.Sprintf("the lease of request %d is %d for %v, the model's lasts for %v", r, l.token, l.left, time.Duration(s.till)*realTick)
		}
		if n := len(st.tokens[r]); l.token != 0 && (n == 0 || st.tokens[r][n-1] != l.token) {
			st.tokens[r], fresh = append(st.tokens[r], l.token), append(fresh, l.token)
		}
	}
	slices.Sort(fresh)
	for _, token := range fresh {
		if token <= st.peak {
			return fmt.Sprintf("token %d follows %d", token, st.peak)
		}
		st.peak = token
	}
	var order []int
	pending := st.pending(ctx)
	for _, entry := range st.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: stageKey + queueKey, Start: "0", Stop: "(5000000000000000", ByScore: true}).Val() {
		if r := slotOf(entry[1:9]); r != pending {
			order = append(order, r)
		}
	}
	if model := want.order(); !slices.Equal(order, model) {
		return fmt.Sprintf("the queue is %v, the model's %v", order, model)
	}
	for c, n := range want.nodes {
		score, err := st.client.ZScore(ctx, stageKey+queueKey, "c"+nodeName(c)).Result()
		age := ageCode(time.Duration(st.now.UnixMicro()+int64(score)) * time.Microsecond)
		if known := err == nil; known != n.known || known && age != n.age {
			return fmt.Sprintf("candado %d was of age %d: %v; in the model %d, %v", c, age, known, n.age, n.known)
		}
	}
	return ""
}

// ageCode returns an age as the model has it.
func ageCode(age time.Duration) int8 {
	code := 2 * (age / realTick)
	if age%realTick >= 10*time.Millisecond {
		code++
	}
	if code > ageForgot+2 {
		code = ageForgot + 1 + code%2
	}
	return int8(code)
}

// order returns who stands in the queue.
func (s *state) order() (all []int) {
	for r := range s.slots {
		if s.slots[r].queued {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b int) int { return int(s.slots[a].place - s.slots[b].place) })
	return all
}

// realLease is a lease as the server has it.
type realLease struct {
	token int64
	left  time.Duration
}

// leases reads the live leases from the record, or from the keys of shared ones.
func (st *stage) leases(ctx context.Context) (all [slots]realLease) {
	raw, _ := st.client.Get(ctx, stageKey).Bytes()
	if len(raw) < 43 {
		return all
	}
	now := st.now.UnixMicro()
	put := func(number string, token, expires int64) {
		if r := slotOf(number); r >= 0 && expires > now {
			all[r] = realLease{token, time.Duration(expires-now) * time.Microsecond}
		}
	}
	switch raw[0] % 4 {
	case 1:
		expires := little(raw[8:15])
		if raw[0]&0x10 != 0 && st.pending(ctx) < 0 { // it was heard of
			expires = (little(raw[21:28])&(1<<48-1) + little(raw[15:22])&(1<<48-1)) * 1000
		}
		put(string(raw[27:35]), little(raw[1:8]), expires)
	case 2:
		for field, packed := range st.client.HGetAll(ctx, stageKey+":h").Val() {
			if token, ok := strings.CutPrefix(field, "t"); ok {
				var n int64
				_, _ = fmt.Sscan(token, &n)
				expires := binary.LittleEndian.Uint64([]byte(packed[1:8] + "\x00"))
				put(packed[20:28], n, int64(expires))
			}
		}
	}
	return all
}

// pending returns the slot of a holder whose entry is in the queue, or -1.
func (st *stage) pending(ctx context.Context) int {
	raw, _ := st.client.Get(ctx, stageKey).Bytes()
	if len(raw) < 50 || raw[0]&0x10 == 0 {
		return -1
	}
	place := fmt.Sprint(little(raw[43:50]))
	for _, entry := range st.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: stageKey + queueKey, Start: place, Stop: place, ByScore: true}).Val() {
		if entry[1:9] == string(raw[27:35]) {
			return slotOf(entry[1:9])
		}
	}
	return -1
}
