package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"mmjournal/journal"
)

// Exit codes. They are documented and do not change.
const (
	exitIntact  = 0 // also with a torn tail above every durable claim, which is a warning
	exitCorrupt = 1
	exitUsage   = 2
	exitOther   = 3 // I/O, locked, not a journal
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)   // a second signal kills
	signal.Ignore(syscall.SIGPIPE) // a closed pipe is an error of the write
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is one run of the tool.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	output         string // -o: "text" or "json"
}

// run runs the tool and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "journaltool: %v\n", err)
	}
	return exitCode(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "journaltool",
		Short: "Look at, check, fill and cut journals",
		Long: "Journaltool looks at, checks, fills and cuts mmjournal journals.\n\n" +
			"Exit codes: 0 intact, 1 corrupt, 2 usage, 3 anything else (I/O, locked, not a journal).",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; see journaltool --help", args[0])
			}
			return usagef("a command is needed; see journaltool --help")
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "output format: text or json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return usagef("-o %s: text or json", a.output)
		}
		return nil
	}
	root.AddCommand(a.demoCommand(), a.appendCommand(), a.catCommand(), a.infoCommand(),
		a.segmentsCommand(), a.verifyCommand(), a.truncateCommand())
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, args []string) error {
			if cmd, rest, err := root.Find(args); err != nil || len(rest) > 0 || cmd == nil {
				return usagef("unknown command %q; see journaltool --help", strings.Join(args, " "))
			}
			return nil
		}
	}
	return root
}

// oneDir is the argument rule of the verbs that take one directory.
func oneDir(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes one directory; see journaltool %s --help", cmd.Name(), cmd.Name())
	}
	return nil
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

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

// json reports whether -o json was given.
func (a *app) json() bool { return a.output == "json" }

// printJSON writes v as one indented document.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// warn tells people something that is no error.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "journaltool: warning: "+format+"\n", args...)
}
