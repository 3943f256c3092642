package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/goodjobtech/candado/locks"
)

// environment is a lookupEnv over a map.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, set := vars[name]
		return v, set
	}
}

func parse(t *testing.T, vars map[string]string, args ...string) (Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("candado", pflag.ContinueOnError)
	define(flags, settings())
	if err := flags.Parse(args); err != nil {
		t.Fatalf("parsing flags %q: %v", args, err)
	}
	return load(settings(), flags, environment(vars))
}

func TestEverySettingHasFlagVariableAndHelp(t *testing.T) {
	flags := pflag.NewFlagSet("candado", pflag.ContinueOnError)
	define(flags, settings())
	_, help, _ := run(t, nil, "help")
	seen := map[string]bool{}
	for _, s := range settings() {
		if seen[s.name] {
			t.Errorf("--%s is in the table twice", s.name)
		}
		seen[s.name] = true
		if flags.Lookup(s.name) == nil {
			t.Errorf("--%s is not a flag", s.name)
		}
		if !strings.HasSuffix(s.help, ".") {
			t.Errorf("the help of --%s is no sentence: %q", s.name, s.help)
		}
		for _, part := range []string{"--" + s.name, s.env(), s.help} {
			if !strings.Contains(help, part) {
				t.Errorf("help does not show %q", part)
			}
		}
		// The variable is looked up: a value that nobody takes is refused.
		if s.name == "prefix" || s.name == "upstream" {
			continue // their values are free text; TestBadValues has them
		}
		_, bad := parse(t, map[string]string{s.env(): "no such value"}) // or one that needs another setting
		if _, empty := parse(t, map[string]string{s.env(): ""}); bad == nil && empty == nil {
			t.Errorf("%s is not looked at", s.env())
		}
	}
}

func TestDefaultsAreAsDocumented(t *testing.T) {
	got, err := parse(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen:          "127.0.0.1:6380",
		HTTP:            "127.0.0.1:8080",
		Prefix:          "candado:",
		UpstreamTimeout: 2 * time.Second,
		UpstreamBatch:   128,
		Limits:          locks.Limits{DefaultTTL: 30 * time.Second, MaxTTL: 24 * time.Hour},
		MaxWaiters:      10000,
		Quotas: Quotas{
			Connections: 10_000, Waiting: 10_000, HTTPWaiting: 5000, SessionLeases: 100_000, CommandBytes: 64 << 10, HeaderBytes: 8 << 10,
			RequestTimeout: 10 * time.Second, HTTPIdleTimeout: 30 * time.Second, WriteTimeout: 5 * time.Second,
		},
		DrainTimeout: 10 * time.Second,
		LogLevel:     "info",
		LogFormat:    "text",
	}
	if got != want {
		t.Errorf("defaults are\n%+v, want\n%+v", got, want)
	}
}

func TestFlagsWinOverVariablesWinOverDefaults(t *testing.T) {
	for _, test := range []struct {
		name string
		vars map[string]string
		args []string
		want time.Duration
	}{
		{"nothing set", nil, nil, 24 * time.Hour},
		{"variable", map[string]string{"CANDADO_MAX_TTL": "1h"}, nil, time.Hour},
		{"flag", nil, []string{"--max-ttl", "2h"}, 2 * time.Hour},
		{"both", map[string]string{"CANDADO_MAX_TTL": "1h"}, []string{"--max-ttl=2h"}, 2 * time.Hour},
		{"flag over a bad variable", map[string]string{"CANDADO_MAX_TTL": "x"}, []string{"--max-ttl=2h"}, 2 * time.Hour},
		{"flag that repeats the default", map[string]string{"CANDADO_MAX_TTL": "1h"}, []string{"--max-ttl=24h"}, 24 * time.Hour},
		{"of two flags the last", nil, []string{"--max-ttl=2h", "--max-ttl=3h"}, 3 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := parse(t, test.vars, test.args...)
			if err != nil || c.Limits.MaxTTL != test.want {
				t.Errorf("max-ttl %v, error %v; want %v", c.Limits.MaxTTL, err, test.want)
			}
		})
	}
}

func TestGoodValuesAreTaken(t *testing.T) {
	for _, test := range []struct {
		vars map[string]string
		args []string
		ok   func(Config) bool
	}{
		{nil, []string{"--http="}, func(c Config) bool { return c.HTTP == "" }},
		{map[string]string{"CANDADO_HTTP": ""}, nil, func(c Config) bool { return c.HTTP == "" }},
		{nil, []string{"--listen", ":0"}, func(c Config) bool { return c.Listen == ":0" }},
		{nil, []string{"--listen", "[::1]:6380"}, func(c Config) bool { return c.Listen == "[::1]:6380" }},
		{nil, []string{"--allow-persist"}, func(c Config) bool { return c.Limits.AllowPersist }},
		{nil, []string{"--allow-persist=false"}, func(c Config) bool { return !c.Limits.AllowPersist }},
		{map[string]string{"CANDADO_ALLOW_PERSIST": "1"}, nil, func(c Config) bool { return c.Limits.AllowPersist }},
		{map[string]string{"CANDADO_ALLOW_PERSIST": "0"}, nil, func(c Config) bool { return !c.Limits.AllowPersist }},
		{map[string]string{"CANDADO_ALLOW_PERSIST": "1"}, []string{"--allow-persist=0"}, func(c Config) bool { return !c.Limits.AllowPersist }},
		{nil, []string{"--upstream", "redis://u:p@h:6379/1"}, func(c Config) bool { return c.engineName() == "upstream" }},
		{nil, []string{"--upstream", "rediss://h"}, func(c Config) bool { return c.Upstream == "rediss://h" }},
		{nil, []string{"--upstream", "unix:///run/redis.sock"}, func(c Config) bool { return c.upstreamPlace() == "unix:///run/redis.sock" }},
		{nil, []string{"--prefix", "a"}, func(c Config) bool { return c.Prefix == "a" }},
		{nil, []string{"--prefix", strings.Repeat("p", 64)}, func(c Config) bool { return len(c.Prefix) == 64 }},
		{nil, []string{"--default-ttl=1ms", "--max-ttl=1ms"}, func(c Config) bool { return c.Limits.MaxTTL == time.Millisecond }},
		{nil, []string{"--max-waiters=1"}, func(c Config) bool { return c.MaxWaiters == 1 }},
		{nil, []string{"--idle-timeout=0"}, func(c Config) bool { return c.Quotas.IdleTimeout == 0 }},
		{nil, []string{"--idle-timeout=1ms"}, func(c Config) bool { return c.Quotas.IdleTimeout == time.Millisecond }},
		{nil, []string{"--max-command-bytes=4096", "--max-header-bytes=6144"}, func(c Config) bool { return c.Quotas.CommandBytes == 4096 && c.Quotas.HeaderBytes == 6144 }},
		{map[string]string{"CANDADO_LOG_LEVEL": "debug"}, []string{"--log-format=json"}, func(c Config) bool { return c.LogLevel == "debug" && c.LogFormat == "json" }},
		// Kubernetes sets these for a service called candado.
		{map[string]string{"CANDADO_PORT": "tcp://10.0.0.1:6380", "CANDADO_SERVICE_HOST": "10.0.0.1"}, nil, func(c Config) bool { return c.Listen == "127.0.0.1:6380" }},
	} {
		c, err := parse(t, test.vars, test.args...)
		if err != nil || !test.ok(c) {
			t.Errorf("%v %v: %+v, error %v", test.vars, test.args, c, err)
		}
	}
}

func TestBadValuesEndWithExit2AndTheFlagsName(t *testing.T) {
	for _, test := range []struct {
		vars map[string]string
		args []string
		want string
	}{
		{nil, []string{"--listen="}, `--listen must not be empty`},
		{nil, []string{"--listen=6380"}, `--listen "6380" is not host:port`},
		{nil, []string{"--listen=a:b"}, `--listen "a:b" has a port that is not a number from 0 to 65535`},
		{nil, []string{"--http=localhost:65536"}, `--http "localhost:65536" has a port that is not a number from 0 to 65535`},
		{nil, []string{"--http=::1:80"}, `--http "::1:80" is not host:port`},
		{nil, []string{"--upstream=localhost:6379"}, `--upstream is not a URL such as redis://host:port/db`},
		{nil, []string{"--upstream=http://h"}, `--upstream has the scheme "http"; it must be redis, rediss or unix`},
		{nil, []string{"--upstream=redis://"}, `--upstream names no host`},
		{nil, []string{"--upstream=redis://h:0"}, `--upstream has a port that is not a number from 1 to 65535`},
		{nil, []string{"--upstream=redis://h:99999"}, `--upstream has a port that is not a number from 1 to 65535`},
		{nil, []string{"--upstream=redis://h/-1"}, `--upstream has a database that is not a number, such as the 0 of redis://host:port/0`},
		{nil, []string{"--upstream=redis://h/x"}, `--upstream has a database that is not a number, such as the 0 of redis://host:port/0`},
		{map[string]string{"CANDADO_UPSTREAM": "redis://h?db=-1"}, nil, `--upstream (from CANDADO_UPSTREAM) has a database that is not a number, such as the 0 of redis://host:port/0`},
		{nil, []string{"--password="}, `--password must not be empty`},
		{map[string]string{"CANDADO_PASSWORD": ""}, nil, `--password (from CANDADO_PASSWORD) must not be empty`},
		{map[string]string{"CANDADO_PASSWORD": "x\n"}, nil, `--password (from CANDADO_PASSWORD) ends with the end of a line, which would be part of it`},
		{nil, []string{"--password=x\r"}, `--password ends with the end of a line, which would be part of it`},
		{nil, []string{"--password-file="}, `--password-file must not be empty`},
		{nil, []string{"--users-file="}, `--users-file must not be empty`},
		{map[string]string{"CANDADO_PASSWORD": "x"}, []string{"--password-file=y"}, `--password (from CANDADO_PASSWORD) and --password-file are both set, but there is one password`},
		{nil, []string{"--password=x", "--users-file=/no/such"}, `--users-file /no/such: no such file or directory`},
		{nil, []string{"--password=" + strings.Repeat("p", 1025)}, `--password: the password is longer than 1024 bytes`},
		{nil, []string{"--password", "my", "hunter2"}, `there is an argument too many (a password with blanks needs quotes)`},
		{nil, []string{"serve", "--password", "my", "hunter2"}, `there is an argument too many (a password with blanks needs quotes)`},
		{nil, []string{"passwd"}, `candado passwd takes one argument, the user's name, and the password from stdin`},
		{nil, []string{"passwd", "alice", "hunter2"}, `candado passwd takes one argument, the user's name, and the password from stdin`},
		{nil, []string{"passwd", "a:b"}, `a user's name has a character other than letters, digits and signs of ASCII, or a colon`},
		{nil, []string{"passwd", "alice", "--operations=acquire,relase"}, `operation 2 is none of acquire, release, heartbeat, read, force, nor are the operations the word all`},
		{nil, []string{"passwd", "alice", "--patterns="}, `the user has no pattern (* stands for all locks)`},
		{nil, []string{"passwd", "alice"}, `the password is empty`},
		{nil, []string{"--upstream=unix://"}, `--upstream names no socket; write unix:///path/to/socket`},
		{nil, []string{"--prefix="}, `--prefix must not be empty`},
		{nil, []string{"--prefix={a}"}, `--prefix "{a}" has the character '{', which Redis takes as special`},
		{nil, []string{"--prefix=a*"}, `--prefix "a*" has the character '*', which Redis takes as special`},
		{nil, []string{"--prefix=a\n"}, `--prefix "a\n" has a control character`},
		{nil, []string{"--prefix=" + strings.Repeat("p", 65)}, `--prefix is longer than 64 bytes`},
		{nil, []string{"--upstream-timeout=0s"}, `--upstream-timeout "0s" is not above zero`},
		{nil, []string{"--default-ttl=30"}, `--default-ttl "30" is not a duration with a unit, such as 30s or 1500ms`},
		{nil, []string{"--max-ttl=-1s"}, `--max-ttl "-1s" is not above zero`},
		{nil, []string{"--max-ttl=1.5ms"}, `--max-ttl "1.5ms" is not in whole milliseconds`},
		{nil, []string{"--drain-timeout="}, `--drain-timeout must not be empty`},
		{nil, []string{"--max-ttl=10s"}, `--default-ttl 30s is above --max-ttl 10s`},
		{map[string]string{"CANDADO_DEFAULT_TTL": "25h"}, nil, `--default-ttl (from CANDADO_DEFAULT_TTL) 25h is above --max-ttl 24h`},
		{nil, []string{"--max-waiters=0"}, `--max-waiters "0" is not a number of at least 1`},
		{nil, []string{"--max-waiters=many"}, `--max-waiters "many" is not a number of at least 1`},
		{nil, []string{"--max-waiting=0"}, `--max-waiting "0" is not a number from 1 to 1000000000`},
		{nil, []string{"--max-http-waiting="}, `--max-http-waiting must not be empty`},
		{nil, []string{"--max-connections=9999999999"}, `--max-connections "9999999999" is not a number from 1 to 1000000000`},
		{nil, []string{"--max-session-leases=1e5"}, `--max-session-leases "1e5" is not a number from 1 to 1000000000`},
		{nil, []string{"--max-command-bytes=4095"}, `--max-command-bytes "4095" is not a number from 4096 to 67108864`},
		{nil, []string{"--max-header-bytes=6143"}, `--max-header-bytes "6143" is not a number from 6144 to 67108864`},
		{nil, []string{"--max-header-bytes=8k"}, `--max-header-bytes "8k" is not a number from 6144 to 67108864`},
		{nil, []string{"--request-timeout=0s"}, `--request-timeout "0s" is not above zero`},
		{nil, []string{"--idle-timeout=-1s"}, `--idle-timeout "-1s" is not above zero`},
		{nil, []string{"--idle-timeout="}, `--idle-timeout must not be empty`},
		{map[string]string{"CANDADO_HTTP_IDLE_TIMEOUT": "0"}, nil, `--http-idle-timeout (from CANDADO_HTTP_IDLE_TIMEOUT) "0" is not above zero`},
		{nil, []string{"--write-timeout=5"}, `--write-timeout "5" is not a duration with a unit, such as 30s or 1500ms`},
		{nil, []string{"--log-level=loud"}, `--log-level "loud" is none of debug, info, warn, error`},
		{nil, []string{"--log-format=xml"}, `--log-format "xml" is none of text, json`},
		{nil, []string{"--allow-persist=maybe"}, `--allow-persist "maybe" is not true or false (1 or 0)`},
		{map[string]string{"CANDADO_ALLOW_PERSIST": "yes"}, nil, `--allow-persist (from CANDADO_ALLOW_PERSIST) "yes" is not true or false (1 or 0)`},
		{map[string]string{"CANDADO_MAX_TTL": "soon"}, nil, `--max-ttl (from CANDADO_MAX_TTL) "soon" is not a duration with a unit, such as 30s or 1500ms`},
		{map[string]string{"CANDADO_LISTEN": ""}, nil, `--listen (from CANDADO_LISTEN) must not be empty`},
		{map[string]string{"CANDADO_UPSTREAM": "ftp://h"}, nil, `--upstream (from CANDADO_UPSTREAM) has the scheme "ftp"; it must be redis, rediss or unix`},
		{nil, []string{"--frobnicate"}, `unknown flag: --frobnicate`},
		{nil, []string{"-x=redis"}, `unknown flag -x (candado's flags begin with two dashes)`},
		{nil, []string{"--=1"}, `"--=1" is not a flag`},
		{nil, []string{"--max-ttl"}, `flag needs an argument: --max-ttl`},
		{nil, []string{"lock"}, `unknown command "lock" (candado help lists them)`},
		{nil, []string{"--allow-persist", "false"}, `unknown command "false" (candado help lists them)`},
		{nil, []string{"serve", "now"}, `candado serve takes no argument, but got "now"`},
		{nil, []string{"serve", "--max-ttl=x"}, `--max-ttl "x" is not a duration with a unit, such as 30s or 1500ms`},
		{nil, []string{"help", "lock"}, `unknown command "lock" (candado help lists them)`},
		{nil, []string{"version", "--listen=:1"}, `unknown flag: --listen`},
		{nil, []string{"healthcheck", "--http=x"}, `--http "x" is not host:port`},
		{map[string]string{"CANDADO_HTTP": "x"}, []string{"healthcheck"}, `--http (from CANDADO_HTTP) "x" is not host:port`},
	} {
		code, stdout, stderr := run(t, test.vars, test.args...)
		if want := "candado: " + test.want + "\n"; code != exitUsage || stderr != want || stdout != "" {
			t.Errorf("%v %q: exit %d, stdout %q, stderr\n%swant exit 2 and\n%s", test.vars, test.args, code, stdout, stderr, want)
		}
	}
}

func TestUpstreamsPasswordIsNeverShown(t *testing.T) {
	const password = "hunter2"
	for _, url := range []string{
		"http://u:hunter2@h",
		"redis://u:hunter2@h:port/0",
		"redis://u:hunter2%zz@h",
		"redis://u:x%hunter2@h",
		"redis://u:a/hunter2@h",
		"redis://u:1/hunter2@h",
		"redis://u:1?hunter2@h",
		"redis://u:a#hunter2@h",
		"redis://u:a@hunter2@h:x",
		"redis://:hunter2@",
		"redis://u:hunter2 @h",
		"redis://u:hunter2@h/notanumber",
		"redis://u:hunter2@h?nosuchoption=1",
		"u:hunter2@h",
		"redis:u:hunter2@h",
	} {
		var tries [][]string
		tries = append(tries, []string{"--upstream", url})
		if strings.Contains(url, "//") {
			// Where it does not belong.
			tries = append(tries, []string{url}, []string{"--prefix={" + url}, []string{"-upstream=" + url},
				[]string{"--upstrem=" + url}, []string{"--=" + url}, []string{"help", url}, []string{"--http", url})
		}
		for _, args := range tries {
			code, stdout, stderr := run(t, nil, args...)
			if code != exitUsage || strings.Contains(stdout+stderr, password) {
				t.Errorf("%q: exit %d, printed %s%s", args, code, stdout, stderr)
			}
		}
		if code, stdout, stderr := run(t, map[string]string{"CANDADO_UPSTREAM": url}); code != exitUsage || strings.Contains(stdout+stderr, password) {
			t.Errorf("CANDADO_UPSTREAM=%s: exit %d, printed %s%s", url, code, stdout, stderr)
		}
		place := (Config{Upstream: url}).upstreamPlace()
		if _, err := upstreamURL(url); err == nil && strings.Contains(place, password) {
			t.Errorf("the log would show %s of %s", place, url)
		}
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "24h", 30 * time.Second: "30s", 90 * time.Second: "1m30s", time.Hour + 30*time.Minute: "1h30m",
		10 * time.Minute: "10m", 500 * time.Millisecond: "500ms", time.Hour + 10*time.Second: "1h0m10s",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}
