package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/goodjobtech/candado/locks"
)

// The two ways to a candado for clients whose history is recorded.

// replyTime is how long a client waits for a reply beyond the time that it lets
// its request wait: longer than candado may take to say UNAVAILABLE.
const replyTime = 8 * time.Second

// respConn is a plain RESP connection.
type respConn struct {
	net.Conn
	r       *bufio.Reader
	candado int
}

func dialHistoryRESP(addr string, candado int) (*respConn, error) {
	c, err := net.DialTimeout("tcp", addr, replyTime)
	if err != nil {
		return nil, err
	}
	return &respConn{c, bufio.NewReader(c), candado}, nil
}

func (c *respConn) Candado() int { return c.candado }
func (c *respConn) Waits() bool  { return true }
func (c *respConn) Binds() bool  { return true }

// command sends one command and returns its reply: int64, string, nil or []any.
// When ctx ends, the connection does.
func (c *respConn) command(ctx context.Context, wait time.Duration, args ...string) (any, error) {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	_ = c.SetDeadline(time.Now().Add(wait + replyTime))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(c.Conn, b.String()); err != nil {
		return nil, err
	}
	return c.reply()
}

func (c *respConn) reply() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, unexpected("an empty line")
	}
	switch line[0] {
	case '-':
		return nil, replyErr(line[1:])
	case '+':
		return line[1:], nil
	}
	n, err := strconv.ParseInt(line[1:], 10, 64)
	switch {
	case err != nil:
		return nil, unexpected(line)
	case line[0] == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case line[0] == '$':
		text := make([]byte, n+2)
		_, err := io.ReadFull(c.r, text)
		return string(text[:n]), err
	}
	items := make([]any, n)
	for i := range items {
		if items[i], err = c.reply(); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// unexpected is a reply that no client should ever get.
type unexpected string

func (e unexpected) Error() string { return "unexpected reply: " + string(e) }

func replyErr(line string) error {
	for prefix, err := range map[string]error{
		"UNAVAILABLE ": locks.ErrUnavailable, "NOTOWNER ": locks.ErrNotOwner, "SHUTDOWN ": locks.ErrShutdown, "BUSY ": locks.ErrBusy,
		"ERR the owner holds the lock in another mode": locks.ErrMode,
	} {
		if strings.HasPrefix(line, prefix) {
			return err
		}
	}
	return unexpected(line)
}

func millis(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

func (c *respConn) Acquire(ctx context.Context, req locks.AcquireRequest, bound bool) (locks.Lease, error) {
	args := []string{"LOCK.ACQUIRE", string(req.ID), "PX", millis(req.TTL)}
	if req.Owner != "" {
		args = append(args, "OWNER", string(req.Owner))
	}
	switch {
	case req.Limit > 0:
		args = append(args, "LIMIT", strconv.Itoa(req.Limit))
	case req.Mode == locks.Shared:
		args = append(args, "SHARED")
	}
	if req.Wait != 0 {
		args = append(args, "BLOCK", millis(req.Wait))
	}
	if bound {
		args = append(args, "SESSION")
	}
	reply, err := c.command(ctx, req.Wait, args...)
	switch token := reply.(type) {
	case nil:
		if err == nil {
			err = locks.ErrHeld
		}
		return locks.Lease{}, err
	case int64:
		return locks.Lease{Token: locks.Token(token), Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}, err
	}
	return locks.Lease{}, unexpected(fmt.Sprint(reply))
}

// number sends a command whose reply is a number.
func (c *respConn) number(ctx context.Context, args ...string) (int64, error) {
	reply, err := c.command(ctx, 0, args...)
	if err != nil {
		return 0, err
	}
	n, ok := reply.(int64)
	if !ok {
		return 0, unexpected(fmt.Sprint(reply))
	}
	return n, nil
}

func claimed(claim locks.Claim, args ...string) []string {
	switch {
	case claim.Token != 0:
		args = append(args, strconv.FormatInt(int64(claim.Token), 10))
	case claim.Owner != "":
		args = append(args, "OWNER", string(claim.Owner))
	}
	return args
}

func (c *respConn) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	args := claimed(req.Claim, "LOCK.RELEASE", string(req.ID))
	if req.Force {
		args = append(args, "FORCE")
	}
	n, err := c.number(ctx, args...)
	return locks.Released{Ended: int(n)}, err
}

func (c *respConn) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	n, err := c.number(ctx, claimed(req.Claim, "LOCK.HEARTBEAT", string(req.ID))...)
	return locks.Lease{Token: req.Claim.Token, TTL: time.Duration(n) * time.Millisecond}, err
}

func (c *respConn) Check(ctx context.Context, id locks.ID, token locks.Token) (bool, error) {
	n, err := c.number(ctx, "LOCK.CHECK", string(id), strconv.FormatInt(int64(token), 10))
	return n == 1, err
}

func (c *respConn) Info(ctx context.Context, id locks.ID) (info locks.Info, err error) {
	reply, err := c.command(ctx, 0, "LOCK.INFO", string(id))
	if err != nil {
		return info, err
	}
	fields := pairs(reply)
	waiters, ok := fields["waiters"].(int64)
	holders, ok2 := fields["holders"].([]any)
	if !ok || !ok2 {
		return info, unexpected(fmt.Sprint(reply))
	}
	info.Waiters = int(waiters)
	for _, h := range holders {
		token, _ := pairs(h)["token"].(int64)
		info.Holders = append(info.Holders, locks.Holder{Lease: locks.Lease{Token: locks.Token(token)}})
	}
	return info, nil
}

// pairs reads a map as RESP2 writes it.
func pairs(reply any) map[string]any {
	items, _ := reply.([]any)
	m := map[string]any{}
	for i := 0; i+1 < len(items); i += 2 {
		name, _ := items[i].(string)
		m[name] = items[i+1]
	}
	return m
}

// httpConn is a client of the HTTP front end. Its requests do not wait.
type httpConn struct {
	client  http.Client
	base    string
	candado int
}

func newHTTPConn(addr string, candado int) *httpConn {
	return &httpConn{http.Client{Transport: &http.Transport{}, Timeout: replyTime}, "http://" + addr, candado}
}

func (c *httpConn) Candado() int { return c.candado }
func (c *httpConn) Waits() bool  { return false }
func (c *httpConn) Binds() bool  { return false }

func (c *httpConn) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// body is what each reply may hold.
type body struct {
	Error   string
	State   int
	Success bool
	Token   locks.Token
	TTL     int64 `json:"ttl_ms"`
	Waiters int
	Holders []struct{ Token locks.Token }
}

// get sends a request. A free lock is no error, whatever was asked.
func (c *httpConn) get(ctx context.Context, path string, id locks.ID, query url.Values) (b body, err error) {
	method := http.MethodGet
	if !strings.HasPrefix(path, "/locks") {
		method = http.MethodPost // a client repeats a GET by itself, on a connection of another request that has ended
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path+url.PathEscape(string(id))+"?"+query.Encode(), nil)
	if err != nil {
		return b, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return b, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&b); err != nil {
		return b, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return b, nil
	case resp.StatusCode == http.StatusConflict && b.State == 0:
		return b, nil
	}
	for _, known := range []error{locks.ErrHeld, locks.ErrNotOwner, locks.ErrMode, locks.ErrShutdown, locks.ErrUnavailable} {
		if b.Error == known.Error() {
			return b, known
		}
	}
	return b, unexpected(fmt.Sprint(resp.Status, b))
}

func query(claim locks.Claim) url.Values {
	q := url.Values{}
	if claim.Token != 0 {
		q.Set("token", strconv.FormatInt(int64(claim.Token), 10))
	}
	if claim.Owner != "" {
		q.Set("owner", string(claim.Owner))
	}
	return q
}

func (c *httpConn) Acquire(ctx context.Context, req locks.AcquireRequest, _ bool) (locks.Lease, error) {
	q := query(locks.Claim{Owner: req.Owner})
	q.Set("ttl", req.TTL.String())
	switch {
	case req.Limit > 0:
		q.Set("limit", strconv.Itoa(req.Limit))
	case req.Mode == locks.Shared:
		q.Set("shared", "1")
	}
	b, err := c.get(ctx, "/acquire/", req.ID, q)
	if err == nil && b.Token == 0 {
		err = unexpected(fmt.Sprint(b))
	}
	return locks.Lease{Token: b.Token, Owner: req.Owner, Mode: req.Mode, TTL: req.TTL}, err
}

// Release returns -1 for how many leases were ended, if any: the reply does not say.
func (c *httpConn) Release(ctx context.Context, req locks.ReleaseRequest) (locks.Released, error) {
	q := query(req.Claim)
	if req.Force {
		q.Set("force", "1")
	}
	b, err := c.get(ctx, "/release/", req.ID, q)
	if err != nil || !b.Success {
		return locks.Released{}, err
	}
	return locks.Released{Ended: -1}, nil
}

func (c *httpConn) Heartbeat(ctx context.Context, req locks.HeartbeatRequest) (locks.Lease, error) {
	b, err := c.get(ctx, "/heartbeat/", req.ID, query(req.Claim))
	return locks.Lease{Token: b.Token, TTL: time.Duration(b.TTL) * time.Millisecond}, err
}

func (c *httpConn) Check(ctx context.Context, id locks.ID, token locks.Token) (bool, error) {
	b, err := c.get(ctx, "/locks/", id, nil)
	for _, h := range b.Holders {
		if h.Token == token {
			return true, err
		}
	}
	return false, err
}

func (c *httpConn) Info(ctx context.Context, id locks.ID) (info locks.Info, err error) {
	b, err := c.get(ctx, "/locks/", id, nil)
	info.Waiters = b.Waiters
	for _, h := range b.Holders {
		info.Holders = append(info.Holders, locks.Holder{Lease: locks.Lease{Token: h.Token}})
	}
	return info, err
}
