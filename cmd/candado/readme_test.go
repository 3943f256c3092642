package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// What the README shows is run here, against a candado on free ports, so that
// it cannot rot. A block of `console` is a transcript; `python`, `javascript`, `go`
// and those of `sh` that talk to candado are programs.

var (
	readmeBlock = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")
	someToken   = regexp.MustCompile(`\b\d{16}\b`)
)

type block struct{ language, text string }

func readmeBlocks(t *testing.T) []block {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for _, m := range readmeBlock.FindAllSubmatch(readme, -1) {
		blocks = append(blocks, block{string(m[1]), string(m[2])})
	}
	return blocks
}

// relocate replaces the documented addresses with those of a running candado.
func relocate(t *testing.T, m *Main, text string) string {
	t.Helper()
	_, resp, err := net.SplitHostPort(m.Addr("resp"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("6380", resp, "127.0.0.1:8080", m.Addr("http")).Replace(text)
}

func TestReadmeTranscriptsAreTrue(t *testing.T) {
	need(t, "redis-cli")
	need(t, "curl")
	m := openMain(t)
	transcripts := 0
	for _, b := range readmeBlocks(t) {
		if b.language != "console" {
			continue
		}
		transcripts++
		var got strings.Builder
		for line := range strings.Lines(b.text) {
			command, ok := strings.CutPrefix(line, "$ ")
			if !ok {
				continue
			}
			// As on a terminal: --no-raw, and curl without its progress on a line of its own.
			command = strings.NewReplacer("redis-cli", "redis-cli --no-raw", "curl", "curl -s").Replace(relocate(t, m, command))
			out := strings.TrimRight(output(t, "sh", "-c", command), "\n")
			got.WriteString(line + out + "\n")
		}
		const token = "1763860000000001"
		if g, w := someToken.ReplaceAllString(got.String(), token), someToken.ReplaceAllString(b.text, token); g != w {
			t.Errorf("the README says\n%s\nand this is so:\n%s", w, g)
		}
	}
	if transcripts < 3 {
		t.Errorf("the README has %d transcripts", transcripts)
	}
}

func TestReadmeProgramsRun(t *testing.T) {
	need(t, "redis-cli")
	m := openMain(t)
	ran := map[string]int{}
	blocks := readmeBlocks(t)
	for i, b := range blocks {
		run := runReadme[b.language]
		if run == nil || b.language == "sh" && !strings.Contains(b.text, "LOCK.") {
			continue
		}
		ran[b.language]++
		got := run(t, relocate(t, m, b.text))
		if i+1 < len(blocks) && blocks[i+1].language == "text" {
			if want := blocks[i+1].text; got != want {
				t.Errorf("a %s program printed\n%s\nand the README says\n%s", b.language, got, want)
			}
		} else if !regexp.MustCompile(`working under token \d{16}`).MatchString(got) {
			t.Errorf("a %s program printed %q, without its token", b.language, got)
		}
	}
	for language := range runReadme {
		if ran[language] == 0 {
			t.Errorf("the README has no program in %s", language)
		}
	}
}

var runReadme = map[string]func(t *testing.T, program string) string{
	"sh": func(t *testing.T, program string) string { return output(t, "sh", "-c", program) },
	"python": func(t *testing.T, program string) string {
		return output(t, "/usr/bin/python3", "-c", program)
	},
	"javascript": func(t *testing.T, program string) string {
		cmd := exec.Command(need(t, "node"), "-e", program)
		cmd.Dir = filepath.Join("testdata", "clients")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("node: %v\n%s", err, out)
		}
		return string(out)
	},
	"go": func(t *testing.T, program string) string {
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		return output(t, "go", "run", file)
	},
}

// TestReadmeKnowsHowLongGoRedisReads: who follows it and waits for longer loses his place.
func TestReadmeKnowsHowLongGoRedisReads(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`go-redis[^.]* gives? up after (\d+) s `).FindSubmatch(readme)
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	if so := client.Options().ReadTimeout; said == nil || string(said[1])+"s" != so.String() {
		t.Errorf("the README says %q, and it is %v", said, so)
	}
}

func TestReadmeListsEverySetting(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings() {
		for _, want := range []string{"| `--" + s.name + "`", "`" + s.env() + "`"} {
			if !strings.Contains(string(readme), want) {
				t.Errorf("the README's table of settings lacks %q", want)
			}
		}
	}
}

// TestReadmesTLSWorks runs what the section on TLS says, one command after the other.
// A line that starts candado starts another one.
func TestReadmesTLSWorks(t *testing.T) {
	for _, program := range []string{"openssl", "redis-cli", "curl"} {
		need(t, program)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## TLS\n")
	section, _, _ = strings.Cut(section, "\n## ")
	t.Chdir(t.TempDir())
	var m *Main
	asked := 0
	for _, b := range readmeBlock.FindAllStringSubmatch(section, -1) {
		for command := range strings.Lines(strings.ReplaceAll(b[2], "\\\n", "")) {
			args := strings.Fields(command)
			switch {
			case args[0] == "candado" && strings.Contains(command, "redis.example"): // to a Redis that there is not
			case args[0] == "candado":
				m = openMain(t, args[1:]...)
			case m == nil || args[0] == "openssl":
				output(t, "sh", "-c", command+" 2>&1")
			default:
				asked++
				got := output(t, "sh", "-c", relocate(t, m, command)+" 2>&1")
				if !strings.Contains(got, "PONG") && !strings.Contains(got, `"success":true`) {
					t.Errorf("%s printed %s", command, got)
				}
			}
		}
	}
	if asked != 4 {
		t.Errorf("%d questions were asked", asked)
	}
}
