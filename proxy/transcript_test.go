package proxy

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts replays testdata/*.txt over TCP. Lines "> command" are sent,
// one at a time; below each stands its reply, byte for byte, with line ends as
// line ends, an empty line as (empty), and other unprintable bytes as \x escapes.
// Lines "// remark" and empty lines are for the reader. Each file is one connection.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { replay(t, file) })
	}
}

func replay(t *testing.T, file string) {
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clock := time.UnixMicro(1763860000123456)
	_, addr := start(t, Options{Now: func() time.Time { return clock }})
	c := dial(t, addr)
	got := transcript(t, c, string(want))
	switch {
	case *update:
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	case got != string(want):
		t.Errorf("%s differs, look with -update; got:\n%s", file, firstDifference(got, string(want)))
	}
}

func transcript(t *testing.T, c *client, script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "// ") || line == "\n" {
			b.WriteString(line)
			continue
		}
		cmd, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "> ")
		if !ok {
			continue // an old reply
		}
		args, err := splitInline([]byte(cmd))
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		c.send(string(appendCommand(nil, args)))
		b.WriteString(line + readable(c.reply()))
	}
	return b.String()
}

func readable(raw string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(raw, "\r\n"), "\r\n") {
		if line == "" {
			b.WriteString("(empty)")
		}
		for _, c := range []byte(line) {
			if c < ' ' || c > '~' {
				b.WriteString(`\x` + string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]))
				continue
			}
			b.WriteByte(c)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	command := ""
	for i := range min(len(g), len(w)) {
		if strings.HasPrefix(g[i], "> ") {
			command = g[i]
		}
		if g[i] != w[i] {
			return command + "\n got " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is longer than the other"
}
