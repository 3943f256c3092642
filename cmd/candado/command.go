package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// rootCommand returns the command line: candado, alone, serves.
func (p program) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "candado",
		Short:         "Candado is a distributed lock service that speaks RESP and HTTP.",
		Args:          noArguments,
		RunE:          p.serve,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	serve := &cobra.Command{
		Use:   "serve",
		Short: "Run the service (the default)",
		Args:  noArguments,
		RunE:  p.serve,
	}
	healthcheck := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the candado at --http whether it is ready: exit 0 if it is, 1 if not",
		Args:  noArguments,
		RunE:  p.healthcheck,
	}
	version := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(p.stdout, versionLine())
			return err
		},
	}
	help := &cobra.Command{
		Use:   "help [command]",
		Short: "Explain candado, or one of its commands",
		RunE:  explain,
	}
	define(root.Flags(), settings())
	define(serve.Flags(), settings())
	define(healthcheck.Flags(), healthcheckSettings())

	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(p.stdout, cmd) })
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagMistake(err)} })
	root.AddCommand(serve, healthcheck, p.passwdCommand(), version)
	root.SetHelpCommand(help)
	return root
}

// noArguments refuses what is neither a flag nor a command.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.Flags().Changed("password"): // of which the argument may be the rest
		return usageError{errors.New("there is an argument too many (a password with blanks needs quotes)")}
	case cmd.HasParent():
		return usageError{fmt.Errorf("%s takes no argument, but got %q", cmd.CommandPath(), args[0])}
	default:
		return usageError{fmt.Errorf("unknown command %q (candado help lists them)", args[0])}
	}
}

// flagMistake words a mistake in the flags without their values: pflag's words
// about an unknown shorthand repeat all that follows it.
func flagMistake(err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("unknown flag -%s (candado's flags begin with two dashes)", unknown.GetSpecifiedName())
	}
	if bad, ok := errors.AsType[*pflag.InvalidSyntaxError](err); ok {
		return fmt.Errorf("%q is not a flag", redact(bad.GetSpecifiedFlag()))
	}
	return err
}

// explain is `candado help [command]`.
func explain(cmd *cobra.Command, args []string) error {
	root := cmd.Root()
	if len(args) == 0 {
		return root.Help()
	}
	topic, rest, err := root.Find(args)
	if err != nil || topic == root || len(rest) > 0 {
		return usageError{fmt.Errorf("unknown command %q (candado help lists them)", args[0])}
	}
	return topic.Help()
}

// serve runs the service until a signal ends it.
func (p program) serve(cmd *cobra.Command, _ []string) error {
	config, err := load(settings(), cmd.Flags(), p.lookupEnv)
	if err != nil {
		return err
	}
	collectLess(p.lookupEnv)
	// Before anything is open: a signal that comes early must drain as well.
	signal.Notify(p.signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(p.signals)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	log := config.logger(p.stderr)
	m := &Main{Config: config, Version: buildVersion(), Log: log, Notify: notifier(p.lookupEnv, log), Reload: hangups}
	if err := m.Open(); err != nil {
		return err
	}
	return m.Run(p.signals)
}

func healthcheckSettings() []setting {
	return slices.DeleteFunc(settings(), func(s setting) bool {
		return !slices.Contains([]string{"http", "tls-cert", "tls-key"}, s.name)
	})
}
