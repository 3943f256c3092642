package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/goodjobtech/candado/httpapi"
	"github.com/goodjobtech/candado/httpapi/metrics"
	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/quota"
	"github.com/goodjobtech/candado/locks/upstream"
	"github.com/goodjobtech/candado/proxy"
)

const (
	mostOfAny = 1_000_000_000 // of what is counted
	mostBytes = 64 << 20      // of one request

	// ownFiles is how many files the process has open besides its clients' connections:
	// listeners, connections to the upstream, those that are only told that they are too
	// many, what the Go runtime needs.
	ownFiles = 160
)

// Quotas are the bounds on what clients can make candado keep, beside MaxWaiters. A
// duration of 0 is no bound.
type Quotas struct {
	Connections   int // on each listener
	Waiting       int
	HTTPWaiting   int
	SessionLeases int // of a connection
	CommandBytes  int
	HeaderBytes   int

	RequestTimeout  time.Duration
	IdleTimeout     time.Duration // on a RESP connection
	HTTPIdleTimeout time.Duration
	WriteTimeout    time.Duration
}

// measureQuotas has the metrics show what is allowed, and what is in use.
func (m *Main) measureQuotas(meters *metrics.Metrics, engine locks.Engine, waiting, webWaiting *quota.Waiting) {
	q := m.Config.Quotas
	connections := map[string]func() int{}
	for _, f := range m.fronts {
		connections[f.name] = f.server.Connections
	}
	meters.Quota(locks.QuotaRESPConnections, float64(m.Config.respConnections(openFiles())), connections["resp"])
	meters.Quota(locks.QuotaLockWaiters, float64(m.Config.MaxWaiters), nil)
	meters.Quota(locks.QuotaWaiting, float64(q.Waiting), waiting.Waiting)
	meters.Quota(locks.QuotaSessionLeases, float64(q.SessionLeases), nil)
	meters.Quota(locks.QuotaCommandBytes, float64(q.CommandBytes), nil)
	meters.Quota(locks.QuotaCommandArguments, proxy.DefaultArguments, nil)
	meters.Quota(locks.QuotaAheadBytes, proxy.MaxAhead, nil)
	most := float64(proxy.MaxSending)
	if connections["http"] != nil {
		most += httpapi.MaxSending
	}
	meters.Quota(locks.QuotaReplyBytes, most, func() int {
		n := 0
		for _, f := range m.fronts {
			n += f.server.Sending()
		}
		return n
	})
	meters.Quota(locks.QuotaRequestTime, q.RequestTimeout.Seconds(), nil)
	meters.Quota(locks.QuotaIdleTime, q.IdleTimeout.Seconds(), nil)
	meters.Quota(locks.QuotaWriteTime, q.WriteTimeout.Seconds(), nil)
	if connections["http"] != nil {
		meters.Quota(locks.QuotaHTTPConnections, float64(q.Connections), connections["http"])
		meters.Quota(locks.QuotaHTTPWaiting, float64(q.HTTPWaiting), webWaiting.Waiting)
		meters.Quota(locks.QuotaHeaderBytes, float64(q.HeaderBytes), nil)
		meters.Quota(locks.QuotaBodyBytes, httpapi.MaxBodyBytes, nil)
		meters.Quota(locks.QuotaHTTPIdleTime, q.HTTPIdleTimeout.Seconds(), nil)
	}
	if remote, ok := engine.(*upstream.Engine); ok {
		meters.Quota(locks.QuotaUpstreamOperations, upstream.MaxQueued, remote.Queued)
	}
}

// respConnections returns how many RESP clients may be connected if the process may open
// so many files, 0 if that is not known: not so many that none are left for HTTP, by
// which others see whether candado lives.
func (c Config) respConnections(files uint64) int {
	if files == 0 || c.HTTP == "" {
		return c.Quotas.Connections
	}
	room := max(int64(min(files, mostOfAny))-ownFiles, 1)
	return int(min(int64(c.Quotas.Connections), max(room-room/16, 1)))
}

// warnOfFewFiles warns if the process may open fewer files than its listeners may have
// connections. What can't be accepted then waits in the kernel until another connection
// has gone, and is not told why. Limit is 0 if it is not known. On loopback alone, where
// candado is tried out, so many clients are not expected: there it is no warning.
func (m *Main) warnOfFewFiles(limit uint64) {
	need := uint64(len(m.fronts))*uint64(m.Config.Quotas.Connections) + ownFiles
	if limit == 0 || limit >= need {
		return
	}
	level := slog.LevelInfo
	for _, f := range m.fronts {
		if !onLoopback(f.listener.Addr()) {
			level = slog.LevelWarn
		}
	}
	m.Log.Log(context.Background(), level, "this process may open fewer files than --max-connections asks for, so that "+
		"connections may have to wait until others have gone: raise its hard limit "+
		"(ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker), or lower --max-connections",
		"limit", limit, "needed", need)
}
