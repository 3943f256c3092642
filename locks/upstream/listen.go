package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A listener is the one subscription by which a candado hears what becomes of
// its requests.
type listener struct {
	cancel context.CancelFunc
	done   chan struct{}
	tried  chan struct{} // closed once it is subscribed, or could not be
	once   sync.Once     // closes tried
}

func (l *listener) stop() {
	l.cancel()
	<-l.done
}

// listen makes sure that the listener runs, and waits until it is subscribed or
// has found that it can't be: then tending serves, once a second.
func (e *Engine) listen(ctx context.Context) {
	s := e.waiting
	s.mu.Lock()
	l := s.listener
	if l == nil && !s.closed {
		l = &listener{done: make(chan struct{}), tried: make(chan struct{})}
		var life context.Context
		life, l.cancel = context.WithCancel(context.Background())
		s.listener = l
		go func() {
			defer close(l.done)
			e.keepListening(life, l)
		}()
	}
	s.mu.Unlock()
	if l == nil {
		return
	}
	select {
	case <-l.tried:
	case <-ctx.Done():
	}
}

// keepListening subscribes again whenever the subscription is lost.
func (e *Engine) keepListening(ctx context.Context, l *listener) {
	for backoff := minBackoff; ctx.Err() == nil; backoff = min(2*backoff, maxBackoff) {
		began := time.Now()
		err := e.hearNews(ctx, l)
		l.once.Do(func() { close(l.tried) })
		if time.Since(began) > time.Second {
			backoff = minBackoff
		}
		if answers(err) {
			e.health.failed(err) // as when the user may not subscribe
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
	}
}

var errSilent = errors.New("the server does not answer on the subscription")

// hearNews subscribes, and takes in what it hears until the subscription is
// lost. The client library's own loop would not notice a server that is silent;
// this one asks after a second of silence.
func (e *Engine) hearNews(ctx context.Context, l *listener) error {
	sub := e.client.Subscribe(ctx, e.keys.channel(e.waiting.self))
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer func() {
		stop()
		_ = sub.Close()
	}()
	asked := false
	for {
		m, err := sub.ReceiveTimeout(ctx, time.Second)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			if asked {
				return errSilent
			}
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		asked = false
		switch m := m.(type) {
		case *redis.Subscription:
			// What was said before is lost: subscribe first, then look.
			l.once.Do(func() { close(l.tried) })
			e.waiting.tendAll()
		case *redis.Message:
			e.waiting.hear(m.Payload)
		}
	}
}
