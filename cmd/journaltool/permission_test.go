//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// publicCopy copies this test binary to where everyone may run it, and returns the directory.
func publicCopy(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "journaltool-permission-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(dir, "tool")
	err = errors.Join(os.WriteFile(tool, b, 0o700), os.Chmod(tool, 0o755), os.Chmod(dir, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestWithoutPermission runs every verb on a journal that the user may not touch. Root may touch
// anything, so it runs them as nobody.
func TestWithoutPermission(t *testing.T) {
	dir := publicCopy(t)
	log := filepath.Join(dir, "log")
	mustTool(t, numbered(1, 3), "append", log, "--segment-size", "64K")
	if err := os.Chmod(log, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(log, 0o700)
	for _, args := range [][]string{
		{"info"}, {"segments"}, {"verify"}, {"cat"}, {"cat", "-o", "json"}, {"append"},
		{"truncate", "--front", "2"}, {"demo"},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "tool"), append(args, log)...)
		cmd.Env = append(os.Environ(), asTool+"=1")
		if os.Geteuid() == 0 {
			id := &syscall.Credential{Uid: 65534, Gid: 65534}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id}
		}
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
