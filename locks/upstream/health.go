package upstream

import (
	"log/slog"
	"sync/atomic"
)

// health logs when the server stops answering and when it is back, once each.
type health struct {
	log  *slog.Logger
	away atomic.Bool
}

func (h *health) failed(err error) {
	if !h.away.Swap(true) {
		h.log.Warn("upstream unavailable", "error", err)
	}
}

func (h *health) answered() {
	if h.away.Load() && h.away.Swap(false) {
		h.log.Info("upstream answers again")
	}
}
