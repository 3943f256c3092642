package upstream

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// refusalInterval is how often refused requests are logged at the most.
const refusalInterval = 10 * time.Second

// health logs when the server stops answering and when it is back, once each.
// A server that answers, and refuses, is not away: a full one, or a foreign
// value under one key, would make the log flip with each request.
type health struct {
	log     *slog.Logger
	away    atomic.Bool
	refused atomic.Int64 // when a refusal was last logged, Unix ns
}

// failed takes note of an error. Its request was the last one of its call.
func (h *health) failed(err error) {
	if answers(err) {
		last, now := h.refused.Load(), time.Now().UnixNano()
		if now-last >= int64(refusalInterval) && h.refused.CompareAndSwap(last, now) {
			h.log.Warn("upstream refuses requests", "error", err)
		}
		return
	}
	if !h.away.Swap(true) {
		h.log.Warn("upstream unavailable", "error", err)
	}
}

func (h *health) answered() {
	if h.away.Load() && h.away.Swap(false) {
		h.log.Info("upstream answers again")
	}
}

// answers reports whether an error is that of a server which serves other
// requests.
func answers(err error) bool {
	if errors.Is(err, errRefused) {
		return true
	}
	if _, replied := errors.AsType[redis.Error](err); !replied {
		return false
	}
	for _, code := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS", "BUSY"} {
		if redis.HasErrorPrefix(err, code) {
			return false
		}
	}
	return true
}
