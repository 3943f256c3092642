package upstream

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks/upstream/redistest"
)

// What becomes of a copy that is not sent must not hide that the one before it was.
func TestCopyThatWasNotSentSaysNothingOfTheOneBefore(t *testing.T) {
	for _, err := range []error{errUnsent, errQueueFull} {
		var c call
		if c.failed(err); !errors.Is(c.err, err) || c.ran {
			t.Errorf("the first copy: %v, ran: %v", c.err, c.ran)
		}
		c.failed(io.EOF)
		if c.failed(err); !errors.Is(c.err, io.EOF) || !c.ran {
			t.Errorf("the second copy: %v, ran: %v", c.err, c.ran)
		}
	}
}

// breaking is a client under whose scripts the connection breaks, at these of the
// times that it sends some.
type breaking struct {
	at   []int
	sent int
}

// DialHook implements redis.Hook.
func (b *breaking) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (b *breaking) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (b *breaking) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[len(cmds)-1].Name() != "evalsha" {
			return next(ctx, cmds) // a connection is being made
		}
		if b.sent++; !slices.Contains(b.at, b.sent) {
			return next(ctx, cmds)
		}
		for _, cmd := range cmds {
			cmd.SetErr(io.EOF)
		}
		return io.EOF
	}
}

// The server says that it does not know the script; then the connection breaks.
func TestScriptIsLoadedWithEachCopy(t *testing.T) {
	for _, at := range [][]int{nil, {1}, {2}, {1, 2}, {2, 3}} {
		e := openAt(t, redistest.Start(t))
		e.client.AddHook(&breaking{at: at})
		if err := e.Ready(t.Context()); err != nil {
			t.Errorf("the connection breaks under the copies %v: %v", at, err)
		}
	}
}
