package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// usersLine is what `candado passwd` prints.
func usersLine(t *testing.T, name, password string, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"passwd", name}, args...)...)
	cmd.Stdin = strings.NewReader(password + "\nnot this\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPasswordIsAskedForByEachProtocol(t *testing.T) {
	need(t, "redis-cli")
	need(t, "curl")
	p := startProcess(t, "--password=hunter2")
	host, port, _ := net.SplitHostPort(p.resp)
	cli := func(args ...string) string {
		return strings.TrimSpace(output(t, "redis-cli", append([]string{"--no-auth-warning", "-h", host, "-p", port}, args...)...))
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"PING"}, "NOAUTH Authentication required."},
		{[]string{"--pass", "hunter2", "PING"}, "PONG"},
		{[]string{"--user", "default", "--pass", "hunter2", "-3", "ACL", "WHOAMI"}, "default"},
	} {
		if got := cli(test.args...); got != test.want {
			t.Errorf("redis-cli %q: %s, want %s", test.args, got, test.want)
		}
	}
	web := "http://" + p.http
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{web + "/acquire/job"}, "401"},
		{[]string{"-u", "default:hunter2", web + "/acquire/job"}, "200"},
		{[]string{"-u", "default:wrong", web + "/acquire/job"}, "401"},
		{[]string{"-H", "Authorization: Bearer hunter2", web + "/release/job"}, "200"},
		{[]string{web + "/readyz"}, "200"},
		{[]string{web + "/metrics"}, "401"},
	} {
		if got := output(t, "curl", append([]string{"-s", "-o", os.DevNull, "-w", "%{http_code}"}, test.args...)...); got != test.want {
			t.Errorf("curl %q: %s, want %s", test.args, got, test.want)
		}
	}
	for _, protocol := range []int{2, 3} {
		good := redis.NewClient(&redis.Options{Addr: p.resp, Password: "hunter2", Protocol: protocol, MaxRetries: -1})
		defer good.Close()
		if err := good.Do(context.Background(), "LOCK.CHECK", "job", 1).Err(); err != nil {
			t.Errorf("go-redis with the password: %v", err)
		}
		bad := redis.NewClient(&redis.Options{Addr: p.resp, Username: "bob", Password: "hunter2", Protocol: protocol, MaxRetries: -1})
		defer bad.Close()
		if err := bad.Do(context.Background(), "LOCK.CHECK", "job", 1).Err(); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("go-redis as nobody: %v", err)
		}
	}
	if out, err := exec.Command(binary, "healthcheck", "--http", p.http).CombinedOutput(); err != nil {
		t.Errorf("healthcheck: %v\n%s", err, out)
	}
	if strings.Contains(p.logged(), "hunter2") {
		t.Errorf("the log shows the password:\n%s", p.logged())
	}
}

// TestFailedLoginsAreLogged: from where, by which protocol, under which names and how many,
// the last of them when candado ends; and with no password.
func TestFailedLoginsAreLogged(t *testing.T) {
	need(t, "redis-cli")
	need(t, "curl")
	p := startProcess(t, "--password=hunter2", "--public-metrics")
	type line struct {
		Level, Msg, Addr, Listener string
		Users                      []string
		Failures, Throttled        int
	}
	logged := func() (lines []line) {
		for text := range strings.Lines(p.logged()) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if strings.HasPrefix(l.Msg, "logins failed") {
				lines = append(lines, l)
			}
		}
		return lines
	}
	host, port, _ := net.SplitHostPort(p.resp)
	guess := func(args ...string) {
		t.Helper()
		if out := output(t, "redis-cli", append([]string{"--no-auth-warning", "-h", host, "-p", port}, args...)...); !strings.HasPrefix(out, "WRONGPASS") {
			t.Errorf("redis-cli %q: %s", args, out)
		}
	}
	guess("AUTH", "hunter3")
	eventually(t, "the first failure is logged at once", func() bool { return len(logged()) > 0 })
	guess("AUTH", "alice", "hunter3")
	guess("HELLO", "3", "AUTH", "a b\n", "hunter3")
	guess("AUTH", "hunter2", "default") // the wrong way round
	for _, user := range []string{"alice:hunter3", ":hunter3"} {
		output(t, "curl", "-s", "-u", user, "http://"+p.http+"/acquire/job")
	}
	if _, body := get(t, "http://"+p.http+"/metrics"); !strings.Contains(body, "candado_auth_failures_total{protocol=\"resp\"} 4\n") ||
		!strings.Contains(body, "candado_auth_failures_total{protocol=\"http\"} 2\n") {
		t.Error("the metrics count something else")
	}
	p.terminate(t)
	if code := p.exitCode(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	failures, users := map[string]int{}, map[string]bool{}
	for _, l := range logged() {
		if l.Level != "WARN" || l.Addr != "127.0.0.1" || l.Throttled != 0 || l.Msg != "logins failed" {
			t.Errorf("%+v", l)
		}
		failures[l.Listener] += l.Failures
		for _, u := range l.Users {
			users[l.Listener+" "+u] = true
		}
	}
	if failures["resp"] != 4 || failures["http"] != 2 || len(failures) != 2 {
		t.Errorf("failures: %v", failures)
	}
	for _, u := range []string{"resp default", "resp alice", `resp "a b\n"`, "resp (a password)", "http alice", "http default"} {
		if !users[u] {
			t.Errorf("no %s among %v", u, users)
		}
	}
	if text := p.logged(); strings.Contains(text, "hunter") {
		t.Errorf("the log shows a password:\n%s", text)
	}
}

// dialStranger connects, and says nothing.
func dialStranger(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c, bufio.NewReader(c)
}

func TestSIGHUPReadsUsersAgain(t *testing.T) {
	dir := t.TempDir()
	alice, bob := usersLine(t, "alice", "a"), usersLine(t, "bob", "b", "--operations=acquire,read", "--patterns=job* x")
	file, secretFile := writeFile(t, filepath.Join(dir, "users"), alice+bob), writeFile(t, filepath.Join(dir, "password"), "first\nsecond line\n")
	p := startProcess(t, "--users-file", file, "--password-file", secretFile)
	hup := func(what string) {
		t.Helper()
		before := strings.Count(p.logged(), what)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "SIGHUP is noticed: "+what, func() bool { return strings.Count(p.logged(), what) > before })
	}
	conn, r := dialStranger(t, p.resp)
	gone, goneReplies := dialStranger(t, p.resp)
	ask := func(c net.Conn, command, want string) {
		t.Helper()
		fmt.Fprint(c, command+"\r\n")
		replies := r
		if c == gone {
			replies = goneReplies
		}
		if line, err := replies.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%s: got %q, %v; want %q", command, line, err, want)
		}
	}
	ask(conn, "AUTH alice a", "+OK")
	ask(gone, "AUTH bob b", "+OK")
	ask(gone, "LOCK.ACQUIRE job SESSION", ":")
	ask(gone, "LOCK.ACQUIRE other", "-NOPERM ")
	ask(conn, "LOCK.ACQUIRE mine SESSION", ":")

	// What can't be read changes nothing, and is logged by its line.
	writeFile(t, file, alice+"bob hunter2 all *\n")
	hup("line 2: the hash is no argon2id hash")
	writeFile(t, file, "")
	hup("has no users")
	ask(gone, "LOCK.CHECK job 1", ":0")

	writeFile(t, file, alice)
	writeFile(t, secretFile, "third")
	hup("were read again\",\"users\":2")
	if line, err := goneReplies.ReadString('\n'); err == nil {
		t.Errorf("bob's connection got %q", line)
	}
	eventually(t, "bob's lease is over", func() bool {
		fmt.Fprint(conn, "LOCK.ACQUIRE job\r\n")
		line, err := r.ReadString('\n')
		return err == nil && strings.HasPrefix(line, ":")
	})
	ask(conn, "LOCK.ACQUIRE mine", "$-1") // alice's is not
	ask(conn, "AUTH first", "-WRONGPASS ")
	ask(conn, "AUTH third", "+OK")
	ask(conn, "AUTH bob b", "-WRONGPASS ")
	if strings.Contains(p.logged(), "hunter2") || strings.Contains(p.logged(), "argon2id$") {
		t.Errorf("the log shows a password or hash:\n%s", p.logged())
	}
	p.terminate(t)
	if code := p.exitCode(t); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.logged())
	}
}

func TestSIGHUPWithoutUsersEndsNothing(t *testing.T) {
	p := startProcess(t)
	conn, r := dialRESP(t, p.resp)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "SIGHUP is noticed", func() bool { return strings.Contains(p.logged(), "no users to read again") })
	fmt.Fprint(conn, "PING\r\n")
	if line, err := r.ReadString('\n'); err != nil || line != "+PONG\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

// boundTo is a listener of that address.
type boundTo struct {
	net.Listener
	addr net.Addr
}

func (b boundTo) Addr() net.Addr { return b.addr }

func bound(ip string) net.Listener {
	if ip == "" {
		return nil
	}
	return boundTo{addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 6380}}
}

func TestListeningWiderNeedsAPasswordOrInsecure(t *testing.T) {
	for _, test := range []struct {
		resp, web string
		config    Config
		want      string // empty: it is taken
	}{
		{"127.0.0.1", "::1", Config{}, ""},
		{"127.8.9.1", "", Config{}, ""},
		{"0.0.0.0", "127.0.0.1", Config{}, "--listen would let everybody in who reaches 0.0.0.0:6380: set CANDADO_PASSWORD (or --password, --password-file, --users-file, --tls-client-ca), or --insecure if that is meant"},
		{"::", "", Config{}, "--listen would"},
		{"192.0.2.1", "", Config{}, "--listen would"},
		{"::ffff:192.0.2.1", "", Config{}, "--listen would"},
		{"::ffff:127.0.0.1", "", Config{}, ""},
		{"127.0.0.1", "::", Config{}, "--http would let everybody in who reaches [::]:6380"},
		{"::", "::", Config{Insecure: true}, ""},
		{"::", "::", Config{Password: "x"}, ""},
		{"::", "::", Config{PasswordFile: "x"}, ""},
		{"::", "::", Config{TLS: TLS{ClientCA: "x"}}, ""},
		{"::", "::", Config{UsersFile: "x"}, ""},
	} {
		err := test.config.checkExposure(bound(test.resp), bound(test.web))
		if test.want == "" && err != nil || test.want != "" && (err == nil || exitCode(err) != exitUsage || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%s and %s: %v, want %q", test.resp, test.web, err, test.want)
		}
	}
	// What is bound counts. (Nobody is ever let in here.)
	code, _, stderr := run(t, nil, "--listen=127.0.0.1:0", "--http=:0")
	if code != exitUsage || !strings.HasPrefix(stderr, "candado: --http would let everybody in who reaches [::]:") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestSecretsShowNowhere(t *testing.T) {
	c, err := parse(t, map[string]string{"CANDADO_PASSWORD": "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "config", c, "password", c.Password)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "config", c, "password", c.Password)
	js, _ := json.Marshal(c)
	for _, shown := range []string{log.String(), string(js), fmt.Sprint(c), fmt.Sprintf("%#v %+v %q %x", c, c, c.Password, c.Password)} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("it shows in %s", shown)
		}
	}
	for _, args := range [][]string{
		{"--password", "hunter2", "--max-ttl=x"}, {"--password=hunter2", "hunter2"}, {"--pasword=hunter2"}, {"-password=hunter2"}, {"-p", "hunter2"},
		{"passwd", "alice", "hunter2"}, {"serve", "--password=hunter2", "--prefix="}, {"--password=hunter2", "--password-file=/x"},
	} {
		if code, stdout, stderr := run(t, nil, args...); code != exitUsage || strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("%q: exit %d, %s%s", args, code, stdout, stderr)
		}
	}
}

func TestPasswdMakesALine(t *testing.T) {
	line := usersLine(t, "alice", "hunter2", "--operations=read,acquire", "--patterns=a* b?")
	f := strings.Fields(line)
	if len(f) != 5 || f[0] != "alice" || !strings.HasPrefix(f[1], "$argon2id$v=19$m=19456,t=2,p=1$") || f[2] != "acquire,read" || f[3] != "a*" || f[4] != "b?" || strings.Contains(line, "hunter2") {
		t.Errorf("it is %q", line)
	}
	if again := usersLine(t, "alice", "hunter2", "--operations=read,acquire", "--patterns=a* b?"); again == line {
		t.Error("two hashes have the same salt")
	}
}

func TestFileThatOthersMayReadIsLogged(t *testing.T) {
	dir := t.TempDir()
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		file := writeFile(t, filepath.Join(dir, "password"), "hunter2\r\n")
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		list, err := Config{PasswordFile: file}.users(slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || list.Len() != 1 || strings.Contains(log.String(), "may read a file with passwords") != warned || strings.Contains(log.String(), "hunter2") {
			t.Errorf("%v: %v, log %s", mode, err, log.String())
		}
	}
}

// A pipe is read if somebody writes to it, and nobody waits long for that.
func TestPipeInPlaceOfAFileIsNotWaitedForLong(t *testing.T) {
	need(t, "mkfifo")
	for _, test := range []struct {
		name   string
		writer bool
		text   string
		want   string
	}{
		{"nobody writes", false, "", "the password is empty"},
		{"somebody writes", true, "hunter2\n", ""},
		{"somebody is silent", true, "", "i/o timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pipe := filepath.Join(t.TempDir(), "pipe")
			output(t, "mkfifo", "-m", "600", pipe)
			if test.writer {
				w, err := os.OpenFile(pipe, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				fmt.Fprint(w, test.text)
			}
			failed := make(chan string, 1)
			go func() {
				_, err := Config{PasswordFile: pipe}.users(slog.New(slog.DiscardHandler))
				failed <- fmt.Sprint(err)
			}()
			select {
			case got := <-failed:
				if test.want == "" && got != "<nil>" || !strings.HasSuffix(got, test.want) {
					t.Errorf("it is %q, want %q", got, test.want)
				}
			case <-time.After(patience):
				t.Error("it is read for ever")
			}
		})
	}
}
