package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// writeHelp prints what a command is for, the commands below it, and the
// settings that it takes. (Written by hand rather than as a template: a program
// that runs templates is linked with every exported method of its libraries,
// and would be twice the size.)
func writeHelp(w io.Writer, cmd *cobra.Command) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", strings.TrimSuffix(cmd.Short, ".")+".", usageLine(cmd))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprint(w, "\nCommands:\n")
		for _, sub := range cmd.Commands() {
			fmt.Fprintf(w, "  %-12s %s\n", sub.Name(), sub.Short)
		}
	}
	writeSettings(w, cmd)
}

func usageLine(cmd *cobra.Command) string {
	line := cmd.Root().Name()
	if cmd.HasParent() {
		line += " " + cmd.Use
	} else {
		line += " [command]"
	}
	if cmd.LocalNonPersistentFlags().HasAvailableFlags() {
		line += " [flags]"
	}
	return line
}

func writeSettings(w io.Writer, cmd *cobra.Command) {
	heading := "\nFlags, and the environment variables that stand for them (a flag wins):\n"
	for _, s := range settings() {
		if cmd.Flags().Lookup(s.name) == nil {
			continue
		}
		fmt.Fprint(w, heading)
		heading = ""
		fmt.Fprintf(w, "  %-30s %s\n      %s%s\n", strings.TrimSpace("--"+s.name+" "+s.arg), s.env(), s.help, defaultNote(s))
	}
	writeFlags(w, cmd)
}

// writeFlags prints the flags that are no settings: those of a single command.
func writeFlags(w io.Writer, cmd *cobra.Command) {
	heading := "\nFlags:\n"
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || slices.ContainsFunc(settings(), func(s setting) bool { return s.name == f.Name }) {
			return
		}
		fmt.Fprintf(w, "%s  --%s\n      %s Default: %s\n", heading, f.Name, f.Usage, f.DefValue)
		heading = ""
	})
}

func defaultNote(s setting) string {
	if s.deflt == "" || s.arg == "" {
		return ""
	}
	return fmt.Sprintf(" Default: %s", s.deflt)
}
