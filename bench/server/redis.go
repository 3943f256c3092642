package server

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server that keeps nothing on disk.
type Redis struct {
	*Process
	client *redis.Client
}

// StartRedis runs redis-server on a free port, and returns when it answers.
func StartRedis(ctx context.Context, dir string) (*Redis, error) {
	var err error
	for range 5 { // another program may take the port before Redis does
		var r *Redis
		if r, err = startRedis(ctx, dir); err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func startRedis(ctx context.Context, dir string) (*Redis, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := launch(dir, "redis", "redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port),
		"--save", "", "--appendonly", "no", "--dir", dir, "--loglevel", "warning")
	if err != nil {
		return nil, err
	}
	p.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	r := &Redis{Process: p, client: redis.NewClient(&redis.Options{Addr: p.Addr, PoolSize: 1, MaxRetries: -1, DialerRetries: 1})}
	own := fmt.Sprintf("process_id:%d\r\n", p.PID())
	err = p.await(ctx, func() bool {
		conn, err := net.Dial("tcp", p.Addr) // the client would log that it could not
		if err != nil {
			return false
		}
		_ = conn.Close()
		text, err := r.client.Info(ctx, "server").Result()
		return err == nil && strings.Contains(text, own) // and not another Redis on that port
	})
	if err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// Stop ends the server.
func (r *Redis) Stop() {
	_ = r.client.Close()
	r.Process.Stop()
}

// Version returns the server's version.
func (r *Redis) Version(ctx context.Context) (string, error) {
	text, err := r.client.Info(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	_, after, _ := strings.Cut(text, "redis_version:")
	version, _, _ := strings.Cut(after, "\r\n")
	return version, nil
}

// LoadScript makes a script known to EVALSHA, and returns its name there.
func (r *Redis) LoadScript(ctx context.Context, source string) (sha string, err error) {
	sha, err = r.client.ScriptLoad(ctx, source).Result()
	if err != nil {
		return "", fmt.Errorf("loading a script: %w", err)
	}
	return sha, nil
}

// Flush empties one database.
func (r *Redis) Flush(ctx context.Context, db int) error {
	conn := r.client.Conn()
	defer func() { _ = conn.Close() }() // back to the pool
	_, err := conn.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Select(ctx, db)
		pipe.FlushDB(ctx)
		pipe.Select(ctx, 0)
		return nil
	})
	if err != nil {
		return fmt.Errorf("emptying database %d: %w", db, err)
	}
	return nil
}

// Calls counts commands by name, such as "set" or "client|setinfo".
type Calls map[string]int64

// Calls returns how often each command has run since the server started, those
// run by scripts included, its own INFO excluded.
func (r *Redis) Calls(ctx context.Context) (Calls, error) {
	text, err := r.client.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, fmt.Errorf("counting the commands of Redis: %w", err)
	}
	return parseCalls(text)
}

// parseCalls reads lines like "cmdstat_set:calls=21,usec=175,…".
func parseCalls(text string) (Calls, error) {
	calls := Calls{}
	for line := range strings.SplitSeq(text, "\r\n") {
		rest, found := strings.CutPrefix(line, "cmdstat_")
		if !found {
			continue
		}
		name, stats, _ := strings.Cut(rest, ":calls=")
		number, _, _ := strings.Cut(stats, ",")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("counting the commands of Redis: %q: %w", line, err)
		}
		if name != "info" {
			calls[name] = n
		}
	}
	return calls, nil
}

// Since returns the calls made since before.
func (c Calls) Since(before Calls) Calls {
	made := Calls{}
	for name, n := range c {
		if n > before[name] {
			made[name] = n - before[name]
		}
	}
	return made
}

// Total returns the number of all calls: a script is one, and so is each command
// that it runs.
func (c Calls) Total() int64 {
	var total int64
	for _, n := range c {
		total += n
	}
	return total
}

// Scripts returns the number of scripts that were run.
func (c Calls) Scripts() int64 {
	var scripts int64
	for _, name := range []string{"eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"} {
		scripts += c[name]
	}
	return scripts
}
