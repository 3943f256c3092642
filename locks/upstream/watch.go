package upstream

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goodjobtech/candado/locks"
)

// This file looks at the server every now and then, whether it answers, and says what
// it finds unsafe there (safety.go). Requests know nothing of it, but for a strict
// engine's: those are not sent to a server that is unsafe.

const (
	// lookEvery is how often the server is looked at without occasion: its settings
	// may be changed while it runs.
	lookEvery = time.Minute

	// lookAgain is how soon after a look there may be another: many connections are
	// made together. So often is looked while a strict engine refuses the server, or it
	// does not answer.
	lookAgain = time.Second
)

// watch is what is known of the server's safety. Safe for concurrent use.
type watch struct {
	strict  bool
	log     *slog.Logger
	options redis.Options // of a connection for one look
	wake    chan struct{} // has an element if there is a new connection to the server

	// answers asks the server as requests do, and reports whether it answers: then also
	// an engine that nobody uses knows.
	answers func(context.Context) bool

	refusal atomic.Pointer[refusal]  // why requests are not sent; nil: they are
	known   atomic.Pointer[findings] // of the latest look

	looking sync.Mutex // held during a look
	denied  denials    // what the server has refused to tell since it was connected to

	mu     sync.Mutex // held while a look is taken in
	latest time.Time  // when the look began that known is of
	untold string     // what it did not tell, when that was last logged

	cancel context.CancelFunc // nil: nothing runs
	done   chan struct{}
}

// denials are the commands that the server does not allow, and its words. They are
// not sent again each minute: it may log each.
type denials map[string]error

// newWatch lets the options of a client tell the watch of its connections.
func newWatch(o *redis.Options, strict bool, log *slog.Logger) *watch {
	w := &watch{strict: strict, log: log, options: *o, wake: make(chan struct{}, 1), denied: denials{}, done: make(chan struct{})}
	w.options.PoolSize = 1
	first := unknown()
	w.known.Store(&first)
	o.OnConnect = w.connected
	return w
}

// connected is called with each new connection, before it carries requests. That of
// a strict engine is refused if the server is unsafe: else requests would reach a
// server of which nobody knows yet that it is not the one from before. Others only
// take note.
func (w *watch) connected(ctx context.Context, c *redis.Conn) error {
	if !w.strict {
		w.signal()
		return nil
	}
	began := time.Now()
	f, err := look(ctx, c, denials{})
	if err != nil {
		return err
	}
	if r := w.takeIn(began, f); r != nil {
		w.signal()
		return &connectError{r}
	}
	return nil
}

// connectError is a refusal as the client library likes it: it unwraps what it is
// given, once.
type connectError struct{ *refusal }

func (e *connectError) Unwrap() error { return e.refusal }

func (w *watch) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// start runs the goroutine that looks, for the first time after that time.
func (w *watch) start(first time.Duration) {
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(w.done)
		w.run(ctx, first)
	}()
}

// stop ends the goroutine.
func (w *watch) stop() {
	if w.cancel != nil {
		w.cancel()
		<-w.done
	}
}

func (w *watch) run(ctx context.Context, first time.Duration) {
	timer := time.NewTimer(first)
	defer timer.Stop()
	var last time.Time
	fresh := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			fresh = true
			timer.Reset(time.Until(last.Add(lookAgain)))
			continue
		case <-timer.C:
		}
		last = time.Now()
		if err := w.look(ctx, fresh); err == nil {
			fresh = false
		}
		if up := w.answers(ctx); !up || w.refusal.Load() != nil {
			timer.Reset(lookAgain)
		} else {
			timer.Reset(lookEvery)
		}
	}
}

// look looks at the server that a new connection leads to, and takes in what it
// finds. Fresh says that it may be another one than before. An error says that the
// server can't be asked now; what was known of it stays.
func (w *watch) look(ctx context.Context, fresh bool) error {
	w.looking.Lock()
	defer w.looking.Unlock()
	if fresh {
		clear(w.denied)
	}
	// A connection of its own is never one that was made before the server changed behind its address, and takes
	// none from requests.
	options, began := w.options, time.Now()
	client := redis.NewClient(&options)
	ctx, cancel := context.WithTimeout(ctx, options.ReadTimeout)
	stop := context.AfterFunc(ctx, func() { _ = client.Close() }) // being cancelled does not end a read
	defer func() {
		stop()
		cancel()
		_ = client.Close()
	}()
	f, err := look(ctx, client, w.denied)
	if err != nil {
		return err
	}
	w.takeIn(began, f)
	return nil
}

// asked is what the client library asks a server by.
type asked interface {
	Info(ctx context.Context, sections ...string) *redis.StringCmd
	ConfigGet(ctx context.Context, parameter string) *redis.MapStringStringCmd
	Time(ctx context.Context) *redis.TimeCmd
}

// look asks a server about itself: by INFO, for which it takes few rights, and by
// CONFIG for what INFO did not tell. What the server does not allow stays unknown,
// and is added to denied. An error says that it can't be asked now.
func look(ctx context.Context, c asked, denied denials) (f facts, err error) {
	f.info, f.config = map[string]string{}, map[string]string{}
	err = denied.ask("info", func() error {
		text, err := c.Info(ctx).Result()
		for line := range strings.Lines(text) {
			if field, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				f.info[field] = value
			}
		}
		return err
	})
	for _, p := range parameters() {
		if err != nil || f.info[p.field] != "" || p.name == "save" && f.logsWrites() {
			continue
		}
		err = denied.ask("config", func() error {
			values, err := c.ConfigGet(ctx, p.name).Result()
			if value, ok := values[p.name]; ok {
				f.config[p.name] = value
			}
			return err
		})
	}
	if err == nil {
		err = denied.ask("time", func() error {
			sent := time.Now()
			now, err := c.Time(ctx).Result()
			f.timed, f.unsure = err == nil, time.Since(sent)/2
			f.ahead = now.Sub(sent.Add(f.unsure))
			return err
		})
	}
	for _, command := range []string{"info", "config", "time"} {
		if f.denied == nil {
			f.denied = denied[command]
		}
	}
	return f, err
}

// ask asks, unless that is not allowed. It returns the error of a server that can't
// be asked now.
func (d denials) ask(command string, do func() error) error {
	if d[command] != nil {
		return nil
	}
	err := do()
	if err != nil && answers(err) {
		d[command] = err
		return nil
	}
	return err
}

// takeIn takes note of a look that began then, and logs what it changes. It returns
// why a strict engine refuses the server, by this look alone.
func (w *watch) takeIn(began time.Time, f facts) *refusal {
	found := judge(f)
	refused := found.refusal()
	if !w.strict {
		refused = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock() // held while logging: lines stand in the order of the looks
	if began.Before(w.latest) {
		return refused // a later one has been taken in
	}
	w.latest = began
	before := *w.known.Swap(&found)
	w.logChanges(before, found, f.denied)
	switch former := w.refusal.Swap(refused); {
	case former == nil && refused != nil:
		w.log.Warn("upstream refused", "error", refused)
	case former != nil && refused == nil:
		w.log.Info("upstream no longer refused")
	}
	return refused
}

func (w *watch) logChanges(before, now findings, denied error) {
	for i, f := range now {
		old, reason := before[i], Reason(i).String()
		switch {
		case f.State == Unsafe && (old.State != Unsafe || old.kind != f.kind):
			w.log.Warn("upstream unsafe", "reason", reason, "found", f.Found, "risk", f.Risk, "remedy", f.Remedy)
		case f.State == Safe && old.State == Unsafe:
			w.log.Info("upstream safe again", "reason", reason)
		}
	}
	untold := now.named(Unknown)
	if untold != "" && untold != w.untold {
		w.log.Info("upstream does not tell whether it is safe", "unknown", untold, "error", denied, "remedy", "allow INFO, CONFIG GET and TIME")
	}
	w.untold = untold
}

// serves returns why requests are not sent, or nil.
func (e *Engine) serves() error {
	if e.closed.Load() {
		return locks.ErrShutdown
	}
	if r := e.watch.refusal.Load(); r != nil {
		return r
	}
	return nil
}

// Finding returns how the server stood in respect of one reason when it was last
// looked at. It is looked at when the engine is opened, on each new connection, and
// once a minute.
func (e *Engine) Finding(r Reason) Finding { return e.watch.known.Load()[r] }
