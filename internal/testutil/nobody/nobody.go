//go:build unix

// Package nobody runs a test's own binary as a user without privileges, for tests of what happens
// without permission: root may do everything. It imports no package of the project, so the tests
// inside any of them can use it.
package nobody

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ID is the user and the group that commands of root run as.
const ID = 65534

// User has a directory that every user may write to. It is removed with the test. Program, in it,
// is a copy of the test's binary.
type User struct {
	Dir     string
	Program string
}

// New makes the directory and copies the binary of the running test.
func New(t testing.TB) *User {
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
	u := &User{dir, filepath.Join(dir, "program")}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(u.Program, b, 0o700), os.Chmod(u.Program, 0o755),
		os.Chmod(dir, 0o777))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Command returns a command that runs the program in Dir, where its temporary files go, too. If the
// test runs as root, the program runs as nobody, otherwise as the test's user.
func (u *User) Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), u.Program, args...)
	cmd.Dir = u.Dir
	cmd.Env = append(os.Environ(), "TMPDIR="+u.Dir)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ID, Gid: ID}}
	}
	return cmd
}

// Demote runs the calling test in another process, as nobody, if it runs as root. It returns true
// if it has done so: there is nothing left to do then.
func Demote(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	cmd := New(t).Command(t, "-test.run=^"+t.Name()+"$", "-test.v")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return true
}
