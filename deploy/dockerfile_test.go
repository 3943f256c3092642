package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// This file reads the Dockerfile and .dockerignore, as far as ours go: what it does
// not know it refuses, rather than pass over it.

// instruction is one of a Dockerfile.
type instruction struct{ name, rest string }

// stage is what follows one FROM.
type stage struct {
	from, name   string
	instructions []instruction
}

// imageConfig is what the last stage says of how to run the image.
type imageConfig struct {
	env                     []string
	ports                   []string
	user                    string
	entrypoint, healthcheck []string
	healthcheckOptions      map[string]string
	labels                  map[string]string
	stopSignal              string
	copies                  []copyInstruction
}

type copyInstruction struct {
	from    string // a stage; empty: the build context
	sources []string
	to      string
}

var (
	continued = regexp.MustCompile(`\\\n\s*`)
	fromLine  = regexp.MustCompile(`^(?:--platform=\S+ )?(\S+)(?: AS (\S+))?$`)
	variable  = regexp.MustCompile(`(\S+?)=("[^"]*"|\S+)`)
)

// readDockerfile returns the Dockerfile's stages, and the build arguments that
// stand before them.
func readDockerfile(file string) ([]stage, map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var stages []stage
	global := map[string]string{}
	for line := range strings.Lines(continued.ReplaceAllString(string(text), "")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		switch {
		case name == "FROM":
			m := fromLine.FindStringSubmatch(rest)
			if m == nil {
				return nil, nil, fmt.Errorf("FROM %s: not understood", rest)
			}
			stages = append(stages, stage{from: m[1], name: m[2]})
		case len(stages) > 0:
			last := &stages[len(stages)-1]
			last.instructions = append(last.instructions, instruction{name, rest})
		case name == "ARG":
			key, value, _ := strings.Cut(rest, "=")
			global[key] = value
		default:
			return nil, nil, fmt.Errorf("%s before FROM: not understood", name)
		}
	}
	if len(stages) != 2 {
		return nil, nil, fmt.Errorf("%d stages, want one that builds and one that is the image", len(stages))
	}
	return stages, global, nil
}

// configure reads the stage that is the image.
func (s stage) configure(args map[string]string) (imageConfig, error) {
	c := imageConfig{labels: map[string]string{}, healthcheckOptions: map[string]string{}}
	var errs []error
	for _, in := range s.instructions {
		rest := os.Expand(in.rest, func(key string) string { return args[key] })
		switch in.name {
		case "ARG":
		case "COPY":
			c.copies = append(c.copies, in.copied())
		case "LABEL":
			for _, m := range variable.FindAllStringSubmatch(rest, -1) {
				c.labels[m[1]] = strings.Trim(m[2], `"`)
			}
		case "ENV":
			for _, m := range variable.FindAllStringSubmatch(rest, -1) {
				c.env = append(c.env, m[1]+"="+strings.Trim(m[2], `"`))
			}
		case "EXPOSE":
			c.ports = strings.Fields(rest)
		case "USER":
			c.user = rest
		case "STOPSIGNAL":
			c.stopSignal = rest
		case "ENTRYPOINT":
			errs = append(errs, json.Unmarshal([]byte(rest), &c.entrypoint))
		case "HEALTHCHECK":
			options, command, _ := strings.Cut(rest, "CMD ")
			for _, m := range variable.FindAllStringSubmatch(options, -1) {
				c.healthcheckOptions[m[1]] = m[2]
			}
			errs = append(errs, json.Unmarshal([]byte(command), &c.healthcheck))
		default:
			errs = append(errs, fmt.Errorf("%s in the image: not understood", in.name))
		}
	}
	return c, errors.Join(errs...)
}

// copied reads a COPY.
func (in instruction) copied() copyInstruction {
	words := strings.Fields(in.rest)
	var c copyInstruction
	if from, ok := strings.CutPrefix(words[0], "--from="); ok {
		c.from, words = from, words[1:]
	}
	c.sources, c.to = words[:len(words)-1], words[len(words)-1]
	return c
}

// dockerignore is what of the tree is a build's context.
type dockerignore struct {
	top    []string // what lies at the top
	except []string // the names, at any depth, that don't belong to it
}

func readDockerignore(file string) (dockerignore, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return dockerignore{}, err
	}
	var d dockerignore
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		wanted, isWanted := strings.CutPrefix(line, "!")
		name, isName := strings.CutPrefix(line, "**/")
		switch {
		case line == "", line == "*", strings.HasPrefix(line, "#"):
		case isWanted && !strings.Contains(wanted, "/"):
			d.top = append(d.top, wanted)
		case isName && !strings.Contains(name, "/"):
			d.except = append(d.except, name)
		default:
			return d, fmt.Errorf("%s: %q is not understood", file, line)
		}
	}
	return d, nil
}

// holds reports whether a path from the top of the tree is in the context.
func (d dockerignore) holds(name string) bool {
	parts := strings.Split(name, "/")
	if !slices.Contains(d.top, parts[0]) {
		return false
	}
	for _, part := range parts {
		for _, pattern := range d.except {
			if match, _ := path.Match(pattern, part); match {
				return false
			}
		}
	}
	return true
}

// copyContext copies what COPY names from the tree's context into a directory.
func copyContext(d dockerignore, sources []string, to string) error {
	for _, source := range sources {
		copied := 0
		err := filepath.WalkDir(filepath.Join(top, source), func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(top, file)
			switch {
			case err != nil:
				return err
			case entry.IsDir() && !d.holds(filepath.ToSlash(name)):
				return fs.SkipDir
			case entry.IsDir() || !d.holds(filepath.ToSlash(name)):
				return nil
			}
			copied++
			return copyFile(file, filepath.Join(to, name), 0o644)
		})
		if err != nil {
			return err
		}
		if copied == 0 {
			return fmt.Errorf("COPY %s: .dockerignore leaves nothing of it", source)
		}
	}
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}
