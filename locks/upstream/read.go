package upstream

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// Check implements locks.Engine.
func (e *Engine) Check(ctx context.Context, id locks.ID, t locks.Token) (bool, error) {
	r, err := e.do(ctx, &call{script: e.scripts.check, id: id, key: e.keys.record(id), args: []any{int64(t)}})
	var live int64
	if err == nil {
		err = r.scan(&live)
	}
	if err != nil {
		return false, fmt.Errorf("checking token of %q: %w", id, err)
	}
	if live == 1 {
		e.saw(int64(t))
	}
	return live == 1, nil
}

// Info implements locks.Engine.
func (e *Engine) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	r, err := e.do(ctx, &call{script: e.scripts.info, id: id, key: e.keys.record(id)})
	var last, waiters, mode int64
	if err == nil {
		err = r.scan(&last, &waiters, &mode)
	}
	info := locks.Info{ID: id, Mode: locks.Mode(mode), Waiters: int(waiters), LastToken: locks.Token(last)}
	for err == nil && len(r.fields) > 0 {
		var token, left, held int64
		var owner string
		if err = r.scan(&token, &owner, &left, &held); err == nil {
			lease := locks.Lease{Token: locks.Token(token), Owner: locks.Owner(owner), Mode: info.Mode, TTL: duration(left, -1)}
			info.Holders = append(info.Holders, locks.Holder{Lease: lease, Held: time.Duration(held) * time.Millisecond})
		}
	}
	if err != nil {
		return locks.Info{}, fmt.Errorf("describing %q: %w", id, err)
	}
	e.saw(last)
	return info, nil
}

// Scan implements locks.Engine. Its cursor is the server's own.
func (e *Engine) Scan(ctx context.Context, req locks.ScanRequest) (locks.Scanned, error) {
	count := req.Count
	if count == 0 {
		count = 10
	}
	r, err := e.do(ctx, &call{script: e.scripts.scan, key: e.keys.none(), timeless: true, args: []any{
		strconv.FormatUint(req.Cursor, 10), e.keys.pattern(req.Match), count,
	}})
	var page locks.Scanned
	var cursor string
	if err == nil {
		err = r.scan(&cursor)
	}
	if err == nil {
		page.Cursor, err = strconv.ParseUint(cursor, 10, 64)
	}
	for err == nil && len(r.fields) > 0 {
		var record string
		if err = r.scan(&record); err == nil {
			if id := e.keys.id(record); req.Match == "" || locks.Match(req.Match, string(id)) {
				page.IDs = append(page.IDs, id)
			}
		}
	}
	if err != nil {
		return locks.Scanned{}, fmt.Errorf("scanning locks: %w", err)
	}
	return page, nil
}
