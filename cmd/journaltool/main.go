package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mmjournal/segment"
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
	terminal       func(io.Writer) bool // whether it is one
	output         string               // -o: "text" or "json"
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{stdin: stdin, stdout: stdout, stderr: plainWriter{stderr}, terminal: isTerminal}
}

// run runs the tool and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newApp(stdin, stdout, stderr).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(a.stderr, "journaltool: %v\n", err)
	}
	return exitCode(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "journaltool",
		Short: "Inspect, verify, read, append to, truncate and salvage journals",
		Long: "Journaltool inspects, verifies, reads, appends to, truncates and salvages mmjournal\n" +
			"journals.\n\n" + exitHelp(),
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
	root.Version = version()
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "output format: text or json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return usagef("-o %s: text or json", a.output)
		}
		return nil
	}
	root.AddCommand(a.demoCommand(), a.appendCommand(), a.catCommand(), a.infoCommand(),
		a.segmentsCommand(), a.verifyCommand(), a.truncateCommand(), a.salvageCommand())
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

// version returns the module's version, and the one of the source that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(v, s.Value[:min(12, len(s.Value))]) {
			v += " " + s.Value
		}
	}
	return fmt.Sprintf("%s, format version %d, %s", v, segment.Version, info.GoVersion)
}

// flagError says what is wrong with a flag, in the words of the command line.
func flagError(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		flag := value.GetFlag()
		wants := "a " + flag.Value.Type()
		if flag.Value.Type() == "uint64" {
			wants = "a whole number, 0 or more"
		}
		err = fmt.Errorf("--%s %s: want %s", flag.Name, value.GetValue(), wants)
	}
	return usagef("%w; see %s --help", err, cmd.CommandPath())
}

// oneDir is the argument rule of the verbs that take one directory.
func oneDir(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes one directory; see journaltool %s --help", cmd.Name(), cmd.Name())
	}
	return checkDir(cmd, args[0])
}

// checkDir refuses what cannot be the directory of a journal, before a verb works on it.
func checkDir(cmd *cobra.Command, dir string) error {
	if dir == "" {
		return usagef("%s: the name of the directory is empty", cmd.Name())
	}
	if fi, err := os.Stat(dir); err == nil && !fi.IsDir() {
		return fmt.Errorf("%s %s: not a directory: a journal is a directory of files", cmd.Name(), dir)
	}
	return nil
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// json reports whether -o json was given.
func (a *app) json() bool { return a.output == "json" }

// printJSON writes v as one indented document.
func (a *app) printJSON(v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := a.stdout.Write(appendEscapedJSON(nil, text.Bytes()))
	return err
}

// warn prints a warning.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "journaltool: warning: "+format+"\n", args...)
}
