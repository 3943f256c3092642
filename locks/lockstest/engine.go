package lockstest

import (
	"context"

	"github.com/goodjobtech/candado/locks"
)

// Cases about the engine as a whole.
func engineCases() []testCase {
	return []testCase{
		{"EngineIsReady", engineIsReady},
		{"CancelledContextDoesNothing", cancelledContextDoesNothing},
		{"ClosedEngineRefuses", closedEngineRefuses},
		{"EnginesOnOneStoreAgree", enginesOnOneStoreAgree},
	}
}

// operations are all that an engine can be asked, each about the lock a.
func operations(e locks.Engine) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Acquire": func(ctx context.Context) error {
			_, err := e.Acquire(ctx, exclusive("a", ""))
			return err
		},
		"Release": func(ctx context.Context) error {
			_, err := e.Release(ctx, locks.ReleaseRequest{ID: "a", Force: true})
			return err
		},
		"Heartbeat": func(ctx context.Context) error {
			_, err := e.Heartbeat(ctx, locks.HeartbeatRequest{ID: "a"})
			return err
		},
		"Check": func(ctx context.Context) error {
			_, err := e.Check(ctx, "a", 1)
			return err
		},
		"Info": func(ctx context.Context) error {
			_, err := e.Info(ctx, "a")
			return err
		},
		"Scan": func(ctx context.Context) error {
			_, err := e.Scan(ctx, locks.ScanRequest{})
			return err
		},
		"Ready": e.Ready,
	}
}

func engineIsReady(p *probe) {
	p.must(p.Engine.Ready(p.t.Context()), "asking whether the engine is ready for", "a")
}

func cancelledContextDoesNothing(p *probe) {
	token := p.grant(exclusive("a", ""))
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	for name, ask := range operations(p.Engine) {
		p.wantErr(ask(ctx), locks.ErrUnavailable, name, "a")
	}
	_, err := p.Engine.Acquire(ctx, exclusive("b", "me"))
	p.wantErr(err, locks.ErrUnavailable, "acquiring", "b")
	p.heldBy("a", token)
	p.heldBy("b")
}

func closedEngineRefuses(p *probe) {
	p.grant(exclusive("a", ""))
	p.must(p.Engine.Close(), "closing the engine of", "a")
	for name, ask := range operations(p.Engine) {
		p.wantErr(ask(p.t.Context()), locks.ErrShutdown, name, "a")
	}
	p.must(p.Engine.Close(), "closing again the engine of", "a")
}

func enginesOnOneStoreAgree(p *probe) {
	other := p.second()
	token := p.grant(exclusive("a", "me"))
	other.heldBy("a", token)
	other.refuse(exclusive("a", "you"), locks.ErrHeld)
	equal(p, "the token acquired again elsewhere", other.grant(exclusive("a", "me")), token)
	other.scanned("", 0, "a")
	other.release("a", byToken(token), false)
	p.heldBy("a")
	last := token
	for i := range 20 {
		if i%2 == 0 {
			token = p.grant(exclusive("a", ""))
			other.release("a", bare(), false)
		} else {
			token = other.grant(exclusive("a", ""))
			p.release("a", bare(), false)
		}
		if token <= last {
			p.t.Fatalf("token %d follows %d", token, last)
		}
		last = token
	}
}
