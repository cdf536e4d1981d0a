package journal_test

import (
	"os"
	"testing"
)

// TestMain runs the tests, or, in a process that a test has started, what that test wants done there.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		os.Exit(killChild(dir))
	}
	os.Exit(m.Run())
}
