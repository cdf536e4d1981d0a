package journal_test

import (
	"fmt"
	"os"
	"testing"
)

// traceEnv names the directory in which appendForTrace works.
const traceEnv = "MMJOURNAL_TRACE_DIR"

// childWork is what a child does in the directory that an environment variable names.
var childWork = map[string]func(dir string) error{traceEnv: appendForTrace}

// TestMain runs the tests, or, in a process that a test has started, what that test wants done
// there.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		os.Exit(killChild(dir))
	}
	if args := os.Getenv(soakEnv); args != "" {
		os.Exit(soakChild(args))
	}
	if args := os.Getenv(spaceEnv); args != "" {
		os.Exit(spaceChild(args))
	}
	for env, work := range childWork {
		if dir := os.Getenv(env); dir != "" {
			if err := work(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}
