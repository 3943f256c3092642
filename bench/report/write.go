package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Report is all that a run has found.
type Report struct {
	About    Setting       `json:"about"`
	Plan     Plan          `json:"plan"`
	Took     time.Duration `json:"took_ns"`
	Sections []*Section    `json:"sections"`
}

// Goals returns the goals of all sections.
func (r *Report) Goals() []Goal {
	var goals []Goal
	for _, s := range r.Sections {
		goals = append(goals, s.Goals...)
	}
	return goals
}

// Faults returns an error if any section has a fault.
func (r *Report) Faults() error {
	var errs []error
	for _, s := range r.Sections {
		for _, f := range s.Faults {
			errs = append(errs, fmt.Errorf("%s: %s", s.Name, f))
		}
	}
	return errors.Join(errs...)
}

// Save writes report.md, report.json and the plots into a directory. The plots
// of a report that was there before are removed.
func (r *Report) Save(dir string) error {
	if err := errors.Join(os.MkdirAll(dir, 0o755), removePlots(dir)); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	var text strings.Builder
	r.markdown(&text)
	errs := []error{
		os.WriteFile(filepath.Join(dir, "report.json"), append(data, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "report.md"), []byte(text.String()), 0o644),
	}
	for _, s := range r.Sections {
		for _, p := range s.Plots {
			errs = append(errs, os.WriteFile(filepath.Join(dir, s.file(p)), p.SVG, 0o644))
		}
	}
	return errors.Join(errs...)
}

// removePlots removes the plots of a report, and nothing where there is none.
func removePlots(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "report.json")); err != nil {
		return nil
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	for _, path := range old {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// file returns the name of a plot's file.
func (s *Section) file(p Plot) string { return s.Name + "-" + p.Name + ".svg" }

func (r *Report) markdown(w *strings.Builder) {
	fmt.Fprintf(w, "# Benchmark of candado\n\n")
	for _, line := range r.About.lines() {
		fmt.Fprintf(w, "- %s\n", line)
	}
	fmt.Fprintf(w, "- %s\n", r.summary())
	for _, s := range r.Sections {
		fmt.Fprintf(w, "\n## %s\n", s.Title)
		if s.Text != "" {
			fmt.Fprintf(w, "\n%s\n", s.Text)
		}
		for _, f := range s.Faults {
			fmt.Fprintf(w, "\n**FAILED:** %s\n", escape(f))
		}
		for _, t := range s.Tables {
			t.markdown(w)
		}
		for _, p := range s.Plots {
			fmt.Fprintf(w, "\n![%s](%s)\n\n*%s*\n", escape(p.Caption), s.file(p), escape(p.Caption))
		}
	}
	if goals := r.Goals(); len(goals) > 0 {
		t := GoalTable(goals)
		fmt.Fprintf(w, "\n## %s\n", t.Title)
		t.Title = ""
		t.markdown(w)
	}
}

// summary says how long it took and what of it failed.
func (r *Report) summary() string {
	var names []string
	faults := 0
	for _, s := range r.Sections {
		names = append(names, s.Name)
		faults += len(s.Faults)
	}
	kind := "full"
	if r.Plan.Quick {
		kind = "quick: few rounds, short ones, not all cells; to see whether all works, and roughly how fast"
	}
	text := fmt.Sprintf("Sections %s, in %v (%s)", strings.Join(names, ", "), r.Took.Round(time.Second), kind)
	if faults > 0 {
		text += fmt.Sprintf(". **%d measurements FAILED**", faults)
	}
	return text
}

func (t Table) markdown(w *strings.Builder) {
	if t.Title != "" {
		fmt.Fprintf(w, "\n### %s\n", escape(t.Title))
	}
	row := func(texts []string) {
		for _, text := range texts {
			fmt.Fprintf(w, "| %s ", escape(text))
		}
		fmt.Fprintln(w, "|")
	}
	fmt.Fprintln(w)
	row(t.Head)
	for i := range t.Head {
		if i == 0 {
			fmt.Fprint(w, "|---")
		} else {
			fmt.Fprint(w, "|--:")
		}
	}
	fmt.Fprintln(w, "|")
	for _, r := range t.Rows {
		row(r)
	}
	if t.Note != "" {
		fmt.Fprintf(w, "\n%s\n", escape(t.Note))
	}
}

// escape writes a text so that Markdown takes nothing in it for its own.
var escape = strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "<", "&lt;", "[", `\[`, "]", `\]`, "`", "\\`", "\n", " ").Replace

// Print writes the tables to a terminal.
func (r *Report) Print(w io.Writer) error {
	for _, line := range r.About.lines() {
		_, _ = fmt.Fprintln(w, line) // what fails here fails again at the end
	}
	for _, s := range r.Sections {
		_, _ = fmt.Fprintf(w, "\n%s\n%s\n", s.Title, strings.Repeat("=", utf8.RuneCountInString(s.Title)))
		for _, t := range s.Tables {
			t.print(w)
		}
		for _, f := range s.Faults {
			_, _ = fmt.Fprintf(w, "\nFAILED: %s\n", f)
		}
	}
	if goals := r.Goals(); len(goals) > 0 {
		GoalTable(goals).print(w)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (t Table) print(w io.Writer) {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(out, "\n%s\n", t.Title)
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		_, _ = fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	_ = out.Flush()
	if t.Note != "" {
		_, _ = fmt.Fprintln(w, t.Note)
	}
}
