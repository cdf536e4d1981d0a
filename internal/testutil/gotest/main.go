// Command gotest runs go test and says which tests were skipped, and why: go test itself says so
// only with -v, among everything else.
//
//	go run ./internal/testutil/gotest [-C DIR] [flags and packages of go test]
//
// Of packages it prints what go test prints, and of tests that fail what they printed. The last
// lines name the skipped tests by reason, and count the tests. The exit code is that of go test. GO
// names another go command.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

func main() {
	code, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		code = 1
	}
	os.Exit(code)
}

// run runs go test with args and returns its exit code.
func run(args []string, out io.Writer) (int, error) {
	tool := os.Getenv("GO")
	if tool == "" {
		tool = "go"
	}
	var flags []string
	if len(args) > 1 && args[0] == "-C" {
		flags, args = args[:2:2], args[2:]
	}
	cmd := exec.Command(tool, slices.Concat(flags, []string{"test", "-json"}, args)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	s := newSummary(out, slices.Contains(args, "-v"))
	lines := bufio.NewReader(pipe)
	for {
		line, err := lines.ReadBytes('\n')
		s.line(line)
		if err != nil {
			break
		}
	}
	s.end()
	err = cmd.Wait()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return max(failed.ExitCode(), 1), nil
	}
	return 0, err
}
