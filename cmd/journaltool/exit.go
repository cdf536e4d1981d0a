package main

import (
	"errors"
	"fmt"
	"strings"

	"mmjournal/journal"
)

// Exit codes. They are documented and do not change.
const (
	exitIntact  = 0
	exitCorrupt = 1
	exitUsage   = 2
	exitOther   = 3
)

// exitCodes says what they mean: in --help, in the README and in docs/exit-codes.md, which has the
// code of every verb for every kind of damage.
var exitCodes = []struct {
	code  int
	means string
}{
	{exitIntact, "done, and no damage in what was read: only verify reads every byte. " +
		"A torn tail is a warning"},
	{exitCorrupt, "the journal is corrupt. info, segments and verify: also damage that costs no " +
		"record"},
	{exitUsage, "the command line is wrong"},
	{exitOther, "anything else: I/O, locked, not a journal, files of others, newer files, " +
		"interrupted"},
}

// exitHelp returns the table for --help.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "  %d  %s\n", e.code, strings.ReplaceAll(e.means, ". ", ".\n     "))
	}
	return b.String()
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitIntact
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, journal.ErrCorrupt):
		return exitCorrupt
	}
	return exitOther
}
