package upstream

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/goodjobtech/candado/locks"
	"github.com/goodjobtech/candado/locks/upstream/script"
)

// Check implements locks.Engine.
func (e *Engine) Check(ctx context.Context, id locks.ID, t locks.Token) (bool, error) {
	var c call
	e.askCheck(&c, locks.CheckRequest{ID: id, Token: t})
	e.do(ctx, &c)
	return e.checked(id, t, &c)
}

func (e *Engine) askCheck(c *call, req locks.CheckRequest) {
	c.op = script.Check{Token: int64(req.Token)}.Append(c.about(e, req.ID))
}

// checked reads the reply to a check.
func (e *Engine) checked(id locks.ID, t locks.Token, c *call) (bool, error) {
	r, err := c.outcome()
	if err == nil && (r.fields != nil || r.status < statusNone) {
		err = r.unexpected()
	}
	if err != nil {
		return false, fmt.Errorf("checking token of %q: %w", id, err)
	}
	if r.value == 1 {
		e.saw(int64(t))
	}
	return r.value == 1, nil
}

// Info implements locks.Engine.
func (e *Engine) Info(ctx context.Context, id locks.ID) (locks.Info, error) {
	r, err := e.alone(ctx, &call{script: e.scripts.Info, id: id, key: []byte(e.keys.record(id))})
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
	r, err := e.alone(ctx, &call{script: e.scripts.Scan, key: []byte(e.keys.none()), args: []any{
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
	matches := locks.Matcher(req.Match)
	for err == nil && len(r.fields) > 0 {
		var record string
		if err = r.scan(&record); err == nil {
			if id := e.keys.id(record); req.Match == "" || matches(string(id)) {
				page.IDs = append(page.IDs, id)
			}
		}
	}
	if err != nil {
		return locks.Scanned{}, fmt.Errorf("scanning locks: %w", err)
	}
	return page, nil
}
