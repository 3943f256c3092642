package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatsNameTestsThatExist: a test that was renamed would leave a threat without
// one, and nobody would see.
func TestThreatsNameTestsThatExist(t *testing.T) {
	tests := testsOfTheTree(t)
	text := read(t, "SECURITY.md")
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(text, -1)
	if len(named) < 30 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !tests[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
	alerts := read(t, "prometheus/rules.yaml")
	for _, m := range regexp.MustCompile("alert `([A-Za-z]+)`").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(alerts, "alert: "+m[1]+"\n") {
			t.Errorf("there is no alert %s", m[1])
		}
	}
}

// TestEachThreatHasAnAnswer: something stops it, which a test shows; or nothing does, and
// the table says so.
func TestEachThreatHasAnAnswer(t *testing.T) {
	threats := 0
	for line := range strings.Lines(read(t, "SECURITY.md")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 2 || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| could |") {
			continue
		}
		threats++
		switch {
		case len(cells) != 5:
			t.Errorf("not three cells: %s", line)
		case strings.Contains(cells[2], "**nothing") != (strings.TrimSpace(cells[3]) == "–"):
			t.Errorf("a test, or nothing that stops it: %s", line)
		case strings.TrimSpace(cells[3]) != "–" && !strings.Contains(cells[3], "`Test"):
			t.Errorf("no test: %s", line)
		}
	}
	if threats < 20 {
		t.Errorf("only %d threats were found", threats)
	}
}

// testsOfTheTree returns the names of all tests in the repository.
func testsOfTheTree(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(\w+ \*testing\.T\)`)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(text, -1) {
			found[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
