package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
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
}

func defaultNote(s setting) string {
	if s.deflt == "" || s.arg == "" {
		return ""
	}
	return fmt.Sprintf(" Default: %s", s.deflt)
}
