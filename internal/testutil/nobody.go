//go:build unix

package testutil

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Nobody is for tests of what happens without permission: root may do everything. Its program is a
// copy of the test's own binary, in a directory that everyone may use and that is removed with the
// test.
type Nobody struct {
	Dir     string
	Program string
}

// NewNobody copies the binary of the test that runs.
func NewNobody(t testing.TB) *Nobody {
	t.Helper()
	dir, err := os.MkdirTemp("", "mmjournal-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	n := &Nobody{dir, filepath.Join(dir, "program")}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(n.Program, b, 0o700), os.Chmod(n.Program, 0o755),
		os.Chmod(dir, 0o777))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Command returns a command that runs the program in Dir, where its temporary files go, too; as
// nobody if the test runs as root, else as the test's user.
func (n *Nobody) Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), n.Program, args...)
	cmd.Dir = n.Dir
	cmd.Env = append(os.Environ(), "TMPDIR="+n.Dir)
	if os.Geteuid() == 0 {
		id := &syscall.Credential{Uid: 65534, Gid: 65534}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id}
	}
	return cmd
}
