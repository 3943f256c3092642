package main

import (
	"errors"
	"strings"
)

// usageError is a mistake in what candado was started with, as opposed to a
// failure of what it then did.
type usageError struct{ error }

// Unwrap returns the mistake itself.
func (e usageError) Unwrap() error { return e.error }

// exitCode is the one table from error to exit code.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, new(usageError)):
		return exitUsage
	default:
		return exitFailed
	}
}

// oneLine puts the lines of a joined error on one line.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// redact hides what may be a URL's password: everything between the first "//"
// and the last "@". A mistyped command line can put an upstream's URL anywhere
// (as an unknown command, as the value of another flag), so every message that
// leaves passes here.
func redact(text string) string {
	from := strings.Index(text, "//")
	to := strings.LastIndex(text, "@")
	if from < 0 || to < from {
		return text
	}
	return text[:from+2] + "***" + text[to:]
}
