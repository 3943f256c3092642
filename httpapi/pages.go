package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/goodjobtech/candado/locks"
)

// lockPage is the body of /locks/{lock-id}.
type lockPage struct {
	ID        string       `json:"id"`
	IDEscaped string       `json:"id_escaped,omitempty"`
	State     uint8        `json:"state"`
	Mode      string       `json:"mode"`
	Holders   []holderPart `json:"holders"`
	Waiters   int          `json:"waiters"`
	LastToken locks.Token  `json:"last_token"`
}

type holderPart struct {
	Token        locks.Token `json:"token"`
	Owner        string      `json:"owner"`
	OwnerEscaped string      `json:"owner_escaped,omitempty"`
	Mode         string      `json:"mode"`
	TTL          int64       `json:"ttl_ms"`
	Held         int64       `json:"held_ms"`
}

// scanPage is the body of /locks. The cursor is a string because it has 64
// bits, of which readers of JSON numbers keep 53.
type scanPage struct {
	Cursor     string   `json:"cursor"`
	IDs        []string `json:"ids"`
	IDsEscaped []string `json:"ids_escaped,omitempty"`
}

// info describes one lock.
func (s *Server) info(c call) (outcome, error) {
	info, err := s.options.Engine.Info(c.ctx, c.id)
	if err != nil {
		return outcome{}, err
	}
	page := lockPage{
		ID:        string(c.id),
		IDEscaped: escapedIfNeeded(string(c.id)),
		State:     state(info.Held()),
		Mode:      info.Mode.String(),
		Holders:   make([]holderPart, 0, len(info.Holders)),
		Waiters:   info.Waiters,
		LastToken: info.LastToken,
	}
	for _, h := range info.Holders {
		page.Holders = append(page.Holders, holderPart{
			Token:        h.Token,
			Owner:        string(h.Owner),
			OwnerEscaped: escapedIfNeeded(string(h.Owner)),
			Mode:         h.Mode.String(),
			TTL:          milliseconds(h.TTL),
			Held:         h.Held.Milliseconds(),
		})
	}
	return jsonPage(page)
}

// scan lists IDs of held locks.
func (s *Server) scan(c call) (outcome, error) {
	found, err := s.options.Engine.Scan(c.ctx, locks.ScanRequest{
		Cursor: c.params.cursor,
		Match:  c.params.match,
		Count:  c.params.count,
	})
	if err != nil {
		return outcome{}, err
	}
	found.IDs = slices.DeleteFunc(found.IDs, func(id locks.ID) bool { return !c.mayRead(id) })
	page := scanPage{Cursor: strconv.FormatUint(found.Cursor, 10), IDs: make([]string, 0, len(found.IDs))}
	exact := true
	for _, id := range found.IDs {
		page.IDs = append(page.IDs, string(id))
		exact = exact && utf8.ValidString(string(id))
	}
	if !exact {
		for _, id := range found.IDs {
			page.IDsEscaped = append(page.IDsEscaped, escape(string(id)))
		}
	}
	return jsonPage(page)
}

// escapedIfNeeded returns s in percent-encoding if a JSON string can't hold it
// exactly, otherwise the empty string.
func escapedIfNeeded(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	return escape(s)
}

func jsonPage(content any) (outcome, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // replies are not put into HTML; IDs stay readable
	if err := enc.Encode(content); err != nil {
		return outcome{}, fmt.Errorf("writing a page as JSON: %w", err)
	}
	return outcome{page: &page{kindJSON, bytes.TrimSuffix(b.Bytes(), []byte("\n"))}}, nil
}

// healthz says that the process lives.
func (s *Server) healthz(call) (outcome, error) { return outcome{}, nil }

// readyz says whether the engine answers. While the server drains it says no,
// so that load balancers look elsewhere.
func (s *Server) readyz(c call) (outcome, error) {
	if err := s.stopping(); err != nil {
		return outcome{}, err
	}
	if err := s.options.Engine.Ready(c.ctx); err != nil {
		text := "the engine does not answer"
		told := c.user != nil || s.options.Access == nil
		if unsafe, ok := errors.AsType[*locks.UnsafeError](err); ok && told {
			text = unsafe.Error()
		}
		return outcome{}, &requestError{status: fasthttp.StatusServiceUnavailable, text: text}
	}
	return outcome{}, nil
}

// metrics writes what is counted and measured.
func (s *Server) metrics(call) (outcome, error) {
	var b bytes.Buffer
	if err := s.options.Metrics.WriteText(&b); err != nil {
		return outcome{}, fmt.Errorf("writing metrics: %w", err)
	}
	return outcome{page: &page{"text/plain; version=0.0.4; charset=utf-8", b.Bytes()}}, nil
}
