//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mmjournal/internal/testutil/nobody"
)

// TestWithoutPermission runs every verb on a journal that the user may not touch. Root may touch
// anything, so it runs them as nobody.
func TestWithoutPermission(t *testing.T) {
	user := nobody.New(t)
	log := filepath.Join(user.Dir, "log")
	mustTool(t, numbered(1, 3), "append", log, "--segment-size", "64K")
	if err := os.Chmod(log, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(log, 0o700)
	for _, args := range [][]string{
		{"info"}, {"segments"}, {"verify"}, {"cat"}, {"cat", "-o", "json"}, {"append"},
		{"truncate", "--front", "2"}, {"demo"},
	} {
		cmd := user.Command(t, append(args, log)...)
		cmd.Env = append(cmd.Env, asTool+"=1")
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if c := cmd.ProcessState.ExitCode(); c != exitOther || len(out) > 0 ||
			!strings.Contains(errs.String(), "permission denied") {
			t.Errorf("%q: exit code %d, output %q, stderr %q", args, c, out, errs.String())
		}
	}
}
